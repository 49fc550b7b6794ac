"""Layers that move, turn and recolour images at random, in training alone."""

import math

from gpunet import arrays, ops
from gpunet.layers.image import RandomImage, chosen, interval, ordered
from gpunet.ops.image import FILL_MODES
from gpunet.registry import layers as registered
from gpunet.tensor import Tensor

__all__ = [
    "RandomFlip",
    "RandomTranslation",
    "RandomRotation",
    "RandomZoom",
    "RandomContrast",
    "RandomBrightness",
]


@registered.register()
class RandomFlip(RandomImage):
    """Turns each image left to right, or upside down, in training, with probability 1/2.

    Args:
        mode: ``'horizontal'``, ``'vertical'`` or ``'horizontal_and_vertical'``.
        seed: int, gives this layer a random stream of its own.
        **kwargs: see `Layer`.

    Shapes:
        (batch, height, width, channels) -> the same; also without batch

    Raises:
        ValueError: an unknown mode.
    """

    has_shape_rule = True

    def __init__(self, mode="horizontal_and_vertical", seed=None, **kwargs):
        super().__init__(seed, **kwargs)
        known = ("horizontal", "vertical", "horizontal_and_vertical")
        self.mode = chosen("RandomFlip", "mode", mode, known)

    def _randomized(self, x):
        for word, axis in (("horizontal", 2), ("vertical", 1)):
            if word in self.mode:
                chosen = ops.less(self._draw((int(x.shape[0]), 1, 1, 1), (0.0, 1.0)), 0.5)
                x = ops.where(chosen, ops.reverse(x, axes=axis), x)
        return x


class _RandomMap(RandomImage):
    """Base of the layers that move each image by a random projective map.

    A subclass gives `_map`.
    """

    has_shape_rule = True

    def __init__(self, fill_mode, interpolation, seed, fill_value, **kwargs):
        super().__init__(seed, **kwargs)
        kind = type(self).__name__
        self.fill_mode = chosen(kind, "fill_mode", fill_mode, FILL_MODES)
        known = ("nearest", "bilinear")
        self.interpolation = chosen(kind, "interpolation", interpolation, known)
        self.fill_value = float(fill_value)

    def _map(self, batch, height, width):
        """Return the first six numbers of each map, see `ops.transform`: numbers or (batch, 1)."""
        raise NotImplementedError

    def _randomized(self, x):
        batch, height, width = (int(n) for n in x.shape[:3])
        one = Tensor(arrays.current_device().xp.ones((batch, 1), "float32"))
        parts = [ops.multiply(one, p) for p in (*self._map(batch, height, width), 0.0, 0.0)]
        return ops.transform(
            x,
            ops.concatenate(parts, axis=1),
            fill_mode=self.fill_mode,
            fill_value=self.fill_value,
            interpolation=self.interpolation,
        )


@registered.register()
class RandomTranslation(_RandomMap):
    """Shifts each image by a random part of its size in training.

    Args:
        height_factor: pair of floats from -1 to 1, how far down, as a part of the height; a
            number f means (-f, f).
        width_factor: the same to the right, as a part of the width.
        fill_mode, fill_value, interpolation: see `ops.transform`.
        seed: int, gives this layer a random stream of its own.
        **kwargs: see `Layer`.

    Shapes:
        (batch, height, width, channels) -> the same; also without batch

    Raises:
        ValueError: an argument out of range.
    """

    has_shape_rule = True

    def __init__(
        self,
        height_factor,
        width_factor,
        fill_mode="reflect",
        interpolation="bilinear",
        seed=None,
        fill_value=0.0,
        **kwargs,
    ):
        super().__init__(fill_mode, interpolation, seed, fill_value, **kwargs)
        kind = type(self).__name__
        self.height_factor, self.width_factor = height_factor, width_factor
        self._height = ordered(kind, "height_factor", height_factor, -1.0, 1.0)
        self._width = ordered(kind, "width_factor", width_factor, -1.0, 1.0)

    def _map(self, batch, height, width):
        down = self._draw((batch, 1), self._height) * height
        right = self._draw((batch, 1), self._width) * width
        return 1.0, 0.0, -right, 0.0, 1.0, -down


