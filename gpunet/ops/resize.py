"""Making images larger by whole factors."""

from gpunet.autodiff import differentiable, taped
from gpunet.errors import ShapeError

__all__ = ["upsample"]


def _infer_upsample(x, factors, first=1, interpolation="nearest", **_):
    if first + len(factors) > len(x):
        raise ShapeError(
            f"upsample: {len(factors)} axes from axis {first} on don't exist in shape {tuple(x)}"
        )
    sizes = list(x)
    for i, f in enumerate(factors):
        sizes[first + i] = None if sizes[first + i] is None else sizes[first + i] * f
    return tuple(sizes)


@differentiable(infer=_infer_upsample)
def upsample(xp, x, /, factors, first=1, interpolation="nearest"):
    """Return ``x`` with some axes made longer by whole factors.

    Args:
        x: tensor.
        factors: tuple of ints > 0, one for each of consecutive axes.
        first: int, the first of these axes.
        interpolation: ``'nearest'`` repeats elements; ``'bilinear'`` draws straight lines
            between their centres, as TensorFlow 2 does, and is constant beyond the outermost.
    """
    if interpolation not in ("nearest", "bilinear"):
        raise ValueError(
            f"upsample: expected interpolation 'nearest' or 'bilinear', got {interpolation!r}"
        )
    saved = (tuple(x.shape), factors, first, interpolation)
    if interpolation == "nearest":
        apart, whole = _apart(x.shape, factors, first)
        single = [n if i % 2 == 0 else 1 for i, n in enumerate(apart[first:])]
        x = xp.broadcast_to(x.reshape((*apart[:first], *single[: 2 * len(factors)],
                                       *apart[first + 2 * len(factors) :])), apart)  # fmt: skip
        return x.reshape(whole), saved
    for axis, factor in enumerate(factors, first):
        x = _stretched(xp, x, axis, factor)
    return x, saved


@upsample.backward
def upsample_backward(xp, saved, gy, needs):
    shape, factors, first, interpolation = saved
    if interpolation == "nearest":
        apart, _ = _apart(shape, factors, first)
        axes = tuple([first + 2 * i + 1 for i in range(len(factors))])
        return (gy.reshape(apart).sum(axis=axes).reshape(shape),)
    for axis, factor in reversed(list(enumerate(factors, first))):
        gy = _compressed(xp, gy, axis, factor)
    return (gy,)


def _apart(shape, factors, first):
    """Return the shape with each factor as an axis of its own, and the enlarged shape."""
    shape = tuple([int(n) for n in shape])
    last = first + len(factors)
    middle = [n for pair in zip(shape[first:last], factors) for n in pair]
    whole = [n * f for n, f in zip(shape[first:last], factors)]
    return (*shape[:first], *middle, *shape[last:]), (*shape[:first], *whole, *shape[last:])


def _offsets(factor):
    """Return how far the new centres lie from the old one, for each part of an element."""
    return [(2 * p + 1 - factor) / (2 * factor) for p in range(factor)]


def _at(axis, start, stop):
    return (slice(None),) * axis + (slice(start, stop),)


def _stretched(xp, x, axis, factor):
    n = int(x.shape[axis])
    if factor == 1:
        return x
    before = xp.concatenate([x[_at(axis, 0, 1)], x[_at(axis, 0, n - 1)]], axis=axis)
    after = xp.concatenate([x[_at(axis, 1, n)], x[_at(axis, n - 1, n)]], axis=axis)
    parts = []
    for t in _offsets(factor):
        side = before if t < 0 else after
        parts.append(x * (1 - abs(t)) + side * abs(t) if t else x)
    shape = tuple(x.shape)
    joined = _stacked(xp, parts, axis + 1)
    return joined.reshape((*shape[:axis], n * factor, *shape[axis + 1 :]))


def _stacked(xp, parts, axis):
    if xp is taped:
        return xp.stack(parts, axis=axis)
    shape = tuple(parts[0].shape)
    joined = xp.empty((*shape[:axis], len(parts), *shape[axis:]), parts[0].dtype)
    for i, part in enumerate(parts):
        joined[(slice(None),) * axis + (i,)] = part
    return joined


def _compressed(xp, gy, axis, factor):
    """Return the gradient of `_stretched`: its transpose."""
    if factor == 1:
        return gy
    shape = tuple(gy.shape)
    n = int(shape[axis]) // factor
    gy = gy.reshape((*shape[:axis], n, factor, *shape[axis + 1 :]))
    here = (slice(None),) * (axis + 1)
    whole = towards_before = towards_after = None
    for p, t in enumerate(_offsets(factor)):
        part = gy[(*here, p)]
        whole = _sum(whole, part * (1 - abs(t)))
        if t < 0:
            towards_before = _sum(towards_before, part * abs(t))
        elif t > 0:
            towards_after = _sum(towards_after, part * abs(t))
    zero = xp.zeros_like(whole[_at(axis, 0, 1)])
    first, last = towards_before[_at(axis, 0, 1)], towards_after[_at(axis, n - 1, n)]
    whole = whole + xp.concatenate([towards_before[_at(axis, 1, n)], zero], axis=axis)
    whole = whole + xp.concatenate([zero, towards_after[_at(axis, 0, n - 1)]], axis=axis)
    if n == 1:
        return whole + first + last
    rest = xp.zeros_like(whole[_at(axis, 0, n - 2)])
    return whole + xp.concatenate([first, rest, last], axis=axis)


def _sum(total, part):
    return part if total is None else total + part
