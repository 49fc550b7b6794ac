"""How NumPy runs the ops of `gpunet.ops.rnn`: the same contract, fewer and larger calls.

Inside, samples are the last axis: a step's gates are one contiguous block (G * U, N), each
gate is a contiguous part of it, and the recurrent product ``R.T @ h`` is one matrix product
whose long axis BLAS can split.  Nothing is allocated in the loop over time.  The backward walk
leaves the gates' gradients of all steps in one array, from which the gradients of weights and
inputs come as one matrix product each.
"""

import contextlib

import numpy as np

from gpunet import threads
from gpunet.ops.memory import empty
from gpunet.ops.products import product

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


def slope(name, y, g, spare):
    """Multiply g by the slope of an activation whose values are y, in place."""
    if name == "tanh":
        np.multiply(y, y, out=spare)
        np.subtract(1.0, spare, out=spare)
        g *= spare
    elif name == "sigmoid":
        g *= y
        np.multiply(g, y, out=spare)
        g -= spare
    elif name == "hard_sigmoid":
        np.greater(y, 0.0, out=spare)
        g *= spare
        np.less(y, 1.0, out=spare)
        g *= spare
        g *= 0.2
    elif name == "relu":
        np.greater(y, 0.0, out=spare)
        g *= spare


# Multiplications from which it pays to walk in parts of the batch (for each part) and, in a
# product of one step, to let BLAS use its own threads; below, that costs more than it brings as
# soon as another process wants a core.
_PART, _WIDE = 2**22, 2**26


def _product(a, b, out):
    product(np, a, b, out)


def _one_product(a, b, out):
    np.matmul(a, b, out=out)


def _transposed(a):
    """Return a new array with the last two axes swapped."""
    return np.array(np.swapaxes(a, -1, -2), order="C")


