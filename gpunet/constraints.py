"""Functions applied to weights after each update."""

from gpunet import ops, registry
from gpunet.config import epsilon
from gpunet.errors import ShapeError

__all__ = [
    "Constraint",
    "MaxNorm",
    "MinMaxNorm",
    "NonNeg",
    "RadialConstraint",
    "UnitNorm",
    "max_norm",
    "maxnorm",
    "min_max_norm",
    "non_neg",
    "nonneg",
    "radial_constraint",
    "unit_norm",
    "unitnorm",
    "get",
    "serialize",
    "deserialize",
]

_register = registry.constraints.register


class Constraint:
    """Base of constraints: functions of a weight that give its new values."""

    def __call__(self, w):
        return w

    def get_config(self):
        """Return the constructor's arguments."""
        return {}

    @classmethod
    def from_config(cls, config):
        """Make a constraint from `get_config`."""
        return cls(**config)


def _norms(w, axis):
    """Return the L2 norms of a weight over the given axes, which stay as 1."""
    axis = tuple(axis) if isinstance(axis, (list, tuple)) else axis
    return ops.sqrt(ops.sum(ops.square(w), axis=axis, keepdims=True))


@_register("max_norm", "maxnorm")
class MaxNorm(Constraint):
    """Scales weight vectors down to at most a given norm.

    Args:
        max_value: float, the largest norm.
        axis: int or list of ints, the axes of one vector: 0 for the kernel of Dense, [0, 1, 2]
            for that of Conv2D.

    Reference:
        Srivastava et al., 2014, "Dropout: A Simple Way to Prevent Neural Networks from
        Overfitting".
    """

    def __init__(self, max_value=2, axis=0):
        self.max_value = max_value
        self.axis = axis

    def __call__(self, w):
        norms = _norms(w, self.axis)
        return w * (ops.clip(norms, 0.0, self.max_value) / (norms + epsilon()))

    def get_config(self):
        return {"max_value": self.max_value, "axis": self.axis}


@_register("non_neg", "nonneg")
class NonNeg(Constraint):
    """Sets negative weights to zero."""

    def __call__(self, w):
        return ops.maximum(w, 0.0)


@_register("unit_norm", "unitnorm")
class UnitNorm(Constraint):
    """Scales weight vectors to norm 1.

    Args:
        axis: int or list of ints, the axes of one vector; see `MaxNorm`.
    """

    def __init__(self, axis=0):
        self.axis = axis

    def __call__(self, w):
        return w / (_norms(w, self.axis) + epsilon())

    def get_config(self):
        return {"axis": self.axis}


@_register("min_max_norm")
class MinMaxNorm(Constraint):
    """Scales weight vectors towards norms between two bounds.

    Args:
        min_value: float, the smallest norm.
        max_value: float, the largest norm.
        rate: float in [0, 1], how much of the way is gone at each update.
        axis: int or list of ints, the axes of one vector; see `MaxNorm`.
    """

    def __init__(self, min_value=0.0, max_value=1.0, rate=1.0, axis=0):
        self.min_value = min_value
        self.max_value = max_value
        self.rate = rate
        self.axis = axis

    def __call__(self, w):
        norms = _norms(w, self.axis)
        wanted = ops.clip(norms, self.min_value, self.max_value) * self.rate
        if self.rate != 1:
            wanted = wanted + norms * (1 - self.rate)
        return w * (wanted / (norms + epsilon()))

    def get_config(self):
        return {
            "min_value": self.min_value,
            "max_value": self.max_value,
            "rate": self.rate,
            "axis": self.axis,
        }


@_register("radial_constraint")
class RadialConstraint(Constraint):
    """Makes the kernels of a 2-D convolution constant on square rings around their middle.

    Each ring takes one value of the kernel's diagonal; which one is tf_keras's choice: for an
    odd size the middle is the value before the centre, and the centre goes to the ring around
    it.

    Raises:
        ShapeError: a weight that hasn't 4 axes, or isn't square in the first two.
    """

    def __call__(self, w):
        shape = tuple(w.shape)
        if len(shape) != 4 or shape[0] != shape[1] or shape[0] < 2:
            raise ShapeError(
                f"RadialConstraint: expected a weight (size, size, C, F), got shape {shape}"
            )
        cells = [w[i, i] for i in _rings(shape[0])]
        return ops.reshape(ops.stack(cells), shape=shape)


def _rings(size):
    """Return for each cell of a square, row by row, where on the diagonal its value is."""
    half, odd = divmod(size, 2)
    where = []
    for cell in range(size * size):
        outwards = max(abs(2 * i + 1 - size) for i in divmod(cell, size)) // 2
        where.append(half - 1 if outwards == 0 else half + outwards - odd)
    return where


max_norm = maxnorm = MaxNorm
non_neg = nonneg = NonNeg
unit_norm = unitnorm = UnitNorm
min_max_norm = MinMaxNorm
radial_constraint = RadialConstraint


def serialize(constraint, use_legacy_format=True):
    """Return the config of a constraint, None for None."""
    return registry.constraints.serialize(constraint)


def deserialize(config, custom_objects=None, use_legacy_format=True):
    """Make a constraint from its config or name; see `get`."""
    return registry.constraints.deserialize(config, custom_objects)


def get(identifier):
    """Turn an identifier into a constraint.

    Args:
        identifier: None, name, config dict, class, or a function of a weight.

    Raises:
        ValueError: unknown name.
        TypeError: something that can't be an identifier.
    """
    return registry.constraints.get(identifier)
