"""Reductions over axes, and running sums and products."""

import math

import numpy as np

from gpunet.autodiff import differentiable
from gpunet.ops.elementwise import as_float
from gpunet.ops.infer import axes_of, axis_of, reduced, same

__all__ = [
    "sum",
    "mean",
    "max",
    "min",
    "prod",
    "var",
    "std",
    "any",
    "all",
    "argmax",
    "argmin",
    "cumsum",
    "cumprod",
]

# Elements up to which NumPy writes values faster than it makes a view that repeats them.
_SMALL = 4096


def spread(xp, gy, shape, axis):
    """Return the gradient of a sum: that of each total, for every element in it.

    Args:
        xp: array module.
        gy: array, with or without the reduced axes.
        shape: tuple, shape before the sum.
        axis: tuple of ints >= 0.
    """
    shape = tuple(shape)
    if len(axis) < len(shape) or xp is not np:
        gy = gy.reshape(tuple([1 if i in axis else n for i, n in enumerate(shape)]))
    if xp is np and gy.size <= _SMALL and math.prod(shape) <= _SMALL:
        y = np.empty(shape, gy.dtype)  # a third of the time that a view takes
        y[...] = gy
        return y
    return xp.broadcast_to(gy, shape)


def _count(shape, axis):
    n = 1
    for a in axis:
        n *= int(shape[a])
    return n


@differentiable(infer=reduced)
def sum(xp, x, /, axis=None, keepdims=False):
    """Return the sum over some axes.

    Args:
        x: tensor; the result has its dtype, int32 for booleans.
        axis: int, list of ints, or None for all.
        keepdims: bool, whether reduced axes stay with size 1.
    """
    axis = axes_of(axis, x.ndim)
    y = x.sum(axis=axis, keepdims=keepdims)
    return _whole(y, x), (x.shape, axis)


@sum.backward
def sum_backward(xp, saved, gy, needs):
    shape, axis = saved
    return (spread(xp, gy, shape, axis),)


def _whole(y, x):
    """Undo NumPy's widening of integers."""
    if x.dtype.kind == "f":
        return y
    return y.astype("int32" if x.dtype.kind == "b" else x.dtype)


@differentiable(infer=reduced)
def mean(xp, x, /, axis=None, keepdims=False):
    """Return the mean over some axes; see `sum` for the arguments."""
    x = as_float(x)
    axis = axes_of(axis, x.ndim)
    if x.dtype.itemsize < 4:
        y = x.mean(axis=axis, keepdims=keepdims)  # sums in float32
    else:
        y = x.sum(axis=axis, keepdims=keepdims) / _count(x.shape, axis)
    return y, (x.shape, axis)


@mean.backward
def mean_backward(xp, saved, gy, needs):
    shape, axis = saved
    return (spread(xp, gy / _count(shape, axis), shape, axis),)


@differentiable(infer=reduced)
def max(xp, x, /, axis=None, keepdims=False):
    """Return the largest element over some axes; equal ones share the gradient."""
    axis = axes_of(axis, x.ndim)
    y = x.max(axis=axis, keepdims=keepdims)
    return y, (x, y, axis)


@max.backward
def max_backward(xp, saved, gy, needs):
    return (_shared(xp, *saved, gy),)


@differentiable(infer=reduced)
def min(xp, x, /, axis=None, keepdims=False):
    """Return the smallest element over some axes; equal ones share the gradient."""
    axis = axes_of(axis, x.ndim)
    y = x.min(axis=axis, keepdims=keepdims)
    return y, (x, y, axis)


@min.backward
def min_backward(xp, saved, gy, needs):
    return (_shared(xp, *saved, gy),)


def _shared(xp, x, y, axis, gy):
    hit = xp.equal(x, spread(xp, y, x.shape, axis)).astype(gy.dtype)
    count = hit.sum(axis=axis, keepdims=True)
    return hit * spread(xp, gy.reshape(count.shape) / count, x.shape, axis)


@differentiable(infer=reduced)
def prod(xp, x, /, axis=None, keepdims=False):
    """Return the product over some axes; see `sum` for the arguments."""
    axis = axes_of(axis, x.ndim)
    return _whole(xp.prod(x, axis=axis, keepdims=keepdims), x), (x, axis)


