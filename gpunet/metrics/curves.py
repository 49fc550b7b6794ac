"""Metrics over all thresholds: areas under curves, and the best rate under a constraint."""

import numpy as np

from gpunet import ops, registry
from gpunet.config import epsilon
from gpunet.errors import ShapeError
from gpunet.metrics.base import as_dtype, divide_no_nan
from gpunet.metrics.confusion import Confusion
from gpunet.tensor import convert_to_tensor

__all__ = [
    "AUC",
    "SensitivityAtSpecificity",
    "SpecificityAtSensitivity",
    "PrecisionAtRecall",
    "RecallAtPrecision",
]

_register = registry.metrics.register

_CURVES = {"roc": "ROC", "pr": "PR", "pr_gain": "PR_GAIN", "prgain": "PR_GAIN"}
_SUMS = ("interpolation", "minoring", "majoring")


def _chosen(what, value, table):
    """Return an option's value in the spelling of configs; enum members are understood."""
    key = str(getattr(value, "value", value)).lower()
    if key not in table:
        raise ValueError(f"AUC: expected {what} from {', '.join(table)}, got {value!r}")
    return table[key] if isinstance(table, dict) else key


@_register()
class AUC(Confusion):
    """Area under a curve, from the counts at many thresholds.

    Args:
        num_thresholds: int > 1, number of thresholds, evenly from 0 to 1.
        curve: ``'ROC'``, ``'PR'`` (precision over recall) or ``'PR_GAIN'``.
        summation_method: ``'interpolation'``, ``'minoring'`` or ``'majoring'``.
        name: str.
        dtype: name of the float type.
        thresholds: list of floats in [0, 1] to use instead; 0 and 1 are added.
        multi_label: bool, whether the last axis holds labels with a curve each; the result is
            the mean of their areas.
        num_labels: int, number of labels; taken from the first batch by default.
        label_weights: list of floats >= 0, weights of the labels.
        from_logits: bool, whether predictions are logits.

    Raises:
        ValueError: an option out of its range.

    Reference:
        Davis and Goadrich, 2006, "The Relationship Between Precision-Recall and ROC Curves"
        (interpolation of PR); Flach and Kull, 2015, "Precision-Recall-Gain Curves".
    """

    def __init__(
        self,
        num_thresholds=200,
        curve="ROC",
        summation_method="interpolation",
        name=None,
        dtype=None,
        thresholds=None,
        multi_label=False,
        num_labels=None,
        label_weights=None,
        from_logits=False,
    ):
        super().__init__(name=name, dtype=dtype)
        self.curve = _chosen("curve", curve, _CURVES)
        self.summation_method = _chosen("summation_method", summation_method, _SUMS)
        self._given = thresholds is not None
        inner = _inner_thresholds(num_thresholds, thresholds)
        self.thresholds = [-epsilon(), *inner, 1.0 + epsilon()]
        self.num_thresholds = len(self.thresholds)
        self.multi_label = multi_label
        self.num_labels = num_labels
        self.from_logits = from_logits
        self.label_weights = None
        if label_weights is not None:
            self.label_weights = convert_to_tensor(_label_weights(label_weights), self._dtype)
        if num_labels and not multi_label:
            raise ValueError("AUC: num_labels is for multi_label=True alone")
        if not multi_label or num_labels:
            self._make_counts(self.thresholds, num_labels)

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Take a batch into account.

        Raises:
            ShapeError: predictions that don't fit the labels.
        """
        y_pred = as_dtype(y_pred, self._dtype)
        if self.multi_label and len(y_pred.shape) != 2:
            raise ShapeError(
                f"Metric {self.name!r}: expected shape (batch, labels), got {y_pred.shape}"
            )
        if not self._state:
            self._make_counts(self.thresholds, int(y_pred.shape[1]))
        labels = self._labels()
        if labels is not None and y_pred.shape[-1] != labels:
            raise ShapeError(
                f"Metric {self.name!r}: expected {labels} labels, got shape {y_pred.shape}"
            )
        y_pred = ops.sigmoid(y_pred) if self.from_logits else y_pred
        weights = None if self.multi_label else self.label_weights
        self._count(y_true, y_pred, sample_weight, label_weights=weights)

    def _labels(self):
        if self.multi_label:
            return self.true_positives.shape[1]
        return None if self.label_weights is None else self.label_weights.shape[0]

    def result(self):
        if not self._state:
            raise ValueError(f"Metric {self.name!r} has no value yet: no batch was given")
        if self.curve == "PR" and self.summation_method == "interpolation":
            return self.interpolate_pr_auc()
        x, y = getattr(self, "_" + self.curve.lower())()
        left, right = y[:-1], y[1:]
        if self.summation_method == "interpolation":
            heights = (left + right) * 0.5
        else:
            choose = ops.minimum if self.summation_method == "minoring" else ops.maximum
            heights = choose(left, right)
        return self._summed((x[:-1] - x[1:]) * heights)

    def _roc(self):
        recall = self.rate("true_positives", "false_negatives")
        return self.rate("false_positives", "true_negatives"), recall

    def _pr(self):
        recall = self.rate("true_positives", "false_negatives")
        return recall, self.rate("true_positives", "false_positives")

    def _pr_gain(self):
        true = self.true_positives
        odds = divide_no_nan(
            true + self.false_negatives, self.false_positives + self.true_negatives
        )
        none = ops.equal(true, 0.0)
        recall = 1.0 - odds * divide_no_nan(self.false_negatives, true)
        precision = 1.0 - odds * divide_no_nan(self.false_positives, true)
        recall = ops.maximum(ops.where(none, 0.0, recall), 0.0)
        return recall, ops.where(none, 1.0, precision)

    def interpolate_pr_auc(self):
        """Return the area under precision over recall, interpolated as the reference says.

        Between two thresholds the true positives grow in line with all predicted positives;
        the area of each piece is then known in closed form.
        """
        true = self.true_positives
        predicted = true + self.false_positives
        gain = true[:-1] - true[1:]
        slope = divide_no_nan(gain, ops.maximum(predicted[:-1] - predicted[1:], 0.0))
        left, right = predicted[:-1], ops.maximum(predicted[1:], 0.0)
        start = true[1:] - slope * predicted[1:]
        both = ops.logical_and(ops.greater(left, 0.0), ops.greater(right, 0.0))
        ratio = ops.where(both, divide_no_nan(left, right), 1.0)
        positive = ops.maximum(true[1:] + self.false_negatives[1:], 0.0)
        return self._summed(divide_no_nan(slope * (gain + start * ops.log(ratio)), positive))

    def _summed(self, pieces):
        areas = ops.sum(pieces, axis=0)
        if not self.multi_label:
            return areas
        if self.label_weights is None:
            return ops.mean(areas)
        weights = self.label_weights
        return divide_no_nan(ops.sum(areas * weights), ops.sum(weights))

    def get_config(self):
        config = {
            **super().get_config(),
            "num_thresholds": self.num_thresholds,
            "curve": self.curve,
            "summation_method": self.summation_method,
            "multi_label": self.multi_label,
            "num_labels": self.num_labels,
            "label_weights": None if self.label_weights is None else self.label_weights.tolist(),
            "from_logits": self.from_logits,
        }
        return {**config, "thresholds": self.thresholds[1:-1]} if self._given else config


def _inner_thresholds(count, given):
    """Return the thresholds between the outer two."""
    if given is None:
        if count <= 1:
            raise ValueError(f"AUC: expected num_thresholds > 1, got {count!r}")
        return [(i + 1) / (count - 1) for i in range(count - 2)]
    wrong = [t for t in given if t is None or not 0 <= t <= 1]
    if wrong:
        raise ValueError(f"AUC: expected thresholds in [0, 1], got {wrong}")
    return sorted(given)


def _label_weights(weights):
    weights = np.asarray(weights)
    if weights.ndim != 1 or (weights < 0).any():
        raise ValueError(f"AUC: expected a list of label_weights >= 0, got {weights.tolist()}")
    return weights


class _BestAt(Confusion):
    """Base: the best value of one rate where another one reaches a given value.

    Attributes:
        wanted: str, name of the option that holds the given value.
        constrained: two of the counts, whose rate must reach the value.
        best: two of the counts, whose rate is the result.
    """

    wanted = constrained = best = None

    def _setup(self, value, num_thresholds, class_id):
        who = type(self).__name__
        if not 0 <= value <= 1:
            raise ValueError(f"{who}: expected {self.wanted} in [0, 1], got {value!r}")
        if num_thresholds <= 0:
            raise ValueError(f"{who}: expected num_thresholds > 0, got {num_thresholds!r}")
        self.value = value
        self.num_thresholds = num_thresholds
        self.class_id = class_id
        last = num_thresholds - 1
        self.thresholds = [i / last for i in range(num_thresholds)] if last else [0.5]
        self._make_counts(self.thresholds)

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Take a batch into account."""
        self._count(y_true, y_pred, sample_weight, class_id=self.class_id)

    def result(self):
        reached = ops.greater_equal(self.rate(*self.constrained), self.value)
        return ops.max(ops.where(reached, self.rate(*self.best), 0.0))

    def get_config(self):
        return {
            **super().get_config(),
            "class_id": self.class_id,
            "num_thresholds": self.num_thresholds,
            self.wanted: self.value,
        }


