"""Two parts of a data set."""

import numpy as np

from gpunet.dropin.tf.data import INFINITE_CARDINALITY, Dataset

__all__ = ["split_dataset"]

_WHO = "split_dataset"


def split_dataset(dataset, left_size=None, right_size=None, shuffle=False, seed=None):
    """Return two parts of a data set: one from its beginning and one from its end.

    Args:
        dataset: array, list or tuple of arrays of one length, or `tf.data.Dataset`; the elements
            of the last are kept in memory.
        left_size, right_size: ints, numbers of elements; or floats, shares of all elements.  One
            of them may be None: its part is then what the other leaves.
        shuffle: bool, elements in random order before they are divided.
        seed: int for the order; None takes it from ``np.random``.

    Returns:
        Two `tf.data.Dataset` of single elements: ``.batch(32)`` makes batches of them.

    Raises:
        TypeError: something else than a data set, or than a number as a size.
        ValueError: no size, sizes out of range, a part without elements, arrays of different
            lengths, a data set without end.
    """
    source = _dataset(dataset)
    if source.cardinality() == INFINITE_CARDINALITY:
        raise ValueError(f"{_WHO}: the data set has no end")
    items = list(source._start())
    if not items:
        raise ValueError(f"{_WHO}: the data set has no elements")
    left, right = _sizes(len(items), left_size, right_size)
    if shuffle:
        key = int(np.random.randint(2**31) if seed is None else seed)
        items = [items[i] for i in np.random.default_rng(key).permutation(len(items))]
    parts = items[:left], items[len(items) - right :]
    return tuple(source._items(lambda part=part: iter(part), len(part)) for part in parts)


def _dataset(dataset):
    if isinstance(dataset, Dataset):
        return dataset
    if isinstance(dataset, list | tuple) and dataset:
        dataset = tuple(np.asarray(a) for a in dataset)
    elif not isinstance(dataset, np.ndarray):
        raise TypeError(
            f"{_WHO}: expected an array, a list or tuple of arrays or a tf.data.Dataset, got "
            f"{type(dataset).__name__} {dataset!r:.60}"
        )
    return Dataset.from_tensor_slices(dataset)


def _sizes(count, left, right):
    """Return the numbers of elements of both parts."""
    if left is None and right is None:
        raise ValueError(f"{_WHO}: expected left_size or right_size or both, got neither")
    sizes = [_size(count, left, "left_size"), _size(count, right, "right_size")]
    if None in sizes:
        known = sizes[0] if sizes[1] is None else sizes[1]
        sizes[sizes.index(None)] = count - known
    elif sum(sizes) > count and left + right <= 1:  # halves of an odd number, both rounded up
        sizes[1] = count - sizes[0]
    if sum(sizes) > count or 0 in sizes:
        raise ValueError(
            f"{_WHO}: left_size {left} and right_size {right} are {sizes[0]} and {sizes[1]} of "
            f"{count} elements; expected at least 1 each, and no more than there are together"
        )
    return sizes


def _size(count, size, name):
    if size is None:
        return None
    number = isinstance(size, int | float | np.integer | np.floating)
    if not number or isinstance(size, bool):
        raise TypeError(f"{_WHO}: expected an int or a float as {name}, got {size!r}")
    share = isinstance(size, float | np.floating)
    if not 0 < size < (1 if share else count):
        raise ValueError(
            f"{_WHO}: expected {name} as a share between 0 and 1 or a number of elements from 1 "
            f"to {count - 1}, got {size!r}"
        )
    return round(size * count) if share else int(size)
