"""How NumPy runs the ops of `gpunet.ops.rnn`: the same contract, fewer and larger calls.

Inside, samples are the last axis: a step's gates are one contiguous block (G * U, N), each
gate is a contiguous part of it, and the recurrent product ``R.T @ h`` is one matrix product
whose long axis BLAS can split.  Nothing is allocated in the loop over time.  The backward walk
leaves the gates' gradients of all steps in one array, from which the gradients of weights and
inputs come as one matrix product each.
"""

import numpy as np

from gpunet.ops import rnn

__all__ = ["Scan", "SimpleScan", "GRUScan", "LSTMScan"]

# What the rows of a gate are scaled by before `_apply`, so that a sigmoid is one tanh.
_SCALES = {"sigmoid": 0.5, "hard_sigmoid": 0.2}


def _apply(name, x):
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


def _slope(name, y, g, spare):
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


def _transposed(a):
    """Return a contiguous array with the last two axes swapped."""
    return np.ascontiguousarray(np.swapaxes(a, -1, -2))


class Scan:
    """One call: workspace, forward and backward walk.

    A subclass gives `gates`, and `step` and `back` for one step of its cell.

    Args:
        arrays: x, kernel, recurrent kernel, bias, mask, x_keep, h_keep.
        states: list of arrays (N, U), or of None.
        options: dict of the op's options.
    """

    gates = states = 1

    def __init__(self, arrays, states, options):
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
        return np.empty(shape, self.dtype)

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
        return [_SCALES.get(self.gate, 1.0)] * (self.gates - 1) + [1.0]

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
            np.matmul(self.w.T, self._x_of(0).T, out=z)
        else:
            for g in range(self.gates):
                np.matmul(self.w[:, g * u : (g + 1) * u].T, self._x_of(g).T,
                          out=z[g * u : (g + 1) * u])
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
        np.matmul(self.r[first * u : last * u].reshape((last - first, u, u)), spare,
                  out=out.reshape((last - first, u, self.batch)))

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
        for t in range(self.steps):
            self.step(t)
            if self.off is not None:
                for s in all_states:
                    np.copyto(s[t + 1], s[t], where=self.off[t])
        self.z = None  # only the walk needs it
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
                gy = np.ascontiguousarray(gy)
            else:
                grads[0] += gy
                gy = None
        self.gz = self._empty(self.gates * self.units, self.steps, self.batch)
        self.start_back()
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
        gx, gkernel, gbias = self._gradients(needs)
        grecurrent = self._recurrent_gradient() if needs[2] else None
        return (gx, gkernel, grecurrent, self.bias_gradient(gbias), *map(_transposed, grads))

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
                gw = np.matmul(self._x_of(0).T, self._flat().T)
            if needs[0]:
                gx = np.matmul(self._flat().T, self.kernel.T).reshape(self.shape)
        else:
            u = self.units
            gw = np.empty_like(self.w) if weights else None
            gx = np.zeros(self.shape, self.dtype) if needs[0] else None
            for g in range(self.gates):
                gz = self._flat(g, g + 1)
                if weights:
                    np.matmul(self._x_of(g).T, gz.T, out=gw[:, g * u : (g + 1) * u])
                if needs[0]:
                    part = np.matmul(gz.T, self.kernel[:, g * u : (g + 1) * u].T)
                    gx += part.reshape(self.shape) * self.x_keep[g]
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
        result = self._empty(u, self.gates * u)
        for first, last, left, gz in self.lefts():
            left = np.ascontiguousarray(left.transpose(1, 0, 2))  # (U, T, N)
            if self.h_keep is None:
                out = result[:, first * u : last * u]
                np.matmul(left.reshape((u, rows)), gz.T, out=out)
                continue
            for g in range(first, last):
                kept = (left * self.h_keep[g][:, None]).reshape((u, rows))
                part = gz[(g - first) * u : (g - first + 1) * u]
                np.matmul(kept, part.T, out=result[:, g * u : (g + 1) * u])
        return result

    def start_back(self):
        """Make room that only the backward walk needs."""
        self.g = self._empty(self.gates * self.units, self.batch)
        self.spare = np.empty_like(self.g)

    def bias_gradient(self, gbias):
        """Return the gradient in the shape of the bias."""
        return gbias


