"""All ops, by family; each file's docstring says what it holds."""
# ruff: noqa: F403

from gpunet.ops import (
    elementwise,
    index,
    infer,
    linalg,
    logic,
    loss,
    nonlinear,
    norm,
    random,
    reduce,
    shape,
)
from gpunet.ops import operators as _operators  # noqa: F401
from gpunet.ops.elementwise import *
from gpunet.ops.index import *
from gpunet.ops.linalg import *
from gpunet.ops.logic import *
from gpunet.ops.loss import *
from gpunet.ops.nonlinear import *
from gpunet.ops.norm import *
from gpunet.ops.random import dropout
from gpunet.ops.reduce import *
from gpunet.ops.shape import *

__all__ = [
    "infer",
    "random",
    "dropout",
    *elementwise.__all__,
    *index.__all__,
    *linalg.__all__,
    *logic.__all__,
    *loss.__all__,
    *nonlinear.__all__,
    *norm.__all__,
    *reduce.__all__,
    *shape.__all__,
]
