// What all kernels share. gpunet/fused/sources.py pastes it into each source, once.

// The element type of the kernels' float arrays; a source is compiled once for each.
#ifndef REAL
#define REAL float
#endif
typedef REAL real;
typedef long long int64;  // of sizes and positions: an array may hold more than 2^31 elements

// Runs its body for i = 0 .. n - 1, shared out over all threads of a one-dimensional launch of
// any size. Neighbouring threads take neighbouring elements.
#define GRID_STRIDE(i, n)                                                         \
    for (int64 i = (int64)blockIdx.x * blockDim.x + threadIdx.x,                  \
               gn_stride = (int64)gridDim.x * blockDim.x;                         \
         i < (n); i += gn_stride)

// The largest x whose exp(x) is finite, rounded down.
__device__ inline real largest_exponent() { return sizeof(real) == 4 ? (real)88 : (real)709; }

// 1 / (1 + exp(-x)); small values keep all their digits.
__device__ inline real sigmoid(real x) {
    return (real)1 / ((real)1 + exp(fmin(-x, largest_exponent())));
}

// What stays rounded by itself, and keeps NaN, as one launch for each operation would have it; else
// compilers join products with the sums behind them.
__device__ inline float gn_times(float a, float b) { return __fmul_rn(a, b); }
__device__ inline double gn_times(double a, double b) { return __dmul_rn(a, b); }
__device__ inline real gn_larger(real a, real b) { return a >= b || a != a ? a : b; }
__device__ inline real gn_smaller(real a, real b) { return a <= b || a != a ? a : b; }
__device__ inline real gn_sign(real x) { return (real)((x > 0) - (x < 0)); }
