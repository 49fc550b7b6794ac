// Convolution of few channels, such as those of images: too little to add up for a matrix product
// to pay off. For gpunet/ops/convolution.py; GROUPS is 1.
#include "conv.cuh"

constexpr int EACH = 4;  // windows of a thread, and filters
constexpr int ACROSS = (FILTERS + EACH - 1) / EACH, DEEP = CELLS * CHANNELS;

// y = conv(x, kernel) and its ending. The kernel is in shared memory, its filters padded.
//
// x, kernel, y: see conv.cuh; for the rest see ending.cuh
// y, before: overwritten
// Launch: one dimension, any number of blocks of 256 threads; neighbours take neighbouring filters.
extern "C" __global__ void __launch_bounds__(256)
conv_few(const item* __restrict__ x, const item* __restrict__ kernel,
         ENDING_ARGUMENTS, item* __restrict__ y,
         int64 batch) {
    __shared__ __align__(16) real weights[DEEP * ACROSS * EACH];
    for (int i = threadIdx.x; i < DEEP * ACROSS * EACH; i += 256) {
        const int k = i / (ACROSS * EACH), f = i % (ACROSS * EACH);
        weights[i] = f < FILTERS ? (real)gn_float(kernel[k * FILTERS + f]) : (real)0;
    }
    __syncthreads();
    const Finish<FILTERS, FILTERS> finish = {ENDING_GIVEN, y, 0};
    const int windows = (int)batch * OUTSIDE;
    const int64 jobs = (int64)((windows - 1) / EACH + 1) * ACROSS;
    for (int64 job = (int64)blockIdx.x * 256 + threadIdx.x; job < jobs; job += gridDim.x * 256) {
        const int f = (int)(job % ACROSS) * EACH, first = (int)(job / ACROSS) * EACH;
        Inputs::Base window[EACH];
        real sums[EACH][EACH] = {};
#pragma unroll
        for (int i = 0; i < EACH; i++) window[i] = window_at(x, min(first + i, windows - 1), 0);
        for (int cell = 0; cell < CELLS; cell++) {
            const Inputs::Shift shift = cell_at(cell, 0, true);
            const item* at[EACH];
#pragma unroll
            for (int i = 0; i < EACH; i++) at[i] = Inputs::At()(window[i], shift);
#pragma unroll
            for (int c = 0; c < CHANNELS; c++) {
                const real* w = weights + (cell * CHANNELS + c) * (ACROSS * EACH) + f;
#pragma unroll
                for (int i = 0; i < EACH; i++) {
                    const real value = at[i] != nullptr ? (real)gn_float(at[i][c]) : (real)0;
#pragma unroll
                    for (int j = 0; j < EACH; j++) sums[i][j] += value * w[j];
                }
            }
        }
#pragma unroll
        for (int i = 0; i < EACH; i++)
#pragma unroll
            for (int j = 0; j < EACH; j += 2)
                if (first + i < windows) finish(first + i, f + j, sums[i][j], sums[i][j + 1]);
    }
}
