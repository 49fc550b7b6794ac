"""Softmax and its logarithm, and the logarithm of a sum of exponentials."""

import numpy as np

from gpunet.autodiff import differentiable
from gpunet.ops.elementwise import as_float
from gpunet.ops.infer import axes_of, reduced, same
from gpunet.ops.reduce import spread

__all__ = ["softmax", "log_softmax", "softmax_and_log", "logsumexp", "l2_normalize"]

# Rows up to this length NumPy reduces faster side by side than one by one.
_SHORT = 32


@differentiable(infer=same)
def softmax(xp, x, /, axis=-1):
    """Return ``exp(x)`` scaled to a sum of 1 along an axis.

    Args:
        x: tensor, any shape with at least one axis.
        axis: int.

    Returns:
        Tensor of the shape of ``x``.
    """
    y = softmax_of(xp, as_float(x), axis)
    return y, (y, axis)


@softmax.backward
def softmax_backward(xp, saved, gy, needs):
    y, axis = saved
    gx = gy * y
    return (gx - y * gx.sum(axis=axis, keepdims=True),)


def _top(xp, x, axis):
    """Return the largest elements along an axis, which stays with size 1."""
    if xp is np and x.ndim > 1 and axis in (-1, x.ndim - 1) and 0 < x.shape[-1] < _SHORT:
        rows = np.ascontiguousarray(x.reshape(-1, x.shape[-1]).T)
        return rows.max(axis=0).reshape(*x.shape[:-1], 1)
    return x.max(axis=axis, keepdims=True)


def softmax_of(xp, x, axis):
    """Return the softmax of a float array."""
    e = xp.exp(x - _top(xp, x, axis))
    return e / e.sum(axis=axis, keepdims=True)


@differentiable(infer=same)
def log_softmax(xp, x, /, axis=-1):
    """Return the logarithm of `softmax`, exact for tiny shares too."""
    y = log_softmax_of(xp, as_float(x), axis)
    return y, (y, axis)


@log_softmax.backward
def log_softmax_backward(xp, saved, gy, needs):
    y, axis = saved
    return (gy - xp.exp(y) * gy.sum(axis=axis, keepdims=True),)


def log_softmax_of(xp, x, axis):
    """Return the logarithm of the softmax of a float array."""
    x = x - _top(xp, x, axis)
    return x - xp.log(xp.exp(x).sum(axis=axis, keepdims=True))


def _twice(shape, *_, **__):
    return [tuple(shape), tuple(shape)]


@differentiable(infer=_twice)
def softmax_and_log(xp, x, /, axis=-1):
    """Return `softmax` and `log_softmax`, which have most of their work in common."""
    x = as_float(x)
    below = x - _top(xp, x, axis)
    e = xp.exp(below)
    total = e.sum(axis=axis, keepdims=True)
    y = e / total
    return (y, below - xp.log(total)), (y, axis)


@softmax_and_log.backward
def softmax_and_log_backward(xp, saved, gy, needs):
    y, axis = saved
    of_y, of_log = gy
    gx = None
    if of_y is not None:
        (gx,) = softmax_backward(xp, saved, of_y, needs)
    if of_log is not None:
        also = of_log - y * of_log.sum(axis=axis, keepdims=True)
        gx = also if gx is None else gx + also
    return (gx,)


@differentiable(infer=reduced)
def logsumexp(xp, x, /, axis=None, keepdims=False):
    """Return ``log(sum(exp(x)))`` without overflow.

    Args:
        x: tensor.
        axis: int, list of ints, or None for all.
        keepdims: bool, whether reduced axes stay with size 1.
    """
    x = as_float(x)
    axis = axes_of(axis, x.ndim)
    top = x.max(axis=axis, keepdims=True)
    top = xp.where(xp.isfinite(top), top, 0.0)
    y = xp.log(xp.exp(x - top).sum(axis=axis, keepdims=True)) + top
    saved = (x, y, axis)
    return y if keepdims else y.reshape(reduced(x.shape, axis=axis)), saved


@logsumexp.backward
def logsumexp_backward(xp, saved, gy, needs):
    x, y, axis = saved
    return (spread(xp, gy, x.shape, axis) * xp.exp(x - y),)


@differentiable(infer=same)
def l2_normalize(xp, x, /, axis=None):
    """Return ``x`` divided by its Euclidean length along some axes.

    Args:
        x: tensor.
        axis: int, list of ints, or None for all; a squared length below 1e-12 counts as that.
    """
    x = as_float(x)
    axis = axes_of(axis, x.ndim)
    square = (x * x).sum(axis=axis, keepdims=True)
    scale = 1 / xp.sqrt(xp.maximum(square, 1e-12))
    return x * scale, (x, square, scale, axis)


@l2_normalize.backward
def l2_normalize_backward(xp, saved, gy, needs):
    x, square, scale, axis = saved
    along = (gy * x).sum(axis=axis, keepdims=True) * (scale * scale)
    return (scale * (gy - x * xp.where(square >= 1e-12, along, 0.0)),)
