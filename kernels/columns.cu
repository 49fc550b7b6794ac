// Kernels that work along the columns of a matrix: batch normalization, and the gradients of the
// weights of any normalization.
//
// Sums over rows have two stages, so that the same numbers are added in the same order every time:
// a launch of grid (ceil(C / 32), S), block (32, 8) leaves S partial results for each column, and
// `..._merged` joins them. Compiled for REAL, and ENDING, see ending.cuh.
//
// Shapes: R rows, C columns, S splits of the rows.
#include "ending.cuh"
#include "moments.cuh"

constexpr int DOWN = 8;  // threads of a block on one column

// Runs its body for this thread's share of the rows of a split.
#define EACH_ROW(row, rows)                                                              \
    for (int64 gn_split = ((rows) + gridDim.y - 1) / gridDim.y,                          \
               row = (int64)blockIdx.y * gn_split + threadIdx.y,                         \
               gn_last = ((int64)blockIdx.y + 1) * gn_split;                             \
         row < gn_last && row < (rows); row += DOWN)

// x: [R, C]
// partial: [S, 3, C], overwritten by count, mean and sum of squares of each split
extern "C" __global__ void moments(const real* __restrict__ x, real* __restrict__ partial,
                                   int64 rows, int64 columns) {
    __shared__ real shared[3][DOWN][32];
    const int64 column = (int64)blockIdx.x * 32 + threadIdx.x;
    Moments own = {0, 0, 0};
    if (column < columns) EACH_ROW(row, rows) own.add(x[row * columns + column]);
    shared[0][threadIdx.y][threadIdx.x] = own.count;
    shared[1][threadIdx.y][threadIdx.x] = own.mean;
    shared[2][threadIdx.y][threadIdx.x] = own.squares;
    __syncthreads();
    if (threadIdx.y || column >= columns) return;
    for (int i = 1; i < DOWN; i++) {
        const Moments other = {shared[0][i][threadIdx.x], shared[1][i][threadIdx.x],
                               shared[2][i][threadIdx.x]};
        own.add(other);
    }
    real* at = partial + (int64)blockIdx.y * 3 * columns + column;
    at[0] = own.count;
    at[columns] = own.mean;
    at[2 * columns] = own.squares;
}

// partial: [S, 3, C], of `moments` or of conv_forward.cu
// mean, variance: [C], overwritten
// Launch: grid (ceil(C / 32)), block (32, ROOM).
constexpr int ROOM = 16;
extern "C" __global__ void moments_merged(const real* __restrict__ partial,
                                          real* __restrict__ mean, real* __restrict__ variance,
                                          int64 splits, int64 columns) {
    __shared__ real shared[3][ROOM][32];
    const int64 column = (int64)blockIdx.x * 32 + threadIdx.x;
    Moments all = {0, 0, 0};
    if (column < columns) {
        for (int64 s = threadIdx.y; s < splits; s += ROOM) {
            const real* at = partial + s * 3 * columns + column;
            all.add(Moments{at[0], at[columns], at[2 * columns]});
        }
    }
    shared[0][threadIdx.y][threadIdx.x] = all.count;
    shared[1][threadIdx.y][threadIdx.x] = all.mean;
    shared[2][threadIdx.y][threadIdx.x] = all.squares;
    __syncthreads();
    if (threadIdx.y || column >= columns) return;
    for (int i = 1; i < ROOM; i++)
        all.add(Moments{shared[0][i][threadIdx.x], shared[1][i][threadIdx.x],
                        shared[2][i][threadIdx.x]});
    mean[column] = all.mean;
    variance[column] = all.squares / all.count;
}

