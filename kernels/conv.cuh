// The geometry of a convolution of one to three spatial axes, channels last: which elements stand
// under a window, and which windows over an element.
//
// Compiled for one geometry: for each axis i SIZEi (input), OUTi (windows), KERNELi, STRIDEi,
// DILATIONi, PADi (border before); CHANNELS, FILTERS, GROUPS; unused axes come first, are 1 wide
// and have a border of 0; ACTIVATION and ENDING, see ending.cuh; REAL and NARROW, see items.cuh.
//
// Shapes: x [N, *SIZE, CHANNELS], y [N, *OUT, FILTERS], kernel [*KERNEL, CHANNELS / GROUPS, FILTERS];
// none has 2^31 positions, and no image 2^31 elements.
#include "ending.cuh"

[[maybe_unused]] constexpr int CELLS = KERNEL0 * KERNEL1 * KERNEL2;
constexpr int INSIDE = SIZE0 * SIZE1 * SIZE2;  // positions of an image
constexpr int OUTSIDE = OUT0 * OUT1 * OUT2;    // windows of an image
[[maybe_unused]] constexpr int DEPTH = CHANNELS / GROUPS, WIDTH = FILTERS / GROUPS;

struct Spot {
    int a, b, c;
};

// Position i of a block of A x B x C; A and B are compile-time constants wherever they are 1.
__device__ inline Spot spot_of(int i, int a, int b, int c) {
    return {a == 1 ? 0 : i / (b * c), b == 1 ? 0 : i / c % b, c == 1 ? 0 : i % c};
}
__device__ inline Spot cell_of(int i) { return spot_of(i, KERNEL0, KERNEL1, KERNEL2); }

// An array [N, A, B, C, STEP] that is 0 outside of its images.
template <int A, int B, int C, int STEP>
struct Field {
    struct Base {
        const item* at;  // null: 0 everywhere
        int a, b, c;
    };
    struct Shift {
        int offset, a, b, c;
        bool there;
    };
    __device__ static Base base(const item* image, Spot s) {
        return {image + (int64)((s.a * B + s.b) * C + s.c) * STEP, s.a, s.b, s.c};
    }
    __device__ static Shift shift(Spot s, int channel, bool there) {
        return {((s.a * B + s.b) * C + s.c) * STEP + channel, s.a, s.b, s.c, there};
    }
    struct At {
        __device__ const item* operator()(const Base& from, const Shift& by) const {
            const bool inside = by.there && from.at != nullptr && (unsigned)(from.a + by.a) < A &&
                                (unsigned)(from.b + by.b) < B && (unsigned)(from.c + by.c) < C;
            return inside ? from.at + by.offset : nullptr;
        }
        __device__ const item* operator()(const Shift& by, const Base& from) const {
            return (*this)(from, by);
        }
    };
};
using Inputs = Field<SIZE0, SIZE1, SIZE2, CHANNELS>;
using Outputs = Field<OUT0, OUT1, OUT2, FILTERS>;

// The first cell of a window over x, for a group of channels.
__device__ inline Inputs::Base window_at(const item* x, int window, int group) {
    const Spot o = spot_of(window % OUTSIDE, OUT0, OUT1, OUT2);
    const item* image = x + (int64)(window / OUTSIDE) * INSIDE * CHANNELS + group * DEPTH;
    return Inputs::base(image, {o.a * STRIDE0 - PAD0, o.b * STRIDE1 - PAD1, o.c * STRIDE2 - PAD2});
}
__device__ inline Inputs::Shift cell_at(int cell, int channel, bool there) {
    const Spot k = cell_of(cell);
    return Inputs::shift({k.a * DILATION0, k.b * DILATION1, k.c * DILATION2}, channel, there);
}

template <typename T>
struct alignas(2 * sizeof(T)) Two {
    T first, second;
};

// Writes two neighbours of a row of WIDE of ALL, the first of which is an even number.
template <int WIDE, int ALL, typename T>
__device__ inline void write(T* row, int n, T first, T second) {
    if constexpr (WIDE % 2 == 0 && ALL % 2 == 0) {
        if (n < WIDE) *(Two<T>*)(row + n) = {first, second};
    } else {
        if (n < WIDE) row[n] = first;
        if (n + 1 < WIDE) row[n + 1] = second;
    }
}

// Brings sums of a row to memory, two neighbours at a time; `to` is the result.
template <int WIDE, int ALL>
struct Finish {
    Ending ending;
    item* to;
    int group;

    __device__ void operator()(int64 row, int n, real& sum, real& next) const {
        const int channel = group * WIDE + n;
        const int64 at = row * ALL + channel;
        item first = {}, second = {};
        if (n < WIDE) first = ending(sum, at, channel);
        if (n + 1 < WIDE) second = ending(next, at + 1, channel + 1);
        write<WIDE, ALL>(to + row * ALL + group * WIDE, n, first, second);
    }
};
