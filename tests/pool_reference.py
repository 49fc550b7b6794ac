"""Pooling that visits one window after another."""

import itertools

import numpy as np


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
