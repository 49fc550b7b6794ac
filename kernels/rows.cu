// Kernels that work along the rows of a matrix: softmax and its relatives, layer normalization.
//
// Launch of all: one dimension, THREADS threads; ROW_THREADS of them (a warp, or the whole block)
// work on one row at a time. Compiled for REAL, THREADS, ROW_THREADS.
//
// Shapes: R rows, C columns.
#include "common.cuh"

struct Sum {
    __device__ real operator()(real a, real b) const { return a + b; }
};
struct Largest {
    __device__ real operator()(real a, real b) const { return a < b || a != a ? b : a; }
};

// One value for all threads of a row out of a value of each.
template <typename Join>
__device__ inline real joined(real value, Join join) {
    for (int lanes = 16; lanes; lanes /= 2)
        value = join(value, __shfl_xor_sync(0xffffffffu, value, lanes));
    if (ROW_THREADS == 32) return value;
    __shared__ real parts[THREADS / 32];
    __syncthreads();  // the last use of `parts` is over
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = value;
    __syncthreads();
    value = parts[0];
    for (int i = 1; i < THREADS / 32; i++) value = join(value, parts[i]);
    return value;
}

constexpr int AT_ONCE = THREADS / ROW_THREADS;  // rows of a block

#define EACH_ROW(row, rows)                                                                \
    for (int64 row = (int64)blockIdx.x * AT_ONCE + threadIdx.x / ROW_THREADS; row < (rows); \
         row += (int64)gridDim.x * AT_ONCE)
#define EACH_COLUMN(column, columns) \
    for (int64 column = threadIdx.x % ROW_THREADS; column < (columns); column += ROW_THREADS)

// log(sum(exp(x))) of a row.
__device__ inline real log_sum(const real* x, int64 columns) {
    real top = -1 / (real)0;
    EACH_COLUMN(c, columns) top = Largest()(top, x[c]);
    top = joined(top, Largest());
    real total = 0;
    EACH_COLUMN(c, columns) total += exp(x[c] - top);
    return top + log(joined(total, Sum()));
}

// y = softmax(x), or its logarithm.
//
// x: [R, C]
// y: [R, C], overwritten
extern "C" __global__ void softmax_forward(const real* __restrict__ x, real* __restrict__ y,
                                           int64 rows, int64 columns, int64 logarithm) {
    EACH_ROW(row, rows) {
        const real level = log_sum(x + row * columns, columns);
        EACH_COLUMN(c, columns) {
            const real z = x[row * columns + c] - level;
            y[row * columns + c] = logarithm ? z : exp(z);
        }
    }
}

// The gradient of softmax_forward.
//
// y, gy: [R, C]
// gx: [R, C], overwritten
extern "C" __global__ void softmax_backward(const real* __restrict__ y,
                                            const real* __restrict__ gy, real* __restrict__ gx,
                                            int64 rows, int64 columns, int64 logarithm) {
    EACH_ROW(row, rows) {
        real sum = 0;
        EACH_COLUMN(c, columns) {
            const int64 i = row * columns + c;
            sum += logarithm ? gy[i] : gy[i] * y[i];
        }
        sum = joined(sum, Sum());
        EACH_COLUMN(c, columns) {
            const int64 i = row * columns + c;
            gx[i] = logarithm ? gy[i] - exp(y[i]) * sum : y[i] * (gy[i] - sum);
        }
    }
}

// loss = -log(softmax(x)[target]), and the level of each row for the way back.
//
// x: [R, C]
// target: [R]; one that is no column gives NaN, and `ignored` gives 0
// loss, level: [R], overwritten
extern "C" __global__ void sparse_forward(const long long* __restrict__ target,
                                          const real* __restrict__ x, real* __restrict__ loss,
                                          real* __restrict__ level, int64 rows, int64 columns,
                                          int64 ignored, int64 ignores) {
    EACH_ROW(row, rows) {
        const real top = log_sum(x + row * columns, columns);
        if (threadIdx.x % ROW_THREADS) continue;
        const int64 t = target[row];
        const bool there = t >= 0 && t < columns;
        level[row] = top;
        loss[row] = ignores && t == ignored ? (real)0
                    : there                 ? top - x[row * columns + t]
                                            : (real)nan("");  // the macro is the host's
    }
}

// The gradient of sparse_forward.
//
// target, level, gy: [R]; x: [R, C]
// gx: [R, C], overwritten
extern "C" __global__ void sparse_backward(const long long* __restrict__ target,
                                           const real* __restrict__ x,
                                           const real* __restrict__ level,
                                           const real* __restrict__ gy, real* __restrict__ gx,
                                           int64 rows, int64 columns, int64 ignored,
                                           int64 ignores) {
    EACH_ROW(row, rows) {
        const int64 t = target[row];
        const real g = ignores && t == ignored ? (real)0 : gy[row];
        EACH_COLUMN(c, columns) {
            const real share = exp(x[row * columns + c] - level[row]);
            gx[row * columns + c] = g * (c == t ? share - 1 : share);
        }
    }
}

