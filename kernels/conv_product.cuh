// Convolutions as matrix products whose left side is gathered from the windows.
//
// Compiled for what conv.cuh and tiles.cuh are, and VECTOR_LEFT and VECTOR_RIGHT: how many elements
// of each side can be copied at once.
// Launch: grid (tiles of the rows, tiles of the columns, GROUPS times what a kernel says), threads
// and shared memory as for tiles.cuh.
#include "conv.cuh"
#include "tiles.cuh"

// Place k of the k axis of a product over cells and channels. Where whole steps fit into the
// channels, all cells of some channels come before the next channels, so that neighbouring cells
// find in the cache what they share.
struct Deep {
    int cell, channel;
};
template <int CHANNELS_EACH>
__device__ inline Deep deep_of(int k, int cells) {
    if (CHANNELS_EACH % TILE_K == 0) {
        const int step = k / TILE_K;
        return {step % cells, step / cells * TILE_K + k % TILE_K};
    }
    return {k / CHANNELS_EACH, k % CHANNELS_EACH};
}

// An address, and how far another is behind it, negative where that is 0.
struct Behind {
    __device__ const item* operator()(const item* p, int64 offset) const {
        return offset < 0 ? nullptr : p + offset;
    }
};
