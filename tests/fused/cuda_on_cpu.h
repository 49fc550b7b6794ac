// What CUDA gives to kernels, on a CPU. Put in front of a source, it lets g++ compile it;
// cuda_on_cpu.cpp, which runs the threads, is compiled once for all sources.
#pragma once
#include <math.h>
#include <stdint.h>
#include <string.h>

#include <type_traits>
#include <utility>

#define GN_ON_CPU 1
#define __global__
#define __device__
#define __host__
#define __restrict__
#define __forceinline__ inline
#define __shared__ static thread_local
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __launch_bounds__(...)
#define __cluster_dims__(...)

struct dim3 {
    unsigned x = 1, y = 1, z = 1;
};
struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};

namespace gn {

constexpr unsigned WARP = 32, SLOT = 64;  // threads of a warp, bytes that a lane can hand over

// Where the running thread is.
struct Place {
    dim3 thread, block, threads, blocks;
    unsigned lane, cluster, rank_in_cluster;
    unsigned char *dynamic, *slots;
};
extern thread_local Place here;

// What a launch asks for; emulate.py fills it.
struct Shape {
    unsigned grid[3], block[3], dynamic_bytes, cluster, together, seed;
};

// Threads wait here for those of their block, warp, cluster.
void meet_block();
void meet_warp();
void meet_cluster();
void relax();
unsigned char* dynamic_of_neighbour(unsigned rank);
void copy_later(void* to, const void* from, size_t bytes, size_t valid);
void end_copies();           // of a group
void wait_for_copies(unsigned left);

// Runs call(kernel, args) on every thread; 0, or 1 if threads wait for what never comes, or 2 if an
// address wasn't a multiple of what the machine asks for.
int run(const Shape& shape, void (*call)(void*, void**), void* kernel, void** args);

// Hands every lane's value to `pick`, a function of a function lane -> value.
template <typename T, typename F>
auto exchange(const T& value, F pick) {
    static_assert(sizeof(T) <= SLOT, "too large for a warp's slots");
    memcpy(here.slots + here.lane * SLOT, &value, sizeof(T));
    meet_warp();
    auto result = pick([](unsigned lane) {
        T other;
        memcpy(&other, here.slots + lane * SLOT, sizeof(T));
        return other;
    });
    meet_warp();
    return result;
}

// Runs a kernel of any signature; args holds the addresses of its arguments.
template <typename... T, size_t... I>
int launch(void (*kernel)(T...), const Shape& shape, void** args, std::index_sequence<I...>) {
    auto call = [](void* kernel, void** args) {
        ((void (*)(T...))kernel)(*(std::remove_const_t<T>*)args[I]...);
    };
    return run(shape, call, (void*)kernel, args);
}
template <typename... T>
int launch(void (*kernel)(T...), const Shape& shape, void** args) {
    return launch(kernel, shape, args, std::index_sequence_for<T...>());
}

// Notes an address that the machine would refuse.
void aligned(const void* p, uintptr_t bytes);

}  // namespace gn

#define threadIdx (gn::here.thread)
#define blockIdx (gn::here.block)
#define blockDim (gn::here.threads)
#define gridDim (gn::here.blocks)

// -- functions of CUDA ---------------------------------------------------------------------

inline void __syncthreads() { gn::meet_block(); }
inline void __syncwarp(unsigned = 0xffffffffu) { gn::meet_warp(); }
inline void __threadfence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

template <typename T>
T __shfl_xor_sync(unsigned, T value, unsigned lanes) {
    unsigned from = gn::here.lane ^ lanes;
    return gn::exchange(value, [=](auto at) { return at(from); });
}
template <typename T>
T __shfl_down_sync(unsigned, T value, unsigned by) {
    unsigned from = gn::here.lane + by < gn::WARP ? gn::here.lane + by : gn::here.lane;
    return gn::exchange(value, [=](auto at) { return at(from); });
}
template <typename T>
T __shfl_sync(unsigned, T value, unsigned from) {
    return gn::exchange(value, [=](auto at) { return at(from % gn::WARP); });
}

inline unsigned __ballot_sync(unsigned, bool yes) {
    return gn::exchange(yes, [](auto at) {
        unsigned bits = 0;
        for (unsigned lane = 0; lane < gn::WARP; lane++) bits |= (unsigned)at(lane) << lane;
        return bits;
    });
}
inline int __popc(unsigned bits) { return __builtin_popcount(bits); }

template <typename T>
T atomicAdd(T* to, T value) {
    if constexpr (std::is_integral_v<T>) {
        return __atomic_fetch_add(to, value, __ATOMIC_SEQ_CST);
    } else {
        T before, after;
        __atomic_load(to, &before, __ATOMIC_SEQ_CST);
        do {
            after = before + value;
        } while (!__atomic_compare_exchange(to, &before, &after, false, __ATOMIC_SEQ_CST,
                                            __ATOMIC_SEQ_CST));
        return before;
    }
}

template <typename T>
T __ldg(const T* p) {
    return *p;
}
template <typename T>
T __ldcg(const T* p) {
    return *(const volatile T*)p;
}
template <typename T>
void __stcg(T* p, T value) {
    *(volatile T*)p = value;
}

