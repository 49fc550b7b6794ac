"""Indexing: slices, rows by number, and the sums that are their gradients."""

import numpy as np

from gpunet import arrays, config
from gpunet.autodiff import differentiable, taped
from gpunet.autodiff.rows import RowGradient
from gpunet.errors import ShapeError
from gpunet.ops.infer import axis_of, broadcast, given_shape
from gpunet.tensor import Symbolic, Tensor, as_array

__all__ = [
    "getitem",
    "take_slice",
    "put_slice",
    "gather",
    "put_rows",
    "rows_in_order",
    "one_hot",
    "slice",
]

# Stands in a key for an index array, which travels among the op's arrays.
INDEX = "index"

_slice = slice


def getitem(x, key):
    """Return ``x[key]``.

    Args:
        x: tensor.
        key: ints, slices, None, Ellipsis and integer tensors, as in NumPy.  A boolean mask
            works too, but has to be read on the host.
    """
    indices, plain = [], []
    for k in key if isinstance(key, tuple) else (key,):
        if isinstance(k, _slice):
            plain.append(_slice(*map(_bound, (k.start, k.stop, k.step))))
        elif k is None or k is Ellipsis:
            plain.append(k)
        elif isinstance(k, (int, np.integer)) and not isinstance(k, bool):
            plain.append(int(k))
        elif isinstance(k, Symbolic):
            plain.append(INDEX)
            indices.append(k)
        else:
            k = k.array if isinstance(k, Tensor) else as_array(k)
            if k.dtype.kind == "b":
                found = arrays.module_of(k).nonzero(k)
                plain.extend([INDEX] * len(found))
                indices.extend(found)
            elif k.dtype.kind in "iu":
                plain.append(INDEX)
                indices.append(k)
            else:
                raise TypeError(f"an index must be made of integers, got {k.dtype}")
    return take_slice(x, *indices, key=tuple(plain))


def _bound(value):
    return None if value is None else int(value)


def _filled(key, indices):
    """Put the index arrays back into their places in a key."""
    if not indices:
        return key
    rest = iter(indices)
    return tuple([next(rest) if k is INDEX or k == INDEX else k for k in key])


def _infer_slice(x, *indices, key, **_):
    return _sliced(x, _filled_shapes(key, indices))


def _filled_shapes(key, indices):
    rest = iter(indices)
    return [("index", next(rest)) if isinstance(k, str) else k for k in key]


def _sliced(x, key):
    used = [k for k in key if k is not None and k is not Ellipsis]
    if len(used) > len(x):
        raise ShapeError(f"too many indices: {len(used)} for shape {tuple(x)}")
    if Ellipsis not in key:
        key = [*key, Ellipsis]
    shape, axis, advanced, blocks = [], 0, [], []
    for k in key:
        if k is Ellipsis:
            n = len(x) - len(used)
            shape.extend(x[axis : axis + n])
            axis += n
        elif k is None:
            shape.append(1)
        elif isinstance(k, int):
            if x[axis] is not None and not -x[axis] <= k < x[axis]:
                raise ShapeError(f"index {k} is beyond axis {axis} of shape {tuple(x)}")
            axis += 1
        elif isinstance(k, _slice):
            shape.append(_slice_length(x[axis], k))
            axis += 1
        else:
            advanced.append(k[1])
            blocks.append(len(shape))
            axis += 1
    if advanced:
        # Index arrays next to each other keep their place, others go to the front; an int
        # beside an index array counts as one.
        places = [i for i, k in enumerate(key) if isinstance(k, (int, tuple))]
        together = places[-1] - places[0] == len(places) - 1
        at = blocks[0] if together else 0
        shape[at:at] = broadcast(*advanced)
    return tuple(shape)


def _slice_length(n, k):
    return None if n is None else len(range(*k.indices(n)))


@differentiable(infer=_infer_slice)
def take_slice(xp, x, /, *indices, key):
    """Return ``x[key]``; `getitem` sorts a key into index arrays and the rest.

    Args:
        x: tensor.
        *indices: integer tensors, in order of their places in the key.
        key: tuple of ints, slices, None, Ellipsis, and ``'index'`` for each index tensor.
    """
    return x[_filled(key, indices)], (indices, x.shape, key)


@take_slice.backward
def take_slice_backward(xp, saved, gy, needs):
    indices, shape, key = saved
    return (_put(xp, gy, indices, tuple(shape), key), *[None] * len(indices))


