"""Nested Python values with arrays in them, to HDF5 and back."""

import json

import numpy as np

from gpunet.errors import FileFormatError
from gpunet.saving.hdf5 import dataset, read_array

__all__ = ["write_tree", "read_tree"]


def write_tree(file, tree):
    """Write a value: None, bools, numbers, texts, arrays, and lists and dicts of them.

    Args:
        file: h5py group.
        tree: the value; keys are texts.  Tuples come back as lists.

    Raises:
        TypeError: something else.
    """
    arrays = []
    text = json.dumps(_plain(tree, arrays))
    file["tree"] = np.frombuffer(text.encode(), np.uint8)
    for i, array in enumerate(arrays):
        file[f"array_{i}"] = array


def read_tree(file):
    """Return what `write_tree` wrote.

    Raises:
        FileFormatError: something else was written.
    """
    try:
        plain = json.loads(read_array(dataset(file, "tree")).tobytes())
        return _restored(plain, lambda i: read_array(dataset(file, f"array_{i}")))
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise FileFormatError(f"it holds no state ({type(error).__name__}: {error})") from None


def _plain(value, arrays):
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        arrays.append(value)
        return {"array": len(arrays) - 1}
    if isinstance(value, (list, tuple)):
        return [_plain(v, arrays) for v in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {"dict": {key: _plain(v, arrays) for key, v in value.items()}}
    raise TypeError(f"expected numbers, texts, arrays, lists or dicts by name, got {value!r}")


def _restored(plain, array):
    if isinstance(plain, list):
        return [_restored(value, array) for value in plain]
    if not isinstance(plain, dict):
        return plain
    if "array" in plain:
        return array(plain["array"])
    return {key: _restored(value, array) for key, value in plain["dict"].items()}
