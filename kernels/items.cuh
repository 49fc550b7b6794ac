// The elements of arrays where they may be narrower than the sums of them: REAL is the type of sums,
// NARROW says what arrays hold: 0 REAL, 1 gn_half, 2 gn_bfloat.
#include "common.cuh"
#include "machine.cuh"

#if NARROW == 1
typedef gn_half item;
#elif NARROW == 2
typedef gn_bfloat item;
#else
typedef real item;
#endif

// The sum over the 8 shares of a block of (32, 8) threads, in their order, to the threads of the
// first share.
__device__ inline real over_shares(real sum) {
    __shared__ real sums[8][33];
    __syncthreads();
    sums[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y == 0)
        for (int i = 1; i < 8; i++) sum += sums[i][threadIdx.x];
    return sum;
}
