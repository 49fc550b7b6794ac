"""tf.debugging: checks of values."""

import numpy as np

from gpunet.dropin.tf.arguments import tensor

__all__ = [
    "assert_all_finite",
    "assert_equal",
    "assert_near",
    "check_numerics",
    "set_log_device_placement",
]


def check_numerics(tensor_, message, name=None):
    """Return a tensor, or raise a ValueError where it isn't finite."""
    x = tensor(tensor_)
    if not np.isfinite(np.asarray(x)).all():
        raise ValueError(f"{message}: the tensor has Inf or NaN values")
    return x


def assert_all_finite(x, message="", name=None):
    """Raise a ValueError where a tensor isn't finite; return it."""
    return check_numerics(x, message)


def assert_equal(x, y, message=None, summarize=None, name=None):
    """Raise a ValueError unless all elements are equal."""
    if not np.array_equal(*np.broadcast_arrays(np.asarray(x), np.asarray(y))):
        raise ValueError(f"{message or 'assert_equal'}: {x} != {y}")


def assert_near(x, y, rtol=1e-6, atol=1e-6, message=None, summarize=None, name=None):
    """Raise a ValueError unless all elements are nearly equal."""
    if not np.allclose(np.asarray(x), np.asarray(y), rtol, atol):
        raise ValueError(f"{message or 'assert_near'}: {x} and {y} differ")


def set_log_device_placement(enabled):
    """Do nothing."""
