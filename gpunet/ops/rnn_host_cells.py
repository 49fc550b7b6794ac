"""The cells of `gpunet.ops.rnn_host`, one step each, and their offer to the ops."""

import numpy as np

from gpunet.ops import rnn
from gpunet.ops.rnn_host import SCALES, Scan, apply, prepare, slope

__all__ = ["GRUScan", "LSTMScan", "SimpleScan"]


class SimpleScan(Scan):
    """`gpunet.ops.simple_rnn`."""

    def scales(self):
        return [SCALES.get(self.act, 1.0)]

    def allocate(self, states):
        """Make the rooms of the cell's own."""

    def step(self, t):
        """Compute step t."""
        y = self.h[t + 1]
        self.times(self.h[t], y, 0, 1)
        y += self.z[:, t]
        apply(self.act, y)

    def back(self, t, grads):
        """Walk back through step t."""
        (gh,) = grads
        slope(self.act, self.h[t + 1], gh, self.spare)
        self.gz[:, t] = gh
        self.g[...] = gh
        self.times_back(self.g, gh, 0, 1)


class LSTMScan(Scan):
    """`gpunet.ops.lstm`."""

    gates, states = 4, 2

    def scales(self):
        scale, own = SCALES.get(self.gate, 1.0), SCALES.get(self.act, 1.0)
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
            apply(self.gate, y[: 2 * u])
            apply(self.act, g)
            apply(self.gate, o)
        np.multiply(f, self.c[t], out=c)
        np.multiply(i, g, out=a)
        c += a
        np.multiply(c, self.scales()[2], out=a)
        apply(self.act, a)
        np.multiply(o, a, out=self.h[t + 1])

    def back(self, t, grads):
        """Walk back through step t."""
        gh, gc = grads
        u, y, a, one = self.units, self.y[t], self.a[t], self.one
        i, f, g, o = y[:u], y[u : 2 * u], y[2 * u : 3 * u], y[3 * u :]
        gi, gf, gg, go = (self.g[k * u : (k + 1) * u] for k in range(4))
        np.multiply(gh, a, out=go)
        slope(self.gate, o, go, one)
        gh *= o
        slope(self.act, a, gh, one)
        gc += gh
        np.multiply(gc, g, out=gi)
        np.multiply(gc, self.c[t], out=gf)
        slope(self.gate, y[: 2 * u], self.g[: 2 * u], self.spare[: 2 * u])
        np.multiply(gc, i, out=gg)
        slope(self.act, g, gg, one)
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
            apply(self.gate, y[: 2 * u])
            if self.bias_q is None:
                q[...] = self.product[2 * u :]
            else:
                np.add(self.product[2 * u :], self.bias_q, out=q)
            np.multiply(r, q, out=g)
        else:
            self.times(h, y[: 2 * u], 0, 2)
            y[: 2 * u] += self.z[: 2 * u, t]
            apply(self.gate, y[: 2 * u])
            np.multiply(r, h, out=q)
            self.times(q, g, 2, 3)
        g += self.z[2 * u :, t]
        if self.act in SCALES:
            g *= SCALES[self.act]
        apply(self.act, g)
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
        slope(self.act, g, gg, one)
        if self.after:
            np.multiply(gg, q, out=gr)
        else:
            self.times_back(gg, one, 2, 3)
            np.multiply(one, h, out=gr)
            one *= r
            gh += one
        slope(self.gate, y[: 2 * u], self.g[: 2 * u], self.spare[: 2 * u])
        self.gz[:, t] = self.g
        if self.after:
            gg *= r
            self.gq[:, t] = gg
        self.times_back(self.g if self.after else self.g[: 2 * u], one, 0, 3 if self.after else 2)
        gh += one

    def lefts(self):
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


# -- as variants of the ops -----------------------------------------------------------------


def _one_type(xp, x, kernel, recurrent, *_, **__):
    return xp is np and x.dtype == kernel.dtype == recurrent.dtype and len(x) > 0


def _offer(op, scan, states):
    @op.fused(when=_one_type)
    def run(xp, x, kernel, recurrent, bias=None, *rest, **options):
        given = [*rest, *[None] * (states + 3 - len(rest))]
        arrays = (x, kernel, recurrent, bias, *given[states:])
        made = prepare(scan, arrays, given[:states], options)
        return made.run(), made

    @run.backward
    def back(xp, made, gy, needs):
        grads = made.pull(gy, [*needs, False])
        return (*grads[:4], *[g if need else None for g, need in zip(grads[4:], needs[4:])])


for _op, _scan in ((rnn.simple_rnn, SimpleScan), (rnn.gru, GRUScan), (rnn.lstm, LSTMScan)):
    _offer(_op, _scan, _scan.states)