class Scan:
    """One call: workspace, forward and backward walk.

    A subclass gives `gates`, and `step` and `back` for one step of its cell.

    Args:
        arrays: x, kernel, recurrent kernel, bias, mask, x_keep, h_keep.
        states: list of arrays (N, U), or of None.
        options: dict of the op's options.
        alone: bool, no other call shares the threads.
    """

    gates = states = 1

    def __init__(self, arrays, states, options, alone=True):
        self.multiply = _product if alone else _one_product
        x, self.kernel, self.recurrent, self.bias, mask, x_keep, h_keep = arrays
        self.options = options
        self.act = options.get("activation", "tanh")
        self.gate = options.get("recurrent_activation", "sigmoid")
        self.reverse = options.get("reverse", False)
        self.sequences = options.get("sequences", False)
        self.dtype = x.dtype
        self.shape = tuple(x.shape)
        self.steps, self.batch, self.features = self.shape
        self.units = self.recurrent.shape[0]
        self.given = states[0] is not None
        self._take_inputs(x, mask)
        self.x_keep = self._keep(x_keep, options.get("x_rate", 0.0))
        self.h_keep = self._keep(h_keep, options.get("h_rate", 0.0))
        if self.h_keep is not None:
            self.h_keep = _transposed(self.h_keep)  # (G, U, N)
            self.spare_keep = self._empty(self.gates, self.units, self.batch)
        self._take_weights()
        self.z = self._project()
        self.h = self._state(states[0])
        self.allocate(states)

    def _empty(self, *shape):
        """Return an array for work inside; results are others."""
        return empty(shape, self.dtype)

    def _keep(self, keep, rate):
        return None if keep is None else keep.astype(self.dtype) * (1 / (1 - rate))

    def _take_inputs(self, x, mask):
        # A column of ones beside the features makes the bias a row of the kernel.
        self.x = self._empty(self.steps, self.batch, self.features + (self.bias is not None))
        self.x[:, :, : self.features] = x[::-1] if self.reverse else x
        self.x[:, :, self.features :] = 1
        self.on = self.off = self.seen = None
        if mask is None:
            return
        mask = (mask[::-1] if self.reverse else mask)[:, None, :]  # (T, 1, N)
        self.on, self.off = mask.astype(self.dtype), ~mask
        if self.options.get("zero_output", False):
            self.seen = self.on
        elif self.given:
            self.seen = np.logical_or.accumulate(mask, axis=0).astype(self.dtype)

    def scales(self):
        """Return what each gate's rows are scaled by."""
        return [SCALES.get(self.gate, 1.0)] * (self.gates - 1) + [1.0]

    def _take_weights(self):
        scale = np.repeat(np.array(self.scales(), self.dtype), self.units)
        bias = self.bias
        if bias is not None and bias.ndim == 2:
            bias = bias[0].copy()
            bias[: -self.units] += self.bias[1, : -self.units]
        rows = [self.kernel] if bias is None else [self.kernel, bias[None]]
        self.w = np.concatenate(rows, axis=0) * scale  # (C + 1, G * U)
        self.r = np.multiply(self.recurrent.T, scale[:, None], order="C")  # (G * U, U)
        if self.h_keep is not None:
            shape = (self.units, self.gates, self.units)
            self.r_gates = np.ascontiguousarray(self.recurrent.reshape(shape).transpose(1, 0, 2))

    def _x_of(self, gate):
        """Return the rows that a gate sees, (T * N, C + 1)."""
        x = self.x
        if self.x_keep is not None:
            x = x.copy()
            x[:, :, : self.features] *= self.x_keep[gate]
        return x.reshape((self.steps * self.batch, x.shape[2]))

    def _project(self):
        """Return what the inputs of all steps add to the gates, (G * U, T, N)."""
        u = self.units
        z = self._empty(self.gates * u, self.steps * self.batch)
        if self.x_keep is None:
            self.multiply(self.w.T, self._x_of(0).T, z)
        else:
            for g in range(self.gates):
                part = slice(g * u, (g + 1) * u)
                self.multiply(self.w[:, part].T, self._x_of(g).T, z[part])
        return z.reshape((self.gates * u, self.steps, self.batch))

    def _state(self, start):
        """Return room for a state before and after each step, (T + 1, U, N)."""
        room = self._empty(self.steps + 1, self.units, self.batch)
        room[0] = 0 if start is None else start.T
        return room

    def times(self, h, out, first, last):
        """Write the recurrent product of some gates."""
        u = self.units
        if self.h_keep is None:
            np.matmul(self.r[first * u : last * u], h, out=out)
            return
        spare = self.spare_keep[first:last]
        np.multiply(self.h_keep[first:last], h, out=spare)
        np.matmul(
            self.r[first * u : last * u].reshape((last - first, u, u)),
            spare,
            out=out.reshape((last - first, u, self.batch)),
        )

    def times_back(self, gz, out, first, last):
        """Write the gradient of the state that was multiplied."""
        u = self.units
        if self.h_keep is None:
            np.matmul(self.recurrent[:, first * u : last * u], gz, out=out)
            return
        spare = self.spare_keep[first:last]
        np.matmul(self.r_gates[first:last], gz.reshape((last - first, u, self.batch)), out=spare)
        spare *= self.h_keep[first:last]
        np.sum(spare, axis=0, out=out)

    # -- forward --------------------------------------------------------------------------

    def run(self):
        """Walk through the steps; return outputs and last states."""
        all_states = self.histories()
        with self._blas():
            for t in range(self.steps):
                self.step(t)
                if self.off is not None:
                    for s in all_states:
                        np.copyto(s[t + 1], s[t], where=self.off[t])
        if self.sequences:
            h = self.h[1:] if self.seen is None else self.h[1:] * self.seen
            y = _transposed(h)
        else:
            h = self.h[-1] if self.seen is None else self.h[-1] * self.seen[-1]
            y = _transposed(h)
        return (y, *[_transposed(s[-1]) for s in all_states])

    def histories(self):
        """Return the rooms of all states."""
        return [self.h]

    # -- backward -------------------------------------------------------------------------

    def pull(self, gy, needs):
        """Walk back; return gradients of x, kernel, recurrent kernel, bias and states."""
        gy, *gstates = gy
        grads = [self._empty(self.units, self.batch) for _ in gstates]
        for room, g in zip(grads, gstates):
            room[...] = 0 if g is None else g.T
        if gy is not None:
            gy = np.swapaxes(gy, -1, -2)
            if self.seen is not None:
                gy = gy * (self.seen if self.sequences else self.seen[-1])
            if self.sequences:
                room = self._empty(*gy.shape)
                room[...] = gy
                gy = room
            else:
                grads[0] += gy
                gy = None
        self.gz = self.z  # which only the forward walk needs
        self.start_back()
        with self._blas():
            self._walk_back(gy, grads)
        gx, gkernel, gbias = self._gradients(needs)
        grecurrent = self._recurrent_gradient() if needs[2] else None
        return (gx, gkernel, grecurrent, self.bias_gradient(gbias), *map(_transposed, grads))

    def _walk_back(self, gy, grads):
        carried = [np.empty_like(g) for g in grads]
        for t in range(self.steps - 1, -1, -1):
            if gy is not None:
                grads[0] += gy[t]
            if self.on is not None:
                for g, rest in zip(grads, carried):
                    np.multiply(g, self.off[t], out=rest)
                    g *= self.on[t]
            self.back(t, grads)
            if self.on is not None:
                for g, rest in zip(grads, carried):
                    g += rest

    def _blas(self):
        """Return a context for the products of single steps."""
        work = self.gates * self.units * self.units * self.batch
        return threads.one_blas_thread() if work < _WIDE else contextlib.nullcontext()

    def _flat(self, first=0, last=None):
        """Return the gradients of some gates as rows (gates * U, T * N)."""
        u = self.units
        part = self.gz[first * u : self.gates * u if last is None else last * u]
        return part.reshape((part.shape[0], self.steps * self.batch))

    def _gradients(self, needs):
        """Return the gradients of inputs, kernel and bias."""
        weights = needs[1] or needs[3]
        gx = gw = None
        if self.x_keep is None:
            if weights:
                gw = np.empty_like(self.w)
                self.multiply(self._x_of(0).T, self._flat().T, gw)
            if needs[0]:
                gx = np.empty(self.shape, self.dtype)
                self.multiply(self._flat().T, self.kernel.T, gx.reshape((-1, self.features)))
        else:
            u = self.units
            gw = np.empty_like(self.w) if weights else None
            gx = np.zeros(self.shape, self.dtype) if needs[0] else None
            for g in range(self.gates):
                gz = self._flat(g, g + 1)
                part = slice(g * u, (g + 1) * u)
                if weights:
                    self.multiply(self._x_of(g).T, gz.T, gw[:, part])
                if needs[0]:
                    seen = self._empty(*self.shape)
                    self.multiply(gz.T, self.kernel[:, part].T, seen.reshape((-1, self.features)))
                    seen *= self.x_keep[g]
                    gx += seen
        if gx is not None and self.reverse:
            gx = gx[::-1]
        if gw is None:
            return gx, None, None
        return gx, gw[: self.features], gw[-1] if self.bias is not None else None

    def lefts(self):
        """Return (first gate, last gate, room of what was multiplied, gradients) by product."""
        return [(0, self.gates, self.h[:-1], self._flat())]

    def _recurrent_gradient(self):
        u, rows = self.units, self.steps * self.batch
        result = np.empty((u, self.gates * u), self.dtype)
        for first, last, left, gz in self.lefts():
            left = np.ascontiguousarray(left.transpose(1, 0, 2))  # (U, T, N)
            if self.h_keep is None:
                self.multiply(left.reshape((u, rows)), gz.T, result[:, first * u : last * u])
                continue
            for g in range(first, last):
                kept = (left * self.h_keep[g][:, None]).reshape((u, rows))
                part = gz[(g - first) * u : (g - first + 1) * u]
                self.multiply(kept, part.T, result[:, g * u : (g + 1) * u])
        return result

    def start_back(self):
        """Make room that only the backward walk needs."""
        self.g = self._empty(self.gates * self.units, self.batch)
        self.spare = np.empty_like(self.g)

    def bias_gradient(self, gbias):
        """Return the gradient in the shape of the bias."""
        return gbias


