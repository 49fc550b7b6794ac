"""Initializers that draw random numbers."""

import math
import operator

from gpunet import arrays, registry
from gpunet.errors import ShapeError
from gpunet.initializers.base import Initializer
from gpunet.ops import random
from gpunet.tensor import Tensor

__all__ = [
    "RandomNormal",
    "RandomUniform",
    "TruncatedNormal",
    "VarianceScaling",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "LecunNormal",
    "LecunUniform",
    "Orthogonal",
    "compute_fans",
]

_register = registry.initializers.register

# Standard deviation of a normal distribution cut off at two of its own.
_TRUNCATED_STDDEV = 0.87962566103423978


class _Random(Initializer):
    """Base of what draws random numbers.

    Attributes:
        seed: int, for numbers of its own, others at each call; None draws from gpunet's.
    """

    def _seed(self, seed):
        if seed is not None:
            try:
                seed = operator.index(seed)
            except TypeError:
                raise ValueError(
                    f"{type(self).__name__}: expected an int or None as seed, got {seed!r}"
                ) from None
        self.seed = seed
        self._draws = 0

    def _reserve(self):
        if self.seed is None:
            return random.default().reserve()
        self._draws += 1
        return random.seeded(self.seed, self._draws)


@_register("random_normal", "normal")
class RandomNormal(_Random):
    """Normally distributed numbers.

    Args:
        mean: float.
        stddev: float.
        seed: int or None.
    """

    def __init__(self, mean=0.0, stddev=0.05, seed=None):
        self.mean = mean
        self.stddev = stddev
        self._seed(seed)

    def _values(self, key, shape, dtype):
        return random.normal(shape, self.mean, self.stddev, dtype, key)

    def get_config(self):
        return {"mean": self.mean, "stddev": self.stddev, "seed": self.seed}


@_register("random_uniform", "uniform")
class RandomUniform(_Random):
    """Numbers spread evenly over an interval.

    Args:
        minval: float, lower end.
        maxval: float, upper end.
        seed: int or None.
    """

    def __init__(self, minval=-0.05, maxval=0.05, seed=None):
        self.minval = minval
        self.maxval = maxval
        self._seed(seed)

    def _values(self, key, shape, dtype):
        return random.uniform(shape, self.minval, self.maxval, dtype, key)

    def get_config(self):
        return {"minval": self.minval, "maxval": self.maxval, "seed": self.seed}


@_register("truncated_normal")
class TruncatedNormal(_Random):
    """Normally distributed numbers, none further than two ``stddev`` from the mean.

    Args:
        mean: float.
        stddev: float, before the distribution is cut off.
        seed: int or None.
    """

    def __init__(self, mean=0.0, stddev=0.05, seed=None):
        self.mean = mean
        self.stddev = stddev
        self._seed(seed)

    def _values(self, key, shape, dtype):
        return random.truncated_normal(shape, self.mean, self.stddev, dtype, key)

    def get_config(self):
        return {"mean": self.mean, "stddev": self.stddev, "seed": self.seed}


def compute_fans(shape):
    """Return how many inputs an output has, and how many outputs an input has.

    Args:
        shape: tuple of ints, of a weight: (in, out), or (*window, in, out).
    """
    shape = tuple(shape)
    if len(shape) < 2:
        fan = int(shape[0]) if shape else 1
        return fan, fan
    window = math.prod(shape[:-2])
    return int(shape[-2] * window), int(shape[-1] * window)


_MODES = ("fan_in", "fan_out", "fan_avg")
_DISTRIBUTIONS = ("truncated_normal", "untruncated_normal", "uniform")


@_register("variance_scaling")
class VarianceScaling(_Random):
    """Numbers whose variance is ``scale`` by the number of a unit's inputs or outputs.

    Args:
        scale: float > 0.
        mode: ``'fan_in'``, ``'fan_out'`` or ``'fan_avg'``.
        distribution: ``'truncated_normal'`` (``'normal'`` is the same, as in Keras 2.3),
            ``'untruncated_normal'`` or ``'uniform'``.
        seed: int or None.

    Raises:
        ValueError: an option out of its range.

    Reference:
        He et al., 2015, arXiv:1502.01852.
    """

    def __init__(self, scale=1.0, mode="fan_in", distribution="truncated_normal", seed=None):
        who = type(self).__name__
        if not scale > 0:
            raise ValueError(f"{who}: expected a scale > 0, got {scale!r}")
        self.mode = str(mode).lower()
        if self.mode not in _MODES:
            raise ValueError(f"{who}: expected mode from {', '.join(_MODES)}, got {mode!r}")
        known = str(distribution).lower()
        self.distribution = "truncated_normal" if known == "normal" else known
        if self.distribution not in _DISTRIBUTIONS:
            raise ValueError(
                f"{who}: expected distribution from {', '.join(_DISTRIBUTIONS)}, "
                f"got {distribution!r}"
            )
        self.scale = scale
        self._seed(seed)

    def _values(self, key, shape, dtype):
        fan_in, fan_out = compute_fans(shape)
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}
        variance = self.scale / max(1.0, fan[self.mode])
        if self.distribution == "uniform":
            limit = math.sqrt(3 * variance)
            return random.uniform(shape, -limit, limit, dtype, key)
        stddev = math.sqrt(variance)
        if self.distribution == "untruncated_normal":
            return random.normal(shape, 0.0, stddev, dtype, key)
        return random.truncated_normal(shape, 0.0, stddev / _TRUNCATED_STDDEV, dtype, key)

    def get_config(self):
        return {
            "scale": self.scale,
            "mode": self.mode,
            "distribution": self.distribution,
            "seed": self.seed,
        }