inline float __fmul_rn(float a, float b) { return a * b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline unsigned __float_as_uint(float x) {
    unsigned u;
    memcpy(&u, &x, 4);
    return u;
}
inline float __uint_as_float(unsigned u) {
    float x;
    memcpy(&x, &u, 4);
    return x;
}
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)((unsigned __int128)a * b >> 64);
}
template <typename T>
T min(T a, T b) {
    return b < a ? b : a;
}
template <typename T>
T max(T a, T b) {
    return a < b ? b : a;
}

// -- what kernels/machine.cuh gives on a GPU -------------------------------------------------

struct gn_half {
    unsigned short bits;
};
struct gn_bfloat {
    unsigned short bits;
};

inline float gn_float(gn_half x) {
    _Float16 narrow;
    memcpy(&narrow, &x, 2);
    return narrow;
}
inline void gn_round(gn_half& to, float x) {
    const _Float16 narrow = (_Float16)x;
    memcpy(&to, &narrow, 2);
}

#define GN_DYNAMIC(type, name) type* name = (type*)gn::here.dynamic

inline void gn_relax() { gn::relax(); }
inline unsigned gn_cluster_rank() { return gn::here.rank_in_cluster; }
inline void gn_cluster_sync() {
    if (gn::here.cluster == 1)
        gn::meet_block();
    else
        gn::meet_cluster();
}
template <typename T>
T* gn_map_shared(T* p, unsigned rank) {
    if (gn::here.cluster == 1) return p;
    return (T*)(gn::dynamic_of_neighbour(rank) + ((unsigned char*)p - gn::here.dynamic));
}

// Round to nearest, ties away from zero, as cvt.rna does: 10 bits of mantissa stay.
inline unsigned gn_tf32(float x) { return (__float_as_uint(x) + 0x1000u) & 0xffffe000u; }

// D += A B for A 16 x 8, B 8 x 8, with the fragments of mma.sync.m16n8k8.
inline void gn_mma_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    struct Fragments {
        unsigned a[4], b[2];
    } mine;
    memcpy(mine.a, a, sizeof a);
    memcpy(mine.b, b, sizeof b);
    const unsigned group = gn::here.lane / 4, in_group = gn::here.lane % 4;
    gn::exchange(mine, [&](auto at) {
        for (int i = 0; i < 4; i++) {
            const unsigned row = group + 8 * (i / 2), column = 2 * in_group + i % 2;
            for (unsigned k = 0; k < 8; k++) {
                unsigned left = at(row % 8 * 4 + k % 4).a[row / 8 + 2 * (k / 4)];
                unsigned right = at(column * 4 + k % 4).b[k / 4];
                d[i] += __uint_as_float(left & 0xffffe000u) * __uint_as_float(right & 0xffffe000u);
            }
        }
        return 0;
    });
}

// The same with pairs of 16-bit floats, A 16 x 16, B 16 x 8: mma.sync.m16n8k16.
template <typename T>
void gn_mma_16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], T) {
    struct Fragments {
        unsigned a[4], b[2];
    } mine;
    memcpy(mine.a, a, sizeof a);
    memcpy(mine.b, b, sizeof b);
    auto half_of = [](unsigned pair, unsigned k) {
        return gn_float(T{(unsigned short)(pair >> 16 * (k % 2))});
    };
    const unsigned group = gn::here.lane / 4, in_group = gn::here.lane % 4;
    gn::exchange(mine, [&](auto at) {
        for (int i = 0; i < 4; i++) {
            const unsigned row = group + 8 * (i / 2), column = 2 * in_group + i % 2;
            for (unsigned k = 0; k < 16; k++) {
                unsigned left = at(row % 8 * 4 + k % 8 / 2).a[row / 8 + 2 * (k / 8)];
                unsigned right = at(column * 4 + k % 8 / 2).b[k / 8];
                d[i] += half_of(left, k) * half_of(right, k);
            }
        }
        return 0;
    });
}

// ldmatrix.x4: see machine.cuh.
inline void gn_load_matrices(unsigned (&to)[4], const void* row) {
    gn::aligned(row, 16);
    const unsigned group = gn::here.lane / 4, in_group = gn::here.lane % 4;
    gn::exchange(row, [&](auto at) {
        for (unsigned i = 0; i < 4; i++)
            memcpy(&to[i], (const unsigned*)at(8 * i + group) + in_group, 4);
        return 0;
    });
}
inline void gn_load_transposes(unsigned (&to)[4], const void* row) {
    gn::aligned(row, 16);
    const unsigned group = gn::here.lane / 4, in_group = gn::here.lane % 4;
    gn::exchange(row, [&](auto at) {
        for (unsigned i = 0; i < 4; i++) {
            auto first = (const unsigned short*)at(8 * i + 2 * in_group);
            auto second = (const unsigned short*)at(8 * i + 2 * in_group + 1);
            to[i] = first[group] | (unsigned)second[group] << 16;
        }
        return 0;
    });
}

template <int BYTES = 16>
void gn_copy_async(void* to, const void* from, bool there = true) {
    static_assert(BYTES == 4 || BYTES == 8 || BYTES == 16, "no such copy");
    gn::aligned(to, BYTES);
    gn::aligned(from, BYTES);
    gn::copy_later(to, from, BYTES, there ? BYTES : 0);
}
inline void gn_copy_commit() { gn::end_copies(); }
template <int LEFT>
void gn_copy_wait() {
    gn::wait_for_copies(LEFT);
}
