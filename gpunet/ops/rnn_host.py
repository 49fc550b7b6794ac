"""How NumPy runs the ops of `gpunet.ops.rnn`: the same contract, fewer and larger calls.

Inside, samples are the last axis, and what a walk keeps of a step is one block: gates (G, U, N),
states (U, N).  Both directions of a bidirectional layer are walked at once; they are an axis before
these, D.  A thread beside the walk does what takes long calls, some steps at a time: what inputs
add to the gates, before the walk comes to them; on the way back, after it, the gradients of inputs.
(Many short calls on two threads take longer than on one: each waits for the interpreter's lock.)
The gradients of weights are one product each at the end.
"""

import contextlib
import functools

import numpy as np

from gpunet import threads
from gpunet.ops.memory import empty
from gpunet.ops.rnn_host_products import Inputs, Recurrence

__all__ = ["SCALES", "Parts", "Scan", "apply", "number", "prepare", "slope"]

# What the sums of a gate are scaled by before `apply`, so that a sigmoid is one tanh.
SCALES = {"sigmoid": 0.5, "hard_sigmoid": 0.2}


@functools.lru_cache(maxsize=64)
def number(value, dtype):
    """Return an array of one number; NumPy takes it in half the time that a float takes."""
    return np.asarray(value, dtype)


def apply(name, x, out):
    """Write the values of an activation for scaled sums."""
    if name == "tanh":
        np.tanh(x, out=out)
    elif name == "sigmoid":
        half = number(0.5, out.dtype)
        np.tanh(x, out=out)
        np.multiply(out, half, out=out)
        np.add(out, half, out=out)
    elif name == "hard_sigmoid":
        np.add(x, number(0.5, out.dtype), out=out)
        np.maximum(out, 0.0, out=out)
        np.minimum(out, 1.0, out=out)
    elif name == "relu":
        np.maximum(x, 0.0, out=out)
    elif x is not out:
        out[...] = x


def slope(name, y, factor, times, out):
    """Write the slope of an activation where its values are y, times a factor.

    Args:
        factor: array.
        times: array, y * factor.
    """
    if name == "tanh":
        np.multiply(y, times, out=out)
        np.subtract(factor, out, out=out)
    elif name == "sigmoid":
        np.subtract(number(1, out.dtype), y, out=out)
        out *= times
    elif name == "hard_sigmoid":
        np.multiply((y > 0.0) & (y < 1.0), number(0.2, out.dtype), out=out)
        out *= factor
    elif name == "relu":
        np.multiply(y > 0.0, factor, out=out)
    else:
        out[...] = factor


# Multiplications: of a step, from which it pays to walk in parts of the batch (for each part) and
# to let BLAS use its own threads; of all inputs and states of the steps that are one task.
_PART, _WIDE, _TASK = 2**22, 2**26, 2**26


# Numbers that the gates of some steps may have so that they are still in a cache when the walk
# comes to them.
_CACHED = 2**15


def _transposed(a):
    """Return a new array with the last two axes swapped."""
    return np.array(np.swapaxes(a, -1, -2), order="C")


