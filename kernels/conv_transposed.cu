// The transposed convolution, which is what conv_forward does to the gradient of y, for
// gpunet/ops/convolution.py; see conv_product.cuh.
//
// With strides a position of x meets only the cells that fit its remainders by the strides. So
// positions are sorted into classes of equal remainders, each a product of its own: rows are the
// positions of a class, columns channels, and k goes over its cells and the filters.
#include "conv_product.cuh"

constexpr int CLASSES = STRIDE0 * STRIDE1 * STRIDE2;

// The positions p and cells k of an axis that share a remainder: p + PAD and k * DILATION, each
// divided by STRIDE. Place i is p = place + i * STRIDE, cell j is k = cell + j * step, and they meet
// in the window `window` + i - `back` - j * step_back.
struct Axis {
    int place, places, window, cell, cells, back;
};
__device__ constexpr int divisor(int a, int b) { return b == 0 ? a : divisor(b, a % b); }

template <int STRIDE, int DILATION>
struct Steps {
    static constexpr int CELL = STRIDE / divisor(STRIDE, DILATION);
    static constexpr int BACK = DILATION / divisor(STRIDE, DILATION);
};

template <int SIZE, int KERNEL, int STRIDE, int DILATION, int PAD>
__device__ inline Axis axis_of(int remainder) {
    Axis axis;
    axis.place = (remainder + (PAD / STRIDE + 1) * STRIDE - PAD) % STRIDE;
    axis.places = axis.place < SIZE ? (SIZE - 1 - axis.place) / STRIDE + 1 : 0;
    axis.window = (axis.place + PAD) / STRIDE;
    constexpr int STEP = Steps<STRIDE, DILATION>::CELL;
    axis.cell = 0;
    while (axis.cell < STEP && axis.cell * DILATION % STRIDE != remainder) axis.cell++;
    const bool any = axis.cell < STEP && axis.cell < KERNEL;
    axis.cells = any ? (KERNEL - 1 - axis.cell) / STEP + 1 : 0;
    axis.back = axis.cell * DILATION / STRIDE;
    return axis;
}

// x = transposed(y, kernel) and its ending.
//
// y, kernel, x: see conv.cuh; for the rest see ending.cuh
// x, before: overwritten
// aside: of REAL, overwritten with sums [SPLITS, N, *SIZE, CHANNELS] in place of x, if SPLITS > 1
// Launch: the grid's z is GROUPS * CLASSES * SPLITS, its x has tiles for the largest class.
extern "C" __global__ void __launch_bounds__(THREADS, 1)
conv_transposed(const item* __restrict__ y, const item* __restrict__ kernel,
                ENDING_ARGUMENTS,
                item* __restrict__ x, [[maybe_unused]] real* __restrict__ aside, int64 batch) {
    const int split = blockIdx.z % SPLITS, g = blockIdx.z / SPLITS / CLASSES;
    const Spot own = spot_of(blockIdx.z / SPLITS % CLASSES, STRIDE0, STRIDE1, STRIDE2);
    const Axis a = axis_of<SIZE0, KERNEL0, STRIDE0, DILATION0, PAD0>(own.a);
    const Axis b = axis_of<SIZE1, KERNEL1, STRIDE1, DILATION1, PAD1>(own.b);
    const Axis c = axis_of<SIZE2, KERNEL2, STRIDE2, DILATION2, PAD2>(own.c);
    const int places = a.places * b.places * c.places, cells = a.cells * b.cells * c.cells;
    const int rows = (int)batch * places, deep = cells * WIDTH;
    const int m0 = blockIdx.x * TILE_M, n0 = blockIdx.y * TILE_N;
    if (m0 >= rows) return;

    auto shift_of = [=](int k) {
        const Deep d = deep_of<WIDTH>(k, cells);
        const Spot j = spot_of(d.cell, a.cells, b.cells, c.cells);
        return Outputs::shift({-a.back - j.a * Steps<STRIDE0, DILATION0>::BACK,
                               -b.back - j.b * Steps<STRIDE1, DILATION1>::BACK,
                               -c.back - j.c * Steps<STRIDE2, DILATION2>::BACK},
                              d.channel, true);
    };
    auto offset_of = [=](int k) -> int64 {
        const Deep d = deep_of<WIDTH>(k, cells);
        const Spot j = spot_of(d.cell, a.cells, b.cells, c.cells);
        const int cell = ((a.cell + j.a * Steps<STRIDE0, DILATION0>::CELL) * KERNEL1 + b.cell +
                          j.b * Steps<STRIDE1, DILATION1>::CELL) * KERNEL2 +
                         c.cell + j.c * Steps<STRIDE2, DILATION2>::CELL;
        return (int64)cell * DEPTH * FILTERS + d.channel;
    };
    auto sums = product(
        m0, n0, split_at(split, SPLITS, deep), split_at(split + 1, SPLITS, deep),
        side<true, VECTOR_LEFT>(
            [=](int m) {
                m = min(m, rows - 1);
                const Spot i = spot_of(m % places, a.places, b.places, c.places);
                const item* image = y + (int64)(m / places) * OUTSIDE * FILTERS + g * WIDTH;
                return Outputs::base(image, {a.window + i.a, b.window + i.b, c.window + i.c});
            },
            [=](int k) { return k < deep ? shift_of(k) : Outputs::Shift{0, 0, 0, 0, false}; },
            Outputs::At()),
        side<true, VECTOR_RIGHT>(
            [=](int n) { return kernel + (int64)min(n, DEPTH - 1) * FILTERS + g * WIDTH; },
            [=](int k) -> int64 { return k < deep ? offset_of(k) : -1; }, Behind()));
    auto row_of = [=](int m) -> int64 {
        if (CLASSES == 1) return m;
        const Spot i = spot_of(m % places, a.places, b.places, c.places);
        return (int64)(m / places) * INSIDE +
               ((a.place + i.a * STRIDE0) * SIZE1 + b.place + i.b * STRIDE1) * SIZE2 + c.place +
               i.c * STRIDE2;
    };
#if SPLITS > 1
    real* to = aside + split * batch * INSIDE * CHANNELS + g * DEPTH;
    each(sums, m0, n0, [=](int m, int n, real& sum, real& next) {
        if (m < rows) write<DEPTH, CHANNELS>(to + row_of(m) * CHANNELS, n, sum, next);
    });
#else
    const Finish<DEPTH, CHANNELS> finish = {ENDING_GIVEN, x, g};
    each(sums, m0, n0, [=](int m, int n, real& sum, real& next) {
        if (m < rows) finish(row_of(m), n, sum, next);
    });
#endif
}
