"""Distances between targets and predictions, and the losses as metrics."""

from gpunet import ops, registry
from gpunet.errors import ShapeError
from gpunet.losses import functions as losses
from gpunet.losses.base import align
from gpunet.metrics.base import Mean, MeanMetricWrapper, Metric, add, as_dtype, divide_no_nan
from gpunet.tensor import convert_to_tensor

__all__ = [
    "cosine_similarity",
    "MeanSquaredError",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanSquaredLogarithmicError",
    "RootMeanSquaredError",
    "MeanRelativeError",
    "CosineSimilarity",
    "LogCoshError",
    "R2Score",
    "Hinge",
    "SquaredHinge",
    "CategoricalHinge",
    "Poisson",
    "KLDivergence",
    "BinaryCrossentropy",
    "CategoricalCrossentropy",
    "SparseCategoricalCrossentropy",
]

_register = registry.metrics.register

_register("mse", "MSE")(losses.mean_squared_error)
_register("mae", "MAE")(losses.mean_absolute_error)
_register("mape", "MAPE")(losses.mean_absolute_percentage_error)
_register("msle", "MSLE")(losses.mean_squared_logarithmic_error)
_register("bce", "BCE")(losses.binary_crossentropy)
_register("kld", "KLD", "kullback_leibler_divergence")(losses.kl_divergence)
_register("logcosh")(losses.log_cosh)
_register("huber_loss")(losses.huber)
for _function in (
    losses.hinge,
    losses.squared_hinge,
    losses.categorical_hinge,
    losses.poisson,
    losses.categorical_crossentropy,
    losses.sparse_categorical_crossentropy,
    losses.binary_focal_crossentropy,
    losses.categorical_focal_crossentropy,
):
    _register()(_function)


@_register("cosine_proximity", "cosine")
def cosine_similarity(y_true, y_pred, axis=-1):
    """Return the cosine of the angle between targets and predictions.

    As in all versions of Keras the metric is positive where the vectors agree, and the loss of
    the name is negative.
    """
    return losses.cosine_similarity(y_true, y_pred, axis=axis) * -1.0


@_register()
class MeanSquaredError(MeanMetricWrapper):
    """Mean of the squared differences.

    Args:
        name: str.
        dtype: name of the float type.
    """

    def __init__(self, name="mean_squared_error", dtype=None):
        super().__init__(losses.mean_squared_error, name, dtype)


@_register()
class MeanAbsoluteError(MeanMetricWrapper):
    """Mean of the absolute differences.

    Args:
        name: str.
        dtype: name of the float type.
    """

    def __init__(self, name="mean_absolute_error", dtype=None):
        super().__init__(losses.mean_absolute_error, name, dtype)


@_register()
class MeanAbsolutePercentageError(MeanMetricWrapper):
    """Mean of the differences in percent of the targets.

    Args:
        name: str.
        dtype: name of the float type.
    """

    def __init__(self, name="mean_absolute_percentage_error", dtype=None):
        super().__init__(losses.mean_absolute_percentage_error, name, dtype)


@_register()
class MeanSquaredLogarithmicError(MeanMetricWrapper):
    """Mean squared difference of ``log(1 + y)``.

    Args:
        name: str.
        dtype: name of the float type.
    """

    def __init__(self, name="mean_squared_logarithmic_error", dtype=None):
        super().__init__(losses.mean_squared_logarithmic_error, name, dtype)


@_register()
class LogCoshError(MeanMetricWrapper):
    """Mean of ``log(cosh(y_pred - y_true))``.

    Args:
        name: str.
        dtype: name of the float type.
    """

    def __init__(self, name="logcosh", dtype=None):
        super().__init__(losses.log_cosh, name, dtype)


@_register()
class Hinge(MeanMetricWrapper):
    """Mean of ``max(1 - y_true * y_pred, 0)``.

    Args:
        name: str.
        dtype: name of the float type.
    """

    def __init__(self, name="hinge", dtype=None):
        super().__init__(losses.hinge, name, dtype)


@_register()
class SquaredHinge(MeanMetricWrapper):
    """Mean of ``max(1 - y_true * y_pred, 0) ** 2``.

    Args:
        name: str.
        dtype: name of the float type.
    """

    def __init__(self, name="squared_hinge", dtype=None):
        super().__init__(losses.squared_hinge, name, dtype)


