"""Shape rules for symbolic tensors: shapes in, the shape of the result out.

Every rule is a function ``(*shapes, **options) -> shape``.  A shape is a tuple of ints, with
None where a size isn't known yet; Python numbers among an op's arguments come as ``()``.
"""

import math

from gpunet.errors import ShapeError

__all__ = [
    "same",
    "broadcast",
    "given_shape",
    "axis_of",
    "axes_of",
    "reduced",
    "matmul",
    "dense",
    "tensordot",
    "reshaped",
    "transposed",
    "expanded",
    "squeezed",
    "concatenated",
    "stacked",
]


def same(shape, *_, **__):
    """Return the shape of the first argument."""
    return tuple(shape)


def given_shape(*_, shape, **__):
    """Return the option ``shape``."""
    return tuple(shape)


def broadcast(*shapes, **_):
    """Return the shape that NumPy's broadcasting gives.

    Raises:
        ShapeError: two known sizes of one axis differ and neither is 1.
    """
    shapes = [tuple(s) if s else () for s in shapes]
    rank = max(map(len, shapes), default=0)
    result = []
    for i in range(rank):
        sizes = {s[i - rank + len(s)] for s in shapes if i - rank + len(s) >= 0}
        known = sizes - {None, 1}
        if len(known) > 1:
            raise ShapeError(f"shapes {', '.join(map(str, shapes))} don't broadcast together")
        result.append(known.pop() if known else None if None in sizes else 1)
    return tuple(result)


def axis_of(axis, rank, what="axis"):
    """Return an axis as a number from 0 to ``rank - 1``.

    Raises:
        ShapeError: no such axis.
    """
    if not -rank <= axis < rank:
        raise ShapeError(f"{what} {axis} doesn't exist, the tensor has {rank} axes")
    return axis % rank


def axes_of(axis, rank):
    """Return None, an int or a list of ints as a sorted tuple of axes from 0 up."""
    if axis is None:
        return tuple(range(rank))
    if hasattr(axis, "tolist"):  # an array of NumPy's
        axis = axis.tolist()
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    return tuple(sorted({axis_of(int(a), rank) for a in axes}))


def reduced(shape, *_, axis=None, keepdims=False, **__):
    """Return the shape after a reduction over some axes."""
    axes = axes_of(axis, len(shape))
    if keepdims:
        return tuple(1 if i in axes else n for i, n in enumerate(shape))
    return tuple(n for i, n in enumerate(shape) if i not in axes)


def _joined(a, b, what):
    """Check two sizes that are summed over together."""
    if a is not None and b is not None and a != b:
        raise ShapeError(f"{what}: sizes {a} and {b} must be equal")


def matmul(x, y, **_):
    """Return the shape of ``x @ y``."""
    if not x or not y:
        raise ShapeError(f"matmul: expected tensors with axes, got shapes {x} and {y}")
    _joined(x[-1], y[-2] if len(y) > 1 else y[0], f"matmul of shapes {x} and {y}")
    batch = broadcast(x[:-2], y[:-2])
    return (*batch, *(x[-2:-1]), *(y[-1:] if len(y) > 1 else ()))


def dense(x, kernel, bias=(), **_):
    """Return the shape of ``x @ kernel + bias``."""
    if not x or len(kernel) != 2:
        raise ShapeError(f"dense: expected shapes (..., k) and (k, units), got {x} and {kernel}")
    _joined(x[-1], kernel[0], f"dense of shapes {x} and {kernel}")
    if bias:
        _joined(bias[-1], kernel[1], f"dense with a bias of shape {bias}")
    return (*x[:-1], kernel[1])


def tensordot(x, y, axes=2, **_):
    """Return the shape of a product summed over pairs of axes; see ``gpunet.ops.tensordot``."""
    ax, ay = tensordot_axes(len(x), len(y), axes)
    for a, b in zip(ax, ay):
        _joined(x[a], y[b], f"tensordot of shapes {x} and {y}, axes {axes}")
    return (
        *(n for i, n in enumerate(x) if i not in ax),
        *(n for i, n in enumerate(y) if i not in ay),
    )


