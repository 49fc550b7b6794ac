"""Elements of a dataset: arrays in tuples and dicts, one by one and side by side."""

import numpy as np

from gpunet import arrays as devices
from gpunet.nest import flatten, pack
from gpunet.tensor import Tensor, as_array, strings_of

__all__ = ["array", "arrays", "padded", "same", "stacked", "typed"]


def same(item):
    return item


def arrays(value):
    """Return arrays in the structure of tuples and dicts; a list is one array."""
    if isinstance(value, dict):
        return {key: arrays(part) for key, part in value.items()}
    if isinstance(value, tuple):
        return tuple(map(arrays, value))
    return array(value)


def array(value):
    """Return a value as a NumPy array with the type that a tensor of it has; strings as objects."""
    if isinstance(value, Tensor):
        return value.numpy()
    if hasattr(value, "to_numpy"):  # a table or a column of pandas
        value = value.to_numpy()
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "fiub":
        return value
    strings = strings_of(value)
    if strings is not None:
        return strings
    with devices.device("cpu"):
        return as_array(value)


def typed(value, types):
    """Return what a generator has yielded as arrays of given types, in their structure.

    Raises:
        TypeError: another structure.
    """
    if isinstance(types, dict) and isinstance(value, dict) and value.keys() >= types.keys():
        return {key: typed(value[key], t) for key, t in types.items()}
    if isinstance(types, (list, tuple)) and isinstance(value, (list, tuple)):
        if len(value) == len(types):
            return tuple(map(typed, value, types))
    elif not isinstance(types, (dict, list, tuple)):
        return np.asarray(value, types)
    raise TypeError(
        f"Dataset.from_generator: expected elements in the structure {types}, got one of "
        f"{type(value).__name__}{f' of {len(value)}' if hasattr(value, '__len__') else ''}"
    )


def stacked(elements):
    """Return the elements of a batch as one nest of arrays.

    Raises:
        ValueError: arrays of different shapes.
    """
    columns = zip(*map(flatten, elements), strict=True)
    made = []
    for column in columns:
        column = [array(a) for a in column]
        if len({a.shape for a in column}) > 1:
            raise ValueError(
                "Dataset.batch: expected elements of one shape, got "
                f"{[a.shape for a in column][:8]}; padded_batch fills them up"
            )
        made.append(np.stack(column))
    return pack(elements[0], made)


def padded(elements, value):
    made = []
    for column in zip(*map(flatten, elements), strict=True):
        column = [array(a) for a in column]
        longest = np.max([a.shape for a in column], axis=0)
        out = np.full((len(column), *longest), value, column[0].dtype)
        for row, a in zip(out, column):
            row[tuple(map(slice, a.shape))] = a
        made.append(out)
    return pack(elements[0], made)
