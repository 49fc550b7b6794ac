"""Single images turned, moved, sheared, zoomed, mirrored, brightened."""

import numpy as np

from gpunet import optional
from gpunet.errors import ShapeError
from gpunet.preprocessing.image.files import array_to_img, img_to_array, pillow

__all__ = [
    "apply_affine_transform",
    "apply_brightness_shift",
    "apply_channel_shift",
    "flip_axis",
    "random_brightness",
    "random_channel_shift",
    "random_rotation",
    "random_shear",
    "random_shift",
    "random_zoom",
]

FILL_MODES = ("nearest", "constant", "reflect", "wrap")


def apply_affine_transform(
    x,
    theta=0,
    tx=0,
    ty=0,
    shear=0,
    zx=1,
    zy=1,
    row_axis=0,
    col_axis=1,
    channel_axis=2,
    fill_mode="nearest",
    cval=0.0,
    order=1,
):
    """Return an image that is turned, moved, sheared and zoomed, in this order.

    Args:
        x: array of 3 axes.
        theta: float, degrees.
        tx, ty: floats, pixels to the right and down by which the image is looked up.
        shear: float, degrees.
        zx, zy: floats, of width and height; numbers below 1 enlarge.
        row_axis, col_axis, channel_axis: ints, which axis is what; channels come first or last.
        fill_mode: what lies outside: ``'nearest'``, ``'constant'``, ``'reflect'`` or ``'wrap'``.
        cval: float for ``'constant'``.
        order: int from 0 to 5, of the spline between pixels.

    Returns:
        Array like ``x``; ``x`` itself if there is nothing to do.

    Raises:
        ValueError: axes that don't fit.
        ImportError: SciPy isn't installed.
    """
    x = np.asarray(x)
    if {row_axis, col_axis, channel_axis} != {0, 1, 2} or channel_axis == 1:
        raise ValueError(
            "apply_affine_transform: expected 0, 1 and 2 as the axes of rows, columns and "
            "channels, channels first or last, got "
            f"row_axis={row_axis}, col_axis={col_axis}, channel_axis={channel_axis}"
        )
    if x.ndim != 3:
        raise ShapeError(
            "apply_affine_transform: Input arrays must be multi-channel 2D images, got shape "
            f"{x.shape}"
        )
    if fill_mode not in FILL_MODES:
        raise ValueError(
            f"apply_affine_transform: expected fill_mode as one of {FILL_MODES}, got {fill_mode!r}"
        )
    matrix = _matrix(theta, tx, ty, shear, zx, zy)
    if matrix is None:
        return x
    ndimage = optional.load("scipy.ndimage", "apply_affine_transform", "SciPy", "gpunet[image]")
    matrix = _around_center(matrix, x.shape[row_axis], x.shape[col_axis])
    if col_axis > row_axis:  # from (right, down), as the matrix counts, to the order of axes
        matrix = matrix[[1, 0, 2]][:, [1, 0, 2]]
    channels = np.moveaxis(x, channel_axis, 0)
    moved = [
        ndimage.affine_transform(
            channel, matrix[:2, :2], matrix[:2, 2], order=order, mode=fill_mode, cval=cval
        )
        for channel in channels
    ]
    return np.stack(moved, axis=channel_axis)


