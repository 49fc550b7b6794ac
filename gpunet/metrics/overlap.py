"""Metrics of segmentations and of labels: intersection over union, F scores."""

from gpunet import ops, registry
from gpunet.autodiff import differentiable
from gpunet.errors import ShapeError
from gpunet.metrics.base import Metric, add, as_dtype, divide_no_nan
from gpunet.metrics.confusion import sums_by_index
from gpunet.tensor import convert_to_tensor

__all__ = [
    "IoU",
    "MeanIoU",
    "BinaryIoU",
    "OneHotIoU",
    "OneHotMeanIoU",
    "FBetaScore",
    "F1Score",
]

_register = registry.metrics.register


@differentiable
def confusion_matrix(xp, y_true, y_pred, weight, /, classes=2, ignore_class=None):
    """Return the weights of all pairs of true and predicted classes, as a matrix.

    Args:
        y_true: (M,), class numbers, the rows.
        y_pred: (M,), class numbers, the columns.
        weight: (M,), float.  What is no class, or ``ignore_class``, isn't counted.
        classes: int, number of classes.
        ignore_class: int or None.
    """
    true, pred = y_true.astype("int64"), y_pred.astype("int64")
    valid = (true >= 0) & (true < classes) & (pred >= 0) & (pred < classes)
    if ignore_class is not None:
        valid = valid & (true != ignore_class)
    index = xp.where(valid, true * classes + pred, 0)
    sums = sums_by_index(xp, index, xp.where(valid, weight, 0), classes * classes)
    return sums.reshape(classes, classes).astype(weight.dtype), None


