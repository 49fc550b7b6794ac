"""The matrix products of `gpunet.ops.rnn_host`: of the inputs, step by step of the states.

Samples are the last axis but for inputs and outputs, and gates come before units: (G, U, N).  The
order of the gates is that of the cell's arrays; kernels and their gradients are sorted here.
"""

import numpy as np

from gpunet.ops.memory import empty
from gpunet.ops.products import product

__all__ = ["Inputs", "Recurrence"]

# Multiplications up to which OpenBLAS takes matrices as they are; larger ones it copies first,
# which takes as long as a product of few columns.
_SMALL = 10**6


def _flat(a):
    """Return an array of three axes with the first two as one."""
    return a.reshape((a.shape[0] * a.shape[1], a.shape[2]))


def _sort(kernel, order, scales, out):
    """Write the columns (U for each gate) of a kernel in another order, scaled."""
    units = out.shape[1] // len(order)
    for i, (gate, scale) in enumerate(zip(order, scales)):
        own = kernel[:, gate * units : (gate + 1) * units]
        np.multiply(own, np.asarray(scale, out.dtype), out=out[:, i * units : (i + 1) * units])


def _blocks(rows, inner, columns):
    """Return into how many blocks of rows to cut a matrix, so that its product is a small one."""
    count = 1
    while rows // count * inner * columns > _SMALL:
        count *= 2
        if rows % count or rows // count < max(32, columns // 2):
            return 1
    return count


class Inputs:
    """The inputs of one walk, their kernel and bias.

    Args:
        x: array (T, N, C), in the order of the walk.
        kernel: array (C, G * U).
        bias: array (G * U,) or None.
        keep: array (G, N, C) of scaled dropout masks, or None.
        order: tuple, the gates as they follow each other in arrays of the cell.
        scales: list, what each of these is scaled by on the way forward.
    """

    def __init__(self, x, kernel, bias, keep, order, scales):
        self.x, self.kernel, self.bias, self.keep, self.order = x, kernel, bias, keep, order
        self.steps, self.batch, self.features = x.shape
        self.units = kernel.shape[1] // len(order)
        # One block in memory, written as `project` comes to it, with a column of ones beside the
        # features: it makes the bias a part of the kernel.
        columns = self.features + (bias is not None)
        self.whole = empty((self.steps, self.batch, columns), x.dtype)
        self.weights = self._sorted(columns, scales)

    def _sorted(self, rows, scales):
        """Return the kernel, and the bias below it, with gates as in the cell's arrays."""
        result = np.empty((rows, self.kernel.shape[1]), self.kernel.dtype)
        _sort(self.kernel, self.order, scales, result[: self.features])
        if rows > self.features:
            _sort(self.bias[None], self.order, scales, result[-1:])
        return result

    def _rows(self, part, row=None):
        """Return inputs of some steps, (t * N, C + 1), as the gate in a row sees them."""
        x = self.whole[part]
        if row is not None:
            x = x.copy()
            x[:, :, : self.features] *= self.keep[self.order[row]]
        return _flat(x)

    def _groups(self):
        """Return (number for `_rows`, gates as a slice) of those that one product can give."""
        if self.keep is None:
            return [(None, slice(0, len(self.order)))]
        return [(row, slice(row, row + 1)) for row in range(len(self.order))]

    def _columns(self, gates):
        """Return a slice: the columns of some gates."""
        return slice(gates.start * self.units, gates.stop * self.units)

    def project(self, part, room):
        """Write what inputs and bias add to the gates at some steps.

        Args:
            part: slice of the steps.
            room: array (t, G, U, N).
        """
        self.whole[part, :, : self.features] = self.x[part]
        self.whole[part, :, self.features :] = 1
        if self.batch == 1 and self.keep is None:
            room[...] = np.matmul(self._rows(part), self.weights).reshape(room.shape)
            return
        count = room.shape[0] * self.batch
        z = empty((*room.shape[1:3], count), room.dtype)
        for row, gates in self._groups():
            w = self.weights[:, self._columns(gates)]
            np.matmul(w.T, self._rows(part, row).T, out=_flat(z[gates]))
        room[...] = z.reshape((*z.shape[:2], *room.shape[::3])).transpose(2, 0, 1, 3)

    def pull(self, part, g, gx):
        """Write the gradient of the inputs of some steps.

        Args:
            part: slice of the steps.
            g: array (G, U, T * N), the gates' gradients; those of the part are there.
            gx: array (T, N, C).
        """
        at = slice(part.start * self.batch, part.stop * self.batch)
        if self.back is None:
            self.back = self._sorted(self.features, [1] * len(self.order))
        out = _flat(gx[part])
        for row, gates in self._groups():
            w, left = self.back[:, self._columns(gates)].T, _flat(g[gates])[:, at].T
            if row is None:
                np.matmul(left, w, out=out)
                continue
            seen = np.matmul(left, w).reshape(gx[part].shape)
            seen *= self.keep[self.order[row]]
            if row:
                gx[part] += seen
            else:
                gx[part] = seen

    back = None  # the kernel without scales, which only `pull` needs

    def gradient(self, g):
        """Return the gradients of kernel and bias, from the gates' gradients at all steps."""
        width = len(self.weights)
        parts = empty((len(self.order), self.units, width), self.weights.dtype)
        for row, gates in self._groups():
            product(np, _flat(g[gates]), self._rows(slice(None), row), _flat(parts[gates]))
        result = np.empty((width, len(self.order), self.units), g.dtype)
        for part, gate in zip(parts, self.order):
            result[:, gate] = part.T
        result = result.reshape((width, self.kernel.shape[1]))
        return result[: self.features], result[-1] if width > self.features else None