@_register()
class SensitivityAtSpecificity(_BestAt):
    """The best sensitivity among the thresholds whose specificity reaches a value.

    Args:
        specificity: float in [0, 1].
        num_thresholds: int > 0, number of thresholds, evenly from 0 to 1.
        name: str.
        dtype: name of the float type.
        class_id: int, the only class that counts along the last axis, or None.

    Raises:
        ValueError: an option out of its range.
    """

    wanted = "specificity"
    constrained = ("true_negatives", "false_positives")
    best = ("true_positives", "false_negatives")

    def __init__(self, specificity, num_thresholds=200, name=None, dtype=None, class_id=None):
        super().__init__(name=name, dtype=dtype)
        self.specificity = specificity
        self._setup(specificity, num_thresholds, class_id)


@_register()
class SpecificityAtSensitivity(_BestAt):
    """The best specificity among the thresholds whose sensitivity reaches a value.

    Args:
        sensitivity: float in [0, 1].
        num_thresholds: int > 0, number of thresholds, evenly from 0 to 1.
        name: str.
        dtype: name of the float type.
        class_id: int, the only class that counts along the last axis, or None.

    Raises:
        ValueError: an option out of its range.
    """

    wanted = "sensitivity"
    constrained = ("true_positives", "false_negatives")
    best = ("true_negatives", "false_positives")

    def __init__(self, sensitivity, num_thresholds=200, name=None, dtype=None, class_id=None):
        super().__init__(name=name, dtype=dtype)
        self.sensitivity = sensitivity
        self._setup(sensitivity, num_thresholds, class_id)


