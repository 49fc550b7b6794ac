"""User data to batches: checked once, cut lazily, one copy for each batch."""

import numpy as np

from gpunet import arrays, config
from gpunet.errors import ShapeError
from gpunet.ops import random
from gpunet.tensor import Shape, Tensor

__all__ = ["Batch", "ArrayFeeder", "as_columns", "check_columns", "class_weights"]


class Batch:
    """What one step gets.

    Attributes:
        x: list of Tensors, one for each input.
        y: list of Tensors or Nones, one for each output; None if there are no targets.
        weight: list of Tensors or Nones, one for each output; None if there are none.
        size: int, number of samples.
    """

    __slots__ = ("x", "y", "weight", "size")

    def __init__(self, x, y, weight, size):
        self.x, self.y, self.weight, self.size = x, y, weight, size


def as_columns(data, names, what):
    """Return data as a list of arrays, one for each name.

    Args:
        data: array, list of arrays, or dict name -> array; with a single name also numbers in
            nested lists.
        names: list of str, the inputs' or outputs' names; None where they aren't known yet.
        what: str for error texts, such as ``'fit: x'``.

    Raises:
        ValueError: a wrong number of arrays or unknown names.
        TypeError: something that isn't numeric.
    """
    if data is None:
        return None
    if isinstance(data, dict):
        if names is None:
            return [as_column(v, f"{what}[{k!r}]") for k, v in data.items()]
        missing = [n for n in names if n not in data]
        if missing:
            raise ValueError(
                f"{what}: no data for {missing}; expected the names {list(names)}, "
                f"got {list(data)}"
            )
        unknown = [k for k in data if k not in names]
        if unknown:
            raise ValueError(f"{what}: unknown names {unknown}; expected {list(names)}")
        return [as_column(data[n], f"{what}[{n!r}]") for n in names]
    if isinstance(data, (list, tuple)) and _is_list_of_arrays(data, names):
        if names is not None and len(data) != len(names):
            raise ValueError(
                f"{what}: expected {len(names)} array(s) for {list(names)}, got {len(data)}"
            )
        return [as_column(a, f"{what}[{i}]") for i, a in enumerate(data)]
    if names is not None and len(names) > 1:
        raise ValueError(
            f"{what}: expected a list of {len(names)} arrays for {list(names)}, "
            f"got one {type(data).__name__}"
        )
    return [as_column(data, what)]


def _is_list_of_arrays(data, names):
    if any(hasattr(part, "shape") and len(part.shape) for part in data):
        return True
    if names is not None and len(names) > 1:
        return True
    # [[1., 2.], [3., 4.]] is one array of numbers; [None, array] and [] are lists of arrays.
    return any(part is None for part in data)


def as_column(value, what):
    """Return one array-like as something with a shape, a dtype and slices."""
    if value is None:
        return None
    if isinstance(value, Tensor):
        value = value.array
    if hasattr(value, "to_numpy"):  # pandas
        value = value.to_numpy()
    if not (hasattr(value, "shape") and hasattr(value, "dtype") and hasattr(value, "__getitem__")):
        try:
            value = np.asarray(value)
        except ValueError as error:
            raise ShapeError(f"{what}: no array can be made of it: {error}") from None
    if getattr(value.dtype, "kind", "f") not in "fiub":
        raise TypeError(f"{what}: expected numbers, got an array of dtype {value.dtype}")
    if len(value.shape) == 0:
        raise ShapeError(f"{what}: expected an array with a batch axis, got a single number")
    return value


def check_columns(columns, tensors, what):
    """Raise a ShapeError unless arrays fit symbolic inputs, batch axis aside.

    One-dimensional arrays count as (N, 1) where an input of rank 2 is expected.

    Returns:
        The list of arrays, reshaped where that was needed.
    """
    fitted = []
    for column, t in zip(columns, tensors, strict=True):
        if len(column.shape) == 1 and len(t.shape) == 2 and isinstance(column, np.ndarray):
            column = column.reshape(-1, 1)
        wanted, got = tuple(t.shape)[1:], tuple(column.shape)[1:]
        fits = len(wanted) == len(got) and all(
            w is None or w == g for w, g in zip(wanted, got, strict=True)
        )
        if not fits:
            raise ShapeError(
                f"{what}: input {t.node.layer.name!r} expected shape {Shape((None, *wanted))}, "
                f"got {Shape(column.shape)}"
            )
        fitted.append(column)
    return fitted


def check_finite(columns, what):
    """Raise a ValueError that names the first row with a NaN."""
    for i, column in enumerate(columns or []):
        if not isinstance(column, np.ndarray) or column.dtype.kind != "f" or not column.size:
            continue
        with np.errstate(all="ignore"):
            total = column.sum()  # a NaN anywhere makes the sum one; inf - inf does too
        if total == total:
            continue
        rows = np.flatnonzero(np.isnan(column).reshape(len(column), -1).any(axis=1))
        if rows.size:
            where = f"{what}[{i}]" if len(columns) > 1 else what
            raise ValueError(
                f"{where}: expected numbers, got NaN in {rows.size} of {len(column)} rows "
                f"(first in row {rows[0]})"
            )


