"""Fused pooling: one launch for all axes of the windows."""

import math

import numpy as np

from gpunet.fused.launch import REALS, launch_elementwise
from gpunet.fused.sources import source
from gpunet.ops import pool
from gpunet.ops.pool import geometry

__all__ = []

_CELLS = 256  # of a window whose largest element is kept in a byte


def _fits(xp, x, pool_size, strides=None, padding="valid", data_format="channels_last"):
    if xp.__name__ != "cupy" or x.dtype.name not in REALS or not 3 <= x.ndim <= 5 or not x.size:
        return False
    w, first = geometry(x.shape, pool_size, strides, padding, data_format)
    inside = all(before < k and after < k for (before, after), k in zip(w.pads, w.kernel))
    return first == 1 and inside and math.prod(w.out) > 0 and math.prod(w.kernel) <= _CELLS


class _Pool:
    """One kind of pooling of arrays of one shape."""

    def __init__(self, xp, x, mean, options):
        self.xp, self.shape, self.dtype = xp, x.shape, x.dtype
        w, _ = geometry(x.shape, **options)
        self.out = (x.shape[0], *w.out, x.shape[-1])
        missing = 3 - w.rank
        self._sizes = [1, 1, 1, 1, 0] * missing
        for i in range(w.rank):
            self._sizes += [w.size[i], w.out[i], w.kernel[i], w.strides[i], w.pads[i][0]]
        large = max(math.prod(self.shape), math.prod(self.out)) >= 2**31
        self._defines = {"MEAN": int(mean), "INDEX": "long long" if large else "unsigned"}

    def run(self, name, arrays, n):
        """Run a kernel over n elements."""
        args = [*arrays, *map(np.int32, self._sizes), self.shape[-1]]
        launch_elementwise(source("pool"), name, n, args, self.dtype, self._defines)


def _forward(xp, x, mean, options):
    p = _Pool(xp, x, mean, options)
    y = xp.empty(p.out, x.dtype)
    winner = None if mean else xp.empty(p.out, "uint8")
    p.run("pool_forward", [xp.ascontiguousarray(x), y, winner], y.size)
    return y, (p, winner)


def _backward(xp, saved, gy):
    p, winner = saved
    gx = xp.empty(p.shape, p.dtype)
    p.run("pool_backward", [xp.ascontiguousarray(gy), winner, gx], gx.size)
    return (gx,)


def _add_pool(op, mean):
    @op.fused(when=_fits)
    def forward(xp, x, **options):
        return _forward(xp, x, mean, options)

    @forward.explained
    def words(xp, x, **options):
        return "one kernel each way for all axes"

    @forward.backward
    def backward(xp, saved, gy, needs):
        return _backward(xp, saved, gy)


_add_pool(pool.max_pool, False)
_add_pool(pool.average_pool, True)
