"""Matrix products. On the CPU large ones are done in parts on several threads.

BLAS's own threads wait for each other by spinning, so a product takes a hundred times as long
when another process wants the core; training steps therefore keep BLAS at one thread
(`threads.one_blas_thread`) and large products are spread here.
"""

import functools

import numpy as np

from gpunet import threads
from gpunet.ops.memory import empty

__all__ = ["column_sums", "product", "row_sums"]

# Set by gpunet.fused.gemm: function (xp, a, b, out) -> result, or None where it hasn't got one.
on_gpu = None

# Multiplications from which several threads pay.
_SPREAD = 2**23
# Rows of a part that make up for what is done anew for each.
_THICK = 256
# Rows, and elements of each, up to which a product with ones adds them up.
_FEW, _SHORT = 4096, 64


def product(xp, a, b, out=None):
    """Return ``a @ b``.

    Args:
        xp: array module, or `autodiff.taped`.
        a: array (..., m, k), or (k,).
        b: array (..., k, n), or (k,).
        out: array (..., m, n) to write to, or None.
    """
    if xp is not np:
        made = None if on_gpu is None else on_gpu(xp, a, b, out)
        if made is not None:
            return made
        return xp.matmul(a, b) if out is None else xp.matmul(a, b, out=out)
    if a.dtype.char == b.dtype.char == "e":  # BLAS has no 16 bits; sums take 32 on a GPU too
        made = product(np, a.astype("float32"), b.astype("float32"))
        with np.errstate(over="ignore"):  # as in a product of other types
            if out is None:
                return made.astype("float16")
            out[...] = made
        return out
    if a.ndim != 2 or b.ndim != 2:
        return np.matmul(a, b, out=out)
    (m, k), n = a.shape, b.shape[1]
    if m * n * k < _SPREAD or not threads.spreading():
        return np.matmul(a, b, out=out)
    if out is None:
        out = empty((m, n), np.result_type(a, b))
    across = n > m
    # Small parts even out, but each of them reads, and arranges for itself, the other factor.
    size, count = max(m, n), threads.count()
    step = max(-(-size // (4 * count)), min(_THICK, -(-size // count)))
    step = -(-step // 16) * 16  # whole vectors

    def start():
        def work(i):
            part = slice(i * step, (i + 1) * step)
            if across:
                np.matmul(a, b[:, part], out=out[:, part])
            else:
                np.matmul(a[part], b, out=out[part])

        return work

    threads.spread(-(-size // step), start)
    return out


def column_sums(xp, g):
    """Return the sums of a matrix over its rows; as a product, in a third of NumPy's time."""
    if xp is np and g.dtype.char in "fd" and g.shape[0] <= _FEW:
        return np.dot(_ones(g.shape[0], g.dtype), g)
    return g.sum(axis=0)


def row_sums(xp, x):
    """Return the sums over the last axis, likewise where it is short."""
    if xp is np and x.dtype.char in "fd" and x.ndim > 1 and 0 < x.shape[-1] <= _SHORT:
        return x.dot(_ones(x.shape[-1], x.dtype))
    return x.sum(axis=-1)


@functools.lru_cache(maxsize=64)
def _ones(n, dtype):
    return np.ones(n, dtype)
