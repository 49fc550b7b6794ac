// Means and variances of parts, joined without losing digits.
#include "common.cuh"

// What is known of some numbers: how many, their mean, the sum of squares of what is left.
struct Moments {
    real count, mean, squares;

    __device__ void add(real x) {
        count += 1;
        const real off = x - mean;
        mean += off / count;
        squares += off * (x - mean);
    }
    // Chan, Golub and LeVeque, 1979, Updating formulae and a pairwise algorithm.
    __device__ void add(const Moments& other) {
        if (other.count == 0) return;
        const real total = count + other.count, off = other.mean - mean;
        mean += off * (other.count / total);
        squares += other.squares + off * off * (count * other.count / total);
        count = total;
    }
};
