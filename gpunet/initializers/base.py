"""What all initializers share, and those that draw no random numbers."""

import functools
import inspect
import operator

import numpy as np

from gpunet import arrays, registry
from gpunet.autodiff import no_tape
from gpunet.config import floatx
from gpunet.errors import ShapeError
from gpunet.tensor import Tensor, as_array

__all__ = ["Initializer", "Zeros", "Ones", "Constant", "Identity", "bind"]

_register = registry.initializers.register


class Initializer:
    """Base of initializers: functions of a shape and a dtype that give a tensor.

    Subclasses write ``__call__(shape, dtype=None)``.
    """

    def __call__(self, shape, dtype=None, **kwargs):
        """Return new values.

        Args:
            shape: tuple of ints.
            dtype: name; None for the default float type.
            **kwargs: ignored.

        Returns:
            Tensor on the current device.

        Raises:
            ShapeError: a shape that isn't made of ints >= 0, or that doesn't suit.
            ValueError: a dtype that doesn't suit.
        """
        return self.bind(shape, dtype)(shape, dtype)

    def bind(self, shape, dtype=None):
        """Fix the random numbers now and compute the values later.

        Args:
            shape: tuple of ints.
            dtype: name; None for the default float type.

        Returns:
            Function ``(shape, dtype) -> Tensor``, which gives the same values at each call.
        """
        if type(self).__call__ is not Initializer.__call__:
            return functools.partial(_call, self)
        self._check(_checked_shape(self, shape), _checked_dtype(self, dtype))
        later = functools.partial(self._later, self._reserve())
        later.draws_anew = True  # see `gpunet.variables.allocate`
        return later

    def _later(self, key, shape, dtype=None):
        shape, dtype = _checked_shape(self, shape), _checked_dtype(self, dtype)
        with no_tape():
            return self._values(key, shape, dtype)

    def _check(self, shape, dtype):
        if np.dtype(dtype).kind != "f":
            raise ValueError(f"{type(self).__name__}: expected a float dtype, got {dtype!r}")

    def _reserve(self):
        return None

    def _values(self, key, shape, dtype):
        raise NotImplementedError(f"{type(self).__name__}: __call__(shape, dtype) isn't written")

    def get_config(self):
        """Return the constructor's arguments."""
        return {}

    @classmethod
    def from_config(cls, config):
        """Make an initializer from `get_config`."""
        config = dict(config)
        config.pop("dtype", None)  # versions before 2.0 wrote it
        return cls(**config)


def _checked_shape(initializer, shape):
    try:
        sizes = tuple([operator.index(n) for n in shape])
    except TypeError:
        sizes = (-1,)
    if any(n < 0 for n in sizes):
        raise ShapeError(
            f"{type(initializer).__name__}: expected a shape of ints >= 0, got {shape!r}"
        )
    return sizes


def _checked_dtype(initializer, dtype):
    if dtype is None:
        return floatx()
    try:
        return np.dtype(getattr(dtype, "name", dtype)).name
    except TypeError:
        raise ValueError(f"{type(initializer).__name__}: unknown dtype {dtype!r}") from None


def _call(function, shape, dtype=None):
    """Call an initializer of the user's, with the dtype if it takes one."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some callables have none
        return function(shape, dtype=dtype)
    if any(p.name == "dtype" or p.kind is p.VAR_KEYWORD for p in parameters):
        return function(shape, dtype=dtype)
    return function(shape)


def bind(initializer, shape, dtype=None):
    """Return a function ``(shape, dtype)`` that gives an initializer's values when called.

    Args:
        initializer: `Initializer`, whose random numbers are fixed now, or any function of a
            shape and perhaps a dtype.
        shape: tuple of ints.
        dtype: name; None for the default float type.
    """
    if isinstance(initializer, Initializer):
        return initializer.bind(shape, dtype)
    return functools.partial(_call, initializer)


class _Filled(Initializer):
    """One value everywhere, of any dtype."""

    value = 0

    def _check(self, shape, dtype):
        pass

    def _values(self, key, shape, dtype):
        xp = arrays.current_device().xp
        return Tensor(xp.full(shape, self.value, dtype))


@_register("zeros", "zero")
class Zeros(_Filled):
    """Zeros."""


@_register("ones", "one")
class Ones(_Filled):
    """Ones."""

    value = 1


@_register("constant")
class Constant(_Filled):
    """A given value.

    Args:
        value: number, or array that can be broadcast to the weight.
    """

    def __init__(self, value=0):
        self.value = value

    def _check(self, shape, dtype):
        try:
            np.broadcast_to(np.empty(np.shape(self.value), bool), shape)
        except ValueError:
            raise ShapeError(
                f"Constant: a value of shape {np.shape(self.value)} doesn't fit shape {shape}"
            ) from None

    def _values(self, key, shape, dtype):
        if np.ndim(self.value) == 0:
            return super()._values(key, shape, dtype)
        xp = arrays.current_device().xp
        return Tensor(xp.broadcast_to(as_array(self.value, dtype), shape).copy())

    def get_config(self):
        value = self.value
        return {"value": value.tolist() if hasattr(value, "tolist") else value}


@_register("identity")
class Identity(Initializer):
    """The identity matrix times a number.

    Args:
        gain: float.
    """

    def __init__(self, gain=1.0):
        self.gain = gain

    def _check(self, shape, dtype):
        super()._check(shape, dtype)
        if len(shape) != 2:
            raise ShapeError(f"Identity: expected the shape of a matrix, got {shape}")

    def _values(self, key, shape, dtype):
        xp = arrays.current_device().xp
        return Tensor(xp.eye(*shape, dtype=dtype) * self.gain)

    def get_config(self):
        return {"gain": self.gain}
