"""Mixed precision: layers compute in 16 bits and keep their weights in 32.

>>> from gpunet import layers, mixed_precision
>>> layer = layers.Dense(3, dtype="mixed_float16")
>>> layer.compute_dtype, layer.variable_dtype
('float16', 'float32')
"""

from gpunet.mixed_precision import experimental
from gpunet.mixed_precision.loss_scale import LossScaleOptimizer
from gpunet.mixed_precision.policy import Policy, global_policy, set_global_policy

__all__ = ["LossScaleOptimizer", "Policy", "experimental", "global_policy", "set_global_policy"]