class SimpleScan(Scan):
    """`gpunet.ops.simple_rnn`."""

    def scales(self):
        return [_SCALES.get(self.act, 1.0)]

    def allocate(self, states):
        """Make the rooms of the cell's own."""

    def step(self, t):
        """Compute step t."""
        y = self.h[t + 1]
        self.times(self.h[t], y, 0, 1)
        y += self.z[:, t]
        _apply(self.act, y)

    def back(self, t, grads):
        """Walk back through step t."""
        (gh,) = grads
        _slope(self.act, self.h[t + 1], gh, self.spare)
        self.gz[:, t] = gh
        self.g[...] = gh
        self.times_back(self.g, gh, 0, 1)


class LSTMScan(Scan):
    """`gpunet.ops.lstm`."""

    gates, states = 4, 2

    def scales(self):
        scale, own = _SCALES.get(self.gate, 1.0), _SCALES.get(self.act, 1.0)
        return [scale, scale, own, scale]

    def allocate(self, states):
        """Make the rooms of the cell's own."""
        self.c = self._state(states[1])
        self.a = self._empty(self.steps, self.units, self.batch)  # activation(c)
        self.y = self._empty(self.steps, 4 * self.units, self.batch)
        self.one = self._empty(self.units, self.batch)

    def histories(self):
        return [self.h, self.c]

    def step(self, t):
        """Compute step t."""
        u, y, c, a = self.units, self.y[t], self.c[t + 1], self.a[t]
        self.times(self.h[t], y, 0, 4)
        y += self.z[:, t]
        i, f, g, o = y[:u], y[u : 2 * u], y[2 * u : 3 * u], y[3 * u :]
        if self.act == "tanh" and self.gate == "sigmoid":  # the scaled rows need one call
            np.tanh(y, out=y)
            for part in (y[: 2 * u], o):
                part *= 0.5
                part += 0.5
        else:
            _apply(self.gate, y[: 2 * u])
            _apply(self.act, g)
            _apply(self.gate, o)
        np.multiply(f, self.c[t], out=c)
        np.multiply(i, g, out=a)
        c += a
        np.multiply(c, self.scales()[2], out=a)
        _apply(self.act, a)
        np.multiply(o, a, out=self.h[t + 1])

    def back(self, t, grads):
        """Walk back through step t."""
        gh, gc = grads
        u, y, a, one = self.units, self.y[t], self.a[t], self.one
        i, f, g, o = y[:u], y[u : 2 * u], y[2 * u : 3 * u], y[3 * u :]
        gi, gf, gg, go = (self.g[k * u : (k + 1) * u] for k in range(4))
        np.multiply(gh, a, out=go)
        _slope(self.gate, o, go, one)
        gh *= o
        _slope(self.act, a, gh, one)
        gc += gh
        np.multiply(gc, g, out=gi)
        np.multiply(gc, self.c[t], out=gf)
        _slope(self.gate, y[: 2 * u], self.g[: 2 * u], self.spare[: 2 * u])
        np.multiply(gc, i, out=gg)
        _slope(self.act, g, gg, one)
        gc *= f
        self.gz[:, t] = self.g
        self.times_back(self.g, gh, 0, 4)


