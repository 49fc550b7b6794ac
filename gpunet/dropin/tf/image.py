"""tf.image: sizes, mirrors, brightness."""

import numpy as np

from gpunet import ops
from gpunet.dropin.tf.arguments import tensor
from gpunet.dropin.tf.random import uniform

__all__ = [
    "ResizeMethod",
    "adjust_brightness",
    "adjust_contrast",
    "central_crop",
    "flip_left_right",
    "flip_up_down",
    "random_brightness",
    "random_flip_left_right",
    "random_flip_up_down",
    "resize",
    "rot90",
]


class ResizeMethod:
    """Names of ways to interpolate."""

    BILINEAR, NEAREST_NEIGHBOR = "bilinear", "nearest"


def _each(function):
    """Return a function of (N, H, W, C) as one of a single image too."""

    def call(image, *args, **kwargs):
        x = tensor(image)
        if len(x.shape) == 4:
            return function(x, *args, **kwargs)
        return ops.squeeze(function(ops.expand_dims(x, 0), *args, **kwargs), axis=0)

    call.__doc__ = function.__doc__
    return call


@_each
def resize(
    images, size, method="bilinear", preserve_aspect_ratio=False, antialias=False, name=None
):
    """Return images in another size (height, width)."""
    if preserve_aspect_ratio or antialias:
        raise NotImplementedError(
            "tf.image.resize: preserve_aspect_ratio and antialias aren't part of what gpunet gives "
            "scripts"
        )
    images = images if images.dtype.kind == "f" else ops.cast(images, "float32")
    return ops.resample(images, size=tuple(int(n) for n in size), method=method)


@_each
def flip_left_right(image):
    """Return images mirrored."""
    return ops.reverse(image, (2,))


@_each
def flip_up_down(image):
    """Return images upside down."""
    return ops.reverse(image, (1,))


@_each
def rot90(image, k=1, name=None):
    """Return images turned by ``k`` right angles against the clock."""
    for _ in range(k % 4):
        image = ops.reverse(ops.permute_dimensions(image, (0, 2, 1, 3)), (1,))
    return image


@_each
def central_crop(image, central_fraction):
    """Return the middle of images, a part of each side."""
    h, w = image.shape[1:3]
    top, left = int((h - h * central_fraction) / 2), int((w - w * central_fraction) / 2)
    return image[:, top : h - top, left : w - left]


def _randomly(function, axis):
    @_each
    def call(image, seed=None):
        """Return images, each mirrored with probability 1/2."""
        coin = ops.less(uniform((image.shape[0], 1, 1, 1), seed=seed), 0.5)
        return ops.where(coin, ops.reverse(image, (axis,)), image)

    return call


random_flip_left_right = _randomly(flip_left_right, 2)
random_flip_up_down = _randomly(flip_up_down, 1)


def adjust_brightness(image, delta):
    """Return images with a number added."""
    return tensor(image) + delta


def random_brightness(image, max_delta, seed=None):
    """Return images with a random number added."""
    return tensor(image) + float(np.asarray(uniform((), -max_delta, max_delta, seed=seed)))


@_each
def adjust_contrast(images, contrast_factor):
    """Return images with their distance from the mean of each channel scaled."""
    mean = ops.mean(images, axis=(1, 2), keepdims=True)
    return (images - mean) * contrast_factor + mean
