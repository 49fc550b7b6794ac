"""Loss functions: one value for each sample, mostly the mean over the last axis."""

import warnings

from gpunet import ops, registry
from gpunet.config import epsilon, floatx
from gpunet.errors import ShapeError
from gpunet.tensor import Tensor, convert_to_tensor

__all__ = [
    "BCE",
    "KLD",
    "MAE",
    "MAPE",
    "MSE",
    "MSLE",
    "bce",
    "binary_crossentropy",
    "binary_focal_crossentropy",
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "categorical_hinge",
    "cosine",
    "cosine_proximity",
    "cosine_similarity",
    "hinge",
    "huber",
    "huber_loss",
    "kl_divergence",
    "kld",
    "kullback_leibler_divergence",
    "log_cosh",
    "logcosh",
    "mae",
    "mape",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_error",
    "mean_squared_logarithmic_error",
    "mse",
    "msle",
    "poisson",
    "sparse_categorical_crossentropy",
    "squared_hinge",
]

_register = registry.losses.register


def _as_tensors(y_true, y_pred):
    """Return targets and predictions as tensors of the predictions' float type."""
    y_pred = convert_to_tensor(y_pred)
    if y_pred.dtype.kind != "f":
        y_pred = ops.cast(y_pred, dtype=floatx())
    y_true = convert_to_tensor(y_true)
    if y_true.dtype != y_pred.dtype:
        y_true = ops.cast(y_true, dtype=y_pred.dtype)
    return y_true, y_pred


@_register("mse", "MSE")
def mean_squared_error(y_true, y_pred):
    """Return the mean of the squared differences."""
    y_true, y_pred = _as_tensors(y_true, y_pred)
    return ops.mean(ops.square(y_pred - y_true), axis=-1)


@_register("mae", "MAE")
def mean_absolute_error(y_true, y_pred):
    """Return the mean of the absolute differences."""
    y_true, y_pred = _as_tensors(y_true, y_pred)
    return ops.mean(ops.abs(y_pred - y_true), axis=-1)


@_register("mape", "MAPE")
def mean_absolute_percentage_error(y_true, y_pred):
    """Return the mean of the differences in percent of the targets."""
    y_true, y_pred = _as_tensors(y_true, y_pred)
    scale = ops.maximum(ops.abs(y_true), epsilon())
    return ops.mean(ops.abs((y_true - y_pred) / scale), axis=-1) * 100.0


@_register("msle", "MSLE")
def mean_squared_logarithmic_error(y_true, y_pred):
    """Return the mean squared difference of ``log(1 + y)``; negative values count as zero."""
    y_true, y_pred = _as_tensors(y_true, y_pred)
    y_pred = ops.log(ops.maximum(y_pred, epsilon()) + 1.0)
    y_true = ops.log(ops.maximum(y_true, epsilon()) + 1.0)
    return ops.mean(ops.square(y_pred - y_true), axis=-1)


def _signs(y_true):
    """Turn targets that are all 0 or 1 into -1 and 1; no value is read on the host."""
    strange = ops.max(ops.abs(y_true * (y_true - 1.0)))
    return ops.where(ops.equal(strange, 0.0), y_true * 2.0 - 1.0, y_true)


@_register()
def hinge(y_true, y_pred):
    """Return the mean of ``max(1 - y_true * y_pred, 0)``; targets are -1 and 1, or 0 and 1."""
    y_true, y_pred = _as_tensors(y_true, y_pred)
    return ops.mean(ops.maximum(1.0 - _signs(y_true) * y_pred, 0.0), axis=-1)


@_register()
def squared_hinge(y_true, y_pred):
    """Return the mean of ``max(1 - y_true * y_pred, 0) ** 2``; see `hinge`."""
    y_true, y_pred = _as_tensors(y_true, y_pred)
    return ops.mean(ops.square(ops.maximum(1.0 - _signs(y_true) * y_pred, 0.0)), axis=-1)


@_register()
def categorical_hinge(y_true, y_pred):
    """Return by how much the best wrong class comes nearer than 1 to the true one."""
    y_true, y_pred = _as_tensors(y_true, y_pred)
    true = ops.sum(y_true * y_pred, axis=-1)
    wrong = ops.max((1.0 - y_true) * y_pred, axis=-1)
    return ops.maximum(wrong - true + 1.0, 0.0)


@_register("logcosh")
def log_cosh(y_true, y_pred):
    """Return the mean of ``log(cosh(y_pred - y_true))``: squares near 0, else absolute values."""
    y_true, y_pred = _as_tensors(y_true, y_pred)
    x = y_pred - y_true
    return ops.mean(x + ops.softplus(x * -2.0) - 0.6931471805599453, axis=-1)


