"""Elementwise steps on cache-sized blocks of NumPy arrays; see `gpunet.joining`.

A step is a pair of a function ``f(block, operand, out=block)``, NumPy's or alike, and an operand:
a number, an array of the whole result's shape or of its channels, or None.
"""

import functools
import math

import numpy as np

from gpunet import joining, threads
from gpunet.ops.memory import empty

__all__ = [
    "Steps",
    "are_large",
    "binary",
    "mapped",
    "rectified",
    "rectifies",
    "repeated",
    "stepped",
    "unary",
]

WIDE = 4096  # numbers in a row: NumPy is slow on short ones
BLOCK = 2**17  # elements in a block
ALONE = 2**17  # elements that one thread does sooner than it wakes another


class Steps:
    """Steps that are done to the blocks of an array (..., channels).

    Args:
        steps: list of pairs (function, operand).
        target: array that the results go to, any strides.
        channels: slice, those that the target has of the operands' channels.
    """

    def __init__(self, steps, target, channels=slice(None)):
        self.target = target
        *_, last, count = target.shape
        self.side = _side(last, count)
        self._longest = max(self.side, last if last * count <= WIDE else 1) * count
        self._steps = [
            (function, self._laid(operand, channels), _is_whole(operand))
            for function, operand in steps
        ]

    def __bool__(self):
        return bool(self._steps)

    def _laid(self, operand, channels):
        """Return an operand as it is needed: one for each channel is repeated along rows."""
        if operand is None:
            return None
        if _is_whole(operand):
            return operand[..., channels]
        dtype = self.target.dtype
        if not hasattr(operand, "dtype"):
            return _full(self._longest, operand, dtype)
        vector = operand.reshape(-1)[channels]
        return repeated(vector, self._longest // len(vector), dtype)

    def apply(self, z, index):
        """Do the steps to a block and put it in its place.

        Args:
            z: array, the block; it may be the place itself.
            index: index of the place in the target.
        """
        target = self.target[index]
        whole = [operand[index] for _, operand, is_whole in self._steps if is_whole]
        z, target, *whole = self._rows(z, target, *whole)
        rest, width = iter(whole), z.shape[-1]
        for function, operand, is_whole in self._steps:
            if is_whole:
                operand = next(rest)
            elif operand is not None:
                operand = operand[:width]
            function(z, operand, out=target)
            z = target
        if z is not target:
            target[...] = z

    def _rows(self, *blocks):
        """Return views of arrays of one shape whose last axis is as long as it can be."""
        *counts, channels = blocks[0].shape
        if all(b.flags.c_contiguous for b in blocks):
            width = self.side * channels
            width = channels if blocks[0].size % width else width
            return [b.reshape(-1, width) for b in blocks]
        if counts[-1] * channels <= self._longest and all(map(_in_line, blocks)):
            shape = (*counts[:-1], counts[-1] * channels)
            return [b.reshape(shape) for b in blocks]
        return blocks


def _is_whole(operand):
    return getattr(operand, "ndim", 0) > 1 and operand.size > operand.shape[-1]


def _in_line(a):
    """Return whether the last two axes of an array can be seen as one."""
    return a.strides[-2:] == (a.shape[-1] * a.itemsize, a.itemsize)


def repeated(x, times, dtype):
    """Return an array with its last axis repeated as a whole; `numpy.tile` takes its time."""
    *lead, n = x.shape
    y = np.empty((*lead, times, n), dtype)
    y[...] = x[..., None, :]
    return y.reshape((*lead, times * n))


@functools.lru_cache(maxsize=256)
def _full(count, number, dtype):
    found = np.full(count, number, dtype)
    found.flags.writeable = False
    return found


@functools.lru_cache(maxsize=1024)
def _side(last, channels):
    """Return how many rows of channels are seen as one."""
    most = min(last, WIDE // max(channels, 1))
    return next((d for d in range(most, 1, -1) if last % d == 0), 1)


def stepped(xp, steps, x, y=None):
    """Return an array ``x`` after steps; see `joining.elementwise`.

    Args:
        xp: NumPy.
        steps: list of steps.
        x: array.
        y: contiguous array that the result goes to, which may be ``x``; a new one by default.
    """
    channels = x.shape[-1]
    x = np.ascontiguousarray(x)
    y = empty(x.shape, x.dtype) if y is None else y
    rows = y.reshape(-1, channels)
    given, x = steps, x.reshape(rows.shape)
    steps = Steps([(f, _flat(operand, y.shape)) for f, operand in given], rows)
    length = max(1, BLOCK // (steps.side * channels)) * steps.side
    count = -(-len(rows) // length)

    def start():
        def work(i):
            part = slice(i * length, (i + 1) * length)
            steps.apply(x[part], part)

        return work

    threads.spread(count, start, 1 if x.size < ALONE else None)
    return y


def _flat(operand, shape):
    if getattr(operand, "shape", None) == shape and math.prod(shape) > shape[-1]:
        return operand.reshape(-1, shape[-1])
    return operand


# Below that whole arrays stay in cache anyway.
joining.elementwise("numpy", stepped, least=2**15)


# -- large arrays -------------------------------------------------------------------------------


def are_large(xp, *values, **_):
    """Return whether `mapped` takes these, and has something to gain."""
    first = values[0]
    return (
        xp is np
        and isinstance(first, np.ndarray)
        and first.size >= ALONE
        and first.dtype.kind == "f"
        and all(
            isinstance(a, np.ndarray)
            and a.shape == first.shape
            and a.dtype == first.dtype
            and a.flags.c_contiguous
            for a in values
        )
    )


def mapped(function, *arrays):
    """Return a function of arrays, computed in blocks on all cores, in memory used before.

    Args:
        function: function (*blocks, out=block) that works on each element.
        *arrays: those that `are_large` takes.
    """
    y = empty(arrays[0].shape, arrays[0].dtype)
    flat, target = [a.reshape(-1) for a in arrays], y.reshape(-1)

    def start():
        def work(i):
            part = slice(i * BLOCK, (i + 1) * BLOCK)
            function(*[a[part] for a in flat], out=target[part])

        return work

    threads.spread(-(-y.size // BLOCK), start)
    return y


def rectified(xp, gy, y):
    """Return a gradient where a rectifier's result ``y`` is above 0, and zeros elsewhere."""
    return mapped(passed, gy, y) if are_large(xp, gy, y) else gy * (y > 0)


def passed(gy, y, out):
    """Write what `rectified` returns."""
    np.multiply(gy, y > 0, out=out)


def rectifies(pull, item):
    """Say that a backward function (xp, saved, gy, ...) does what `rectified` does.

    Args:
        pull: the function.
        item: int, where the rectifier's result is in what was saved.
    """
    joining.goes_on(pull, lambda at, options: [(passed, joining.Argument(0, item))] if at else None)


# -- ops as steps ------------------------------------------------------------------------------


def binary(op, function, swaps=True, saves=None):
    """Let an op of two arrays be a step.

    Args:
        op: Op.
        function: NumPy function of two arrays that gives the same.
        swaps: bool, whether its arguments may change places.
        saves: see `joining.goes_on`.
    """

    def rule(at, options):
        return [(function, joining.Argument(1 - at))] if swaps or not at else None

    joining.goes_on(op.forward, rule, saves)


def unary(op, saves=None):
    """Let an op of one array, whose result is new, be a step.

    Args:
        op: Op.
        saves: see `joining.goes_on`.
    """
    forward = op.forward

    def rule(at, options):
        def function(block, _, out):
            out[...] = forward(np, block, **options)[0]

        return [(function, None)]

    joining.goes_on(forward, rule, saves)


def _sum_steps(at, options):
    return [(np.add, joining.Argument(1 - at))]


joining.goes_on(joining.added, _sum_steps, lambda options: joining.NOTHING)