@prod.backward
def prod_backward(xp, saved, gy, needs):
    # The product of all others, without a division: of those before times of those behind.
    x, axis = saved
    kept = [i for i in range(x.ndim) if i not in axis]
    order = (*kept, *axis)
    flat = xp.transpose(x, order)
    moved = flat.shape
    flat = flat.reshape((*moved[: len(kept)], _count(x.shape, axis)))
    one = xp.ones_like(flat[..., :1])
    before = xp.cumprod(xp.concatenate([one, flat[..., :-1]], axis=-1), axis=-1)
    behind = xp.cumprod(xp.concatenate([one, flat[..., :0:-1]], axis=-1), axis=-1)[..., ::-1]
    others = (before * behind).reshape(tuple(moved))
    back = [order.index(i) for i in range(x.ndim)]
    return (spread(xp, gy, x.shape, axis) * xp.transpose(others, back),)


@differentiable(infer=reduced)
def var(xp, x, /, axis=None, keepdims=False):
    """Return the mean squared distance from the mean over some axes."""
    x = as_float(x)
    axis = axes_of(axis, x.ndim)
    centred = x - x.mean(axis=axis, keepdims=True)
    return (centred * centred).mean(axis=axis, keepdims=keepdims), (centred, axis)


@var.backward
def var_backward(xp, saved, gy, needs):
    centred, axis = saved
    scaled = gy * (2 / _count(centred.shape, axis))
    return (spread(xp, scaled, centred.shape, axis) * centred,)


@differentiable(infer=reduced)
def std(xp, x, /, axis=None, keepdims=False):
    """Return the standard deviation over some axes; where it is 0, so is its gradient."""
    x = as_float(x)
    axis = axes_of(axis, x.ndim)
    centred = x - x.mean(axis=axis, keepdims=True)
    y = xp.sqrt((centred * centred).mean(axis=axis, keepdims=keepdims))
    return y, (centred, y, axis)


@std.backward
def std_backward(xp, saved, gy, needs):
    centred, y, axis = saved
    scale = xp.where(y > 0, gy / xp.where(y > 0, y, 1.0), 0.0) / _count(centred.shape, axis)
    return (spread(xp, scale, centred.shape, axis) * centred,)


@differentiable(infer=reduced)
def any(xp, x, /, axis=None, keepdims=False):
    """Return whether some element over the axes is true (not 0)."""
    return xp.any(x, axis=axes_of(axis, x.ndim), keepdims=keepdims), None


@differentiable(infer=reduced)
def all(xp, x, /, axis=None, keepdims=False):
    """Return whether every element over the axes is true (not 0)."""
    return xp.all(x, axis=axes_of(axis, x.ndim), keepdims=keepdims), None


def _without_axis(shape, *, axis=-1):
    return reduced(shape, axis=axis)


@differentiable(infer=_without_axis)
def argmax(xp, x, /, axis=-1):
    """Return the index of the largest element along an axis, the first one of equals."""
    return xp.argmax(x, axis=axis), None


@differentiable(infer=_without_axis)
def argmin(xp, x, /, axis=-1):
    """Return the index of the smallest element along an axis, the first one of equals."""
    return xp.argmin(x, axis=axis), None


@differentiable(infer=same)
def cumsum(xp, x, /, axis=0):
    """Return the running sum along an axis."""
    axis = axis_of(axis, x.ndim)
    return _whole(xp.cumsum(x, axis=axis), x), (axis,)


@cumsum.backward
def cumsum_backward(xp, saved, gy, needs):
    (axis,) = saved
    return (_cumsum_from_end(xp, gy, axis),)


def _cumsum_from_end(xp, x, axis):
    return xp.flip(xp.cumsum(xp.flip(x, axis), axis=axis), axis)


@differentiable(infer=same)
def cumprod(xp, x, /, axis=0):
    """Return the running product along an axis; elements that are 0 get no gradient."""
    axis = axis_of(axis, x.ndim)
    y = _whole(xp.cumprod(x, axis=axis), x)
    return y, (x, y, axis)


@cumprod.backward
def cumprod_backward(xp, saved, gy, needs):
    x, y, axis = saved
    zero = xp.equal(x, 0)
    gx = _cumsum_from_end(xp, gy * y, axis) / xp.where(zero, 1.0, x)
    return (xp.where(zero, 0.0, gx),)
