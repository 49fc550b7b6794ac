"""User data as columns: found out and checked once, cut into batches later."""

import numpy as np

from gpunet import arrays, config
from gpunet.errors import ShapeError
from gpunet.nest import flatten
from gpunet.tensor import Shape, Tensor, from_dlpack

__all__ = ["Column", "as_columns", "structure_of", "check_shapes", "check_finite"]


class Column:
    """One array of the user's and how its rows become Tensors.

    Args:
        values: numpy array, array on a device, or something with shape, dtype and slices whose
            values lie in a file.
        label: str, what error texts call it, such as ``"fit: x['left']"``.

    Attributes:
        shape: tuple of the whole.
        kind: str, the dtype's kind.
        dtype: dtype that rows get; floats become `floatx` unless someone sets it.
        in_file: bool, whether reading goes to a file.
        widen: bool, whether rows of shape ``(N,)`` become ``(N, 1)``.
        checked: bool, whether rows are searched for NaN as they are read.
    """

    __slots__ = (
        "values",
        "label",
        "shape",
        "kind",
        "dtype",
        "in_file",
        "widen",
        "checked",
        "take",
        "__weakref__",
    )

    def __init__(self, values, label):
        self.values, self.label = values, label
        self.shape = tuple(values.shape)
        self.in_file = isinstance(values, np.memmap) or not arrays.is_array(values)
        if isinstance(values, np.memmap):
            self.values = np.asarray(values)  # as lazy, and its slices are plain arrays
        dtype = np.dtype(values.dtype)
        self.kind = dtype.kind
        self.dtype = np.dtype(config.floatx()) if self.kind == "f" else dtype.newbyteorder("=")
        self.widen = self.checked = False
        #: function (slice or array of indices) -> rows, in the memory where they lie.
        self.take = self._taker()

    def __len__(self):
        return int(self.shape[0])

    def check_kind(self, strings):
        """Raise a TypeError unless it holds strings, or numbers, as expected."""
        if self.kind in "USO" if strings else self.kind in "fiub":
            return
        wanted = "strings" if strings else "numbers"
        raise TypeError(
            f"{self.label}: expected {wanted}, got an array of dtype {self.values.dtype}"
        )

    def _taker(self):
        values = self.values
        if isinstance(values, np.ndarray):
            return lambda where: values[where] if type(where) is slice else values.take(where, 0)
        if arrays.is_array(values):
            xp = arrays.module_of(values)
            return lambda where: values[where if type(where) is slice else xp.asarray(where)]
        return lambda where: np.asarray(
            values[where] if type(where) is slice else _sorted_read(values, where)
        )

    def rows(self, where):
        """Return rows as a Tensor on the current device.

        Args:
            where: slice or numpy array of indices.
        """
        rows = self.take(where)
        if self.checked:
            _check_rows(rows, self.label, where)
        if self.widen:
            rows = rows.reshape(-1, 1)
        if rows.dtype != self.dtype:
            rows = rows.astype(self.dtype)
        if self.dtype == object:  # strings stay on the host
            return Tensor(rows)
        return Tensor(arrays.to_device(rows))


def _sorted_read(values, where):
    # HDF5 wants increasing indices: read sorted, then put back in order.
    order = np.argsort(where)
    rows = np.asarray(values[where[order]])
    back = np.empty_like(rows)
    back[order] = rows
    return back


# -- finding the arrays -------------------------------------------------------------------


def as_columns(data, names, label, keys=None, optional=(), strings=()):
    """Return data as a list of Columns, one for each name.

    Args:
        data: array, list of arrays, or dict name -> array; with a single name also numbers in
            nested lists.
        names: list of str, the inputs' or outputs' names; None where they aren't known yet.
        label: str for error texts, such as ``'fit: x'``.
        keys: list of other names by which a dict may give the same arrays, or None.
        optional: names that data may leave out; their entry is None then.
        strings: names whose arrays hold strings.

    Raises:
        ValueError: a wrong number of arrays or unknown names.
        TypeError: something that isn't numeric, or numbers where strings are expected.
    """
    if data is None:
        return None
    columns = _columns(data, names, label, keys, optional)
    for column, name in zip(columns, names or [None] * len(columns), strict=True):
        if column is not None:
            column.check_kind(name in strings)
    return columns


def _columns(data, names, label, keys, optional):
    if isinstance(data, dict):
        return _from_dict(data, names, label, keys, optional)
    if isinstance(data, (list, tuple)) and _is_list_of_arrays(data, names):
        parts = [leaf for _, leaf in _leaves(data)]
        if names is not None and len(parts) != len(names):
            needed = [n for n in names if n not in optional]
            if len(parts) != len(needed):
                raise ValueError(
                    f"{label}: expected {len(names)} array(s) for {list(names)}, got {len(parts)}"
                )
            given = iter(parts)
            parts = [None if n in optional else next(given) for n in names]
        return [_column(a, f"{label}[{i}]") for i, a in enumerate(parts)]
    if names is not None and len(names) > 1:
        needed = [i for i, n in enumerate(names) if n not in optional]
        if len(needed) == 1:
            column = _column(data, label)
            return [column if i == needed[0] else None for i in range(len(names))]
        raise ValueError(
            f"{label}: expected a list of {len(names)} arrays for {list(names)}, "
            f"got one {type(data).__name__}"
        )
    return [_column(data, label)]


def structure_of(data):
    """Return the nest that a model without known inputs gets, None in place of each array."""
    if isinstance(data, dict):
        return {k: structure_of(v) if _is_branch(v) else None for k, v in data.items()}
    return type(data)([structure_of(v) if _is_branch(v) else None for v in data])


