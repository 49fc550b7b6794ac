"""Fused ops along the last axis: softmax and its logarithm, cross-entropies of logits."""

import math

from gpunet.fused.launch import REALS, launch
from gpunet.fused.sources import source
from gpunet.ops import loss, norm
from gpunet.ops.infer import axis_of

__all__ = ["launch_rows", "words_of_rows"]

_THREADS = 256
_WARP_COLUMNS = 1024  # up to so many columns a warp does a row
_BLOCKS = 4096


def launch_rows(name, rows, columns, args, dtype, *more):
    """Run a kernel of ``rows.cu``.

    Args:
        name: str, the kernel.
        rows, columns: ints, which the kernel takes behind ``args``, before ``more``.
        args: list of arrays and scalars.
        dtype: numpy.dtype of the float arrays.
        *more: ints.
    """
    if not rows * columns:
        return
    row_threads = 32 if columns <= _WARP_COLUMNS else _THREADS
    blocks = min(-(-rows * row_threads // _THREADS), _BLOCKS)
    defines = {"REAL": REALS[dtype.name], "THREADS": _THREADS, "ROW_THREADS": row_threads}
    args = [*args, rows, columns, *more]
    launch(source("rows"), name, (blocks,), (_THREADS,), args, defines)


def words_of_rows(x):
    """Return in words how rows are shared out."""
    return "a warp a row" if x.shape[-1] <= _WARP_COLUMNS else f"{_THREADS} threads a row"


def _sizes(x):
    """Return the rows and columns of an array as a matrix of its last axis."""
    return math.prod(x.shape[:-1]), x.shape[-1]


def _fits(xp, x, axis):
    return (
        xp.__name__ == "cupy"
        and x.dtype.name in REALS
        and x.ndim > 0
        and axis_of(axis, x.ndim) == x.ndim - 1
        and x.shape[-1] > 0
    )


# -- softmax ------------------------------------------------------------------------------


def _add_softmax(op, logarithm):
    @op.fused(when=lambda xp, x, axis=-1: _fits(xp, x, axis))
    def forward(xp, x, axis=-1):
        y = xp.empty(x.shape, x.dtype)
        args = [xp.ascontiguousarray(x), y]
        launch_rows("softmax_forward", *_sizes(x), args, x.dtype, logarithm)
        return y, (y,)

    @forward.explained
    def words(xp, x, axis=-1):
        return f"one kernel each way, {words_of_rows(x)}"

    @forward.backward
    def backward(xp, saved, gy, needs):
        (y,) = saved
        gx = xp.empty(y.shape, y.dtype)
        args = [y, xp.ascontiguousarray(gy), gx]
        launch_rows("softmax_backward", *_sizes(y), args, y.dtype, logarithm)
        return (gx,)


_add_softmax(norm.softmax, 0)
_add_softmax(norm.log_softmax, 1)


# -- cross-entropies ----------------------------------------------------------------------


def _sparse_fits(xp, target, x, logs=None, from_logits=False, axis=-1, ignore_class=None):
    return from_logits and _fits(xp, x, axis) and math.prod(target.shape) == math.prod(x.shape[:-1])


@loss.sparse_categorical_crossentropy.fused(when=_sparse_fits)
def sparse_fused(xp, target, x, logs=None, from_logits=False, axis=-1, ignore_class=None):
    target = xp.ascontiguousarray(target.astype("int64")).reshape(x.shape[:-1])
    x = xp.ascontiguousarray(x)
    y, level = (xp.empty(x.shape[:-1], x.dtype) for _ in range(2))
    ignored = (0, 0) if ignore_class is None else (ignore_class, 1)
    launch_rows("sparse_forward", *_sizes(x), [target, x, y, level], x.dtype, *ignored)
    return y, (target, x, level, ignored)


@sparse_fused.explained
def sparse_words(xp, target, x, **_):
    return f"softmax, loss and gradient in one kernel each way, {words_of_rows(x)}"


@sparse_fused.backward
def sparse_fused_backward(xp, saved, gy, needs):
    target, x, level, ignored = saved
    gx = xp.empty(x.shape, x.dtype)
    args = [target, x, level, xp.ascontiguousarray(gy), gx]
    launch_rows("sparse_backward", *_sizes(x), args, x.dtype, *ignored)
    return None, gx


def _categorical_fits(xp, target, x, logs=None, from_logits=False, axis=-1):
    return from_logits and _fits(xp, x, axis) and target.shape == x.shape


@loss.categorical_crossentropy.fused(when=_categorical_fits)
def categorical_fused(xp, target, x, logs=None, from_logits=False, axis=-1):
    target, x = xp.ascontiguousarray(target.astype(x.dtype)), xp.ascontiguousarray(x)
    y, level = (xp.empty(x.shape[:-1], x.dtype) for _ in range(2))
    launch_rows("categorical_forward", *_sizes(x), [target, x, y, level], x.dtype)
    return y, (target, x, level)


@categorical_fused.explained
def categorical_words(xp, target, x, **_):
    return f"softmax, loss and gradient in one kernel each way, {words_of_rows(x)}"


@categorical_fused.backward
def categorical_fused_backward(xp, saved, gy, needs):
    target, x, level = saved
    gtarget, gx = (xp.empty(x.shape, x.dtype) if need else None for need in needs[:2])
    args = [target, x, level, xp.ascontiguousarray(gy), gx, gtarget]
    launch_rows("categorical_backward", *_sizes(x), args, x.dtype)
    return gtarget, gx