def class_weights(y, class_weight, what):
    """Return sample weights for one target array.

    Args:
        y: integer classes ``(N,)`` or ``(N, 1)``, or one-hot rows ``(N, classes)``.
        class_weight: dict class -> weight; classes that aren't in it weigh 1.
        what: str for error texts.
    """
    y = arrays.to_host(y)
    if y.ndim > 2:
        raise ShapeError(
            f"{what}: class_weight needs targets of rank 1 or 2, got shape {Shape(y.shape)}"
        )
    classes = y.argmax(axis=1) if y.ndim == 2 and y.shape[1] > 1 else y.reshape(-1)
    weights = np.ones(len(classes), config.floatx())
    for label, weight in class_weight.items():
        weights[classes == int(label)] = weight
    return weights


class ArrayFeeder:
    """Batches out of arrays.

    Args:
        x: list of arrays.
        y: list of arrays or Nones, or None.
        weight: list of arrays or Nones, or None.
        batch_size: int.
        what: str, who asks, for error texts.

    Attributes:
        samples: int.
        steps: int, number of batches.

    Raises:
        ValueError: no samples, or arrays of different lengths.
    """

    def __init__(self, x, y=None, weight=None, batch_size=None, what="fit"):
        named = [(f"x[{i}]", a) for i, a in enumerate(x)]
        named += [(f"y[{i}]", a) for i, a in enumerate(y or []) if a is not None]
        named += [
            (f"sample_weight[{i}]", a) for i, a in enumerate(weight or []) if a is not None
        ]
        lengths = {name: int(a.shape[0]) for name, a in named}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"{what}: all arrays need the same number of samples, got {lengths}")
        self.samples = next(iter(lengths.values()), 0)
        if not self.samples:
            raise ValueError(f"{what}: expected at least one sample, got empty arrays ({lengths})")
        size = 32 if batch_size is None else batch_size
        if isinstance(size, bool) or int(size) != size or size <= 0:
            raise ValueError(f"{what}: expected batch_size to be a positive int, got {batch_size!r}")
        self.x, self.y, self.weight = x, y, weight
        self.batch_size = int(size)
        self.steps = -(-self.samples // self.batch_size)

    def split(self, part, what="fit"):
        """Return (feeder of the first samples, feeder of the last ``part`` of them)."""
        if not 0 < part < 1:
            raise ValueError(f"{what}: expected validation_split in (0, 1), got {part!r}")
        at = int(self.samples * (1 - part))
        if at in (0, self.samples):
            raise ValueError(
                f"{what}: validation_split={part} of {self.samples} samples leaves none to "
                f"{'train on' if at == 0 else 'validate on'}"
            )

        def cut(columns, where):
            return None if columns is None else [None if a is None else a[where] for a in columns]

        return tuple(
            ArrayFeeder(
                cut(self.x, where), cut(self.y, where), cut(self.weight, where), self.batch_size
            )
            for where in (slice(0, at), slice(at, None))
        )

    def order(self, shuffle):
        """Return the order of the samples in an epoch: None, or an array of indices.

        Args:
            shuffle: False, True, or ``'batch'``, which keeps batches together.
        """
        if not shuffle:
            return None
        if shuffle != "batch":
            return random.permutation(self.samples)
        whole = self.samples // self.batch_size
        blocks = np.arange(whole * self.batch_size).reshape(whole, self.batch_size)
        tail = np.arange(whole * self.batch_size, self.samples)
        return np.concatenate([blocks[random.permutation(whole)].reshape(-1), tail])

    def batches(self, order=None):
        """Yield one epoch's Batches.

        Args:
            order: array of indices; None takes the samples as they lie.
        """
        for start in range(0, self.samples, self.batch_size):
            stop = min(start + self.batch_size, self.samples)
            where = slice(start, stop) if order is None else order[start:stop]
            yield Batch(
                [take(a, where) for a in self.x],
                None if self.y is None else [take(a, where) for a in self.y],
                None if self.weight is None else [take(a, where) for a in self.weight],
                stop - start,
            )


def take(column, where):
    """Return rows of an array as a Tensor on the current device, floats as `floatx`."""
    if column is None:
        return None
    if isinstance(where, slice) or isinstance(column, np.ndarray):
        rows = column[where] if isinstance(where, slice) else column.take(where, axis=0)
    elif type(column).__module__.startswith("h5py"):
        # HDF5 wants increasing indices: read sorted, then put back in order.
        inverse = np.argsort(np.argsort(where))
        rows = column[np.sort(where)][inverse]
    else:
        rows = column[where]
    if rows.dtype.kind == "f" and rows.dtype != config.floatx():
        rows = rows.astype(config.floatx())
    return Tensor(arrays.to_device(rows))