def _from_dict(data, names, label, keys, optional):
    if names is None:
        return [_column(v, f"{label}[{k!r}]") for k, v in _leaves(data)]
    if keys is not None and all(k in keys for k in data):
        data = {n: data[k] for n, k in zip(names, keys, strict=True) if k in data}
    missing = [n for n in names if n not in data and n not in optional]
    if missing:
        raise ValueError(
            f"{label}: no data for {missing}; expected the names {list(names)}, got {list(data)}"
        )
    unknown = [k for k in data if k not in names]
    if unknown:
        raise ValueError(f"{label}: unknown names {unknown}; expected {list(names)}")
    return [_column(data.get(n), f"{label}[{n!r}]") for n in names]


def _is_list_of_arrays(data, names):
    # [[1., 2.], [3., 4.]] is one array of numbers; [None, array] and [] are lists of arrays.
    several = names is not None and len(names) > 1
    return several or any(part is None or _is_array(part) or _is_branch(part) for part in data)


def _is_array(value):
    return len(getattr(value, "shape", ())) > 0


def _is_branch(part):
    """Return whether a part of a nest holds arrays; a list of numbers is an array itself."""
    return isinstance(part, (list, tuple, dict)) and any(map(_is_array, flatten(part)))


def _leaves(data):
    """Return (key of the outermost nest, array) pairs, in order."""
    found = []
    for key, part in data.items() if isinstance(data, dict) else enumerate(data):
        found += [(key, v) for _, v in _leaves(part)] if _is_branch(part) else [(key, part)]
    return found


def as_column(value, label):
    """Return a Column of one array-like; None stays None.

    Raises:
        TypeError: something that isn't numeric.
        ShapeError: no batch axis, or lists of unequal lengths.
    """
    column = _column(value, label)
    if column is not None:
        column.check_kind(False)
    return column


def _column(value, label):
    if value is None:
        return None
    if isinstance(value, Tensor):
        value = value.array
    if isinstance(value, np.ma.MaskedArray):
        if np.ma.is_masked(value):
            raise TypeError(f"{label}: masked values can't be used; fill them with .filled(value)")
        value = value.data
    if hasattr(value, "tocsr"):
        raise TypeError(f"{label}: expected a dense array, got {type(value).__name__}; .toarray()")
    if hasattr(value, "to_numpy"):  # pandas, and other tables
        value = _of_table(value)
    elif hasattr(value, "__dlpack__") and not arrays.is_array(value):  # torch, JAX
        value = from_dlpack(value.detach() if hasattr(value, "detach") else value)
    if isinstance(value, np.ndarray):
        value = value if isinstance(value, np.memmap) else np.asarray(value)
    elif not arrays.is_array(value) and not _reads_slices(value):
        try:
            value = np.asarray(value)
        except ValueError as error:
            raise ShapeError(f"{label}: no array can be made of it: {error}") from None
    if len(value.shape) == 0:
        if np.dtype(value.dtype).kind not in "fiub":
            raise TypeError(f"{label}: expected numbers, got {value.dtype} without a batch axis")
        raise ShapeError(f"{label}: expected an array with a batch axis, got a single number")
    return Column(value, label)


def _of_table(value):
    values = value.to_numpy()
    if values.dtype == object:  # columns of several types, or of types with missing values
        try:
            return value.to_numpy(dtype=config.floatx(), na_value=np.nan)
        except (TypeError, ValueError):
            pass  # the error that follows says what is in there
    return values


def _reads_slices(value):
    """Return whether a value is like an HDF5 dataset: an array that is read in slices."""
    return (
        hasattr(value, "shape")
        and hasattr(value, "__getitem__")
        and isinstance(getattr(value, "dtype", None), np.dtype)
    )


# -- checking them ------------------------------------------------------------------------


def check_shapes(columns, tensors, what):
    """Fit columns to symbolic inputs: their dtypes, and ``(N,)`` where ``(N, 1)`` is expected.

    Raises:
        ShapeError: a column whose shape doesn't fit, batch axis aside.
    """
    for column, t in zip(columns, tensors, strict=True):
        wanted, got = tuple(t.shape)[1:], column.shape[1:]
        if not got and len(wanted) == 1:
            column.widen, got = True, (1,)
        fits = len(wanted) == len(got) and all(
            w is None or w == g for w, g in zip(wanted, got, strict=True)
        )
        if not fits:
            raise ShapeError(
                f"{what}: input {t.node.layer.name!r} expected shape {Shape((None, *wanted))}, "
                f"got {Shape(column.shape)}"
            )
        column.dtype = t.dtype


def check_finite(columns):
    """Raise a ValueError that names the first row with a NaN; files are checked when read."""
    for column in columns or []:
        if column is None or column.kind != "f":
            continue
        if column.in_file:
            column.checked = True
        elif isinstance(column.values, np.ndarray):
            _check_rows(column.values, column.label, slice(0, None))


def _check_rows(rows, label, where):
    if rows.dtype.kind != "f" or not rows.size:
        return
    with np.errstate(all="ignore"):
        total = rows.sum()  # a NaN anywhere makes the sum one; inf - inf does too
    if total == total:
        return
    bad = np.flatnonzero(np.isnan(rows).reshape(len(rows), -1).any(axis=1))
    if bad.size:
        first = where.start + bad[0] if type(where) is slice else where[bad[0]]
        raise ValueError(
            f"{label}: expected numbers, got NaN in {bad.size} of {len(rows)} rows "
            f"(first in row {first})"
        )
