"""Checks of constructor arguments that many layers share."""

import numpy as np

from gpunet import config

__all__ = [
    "STRINGS",
    "dtype_name",
    "fraction",
    "int_tuple",
    "is_shape",
    "positive_int",
    "take_input_shape",
]

STRINGS = "object"  # NumPy's dtype of arrays of str


def positive_int(layer, name, value):
    """Return a value as int; ValueError unless it is a whole number > 0."""
    whole = _is_int(value) or (isinstance(value, (float, np.floating)) and value == value // 1)
    if not whole or value <= 0:
        raise ValueError(f"{layer}: expected {name} to be a positive int, got {value!r}")
    return int(value)


def fraction(layer, name, value):
    """Return a value as float; ValueError unless 0 <= value < 1."""
    if not isinstance(value, (int, float, np.number)) or not 0 <= value < 1:
        raise ValueError(f"{layer}: expected {name} to be in [0, 1), got {value!r}")
    return float(value)


def int_tuple(layer, name, value):
    """Return a value as a tuple of ints (or Nones); ValueError otherwise."""
    values = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    if not is_shape(values):
        raise ValueError(f"{layer}: expected {name} to be a tuple of ints, got {value!r}")
    return tuple(None if n is None else int(n) for n in values)


def dtype_name(dtype, who="dtype"):
    """Return the name of a dtype; of the default float type for None.

    Args:
        dtype: name, numpy dtype or type, or a policy as Keras 3 writes it.
        who: str for the error text.

    Raises:
        TypeError: no such dtype.
    """
    if isinstance(dtype, dict):  # {"class_name": "DTypePolicy", "config": {"name": "float32"}}
        dtype = dtype.get("config", {}).get("name", dtype.get("name"))
    if dtype is None:
        return config.floatx()
    try:
        return np.dtype(getattr(dtype, "name", dtype)).name
    except TypeError:
        raise TypeError(f"{who}: expected the name of a dtype, got {dtype!r}") from None


def is_shape(value):
    """Return whether a value is one shape, and not a list of them."""
    return isinstance(value, (tuple, list)) and all(n is None or _is_int(n) for n in value)


def take_input_shape(layer, kwargs):
    """Take the arguments that give an input shape out of a layer's keyword arguments.

    Args:
        layer: str, who asks.
        kwargs: dict, from which they are removed.

    Returns:
        tuple with the batch size in front, None if there were none.
    """
    batch, dim, length, shape, whole, other = (
        kwargs.pop(name, None)
        for name in ("batch_size", "input_dim", "input_length", "input_shape",
                     "batch_input_shape", "batch_shape")
    )  # fmt: skip
    whole = other if whole is None else whole
    if whole is not None:
        return int_tuple(layer, "batch_input_shape", whole)
    if shape is None and dim is not None:
        shape = (dim,) if length is None else (length, dim)
    if shape is None:
        return None
    return int_tuple(layer, "input_shape", (batch, *int_tuple(layer, "input_shape", shape)))


def _is_int(value):
    return isinstance(value, (int, np.integer)) and not isinstance(value, (bool, np.bool_))
