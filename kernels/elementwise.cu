// Kernels for the elementwise ops in gpunet/ops/nonlinear.py.
// Launch of all: one dimension, any number of blocks and threads.
#include "common.cuh"

// y = x * sigmoid(x).
//
// x: [n]
// y: [n], overwritten
//
// Ramachandran et al., 2017, arXiv:1710.05941.
extern "C" __global__ void swish_forward(const real* __restrict__ x, real* __restrict__ y,
                                         int64 n) {
    GRID_STRIDE(i, n) { y[i] = x[i] * sigmoid(x[i]); }
}

// The gradient of swish_forward, from x alone: nothing else has to be kept for it.
//
// x, gy: [n]
// gx: [n], overwritten
extern "C" __global__ void swish_backward(const real* __restrict__ x, const real* __restrict__ gy,
                                          real* __restrict__ gx, int64 n) {
    GRID_STRIDE(i, n) {
        real gate = sigmoid(x[i]);
        gx[i] = gy[i] * (gate + x[i] * gate * ((real)1 - gate));
    }
}

// The gradient of a ReLU, from its result.
//
// y, gy: [n]
// gx: [n], overwritten
extern "C" __global__ void relu_backward(const real* __restrict__ y, const real* __restrict__ gy,
                                         real* __restrict__ gx, int64 n) {
    GRID_STRIDE(i, n) { gx[i] = y[i] > (real)0 ? gy[i] : (real)0; }
}
