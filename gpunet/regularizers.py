"""Penalties on weights and activations."""

import math

from gpunet import ops, registry
from gpunet.autodiff import differentiable
from gpunet.errors import ShapeError

__all__ = [
    "Regularizer",
    "L1",
    "L2",
    "L1L2",
    "OrthogonalRegularizer",
    "l1",
    "l2",
    "l1_l2",
    "orthogonal_regularizer",
    "get",
    "serialize",
    "deserialize",
]

_register = registry.regularizers.register


class Regularizer:
    """Base of regularizers: functions of a tensor that give a scalar penalty."""

    def __call__(self, x):
        return 0.0

    def get_config(self):
        """Return the constructor's arguments."""
        return {}

    @classmethod
    def from_config(cls, config):
        """Make a regularizer from `get_config`."""
        return cls(**config)


def _factor(who, name, value):
    """Return a penalty factor as a Python float."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        try:
            value = value.item()  # a NumPy number or a tensor
        except AttributeError:
            raise ValueError(f"{who}: expected a number as {name}, got {value!r}") from None
    if not math.isfinite(value):
        raise ValueError(f"{who}: expected a finite number as {name}, got {value!r}")
    return float(value)


@_register()
class L1L2(Regularizer):
    """Penalty ``l1 * sum(|x|) + l2 * sum(x ** 2)``.

    Args:
        l1: float, factor of the absolute values.
        l2: float, factor of the squares.

    Raises:
        ValueError: a factor that is no finite number.
    """

    def __init__(self, l1=0.0, l2=0.0):
        self.l1 = _factor("L1L2", "l1", 0.0 if l1 is None else l1)
        self.l2 = _factor("L1L2", "l2", 0.0 if l2 is None else l2)

    def __call__(self, x):
        if not self.l2:
            return ops.sum(ops.abs(x)) * self.l1
        squares = ops.sum(ops.square(x)) * self.l2
        return squares + ops.sum(ops.abs(x)) * self.l1 if self.l1 else squares

    def get_config(self):
        return {"l1": self.l1, "l2": self.l2}


@_register("l1")
class L1(Regularizer):
    """Penalty ``l1 * sum(|x|)``.

    Args:
        l1: float, factor.
        l: the same, as Keras 2.3 spells it.
    """

    def __init__(self, l1=0.01, l=None):  # noqa: E741
        given = l1 if l is None else l
        self.l1 = _factor("L1", "l1", 0.01 if given is None else given)

    def __call__(self, x):
        return ops.sum(ops.abs(x)) * self.l1

    def get_config(self):
        return {"l1": self.l1}


@_register("l2")
class L2(Regularizer):
    """Penalty ``l2 * sum(x ** 2)``.

    Args:
        l2: float, factor.
        l: the same, as Keras 2.3 spells it.
    """

    def __init__(self, l2=0.01, l=None):  # noqa: E741
        given = l2 if l is None else l
        self.l2 = _factor("L2", "l2", 0.01 if given is None else given)

    def __call__(self, x):
        return ops.sum(ops.square(x)) * self.l2

    def get_config(self):
        return {"l2": self.l2}


@differentiable
def _off_diagonal(xp, x, /):
    """Return a square matrix with zeros on its diagonal."""
    others = 1 - xp.eye(x.shape[0], dtype=x.dtype)
    return x * others, (others,)


@_off_diagonal.backward
def _off_diagonal_backward(xp, saved, gy, needs):
    return (gy * saved[0],)


@_register("orthogonal_regularizer")
class OrthogonalRegularizer(Regularizer):
    """Penalty on the cosines between the rows, or the columns, of a matrix.

    Args:
        factor: float, times the mean of the absolute cosines of all pairs.
        mode: ``'rows'`` or ``'columns'``.

    Raises:
        ValueError: unknown mode, or a factor that is no finite number.
    """

    def __init__(self, factor=0.01, mode="rows"):
        self.factor = _factor("OrthogonalRegularizer", "factor", factor)
        if mode not in ("rows", "columns"):
            raise ValueError(
                f"OrthogonalRegularizer: expected mode 'rows' or 'columns', got {mode!r}"
            )
        self.mode = mode

    def __call__(self, inputs):
        if len(inputs.shape) != 2:
            raise ShapeError(f"OrthogonalRegularizer: expected a matrix, got shape {inputs.shape}")
        rows = inputs if self.mode == "rows" else ops.transpose(inputs)
        rows = ops.l2_normalize(rows, axis=1)
        n = rows.shape[0]
        others = _off_diagonal(ops.matmul(rows, ops.transpose(rows)))
        return ops.sum(ops.abs(others)) * (self.factor / max(1, n * (n - 1)))

    def get_config(self):
        return {"factor": self.factor, "mode": self.mode}


l1 = L1
l2 = L2
orthogonal_regularizer = OrthogonalRegularizer


@_register()
def l1_l2(l1=0.01, l2=0.01):
    """Return an `L1L2` regularizer with both factors 0.01 by default."""
    return L1L2(l1=l1, l2=l2)


def serialize(regularizer, use_legacy_format=True):
    """Return the config of a regularizer, None for None."""
    return registry.regularizers.serialize(regularizer)


def deserialize(config, custom_objects=None, use_legacy_format=True):
    """Make a regularizer from its config or name; see `get`."""
    found = registry.regularizers.deserialize(config, custom_objects)
    return found() if found is l1_l2 else found


def get(identifier):
    """Turn an identifier into a regularizer.

    Args:
        identifier: None, name, config dict, class, or a function of a tensor.

    Raises:
        ValueError: unknown name.
        TypeError: something that can't be an identifier.
    """
    found = registry.regularizers.get(identifier)
    return found() if found is l1_l2 else found