@_register()
class IoU(Metric):
    """Intersection over union of chosen classes, averaged over those that occur.

    Args:
        num_classes: int.
        target_class_ids: list of ints, the classes that count.
        name: str.
        dtype: name of the float type.
        ignore_class: int, true class of what doesn't count at all, or None.
        sparse_y_true: bool, whether targets are class numbers; else scores along ``axis``.
        sparse_y_pred: bool, the same for predictions.
        axis: int.

    Raises:
        ValueError: a class number out of range.
    """

    def __init__(
        self,
        num_classes,
        target_class_ids,
        name=None,
        dtype=None,
        ignore_class=None,
        sparse_y_true=True,
        sparse_y_pred=True,
        axis=-1,
    ):
        super().__init__(name=name, dtype=dtype)
        self.num_classes = num_classes
        self.target_class_ids = list(target_class_ids)
        wrong = [i for i in self.target_class_ids if not 0 <= i < num_classes]
        if wrong:
            raise ValueError(
                f"{type(self).__name__}: expected target_class_ids in [0, {num_classes}), "
                f"got {wrong}"
            )
        self.ignore_class = ignore_class
        self.sparse_y_true = sparse_y_true
        self.sparse_y_pred = sparse_y_pred
        self.axis = axis
        self.total_cm = self.add_weight("total_confusion_matrix", (num_classes, num_classes))

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Take a batch into account.

        Args:
            y_true: targets.
            y_pred: predictions.
            sample_weight: weights of the targets' shape, or a number.
        """
        y_true, y_pred = convert_to_tensor(y_true), convert_to_tensor(y_pred)
        if not self.sparse_y_true:
            y_true = ops.argmax(y_true, axis=self.axis)
        if not self.sparse_y_pred:
            y_pred = ops.argmax(y_pred, axis=self.axis)
        y_true, y_pred = (ops.reshape(t, shape=(-1,)) for t in (y_true, y_pred))
        weight = ops.cast(ops.zeros_like(y_true), dtype=self._dtype) + 1.0
        if sample_weight is not None:
            sample_weight = as_dtype(sample_weight, self._dtype)
            if len(sample_weight.shape) > 1:
                sample_weight = ops.reshape(sample_weight, shape=(-1,))
            weight = weight * sample_weight
        matrix = confusion_matrix(
            y_true, y_pred, weight, classes=self.num_classes, ignore_class=self.ignore_class
        )
        add(self.total_cm, matrix)

    def result(self):
        all_true, all_pred = ops.sum(self.total_cm, axis=1), ops.sum(self.total_cm, axis=0)
        classes = self.target_class_ids
        both = ops.stack([self.total_cm[i, i] for i in classes])
        either = ops.stack([all_true[i] + all_pred[i] for i in classes]) - both
        occurring = ops.sum(ops.cast(ops.not_equal(either, 0.0), dtype=self._dtype))
        return divide_no_nan(ops.sum(divide_no_nan(both, either)), occurring)

    def get_config(self):
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "target_class_ids": self.target_class_ids,
            "ignore_class": self.ignore_class,
            "sparse_y_true": self.sparse_y_true,
            "sparse_y_pred": self.sparse_y_pred,
            "axis": self.axis,
        }


@_register()
class MeanIoU(IoU):
    """Intersection over union, averaged over all classes that occur; see `IoU`."""

    def __init__(
        self,
        num_classes,
        name=None,
        dtype=None,
        ignore_class=None,
        sparse_y_true=True,
        sparse_y_pred=True,
        axis=-1,
    ):
        super().__init__(
            num_classes,
            range(num_classes),
            name,
            dtype,
            ignore_class,
            sparse_y_true,
            sparse_y_pred,
            axis,
        )

    def get_config(self):
        return _without(super().get_config(), "target_class_ids")


@_register()
class BinaryIoU(IoU):
    """Intersection over union of predictions above a threshold and of those below.

    Args:
        target_class_ids: which of them count, 0 (below) and 1 (above).
        threshold: float.
        name: str.
        dtype: name of the float type.
    """

    def __init__(self, target_class_ids=(0, 1), threshold=0.5, name=None, dtype=None):
        super().__init__(2, target_class_ids, name, dtype)
        self.threshold = threshold

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Take a batch into account."""
        above = ops.greater_equal(as_dtype(y_pred, self._dtype), self.threshold)
        super().update_state(y_true, above, sample_weight)

    def get_config(self):
        config = _without(
            super().get_config(),
            "num_classes",
            "ignore_class",
            "sparse_y_true",
            "sparse_y_pred",
            "axis",
        )
        return {**config, "threshold": self.threshold}


@_register()
class OneHotIoU(IoU):
    """`IoU` of one-hot targets and of scores along an axis."""

    def __init__(
        self,
        num_classes,
        target_class_ids,
        name=None,
        dtype=None,
        ignore_class=None,
        sparse_y_pred=False,
        axis=-1,
    ):
        super().__init__(
            num_classes, target_class_ids, name, dtype, ignore_class, False, sparse_y_pred, axis
        )

    def get_config(self):
        return _without(super().get_config(), "sparse_y_true")


@_register()
class OneHotMeanIoU(MeanIoU):
    """`MeanIoU` of one-hot targets and of scores along an axis."""

    def __init__(
        self, num_classes, name=None, dtype=None, ignore_class=None, sparse_y_pred=False, axis=-1
    ):
        super().__init__(num_classes, name, dtype, ignore_class, False, sparse_y_pred, axis)

    def get_config(self):
        return _without(super().get_config(), "sparse_y_true")


def _without(config, *names):
    return {k: v for k, v in config.items() if k not in names}


