"""Initializers: first values of weights."""

from gpunet import registry
from gpunet.initializers.base import Constant, Identity, Initializer, Ones, Zeros, bind
from gpunet.initializers.drawn import (
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    LecunNormal,
    LecunUniform,
    Orthogonal,
    RandomNormal,
    RandomUniform,
    TruncatedNormal,
    VarianceScaling,
    compute_fans,
)

__all__ = [
    "Initializer",
    "Zeros",
    "Ones",
    "Constant",
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
    "Identity",
    "zero",
    "zeros",
    "one",
    "ones",
    "constant",
    "normal",
    "random_normal",
    "uniform",
    "random_uniform",
    "truncated_normal",
    "variance_scaling",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "lecun_normal",
    "lecun_uniform",
    "orthogonal",
    "identity",
    "bind",
    "compute_fans",
    "get",
    "serialize",
    "deserialize",
]

zero = zeros = Zeros
one = ones = Ones
constant = Constant
normal = random_normal = RandomNormal
uniform = random_uniform = RandomUniform
truncated_normal = TruncatedNormal
variance_scaling = VarianceScaling
glorot_normal, glorot_uniform = GlorotNormal, GlorotUniform
he_normal, he_uniform = HeNormal, HeUniform
lecun_normal, lecun_uniform = LecunNormal, LecunUniform
orthogonal = Orthogonal
identity = Identity


def serialize(initializer, use_legacy_format=True):
    """Return the config of an initializer, or the name of a function."""
    return registry.initializers.serialize(initializer)


def deserialize(config, custom_objects=None, use_legacy_format=True):
    """Make an initializer from its config or name; see `get`."""
    return registry.initializers.deserialize(config, custom_objects)


def get(identifier):
    """Turn an identifier into an initializer.

    Args:
        identifier: None, name, config dict, class, or a function of a shape.

    Raises:
        ValueError: unknown name.
        TypeError: something that can't be an identifier.
    """
    return registry.initializers.get(identifier)
