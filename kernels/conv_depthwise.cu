// Convolution in which each channel has filters of its own, and both its gradients: they read and
// write more than they multiply. For gpunet/ops/convolution.py; GROUPS is CHANNELS.
//
// Neighbouring threads take neighbouring channels; all but the last kernel run in one dimension, on
// any number of blocks of 256 threads.
#include "conv.cuh"

constexpr int EACH = 4;                            // windows, or positions, of a thread
constexpr int CHUNK = CELLS < 16 ? CELLS : 16;     // cells that a thread adds up for at once

// y = conv(x, kernel) and its ending.
//
// x, kernel, y: see conv.cuh; for the rest see ending.cuh
// y, before: overwritten
extern "C" __global__ void __launch_bounds__(256)
depthwise_forward(const item* __restrict__ x, const item* __restrict__ kernel,
                  ENDING_ARGUMENTS, item* __restrict__ y,
                  int64 batch) {
    const int windows = (int)batch * OUTSIDE;
    const int64 jobs = (int64)((windows - 1) / EACH + 1) * FILTERS;
    GRID_STRIDE(job, jobs) {
        const int f = (int)(job % FILTERS), first = (int)(job / FILTERS) * EACH;
        Inputs::Base window[EACH];
        real sums[EACH] = {};
#pragma unroll
        for (int i = 0; i < EACH; i++)
            window[i] = window_at(x, min(first + i, windows - 1), f / WIDTH);
        for (int cell = 0; cell < CELLS; cell++) {
            const real weight = gn_float(kernel[cell * FILTERS + f]);
            const Inputs::Shift shift = cell_at(cell, 0, true);
#pragma unroll
            for (int i = 0; i < EACH; i++) {
                const item* at = Inputs::At()(window[i], shift);
                sums[i] += at != nullptr ? gn_float(*at) * weight : (real)0;
            }
        }
        real none = 0;
        const Finish<1, FILTERS> finish = {ENDING_GIVEN, y, f};
        for (int i = 0; i < EACH; i++)
            if (first + i < windows) finish(first + i, 0, sums[i], none);
    }
}

// The window that has position p of an axis under cell k, if any, else -1.
template <int STRIDE, int DILATION, int PAD, int OUT>
__device__ inline int over(int p, int k) {
    const int from = p + PAD - k * DILATION;
    return from >= 0 && from % STRIDE == 0 && from / STRIDE < OUT ? from / STRIDE : -1;
}

// x = transposed(y, kernel) and its ending.
//
// y, kernel, x: see conv.cuh; for the rest see ending.cuh
// x, before: overwritten
extern "C" __global__ void __launch_bounds__(256, 4)
depthwise_transposed(const item* __restrict__ y, const item* __restrict__ kernel,
                     ENDING_ARGUMENTS, item* __restrict__ x, int64 batch) {
    GRID_STRIDE(job, batch * INSIDE * CHANNELS) {
        const int c = (int)(job % CHANNELS), row = (int)(job / CHANNELS), image = row / INSIDE;
        const Spot p = spot_of(row % INSIDE, SIZE0, SIZE1, SIZE2);
        real sum = 0;
        for (int ka = 0; ka < KERNEL0; ka++) {
            const int a = over<STRIDE0, DILATION0, PAD0, OUT0>(p.a, ka);
            for (int kb = 0; kb < KERNEL1 && a >= 0; kb++) {
                const int b = over<STRIDE1, DILATION1, PAD1, OUT1>(p.b, kb);
                for (int kc = 0; kc < KERNEL2 && b >= 0; kc++) {
                    const int o = over<STRIDE2, DILATION2, PAD2, OUT2>(p.c, kc);
                    if (o < 0) continue;
                    const int64 window = (int64)image * OUTSIDE + (a * OUT1 + b) * OUT2 + o;
                    const int cell = (ka * KERNEL1 + kb) * KERNEL2 + kc;
#pragma unroll
                    for (int j = c * WIDTH; j < (c + 1) * WIDTH; j++)
                        sum += gn_float(y[window * FILTERS + j]) *
                               gn_float(kernel[cell * FILTERS + j]);
                }
            }
        }
        real none = 0;
        const Finish<1, CHANNELS> finish = {ENDING_GIVEN, x, c};
        finish(row, 0, sum, none);
    }
}

// The gradient with respect to the kernel, from one split of the windows for each block in y.
//
// x, y: see conv.cuh, y being the gradient of the result
// partial: [splits, *KERNEL, 1, FILTERS] of REAL, overwritten; splits.cu joins them
// Launch: grid (ceil(FILTERS / 32), splits, ceil(CELLS / CHUNK)), threads (32, 8).
extern "C" __global__ void __launch_bounds__(256)
depthwise_kernel_gradient(const item* __restrict__ x, const item* __restrict__ y,
                          real* __restrict__ partial, int64 splits, int64 batch) {
    const int f = blockIdx.x * 32 + threadIdx.x, windows = (int)batch * OUTSIDE;
    const int share = (windows - 1) / (int)splits + 1, begin = blockIdx.z * CHUNK;
    const int64 first = (int64)blockIdx.y * share;
    const int last = (int)min(first + share, (int64)windows);
    real sums[CHUNK] = {};
    for (int64 w = first + threadIdx.y; w < last && f < FILTERS; w += 8) {
        const Inputs::Base window = window_at(x, (int)w, f / WIDTH);
        const real g = gn_float(y[w * FILTERS + f]);
#pragma unroll
        for (int i = 0; i < CHUNK; i++) {
            const Inputs::Shift cell = cell_at(begin + i, 0, begin + i < CELLS);
            const item* at = Inputs::At()(window, cell);
            if (at != nullptr) sums[i] += gn_float(*at) * g;
        }
    }
#pragma unroll
    for (int i = 0; i < CHUNK; i++) {
        const real sum = over_shares(sums[i]);
        if (threadIdx.y == 0 && f < FILTERS && begin + i < CELLS)
            partial[((int64)blockIdx.y * CELLS + begin + i) * FILTERS + f] = sum;
    }
}
