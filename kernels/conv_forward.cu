// Convolution, for gpunet/ops/convolution.py: rows are windows, columns filters, and k goes over
// cells and channels; see conv.cuh.
#include "conv_product.cuh"

// y = conv(x, kernel) and its ending. With MEASURED the tiles' moments of y, for a normalization, are
// taken on the way.
//
// x, kernel, y: see conv.cuh; for the rest see ending.cuh
// y, before: overwritten
// aside: of REAL, overwritten: sums [SPLITS, N, *OUT, FILTERS] in place of y, if SPLITS > 1; else
// with MEASURED moments [tiles of the rows, 3, FILTERS]: counts, means and sums of squares
extern "C" __global__ void __launch_bounds__(THREADS, 1)
conv_forward(const item* __restrict__ x, const item* __restrict__ kernel, ENDING_ARGUMENTS,
             item* __restrict__ y, [[maybe_unused]] real* __restrict__ aside, int64 batch) {
    const int g = blockIdx.z / SPLITS, split = blockIdx.z % SPLITS;
    const int rows = (int)batch * OUTSIDE, deep = CELLS * DEPTH;
    const int m0 = blockIdx.x * TILE_M, n0 = blockIdx.y * TILE_N;
    auto sums = product(
        m0, n0, split_at(split, SPLITS, deep), split_at(split + 1, SPLITS, deep),
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
            Behind()));
#if SPLITS > 1
    real* to = aside + (int64)split * rows * FILTERS + g * WIDTH;
    each(sums, m0, n0, [=](int m, int n, real& sum, real& next) {
        if (m < rows) write<WIDTH, FILTERS>(to + (int64)m * FILTERS, n, sum, next);
    });
#else
    const Finish<WIDTH, FILTERS> finish = {ENDING_GIVEN, y, g};
    each(sums, m0, n0, [=](int m, int n, real& sum, real& next) {
        if (m < rows) finish(m, n, sum, next);
    });
#if MEASURED
    real* to = aside + (int64)blockIdx.x * 3 * FILTERS + g * WIDTH;
    measure(sums, m0, n0, rows, [=](int n, const Moments& found) {
        if (n >= WIDTH) return;
        to[n] = found.count;
        to[FILTERS + n] = found.mean;
        to[2 * FILTERS + n] = found.squares;
    });
#endif
#endif
}
