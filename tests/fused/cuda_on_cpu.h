// What CUDA gives to kernels, on a CPU. Put in front of a source, it lets g++ compile it.
//
// A thread of a block is a fiber, and a block is a thread of the operating system: `__shared__`
// arrays are its thread-local ones. Fibers switch only where threads meet (barriers, shuffles), and
// go on in a shuffled order, so that a missing barrier shows. Asynchronous copies land as late as
// they may. A barrier that some thread never reaches is an error and not a hang.
#pragma once
#include <math.h>
#include <stdint.h>
#include <string.h>
#include <ucontext.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#define GN_ON_CPU 1
#define __global__
#define __device__
#define __host__
#define __restrict__
#define __forceinline__ inline
#define __shared__ static thread_local
#define __launch_bounds__(...)
#define __cluster_dims__(...)

struct dim3 {
    unsigned x = 1, y = 1, z = 1;
};
struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};

namespace gn {

constexpr unsigned WARP = 32;

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

struct Fiber {
    ucontext_t context;
    dim3 index;
    unsigned lane = 0, warp = 0;
    bool done = false;
    const std::atomic<unsigned>* gate = nullptr;  // what it waits for, and until it isn't `passed`
    unsigned passed = 0;
    std::vector<std::vector<Copy>> copies;  // groups of asynchronous copies, the open one last
};

struct Warp {
    Barrier barrier;
    alignas(16) unsigned char slots[WARP][64];
};

struct Grid;

struct Block {
    Grid* grid;
    dim3 index;
    unsigned rank_in_cluster = 0;
    Barrier barrier;
    std::unique_ptr<Warp[]> warps;
    std::vector<Fiber> fibers;
    std::vector<unsigned char> dynamic;
    ucontext_t home;
};

struct Grid {
    dim3 size, block;
    size_t dynamic_bytes = 0;
    unsigned cluster = 1;
    unsigned seed = 0;
    std::vector<std::unique_ptr<Block>> blocks;
    std::vector<std::unique_ptr<Barrier>> cluster_barriers;
    std::atomic<bool> failed{false};
    std::function<void()> body;
};

inline thread_local Block* block = nullptr;
inline thread_local Fiber* fiber = nullptr;

inline void pause() {
    Fiber* self = fiber;
    swapcontext(&self->context, &block->home);
    fiber = self;
}

inline void wait_at(Barrier& barrier) {
    unsigned generation = barrier.generation.load();
    if (barrier.arrive()) return;
    fiber->gate = &barrier.generation;
    fiber->passed = generation;
    pause();
    fiber->gate = nullptr;
}

inline Warp& warp() { return block->warps[fiber->warp]; }

// Hands every lane's value to `pick`, which returns this lane's result.
template <typename T, typename F>
auto exchange(const T& value, F pick) {
    static_assert(sizeof(T) <= sizeof(Warp::slots[0]), "too large for a warp's slots");
    Warp& w = warp();
    memcpy(w.slots[fiber->lane], &value, sizeof(T));
    wait_at(w.barrier);
    auto result = pick([&w](unsigned lane) {
        T other;
        memcpy(&other, w.slots[lane], sizeof(T));
        return other;
    });
    wait_at(w.barrier);
    return result;
}

inline void run_copies(std::vector<Copy>& group) {
    for (const Copy& c : group) {
        memcpy(c.to, c.from, c.valid);
        memset((unsigned char*)c.to + c.valid, 0, c.bytes - c.valid);
    }
}

inline void fiber_main() {
    block->grid->body();
    fiber->done = true;
    block->barrier.leave();
    warp().barrier.leave();
    swapcontext(&fiber->context, &block->home);
}

// Runs the threads of a block to their end; false if they wait for something that can't come.
inline bool run_block(Block& b) {
    constexpr size_t STACK = 128 << 10;
    static thread_local std::vector<std::unique_ptr<unsigned char[]>> stacks;
    Grid& grid = *b.grid;
    const unsigned threads = grid.block.x * grid.block.y * grid.block.z;
    block = &b;
    b.barrier.expected = threads;
    b.warps.reset(new Warp[(threads + WARP - 1) / WARP]);
    b.fibers = std::vector<Fiber>(threads);
    for (size_t i = stacks.size(); i < threads; i++) stacks.emplace_back(new unsigned char[STACK]);
    std::vector<unsigned> order(threads);
    for (unsigned i = 0; i < threads; i++) {
        Fiber& f = b.fibers[i];
        order[i] = i;
        f.index = {i % grid.block.x, i / grid.block.x % grid.block.y,
                   i / (grid.block.x * grid.block.y)};
        f.lane = i % WARP;
        f.warp = i / WARP;
        f.copies.emplace_back();
        b.warps[f.warp].barrier.expected.fetch_add(1);
        getcontext(&f.context);
        f.context.uc_stack.ss_sp = stacks[i].get();
        f.context.uc_stack.ss_size = STACK;
        f.context.uc_link = nullptr;
        makecontext(&f.context, fiber_main, 0);
    }
    std::minstd_rand random(grid.seed + 7 * b.index.x + 31 * b.index.y + 1);
    auto last = std::chrono::steady_clock::now();
    for (unsigned alive = threads; alive;) {
        bool moved = false;
        std::shuffle(order.begin(), order.end(), random);
        for (unsigned i : order) {
            Fiber& f = b.fibers[i];
            if (f.done || (f.gate && f.gate->load() == f.passed)) continue;
            moved = true;
            fiber = &f;
            swapcontext(&b.home, &f.context);
            alive -= f.done;
        }
        auto now = std::chrono::steady_clock::now();
        if (moved) {
            last = now;
            continue;
        }
        // Only another block can help now; alone there is nobody to wait for.
        bool alone = grid.blocks.size() == 1;
        if (alone || grid.failed || now - last > std::chrono::seconds(20)) {
            grid.failed = true;
            return false;
        }
        std::this_thread::yield();
    }
    return true;
}

inline void prepare(Block& b, Grid& grid, unsigned i) {
    b.grid = &grid;
    b.index = {i % grid.size.x, i / grid.size.x % grid.size.y, i / (grid.size.x * grid.size.y)};
    b.rank_in_cluster = b.index.x % grid.cluster;
    b.dynamic.assign(grid.dynamic_bytes + 64, 0xff);  // what nobody wrote reads as NaN
}

// What a launch asks for; gpunet's launch code fills it.
struct Shape {
    unsigned grid[3], block[3], dynamic_bytes, cluster, together, seed;
};

inline int run(const Shape& shape, std::function<void()> body) {
    Grid grid;
    grid.size = {shape.grid[0], shape.grid[1], shape.grid[2]};
    grid.block = {shape.block[0], shape.block[1], shape.block[2]};
    grid.dynamic_bytes = shape.dynamic_bytes;
    grid.cluster = shape.cluster;
    grid.seed = shape.seed;
    grid.body = std::move(body);
    const unsigned count = grid.size.x * grid.size.y * grid.size.z;
    if (grid.size.x % grid.cluster) return 2;
    if (!shape.together && grid.cluster == 1) {
        std::vector<unsigned> order(count);
        for (unsigned i = 0; i < count; i++) order[i] = i;
        std::minstd_rand random(shape.seed + 1);
        std::shuffle(order.begin(), order.end(), random);
        grid.blocks.emplace_back(new Block);
        for (unsigned i : order) {
            Block fresh;
            prepare(fresh, grid, i);
            if (!run_block(fresh)) return 1;
        }
        return 0;
    }
    // All blocks at once, as a cooperative launch has them.
    for (unsigned i = 0; i < count; i++) {
        grid.blocks.emplace_back(new Block);
        prepare(*grid.blocks[i], grid, i);
    }
    const unsigned threads = grid.block.x * grid.block.y * grid.block.z;
    for (unsigned i = 0; i < count / grid.cluster; i++) {
        grid.cluster_barriers.emplace_back(new Barrier);
        grid.cluster_barriers[i]->expected = threads * grid.cluster;
    }
    std::vector<std::thread> workers;
    for (auto& b : grid.blocks) workers.emplace_back([&b] { run_block(*b); });
    for (auto& w : workers) w.join();
    return grid.failed ? 1 : 0;
}

// Runs a kernel of any signature; args holds the addresses of its arguments.
template <typename... T, size_t... I>
int launch(void (*kernel)(T...), const Shape& shape, void** args, std::index_sequence<I...>) {
    return run(shape, [=] { kernel(*(std::remove_const_t<T>*)args[I]...); });
}
template <typename... T>
int launch(void (*kernel)(T...), const Shape& shape, void** args) {
    return launch(kernel, shape, args, std::index_sequence_for<T...>());
}

}  // namespace gn

