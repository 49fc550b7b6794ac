// Products of matrices that are gathered from memory as they are needed, and stored nowhere.
//
// A block makes the sums of one tile, TILE_M x TILE_N; a warp of it WARP_M x WARP_N on tensor
// cores. It goes along the k axis in steps of TILE_K: STAGES parts of the two sides are in shared
// memory or on their way to it, while the oldest is multiplied.
//
// Compiled for: REAL and NARROW, see items.cuh; TENSOR, whether tensor cores multiply (floats as
// tf32); TILE_..., WARP_..., STAGES as above.
// Launch: THREADS threads, dynamic shared memory as gpunet/fused/tiles.py counts it.
#include "items.cuh"
#include "moments.cuh"

constexpr int THREADS = 32 * (TILE_M / WARP_M) * (TILE_N / WARP_N);
constexpr int LINE = 16 / sizeof(item);  // elements in 16 bytes

// One side of a product: a function of its outer axis (m or n) and one of k, each evaluated as
// rarely as can be, and one that makes of both the address of an element, null where it is 0.
// VECTOR elements are neighbours in memory, along k or along the outer axis.
template <bool ALONG, int WIDE, typename OuterOf, typename InnerOf, typename Address>
struct Side {
    static constexpr bool ALONG_K = ALONG;
    static constexpr int VECTOR = WIDE;
    OuterOf outer;
    InnerOf inner;
    Address at;
};
template <bool ALONG, int WIDE, typename OuterOf, typename InnerOf, typename Address>
__device__ inline auto side(OuterOf outer, InnerOf inner, Address at) {
    return Side<ALONG, WIDE, OuterOf, InnerOf, Address>{outer, inner, at};
}

// Where a side lies in a stage: [outer][k] or [k][outer], in rows so long that neither copies nor
// the reads of tensor cores meet in a bank.
template <int OUTER, bool ALONG_K>
struct Layout {
    static constexpr int STRIDE =
        ALONG_K ? TILE_K + LINE : OUTER + (sizeof(item) == 2 ? LINE : 2 * LINE);
    static constexpr int SIZE = (ALONG_K ? OUTER : TILE_K) * STRIDE;

    __device__ static int at(int outer, int k) {
        return ALONG_K ? outer * STRIDE + k : k * STRIDE + outer;
    }
};

// A thread's part in bringing one side to shared memory.
template <typename Side, int OUTER>
struct Fetch {
    static constexpr bool ALONG_K = Side::ALONG_K;
    static constexpr int VECTOR = Side::VECTOR;
    static constexpr int ACROSS = (ALONG_K ? TILE_K : OUTER) / VECTOR;  // vectors of a row
    static constexpr int COPIES = OUTER * TILE_K / VECTOR;
    static constexpr int EACH = (COPIES + THREADS - 1) / THREADS;
    static constexpr bool FIXED = THREADS % ACROSS == 0;  // its column is always the same
    static constexpr int KEPT = ALONG_K ? EACH : 1;
    using At = Layout<OUTER, ALONG_K>;

    const Side& side;
    int first;
    decltype(((Side*)nullptr)->outer(0)) kept[KEPT];

    __device__ Fetch(const Side& side, int first) : side(side), first(first) {
#pragma unroll
        for (int i = 0; i < KEPT; i++) kept[i] = side.outer(first + outer_of(i));
    }
    __device__ static int column() { return (int)threadIdx.x % ACROSS * VECTOR; }
    __device__ static int row(int i) { return (i * THREADS + (int)threadIdx.x) / ACROSS; }
    __device__ static int outer_of(int i) { return ALONG_K ? row(i) : column(); }
    __device__ static int k_of(int i) { return ALONG_K ? column() : row(i); }

    __device__ static void copy(item* to, const item* from) {
        constexpr int BYTES = VECTOR * sizeof(item);
        if constexpr (BYTES >= 4)
            gn_copy_async<BYTES>(to, from, from != nullptr);
        else
            *to = from != nullptr ? *from : item{};
    }
    __device__ void operator()(item* stage, int k0) const {
        static_assert(FIXED, "more vectors in a row than threads");
        auto inner = side.inner(k0 + k_of(0));
#pragma unroll
        for (int i = 0; i < EACH; i++) {
            if (COPIES % THREADS != 0 && i * THREADS + (int)threadIdx.x >= COPIES) break;
            if (!ALONG_K && i > 0) inner = side.inner(k0 + k_of(i));
            copy(stage + At::at(outer_of(i), k_of(i)), side.at(kept[ALONG_K ? i : 0], inner));
        }
    }
};

#if TENSOR
constexpr int DEEP = sizeof(item) == 2 ? 16 : 8;  // k of an mma

__device__ inline unsigned operand(unsigned bits) {
    return sizeof(item) == 2 ? bits : gn_tf32(__uint_as_float(bits));
}

template <typename T>
__device__ inline void multiply_add(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2],
                                    T kind) {
    if constexpr (sizeof(T) == 2)
        gn_mma_16(d, a, b, kind);
    else
        gn_mma_tf32(d, a, b);
}

