"""Cases of the pooling ops; the reference visits one window after another."""

import itertools

import numpy as np
from op_cases import Case, apart, real

from gpunet import ops


def by_windows(choose):
    """Return a reference that calls ``choose`` on the elements of every window."""

    def pool(x, pool_size, strides=None, padding="valid", data_format="channels_last"):
        if data_format == "channels_first":
            x = np.moveaxis(x, 1, -1)
        rank = x.ndim - 2
        kernel, steps = (
            (v,) * rank if isinstance(v, int) else v for v in (pool_size, strides or pool_size)
        )
        starts = []
        for n, k, s in zip(x.shape[1:-1], kernel, steps):
            out = -(-n // s) if padding == "same" else (n - k) // s + 1
            border = max((out - 1) * s + k - n, 0) // 2 if padding == "same" else 0
            starts.append([i * s - border for i in range(out)])
        y = np.empty((len(x), *map(len, starts), x.shape[-1]), x.dtype)
        for at in itertools.product(*[range(len(s)) for s in starts]):
            box = [
                slice(max(s[i], 0), min(s[i] + k, n))
                for s, i, k, n in zip(starts, at, kernel, x.shape[1:-1])
            ]
            cells = x[(slice(None), *box)].reshape(len(x), -1, x.shape[-1])
            y[(slice(None), *at)] = choose(cells, 1)
        return np.moveaxis(y, -1, 1) if data_format == "channels_first" else y

    return pool


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
