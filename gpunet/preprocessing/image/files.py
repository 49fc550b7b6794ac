"""Image files, Pillow's images and arrays."""

import io
import os
import warnings

import numpy as np

from gpunet import config, optional
from gpunet.errors import ShapeError
from gpunet.training.feeder import is_whole

__all__ = [
    "array_to_img",
    "checked_format",
    "img_to_array",
    "load_img",
    "save_img",
    "smart_resize",
]

# color_mode -> Pillow's mode, number of channels
COLOR_MODES = {"grayscale": ("L", 1), "rgb": ("RGB", 3), "rgba": ("RGBA", 4)}
# interpolation -> the name of Pillow's filter
_FILTERS = {
    "nearest": "NEAREST",
    "bilinear": "BILINEAR",
    "bicubic": "BICUBIC",
    "hamming": "HAMMING",
    "box": "BOX",
    "lanczos": "LANCZOS",
}
# Grey images of these modes keep their depth.
_GREY = ("L", "I;16", "I")


def pillow(module, who):
    """Return a module of Pillow."""
    return optional.load(f"PIL.{module}", who, "Pillow", "gpunet[image]")


def checked_format(who, data_format):
    """Return a data format, the global one for None.

    Raises:
        ValueError: another one.
    """
    data_format = config.image_data_format() if data_format is None else data_format
    if data_format not in ("channels_last", "channels_first"):
        raise ValueError(
            f"{who}: expected data_format as 'channels_last' or 'channels_first', "
            f"got {data_format!r}"
        )
    return data_format


def load_img(
    path,
    grayscale=False,
    color_mode="rgb",
    target_size=None,
    interpolation="nearest",
    keep_aspect_ratio=False,
):
    """Return an image file as an image of Pillow's.

    Args:
        path: str, bytes, path-like, or a binary file object.
        grayscale: bool, the old way to say ``color_mode='grayscale'``.
        color_mode: ``'rgb'``, ``'rgba'`` or ``'grayscale'``, to which it is converted; grey images
            of 16 or 32 bits stay what they are.
        target_size: pair (height, width); None keeps the size.
        interpolation: ``'nearest'``, ``'bilinear'``, ``'bicubic'``, ``'lanczos'``, ``'box'`` or
            ``'hamming'``.
        keep_aspect_ratio: bool, cut off what is too high or too wide rather than distort.

    Returns:
        ``PIL.Image.Image``.

    Raises:
        ValueError: another mode, size or interpolation.
        OSError: no such file, or one that Pillow can't read.
        ImportError: Pillow isn't installed.
    """
    if grayscale:
        warnings.warn(
            "load_img: grayscale is deprecated. Please use color_mode = 'grayscale'", stacklevel=2
        )
        color_mode = "grayscale"
    check_loading("load_img", color_mode, target_size, interpolation)
    image = pillow("Image", "load_img")
    if not hasattr(path, "read"):
        with open(os.fsdecode(path), "rb") as file:
            path = io.BytesIO(file.read())
    loaded = image.open(path)
    mode = COLOR_MODES[color_mode][0]
    if loaded.mode != mode and not (mode == "L" and loaded.mode in _GREY):
        loaded = loaded.convert(mode)
    if target_size is None or loaded.size == (target_size[1], target_size[0]):
        loaded.load()
        return loaded
    height, width = (int(n) for n in target_size)
    box = _middle(loaded.size, width, height) if keep_aspect_ratio else None
    how = getattr(image.Resampling, _FILTERS[interpolation])
    return loaded.resize((width, height), how, box=box)


def check_loading(who, color_mode, target_size, interpolation):
    """Raise a ValueError for arguments that `load_img` doesn't take."""
    for name, given, known in (
        ("color_mode", color_mode, COLOR_MODES),
        ("interpolation", interpolation, _FILTERS),
    ):
        if given not in known:
            raise ValueError(f"{who}: expected {name} as one of {list(known)}, got {given!r}")
    pair = isinstance(target_size, (tuple, list)) and len(target_size) == 2
    if target_size is not None and not (pair and all(is_whole(n) and n > 0 for n in target_size)):
        raise ValueError(f"{who}: expected target_size as (height, width), got {target_size!r}")