// The operand of a 16 x DEEP block of the left side; with PAIR the operands of two DEEP x 8 blocks
// of the right one, which is the same but for the order of the inner two registers.
template <typename At, bool ALONG_K, bool PAIR>
__device__ inline void load(unsigned (&to)[4], const item* stage, int outer, int k) {
    const int lane = threadIdx.x % 32, upper = lane / 16, odd = lane / 8 % 2;
    if constexpr (ALONG_K) {
        const int o = outer + lane % 8 + 8 * (PAIR ? upper : odd);
        gn_load_matrices(to, stage + At::at(o, k + (PAIR ? odd : upper) * (DEEP / 2)));
    } else if constexpr (sizeof(item) == 2) {
        const int o = outer + 8 * (PAIR ? upper : odd);
        gn_load_transposes(to, stage + At::at(o, k + lane % 8 + 8 * (PAIR ? odd : upper)));
    } else {
        for (int i = 0; i < 4; i++) {
            const int o = outer + lane / 4 + 8 * (PAIR ? i / 2 : i % 2);
            const int at = k + lane % 4 + 4 * (PAIR ? i % 2 : i / 2);
            to[i] = __float_as_uint(stage[At::at(o, at)]);
        }
    }
    for (int i = 0; i < 4; i++) to[i] = operand(to[i]);
}

// A warp's sums: blocks of 16 x 8.
template <typename LeftAt, bool LEFT_ALONG_K, typename RightAt, bool RIGHT_ALONG_K>
struct Sums {
    static constexpr int DOWN = WARP_M / 16, ACROSS = WARP_N / 8;
    static_assert(ACROSS % 2 == 0, "WARP_N is a multiple of 16");
    float sums[DOWN][ACROSS][4] = {};

    // A thread's sums are VALUES_DOWN x VALUES_ACROSS; every LANES_ACROSS lanes have a row together.
    static constexpr int VALUES_DOWN = 2 * DOWN, VALUES_ACROSS = 2 * ACROSS, LANES_ACROSS = 4;
    static constexpr int WARPS_DOWN = TILE_M / WARP_M;

    __device__ static int warp_down() { return threadIdx.x / 32 % WARPS_DOWN; }
    __device__ static int row() { return warp_down() * WARP_M; }
    __device__ static int column() { return threadIdx.x / 32 / WARPS_DOWN * WARP_N; }
    __device__ static int row_of(int i) {
        return row() + i / 2 * 16 + (int)threadIdx.x % 32 / 4 + i % 2 * 8;
    }
    __device__ static int column_of(int j) {
        return column() + j / 2 * 8 + (int)threadIdx.x % 4 * 2 + j % 2;
    }
    __device__ float& value(int i, int j) { return sums[i / 2][j / 2][i % 2 * 2 + j % 2]; }

    __device__ void add(const item* left, const item* right) {
#pragma unroll
        for (int k = 0; k < TILE_K; k += DEEP) {
            unsigned a[DOWN][4], b[ACROSS / 2][4];
#pragma unroll
            for (int i = 0; i < DOWN; i++)
                load<LeftAt, LEFT_ALONG_K, false>(a[i], left, row() + 16 * i, k);
#pragma unroll
            for (int j = 0; j < ACROSS / 2; j++)
                load<RightAt, RIGHT_ALONG_K, true>(b[j], right, column() + 16 * j, k);
#pragma unroll
            for (int i = 0; i < DOWN; i++)
#pragma unroll
                for (int j = 0; j < ACROSS; j++) {
                    const unsigned pair[2] = {b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]};
                    multiply_add(sums[i][j], a[i], pair, item());
                }
        }
    }
};
#else
// A thread's sums: pairs of columns of several rows, far from each other so that no two threads
// of a warp read one bank.
template <typename LeftAt, bool LEFT_ALONG_K, typename RightAt, bool RIGHT_ALONG_K>
struct Sums {
    static constexpr int THREADS_ACROSS = 8, THREADS_DOWN = THREADS / THREADS_ACROSS;
    static constexpr int DOWN = TILE_M / THREADS_DOWN, ACROSS = TILE_N / THREADS_ACROSS;
    static constexpr int VALUES_DOWN = DOWN, VALUES_ACROSS = ACROSS, LANES_ACROSS = THREADS_ACROSS;
    static constexpr int WARPS_DOWN = THREADS / 32;
    real sums[DOWN][ACROSS] = {};

    __device__ static int warp_down() { return threadIdx.x / 32; }
    __device__ static int row_of(int i) { return threadIdx.x / THREADS_ACROSS + i * THREADS_DOWN; }
    __device__ static int column_of(int j) {
        return threadIdx.x % THREADS_ACROSS * 2 + j / 2 * 2 * THREADS_ACROSS + j % 2;
    }
    __device__ real& value(int i, int j) { return sums[i][j]; }

