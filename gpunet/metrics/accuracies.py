"""Accuracies: how often predictions are right."""

from gpunet import ops, registry
from gpunet.config import floatx
from gpunet.metrics.base import MeanMetricWrapper
from gpunet.tensor import convert_to_tensor

__all__ = [
    "accuracy",
    "binary_accuracy",
    "categorical_accuracy",
    "sparse_categorical_accuracy",
    "top_k_categorical_accuracy",
    "sparse_top_k_categorical_accuracy",
    "Accuracy",
    "BinaryAccuracy",
    "CategoricalAccuracy",
    "SparseCategoricalAccuracy",
    "TopKCategoricalAccuracy",
    "SparseTopKCategoricalAccuracy",
]

_register = registry.metrics.register


def _matches(x, y):
    """Return 1.0 where two tensors are equal, 0.0 elsewhere."""
    return ops.cast(ops.equal(x, y), dtype=floatx())


@_register("acc", "ACC")
def accuracy(y_true, y_pred):
    """Return 1 where predictions equal the targets, else 0."""
    return _matches(convert_to_tensor(y_true), convert_to_tensor(y_pred))


def binary_matches(y_true, y_pred, threshold=0.5):
    """Return 1 where a prediction lies on the target's side of a threshold, else 0."""
    y_pred = convert_to_tensor(y_pred)
    above = ops.cast(ops.greater(y_pred, threshold), dtype=y_pred.dtype)
    return _matches(convert_to_tensor(y_true), above)


@_register()
def binary_accuracy(y_true, y_pred, threshold=0.5):
    """Return the share of right yes/no predictions along the last axis.

    Args:
        y_true: targets, 0 or 1.
        y_pred: predictions.
        threshold: float; predictions above it mean 1.
    """
    return ops.mean(binary_matches(y_true, y_pred, threshold), axis=-1)


@_register()
def categorical_accuracy(y_true, y_pred):
    """Return 1 where the largest prediction is that of the largest target, else 0."""
    y_true, y_pred = convert_to_tensor(y_true), convert_to_tensor(y_pred)
    return _matches(ops.argmax(y_true, axis=-1), ops.argmax(y_pred, axis=-1))


def _class_numbers(y_true, y_pred):
    """Return the targets without a last axis of size 1 that stands for the classes."""
    y_true, y_pred = convert_to_tensor(y_true), convert_to_tensor(y_pred)
    if len(y_true.shape) == len(y_pred.shape):
        y_true = ops.squeeze(y_true, axis=-1)
    return y_true, y_pred


@_register()
def sparse_categorical_accuracy(y_true, y_pred):
    """Return 1 where the largest prediction is that of the target's class, else 0.

    Args:
        y_true: class numbers, of the shape of ``y_pred`` without its classes, or with 1 there.
        y_pred: predictions.
    """
    y_true, y_pred = _class_numbers(y_true, y_pred)
    return _matches(y_true, ops.argmax(y_pred, axis=-1))


@_register()
def top_k_categorical_accuracy(y_true, y_pred, k=5):
    """Return 1 where the target's class is among the k largest predictions, else 0."""
    return sparse_top_k_categorical_accuracy(
        ops.argmax(convert_to_tensor(y_true), axis=-1), y_pred, k
    )


@_register()
def sparse_top_k_categorical_accuracy(y_true, y_pred, k=5):
    """Return 1 where the target's class is among the k largest predictions, else 0.

    Equal predictions share the best place among them; a target that is no class, or whose
    prediction isn't finite, is wrong.

    Args:
        y_true: class numbers, see `sparse_categorical_accuracy`.
        y_pred: predictions.
        k: int.
    """
    y_true, y_pred = _class_numbers(y_true, y_pred)
    chosen = ops.one_hot(ops.cast(y_true, dtype="int32"), num_classes=int(y_pred.shape[-1]))
    own = ops.where(ops.greater(chosen, 0.5), y_pred, ops.zeros_like(y_pred))
    own = ops.sum(own, axis=-1, keepdims=True)
    better = ops.sum(ops.cast(ops.greater(y_pred, own), dtype=floatx()), axis=-1)
    valid = ops.sum(chosen, axis=-1) * ops.cast(ops.isfinite(own), dtype=floatx())[..., 0]
    return ops.cast(ops.less(better, float(k)), dtype=floatx()) * valid


@_register()
class Accuracy(MeanMetricWrapper):
    """How often predictions equal the targets.

    Args:
        name: str.
        dtype: name of the float type.
    """

    def __init__(self, name="accuracy", dtype=None):
        super().__init__(accuracy, name, dtype)


@_register()
class BinaryAccuracy(MeanMetricWrapper):
    """How often predictions lie on the targets' side of a threshold.

    Args:
        name: str.
        dtype: name of the float type.
        threshold: float.
    """

    def __init__(self, name="binary_accuracy", dtype=None, threshold=0.5):
        super().__init__(binary_matches, name, dtype, threshold=threshold)


@_register()
class CategoricalAccuracy(MeanMetricWrapper):
    """How often the largest prediction is that of the one-hot target.

    Args:
        name: str.
        dtype: name of the float type.
    """

    def __init__(self, name="categorical_accuracy", dtype=None):
        super().__init__(categorical_accuracy, name, dtype)


@_register()
class SparseCategoricalAccuracy(MeanMetricWrapper):
    """How often the largest prediction is that of the integer target.

    Args:
        name: str.
        dtype: name of the float type.
    """

    def __init__(self, name="sparse_categorical_accuracy", dtype=None):
        super().__init__(sparse_categorical_accuracy, name, dtype)


@_register()
class TopKCategoricalAccuracy(MeanMetricWrapper):
    """How often the one-hot target is among the k largest predictions.

    Args:
        k: int.
        name: str.
        dtype: name of the float type.
    """

    def __init__(self, k=5, name="top_k_categorical_accuracy", dtype=None):
        super().__init__(top_k_categorical_accuracy, name, dtype, k=k)


@_register()
class SparseTopKCategoricalAccuracy(MeanMetricWrapper):
    """How often the integer target is among the k largest predictions.

    Args:
        k: int.
        name: str.
        dtype: name of the float type.
    """

    def __init__(self, k=5, name="sparse_top_k_categorical_accuracy", dtype=None):
        super().__init__(sparse_top_k_categorical_accuracy, name, dtype, k=k)
