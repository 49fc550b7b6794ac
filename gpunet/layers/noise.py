"""Layers that add or multiply noise in training."""

import math

from gpunet import ops
from gpunet.layers.arguments import fraction, int_tuple
from gpunet.layers.elementwise import SameShape
from gpunet.ops import random
from gpunet.registry import layers as registered

__all__ = ["GaussianNoise", "GaussianDropout", "AlphaDropout"]


class _Noise(SameShape):
    """Base of the layers that do nothing outside of training."""

    built = True

    def __init__(self, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.seed = seed
        self._generator = None if seed is None else random.Generator(seed)

    def _key(self, count):
        """Return the key of the next ``count`` random numbers."""
        return (self._generator or random.default()).draw(count)

    def _normal(self, x, mean, stddev):
        """Return normally distributed numbers of the shape and type of a tensor."""
        shape, dtype = tuple(map(int, x.shape)), x.dtype.name
        key = self._key(x.size)
        return random.random_normal(key, shape=shape, mean=mean, stddev=stddev, dtype=dtype)


@registered.register()
class GaussianNoise(_Noise):
    """Adds normally distributed noise in training.

    Args:
        stddev: float, standard deviation of the noise.
        seed: int, gives this layer a random stream of its own.
        **kwargs: see `Layer`.

    Shapes:
        any -> the same
    """

    has_shape_rule = True

    def __init__(self, stddev, seed=None, **kwargs):
        super().__init__(seed, **kwargs)
        self.stddev = stddev

    def call(self, inputs, training=None):
        inputs = self._float(inputs)
        if not training:
            return inputs
        return ops.add(inputs, self._normal(inputs, 0.0, float(self.stddev)))


@registered.register()
class GaussianDropout(_Noise):
    """Multiplies by normally distributed noise of mean 1 in training.

    Args:
        rate: float in [0, 1); the standard deviation is ``sqrt(rate / (1 - rate))``.
        seed: int, gives this layer a random stream of its own.
        **kwargs: see `Layer`.

    Shapes:
        any -> the same

    Reference:
        Srivastava et al., JMLR 15 (2014), 1929-1958.
    """

    has_shape_rule = True

    def __init__(self, rate, seed=None, **kwargs):
        super().__init__(seed, **kwargs)
        self.rate = fraction("GaussianDropout", "rate", rate)

    def call(self, inputs, training=None):
        inputs = self._float(inputs)
        if not training or not self.rate:
            return inputs
        stddev = math.sqrt(self.rate / (1 - self.rate))
        return ops.multiply(inputs, self._normal(inputs, 1.0, stddev))


# What SELU saturates at: minus its scale times its alpha.
_SATURATION = -1.0507009873554805 * 1.6732632423543772


@registered.register()
class AlphaDropout(_Noise):
    """Sets a random part of the input to SELU's negative saturation in training.

    Mean and variance stay what they were.

    Args:
        rate: float in [0, 1), the part that is dropped.
        noise_shape: tuple that broadcasts to the input's shape, the shape of the random mask;
            None in it means the input's own size there.
        seed: int, gives this layer a random stream of its own.
        **kwargs: see `Layer`.

    Shapes:
        any -> the same

    Reference:
        Klambauer et al., 2017, arXiv:1706.02515.
    """

    has_shape_rule = True

    def __init__(self, rate, noise_shape=None, seed=None, **kwargs):
        super().__init__(seed, **kwargs)
        self.rate = fraction("AlphaDropout", "rate", rate)
        if noise_shape is not None:
            noise_shape = int_tuple("AlphaDropout", "noise_shape", noise_shape)
        self.noise_shape = noise_shape

    def call(self, inputs, training=None):
        inputs = self._float(inputs)
        if not training or not self.rate:
            return inputs
        rate = self.rate
        scale = ((1 - rate) * (1 + rate * _SATURATION**2)) ** -0.5
        shape = tuple(map(int, inputs.shape))
        if self.noise_shape is not None:
            pairs = zip(self.noise_shape, shape, strict=True)
            shape = tuple([own if n is None else int(n) for n, own in pairs])
        key = self._key(math.prod(shape))
        kept = random.random_binomial(key, shape=shape, p=1 - rate, dtype=inputs.dtype.name)
        # scale * (x where kept, saturation elsewhere) + what brings the mean back to 0
        dropped = ops.multiply(ops.subtract(1.0, kept), scale * _SATURATION)
        shift = ops.add(dropped, -scale * _SATURATION * rate)
        return ops.affine(inputs, ops.multiply(kept, scale), shift)
