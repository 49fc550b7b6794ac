"""The Keras-2 backend names, as far as they exist: re-exports, no logic."""

from gpunet.autodiff import GradientTape
from gpunet.config import (
    epsilon,
    floatx,
    image_data_format,
    set_epsilon,
    set_floatx,
    set_image_data_format,
)
from gpunet.context import (
    get_uid,
    learning_phase,
    learning_phase_scope,
    name_scope,
    reset_uids,
    set_learning_phase,
)
from gpunet.ops import *  # noqa: F403
from gpunet.ops import __all__ as _ops
from gpunet.tensor import convert_to_tensor, int_shape

__all__ = [
    *_ops,
    "GradientTape",
    "convert_to_tensor",
    "epsilon",
    "floatx",
    "get_uid",
    "image_data_format",
    "int_shape",
    "learning_phase",
    "learning_phase_scope",
    "name_scope",
    "reset_uids",
    "set_epsilon",
    "set_floatx",
    "set_image_data_format",
    "set_learning_phase",
]