@_register("huber_loss")
def huber(y_true, y_pred, delta=1.0):
    """Return the mean of squares / 2 up to ``delta``, continued by straight lines.

    Reference:
        Huber, 1964, "Robust Estimation of a Location Parameter".
    """
    y_true, y_pred = _as_tensors(y_true, y_pred)
    size = ops.abs(y_pred - y_true)
    inner = ops.minimum(size, delta)  # inner * (size - inner / 2) is both branches
    return ops.mean(inner * (size - inner * 0.5), axis=-1)


def _smooth(y_true, amount, classes):
    return y_true * (1.0 - amount) + amount / classes if amount else y_true


def _logits_of(y_pred, from_logits, who):
    """Return the tensor to start from and whether it holds logits.

    Predictions that come straight from softmax or sigmoid are traced back to their logits.
    """
    logits = getattr(y_pred, "_keras_logits", None)
    if logits is None:
        return y_pred, from_logits
    if from_logits:
        warnings.warn(
            f"{who}: from_logits=True, but the predictions come from softmax or sigmoid",
            stacklevel=3,
        )
    return logits, True


def _logs_of(y_pred, axis):
    """Return a list of the logarithms that softmax has computed of its result, if it has."""
    logs = getattr(y_pred, "_keras_logs", None)
    return [] if logs is None or axis not in (-1, 1) else [logs]


@_register("bce", "BCE")
def binary_crossentropy(y_true, y_pred, from_logits=False, label_smoothing=0, axis=-1):
    """Return the mean crossentropy of independent yes/no targets.

    Args:
        y_true: targets between 0 and 1.
        y_pred: probabilities, or logits.
        from_logits: bool, whether ``y_pred`` holds logits.
        label_smoothing: float in [0, 1], how far targets are moved towards 0.5.
        axis: int, the axis of the mean.
    """
    y_true, y_pred = _as_tensors(y_true, y_pred)
    y_true = _smooth(y_true, label_smoothing, 2)
    return ops.mean(_binary(y_true, y_pred, from_logits, "binary_crossentropy"), axis=axis)


def _binary(y_true, y_pred, from_logits, who):
    y_pred, from_logits = _logits_of(y_pred, from_logits, who)
    return ops.binary_crossentropy(y_true, y_pred, from_logits=from_logits)


@_register()
def categorical_crossentropy(y_true, y_pred, from_logits=False, label_smoothing=0, axis=-1):
    """Return the crossentropy of one-hot or soft targets.

    Args:
        y_true: targets of the shape of ``y_pred``.
        y_pred: probabilities, which are scaled to sum 1, or logits.
        from_logits: bool, whether ``y_pred`` holds logits.
        label_smoothing: float in [0, 1], how far targets are moved towards equal ones.
        axis: int, the axis of the classes.

    Reference:
        Szegedy et al., 2015, arXiv:1512.00567 (label smoothing).
    """
    y_true, y_pred = _as_tensors(y_true, y_pred)
    _check_classes("categorical_crossentropy", y_true, y_pred, axis)
    y_true = _smooth(y_true, label_smoothing, y_pred.shape[axis])
    logs = _logs_of(y_pred, axis)
    y_pred, from_logits = _logits_of(y_pred, from_logits, "categorical_crossentropy")
    return ops.categorical_crossentropy(y_true, y_pred, *logs, from_logits=from_logits, axis=axis)


def _check_classes(who, y_true, y_pred, axis):
    true, pred = tuple(y_true.shape), tuple(y_pred.shape)
    if isinstance(axis, bool):
        raise ValueError(f"{who}: expected an int as axis, got {axis!r}")
    if len(true) != len(pred) or any(
        a != b and None not in (a, b) for a, b in zip(true, pred, strict=True)
    ):
        raise ShapeError(
            f"{who}: expected targets of the predictions' shape {y_pred.shape}, got shape "
            f"{y_true.shape}; integer classes need sparse_categorical_crossentropy."
        )


@_register()
def sparse_categorical_crossentropy(y_true, y_pred, from_logits=False, axis=-1, ignore_class=None):
    """Return the crossentropy of integer targets.

    Args:
        y_true: class numbers, of the shape of ``y_pred`` without its classes, or with 1 there.
        y_pred: probabilities, or logits.
        from_logits: bool, whether ``y_pred`` holds logits.
        axis: int, the axis of the classes.
        ignore_class: int, class number of samples that don't count, or None: their loss is 0
            and a `Loss` takes the mean over the others.
    """
    y_true, y_pred = convert_to_tensor(y_true), convert_to_tensor(y_pred)
    logs = _logs_of(y_pred, axis)
    y_pred, from_logits = _logits_of(y_pred, from_logits, "sparse_categorical_crossentropy")
    values = ops.sparse_categorical_crossentropy(
        y_true, y_pred, *logs, from_logits=from_logits, axis=axis, ignore_class=ignore_class
    )
    if ignore_class is not None and isinstance(values, Tensor):
        valid = ops.not_equal(y_true, ignore_class)
        values._keras_mask = ops.reshape(valid, shape=tuple(values.shape))
    return values


