"""Hyperparameters: device scalars that a step reads without the host."""

import numpy as np

from gpunet import arrays, config, schedules
from gpunet.schedules import LearningRateSchedule
from gpunet.tensor import Tensor
from gpunet.variables import Variable

__all__ = ["Hyper", "Hypers", "epsilon_or_default", "not_negative"]


class Hyper:
    """A hyperparameter: a float32 scalar on the device that assigning changes in place.

    Declared in a class body, like a property.

    Args:
        name: str; None takes the attribute's name.
    """

    def __init__(self, name=None):
        self.name = name

    def __set_name__(self, owner, name):
        self.name = self.name or name

    def __get__(self, optimizer, owner=None):
        if optimizer is None:
            return self
        try:
            return optimizer._hyper[self.name]
        except KeyError:
            raise AttributeError(f"{owner.__name__} has no {self.name!r} yet") from None

    def __set__(self, optimizer, value):
        optimizer._set_hyper(self.name, value)


class Hypers:
    """The part of `Optimizer` that holds hyperparameters."""

    def hyper(self, xp, name):
        """Return a hyperparameter as a float64 scalar, for `coefficients`; see `exact`."""
        return self.exact(xp, self._hyper[name])

    def exact(self, xp, scalar):
        """Return the value of a Variable without axes as float64: a Python float on the CPU."""
        value = scalar.array
        if xp is np and type(value) is np.ndarray:
            return float(value)  # an operation on an array of one element takes ten times as long
        if not arrays.only_numpy and arrays.module_of(value) is not xp:
            value = xp.asarray(arrays.to_host(value))  # made for another device than the weights
        return value.astype(np.float64)

    def assumed(self):
        """Return a tuple of what a step takes for granted: all settings but device scalars."""
        return (
            *_plain_values(self),
            # An option that is 0 is left out of a step.
            *[number > 0 for number in self._given.values()],
            *map(id, self._hyper.values()),
            *[
                _plain_values(h)
                for h in self._hyper.values()
                if isinstance(h, LearningRateSchedule)
            ],
        )

    def _set_hyper(self, name, value):
        old = self._hyper.get(name)
        if isinstance(value, Variable) and old is None:
            self._hyper[name] = value  # shared with whoever gave it
        elif isinstance(value, LearningRateSchedule) and name == "learning_rate":
            self._hyper[name] = value
        elif isinstance(old, Variable) and isinstance(value, Tensor):
            self._given.pop(name, None)
            old.assign(value)
        else:
            number = _number(self, name, value)
            self._given[name] = number
            if isinstance(old, Variable):
                old.assign(number)
            else:
                self._hyper[name] = self._scalar(number, "float32", name)
        if name == "decay":
            self._has_decay = self._given.get(name, 1.0) != 0.0

    def _scalar(self, number, dtype, name):
        # A function, so that nothing is allocated before the first step.
        return Variable(
            lambda shape, dtype: np.asarray(number, dtype), (), dtype, name, trainable=False
        )

    def _plain(self, name):
        """Return a setting as a Python value."""
        value = self._hyper.get(name)
        if value is None:
            value = getattr(self, name)
            return value.item() if isinstance(value, np.generic) else value
        if isinstance(value, LearningRateSchedule):
            return schedules.serialize(value)
        given = self._given.get(name)
        if given is not None and (not value.allocated or float(np.float32(given)) == float(value)):
            return given  # as it was written, without the rounding to float32
        return float(value)


def _number(optimizer, name, value):
    try:
        if callable(value) or isinstance(value, str):
            raise TypeError
        return float(value)
    except TypeError:
        kind = "a number or a LearningRateSchedule" if name == "learning_rate" else "a number"
        raise TypeError(
            f"{type(optimizer).__name__}: expected {name} to be {kind}, got {value!r}"
        ) from None


def epsilon_or_default(epsilon):
    """Return ``epsilon``, or the global one for None and 0."""
    return float(epsilon or config.epsilon())


def not_negative(optimizer, value):
    """Return ``value`` as a float.

    Raises:
        ValueError: it is negative.
    """
    if value < 0:
        raise ValueError(f"{type(optimizer).__name__}: expected a number >= 0, got {value}")
    return float(value)


def _plain_values(value):
    return tuple([v for v in vars(value).values() if isinstance(v, (bool, int, float, str))])
