"""Activation functions by their classic names."""

from gpunet import arrays, ops, registry
from gpunet.autodiff import recording
from gpunet.errors import ShapeError
from gpunet.tensor import Tensor, convert_to_tensor

__all__ = [
    "elu",
    "exponential",
    "gelu",
    "hard_sigmoid",
    "linear",
    "mish",
    "relu",
    "selu",
    "sigmoid",
    "softmax",
    "softplus",
    "softsign",
    "swish",
    "tanh",
    "get",
    "serialize",
    "deserialize",
]

_register = registry.activations.register


def _with_logits(y, x):
    """Let a cross-entropy that gets ``y`` start from ``x``, as Keras does: no overflow."""
    if isinstance(y, Tensor):
        y._keras_logits = x
    return y


@_register()
def softmax(x, axis=-1):
    """Return ``exp(x) / sum(exp(x))``, summed over an axis.

    Args:
        x: float tensor with at least two axes.
        axis: int, or tuple of ints.

    Raises:
        ShapeError: a tensor with one axis.
    """
    x = convert_to_tensor(x)
    if len(x.shape) < 2:
        raise ShapeError(f"softmax: expected at least two axes, got shape {x.shape}")
    if axis not in (-1, len(x.shape) - 1):
        return ops.softmax(x, axis=axis)
    if len(x.shape) == 2 and isinstance(x, Tensor) and recording() and arrays.only_numpy:
        y, logs = ops.softmax_and_log(x)  # a cross-entropy may follow
        y._keras_logs = logs
    else:
        y = ops.softmax(x, axis=axis)
    return _with_logits(y, x)


@_register()
def elu(x, alpha=1.0):
    """Return ``x`` where it is positive, else ``alpha * (exp(x) - 1)``.

    Reference:
        Clevert et al., 2015, arXiv:1511.07289.
    """
    return ops.elu(x, alpha=alpha)


@_register()
def selu(x):
    """Return the scaled exponential linear unit of ``x``.

    Reference:
        Klambauer et al., 2017, arXiv:1706.02515.
    """
    return ops.selu(x)


@_register()
def softplus(x):
    """Return ``log(1 + exp(x))``."""
    return ops.softplus(x)


@_register()
def softsign(x):
    """Return ``x / (1 + |x|)``."""
    return ops.softsign(x)


@_register()
def relu(x, alpha=0.0, max_value=None, threshold=0.0):
    """Return ``x`` above a threshold and ``alpha * (x - threshold)`` below it.

    Args:
        x: float tensor.
        alpha: float, slope below the threshold.
        max_value: float, upper bound of the result, or None.
        threshold: float.
    """
    return ops.relu(x, alpha=alpha, max_value=max_value, threshold=threshold)


@_register()
def tanh(x):
    """Return the hyperbolic tangent of ``x``."""
    return ops.tanh(x)


@_register()
def sigmoid(x):
    """Return ``1 / (1 + exp(-x))``."""
    x = convert_to_tensor(x)
    return _with_logits(ops.sigmoid(x), x)


@_register()
def hard_sigmoid(x):
    """Return ``0.2 * x + 0.5``, cut off at 0 and 1; Keras 3's function of the name differs."""
    return ops.hard_sigmoid(x)


@_register()
def exponential(x):
    """Return ``exp(x)``."""
    return ops.exp(x)


@_register()
def linear(x):
    """Return ``x`` itself."""
    return x


@_register("silu")
def swish(x):
    """Return ``x * sigmoid(x)``.

    Reference:
        Ramachandran et al., 2017, arXiv:1710.05941.
    """
    return ops.swish(x)


@_register()
def gelu(x, approximate=False):
    """Return ``x`` times the normal distribution function of ``x``.

    Args:
        x: float tensor.
        approximate: bool, whether to use the formula with tanh.

    Reference:
        Hendrycks and Gimpel, 2016, arXiv:1606.08415.
    """
    return ops.gelu(x, approximate=approximate)


@_register()
def mish(x):
    """Return ``x * tanh(softplus(x))``.

    Reference:
        Misra, 2019, arXiv:1908.08681.
    """
    return ops.mish(x)


def serialize(activation, use_legacy_format=True):
    """Return the name of an activation function, or the config of an object."""
    return registry.activations.serialize(activation)


def deserialize(name, custom_objects=None, use_legacy_format=True):
    """Return the activation function of a name; see `get`."""
    return registry.activations.deserialize(name, custom_objects)


def get(identifier):
    """Turn an identifier into a function of a tensor.

    Args:
        identifier: None (linear), name, config dict, function, or layer.

    Raises:
        ValueError: unknown name.
        TypeError: something that can't be an identifier.
    """
    return linear if identifier is None else registry.activations.get(identifier)
