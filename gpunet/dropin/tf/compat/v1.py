"""tf.compat.v1: all of tf, and switches of TensorFlow 1, which have no effect."""

# ruff: noqa: F403

from gpunet.dropin import tf
from gpunet.dropin.tf import *

__all__ = [
    *tf.__all__,
    "disable_eager_execution",
    "disable_v2_behavior",
    "enable_eager_execution",
    "enable_v2_behavior",
]


def _nothing(*_, **__):
    """Do nothing."""


disable_eager_execution = enable_eager_execution = _nothing
disable_v2_behavior = enable_v2_behavior = _nothing