class Recurrence:
    """The recurrent kernels of the walks that go on at the same time.

    Args:
        kernels: list of D arrays (U, G * U).
        keep: array (D, G, U, N) of scaled dropout masks, or None.
        scales: dict, what the rows of a gate are scaled by on the way forward.
        batch: int.
    """

    def __init__(self, kernels, keep, scales, batch):
        self.kernels, self.keep, self.scales, self.batch = kernels, keep, scales, batch
        self.units = kernels[0].shape[0]
        self.single = batch == 1 and keep is None  # then states are rows as well as columns

    def _sorted(self, gates, scales):
        """Return the kernels' columns of some gates, (D, U, k * U)."""
        result = np.empty((len(self.kernels), self.units, len(gates) * self.units),
                          self.kernels[0].dtype)  # fmt: skip
        for kernel, out in zip(self.kernels, result):
            _sort(kernel, gates, scales, out)
        return result

    def _by_gate(self, columns):
        """Return columns (D, U, k * U) with an axis of gates, (D, k, U, U)."""
        d, u, width = columns.shape
        return columns.reshape((d, u, width // u, u)).swapaxes(1, 2)

    def _cut(self, matrices):
        """Return matrices (D, M, K) as blocks (D, B, M / B, K)."""
        d, m, k = matrices.shape
        count = _blocks(m, k, self.batch)
        return np.ascontiguousarray(matrices).reshape((d, count, m // count, k))

    def seen(self, states):
        """Return states (..., D, U, N) as the functions of `forward` take them."""
        *axes, units, batch = states.shape
        return states.reshape((*axes, 1, units) if self.single else (*axes, 1, units, batch))

    def forward(self, gates, out):
        """Return a function (h) that writes products of states (see `seen`) for some gates.

        Args:
            gates: tuple of ints.
            out: array (D, k, U, N).
        """
        w = self._sorted(gates, [self.scales[g] for g in gates])
        if self.single:
            out = out.reshape((len(w), 1, w.shape[2]))
            return lambda h: np.matmul(h, w, out=out)
        if self.keep is None:
            w = self._cut(w.swapaxes(1, 2))
            out = out.reshape((*w.shape[:3], self.batch))
            return lambda h: np.matmul(w, h, out=out)
        w, keep = np.ascontiguousarray(self._by_gate(w).swapaxes(2, 3)), self.keep[:, list(gates)]
        return lambda h: np.matmul(w, h * keep, out=out)

    def backward(self, gates, out):
        """Return a function (g) that writes the gradients of what was multiplied.

        Its argument is the gradients of the products, (D, k, U, N).

        Args:
            gates: tuple of ints.
            out: array (D, U, N).
        """
        w = self._sorted(gates, [1] * len(gates))
        if self.keep is None:
            w = self._cut(w)
            shape, out = (
                (len(w), 1, w.shape[3], self.batch),
                out.reshape((*w.shape[:3], self.batch)),
            )
            return lambda g: np.matmul(w, g.reshape(shape), out=out)
        w, keep = np.ascontiguousarray(self._by_gate(w)), self.keep[:, list(gates)]

        def back(g):
            seen = np.matmul(w, g)
            seen *= keep
            np.sum(seen, axis=1, out=out)

        return back

    def gradient(self, which, groups):
        """Return the gradient of one of the kernels.

        Args:
            which: int, number of the walk.
            groups: list of (gates, array (U, T, N) that was multiplied, their gradients
                (k, U, T * N)); together they have all gates.
        """
        units = self.units
        result = np.empty((units, len(self.scales), units), self.kernels[which].dtype)
        for gates, left, g in groups:
            parts = empty((len(gates), units, units), g.dtype)
            if self.keep is None:
                columns = left.reshape((units, g.shape[2]))
                product(np, _flat(g), columns.T, _flat(parts))
            else:
                for part, one, gate in zip(parts, g, gates):
                    seen = left * self.keep[which, gate][:, None]
                    product(np, one, seen.reshape(one.shape).T, part)
            for part, gate in zip(parts, gates):
                result[:, gate] = part.T
        return result.reshape((units, len(self.scales) * units))
