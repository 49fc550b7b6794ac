"""The cells of `gpunet.ops.rnn_host`, one step each, and their offer to the ops.

On the way back, all that doesn't depend on the gradients is multiplied beforehand, for some steps
in a call: ``prepare`` leaves in a room ``p`` what ``back`` multiplies with the gradients of the
states.  Where a step doesn't count, that is 0, and what carries a state's gradient on is 1.
"""

import numpy as np

from gpunet.ops import rnn, rnn_both
from gpunet.ops.rnn_host import SCALES, Scan, apply, number, prepare, slope

__all__ = ["SCANS", "GRUScan", "LSTMScan", "SimpleScan"]


class SimpleScan(Scan):
    """`gpunet.ops.simple_rnn`."""

    def scales(self):
        return [SCALES.get(self.act, 1.0)]

    def allocate(self):
        """Make the rooms of the cell's own, and lists of what each step has in them."""
        self.z = self.room(self.steps, gates=(1,))
        self.times = self.recurrence.forward(self.order, self.spare)
        h, new = self.states_of(self.h)
        self.at = self.each(self.z[:, :, 0], self.recurrence.seen(h), h, new)

    def walk(self, part):
        """Compute some steps."""
        times, spare, act = self.times, self.spare[:, 0], self.act
        for t, (z, seen, h, new) in enumerate(zip(*[at[part] for at in self.at]), part.start):
            times(seen)
            np.add(spare, z, out=spare)
            apply(act, spare, new)
            if self.off is not None:
                self.hold(t, (h, new))

    def start_back(self):
        """Make what only the way back needs."""
        self.p = self.room(self.hot)
        self.times_back = self.recurrence.backward(self.order, self.grads[0])
        self.at_back = self.each(self.g, self.g[:, :, 0])

    def prepare(self, part):
        """Prepare the way back through some steps."""
        y = self.h[1:][part]
        p = self.p[: len(y)]
        slope(self.act, y, number(1, self.dtype), y, p)
        self.hide(part, p)

    def back(self, t, k):
        """Walk back through step t."""
        g, only = self.at_back
        np.multiply(self.p[k], self.grads[0], out=only[t])
        self.back_through(self.times_back, g[t], t)


