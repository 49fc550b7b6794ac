"""Depthwise convolution on NumPy arrays: sums of shifted rows, each as long as it lies in memory.

A row of outputs, all of its positions and channels in line, is the sum over the cells of a kernel
of as long a piece of a row of the input, times the cell's channels repeated along the row.  With
a stride s along the row, the input's positions are laid out anew: every s-th from the first on,
then every s-th from the second on, and so forth, so that what follows each other lies in line.
"""

import functools
import math

import numpy as np

from gpunet.ops.blockwise import repeated

__all__ = ["Depthwise"]

BLOCKS = 6  # arrays of a block's size that together fit where `conv_cpu` puts windows
COSTS = 8  # multiplications of a matrix product in the time of one here


class _Lines:
    """Where the rows under a box of outputs lie in a copy of that part of the input.

    Args:
        w: Window.
        box: pairs (start, stop) of the outputs along the spatial axes.

    Attributes:
        shape: of the copy without images and channels: (*lead, phases, columns).
        parts: list of (index into the copy, index into the input), spatial axes alone.
        border: list of indices into the copy that are zeros.
        cells: list of (index of a cell's rows without the last axis, first column).
    """

    def __init__(self, w, box):
        *lead, (a, b) = box
        *_, (before, _) = w.pads
        n, k, s, d = w.size[-1], w.kernel[-1], w.strides[-1], w.dilation[-1]
        sizes, inside, source, self.border = [], [], [], []
        for (start, stop), size, taps, step, hop, (front, _) in zip(
            lead, w.size, w.kernel, w.strides, w.dilation, w.pads
        ):
            first = start * step - front
            sizes.append((stop - 1 - start) * step + (taps - 1) * hop + 1)
            low, high = _within(first, 1, sizes[-1], size)
            everything = (slice(None),) * len(inside)
            self.border += [(*everything, edge) for edge in _edges(low, high, sizes[-1])]
            inside.append(slice(low, high))
            source.append(slice(first + low, first + high))
        phases = sorted({c * d % s for c in range(k)})
        columns = b - a + (k - 1) * d // s
        self.shape, self.parts = (*sizes, len(phases), columns), []
        everything = (slice(None),) * len(inside)
        for i, phase in enumerate(phases):
            first = a * s - before + phase
            low, high = _within(first, s, columns, n)
            self.border += [(*everything, i, edge) for edge in _edges(low, high, columns)]
            if low < high:
                taken = slice(first + low * s, first + (high - 1) * s + 1, s)
                self.parts.append(((*inside, i, slice(low, high)), (*source, taken)))
        self.cells = []
        for cell in w.cells():
            rows = [
                slice(c * hop, c * hop + (stop - 1 - start) * step + 1, step)
                for c, (start, stop), step, hop in zip(cell, lead, w.strides, w.dilation)
            ]
            place = cell[-1] * d
            self.cells.append(((*rows, phases.index(place % s)), place // s))


def _within(first, step, count, size):
    """Return from where to where ``first + i * step`` lies in 0..size, for i in 0..count."""
    low = min(count, max(0, -(first // step)))
    return low, max(low, min(count, (size - 1 - first) // step + 1))


def _edges(low, high, size):
    return [edge for edge in (slice(0, low), slice(high, size)) if edge.start < edge.stop]


_lines = functools.lru_cache(maxsize=1024)(_Lines)


class Depthwise:
    """Sums over the cells of a kernel, each channel on its own; a rule as in `conv_cpu`.

    Args:
        windows: Windows; each channel is repeated for each of its filters.
        kernel: array (*kernel, 1, filters); None for gradients.
        fold: int, how many neighbouring outputs are added up into one.
    """

    def __init__(self, windows, kernel, fold=1):
        self.windows, self.kernel, self.fold = windows, kernel, fold
        self.filters = windows.depth // fold
        self.shape = (windows.row // windows.depth, windows.depth)
        self.numbers = BLOCKS * windows.depth
        self.work = COSTS * windows.row
        self._repeated = {}

    def _kernel(self, count):
        """Return the kernel with a row for each cell, repeated for so many positions."""
        found = self._repeated.get(count)
        if found is None:
            cells = self.kernel.reshape(self.shape)
            found = self._repeated[count] = repeated(cells, count, cells.dtype)
        return found

    def _rows(self, box, buffers):
        """Return for each cell the input under the outputs of a box, (images, *lead, row)."""
        windows, depth = self.windows, self.windows.depth
        at = _lines(windows.w, box[1:])
        images = slice(*box[0])
        shape = (images.stop - images.start, *at.shape, depth)
        copy = buffers.get("rows", shape, windows.x.dtype)
        for index in at.border:
            copy[(slice(None), *index)] = 0
        for target, source in at.parts:
            index = (images, *source, windows.channels)
            windows.take(index, copy[(slice(None), *target)])
        lines = copy.reshape((*shape[:-2], shape[-2] * depth))
        long = (box[-1][1] - box[-1][0]) * depth
        return [
            lines[(slice(None), *rows, slice(first * depth, first * depth + long))]
            for rows, first in at.cells
        ]

    def write(self, box, z, buffers):
        """Write the outputs of a box into ``z`` (windows, filters)."""
        first, *rest = self._rows(box, buffers)
        kernel = self._kernel(box[-1][1] - box[-1][0])
        whole = (
            z.reshape(first.shape) if self.fold == 1 else buffers.get("whole", first.shape, z.dtype)
        )
        np.multiply(first, kernel[0], out=whole)
        part = buffers.get("part", first.shape, z.dtype)
        for rows, cell in zip(rest, kernel[1:]):
            np.multiply(rows, cell, out=part)
            np.add(whole, part, out=whole)
        if self.fold > 1:
            np.sum(whole.reshape(*z.shape, self.fold), axis=-1, out=z)

    def gradient(self, box, laid, out, buffers):
        """Write the kernel's gradient from a box, given what `lay` made."""
        rows = self._rows(box, buffers)
        shape = rows[0].shape
        laid = laid.reshape(shape)
        part = buffers.get("part", shape, laid.dtype)
        ones = np.ones(math.prod(shape[:-1]), laid.dtype)
        for row, total in zip(rows, out):
            np.multiply(row, laid, out=part)
            sums = np.matmul(ones, part.reshape(-1, shape[-1]))
            np.add.reduce(sums.reshape(-1, len(total)), axis=0, out=total)