@differentiable(infer=given_shape)
def put_slice(xp, y, /, *indices, shape, key):
    """Return zeros with ``y`` added at ``key``: the gradient of `take_slice`."""
    return _put(xp, y, indices, shape, key), (indices, key)


@put_slice.backward
def put_slice_backward(xp, saved, gy, needs):
    indices, key = saved
    return (gy[_filled(key, indices)], *[None] * len(indices))


def _put(xp, y, indices, shape, key):
    if xp is taped:
        return put_slice(y, *indices, shape=shape, key=key)
    x = xp.zeros(shape, y.dtype)
    if indices:
        xp.add.at(x, _filled(key, indices), y)
    else:
        x[key] = y
    return x


@differentiable(infer=lambda x, order, place, rows: (rows, *x[1:]))
def rows_in_order(xp, x, order, place, /, rows):
    """Return the next rows of an order: ``x[order[place : place + rows]]``.

    Args:
        x: tensor (N, ...).
        order: integer tensor (M,), numbers of rows.
        place: integer tensor (1,), read on the device.
        rows: int, how many; ``place + rows`` is at most M.
    """
    numbers = xp.take(order, place + xp.arange(rows))
    return xp.take(x, numbers, axis=0), None


def _infer_gather(x, indices, **_):
    return (*indices, *x[1:])


@differentiable(infer=_infer_gather)
def gather(xp, reference, indices, /):
    """Return rows by number.

    Args:
        reference: tensor (V, ...).
        indices: integer tensor, any shape; numbers below V.

    Returns:
        Tensor of shape ``(*indices.shape, ...)``.  Rows that were asked for more than once
        get the sum of their gradients, added up in order.
    """
    if indices.dtype.kind == "f":
        indices = indices.astype("int32")
    return xp.take(reference, indices, axis=0), (indices, reference.shape)


@gather.backward
def gather_backward(xp, saved, gy, needs):
    indices, shape = saved
    return (add_rows(xp, gy, indices, tuple(shape)) if needs[0] else None, None)


@gather.backward_rows
def gather_backward_rows(xp, saved, gy):
    indices, shape = saved
    return _row_gradient(xp, gy, indices, tuple(shape))


@differentiable(infer=given_shape)
def put_rows(xp, rows, indices, /, shape):
    """Return zeros of a shape with rows added to those of given numbers.

    Args:
        rows: tensor ``(*indices.shape, ...)``.
        indices: integer tensor.
        shape: tuple (V, ...).
    """
    return add_rows(xp, rows, indices, shape), (indices,)


@put_rows.backward
def put_rows_backward(xp, saved, gy, needs):
    (indices,) = saved
    return (xp.take(gy, indices, axis=0) if needs[0] else None, None)


def add_rows(xp, rows, indices, shape):
    """Return zeros of a shape with rows added up by number; see `put_rows`."""
    if xp is taped:
        return put_rows(rows, indices, shape=shape)
    return _row_gradient(xp, rows, indices, shape).dense()


def _row_gradient(xp, rows, indices, shape):
    flat = indices.reshape(-1)
    return RowGradient(xp, rows.reshape((flat.size, *shape[1:])), flat, shape)


def _infer_one_hot(indices, num_classes, **_):
    return (*indices, num_classes)


@differentiable(infer=_infer_one_hot)
def one_hot(xp, indices, /, num_classes):
    """Return a last axis with a 1 in the place that each index names, and zeros.

    Args:
        indices: integer tensor; a number outside 0..num_classes - 1 gives zeros only.
        num_classes: int.

    Returns:
        Tensor ``(*indices.shape, num_classes)`` of the default float type.
    """
    return one_hot_of(xp, indices, num_classes, indices.ndim).astype(config.floatx()), None


def one_hot_of(xp, indices, num_classes, axis):
    """Return whether each class is the one that an index names, on a new axis."""
    rank = indices.ndim + 1
    axis = axis_of(axis, rank)
    shape = tuple([int(n) for n in indices.shape])
    classes = xp.arange(num_classes).reshape([-1 if i == axis else 1 for i in range(rank)])
    return indices.reshape((*shape[:axis], 1, *shape[axis:])) == classes


def slice(x, start, size):
    """Return a block of a tensor.

    Args:
        x: tensor.
        start: list of ints, the first index along each axis.
        size: list of ints, the sizes; -1 takes what is left.
    """
    key = [_slice(int(a), None if n == -1 else int(a) + int(n)) for a, n in zip(start, size)]
    return getitem(x, tuple(key))
