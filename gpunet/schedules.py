"""Learning rates that follow the step count; evaluated on the device at every step."""

import math

import numpy as np

from gpunet import arrays, registry
from gpunet.tensor import Tensor, convert_to_tensor

__all__ = [
    "LearningRateSchedule",
    "ExponentialDecay",
    "PiecewiseConstantDecay",
    "PolynomialDecay",
    "InverseTimeDecay",
    "CosineDecay",
    "CosineDecayRestarts",
    "serialize",
    "deserialize",
]


class LearningRateSchedule:
    """Base of all schedules: a function of the step, which is counted from 0.

    A schedule of one's own overrides `__call__`, where the step is a tensor without axes
    and must not be read by the host, and `get_config`.
    """

    def __call__(self, step):
        """Return the learning rate of a step.

        Args:
            step: tensor without axes, or a number.

        Returns:
            Tensor without axes, float32 unless the step is float64.
        """
        array = convert_to_tensor(step).array
        if array.dtype.kind != "f":
            array = array.astype("float32")
        xp = arrays.module_of(array)
        return Tensor(xp.asarray(self.rate(xp, array.astype("float64"))).astype(array.dtype))

    def rate(self, xp, step):
        """Return the learning rate; array function behind `__call__`.

        Args:
            xp: array module.
            step: float64 array without axes.
        """
        raise NotImplementedError(f"{type(self).__name__} must override __call__(self, step)")

    def get_config(self):
        """Return the constructor's arguments as a dict."""
        raise NotImplementedError(f"{type(self).__name__} must override get_config()")

    @classmethod
    def from_config(cls, config):
        """Make a schedule from its config."""
        return cls(**config)


class _Schedule(LearningRateSchedule):
    """Schedules whose attributes are named as their constructor's arguments."""

    arguments = ()

    def get_config(self):
        return {key: getattr(self, key) for key in self.arguments}


@registry.schedules.register()
class ExponentialDecay(_Schedule):
    """``initial_learning_rate * decay_rate ** (step / decay_steps)``.

    Args:
        initial_learning_rate: float.
        decay_steps: int > 0.
        decay_rate: float.
        staircase: bool, whether the exponent is rounded down.
        name: str.
    """

    arguments = ("initial_learning_rate", "decay_steps", "decay_rate", "staircase", "name")

    def __init__(self, initial_learning_rate, decay_steps, decay_rate, staircase=False, name=None):
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = decay_steps
        self.decay_rate = decay_rate
        self.staircase = staircase
        self.name = name

    def rate(self, xp, step):
        p = step / self.decay_steps
        p = xp.floor(p) if self.staircase else p
        return self.initial_learning_rate * self.decay_rate**p


@registry.schedules.register()
class PiecewiseConstantDecay(_Schedule):
    """``values[i]`` from the step after ``boundaries[i - 1]`` to ``boundaries[i]``.

    Args:
        boundaries: list of increasing numbers.
        values: list of floats, one more than boundaries.
        name: str.

    Raises:
        ValueError: the lengths don't fit.
    """

    arguments = ("boundaries", "values", "name")

    def __init__(self, boundaries, values, name=None):
        if len(boundaries) != len(values) - 1:
            raise ValueError(
                f"PiecewiseConstantDecay: expected one boundary less than values, "
                f"got {len(boundaries)} boundaries and {len(values)} values"
            )
        self.boundaries = list(boundaries)
        self.values = list(values)
        self.name = name

    def rate(self, xp, step):
        rate = xp.full_like(step, self.values[0])
        for boundary, value in zip(self.boundaries, self.values[1:]):
            rate = xp.where(step > boundary, value, rate)
        return rate


@registry.schedules.register()
class PolynomialDecay(_Schedule):
    """From ``initial_learning_rate`` to ``end_learning_rate`` as ``(1 - step/steps) ** power``.

    Args:
        initial_learning_rate: float.
        decay_steps: int > 0.
        end_learning_rate: float.
        power: float.
        cycle: bool; after ``decay_steps`` steps they are doubled, then tripled and so on,
            instead of staying at the end.
        name: str.
    """

    arguments = (
        "initial_learning_rate",
        "decay_steps",
        "end_learning_rate",
        "power",
        "cycle",
        "name",
    )

    def __init__(
        self,
        initial_learning_rate,
        decay_steps,
        end_learning_rate=0.0001,
        power=1.0,
        cycle=False,
        name=None,
    ):
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = decay_steps
        self.end_learning_rate = end_learning_rate
        self.power = power
        self.cycle = cycle
        self.name = name

    def rate(self, xp, step):
        p = step / self.decay_steps
        p = p / xp.maximum(xp.ceil(p), 1.0) if self.cycle else xp.minimum(p, 1.0)
        span = self.initial_learning_rate - self.end_learning_rate
        return span * (1 - p) ** self.power + self.end_learning_rate


