"""Ops that move elements around: reshape, transpose, join, split, index, pad, repeat."""

import numpy as np

from gpunet.autodiff import differentiable
from gpunet.ops import infer
from gpunet.ops.infer import axes_of, axis_of

__all__ = [
    "reshape",
    "flatten",
    "batch_flatten",
    "transpose",
    "permute_dimensions",
    "expand_dims",
    "squeeze",
    "broadcast_to",
    "concat",
    "concatenate",
    "pack",
    "stack",
    "unstack",
    "split",
    "pad",
    "tile",
    "repeat",
    "repeat_elements",
    "reverse",
    "zeros_like",
    "ones_like",
]


def _plain(shape):
    """Return a shape as a tuple of ints; -1 for an unknown size."""
    if isinstance(shape, int):
        return (int(shape),)
    return tuple([-1 if n is None else int(n) for n in shape])


# -- the same elements in another shape ---------------------------------------------------


@differentiable(infer=infer.reshaped, keeps_dtype=True)
def reshape(xp, x, /, shape):
    """Return the same elements in another shape.

    Args:
        x: tensor.
        shape: tuple of ints; one of them may be -1 and is worked out.
    """
    return x.reshape(_plain(shape)), (x.shape,)


@reshape.backward
def reshape_backward(xp, saved, gy, needs):
    return (gy.reshape(tuple(saved[0])),)


def flatten(x):
    """Return all elements along one axis."""
    return reshape(x, shape=(-1,))


def _infer_batch_flatten(x, **_):
    return (x[0], infer.reshaped(tuple(x[1:]), (-1,))[0])


@differentiable(infer=_infer_batch_flatten)
def batch_flatten(xp, x, /):
    """Return a tensor of shape (N, everything else)."""
    width = 1
    for n in x.shape[1:]:
        width *= int(n)
    return x.reshape((int(x.shape[0]), width)), (x.shape,)


batch_flatten.backward(reshape_backward)


@differentiable(infer=infer.expanded)
def expand_dims(xp, x, /, axis=-1):
    """Return ``x`` with an axis of size 1 put in at ``axis``."""
    return x.reshape(infer.expanded(x.shape, axis=axis)), (x.shape,)


expand_dims.backward(reshape_backward)


@differentiable(infer=infer.squeezed)
def squeeze(xp, x, /, axis=None):
    """Return ``x`` without one axis of size 1, or without several, or all of them."""
    return x.reshape(infer.squeezed(tuple(x.shape), axis=axis)), (x.shape,)


squeeze.backward(reshape_backward)


@differentiable(infer=infer.transposed)
def transpose(xp, x, /, perm=None):
    """Return ``x`` with its axes in another order.

    Args:
        x: tensor.
        perm: tuple of ints, the old axis for each new one; None reverses them.
    """
    return xp.transpose(x, perm), (perm,)


@transpose.backward
def transpose_backward(xp, saved, gy, needs):
    (perm,) = saved
    if perm is not None:
        rank = len(perm)
        order = [p % rank for p in perm]
        perm = [order.index(i) for i in range(rank)]
    return (xp.transpose(gy, perm),)


def permute_dimensions(x, pattern):
    """Return ``x`` with its axes in the order ``pattern``; see `transpose`."""
    return transpose(x, perm=tuple(pattern))


@differentiable(infer=infer.given_shape)
def broadcast_to(xp, x, /, shape):
    """Return ``x`` repeated along axes of size 1 to fill a shape; it can't be written to."""
    return xp.broadcast_to(x, _plain(shape)), None


@broadcast_to.backward
def broadcast_to_backward(xp, saved, gy, needs):
    return (gy,)  # the tape sums over the axes


# -- joining and splitting ----------------------------------------------------------------


@differentiable(promote=0, infer=infer.concatenated)
def concat(xp, *x, axis=-1):
    """Return tensors joined along an axis they have; `concatenate` takes them as a list."""
    ends, end = [], 0
    for part in x:
        end += int(part.shape[axis])
        ends.append(end)
    return _joined(xp, list(x), axis), (ends, axis_of(axis, x[0].ndim))


def _joined(xp, parts, axis):
    """Concatenate; by eights on a GPU, since CuPy copies the addresses of more from the host."""
    while len(parts) > 8 and xp is not np:
        parts = [xp.concatenate(parts[i : i + 8], axis=axis) for i in range(0, len(parts), 8)]
    return xp.concatenate(parts, axis=axis)


