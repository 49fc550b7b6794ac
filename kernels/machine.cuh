// What kernels ask of the machine directly: dynamic shared memory, clusters of blocks, tensor
// cores, asynchronous copies. Everything else is plain CUDA C++. Tests run the kernels on a CPU,
// where functions of the same names stand in for these.
#ifndef GN_ON_CPU

struct gn_half {  // a float of 16 bits, 5 of them its exponent
    unsigned short bits;
};
struct gn_bfloat {  // the upper half of a float
    unsigned short bits;
};
struct alignas(16) gn_16_bytes {
    unsigned words[4];
};

// A pointer to the block's dynamic shared memory.
#define GN_DYNAMIC(type, name)                                        \
    extern __shared__ __align__(16) unsigned char gn_dynamic_bytes[]; \
    type* name = (type*)gn_dynamic_bytes

// In a loop that waits for another block.
__device__ __forceinline__ void gn_relax() {}

// -- clusters (sm_90) ---------------------------------------------------------------------

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
__device__ __forceinline__ unsigned gn_cluster_rank() {
    unsigned rank;
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return rank;
}

// All threads of the cluster meet; what they wrote before can be read by all after it.
__device__ __forceinline__ void gn_cluster_sync() {
    asm volatile(
        "barrier.cluster.arrive.release.aligned;\n"
        "barrier.cluster.wait.acquire.aligned;" ::
            : "memory");
}

// The same place in the shared memory of another block of the cluster.
template <typename T>
__device__ __forceinline__ T* gn_map_shared(T* p, unsigned rank) {
    unsigned long long mapped;
    asm("mapa.u64 %0, %1, %2;" : "=l"(mapped) : "l"((unsigned long long)p), "r"(rank));
    return (T*)mapped;
}
#else
__device__ __forceinline__ unsigned gn_cluster_rank() { return 0; }
__device__ __forceinline__ void gn_cluster_sync() { __syncthreads(); }
template <typename T>
__device__ __forceinline__ T* gn_map_shared(T* p, unsigned) {
    return p;
}
#endif

// -- tensor cores (sm_80) -----------------------------------------------------------------

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
__device__ __forceinline__ unsigned gn_tf32(float x) {
    unsigned rounded;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(x));
    return rounded;
}

// D += A B for A 16 x 8, B 8 x 8. With g = lane / 4 and t = lane % 4 a thread holds
// A (g, t), (g + 8, t), (g, t + 4), (g + 8, t + 4); B (t, g), (t + 4, g);
// D (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1).  PTX ISA, mma.m16n8k8.
__device__ __forceinline__ void gn_mma_tf32(float (&d)[4], const unsigned (&a)[4],
                                            const unsigned (&b)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, "
        "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// The same for floats of 16 bits, A 16 x 16, B 16 x 8: where gn_mma_tf32 has column (row) t of A
// (B), a thread holds 2t and 2t + 1, the first in the lower half; where t + 4, 2t + 8 and 2t + 9.
#define GN_MMA_16(TYPE, NAME)                                                              \
    __device__ __forceinline__ void gn_mma_16(float (&d)[4], const unsigned (&a)[4],       \
                                              const unsigned (&b)[2], TYPE) {              \
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." NAME "." NAME                \
                     ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};" \
                     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                      \
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));  \
    }
GN_MMA_16(gn_half, "f16")
GN_MMA_16(gn_bfloat, "bf16")

// BYTES (4, 8 or 16) from global to shared memory, or that many zeros unless `there`. Both
// addresses are multiples of BYTES; the first one is valid in either case.
template <int BYTES = 16>
__device__ __forceinline__ void gn_copy_async(void* to, const void* from, bool there = true) {
    unsigned address = (unsigned)__cvta_generic_to_shared(to);
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(address), "l"(from),
                 "n"(BYTES), "r"(there ? BYTES : 0)
                 : "memory");
}
__device__ __forceinline__ void gn_copy_commit() {
    asm volatile("cp.async.commit_group;" ::: "memory");
}

// Waits until at most LEFT of this thread's groups of copies are under way.
template <int LEFT>
__device__ __forceinline__ void gn_copy_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(LEFT) : "memory");
}
#else
template <int BYTES = 16>
__device__ __forceinline__ void gn_copy_async(void* to, const void* from, bool there = true) {
    if (BYTES == 16) {
        *(gn_16_bytes*)to = there ? *(const gn_16_bytes*)from : gn_16_bytes{};
    } else {
        for (int i = 0; i < BYTES / 4; i++)
            ((unsigned*)to)[i] = there ? ((const unsigned*)from)[i] : 0u;
    }
}
__device__ __forceinline__ void gn_copy_commit() {}
template <int LEFT>
__device__ __forceinline__ void gn_copy_wait() {}
#endif

// -- floats of 16 bits --------------------------------------------------------------------

__device__ __forceinline__ float gn_float(gn_half x) {
    float wide;
    asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(x.bits));
    return wide;
}
__device__ __forceinline__ void gn_round(gn_half& to, float x) {
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(to.bits) : "f"(x));
}

// -- matrices in shared memory (sm_75) ----------------------------------------------------

// Four matrices of 8 rows of 16 bytes, of which lane 8 i + r gives the address of row r of matrix
// i. A thread gets of each the 4 bytes t of row g; g = lane / 4, t = lane % 4.
__device__ __forceinline__ void gn_load_matrices(unsigned (&to)[4], const void* row) {
    unsigned address = (unsigned)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(address)
                 : "memory");
}

// The same of their transposes, in elements of 2 bytes: rows 2t and 2t + 1 of column g.
__device__ __forceinline__ void gn_load_transposes(unsigned (&to)[4], const void* row) {
    unsigned address = (unsigned)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(address)
                 : "memory");
}

#endif  // GN_ON_CPU

// The upper half of a float, rounded to the nearest.
__device__ inline float gn_float(gn_bfloat x) { return __uint_as_float((unsigned)x.bits << 16); }
__device__ inline void gn_round(gn_bfloat& to, float x) {
    const unsigned u = __float_as_uint(x), rounded = u + 0x7fffu + (u >> 16 & 1u);
    to.bits = (unsigned short)(x == x ? rounded >> 16 : u >> 16 | 0x40u);
}
__device__ inline float gn_float(float x) { return x; }
__device__ inline double gn_float(double x) { return x; }
__device__ inline void gn_round(float& to, float x) { to = x; }
__device__ inline void gn_round(double& to, double x) { to = x; }

// `blocks` blocks of a cooperative launch meet. `counter` is theirs, zeroed before the launch, and
// `rounds` says how often they have met before.
__device__ inline void gn_grid_sync(unsigned* counter, unsigned rounds, unsigned blocks) {
    __syncthreads();
    if (threadIdx.x == 0) {
        __threadfence();
        atomicAdd(counter, 1u);
        while (*(volatile unsigned*)counter < (rounds + 1) * blocks) gn_relax();
        __threadfence();
    }
    __syncthreads();
}
