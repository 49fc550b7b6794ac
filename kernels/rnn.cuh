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
// Launch: grid (ceil(UNITS / SLICE), tiles of ROWS sequences, DIRECTIONS), in a grid that meets
// (.., 1, DIRECTIONS); THREADS threads; the dynamic shared memory that gpunet/fused/rnn_plan.py
// counts. With two DIRECTIONS the second walks the other way through the same sequences, with
// weights of its own; its blocks never meet those of the first.
//
// Compiled for: REAL, UNITS, SLICE, ROWS (a multiple of 4), THREADS, CLUSTER, MEET, RESIDENT
// (weights stay in shared memory), TENSOR_CORES (what they multiply, numbers below; ROWS is 16,
// SLICE a multiple of 8), CHUNKS (where blocks don't meet in shared memory: in how many pieces of
// the K axis they bring operands there; else 1), DIRECTIONS, MASKED, DROPOUT, ACTIVATION and
// GATE_ACTIVATION (numbers in activations.cuh).
//
// With TENSOR_CORES FLOAT16 or BFLOAT16 the weights, what the inputs add to the gates, the gates
// and the gradients of the outputs have 16 bits ("stored"); states and all sums are REAL.
//
// Shapes: T steps, N sequences, U = UNITS, G = GATES, D = DIRECTIONS. Arrays with a T are in the
// order of time also where the walk goes backwards in it.
#include "activations.cuh"
#include "common.cuh"
#include "machine.cuh"

#define BLOCKS_MEET_IN_SHARED 0
#define BLOCKS_MEET_IN_GRID 1
#define BLOCKS_MEET_AT_LAUNCH 2

#define NO_TENSOR_CORES 0
#define TF32 1
#define FLOAT16 2
#define BFLOAT16 3

// Operands and weights lie in shared memory as tensor cores read them: words of 32 bits, each of
// PACK neighbours along the K axis.
#if TENSOR_CORES == FLOAT16
typedef gn_half stored;
#elif TENSOR_CORES == BFLOAT16
typedef gn_bfloat stored;
#else
typedef real stored;
#endif
typedef stored element;
#if TENSOR_CORES
typedef unsigned word;
#else
typedef real word;
#endif
constexpr int PACK = TENSOR_CORES >= FLOAT16 ? 2 : 1;

__device__ inline stored stored_of(real x) {
    stored made;
    gn_round(made, x);
    return made;
}
#if TENSOR_CORES == TF32
__device__ inline element rounded(real x) { return __uint_as_float(gn_tf32(x)); }
#else
__device__ inline element rounded(real x) { return stored_of(x); }
#endif

// What another block may just have written.
__device__ inline real fresh(const stored* at) {
#if TENSOR_CORES >= FLOAT16
    return gn_float(stored{__ldcg(&at->bits)});
#else
    return __ldcg(at);
#endif
}

// Position of (k, j) among the elements of an operand or of weights with so many words a row.
__device__ constexpr int position(int k, int j, int stride) {
    return (k / PACK * stride + j) * PACK + k % PACK;
}

// The word in row r and column j of weights that a function of (k, j) gives.
template <typename At>
__device__ inline word word_of(At at, int r, int j) {
#if TENSOR_CORES >= FLOAT16
    return (unsigned)at(2 * r, j).bits | (unsigned)at(2 * r + 1, j).bits << 16;
#elif TENSOR_CORES == TF32
    return __float_as_uint(at(r, j));
#else
    return at(r, j);
#endif
}

// Words of a row of weights with so many columns, without bank conflicts in a fragment of 4 x 8.
__device__ constexpr int banked(int columns) {
    return TENSOR_CORES && (columns % 32 == 0 || columns % 32 == 16) ? columns + 8 : columns;
}

constexpr int ROUND = TENSOR_CORES ? 8 * PACK : 1;
constexpr int ROW_STRIDE = ROWS + 8;  // of operands [K][ROWS]: no bank conflicts for mma
constexpr int SUM_STRIDE = ROWS + 1;  // of products [columns][ROWS]
constexpr int ROWS_EACH = ROWS < 8 ? ROWS : 8;
constexpr int WARPS = THREADS / 32;

constexpr int DEPTH = (UNITS + ROUND - 1) / ROUND * ROUND;  // of a product's K axis
constexpr int PIECE = (DEPTH / ROUND + CHUNKS - 1) / CHUNKS * ROUND;  // of it, in an operand