class _Scaled(VarianceScaling):
    """A `VarianceScaling` with a name of its own."""

    def get_config(self):
        return {"seed": self.seed}


@_register("glorot_normal")
class GlorotNormal(_Scaled):
    """Truncated normal numbers of variance 1 by the mean number of inputs and outputs.

    Args:
        seed: int or None.

    Reference:
        Glorot and Bengio, 2010, "Understanding the difficulty of training deep feedforward
        neural networks".
    """

    def __init__(self, seed=None):
        super().__init__(1.0, "fan_avg", "truncated_normal", seed)


@_register("glorot_uniform")
class GlorotUniform(_Scaled):
    """Evenly spread numbers of variance 1 by the mean number of inputs and outputs.

    Args:
        seed: int or None.

    Reference:
        Glorot and Bengio, 2010, "Understanding the difficulty of training deep feedforward
        neural networks".
    """

    def __init__(self, seed=None):
        super().__init__(1.0, "fan_avg", "uniform", seed)


@_register("he_normal")
class HeNormal(_Scaled):
    """Truncated normal numbers of variance 2 by the number of inputs.

    Args:
        seed: int or None.

    Reference:
        He et al., 2015, arXiv:1502.01852.
    """

    def __init__(self, seed=None):
        super().__init__(2.0, "fan_in", "truncated_normal", seed)


@_register("he_uniform")
class HeUniform(_Scaled):
    """Evenly spread numbers of variance 2 by the number of inputs.

    Args:
        seed: int or None.

    Reference:
        He et al., 2015, arXiv:1502.01852.
    """

    def __init__(self, seed=None):
        super().__init__(2.0, "fan_in", "uniform", seed)


@_register("lecun_normal")
class LecunNormal(_Scaled):
    """Truncated normal numbers of variance 1 by the number of inputs.

    Args:
        seed: int or None.

    Reference:
        LeCun et al., 1998, "Efficient BackProp".
    """

    def __init__(self, seed=None):
        super().__init__(1.0, "fan_in", "truncated_normal", seed)


@_register("lecun_uniform")
class LecunUniform(_Scaled):
    """Evenly spread numbers of variance 1 by the number of inputs.

    Args:
        seed: int or None.

    Reference:
        LeCun et al., 1998, "Efficient BackProp".
    """

    def __init__(self, seed=None):
        super().__init__(1.0, "fan_in", "uniform", seed)


@_register("orthogonal")
class Orthogonal(_Random):
    """A matrix with orthogonal columns, or rows if there are less of them, times a number.

    Weights with more axes are taken as a matrix of their last axis and all others.

    Args:
        gain: float.
        seed: int or None.

    Reference:
        Saxe et al., 2013, arXiv:1312.6120.
    """

    def __init__(self, gain=1.0, seed=None):
        self.gain = gain
        self._seed(seed)

    def _check(self, shape, dtype):
        super()._check(shape, dtype)
        if len(shape) < 2:
            raise ShapeError(f"Orthogonal: expected a shape with at least two axes, got {shape}")

    def _values(self, key, shape, dtype):
        rows, columns = math.prod(shape[:-1]), shape[-1]
        computed = "float64" if dtype == "float64" else "float32"
        tall = (max(rows, columns), min(rows, columns))
        drawn = random.normal(tall, dtype=computed, key=key).array
        xp = arrays.module_of(drawn)
        q, r = xp.linalg.qr(drawn)
        q = q * xp.sign(xp.diagonal(r))  # makes all directions equally likely
        q = q if rows >= columns else q.T
        return Tensor((q.reshape(shape) * self.gain).astype(dtype))

    def get_config(self):
        return {"gain": self.gain, "seed": self.seed}
