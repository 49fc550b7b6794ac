// The walk of a recurrent layer through its steps, forward and back, for all cells and all ways in
// which blocks can share the work. lstm.cu, gru.cu and simple_rnn.cu give the cells.
//
// A block owns SLICE of the UNITS. At each turn it multiplies what the last turn made (the state,
// or the gradients of the gates; the "operand", all units of it) by the columns of the recurrent
// kernel that lead to its units, and then updates its cells, one thread for one cell. Blocks meet
// once a turn. A turn is a step; cells with two products in a row take two turns for a step.
//
// MEET  BLOCKS_MEET_IN_SHARED: the CLUSTER blocks of a cluster share one tile of ROWS sequences, and
//       write new operands into each other's shared memory. CLUSTER is 1 below sm_90.
//       BLOCKS_MEET_IN_GRID: a cooperative launch; operands go through global memory.
//       BLOCKS_MEET_AT_LAUNCH: one launch is one turn.
// Launch: grid (ceil(UNITS / SLICE), tiles of ROWS sequences, 1), in a grid that meets (.., 1, 1);
// THREADS threads; the dynamic shared memory that gpunet/fused/rnn_plan.py counts.
//
// Compiled for: REAL, UNITS, SLICE, ROWS (a multiple of 4), THREADS, CLUSTER, MEET, RESIDENT
// (weights stay in shared memory), TF32 (tensor cores; ROWS is 16, SLICE a multiple of 8), MASKED,
// DROPOUT, ACTIVATION and GATE_ACTIVATION (numbers in activations.cuh).
//
// Shapes: T steps, N sequences, U = UNITS, G = GATES. Arrays with a T are in the order of time also
// where the walk goes backwards in it.
#include "activations.cuh"
#include "common.cuh"
#include "machine.cuh"

#define BLOCKS_MEET_IN_SHARED 0
#define BLOCKS_MEET_IN_GRID 1
#define BLOCKS_MEET_AT_LAUNCH 2

constexpr int ROUND = TF32 ? 8 : 1;
constexpr int ROW_STRIDE = ROWS + 8;  // of operands [K][ROWS]: no bank conflicts for mma
constexpr int SUM_STRIDE = ROWS + 1;  // of products [columns][ROWS]
constexpr int ROWS_EACH = ROWS < 8 ? ROWS : 8;
constexpr int WARPS = THREADS / 32;

constexpr int DEPTH = (UNITS + ROUND - 1) / ROUND * ROUND;  // of a product's K axis

// What a launch works on.
struct Walk {
    int64 steps, batch;        // T, N
    bool reverse;              // from the last step to the first
    const unsigned char* keep;  // [G, N, U], dropout of the operand's state for each gate, or null
    real scale;                // 1 / (1 - rate)

    __device__ int64 time(int64 step) const { return reverse ? steps - 1 - step : step; }
    __device__ real kept(int gate, int64 n, int u) const {
        if (!DROPOUT) return (real)1;
        return keep[(gate * batch + n) * UNITS + u] ? scale : (real)0;
    }
};

// -- products -----------------------------------------------------------------------------

// How many threads (warps, with TF32) share the K axis of a product with so many columns.
template <int WIDTH>
constexpr int JOBS = TF32 ? WIDTH / 8 : WIDTH * (ROWS / ROWS_EACH);
constexpr int WORKERS = TF32 ? WARPS : THREADS;
template <int WIDTH>
constexpr int PARTS = JOBS<WIDTH> >= WORKERS ? 1 : WORKERS / JOBS<WIDTH> < 8 ? WORKERS / JOBS<WIDTH> : 8;