def _middle(size, width, height):
    """Return the box of the largest part in the middle that has the proportions wanted."""
    old_width, old_height = size
    box_height = min(old_height, old_width * height // width)
    box_width = min(old_width, old_height * width // height)
    left, top = (old_width - box_width) // 2, (old_height - box_height) // 2
    return left, top, left + box_width, top + box_height


def img_to_array(img, data_format=None, dtype=None):
    """Return an image of Pillow's, or an array (H, W) or (H, W, C), as an array with channels.

    Args:
        img: image.
        data_format: ``'channels_last'`` or ``'channels_first'``; the global one by default.
        dtype: name; `floatx` by default.

    Returns:
        numpy array ``(height, width, channels)``, or ``(channels, height, width)``.
    """
    data_format = checked_format("img_to_array", data_format)
    x = np.array(img, dtype=dtype or config.floatx())
    if x.ndim == 2:
        x = x[:, :, None]
    if x.ndim != 3:
        raise ShapeError(f"img_to_array: Unsupported image shape: {x.shape}, expected 2 or 3 axes")
    return x.transpose(2, 0, 1) if data_format == "channels_first" else x


def array_to_img(x, data_format=None, scale=True, dtype=None):
    """Return an array as an image of Pillow's.

    Args:
        x: array (H, W, C), or (C, H, W) for ``channels_first``, of 1, 3 or 4 channels.
        data_format: ``'channels_last'`` or ``'channels_first'``; the global one by default.
        scale: bool, stretch the values to 0 .. 255; False takes them as they are and cuts off
            those outside.
        dtype: name of the type to calculate in; `floatx` by default.

    Raises:
        ShapeError: an array of another shape.
        ImportError: Pillow isn't installed.
    """
    data_format = checked_format("array_to_img", data_format)
    image = pillow("Image", "array_to_img")
    x = np.asarray(x, dtype=dtype or config.floatx())
    if x.ndim != 3:
        raise ShapeError(
            "array_to_img: Expected image array to have rank 3 (single image). Got array with "
            f"shape: {x.shape}"
        )
    if data_format == "channels_first":
        x = x.transpose(1, 2, 0)
    if x.shape[2] not in (1, 3, 4):
        raise ShapeError(
            f"array_to_img: Unsupported channel number: expected 1, 3 or 4, got {x.shape[2]} "
            f"({data_format})"
        )
    if scale:
        x = x - np.min(x)
        largest = np.max(x)
        x = x / largest * 255 if largest != 0 else x
    if x.shape[2] == 1:
        x = x[:, :, 0]
        if x.size and np.max(x) > 255:
            return image.fromarray(x.astype("int32"))
    return image.fromarray(np.clip(x, 0, 255).astype("uint8"))


def save_img(path, x, data_format=None, file_format=None, scale=True, **kwargs):
    """Write an array to an image file.

    Args:
        path: str, path-like or a binary file object.
        x: array; see `array_to_img`, as for ``data_format`` and ``scale``.
        file_format: str, such as ``'png'``; by default the suffix tells.
        **kwargs: for ``PIL.Image.Image.save``.
    """
    image = array_to_img(x, data_format=data_format, scale=scale)
    suffix = file_format or os.path.splitext(os.fsdecode(path))[1][1:]
    file_format = "jpeg" if str(file_format).lower() == "jpg" else file_format
    if image.mode == "RGBA" and suffix.lower() in ("jpg", "jpeg"):
        warnings.warn(
            "save_img: The JPG format does not support RGBA images, converting to RGB.",
            stacklevel=2,
        )
        image = image.convert("RGB")
    image.save(path, format=file_format, **kwargs)


def smart_resize(x, size, interpolation="bilinear"):
    """Return images of another size; what is too high or too wide is cut off.

    Args:
        x: array (H, W, C) or (N, H, W, C).
        size: pair (height, width).
        interpolation: as for `gpunet.layers.Resizing`.

    Returns:
        numpy array of `floatx`; for ``'nearest'`` of the dtype of ``x``.
    """
    from gpunet.layers import Resizing  # here: files alone don't need layers

    if not isinstance(size, (tuple, list)) or len(size) != 2:
        raise ValueError(
            f"smart_resize: Expected `size` to be a tuple of 2 integers, but got: {size}."
        )
    x = np.asarray(x)
    if x.ndim not in (3, 4):
        raise ShapeError(
            "smart_resize: Expected an image array with shape `(height, width, channels)`, or "
            f"`(batch_size, height, width, channels)`, but got shape {x.shape}"
        )
    y = Resizing(*size, interpolation=interpolation, crop_to_aspect_ratio=True)(x).numpy()
    return y.astype(x.dtype) if interpolation == "nearest" else y