@registered.register()
class RandomRotation(_RandomMap):
    """Turns each image about its middle by a random angle in training.

    Args:
        factor: pair of floats, parts of a full turn counter-clockwise; a number f means (-f, f).
        fill_mode, fill_value, interpolation: see `ops.transform`.
        seed: int, gives this layer a random stream of its own.
        **kwargs: see `Layer`.

    Shapes:
        (batch, height, width, channels) -> the same; also without batch

    Raises:
        ValueError: an argument out of range.
    """

    has_shape_rule = True

    def __init__(
        self,
        factor,
        fill_mode="reflect",
        interpolation="bilinear",
        seed=None,
        fill_value=0.0,
        **kwargs,
    ):
        super().__init__(fill_mode, interpolation, seed, fill_value, **kwargs)
        self.factor = factor
        self._bounds = ordered("RandomRotation", "factor", factor)

    def _map(self, batch, height, width):
        low, high = self._bounds
        angle = self._draw((batch, 1), (low * 2 * math.pi, high * 2 * math.pi))
        cos, sin = ops.cos(angle), ops.sin(angle)
        right, down = width - 1, height - 1
        x = (right - (cos * right - sin * down)) / 2
        y = (down - (sin * right + cos * down)) / 2
        return cos, -sin, x, sin, cos, y


@registered.register()
class RandomZoom(_RandomMap):
    """Makes what each image shows larger or smaller by a random factor in training.

    Args:
        height_factor: pair of floats from -1 to 1, by what part more of the height is shown: above
            0 things get smaller; a number f means (-f, f).
        width_factor: the same for the width; None keeps the proportions.
        fill_mode, fill_value, interpolation: see `ops.transform`.
        seed: int, gives this layer a random stream of its own.
        **kwargs: see `Layer`.

    Shapes:
        (batch, height, width, channels) -> the same; also without batch

    Raises:
        ValueError: an argument out of range.
    """

    has_shape_rule = True

    def __init__(
        self,
        height_factor,
        width_factor=None,
        fill_mode="reflect",
        interpolation="bilinear",
        seed=None,
        fill_value=0.0,
        **kwargs,
    ):
        super().__init__(fill_mode, interpolation, seed, fill_value, **kwargs)
        kind = type(self).__name__
        self.height_factor, self.width_factor = height_factor, width_factor
        self._height = interval(kind, "height_factor", height_factor, -1.0, 1.0)
        self._width = None
        if width_factor is not None:
            self._width = interval(kind, "width_factor", width_factor, -1.0)

    def _map(self, batch, height, width):
        high = self._draw((batch, 1), [1 + f for f in self._height])
        wide = high if self._width is None else self._draw((batch, 1), [1 + f for f in self._width])
        return wide, 0.0, (1 - wide) * ((width - 1) / 2), 0.0, high, (1 - high) * ((height - 1) / 2)


# -- colour -------------------------------------------------------------------------------


@registered.register()
class RandomContrast(RandomImage):
    """Pulls a batch of images away from their means by a random factor in training.

    The result is kept between 0 and 255.

    Args:
        factor: pair of floats (a, b), a from 0 to 1 and b >= 0; the factor lies between ``1 - a``
            and ``1 + b``.  A number f means (f, f).
        seed: int, gives this layer a random stream of its own.
        **kwargs: see `Layer`.

    Shapes:
        (batch, height, width, channels) -> the same; also without batch

    Raises:
        ValueError: a factor out of range.
    """

    has_shape_rule = True

    def __init__(self, factor, seed=None, **kwargs):
        super().__init__(seed, **kwargs)
        self.factor = factor
        low, high = interval("RandomContrast", "factor", factor, 0.0, symmetric=False)
        if low > 1:
            raise ValueError(f"RandomContrast: expected factor to begin below 1, got {factor!r}")
        self._bounds = (1 - low, 1 + high)

    def _randomized(self, x):
        factor = ops.cast(self._draw((), self._bounds), x.dtype)
        mean = ops.mean(x, axis=(1, 2), keepdims=True)
        return ops.clip((x - mean) * factor + mean, 0.0, 255.0)


@registered.register()
class RandomBrightness(RandomImage):
    """Adds a random number to each image in training.

    Args:
        factor: pair of floats from -1 to 1, parts of the range of values; a number f means
            (-f, f).
        value_range: pair of numbers, in which the result is kept.
        seed: int, gives this layer a random stream of its own.
        **kwargs: see `Layer`.

    Shapes:
        (batch, height, width, channels) -> the same; also without batch

    Raises:
        ValueError: an argument out of range.
    """

    has_shape_rule = True

    def __init__(self, factor, value_range=(0, 255), seed=None, **kwargs):
        super().__init__(seed, **kwargs)
        self.factor = sorted(interval("RandomBrightness", "factor", factor, -1.0, 1.0))
        if not isinstance(value_range, (tuple, list)) or len(value_range) != 2:
            raise ValueError(
                f"RandomBrightness: expected value_range to be a pair of numbers, "
                f"got {value_range!r}"
            )
        self.value_range = sorted(value_range)

    def _randomized(self, x):
        low, high = self.value_range
        more = self._draw((int(x.shape[0]), 1, 1, 1), self.factor) * float(high - low)
        return ops.clip(x + ops.cast(more, x.dtype), float(low), float(high))
