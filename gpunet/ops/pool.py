"""Pooling: the largest, or the mean, of the elements in windows, for any number of spatial axes.

Windows are boxes, so both are done along one axis after another: the last axis first, and each
cell of a window along that axis is one strided slice.
"""

import math

import numpy as np

from gpunet import joining
from gpunet.autodiff import differentiable, taped
from gpunet.errors import ShapeError
from gpunet.ops import pool_cpu
from gpunet.ops.elementwise import as_float
from gpunet.ops.index import put_slice
from gpunet.ops.window import window

__all__ = ["max_pool", "average_pool", "geometry"]


def geometry(shape, pool_size, strides=None, padding="valid", data_format="channels_last"):
    """Return (Window, first spatial axis) for a tensor's shape."""
    if len(shape) < 3:
        raise ShapeError(
            f"pooling: expected a batch axis, spatial axes and channels, got shape {tuple(shape)}"
        )
    if data_format not in ("channels_last", "channels_first"):
        raise ValueError(
            f"pooling: expected data_format 'channels_last' or 'channels_first', "
            f"got {data_format!r}"
        )
    first = 1 if data_format == "channels_last" else 2
    size = tuple(shape[first : first + len(shape) - 2])
    return window(size, pool_size, pool_size if strides is None else strides, padding), first


def _pooled_shape(x, pool_size, strides=None, padding="valid", data_format="channels_last"):
    w, first = geometry(x, pool_size, strides, padding, data_format)
    return (*x[:first], *w.out, *x[first + w.rank :])


def _stages(w, first):
    """Return pairs (axis, Window along it), in the order in which the axes are pooled."""
    return [(first + i, along) for i, along in reversed(list(enumerate(pool_cpu.per_axis(w))))]


def _at(axis, key):
    return (slice(None),) * axis + (key,)


def _padded(xp, x, axis, w, value):
    if not w.padding_needed:
        return x
    pads = [(0, 0)] * axis + [w.pads[0]] + [(0, 0)] * (len(x.shape) - axis - 1)
    return xp.pad(x, tuple(pads), constant_values=value)


def _slices(axis, w):
    """Return, for each cell of a window, the index that takes it from the padded array."""
    return [_at(axis, w.taken(cell)[0]) for cell in w.cells()]


def _placed(xp, parts, keys, shape, axis, w):
    """Return the sum of arrays put at indices of the padded array, without its border."""
    padded = (*shape[:axis], *w.padded_size, *shape[axis + 1 :])
    total = None
    for part, key in zip(parts, keys):
        if xp is taped:
            placed = put_slice(part, shape=padded, key=key)
            total = placed if total is None else total + placed
            continue
        if total is None:
            total = xp.zeros(padded, part.dtype)
        total[key] += part
    if not w.padding_needed:
        return total
    before = w.pads[0][0]
    return total[_at(axis, slice(before, before + shape[axis]))]


# -- the largest --------------------------------------------------------------------------


@differentiable(infer=_pooled_shape)
def max_pool(xp, x, /, pool_size, strides=None, padding="valid", data_format="channels_last"):
    """Return the largest element of every window.

    Args:
        x: tensor (N, *size, C), or (N, C, *size) with ``channels_first``.
        pool_size: tuple of ints, or an int for all axes.
        strides: tuple or int; ``pool_size`` by default.
        padding: ``'valid'`` (windows stay inside) or ``'same'`` (``ceil(size / stride)`` windows;
            what of them lies outside of ``x`` doesn't count).
        data_format: ``'channels_last'`` or ``'channels_first'``.

    Returns:
        Tensor of the rank and dtype of ``x``.  Of equal elements, the first of the window
        gets its gradient.
    """
    w, first = geometry(x.shape, pool_size, strides, padding, data_format)
    lowest = -np.inf if x.dtype.kind == "f" else int(np.iinfo(x.dtype).min)
    arrays = [x]
    for axis, along in _stages(w, first):
        x = _padded(xp, x, axis, along, lowest)
        y, *cells = [x[key] for key in _slices(axis, along)]
        for cell in cells:
            y = xp.maximum(y, cell)
        arrays.append(y)
        x = y
    return x, (arrays, w, first)


