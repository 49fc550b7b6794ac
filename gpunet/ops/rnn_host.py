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

__all__ = ["SCALES", "Parts", "Scan", "apply", "prepare", "slope"]

# What the rows of a gate are scaled by before `apply`, so that a sigmoid is one tanh.
SCALES = {"sigmoid": 0.5, "hard_sigmoid": 0.2}


def apply(name, x):
    """Replace scaled sums by the values of an activation, in place."""
    if name == "tanh":
        np.tanh(x, out=x)
    elif name == "sigmoid":
        np.tanh(x, out=x)
        x *= 0.5
        x += 0.5
    elif name == "hard_sigmoid":
        x += 0.5
        np.maximum(x, 0.0, out=x)
        np.minimum(x, 1.0, out=x)
    elif name == "relu":
        np.maximum(x, 0.0, out=x)


def slope(name, y, out):
    """Write the slope of an activation where its values are y."""
    if name == "tanh":
        np.multiply(y, y, out=out)
        np.subtract(1.0, out, out=out)
    elif name == "sigmoid":
        np.subtract(1.0, y, out=out)
        out *= y
    elif name == "hard_sigmoid":
        np.multiply((y > 0.0) & (y < 1.0), np.asarray(0.2, out.dtype), out=out)
    elif name == "relu":
        np.greater(y, 0.0, out=out)
    else:
        out[...] = 1.0


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

    A subclass gives the steps of its cell: `allocate`, `step` and on the way back `prepare` for
    some steps at a time and ``back(t, k, grads)`` for one, the k-th of those.

    Args:
        runs: list of (arrays, states, reverse) for each direction, all of one shape: arrays are
            x, kernel, recurrent kernel, bias, mask, x_keep, h_keep; states arrays (N, U) or Nones.
        options: dict of the op's options.
        alone: bool, no other call shares the threads.
    """

    states = 1
    #: Gates as they follow each other in the cell's arrays.
    order = (0,)
    #: Arrays of gradients that a step leaves, and which of them are those of the gates.
    left, own = 1, slice(None)

    def __init__(self, runs, options, alone=True):
        self.options, self.alone, self.runs = options, alone, runs
        self.act = options.get("activation", "tanh")
        self.gate = options.get("recurrent_activation", "sigmoid")
        self.sequences = options.get("sequences", False)
        x, _, recurrent, self.bias = runs[0][0][:4]
        self.dtype = x.dtype
        self.steps, self.batch, self.features = x.shape
        self.units, self.gates = recurrent.shape[0], len(self.order)
        self._take_mask()
        self._take_weights()
        self.y = self._room(self.steps, gates=(self.gates,))
        self.h = self._state(0)
        self.spare = self._room(gates=(self.gates,))
        self.allocate()
        self.tasks = self._cut()

    def _room(self, *steps, gates=()):
        """Return an array (*steps, D, *gates, U, N) for work inside; results are others."""
        return empty((*steps, len(self.runs), *gates, self.units, self.batch), self.dtype)

    def _state(self, number):
        """Return room for a state before and after each step, (T + 1, D, U, N)."""
        room = self._room(self.steps + 1)
        for one, (_, states, _) in zip(room[0], self.runs):
            one[...] = 0 if states[number] is None else states[number].T
        return room

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
        all_states = self.histories()
        with self._blas():
            begun = [self._begin(self._project, part) for part in self.tasks]
            for part, finish in zip(self.tasks, begun):
                finish()
                for t in range(part.start, part.stop):
                    self.step(t)
                    if self.off is not None and self.some_off[t]:
                        for s in all_states:
                            np.copyto(s[t + 1], s[t], where=self.off[t])
        return [self._results(i, all_states) for i in range(len(self.runs))]

    def _project(self, part):
        for i, inputs in enumerate(self.inputs):
            inputs.project(part, self.y[part, i])

    def _results(self, i, all_states):
        h, seen = self.h[1:, i], self.seen[i]
        if not self.sequences:
            h, seen = h[-1], None if seen is None else seen[-1]
        y = _transposed(h if seen is None else h * seen)
        return (y, *[_transposed(s[-1, i]) for s in all_states])

    def histories(self):
        """Return the rooms of all states."""
        return [self.h]

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
        gy, grads = self._given(gys)
        shape = (len(self.runs), self.left, self.units, self.steps, self.batch)
        self.g = self._room(self.steps, gates=(self.left,))  # gradients step by step
        self.all_g = empty(shape, self.dtype)  # and sorted for large products
        self.gx = [np.empty(n.x.shape, self.dtype) if need[0] else None
                   for n, need in zip(self.inputs, needs)]  # fmt: skip
        self.hot = max(1, _CACHED // max(1, self.y[0].size))
        self.start_back()
        self.lefts = [empty((len(self.runs), *shape[2:]), self.dtype) for _ in self.multiplied()]
        with self._blas():
            begun = []
            for part in reversed(self.tasks):
                self._walk_back(part, gy, grads)
                begun.append(self._begin(self._collect, part))
            for finish in begun:
                finish()
        results = [self._gradients(i, needs[i], grads) for i in range(len(self.runs))]
        self.g = self.all_g = self.gx = self.lefts = None
        return results

    def _given(self, gys):
        """Return the gradients of all outputs, (T, D, U, N) or None, and of the states."""
        grads = [self._room() for _ in range(self.states)]
        all_gy = None
        for i, (gy, *gstates) in enumerate(gys):
            for room, g in zip(grads, gstates):
                room[i] = 0 if g is None else g.T
            if gy is None:
                continue
            gy = np.swapaxes(gy, -1, -2)
            if self.seen[i] is not None:
                gy = gy * (self.seen[i] if self.sequences else self.seen[i][-1])
            if not self.sequences:
                grads[0][i] += gy
                continue
            if all_gy is None:
                all_gy = self._room(self.steps)
                all_gy[...] = 0
            all_gy[:, i] = gy
        return all_gy, grads

    def _walk_back(self, part, gy, grads):
        """Walk back through some steps."""
        for stop in range(part.stop, part.start, -self.hot):
            start = max(part.start, stop - self.hot)
            self.prepare(slice(start, stop))
            for t in range(stop - 1, start - 1, -1):
                if gy is not None:
                    grads[0] += gy[t]
                self.back(t, t - start, grads)

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

    def _gradients(self, i, needs, grads):
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
        return (gx, gkernel, grecurrent, gbias, *[_transposed(s[i]) for s in grads])

    def hide(self, part, values, value=0):
        """Put a number in the place of what masked steps have."""
        if self.off is not None and any(self.some_off[part]):
            off = self.off[part]
            off = off.reshape((*off.shape[:2], *[1] * (values.ndim - 4), *off.shape[2:]))
            np.copyto(values, value, where=off)

    def carried(self, t, g):
        """Return the gradient of a state that a masked step hands on as it is, or None."""
        if self.off is not None and self.some_off[t]:
            return np.where(self.off[t], g, 0)
        return None

    def start_back(self):
        """Make room that only the backward walk needs."""

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
        runs, options: see `Scan`.
        count: int, number of parts.
    """

    def __init__(self, scan, runs, options, count):
        self.scan, self.runs, self.options = scan, runs, options
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
            self.made[i] = self.scan(runs, self.options, alone=False)
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


def prepare(scan, runs, options):
    """Return a `Scan`, or `Parts` where several threads pay."""
    x, _, recurrent = runs[0][0][:3]
    work = len(runs) * x.shape[1] * recurrent.size
    count = min(threads.count(), work // _PART, x.shape[1] // 16, 4)
    if count > 1:
        return Parts(scan, runs, options, count)
    return scan(runs, options)
