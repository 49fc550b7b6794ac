// Random bits from a counter, the same integers as gpunet/ops/philox.py.
// Salmon et al., 2011, Parallel random numbers: as easy as 1, 2, 3, SC '11.

struct Bits {
    unsigned long long words[4];

    // The 16-bit number i of 16, the lowest bits of each word first.
    __device__ unsigned quarter(int i) const {
        return (unsigned)(words[i / 4] >> (i % 4 * 16)) & 0xffff;
    }
};

// Block number `block` of those that a key names: seed, stream, blocks to skip.
__device__ inline Bits philox(const unsigned long long* key, unsigned long long block) {
    unsigned long long k0 = key[0], k1 = key[1];
    unsigned long long c0 = block + 1 + key[2], c1 = c0 <= key[2], c2 = 0, c3 = 0;
    for (int round = 0; round < 10; round++) {
        const unsigned long long m0 = 0xD2E7470EE14C6C93ull, m1 = 0xCA5A826395121157ull;
        const unsigned long long high0 = __umul64hi(c0, m0), high1 = __umul64hi(c2, m1);
        const unsigned long long low0 = c0 * m0, low1 = c2 * m1;
        c0 = high1 ^ c1 ^ k0;
        c1 = low1;
        c2 = high0 ^ c3 ^ k1;
        c3 = low0;
        k0 += 0x9E3779B97F4A7C15ull;
        k1 += 0xBB67AE8584CAA73Bull;
    }
    return {{c0, c1, c2, c3}};
}