class Parts:
    """A call whose batch is walked in parts, each on a thread of its own.

    Args:
        scan: class of the parts.
        arrays, states, options: see `Scan`.
        count: int, number of parts.
    """

    def __init__(self, scan, arrays, states, options, count):
        self.scan, self.arrays, self.states, self.options = scan, arrays, states, options
        batch = arrays[0].shape[1]
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

    def run(self):
        """Walk through the steps; return outputs and last states."""

        def forward(i):
            x, kernel, recurrent, bias, *rest = self.arrays
            n = self.slices[i]
            rest = [None if a is None else a[:, n] for a in rest]  # batch is the second axis
            states = [None if s is None else s[n] for s in self.states]
            arrays = (x[:, n], kernel, recurrent, bias, *rest)
            self.made[i] = self.scan(arrays, states, self.options, alone=False)
            return self.made[i].run()

        return _joined(self._each(forward))

    def pull(self, gy, needs):
        """Walk back; return gradients of x, kernel, recurrent kernel, bias and states."""

        def backward(i):
            n = self.slices[i]
            parts = [None if g is None else g[..., n, :] for g in gy]
            return self.made[i].pull(parts, needs)

        results = self._each(backward)
        x, *weights = zip(*[r[:4] for r in results])
        weights = [None if w[0] is None else sum(w[1:], w[0]) for w in weights]
        states = _joined([r[4:] for r in results])
        return (None if x[0] is None else np.concatenate(x, axis=1), *weights, *states)


def _joined(results):
    return tuple([np.concatenate(parts, axis=-2) for parts in zip(*results)])


def prepare(scan, arrays, states, options):
    """Return a `Scan`, or `Parts` where several threads pay."""
    x, _, recurrent = arrays[:3]
    work = x.shape[1] * recurrent.size
    count = min(threads.count(), work // _PART, x.shape[1] // 16, 4)
    if count > 1:
        return Parts(scan, arrays, states, options, count)
    return scan(arrays, states, options)