// sums[part][column][row] = sum over k in the part of operand[k][row] * weight(k, column), where
// the K axis has SEGMENTS segments of DEPTH; `finish(segment, column, row)` is a factor of
// each segment's sum, and `plane(column)` where the operand for a column begins.
template <int WIDTH, int SEGMENTS, typename Weight, typename Plane, typename Finish>
__device__ inline void multiply(real* sums, const real* operand, Weight weight, Plane plane,
                                Finish finish) {
    constexpr int SHARE = PARTS<WIDTH>;
    constexpr int LENGTH = (DEPTH / ROUND + SHARE - 1) / SHARE * ROUND;
#if TF32
    const int lane = threadIdx.x % 32, group = lane / 4, in_group = lane % 4;
    for (int job = threadIdx.x / 32; job < WIDTH / 8 * SHARE; job += WARPS) {
        const int column = job % (WIDTH / 8) * 8, part = job / (WIDTH / 8);
        float total[4] = {0, 0, 0, 0};
        for (int s = 0; s < SEGMENTS; s++) {
            float d[4] = {0, 0, 0, 0};
            const int last = min(DEPTH, (part + 1) * LENGTH);
            for (int k = part * LENGTH; k < last; k += 8) {
                const int at = s * DEPTH + k + in_group;
                const real* a = operand + plane(column) + at * ROW_STRIDE + group;
                unsigned left[4] = {gn_tf32(a[0]), gn_tf32(a[8]), gn_tf32(a[4 * ROW_STRIDE]),
                                    gn_tf32(a[4 * ROW_STRIDE + 8])};
                unsigned right[2] = {gn_tf32(weight(at, column + group)),
                                     gn_tf32(weight(at + 4, column + group))};
                gn_mma_tf32(d, left, right);
            }
            for (int i = 0; i < 4; i++)
                total[i] += d[i] * finish(s, column + 2 * in_group + i % 2, group + i / 2 * 8);
        }
        for (int i = 0; i < 4; i++)
            sums[(part * WIDTH + column + 2 * in_group + i % 2) * SUM_STRIDE + group +
                 i / 2 * 8] = total[i];
    }
#else
    for (int job = threadIdx.x; job < WIDTH * (ROWS / ROWS_EACH) * SHARE; job += THREADS) {
        const int column = job % WIDTH, rest = job / WIDTH;
        const int row = rest % (ROWS / ROWS_EACH) * ROWS_EACH, part = rest / (ROWS / ROWS_EACH);
        real total[ROWS_EACH] = {};
        for (int s = 0; s < SEGMENTS; s++) {
            real sum[ROWS_EACH] = {};
            const int last = min(UNITS, (part + 1) * LENGTH);
            const real* a = operand + plane(column) + s * DEPTH * ROW_STRIDE + row;
            for (int k = part * LENGTH; k < last; k++) {
                const real w = weight(s * DEPTH + k, column);
                for (int r = 0; r < ROWS_EACH; r++) sum[r] += w * a[k * ROW_STRIDE + r];
            }
            for (int r = 0; r < ROWS_EACH; r++) total[r] += sum[r] * finish(s, column, row + r);
        }
        for (int r = 0; r < ROWS_EACH; r++)
            sums[(part * WIDTH + column) * SUM_STRIDE + row + r] = total[r];
    }
#endif
}

// A product, its parts added up.
template <int WIDTH>
__device__ inline real sum_at(const real* sums, int column, int row) {
    real total = 0;
    for (int part = 0; part < PARTS<WIDTH>; part++)
        total += sums[(part * WIDTH + column) * SUM_STRIDE + row];
    return total;
}

// Hands a new value of the operand to all blocks that will multiply it.
__device__ inline void hand_on(real* at, real value) {
    for (unsigned rank = 0; rank < CLUSTER; rank++) *gn_map_shared(at, rank) = value;
}

__device__ inline void blocks_meet(unsigned* meetings, unsigned round) {
    if (MEET == BLOCKS_MEET_IN_SHARED) gn_cluster_sync();
    if (MEET == BLOCKS_MEET_IN_GRID) gn_grid_sync(meetings, round);
}

// Runs its body for the sequences that this block has to do with, a tile of ROWS at a time.
#if MEET == BLOCKS_MEET_IN_GRID
#define EACH_TILE(first, batch) for (int64 first = 0; first < (batch); first += ROWS)
#else
#define EACH_TILE(first, batch) \
    for (int64 first = (int64)blockIdx.y * ROWS; first < (batch); first = (batch))
#endif

