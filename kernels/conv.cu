// Convolution of one to three spatial axes, channels last, and both its gradients: matrix products
// whose left side is gathered from the windows and never stored. For gpunet/ops/convolution.py.
//
// Compiled for one geometry: REAL, TF32, RANK and, for each axis i, SIZEi (input), OUTi (windows),
// KERNELi, STRIDEi, DILATIONi, PADi (border before); CHANNELS, FILTERS, GROUPS. Unused axes are 1
// wide with a border of 0.
//
// Launch of the products: grid (tiles of the rows, tiles of the columns, GROUPS or GROUPS * splits),
// THREADS threads.
//
// Shapes: x [N, *SIZE, CHANNELS], y [N, *OUT, FILTERS], kernel [*KERNEL, CHANNELS / GROUPS, FILTERS].
#include "common.cuh"
#include "machine.cuh"

constexpr int THREADS = 256;
constexpr int TILE_M = 64, TILE_N = 64, TILE_K = 16;
constexpr int STRIDE_M = TILE_M + 8, STRIDE_N = TILE_N + 8;  // no bank conflicts for mma
constexpr int EACH = TILE_M * TILE_K / THREADS;              // elements of a tile for a thread

constexpr int CELLS = KERNEL0 * KERNEL1 * KERNEL2;
constexpr int INSIDE = SIZE0 * SIZE1 * SIZE2;   // positions of an image
constexpr int OUTSIDE = OUT0 * OUT1 * OUT2;     // windows of an image
constexpr int DEPTH = CHANNELS / GROUPS, WIDTH = FILTERS / GROUPS;

// -- geometry -----------------------------------------------------------------------------

struct Spot {
    int a, b, c;
};

__device__ inline Spot window_of(int i) { return {i / (OUT1 * OUT2), i / OUT2 % OUT1, i % OUT2}; }
__device__ inline Spot place_of(int i) { return {i / (SIZE1 * SIZE2), i / SIZE2 % SIZE1, i % SIZE2}; }
__device__ inline Spot cell_of(int i) {
    return {i / (KERNEL1 * KERNEL2), i / KERNEL2 % KERNEL1, i % KERNEL2};
}

// The position in an image that a window has under one of its cells, or -1 beyond the border.
__device__ inline int under(int window, int cell) {
    const Spot o = window_of(window), k = cell_of(cell);
    const int a = o.a * STRIDE0 + k.a * DILATION0 - PAD0;
    const int b = o.b * STRIDE1 + k.b * DILATION1 - PAD1;
    const int c = o.c * STRIDE2 + k.c * DILATION2 - PAD2;
    const bool inside = (unsigned)a < SIZE0 && (unsigned)b < SIZE1 && (unsigned)c < SIZE2;
    return inside ? (a * SIZE1 + b) * SIZE2 + c : -1;
}

// The window that has a position under one of its cells, or -1 if none has.
__device__ inline int over(int place, int cell) {
    const Spot p = place_of(place), k = cell_of(cell);
    const int a = p.a + PAD0 - k.a * DILATION0, b = p.b + PAD1 - k.b * DILATION1;
    const int c = p.c + PAD2 - k.c * DILATION2;
    const bool met = a >= 0 && b >= 0 && c >= 0 && a % STRIDE0 == 0 && b % STRIDE1 == 0 &&
                     c % STRIDE2 == 0 && a / STRIDE0 < OUT0 && b / STRIDE1 < OUT1 &&
                     c / STRIDE2 < OUT2;
    return met ? (a / STRIDE0 * OUT1 + b / STRIDE1) * OUT2 + c / STRIDE2 : -1;
}

// An array, taken as 0 where another (what a cut-off at 0 has given) isn't above 0.
struct Masked {
    const real *values, *live;

    __device__ real operator[](int64 i) const {
        return live == nullptr || live[i] > (real)0 ? values[i] : (real)0;
    }
};

// -- the product --------------------------------------------------------------------------

