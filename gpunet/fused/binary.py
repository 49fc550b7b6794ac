"""Fused binary cross-entropy, of probabilities and of logits."""

from gpunet import config
from gpunet.fused.launch import REALS, launch_elementwise
from gpunet.fused.sources import source
from gpunet.ops import loss

__all__ = []


def _fits(xp, target, x, from_logits=False):
    return xp.__name__ == "cupy" and x.dtype.name in REALS and target.shape == x.shape


@loss.binary_crossentropy.fused(when=_fits)
def binary_fused(xp, target, x, from_logits=False):
    target, x = xp.ascontiguousarray(target.astype(x.dtype)), xp.ascontiguousarray(x)
    y = xp.empty(x.shape, x.dtype)
    small = x.dtype.type(config.epsilon())
    args = [target, x, y, small, int(from_logits)]
    launch_elementwise(source("binary"), "binary_forward", x.size, args, x.dtype)
    return y, (target, x, small, int(from_logits))


@binary_fused.explained
def binary_words(xp, target, x, from_logits=False):
    return "one kernel each way"


@binary_fused.backward
def binary_fused_backward(xp, saved, gy, needs):
    target, x, small, logits = saved
    gtarget, gx = (xp.empty(x.shape, x.dtype) if need else None for need in needs)
    args = [target, x, xp.ascontiguousarray(gy), gx, gtarget, small, logits]
    launch_elementwise(source("binary"), "binary_backward", x.size, args, x.dtype)
    return gtarget, gx