// A cell of the tile that begins at sequence `first`: unit u of sequence n.
struct Place {
    int row, column, u;  // in the tile, in the slice, of all
    int64 n;
    bool there;

    // The i-th cell of this thread. Neighbouring threads have neighbouring units.
    __device__ Place(int i, int64 first, int64 batch) {
        const int cell = i * THREADS + threadIdx.x;
        row = cell / SLICE;
        column = cell % SLICE;
        u = blockIdx.x * SLICE + column;
        n = first + row;
        there = cell < SLICE * ROWS && u < UNITS && n < batch;
    }
};
constexpr int CELLS = (SLICE * ROWS + THREADS - 1) / THREADS;  // of a thread

// -- forward ------------------------------------------------------------------------------

constexpr int COLUMNS = GATES * SLICE;  // of this block
constexpr int COLUMN_STRIDE = COLUMNS + 8;
constexpr int PLANES = DROPOUT ? GATES : 1;  // of the operand: each gate has dropout of its own
constexpr int OPERAND = PLANES * DEPTH * ROW_STRIDE;
constexpr int WEIGHTS = RESIDENT ? DEPTH * COLUMN_STRIDE : 0;

// Puts a value of the state into the operand for gates FIRST to LAST - 1.
template <int FIRST, int LAST>
__device__ inline void put_state(real* operand, const Walk& walk, int64 n, int row, int u,
                                 real value, bool everywhere) {
    for (int g = FIRST; g < (DROPOUT ? LAST : FIRST + 1); g++) {
        real* at = operand + ((DROPOUT ? g : 0) * DEPTH + u) * ROW_STRIDE + row;
        real kept = value * walk.kept(g, n, u);
        if (everywhere)
            hand_on(at, kept);
        else
            *at = kept;
    }
}

// The product of a turn: gates FIRST to LAST - 1 of this block's units.
template <int FIRST, int LAST>
__device__ inline void multiply_gates(real* sums, const real* operand, const real* weights,
                                      const real* recurrent) {
    auto weight = [=](int k, int column) -> real {
        if (RESIDENT) return weights[k * COLUMN_STRIDE + FIRST * SLICE + column];
        const int u = blockIdx.x * SLICE + column % SLICE;
        if (k >= UNITS || u >= UNITS) return 0;
        return recurrent[(int64)k * GATES * UNITS + (FIRST + column / SLICE) * UNITS + u];
    };
    auto plane = [](int column) {
        return DROPOUT ? (FIRST + column / SLICE) * DEPTH * ROW_STRIDE : 0;
    };
    multiply<(LAST - FIRST) * SLICE, 1>(sums, operand, weight, plane,
                                        [](int, int, int) { return (real)1; });
}

// -- backward -----------------------------------------------------------------------------

constexpr int BACK_OPERAND = GATES * DEPTH * ROW_STRIDE;
constexpr int BACK_STRIDE = SLICE + 8;
constexpr int BACK_WEIGHTS = RESIDENT ? GATES * DEPTH * BACK_STRIDE : 0;

// The gradient of the states that the gates FIRST to LAST - 1 hand back to this block's units.
template <int FIRST, int LAST>
__device__ inline void multiply_back(real* sums, const real* operand, const real* weights,
                                     const real* recurrent, const Walk& walk, int64 first) {
    auto weight = [=](int k, int column) -> real {
        k += FIRST * DEPTH;
        if (RESIDENT) return weights[k * BACK_STRIDE + column];
        const int u = blockIdx.x * SLICE + column, gate = k / DEPTH;
        const int v = k % DEPTH;
        if (v >= UNITS || u >= UNITS) return 0;
        return recurrent[((int64)u * GATES + gate) * UNITS + v];
    };
    auto finish = [=](int segment, int column, int row) -> real {
        const int u = blockIdx.x * SLICE + column;
        if (!DROPOUT || u >= UNITS || first + row >= walk.batch) return 1;
        return walk.kept(FIRST + segment, first + row, u);
    };
    multiply<SLICE, LAST - FIRST>(sums, operand + FIRST * DEPTH * ROW_STRIDE, weight,
                                  [](int) { return 0; }, finish);
}