// Adds up left(m, k) * right(k, n) over k from `first` to `last` - 1 for this block's tile, and
// hands each sum to store(m, n, sum). DOWN says that neighbours in m, not in k, are neighbours in
// the left side's memory.
template <bool DOWN, typename Left, typename Right, typename Store>
__device__ inline void product(int64 rows, int columns, int64 first, int64 last, Left left,
                               Right right, Store store) {
    __shared__ real a[TILE_K][STRIDE_M];
    __shared__ real b[TILE_K][STRIDE_N];
    const int64 m0 = (int64)blockIdx.x * TILE_M;
    const int n0 = blockIdx.y * TILE_N;
    real next_a[EACH], next_b[EACH];

    auto fetch = [&](int64 k0) {
        for (int i = 0; i < EACH; i++) {
            const int at = i * THREADS + threadIdx.x;
            const int m = DOWN ? at % TILE_M : at / TILE_K, k = DOWN ? at / TILE_M : at % TILE_K;
            const bool there = m0 + m < rows && k0 + k < last;
            next_a[i] = there ? left(m0 + m, k0 + k) : (real)0;
            const int n = at % TILE_N, row = at / TILE_N;
            const bool also = n0 + n < columns && k0 + row < last;
            next_b[i] = also ? right(k0 + row, n0 + n) : (real)0;
        }
    };
    auto put = [&] {
        for (int i = 0; i < EACH; i++) {
            const int at = i * THREADS + threadIdx.x;
            const int m = DOWN ? at % TILE_M : at / TILE_K, k = DOWN ? at / TILE_M : at % TILE_K;
            a[k][m] = next_a[i];
            b[at / TILE_N][at % TILE_N] = next_b[i];
        }
    };

#if TF32
    // A warp has 16 rows and 32 columns.
    const int lane = threadIdx.x % 32, group = lane / 4, in_group = lane % 4;
    const int row = threadIdx.x / 32 % 4 * 16, column = threadIdx.x / 128 * 32;
    float sums[4][4] = {};
#else
    // A thread has 4 rows and 4 columns.
    const int row = threadIdx.x / 16 * 4, column = threadIdx.x % 16 * 4;
    real sums[4][4] = {};
#endif
    fetch(first);
    for (int64 k0 = first; k0 < last; k0 += TILE_K) {
        put();
        __syncthreads();
        if (k0 + TILE_K < last) fetch(k0 + TILE_K);  // on its way while this tile is multiplied
#if TF32
        for (int k = in_group; k < TILE_K; k += 8) {
            const unsigned l[4] = {gn_tf32(a[k][row + group]), gn_tf32(a[k][row + group + 8]),
                                   gn_tf32(a[k + 4][row + group]),
                                   gn_tf32(a[k + 4][row + group + 8])};
            for (int j = 0; j < 4; j++) {
                const unsigned r[2] = {gn_tf32(b[k][column + 8 * j + group]),
                                       gn_tf32(b[k + 4][column + 8 * j + group])};
                gn_mma_tf32(sums[j], l, r);
            }
        }
#else
        for (int k = 0; k < TILE_K; k++)
            for (int i = 0; i < 4; i++)
                for (int j = 0; j < 4; j++) sums[i][j] += a[k][row + i] * b[k][column + j];
#endif
        __syncthreads();
    }
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) {
#if TF32
            const int m = row + group + j / 2 * 8, n = column + 8 * i + 2 * in_group + j % 2;
#else
            const int m = row + i, n = column + j;
#endif
            if (m0 + m < rows && n0 + n < columns) store(m0 + m, n0 + n, sums[i][j]);
        }
}

// -- the kernels --------------------------------------------------------------------------

