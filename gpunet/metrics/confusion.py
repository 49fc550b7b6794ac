"""Counts of true and false positives and negatives, and what follows from them at once."""

import math

import numpy as np

from gpunet import ops, registry
from gpunet.autodiff import differentiable
from gpunet.config import epsilon
from gpunet.errors import ShapeError
from gpunet.losses.base import align, align_weight
from gpunet.metrics.base import Metric, add, as_dtype, divide_no_nan
from gpunet.recording import constant

__all__ = [
    "FalseNegatives",
    "FalsePositives",
    "Precision",
    "Recall",
    "TrueNegatives",
    "TruePositives",
]

_register = registry.metrics.register

LOWEST = -1e10  # stands for minus infinity where predictions outside of the top k are dropped


# -- counting ---------------------------------------------------------------------------------


def sums_by_index(xp, index, values, size):
    """Return for each of ``size`` slots the sum of the values with its index.

    Args:
        xp: array module.
        index: integer array, one-dimensional, in [0, size).
        values: float array of the same shape.
        size: int.

    Returns:
        float64 array: the order in which a GPU adds doesn't show after rounding to float32.
    """
    sums = xp.zeros(size, "float64")
    xp.add.at(sums, index, values.astype("float64"))
    return sums


@differentiable
def confusion_counts(xp, y_true, y_pred, weight, thresholds, /, even=0):
    """Count positives and negatives at several thresholds.

    Args:
        y_true: (M, L), not 0 for positive samples.
        y_pred: (M, L), predictions; above a threshold they say positive.
        weight: (M, L), float.
        thresholds: (T,), or one number.
        even: int, the number T of thresholds if they lie evenly from 0 to 1; then counting
            takes one pass instead of T.

    Returns:
        True positives, false positives, true negatives, false negatives, each (T, L).
    """
    positive = xp.where(y_true != 0, weight, 0)
    negative = weight - positive
    count = _count_even if even else _count_any
    above = count(xp, y_pred, xp.stack([positive, negative]), even or thresholds)
    total = xp.stack([positive, negative]).sum(axis=1, dtype="float64")[:, None]  # (2, 1, L)
    below = xp.maximum(total - above, 0.0)
    counts = (above[0], above[1], below[1], below[0])
    return tuple([c.astype(weight.dtype) for c in counts]), None


def _count_any(xp, y_pred, weights, thresholds):
    """Return the weights above each threshold, summed over the samples: (2, T, L)."""
    rows = xp.reshape(thresholds, (-1, 1, 1)) if hasattr(thresholds, "dtype") else thresholds
    above = (y_pred[None] > rows)[None]  # (1, T, M, L)
    return xp.where(above, weights[:, None], 0).sum(axis=2, dtype="float64")


def _count_even(xp, y_pred, weights, n):
    """Do the same for the thresholds 0, 1 / (n - 1), ..., 1, by sorting into buckets.

    A prediction lies above the thresholds up to ``ceil(y_pred * (n - 1)) - 1``; slot 0 takes
    those that lie above none.
    """
    labels = y_pred.shape[1]
    scaled = xp.ceil(xp.minimum(xp.where(y_pred >= 0, y_pred, 0), 1) * (n - 1))
    slot = scaled.astype("int64") + xp.arange(labels) * (n + 1)
    slot = slot.reshape(-1)
    sums = [sums_by_index(xp, slot, weights[i].reshape(-1), labels * (n + 1)) for i in (0, 1)]
    sums = xp.stack(sums).reshape(2, labels, n + 1)[..., 1:]
    above = xp.cumsum(sums[..., ::-1], axis=-1)[..., ::-1]
    return xp.swapaxes(above, 1, 2)


@differentiable
def keep_top_k(xp, x, /, k=1):
    """Return ``x`` where it is among the k largest of the last axis, else `LOWEST`."""
    # One by one: sorting would wait for a GPU. Of equals the first one counts.
    place = xp.arange(x.shape[-1])
    left = xp.where(x == x, x, -math.inf)
    kept = xp.zeros(x.shape, bool)
    for _ in range(min(k, x.shape[-1])):
        largest = place == xp.argmax(left, axis=-1)[..., None]
        kept = kept | largest
        left = xp.where(largest, -math.inf, left)
    return xp.where(kept, x, LOWEST), None


