"""The cells of `gpunet.ops.rnn_host`, one step each, and their offer to the ops.

On the way back, all that doesn't depend on the gradients is multiplied beforehand, for many steps
in a call: ``prepare`` leaves in the room of the gates' gradients what ``back`` multiplies with the
gradients of the states.  Where a step doesn't count, that is 0, and what carries a state's
gradient on is 1.
"""

import numpy as np

from gpunet.ops import rnn, rnn_both
from gpunet.ops.rnn_host import SCALES, Scan, apply, prepare, slope

__all__ = ["SCANS", "GRUScan", "LSTMScan", "SimpleScan"]


class SimpleScan(Scan):
    """`gpunet.ops.simple_rnn`."""

    def scales(self):
        return [SCALES.get(self.act, 1.0)]

    def allocate(self):
        """Make the rooms of the cell's own."""

    def step(self, t):
        """Compute step t."""
        y = self.y[t]
        self.recurrence.times(self.h[t], self.spare, self.order)
        y += self.spare
        apply(self.act, y)
        self.h[t + 1] = y[:, 0]

    def prepare(self, part):
        """Prepare the way back through some steps."""
        g = self.g[part]
        slope(self.act, self.y[part], g)
        self.hide(part, g)

    def back(self, t, k, grads):
        """Walk back through step t."""
        (gh,), g = grads, self.g[t]
        g *= gh[:, None]
        kept = self.carried(t, gh)
        self.recurrence.back(g, gh, self.order)
        if kept is not None:
            gh += kept


class LSTMScan(Scan):
    """`gpunet.ops.lstm`."""

    states = 2
    order = (3, 0, 1, 2)  # o, i, f, g: those with one activation, those that c's gradient is for
    left = 4

    def scales(self):
        scale = SCALES.get(self.gate, 1.0)
        return [scale, scale, scale, SCALES.get(self.act, 1.0)]

    def allocate(self):
        """Make the rooms of the cell's own."""
        self.c = self._state(1)
        self.a = self._room(self.steps)  # activation(c)

    def histories(self):
        return [self.h, self.c]

    def step(self, t):
        """Compute step t."""
        y, c, a = self.y[t], self.c[t + 1], self.a[t]
        self.recurrence.times(self.h[t], self.spare, self.order)
        y += self.spare
        if self.act == "tanh" and self.gate == "sigmoid":  # the scaled rows need one call
            np.tanh(y, out=y)
            gates = y[:, :3]
            gates *= 0.5
            gates += 0.5
        else:
            apply(self.gate, y[:, :3])
            apply(self.act, y[:, 3])
        np.multiply(y[:, 2], self.c[t], out=c)
        np.multiply(y[:, 1], y[:, 3], out=a)
        c += a
        if self.act in SCALES:
            np.multiply(c, SCALES[self.act], out=a)
            apply(self.act, a)
        elif self.act == "tanh":
            np.tanh(c, out=a)
        else:
            a[...] = c
            apply(self.act, a)
        np.multiply(y[:, 0], a, out=self.h[t + 1])

    def start_back(self):
        self.to_c = self._room(self.hot)  # what the gradient of h adds to that of c
        self.forget = None if self.off is None else self._room(self.hot)
        self.one = self._room()

    def prepare(self, part):
        """Prepare the way back through some steps."""
        y, g, a = self.y[part], self.g[part], self.a[part]
        slope(self.gate, y[:, :, :3], g[:, :, :3])
        slope(self.act, y[:, :, 3], g[:, :, 3])
        g[:, :, 0] *= a
        g[:, :, 1] *= y[:, :, 3]
        g[:, :, 2] *= self.c[part]
        g[:, :, 3] *= y[:, :, 1]
        to_c = self.to_c[: len(a)]
        slope(self.act, a, to_c)
        to_c *= y[:, :, 0]
        if self.off is not None:
            forget = self.forget[: len(a)]
            forget[...] = y[:, :, 2]
            self.hide(part, g)
            self.hide(part, to_c)
            self.hide(part, forget, 1)

    def back(self, t, k, grads):
        """Walk back through step t."""
        (gh, gc), g = grads, self.g[t]
        np.multiply(gh, self.to_c[k], out=self.one)
        gc += self.one
        g[:, 0] *= gh
        g[:, 1:] *= gc[:, None]
        gc *= self.y[t][:, 2] if self.forget is None else self.forget[k]
        kept = self.carried(t, gh)
        self.recurrence.back(g, gh, self.order)
        if kept is not None:
            gh += kept


