// Runs the threads of kernels on a CPU; see cuda_on_cpu.h.
//
// A thread of a block is a fiber, and a block is a thread of the operating system: `__shared__`
// arrays are its thread-local ones. Fibers switch only where threads meet, and go on in a shuffled
// order, so that a missing barrier shows. Asynchronous copies land as late as they may. A barrier
// that some thread never reaches is an error and not a hang.
#include "cuda_on_cpu.h"

#undef threadIdx
#undef blockIdx
#undef blockDim
#undef gridDim
#undef __shared__
#include <ucontext.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <random>
#include <thread>
#include <vector>

namespace gn {

thread_local Place here;

namespace {

constexpr size_t STACK = 128 << 10;
constexpr std::chrono::seconds PATIENCE{20};  // for another block

// Where threads wait for each other. The last to arrive opens it for all.
struct Barrier {
    std::atomic<unsigned> expected{0}, arrived{0}, generation{0};

    // Returns whether the caller may go on at once.
    bool arrive() {
        if (arrived.fetch_add(1) + 1 < expected.load()) return false;
        open();
        return true;
    }
    void open() {
        arrived = 0;
        generation.fetch_add(1);
    }
    // A thread that has ended isn't waited for any more.
    void leave() {
        unsigned left = expected.fetch_sub(1) - 1;
        if (left && arrived.load() == left) open();
    }
};

struct Copy {
    void* to;
    const void* from;
    size_t bytes, valid;
};

struct Warp {
    Barrier barrier;
    alignas(16) unsigned char slots[WARP * SLOT];
};

struct Fiber {
    ucontext_t context;
    Place place;
    Warp* warp = nullptr;
    bool done = false;
    const std::atomic<unsigned>* gate = nullptr;  // it waits until this isn't `passed` any more
    unsigned passed = 0;
    std::vector<std::vector<Copy>> copies{1};  // groups, the open one last
};

struct Grid;

struct Block {
    Grid* grid = nullptr;
    unsigned flat = 0;
    dim3 index;
    Barrier barrier;
    std::unique_ptr<Warp[]> warps;
    std::vector<Fiber> fibers;
    std::vector<unsigned char> memory;
    ucontext_t home;

