"""The names that mixed precision had in TensorFlow 2.1 to 2.3."""

from gpunet.mixed_precision.loss_scale import LossScaleOptimizer as _LossScaleOptimizer
from gpunet.mixed_precision.loss_scale import scale_options
from gpunet.mixed_precision.policy import Policy as _Policy
from gpunet.mixed_precision.policy import global_policy, set_global_policy

__all__ = [
    "DynamicLossScale",
    "FixedLossScale",
    "LossScaleOptimizer",
    "Policy",
    "get_layer_policy",
    "global_policy",
    "set_policy",
]


class FixedLossScale:
    """A scale that stays.

    Args:
        loss_scale_value: float.
    """

    def __init__(self, loss_scale_value):
        self.loss_scale_value = float(loss_scale_value)

    def get_config(self):
        """Return the constructor's arguments."""
        return {"loss_scale_value": self.loss_scale_value}


class DynamicLossScale:
    """A scale that is halved at gradients that aren't finite, and doubled after good steps.

    Args:
        initial_loss_scale: float.
        increment_period: int, number of good steps.
        multiplier: float, 2.
    """

    def __init__(self, initial_loss_scale=2**15, increment_period=2000, multiplier=2.0):
        self.initial_loss_scale = float(initial_loss_scale)
        self.increment_period, self.multiplier = int(increment_period), float(multiplier)

    def get_config(self):
        """Return the constructor's arguments."""
        return {
            "initial_loss_scale": self.initial_loss_scale,
            "increment_period": self.increment_period,
            "multiplier": self.multiplier,
        }


class Policy(_Policy):
    """A policy that may also say how losses are scaled.

    Args:
        name: as for `gpunet.mixed_precision.Policy`.
        loss_scale: ``'auto'`` (dynamic for ``'mixed_float16'``, else None), ``'dynamic'``, a
            number, an object of this module, or None: as they are.
    """

    def __init__(self, name, loss_scale="auto"):
        super().__init__(name)
        if isinstance(loss_scale, str) and loss_scale == "auto":
            loss_scale = "dynamic" if name == "mixed_float16" else None
        if loss_scale is not None:
            scale_options(loss_scale)
        self.loss_scale = loss_scale


def LossScaleOptimizer(optimizer, loss_scale="dynamic"):
    """Return `gpunet.mixed_precision.LossScaleOptimizer` of an optimizer.

    Args:
        optimizer: Optimizer.
        loss_scale: ``'dynamic'``, a number or an object of this module.
    """
    return _LossScaleOptimizer(optimizer, **scale_options(loss_scale))


def set_policy(policy):
    """Set the policy of layers that are made from now on; see `set_global_policy`."""
    set_global_policy(Policy(policy) if isinstance(policy, str) else policy)


def get_layer_policy(layer):
    """Return the Policy of a layer."""
    return layer.dtype_policy