#define threadIdx (gn::fiber->index)
#define blockIdx (gn::block->index)
#define blockDim (gn::block->grid->block)
#define gridDim (gn::block->grid->size)

// -- functions of CUDA ---------------------------------------------------------------------

inline void __syncthreads() { gn::wait_at(gn::block->barrier); }
inline void __syncwarp(unsigned = 0xffffffffu) { gn::wait_at(gn::warp().barrier); }
inline void __threadfence() { std::atomic_thread_fence(std::memory_order_seq_cst); }

template <typename T>
T __shfl_xor_sync(unsigned, T value, unsigned lanes) {
    unsigned from = gn::fiber->lane ^ lanes;
    return gn::exchange(value, [=](auto at) { return at(from); });
}
template <typename T>
T __shfl_down_sync(unsigned, T value, unsigned by) {
    unsigned from = gn::fiber->lane + by < gn::WARP ? gn::fiber->lane + by : gn::fiber->lane;
    return gn::exchange(value, [=](auto at) { return at(from); });
}
template <typename T>
T __shfl_sync(unsigned, T value, unsigned from) {
    return gn::exchange(value, [=](auto at) { return at(from % gn::WARP); });
}

template <typename T>
T atomicAdd(T* to, T value) {
    if constexpr (std::is_integral_v<T>) {
        return __atomic_fetch_add(to, value, __ATOMIC_SEQ_CST);
    } else {
        T before, after;
        __atomic_load(to, &before, __ATOMIC_SEQ_CST);
        do {
            after = before + value;
        } while (!__atomic_compare_exchange(to, &before, &after, false, __ATOMIC_SEQ_CST,
                                            __ATOMIC_SEQ_CST));
        return before;
    }
}

