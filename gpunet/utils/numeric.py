"""Arrays made ready for training: one-hot classes, vectors of norm 1."""

import numpy as np

__all__ = ["to_categorical", "normalize"]


def to_categorical(y, num_classes=None, dtype="float32"):
    """Return classes as one-hot rows.

    Args:
        y: integers from 0, any shape; a last axis of size 1 is dropped.
        num_classes: int; the largest class + 1 by default.
        dtype: name of the result's dtype.

    Returns:
        numpy array ``(*y.shape, num_classes)``.

    Raises:
        ValueError: classes outside of 0 .. num_classes - 1, or none at all.
    """
    y = np.asarray(y)
    if y.dtype.kind == "f" and not np.array_equal(y, np.floor(y)):
        raise ValueError("to_categorical: expected whole numbers as classes")
    y = y.astype("int64")
    shape = y.shape[:-1] if y.ndim > 1 and y.shape[-1] == 1 else y.shape
    flat = y.reshape(-1)
    if num_classes is None:
        if not flat.size:
            raise ValueError("to_categorical: num_classes is needed for an empty array")
        num_classes = int(flat.max()) + 1
    if flat.size and (flat.min() < 0 or flat.max() >= num_classes):
        raise ValueError(
            f"to_categorical: expected classes from 0 to {num_classes - 1}, "
            f"got {flat.min()} to {flat.max()}"
        )
    rows = np.zeros((flat.size, num_classes), dtype)
    rows[np.arange(flat.size), flat] = 1
    return rows.reshape(*shape, num_classes)


def normalize(x, axis=-1, order=2):
    """Return an array with vectors along an axis scaled to norm 1; zero vectors stay.

    Args:
        x: array-like.
        axis: int.
        order: order of the norm.
    """
    x = np.asarray(x)
    norm = np.atleast_1d(np.linalg.norm(x, order, axis))
    norm[norm == 0] = 1
    return x / np.expand_dims(norm, axis)