def tensordot_axes(x_rank, y_rank, axes):
    """Return the axes of both arguments that a tensordot sums over, as two tuples."""
    if isinstance(axes, int):
        if not 0 <= axes <= min(x_rank, y_rank):
            raise ShapeError(f"tensordot: can't sum {axes} axes of {x_rank} and {y_rank}")
        return tuple(range(x_rank - axes, x_rank)), tuple(range(axes))
    ax, ay = ((a,) if isinstance(a, int) else tuple(a) for a in axes)
    if len(ax) != len(ay):
        raise ShapeError(f"tensordot: expected as many axes for x as for y, got {axes}")
    return (
        tuple(axis_of(a, x_rank, "tensordot: axis") for a in ax),
        tuple(axis_of(a, y_rank, "tensordot: axis") for a in ay),
    )


def reshaped(x, shape, **_):
    """Return ``shape`` with its -1, if it has one, worked out."""
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    known = [n for n in shape if n not in (-1, None)]
    if len(shape) - len(known) > 1:
        raise ShapeError(f"reshape: at most one size may be -1, got {shape}")
    wanted = math.prod(known)
    if None in x:
        rest = [n for n in x if n is not None]
        # The one unknown size stays the unknown one: (None, 3, 4) to (-1, 12).
        return tuple(None if n in (-1, None) else n for n in shape) if rest or shape else ()
    have = math.prod(x)
    if len(known) == len(shape):
        if have != wanted:
            raise ShapeError(f"reshape: {have} elements of shape {tuple(x)} don't fill {shape}")
        return shape
    if not wanted or have % wanted:
        raise ShapeError(f"reshape: {have} elements of shape {tuple(x)} don't fill {shape}")
    return tuple(have // wanted if n in (-1, None) else n for n in shape)


def transposed(x, perm=None, **_):
    """Return the shape after the axes were put in the order ``perm``."""
    if perm is None:
        return tuple(reversed(x))
    if sorted(axis_of(p, len(x)) for p in perm) != list(range(len(x))):
        raise ShapeError(f"transpose: expected an order of {len(x)} axes, got {tuple(perm)}")
    return tuple(x[p] for p in perm)


def expanded(x, axis=-1, **_):
    """Return the shape with an axis of size 1 put in at ``axis``."""
    axis = axis_of(axis, len(x) + 1, "expand_dims: axis")
    return (*x[:axis], 1, *x[axis:])


def squeezed(x, axis=None, **_):
    """Return the shape without the axes ``axis``, which have size 1."""
    if axis is None:
        return tuple(n for n in x if n != 1)
    axes = axes_of(axis, len(x))
    for a in axes:
        if x[a] not in (1, None):
            raise ShapeError(f"squeeze: axis {a} of shape {tuple(x)} isn't of size 1")
    return tuple(n for i, n in enumerate(x) if i not in axes)


def concatenated(*shapes, axis=-1, **_):
    """Return the shape of tensors joined along an axis they have."""
    if not shapes:
        raise ShapeError("concatenate: expected at least one tensor")
    rank = len(shapes[0])
    axis = axis_of(axis, rank, "concatenate: axis")
    result = list(shapes[0])
    for s in shapes[1:]:
        if len(s) != rank:
            raise ShapeError(f"concatenate: ranks differ in {', '.join(map(str, shapes))}")
        for i, n in enumerate(s):
            if i == axis:
                result[i] = None if None in (n, result[i]) else n + result[i]
            elif result[i] is None:
                result[i] = n
            elif n is not None and n != result[i]:
                raise ShapeError(
                    f"concatenate along axis {axis}: the other sizes must be equal, got shapes "
                    f"{', '.join(map(str, shapes))}"
                )
    return tuple(result)


def stacked(*shapes, axis=0, **_):
    """Return the shape of tensors joined along a new axis."""
    if not shapes:
        raise ShapeError("stack: expected at least one tensor")
    result = list(shapes[0])
    for s in shapes[1:]:
        if len(s) != len(result) or any(None not in (a, b) and a != b for a, b in zip(s, result)):
            raise ShapeError(f"stack: shapes differ: {', '.join(map(str, shapes))}")
        result = [b if a is None else a for a, b in zip(result, s)]
    axis = axis_of(axis, len(result) + 1, "stack: axis")
    return (*result[:axis], len(shapes), *result[axis:])