    __device__ void add(const item* left, const item* right) {
#pragma unroll 4
        for (int k = 0; k < TILE_K; k++) {
            real a[DOWN], b[ACROSS];
#pragma unroll
            for (int i = 0; i < DOWN; i++) a[i] = gn_float(left[LeftAt::at(row_of(i), k)]);
#pragma unroll
            for (int j = 0; j < ACROSS; j++) b[j] = gn_float(right[RightAt::at(column_of(j), k)]);
#pragma unroll
            for (int i = 0; i < DOWN; i++)
#pragma unroll
                for (int j = 0; j < ACROSS; j++) sums[i][j] += a[i] * b[j];
        }
    }
};
#endif

// Returns the sums of left(m, k) * right(k, n) over k from `first` to `last` - 1 for the tile that
// begins at (m0, n0).
template <typename Left, typename Right>
__device__ __forceinline__ auto product(int m0, int n0, int first, int last, const Left& left,
                                        const Right& right) {
    using LeftAt = Layout<TILE_M, Left::ALONG_K>;
    using RightAt = Layout<TILE_N, Right::ALONG_K>;
    constexpr int STAGE = LeftAt::SIZE + RightAt::SIZE;
    GN_DYNAMIC(item, memory);
    const Fetch<Left, TILE_M> fetch_left(left, m0);
    const Fetch<Right, TILE_N> fetch_right(right, n0);
    const int steps = last > first ? (last - first - 1) / TILE_K + 1 : 0;

    auto fetch = [&](int step) {
        if (step < steps) {
            item* stage = memory + step % STAGES * STAGE;
            fetch_left(stage, first + step * TILE_K);
            fetch_right(stage + LeftAt::SIZE, first + step * TILE_K);
        }
        gn_copy_commit();
    };
    Sums<LeftAt, Left::ALONG_K, RightAt, Right::ALONG_K> sums;
    for (int step = 0; step < STAGES - 1; step++) fetch(step);
    for (int step = 0; step < steps; step++) {
        gn_copy_wait<STAGES - 2>();
        __syncthreads();  // the stage is there for all, and the one before it was read by all
        fetch(step + STAGES - 1);
        const item* stage = memory + step % STAGES * STAGE;
        sums.add(stage, stage + LeftAt::SIZE);
    }
    return sums;
}

// Hands the sums of (m, n) and (m, n + 1), n even, to store(m, n, sum, next), which may change them.
template <typename Sums, typename Store>
__device__ __forceinline__ void each(Sums& sums, int m0, int n0, Store store) {
#pragma unroll
    for (int i = 0; i < Sums::VALUES_DOWN; i++)
#pragma unroll
        for (int j = 0; j < Sums::VALUES_ACROSS; j += 2)
            store(m0 + Sums::row_of(i), n0 + Sums::column_of(j), sums.value(i, j),
                  sums.value(i, j + 1));
}

// The sum over the lanes of a warp that have the same columns.
template <int LANES_ACROSS>
__device__ inline real over_rows(real x) {
#pragma unroll
    for (int lanes = LANES_ACROSS; lanes < 32; lanes *= 2)
        x += __shfl_xor_sync(0xffffffffu, x, lanes);
    return x;
}

// Hands what is known of each column of the tile, over those of its rows that are below `rows`, to
// take(n, moments). The mean comes first, then the squares of what is left, so that no digits are
// lost; warps are joined in their order. All threads of the block take part.
template <typename Sums, typename Take>
__device__ __forceinline__ void measure(Sums& sums, int m0, int n0, int rows, Take take) {
    GN_DYNAMIC(real, room);  // [WARPS_DOWN][3][TILE_N]
    constexpr int ACROSS = Sums::LANES_ACROSS;
    int there = 0;
#pragma unroll
    for (int i = 0; i < Sums::VALUES_DOWN; i++) there += m0 + Sums::row_of(i) < rows;
    const real count = over_rows<ACROSS>(there), share = (real)1 / (count > 0 ? count : 1);
    real* own = room + Sums::warp_down() * 3 * TILE_N;
    __syncthreads();  // the last stages were read
#pragma unroll
    for (int j = 0; j < Sums::VALUES_ACROSS; j++) {
        real mean = 0, squares = 0;
#pragma unroll
        for (int i = 0; i < Sums::VALUES_DOWN; i++)
            if (m0 + Sums::row_of(i) < rows) mean += sums.value(i, j);
        mean = over_rows<ACROSS>(mean) * share;
#pragma unroll
        for (int i = 0; i < Sums::VALUES_DOWN; i++) {
            const real off = sums.value(i, j) - mean;
            if (m0 + Sums::row_of(i) < rows) squares += off * off;
        }
        squares = over_rows<ACROSS>(squares);
        if (threadIdx.x % 32 < ACROSS) {
            own[Sums::column_of(j)] = count;
            own[TILE_N + Sums::column_of(j)] = mean;
            own[2 * TILE_N + Sums::column_of(j)] = squares;
        }
    }
    __syncthreads();
    for (int n = threadIdx.x; n < TILE_N; n += THREADS) {
        Moments all = {0, 0, 0};
        for (int w = 0; w < Sums::WARPS_DOWN; w++) {
            const real* at = room + w * 3 * TILE_N + n;
            all.add(Moments{at[0], at[TILE_N], at[2 * TILE_N]});
        }
        take(n0 + n, all);
    }
}
