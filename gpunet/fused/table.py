"""Rows of a table by number: looked up in one launch, their gradients added up in order."""

import math

from gpunet.autodiff import rows as row_gradients
from gpunet.fused.launch import REALS, launch, launch_elementwise
from gpunet.fused.sources import source
from gpunet.ops import index

__all__ = []

_ROWS = _COLUMNS = 32  # of the table that a block adds up
_NUMBERS = {"int32": "int", "int64": "long long"}
_WORDS = {1: "unsigned char", 2: "unsigned short", 4: "unsigned", 8: "unsigned long long"}


def _gathers(xp, x, indices):
    return (
        xp.__name__ == "cupy"
        and x.ndim > 0
        and x.size > 0
        and indices.dtype.name in _NUMBERS
        and x.dtype.itemsize in _WORDS
    )


def _taken(xp, x, numbers, place, shape):
    """Return rows of ``x`` as an array of a shape: ``x[numbers[place:]]``."""
    x, numbers = xp.ascontiguousarray(x), xp.ascontiguousarray(numbers)
    y = xp.empty(shape, x.dtype)
    size = math.prod(x.shape[1:]) * x.dtype.itemsize  # bytes of a row
    word = max(w for w in _WORDS if size % w == 0)
    defines = {"NUMBER": _NUMBERS[numbers.dtype.name], "WORD": _WORDS[word]}
    columns = size // word
    n = y.size * x.dtype.itemsize // word
    args = [x, numbers, place, y, x.shape[0], columns]
    launch_elementwise(source("table"), "rows_taken", n, args, None, defines)
    return y


@index.gather.fused(when=_gathers)
def gather_fused(xp, reference, indices):
    shape = (*indices.shape, *reference.shape[1:])
    return _taken(xp, reference, indices, None, shape), (indices, reference.shape)


@gather_fused.explained
def gather_words(xp, reference, indices):
    return "one kernel looks rows up, another adds up their gradients in a fixed order"


gather_fused.backward(index.gather.pull)  # which may give the gradient as rows


def _in_order(xp, x, order, place, rows):
    return _gathers(xp, x, order) and place.dtype == "int64"


@index.rows_in_order.fused(when=_in_order)
def rows_in_order_fused(xp, x, order, place, rows):
    return _taken(xp, x, order, place, (rows, *x.shape[1:])), None


def added(xp, values, numbers, shape):
    """Return sums of rows by number, and which rows have some; None for other arrays.

    Args:
        xp: array module.
        values: float array [N, ...].
        numbers: integer array [N].
        shape: tuple (V, ...).
    """
    rows, columns = shape[0], math.prod(shape[1:])
    if (
        xp.__name__ != "cupy"
        or values.dtype.name not in REALS
        or numbers.dtype.name not in _NUMBERS
        or not rows * columns
        or columns > _COLUMNS * 0xFFFF
    ):
        return None
    sums, touched = xp.empty(shape, values.dtype), xp.empty(rows, bool)
    defines = {"REAL": REALS[values.dtype.name], "NUMBER": _NUMBERS[numbers.dtype.name]}
    args = [xp.ascontiguousarray(values), xp.ascontiguousarray(numbers), sums, touched]
    grid = (-(-rows // _ROWS), -(-columns // _COLUMNS))
    args += [numbers.size, rows, columns]
    launch(source("table"), "rows_added", grid, (_COLUMNS, 4), args, defines)
    return sums, touched


row_gradients.on_gpu = added
