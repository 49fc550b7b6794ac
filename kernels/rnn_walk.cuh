// The kernels of a recurrent layer, for the cell that the source before this has defined:
// GATES, TURNS, FIRST_GATES (how many of the gates the first of two turns makes), the struct
// Forward with `step` and the struct Backward with `step`. See rnn.cuh.

// Overwrites with zeros what this block has of an array in shared memory.
__device__ inline void clear(element* at, int count) {
    for (int i = threadIdx.x; i < count; i += THREADS) at[i] = element{};
}

constexpr int BUFFERS = MEET == BLOCKS_MEET_IN_SHARED ? 2 : 1;  // of operands

// Moves a pointer on to the block's direction; null stays.
template <typename T>
__device__ inline T* of_direction(T* p, int64 size) {
    return DIRECTIONS > 1 && p != nullptr ? p + blockIdx.z * size : p;
}

// Brings the piece of states [N, U] that begins at unit `start` into an operand; null for zeros.
__device__ inline void bring_state(element* operand, const real* states, const Walk& walk,
                                   int64 first, int start) {
    constexpr int PART = CHUNKS == 1 ? UNITS : PIECE;
    for (int i = threadIdx.x; i < PART * ROWS; i += THREADS) {
        const int k = i % PART, row = i / PART, u = start + k;
        const int64 n = first + row;
        if (n >= walk.batch || u >= UNITS) continue;
        const real value = states != nullptr ? __ldcg(states + n * UNITS + u) : (real)0;
        put_state<0, GATES>(operand, walk, n, row, k, u, value, false);
    }
    __syncthreads();
}

// One walk forward, or some turns of it.
//
// z: [T, N, D, G * U], stored: what the inputs add to the gates; overwritten by the gates' values
// recurrent: [D, U, G * U], stored
// inner: [D, G * U], stored: added to the recurrent products, or null
// h, c: [D, N, U], states at the start, or null for zeros; c is for the LSTM alone
// mask: [T, N], 0 where a step doesn't count; for MASKED
// keep: [D, G, N, U], for DROPOUT
// hs: [D, T, N, U], overwritten by the states
// extra: [D, T, N, U], overwritten by what the cell keeps besides
// scratch: [D, N, U], overwritten where a step takes two turns and blocks meet in global memory
// meetings: [D], zero, for blocks that meet in the grid
extern "C" __global__ void
#if CLUSTER > 1
__cluster_dims__(CLUSTER, 1, 1)
#endif
__launch_bounds__(THREADS, 1)
walk_forward(stored* z, const stored* __restrict__ recurrent, const stored* __restrict__ inner,
             const real* __restrict__ h, const real* __restrict__ c,
             const unsigned char* __restrict__ mask, const unsigned char* __restrict__ keep,
             real* hs, real* extra, real* scratch, unsigned* meetings, real scale,
             int64 steps, int64 batch, int64 reverse, int64 first_turn, int64 last_turn) {
    GN_DYNAMIC(element, weights);
    element* operands = weights + WEIGHTS;
    real* sums = (real*)(operands + BUFFERS * OPERAND);
    recurrent = of_direction(recurrent, (int64)GATES * UNITS * UNITS);
    inner = of_direction(inner, GATES * UNITS);
    h = of_direction(h, batch * UNITS);
    c = of_direction(c, batch * UNITS);
    keep = of_direction(keep, GATES * batch * UNITS);
    hs = of_direction(hs, steps * batch * UNITS);
    extra = of_direction(extra, steps * batch * UNITS);
    scratch = of_direction(scratch, batch * UNITS);
    meetings = of_direction(meetings, 1);
    const Walk walk = {steps, batch, (reverse != 0) != (blockIdx.z == 1), keep, scale};

    clear(weights, WEIGHTS + BUFFERS * OPERAND);
    __syncthreads();
    if (RESIDENT)
        for (int i = threadIdx.x; i < UNITS * COLUMNS; i += THREADS) {
            const int k = i / COLUMNS, column = i % COLUMNS;
            const int u = blockIdx.x * SLICE + column % SLICE;
            if (u < UNITS)
                weights[position(k, column, COLUMN_STRIDE)] = rounded(gn_float(
                    recurrent[(int64)k * GATES * UNITS + column / SLICE * UNITS + u]));
        }
    if (MEET == BLOCKS_MEET_IN_SHARED) {
        const int64 first = (int64)blockIdx.y * ROWS;
        for (int i = threadIdx.x; i < UNITS * ROWS; i += THREADS) {
            const int u = i % UNITS, row = i / UNITS;
            const int64 n = first + row;
            if (h != nullptr && n < batch)
                put_state<0, GATES>(operands, walk, n, row, u, u, h[n * UNITS + u], false);
        }
        blocks_meet(meetings, 0);  // nobody writes to a neighbour that is still clearing
    }
    __syncthreads();

    for (int64 turn = first_turn; turn < last_turn; turn++) {
        const int64 step = turn / TURNS, t = walk.time(step), before = walk.time(step - 1);
        const int phase = (int)(turn % TURNS);
        const bool ends = phase == TURNS - 1;  // the step; else another product follows
        const real* last_h = step ? hs + before * batch * UNITS : h;
        const real* last_kept = step ? extra + before * batch * UNITS : c;
        element* now = operands + (BUFFERS == 2 ? turn % 2 : 0) * OPERAND;
        element* next = operands + (BUFFERS == 2 ? (turn + 1) % 2 : 0) * OPERAND;
        EACH_TILE(first, batch) {
            // What the cells need is fetched before the product, which hides the wait for it.
            Forward cells[CELLS];
            for (int i = 0; i < CELLS; i++) {
                const Place p(i, first, batch);
                if (!p.there) continue;
                const int64 at = p.n * UNITS + p.u;
                for (int g = 0; g < GATES; g++)
                    cells[i].gates[g] = gn_float(z[walk.place(t, p.n, g, p.u)]);
                cells[i].h = last_h != nullptr ? __ldcg(last_h + at) : (real)0;
                cells[i].kept = KEEPS && last_kept != nullptr ? last_kept[at] : (real)0;
            }
            for (int start = 0; start < DEPTH; start += PIECE) {
                if (MEET != BLOCKS_MEET_IN_SHARED)
                    bring_state(now, phase ? scratch : last_h, walk, first, start);
                if (phase == 0)
                    multiply_gates<0, FIRST_GATES>(sums, now, weights, recurrent, start);
#if TURNS == 2
                else
                    multiply_gates<FIRST_GATES, GATES>(sums, now, weights, recurrent, start);
#endif
                __syncthreads();
            }
            for (int i = 0; i < CELLS; i++) {
                const Place p(i, first, batch);
                if (!p.there) continue;
                Forward& cell = cells[i];
                const int64 at = p.n * UNITS + p.u;
                real value = cell.h;
                if (!MASKED || mask[t * batch + p.n]) value = cell.step(phase, sums, inner, p);
                for (int g = 0; g < GATES; g++)
                    z[walk.place(t, p.n, g, p.u)] = stored_of(cell.gates[g]);
                if (KEEPS) extra[t * batch * UNITS + at] = cell.kept;
                if (ends) __stcg(hs + t * batch * UNITS + at, value);
                if (MEET != BLOCKS_MEET_IN_SHARED) {
                    if (!ends) __stcg(scratch + at, value);
                } else if (ends) {
                    put_state<0, FIRST_GATES>(next, walk, p.n, p.row, p.u, p.u, value, true);
                } else {
                    put_state<FIRST_GATES % GATES, GATES>(next, walk, p.n, p.row, p.u, p.u, value,
                                                          true);
                }
            }
            __syncthreads();
        }
        blocks_meet(meetings, (unsigned)turn);
    }
}

