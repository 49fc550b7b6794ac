"""Fused elementwise ops: one launch instead of one for each arithmetic step."""

from gpunet.fused.launch import REALS, launch_elementwise
from gpunet.fused.sources import source
from gpunet.ops import nonlinear

__all__ = ["relu_gradient"]


def is_real(xp, x, **_):
    """Return whether an array is on a GPU and of a float type that kernels know."""
    return xp.__name__ == "cupy" and x.dtype.name in REALS


@nonlinear.swish.fused(when=is_real)
def swish_fused(xp, x):
    y = xp.empty(x.shape, x.dtype)
    x = xp.ascontiguousarray(x)
    launch_elementwise(source("elementwise"), "swish_forward", x.size, [x, y], x.dtype)
    return y, (x,)


@swish_fused.explained
def swish_words(xp, x):
    return "one kernel each way"


@swish_fused.backward
def swish_fused_backward(xp, saved, gy, needs):
    (x,) = saved
    gx = xp.empty(gy.shape, x.dtype)
    args = [x, xp.ascontiguousarray(gy), gx]
    launch_elementwise(source("elementwise"), "swish_backward", x.size, args, x.dtype)
    return (gx,)


def relu_gradient(xp, y, gy):
    """Return ``gy`` where ``y``, the result of a ReLU, is above 0, and 0 elsewhere.

    Args:
        xp: CuPy.
        y, gy: arrays of one shape and float type.
    """
    if gy.dtype.name not in REALS:
        return xp.where(y > 0, gy, gy.dtype.type(0))
    gx = xp.empty(gy.shape, gy.dtype)
    args = [xp.ascontiguousarray(y), xp.ascontiguousarray(gy), gx]
    launch_elementwise(source("elementwise"), "relu_backward", gx.size, args, gy.dtype)
    return gx