@concat.backward
def concat_backward(xp, saved, gy, needs):
    ends, axis = saved
    before = (slice(None),) * axis
    starts = [0, *ends[:-1]]
    return [
        gy[(*before, slice(start, end))] if need else None
        for start, end, need in zip(starts, ends, needs)
    ]


def concatenate(tensors, axis=-1):
    """Return a list of tensors joined along an axis they have.

    Args:
        tensors: list of tensors whose other axes agree.
        axis: int.
    """
    return concat(*tensors, axis=axis)


@differentiable(promote=0, infer=infer.stacked)
def pack(xp, *x, axis=0):
    """Return tensors of one shape joined along a new axis; `stack` takes them as a list."""
    axis = axis_of(axis, x[0].ndim + 1)
    return _joined(xp, [xp.expand_dims(part, axis) for part in x], axis), (axis,)


@pack.backward
def pack_backward(xp, saved, gy, needs):
    before = (slice(None),) * saved[0]
    return [gy[(*before, i)] if need else None for i, need in enumerate(needs)]


def stack(x, axis=0):
    """Return a list of tensors of one shape joined along a new axis."""
    return pack(*x, axis=axis)


def _infer_unstack(x, axis=0, **_):
    axis = axis_of(axis, len(x), "unstack: axis")
    if x[axis] is None:
        raise infer.ShapeError(f"unstack: axis {axis} of shape {tuple(x)} must be known")
    return [(*x[:axis], *x[axis + 1 :])] * x[axis]


@differentiable(infer=_infer_unstack)
def unstack(xp, x, /, axis=0):
    """Return the slices along an axis, without it, as a tuple of tensors."""
    axis = axis_of(axis, x.ndim)
    before = (slice(None),) * axis
    parts = tuple([x[(*before, i)] for i in range(x.shape[axis])])
    return parts, (parts, axis)


@unstack.backward
def unstack_backward(xp, saved, gy, needs):
    parts, axis = saved
    return (_joined(xp, [xp.expand_dims(g, axis) for g in _filled(xp, gy, parts)], axis),)


