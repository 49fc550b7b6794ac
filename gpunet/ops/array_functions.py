"""NumPy's functions called on tensors: ops where a gradient or a graph is at stake.

``np.concatenate([x, y])`` of tensors that a tape watches, or of symbolic ones, is the op of that
name; of others it is an array, as NumPy users expect.
"""

import inspect

import numpy as np

from gpunet.autodiff import recording
from gpunet.nest import flatten, map_nest
from gpunet.ops import elementwise, index, linalg, logic, reduce, shape
from gpunet.ops.einsum import einsum
from gpunet.tensor import Operators, Symbolic, Tensor, convert_to_tensor

__all__ = []


def _reduction(op):
    def call(a, axis=None, dtype=None, keepdims=False):
        return op(a if dtype is None else a.astype(dtype), axis=axis, keepdims=keepdims)

    return call


def _spread(op):
    def call(a, axis=None, ddof=0, keepdims=False):
        if ddof:
            raise TypeError(f"np.{op.name} of a tensor: ddof isn't supported")
        return op(a, axis=axis, keepdims=keepdims)

    return call


def _place(op):
    def call(a, axis=None):
        return op(shape.flatten(a), axis=0) if axis is None else op(a, axis=axis)

    return call


def _concatenate(arrays, axis=0):
    if axis is None:
        arrays, axis = [shape.flatten(a) for a in arrays], 0
    return shape.concat(*arrays, axis=axis)


def _clip(a, a_min=None, a_max=None, min=None, max=None):
    return logic.clip(
        a, min_value=min if a_min is None else a_min, max_value=max if a_max is None else a_max
    )


def _dot(a, b):
    a, b = convert_to_tensor(a), convert_to_tensor(b)
    if not a.shape or not b.shape:
        return elementwise.multiply(a, b)
    if len(b.shape) == 1:
        return linalg.tensordot(a, b, axes=1)
    return linalg.tensordot(a, b, axes=((len(a.shape) - 1,), (len(b.shape) - 2,)))


def _einsum(subscripts, *operands):
    return einsum(*operands, equation=subscripts)


def _pad(array, pad_width, mode="constant", constant_values=0.0):
    if mode != "constant":
        raise TypeError(f"np.pad of a tensor: expected mode 'constant', got {mode!r}")
    rank = len(array.shape)
    widths = np.broadcast_to(np.asarray(pad_width), (rank, 2)).tolist()
    return shape.pad(array, paddings=[tuple(w) for w in widths], constant_values=constant_values)


def _split(ary, indices_or_sections, axis=0):
    if not isinstance(indices_or_sections, int):
        raise TypeError("np.split of a tensor: expected a number of equal parts")
    return list(shape.split(ary, parts=indices_or_sections, axis=axis))


def _flip(m, axis=None):
    axes = range(len(m.shape)) if axis is None else [axis] if isinstance(axis, int) else axis
    return shape.reverse(m, axes=tuple(axes))


def _reshape(a, shape_=None, newshape=None, **options):
    sizes = options.get("shape", shape_ if newshape is None else newshape)
    return shape.reshape(a, shape=(sizes,) if isinstance(sizes, int) else tuple(sizes))


def _take(a, indices, axis=None):
    if axis is None:
        a, axis = shape.flatten(a), 0
    axis %= len(a.shape)
    return index.gather(a, indices) if axis == 0 else a[(slice(None),) * axis + (indices,)]


_FUNCTIONS = {
    np.concatenate: _concatenate,
    np.stack: lambda arrays, axis=0: shape.pack(*arrays, axis=axis),
    np.sum: _reduction(reduce.sum),
    np.mean: _reduction(reduce.mean),
    np.max: _reduction(reduce.max),
    np.min: _reduction(reduce.min),
    np.prod: _reduction(reduce.prod),
    np.any: _reduction(reduce.any),
    np.all: _reduction(reduce.all),
    np.std: _spread(reduce.std),
    np.var: _spread(reduce.var),
    np.argmax: _place(reduce.argmax),
    np.argmin: _place(reduce.argmin),
    np.cumsum: _place(reduce.cumsum),
    np.cumprod: _place(reduce.cumprod),
    np.clip: _clip,
    np.round: lambda a: elementwise.round(a),
    np.where: lambda condition, x, y: logic.where(condition, x, y),
    np.dot: _dot,
    np.tensordot: lambda a, b, axes=2: linalg.tensordot(a, b, axes=axes),
    np.einsum: _einsum,
    np.reshape: _reshape,
    np.ravel: lambda a: shape.flatten(a),
    np.transpose: lambda a, axes=None: shape.transpose(a, perm=axes),
    np.squeeze: lambda a, axis=None: shape.squeeze(a, axis=axis),
    np.expand_dims: lambda a, axis: shape.expand_dims(a, axis=axis),
    np.broadcast_to: lambda array, sizes: shape.broadcast_to(array, shape=tuple(sizes)),
    np.pad: _pad,
    np.split: _split,
    np.flip: _flip,
    np.take: _take,
    np.zeros_like: lambda a, dtype=None: shape.zeros_like(a, dtype=dtype),
    np.ones_like: lambda a, dtype=None: shape.ones_like(a, dtype=dtype),
    np.shape: lambda a: a.shape,
    np.ndim: lambda a: len(a.shape),
}
# What has a method of this name on tensors gives tensors everywhere.
_ALWAYS = {np.sum, np.mean, np.max, np.min, np.transpose, np.shape, np.ndim}


def _array_function(self, func, types, args, kwargs):
    """Run a NumPy function on tensors: as ops where it matters and can be, else on host values."""
    parts = [p for p in flatten([args, kwargs]) if isinstance(p, Operators)]
    symbolic = [p for p in parts if isinstance(p, Symbolic)]
    call = _FUNCTIONS.get(func)
    watched = recording() and any(p.tracked for p in parts if isinstance(p, Tensor))
    if call is not None and (symbolic or watched or func in _ALWAYS):
        try:
            inspect.signature(call).bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"np.{func.__name__} of a tensor: {error}") from None
        return call(*args, **kwargs)
    if symbolic:
        raise TypeError(
            f"np.{func.__name__}: {symbolic[0]!r} is symbolic: it has a shape and no values. Use "
            "the functions of gpunet.backend in place of NumPy's."
        )
    args, kwargs = map_nest(_host, [args, kwargs])
    return func(*args, **kwargs)


def _host(value):
    return np.asarray(value) if isinstance(value, Tensor) else value


Operators.__array_function__ = _array_function
