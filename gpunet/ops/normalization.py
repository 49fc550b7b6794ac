"""Normalization: values shifted and scaled to mean 0 and variance 1 over some axes.

Batch, layer and group normalization are one op; they differ in the axes alone.
"""

import functools
import math

import numpy as np

from gpunet import threads
from gpunet.autodiff import differentiable, unbroadcast
from gpunet.joining import NOTHING, Argument, begins, goes_on
from gpunet.ops.blockwise import stepped
from gpunet.ops.elementwise import as_float
from gpunet.ops.infer import axes_of, broadcast, reduced
from gpunet.ops.memory import empty

__all__ = ["normalize", "affine"]

# Elements that NumPy handles at a time, so that they stay in the cache between two passes.
BLOCK = 1 << 17
# Channels are repeated up to this length: NumPy is slow on short rows.
WIDE = 8192


@differentiable(infer=broadcast)
def affine(xp, x, scale, shift, /):
    """Return ``x * scale + shift`` with broadcasting.

    Args:
        x, scale, shift: float tensors of one dtype.
    """
    return x * scale + shift, (x, scale)


def _affine_steps(at, options):
    return None if at else [(np.multiply, Argument(1)), (np.add, Argument(2))]


goes_on(affine.forward, _affine_steps)


@affine.backward
def affine_backward(xp, saved, gy, needs):
    x, scale = saved
    return (
        gy * scale if needs[0] else None,
        gy * x if needs[1] else None,
        gy if needs[2] else None,
    )


def _infer_normalize(x, *_, axes, **__):
    kept = reduced(x, axis=axes, keepdims=True)
    return [tuple(x), kept, kept]


@differentiable(infer=_infer_normalize)
def normalize(xp, x, gamma=None, beta=None, mask=None, /, *, axes, epsilon=1e-3):
    """Return ``(x - mean) / sqrt(variance + epsilon) * gamma + beta``.

    Means are computed in float32 where ``x`` is float16.

    Args:
        x: float tensor.
        gamma: tensor that broadcasts to ``x``; None means 1.
        beta: tensor that broadcasts to ``x``; None means 0.
        mask: tensor that broadcasts to ``x``, the weight of each element in the mean and the
            variance; None means that all count alike.
        axes: int or tuple of ints, over which the mean and the variance are taken.
        epsilon: float.

    Returns:
        (y, mean, variance): ``y`` like ``x``; the others have size 1 along ``axes`` and the dtype
        of ``gamma`` or ``beta``, where one is given, else that of ``x``.

    Reference:
        Ioffe and Szegedy, 2015, arXiv:1502.03167; Ba et al., 2016, arXiv:1607.06450.
    """
    dtype = x.dtype
    axes = axes_of(axes, x.ndim)
    x = _exact(as_float(x))
    share = _share(xp, x, mask, axes)
    mean = _mean(x, share, axes)
    centred = x - mean
    variance = _mean(centred * centred, share, axes)
    inverse = 1 / xp.sqrt(variance + epsilon)
    y = centred * (inverse if gamma is None else inverse * gamma)
    if beta is not None:
        y = y + beta
    statistics = next((p.dtype for p in (gamma, beta) if p is not None), dtype)
    saved = (x, gamma, beta, share, mean, inverse, axes, dtype)
    return (_as(y, dtype), _as(mean, statistics), _as(variance, statistics)), saved


@normalize.backward
def normalize_backward(xp, saved, gy, needs):
    x, gamma, beta, share, mean, inverse, axes, dtype = saved
    unit = (x - mean) * inverse
    g, g_mean, g_variance = (None if g is None else _exact(g) for g in gy)
    if g is None:
        g = xp.zeros_like(x)
    gx = g_gamma = g_beta = None
    if needs[0]:
        scaled = g if gamma is None else g * gamma
        along = inverse * (scaled * unit).sum(axis=axes, keepdims=True)
        level = inverse * scaled.sum(axis=axes, keepdims=True)
        if g_variance is not None:
            along = along - 2 * g_variance / inverse
        if g_mean is not None:
            level = level - g_mean
        gx = _as(inverse * scaled - share * (level + unit * along), dtype)
    if gamma is not None and needs[1]:
        g_gamma = _as(unbroadcast(xp, g * unit, gamma.shape), gamma.dtype)
    if beta is not None and needs[2]:
        g_beta = _as(unbroadcast(xp, g, beta.shape), beta.dtype)
    return (gx, g_gamma, g_beta, None)[: len(needs)]


