// What matrix products with split sums need besides, for all geometries.
#include "ending.cuh"

// Joins the sums of splits, always in the same order.
//
// partial: [splits, n] of REAL
// joined: [n], overwritten
// Launch: grid (ceil(n / 32)), threads (32, 8).
extern "C" __global__ void __launch_bounds__(256)
splits_joined(const real* __restrict__ partial, item* __restrict__ joined, int64 splits, int64 n) {
    const int64 i = (int64)blockIdx.x * 32 + threadIdx.x;
    real sum = 0;
    if (i < n) {
#pragma unroll 4
        for (int64 s = threadIdx.y; s < splits; s += 8) sum += partial[s * n + i];
    }
    sum = over_shares(sum);
    if (threadIdx.y == 0 && i < n) gn_round(joined[i], sum);
}

// The same for sums that have an ending, see ending.cuh.
//
// partial: [splits, rows, channels] of REAL; n = rows * channels
// to: [rows, channels], overwritten
// Launch: one dimension, any number of blocks and threads.
extern "C" __global__ void splits_ended(const real* __restrict__ partial, ENDING_ARGUMENTS,
                                        item* __restrict__ to, int64 splits, int64 channels,
                                        int64 n) {
    const Ending ending = ENDING_GIVEN;
    GRID_STRIDE(i, n) {
        real sum = partial[i];
#pragma unroll 4
        for (int64 s = 1; s < splits; s++) sum += partial[s * n + i];
        to[i] = ending(sum, i, i % channels);
    }
}

// Endings without sums: what is done to each element of an array.
//
// x: [rows, channels]; n = rows * channels
// to: like it, overwritten
// Launch: one dimension, any number of blocks and threads.
extern "C" __global__ void ended(const item* __restrict__ x, ENDING_ARGUMENTS,
                                 item* __restrict__ to, int64 channels, int64 n) {
    const Ending ending = ENDING_GIVEN;
    GRID_STRIDE(i, n) {
        real z = gn_float(x[i]);
        to[i] = ending(z, i, i % channels);
    }
}

// The way back through a result's activation, and through the bias below it, in one pass.
//
// gy, y: [rows, columns], the gradient and the result (the activation's input for SWISH)
// gz: like them, overwritten with the gradient of the activation's input; may be null
// partial: [gridDim.y, columns] of REAL, overwritten with the sums of each part of the rows; null
// Launch: grid (ceil(columns / 32), parts of the rows), threads (32, 8).
extern "C" __global__ void __launch_bounds__(256)
ending_backward(const item* __restrict__ gy, const item* __restrict__ y, item* __restrict__ gz,
                real* __restrict__ partial, int64 rows, int64 columns) {
    const int64 column = (int64)blockIdx.x * 32 + threadIdx.x;
    const int64 share = (rows + gridDim.y - 1) / gridDim.y, first = blockIdx.y * share;
    const int64 last = first + share < rows ? first + share : rows;
    real sum = 0;
    if (column < columns) {
#pragma unroll 2
        for (int64 row = first + threadIdx.y; row < last; row += 8) {
            const int64 at = row * columns + column;
            real g = gn_float(gy[at]);
            if (ACTIVATION != LINEAR) g *= slope<ACTIVATION>(gn_float(y[at]));
            if (gz != nullptr) gn_round(gz[at], g);
            sum += g;
        }
    }
    sum = over_shares(sum);
    if (threadIdx.y == 0 && column < columns && partial != nullptr)
        partial[blockIdx.y * columns + column] = sum;
}
