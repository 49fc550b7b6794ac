"""tf.random: numbers drawn anew whenever they are computed."""

import numpy as np

from gpunet import backend as K
from gpunet import ops
from gpunet.dropin.tf.arguments import dtype_name, tensor
from gpunet.graph import SymbolicTensor
from gpunet.ops import random as _random

__all__ = ["categorical", "normal", "set_seed", "shuffle", "truncated_normal", "uniform"]


def set_seed(seed):
    """Seed gpunet's random numbers; those of Python and NumPy stay as they are."""
    _random.set_seed(int(seed))


def _sizes(shape):
    return tuple(shape) if isinstance(shape, (list, tuple)) else (shape,)


def normal(shape, mean=0.0, stddev=1.0, dtype=None, seed=None, name=None):
    """Return normally distributed numbers."""
    return K.random_normal(_sizes(shape), mean, stddev, dtype_name(dtype), seed)


def truncated_normal(shape, mean=0.0, stddev=1.0, dtype=None, seed=None, name=None):
    """Return normally distributed numbers, none further than two ``stddev`` from the mean."""
    return K.truncated_normal(_sizes(shape), mean, stddev, dtype_name(dtype), seed)


def uniform(shape, minval=0, maxval=None, dtype=None, seed=None, name=None):
    """Return numbers spread evenly from ``minval`` to ``maxval``, which isn't reached."""
    dtype = dtype_name(dtype)
    if maxval is None:
        if not dtype.startswith("float"):
            raise ValueError("tf.random.uniform: maxval must be given for integers")
        maxval = 1.0
    return K.random_uniform(_sizes(shape), minval, maxval, dtype, seed)


def shuffle(value, seed=None, name=None):
    """Return a tensor whose first axis is in random order."""
    x = tensor(value)
    order = np.argsort(np.asarray(uniform((int(x.shape[0]),), seed=seed)), kind="stable")
    return ops.gather(x, tensor(order))


def categorical(logits, num_samples, dtype="int64", seed=None, name=None):
    """Return classes drawn with the probabilities that logits (N, classes) stand for."""
    logits = tensor(logits)
    if isinstance(logits, SymbolicTensor):
        raise NotImplementedError(
            "tf.random.categorical isn't part of what gpunet gives scripts inside of a graph"
        )
    n, classes = logits.shape
    u = uniform((n, num_samples, classes), 1e-7, 1.0, seed=seed)
    noisy = ops.expand_dims(logits, 1) - ops.log(-ops.log(u))  # Gumbel noise
    return ops.cast(ops.argmax(noisy, axis=-1), dtype_name(dtype))