def _exact(x):
    """Return half precision as float32: sums would overflow."""
    return x.astype("float32") if x.dtype.itemsize == 2 else x


def _as(x, dtype):
    return x if x.dtype == dtype else x.astype(dtype)


def _mean(x, share, axes):
    if isinstance(share, float):
        return x.sum(axis=axes, keepdims=True) * share
    return (x * share).sum(axis=axes, keepdims=True)


def _share(xp, x, mask, axes):
    """Return the weight of each element in a mean over axes; where all are 0, the mean is 0."""
    if mask is None:
        return 1 / max(1, math.prod([int(x.shape[a]) for a in axes]))
    weight = xp.broadcast_to(mask.astype(x.dtype), tuple(x.shape))
    total = weight.sum(axis=axes, keepdims=True)
    return weight / xp.where(total > 0, total, 1.0)


# -- NumPy, over all axes but the last --------------------------------------------------------


def _channels_last(xp, x, gamma=None, beta=None, mask=None, /, *, axes, epsilon=None):
    same = all(p is None or (p.dtype == x.dtype and p.shape == x.shape[-1:]) for p in (gamma, beta))
    return (
        xp is np
        and mask is None
        and same
        and x.size > 0
        and x.dtype.itemsize >= 4
        and x.dtype.kind == "f"
        and axes_of(axes, x.ndim) == tuple(range(x.ndim - 1)) != ()
    )


@functools.lru_cache(maxsize=256)
def _ones(count, dtype):
    return np.ones(count, dtype)


