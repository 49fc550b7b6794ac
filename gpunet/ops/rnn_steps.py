"""One step of each recurrent cell, forward and back, as plain array functions.

A cell has ``step(walk, z, states, bias)``, which gives the new states and what ``back`` needs,
``back(walk, grads, states, kept)``, which gives the gradients of z, of the recurrent products and
of the states before, and ``lefts(states, kept)``: which states (or the like) were multiplied by the
recurrent kernels of which gates.  ``z`` is what the inputs add to the gates, (N, G * U).
"""

from gpunet.ops.nonlinear import sigmoid_of
from gpunet.ops.products import product

__all__ = [
    "ACTIVATIONS",
    "GRUAfterStep",
    "GRUBeforeStep",
    "LSTMStep",
    "SimpleStep",
    "Walk",
    "added",
    "rows",
    "scaled",
]


def _hard_sigmoid(xp, x):
    return xp.minimum(xp.maximum(0.2 * x + 0.5, 0.0), 1.0)


# name -> (function, its slope as a function of its value)
ACTIVATIONS = {
    "tanh": (lambda xp, x: xp.tanh(x), lambda xp, y: 1 - y * y),
    "sigmoid": (sigmoid_of, lambda xp, y: y * (1 - y)),
    "hard_sigmoid": (_hard_sigmoid, lambda xp, y: 0.2 * xp.where((y > 0) & (y < 1), y * 0 + 1, 0)),
    "relu": (lambda xp, x: xp.maximum(x, 0.0), lambda xp, y: xp.where(y > 0, y * 0 + 1, 0)),
    "linear": (lambda xp, x: x, lambda xp, y: y * 0 + 1),
}


class Walk:
    """What the steps of one call share.

    Args:
        xp: array module, or `gpunet.autodiff.taped`.
        recurrent: array (U, G * U).
        keep: boolean array (G, N, U), or None.
        rate: float, dropout rate behind ``keep``.
        options: dict with the names of the activations.
    """

    def __init__(self, xp, recurrent, keep, rate, options):
        self.xp, self.recurrent = xp, recurrent
        self.units = int(recurrent.shape[0])
        self.keep = None if keep is None else scaled(keep, rate, recurrent.dtype)
        self.act, self.slope = ACTIVATIONS[options.get("activation", "tanh")]
        self.gate, self.gate_slope = ACTIVATIONS[options.get("recurrent_activation", "sigmoid")]

    def parts(self, z):
        """Return the gates of an array (N, G * U)."""
        u = self.units
        return [z[:, i : i + u] for i in range(0, int(z.shape[1]), u)]

    def times(self, h, first, last):
        """Return h times the recurrent kernels of gates ``first`` to ``last - 1``."""
        u, xp = self.units, self.xp
        if self.keep is None:
            return product(xp, h, self.recurrent[:, first * u : last * u])
        done = [
            product(xp, h * self.keep[g], self.recurrent[:, g * u : (g + 1) * u])
            for g in range(first, last)
        ]
        return xp.concatenate(done, axis=1)

    def back(self, gz, first, last):
        """Return the gradient of `times` with respect to h."""
        u, xp = self.units, self.xp
        if self.keep is None:
            return product(xp, gz, self.recurrent[:, first * u : last * u].T)
        done = [
            self.keep[g] * product(xp, part, self.recurrent[:, g * u : (g + 1) * u].T)
            for g, part in zip(range(first, last), self.parts(gz))
        ]
        return added(done)

    def gradient(self, left, gz, first):
        """Return the gradients of the recurrent kernels of some gates, over all steps.

        Args:
            left: list of arrays (N, U), what was multiplied at each step.
            gz: list of arrays (N, some gates * U), the gradients of the products.
            first: int, the first of those gates.
        """
        xp, u = self.xp, self.units
        left, gz = xp.stack(left), xp.stack(gz)
        gates = int(gz.shape[2]) // u
        if self.keep is None:
            return [product(xp, rows(left).T, rows(gz))]
        return [
            product(xp, rows(left * self.keep[first + g]).T, rows(gz[:, :, g * u : (g + 1) * u]))
            for g in range(gates)
        ]


def added(parts):
    total = parts[0]
    for p in parts[1:]:
        total = total + p
    return total


