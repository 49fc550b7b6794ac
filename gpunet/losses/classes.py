"""The built-in loss classes: a function of `gpunet.losses.functions`, its options, a reduction."""

from gpunet import registry
from gpunet.losses import functions
from gpunet.losses.base import LossFunctionWrapper, Reduction

__all__ = [
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
]

_register = registry.losses.register


@_register()
class MeanSquaredError(LossFunctionWrapper):
    """Mean of the squared differences."""

    def __init__(self, reduction=Reduction.AUTO, name="mean_squared_error"):
        super().__init__(functions.mean_squared_error, reduction, name)


@_register()
class MeanAbsoluteError(LossFunctionWrapper):
    """Mean of the absolute differences."""

    def __init__(self, reduction=Reduction.AUTO, name="mean_absolute_error"):
        super().__init__(functions.mean_absolute_error, reduction, name)


@_register()
class MeanAbsolutePercentageError(LossFunctionWrapper):
    """Mean of the differences in percent of the targets."""

    def __init__(self, reduction=Reduction.AUTO, name="mean_absolute_percentage_error"):
        super().__init__(functions.mean_absolute_percentage_error, reduction, name)


@_register()
class MeanSquaredLogarithmicError(LossFunctionWrapper):
    """Mean squared difference of ``log(1 + y)``."""

    def __init__(self, reduction=Reduction.AUTO, name="mean_squared_logarithmic_error"):
        super().__init__(functions.mean_squared_logarithmic_error, reduction, name)


@_register()
class Hinge(LossFunctionWrapper):
    """Mean of ``max(1 - y_true * y_pred, 0)``."""

    def __init__(self, reduction=Reduction.AUTO, name="hinge"):
        super().__init__(functions.hinge, reduction, name)


@_register()
class SquaredHinge(LossFunctionWrapper):
    """Mean of ``max(1 - y_true * y_pred, 0) ** 2``."""

    def __init__(self, reduction=Reduction.AUTO, name="squared_hinge"):
        super().__init__(functions.squared_hinge, reduction, name)


@_register()
class CategoricalHinge(LossFunctionWrapper):
    """By how much the best wrong class comes nearer than 1 to the true one."""

    def __init__(self, reduction=Reduction.AUTO, name="categorical_hinge"):
        super().__init__(functions.categorical_hinge, reduction, name)


@_register()
class Poisson(LossFunctionWrapper):
    """Mean of ``y_pred - y_true * log(y_pred)``."""

    def __init__(self, reduction=Reduction.AUTO, name="poisson"):
        super().__init__(functions.poisson, reduction, name)


@_register()
class LogCosh(LossFunctionWrapper):
    """Mean of ``log(cosh(y_pred - y_true))``."""

    def __init__(self, reduction=Reduction.AUTO, name="logcosh"):
        super().__init__(functions.log_cosh, reduction, name)


@_register()
class KLDivergence(LossFunctionWrapper):
    """Kullback-Leibler divergence of the predictions from the targets."""

    def __init__(self, reduction=Reduction.AUTO, name="kullback_leibler_divergence"):
        super().__init__(functions.kl_divergence, reduction, name)


@_register()
class BinaryCrossentropy(LossFunctionWrapper):
    """Crossentropy of independent yes/no targets; see `binary_crossentropy` for the options."""

    def __init__(
        self,
        from_logits=False,
        label_smoothing=0,
        reduction=Reduction.AUTO,
        name="binary_crossentropy",
        axis=-1,
    ):
        super().__init__(
            functions.binary_crossentropy,
            reduction,
            name,
            from_logits=from_logits,
            label_smoothing=label_smoothing,
            axis=axis,
        )
        self.from_logits = from_logits
        self.label_smoothing = label_smoothing
        self.axis = axis


@_register()
class CategoricalCrossentropy(LossFunctionWrapper):
    """Crossentropy of one-hot or soft targets; see `categorical_crossentropy` for the options."""

    def __init__(
        self,
        from_logits=False,
        label_smoothing=0,
        reduction=Reduction.AUTO,
        name="categorical_crossentropy",
        axis=-1,
    ):
        super().__init__(
            functions.categorical_crossentropy,
            reduction,
            name,
            from_logits=from_logits,
            label_smoothing=label_smoothing,
            axis=axis,
        )
        self.from_logits = from_logits
        self.label_smoothing = label_smoothing
        self.axis = axis


@_register()
class SparseCategoricalCrossentropy(LossFunctionWrapper):
    """Crossentropy of integer targets; see `sparse_categorical_crossentropy` for the options."""

    def __init__(
        self,
        from_logits=False,
        reduction=Reduction.AUTO,
        name="sparse_categorical_crossentropy",
        ignore_class=None,
    ):
        super().__init__(
            functions.sparse_categorical_crossentropy,
            reduction,
            name,
            from_logits=from_logits,
            ignore_class=ignore_class,
        )
        self.from_logits = from_logits
        self.ignore_class = ignore_class


@_register()
class Huber(LossFunctionWrapper):
    """Squares up to ``delta``, straight lines beyond; see `huber` for the options."""

    def __init__(self, delta=1.0, reduction=Reduction.AUTO, name="huber_loss"):
        super().__init__(functions.huber, reduction, name, delta=delta)
        self.delta = delta


@_register()
class CosineSimilarity(LossFunctionWrapper):
    """Minus the cosine between targets and predictions; see `cosine_similarity` for the options."""

    def __init__(self, axis=-1, reduction=Reduction.AUTO, name="cosine_similarity"):
        super().__init__(functions.cosine_similarity, reduction, name, axis=axis)
        self.axis = axis


@_register()
class BinaryFocalCrossentropy(LossFunctionWrapper):
    """Binary crossentropy with less weight on what is right; see `binary_focal_crossentropy`."""

    def __init__(
        self,
        apply_class_balancing=False,
        alpha=0.25,
        gamma=2.0,
        from_logits=False,
        label_smoothing=0.0,
        axis=-1,
        reduction=Reduction.AUTO,
        name="binary_focal_crossentropy",
    ):
        super().__init__(
            functions.binary_focal_crossentropy,
            reduction,
            name,
            apply_class_balancing=apply_class_balancing,
            alpha=alpha,
            gamma=gamma,
            from_logits=from_logits,
            label_smoothing=label_smoothing,
            axis=axis,
        )
        self.apply_class_balancing = apply_class_balancing
        self.alpha = alpha
        self.gamma = gamma
        self.from_logits = from_logits
        self.label_smoothing = label_smoothing
        self.axis = axis


@_register()
class CategoricalFocalCrossentropy(LossFunctionWrapper):
    """Crossentropy with less weight on what is right; see `categorical_focal_crossentropy`."""

    def __init__(
        self,
        alpha=0.25,
        gamma=2.0,
        from_logits=False,
        label_smoothing=0.0,
        axis=-1,
        reduction=Reduction.AUTO,
        name="categorical_focal_crossentropy",
    ):
        super().__init__(
            functions.categorical_focal_crossentropy,
            reduction,
            name,
            alpha=alpha,
            gamma=gamma,
            from_logits=from_logits,
            label_smoothing=label_smoothing,
            axis=axis,
        )
        self.alpha = alpha
        self.gamma = gamma
        self.from_logits = from_logits
        self.label_smoothing = label_smoothing
        self.axis = axis
