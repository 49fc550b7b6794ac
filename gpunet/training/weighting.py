"""The weights of samples, given for themselves or by class."""

import numbers

import numpy as np

from gpunet import arrays, config
from gpunet.errors import ShapeError
from gpunet.tensor import Shape
from gpunet.training.data import Column, as_column, as_columns
from gpunet.training.feeder import is_whole

__all__ = ["sample_weights", "with_classes"]


def sample_weights(given, names, keys, label):
    """Return one Column (or None) for each output, or None.

    Args:
        given: array for all outputs, list with one for each, or dict by name.
        names: list of the outputs' names.
        keys: other names of the outputs, or None.
        label: str for error texts.
    """
    if given is None:
        return None
    if isinstance(given, dict):
        found = as_columns(given, names, label, keys, optional=names)
    elif isinstance(given, (list, tuple)) and (
        len(given) == len(names) > 1 or any(w is None or np.ndim(w) for w in given)
    ):
        if len(given) != len(names):
            raise ValueError(
                f"{label}: expected {len(names)} array(s), one for each of {list(names)}, "
                f"got {len(given)}"
            )
        found = [as_column(w, f"{label}[{i}]") for i, w in enumerate(given)]
    else:
        found = [as_column(given, label)] * len(names)
    for column in found:
        if column is not None:
            column.dtype = np.dtype(config.floatx())
    return found


def with_classes(class_weight, ys, ws, names, classes, what):
    """Return sample weights multiplied with the weights of the samples' classes.

    Args:
        class_weight: dict class -> weight; for several outputs a list or a dict of them by name.
        ys: list of the targets' Columns or Nones.
        ws: list of the weights' Columns or Nones, or None.
        names: list of the outputs' names.
        classes: function: number of an output -> how many classes it tells apart, or None.
        what: str for error texts.
    """
    label = f"{what}: class_weight"
    if not isinstance(class_weight, (dict, list, tuple)):
        raise TypeError(f"{label}: expected a dict class -> weight, got {class_weight!r}")
    if ys is None:
        raise ValueError(f"{label} needs targets")
    chosen = _by_output(class_weight, names, label)
    found = list(ws or [None] * len(ys))
    for i, (y, weights) in enumerate(zip(ys, chosen, strict=True)):
        if weights and y is not None:
            made = _of_classes(y, weights, classes(i), label)
            if found[i] is not None:
                given = np.asarray(arrays.to_host(found[i].take(slice(0, None))))
                if len(given) == len(made):  # else the feeder will say so
                    made = given * made.reshape(-1, *[1] * (given.ndim - 1))
            found[i] = Column(made, label)
    return found


def _by_output(class_weight, names, label):
    if isinstance(class_weight, (list, tuple)):
        if len(class_weight) != len(names):
            raise ValueError(
                f"{label}: expected {len(names)} dicts, one for each of {list(names)}, "
                f"got {len(class_weight)}"
            )
        return class_weight
    if any(isinstance(v, dict) for v in class_weight.values()):
        unknown = [k for k in class_weight if k not in names]
        if unknown:
            raise ValueError(f"{label}: unknown outputs {unknown}; expected {list(names)}")
        return [class_weight.get(n) for n in names]
    if len(names) > 1:
        raise ValueError(
            f"{label} of a model with several outputs must be a dict by output name, "
            f"one of {list(names)}"
        )
    return [class_weight]


def _of_classes(y, class_weight, count, label):
    """Return sample weights for integer classes ``(N,)`` or ``(N, 1)``, or one-hot rows."""
    known = {}
    for key, weight in class_weight.items():
        if not is_whole(key) or key < 0 or (count is not None and key >= count):
            among = "ints" if count is None else f"classes from 0 to {count - 1}"
            raise ValueError(f"{label}: expected {among} as keys, got {key!r}")
        if isinstance(weight, bool) or not isinstance(weight, numbers.Real):
            raise TypeError(f"{label}: expected a number for class {key}, got {weight!r}")
        known[int(key)] = float(weight)
    values = np.asarray(arrays.to_host(y.take(slice(0, None))))
    if values.ndim > 2:
        raise ShapeError(f"{label} needs targets of rank 1 or 2, got shape {Shape(values.shape)}")
    one_hot = values.ndim == 2 and values.shape[1] > 1
    values = values.argmax(axis=1) if one_hot else values.reshape(-1)
    if not values.size:
        return np.ones(0, config.floatx())
    classes, which = np.unique(values, return_inverse=True)
    missing = [c for c in classes.tolist() if c not in known]
    if missing:
        raise ValueError(
            f"{label}: no weight for the classes {missing[:10]} of the targets; "
            f"it has {sorted(known)}"
        )
    return np.array([known[c] for c in classes.tolist()], config.floatx())[which.reshape(-1)]
