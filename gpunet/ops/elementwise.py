"""Elementwise ops: arithmetic, comparisons, and the functions that layers are made of."""

from gpunet.autodiff import differentiable

__all__ = ["add", "multiply", "exp", "swish"]


@differentiable(promote=0)
def add(xp, x, y, /):
    """Return ``x + y``."""
    return xp.add(x, y), None


@add.backward
def add_backward(xp, saved, gy, needs):
    return gy, gy


@differentiable(promote=0)
def multiply(xp, x, y, /):
    """Return ``x * y``."""
    return xp.multiply(x, y), (x, y)


@multiply.backward
def multiply_backward(xp, saved, gy, needs):
    x, y = saved
    return gy * y if needs[0] else None, gy * x if needs[1] else None


@differentiable
def exp(xp, x, /):
    """Return ``e ** x``."""
    y = xp.exp(x)
    return y, (y,)


@exp.backward
def exp_backward(xp, saved, gy, needs):
    return (gy * saved[0],)


@differentiable
def swish(xp, x, /):
    """Return ``x * sigmoid(x)``.

    Reference:
        Ramachandran et al., 2017, arXiv:1710.05941.
    """
    gate = 0.5 + 0.5 * xp.tanh(0.5 * x)  # sigmoid(x); exp(-x) would overflow
    y = x * gate
    return y, (gate, y)


@swish.backward
def swish_backward(xp, saved, gy, needs):
    gate, y = saved
    return (gy * (gate + y * (1 - gate)),)
