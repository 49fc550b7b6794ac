"""Images (N, height, width, C) resized, or moved by projective maps."""

import math

import numpy as np

from gpunet import arrays
from gpunet.autodiff import differentiable
from gpunet.errors import ShapeError
from gpunet.ops.index import add_rows
from gpunet.ops.products import product
from gpunet.tensor import value_of

__all__ = ["RESIZE_METHODS", "FILL_MODES", "resample", "transform"]

FILL_MODES = ("reflect", "wrap", "constant", "nearest")


def _image_shape(shape, what):
    if len(shape) != 4:
        raise ShapeError(f"{what}: expected images (N, height, width, C), got shape {tuple(shape)}")


def _exact(dtype):
    """Return the type in which weights are worked out."""
    return np.dtype("float64" if dtype == np.float64 else "float32")


# -- resizing -----------------------------------------------------------------------------


def _triangle(xp, d):
    return xp.maximum(1 - d, 0)


def _cubic(xp, d):
    """Return the kernel of Keys, 1981, doi:10.1109/TASSP.1981.1163711."""
    near = (1.5 * d - 2.5) * d * d + 1
    return xp.where(d <= 1, near, xp.where(d < 2, ((2.5 - 0.5 * d) * d - 4) * d + 2, 0))


def _mitchell(xp, d):
    """Return the kernel of Mitchell and Netravali, 1988, doi:10.1145/378456.378514."""
    near = (7 * d - 12) * d * d + 16 / 3
    far = ((12 - 7 / 3 * d) * d - 20) * d + 32 / 3
    return xp.where(d < 1, near, xp.where(d < 2, far, 0)) / 6


def _gaussian(xp, d):
    return xp.where(d < 1.5, xp.exp(-2 * d * d), 0)


def _lanczos(radius):
    def kernel(xp, d):
        angle = math.pi * xp.maximum(d, 1e-3)
        inner = radius * xp.sin(angle) * xp.sin(angle / radius) / (angle * angle)
        return xp.where(d <= 1e-3, 1, xp.where(d <= radius, inner, 0))

    return kernel


_KERNELS = {
    "bilinear": _triangle,
    "bicubic": _cubic,
    "lanczos3": _lanczos(3),
    "lanczos5": _lanczos(5),
    "gaussian": _gaussian,
    "mitchellcubic": _mitchell,
}
_BLURRING = ("gaussian", "mitchellcubic")  # also where the size stays
RESIZE_METHODS = ("nearest", "area", *_KERNELS)


def _nearest(xp, n, out, dtype):
    """Return which element of an axis of ``n`` each of ``out`` new ones is, as floats."""
    return xp.minimum(xp.floor((xp.arange(out, dtype=dtype) + 0.5) * (n / out)), n - 1)


def _between(xp, n, out, dtype):
    """Return the two elements between which each new one lies, and how far from the first."""
    at = (xp.arange(out, dtype=dtype) + 0.5) * (n / out) - 0.5
    at = xp.minimum(xp.maximum(at, 0), n - 1)
    low = xp.floor(at)
    return low.astype("int64"), xp.minimum(low + 1, n - 1).astype("int64"), at - low


def _resizing(xp, n, out, method, dtype):
    """Return the matrix (out, n) that resizes an axis as TensorFlow 2 does."""
    scale = n / out
    new, old = xp.arange(out, dtype=dtype)[:, None], xp.arange(n, dtype=dtype)
    if method == "area":
        overlap = xp.minimum(old + 1, (new + 1) * scale) - xp.maximum(old, new * scale)
        return xp.maximum(overlap, 0) / scale
    if method == "nearest":
        return xp.equal(_nearest(xp, n, out, dtype)[:, None], old).astype(dtype)
    if method in _BLURRING and dtype == np.float32:
        # Pixels at the kernel's edge may be in or out: TensorFlow rounds like this.
        scale = float(1 / (np.float32(out) / np.float32(n)))
    place = (new + 0.5) * scale - 0.5
    if method == "bicubic":  # TensorFlow has a table of 1024 steps
        whole = xp.floor(place)
        place = whole + xp.rint((place - whole) * 1024) / 1024
    matrix = _KERNELS[method](xp, xp.abs(old - place)).astype(dtype)
    return matrix / matrix.sum(axis=1, keepdims=True)


