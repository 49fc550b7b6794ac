// Activation functions that kernels end with, chosen when a source is compiled, and their slopes.
#include "common.cuh"

#define TANH 0
#define SIGMOID 1
#define HARD_SIGMOID 2
#define RELU 3
#define LINEAR 4
#define ELU 5
#define SWISH 6
#define RELU6 7
#define LEAKY_RELU 8
#ifndef LEAK
#define LEAK 0.2  // slope of LEAKY_RELU below 0
#endif

template <int NAME>
__device__ inline real activation(real x) {
    if (NAME == TANH) return tanh(x);
    if (NAME == SIGMOID) return sigmoid(x);
    if (NAME == HARD_SIGMOID) return fmin(fmax((real)0.2 * x + (real)0.5, (real)0), (real)1);
    if (NAME == RELU) return x < (real)0 ? (real)0 : x;
    if (NAME == ELU) return x > (real)0 ? x : expm1(x);
    if (NAME == SWISH) return x * sigmoid(x);
    if (NAME == RELU6) return x < (real)0 ? (real)0 : x > (real)6 ? (real)6 : x;
    if (NAME == LEAKY_RELU) return x > (real)0 ? x : (real)LEAK * x;
    return x;
}

// The slope where the activation has the value y; that of SWISH where its input is y.
template <int NAME>
__device__ inline real slope(real y) {
    if (NAME == TANH) return (real)1 - y * y;
    if (NAME == SIGMOID) return y * ((real)1 - y);
    if (NAME == HARD_SIGMOID) return y > (real)0 && y < (real)1 ? (real)0.2 : (real)0;
    if (NAME == RELU) return y > (real)0 ? (real)1 : (real)0;
    if (NAME == ELU) return y > (real)0 ? (real)1 : y + (real)1;
    if (NAME == SWISH) {
        const real gate = sigmoid(y);
        return gate + y * gate * ((real)1 - gate);
    }
    if (NAME == RELU6) return y > (real)0 && y < (real)6 ? (real)1 : (real)0;
    if (NAME == LEAKY_RELU) return y > (real)0 ? (real)1 : (real)LEAK;
    return (real)1;
}
