"""Checks of constructor arguments that many layers share."""

import numpy as np

__all__ = ["positive_int", "fraction", "int_tuple"]


def positive_int(layer, name, value):
    """Return a value as int; ValueError unless it is a whole number > 0."""
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        whole = True
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
    values = value if isinstance(value, (list, tuple)) else (value,)
    if not all(
        n is None or (isinstance(n, (int, np.integer)) and not isinstance(n, bool)) for n in values
    ):
        raise ValueError(f"{layer}: expected {name} to be a tuple of ints, got {value!r}")
    return tuple(None if n is None else int(n) for n in values)
