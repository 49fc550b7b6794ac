"""Weighting and reducing: what turns values per sample into a loss; metrics use it too."""

from gpunet import ops, registry
from gpunet.config import floatx
from gpunet.errors import ShapeError
from gpunet.tensor import Symbolic, Tensor, convert_to_tensor

__all__ = [
    "Reduction",
    "Loss",
    "LossFunctionWrapper",
    "align",
    "align_weight",
    "weight_from_mask",
]


_TENSORS = (Tensor, Symbolic)


class Reduction:
    """How the values of the samples become one loss.

    ``AUTO`` is ``SUM_OVER_BATCH_SIZE``: the weighted sum divided by the number of values, not
    by the sum of their weights.  ``NONE`` leaves one value for each sample.
    """

    AUTO = "auto"
    NONE = "none"
    SUM = "sum"
    SUM_OVER_BATCH_SIZE = "sum_over_batch_size"

    @classmethod
    def all(cls):
        """Return all reductions."""
        return (cls.AUTO, cls.NONE, cls.SUM, cls.SUM_OVER_BATCH_SIZE)

    @classmethod
    def validate(cls, key):
        """Raise ValueError for anything that isn't a reduction."""
        if key not in cls.all():
            raise ValueError(f"reduction: expected one of {', '.join(cls.all())}, got {key!r}")


def align(y_true, y_pred):
    """Drop a last axis of size 1 that only one of targets and predictions has.

    Args:
        y_true: tensor.
        y_pred: tensor; one axis of classes more than ``y_true`` stays.

    Returns:
        (y_true, y_pred).
    """
    extra = len(y_pred.shape) - len(y_true.shape)
    if extra == 1 and y_pred.shape[-1] == 1:
        y_pred = ops.squeeze(y_pred, axis=-1)
    elif extra == -1 and y_true.shape[-1] == 1:
        y_true = ops.squeeze(y_true, axis=-1)
    return y_true, y_pred


def align_weight(values, weight):
    """Drop or add a last axis, so that weights can be multiplied with values.

    Args:
        values: tensor.
        weight: tensor; a scalar stays one.
    """
    extra = len(weight.shape) - len(values.shape)
    if extra == 1 and weight.shape[-1] == 1:
        return ops.squeeze(weight, axis=-1)
    if extra == -1 and len(weight.shape):
        return ops.expand_dims(weight, axis=-1)
    return weight


def weight_from_mask(values, weight, mask, rescale):
    """Return sample weights that leave out what a mask says.

    Args:
        values: tensor that is to be weighted; gives the dtype.
        weight: tensor or None.
        mask: boolean tensor or None.
        rescale: bool, whether a later mean over all values shall be one over the valid ones.
    """
    if mask is None:
        return weight
    mask = ops.cast(mask, dtype=values.dtype)
    if rescale:
        valid = ops.sum(mask)
        mask = mask * (float(mask.size) / ops.maximum(valid, 1.0))
    if weight is None:
        return mask
    weight = ops.cast(convert_to_tensor(weight), dtype=values.dtype)
    return align_weight(mask, weight) * mask


class Loss:
    """Base of losses.

    Subclasses write ``call(y_true, y_pred)``, which returns one value for each sample.

    Args:
        reduction: one of `Reduction`.
        name: str.

    Raises:
        ValueError: unknown reduction.
    """

    def __init__(self, reduction=Reduction.AUTO, name=None):
        Reduction.validate(reduction)
        self.reduction = reduction
        self.name = name

    def call(self, y_true, y_pred):
        """Return one value for each sample."""
        raise NotImplementedError(f"{type(self).__name__}: call(y_true, y_pred) isn't written")

    def __call__(self, y_true, y_pred, sample_weight=None):
        """Return the reduced loss.

        Args:
            y_true: targets.
            y_pred: predictions; what their mask leaves out doesn't count.
            sample_weight: None, a number, or weights that can be broadcast to the values.

        Returns:
            Scalar tensor; with `Reduction.NONE` one with the weighted values.

        Raises:
            ShapeError: weights of a shape that doesn't fit.
        """
        y_true, y_pred = _as_tensor(y_true), _as_tensor(y_pred)
        values = self.call(y_true, y_pred)
        mask = _common_mask(y_pred, values)
        values = convert_to_tensor(values)
        if values.dtype.kind != "f":
            values = ops.cast(values, dtype=floatx())
        if sample_weight is not None or mask is not None:
            rescale = self.reduction in (Reduction.AUTO, Reduction.SUM_OVER_BATCH_SIZE)
            weight = weight_from_mask(values, sample_weight, mask, rescale)
            values = weighted(values, weight)
        if self.reduction == Reduction.NONE:
            return values
        return ops.sum(values) if self.reduction == Reduction.SUM else ops.mean(values)

    def get_config(self):
        """Return the constructor's arguments."""
        return {"reduction": self.reduction, "name": self.name}

    @classmethod
    def from_config(cls, config):
        """Make a loss from `get_config`."""
        return cls(**config)


def weighted(values, weight):
    """Return values times weights.

    Args:
        values: float tensor.
        weight: tensor, array or number.
    """
    if isinstance(weight, (int, float)):
        return values * float(weight)
    weight = convert_to_tensor(weight)
    if weight.dtype != values.dtype:
        weight = ops.cast(weight, dtype=values.dtype)
    weight = align_weight(values, weight)
    try:
        return values * weight
    except ValueError:
        raise ShapeError(
            f"sample_weight: shape {weight.shape} doesn't fit values of shape {values.shape}"
        ) from None


def _as_tensor(value):
    """Make a tensor of an array or numbers; nests of tensors are the loss's own business."""
    if isinstance(value, _TENSORS) or value is None or isinstance(value, dict):
        return value
    if isinstance(value, (list, tuple)) and any(isinstance(v, _TENSORS) for v in value):
        return value
    return convert_to_tensor(value)


def _common_mask(y_pred, values):
    masks = [getattr(t, "_keras_mask", None) for t in (y_pred, values)]
    masks = [m for m in masks if m is not None]
    if len(masks) < 2 or masks[0] is masks[1]:
        return masks[0] if masks else None
    return ops.logical_and(*masks)


class LossFunctionWrapper(Loss):
    """A loss made of a function.

    Args:
        fn: function ``(y_true, y_pred, **kwargs)`` that gives one value for each sample.
        reduction: one of `Reduction`.
        name: str.
        **kwargs: options of the function.
    """

    def __init__(self, fn, reduction=Reduction.AUTO, name=None, **kwargs):
        super().__init__(reduction=reduction, name=name)
        self.fn = fn
        self._options = kwargs

    def call(self, y_true, y_pred):
        """Return the function's values."""
        if isinstance(y_true, _TENSORS) and isinstance(y_pred, _TENSORS):
            y_true, y_pred = align(y_true, y_pred)
        return self.fn(y_true, y_pred, **self._options)

    def get_config(self):
        config = super().get_config()
        if type(self) is LossFunctionWrapper:
            config["fn"] = registry.losses.serialize(self.fn)
        return {**config, **self._options}

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        if cls is LossFunctionWrapper:
            config["fn"] = registry.losses.get(config["fn"])
        else:  # files of later versions say there which function it is
            for key in ("fn", "dtype"):
                config.pop(key, None)
        return cls(**config)