@_register()
class FBetaScore(Metric):
    """Weighted harmonic mean of precision and recall.

    Args:
        average: ``'micro'`` (over all labels together), ``'macro'`` (mean over labels),
            ``'weighted'`` (by the labels' frequencies), or None for one score each.
        beta: float > 0, how much more recall counts than precision.
        threshold: float in (0, 1], above which a label is predicted; None takes the largest.
        name: str.
        dtype: name of the float type.

    Raises:
        ValueError: an option out of its range.

    Reference:
        van Rijsbergen, 1979, "Information Retrieval".
    """

    def __init__(self, average=None, beta=1.0, threshold=None, name="fbeta_score", dtype=None):
        super().__init__(name=name, dtype=dtype)
        who = type(self).__name__
        known = (None, "micro", "macro", "weighted")
        if average not in known:
            raise ValueError(f"{who}: expected average from {known}, got {average!r}")
        if isinstance(beta, bool) or not isinstance(beta, (int, float)) or beta <= 0:
            raise ValueError(f"{who}: expected a number > 0 as beta, got {beta!r}")
        if threshold is not None and not 0 < threshold <= 1:
            raise ValueError(f"{who}: expected a threshold in (0, 1], got {threshold!r}")
        self.average = average
        self.beta = float(beta)
        self.threshold = threshold
        self.true_positives = None

    def _build(self, y_true, y_pred):
        if len(y_true.shape) != 2 or len(y_pred.shape) != 2:
            raise ShapeError(
                f"{type(self).__name__}: expected shapes (batch, labels), got {y_true.shape} "
                f"and {y_pred.shape}"
            )
        shape = () if self.average == "micro" else (y_pred.shape[-1],)
        self.true_positives = self.add_weight("true_positives", shape)
        self.false_positives = self.add_weight("false_positives", shape)
        self.false_negatives = self.add_weight("false_negatives", shape)
        self.intermediate_weights = self.add_weight("intermediate_weights", shape)

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Take a batch into account.

        Args:
            y_true: targets (batch, labels), 0 or 1.
            y_pred: predictions of that shape.
            sample_weight: weights of the samples, or None.
        """
        y_true, y_pred = as_dtype(y_true, self._dtype), as_dtype(y_pred, self._dtype)
        if self.true_positives is None:
            self._build(y_true, y_pred)
        y_pred = ops.cast(self._predicted(y_pred), dtype=self._dtype)
        weight = y_true * 0.0 + 1.0
        if sample_weight is not None:
            weight = ops.expand_dims(as_dtype(sample_weight, self._dtype), axis=1) * weight
        axis = None if self.average == "micro" else 0
        add(self.true_positives, ops.sum(y_pred * y_true * weight, axis=axis))
        add(self.false_positives, ops.sum(y_pred * (1.0 - y_true) * weight, axis=axis))
        add(self.false_negatives, ops.sum((1.0 - y_pred) * y_true * weight, axis=axis))
        add(self.intermediate_weights, ops.sum(y_true * weight, axis=axis))

    def _predicted(self, y_pred):
        if self.threshold is not None:
            return ops.greater(y_pred, self.threshold)
        largest = ops.max(y_pred, axis=-1, keepdims=True)
        something = ops.greater(ops.abs(y_pred), 1e-9)
        return ops.logical_and(ops.greater_equal(y_pred, largest), something)

    def result(self):
        if self.true_positives is None:
            raise ValueError(f"Metric {self.name!r} has no value yet: no batch was given")
        true = self.true_positives
        precision = divide_no_nan(true, true + self.false_positives)
        recall = divide_no_nan(true, true + self.false_negatives)
        square = self.beta**2
        score = divide_no_nan(precision * recall, precision * square + recall) * (1.0 + square)
        if self.average == "weighted":
            weights = self.intermediate_weights
            return ops.sum(score * divide_no_nan(weights, ops.sum(weights)))
        return score if self.average is None else ops.mean(score)

    def get_config(self):
        return {
            **super().get_config(),
            "average": self.average,
            "beta": self.beta,
            "threshold": self.threshold,
        }


@_register()
class F1Score(FBetaScore):
    """Harmonic mean of precision and recall; see `FBetaScore`."""

    def __init__(self, average=None, threshold=None, name="f1_score", dtype=None):
        super().__init__(average, 1.0, threshold, name, dtype)

    def get_config(self):
        return _without(super().get_config(), "beta")
