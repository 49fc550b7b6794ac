"""Fused reductions over the last axes or the first ones, in an order that is always the same."""

import math

from gpunet.fused.launch import REALS, launch, launch_elementwise
from gpunet.fused.sources import source
from gpunet.ops import reduce
from gpunet.ops.infer import axes_of, reduced

__all__ = []

_THREADS = 256
_WARP_COLUMNS = 1024  # up to so many columns a warp does a row
_BLOCKS = 4096
_SPLITS = 64  # of the rows, at most; the same for every chip, so that sums are
_SPLIT_ROWS = 64  # of a split, at least
_LONGEST = 1 << 16  # columns of a row that one block does alone
_KINDS = {"sum": 0, "max": 1, "min": 2}


def _matrix(shape, axis):
    """Return (rows, columns, whether rows are reduced) for axes at one end; None for others."""
    axes = axes_of(axis, len(shape))
    kept = len(shape) - len(axes)
    if axes == tuple(range(kept, len(shape))):
        return math.prod(shape[:kept]), math.prod(shape[kept:]), True
    if axes == tuple(range(len(axes))):
        return math.prod(shape[: len(axes)]), math.prod(shape[len(axes) :]), False
    return None


def _fits(xp, x, axis=None, keepdims=False):
    if xp.__name__ != "cupy" or x.dtype.name not in REALS or not x.size:
        return False
    matrix = _matrix(x.shape, axis)
    if matrix is None:
        return False
    rows, columns, along_rows = matrix
    # Few long rows need all blocks for each: CuPy's own reductions do that.
    return columns <= _LONGEST if along_rows else rows <= _SPLITS * _LONGEST


def _reduced(xp, x, axis, keepdims, kind, scale):
    rows, columns, along_rows = _matrix(x.shape, axis)
    x, dtype = xp.ascontiguousarray(x), x.dtype
    y = xp.empty(reduced(x.shape, axis=axis, keepdims=keepdims), dtype)
    scale = dtype.type(scale)
    if along_rows:
        row_threads = 32 if columns <= _WARP_COLUMNS else _THREADS
        blocks = min(-(-rows * row_threads // _THREADS), _BLOCKS)
        defines = {"REAL": REALS[dtype.name], "THREADS": _THREADS, "ROW_THREADS": row_threads}
        args = [x, y, scale, rows, columns, kind]
        launch(source("reduce"), "rows_reduced", (blocks,), (_THREADS,), args, defines)
        return y
    splits = max(1, min(_SPLITS, rows // _SPLIT_ROWS))
    partial = xp.empty((splits, columns), dtype)
    grid, defines = (-(-columns // 32), splits), {"REAL": REALS[dtype.name]}
    args = [x, partial, rows, columns, kind]
    launch(source("reduce"), "columns_reduced", grid, (32, 8), args, defines)
    args = [partial, y, scale, splits, kind]
    launch_elementwise(source("reduce"), "columns_merged", columns, args, dtype)
    return y


def _add_reduction(op, kind):
    mean = op is reduce.mean

    @op.fused(when=_fits)
    def forward(xp, x, axis=None, keepdims=False):
        axes = axes_of(axis, x.ndim)
        scale = 1 / math.prod([x.shape[a] for a in axes]) if mean else 1
        y = _reduced(xp, x, axis, keepdims, kind, scale)
        return y, (x, y, axes) if kind else (x.shape, axes)

    @forward.explained
    def words(xp, x, axis=None, keepdims=False):
        return "one kernel, or two where the first axes are reduced; sums in a fixed order"

    forward.backward(op.pull)


for _op in (reduce.sum, reduce.mean, reduce.max, reduce.min):
    _add_reduction(_op, _KINDS.get(_op.name, 0))