def rows(x):
    return x.reshape((int(x.shape[0]) * int(x.shape[1]), int(x.shape[2])))


def scaled(keep, rate, dtype):
    return keep.astype(dtype) * (1 / (1 - rate))


class SimpleStep:
    gates = 1

    @staticmethod
    def step(walk, z, states, bias):
        y = walk.act(walk.xp, z + walk.times(states[0], 0, 1))
        return [y], y

    @staticmethod
    def back(walk, grads, states, y):
        gz = grads[0] * walk.slope(walk.xp, y)
        return gz, gz, [walk.back(gz, 0, 1)]

    @staticmethod
    def lefts(states, kept):
        return [(0, 1, states[0])]


class LSTMStep:
    gates = 4

    @staticmethod
    def step(walk, z, states, bias):
        h, c = states
        xp = walk.xp
        i, f, g, o = walk.parts(z + walk.times(h, 0, 4))
        i, f, g, o = walk.gate(xp, i), walk.gate(xp, f), walk.act(xp, g), walk.gate(xp, o)
        c = f * c + i * g
        a = walk.act(xp, c)
        return [o * a, c], (i, f, g, o, a)

    @staticmethod
    def back(walk, grads, states, kept):
        xp = walk.xp
        (gh, gc), (i, f, g, o, a) = grads, kept
        gc = gc + gh * o * walk.slope(xp, a)
        gz = [
            gc * g * walk.gate_slope(xp, i),
            gc * states[1] * walk.gate_slope(xp, f),
            gc * i * walk.slope(xp, g),
            gh * a * walk.gate_slope(xp, o),
        ]
        gz = xp.concatenate(gz, axis=1)
        return gz, gz, [walk.back(gz, 0, 4), gc * f]

    @staticmethod
    def lefts(states, kept):
        return [(0, 4, states[0])]


class GRUBeforeStep:
    """The reset gate acts before the recurrent product, as in Cho et al., 2014 (v1)."""

    gates = 3

    @staticmethod
    def step(walk, z, states, bias):
        (h,), u, xp = states, walk.units, walk.xp
        s, r = walk.parts(walk.gate(xp, z[:, : 2 * u] + walk.times(h, 0, 2)))
        g = walk.act(xp, z[:, 2 * u :] + walk.times(r * h, 2, 3))
        return [s * h + (1 - s) * g], (s, r, g)

    @staticmethod
    def back(walk, grads, states, kept):
        xp = walk.xp
        (gh,), (h,), (s, r, g) = grads, states, kept
        gg = gh * (1 - s) * walk.slope(xp, g)
        grh = walk.back(gg, 2, 3)
        gs = gh * (h - g) * walk.gate_slope(xp, s)
        gr = grh * h * walk.gate_slope(xp, r)
        gz = xp.concatenate([gs, gr, gg], axis=1)
        return gz, gz, [gh * s + grh * r + walk.back(gz[:, : 2 * walk.units], 0, 2)]

    @staticmethod
    def lefts(states, kept):
        return [(0, 2, states[0]), (2, 3, kept[1] * states[0])]


class GRUAfterStep:
    """The reset gate acts after the recurrent product, as in cuDNN."""

    gates = 3

    @staticmethod
    def step(walk, z, states, bias):
        (h,), u, xp = states, walk.units, walk.xp
        product = walk.times(h, 0, 3)
        if bias is not None:
            product = product + bias
        s, r = walk.parts(walk.gate(xp, z[:, : 2 * u] + product[:, : 2 * u]))
        q = product[:, 2 * u :]
        g = walk.act(xp, z[:, 2 * u :] + r * q)
        return [s * h + (1 - s) * g], (s, r, g, q)

    @staticmethod
    def back(walk, grads, states, kept):
        xp = walk.xp
        (gh,), (h,), (s, r, g, q) = grads, states, kept
        gg = gh * (1 - s) * walk.slope(xp, g)
        gs = gh * (h - g) * walk.gate_slope(xp, s)
        gr = gg * q * walk.gate_slope(xp, r)
        gp = xp.concatenate([gs, gr, gg * r], axis=1)
        gz = xp.concatenate([gs, gr, gg], axis=1)
        return gz, gp, [gh * s + walk.back(gp, 0, 3)]

    @staticmethod
    def lefts(states, kept):
        return [(0, 3, states[0])]
