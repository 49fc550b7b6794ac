"""Elementwise ops that layers are made of: sigmoids, rectifiers, the error function."""

import math

import numpy as np

from gpunet import joining
from gpunet.autodiff import differentiable
from gpunet.ops.blockwise import are_large, mapped, rectified, rectifies, unary
from gpunet.ops.elementwise import as_float, blend
from gpunet.ops.infer import same

__all__ = [
    "sigmoid",
    "hard_sigmoid",
    "relu",
    "elu",
    "selu",
    "softplus",
    "softsign",
    "swish",
    "mish",
    "gelu",
    "erf",
]

# The largest exponent whose power of e every float type can hold, by bytes per element.
_LARGEST = {2: 11.0, 4: 88.0, 8: 709.0}


def sigmoid_of(xp, x):
    """Return ``1 / (1 + exp(-x))`` of a float array; small values keep all their digits."""
    return 1 / (1 + xp.exp(xp.minimum(-x, _LARGEST[x.dtype.itemsize])))


def softplus_of(xp, x):
    """Return ``log(1 + exp(x))`` of a float array."""
    return xp.maximum(x, 0.0) + xp.log1p(xp.exp(-xp.abs(x)))


@differentiable(infer=same)
def sigmoid(xp, x, /):
    """Return ``1 / (1 + exp(-x))``."""
    y = sigmoid_of(xp, as_float(x))
    return y, (y,)


@sigmoid.backward
def sigmoid_backward(xp, saved, gy, needs):
    (y,) = saved
    return (gy * (y * (1 - y)),)


@differentiable(infer=same)
def hard_sigmoid(xp, x, /):
    """Return ``0.2 * x + 0.5`` limited to 0..1."""
    line = 0.2 * as_float(x) + 0.5
    return xp.minimum(xp.maximum(line, 0.0), 1.0), (line,)


@hard_sigmoid.backward
def hard_sigmoid_backward(xp, saved, gy, needs):
    (line,) = saved
    return (0.2 * gy * xp.logical_and(line >= 0.0, line <= 1.0),)


@differentiable(infer=same)
def relu(xp, x, /, alpha=0.0, max_value=None, threshold=0.0):
    """Return ``x`` above a threshold and a line of slope ``alpha`` below it.

    Args:
        x: tensor.
        alpha: float, slope below the threshold.
        max_value: float, largest value, or None.
        threshold: float; ``alpha * (x - threshold)`` is returned below it.
    """
    if not alpha and not threshold:
        y = xp.maximum(x, 0)
        if max_value is None:
            return y, (y,)
        return xp.minimum(y, max_value), (x, None, alpha, max_value, threshold)
    if alpha and max_value is None and not threshold:
        return xp.maximum(x, 0) + alpha * xp.minimum(x, 0), (x > 0, alpha)
    above = x > threshold
    y = x * above
    if max_value is not None:
        y = xp.minimum(xp.maximum(y, 0), max_value)
    if alpha:
        y = y - alpha * xp.maximum(threshold - x, 0)
    return y, (x, above, alpha, max_value, threshold)


def _relu_steps(at, options):
    high = options.get("max_value")
    if options.get("alpha") or options.get("threshold"):
        return None
    return [(np.maximum, 0.0)] + ([] if high is None else [(np.minimum, high)])


def _relu_saves(options):
    """Of those that are steps, all but the ones with a largest value save their result."""
    return joining.RESULT if options.get("max_value") is None else None


joining.goes_on(relu.forward, _relu_steps, _relu_saves)


@relu.backward
def relu_backward(xp, saved, gy, needs):
    if len(saved) == 1:
        return (gy * (saved[0] > 0),)
    if len(saved) == 2:
        above, alpha = saved
        return (blend(above, gy, alpha * gy),)
    x, above, alpha, max_value, threshold = saved
    passes = x > threshold if above is None else above
    if max_value is not None:
        # TensorFlow's relu6 counts its upper end as flat, its clipping does not.
        inside = x < max_value if max_value == 6 and not threshold else x <= max_value
        passes = xp.logical_and(passes, xp.logical_and(inside, x >= 0))
    gx = gy * passes
    return (gx + alpha * gy * (x < threshold) if alpha else gx,)


