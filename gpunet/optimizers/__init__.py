"""Optimizers: rules that turn gradients into updates of the weights, in place.

>>> from gpunet.optimizers import Adam
>>> float(Adam(learning_rate=0.5).lr)
0.5
"""

from gpunet import arrays, registry
from gpunet.errors import UnknownNameError
from gpunet.optimizers import schedules
from gpunet.optimizers.base import Optimizer
from gpunet.optimizers.descent import SGD, Adadelta, Adagrad, Ftrl, RMSprop
from gpunet.optimizers.hyper import Hyper
from gpunet.optimizers.moments import Adam, Adamax, AdamW, Nadam
from gpunet.tensor import Tensor, value_of

__all__ = [
    "Optimizer",
    "Hyper",
    "SGD",
    "RMSprop",
    "Adagrad",
    "Adadelta",
    "Adam",
    "AdamW",
    "Adamax",
    "Nadam",
    "Ftrl",
    "sgd",
    "rmsprop",
    "adagrad",
    "adadelta",
    "adam",
    "adamax",
    "nadam",
    "clip_norm",
    "serialize",
    "deserialize",
    "get",
    "schedules",
]

# Old spellings.
sgd, rmsprop, adagrad, adadelta = SGD, RMSprop, Adagrad, Adadelta
adam, adamax, nadam = Adam, Adamax, Nadam


def serialize(optimizer, use_legacy_format=False):
    """Return an optimizer as ``{"class_name": ..., "config": ...}``."""
    return registry.optimizers.serialize(optimizer)


def deserialize(config, custom_objects=None, use_legacy_format=False, **kwargs):
    """Make an optimizer from what `serialize`, or any version of Keras, returned.

    Args:
        config: dict; case doesn't matter in the names of built-in classes.
        custom_objects: dict name -> class.

    Raises:
        UnknownNameError: no such class.
    """
    if isinstance(config, dict) and isinstance(config.get("class_name"), str):
        config = {**config, "class_name": _spelled(config["class_name"], custom_objects)}
    return registry.optimizers.deserialize(config, custom_objects)


def get(identifier, **kwargs):
    """Return the optimizer that a name, a config, a class or an optimizer stands for.

    Raises:
        UnknownNameError: no such optimizer.
        ValueError: something that can't stand for an optimizer.
    """
    if isinstance(identifier, dict):
        return deserialize(identifier)
    if isinstance(identifier, str):
        identifier = _spelled(identifier)
    if isinstance(identifier, (str, type)):
        identifier = registry.optimizers.get(identifier)
    if not isinstance(identifier, Optimizer) and not hasattr(identifier, "apply"):
        raise ValueError(f"Could not interpret optimizer identifier: {identifier!r}")
    return identifier


def _spelled(name, custom_objects=None):
    """Return a name in the spelling under which it is registered."""
    try:
        registry.optimizers.find(name, custom_objects)
    except UnknownNameError:
        plain = name.rpartition(">")[2].lower()
        return plain if plain in registry.optimizers.table else name
    return name


def clip_norm(g, c, n):
    """Return a gradient whose norm is at most ``c``.

    Args:
        g: array or tensor.
        c: float; nothing is clipped where it isn't positive.
        n: the norm of ``g``, or of all gradients together.
    """
    if c <= 0:
        return g
    array, norm = value_of(g), value_of(n)
    xp = arrays.module_of(array)
    clipped = xp.where(norm >= c, array * (c / norm), array).astype(array.dtype)
    return Tensor(clipped) if isinstance(g, Tensor) else clipped
