"""The Keras-2 backend ``K``: its names for the ops, and functions made of them.

Every function takes arrays, tensors and symbolic tensors.  On a symbolic tensor an op becomes a
node of the graph by itself; what isn't one is made a node by `expression`.
"""
# ruff: noqa: F403

from gpunet.autodiff import GradientTape
from gpunet.backend import creation, nn, phase, randomness, sequence, sizes, state
from gpunet.config import (
    epsilon,
    floatx,
    image_data_format,
    image_dim_ordering,
    set_epsilon,
    set_floatx,
    set_image_data_format,
    set_image_dim_ordering,
)
from gpunet.context import (
    get_uid,
    learning_phase,
    learning_phase_scope,
    name_scope,
    reset_uids,
    set_learning_phase,
)
from gpunet.ops import *
from gpunet.ops import __all__ as _ops
from gpunet.tensor import convert_to_tensor

# These come last: some stand in for an op of the same name.
from gpunet.backend.creation import *  # isort: skip
from gpunet.backend.nn import *  # isort: skip
from gpunet.backend.phase import *  # isort: skip
from gpunet.backend.randomness import *  # isort: skip
from gpunet.backend.sequence import *  # isort: skip
from gpunet.backend.sizes import *  # isort: skip
from gpunet.backend.state import *  # isort: skip

__all__ = [
    *dict.fromkeys(
        [
            *_ops,
            *creation.__all__,
            *nn.__all__,
            *phase.__all__,
            *randomness.__all__,
            *sequence.__all__,
            *sizes.__all__,
            *state.__all__,
        ]
    ),
    "GradientTape",
    "convert_to_tensor",
    "epsilon",
    "floatx",
    "get_uid",
    "image_data_format",
    "image_dim_ordering",
    "learning_phase",
    "learning_phase_scope",
    "name_scope",
    "reset_uids",
    "set_epsilon",
    "set_floatx",
    "set_image_data_format",
    "set_image_dim_ordering",
    "set_learning_phase",
]