@max_pool.backward
def max_pool_backward(xp, saved, gy, needs):
    arrays, w, first = saved
    for i, (axis, along) in reversed(list(enumerate(_stages(w, first)))):
        x, y = arrays[i], arrays[i + 1]
        keys, padded = _slices(axis, along), _padded(xp, x, axis, along, -np.inf)
        parts = []
        for key in keys[:-1]:
            parts.append(xp.where(xp.equal(padded[key], y), gy, 0.0))
            gy = gy - parts[-1]
        gy = _placed(xp, [*parts, gy], keys, tuple(x.shape), axis, along)
    return (gy,)


def _on_numpy(xp, x, **_):
    return xp is np


@max_pool.fused(when=_on_numpy)
def max_pool_cpu(xp, x, /, pool_size, strides=None, padding="valid", data_format="channels_last"):
    w, first = geometry(x.shape, pool_size, strides, padding, data_format)
    x = np.ascontiguousarray(x)
    y = pool_cpu.pooled(np.maximum, x, w, first)
    return y, (x, y, w, first)


@max_pool_cpu.backward
def max_pool_cpu_backward(xp, saved, gy, needs):
    return _max_back_finished(xp, [], saved, gy, needs)


def _max_back_finished(xp, steps, saved, gy, needs):
    """Return the gradient after steps; see `joining.begins`."""
    return (pool_cpu.max_gradient(gy, *saved, steps),)


joining.begins(max_pool_cpu.pull, _max_back_finished)


# -- the mean -----------------------------------------------------------------------------


def _counts(xp, w, dtype):
    """Return how many elements of the input each window has: an array (*out), or a number."""
    if not w.padding_needed:
        return float(math.prod(w.kernel))
    total = None
    for along in pool_cpu.per_axis(w):
        (before, _), (k,), (s,), (n,) = along.pads[0], along.kernel, along.strides, along.size
        start = xp.arange(along.out[0], dtype=dtype) * s - before
        inside = xp.minimum(start + k, n) - xp.maximum(start, 0)
        total = inside if total is None else xp.expand_dims(total, -1) * inside
    return total


@differentiable(infer=_pooled_shape)
def average_pool(xp, x, /, pool_size, strides=None, padding="valid", data_format="channels_last"):
    """Return the mean of every window; see `max_pool` for the arguments.

    Elements outside of ``x`` aren't counted.
    """
    x = as_float(x)
    w, first = geometry(x.shape, pool_size, strides, padding, data_format)
    counts = _counts(xp, w, x.dtype)
    if w.padding_needed and first == 1:
        counts = xp.expand_dims(counts, -1)
    shapes = []
    for axis, along in _stages(w, first):
        shapes.append(tuple(x.shape))
        x = _padded(xp, x, axis, along, 0.0)
        y, *cells = [x[key] for key in _slices(axis, along)]
        for cell in cells:
            y = y + cell
        x = y
    return x / counts, (shapes, counts, w, first)


@average_pool.backward
def average_pool_backward(xp, saved, gy, needs):
    shapes, counts, w, first = saved
    gy = gy / counts
    for shape, (axis, along) in reversed(list(zip(shapes, _stages(w, first)))):
        keys = _slices(axis, along)
        gy = _placed(xp, [gy] * len(keys), keys, shape, axis, along)
    return (gy,)


@average_pool.fused(when=_on_numpy)
def average_pool_cpu(
    xp, x, /, pool_size, strides=None, padding="valid", data_format="channels_last"
):
    x = np.ascontiguousarray(as_float(x))
    w, first = geometry(x.shape, pool_size, strides, padding, data_format)
    counts = np.asarray(_counts(xp, w, x.dtype), x.dtype).reshape(
        (*w.out, 1) if w.padding_needed else (1,) * (w.rank + 1)
    )
    return pool_cpu.pooled(np.add, x, w, first, counts), (x.shape, counts, w, first)


@average_pool_cpu.backward
def average_pool_cpu_backward(xp, saved, gy, needs):
    return _average_back_finished(xp, [], saved, gy, needs)


def _average_back_finished(xp, steps, saved, gy, needs):
    """Return the gradient after steps; see `joining.begins`."""
    return (pool_cpu.sum_gradient(gy, *saved, steps),)


joining.begins(average_pool_cpu.pull, _average_back_finished)