class GRUScan(Scan):
    """`gpunet.ops.gru`."""

    gates = 3

    def allocate(self, states):
        """Make the rooms of the cell's own."""
        self.after = self.options.get("reset_after", False)
        u, n = self.units, self.batch
        self.y = self._empty(self.steps, 3 * u, n)
        self.product = self._empty(3 * u, n)
        self.q = self._empty(self.steps, u, n)  # the product that r scales, or r * h
        self.one = self._empty(u, n)
        self.bias_q = None
        if self.after and self.bias is not None:
            self.bias_q = np.repeat(self.bias[1, 2 * u :, None], n, axis=1)

    def step(self, t):
        """Compute step t."""
        u, y, h, q = self.units, self.y[t], self.h[t], self.q[t]
        s, r, g = y[:u], y[u : 2 * u], y[2 * u :]
        if self.after:
            self.times(h, self.product, 0, 3)
            np.add(self.product[: 2 * u], self.z[: 2 * u, t], out=y[: 2 * u])
            _apply(self.gate, y[: 2 * u])
            if self.bias_q is None:
                q[...] = self.product[2 * u :]
            else:
                np.add(self.product[2 * u :], self.bias_q, out=q)
            np.multiply(r, q, out=g)
        else:
            self.times(h, y[: 2 * u], 0, 2)
            y[: 2 * u] += self.z[: 2 * u, t]
            _apply(self.gate, y[: 2 * u])
            np.multiply(r, h, out=q)
            self.times(q, g, 2, 3)
        g += self.z[2 * u :, t]
        if self.act in _SCALES:
            g *= _SCALES[self.act]
        _apply(self.act, g)
        new = self.h[t + 1]
        np.subtract(h, g, out=new)
        new *= s
        new += g

    def start_back(self):
        super().start_back()
        if self.after:
            self.gq = self._empty(self.units, self.steps, self.batch)

    def back(self, t, grads):
        """Walk back through step t."""
        (gh,) = grads
        u, y, h, q, one = self.units, self.y[t], self.h[t], self.q[t], self.one
        s, r, g = y[:u], y[u : 2 * u], y[2 * u :]
        gs, gr, gg = self.g[:u], self.g[u : 2 * u], self.g[2 * u :]
        np.subtract(h, g, out=gs)
        gs *= gh
        np.subtract(1.0, s, out=gg)
        gg *= gh
        gh *= s
        _slope(self.act, g, gg, one)
        if self.after:
            np.multiply(gg, q, out=gr)
        else:
            self.times_back(gg, one, 2, 3)
            np.multiply(one, h, out=gr)
            one *= r
            gh += one
        _slope(self.gate, y[: 2 * u], self.g[: 2 * u], self.spare[: 2 * u])
        self.gz[:, t] = self.g
        if self.after:
            gg *= r
            self.gq[:, t] = gg
        self.times_back(self.g if self.after else self.g[: 2 * u], one, 0, 3 if self.after else 2)
        gh += one

    def lefts(self):
        if self.after and self.h_keep is None:
            flat = self.gq.reshape((self.units, -1))
            return [(0, 2, self.h[:-1], self._flat(0, 2)), (2, 3, self.h[:-1], flat)]
        if self.after:
            flat = self.gq.reshape((self.units, -1))
            return [(0, 2, self.h[:-1], self._flat(0, 2)), (2, 3, self.h[:-1], flat)]
        return [(0, 2, self.h[:-1], self._flat(0, 2)), (2, 3, self.q, self._flat(2, 3))]

    def bias_gradient(self, gbias):
        if gbias is None or not self.after:
            return gbias
        inner = gbias.copy()
        inner[2 * self.units :] = self.gq.sum(axis=(1, 2))
        return np.stack([gbias, inner])


# -- as variants of the ops ---------------------------------------------------------------


def _one_type(xp, x, kernel, recurrent, *_, **__):
    return xp is np and x.dtype == kernel.dtype == recurrent.dtype and len(x) > 0


def _offer(op, scan, states):
    @op.fused(when=_one_type)
    def run(xp, x, kernel, recurrent, bias=None, *rest, **options):
        given = [*rest, *[None] * (states + 3 - len(rest))]
        arrays = (x, kernel, recurrent, bias, *given[states:])
        made = scan(arrays, given[:states], options)
        return made.run(), made

    @run.backward
    def back(xp, made, gy, needs):
        return made.pull(gy, [*needs, False])


for _op, _scan in ((rnn.simple_rnn, SimpleScan), (rnn.gru, GRUScan), (rnn.lstm, LSTMScan)):
    _offer(_op, _scan, _scan.states)
