"""All ops, by family; each file's docstring says what it holds."""
# ruff: noqa: F403

from gpunet.ops import array_functions as _array_functions  # noqa: F401
from gpunet.ops import (
    convolution,
    ctc,
    elementwise,
    image,
    index,
    infer,
    linalg,
    local,
    logic,
    loss,
    nonlinear,
    norm,
    normalization,
    pool,
    random,
    reduce,
    resize,
    rnn,
    rnn_both,
    shape,
)
from gpunet.ops import operators as _operators  # noqa: F401
from gpunet.ops import random_cpu as _random_cpu  # noqa: F401
from gpunet.ops import rnn_host_cells as _rnn_host_cells  # noqa: F401
from gpunet.ops.convolution import *
from gpunet.ops.ctc import *
from gpunet.ops.einsum import *
from gpunet.ops.elementwise import *
from gpunet.ops.image import *
from gpunet.ops.index import *
from gpunet.ops.linalg import *
from gpunet.ops.local import *
from gpunet.ops.logic import *
from gpunet.ops.loss import *
from gpunet.ops.nonlinear import *
from gpunet.ops.norm import *
from gpunet.ops.normalization import *
from gpunet.ops.pool import *
from gpunet.ops.random import dropout
from gpunet.ops.reduce import *
from gpunet.ops.resize import *
from gpunet.ops.rnn import *
from gpunet.ops.rnn_both import *
from gpunet.ops.shape import *

__all__ = [
    "infer",
    "random",
    "dropout",
    *convolution.__all__,
    *ctc.__all__,
    "einsum",  # noqa: F405
    *elementwise.__all__,
    *image.__all__,
    *index.__all__,
    *linalg.__all__,
    *local.__all__,
    *logic.__all__,
    *loss.__all__,
    *nonlinear.__all__,
    *norm.__all__,
    *normalization.__all__,
    *pool.__all__,
    *reduce.__all__,
    *resize.__all__,
    *rnn.__all__,
    *rnn_both.__all__,
    *shape.__all__,
]
