"""Fused normalization: over all axes but the last (batch), or over the last alone (layer)."""

import math

from gpunet import joining
from gpunet.fused.endings import Ending, done, in_one_piece
from gpunet.fused.launch import REALS, launch, launch_elementwise
from gpunet.fused.rows import launch_rows, words_of_rows
from gpunet.fused.sources import source
from gpunet.ops import normalization
from gpunet.ops.infer import axes_of, reduced

__all__ = []

_SPLITS = 64  # of the rows, at most; the same for every chip, so that sums are
_SPLIT_ROWS = 64  # of a split, at least
_ROOM = 16  # threads that join the moments of a column


def _fits(xp, x, gamma=None, beta=None, mask=None, /, *, axes, epsilon=1e-3):
    given = [p for p in (gamma, beta) if p is not None]
    return (
        xp.__name__ == "cupy"
        and mask is None
        and x.dtype.name in REALS
        and x.size > 0
        and x.ndim > 1
        and all(p.dtype == x.dtype and p.shape == x.shape[-1:] for p in given)
        and axes_of(axes, x.ndim) in (tuple(range(x.ndim - 1)), (x.ndim - 1,))
    )


def _partial(xp, name, matrix, inputs, numbers, parts):
    """Run a kernel of ``columns.cu`` that sums over rows; return the sums of each split."""
    (rows, columns), dtype = matrix, inputs[0].dtype
    splits = max(1, min(_SPLITS, rows // _SPLIT_ROWS))
    partial = xp.empty((splits, parts, columns), dtype)
    args = [*inputs, partial, *numbers, rows, columns]
    grid, defines = (-(-columns // 32), splits), {"REAL": REALS[dtype.name]}
    launch(source("columns"), name, grid, (32, 8), args, defines)
    return partial


def _moments(xp, x, matrix, mean, variance, known):
    """Write the mean and the variance of columns, from moments of parts where these are known."""
    partial = _partial(xp, "moments", matrix, [x], [], 3) if known is None else known
    args = [partial, mean, variance, len(partial), matrix[1]]
    grid, defines = (-(-matrix[1] // 32),), {"REAL": REALS[x.dtype.name]}
    launch(source("columns"), "moments_merged", grid, (32, _ROOM), args, defines)


@normalization.normalize.fused(when=_fits)
def normalize_fused(xp, x, gamma=None, beta=None, mask=None, /, *, axes, epsilon=1e-3):
    return _normalize_ended(xp, (), x, gamma, beta, axes=axes, epsilon=epsilon)


def _normalize_ended(
    xp, steps, x, gamma=None, beta=None, mask=None, moments=None, *, axes, epsilon=1e-3
):
    """Do what `normalize` does, and then steps; see `joining.begins`.

    Args:
        moments: array [parts, 3, channels] of what a convolution learned of its result, or None.
    """
    x = xp.ascontiguousarray(x)
    dtype, axes = x.dtype, axes_of(axes, x.ndim)
    of_rows = axes == (x.ndim - 1,)
    matrix = rows, columns = math.prod(x.shape[:-1]), x.shape[-1]
    gamma, beta = (None if p is None else xp.ascontiguousarray(p) for p in (gamma, beta))
    kept = reduced(x.shape, axis=axes, keepdims=True)
    y = xp.empty(x.shape, dtype)
    mean, variance = (xp.empty(kept, dtype) for _ in range(2))
    small = dtype.type(epsilon)
    if of_rows:
        launch_rows("normalize_rows", *matrix, [x, gamma, beta, y, mean, variance, small], dtype)
        y = done(xp, steps, y)
    else:
        _moments(xp, x, matrix, mean, variance, moments)
        ending = Ending(beta, steps=in_one_piece(xp, steps), like=x)
        args = [x, mean, variance, gamma, *ending.arguments, y, small, columns]
        text = ending.text + source("columns")
        launch_elementwise(text, "normalize_columns", x.size, args, dtype)
        y = done(xp, ending.rest, y)
    return (y, mean, variance), (x, gamma, beta, mean, variance, small, of_rows, matrix)


def _hears(call):
    """Return how many values come before the moments, where a normalization can use some."""
    shape, _ = call.result
    return 4 if axes_of(call.options["axes"], len(shape)) == tuple(range(len(shape) - 1)) else None


joining.begins(
    normalize_fused.forward, _normalize_ended, saves=lambda options: joining.NOTHING, hears=_hears
)


@normalize_fused.explained
def normalize_words(xp, x, gamma=None, beta=None, mask=None, /, *, axes, epsilon=1e-3):
    if axes_of(axes, x.ndim) == (x.ndim - 1,):
        return f"one kernel each way, {words_of_rows(x)}"
    splits = max(1, min(_SPLITS, math.prod(x.shape[:-1]) // _SPLIT_ROWS))
    return f"three kernels each way: sums over {splits} parts of the rows, their sum, the values"


@normalize_fused.refused
def normalize_doubts(xp, x, gamma=None, beta=None, mask=None, /, *, axes, epsilon=1e-3):
    if mask is not None:
        return "the kernel takes no mask"
    if axes_of(axes, x.ndim) not in (tuple(range(x.ndim - 1)), (x.ndim - 1,)):
        return f"the kernel takes channels_last, not axes {axes} of {x.ndim}"
    return f"no kernel for {x.dtype.name}" if x.dtype.name not in REALS else None


@normalize_fused.backward
def normalize_fused_backward(xp, saved, gy, needs):
    x, gamma, beta, mean, variance, small, of_rows, matrix = saved
    dtype, (rows, columns) = x.dtype, matrix
    gy, gmean, gvariance = (None if g is None else xp.ascontiguousarray(g) for g in gy)
    if gy is None:
        gy = xp.zeros(x.shape, dtype)
    weights = [p is not None and need for p, need in zip((gamma, beta), needs[1:])]
    gx = xp.empty(x.shape, dtype) if needs[0] else None
    sums = None
    if any(weights) or not of_rows:
        sums = xp.empty((2, columns), dtype)
        inputs, numbers = [gy, x, mean, variance], [small, int(of_rows)]
        partial = _partial(xp, "gradient_sums", matrix, inputs, numbers, 2)
        args = [partial, sums, len(partial)]
        launch_elementwise(source("columns"), "gradient_sums_merged", columns, args, dtype)
    if gx is not None and of_rows:
        args = [gy, x, gamma, mean, variance, gmean, gvariance, gx, small]
        launch_rows("normalize_rows_backward", rows, columns, args, dtype)
    elif gx is not None:
        args = [gy, x, mean, variance, gamma, gmean, gvariance, sums, gx, small, rows, columns]
        launch_elementwise(source("columns"), "normalize_columns_backward", x.size, args, dtype)
    gweights = [sums[i] if wanted else None for wanted, i in zip(weights, (1, 0))]
    return (gx, *gweights, None)[: len(needs)]