@registry.schedules.register()
class InverseTimeDecay(_Schedule):
    """``initial_learning_rate / (1 + decay_rate * step / decay_steps)``.

    Args:
        initial_learning_rate: float.
        decay_steps: int > 0.
        decay_rate: float.
        staircase: bool, whether ``step / decay_steps`` is rounded down.
        name: str.
    """

    arguments = ExponentialDecay.arguments

    def __init__(self, initial_learning_rate, decay_steps, decay_rate, staircase=False, name=None):
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = decay_steps
        self.decay_rate = decay_rate
        self.staircase = staircase
        self.name = name

    def rate(self, xp, step):
        p = step / self.decay_steps
        p = xp.floor(p) if self.staircase else p
        return self.initial_learning_rate / (1 + self.decay_rate * p)


@registry.schedules.register()
class CosineDecay(_Schedule):
    """Half a cosine from ``initial_learning_rate`` down to ``alpha`` times it.

    Args:
        initial_learning_rate: float.
        decay_steps: int > 0.
        alpha: float, the part that is left at the end.
        name: str.
        warmup_target: float or None; the rate first rises linearly to it, and the cosine
            begins there.
        warmup_steps: int, steps of that rise.

    Reference:
        Loshchilov & Hutter, 2016, arXiv:1608.03983.
    """

    arguments = (
        "initial_learning_rate",
        "decay_steps",
        "alpha",
        "name",
        "warmup_target",
        "warmup_steps",
    )

    def __init__(
        self,
        initial_learning_rate,
        decay_steps,
        alpha=0.0,
        name=None,
        warmup_target=None,
        warmup_steps=0,
    ):
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = decay_steps
        self.alpha = alpha
        self.name = name
        self.warmup_target = warmup_target
        self.warmup_steps = warmup_steps

    def rate(self, xp, step):
        warm = self.warmup_target is not None
        top = self.warmup_target if warm else self.initial_learning_rate
        after = step - self.warmup_steps if warm else step
        p = xp.clip(after / self.decay_steps, 0.0, 1.0)
        rate = top * ((1 - self.alpha) * 0.5 * (1 + xp.cos(math.pi * p)) + self.alpha)
        if warm and self.warmup_steps:
            rise = (top - self.initial_learning_rate) * (step / self.warmup_steps)
            rate = xp.where(step < self.warmup_steps, rise + self.initial_learning_rate, rate)
        return rate


@registry.schedules.register()
class CosineDecayRestarts(_Schedule):
    """Half cosines one after the other, each longer and lower than the one before.

    Args:
        initial_learning_rate: float.
        first_decay_steps: int > 0, steps of the first.
        t_mul: float >= 1, each takes so many times the steps of the one before.
        m_mul: float, each begins at so many times the rate of the one before.
        alpha: float, the part of the initial rate that is left at the end of each.
        name: str.

    Reference:
        Loshchilov & Hutter, 2016, arXiv:1608.03983.
    """

    arguments = ("initial_learning_rate", "first_decay_steps", "t_mul", "m_mul", "alpha", "name")

    def __init__(
        self, initial_learning_rate, first_decay_steps, t_mul=2.0, m_mul=1.0, alpha=0.0, name=None
    ):
        self.initial_learning_rate = initial_learning_rate
        self.first_decay_steps = first_decay_steps
        self.t_mul = t_mul
        self.m_mul = m_mul
        self.alpha = alpha
        self.name = name

    def rate(self, xp, step):
        p = step / self.first_decay_steps
        if self.t_mul == 1.0:
            i = xp.floor(p)
            p = p - i
        else:
            # The sum keeps a restart's own first step from being rounded below it.
            grown = 1 + p * (self.t_mul - 1)
            i = xp.floor(xp.log(grown) / math.log(self.t_mul) + 1e-9)
            length = self.t_mul**i
            p = (p - (length - 1) / (self.t_mul - 1)) / length
        top = self.m_mul**i
        cosine = 0.5 * top * (1 + xp.cos(math.pi * p))
        return self.initial_learning_rate * ((1 - self.alpha) * cosine + self.alpha)


def serialize(learning_rate_schedule, use_legacy_format=False):
    """Return a schedule as ``{"class_name": ..., "config": ...}``."""
    made = registry.schedules.serialize(learning_rate_schedule)
    made["config"] = {k: _plain(v) for k, v in made["config"].items()}
    return made


def _plain(value):
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value.item() if isinstance(value, (np.generic, np.ndarray, Tensor)) else value


def deserialize(config, custom_objects=None, use_legacy_format=False):
    """Make a schedule from what `serialize` returned.

    Args:
        config: dict.
        custom_objects: dict name -> class.
    """
    return registry.schedules.deserialize(config, custom_objects)