@_register()
class CategoricalHinge(MeanMetricWrapper):
    """By how much the best wrong class comes nearer than 1 to the true one.

    Args:
        name: str.
        dtype: name of the float type.
    """

    def __init__(self, name="categorical_hinge", dtype=None):
        super().__init__(losses.categorical_hinge, name, dtype)


@_register()
class Poisson(MeanMetricWrapper):
    """Mean of ``y_pred - y_true * log(y_pred)``.

    Args:
        name: str.
        dtype: name of the float type.
    """

    def __init__(self, name="poisson", dtype=None):
        super().__init__(losses.poisson, name, dtype)


@_register()
class KLDivergence(MeanMetricWrapper):
    """Kullback-Leibler divergence of the predictions from the targets.

    Args:
        name: str.
        dtype: name of the float type.
    """

    def __init__(self, name="kullback_leibler_divergence", dtype=None):
        super().__init__(losses.kl_divergence, name, dtype)


@_register()
class CosineSimilarity(MeanMetricWrapper):
    """Mean cosine between targets and predictions; positive where they agree.

    Args:
        name: str.
        dtype: name of the float type.
        axis: int, the axis of a vector.
    """

    def __init__(self, name="cosine_similarity", dtype=None, axis=-1):
        super().__init__(cosine_similarity, name, dtype, axis=axis)


@_register()
class BinaryCrossentropy(MeanMetricWrapper):
    """Crossentropy of independent yes/no targets.

    Args:
        name: str.
        dtype: name of the float type.
        from_logits: bool, whether predictions are logits.
        label_smoothing: float in [0, 1].
    """

    def __init__(
        self, name="binary_crossentropy", dtype=None, from_logits=False, label_smoothing=0
    ):
        super().__init__(
            losses.binary_crossentropy,
            name,
            dtype,
            from_logits=from_logits,
            label_smoothing=label_smoothing,
        )


@_register()
class CategoricalCrossentropy(MeanMetricWrapper):
    """Crossentropy of one-hot or soft targets.

    Args:
        name: str.
        dtype: name of the float type.
        from_logits: bool, whether predictions are logits.
        label_smoothing: float in [0, 1].
        axis: int, the axis of the classes.
    """

    def __init__(
        self,
        name="categorical_crossentropy",
        dtype=None,
        from_logits=False,
        label_smoothing=0,
        axis=-1,
    ):
        super().__init__(
            losses.categorical_crossentropy,
            name,
            dtype,
            from_logits=from_logits,
            label_smoothing=label_smoothing,
            axis=axis,
        )


@_register()
class SparseCategoricalCrossentropy(MeanMetricWrapper):
    """Crossentropy of integer targets.

    Args:
        name: str.
        dtype: name of the float type.
        from_logits: bool, whether predictions are logits.
        axis: int, the axis of the classes.
        ignore_class: int, class number of samples that don't count, or None.
    """

    def __init__(
        self,
        name="sparse_categorical_crossentropy",
        dtype=None,
        from_logits=False,
        axis=-1,
        ignore_class=None,
    ):
        super().__init__(
            losses.sparse_categorical_crossentropy,
            name,
            dtype,
            from_logits=from_logits,
            axis=axis,
            ignore_class=ignore_class,
        )


@_register()
class RootMeanSquaredError(Mean):
    """Root of the mean of the squared differences.

    Args:
        name: str.
        dtype: name of the float type.
    """

    def __init__(self, name="root_mean_squared_error", dtype=None):
        super().__init__(name=name, dtype=dtype)

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Take a batch into account."""
        y_true, y_pred = align(as_dtype(y_true, self._dtype), as_dtype(y_pred, self._dtype))
        super().update_state(ops.square(y_pred - y_true), sample_weight)

    def result(self):
        return ops.sqrt(super().result())


@_register()
class MeanRelativeError(Mean):
    """Mean of the absolute differences, each divided by a given number.

    Args:
        normalizer: array that is broadcast to the predictions; 0 leaves a difference out.
        name: str.
        dtype: name of the float type.
    """

    def __init__(self, normalizer, name=None, dtype=None):
        super().__init__(name=name, dtype=dtype)
        self.normalizer = convert_to_tensor(normalizer, self._dtype)

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Take a batch into account."""
        y_true, y_pred = align(as_dtype(y_true, self._dtype), as_dtype(y_pred, self._dtype))
        errors = divide_no_nan(ops.abs(y_true - y_pred), self.normalizer)
        super().update_state(errors, sample_weight)

    def get_config(self):
        return {**super().get_config(), "normalizer": self.normalizer.tolist()}


