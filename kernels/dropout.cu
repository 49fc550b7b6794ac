// Dropout, for `random_dropout` in gpunet/ops/random.py. What is dropped follows from the key and
// the position alone, so nothing has to be kept for the way back.
#include "common.cuh"
#include "philox.cuh"

// y = x * scale where the element's 16 random bits reach the threshold, else 0.
// Srivastava et al., 2014, JMLR 15, 1929-1958.
//
// x: [n]; key: [3]
// y: [n], overwritten; it may be x
// Launch: one dimension; a thread does 16 neighbours at a time, of `groups` = ceil(n / 16)
extern "C" __global__ void dropout(const real* x, const unsigned long long* __restrict__ key,
                                   real* y, real scale, int64 threshold, int64 n, int64 groups) {
    GRID_STRIDE(i, groups) {
        const Bits bits = philox(key, (unsigned long long)i);
        for (int64 e = 16 * i; e < 16 * i + 16 && e < n; e++)
            y[e] = bits.quarter((int)(e % 16)) >= threshold ? x[e] * scale : (real)0;
    }
}
