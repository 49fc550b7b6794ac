// h = activation(x W + h R + b), for `simple_rnn` in gpunet/ops/rnn.py.
#define GATES 1
#define TURNS 1
#define FIRST_GATES 1
#define KEEPS 0
#define EXTRA_IS_GRADIENT 0
#include "rnn.cuh"

struct Forward {
    real gates[GATES], h, kept;

    __device__ real step(int, const real* sums, const stored*, const Place& p) {
        gates[0] = activation<ACTIVATION>(gates[0] + sum_at<COLUMNS>(sums, p.column, p.row));
        return gates[0];
    }
};

struct Backward {
    real gates[GATES], h, kept, last_kept, gh, gc;

    __device__ void step(int, real, real (&made)[GATES]) {
        made[0] = gates[0] = gh * slope<ACTIVATION>(gates[0]);
        gh = 0;
    }
};

#include "rnn_walk.cuh"