@_register()
class R2Score(Metric):
    """Coefficient of determination: the share of the targets' variance that is explained.

    Args:
        class_aggregation: how the scores of the outputs become one: ``'uniform_average'``,
            ``'variance_weighted_average'``, or None for one score each.
        num_regressors: int, number of explaining variables, for the adjusted score; it is used
            where there are more samples than that.
        name: str.
        dtype: name of the float type.

    Raises:
        ValueError: unknown aggregation, or a negative number.
    """

    def __init__(
        self, class_aggregation="uniform_average", num_regressors=0, name="r2_score", dtype=None
    ):
        super().__init__(name=name, dtype=dtype)
        known = (None, "uniform_average", "variance_weighted_average")
        if class_aggregation not in known:
            raise ValueError(
                f"R2Score: expected class_aggregation from {known}, got {class_aggregation!r}"
            )
        if num_regressors < 0:
            raise ValueError(f"R2Score: expected num_regressors >= 0, got {num_regressors!r}")
        self.class_aggregation = class_aggregation
        self.num_regressors = num_regressors
        self.num_samples = self.add_weight("num_samples")
        self.total_mse = None

    def _build(self, y_true, y_pred):
        if len(y_true.shape) != 2 or len(y_pred.shape) != 2:
            raise ShapeError(
                f"R2Score: expected shapes (batch, outputs), got {y_true.shape} and {y_pred.shape}"
            )
        shape = (y_pred.shape[-1],)
        self.squared_sum = self.add_weight("squared_sum", shape)
        self.sum = self.add_weight("sum", shape)
        self.total_mse = self.add_weight("residual", shape)
        self.count = self.add_weight("count", shape)

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Take a batch into account.

        Args:
            y_true: targets (batch, outputs).
            y_pred: predictions of that shape.
            sample_weight: weights of the samples, or of each output.
        """
        y_true, y_pred = as_dtype(y_true, self._dtype), as_dtype(y_pred, self._dtype)
        if self.total_mse is None:
            self._build(y_true, y_pred)
        weight = ops.zeros_like(y_true) + 1.0
        if sample_weight is not None:
            sample_weight = as_dtype(sample_weight, self._dtype)
            if len(sample_weight.shape) == 1:
                sample_weight = ops.expand_dims(sample_weight, axis=-1)
            weight = weight * sample_weight
        add(self.sum, ops.sum(y_true * weight, axis=0))
        add(self.squared_sum, ops.sum(y_true * y_true * weight, axis=0))
        add(self.total_mse, ops.sum(ops.square(y_true - y_pred) * weight, axis=0))
        add(self.count, ops.sum(weight, axis=0))
        add(self.num_samples, float(y_true.size))

    def result(self):
        if self.total_mse is None:
            raise ValueError(f"Metric {self.name!r} has no value yet: no batch was given")
        total = self.squared_sum - self.sum * self.sum / self.count
        constant = ops.equal(total, 0.0)
        scores = 1.0 - self.total_mse / ops.where(constant, 1.0, total)
        scores = ops.where(constant, 0.0, scores)
        if self.class_aggregation == "uniform_average":
            scores = ops.mean(scores)
        elif self.class_aggregation == "variance_weighted_average":
            scores = ops.sum(total * scores) / ops.sum(total)
        return self._adjusted(scores) if self.num_regressors else scores

    def _adjusted(self, scores):
        free = self.num_samples - (self.num_regressors + 1.0)
        enough = ops.greater(free, 0.0)
        adjusted = 1.0 - (1.0 - scores) * (self.num_samples - 1.0) / ops.where(enough, free, 1.0)
        return ops.where(enough, adjusted, scores)

    def get_config(self):
        return {
            **super().get_config(),
            "class_aggregation": self.class_aggregation,
            "num_regressors": self.num_regressors,
        }
