"""What the rules of several optimizers do to whole arrays, in as few passes as possible."""

import numpy as np

from gpunet import blas

__all__ = ["approach", "average", "descend"]


def average(xp, mean, new, rho, rest):
    """Move a running mean on: ``mean = rho * mean + rest * new``; ``new`` may be overwritten."""
    if xp is np and blas.sum_of_multiples(mean, rho, new, rest):
        return
    xp.multiply(mean, rho, out=mean)
    xp.multiply(new, rest, out=new)
    xp.add(mean, new, out=mean)


def approach(xp, mean, new, rest, t):
    """Move a running mean on: ``mean += rest * (new - mean)``; ``t`` is scratch, may be new."""
    xp.subtract(new, mean, out=t)
    if xp is np and blas.sum_of_multiples(mean, 1.0, t, rest):
        return
    xp.multiply(t, rest, out=t)
    xp.add(mean, t, out=mean)


def descend(xp, w, direction, rate, t):
    """Move weights: ``w -= rate * direction``; ``t`` is scratch, may be the direction."""
    if xp is np and blas.sum_of_multiples(w, 1.0, direction, -rate):
        return
    xp.multiply(direction, rate, out=t)
    xp.subtract(w, t, out=w)
