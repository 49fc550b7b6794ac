"""Convolution with fewer multiplications, by the method of Toom, Cook and Winograd.

A few neighbouring rows of outputs, a tile, come from a few more rows of inputs.  Seen down a
column, that is a short filter: a product of polynomials, which is known by its values at as many
points as it has coefficients.  So the rows of a tile are mixed into as many rows, one for each
point, those meet the kernel's rows, mixed alike, and what comes out is mixed into the outputs:
six products of rows for four rows of outputs of a kernel three cells high, in place of twelve.

Along the rows nothing is mixed: there, products are those of `conv_runs`.  Mixing goes down the
rows of a tile alone, each as long as it lies in memory, and is a small matrix product itself.
"""

import functools
import math

import numpy as np

from gpunet import threads
from gpunet.ops.conv_products import is_large, pieces
from gpunet.ops.conv_runs import COPY, SHORT, Runs
from gpunet.ops.memory import empty

__all__ = ["Tiles", "height", "mixers"]

# Beside the point at infinity.  More points would cost digits: with these, errors of float32 are
# up to three times those of sums, some 3e-6 of the largest output.
POINTS = (0, 1, -1, 2, -0.5)
ROWS = 96  # of a product with a kernel that is packed for it
MIXED = 14  # multiplications in the time in which one number is mixed, in or out
PACKED = 80  # multiplications in the time in which BLAS copies one number of a kernel, twice
BLOCK = 2**14  # columns of a kernel that are mixed at a time
ALONE = 2**17  # numbers of a kernel that one thread mixes sooner than it wakes another
PREPARED = 30  # multiplications in the time in which one number of a kernel is mixed


@functools.lru_cache(maxsize=64)
def mixers(outputs, taps):
    """Return matrices with which a filter of some taps gives some outputs.

    Args:
        outputs, taps: ints.

    Returns:
        Float64 arrays ``collect`` (outputs, n), ``spread`` (n, taps) and ``mix`` (n, n), where
        ``n = outputs + taps - 1``: ``collect @ ((spread @ filter) * (mix @ inputs))``.

    Reference:
        Winograd, 1980, Arithmetic Complexity of Computations, SIAM; Lavin and Gray, 2015,
        arXiv:1509.09308.
    """
    n = outputs + taps - 1
    points = np.array(POINTS[: n - 1], "float64")
    mix, spread = np.zeros((n, n)), np.zeros((n, taps))
    for i, point in enumerate(points):
        others = np.delete(points, i)
        mix[i, : n - 1] = np.poly(others)[::-1]
        spread[i] = point ** np.arange(taps) / np.prod(point - others)
    mix[-1], spread[-1, -1] = np.poly(points)[::-1], 1
    collect = np.zeros((outputs, n))
    collect[:, :-1] = points ** np.arange(outputs)[:, None]
    collect[-1, -1] = 1
    return collect, spread, mix


