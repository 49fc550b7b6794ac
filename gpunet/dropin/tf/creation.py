"""New tensors and variables, and tensors of another shape."""

import numpy as np

from gpunet import backend as K
from gpunet import context, ops, variables
from gpunet.arrays import current_device
from gpunet.backend.creation import _filled
from gpunet.dropin.defaults import SameInstances
from gpunet.dropin.tf.arguments import axes, dtype_name, tensor
from gpunet.graph import SymbolicTensor
from gpunet.tensor import Operators, Tensor, convert_to_tensor

__all__ = [
    "Variable",
    "boolean_mask",
    "broadcast_to",
    "clip_by_norm",
    "clip_by_value",
    "concat",
    "constant",
    "convert_to_tensor",
    "expand_dims",
    "fill",
    "gather",
    "identity",
    "linspace",
    "one_hot",
    "ones",
    "ones_like",
    "pad",
    "range",
    "rank",
    "repeat",
    "reshape",
    "reverse",
    "sequence_mask",
    "shape",
    "size",
    "slice",
    "split",
    "squeeze",
    "stack",
    "stop_gradient",
    "tile",
    "transpose",
    "unstack",
    "where",
    "zeros",
    "zeros_like",
]


class Variable(variables.Variable, metaclass=SameInstances):
    """A tensor whose values change in place.

    Args:
        initial_value: array-like, or function without arguments.
        trainable: bool.
        validate_shape, caching_device: accepted.
        name: str.
        variable_def, import_scope: accepted.
        dtype: dtype or name.
        shape: tuple, for checking.
    """

    _stands_for = variables.Variable

    def __init__(self, initial_value=None, trainable=True, validate_shape=True,
                 caching_device=None, name=None, variable_def=None, dtype=None,
                 import_scope=None, constraint=None, shape=None, **_):  # fmt: skip
        value = initial_value() if callable(initial_value) else initial_value
        value = tensor(value, dtype)
        super().__init__(
            value,
            name=name or context.unique_name("Variable"),
            trainable=trainable is not False,
            constraint=constraint,
        )


def constant(value, dtype=None, shape=None, name=None):
    """Return a tensor of given values, repeated to fill a shape."""
    x = tensor(value, dtype)
    if shape is None:
        return x
    shape = tuple(shape)
    return x.reshape(shape) if x.size == np.prod(shape, dtype=int) else broadcast_to(x, shape)


def _sizes(shape):
    return tuple(shape) if isinstance(shape, (list, tuple)) else (shape,)


def zeros(shape, dtype=None, name=None):
    """Return zeros."""
    return _filled(0, _sizes(shape), dtype_name(dtype))


def ones(shape, dtype=None, name=None):
    """Return ones."""
    return _filled(1, _sizes(shape), dtype_name(dtype))


def fill(dims, value, name=None):
    """Return a tensor with one value everywhere."""
    x = tensor(value)
    return x * ones(dims, x.dtype)


def zeros_like(input, dtype=None, name=None):
    """Return zeros in the shape of a tensor."""
    return ops.zeros_like(tensor(input), dtype=None if dtype is None else dtype_name(dtype))


def ones_like(input, dtype=None, name=None):
    """Return ones in the shape of a tensor."""
    return ops.ones_like(tensor(input), dtype=None if dtype is None else dtype_name(dtype))


def linspace(start, stop, num, name=None):
    """Return evenly spaced numbers, both ends among them."""
    return tensor(np.linspace(float(start), float(stop), int(num), dtype="float32"))


def range(start, limit=None, delta=1, dtype=None, name=None):
    """Return evenly spaced numbers, without the end."""
    numbers = (start, delta) if limit is None else (start, limit, delta)
    if dtype is None:
        dtype = "float32" if any(isinstance(n, float) for n in numbers) else "int32"
    dtype = dtype_name(dtype)
    if any(isinstance(n, SymbolicTensor) for n in numbers):
        return K.arange(start, limit, delta, dtype)
    bounds = (0, start) if limit is None else (start, limit)
    bounds = [n.item() if hasattr(n, "item") else n for n in (*bounds, delta)]
    return Tensor(current_device().xp.arange(*bounds, dtype=dtype))


def one_hot(indices, depth, on_value=1, off_value=0, axis=-1, dtype=None, name=None):
    """Return a new last axis with a 1 in the place that each index names."""
    if axis not in (-1, None):
        raise NotImplementedError(
            f"tf.one_hot: axis {axis} isn't part of what gpunet gives scripts"
        )
    y = K.one_hot(tensor(indices), depth)
    if (on_value, off_value) not in ((1, 0), (None, None)):
        y = y * (on_value - off_value) + off_value
    return y if dtype is None or y.dtype == dtype else ops.cast(y, dtype_name(dtype))


def sequence_mask(lengths, maxlen=None, dtype="bool", name=None):
    """Return which steps of sequences lie before their ends."""
    lengths = tensor(lengths)
    maxlen = int(ops.max(lengths)) if maxlen is None else maxlen
    mask = ops.less(range(maxlen), ops.expand_dims(ops.cast(lengths, "int32"), -1))
    return ops.cast(mask, dtype_name(dtype))


# -- shapes -------------------------------------------------------------------------------


def shape(input, out_type=None, name=None):
    """Return the sizes of a tensor; see `gpunet.backend.shape`."""
    return K.shape(tensor(input))


def size(input, out_type=None, name=None):
    """Return the number of elements."""
    return K.size(tensor(input))


def rank(input, name=None):
    """Return the number of axes."""
    return len(tensor(input).shape)


def reshape(tensor, shape, name=None):
    """Return a tensor in another shape."""
    return K.reshape(_tensor(tensor), _sizes(shape))


