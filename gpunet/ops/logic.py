"""Comparisons, boolean ops, choices (where, maximum, clip) and conversions (cast)."""

from gpunet import config
from gpunet.autodiff import differentiable
from gpunet.ops.infer import broadcast, same

__all__ = [
    "equal",
    "not_equal",
    "greater",
    "greater_equal",
    "less",
    "less_equal",
    "logical_and",
    "logical_or",
    "logical_not",
    "isnan",
    "isinf",
    "isfinite",
    "where",
    "maximum",
    "minimum",
    "clip",
    "cast",
    "cast_to_floatx",
    "identity",
    "stop_gradient",
]


@differentiable(promote=0, infer=broadcast)
def equal(xp, x, y, /):
    """Return ``x == y``, elementwise."""
    return xp.equal(x, y), None


@differentiable(promote=0, infer=broadcast)
def not_equal(xp, x, y, /):
    """Return ``x != y``, elementwise."""
    return xp.not_equal(x, y), None


@differentiable(promote=0, infer=broadcast)
def greater(xp, x, y, /):
    """Return ``x > y``, elementwise."""
    return xp.greater(x, y), None


@differentiable(promote=0, infer=broadcast)
def greater_equal(xp, x, y, /):
    """Return ``x >= y``, elementwise."""
    return xp.greater_equal(x, y), None


@differentiable(promote=0, infer=broadcast)
def less(xp, x, y, /):
    """Return ``x < y``, elementwise."""
    return xp.less(x, y), None


@differentiable(promote=0, infer=broadcast)
def less_equal(xp, x, y, /):
    """Return ``x <= y``, elementwise."""
    return xp.less_equal(x, y), None


@differentiable(promote=0, infer=broadcast)
def logical_and(xp, x, y, /):
    """Return whether both are true (not 0), elementwise."""
    return xp.logical_and(x, y), None


@differentiable(promote=0, infer=broadcast)
def logical_or(xp, x, y, /):
    """Return whether at least one is true (not 0), elementwise."""
    return xp.logical_or(x, y), None


@differentiable(infer=same)
def logical_not(xp, x, /):
    """Return whether ``x`` is false (0), elementwise."""
    return xp.logical_not(x), None


@differentiable(infer=same)
def isnan(xp, x, /):
    """Return whether ``x`` is not a number, elementwise."""
    return xp.isnan(x), None


@differentiable(infer=same)
def isinf(xp, x, /):
    """Return whether ``x`` is infinite, elementwise."""
    return xp.isinf(x), None


@differentiable(infer=same)
def isfinite(xp, x, /):
    """Return whether ``x`` is neither infinite nor not a number, elementwise."""
    return xp.isfinite(x), None


@differentiable(promote=1, infer=broadcast)
def where(xp, condition, x, y, /):
    """Return ``x`` where a condition holds and ``y`` elsewhere.

    Args:
        condition: boolean tensor; other numbers count as true where they aren't 0.
        x: tensor or number; the three are broadcast.
        y: the same.
    """
    if condition.dtype.kind != "b":
        condition = xp.not_equal(condition, 0)
    return xp.where(condition, x, y), (condition,)


@where.backward
def where_backward(xp, saved, gy, needs):
    (condition,) = saved
    return (
        None,
        xp.where(condition, gy, 0.0) if needs[1] else None,
        xp.where(condition, 0.0, gy) if needs[2] else None,
    )


@differentiable(promote=0, infer=broadcast)
def maximum(xp, x, y, /):
    """Return the larger of ``x`` and ``y``; of equals, ``x`` gets the gradient."""
    return xp.maximum(x, y), (x, y)


@maximum.backward
def maximum_backward(xp, saved, gy, needs):
    x, y = saved
    return _chosen(x >= y, gy, needs)


@differentiable(promote=0, infer=broadcast)
def minimum(xp, x, y, /):
    """Return the smaller of ``x`` and ``y``; of equals, ``x`` gets the gradient."""
    return xp.minimum(x, y), (x, y)


@minimum.backward
def minimum_backward(xp, saved, gy, needs):
    x, y = saved
    return _chosen(x <= y, gy, needs)


def _chosen(first, gy, needs):
    return gy * first if needs[0] else None, gy * ~first if needs[1] else None


@differentiable(promote=0, infer=broadcast)
def clip(xp, x, min_value=None, max_value=None, /):
    """Return ``x`` limited to an interval; at its ends the gradient still passes.

    Args:
        x: tensor.
        min_value: number, tensor or None for no limit.
        max_value: the same.
    """
    y = x
    if min_value is not None:
        y = xp.maximum(y, min_value)
    if max_value is not None:
        y = xp.minimum(y, max_value)
    return y, (x, min_value, max_value)


@clip.backward
def clip_backward(xp, saved, gy, needs):
    x, low, high = saved
    wants = (*needs, False, False)
    glow = ghigh = None
    gx = gy
    if high is not None:
        if wants[2]:
            ghigh = gx * (x > high)
        gx = gx * (x <= high)
    if low is not None:
        if wants[1]:
            glow = gx * (x < low)
        gx = gx * (x >= low)
    return gx if needs[0] else None, glow, ghigh


@differentiable(infer=same)
def cast(xp, x, /, dtype):
    """Return ``x`` with another element type.

    Args:
        x: tensor.
        dtype: name or numpy dtype; the gradient comes back in the type of ``x``.
    """
    return x if x.dtype == dtype else x.astype(dtype), (x.dtype,)


@cast.backward
def cast_backward(xp, saved, gy, needs):
    (dtype,) = saved
    if dtype.kind != "f":  # whole numbers have no slope
        return (None,)
    return (gy if gy.dtype == dtype else gy.astype(dtype),)


def cast_to_floatx(x):
    """Return ``x`` with the default float type; see `cast`."""
    return cast(x, dtype=config.floatx())


@differentiable(infer=same)
def identity(xp, x, /):
    """Return ``x`` as a new tensor."""
    return x, None


@identity.backward
def identity_backward(xp, saved, gy, needs):
    return (gy,)


@differentiable(infer=same)
def stop_gradient(xp, x, /):
    """Return ``x``, which counts as a constant from here on."""
    return x, None
