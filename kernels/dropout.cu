// Dropout, for `random_dropout` in gpunet/ops/random.py. What is dropped follows from the key and
// the position alone, so nothing has to be kept for the way back.
#include "common.cuh"
#include "philox.cuh"

// y = x * scale where the element's 32 random bits reach the threshold, else 0.
// Srivastava et al., 2014, JMLR 15, 1929-1958.
//
// x: [n]; key: [3]
// y: [n], overwritten; it may be x
// Launch: one dimension; a thread does eight neighbours at a time, of `eights` = ceil(n / 8)
extern "C" __global__ void dropout(const real* x, const unsigned long long* __restrict__ key,
                                   real* y, real scale, int64 threshold, int64 n, int64 eights) {
    GRID_STRIDE(i, eights) {
        const Bits bits = philox(key, (unsigned long long)i);
        for (int64 e = 8 * i; e < 8 * i + 8 && e < n; e++)
            y[e] = bits.half((int)(e % 8)) >= threshold ? x[e] * scale : (real)0;
    }
}