class LSTMScan(Scan):
    """`gpunet.ops.lstm`."""

    states = 2
    order = (3, 0, 1, 2)  # o, i, f, g: those with one activation, those that c's gradient is for
    left = 4

    def scales(self):
        scale = SCALES.get(self.gate, 1.0)
        return [scale, scale, scale, SCALES.get(self.act, 1.0)]

    def allocate(self):
        """Make the rooms of the cell's own, and lists of what each step has in them."""
        kept = self.kept
        self.y = self.room(kept + self.keeps, gates=(5,))  # o, i, f, g and c before the step
        self.q = self.room(gates=(2,))  # i * g, f * c
        self.a = self.room(kept)  # activation(c)
        self.z = self.y[:-1, :, :4] if self.keeps else self.room(self.steps, gates=(4,))
        self.start(self.y[0, :, 4], 1)
        self.times = self.recurrence.forward(self.order, self.spare)
        h, new_h = self.states_of(self.h)
        c, new_c = self.states_of(self.y[:, :, 4])
        y = self.y[:kept]
        self.at = self.each(
            self.z, self.recurrence.seen(h), h, c, new_h, new_c,
            y[:, :, :4], y[:, :, :3], y[:, :, 3], y[:, :, 1:3], y[:, :, 3:], y[:, :, 0],
            self.a,
        )  # fmt: skip

    def last_states(self):
        return [self.h[-1], self.y[-1, :, 4]]

    def walk(self, part):
        """Compute some steps."""
        times, spare, act, gate, off = self.times, self.spare, self.act, self.gate, self.off
        together = act == "tanh" and gate == "sigmoid"  # scaled sums need one call
        half, scale = number(0.5, self.dtype), number(SCALES.get(act, 1), self.dtype)
        add, multiply, tanh, q = np.add, np.multiply, np.tanh, self.q
        q_i, q_f = q[:, 0], q[:, 1]
        for t, (
            z, seen, h, c, new_h, new_c, y, gates, g, pair, with_pair, o, a
        ) in enumerate(zip(*[at[part] for at in self.at]), part.start):  # fmt: skip
            times(seen)
            add(z, spare, out=y)
            if together:
                tanh(y, out=y)
                multiply(gates, half, out=gates)
                add(gates, half, out=gates)
            else:
                apply(gate, gates, gates)
                apply(act, g, g)
            multiply(pair, with_pair, out=q)
            add(q_i, q_f, out=new_c)
            if act == "tanh":
                tanh(new_c, out=a)
            else:
                multiply(new_c, scale, out=a)
                apply(act, a, a)
            multiply(o, a, out=new_h)
            if off is not None:
                self.hold(t, (h, new_h), (c, new_c))

    def start_back(self):
        """Make what only the way back needs."""
        self.p = self.room(self.hot, gates=(4,))
        self.q_back = self.room(self.hot, gates=(2,))  # i * g, f * c
        self.to_c = self.room(self.hot)  # what the gradient of h adds to that of c
        self.forget = self.y[:, :, 2] if self.off is None else self.room(self.hot)
        self.times_back = self.recurrence.backward(self.order, self.grads[0])
        self.at_p = list(zip(self.p[:, :, 0], self.p[:, :, 1:], self.to_c))
        self.at_back = list(zip(self.g, self.g[:, :, 0], self.g[:, :, 1:], self.y[:, :, 2]))

    def prepare(self, part):
        """Prepare the way back through some steps."""
        y, a, h = self.y[part], self.a[part], self.h[1:][part]
        q, p, to_c = self.q_back[: len(a)], self.p[: len(a)], self.to_c[: len(a)]
        np.multiply(y[:, :, 1:3], y[:, :, 3:], out=q)
        slope(self.gate, y[:, :, 0], a, h, p[:, :, 0])
        slope(self.gate, y[:, :, 1:3], y[:, :, 3:], q, p[:, :, 1:3])
        slope(self.act, y[:, :, 3], y[:, :, 1], q[:, :, 0], p[:, :, 3])
        slope(self.act, a, y[:, :, 0], h, to_c)
        if self.off is not None:
            forget = self.forget[: len(a)]
            forget[...] = y[:, :, 2]
            self.hide(part, p)
            self.hide(part, to_c)
            self.hide(part, forget, 1)

    def back(self, t, k):
        """Walk back through step t."""
        (gh, gc), one, multiply = self.grads, self.one, np.multiply
        (to_o, to_others, to_c), (g, g_o, g_others, forget) = self.at_p[k], self.at_back[t]
        multiply(gh, to_c, out=one)
        np.add(gc, one, out=gc)
        multiply(to_o, gh, out=g_o)
        multiply(to_others, gc[:, None], out=g_others)
        multiply(gc, forget if self.off is None else self.forget[k], out=gc)
        self.back_through(self.times_back, g, t)


