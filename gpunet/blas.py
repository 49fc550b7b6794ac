"""Functions of NumPy's own BLAS that NumPy doesn't offer.

A sum of multiples of two arrays takes NumPy two or three functions, hence two or three passes
over memory; BLAS does it in one.  The library is found through NumPy's, by the names that its
builds have; where none is found, or it fails a test, callers do without.
"""

import ctypes
import functools

import numpy as np

__all__ = ["library", "sum_of_multiples"]

# What comes before and after a name, and the type of a count: NumPy's wheels, older ones, others.
_BUILDS = (
    ("scipy_", "64_", ctypes.c_int64),
    ("scipy_", "", ctypes.c_int32),
    ("", "64_", ctypes.c_int64),
    ("", "", ctypes.c_int32),
)
_MOST = 2**31  # more than counts of 32 bits can say


@functools.cache
def library():
    """Return the library that NumPy's products are in, with those it is linked to, or None."""
    core = getattr(np, "_core", None) or np.core
    try:
        return ctypes.CDLL(core._multiarray_umath.__file__)
    except (OSError, AttributeError):
        return None


@functools.cache
def _axpby(letter):
    """Return BLAS's ``y = a * x + b * y`` for float32 (s) or float64 (d), None if not found."""
    real = {"s": ctypes.c_float, "d": ctypes.c_double}[letter]
    for before, after, count in _BUILDS:
        try:
            found = getattr(library(), f"{before}cblas_{letter}axpby{after}")
        except AttributeError:
            continue
        address = ctypes.c_void_p
        found.argtypes = [count, real, address, count, real, address, count]
        found.restype = None
        x, y = np.array([[2, 3], [5, 7]], "f4" if letter == "s" else "f8")
        found(2, 3.0, x.ctypes.data, 1, 10.0, y.ctypes.data, 1)
        return found if y.tolist() == [56, 79] else None
    return None


_LETTERS = {"f": "s", "d": "d"}


def sum_of_multiples(y, b, x, a):
    """Write ``b * y + a * x`` to ``y`` in one pass, if BLAS is there for it.

    Args:
        y, x: NumPy arrays with one axis, of one length and dtype.
        b, a: numbers.

    Returns:
        bool: whether it was done; if not, nothing was written.
    """
    letter = _LETTERS.get(y.dtype.char)
    if letter is None or not (y.flags.c_contiguous and x.flags.c_contiguous) or y.size >= _MOST:
        return False
    function = _axpby(letter)
    if function is None:
        return False
    function(y.size, a, x.ctypes.data, 1, b, y.ctypes.data, 1)
    return True
