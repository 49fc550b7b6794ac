"""How arguments of tf functions become those of gpunet's ops."""

import functools

import numpy as np

from gpunet import config
from gpunet.tensor import Operators, Tensor, convert_to_tensor, strings_of

__all__ = ["tensor", "axes", "dtype_name", "plain", "table"]


def tensor(value, dtype=None):
    """Return a tensor, symbolic or not, as it is; make one of numbers or strings."""
    if isinstance(value, Operators) and dtype is None:
        return value
    strings = None if isinstance(value, Operators) else strings_of(value)
    if strings is not None:
        return Tensor(strings)
    return convert_to_tensor(value, None if dtype is None else dtype_name(dtype))


def axes(axis):
    """Return an axis argument as gpunet takes it: None, an int or a tuple of ints."""
    if isinstance(axis, (list, tuple, np.ndarray)):
        return tuple(int(a) for a in axis)
    return None if axis is None else int(axis)


def dtype_name(dtype):
    """Return the name of a dtype, that of the default float type for None."""
    return config.floatx() if dtype is None else np.dtype(dtype).name


def plain(function):
    """Return a function of tensors that also takes lists and numbers, and ``name=``."""

    @functools.wraps(function)
    def call(*args, name=None, **kwargs):
        weak = any(isinstance(a, Operators) for a in args)  # numbers go with the tensors' type
        made = [
            a if isinstance(a, Operators) or (weak and isinstance(a, (int, float))) else tensor(a)
            for a in args
        ]
        return function(*made, **kwargs)

    return call


def table(functions):
    """Return ``{name: function}`` with each function made `plain`.

    Args:
        functions: dict name -> function of tensors.
    """
    return {name: plain(function) for name, function in functions.items()}
