// Reductions of a matrix: along its rows in one launch; along its columns in two stages, so that
// the same numbers are joined in the same order every time. Compiled for REAL, THREADS and
// ROW_THREADS (a warp, or the whole block, works on one row at a time).
//
// Shapes: R rows, C columns, S splits of the rows. `kind`: 0 the sum, 1 the largest, 2 the
// smallest; what isn't a number goes through.
#include "common.cuh"

#ifndef THREADS
#define THREADS 256
#define ROW_THREADS 32
#endif

__device__ inline real none_of(int64 kind) {
    return kind == 0 ? (real)0 : kind == 1 ? -1 / (real)0 : 1 / (real)0;
}
__device__ inline real both(real a, real b, int64 kind) {
    if (kind == 0) return a + b;
    if (a != a || b != b) return a != a ? a : b;
    return kind == 1 ? (a < b ? b : a) : (b < a ? b : a);
}

// x: [R, C]
// y: [R], overwritten by the results times `scale`
// Launch: one dimension, THREADS threads
extern "C" __global__ void rows_reduced(const real* __restrict__ x, real* __restrict__ y,
                                        real scale, int64 rows, int64 columns, int64 kind) {
    __shared__ real parts[THREADS / 32];
    constexpr int AT_ONCE = THREADS / ROW_THREADS;
    const int own = threadIdx.x % ROW_THREADS;
    for (int64 row = (int64)blockIdx.x * AT_ONCE + threadIdx.x / ROW_THREADS; row < rows;
         row += (int64)gridDim.x * AT_ONCE) {
        real value = none_of(kind);
        for (int64 c = own; c < columns; c += ROW_THREADS)
            value = both(value, x[row * columns + c], kind);
        for (int lanes = 16; lanes; lanes /= 2)
            value = both(value, __shfl_xor_sync(0xffffffffu, value, lanes), kind);
        if (ROW_THREADS > 32) {
            __syncthreads();  // the last use of `parts` is over
            if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = value;
            __syncthreads();
            value = parts[0];
            for (int i = 1; i < THREADS / 32; i++) value = both(value, parts[i], kind);
        }
        if (own == 0) y[row] = value * scale;
    }
}

constexpr int DOWN = 8;  // threads of a block on one column

// x: [R, C]
// partial: [S, C], overwritten
// Launch: grid (ceil(C / 32), S), block (32, 8)
extern "C" __global__ void columns_reduced(const real* __restrict__ x, real* __restrict__ partial,
                                           int64 rows, int64 columns, int64 kind) {
    __shared__ real shared[DOWN][32];
    const int64 column = (int64)blockIdx.x * 32 + threadIdx.x;
    const int64 split = (rows + gridDim.y - 1) / gridDim.y, first = blockIdx.y * split;
    const int64 last = first + split < rows ? first + split : rows;
    real value = none_of(kind);
    if (column < columns)
        for (int64 row = first + threadIdx.y; row < last; row += DOWN)
            value = both(value, x[row * columns + column], kind);
    shared[threadIdx.y][threadIdx.x] = value;
    __syncthreads();
    if (threadIdx.y || column >= columns) return;
    for (int i = 1; i < DOWN; i++) value = both(value, shared[i][threadIdx.x], kind);
    partial[blockIdx.y * columns + column] = value;
}

// partial: [S, C]
// y: [C], overwritten by the results times `scale`
extern "C" __global__ void columns_merged(const real* __restrict__ partial, real* __restrict__ y,
                                          real scale, int64 splits, int64 kind, int64 columns) {
    GRID_STRIDE(column, columns) {
        real value = none_of(kind);
        for (int64 s = 0; s < splits; s++) value = both(value, partial[s * columns + column], kind);
        y[column] = value * scale;
    }
}