class Thresholds:
    """Thresholds as metrics are given them, and as counting needs them.

    Args:
        values: list of floats.
        dtype: name of the float type of predictions.
    """

    def __init__(self, values, dtype):
        self.values = list(values)
        n = len(self.values)
        spread = np.linspace(0, 1, n, dtype="float32")
        close = n > 2 and np.allclose(self.values, spread, rtol=1e-5, atol=epsilon())
        self.even = n if close else 0
        # 0 itself lies above a lowest threshold that is a bit below 0
        self.open = self.even and (self.values[0] < 0 or self.values[-1] > 1)
        self._array = None
        self._dtype = dtype

    def __len__(self):
        return len(self.values)

    @property
    def array(self):
        """Tensor of the thresholds, made once; a plain number if there is only one."""
        if len(self.values) == 1:
            return self.values[0]
        if self._array is None:
            self._array = as_dtype(np.asarray(self.values), self._dtype)
            constant(self._array.array)
        return self._array


def parse_thresholds(who, thresholds, default):
    """Return thresholds as a list.

    Args:
        who: str for the error text.
        thresholds: None, number, or list of numbers in [0, 1].
        default: float, what None means.

    Raises:
        ValueError: a threshold outside of [0, 1].
    """
    if thresholds is None:
        return [default]
    values = list(thresholds) if isinstance(thresholds, (list, tuple, np.ndarray)) else [thresholds]
    wrong = [t for t in values if t is None or not 0 <= t <= 1]
    if wrong or not values:
        raise ValueError(f"{who}: expected thresholds in [0, 1], got {thresholds!r}")
    return values


class Confusion(Metric):
    """Base of the metrics whose state is some of the four counts at each threshold.

    Attributes:
        kinds: tuple of names, which of the counts are kept.
    """

    kinds = ("true_positives", "true_negatives", "false_positives", "false_negatives")
    _order = ("true_positives", "false_positives", "true_negatives", "false_negatives")

    def _make_counts(self, values, labels=None):
        """Make the state.

        Args:
            values: list of floats, the thresholds.
            labels: int, number of labels that are counted apart, or None.
        """
        self._thresholds = Thresholds(values, self._dtype)
        shape = (len(values),) if labels is None else (len(values), labels)
        for kind in self.kinds:
            setattr(self, kind, self.add_weight(kind, shape))

    def _count(self, y_true, y_pred, sample_weight, top_k=None, class_id=None, label_weights=None):
        """Add a batch to the counts.

        Args:
            y_true: targets; every number but 0 is positive.
            y_pred: predictions.
            sample_weight: weights that can be broadcast to the predictions, or None.
            top_k: int, how many of the last axis can be positive, or None.
            class_id: int, the only one that counts along the last axis, or None.
            label_weights: tensor (labels,), or None.
        """
        y_true, y_pred = as_dtype(y_true, self._dtype), as_dtype(y_pred, self._dtype)
        y_true, y_pred = align(y_true, y_pred)
        if y_true.shape != y_pred.shape:
            raise ShapeError(
                f"Metric {self.name!r}: expected targets of the predictions' shape "
                f"{y_pred.shape}, got {y_true.shape}"
            )
        if sample_weight is not None:
            sample_weight = align_weight(y_pred, as_dtype(sample_weight, self._dtype))
        if top_k is not None:
            y_pred = keep_top_k(y_pred, k=top_k)
        if class_id is not None:
            y_true, y_pred = (t[..., class_id : class_id + 1] for t in (y_true, y_pred))
        weight = ops.zeros_like(y_pred) + (1.0 if sample_weight is None else sample_weight)
        if label_weights is not None:
            weight = weight * label_weights
        self._add_counts(y_true, y_pred, weight)

    def _add_counts(self, y_true, y_pred, weight):
        first = getattr(self, self.kinds[0])
        shape = (-1, first.shape[1] if len(first.shape) == 2 else 1)
        parts = [ops.reshape(t, shape=shape) for t in (y_true, y_pred, weight)]
        thresholds = self._thresholds
        if thresholds.open:
            parts[1] = ops.maximum(parts[1], 1e-30)  # into the first bucket
        counts = confusion_counts(*parts, thresholds.array, even=thresholds.even)
        for kind, count in zip(self._order, counts, strict=True):
            if kind in self.kinds:
                variable = getattr(self, kind)
                add(variable, ops.reshape(count, shape=tuple(variable.shape)))

    def rate(self, kind, other):
        """Return a count's share in the sum of itself and another one.

        Args:
            kind: str, one of `kinds`.
            other: str, likewise.
        """
        part = getattr(self, kind)
        return divide_no_nan(part, part + getattr(self, other))


def only(values, thresholds):
    """Return the single element where there is one threshold, else all."""
    return values[0] if len(thresholds) == 1 else values


# -- the metrics ------------------------------------------------------------------------------


