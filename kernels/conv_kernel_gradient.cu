// The gradient of a convolution with respect to its kernel: rows are cells and channels, columns
// filters, and k goes over the windows, of which each split takes a part; see conv.cuh.
#include "conv_product.cuh"

// The sums of one split for each block in z, GROUPS * splits of them; splits.cu joins them.
//
// x, y: see conv.cuh, y being the gradient of the result
// partial: [splits, *KERNEL, CHANNELS / GROUPS, FILTERS] of REAL, overwritten
extern "C" __global__ void __launch_bounds__(THREADS, 1)
conv_kernel_gradient(const item* __restrict__ x, const item* __restrict__ y,
                     real* __restrict__ partial, int64 splits, int64 batch) {
    const int g = blockIdx.z / (int)splits, split = blockIdx.z % (int)splits;
    const int rows = CELLS * DEPTH, windows = (int)batch * OUTSIDE;
    const int share = (windows - 1) / (int)splits + 1;
    const int first = min(split * (int64)share, (int64)windows);
    const int last = min((int64)first + share, (int64)windows);
    real* to = partial + (int64)split * rows * FILTERS + g * WIDTH;
    const int m0 = blockIdx.x * TILE_M, n0 = blockIdx.y * TILE_N;
    auto sums = product(
        m0, n0, first, last,
        side<false, VECTOR_LEFT>(
            [=](int m) {
                const int row = min(m, rows - VECTOR_LEFT);
                return cell_at(row / DEPTH, row % DEPTH, true);
            },
            [=](int k) {
                Inputs::Base window = window_at(x, min(k, windows - 1), g);
                if (k >= last) window.at = nullptr;
                return window;
            },
            Inputs::At()),
        side<false, VECTOR_RIGHT>(
            [=](int n) { return y + g * WIDTH + min(n, WIDTH - VECTOR_RIGHT); },
            [=](int k) -> int64 { return k < last ? (int64)k * FILTERS : -1; }, Behind()));
    each(sums, m0, n0, [=](int m, int n, real& sum, real& next) {
        if (m < rows) write<WIDTH, FILTERS>(to + (int64)m * FILTERS, n, sum, next);
    });
}
