"""Cases of the pooling ops; the reference visits one window after another."""

import numpy as np
from op_cases import Case, apart, real
from pool_reference import by_windows

from gpunet import ops

OPTIONS = [
    ("1d", (3, 7, 2), {"pool_size": 2}),
    ("1d_overlapping", (3, 7, 2), {"pool_size": 3, "strides": 1, "padding": "same"}),
    ("2d", (3, 4, 6, 2), {"pool_size": (2, 3)}),
    ("2d_same", (3, 5, 4, 2), {"pool_size": (3, 2), "strides": 2, "padding": "same"}),
    ("2d_gaps", (3, 7, 5, 1), {"pool_size": 2, "strides": 3}),
    ("2d_first", (3, 2, 5, 6), {"pool_size": 3, "strides": (1, 2), "padding": "same",
                                "data_format": "channels_first"}),
    ("3d", (3, 4, 2, 5, 2), {"pool_size": 2, "strides": (2, 1, 2), "padding": "same"}),
]  # fmt: skip

CASES = [
    Case(op, [make(*shape)], by_windows(choose), label=label, **options)
    for op, make, choose in [(ops.max_pool, apart, np.max), (ops.average_pool, real, np.mean)]
    for label, shape, options in OPTIONS
]