class GRUScan(Scan):
    """`gpunet.ops.gru`."""

    order = (0, 1, 2)

    def __init__(self, runs, options, alone=True):
        self.after = options.get("reset_after", False)
        # What a step leaves: the gradients of z, r and h, and before these that of the product
        # which r scales, where that is another one.
        self.left = 4 if self.after else 3
        self.own = slice(1, 4) if self.after else slice(None)
        super().__init__(runs, options, alone)

    def allocate(self):
        """Make the rooms of the cell's own."""
        self.q = self._room(self.steps)  # the product that r scales, or r * h
        self.inner = None
        if self.after and self.bias is not None:
            self.inner = self._room()
            for one, (arrays, _, _) in zip(self.inner, self.runs):
                one[...] = arrays[3][1, 2 * self.units :, None]

    def step(self, t):
        """Compute step t."""
        y, h, q, spare = self.y[t], self.h[t], self.q[t], self.spare
        gates, s, r, g = y[:, :2], y[:, 0], y[:, 1], y[:, 2]
        if self.after:
            self.recurrence.times(h, spare, self.order)
            gates += spare[:, :2]
            apply(self.gate, gates)
            if self.inner is None:
                q[...] = spare[:, 2]
            else:
                np.add(spare[:, 2], self.inner, out=q)
            np.multiply(r, q, out=spare[:, 2])
        else:
            self.recurrence.times(h, spare[:, :2], (0, 1))
            gates += spare[:, :2]
            apply(self.gate, gates)
            np.multiply(r, h, out=q)
            self.recurrence.times(q, spare[:, 2:], (2,))
        g += spare[:, 2]
        if self.act in SCALES:
            g *= SCALES[self.act]
        apply(self.act, g)
        new = self.h[t + 1]
        np.subtract(h, g, out=new)
        new *= s
        new += g

    def start_back(self):
        self.carry = self._room(self.hot)
        self.reset = None if self.after else self._room(self.hot)
        self.one = self._room()

    def prepare(self, part):
        """Prepare the way back through some steps."""
        y, q, own = self.y[part], self.q[part], self.g[part][:, :, self.own]
        s, r, g = (y[:, :, k] for k in range(3))
        gs, gr, gg = (own[:, :, k] for k in range(3))
        carry = self.carry[: len(y)]
        np.subtract(1.0, s, out=carry)
        slope(self.act, g, gg)
        gg *= carry
        slope(self.gate, y[:, :, :2], own[:, :, :2])
        np.subtract(self.h[part], g, out=carry)
        gs *= carry
        gr *= q if self.after else self.h[part]
        if self.after:
            gr *= gg
            np.multiply(gg, r, out=self.g[part][:, :, 0])
        else:
            reset = self.reset[: len(y)]
            reset[...] = r
            self.hide(part, reset)
        carry[...] = s
        self.hide(part, self.g[part])
        self.hide(part, carry, 1)

    def back(self, t, k, grads):
        """Walk back through step t."""
        (gh,), g, one = grads, self.g[t], self.one
        if self.after:
            g *= gh[:, None]
            gh *= self.carry[k]
            self.recurrence.back(g[:, :3], one, (2, 0, 1))
        else:
            g[:, ::2] *= gh[:, None]
            gh *= self.carry[k]
            self.recurrence.back(g[:, 2:], one, (2,))
            g[:, 1] *= one
            one *= self.reset[k]
            gh += one
            self.recurrence.back(g[:, :2], one, (0, 1))
        gh += one

    def multiplied(self):
        h = self.h[:-1]
        if self.after:
            return [((2, 0, 1), h, slice(0, 3))]
        return [((0, 1), h, slice(0, 2)), ((2,), self.q, slice(2, 3))]

    def bias_gradient(self, i, gbias):
        if not self.after:
            return gbias
        inner = gbias.copy()
        sums = self.sorted_gradients(i, slice(0, 1)).sum(axis=(0, 2))
        inner[2 * self.units :] = sums
        return np.stack([gbias, inner])


# -- as variants of the ops -----------------------------------------------------------------

SCANS = {rnn.simple_rnn: SimpleScan, rnn.gru: GRUScan, rnn.lstm: LSTMScan}


def _one_type(xp, x, kernel, recurrent, *_, **__):
    return xp is np and x.dtype == kernel.dtype == recurrent.dtype and len(x) > 0


def _run_of(scan, x, kernel, recurrent, bias=None, *rest, reverse=False):
    """Return (arrays, states, reverse) of the arguments of an op."""
    given = [*rest, *[None] * (scan.states + 3 - len(rest))]
    arrays = (x, kernel, recurrent, bias, *given[scan.states :])
    return arrays, given[: scan.states], reverse


def _offer(op, scan):
    @op.fused(when=_one_type)
    def run(xp, *given, reverse=False, **options):
        made = prepare(scan, [_run_of(scan, *given, reverse=reverse)], options)
        return made.run()[0], made

    @run.backward
    def back(xp, made, gy, needs):
        needs = [*needs, False]
        (grads,) = made.pull([gy], [needs])
        return (*grads[:4], *[g if need else None for g, need in zip(grads[4:], needs[4:])])


for _op, _scan in SCANS.items():
    _offer(_op, _scan)


def _both_of_one_type(xp, *arrays, cell, x_rate=0.0, h_rate=0.0, **_):
    directions = rnn_both.halves(*arrays)
    alike = [[a is None for a in d] for d in directions]
    return alike[0] == alike[1] and all(_one_type(xp, *d) for d in directions)


@rnn_both.both_ways.fused(when=_both_of_one_type)
def _both(xp, *arrays, cell, reverse=False, **options):
    scan = SCANS[rnn_both.CELLS[cell]]
    ways = zip(rnn_both.halves(*arrays), (reverse, not reverse))
    made = prepare(scan, [_run_of(scan, *d, reverse=way) for d, way in ways], options)
    (y, *states), (back_y, *back_states) = made.run()
    return (y, back_y, *states, *back_states), (made, arrays[1] is None)


@_both.backward
def _both_back(xp, saved, gy, needs):
    made, same_x = saved
    states = (len(gy) - 2) // 2
    gys = [(gy[i], *gy[2 + i * states : 2 + (i + 1) * states]) for i in range(2)]
    needs = [*needs, *[False] * (3 + 2 * (5 + states) - len(needs))]
    own = [needs[first : first + 3 + states] for first in (3, 8 + states)]
    x_needed = needs[0], needs[0] if same_x else needs[1]
    (gx, *first), (back_gx, *second) = made.pull(gys, [[x, *n] for x, n in zip(x_needed, own)])
    rest = [
        value
        for grads, n in zip((first, second), own)
        for value in [*[g if need else None for g, need in zip(grads, n)], None, None]
    ]
    if same_x and gx is not None:
        gx = gx + back_gx
    return (gx, None if same_x else back_gx, None, *rest)