template <typename T>
T __ldg(const T* p) { return *p; }
template <typename T>
T __ldcg(const T* p) { return *(const volatile T*)p; }
template <typename T>
void __stcg(T* p, T value) { *(volatile T*)p = value; }

inline unsigned __float_as_uint(float x) { unsigned u; memcpy(&u, &x, 4); return u; }
inline float __uint_as_float(unsigned u) { float x; memcpy(&x, &u, 4); return x; }
inline unsigned __umulhi(unsigned a, unsigned b) { return (uint64_t)a * b >> 32; }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)((unsigned __int128)a * b >> 64);
}
template <typename T>
T min(T a, T b) { return b < a ? b : a; }
template <typename T>
T max(T a, T b) { return a < b ? b : a; }
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline double rsqrt(double x) { return 1.0 / sqrt(x); }

// -- what kernels/machine.cuh gives on a GPU -------------------------------------------------

namespace gn {
inline unsigned char* dynamic_of(Block& b) {
    return (unsigned char*)(((uintptr_t)b.dynamic.data() + 63) & ~(uintptr_t)63);
}
inline Block& neighbour(unsigned rank) {
    unsigned first = block->index.x - block->rank_in_cluster;
    const dim3& size = block->grid->size;
    return *block->grid->blocks[(block->index.z * size.y + block->index.y) * size.x + first + rank];
}
}  // namespace gn

#define GN_DYNAMIC(type, name) type* name = (type*)gn::dynamic_of(*gn::block)

inline void gn_relax() { std::this_thread::yield(); }
inline unsigned gn_cluster_rank() { return gn::block->rank_in_cluster; }
inline void gn_cluster_sync() {
    if (gn::block->grid->cluster == 1) return __syncthreads();
    const dim3& size = gn::block->grid->size;
    unsigned flat = (blockIdx.z * size.y + blockIdx.y) * size.x + blockIdx.x;
    gn::wait_at(*gn::block->grid->cluster_barriers[flat / gn::block->grid->cluster]);
}
template <typename T>
T* gn_map_shared(T* p, unsigned rank) {
    if (gn::block->grid->cluster == 1) return p;
    size_t offset = (unsigned char*)p - gn::dynamic_of(*gn::block);
    return (T*)(gn::dynamic_of(gn::neighbour(rank)) + offset);
}

// Round to nearest, ties away from zero, as cvt.rna does: 10 bits of mantissa stay.
inline unsigned gn_tf32(float x) { return (__float_as_uint(x) + 0x1000u) & 0xffffe000u; }

// D += A B for A 16 x 8, B 8 x 8, with the fragments of mma.sync.m16n8k8.
inline void gn_mma_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    struct Fragments {
        unsigned a[4], b[2];
    } mine;
    memcpy(mine.a, a, sizeof a);
    memcpy(mine.b, b, sizeof b);
    unsigned group = gn::fiber->lane / 4, in_group = gn::fiber->lane % 4;
    gn::exchange(mine, [&](auto at) {
        for (int i = 0; i < 4; i++) {
            unsigned row = group + 8 * (i / 2), column = 2 * in_group + i % 2;
            for (unsigned k = 0; k < 8; k++) {
                unsigned left = at(row % 8 * 4 + k % 4).a[row / 8 + 2 * (k / 4)];
                unsigned right = at(column * 4 + k % 4).b[k / 4];
                d[i] += __uint_as_float(left & 0xffffe000u) * __uint_as_float(right & 0xffffe000u);
            }
        }
        return 0;
    });
}

// 16 bytes from global to shared memory, of which the first `valid` are read and the rest are 0.
inline void gn_copy_async(void* to, const void* from, int valid = 16) {
    gn::fiber->copies.back().push_back({to, from, 16, (size_t)valid});
}
inline void gn_copy_commit() { gn::fiber->copies.emplace_back(); }
template <int LEFT>
void gn_copy_wait() {
    auto& groups = gn::fiber->copies;
    while (groups.size() > LEFT + 1) {
        gn::run_copies(groups.front());
        groups.erase(groups.begin());
    }
}
