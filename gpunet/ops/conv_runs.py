"""Products for convolution in which no window is copied.

Channels come last, so the cells of a window that follow each other along the last spatial axis, a
run, lie side by side in memory.  Every k-th run, k cells long, is a row of a matrix as it lies:
rows that don't overlap, which is what BLAS takes.  k such matrices have all runs of an image; one
product with each gives what one row of the kernel's cells adds to all outputs.

Runs go on from the end of an image's row to the beginning of the next one: what they give there
is left out.
"""

import itertools
import math

import numpy as np

from gpunet.ops.conv_products import columns_times, is_large, rows_times
from gpunet.ops.conv_windows import box_index

__all__ = ["COPY", "FEWEST", "Runs", "suits"]

FEWEST = 256  # outputs in a block of any size
SHORT = 24  # numbers in a run below which copied windows make better matrices
WIDE = 48  # filters for which one product of copied windows makes up for the copies, in gradients
COPY = 12  # multiplications in the time in which one number is copied


def suits(windows, filters, gradient=False):
    """Return whether runs cost less than copies of the windows.

    Args:
        windows: Windows.
        filters: int.
        gradient: bool, for the kernel's gradient instead of outputs.
    """
    w, depth = windows.w, windows.depth
    run, out = w.kernel[-1], w.out[-1]
    cells = math.prod(w.kernel)
    if set(w.strides) != {1} or windows.times > 1 or cells == 1 or run * depth < SHORT:
        return False
    if run > 1 and w.dilation[-1] > 1:
        return False
    pitch = max(out, w.size[-1] + max(0, *w.pads[-1])) if w.rank > 1 else out
    wasted = (pitch / out - 1) * filters / COPY  # for each number of a window
    if gradient:  # images follow each other, so that rows below the outputs are wasted too
        out = w.out[-2:]
        whole = [n + sum(pads) for n, pads in zip(w.size[-2:], w.pads[-2:])]
        wasted = (math.prod(whole) / math.prod(out) - 1) * filters / COPY
        return w.rank < 3 and wasted < 1 and filters < WIDE
    return wasted + (cells // run - 1) * filters / (cells * depth) < 1


class _Layout:
    """Where the runs of a box lie: the same for all boxes that differ in their images alone.

    Attributes:
        planes: shape of what is before the last two axes, without images.
        rows, count: sizes of the last two axes of the box (1 row in one dimension).
        pitch: runs from one row of outputs to the next.
        runs: int, from the first output of a plane to its last.
        apart: int, runs from one plane to the next.
        offset: int, bytes from an image's start to its first run; None where a copy is needed.
        shape, tail: shape of that copy without the images' axis, and numbers behind it.
        source, target: index of its part inside the input, and of that part in the copy.
        strides: strides in bytes of images and planes.
        hops: bytes from the first run of a window to each of its others.
    """

    def __init__(self, windows, box):
        w, x = windows.w, windows.x
        spans = [
            (a - before, b + (k - 1) * d - before)
            for (a, b), k, d, (before, _) in zip(box, w.kernel, w.dilation, w.pads)
        ]
        counts = [b - a for a, b in box]
        *self.planes, self.rows = counts[:-1] or [1]
        self.count = counts[-1]
        as_it_lies = windows.whole and all(a >= 0 and b <= n for (a, b), n in zip(spans, w.size))
        if as_it_lies:
            strides, self.pitch = x.strides, w.size[-1]
            self.offset = sum([a * stride for (a, _), stride in zip(spans, strides[1:])])
        else:
            kept = [(max(a, 0), max(a, 0, min(b, n))) for (a, b), n in zip(spans, w.size)]
            self.source = (*box_index(kept), windows.channels)
            self.target = tuple([slice(i - a, j - a) for (i, j), (a, _) in zip(kept, spans)])
            # The border at the end of a row is that at the beginning of the next.
            front, back = kept[-1][0] - spans[-1][0], spans[-1][1] - kept[-1][1]
            self.pitch = max(self.count, kept[-1][1] - kept[-1][0] + max(front, back))
            self.shape = (*[b - a for a, b in spans[:-1]], self.pitch, windows.depth)
            self.tail = (spans[-1][1] - spans[-1][0]) * windows.depth
            sizes = [math.prod(self.shape[i:]) for i in range(len(self.shape) + 1)]
            strides, self.offset = [windows.dtype.itemsize * n for n in sizes], None
        self.runs = (self.rows - 1) * self.pitch + self.count
        self.strides = strides[: max(1, w.rank - 1)]
        self.apart = self.strides[-1] // (windows.depth * windows.dtype.itemsize)
        steps = [stride * d for stride, d in zip(strides[1:-2], w.dilation)]
        self.hops = [
            sum([c * step for c, step in zip(cell, steps)])
            for cell in itertools.product(*map(range, w.kernel[:-1]))
        ]


class Runs:
    """Products of runs and the parts of a matrix that belong to them; a rule as in `conv_cpu`.

    Args:
        windows: Windows.
        kernel: array (*kernel, channels, filters); None for gradients.
        filters: int.
    """

    tall, fewest, strided = 1, FEWEST, False

    def __init__(self, windows, kernel, filters):
        self.windows, self.filters = windows, filters
        self.run = windows.w.kernel[-1]
        self.length = self.run * windows.depth  # numbers in a run
        self.shape = (windows.row, filters)
        self.numbers = 2 * filters + windows.depth
        self.work = windows.row * filters + COPY * self.numbers
        if kernel is not None:
            kernel = kernel.astype(windows.dtype, copy=False)
            self.matrices = kernel.reshape(-1, self.length, filters)
        if is_large(self.length, filters):
            self.fewest = FEWEST * self.run
        self._layouts = {}

    def _layout(self, box):
        at = self._layouts.get(box[1:])
        if at is None:
            at = self._layouts[box[1:]] = _Layout(self.windows, box[1:])
        return at

    def _find(self, at, box, buffers):
        """Return (array, byte offset) of the input of a box."""
        if at.offset is not None:
            return self.windows.x, at.offset + box[0][0] * at.strides[0]
        images = box[0][1] - box[0][0]
        size = images * math.prod(at.shape)
        flat = buffers.get("runs", (size + at.tail,), self.windows.dtype)
        flat.fill(0)
        copy = flat[:size].reshape((images, *at.shape))
        index = (slice(*box[0]), *at.source)
        self.windows.take(index, copy[(slice(None), *at.target)])
        return flat, 0

    def _matrix(self, at, array, offset, images, phase):
        """Return every k-th run from a phase on, (images, *planes, runs, numbers)."""
        size = array.itemsize
        shape = (images, *at.planes, -(-(at.runs - phase) // self.run), self.length)
        strides = (*at.strides, self.length * size, size)
        offset += phase * self.windows.depth * size
        return np.ndarray(shape, array.dtype, array, offset, strides)

    def apply(self, box, out, buffers):
        """Return the outputs of a box, in ``out`` if that is given and they fit as they come."""
        at = self._layout(box)
        array, offset = self._find(at, box, buffers)
        images, dtype = box[0][1] - box[0][0], self.windows.dtype
        shape = (images, *at.planes, at.runs, self.filters)
        if out is not None and at.runs == at.rows * at.count:
            z = out.reshape(shape)
        else:
            z, out = buffers.get("result", shape, dtype), None
        phases = range(min(self.run, at.runs))
        part = buffers.get("part", shape, dtype) if len(at.hops) > 1 else None
        for hop, matrix in zip(at.hops, self.matrices):
            target = part if hop else z
            for p in phases:
                a = self._matrix(at, array, offset + hop, images, p)
                rows_times(a, matrix, target[..., p :: self.run, :])
            if hop:
                z += part
        if out is not None:
            return out
        row = self.filters * dtype.itemsize
        shape = (images, *at.planes, at.rows, at.count, self.filters)
        strides = (*z.strides[:-2], at.pitch * row, row, dtype.itemsize)
        found = np.ndarray(shape, dtype, z, 0, strides)
        return found[:, 0] if self.windows.w.rank == 1 else found

    def lay(self, box, gy, buffers):
        """Return the incoming gradients of a box for all of its runs: zeros where outputs are left
        out.  Of one or two dimensions only."""
        at, dtype = self._layout(box), self.windows.dtype
        laid = buffers.get("gy", ((len(gy) - 1) * at.apart + at.runs, self.filters), dtype)
        laid.fill(0)
        shape = (len(gy), at.rows, at.count, self.filters)
        row = self.filters * dtype.itemsize
        strides = (at.apart * row, at.pitch * row, row, dtype.itemsize)
        place = np.ndarray(shape, dtype, laid, 0, strides)
        place = place[:, 0] if self.windows.w.rank == 1 else place
        place[...] = gy
        return laid

    def gradient(self, box, laid, out, buffers):
        """Write the kernel's gradient from a box, given what `lay` made."""
        array, offset = self._find(self._layout(box), box, buffers)
        shape, size = (self.length, self.filters), array.itemsize
        part = buffers.get("part", shape, laid.dtype)
        for hop, total in zip(self._layout(box).hops, out.reshape((-1, *shape))):
            for p in range(min(self.run, len(laid))):
                rows = laid[p :: self.run]
                begin = offset + hop + p * self.windows.depth * size
                strides = (self.length * size, size)
                a = np.ndarray((len(rows), self.length), array.dtype, array, begin, strides)
                columns_times(a, rows, part if p else total, buffers)
                if p:
                    total += part

    def finish(self, total):
        """Return the kernel's gradient as a matrix from the sum of what `gradient` wrote."""
        return total
