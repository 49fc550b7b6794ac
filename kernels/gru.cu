// Gated recurrent unit, for `gru` in gpunet/ops/rnn.py; gates z, r, h.
// Cho et al., 2014, arXiv:1406.1078. RESET_AFTER: the reset gate acts on the recurrent product, as
// in cuDNN, and not on the state before it, which takes two products in a row.
#define GATES 3
#if RESET_AFTER
#define TURNS 1
#define FIRST_GATES 3
#define EXTRA_IS_GRADIENT 1
#else
#define TURNS 2
#define FIRST_GATES 2
#define EXTRA_IS_GRADIENT 0
#endif
#define KEEPS 1  // extra: RESET_AFTER the product of the last gate, else r * h
#include "rnn.cuh"

struct Forward {
    real gates[GATES], h, kept;

    __device__ real step(int phase, const real* sums, const stored* inner, const Place& p) {
        constexpr int FIRST = FIRST_GATES * SLICE;
        if (phase == 0)
            for (int g = 0; g < 2; g++) {
                real x = gates[g] + sum_at<FIRST>(sums, g * SLICE + p.column, p.row);
                if (inner != nullptr) x += gn_float(inner[g * UNITS + p.u]);
                gates[g] = activation<GATE_ACTIVATION>(x);
            }
#if RESET_AFTER
        kept = sum_at<FIRST>(sums, 2 * SLICE + p.column, p.row);
        if (inner != nullptr) kept += gn_float(inner[2 * UNITS + p.u]);
        gates[2] = activation<ACTIVATION>(gates[2] + gates[1] * kept);
#else
        kept = gates[1] * h;
        if (phase == 0) return kept;
        gates[2] = activation<ACTIVATION>(gates[2] + sum_at<SLICE>(sums, p.column, p.row));
#endif
        return gates[0] * h + ((real)1 - gates[0]) * gates[2];
    }
};

struct Backward {
    real gates[GATES], h, kept, last_kept, gh, gc;

    __device__ void step(int phase, real product, real (&made)[GATES]) {
        if (phase == 0) {
            const real s = gates[0], g = gates[2];
            made[2] = gh * ((real)1 - s) * slope<ACTIVATION>(g);
            made[0] = gh * (h - g) * slope<GATE_ACTIVATION>(s);
            gates[2] = made[2];
            gates[0] = made[0];
            gh *= s;
        }
        const real r = gates[1];
#if RESET_AFTER
        gates[1] = made[1] = made[2] * kept * slope<GATE_ACTIVATION>(r);
        made[2] *= r;
#else
        if (phase == 0) return;
        made[0] = gates[0];
        gates[1] = made[1] = product * h * slope<GATE_ACTIVATION>(r);
        gh += product * r;
#endif
    }
};

#include "rnn_walk.cuh"
