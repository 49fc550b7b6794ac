"""Products of matrices and tensors."""

from gpunet.autodiff import differentiable, taped
from gpunet.errors import ShapeError
from gpunet.ops import infer
from gpunet.ops.infer import axis_of
from gpunet.ops.products import column_sums, product

__all__ = ["matmul", "dense", "dot", "batch_dot", "tensordot"]


def _flipped(xp, x):
    """Return ``x`` with its last two axes swapped."""
    if x.ndim == 2:
        return x.T
    return xp.transpose(x, (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))


def _size(shape):
    n = 1
    for size in shape:
        n *= int(size)
    return n


@differentiable(promote=0, infer=infer.matmul)
def matmul(xp, x, y, /):
    """Return the matrix product over the last two axes.

    Args:
        x: tensor (..., n, k), or (k,).
        y: tensor (..., k, m), or (k,); the leading axes are broadcast.

    Returns:
        Tensor (..., n, m), without the axis that a vector lacks.
    """
    return product(xp, x, y), (x, y)


@matmul.backward
def matmul_backward(xp, saved, gy, needs):
    x, y = saved
    x_vector, y_vector = x.ndim == 1, y.ndim == 1
    shape = tuple(gy.shape)
    if x_vector:
        x = x.reshape((1, *x.shape))
        shape = (*shape, 1) if y_vector else (*shape[:-1], 1, shape[-1])
    if y_vector:
        y = y.reshape((*y.shape, 1))
        shape = (*shape, 1)
    if x_vector or y_vector:
        gy = gy.reshape(shape)
    gx = product(xp, gy, _flipped(xp, y)) if needs[0] else None
    gy_y = product(xp, _flipped(xp, x), gy) if needs[1] else None
    if y_vector and needs[1]:
        gy_y = gy_y.reshape(tuple(gy_y.shape)[:-1])
    return gx, gy_y


@differentiable(promote=0, infer=infer.dense)
def dense(xp, x, kernel, bias=None, /, relu=False):
    """Return ``x @ kernel + bias`` over the last axis, as one matrix product.

    Args:
        x: tensor (..., k).
        kernel: tensor (k, units).
        bias: tensor (units,) or None.
        relu: bool, whether the result is cut off at 0.

    Returns:
        Tensor (..., units).
    """
    rows = x if x.ndim == 2 else x.reshape((_size(x.shape[:-1]), int(x.shape[-1])))
    y = product(xp, rows, kernel)
    if bias is not None:
        y += bias  # y is new here, so working in place is safe
    if relu:
        y = xp.maximum(y, 0) if xp is taped else xp.maximum(y, 0, out=y)
    saved = (rows, kernel, x.shape, y if relu else None)
    if x.ndim != 2:
        y = y.reshape((*x.shape[:-1], kernel.shape[1]))
    return y, saved


@dense.backward
def dense_backward(xp, saved, gy, needs):
    rows, kernel, shape, y = saved
    if gy.ndim != 2:
        gy = gy.reshape((rows.shape[0], kernel.shape[1]))
    if y is not None:
        gy = gy * (y > 0)
    gx = gkernel = gbias = None
    if needs[0]:
        gx = product(xp, gy, kernel.T)
        if len(shape) != 2:
            gx = gx.reshape(tuple(shape))
    if needs[1]:
        gkernel = product(xp, rows.T, gy)
    if len(needs) > 2 and needs[2]:
        gbias = column_sums(xp, gy)
    return gx, gkernel, gbias


@differentiable(promote=0, infer=infer.tensordot)
def tensordot(xp, x, y, /, axes=2):
    """Return the sum of products over pairs of axes.

    Args:
        x: tensor.
        y: tensor.
        axes: pair of lists, the axes of ``x`` and those of ``y`` in the same order, or an
            int n for the last n of ``x`` and the first n of ``y``.

    Returns:
        Tensor with the other axes of ``x``, then the other axes of ``y``.
    """
    ax, ay = infer.tensordot_axes(x.ndim, y.ndim, axes)
    return _contract(xp, x, y, ax, ay)


def _contract(xp, x, y, ax, ay):
    x_order = (*(i for i in range(x.ndim) if i not in ax), *ax)
    y_order = (*ay, *(i for i in range(y.ndim) if i not in ay))
    x_moved, y_moved = xp.transpose(x, x_order), xp.transpose(y, y_order)
    x_shape, y_shape = tuple(x_moved.shape), tuple(y_moved.shape)
    n = len(ax)
    if x_shape[x.ndim - n :] != y_shape[:n]:
        raise ShapeError(
            f"tensordot of shapes {tuple(x.shape)} and {tuple(y.shape)}: "
            f"axes {ax} and {ay} differ in size"
        )
    width = _size(y_shape[:n])
    left = x_moved.reshape((_size(x_shape[: x.ndim - n]), width))
    right = y_moved.reshape((width, _size(y_shape[n:])))
    z = product(xp, left, right).reshape((*x_shape[: x.ndim - n], *y_shape[n:]))
    return z, (left, right, x_shape, y_shape, x_order, y_order)


@tensordot.backward
def tensordot_backward(xp, saved, gy, needs):
    left, right, x_shape, y_shape, x_order, y_order = saved
    gy = gy.reshape((left.shape[0], right.shape[1]))
    gx = gy_y = None
    if needs[0]:
        gx = product(xp, gy, right.T).reshape(x_shape)
        gx = xp.transpose(gx, [x_order.index(i) for i in range(len(x_order))])
    if needs[1]:
        gy_y = product(xp, left.T, gy).reshape(y_shape)
        gy_y = xp.transpose(gy_y, [y_order.index(i) for i in range(len(y_order))])
    return gx, gy_y