class _Count(Confusion):
    """One of the four counts, the sum of the weights of such samples."""

    def __init__(self, thresholds=None, name=None, dtype=None):
        super().__init__(name=name, dtype=dtype)
        self.init_thresholds = thresholds
        self.thresholds = parse_thresholds(type(self).__name__, thresholds, 0.5)
        self._make_counts(self.thresholds)

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Take a batch into account."""
        self._count(y_true, y_pred, sample_weight)

    def result(self):
        return only(getattr(self, self.kinds[0]) * 1.0, self.thresholds)

    def get_config(self):
        return {**super().get_config(), "thresholds": self.init_thresholds}


@_register()
class TruePositives(_Count):
    """Number, or weight, of positive samples that are predicted so.

    Args:
        thresholds: float or list of floats in [0, 1], above which a prediction says positive;
            0.5 by default.  A list gives one result each.
        name: str.
        dtype: name of the float type.

    Raises:
        ValueError: a threshold outside of [0, 1].
    """

    kinds = ("true_positives",)

    def __init__(self, thresholds=None, name=None, dtype=None):
        super().__init__(thresholds, name, dtype)


@_register()
class TrueNegatives(_Count):
    """Number, or weight, of negative samples that are predicted so.

    Args:
        thresholds: float or list of floats in [0, 1], above which a prediction says positive;
            0.5 by default.  A list gives one result each.
        name: str.
        dtype: name of the float type.

    Raises:
        ValueError: a threshold outside of [0, 1].
    """

    kinds = ("true_negatives",)

    def __init__(self, thresholds=None, name=None, dtype=None):
        super().__init__(thresholds, name, dtype)


@_register()
class FalsePositives(_Count):
    """Number, or weight, of negative samples that are predicted positive.

    Args:
        thresholds: float or list of floats in [0, 1], above which a prediction says positive;
            0.5 by default.  A list gives one result each.
        name: str.
        dtype: name of the float type.

    Raises:
        ValueError: a threshold outside of [0, 1].
    """

    kinds = ("false_positives",)

    def __init__(self, thresholds=None, name=None, dtype=None):
        super().__init__(thresholds, name, dtype)


@_register()
class FalseNegatives(_Count):
    """Number, or weight, of positive samples that are predicted negative.

    Args:
        thresholds: float or list of floats in [0, 1], above which a prediction says positive;
            0.5 by default.  A list gives one result each.
        name: str.
        dtype: name of the float type.

    Raises:
        ValueError: a threshold outside of [0, 1].
    """

    kinds = ("false_negatives",)

    def __init__(self, thresholds=None, name=None, dtype=None):
        super().__init__(thresholds, name, dtype)


class _Share(Confusion):
    """True positives by the sum of themselves and one of the other counts."""

    def __init__(self, thresholds=None, top_k=None, class_id=None, name=None, dtype=None):
        super().__init__(name=name, dtype=dtype)
        self.init_thresholds = thresholds
        self.top_k = top_k
        self.class_id = class_id
        default = 0.5 if top_k is None else LOWEST
        self.thresholds = parse_thresholds(type(self).__name__, thresholds, default)
        self._make_counts(self.thresholds)

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Take a batch into account."""
        self._count(y_true, y_pred, sample_weight, self.top_k, self.class_id)

    def result(self):
        return only(self.rate(*self.kinds), self.thresholds)

    def get_config(self):
        return {
            **super().get_config(),
            "thresholds": self.init_thresholds,
            "top_k": self.top_k,
            "class_id": self.class_id,
        }


@_register()
class Precision(_Share):
    """Share of the true ones among the positive predictions.

    Args:
        thresholds: float or list of floats in [0, 1], above which a prediction says positive;
            0.5 by default, none with ``top_k``.  A list gives one result each.
        top_k: int, how many predictions along the last axis can be positive, or None.
        class_id: int, the only class that counts along the last axis, or None.
        name: str.
        dtype: name of the float type.

    Raises:
        ValueError: a threshold outside of [0, 1].
    """

    kinds = ("true_positives", "false_positives")

    def __init__(self, thresholds=None, top_k=None, class_id=None, name=None, dtype=None):
        super().__init__(thresholds, top_k, class_id, name, dtype)


@_register()
class Recall(_Share):
    """Share of the positive samples that are found.

    Args:
        thresholds: float or list of floats in [0, 1], above which a prediction says positive;
            0.5 by default, none with ``top_k``.  A list gives one result each.
        top_k: int, how many predictions along the last axis can be positive, or None.
        class_id: int, the only class that counts along the last axis, or None.
        name: str.
        dtype: name of the float type.

    Raises:
        ValueError: a threshold outside of [0, 1].
    """

    kinds = ("true_positives", "false_negatives")

    def __init__(self, thresholds=None, top_k=None, class_id=None, name=None, dtype=None):
        super().__init__(thresholds, top_k, class_id, name, dtype)