def _sizes(n, parts):
    if isinstance(parts, int):
        if parts < 1 or n % parts:
            raise infer.ShapeError(f"split: {n} can't be split into {parts} equal parts")
        return [n // parts] * parts
    sizes = [int(p) for p in parts]
    if sizes.count(-1) == 1:
        sizes[sizes.index(-1)] = n - (_total(sizes) + 1)
    if _total(sizes) != n or -1 in sizes:
        raise infer.ShapeError(f"split: sizes {list(parts)} don't add up to {n}")
    return sizes


def _total(sizes):
    total = 0
    for n in sizes:
        total += n
    return total


def _infer_split(x, parts, axis=-1, **_):
    axis = axis_of(axis, len(x), "split: axis")
    if x[axis] is None:
        raise infer.ShapeError(f"split: axis {axis} of shape {tuple(x)} must be known")
    return [(*x[:axis], n, *x[axis + 1 :]) for n in _sizes(x[axis], parts)]


@differentiable(infer=_infer_split)
def split(xp, x, /, parts, axis=-1):
    """Return consecutive pieces along an axis.

    Args:
        x: tensor.
        parts: int, number of equal pieces, or list of their sizes, one of which may be -1.
        axis: int.

    Returns:
        Tuple of tensors.
    """
    axis = axis_of(axis, x.ndim)
    before = (slice(None),) * axis
    pieces, start = [], 0
    for n in _sizes(int(x.shape[axis]), parts):
        pieces.append(x[(*before, slice(start, start + n))])
        start += n
    return tuple(pieces), (tuple(pieces), axis)


@split.backward
def split_backward(xp, saved, gy, needs):
    pieces, axis = saved
    return (_joined(xp, _filled(xp, gy, pieces), axis),)


def _filled(xp, gy, parts):
    """Return the gradients of several outputs, zeros for those that weren't used."""
    return [xp.zeros_like(p) if g is None else g for g, p in zip(gy, parts)]


# -- padding and repeating ----------------------------------------------------------------


def _infer_pad(x, paddings, **_):
    return tuple(None if n is None else n + a + b for n, (a, b) in zip(x, paddings, strict=True))


@differentiable(infer=_infer_pad)
def pad(xp, x, /, paddings, constant_values=0.0):
    """Return ``x`` with a border of one value.

    Args:
        x: tensor.
        paddings: one pair (before, after) for each axis.
        constant_values: number, value of the border.
    """
    paddings = tuple([(int(a), int(b)) for a, b in paddings])
    y = xp.pad(x, paddings, constant_values=constant_values)
    inside = tuple([slice(a, a + int(n)) for n, (a, _) in zip(x.shape, paddings, strict=True)])
    return y, (inside,)


@pad.backward
def pad_backward(xp, saved, gy, needs):
    return (gy[saved[0]],)


def _infer_tile(x, n, **_):
    times = (n,) if isinstance(n, int) else tuple(n)
    if len(times) != len(x):
        raise infer.ShapeError(f"tile: expected one number per axis of {tuple(x)}, got {times}")
    return tuple(None if a is None else a * int(b) for a, b in zip(x, times))


@differentiable(infer=_infer_tile)
def tile(xp, x, /, n):
    """Return ``x`` repeated as a whole.

    Args:
        x: tensor.
        n: list of ints, how often along each axis; an int for a tensor with one axis.
    """
    shape = _infer_tile(tuple(x.shape), n)
    times = _plain(n)
    apart = [int(size) for pair in zip(times, x.shape) for size in pair]
    between = [size for n in x.shape for size in (1, int(n))]
    y = xp.broadcast_to(x.reshape(tuple(between)), tuple(apart)).reshape(shape)
    return y, (x.shape, tuple(apart))


@tile.backward
def tile_backward(xp, saved, gy, needs):
    shape, apart = saved
    return (gy.reshape(apart).sum(axis=tuple(range(0, len(apart), 2))).reshape(tuple(shape)),)


def _infer_repeat_elements(x, rep, axis, **_):
    axis = axis_of(axis, len(x), "repeat_elements: axis")
    return tuple(n if i != axis or n is None else n * rep for i, n in enumerate(x))


@differentiable(infer=_infer_repeat_elements)
def repeat_elements(xp, x, /, rep, axis):
    """Return ``x`` with every element along an axis repeated.

    Args:
        x: tensor.
        rep: int, how often; 3 makes (a, b) into (a, a, a, b, b, b).
        axis: int.
    """
    axis = axis_of(axis, x.ndim)
    shape = tuple([int(n) for n in x.shape])
    apart = (*shape[: axis + 1], int(rep), *shape[axis + 1 :])
    y = xp.broadcast_to(x.reshape((*shape[: axis + 1], 1, *shape[axis + 1 :])), apart)
    return y.reshape(_infer_repeat_elements(shape, int(rep), axis)), (apart, axis)


@repeat_elements.backward
def repeat_elements_backward(xp, saved, gy, needs):
    apart, axis = saved
    return (gy.reshape(apart).sum(axis=axis + 1),)


def repeat(x, n):
    """Return a matrix (N, D) repeated along a new middle axis: (N, n, D)."""
    return repeat_elements(expand_dims(x, axis=1), rep=n, axis=1)


@differentiable(infer=infer.same)
def reverse(xp, x, /, axes):
    """Return ``x`` with the order along some axes reversed.

    Args:
        x: tensor.
        axes: int or list of ints.
    """
    axes = axes_of(axes, x.ndim)
    return x[_backwards(axes, x.ndim)], (axes,)


@reverse.backward
def reverse_backward(xp, saved, gy, needs):
    return (gy[_backwards(saved[0], gy.ndim)],)


def _backwards(axes, rank):
    return tuple([slice(None, None, -1 if i in axes else None) for i in range(rank)])


@differentiable(infer=infer.same)
def zeros_like(xp, x, /, dtype=None, name=None):
    """Return zeros of the shape of ``x``, and of its dtype unless one is given."""
    return xp.zeros(tuple(x.shape), dtype or x.dtype), None


@differentiable(infer=infer.same)
def ones_like(xp, x, /, dtype=None, name=None):
    """Return ones of the shape of ``x``, and of its dtype unless one is given."""
    return xp.ones(tuple(x.shape), dtype or x.dtype), None