def _along(xp, matrix, x, axis):
    """Return a matrix times each column of ``x`` (N, H, W, C) along axis 1 or 2."""
    if axis == 2:
        x = xp.transpose(x, (0, 2, 1, 3))
    batch, n, other, channels = (int(s) for s in x.shape)
    y = product(xp, matrix, x.reshape((batch, n, other * channels)))
    y = y.reshape((batch, int(matrix.shape[0]), other, channels))
    return xp.transpose(y, (0, 2, 1, 3)) if axis == 2 else y


def _infer_resample(x, size, **_):
    _image_shape(x, "resample")
    return (x[0], *size, x[3])


@differentiable(infer=_infer_resample)
def resample(xp, x, /, size, method="bilinear"):
    """Return images of another size.

    Args:
        x: float tensor (N, height, width, C).
        size: pair of ints, the new height and width.
        method: one of `RESIZE_METHODS`, each as ``tf.image.resize`` has it: without
            smoothing where images get smaller, except for ``'area'``.

    Returns:
        Tensor (N, *size, C) of the dtype of ``x``.
    """
    _image_shape(x.shape, "resample")
    if method not in RESIZE_METHODS:
        raise ValueError(f"resample: expected method to be one of {RESIZE_METHODS}, got {method!r}")
    sizes = [(axis, int(x.shape[axis]), int(n)) for axis, n in zip((1, 2), size)]
    if any(old < 1 or new < 1 for _, old, new in sizes):
        raise ShapeError(
            f"resample: expected sizes > 0, got shape {tuple(x.shape)} and size {size}"
        )
    module, exact = arrays.module_of(value_of(x)), _exact(x.dtype)
    saved = ([s for s in sizes if s[1] != s[2] or method in _BLURRING], method)
    y = x if method == "nearest" else x.astype(exact)
    for axis, old, new in saved[0]:
        before = (slice(None),) * axis
        if method == "nearest":
            y = y[(*before, _nearest(module, old, new, exact).astype("int64"))]
        elif method == "bilinear":
            low, high, part = _between(module, old, new, exact)
            part = part.reshape((-1, *(1,) * (3 - axis)))
            y = y[(*before, low)] * (1 - part) + y[(*before, high)] * part
        else:
            y = _along(xp, _resizing(module, old, new, method, exact), y, axis)
    return y.astype(x.dtype), saved


@resample.backward
def resample_backward(xp, saved, gy, needs):
    sizes, method = saved
    module, exact = arrays.module_of(value_of(gy)), _exact(gy.dtype)
    gx = gy.astype(exact)
    for axis, old, new in reversed(sizes):
        gx = _along(xp, _resizing(module, old, new, method, exact).T, gx, axis)
    return (gx.astype(gy.dtype),)


# -- projective maps ------------------------------------------------------------------------


def _brought_inside(xp, at, n, mode):
    """Return coordinates with those outside of 0..n - 1 replaced as a fill mode says."""
    if mode == "constant":
        return at
    last = n - 1
    if mode == "reflect" and n > 1:
        below = at + 2 * n * xp.floor(xp.maximum(-at, 0) / (2 * n))
        below = xp.where(below < -n, below + 2 * n, -below - 1)
        above = at - 2 * n * xp.floor(xp.maximum(at, 0) / (2 * n))
        above = xp.where(above >= n, 2 * n - above - 1, above)
        at = xp.where(at < 0, below, xp.where(at > last, above, at))
    elif mode == "wrap" and n > 1:
        below = at + n * (xp.floor(xp.maximum(-at, 0) / last) + 1)
        above = at - n * xp.floor(xp.maximum(at, 0) / last)
        at = xp.where(at < 0, below, xp.where(at > last, above, at))
    return xp.minimum(xp.maximum(at, 0), last)


