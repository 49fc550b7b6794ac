// Activation functions, for ops in gpunet/ops/nonlinear.py and elementwise.py; ACTIVATION says which.
// Launch of all: one dimension, any number of blocks and threads.
#include "activations.cuh"
#include "items.cuh"

// y = activation(x).
//
// x: [n]
// y: [n], overwritten
extern "C" __global__ void activation_forward(const item* __restrict__ x, item* __restrict__ y,
                                              int64 n) {
    GRID_STRIDE(i, n) { gn_round(y[i], activation<ACTIVATION>((real)gn_float(x[i]))); }
}

// The gradient of activation_forward, from its result alone, or its input alone: see `slope`.
//
// known, gy: [n]
// gx: [n], overwritten
extern "C" __global__ void activation_backward(const item* __restrict__ known,
                                               const item* __restrict__ gy,
                                               item* __restrict__ gx, int64 n) {
    GRID_STRIDE(i, n) {
        gn_round(gx[i], gn_float(gy[i]) * slope<ACTIVATION>((real)gn_float(known[i])));
    }
}