class _Rows:
    """An array as rows of channels, several rows joined into one, and its cache-sized blocks.

    Args:
        x: array ``(..., C)``.
    """

    def __init__(self, x):
        self.channels = x.shape[-1]
        self.count = x.size // self.channels
        most = max(1, min(self.count, WIDE // self.channels))
        self.joined = next(n for n in range(most, 0, -1) if self.count % n == 0)
        self.shape = (self.count // self.joined, self.joined * self.channels)
        self.length = max(1, min(BLOCK // self.shape[1], self.shape[0]))
        self.blocks = -(-self.shape[0] // self.length)

    def sizes(self):
        """Return how many joined rows each block has, ``(blocks, 1)``."""
        sizes = np.full((self.blocks, 1), self.length)
        sizes[-1] = self.shape[0] - self.length * (self.blocks - 1)
        return sizes

    def wide(self, vector):
        """Repeat a vector of channels to the length of a joined row."""
        return np.tile(vector, self.joined)

    def total(self, sums):
        """Return the sums of the channels from those of each block, ``(blocks, joined * C)``.

        They are few, so float64 costs nothing, and keeps the mean exact to its last digit.
        """
        return sums.sum(axis=0, dtype="float64").reshape(-1, self.channels).sum(axis=0)

    def scratch(self, dtype):
        """Return a new array for one block."""
        return np.empty((self.length, self.shape[1]), dtype)

    def add_up(self, block, out):
        """Write the sums down the columns of a block: BLAS reads several rows at once."""
        np.matmul(_ones(self.length, block.dtype)[: len(block)], block, out=out)

    def each(self, work, dtype):
        """Call ``work(i, rows, scratch)`` for each block, on several threads."""

        def start():
            scratch = self.scratch(dtype)

            def block(i):
                rows = slice(i * self.length, min((i + 1) * self.length, self.shape[0]))
                work(i, rows, scratch[: rows.stop - rows.start])

            return block

        threads.spread(self.blocks, start)


@normalize.fused(when=_channels_last)
def normalize_rows(xp, x, gamma=None, beta=None, mask=None, /, *, axes, epsilon=1e-3):
    return _normalize_finished(xp, [], x, gamma, beta, axes=axes, epsilon=epsilon)


def _normalize_finished(xp, steps, x, gamma=None, beta=None, mask=None, *, axes, epsilon=1e-3):
    """Do what `normalize` does, block by block, and then steps; see `joining.begins`.

    Reference:
        Chan et al., 1983, The American Statistician 37(3), 242-247, for joining variances.
    """
    rows = _Rows(x)
    flat = x.reshape(rows.shape)
    sums = np.empty((rows.blocks, rows.shape[1]), x.dtype)
    squares = np.empty_like(sums)

    def measure(i, block, scratch):
        rows.add_up(flat[block], sums[i])
        np.subtract(flat[block], sums[i] / len(scratch), out=scratch)
        np.multiply(scratch, scratch, out=scratch)
        rows.add_up(scratch, squares[i])

    rows.each(measure, x.dtype)
    sizes = rows.sizes().astype(x.dtype)
    mean = rows.total(sums) / rows.count
    apart = sums / sizes - rows.wide(mean.astype(x.dtype))
    variance = rows.total(squares + apart * apart * sizes) / rows.count
    inverse = 1 / np.sqrt(variance + epsilon)
    scale = (inverse if gamma is None else inverse * gamma).astype(x.dtype)
    # No digits are lost beyond those that ``x`` itself, rounded, lacks.
    shift = ((0 if beta is None else beta) - mean * scale).astype(x.dtype)
    mean, variance, inverse = (a.astype(x.dtype) for a in (mean, variance, inverse))
    y = stepped(xp, [(np.multiply, scale), (np.add, shift), *steps], x)
    kept = (1,) * (x.ndim - 1) + (rows.channels,)
    saved = (flat, gamma, mean, inverse, rows, x.shape)
    return (y, mean.reshape(kept), variance.reshape(kept)), saved


begins(normalize_rows.forward, _normalize_finished, saves=lambda options: NOTHING)


@normalize_rows.backward
def normalize_rows_backward(xp, saved, gy, needs):
    x, gamma, mean, inverse, rows, shape = saved
    g, g_mean, g_variance = gy
    g = np.zeros(x.shape, x.dtype) if g is None else g.reshape(x.shape)
    levels = np.empty((rows.blocks, rows.shape[1]), x.dtype)
    dots = np.empty_like(levels)
    centre = rows.wide(mean)

    def measure(i, block, scratch):
        rows.add_up(g[block], levels[i])
        np.subtract(x[block], centre, out=scratch)
        np.multiply(scratch, g[block], out=scratch)
        rows.add_up(scratch, dots[i])

    rows.each(measure, x.dtype)
    g_beta = rows.total(levels)
    g_gamma = rows.total(dots) * inverse
    given = (g_gamma.astype(x.dtype), g_beta.astype(x.dtype), None)[: len(needs) - 1]
    if not needs[0]:
        return (None, *given)
    factor = inverse if gamma is None else inverse * gamma
    level, along = factor * g_beta, factor * inverse * g_gamma
    if g_mean is not None:
        level = level - g_mean.reshape(-1)
    if g_variance is not None:
        along = along - 2 * g_variance.reshape(-1)
    along = along / rows.count
    level = level / rows.count - mean * along
    factor, level, along = (rows.wide(a.astype(x.dtype)) for a in (factor, level, along))
    gx = empty(x.shape, x.dtype)

    def write(i, block, scratch):
        part = gx[block]
        np.multiply(x[block], along, out=scratch)
        np.multiply(g[block], factor, out=part)
        np.subtract(part, scratch, out=part)
        np.subtract(part, level, out=part)

    rows.each(write, x.dtype)
    return (gx.reshape(shape), *given)