def _dot_axes(x_rank, y_rank):
    if not x_rank or not y_rank:
        raise ShapeError("dot: expected tensors with axes")
    return ((x_rank - 1,), (max(y_rank - 2, 0),))


def _infer_dot(x, y, **_):
    return infer.tensordot(x, y, axes=_dot_axes(len(x), len(y)))


@differentiable(promote=0, infer=_infer_dot)
def dot(xp, x, y, /):
    """Return the product over the last axis of ``x`` and the last but one of ``y``.

    Args:
        x: tensor (..., k).
        y: tensor (..., k, m), or (k,).

    Returns:
        Tensor with the other axes of ``x``, then the other axes of ``y``.
    """
    return _contract(xp, x, y, *_dot_axes(x.ndim, y.ndim))


dot.backward(tensordot_backward)


def batch_dot_axes(x_shape, y_shape, axes):
    """Return the two axes, 1 or more, that `batch_dot` sums over."""
    x_rank, y_rank = len(x_shape), len(y_shape)
    if x_rank < 2 or y_rank < 2:
        raise ShapeError(
            "Can not do batch_dot on inputs with rank < 2. "
            f"Received inputs with shapes {tuple(x_shape)} and {tuple(y_shape)}."
        )
    if None not in (x_shape[0], y_shape[0]) and x_shape[0] != y_shape[0]:
        raise ShapeError(
            "Can not do batch_dot on inputs with different batch sizes. "
            f"Received inputs with shapes {tuple(x_shape)} and {tuple(y_shape)}."
        )
    if axes is None:
        axes = (x_rank - 1, y_rank - 1 if y_rank == 2 else y_rank - 2)
    elif isinstance(axes, int):
        axes = (axes, axes)
    if not all(isinstance(a, int) for a in axes):
        raise ShapeError(
            "Multiple target dimensions are not supported. Expected: None, int, (int, int), "
            f"Provided: {axes}"
        )
    a, b = axis_of(axes[0], x_rank), axis_of(axes[1], y_rank)
    if 0 in (a, b):
        raise ShapeError(
            "Can not perform batch_dot over axis 0. If your inputs are not batched, add a "
            "dummy batch dimension to your inputs using expand_dims(x, 0)"
        )
    if None not in (x_shape[a], y_shape[b]) and x_shape[a] != y_shape[b]:
        raise ShapeError(
            f"Can not do batch_dot on inputs with shapes {tuple(x_shape)} and "
            f"{tuple(y_shape)} with axes={axes}: {x_shape[a]} != {y_shape[b]}."
        )
    return a, b


def _infer_batch_dot(x, y, axes=None, **_):
    a, b = batch_dot_axes(x, y, axes)
    x_rest = [n for i, n in enumerate(x) if i not in (0, a)]
    y_rest = [n for i, n in enumerate(y) if i not in (0, b)]
    batch = y[0] if x[0] is None else x[0]
    return (batch, *x_rest, *y_rest, *(() if x_rest or y_rest else (1,)))


@differentiable(promote=0, infer=_infer_batch_dot)
def batch_dot(xp, x, y, /, axes=None):
    """Return, for each sample, the sum of products over one axis of each tensor.

    Args:
        x: tensor (N, ...).
        y: tensor (N, ...).
        axes: int or pair of ints, the axes of ``x`` and ``y``; None takes the last of ``x``
            and the last but one of ``y``, the last where ``y`` is (N, k).

    Returns:
        Tensor (N, other axes of ``x``, other axes of ``y``); (N, 1) where there are none.
    """
    a, b = batch_dot_axes(x.shape, y.shape, axes)
    x_order = (0, *(i for i in range(1, x.ndim) if i != a), a)
    y_order = (0, b, *(i for i in range(1, y.ndim) if i != b))
    x_moved, y_moved = xp.transpose(x, x_order), xp.transpose(y, y_order)
    x_shape, y_shape = tuple(x_moved.shape), tuple(y_moved.shape)
    left = x_moved.reshape((x_shape[0], _size(x_shape[1:-1]), x_shape[-1]))
    right = y_moved.reshape((y_shape[0], y_shape[1], _size(y_shape[2:])))
    z = product(xp, left, right)
    z = z.reshape((x_shape[0], *x_shape[1:-1], *y_shape[2:]) if z.ndim else ())
    if x.ndim == y.ndim == 2:
        z = z.reshape((x_shape[0], 1))
    return z, (left, right, x_shape, y_shape, x_order, y_order)


@batch_dot.backward
def batch_dot_backward(xp, saved, gy, needs):
    left, right, x_shape, y_shape, x_order, y_order = saved
    gy = gy.reshape((left.shape[0], left.shape[1], right.shape[2]))
    gx = gy_y = None
    if needs[0]:
        gx = product(xp, gy, _flipped(xp, right)).reshape(x_shape)
        gx = xp.transpose(gx, [x_order.index(i) for i in range(len(x_order))])
    if needs[1]:
        gy_y = product(xp, _flipped(xp, left), gy).reshape(y_shape)
        gy_y = xp.transpose(gy_y, [y_order.index(i) for i in range(len(y_order))])
    return gx, gy_y
