"""Pooling of NumPy arrays: blocks that stay in cache, on all cores.

A block is some images, or some rows of windows of one image.  Within it the axes are pooled one
after another, each seen as the middle one of three: (before, axis, behind).  The gradient of the
largest element needs no stored indices: the cells of the windows are compared to it once more.
"""

import functools
import itertools
import math

import numpy as np

from gpunet import threads
from gpunet.ops.blockwise import Steps, stepped
from gpunet.ops.memory import empty
from gpunet.ops.window import Window

__all__ = ["per_axis", "pooled", "max_gradient", "sum_gradient"]

BLOCK_BYTES = 2**20  # of a block's input: with its result and scratch about a usual L2 cache
ALONE = 2**18  # elements that one thread does sooner than it wakes another


def per_axis(w):
    """Return a Window of rank 1 for each axis of a Window."""
    return [
        Window((n,), (k,), (s,), (d,), (pads,), (out,))
        for n, k, s, d, pads, out in zip(w.size, w.kernel, w.strides, w.dilation, w.pads, w.out)
    ]


class _Axis:
    """Windows along the middle one of three axes.

    Attributes:
        size, out: numbers of elements and of windows.
        cells: for each cell of a window a pair of slices: the windows that have it inside of the
            input, and the elements that it is there.
        whole: those of the cells that all windows have inside.
        disjoint: bool, whether no element is in two windows.
        covers: bool, whether every element is in exactly one.
    """

    def __init__(self, w):
        (self.size,), (self.out,), (k,), (s,) = w.size, w.out, w.kernel, w.strides
        overlaps = [(outer[0], inner[0]) for outer, inner in map(w.overlap, w.cells())]
        self.cells = [(outer, inner) for outer, inner in overlaps if outer.start < outer.stop]
        # There is one at least: the padding is shorter than a window.
        self.whole = [c for c in self.cells if c[0] == slice(0, self.out)]
        self.disjoint = s >= k
        self.covers = k == s and self.out * s == self.size + sum(w.pads[0])


_axis = functools.lru_cache(maxsize=1024)(_Axis)


def _part(w, start, stop):
    """Return the windows from ``start`` to ``stop`` along an axis, and the input under them.

    Returns:
        Pair: _Axis over that part of the input, slice of the input.
    """
    (n,), (k,), (s,), (before, _) = w.size, w.kernel, w.strides, w.pads[0]
    low, high = start * s - before, (stop - 1) * s + k - before
    inside = slice(max(low, 0), min(high, n))
    pads = (inside.start - low, high - inside.stop)
    size = (inside.stop - inside.start,)
    return _axis(Window(size, w.kernel, w.strides, w.dilation, (pads,), (stop - start,))), inside


