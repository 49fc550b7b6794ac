"""Layers that resize and crop images (height, width, channels)."""

import math

import numpy as np

from gpunet import arrays, ops
from gpunet.layers.arguments import positive_int
from gpunet.layers.base import InputSpec, Layer
from gpunet.ops import random
from gpunet.ops.image import RESIZE_METHODS
from gpunet.registry import layers as registered
from gpunet.tensor import Tensor, convert_to_tensor

__all__ = [
    "RandomImage",
    "chosen",
    "interval",
    "ordered",
    "Rescaling",
    "Resizing",
    "CenterCrop",
    "RandomCrop",
    "RandomHeight",
    "RandomWidth",
]


def chosen(layer, name, value, known):
    """Return one of the known words; ValueError for any other value."""
    word = value.lower() if isinstance(value, str) else value
    if word not in known:
        wanted = " or ".join(map(repr, known))
        raise ValueError(f"{layer}: expected {name} to be {wanted}, got {value!r}")
    return word


def interval(layer, name, value, least=-math.inf, most=math.inf, symmetric=True):
    """Return a factor as a pair (lower, upper): one number stands for (-it, it), or (it, it).

    Raises:
        ValueError: not in order, or beyond ``least`` and ``most``.
    """
    pair = value if isinstance(value, (tuple, list)) else (-value if symmetric else value, value)
    if len(pair) != 2 or not least <= pair[0] <= most or not least <= pair[1] <= most:
        raise ValueError(
            f"{layer}: expected {name} to be a number or a pair, from {least} to {most}, "
            f"got {value!r}"
        )
    return float(pair[0]), float(pair[1])


def ordered(layer, name, value, *bounds):
    pair = interval(layer, name, value, *bounds)
    if pair[0] > pair[1]:
        raise ValueError(f"{layer}: expected {name} in ascending order, got {value!r}")
    return pair


class _Image(Layer):
    """Base of the layers on one image (height, width, C), or on a batch of them."""

    has_shape_rule = True
    built = True

    def __init__(self, **kwargs):
        kwargs.pop("rng_type", None)  # of the generator, in configs that tf_keras writes
        super().__init__(**kwargs)
        self.input_spec = InputSpec(min_ndim=3, max_ndim=4)

    def call(self, inputs, training=None):
        x = inputs if inputs.dtype == self.compute_dtype else ops.cast(inputs, self.compute_dtype)
        if x.ndim == 4:
            return self._change(x, training)
        return ops.squeeze(self._change(ops.expand_dims(x, 0), training), 0)

    def _change(self, x, training):
        """Return what becomes of a batch of images."""
        raise NotImplementedError

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)


class RandomImage(_Image):
    """Base of the layers that change images in training alone."""

    has_shape_rule = True

    def __init__(self, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.seed = seed
        self._generator = None if seed is None else random.Generator(seed)

    def _draw(self, shape, bounds, dtype="float32"):
        """Return random numbers from an interval."""
        generator = self._generator or random.default()
        key = generator.draw(max(1, math.prod(shape)))
        return random.uniform(shape, *bounds, dtype=dtype, key=key)

    def _change(self, x, training):
        return self._randomized(x) if training else x

    def _randomized(self, x):
        """Return what becomes of a batch of images in training."""
        raise NotImplementedError


# -- size ---------------------------------------------------------------------------------


def _cropped(x, top, left, height, width):
    return x[:, top : top + height, left : left + width]


def _resized_to_aspect(x, height, width, method):
    """Return the largest middle part that has the shape wanted, resized."""
    old_height, old_width = int(x.shape[1]), int(x.shape[2])
    h = min(old_height, int(np.float32(old_width * height) / np.float32(width)))
    w = min(old_width, int(np.float32(old_height * width) / np.float32(height)))
    x = _cropped(x, (old_height - h) // 2, (old_width - w) // 2, h, w)
    return ops.resample(x, size=(height, width), method=method)


class _Sized(_Image):
    """Base of the layers that give images of a size."""

    has_shape_rule = True

    def __init__(self, height, width, **kwargs):
        super().__init__(**kwargs)
        kind = type(self).__name__
        self.height = positive_int(kind, "height", height)
        self.width = positive_int(kind, "width", width)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-3], self.height, self.width, input_shape[-1])

    def _fits(self, x):
        return x.shape[1] >= self.height and x.shape[2] >= self.width


@registered.register()
class Resizing(_Sized):
    """Gives images another size.

    Args:
        height, width: ints > 0, the new size.
        interpolation: ``'bilinear'``, ``'nearest'``, ``'bicubic'``, ``'area'``, ``'lanczos3'``,
            ``'lanczos5'``, ``'gaussian'`` or ``'mitchellcubic'``.
        crop_to_aspect_ratio: bool; rather than to distort images, cut off what is too high or
            too wide.
        **kwargs: see `Layer`.

    Shapes:
        (batch, any, any, channels) -> (batch, height, width, channels); also without batch

    Raises:
        ValueError: a size that isn't a positive int, or an unknown interpolation.
    """

    has_shape_rule = True

    def __init__(
        self, height, width, interpolation="bilinear", crop_to_aspect_ratio=False, **kwargs
    ):
        super().__init__(height, width, **kwargs)
        self.interpolation = chosen("Resizing", "interpolation", interpolation, RESIZE_METHODS)
        self.crop_to_aspect_ratio = bool(crop_to_aspect_ratio)

    def _change(self, x, training):
        if self.crop_to_aspect_ratio:
            return _resized_to_aspect(x, self.height, self.width, self.interpolation)
        return ops.resample(x, size=(self.height, self.width), method=self.interpolation)