def _sources(xp, shape, maps, mode):
    """Return the coordinates (N, height, width) that each point of the result comes from."""
    _, height, width, _ = shape
    a0, a1, a2, b0, b1, b2, c0, c1 = (maps[:, i, None, None] for i in range(8))
    x = xp.arange(width, dtype=maps.dtype)
    y = xp.arange(height, dtype=maps.dtype)[:, None]
    depth = c0 * x + c1 * y + 1
    return (
        _brought_inside(xp, (b0 * x + b1 * y + b2) / depth, height, mode),
        _brought_inside(xp, (a0 * x + a1 * y + a2) / depth, width, mode),
    )


def _taps(xp, shape, maps, mode, interpolation):
    """Return pairs (row of the flat image, weight): each result is the weighted sum of those.

    The weights of what lies outside are 0.
    """
    batch, height, width, _ = shape
    y, x = _sources(xp, shape, maps, mode)
    first = (xp.arange(batch) * (height * width))[:, None, None]
    if interpolation == "nearest":
        # Halves go away from 0, as in C.
        y, x = (xp.sign(at) * xp.floor(xp.abs(at) + 0.5) for at in (y, x))
        points = [(y, x, 1.0)]
    else:
        y0, x0 = xp.floor(y), xp.floor(x)
        fy, fx = y - y0, x - x0
        points = [
            (y0, x0, (1 - fy) * (1 - fx)),
            (y0, x0 + 1, (1 - fy) * fx),
            (y0 + 1, x0, fy * (1 - fx)),
            (y0 + 1, x0 + 1, fy * fx),
        ]
    taps = []
    for row, column, weight in points:
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        row = xp.minimum(xp.maximum(row, 0), height - 1).astype("int64")
        column = xp.minimum(xp.maximum(column, 0), width - 1).astype("int64")
        taps.append((first + row * width + column, xp.where(inside, weight, 0.0)[..., None]))
    return taps


def _infer_transform(x, maps, **_):
    _image_shape(x, "transform")
    if len(maps) != 2 or maps[1] != 8:
        raise ShapeError(f"transform: expected maps of shape (N, 8), got {tuple(maps)}")
    return tuple(x)


@differentiable(infer=_infer_transform)
def transform(xp, x, maps, /, fill_mode="reflect", fill_value=0.0, interpolation="bilinear"):
    """Return images moved by a projective map each.

    Args:
        x: float tensor (N, height, width, C).
        maps: float tensor (N, 8); the row ``a0, a1, a2, b0, b1, b2, c0, c1`` says that the point
            ``(x, y)`` of the result comes from
            ``((a0 x + a1 y + a2) / k, (b0 x + b1 y + b2) / k)`` with ``k = c0 x + c1 y + 1``.
        fill_mode: what lies outside: ``'reflect'`` (dcba|abcd|dcba), ``'wrap'``
            (abcd|abcd|abcd), ``'nearest'`` (aaaa|abcd|dddd) or ``'constant'``.
        fill_value: float, for ``'constant'``.
        interpolation: ``'bilinear'`` or ``'nearest'``.

    Returns:
        Tensor of the shape and dtype of ``x``; ``maps`` gets no gradient.
    """
    if fill_mode not in FILL_MODES:
        raise ValueError(f"transform: expected fill_mode among {FILL_MODES}, got {fill_mode!r}")
    if interpolation not in ("nearest", "bilinear"):
        raise ValueError(
            f"transform: expected interpolation 'nearest' or 'bilinear', got {interpolation!r}"
        )
    shape = tuple([int(n) for n in x.shape])
    raw = value_of(maps)
    module = arrays.module_of(raw)
    taps = _taps(module, shape, raw.astype(_exact(x.dtype)), fill_mode, interpolation)
    taps = [(rows, weight.astype(x.dtype)) for rows, weight in taps]
    flat = x.reshape((-1, shape[-1]))
    y = 1.0 - sum([weight for _, weight in taps[1:]], taps[0][1]) if fill_value else 0.0
    y = y * fill_value
    for rows, weight in taps:
        y = y + xp.take(flat, rows, axis=0) * weight
    return y, (taps, shape)


@transform.backward
def transform_backward(xp, saved, gy, needs):
    taps, shape = saved
    if not needs[0]:
        return None, None
    gx = None
    for rows, weight in taps:
        part = add_rows(xp, gy * weight, rows, (shape[0] * shape[1] * shape[2], shape[3]))
        gx = part if gx is None else gx + part
    return gx.reshape(shape), None
