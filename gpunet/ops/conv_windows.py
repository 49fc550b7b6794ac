"""Reading the windows over NumPy arrays in blocks that stay in cache."""

import functools
import itertools
import math
import threading

import numpy as np

__all__ = ["thread_buffers", "Windows", "box_index", "computed_dtype", "split"]

MANY = 32  # boxes: so many even out by themselves
KEPT_BYTES = 2**23  # of a scratch array that stays for the next op
SHORT = 24  # numbers copied at once below which windows become columns


@functools.lru_cache(maxsize=1024)
def split(sizes, most, shares=1):
    """Cut a box into boxes of consecutive elements, fixed by the arguments alone.

    Args:
        sizes: tuple of ints.
        most: int, number of elements wanted at most.
        shares: int that divides the number of boxes, unless there is but one, too few elements,
            or so many that threads end together anyhow.

    Returns:
        Tuple of boxes in order, each a tuple of pairs (start, stop).
    """
    axis, inner = len(sizes) - 1, 1
    while axis > 0 and inner * sizes[axis] <= most:
        inner *= sizes[axis]
        axis -= 1
    n = sizes[axis]
    parts = -(-n // max(1, most // max(inner, 1)))
    lead = math.prod(sizes[:axis])
    if 1 < parts * lead < MANY:
        own = shares // math.gcd(shares, lead)
        parts = min(n, -(-parts // own) * own)
    edges = [n * i // parts for i in range(parts + 1)] if n else [0]
    whole = tuple([(0, m) for m in sizes[axis + 1 :]])
    before = itertools.product(*[[(i, i + 1) for i in range(m)] for m in sizes[:axis]])
    return tuple([(*b, middle, *whole) for b in before for middle in zip(edges, edges[1:])])


def box_index(box):
    return tuple([slice(a, b) for a, b in box])


def computed_dtype(dtype):
    """Products of float16 are summed in float32: faster on a CPU, and more exact."""
    return np.dtype("float32") if dtype == np.float16 else dtype


class Buffers:
    """Scratch arrays of one thread; those of one name share memory."""

    def __init__(self):
        self.flat = {}
        # Where zeros lie already in the scratch array of inputs with a border, in how many images.
        self.border, self.images = None, 0

    def get(self, name, shape, dtype):
        """Return an array of a shape and dtype; what is in it isn't defined."""
        n = math.prod(shape)
        flat = self.flat.get(name)
        if flat is None or flat.size < n or flat.dtype != dtype:
            self.border = None
            flat = np.empty(n, dtype)
            if flat.nbytes <= KEPT_BYTES:
                self.flat[name] = flat
        return flat[:n].reshape(shape)


_own = threading.local()


def thread_buffers():
    """Return this thread's Buffers, kept from one op to the next: new memory is slow memory."""
    found = getattr(_own, "buffers", None)
    if found is None:
        found = _own.buffers = Buffers()
    return found


class _Place:
    """Where the windows of a box lie: the same for all boxes that differ in their images alone.

    Attributes:
        offset: int, bytes from an image's start to the first window, None where windows reach
            over the border and a copy is needed.
        shape: shape of that copy without the images' axis.
        source, target: index of its part inside the input, and of that part in the copy.
        steps, hops: strides in bytes from window to window and from cell to cell.
        strides: strides in bytes of images and of channels.
    """

    __slots__ = ("offset", "shape", "source", "target", "steps", "hops", "strides")

    def __init__(self, windows, box):
        w, x = windows.w, windows.x
        spans = [
            (a * s - before, (b - 1) * s + (k - 1) * d + 1 - before)
            for (a, b), s, k, d, (before, _) in zip(box, w.strides, w.kernel, w.dilation, w.pads)
        ]
        inside = all(a >= 0 and b <= n for (a, b), n in zip(spans, w.size))
        strides = x.strides
        self.offset = None
        if inside and windows.times == 1:
            first = (*[a for a, _ in spans], windows.channels.start)
            self.offset = sum([i * stride for i, stride in zip(first, strides[1:])])
        else:
            kept = [(max(a, 0), max(a, 0, min(b, n))) for (a, b), n in zip(spans, w.size)]
            self.source = (*box_index(kept), windows.channels)
            self.target = tuple([slice(i - a, j - a) for (i, j), (a, _) in zip(kept, spans)])
            self.shape = (*[b - a for a, b in spans], windows.depth)
            sizes = [math.prod(self.shape[i:]) for i in range(len(self.shape) + 1)]
            strides = [x.itemsize * size for size in sizes]
        self.steps = [stride * s for stride, s in zip(strides[1:-1], w.strides)]
        self.hops = [stride * d for stride, d in zip(strides[1:-1], w.dilation)]
        self.strides = strides[0], strides[-1]


@functools.lru_cache(maxsize=1024)
def _kept(cls, shape, dtype, w, start, stop, times):
    """Return the attributes of Windows over any array of a shape."""
    made = cls(np.empty(shape, dtype), w, slice(start, stop), times)
    return {**vars(made), "x": None}


class Windows:
    """Reads the windows over some channels of an array (N, *size, C), block by block.

    Args:
        x: contiguous array.
        w: Window; pads may be negative.
        channels: slice.
        times: int, how often each channel is repeated.

    Attributes:
        depth: int, channels of a window.
        row: int, numbers in a window.
        dtype: of the windows.
        whole: bool, whether windows have what is in ``x``, all channels of it.
    """

    def __init__(self, x, w, channels, times=1):
        self.x, self.w, self.channels, self.times = x, w, channels, times
        self.depth = (channels.stop - channels.start) * times
        self.row = math.prod(w.kernel) * self.depth  # numbers in a window
        self.dtype = computed_dtype(x.dtype)
        run = self.depth * (w.kernel[-1] if w.dilation[-1] == 1 else 1)
        self.as_columns = run < SHORT and self.row > self.depth
        self._places = {}
        self.whole = times == 1 and (self.depth, self.dtype) == (x.shape[-1], x.dtype)
        ones = (1,) * w.rank
        # Windows of one cell, one at each place, are the input itself.
        self._plain = (
            (w.kernel, w.strides, w.out) == (ones, ones, w.size)
            and not w.padding_needed
            and self.whole
        )

    @classmethod
    def of(cls, x, w, channels, times=1):
        """Return Windows; what follows from shapes alone was found when they came first."""
        kind = x.shape, x.dtype, w, channels.start, channels.stop, times
        made = cls.__new__(cls)
        made.__dict__.update(_kept(cls, *kind), x=x)
        return made

    def find(self, box, buffers):
        """Return (array, byte offset, _Place) of the input under the windows of a box."""
        place = self._places.get(box[1:])
        if place is None:
            place = self._places[box[1:]] = _Place(self, box[1:])
        if place.offset is not None:
            return self.x, place.offset + box[0][0] * place.strides[0], place
        images = box[0][1] - box[0][0]
        copy = buffers.get("input", (images, *place.shape), self.x.dtype)
        if buffers.border != (place.shape, place.target) or images > buffers.images:
            buffers.border = None
            for i, (s, n) in enumerate(zip(place.target, place.shape)):
                before = (slice(None),) * (i + 1)
                copy[(*before, slice(0, s.start))] = 0
                copy[(*before, slice(s.stop, n))] = 0
            buffers.border, buffers.images = (place.shape, place.target), images
        self.take((slice(*box[0]), *place.source), copy[(slice(None), *place.target)])
        return copy, 0, place

    def take(self, index, out):
        """Write a part of the input into ``out``, each channel repeated as asked for."""
        source = self.x[index]
        if self.times > 1:
            out = out.reshape((*source.shape, self.times))
            source = source[..., None]
        out[...] = source

    def gather(self, box, buffers):
        """Return the windows of a box as a matrix (windows, cells * channels)."""
        counts = [b - a for a, b in box]
        n = math.prod(counts)
        if self._plain:
            rows = self.x[box_index(box)]
            if rows.flags.c_contiguous:
                return rows.reshape(n, self.row)
        array, offset, place = self.find(box, buffers)
        images, channels = place.strides
        if self.as_columns:
            shape = (*self.w.kernel, self.depth, *counts)
            view = (*place.hops, channels, images, *place.steps)
        else:
            shape = (*counts, *self.w.kernel, self.depth)
            view = (images, *place.steps, *place.hops, channels)
        matrix = buffers.get("windows", shape, self.dtype)
        matrix[...] = np.ndarray(shape, array.dtype, array, offset, view)
        return matrix.reshape(self.row, n).T if self.as_columns else matrix.reshape(n, self.row)
