"""tf.compat.v1: all of tf, and switches of TensorFlow 1, which have no effect."""

# ruff: noqa: F403

from gpunet import backend as K
from gpunet.dropin import tf
from gpunet.dropin.session import Session
from gpunet.dropin.tf import *
from gpunet.dropin.tf.random import set_seed as set_random_seed

__all__ = [
    *tf.__all__,
    "InteractiveSession",
    "disable_eager_execution",
    "disable_v2_behavior",
    "enable_eager_execution",
    "enable_v2_behavior",
    "global_variables_initializer",
    "reset_default_graph",
    "set_random_seed",
]

InteractiveSession = Session


def _nothing(*_, **__):
    """Do nothing."""


disable_eager_execution = enable_eager_execution = _nothing
disable_v2_behavior = enable_v2_behavior = _nothing
global_variables_initializer = _nothing


def reset_default_graph():
    """Start the counters of names anew."""
    K.clear_session()
