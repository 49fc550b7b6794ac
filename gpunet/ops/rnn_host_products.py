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
        self.weights = self._by_gate(columns)
        self.weights *= np.array(scales, x.dtype)[:, None, None]

    def _by_gate(self, columns):
        """Return the kernel, and the bias beside it, as (G, U, C + 1)."""
        shape, order = (len(self.order), self.units), list(self.order)
        result = np.empty((*shape, columns), self.kernel.dtype)
        kernel = self.kernel.reshape((self.features, *shape))
        result[:, :, : self.features] = kernel.transpose(1, 2, 0)[order]
        if columns > self.features:
            result[:, :, -1] = self.bias.reshape(shape)[order]
        return result

    def _rows(self, part, row=None):
        """Return inputs of some steps, (t * N, C + 1), as the gate in a row sees them."""
        x = self.whole[part]
        if row is not None:
            x = x.copy()
            x[:, :, : self.features] *= self.keep[self.order[row]]
        return _flat(x)

    def _groups(self):
        """Return (number for `_rows`, rows) of those that one product can give."""
        if self.keep is None:
            return [(None, slice(None))]
        return [(row, slice(row, row + 1)) for row in range(len(self.order))]

    def project(self, part, room):
        """Write what inputs and bias add to the gates at some steps.

        Args:
            part: slice of the steps.
            room: array (t, G, U, N).
        """
        self.whole[part, :, : self.features] = self.x[part]
        self.whole[part, :, self.features :] = 1
        count = room.shape[0] * self.batch
        z = empty((*self.weights.shape[:2], count), room.dtype)
        for row, rows in self._groups():
            w = _flat(self.weights[rows])
            np.matmul(w, self._rows(part, row).T, out=_flat(z[rows]))
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
            self.back = self._by_gate(self.features)
        out = _flat(gx[part])
        for row, rows in self._groups():
            w, left = _flat(self.back[rows]), _flat(g[rows])[:, at].T
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
        parts = empty(self.weights.shape, self.weights.dtype)
        for row, rows in self._groups():
            product(np, _flat(g[rows]), self._rows(slice(None), row), _flat(parts[rows]))
        width = self.weights.shape[2]
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
        units = kernels[0].shape[0]
        self.kernels = [k.reshape((units, len(scales), units)) for k in kernels]
        self.keep, self.scales, self.batch, self.units = keep, scales, batch, units
        self.forward, self.backward, self.kept = {}, {}, {}

    def _cut(self, matrices):
        """Return matrices (D, M, K) as blocks (D, B, M / B, K)."""
        d, m, k = matrices.shape
        count = _blocks(m, k, self.batch)
        return matrices.reshape((d, count, m // count, k))

    def _masks(self, gates):
        if gates not in self.kept:
            self.kept[gates] = np.ascontiguousarray(self.keep[:, list(gates)])
        return self.kept[gates]

    def times(self, h, out, gates):
        """Write the products of states (D, U, N) for some gates, (D, k, U, N)."""
        w = self.forward.get(gates)
        if w is None:
            w = np.stack([k[:, list(gates)].transpose(1, 2, 0) for k in self.kernels])
            w *= np.array([self.scales[g] for g in gates], w.dtype)[:, None, None]
            if self.keep is None:
                w = self._cut(w.reshape((len(w), len(gates) * self.units, self.units)))
            self.forward[gates] = w
        if self.keep is None:
            np.matmul(w, h[:, None], out=out.reshape((*w.shape[:3], self.batch)))
        else:
            np.matmul(w, h[:, None] * self._masks(gates), out=out)

    def back(self, g, out, gates):
        """Write the gradients of what was multiplied, (D, U, N), from those of some gates."""
        w = self.backward.get(gates)
        if w is None:
            w = np.stack([k[:, list(gates)] for k in self.kernels])
            if self.keep is None:
                w = self._cut(w.reshape((*w.shape[:2], len(gates) * self.units)))
            else:
                w = np.ascontiguousarray(w.swapaxes(1, 2))
            self.backward[gates] = w
        if self.keep is None:
            g = g.reshape((len(w), 1, w.shape[3], self.batch))
            np.matmul(w, g, out=out.reshape((*w.shape[:3], self.batch)))
        else:
            seen = np.matmul(w, g)
            seen *= self._masks(gates)
            np.sum(seen, axis=1, out=out)

    def gradient(self, which, groups):
        """Return the gradient of one of the kernels.

        Args:
            which: int, number of the walk.
            groups: list of (gates, array (U, T, N) that was multiplied, their gradients
                (k, U, T * N)); together they have all gates.
        """
        kernel, units = self.kernels[which], self.units
        result = np.empty_like(kernel)
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
        return result.reshape((units, kernel.shape[1] * units))
