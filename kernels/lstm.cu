// Long short-term memory, for `lstm` in gpunet/ops/rnn.py; gates i, f, c, o.
// Hochreiter and Schmidhuber, 1997, Neural Computation 9(8), 1735-1780.
#define GATES 4
#define TURNS 1
#define FIRST_GATES 4
#define KEEPS 1  // extra: the cell's state c
#define EXTRA_IS_GRADIENT 0
#include "rnn.cuh"

struct Forward {
    real gates[GATES], h, kept;

    __device__ real step(int, const real* sums, const stored*, const Place& p) {
        for (int g = 0; g < GATES; g++) {
            real x = gates[g] + sum_at<COLUMNS>(sums, g * SLICE + p.column, p.row);
            gates[g] = g == 2 ? activation<ACTIVATION>(x) : activation<GATE_ACTIVATION>(x);
        }
        kept = gates[1] * kept + gates[0] * gates[2];
        return gates[3] * activation<ACTIVATION>(kept);
    }
};

struct Backward {
    real gates[GATES], h, kept, last_kept, gh, gc;

    __device__ void step(int, real, real (&made)[GATES]) {
        const real i = gates[0], f = gates[1], c = gates[2], o = gates[3];
        const real y = activation<ACTIVATION>(kept);
        const real g = gc + gh * o * slope<ACTIVATION>(y);
        made[0] = g * c * slope<GATE_ACTIVATION>(i);
        made[1] = g * last_kept * slope<GATE_ACTIVATION>(f);
        made[2] = g * i * slope<ACTIVATION>(c);
        made[3] = gh * y * slope<GATE_ACTIVATION>(o);
        for (int n = 0; n < GATES; n++) gates[n] = made[n];
        gc = g * f;
        gh = 0;
    }
};

#include "rnn_walk.cuh"