// y = conv(x, kernel) + bias, cut off at 0 with `relu`.
//
// x, kernel, y: see above; live: like x or null, x counts as 0 where it isn't above 0
// bias: [FILTERS] or null
// y: overwritten
extern "C" __global__ void __launch_bounds__(THREADS)
conv_forward(const real* __restrict__ x, const real* __restrict__ live,
             const real* __restrict__ kernel, const real* __restrict__ bias,
             real* __restrict__ y, int64 relu, int64 batch) {
    const int g = blockIdx.z;
    const Masked inputs = {x, live};
    product<false>(
        batch * OUTSIDE, WIDTH, 0, CELLS * DEPTH,
        [=](int64 m, int64 k) -> real {
            const int place = under((int)(m % OUTSIDE), (int)k / DEPTH);
            if (place < 0) return 0;
            return inputs[(m / OUTSIDE * INSIDE + place) * CHANNELS + g * DEPTH + (int)k % DEPTH];
        },
        [=](int64 k, int n) { return kernel[k * FILTERS + g * WIDTH + n]; },
        [=](int64 m, int n, real sum) {
            const int f = g * WIDTH + n;
            if (bias != nullptr) sum += bias[f];
            y[m * FILTERS + f] = relu ? fmax(sum, (real)0) : sum;
        });
}

// The transposed convolution, which is what conv_forward does to the gradient of y.
//
// y, kernel, x: see above; live: like y or null, y counts as 0 where it isn't above 0
// bias: [CHANNELS] or null
// x: overwritten
extern "C" __global__ void __launch_bounds__(THREADS)
conv_transposed(const real* __restrict__ y, const real* __restrict__ live,
                const real* __restrict__ kernel, const real* __restrict__ bias,
                real* __restrict__ x, int64 relu, int64 batch) {
    const int g = blockIdx.z;
    const Masked outputs = {y, live};
    product<false>(
        batch * INSIDE, DEPTH, 0, CELLS * WIDTH,
        [=](int64 m, int64 k) -> real {
            const int window = over((int)(m % INSIDE), (int)k / WIDTH);
            if (window < 0) return 0;
            return outputs[(m / INSIDE * OUTSIDE + window) * FILTERS + g * WIDTH + (int)k % WIDTH];
        },
        [=](int64 k, int n) {
            const int64 row = k / WIDTH * DEPTH + n;
            return kernel[row * FILTERS + g * WIDTH + k % WIDTH];
        },
        [=](int64 m, int n, real sum) {
            const int c = g * DEPTH + n;
            if (bias != nullptr) sum += bias[c];
            x[m * CHANNELS + c] = relu ? fmax(sum, (real)0) : sum;
        });
}

// The gradient with respect to the kernel, from one split of the windows for each block in z.
//
// x, y: see above; live_x, live_y: like them, or null
// partial: [splits, *KERNEL, CHANNELS / GROUPS, FILTERS], overwritten
extern "C" __global__ void __launch_bounds__(THREADS)
conv_kernel_gradient(const real* __restrict__ x, const real* __restrict__ live_x,
                     const real* __restrict__ y, const real* __restrict__ live_y,
                     real* __restrict__ partial, int64 splits, int64 batch) {
    const int g = (int)(blockIdx.z / splits), split = (int)(blockIdx.z % splits);
    const Masked inputs = {x, live_x}, outputs = {y, live_y};
    const int64 windows = batch * OUTSIDE;
    const int64 share = (windows + splits - 1) / splits;
    const int64 last = (split + 1) * share < windows ? (split + 1) * share : windows;
    product<true>(
        CELLS * DEPTH, WIDTH, split * share, last,
        [=](int64 m, int64 k) -> real {
            const int place = under((int)(k % OUTSIDE), (int)m / DEPTH);
            if (place < 0) return 0;
            return inputs[(k / OUTSIDE * INSIDE + place) * CHANNELS + g * DEPTH + (int)m % DEPTH];
        },
        [=](int64 k, int n) { return outputs[k * FILTERS + g * WIDTH + n]; },
        [=](int64 m, int n, real sum) {
            partial[((int64)split * CELLS * DEPTH + m) * FILTERS + g * WIDTH + n] = sum;
        });
}

// Joins the splits of conv_kernel_gradient, always in the same order.
//
// partial: [splits, n]
// gradient: [n], overwritten
extern "C" __global__ void splits_joined(const real* __restrict__ partial,
                                         real* __restrict__ gradient, int64 splits, int64 n) {
    GRID_STRIDE(i, n) {
        real total = 0;
        for (int64 s = 0; s < splits; s++) total += partial[s * n + i];
        gradient[i] = total;
    }
}