// loss = -sum(target * log(softmax(x))), and the level of each row for the way back.
//
// target, x: [R, C]
// loss, level: [R], overwritten
extern "C" __global__ void categorical_forward(const real* __restrict__ target,
                                               const real* __restrict__ x,
                                               real* __restrict__ loss, real* __restrict__ level,
                                               int64 rows, int64 columns) {
    EACH_ROW(row, rows) {
        const real top = log_sum(x + row * columns, columns);
        real sum = 0;
        EACH_COLUMN(c, columns) {
            const int64 i = row * columns + c;
            sum += target[i] * (top - x[i]);
        }
        sum = joined(sum, Sum());
        if (threadIdx.x % ROW_THREADS) continue;
        level[row] = top;
        loss[row] = sum;
    }
}

// The gradients of categorical_forward, for targets that add up to 1.
//
// target, x: [R, C]; level, gy: [R]
// gx, gtarget: [R, C], overwritten where they aren't null
extern "C" __global__ void categorical_backward(const real* __restrict__ target,
                                                const real* __restrict__ x,
                                                const real* __restrict__ level,
                                                const real* __restrict__ gy,
                                                real* __restrict__ gx,
                                                real* __restrict__ gtarget, int64 rows,
                                                int64 columns) {
    EACH_ROW(row, rows) {
        EACH_COLUMN(c, columns) {
            const int64 i = row * columns + c;
            const real z = x[i] - level[row];
            if (gx) gx[i] = gy[row] * (exp(z) - target[i]);
            if (gtarget) gtarget[i] = -gy[row] * z;
        }
    }
}

// y = (x - mean) / sqrt(variance + epsilon) * gamma + beta, with the statistics of each row.
// Ba et al., 2016, arXiv:1607.06450.
//
// x: [R, C]; gamma, beta: [C] or null
// y: [R, C], mean, variance: [R], overwritten
extern "C" __global__ void normalize_rows(const real* __restrict__ x,
                                          const real* __restrict__ gamma,
                                          const real* __restrict__ beta, real* __restrict__ y,
                                          real* __restrict__ mean, real* __restrict__ variance,
                                          real epsilon, int64 rows, int64 columns) {
    EACH_ROW(row, rows) {
        const real* own = x + row * columns;
        real sum = 0, squares = 0;
        EACH_COLUMN(c, columns) sum += own[c];
        const real middle = joined(sum, Sum()) / columns;
        EACH_COLUMN(c, columns) squares += (own[c] - middle) * (own[c] - middle);
        const real spread = joined(squares, Sum()) / columns;
        const real inverse = (real)1 / sqrt(spread + epsilon);
        EACH_COLUMN(c, columns) {
            const real unit = (own[c] - middle) * inverse;
            y[row * columns + c] = (gamma ? unit * gamma[c] : unit) + (beta ? beta[c] : (real)0);
        }
        if (threadIdx.x % ROW_THREADS) continue;
        mean[row] = middle;
        variance[row] = spread;
    }
}

// The gradient of normalize_rows with respect to x.
//
// gy, x: [R, C]; gamma: [C] or null; mean, variance: [R]; gmean, gvariance: [R] or null
// gx: [R, C], overwritten
extern "C" __global__ void normalize_rows_backward(
    const real* __restrict__ gy, const real* __restrict__ x, const real* __restrict__ gamma,
    const real* __restrict__ mean, const real* __restrict__ variance,
    const real* __restrict__ gmean, const real* __restrict__ gvariance, real* __restrict__ gx,
    real epsilon, int64 rows, int64 columns) {
    EACH_ROW(row, rows) {
        const real middle = mean[row], inverse = (real)1 / sqrt(variance[row] + epsilon);
        real level = 0, along = 0;
        EACH_COLUMN(c, columns) {
            const int64 i = row * columns + c;
            const real g = gamma ? gy[i] * gamma[c] : gy[i];
            level += g;
            along += g * (x[i] - middle) * inverse;
        }
        level = inverse * joined(level, Sum()) - (gmean ? gmean[row] : (real)0);
        along = inverse * joined(along, Sum()) -
                (gvariance ? 2 * gvariance[row] / inverse : (real)0);
        EACH_COLUMN(c, columns) {
            const int64 i = row * columns + c;
            const real g = gamma ? gy[i] * gamma[c] : gy[i];
            gx[i] = inverse * g - (level + (x[i] - middle) * inverse * along) / columns;
        }
    }
}