    unsigned char* dynamic() { return (unsigned char*)(((uintptr_t)memory.data() + 63) & ~63ull); }
};

struct Grid {
    dim3 blocks, threads;
    size_t dynamic_bytes = 0;
    unsigned cluster = 1, seed = 0;
    std::vector<std::unique_ptr<Block>> all;  // where they run at once
    std::vector<std::unique_ptr<Barrier>> cluster_barriers;
    std::atomic<bool> failed{false}, misaligned{false};
    void (*call)(void*, void**) = nullptr;
    void* kernel = nullptr;
    void** args = nullptr;
};

thread_local Block* block = nullptr;
thread_local Fiber* fiber = nullptr;

void wait_at(Barrier& barrier) {
    unsigned generation = barrier.generation.load();
    if (barrier.arrive()) return;
    Fiber* self = fiber;
    self->gate = &barrier.generation;
    self->passed = generation;
    swapcontext(&self->context, &block->home);
    self->gate = nullptr;
}

void fiber_main() {
    Grid& grid = *block->grid;
    grid.call(grid.kernel, grid.args);
    fiber->done = true;
    block->barrier.leave();
    fiber->warp->barrier.leave();
    swapcontext(&fiber->context, &block->home);
}

void make_fibers(Block& b) {
    static thread_local std::vector<std::unique_ptr<unsigned char[]>> stacks;
    Grid& grid = *b.grid;
    const dim3& size = grid.threads;
    const unsigned threads = size.x * size.y * size.z;
    b.barrier.expected = threads;
    b.warps.reset(new Warp[(threads + WARP - 1) / WARP]);
    b.fibers = std::vector<Fiber>(threads);
    while (stacks.size() < threads) stacks.emplace_back(new unsigned char[STACK]);
    for (unsigned i = 0; i < threads; i++) {
        Fiber& f = b.fibers[i];
        f.warp = &b.warps[i / WARP];
        f.warp->barrier.expected.fetch_add(1);
        f.place.thread = {i % size.x, i / size.x % size.y, i / (size.x * size.y)};
        f.place.block = b.index;
        f.place.threads = size;
        f.place.blocks = grid.blocks;
        f.place.lane = i % WARP;
        f.place.cluster = grid.cluster;
        f.place.rank_in_cluster = b.index.x % grid.cluster;
        f.place.dynamic = b.dynamic();
        f.place.slots = f.warp->slots;
        getcontext(&f.context);
        f.context.uc_stack.ss_sp = stacks[i].get();
        f.context.uc_stack.ss_size = STACK;
        f.context.uc_link = nullptr;
        makecontext(&f.context, fiber_main, 0);
    }
}

// Runs the threads of a block to their end; false if they wait for something that can't come.
bool run_block(Block& b) {
    Grid& grid = *b.grid;
    block = &b;
    make_fibers(b);
    std::vector<unsigned> order(b.fibers.size());
    for (unsigned i = 0; i < order.size(); i++) order[i] = i;
    std::minstd_rand random(grid.seed + 7 * b.flat + 1);
    auto last = std::chrono::steady_clock::now();
    for (size_t alive = order.size(); alive;) {
        bool moved = false;
        std::shuffle(order.begin(), order.end(), random);
        for (unsigned i : order) {
            Fiber& f = b.fibers[i];
            if (f.done || (f.gate && f.gate->load() == f.passed)) continue;
            moved = true;
            fiber = &f;
            here = f.place;
            swapcontext(&b.home, &f.context);
            alive -= f.done;
        }
        auto now = std::chrono::steady_clock::now();
        if (moved) {
            last = now;
            continue;
        }
        // Only another block can help now; alone there is nobody to wait for.
        if (grid.all.empty() || grid.failed || now - last > PATIENCE) {
            grid.failed = true;
            return false;
        }
        std::this_thread::yield();
    }
    return true;
}

void prepare(Block& b, Grid& grid, unsigned i) {
    const dim3& size = grid.blocks;
    b.grid = &grid;
    b.flat = i;
    b.index = {i % size.x, i / size.x % size.y, i / (size.x * size.y)};
    b.memory.assign(grid.dynamic_bytes + 64, 0xff);  // what nobody wrote reads as NaN
}

bool one_after_the_other(Grid& grid, unsigned count) {
    std::vector<unsigned> order(count);
    for (unsigned i = 0; i < count; i++) order[i] = i;
    std::minstd_rand random(grid.seed + 1);
    std::shuffle(order.begin(), order.end(), random);
    for (unsigned i : order) {
        Block b;
        prepare(b, grid, i);
        if (!run_block(b)) return false;
    }
    return true;
}

bool all_at_once(Grid& grid, unsigned count) {
    const unsigned threads = grid.threads.x * grid.threads.y * grid.threads.z;
    for (unsigned i = 0; i < count; i++) {
        grid.all.emplace_back(new Block);
        prepare(*grid.all[i], grid, i);
    }
    for (unsigned i = 0; i < count / grid.cluster; i++) {
        grid.cluster_barriers.emplace_back(new Barrier);
        grid.cluster_barriers[i]->expected = threads * grid.cluster;
    }
    std::vector<std::thread> workers;
    for (auto& b : grid.all) workers.emplace_back([&b] { run_block(*b); });
    for (auto& w : workers) w.join();
    return !grid.failed;
}

}  // namespace

void meet_block() { wait_at(block->barrier); }
void meet_warp() { wait_at(fiber->warp->barrier); }
void meet_cluster() {
    wait_at(*block->grid->cluster_barriers[block->flat / block->grid->cluster]);
}
void relax() { std::this_thread::yield(); }
void aligned(const void* p, uintptr_t bytes) {
    if ((uintptr_t)p % bytes) block->grid->misaligned = true;
}

unsigned char* dynamic_of_neighbour(unsigned rank) {
    return block->grid->all[block->flat - here.rank_in_cluster + rank]->dynamic();
}

void copy_later(void* to, const void* from, size_t bytes, size_t valid) {
    fiber->copies.back().push_back({to, from, bytes, valid});
}
void end_copies() { fiber->copies.emplace_back(); }
void wait_for_copies(unsigned left) {
    auto& groups = fiber->copies;
    while (groups.size() > left + 1) {
        for (const Copy& c : groups.front()) {
            memcpy(c.to, c.from, c.valid);
            memset((unsigned char*)c.to + c.valid, 0, c.bytes - c.valid);
        }
        groups.erase(groups.begin());
    }
}

int run(const Shape& shape, void (*call)(void*, void**), void* kernel, void** args) {
    Grid grid;
    grid.blocks = {shape.grid[0], shape.grid[1], shape.grid[2]};
    grid.threads = {shape.block[0], shape.block[1], shape.block[2]};
    grid.dynamic_bytes = shape.dynamic_bytes;
    grid.cluster = shape.cluster;
    grid.seed = shape.seed;
    grid.call = call;
    grid.kernel = kernel;
    grid.args = args;
    const unsigned count = grid.blocks.x * grid.blocks.y * grid.blocks.z;
    const bool apart = !shape.together && grid.cluster == 1;
    const bool ended = apart ? one_after_the_other(grid, count) : all_at_once(grid, count);
    return !ended ? 1 : grid.misaligned ? 2 : 0;
}

}  // namespace gn