// What a block works on: one direction of a launch.
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
    // Of a gate in [T, N, D, G * U].
    __device__ int64 place(int64 t, int64 n, int gate, int u) const {
        return (((t * batch + n) * DIRECTIONS + blockIdx.z) * GATES + gate) * UNITS + u;
    }
};

// -- products -----------------------------------------------------------------------------

// How many threads (warps, with tensor cores) share the K axis of a product with so many columns.
template <int WIDTH>
constexpr int JOBS = TENSOR_CORES ? WIDTH / 8 : WIDTH * (ROWS / ROWS_EACH);
constexpr int WORKERS = TENSOR_CORES ? WARPS : THREADS;
template <int WIDTH>
constexpr int PARTS = JOBS<WIDTH> >= WORKERS ? 1 : WORKERS / JOBS<WIDTH> < 8 ? WORKERS / JOBS<WIDTH> : 8;

// sums[part][column][row] = sum over k in the part of operand[k][row] * weights[k][column], where
// the K axis has SEGMENTS segments of DEPTH; `weight(r, column)` is the word in row r of the
// weights, `finish(segment, column, row)` a factor of each segment's sum, and `plane(column)` where
// the operand for a column begins. The operand holds PIECE of each segment, from k = start on; the
// products of the pieces after the first are added to those before.
template <int WIDTH, int SEGMENTS, typename Weight, typename Plane, typename Finish>
__device__ inline void multiply(real* sums, const element* operand, Weight weight, Plane plane,
                                Finish finish, int start) {
    constexpr int SHARE = PARTS<WIDTH>;
    constexpr int LENGTH = (PIECE / ROUND + SHARE - 1) / SHARE * ROUND;
    const int there = CHUNKS == 1 ? DEPTH : min(PIECE, DEPTH - start);
    const bool more = CHUNKS > 1 && start > 0;
#if TENSOR_CORES
    const int lane = threadIdx.x % 32, group = lane / 4, in_group = lane % 4;
    for (int job = threadIdx.x / 32; job < WIDTH / 8 * SHARE; job += WARPS) {
        const int column = job % (WIDTH / 8) * 8, part = job / (WIDTH / 8);
        const word* words = (const word*)(operand + plane(column)) + group;
        float total[4] = {0, 0, 0, 0};
        for (int s = 0; s < SEGMENTS; s++) {
            float d[4] = {0, 0, 0, 0};
            const int last = min(there, (part + 1) * LENGTH);
            for (int k = part * LENGTH; k < last; k += ROUND) {
                const int r = (s * DEPTH + start + k) / PACK + in_group;
                const word* a = words + ((s * PIECE + k) / PACK + in_group) * ROW_STRIDE;
                unsigned left[4] = {a[0], a[8], a[4 * ROW_STRIDE], a[4 * ROW_STRIDE + 8]};
                unsigned right[2] = {weight(r, column + group), weight(r + 4, column + group)};
#if TENSOR_CORES == TF32
                gn_mma_tf32(d, left, right);
#else
                gn_mma_16(d, left, right, stored{});
#endif
            }
            for (int i = 0; i < 4; i++)
                total[i] += d[i] * finish(s, column + 2 * in_group + i % 2, group + i / 2 * 8);
        }
        for (int i = 0; i < 4; i++) {
            real* sum = sums + (part * WIDTH + column + 2 * in_group + i % 2) * SUM_STRIDE +
                        group + i / 2 * 8;
            *sum = more ? *sum + total[i] : total[i];
        }
    }
#else
    for (int job = threadIdx.x; job < WIDTH * (ROWS / ROWS_EACH) * SHARE; job += THREADS) {
        const int column = job % WIDTH, rest = job / WIDTH;
        const int row = rest % (ROWS / ROWS_EACH) * ROWS_EACH, part = rest / (ROWS / ROWS_EACH);
        real total[ROWS_EACH] = {};
        for (int s = 0; s < SEGMENTS; s++) {
            real sum[ROWS_EACH] = {};
            const int last = min(there, (part + 1) * LENGTH);
            const element* a = operand + plane(column) + s * PIECE * ROW_STRIDE + row;
            for (int k = part * LENGTH; k < last; k++) {
                const real w = weight(s * DEPTH + start + k, column);
                for (int r = 0; r < ROWS_EACH; r++) sum[r] += w * a[k * ROW_STRIDE + r];
            }
            for (int r = 0; r < ROWS_EACH; r++) total[r] += sum[r] * finish(s, column, row + r);
        }
        for (int r = 0; r < ROWS_EACH; r++) {
            real* sum = sums + (part * WIDTH + column) * SUM_STRIDE + row + r;
            *sum = more ? *sum + total[r] : total[r];
        }
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
__device__ inline void hand_on(element* at, element value) {
    for (unsigned rank = 0; rank < CLUSTER; rank++) *gn_map_shared(at, rank) = value;
}

__device__ inline void blocks_meet(unsigned* meetings, unsigned round) {
    if (MEET == BLOCKS_MEET_IN_SHARED) gn_cluster_sync();
    if (MEET == BLOCKS_MEET_IN_GRID) gn_grid_sync(meetings, round, gridDim.x);
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
constexpr int COLUMN_STRIDE = banked(COLUMNS);
constexpr int PLANES = DROPOUT ? GATES : 1;  // of the operand: each gate has dropout of its own
constexpr int OPERAND = PLANES * PIECE * ROW_STRIDE;
constexpr int WEIGHTS = RESIDENT ? DEPTH * COLUMN_STRIDE : 0;

// Puts the k-th value of the state in a piece, that of unit u, into the operand for gates FIRST to
// LAST - 1.
template <int FIRST, int LAST>
__device__ inline void put_state(element* operand, const Walk& walk, int64 n, int row, int k, int u,
                                 real value, bool everywhere) {
    for (int g = FIRST; g < (DROPOUT ? LAST : FIRST + 1); g++) {
        element* at = operand + position((DROPOUT ? g : 0) * PIECE + k, row, ROW_STRIDE);
        element kept = rounded(value * walk.kept(g, n, u));
        if (everywhere)
            hand_on(at, kept);
        else
            *at = kept;
    }
}

// The product of a turn: gates FIRST to LAST - 1 of this block's units.
template <int FIRST, int LAST>
__device__ inline void multiply_gates(real* sums, const element* operand, const element* weights,
                                      const stored* recurrent, int start) {
    auto at = [=](int k, int column) -> element {
        const int u = blockIdx.x * SLICE + column % SLICE;
        if (k >= UNITS || u >= UNITS) return element{};
        return rounded(gn_float(
            recurrent[(int64)k * GATES * UNITS + (FIRST + column / SLICE) * UNITS + u]));
    };
    auto weight = [=](int r, int column) -> word {
        if (RESIDENT) return ((const word*)weights)[r * COLUMN_STRIDE + FIRST * SLICE + column];
        return word_of(at, r, column);
    };
    auto plane = [](int column) {
        return DROPOUT ? (FIRST + column / SLICE) * PIECE * ROW_STRIDE : 0;
    };
    multiply<(LAST - FIRST) * SLICE, 1>(sums, operand, weight, plane,
                                        [](int, int, int) { return (real)1; }, start);
}

// -- backward -----------------------------------------------------------------------------

constexpr int BACK_OPERAND = GATES * PIECE * ROW_STRIDE;
constexpr int BACK_STRIDE = banked(SLICE);
constexpr int BACK_WEIGHTS = RESIDENT ? GATES * DEPTH * BACK_STRIDE : 0;

// The gradient of the states that the gates FIRST to LAST - 1 hand back to this block's units.
template <int FIRST, int LAST>
__device__ inline void multiply_back(real* sums, const element* operand, const element* weights,
                                     const stored* recurrent, const Walk& walk, int64 first,
                                     int start) {
    auto at = [=](int k, int column) -> element {
        const int u = blockIdx.x * SLICE + column, gate = k / DEPTH;
        const int v = k % DEPTH;
        if (v >= UNITS || u >= UNITS) return element{};
        return rounded(gn_float(recurrent[((int64)u * GATES + gate) * UNITS + v]));
    };
    auto weight = [=](int r, int column) -> word {
        r += FIRST * DEPTH / PACK;
        if (RESIDENT) return ((const word*)weights)[r * BACK_STRIDE + column];
        return word_of(at, r, column);
    };
    auto finish = [=](int segment, int column, int row) -> real {
        const int u = blockIdx.x * SLICE + column;
        if (!DROPOUT || u >= UNITS || first + row >= walk.batch) return 1;
        return walk.kept(FIRST + segment, first + row, u);
    };
    multiply<SLICE, LAST - FIRST>(sums, operand + FIRST * PIECE * ROW_STRIDE, weight,
                                  [](int) { return 0; }, finish, start);
}
