"""Activations that are layers because they have parameters."""

import numpy as np

from gpunet import constraints, initializers, ops, regularizers
from gpunet.errors import ShapeError
from gpunet.layers.base import InputSpec
from gpunet.layers.elementwise import SameShape
from gpunet.registry import layers as registered

__all__ = ["LeakyReLU", "PReLU", "ELU", "ThresholdedReLU", "Softmax", "ReLU"]


def _number(layer, name, value, least=None):
    """Return an argument as float; ValueError unless it is a number of at least ``least``."""
    number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    if not number or (least is not None and value < least):
        wanted = "a number" if least is None else f"a number >= {least}"
        raise ValueError(f"{layer}: expected {name} to be {wanted}, got {value!r}")
    return float(value)


@registered.register()
class LeakyReLU(SameShape):
    """Returns ``x`` where it is positive and ``alpha * x`` elsewhere.

    Args:
        alpha: float, slope below 0.
        **kwargs: see `Layer`.

    Shapes:
        any -> the same

    Reference:
        Maas et al., 2013, ICML workshop on deep learning for audio, speech and language.
    """

    has_shape_rule = True
    built = True

    def __init__(self, alpha=0.3, **kwargs):
        super().__init__(**kwargs)
        self.alpha = _number("LeakyReLU", "alpha", alpha)

    def call(self, inputs):
        return ops.relu(self._float(inputs), alpha=self.alpha)


@registered.register()
class PReLU(SameShape):
    """Returns ``x`` where it is positive and ``alpha * x`` elsewhere, with learned ``alpha``.

    Args:
        alpha_initializer: see `gpunet.initializers`.
        alpha_regularizer: see `gpunet.regularizers`.
        alpha_constraint: see `gpunet.constraints`.
        shared_axes: int or list of ints >= 1, axes along which ``alpha`` is the same.
        **kwargs: see `Layer`.

    Shapes:
        any -> the same

    Raises:
        ShapeError: an axis that the input doesn't have, or the size of one isn't known along
            which ``alpha`` isn't shared.

    Reference:
        He et al., 2015, arXiv:1502.01852.
    """

    has_shape_rule = True

    def __init__(
        self,
        alpha_initializer="zeros",
        alpha_regularizer=None,
        alpha_constraint=None,
        shared_axes=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.alpha_initializer = initializers.get(alpha_initializer)
        self.alpha_regularizer = regularizers.get(alpha_regularizer)
        self.alpha_constraint = constraints.get(alpha_constraint)
        if shared_axes is not None:
            single = not isinstance(shared_axes, (list, tuple))
            shared_axes = [shared_axes] if single else list(shared_axes)
        self.shared_axes = shared_axes

    def build(self, input_shape):
        rank, shared = len(input_shape), self.shared_axes or []
        if not all(isinstance(a, int) and 1 <= a < rank for a in shared):
            raise ShapeError(
                f"{self._who}: expected shared_axes from 1 to {rank - 1}, got {shared} "
                f"(input shape {input_shape})"
            )
        sizes = {a: input_shape[a] for a in range(1, rank) if a not in shared}
        if None in sizes.values():
            raise ShapeError(
                f"{self._who}: the size of axes that don't share alpha must be known, "
                f"got input shape {input_shape}"
            )
        self.alpha = self.add_weight("alpha", tuple(sizes.get(a, 1) for a in range(1, rank)))
        self.input_spec = InputSpec(ndim=rank, axes=sizes)
        self.built = True

    def call(self, inputs):
        x = self._float(inputs)
        below = ops.relu(ops.negative(x))
        return ops.subtract(ops.relu(x), ops.multiply(self.alpha, below))


@registered.register()
class ELU(SameShape):
    """Returns ``x`` where it is positive and ``alpha * (exp(x) - 1)`` elsewhere.

    Args:
        alpha: float.
        **kwargs: see `Layer`.

    Shapes:
        any -> the same

    Reference:
        Clevert et al., 2015, arXiv:1511.07289.
    """

    has_shape_rule = True
    built = True

    def __init__(self, alpha=1.0, **kwargs):
        super().__init__(**kwargs)
        self.alpha = _number("ELU", "alpha", alpha)

    def call(self, inputs):
        return ops.elu(self._float(inputs), alpha=self.alpha)


@registered.register()
class ThresholdedReLU(SameShape):
    """Returns ``x`` where it is above ``theta`` and 0 elsewhere.

    Args:
        theta: float >= 0.
        **kwargs: see `Layer`.

    Shapes:
        any -> the same

    Reference:
        Konda et al., 2014, arXiv:1402.3337.
    """

    has_shape_rule = True
    built = True

    def __init__(self, theta=1.0, **kwargs):
        super().__init__(**kwargs)
        self.theta = _number("ThresholdedReLU", "theta", theta, 0)

    def call(self, inputs):
        return ops.relu(self._float(inputs), threshold=self.theta)


@registered.register()
class Softmax(SameShape):
    """Exponentials scaled to a sum of 1 along an axis.

    Args:
        axis: int or list of ints.
        **kwargs: see `Layer`; ``robust_masking``, which replaces masked values and doesn't add a
            large negative number to them.

    Shapes:
        any -> the same
    """

    has_shape_rule = True
    built = True

    def __init__(self, axis=-1, **kwargs):
        self.robust_masking = bool(kwargs.pop("robust_masking", False))
        super().__init__(**kwargs)
        self.axis = list(axis) if isinstance(axis, (list, tuple)) else axis

    def call(self, inputs, mask=None):
        inputs = self._float(inputs)
        if mask is not None:
            low = -3e4 if inputs.dtype == "float16" else -1e9  # a sum of it must stay finite
            if self.robust_masking:
                inputs = ops.where(ops.cast(mask, "bool"), inputs, low)
            else:
                off = ops.subtract(1.0, ops.cast(mask, inputs.dtype.name))
                inputs = ops.add(inputs, ops.multiply(off, low))
        if not isinstance(self.axis, list):
            return ops.softmax(inputs, axis=self.axis)
        if len(self.axis) == 1:
            return ops.softmax(inputs, axis=self.axis[0])
        total = ops.logsumexp(inputs, axis=self.axis, keepdims=True)
        return ops.exp(ops.subtract(inputs, total))

    def get_config(self):
        found = {**super().get_config(), "axis": self.axis}
        return {**found, "robust_masking": True} if self.robust_masking else found


@registered.register()
class ReLU(SameShape):
    """Returns ``x`` above a threshold, up to a largest value, and a line below it.

    Args:
        max_value: float >= 0, the largest value, or None.
        negative_slope: float >= 0, slope below the threshold.
        threshold: float >= 0.
        **kwargs: see `Layer`.

    Shapes:
        any -> the same
    """

    has_shape_rule = True
    built = True

    def __init__(self, max_value=None, negative_slope=0.0, threshold=0.0, **kwargs):
        super().__init__(**kwargs)
        self.max_value = None if max_value is None else _number("ReLU", "max_value", max_value, 0)
        self.negative_slope = _number("ReLU", "negative_slope", negative_slope, 0)
        self.threshold = _number("ReLU", "threshold", threshold, 0)

    def call(self, inputs):
        return ops.relu(
            self._float(inputs),
            alpha=self.negative_slope,
            max_value=self.max_value,
            threshold=self.threshold,
        )