class Scan:
    """One call: workspace, forward and backward walk.

    A subclass gives its cell: `allocate`, the steps of `walk`, and on the way back `start_back`,
    `prepare` for some steps at a time and ``back(t, k)`` for one, the k-th of those.

    Args:
        runs: list of (arrays, states, reverse) for each direction, all of one shape: arrays are
            x, kernel, recurrent kernel, bias, mask, x_keep, h_keep; states arrays (N, U) or Nones.
        options: dict of the op's options.
        alone: bool, no other call shares the threads.
        keeps: bool, keep of each step what `pull` needs; there is none without it.
    """

    states = 1
    #: Gates as they follow each other in the cell's arrays.
    order = (0,)
    #: Arrays of gradients that a step leaves, and which of them are those of the gates.
    left, own = 1, slice(None)

    def __init__(self, runs, options, alone=True, keeps=True):
        self.options, self.alone, self.runs = options, alone, runs
        self.act = options.get("activation", "tanh")
        self.gate = options.get("recurrent_activation", "sigmoid")
        self.sequences = options.get("sequences", False)
        x, _, recurrent, self.bias = runs[0][0][:4]
        self.dtype = x.dtype
        self.steps, self.batch, self.features = x.shape
        self.units, self.gates = recurrent.shape[0], len(self.order)
        self._take_mask()
        self.keeps = keeps or self.off is not None
        self.kept = self.steps if self.keeps else 1
        self._take_weights()
        self.spare = self.room(gates=(self.gates,))
        self.h = self.room(self.steps + 1 if self.keeps or self.sequences else 1)
        self.start(self.h[0], 0)
        self.allocate()
        self.tasks = self._cut()

    def room(self, *steps, gates=()):
        """Return an array (*steps, D, *gates, U, N) for work inside; results are others."""
        return empty((*steps, len(self.runs), *gates, self.units, self.batch), self.dtype)

    def start(self, room, which):
        """Write one of the states at the start, (D, U, N)."""
        for one, (_, states, _) in zip(room, self.runs):
            one[...] = 0 if states[which] is None else states[which].T

    def each(self, *rooms):
        """Return lists: what each step has in a room; all have the same where none is kept."""
        return [list(r) if len(r) >= self.steps else [r[0]] * self.steps for r in rooms]

    def states_of(self, room):
        """Return those before each step and those after it, likewise."""
        return (room[:-1], room[1:]) if len(room) > 1 else (room, room)

    def _take_mask(self):
        self.off, self.seen = None, [None] * len(self.runs)
        masks = [arrays[4][::-1] if reverse else arrays[4]
                 for arrays, _, reverse in self.runs if arrays[4] is not None]  # fmt: skip
        if not masks or masks[0].all():
            return
        masks = np.stack(masks, axis=1)[:, :, None]  # (T, D, 1, N)
        self.off = ~masks
        self.some_off = self.off.any(axis=(1, 2, 3)).tolist()
        for i, (_, states, _) in enumerate(self.runs):
            if self.options.get("zero_output", False):
                self.seen[i] = masks[:, i].astype(self.dtype)
            elif states[0] is not None:
                self.seen[i] = np.logical_or.accumulate(masks[:, i], axis=0).astype(self.dtype)

    def scales(self):
        """Return what each gate's rows are scaled by, in the order of the cell's arrays."""
        return [SCALES.get(self.gate, 1.0)] * (self.gates - 1) + [1.0]

    def _keep(self, keep, rate):
        return None if keep is None else keep.astype(self.dtype) * (1 / (1 - rate))

    def _take_weights(self):
        scales, keeps = self.scales(), []
        self.inputs = []
        for (x, kernel, _, bias, _, x_keep, h_keep), _, reverse in self.runs:
            if bias is not None and bias.ndim == 2:
                own = bias[0].copy()
                own[: -self.units] += bias[1, : -self.units]
                bias = own
            x, x_keep = (
                x[::-1] if reverse else x,
                self._keep(x_keep, self.options.get("x_rate", 0.0)),
            )
            self.inputs.append(Inputs(x, kernel, bias, x_keep, self.order, scales))
            keeps.append(self._keep(h_keep, self.options.get("h_rate", 0.0)))
        keep = None if keeps[0] is None else np.stack([_transposed(k) for k in keeps])
        kernels = [arrays[2] for arrays, _, _ in self.runs]
        self.recurrence = Recurrence(kernels, keep, dict(zip(self.order, scales)), self.batch)

    def _cut(self):
        """Return slices: the steps of each task."""
        work = self.batch * self.gates * self.units * (self.features + self.units)
        size = max(1, _TASK // max(1, work * len(self.runs)))
        return [slice(t, min(t + size, self.steps)) for t in range(0, self.steps, size)]

    def _blas(self):
        """Return a context for the products of single steps."""
        work = self.gates * self.units * self.units * self.batch
        return threads.one_blas_thread() if work < _WIDE else contextlib.nullcontext()

    def _begin(self, work, *args):
        """Have something done beside the walk; return a function that makes sure of it."""
        work = functools.partial(work, *args)
        beside = self.alone and len(self.tasks) > 1 and threads.spreading()
        return threads.begin(work) if beside else work

    # -- forward --------------------------------------------------------------------------

    def run(self):
        """Walk through the steps; return outputs and last states, for each direction."""
        with self._blas():
            begun = [self._begin(self._project, part) for part in self.tasks]
            for part, finish in zip(self.tasks, begun):
                finish()
                self.walk(part)
        return [self._results(i) for i in range(len(self.runs))]

    def _project(self, part):
        for i, inputs in enumerate(self.inputs):
            inputs.project(part, self.z[part, i])

    def hold(self, t, *pairs):
        """After step t, put the states before it where it doesn't count."""
        if self.some_off[t]:
            for before, after in pairs:
                np.copyto(after, before, where=self.off[t])

    def _results(self, i):
        h, seen = self.h[1:, i] if self.sequences else self.h[-1, i], self.seen[i]
        if seen is not None:
            h = h * (seen if self.sequences else seen[-1])
        return (_transposed(h), *[_transposed(s[i]) for s in self.last_states()])

    def last_states(self):
        """Return the states at the end, each (D, U, N)."""
        return [self.h[-1]]

    # -- backward -------------------------------------------------------------------------

    def pull(self, gys, needs):
        """Walk back.

        Args:
            gys: list of tuples, for each direction the gradients of its results, or Nones.
            needs: list of lists of bools, whether the gradients of x, kernel, recurrent kernel
                and bias are needed.

        Returns:
            List of tuples: gradients of x, kernel, recurrent kernel, bias and states.
        """
        gy = self._given(gys)
        shape = (len(self.runs), self.left, self.units, self.steps, self.batch)
        self.g = self.room(self.steps, gates=(self.left,))  # gradients step by step
        self.all_g = empty(shape, self.dtype)  # and sorted for large products
        self.gx = [np.empty(n.x.shape, self.dtype) if need[0] else None
                   for n, need in zip(self.inputs, needs)]  # fmt: skip
        self.hot = max(1, _CACHED // max(1, self.spare.size))
        self.one = self.room()
        self.start_back()
        self.lefts = [empty((len(self.runs), *shape[2:]), self.dtype) for _ in self.multiplied()]
        with self._blas():
            begun = []
            for part in reversed(self.tasks):
                self._walk_back(part, gy)
                begun.append(self._begin(self._collect, part))
            for finish in begun:
                finish()
        results = [self._gradients(i, needs[i]) for i in range(len(self.runs))]
        self.g = self.all_g = self.gx = self.lefts = self.grads = self.at_back = None
        return results

    def _given(self, gys):
        """Return the gradients of all outputs, (T, D, U, N) or None; begin those of states."""
        self.grads = [self.room() for _ in range(self.states)]
        all_gy = None
        for i, (gy, *gstates) in enumerate(gys):
            for room, g in zip(self.grads, gstates):
                room[i] = 0 if g is None else g.T
            if gy is None:
                continue
            gy = np.swapaxes(gy, -1, -2)
            if self.seen[i] is not None:
                gy = gy * (self.seen[i] if self.sequences else self.seen[i][-1])
            if not self.sequences:
                self.grads[0][i] += gy
                continue
            if all_gy is None:
                all_gy = self.room(self.steps)
                all_gy[...] = 0
            all_gy[:, i] = gy
        return all_gy

    def _walk_back(self, part, gy):
        """Walk back through some steps."""
        for stop in range(part.stop, part.start, -self.hot):
            start = max(part.start, stop - self.hot)
            self.prepare(slice(start, stop))
            for t in range(stop - 1, start - 1, -1):
                if gy is not None:
                    np.add(self.grads[0], gy[t], out=self.grads[0])
                self.back(t, t - start)

    def _collect(self, part):
        """Sort what the walk has left for some steps, and give gradients of inputs."""
        self.all_g[:, :, :, part] = self.g[part].transpose(1, 2, 3, 0, 4)
        for room, (_, source, _) in zip(self.lefts, self.multiplied()):
            room[:, :, part] = source[part].transpose(1, 2, 0, 3)
        for i, (inputs, gx) in enumerate(zip(self.inputs, self.gx)):
            if gx is not None:
                inputs.pull(part, self.sorted_gradients(i, self.own), gx)

    def sorted_gradients(self, i, rows):
        """Return gradients of one direction, (k, U, T * N)."""
        g = self.all_g[i, rows]
        return g.reshape((*g.shape[:2], self.steps * self.batch))

    def _gradients(self, i, needs):
        g, inputs, gx = self.sorted_gradients(i, self.own), self.inputs[i], self.gx[i]
        if gx is not None and self.runs[i][2]:
            gx = gx[::-1]
        gkernel = gbias = None
        if needs[1] or needs[3]:
            gkernel, gbias = inputs.gradient(g)
        groups = [
            (gates, room[i], self.sorted_gradients(i, rows))
            for (gates, _, rows), room in zip(self.multiplied(), self.lefts)
        ]
        grecurrent = self.recurrence.gradient(i, groups) if needs[2] else None
        if gbias is not None:
            gbias = self.bias_gradient(i, gbias)
        return (gx, gkernel, grecurrent, gbias, *[_transposed(s[i]) for s in self.grads])

    def hide(self, part, values, value=0):
        """Put a number in the place of what masked steps have."""
        if self.off is not None and any(self.some_off[part]):
            off = self.off[part]
            off = off.reshape((*off.shape[:2], *[1] * (values.ndim - 4), *off.shape[2:]))
            np.copyto(values, value, where=off)

    def back_through(self, times, g, t):
        """Write the gradient of h before step t, from that after it and those of its gates."""
        gh = self.grads[0]
        if self.off is None or not self.some_off[t]:
            times(g)
            return
        kept = np.where(self.off[t], gh, 0)
        times(g)
        gh += kept

    def multiplied(self):
        """Return (gates, room (T, D, U, N) of what was multiplied, gradients' rows) by product."""
        return [(self.order, self.h[:-1], slice(None))]

    def bias_gradient(self, i, gbias):
        """Return the gradient in the shape of the bias."""
        return gbias


class Parts:
    """A call whose batch is walked in parts, each on a thread of its own.

    Args:
        scan: class of the parts.
        runs, options, keeps: see `Scan`.
        count: int, number of parts.
    """

    def __init__(self, scan, runs, options, count, keeps=True):
        self.scan, self.runs, self.options, self.keeps = scan, runs, options, keeps
        batch = runs[0][0][0].shape[1]
        bounds = [batch * i // count for i in range(count + 1)]
        self.slices = [slice(a, b) for a, b in zip(bounds, bounds[1:])]
        self.made = [None] * count

    def _each(self, work):
        """Return what a function of a part's number gives, for all parts."""
        results = [None] * len(self.slices)

        def start():
            def one(i):
                results[i] = work(i)

            return one

        threads.spread(len(self.slices), start)
        return results

    def _share(self, run, n):
        (x, kernel, recurrent, bias, *rest), states, reverse = run
        rest = [None if a is None else a[:, n] for a in rest]  # batch is the second axis
        states = [None if s is None else s[n] for s in states]
        return (x[:, n], kernel, recurrent, bias, *rest), states, reverse

    def run(self):
        """Walk through the steps; return outputs and last states, for each direction."""

        def forward(i):
            runs = [self._share(run, self.slices[i]) for run in self.runs]
            self.made[i] = self.scan(runs, self.options, alone=False, keeps=self.keeps)
            return self.made[i].run()

        return [_joined(parts) for parts in zip(*self._each(forward))]

    def pull(self, gys, needs):
        """Walk back; see `Scan.pull`."""

        def backward(i):
            n = self.slices[i]
            parts = [[None if g is None else g[..., n, :] for g in gy] for gy in gys]
            return self.made[i].pull(parts, needs)

        return [self._added(results) for results in zip(*self._each(backward))]

    @staticmethod
    def _added(results):
        x, *weights = zip(*[r[:4] for r in results])
        weights = [None if w[0] is None else sum(w[1:], w[0]) for w in weights]
        states = _joined([r[4:] for r in results])
        return (None if x[0] is None else np.concatenate(x, axis=1), *weights, *states)


def _joined(results):
    return tuple([np.concatenate(parts, axis=-2) for parts in zip(*results)])


def prepare(scan, runs, options, keeps=True):
    """Return a `Scan`, or `Parts` where several threads pay."""
    x, _, recurrent = runs[0][0][:3]
    work = len(runs) * x.shape[1] * recurrent.size
    count = min(threads.count(), work // _PART, x.shape[1] // 16, 4)
    if count > 1:
        return Parts(scan, runs, options, count, keeps)
    return scan(runs, options, keeps=keeps)