def _is_plain(xp, x, /, alpha=0.0, max_value=None, threshold=0.0):
    return not alpha and max_value is None and not threshold and are_large(xp, x)


@relu.fused(when=_is_plain)
def relu_blocks(xp, x, /, alpha=0.0, max_value=None, threshold=0.0):
    y = mapped(lambda x, out: np.maximum(x, 0, out=out), x)
    return y, (y,)


joining.goes_on(relu_blocks.forward, _relu_steps, _relu_saves)


@relu_blocks.backward
def relu_blocks_backward(xp, saved, gy, needs):
    return (rectified(xp, gy, *saved),)


rectifies(relu_blocks.pull, 0)


@differentiable(infer=same)
def elu(xp, x, /, alpha=1.0):
    """Return ``x`` where it is positive and ``alpha * (exp(x) - 1)`` elsewhere.

    Reference:
        Clevert et al., 2015, arXiv:1511.07289.
    """
    x = as_float(x)
    y = xp.maximum(x, 0.0) + alpha * xp.expm1(xp.minimum(x, 0.0))
    return y, (x > 0, y, alpha)


@elu.backward
def elu_backward(xp, saved, gy, needs):
    positive, y, alpha = saved
    return (blend(positive, gy, gy * (xp.minimum(y, 0.0) + alpha)),)


_SELU_SCALE = 1.0507009873554805
_SELU_ALPHA = 1.6732632423543772


@differentiable(infer=same)
def selu(xp, x, /):
    """Return the scaled `elu` that keeps mean and variance of its inputs.

    Reference:
        Klambauer et al., 2017, arXiv:1706.02515.
    """
    x = as_float(x)
    low = (_SELU_SCALE * _SELU_ALPHA) * xp.expm1(xp.minimum(x, 0.0))
    y = _SELU_SCALE * xp.maximum(x, 0.0) + low
    return y, (x >= 0, y)


@selu.backward
def selu_backward(xp, saved, gy, needs):
    positive, y = saved
    slope = xp.minimum(y, 0.0) + _SELU_SCALE * _SELU_ALPHA
    return (blend(positive, gy * _SELU_SCALE, gy * slope),)


@differentiable(infer=same)
def softplus(xp, x, /):
    """Return ``log(1 + exp(x))``."""
    x = as_float(x)
    return softplus_of(xp, x), (x,)


@softplus.backward
def softplus_backward(xp, saved, gy, needs):
    return (gy * sigmoid_of(xp, saved[0]),)


@differentiable(infer=same)
def softsign(xp, x, /):
    """Return ``x / (1 + |x|)``."""
    x = as_float(x)
    scale = 1 / (1 + xp.abs(x))
    return x * scale, (scale,)


@softsign.backward
def softsign_backward(xp, saved, gy, needs):
    (scale,) = saved
    return (gy * (scale * scale),)


@differentiable(infer=same)
def swish(xp, x, /):
    """Return ``x * sigmoid(x)``.

    Reference:
        Ramachandran et al., 2017, arXiv:1710.05941.
    """
    x = as_float(x)
    gate = sigmoid_of(xp, x)
    y = x * gate
    return y, (gate, y)


@swish.backward
def swish_backward(xp, saved, gy, needs):
    gate, y = saved
    return (gy * (gate + y * (1 - gate)),)


@differentiable(infer=same)
def mish(xp, x, /):
    """Return ``x * tanh(softplus(x))``.

    Reference:
        Misra, 2019, arXiv:1908.08681.
    """
    x = as_float(x)
    gate = xp.tanh(softplus_of(xp, x))
    return x * gate, (x, gate)


@mish.backward
def mish_backward(xp, saved, gy, needs):
    x, gate = saved
    return (gy * (gate + x * (1 - gate * gate) * sigmoid_of(xp, x)),)


