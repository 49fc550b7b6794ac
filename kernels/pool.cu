// Pooling, for `max_pool` and `average_pool` in gpunet/ops/pool.py: the largest or the mean of the
// elements in windows along up to three axes. What lies outside of x doesn't count.
//
// One thread does one element of the result. Compiled for REAL, INDEX (an integer type that holds
// all positions) and MEAN (0 or 1).
//
// Shapes: N images of [D, H, W] elements and [P, Q, R] windows, C channels; n elements of what is
// written. Axes that aren't there have size 1.
#include "common.cuh"

#ifndef INDEX
#define INDEX unsigned
#endif
#ifndef MEAN
#define MEAN 0
#endif

// Along one axis: the size of x, the number of windows, their size, their distance, and how far the
// first reaches beyond x.
#define AXIS(i) int size##i, int out##i, int kernel##i, int stride##i, int pad##i
#define AXES AXIS(0), AXIS(1), AXIS(2)

__device__ inline int larger(int a, int b) { return a > b ? a : b; }
__device__ inline int smaller(int a, int b) { return a < b ? a : b; }

// Window `at` along axis i covers first .. last - 1 of x.
#define COVERED(i, at)                                                 \
    const int start##i = (int)(at) * stride##i - pad##i;               \
    const int first##i = larger(start##i, 0);                          \
    const int last##i = smaller(start##i + kernel##i, size##i);

// Element `at` of axis i lies in windows from##i .. to##i - 1.
#define COVERING(i, at)                                                                      \
    const int reach##i = (int)(at) + pad##i;                                                 \
    const int from##i =                                                                      \
        reach##i < kernel##i ? 0 : (reach##i - kernel##i) / stride##i + 1;                   \
    const int to##i = smaller(reach##i / stride##i + 1, out##i);

// x: [N, D, H, W, C]
// y: [N, P, Q, R, C], overwritten; winner: [N, P, Q, R, C], overwritten by the number of the
// first largest cell of the window, row by row; not used with MEAN
extern "C" __global__ void pool_forward(const real* __restrict__ x, real* __restrict__ y,
                                        unsigned char* __restrict__ winner, AXES, int64 channels,
                                        int64 n) {
    GRID_STRIDE(i, n) {
        const INDEX c = (INDEX)(i % channels);
        INDEX left = (INDEX)(i / channels);
        const INDEX at2 = left % out2;
        left /= out2;
        const INDEX at1 = left % out1;
        left /= out1;
        const INDEX at0 = left % out0, image = left / out0;
        COVERED(0, at0)
        COVERED(1, at1)
        COVERED(2, at2)
        real best = MEAN ? (real)0 : -1 / (real)0;
        int cell = -1;
        for (int a = first0; a < last0; a++)
            for (int b = first1; b < last1; b++) {
                const int64 row = (((int64)image * size0 + a) * size1 + b) * size2;
                for (int d = first2; d < last2; d++) {
                    const real value = x[(row + d) * channels + c];
                    if (MEAN) {
                        best += value;
                    } else if (value > best || cell < 0 || (value != value && best == best)) {
                        best = value;
                        cell = ((a - start0) * kernel1 + b - start1) * kernel2 + d - start2;
                    }
                }
            }
        const int count = (last0 - first0) * (last1 - first1) * (last2 - first2);
        y[i] = MEAN ? best / (real)count : best;
        if (!MEAN) winner[i] = (unsigned char)cell;
    }
}

// The gradient of pool_forward: each element looks at the windows that it lies in.
//
// gy, winner: [N, P, Q, R, C]
// gx: [N, D, H, W, C], overwritten
extern "C" __global__ void pool_backward(const real* __restrict__ gy,
                                         const unsigned char* __restrict__ winner,
                                         real* __restrict__ gx, AXES, int64 channels, int64 n) {
    GRID_STRIDE(i, n) {
        const INDEX c = (INDEX)(i % channels);
        INDEX left = (INDEX)(i / channels);
        const INDEX at2 = left % size2;
        left /= size2;
        const INDEX at1 = left % size1;
        left /= size1;
        const INDEX at0 = left % size0, image = left / size0;
        COVERING(0, at0)
        COVERING(1, at1)
        COVERING(2, at2)
        real sum = 0;
        for (int p = from0; p < to0; p++)
            for (int q = from1; q < to1; q++)
                for (int r = from2; r < to2; r++) {
                    const int64 row = (((int64)image * out0 + p) * out1 + q) * out2 + r;
                    const real g = gy[row * channels + c];
                    COVERED(0, p)
                    COVERED(1, q)
                    COVERED(2, r)
                    const int count =
                        (last0 - first0) * (last1 - first1) * (last2 - first2);
                    const int cell =
                        (((int)at0 - start0) * kernel1 + (int)at1 - start1) * kernel2 +
                        (int)at2 - start2;
                    if (MEAN)
                        sum += g / (real)count;
                    else if (winner[row * channels + c] == cell)
                        sum += g;
                }
        gx[i] = sum;
    }
}
