// What kernels ask of the machine directly: dynamic shared memory, clusters of blocks, tensor
// cores, asynchronous copies. Everything else is plain CUDA C++. Tests run the kernels on a CPU,
// where functions of the same names stand in for these.
#ifndef GN_ON_CPU

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

// 16 bytes from global to shared memory, of which the first `valid` are read and the rest are 0.
// Both addresses are multiples of 16.
__device__ __forceinline__ void gn_copy_async(void* to, const void* from, int valid = 16) {
    unsigned address = (unsigned)__cvta_generic_to_shared(to);
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from),
                 "r"(valid)
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
__device__ __forceinline__ void gn_copy_async(void* to, const void* from, int valid = 16) {
    const unsigned* source = (const unsigned*)from;
    for (int i = 0; i < 4; i++) ((unsigned*)to)[i] = 4 * i < valid ? source[i] : 0u;
}
__device__ __forceinline__ void gn_copy_commit() {}
template <int LEFT>
__device__ __forceinline__ void gn_copy_wait() {}
#endif

#endif  // GN_ON_CPU

// All blocks of a cooperative launch meet. `counter` is zeroed before the launch, and `rounds` says
// how often they have met before.
__device__ inline void gn_grid_sync(unsigned* counter, unsigned rounds) {
    __syncthreads();
    if (threadIdx.x == 0) {
        unsigned blocks = gridDim.x * gridDim.y * gridDim.z;
        __threadfence();
        atomicAdd(counter, 1u);
        while (*(volatile unsigned*)counter < (rounds + 1) * blocks) gn_relax();
        __threadfence();
    }
    __syncthreads();
}