def height(windows, filters):
    """Return how many rows of outputs to compute together; 1 where that costs more.

    Args:
        windows: Windows.
        filters: int.
    """
    w, depth = windows.w, windows.depth
    if w.rank != 2 or set(w.strides) != {1} or w.dilation[0] > 1 or windows.times > 1:
        return 1
    (taps, run), (rows, columns) = w.kernel, w.out
    if taps == 1 or (run > 1 and w.dilation[1] > 1) or run * depth < SHORT:
        return 1

    def mixed(tall):  # rows
        return -(-rows // tall) * (tall + taps - 1)

    tall = min(range(1, len(POINTS) + 3 - taps), key=mixed, default=1)
    saved = (rows * taps - mixed(tall)) * run * depth * filters
    cost = MIXED * mixed(tall) * (depth + filters)
    places = len(windows.x) * columns
    kernel = PREPARED * (tall + taps - 1) * run * depth * filters
    if is_large(run * depth, filters):
        kernel += PACKED * (tall - 1) * run * run * depth * filters
    return tall if tall > 1 and (saved - cost) * places > kernel else 1


def _spread_out(spread, rows):
    """Return the product of a small matrix and long rows, in blocks that stay in cache."""
    mixed = empty((len(spread), rows.shape[1]), rows.dtype)

    def start():
        def work(i):
            part = slice(i * BLOCK, (i + 1) * BLOCK)
            np.matmul(spread, rows[:, part], out=mixed[:, part])

        return work

    threads.spread(-(-rows.shape[1] // BLOCK), start, 1 if rows.size < ALONE else None)
    return mixed


class Tiles(Runs):
    """Products of mixed rows; a rule as in `conv_cpu`.

    Args:
        windows: Windows.
        kernel: array (*kernel, channels, filters); None for gradients.
        filters: int.
        tall: int, see `height`.
    """

    def __init__(self, windows, kernel, filters, tall):
        super().__init__(windows, None, filters)
        taps, dtype = windows.w.kernel[0], windows.dtype
        self.tall, self.points = tall, tall + taps - 1
        if is_large(self.length, filters):
            self.fewest = ROWS * self.run * tall
        collect, spread, mix = mixers(tall, taps) if kernel is not None else mixers(taps, tall)
        self.collect, self.spread, self.mix = (a.astype(dtype) for a in (collect, spread, mix))
        more = self.points / tall
        self.numbers = math.ceil((1 + more) * (windows.depth + filters))
        self.work = math.ceil(windows.row * filters * more / taps) + COPY * self.numbers
        if kernel is None:
            self.shape = (self.points * self.length, filters)
        else:
            rows = np.ascontiguousarray(kernel, dtype).reshape(taps, -1)
            mixed = _spread_out(self.spread, rows)
            self.matrices = mixed.reshape(-1, 1, 1, self.length, filters)

    def _layout(self, box):
        """Return the `_Layout` of whole tiles."""
        images, (top, bottom), columns = box
        rows = -(-(bottom - top) // self.tall) * self.tall
        return super()._layout((images, (top, top + rows), columns))

    def _mixed(self, name, mixer, rows, width, buffers):
        """Return the mixed rows of tiles, phase by phase.

        Args:
            name: str, of the scratch array.
            mixer: array (points, rows of a tile).
            rows: array (images, tiles, rows of a tile, width * numbers).
            width: int, positions in a row.
            buffers: Buffers.

        Returns:
            Array (points, places, numbers), zeros behind the last row; array (images, tiles,
            points, width * numbers), the same without these.
        """
        images, tiles, _, long = rows.shape
        numbers = long // width
        *_, places = self._pieces(images * tiles * width)
        flat = buffers.get(name, (self.points, places, numbers), rows.dtype)
        flat[:, images * tiles * width :] = 0
        place = self._in_tiles(flat, images, tiles, long)
        np.matmul(mixer, rows, out=place)
        return flat

    def _in_tiles(self, flat, images, tiles, long):
        """Return (points, places, numbers) as (images, tiles, points, width * numbers)."""
        size = flat.itemsize
        strides = (tiles * long * size, long * size, flat.strides[0], size)
        return np.ndarray((images, tiles, self.points, long), flat.dtype, flat, 0, strides)

    def _pieces(self, places):
        """Return for each phase the number of pieces and their rows, and all places needed."""
        rows = -(-places // self.run)
        n = pieces(rows, self.length, self.filters)
        each = -(-rows // n)
        return n, each, self.run * n * each + self.run - 1

    def _phases(self, flat, places, run):
        """Return every k-th run of numbers as a row: (points, phases, pieces, rows, numbers)."""
        n, each, _ = self._pieces(places)
        size, step = flat.itemsize, flat.strides[1]
        shape = (self.points, self.run, n, each, run * flat.shape[-1])
        strides = (flat.strides[0], step, each * self.run * step, self.run * step, size)
        return np.ndarray(shape, flat.dtype, flat, 0, strides)

    def _inputs(self, at, box, buffers):
        """Return the mixed rows of inputs as `_phases`."""
        array, offset = self._find(at, box, buffers)
        images, tiles, width = box[0][1] - box[0][0], at.rows // self.tall, self._width(at)
        depth, size = self.windows.depth, array.itemsize
        row = at.pitch * depth * size
        shape = (images, tiles, self.points, width * depth)
        strides = (at.strides[0], self.tall * row, row, size)
        rows = np.ndarray(shape, array.dtype, array, offset, strides)
        flat = self._mixed("mixed", self.mix, rows, width, buffers)
        return self._phases(flat, images * tiles * width, self.run)

    def _width(self, at):
        """Return how many positions a row has: those of windows that lie in it, or a copy's."""
        return at.pitch if at.offset is None else at.count + self.run - 1

    def apply(self, box, out, buffers):
        """Return the outputs of a box, in ``out`` if that is given."""
        at = self._layout(box)
        images, tiles, width = box[0][1] - box[0][0], at.rows // self.tall, self._width(at)
        rows, places = box[1][1] - box[1][0], images * tiles * width
        mixed = self._inputs(at, box, buffers)
        shape = (self.points, self._pieces(places)[-1], self.filters)
        products = buffers.get("products", shape, self.windows.dtype)
        np.matmul(mixed, self.matrices, out=self._phases(products, places, 1))
        found = self._in_tiles(products, images, tiles, width * self.filters)
        found = found[..., : at.count * self.filters]
        if out is None:
            out = buffers.get("result", (images, rows, at.count, self.filters), products.dtype)
        whole = rows // self.tall
        last = rows - whole * self.tall
        lines = out.reshape(images, rows, at.count * self.filters)
        target = lines[:, : rows - last].reshape(images, whole, self.tall, lines.shape[-1])
        np.matmul(self.collect, found[:, :whole], out=target)
        if last:
            np.matmul(self.collect[:last], found[:, whole], out=lines[:, rows - last :])
        return out

    def lay(self, box, gy, buffers):
        """Return the incoming gradients of whole tiles, zeros where outputs are left out."""
        at = self._layout(box)
        images, rows, columns, filters = gy.shape
        laid = buffers.get("gy", (images, at.rows, self._width(at), filters), self.windows.dtype)
        laid[:, rows:] = 0
        laid[:, :, columns:] = 0
        laid[:, :rows, :columns] = gy
        return laid

    def gradient(self, box, laid, out, buffers):
        """Write the mixed rows of the kernel's gradient from a box, given what `lay` made."""
        images, rows, width, filters = laid.shape
        tiled = laid.reshape(images, rows // self.tall, self.tall, width * filters)
        flat = self._mixed("mixed gy", self.spread, tiled, width, buffers)
        places = images * tiled.shape[1] * width
        inputs = self._inputs(self._layout(box), box, buffers).swapaxes(-1, -2)
        total = out.reshape(self.points, self.length, filters)
        parts = buffers.get("parts", (*inputs.shape[1:3], *total.shape[1:]), out.dtype)
        rows = parts.reshape(-1, *total.shape[1:])
        for a, g, point in zip(inputs, self._phases(flat, places, 1), total):
            np.matmul(a, g, out=parts)
            np.add.reduce(rows, axis=0, out=point)

    def finish(self, total):
        """Return a kernel's gradient (cells * channels, filters) from its mixed rows."""
        return (self.collect @ total.reshape(self.points, -1)).reshape(-1, self.filters)
