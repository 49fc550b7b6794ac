// Convolutions as matrix products whose left side is gathered from the windows.
//
// Compiled for what conv.cuh and tiles.cuh are, and VECTOR_LEFT and VECTOR_RIGHT: how many elements
// of each side can be copied at once.
// A kernel with an ending is also compiled for SPLITS: that many blocks share the k axis of a tile
// where there are too few tiles for all multiprocessors; their sums go to `aside`, and splits.cu
// joins them and does the ending.
// Launch: grid (tiles of the rows, tiles of the columns, GROUPS times what a kernel says, times
// SPLITS), threads and shared memory as for tiles.cuh.
#include "conv.cuh"
#include "tiles.cuh"

#ifndef SPLITS
#define SPLITS 1
#endif

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

// Where the part of a split of a k axis begins; whole steps of TILE_K, so that copies stay aligned.
__device__ inline int split_at(int split, int splits, int deep) {
    const int steps = (deep + TILE_K - 1) / TILE_K;
    return min((int)((int64)steps * split / splits) * TILE_K, deep);
}