@registered.register()
class CenterCrop(_Sized):
    """Takes the middle of images; enlarges smaller ones first, keeping their proportions.

    Args:
        height, width: ints > 0, the new size.
        **kwargs: see `Layer`.

    Shapes:
        (batch, any, any, channels) -> (batch, height, width, channels); also without batch

    Raises:
        ValueError: a size that isn't a positive int.
    """

    def _change(self, x, training):
        if not self._fits(x):
            return _resized_to_aspect(x, self.height, self.width, "bilinear")
        top, left = (int(x.shape[1]) - self.height) // 2, (int(x.shape[2]) - self.width) // 2
        return _cropped(x, top, left, self.height, self.width)


@registered.register()
class RandomCrop(_Sized, RandomImage):
    """Takes a random part of images in training, the same one of a whole batch.

    At other times, and from smaller images, it takes the middle as large as it can be in the
    proportions wanted, and resizes it.

    Args:
        height, width: ints > 0, the new size.
        seed: int, gives this layer a random stream of its own.
        **kwargs: see `Layer`.

    Shapes:
        (batch, any, any, channels) -> (batch, height, width, channels); also without batch

    Raises:
        ValueError: a size that isn't a positive int.
    """

    has_shape_rule = True

    def __init__(self, height, width, seed=None, **kwargs):
        super().__init__(height, width, seed=seed, **kwargs)

    def _change(self, x, training):
        if not training or not self._fits(x):
            return _resized_to_aspect(x, self.height, self.width, "bilinear")
        rows = self._range(int(x.shape[1]), self.height)
        columns = self._range(int(x.shape[2]), self.width)
        return x[:, rows][:, :, columns]

    def _range(self, old, new):
        """Return the indices of a random part of an axis, without reading where it begins."""
        places = old - new + 1
        begin = ops.minimum(ops.floor(self._draw((1,), (0.0, places), "float64")), places - 1)
        steps = Tensor(arrays.current_device().xp.arange(new, dtype="int64"))
        return ops.add(ops.cast(begin, "int64"), steps)


class _RandomSize(RandomImage):
    """Base of the layers that stretch a batch of images by a random factor along one axis.

    The size of the result depends on the number drawn, so it is read on the host.
    """

    has_shape_rule = True
    axis = None

    def __init__(self, factor, interpolation="bilinear", seed=None, **kwargs):
        super().__init__(seed, **kwargs)
        kind = type(self).__name__
        self.factor = factor
        self._bounds = ordered(kind, "factor", factor, -1.0)
        self.interpolation = chosen(kind, "interpolation", interpolation, RESIZE_METHODS)

    def _randomized(self, x):
        size = [int(x.shape[1]), int(x.shape[2])]
        low, high = self._bounds
        factor = np.float32(self._draw((), (1 + low, 1 + high)).numpy())
        size[self.axis] = int(factor * np.float32(size[self.axis]))
        return ops.resample(x, size=tuple(size), method=self.interpolation)

    def compute_output_shape(self, input_shape):
        shape = list(input_shape)
        shape[self.axis - 3] = None
        return tuple(shape)


@registered.register()
class RandomHeight(_RandomSize):
    """Stretches a batch of images to a random height in training.

    Args:
        factor: pair of floats > -1, by what part images get higher; a number f means (-f, f).
        interpolation: see `Resizing`.
        seed: int, gives this layer a random stream of its own.
        **kwargs: see `Layer`.

    Shapes:
        (batch, height, width, channels) -> (batch, random height, width, channels)

    Raises:
        ValueError: a factor below -1 or not in order, or an unknown interpolation.
    """

    axis = 0


@registered.register()
class RandomWidth(_RandomSize):
    """Stretches a batch of images to a random width in training.

    Args:
        factor: pair of floats > -1, by what part images get wider; a number f means (-f, f).
        interpolation: see `Resizing`.
        seed: int, gives this layer a random stream of its own.
        **kwargs: see `Layer`.

    Shapes:
        (batch, height, width, channels) -> (batch, height, random width, channels)

    Raises:
        ValueError: a factor below -1 or not in order, or an unknown interpolation.
    """

    axis = 1


@registered.register()
class Rescaling(Layer):
    """Multiplies by a number and adds one: ``x * scale + offset``.

    Args:
        scale, offset: floats, or lists that broadcast against the input.
        **kwargs: see `Layer`.

    Shapes:
        any -> the same
    """

    has_shape_rule = True
    built = True

    def __init__(self, scale, offset=0.0, **kwargs):
        super().__init__(**kwargs)
        self.scale, self.offset = scale, offset

    def call(self, inputs):
        x = inputs if inputs.dtype == self.compute_dtype else ops.cast(inputs, self.compute_dtype)
        scale, offset = (
            v if isinstance(v, (int, float)) else convert_to_tensor(v, self.compute_dtype)
            for v in (self.scale, self.offset)
        )
        return x * scale + offset

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)
