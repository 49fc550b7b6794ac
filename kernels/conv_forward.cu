// Convolution, for gpunet/ops/convolution.py: rows are windows, columns filters, and k goes over
// cells and channels; see conv.cuh.
#include "conv_product.cuh"

// y = activation(conv(x, kernel) + bias).
//
// x, kernel, y: see conv.cuh; bias: [FILTERS] or null
// before: like y or null, gets what goes into the activation
// y, before: overwritten
extern "C" __global__ void __launch_bounds__(THREADS, 1)
conv_forward(const item* __restrict__ x, const item* __restrict__ kernel,
             const item* __restrict__ bias, item* __restrict__ before, item* __restrict__ y,
             int64 batch) {
    const int g = blockIdx.z, rows = (int)batch * OUTSIDE, deep = CELLS * DEPTH;
    const Finish<WIDTH, FILTERS> finish = {bias, before, y, g};
    product(
        blockIdx.x * TILE_M, blockIdx.y * TILE_N, 0, deep,
        side<true, VECTOR_LEFT>(
            [=](int m) { return window_at(x, min(m, rows - 1), g); },
            [=](int k) {
                const Deep d = deep_of<DEPTH>(k, CELLS);
                return cell_at(d.cell, d.channel, k < deep);
            },
            Inputs::At()),
        side<false, VECTOR_RIGHT>(
            [=](int n) { return kernel + g * WIDTH + min(n, WIDTH - VECTOR_RIGHT); },
            [=](int k) -> int64 {
                const Deep d = deep_of<DEPTH>(k, CELLS);
                return k < deep ? (int64)(d.cell * DEPTH + d.channel) * FILTERS : -1;
            },
            Behind()),
        [=](int m, int n, real sum, real next) {
            if (m < rows) finish(m, n, sum, next);
        });
}