class GRUScan(Scan):
    """`gpunet.ops.gru`."""

    order = (0, 1, 2)

    def __init__(self, runs, options, *args, **kwargs):
        self.after = options.get("reset_after", False)
        # What a step leaves: the gradients of z, r and h, and before these that of the product
        # which r scales, where that is another one.
        self.left = 4 if self.after else 3
        self.own = slice(1, 4) if self.after else slice(None)
        super().__init__(runs, options, *args, **kwargs)

    def allocate(self):
        """Make the rooms of the cell's own, and lists of what each step has in them."""
        self.y = self.room(self.kept, gates=(3,))
        self.q = self.room(self.kept)  # the product that r scales, or r * h
        self.z = self.y if self.keeps else self.room(self.steps, gates=(3,))
        forward, spare = self.recurrence.forward, self.spare
        if self.after:
            self.times = forward(self.order, spare)
        else:
            self.times, self.times_reset = (
                forward((0, 1), spare[:, :2]),
                forward((2,), spare[:, 2:]),
            )
        self.inner = None
        if self.after and self.bias is not None:
            self.inner = self.room()
            for one, (arrays, _, _) in zip(self.inner, self.runs):
                one[...] = arrays[3][1, 2 * self.units :, None]
        (h, new), seen, y, z = self.states_of(self.h), self.recurrence.seen, self.y, self.z
        self.at = self.each(
            z[:, :, :2], z[:, :, 2], seen(h), h, new,
            y[:, :, :2], y[:, :, 0], y[:, :, 1], y[:, :, 2], self.q, seen(self.q),
        )  # fmt: skip

    def walk(self, part):
        """Compute some steps."""
        act, gate, inner, off, spare = self.act, self.gate, self.inner, self.off, self.spare
        sums, more = spare[:, :2], spare[:, 2]
        add, multiply = np.add, np.multiply
        scale = number(SCALES[act], self.dtype) if act in SCALES else None
        for t, (z, z_g, seen, h, new, gates, s, r, g, q, seen_q) in enumerate(
            zip(*[at[part] for at in self.at]), part.start
        ):
            self.times(seen)
            add(z, sums, out=gates)
            apply(gate, gates, gates)
            if self.after:
                if inner is None:
                    q[...] = more
                else:
                    add(more, inner, out=q)
                multiply(r, q, out=more)
            else:
                multiply(r, h, out=q)
                self.times_reset(seen_q)
            add(z_g, more, out=g)
            if scale is not None:
                multiply(g, scale, out=g)
            apply(act, g, g)
            np.subtract(h, g, out=more)
            multiply(more, s, out=more)
            add(more, g, out=new)
            if off is not None:
                self.hold(t, (h, new))

    def start_back(self):
        """Make what only the way back needs."""
        self.p = self.room(self.hot, gates=(self.left,))
        self.carry = self.room(self.hot)
        self.reset = None if self.after else self.room(self.hot)
        backward, g = self.recurrence.backward, self.g
        if self.after:
            self.times_back = backward((2, 0, 1), self.one)
            self.at_back = list(zip(g, g[:, :, :3]))
        else:
            self.times_back, self.times_reset_back = [
                backward(gates, self.one) for gates in ((0, 1), (2,))
            ]
            self.at_back = list(zip(g[:, :, ::2], g[:, :, :2], g[:, :, 1], g[:, :, 2:]))

    def prepare(self, part):
        """Prepare the way back through some steps."""
        y, q, h = self.y[part], self.q[part], self.h[:-1][part]
        p, carry = self.p[: len(y)], self.carry[: len(y)]
        s, r, g = (y[:, :, k] for k in range(3))
        gs, gr, gg = (p[:, :, self.own][:, :, k] for k in range(3))
        np.subtract(number(1, self.dtype), s, out=carry)
        np.multiply(g, carry, out=gr)
        slope(self.act, g, carry, gr, gg)
        np.subtract(h, g, out=carry)
        np.multiply(s, carry, out=gr)
        slope(self.gate, s, carry, gr, gs)
        if self.after:
            first = p[:, :, 0]
            np.multiply(q, gg, out=carry)
            np.multiply(r, carry, out=first)
            slope(self.gate, r, carry, first, gr)
            np.multiply(gg, r, out=first)
        else:
            slope(self.gate, r, h, q, gr)
            reset = self.reset[: len(y)]
            reset[...] = r
            self.hide(part, reset)
        carry[...] = s
        self.hide(part, p)
        self.hide(part, carry, 1)

    def back(self, t, k):
        """Walk back through step t."""
        (gh,), one, p = self.grads, self.one, self.p[k]
        if self.after:
            g, products = self.at_back[t]
            np.multiply(p, gh[:, None], out=g)
            gh *= self.carry[k]
            self.times_back(products)
        else:
            outer, products, g_r, g_last = self.at_back[t]
            np.multiply(p[:, ::2], gh[:, None], out=outer)
            gh *= self.carry[k]
            self.times_reset_back(g_last)
            np.multiply(p[:, 1], one, out=g_r)
            one *= self.reset[k]
            gh += one
            self.times_back(products)
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
        inner[2 * self.units :] = self.sorted_gradients(i, slice(0, 1)).sum(axis=(0, 2))
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
    def run_alone(xp, *given, reverse=False, **options):  # no gradient will be asked for
        run = _run_of(scan, *given, reverse=reverse)
        return prepare(scan, [run], options, keeps=False).run()[0], None

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


def _walk_both(arrays, cell, reverse, options, keeps):
    """Return the results of a walk in both directions, and what did it."""
    scan = SCANS[rnn_both.CELLS[cell]]
    ways = zip(rnn_both.halves(*arrays), (reverse, not reverse))
    runs = [_run_of(scan, *d, reverse=way) for d, way in ways]
    made = prepare(scan, runs, options, keeps)
    (y, *states), (back_y, *back_states) = made.run()
    return (y, back_y, *states, *back_states), made


@rnn_both.both_ways.fused(when=_both_of_one_type)
def _both_alone(xp, *arrays, cell, reverse=False, **options):
    return _walk_both(arrays, cell, reverse, options, False)[0], None


@rnn_both.both_ways.fused(when=_both_of_one_type)
def _both(xp, *arrays, cell, reverse=False, **options):
    y, made = _walk_both(arrays, cell, reverse, options, True)
    return y, (made, arrays[1] is None)


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