// y = (x - mean) / sqrt(variance + epsilon) * gamma + beta, with the statistics of each column, and
// what else ends it; the bias of ending.cuh is beta.
// Ioffe and Szegedy, 2015, arXiv:1502.03167.
//
// x: [R, C]; mean, variance: [C]; gamma: [C] or null; n = R * C; for the rest see ending.cuh
// y: [R, C], overwritten
extern "C" __global__ void normalize_columns(const real* __restrict__ x,
                                             const real* __restrict__ mean,
                                             const real* __restrict__ variance,
                                             const real* __restrict__ gamma,
                                             ENDING_ARGUMENTS, real* __restrict__ y,
                                             real epsilon, int64 columns, int64 n) {
    const Ending ending = ENDING_GIVEN;
    GRID_STRIDE(i, n) {
        const int64 c = i % columns;
        const real scale = (gamma ? gamma[c] : (real)1) / sqrt(variance[c] + epsilon);
        real z = (x[i] - mean[c]) * scale;
        y[i] = ending(z, i, c);
    }
}

// Sums over rows of gy and of gy * (x - mean) / sqrt(variance + epsilon).
//
// gy, x: [R, C]; mean, variance: [C], or [R] with `of_rows`
// partial: [S, 2, C], overwritten
extern "C" __global__ void gradient_sums(const real* __restrict__ gy, const real* __restrict__ x,
                                         const real* __restrict__ mean,
                                         const real* __restrict__ variance,
                                         real* __restrict__ partial, real epsilon, int64 of_rows,
                                         int64 rows, int64 columns) {
    __shared__ real shared[2][DOWN][32];
    const int64 column = (int64)blockIdx.x * 32 + threadIdx.x;
    real level = 0, along = 0;
    if (column < columns) {
        EACH_ROW(row, rows) {
            const int64 s = of_rows ? row : column;
            const real g = gy[row * columns + column];
            level += g;
            along += g * (x[row * columns + column] - mean[s]) / sqrt(variance[s] + epsilon);
        }
    }
    shared[0][threadIdx.y][threadIdx.x] = level;
    shared[1][threadIdx.y][threadIdx.x] = along;
    __syncthreads();
    if (threadIdx.y || column >= columns) return;
    for (int i = 1; i < DOWN; i++) {
        level += shared[0][i][threadIdx.x];
        along += shared[1][i][threadIdx.x];
    }
    real* at = partial + (int64)blockIdx.y * 2 * columns + column;
    at[0] = level;
    at[columns] = along;
}

// partial: [S, 2, C]
// sums: [2, C], overwritten
extern "C" __global__ void gradient_sums_merged(const real* __restrict__ partial,
                                                real* __restrict__ sums, int64 splits,
                                                int64 columns) {
    GRID_STRIDE(i, 2 * columns) {
        real total = 0;
        for (int64 s = 0; s < splits; s++) total += partial[s * 2 * columns + i];
        sums[i] = total;
    }
}

// The gradient of normalize_columns and of the statistics with respect to x.
//
// gy, x: [R, C]; mean, variance: [C]; gamma, gmean, gvariance: [C] or null; sums: [2, C]; n = R * C
// gx: [R, C], overwritten
extern "C" __global__ void normalize_columns_backward(
    const real* __restrict__ gy, const real* __restrict__ x, const real* __restrict__ mean,
    const real* __restrict__ variance, const real* __restrict__ gamma,
    const real* __restrict__ gmean, const real* __restrict__ gvariance,
    const real* __restrict__ sums, real* __restrict__ gx, real epsilon, int64 rows, int64 columns,
    int64 n) {
    GRID_STRIDE(i, n) {
        const int64 c = i % columns;
        const real inverse = (real)1 / sqrt(variance[c] + epsilon);
        const real scale = gamma ? inverse * gamma[c] : inverse;
        const real level = scale * sums[c] - (gmean ? gmean[c] : (real)0);
        const real along =
            scale * sums[columns + c] - (gvariance ? 2 * gvariance[c] / inverse : (real)0);
        gx[i] = scale * gy[i] - (level + (x[i] - mean[c]) * inverse * along) / rows;
    }
}
