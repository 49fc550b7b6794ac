// Rows of a table by number: looking them up, and adding gradients up by number.
//
// Numbers below 0 count from the end. Compiled for REAL, NUMBER (an integer type) and WORD (what a
// row is copied in).
//
// Shapes: V rows of a table, C columns, N numbers.
#include "common.cuh"

#ifndef NUMBER
#define NUMBER long long
#endif
#ifndef WORD
#define WORD unsigned int
#endif

// The row that a number means; one out of range means some row of the table.
__device__ inline int64 row_of(NUMBER number, int64 rows) {
    const int64 left = (int64)number % rows;
    return left < 0 ? left + rows : left;
}

// y = x[numbers[place:]]
//
// x: [V, C]; numbers: [N or more]; place: [1] or null for 0; n = N * C
// y: [N, C], overwritten
extern "C" __global__ void rows_taken(const WORD* __restrict__ x,
                                      const NUMBER* __restrict__ numbers,
                                      const int64* __restrict__ place, WORD* __restrict__ y,
                                      int64 rows, int64 columns, int64 n) {
    const int64 first = place ? *place : 0;
    GRID_STRIDE(i, n) {
        const int64 row = row_of(numbers[first + i / columns], rows);
        y[i] = x[row * columns + i % columns];
    }
}

constexpr int ROWS = 32;    // of the table that a block adds up
constexpr int GROUPS = 4;   // of threads: each adds every fourth of the rows that fit
constexpr int SIZE = 32 * GROUPS;

// Sums of rows with the same number; always in the same order, since a block walks all numbers and
// picks those of its own rows.
//
// values: [N, C]; numbers: [N]
// y: [V, C], overwritten; touched: [V], overwritten by whether a number means the row, or null
// Launch: grid (ceil(V / 32), ceil(C / 32)), block (32, 4)
extern "C" __global__ void rows_added(const real* __restrict__ values,
                                      const NUMBER* __restrict__ numbers, real* __restrict__ y,
                                      bool* __restrict__ touched, int64 n, int64 rows,
                                      int64 columns) {
    __shared__ real sums[GROUPS][ROWS][32];
    __shared__ int found_row[SIZE];
    __shared__ int64 found_at[SIZE];
    __shared__ int counts[GROUPS];
    __shared__ int seen[ROWS];
    const int lane = threadIdx.x, group = threadIdx.y, own = group * 32 + lane;
    const int64 first = (int64)blockIdx.x * ROWS, column = (int64)blockIdx.y * 32 + lane;
    for (int r = 0; r < ROWS; r++) sums[group][r][lane] = 0;
    if (group == 0) seen[lane] = 0;
    for (int64 start = 0; start < n; start += SIZE) {
        // Those of the next numbers that fit, in their order.
        const int64 at = start + own;
        const int64 row = at < n ? row_of(numbers[at], rows) - first : -1;
        const bool fits = row >= 0 && row < ROWS;
        const unsigned ballot = __ballot_sync(0xffffffffu, fits);
        if (lane == 0) counts[group] = __popc(ballot);
        __syncthreads();
        int before = 0, total = 0;
        for (int g = 0; g < GROUPS; g++) {
            if (g < group) before += counts[g];
            total += counts[g];
        }
        if (fits) {
            const int place = before + __popc(ballot & ((1u << lane) - 1));
            found_row[place] = (int)row;
            found_at[place] = at;
        }
        __syncthreads();
        for (int i = group; i < total; i += GROUPS) {
            const int r = found_row[i];
            if (column < columns) sums[group][r][lane] += values[found_at[i] * columns + column];
            if (lane == 0) seen[r] = 1;
        }
        __syncthreads();
    }
    __syncthreads();
    for (int r = group; r < ROWS && first + r < rows; r += GROUPS) {
        real sum = 0;
        for (int g = 0; g < GROUPS; g++) sum += sums[g][r][lane];
        if (column < columns) y[(first + r) * columns + column] = sum;
        if (touched && lane == 0 && blockIdx.y == 0) touched[first + r] = seen[r] != 0;
    }
}