// Brings the gradients of step t's gates, their pieces that begin at unit `start`, into an operand.
__device__ inline void bring_gradients(element* operand, const stored* z, const real* extra,
                                       const Walk& walk, int64 t, int64 first, int start) {
    constexpr int PART = CHUNKS == 1 ? UNITS : PIECE;
    for (int i = threadIdx.x; i < GATES * PART * ROWS; i += THREADS) {
        const int k = i % PART, gate = i / PART % GATES, row = i / (GATES * PART);
        const int u = start + k;
        const int64 n = first + row;
        if (n >= walk.batch || u >= UNITS) continue;
        const bool moved = EXTRA_IS_GRADIENT && gate == GATES - 1;
        operand[position(gate * PIECE + k, row, ROW_STRIDE)] =
            rounded(moved ? __ldcg(extra + (t * walk.batch + n) * UNITS + u)
                          : fresh(z + walk.place(t, n, gate, u)));
    }
    __syncthreads();
}

// The walk back, which gives the gradients of the gates and of the states at the start.
//
// z: [T, N, D, G * U], stored: the gates' values; overwritten by the gradients of what the inputs
//     added
// recurrent, h, c, mask, keep, hs, meetings: as in walk_forward
// extra: [D, T, N, U] as it was left there; a GRU whose reset gate acts after the product overwrites
//     it by the gradient of its last gate's product
// gy: [D, T, N, U], stored: gradient of the states at all steps, or null
// gh, gc: [D, N, U], gradients of the last states; overwritten by those of the states at the start
extern "C" __global__ void
#if CLUSTER > 1
__cluster_dims__(CLUSTER, 1, 1)
#endif
__launch_bounds__(THREADS, 1)
walk_backward(stored* z, const stored* __restrict__ recurrent, const real* __restrict__ h,
              const real* __restrict__ c, const unsigned char* __restrict__ mask,
              const unsigned char* __restrict__ keep, const real* __restrict__ hs, real* extra,
              const stored* __restrict__ gy, real* gh, real* gc, unsigned* meetings, real scale,
              int64 steps, int64 batch, int64 reverse, int64 first_turn, int64 last_turn) {
    GN_DYNAMIC(element, weights);
    element* operands = weights + BACK_WEIGHTS;
    real* sums = (real*)(operands + BUFFERS * BACK_OPERAND);
    recurrent = of_direction(recurrent, (int64)GATES * UNITS * UNITS);
    h = of_direction(h, batch * UNITS);
    c = of_direction(c, batch * UNITS);
    keep = of_direction(keep, GATES * batch * UNITS);
    hs = of_direction(hs, steps * batch * UNITS);
    extra = of_direction(extra, steps * batch * UNITS);
    gy = of_direction(gy, steps * batch * UNITS);
    gh = of_direction(gh, batch * UNITS);
    gc = of_direction(gc, batch * UNITS);
    meetings = of_direction(meetings, 1);
    const Walk walk = {steps, batch, (reverse != 0) != (blockIdx.z == 1), keep, scale};

    clear(weights, BACK_WEIGHTS + BUFFERS * BACK_OPERAND);
    __syncthreads();
    if (RESIDENT)
        for (int i = threadIdx.x; i < GATES * UNITS * SLICE; i += THREADS) {
            const int k = i % (GATES * UNITS), column = i / (GATES * UNITS);
            const int u = blockIdx.x * SLICE + column;
            if (u < UNITS)
                weights[position(k / UNITS * DEPTH + k % UNITS, column, BACK_STRIDE)] =
                    rounded(gn_float(recurrent[(int64)u * GATES * UNITS + k]));
        }
    if (MEET == BLOCKS_MEET_IN_SHARED) blocks_meet(meetings, 0);
    __syncthreads();

    for (int64 turn = first_turn; turn < last_turn; turn++) {
        const bool done = turn == steps * TURNS;  // only the last product is left
        const int64 step = steps - 1 - turn / TURNS, later = steps - 1 - (turn - 1) / TURNS;
        const int64 t = walk.time(step), before = walk.time(step - 1);
        const int phase = (int)(turn % TURNS);
        const real* last_h = step > 0 ? hs + before * batch * UNITS : h;
        const real* last_kept = step > 0 ? extra + before * batch * UNITS : c;
        element* now = operands + (BUFFERS == 2 ? turn % 2 : 0) * BACK_OPERAND;
        element* next = operands + (BUFFERS == 2 ? (turn + 1) % 2 : 0) * BACK_OPERAND;
        EACH_TILE(first, batch) {
            Backward cells[CELLS];
            for (int i = 0; i < CELLS && !done; i++) {
                const Place p(i, first, batch);
                if (!p.there) continue;
                Backward& cell = cells[i];
                const int64 at = p.n * UNITS + p.u;
                for (int g = 0; g < GATES; g++)
                    cell.gates[g] = gn_float(z[walk.place(t, p.n, g, p.u)]);
                cell.h = last_h != nullptr ? last_h[at] : (real)0;
                cell.kept = KEEPS ? extra[t * batch * UNITS + at] : (real)0;
                cell.last_kept = KEEPS && last_kept != nullptr ? last_kept[at] : (real)0;
                cell.gh = gh[at];
                cell.gc = gc != nullptr ? gc[at] : (real)0;
                if (gy != nullptr && phase == 0) cell.gh += gn_float(gy[t * batch * UNITS + at]);
            }
            for (int start = 0; start < DEPTH && turn; start += PIECE) {
                if (MEET != BLOCKS_MEET_IN_SHARED)
                    bring_gradients(now, z, extra, walk, walk.time(later), first, start);
                if (phase == 0)
                    multiply_back<0, FIRST_GATES>(sums, now, weights, recurrent, walk, first,
                                                  start);
#if TURNS == 2
                else
                    multiply_back<FIRST_GATES, GATES>(sums, now, weights, recurrent, walk, first,
                                                      start);
#endif
                __syncthreads();
            }
            for (int i = 0; i < CELLS; i++) {
                const Place p(i, first, batch);
                if (!p.there) continue;
                Backward& cell = cells[i];
                const int64 at = p.n * UNITS + p.u;
                const real product = turn ? sum_at<SLICE>(sums, p.column, p.row) : (real)0;
                if (done) {
                    gh[at] += product;
                    continue;
                }
                real made[GATES] = {};  // what is multiplied next
                if (phase == 0) cell.gh += product;
                if (!MASKED || mask[t * batch + p.n])
                    cell.step(phase, product, made);
                else
                    for (int g = 0; g < GATES; g++) cell.gates[g] = 0;
                for (int g = 0; g < GATES; g++)
                    z[walk.place(t, p.n, g, p.u)] = stored_of(cell.gates[g]);
                if (EXTRA_IS_GRADIENT) extra[t * batch * UNITS + at] = made[GATES - 1];
                gh[at] = cell.gh;
                if (gc != nullptr) gc[at] = cell.gc;
                if (MEET == BLOCKS_MEET_IN_SHARED)
                    for (int g = 0; g < GATES; g++)
                        hand_on(next + position(g * DEPTH + p.u, p.row, ROW_STRIDE),
                                rounded(made[g]));
            }
            __syncthreads();
        }
        blocks_meet(meetings, (unsigned)turn);
    }
}
