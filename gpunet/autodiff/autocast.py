"""Reading variables in another float type: a layer of mixed precision sees its weights so.

Inside `casting_variables("float16")`, an op gets float16 values of each float variable among its
arguments, and the gradient goes back in the variable's own type.
"""

import contextlib
from contextvars import ContextVar

import numpy as np

__all__ = ["cast_variables", "casting_variables", "dtype_seen", "used"]

_scope = ContextVar("gpunet_autocast", default=None)
used = False  # whether anything in this process asked for it: until then ops needn't look


@contextlib.contextmanager
def casting_variables(dtype):
    """Return a context in which ops read float variables in a type.

    Args:
        dtype: name of a float type, or None: as they are.
    """
    global used
    used = used or dtype is not None
    token = _scope.set(None if dtype is None else np.dtype(dtype))
    try:
        yield
    finally:
        _scope.reset(token)


def dtype_seen(value):
    """Return the dtype in which ops see a tensor."""
    wanted = _scope.get()
    if wanted is None or not getattr(value, "is_variable", False) or value.dtype.kind != "f":
        return value.dtype
    return wanted


def cast_variables(args, values):
    """Cast what ops got of variables, in place.

    Args:
        args: tuple of the tensors and numbers that an op was called on.
        values: list of their arrays and numbers.

    Returns:
        bool, whether there was anything to cast.
    """
    wanted, cast = _scope.get(), False
    if wanted is None:
        return False
    for i, a in enumerate(args):
        if getattr(a, "is_variable", False) and a.dtype.kind == "f" and a.dtype != wanted:
            values[i] = values[i].astype(wanted)
            cast = True
    return cast