_tensor = tensor  # some functions have an argument of that name


def transpose(a, perm=None, conjugate=False, name=None):
    """Return a tensor with its axes in another order."""
    a = tensor(a)
    order = tuple(reversed(np.arange(len(a.shape)))) if perm is None else perm
    return ops.permute_dimensions(a, tuple(int(i) for i in order))


def expand_dims(input, axis, name=None):
    """Return a tensor with a new axis of size 1."""
    return ops.expand_dims(tensor(input), int(axis))


def squeeze(input, axis=None, name=None):
    """Return a tensor without axes of size 1: those given, or all."""
    x = tensor(input)
    chosen = axes(axis)
    if chosen is None or chosen == ():
        chosen = tuple(i for i, n in enumerate(x.shape) if n == 1)
    for i in sorted({a % len(x.shape) for a in np.atleast_1d(chosen)}, reverse=True):
        x = ops.squeeze(x, axis=int(i))
    return x


def concat(values, axis, name=None):
    """Return tensors joined along an axis."""
    return ops.concatenate([tensor(v) for v in values], axis=int(axis))


def stack(values, axis=0, name=None):
    """Return tensors side by side along a new axis."""
    return ops.stack([tensor(v) for v in values], axis=axis)


def unstack(value, num=None, axis=0, name=None):
    """Return the list of the parts of a tensor along an axis."""
    return list(ops.unstack(tensor(value), axis=axis))


def split(value, num_or_size_splits, axis=0, num=None, name=None):
    """Return parts of a tensor along an axis: a number of equal ones, or of given sizes."""
    x, parts = tensor(value), num_or_size_splits
    if isinstance(parts, (int, np.integer)):
        return list(ops.split(x, int(parts), axis=axis))
    axis = axis % len(x.shape)
    ends = np.cumsum(parts)
    before = (np.s_[:],) * axis
    return [x[(*before, np.s_[int(e - n) : int(e)])] for n, e in zip(parts, ends)]


def slice(input_, begin, size, name=None):
    """Return a block of a tensor; a size of -1 takes what is left."""
    return K.slice(tensor(input_), list(begin), list(size))


def tile(input, multiples, name=None):
    """Return a tensor repeated as a whole along its axes."""
    return K.tile(tensor(input), list(multiples))


def repeat(input, repeats, axis=None, name=None):
    """Return a tensor with each element along an axis repeated."""
    x = tensor(input)
    x, axis = (ops.reshape(x, (-1,)), 0) if axis is None else (x, axis)
    return ops.repeat_elements(x, int(repeats), axis)


def pad(tensor, paddings, mode="CONSTANT", constant_values=0, name=None):
    """Return a tensor with a border of one value."""
    if mode.upper() != "CONSTANT":
        raise NotImplementedError(f"tf.pad: mode {mode!r} isn't part of what gpunet gives scripts")
    pairs = tuple(tuple(int(n) for n in p) for p in paddings)
    return ops.pad(_tensor(tensor), paddings=pairs, constant_values=constant_values)


def reverse(tensor, axis, name=None):
    """Return a tensor turned round along axes."""
    return ops.reverse(_tensor(tensor), axes(axis))


def broadcast_to(input, shape, name=None):
    """Return a tensor repeated to fill a shape."""
    return ops.broadcast_to(tensor(input), shape=tuple(shape))


def gather(params, indices, axis=0, batch_dims=0, name=None):
    """Return the parts of a tensor that indices along an axis name."""
    x, indices = tensor(params), tensor(indices)
    if batch_dims:
        raise NotImplementedError("tf.gather: batch_dims isn't part of what gpunet gives scripts")
    axis = (axis or 0) % len(x.shape)
    if axis == 0:
        return ops.gather(x, indices)
    order = [axis, *(i for i in np.arange(len(x.shape)) if i != axis)]
    y = ops.gather(transpose(x, order), indices)
    k = len(indices.shape)  # (*indices, *others) -> indices where the axis was
    rest = [*np.arange(k, k + axis), *np.arange(k), *np.arange(k + axis, len(y.shape))]
    return transpose(y, rest)


def boolean_mask(tensor, mask, axis=None, name=None):
    """Return the elements where a mask is true; this looks at its values."""
    places = np.nonzero(np.asarray(_tensor(mask)))
    return _tensor(tensor)[tuple(places)]


def where(condition, x=None, y=None, name=None):
    """Return elements of ``x`` where a condition holds and of ``y`` elsewhere.

    Without them, the places where it holds, which looks at its values.
    """
    condition = tensor(condition)
    if x is None and y is None:
        return tensor(np.argwhere(np.asarray(condition)))
    return ops.where(condition, *(v if isinstance(v, Operators) else tensor(v) for v in (x, y)))


def identity(input, name=None):
    """Return a tensor like the one given."""
    return ops.identity(tensor(input))


def stop_gradient(input, name=None):
    """Return a tensor that counts as constant for gradients."""
    return ops.stop_gradient(tensor(input))


def clip_by_value(t, clip_value_min, clip_value_max, name=None):
    """Return elements moved into an interval."""
    if isinstance(clip_value_min, (int, float)) and isinstance(clip_value_max, (int, float)):
        return ops.clip(tensor(t), clip_value_min, clip_value_max)
    return ops.minimum(ops.maximum(tensor(t), clip_value_min), clip_value_max)


def clip_by_norm(t, clip_norm, axes=None, name=None):
    """Return a tensor whose length along axes is at most a number."""
    t = tensor(t)
    length = ops.sqrt(ops.sum(ops.square(t), axis=axes, keepdims=True))
    return t * (clip_norm / ops.maximum(length, clip_norm))
