"""Fused dropout: what is dropped is drawn anew on the way back, and never stored."""

from gpunet.fused.launch import REALS, launch_elementwise
from gpunet.fused.sources import source
from gpunet.ops import random

__all__ = []


def _fits(xp, x, key, rate, noise_shape=None):
    whole = noise_shape is None or tuple(noise_shape) in (x.shape, (None,) * x.ndim)
    return xp.__name__ == "cupy" and x.dtype.name in REALS and whole and _suits(rate)


def _suits(rate):
    return 0 < rate < 1 and random.dropout_bits(rate) == 16


def _dropped(xp, x, key, rate):
    x, y = xp.ascontiguousarray(x), xp.empty(x.shape, x.dtype)
    args = [x, key, y, x.dtype.type(1 / (1 - rate)), round(rate * 2**16), x.size]
    launch_elementwise(source("dropout"), "dropout", -(-x.size // 16), args, x.dtype)
    return y


@random.random_dropout.fused(when=_fits)
def dropout_fused(xp, x, key, rate, noise_shape=None):
    return _dropped(xp, x, key, rate), (key, rate)


@dropout_fused.explained
def dropout_words(xp, x, key, rate, noise_shape=None):
    return "one kernel each way; what is dropped is drawn anew on the way back, and never stored"


@dropout_fused.backward
def dropout_fused_backward(xp, saved, gy, needs):
    return _dropped(xp, gy, *saved), None