@_register()
class PrecisionAtRecall(_BestAt):
    """The best precision among the thresholds whose recall reaches a value.

    Args:
        recall: float in [0, 1].
        num_thresholds: int > 0, number of thresholds, evenly from 0 to 1.
        class_id: int, the only class that counts along the last axis, or None.
        name: str.
        dtype: name of the float type.

    Raises:
        ValueError: an option out of its range.
    """

    wanted = "recall"
    constrained = ("true_positives", "false_negatives")
    best = ("true_positives", "false_positives")

    def __init__(self, recall, num_thresholds=200, class_id=None, name=None, dtype=None):
        super().__init__(name=name, dtype=dtype)
        self.recall = recall
        self._setup(recall, num_thresholds, class_id)


@_register()
class RecallAtPrecision(_BestAt):
    """The best recall among the thresholds whose precision reaches a value.

    Args:
        precision: float in [0, 1].
        num_thresholds: int > 0, number of thresholds, evenly from 0 to 1.
        class_id: int, the only class that counts along the last axis, or None.
        name: str.
        dtype: name of the float type.

    Raises:
        ValueError: an option out of its range.
    """

    wanted = "precision"
    constrained = ("true_positives", "false_positives")
    best = ("true_positives", "false_negatives")

    def __init__(self, precision, num_thresholds=200, class_id=None, name=None, dtype=None):
        super().__init__(name=name, dtype=dtype)
        self.precision = precision
        self._setup(precision, num_thresholds, class_id)
