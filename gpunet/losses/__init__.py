"""Losses: functions, classes, and finding them by name."""

import inspect

from gpunet import registry
from gpunet.losses.base import Loss, LossFunctionWrapper, Reduction
from gpunet.losses.classes import (
    BinaryCrossentropy,
    BinaryFocalCrossentropy,
    CategoricalCrossentropy,
    CategoricalFocalCrossentropy,
    CategoricalHinge,
    CosineSimilarity,
    Hinge,
    Huber,
    KLDivergence,
    LogCosh,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    Poisson,
    SparseCategoricalCrossentropy,
    SquaredHinge,
)
from gpunet.losses.functions import (
    BCE,
    KLD,
    MAE,
    MAPE,
    MSE,
    MSLE,
    bce,
    binary_crossentropy,
    binary_focal_crossentropy,
    categorical_crossentropy,
    categorical_focal_crossentropy,
    categorical_hinge,
    cosine,
    cosine_proximity,
    cosine_similarity,
    hinge,
    huber,
    huber_loss,
    kl_divergence,
    kld,
    kullback_leibler_divergence,
    log_cosh,
    logcosh,
    mae,
    mape,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
    mse,
    msle,
    poisson,
    sparse_categorical_crossentropy,
    squared_hinge,
)

__all__ = [
    "Loss",
    "LossFunctionWrapper",
    "Reduction",
    "BinaryCrossentropy",
    "BinaryFocalCrossentropy",
    "CategoricalCrossentropy",
    "CategoricalFocalCrossentropy",
    "CategoricalHinge",
    "CosineSimilarity",
    "Hinge",
    "Huber",
    "KLDivergence",
    "LogCosh",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanSquaredError",
    "MeanSquaredLogarithmicError",
    "Poisson",
    "SparseCategoricalCrossentropy",
    "SquaredHinge",
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
    "get",
    "serialize",
    "deserialize",
    "resolve",
    "is_categorical_crossentropy",
]


def serialize(loss, use_legacy_format=True):
    """Return the name of a loss function, or the config of a loss object."""
    return registry.losses.serialize(loss)


def deserialize(name, custom_objects=None, use_legacy_format=True):
    """Make a loss from its name or config; see `get`."""
    return registry.losses.deserialize(name, custom_objects)


def get(identifier):
    """Turn an identifier into a loss function or object.

    Args:
        identifier: None, name, config dict, class, function, or `Loss`.

    Raises:
        ValueError: unknown name.
        TypeError: something that can't be an identifier.
    """
    return registry.losses.get(identifier)


def resolve(identifier):
    """Turn an identifier into a `Loss`, which weights and reduces; None stays None.

    Args:
        identifier: as for `get`; a function of (y_true, y_pred) is wrapped under its name.
    """
    found = get(identifier)
    if found is None or isinstance(found, Loss):
        return found
    name = getattr(found, "__name__", None) or type(found).__name__
    return LossFunctionWrapper(found, name=name)


def is_categorical_crossentropy(loss):
    """Return whether a loss, in any of its forms, is the crossentropy of one-hot targets."""
    return function_of(loss) is categorical_crossentropy


def function_of(loss):
    """Return the built-in function behind a name, function, class or object, None if none."""
    if isinstance(loss, LossFunctionWrapper):
        return loss.fn
    if isinstance(loss, str):
        loss = registry.losses.table.get(loss)
    if isinstance(loss, dict):
        loss = registry.losses.table.get(loss.get("class_name"))
    if inspect.isclass(loss):
        return loss().fn if issubclass(loss, LossFunctionWrapper) else None
    return loss
