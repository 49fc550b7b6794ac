// Binary cross-entropy, for `binary_crossentropy` in gpunet/ops/loss.py. Compiled for REAL.
#include "common.cuh"

// min(max(x, low), high), which lets NaN through.
__device__ inline real within(real x, real low, real high) {
    return x < low ? low : x > high ? high : x;
}

// -t log(p) - (1 - t) log(1 - p); of logits x, p = sigmoid(x), in a form that can't overflow.
//
// target, x: [n]
// y: [n], overwritten
extern "C" __global__ void binary_forward(const real* __restrict__ target,
                                          const real* __restrict__ x, real* __restrict__ y,
                                          real low, int64 logits, int64 n) {
    GRID_STRIDE(i, n) {
        const real t = target[i], p = x[i];
        if (logits) {
            y[i] = (p > 0 || p != p ? p : (real)0) - p * t + log1p(exp(-fabs(p)));
        } else {
            const real clipped = within(p, low, 1 - low);
            y[i] = -(t * log(clipped + low) + (1 - t) * log(1 - clipped + low));
        }
    }
}

// The gradient of binary_forward.
//
// target, x, gy: [n]
// gx, gtarget: [n], overwritten, or null
extern "C" __global__ void binary_backward(const real* __restrict__ target,
                                           const real* __restrict__ x,
                                           const real* __restrict__ gy, real* __restrict__ gx,
                                           real* __restrict__ gtarget, real low, int64 logits,
                                           int64 n) {
    GRID_STRIDE(i, n) {
        const real t = target[i], p = x[i], g = gy[i];
        if (logits) {
            if (gx) gx[i] = g * (sigmoid(p) - t);
            if (gtarget) gtarget[i] = -g * p;
            continue;
        }
        const real clipped = within(p, low, 1 - low);
        const real yes = clipped + low, no = 1 - clipped + low;
        const bool inside = p >= low && p <= 1 - low;
        if (gx) gx[i] = inside ? g * ((1 - t) / no - t / yes) : (real)0;
        if (gtarget) gtarget[i] = g * (log(no) - log(yes));
    }
}