def _matrix(theta, tx, ty, shear, zx, zy):
    """Return the (3, 3) matrix of all changes, None if there is none."""
    matrices = []
    if theta != 0:
        cos, sin = np.cos(np.deg2rad(theta)), np.sin(np.deg2rad(theta))
        matrices.append([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    if tx != 0 or ty != 0:
        matrices.append([[1, 0, tx], [0, 1, ty], [0, 0, 1]])
    if shear != 0:
        cos, sin = np.cos(np.deg2rad(shear)), np.sin(np.deg2rad(shear))
        matrices.append([[1, -sin, 0], [0, cos, 0], [0, 0, 1]])
    if zx != 1 or zy != 1:
        matrices.append([[zx, 0, 0], [0, zy, 0], [0, 0, 1]])
    if not matrices:
        return None
    matrix = np.array(matrices[0])
    for factor in matrices[1:]:
        matrix = matrix @ np.array(factor)
    return matrix


def _around_center(matrix, height, width):
    """Return a matrix with the image's middle as origin."""
    x, y = height / 2 - 0.5, width / 2 - 0.5
    there = np.array([[1, 0, x], [0, 1, y], [0, 0, 1]])
    back = np.array([[1, 0, -x], [0, 1, -y], [0, 0, 1]])
    return there @ matrix @ back


def apply_channel_shift(x, intensity, channel_axis=0):
    """Return an image with a number added; results stay between its darkest and brightest value.

    Args:
        x: array of 3 axes.
        intensity: float.
        channel_axis: int; all channels get the same.
    """
    return np.clip(x + intensity, np.min(x), np.max(x))


def apply_brightness_shift(x, brightness, scale=True, data_format=None):
    """Return an image made brighter or darker by Pillow.

    Args:
        x: array of 3 axes.
        brightness: float; 0 is black, 1 changes nothing.
        scale: bool, stretch the values to 0 .. 255 before; False does so only if some lie
            outside of it, and takes it back afterwards.
        data_format: as for `img_to_array`.

    Raises:
        ImportError: Pillow isn't installed.
    """
    enhance = pillow("ImageEnhance", "apply_brightness_shift")
    low, high = np.min(x), np.max(x)
    outside = bool(low < 0 or high > 255)
    image = array_to_img(x, data_format, scale=outside or scale)
    y = img_to_array(enhance.Brightness(image).enhance(brightness), data_format)
    return y / 255 * (high - low) + low if outside and not scale else y


def flip_axis(x, axis):
    """Return an array mirrored along an axis."""
    return np.flip(np.asarray(x), axis)


# -- drawn from np.random ---------------------------------------------------------------------


def random_rotation(
    x,
    rg,
    row_axis=1,
    col_axis=2,
    channel_axis=0,
    fill_mode="nearest",
    cval=0.0,
    interpolation_order=1,
):
    """Return an image turned by up to ``rg`` degrees; see `apply_affine_transform`."""
    axes = (row_axis, col_axis, channel_axis, fill_mode, cval, interpolation_order)
    return apply_affine_transform(x, np.random.uniform(-rg, rg), 0, 0, 0, 1, 1, *axes)


def random_shift(
    x,
    wrg,
    hrg,
    row_axis=1,
    col_axis=2,
    channel_axis=0,
    fill_mode="nearest",
    cval=0.0,
    interpolation_order=1,
):
    """Return an image moved by up to the parts ``wrg`` of its width and ``hrg`` of its height."""
    axes = (row_axis, col_axis, channel_axis, fill_mode, cval, interpolation_order)
    ty = np.random.uniform(-hrg, hrg) * x.shape[row_axis]
    tx = np.random.uniform(-wrg, wrg) * x.shape[col_axis]
    return apply_affine_transform(x, 0, tx, ty, 0, 1, 1, *axes)


def random_shear(
    x,
    intensity,
    row_axis=1,
    col_axis=2,
    channel_axis=0,
    fill_mode="nearest",
    cval=0.0,
    interpolation_order=1,
):
    """Return an image sheared by up to ``intensity`` degrees; see `apply_affine_transform`."""
    axes = (row_axis, col_axis, channel_axis, fill_mode, cval, interpolation_order)
    shear = np.random.uniform(-intensity, intensity)
    return apply_affine_transform(x, 0, 0, 0, shear, 1, 1, *axes)


def random_zoom(
    x,
    zoom_range,
    row_axis=1,
    col_axis=2,
    channel_axis=0,
    fill_mode="nearest",
    cval=0.0,
    interpolation_order=1,
):
    """Return an image zoomed in both directions by numbers from ``zoom_range``, a pair."""
    axes = (row_axis, col_axis, channel_axis, fill_mode, cval, interpolation_order)
    low, high = _pair("random_zoom: zoom_range", zoom_range)
    zx, zy = (1, 1) if low == high == 1 else np.random.uniform(low, high, 2)
    return apply_affine_transform(x, 0, 0, 0, 0, zx, zy, *axes)


def random_channel_shift(x, intensity_range, channel_axis=0):
    """Return an image with a number up to ``intensity_range`` added or taken away."""
    intensity = np.random.uniform(-intensity_range, intensity_range)
    return apply_channel_shift(x, intensity, channel_axis=channel_axis)


def random_brightness(x, brightness_range, scale=True):
    """Return an image with a brightness from ``brightness_range``, a pair."""
    low, high = _pair("random_brightness: brightness_range", brightness_range)
    return apply_brightness_shift(x, np.random.uniform(low, high), scale)


def _pair(label, given):
    if not isinstance(given, (tuple, list)) or len(given) != 2:
        raise ValueError(f"{label} should be a tuple or list of two floats. Received: {given}")
    return given