@functools.lru_cache(maxsize=1024)
def _blocks(lead, w, row_bytes, split_rows):
    """Cut arrays (lead, *spatial, behind) into images, or rows of windows of an image.

    Args:
        lead: int, number of images.
        w: Window.
        row_bytes: int, bytes of one row of the input.
        split_rows: bool, whether a large image may be cut.

    Returns:
        Tuple of (index into the output, index into the input, _Axis for each axis).
    """
    along, *rest = per_axis(w)
    rest = [_axis(r) for r in rest]
    image = max(1, w.size[0] * row_bytes)
    step, out = max(1, BLOCK_BYTES // image), w.out[0]
    parts = min(out, -(-image // BLOCK_BYTES)) if split_rows else 1
    edges = [out * i // parts for i in range(parts + 1)]
    rows = [(slice(0, out), slice(None), _axis(along))]
    if parts > 1:
        rows = [(slice(a, b), *_part(along, a, b)[::-1]) for a, b in zip(edges, edges[1:])]
    images = [slice(i, min(i + step, lead)) for i in range(0, lead, step)]
    return tuple([((i, o), (i, n), [first, *rest]) for i in images for o, n, first in rows])


def _run(blocks, size, work):
    """Call ``work(*block, scratch)`` for all blocks; ``scratch(name, shape, dtype)`` is memory."""

    def start():
        kept = {}

        def scratch(name, shape, dtype):
            flat, n = kept.get(name), math.prod(shape)
            if flat is None or flat.size < n:
                flat = kept[name] = np.empty(n, dtype)
            return flat[:n].reshape(shape)

        return lambda i: work(*blocks[i], scratch)

    threads.spread(len(blocks), start, 1 if size < ALONE else None)


def _flat(x, w, first):
    """Return a contiguous array as (lead, *spatial, behind)."""
    sizes = x.shape[first : first + w.rank]
    return x.reshape((math.prod(x.shape[:first]), *sizes, math.prod(x.shape[first + w.rank :])))


def _three(x, axis):
    shape = x.shape
    return x.reshape((math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])))


def _resized(shape, axis, size):
    return (*shape[:axis], size, *shape[axis + 1 :])


def _reduced(function, x, axis, along, y):
    """Write the maximum or sum over windows along one axis of ``x`` into ``y``."""
    x, y = _three(x, axis), _three(y, axis)
    done = along.whole[:2]
    if len(done) == 2:
        function(x[:, done[0][1]], x[:, done[1][1]], out=y)
    else:
        y[...] = x[:, done[0][1]]
    for outer, inner in along.cells:
        if (outer, inner) not in done:
            part = y[:, outer]
            function(part, x[:, inner], out=part)


def pooled(function, x, w, first, counts=None):
    """Return the maximum or sum of every window, the sum divided by ``counts``.

    Args:
        function: ``numpy.maximum`` or ``numpy.add``.
        x: contiguous array.
        w: Window.
        first: int, its first axis.
        counts: array (*out, 1), or (1, ..., 1).
    """
    y = empty((*x.shape[:first], *w.out, *x.shape[first + w.rank :]), x.dtype)
    flat, result = _flat(x, w, first), _flat(y, w, first)

    def work(outer, inner, axes, scratch):
        z, target = flat[inner], result[outer]
        # The first axis first: its slices are longer.  The result is the same.
        for axis, along in enumerate(axes, 1):
            into = target
            if axis < w.rank:
                into = scratch(axis, _resized(z.shape, axis, along.out), x.dtype)
            _reduced(function, z, axis, along, into)
            z = into
        if counts is not None:
            target /= _rows(counts, outer)

    _run(_blocks(len(flat), w, _row_bytes(flat), True), x.size, work)
    return y


def _rows(counts, outer):
    return counts[outer[1]] if len(counts) > 1 else counts


def _row_bytes(flat):
    return math.prod(flat.shape[2:]) * flat.itemsize


def _max_back(x, y, gy, gx, axes, scratch):
    """Write the gradient of the maximum of every window into ``gx``.

    Args:
        x, y: arrays (lead, *spatial, behind), input and result.
        gy, gx: arrays like ``y`` and ``x``.
        axes: list of `_Axis`.
        scratch: function that gives memory.
    """
    disjoint = all(a.disjoint for a in axes)
    if not all(a.covers for a in axes):
        gx[...] = 0
    hit, claimed = scratch("hit", y.shape, bool), scratch("claimed", y.shape, bool)
    part = None if disjoint else scratch("part", y.shape, gy.dtype)
    claimed[...] = False
    cells = list(itertools.product(*[a.cells for a in axes]))
    last = tuple([a.whole[-1] for a in axes])
    for cell in cells:
        outer, inner = ((slice(None), *i) for i in zip(*cell))
        here, taken = hit[outer], claimed[outer]
        if cell is cells[-1] and cell == last:
            np.logical_not(taken, out=here)  # who has not found its largest element has it here
        else:
            np.equal(x[inner], y[outer], out=here)
            np.greater(here, taken, out=here)
            np.logical_or(here, taken, out=taken)
        if disjoint:
            np.multiply(gy[outer], here, out=gx[inner])
        else:
            np.multiply(gy[outer], here, out=part[outer])
            gx[inner] += part[outer]


def _gradient_blocks(target, w):
    """Return `_blocks` that write to different places, all others of ``target`` set to 0."""
    along = _axis(per_axis(w)[0])
    if along.disjoint and not along.covers:
        target[...] = 0  # rows between windows belong to no block
    return _blocks(len(target), w, _row_bytes(target), along.disjoint)


class _Finish:
    """Steps done to a gradient, block by block where the blocks make up all of it.

    Args:
        steps: list of steps, see `blockwise`.
        gx: array, the gradient.
        target: the same as (lead, *spatial, behind).
        w: Window.
        blocks: list as from `_blocks`.
    """

    def __init__(self, steps, gx, target, w, blocks):
        self.gx, self.later, self.now = gx, steps, None
        everything = _axis(per_axis(w)[0]).covers or all(i[1] == slice(None) for _, i, _ in blocks)
        if steps and target.shape == gx.shape and everything:
            self.later, self.now = [], Steps(steps, target)

    def block(self, index):
        """Do the steps to a block, given its index in the target."""
        if self.now is not None:
            self.now.apply(self.now.target[index], index)

    def rest(self):
        """Do what hasn't been done; return the gradient."""
        return stepped(np, self.later, self.gx, self.gx) if self.later else self.gx


def max_gradient(gy, x, y, w, first, steps=()):
    """Return the gradient of `pooled` with ``numpy.maximum``.

    Args:
        gy: array like ``y``.
        x, y: contiguous arrays, input and result.
        w: Window.
        first: int, its first axis.
        steps: what is done to the gradient at last, see `blockwise`.
    """
    gx = empty(x.shape, gy.dtype)
    flat, result, seed, target = (_flat(a, w, first) for a in (x, y, np.ascontiguousarray(gy), gx))
    blocks = _gradient_blocks(target, w)
    finish = _Finish(steps, gx, target, w, blocks)

    def work(outer, inner, axes, scratch):
        _max_back(flat[inner], result[outer], seed[outer], target[inner], axes, scratch)
        finish.block(inner)

    _run(blocks, x.size, work)
    return finish.rest()


def _sum_back(gy, gx, axis, along):
    gy, gx = _three(gy, axis), _three(gx, axis)
    if not along.covers:
        gx[...] = 0
    for outer, inner in along.cells:
        if along.disjoint:
            gx[:, inner] = gy[:, outer]
        else:
            gx[:, inner] += gy[:, outer]


def sum_gradient(gy, shape, counts, w, first, steps=()):
    """Return the gradient of `pooled` with ``numpy.add``.

    Args:
        gy: array.
        shape: tuple, of the input.
        counts: as for `pooled`.
        w: Window.
        first: int, its first axis.
        steps: what is done to the gradient at last, see `blockwise`.
    """
    gx = empty(shape, gy.dtype)
    seed, target = (_flat(a, w, first) for a in (np.ascontiguousarray(gy), gx))
    blocks = _gradient_blocks(target, w)
    finish = _Finish(steps, gx, target, w, blocks)

    def work(outer, inner, axes, scratch):
        last = target[inner]
        g = scratch("gy", seed[outer].shape, gy.dtype)
        np.divide(seed[outer], _rows(counts, outer), out=g)
        for axis, along in enumerate(axes, 1):
            into = last
            if axis < w.rank:
                into = scratch(axis, _resized(g.shape, axis, along.size), gy.dtype)
            _sum_back(g, into, axis, along)
            g = into
        finish.block(inner)

    _run(blocks, gx.size, work)
    return finish.rest()
