"""Locally connected layers' op: a convolution with a kernel of its own at every place."""

from gpunet.autodiff import differentiable, taped
from gpunet.errors import ShapeError
from gpunet.ops.index import put_slice
from gpunet.ops.products import product
from gpunet.ops.window import window

__all__ = ["local_conv"]


def _product(sizes):
    n = 1
    for size in sizes:
        n *= int(size)
    return n


def _infer_local(x, kernel, kernel_size, strides=1, padding="valid", **_):
    w = window(x[1:-1], kernel_size, strides, padding)
    wanted = (None if None in w.out else _product(w.out), _product(w.kernel) * x[-1])
    if len(kernel) != 3 or any(None not in p and p[0] != p[1] for p in zip(wanted, kernel)):
        raise ShapeError(
            f"local_conv: expected a kernel of shape (places, cells * channels, filters) = "
            f"{(*wanted, 'filters')}, got {tuple(kernel)}"
        )
    return (x[0], *w.out, kernel[-1])


def _places_first(xp, x):
    """Return (N, *out, C) as (places, N, C)."""
    shape = (int(x.shape[0]), _product(x.shape[1:-1]), int(x.shape[-1]))
    return xp.transpose(x.reshape(shape), (1, 0, 2))


def _images_first(xp, x, shape):
    """Return (places, N, C) as an array of a shape (N, *out, C)."""
    return xp.transpose(x, (1, 0, 2)).reshape(tuple(shape))


@differentiable(promote=0, infer=_infer_local)
def local_conv(xp, x, kernel, /, kernel_size, strides=1, padding="valid"):
    """Return the windows over ``x``, each times a matrix of its own.

    Args:
        x: tensor (N, *size, C).
        kernel: tensor (places, cells * C, F); places are the windows in order.
        kernel_size: tuple.
        strides: int or tuple.
        padding: see `gpunet.ops.window`.

    Returns:
        Tensor (N, *out, F).
    """
    shape = _infer_local(tuple(x.shape), tuple(kernel.shape), kernel_size, strides, padding)
    w = window(tuple(x.shape[1:-1]), kernel_size, strides, padding)
    depth = int(x.shape[-1])
    padded = w.padded(xp, x)
    y = None
    for i, cell in enumerate(w.cells()):
        part = _places_first(xp, padded[(slice(None), *w.taken(cell))])
        part = product(xp, part, kernel[:, i * depth : (i + 1) * depth])
        y = part if y is None else y + part
    return _images_first(xp, y, shape), (padded, kernel, w, depth)


@local_conv.backward
def local_conv_backward(xp, saved, gy, needs):
    padded, kernel, w, depth = saved
    gy = _places_first(xp, gy)
    gx = gk = None
    for i, cell in enumerate(w.cells()):
        key = (slice(None), *w.taken(cell))
        taken = padded[key]
        if needs[1]:
            column = xp.transpose(_places_first(xp, taken), (0, 2, 1))
            rows = (slice(None), slice(i * depth, (i + 1) * depth))
            gk = _added_at(xp, gk, product(xp, column, gy), tuple(kernel.shape), rows)
        if needs[0]:
            matrix = xp.transpose(kernel[:, i * depth : (i + 1) * depth], (0, 2, 1))
            part = _images_first(xp, product(xp, gy, matrix), taken.shape)
            gx = _added_at(xp, gx, part, tuple(padded.shape), key)
    if gx is not None:
        inside = [slice(before, before + n) for n, (before, _) in zip(w.size, w.pads)]
        gx = gx[(slice(None), *inside)]
    return gx, gk


def _added_at(xp, total, part, shape, key):
    """Return a sum with ``part`` added at ``key``."""
    if xp is taped:
        part = put_slice(part, shape=shape, key=key)
        return part if total is None else total + part
    if total is None:
        total = xp.zeros(shape, part.dtype)
    total[key] += part
    return total