@_register()
def binary_focal_crossentropy(
    y_true,
    y_pred,
    apply_class_balancing=False,
    alpha=0.25,
    gamma=2.0,
    from_logits=False,
    label_smoothing=0.0,
    axis=-1,
):
    """Return the binary crossentropy, weighted down where the prediction is right already.

    Args:
        y_true: targets between 0 and 1.
        y_pred: probabilities, or logits.
        apply_class_balancing: bool, whether to weight class 1 by ``alpha``, 0 by the rest.
        alpha: float, weight of class 1.
        gamma: float, exponent of the weight ``1 - p``; 0 gives plain crossentropy.
        from_logits: bool, whether ``y_pred`` holds logits.
        label_smoothing: float in [0, 1], see `binary_crossentropy`.
        axis: int, the axis of the mean.

    Reference:
        Lin et al., 2017, arXiv:1708.02002.
    """
    y_true, y_pred = _as_tensors(y_true, y_pred)
    y_true = _smooth(y_true, label_smoothing, 2)
    p = ops.sigmoid(y_pred) if from_logits else y_pred
    right = y_true * p + (1.0 - y_true) * (1.0 - p)
    values = _binary(y_true, y_pred, from_logits, "binary_focal_crossentropy")
    values = ops.power(1.0 - right, gamma) * values
    if apply_class_balancing:
        values = values * (y_true * alpha + (1.0 - y_true) * (1.0 - alpha))
    return ops.mean(values, axis=axis)


@_register()
def categorical_focal_crossentropy(
    y_true, y_pred, alpha=0.25, gamma=2.0, from_logits=False, label_smoothing=0.0, axis=-1
):
    """Return the categorical crossentropy, weighted down where the prediction is right already.

    Args:
        y_true: one-hot or soft targets.
        y_pred: probabilities, which are scaled to sum 1, or logits.
        alpha: float, or list with one for each class, weight of the classes.
        gamma: float, exponent of the weight ``1 - p``.
        from_logits: bool, whether ``y_pred`` holds logits.
        label_smoothing: float in [0, 1], see `categorical_crossentropy`.
        axis: int, the axis of the classes.

    Reference:
        Lin et al., 2017, arXiv:1708.02002.
    """
    who = "categorical_focal_crossentropy"
    y_true, y_pred = _as_tensors(y_true, y_pred)
    _check_classes(who, y_true, y_pred, axis)
    y_true = _smooth(y_true, label_smoothing, y_pred.shape[-1])
    y_pred, from_logits = _logits_of(y_pred, from_logits, who)
    p = ops.softmax(y_pred, axis=axis) if from_logits else y_pred
    p = ops.clip(p / ops.sum(p, axis=axis, keepdims=True), epsilon(), 1.0 - epsilon())
    if not isinstance(alpha, (int, float)):
        alpha = convert_to_tensor(alpha, y_pred.dtype)
    weights = ops.power(1.0 - p, gamma) * alpha
    return ops.sum(weights * ops.log(p) * y_true, axis=axis) * -1.0


@_register("kld", "KLD", "kullback_leibler_divergence")
def kl_divergence(y_true, y_pred):
    """Return ``sum(y_true * log(y_true / y_pred))``, values cut off at epsilon and 1.

    Reference:
        Kullback and Leibler, 1951, "On Information and Sufficiency".
    """
    y_true, y_pred = _as_tensors(y_true, y_pred)
    y_true = ops.clip(y_true, epsilon(), 1.0)
    y_pred = ops.clip(y_pred, epsilon(), 1.0)
    return ops.sum(y_true * ops.log(y_true / y_pred), axis=-1)


@_register()
def poisson(y_true, y_pred):
    """Return the mean of ``y_pred - y_true * log(y_pred)``."""
    y_true, y_pred = _as_tensors(y_true, y_pred)
    return ops.mean(y_pred - y_true * ops.log(y_pred + epsilon()), axis=-1)


@_register("cosine_proximity", "cosine")
def cosine_similarity(y_true, y_pred, axis=-1):
    """Return minus the cosine of the angle between targets and predictions.

    As in all versions of Keras the loss, also under its old names ``cosine_proximity`` and
    ``cosine``, is negative where the vectors agree, and the metric of the name is positive.
    """
    y_true, y_pred = _as_tensors(y_true, y_pred)
    y_true = ops.l2_normalize(y_true, axis=axis)
    y_pred = ops.l2_normalize(y_pred, axis=axis)
    return ops.sum(y_true * y_pred, axis=axis) * -1.0


mse = MSE = mean_squared_error
mae = MAE = mean_absolute_error
mape = MAPE = mean_absolute_percentage_error
msle = MSLE = mean_squared_logarithmic_error
bce = BCE = binary_crossentropy
kld = KLD = kullback_leibler_divergence = kl_divergence
cosine = cosine_proximity = cosine_similarity
logcosh = log_cosh
huber_loss = huber