@differentiable(infer=same)
def gelu(xp, x, /, approximate=False):
    """Return ``x`` times the normal distribution function of ``x``.

    Args:
        x: tensor.
        approximate: bool, whether to use the paper's formula with tanh.

    Reference:
        Hendrycks and Gimpel, 2016, arXiv:1606.08415.
    """
    x = as_float(x)
    if approximate:
        z = math.sqrt(2 / math.pi) * (x + 0.044715 * (x * x * x))
        share = sigmoid_of(xp, 2 * z)  # (1 + tanh(z)) / 2
    else:
        share = normal_share(xp, x)
    return x * share, (x, share, approximate)


@gelu.backward
def gelu_backward(xp, saved, gy, needs):
    x, share, approximate = saved
    if approximate:
        slope = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * (x * x))
        density = 2 * share * (1 - share) * slope
    else:
        density = _gaussian(xp, math.sqrt(0.5) * x) * math.sqrt(0.5 / math.pi)
    return (gy * (share + x * density),)


@differentiable(infer=same)
def erf(xp, x, /):
    """Return the error function, to the last digits of the float type.

    Reference:
        Cody, 1969, Math. Comp. 23(107), 631-637.
    """
    x = as_float(x)
    return erf_of(xp, x), (x,)


@erf.backward
def erf_backward(xp, saved, gy, needs):
    return (gy * (2 / math.sqrt(math.pi) * _gaussian(xp, saved[0])),)


for _op in (sigmoid, hard_sigmoid, elu, selu, softplus, softsign, swish, mish, gelu):
    unary(_op)


def _gaussian(xp, x):
    """Return ``exp(-x * x)``; a square too large for the float type is cut off before."""
    x = xp.minimum(xp.abs(x), 30.0)
    return xp.exp(-(x * x))


# Cody's rational functions for erf(x) / x near 0 and erfc(x) * exp(x * x) beyond, highest power
# first.  The second one is good to 4; beyond that erfc is so small that its error hardly shows.
_NEAR = (
    (1.85777706184603153e-1, 3.16112374387056560, 1.13864154151050156e2,
     3.77485237685302021e2, 3.20937758913846947e3),
    (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3,
     2.84423683343917062e3),
)  # fmt: skip
_FAR = (
    (2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594, 6.61191906371416295e1,
     2.98635138197400131e2, 8.81952221241769090e2, 1.71204761263407058e3,
     2.05107837782607147e3, 1.23033935479799725e3),
    (1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2,
     1.62138957456669019e3, 3.29079923573345963e3, 4.36261909014324716e3,
     3.43936767414372164e3, 1.23033935480374942e3),
)  # fmt: skip


def polynomial(x, coefficients):
    """Return a polynomial's value, the coefficient of the highest power first."""
    y = coefficients[0] * x
    y += coefficients[1]  # y is new here, so working in place is safe
    for c in coefficients[2:]:
        y *= x
        y += c
    return y


def _erf_parts(xp, x):
    """Return where ``x`` is near 0, ``erf(x)`` there and ``1 - erf(x)`` elsewhere, for x >= 0."""
    far = xp.minimum(x, 26.0)
    near = xp.minimum(far, 0.46875)
    square = near * near
    low = polynomial(square, _NEAR[0])
    low /= polynomial(square, _NEAR[1])
    low *= near
    rest = polynomial(far, _FAR[0])
    rest /= polynomial(far, _FAR[1])
    rest *= xp.exp(-(far * far))
    return far <= 0.46875, low, rest


def erf_of(xp, x):
    """Return the error function of a float array."""
    dtype = x.dtype
    if dtype.itemsize == 2:  # the polynomials' values don't fit
        x = x.astype("float32")
    is_near, low, rest = _erf_parts(xp, xp.abs(x))
    y = blend(is_near, low, 1 - rest) * xp.sign(x)
    return y if y.dtype == dtype else y.astype(dtype)


def normal_share(xp, x):
    """Return the normal distribution function of a float array, exact for small shares too."""
    dtype = x.dtype
    if dtype.itemsize == 2:
        x = x.astype("float32")
    is_near, low, rest = _erf_parts(xp, xp.abs(x) * math.sqrt(0.5))
    half = 0.5 * blend(is_near, 1 - low, rest)
    y = half + (1 - 2 * half) * (x >= 0)
    return y if y.dtype == dtype else y.astype(dtype)
