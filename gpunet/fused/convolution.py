"""Fused convolution and its gradients: windows are gathered on the way into matrix products."""

import math

from gpunet import joining
from gpunet.fused.conv_kernels import ending_backward
from gpunet.fused.cudnn_conv import geometry
from gpunet.fused.elementwise import FLOATS
from gpunet.fused.gemm import dense_fused, dense_words, takes
from gpunet.fused.tiles import chosen
from gpunet.ops import convolution
from gpunet.ops.convolution import checked, transposed
from gpunet.ops.window import per_axis, window

__all__ = []

_MOST = 2**30  # kernels count positions, and the elements of an image, in 31 bits
_LAYERS = 65535  # of blocks: a grid's third axis has one for each group and class of positions


def _fits(xp, a, b, *_, strides=1, groups=1, **__):
    return (
        xp.__name__ == "cupy"
        and a.dtype == b.dtype
        and a.dtype.name in FLOATS
        and 3 <= a.ndim <= 5
        and a.size > 0
        and b.size > 0
        and _counted(a.shape)
        and _counted(b.shape)
        and groups * math.prod(per_axis(strides, a.ndim - 2)) <= _LAYERS
    )


def _counted(shape):
    """Return whether 32 bits are enough, with room to spare for borders and strides."""
    inner = math.prod(shape[1:-1])
    return inner * max(shape[0], shape[-1]) < _MOST


def _fits_transposed(
    xp, y, kernel, *_, strides=1, padding="valid", dilation=1, groups=1, size=None,
    output_padding=None, **__,
):  # fmt: skip
    if not _fits(xp, y, kernel, strides=strides, groups=groups) or y.ndim != kernel.ndim:
        return False
    options = {"strides": strides, "padding": padding, "dilation": dilation}
    w = transposed(y.shape, kernel.shape, options, size, output_padding)
    return _counted((y.shape[0], *w.size, kernel.shape[-2] * groups))


def _activation(relu):
    return "relu" if relu else "linear"


# -- one cell: a matrix product ---------------------------------------------------------------


def _is_product(xp, x, kernel, bias=None, /, strides=1, padding="valid", dilation=1, groups=1, **_):
    if groups > 1 or not _fits(xp, x, kernel) or not takes(xp, x, kernel):
        return False
    w = window(x.shape[1:-1], kernel.shape[:-2], strides, padding, dilation)
    return math.prod(w.kernel) == math.prod(w.strides) == 1 and not w.padding_needed


@convolution.conv.fused(when=_is_product)
def conv_product(xp, x, kernel, bias=None, /, relu=False, **options):
    checked("conv", x.shape, kernel.shape, kernel.shape[-2])
    y, saved = dense_fused.forward(xp, x, kernel.reshape(kernel.shape[-2:]), bias, relu=relu)
    return y, (saved, kernel.shape)


@conv_product.explained
def conv_product_words(xp, x, kernel, bias=None, /, relu=False, **options):
    return dense_words(xp, x, kernel, bias, relu=relu)


@conv_product.backward
def conv_product_backward(xp, saved, gy, needs):
    saved, shape = saved
    gx, gk, gb = dense_fused.pull(xp, saved, gy, needs)
    return gx, None if gk is None else gk.reshape(shape), gb


# -- kernels of our own -----------------------------------------------------------------------


def _ending_words(bias, relu):
    names = [name for name, given in (("bias", bias is not None), ("ReLU", relu)) if given]
    return f", {' and '.join(names)} in the same kernel" if names else ""


@convolution.conv.fused(when=_fits)
def conv_fused(
    xp, x, kernel, bias=None, /, strides=1, padding="valid", dilation=1, groups=1, relu=False
):
    checked("conv", x.shape, kernel.shape, kernel.shape[-2] * groups)
    w = window(x.shape[1:-1], kernel.shape[:-2], strides, padding, dilation)
    g = geometry(w, x.shape[-1], kernel.shape[-1], groups, x.dtype)
    y = g.forward(xp, x, kernel, bias, _activation(relu))
    return y, (x, kernel, y if relu else None, g)


def _conv_ended(
    xp, steps, x, kernel, bias=None, strides=1, padding="valid", dilation=1, groups=1, relu=False
):
    """Do what `conv_fused` does, and then steps in the same kernel; see `joining.begins`."""
    w = window(x.shape[1:-1], kernel.shape[:-2], strides, padding, dilation)
    g = geometry(w, x.shape[-1], kernel.shape[-1], groups, x.dtype)
    y = g.forward(xp, x, kernel, bias, _activation(relu), steps=steps)
    return y, (x, kernel, y if relu else None, g)


def _conv_told(
    xp, steps, x, kernel, bias=None, strides=1, padding="valid", dilation=1, groups=1, relu=False
):
    """Do what `conv_fused` does, and return the result's moments too; there are no steps."""
    w = window(x.shape[1:-1], kernel.shape[:-2], strides, padding, dilation)
    g = geometry(w, x.shape[-1], kernel.shape[-1], groups, x.dtype)
    y, moments = g.measured(xp, x, kernel, bias, _activation(relu))
    return y, (x, kernel, y if relu else None, g), moments


joining.begins(
    conv_fused.forward, _conv_ended, convolution.padded_too, convolution.conv_saves, _conv_told
)


@conv_fused.explained
def conv_words(
    xp, x, kernel, bias=None, /, strides=1, padding="valid", dilation=1, groups=1, relu=False
):
    w = window(x.shape[1:-1], kernel.shape[:-2], strides, padding, dilation)
    g = geometry(w, x.shape[-1], kernel.shape[-1], groups, x.dtype)
    if g.depthwise:
        return g.told(f"a kernel each way for channels by themselves{_ending_words(bias, relu)}")
    product, splits = g.gradient_product(x.shape[0])
    few = "kernel for few channels, held in shared memory"
    ahead = few if g.few else g.words(g.forward_product(x.shape[0]))
    ahead += _ending_words(bias, relu)
    return g.told(f"{ahead}; the kernel's gradient in {splits} parts, {chosen(product, g.chip)}")


@conv_fused.backward
def conv_fused_backward(xp, saved, gy, needs):
    return _conv_back_ended(xp, (), saved, gy, needs)


def _conv_back_ended(xp, steps, saved, gy, needs):
    """Return the gradients, that of ``x`` after steps; see `joining.begins`."""
    x, kernel, y, g = saved
    biased = len(needs) > 2 and needs[2]
    gz, gb = ending_backward(xp, gy, y, _activation(y is not None), biased)
    gx = g.transposed(xp, gz, kernel, steps=steps) if needs[0] else None
    gk = g.kernel_gradient(xp, x, gz) if needs[1] else None
    return gx, gk, gb


joining.begins(conv_fused.pull, _conv_back_ended)


@convolution.conv_transpose.fused(when=_fits_transposed)
def conv_transpose_fused(
    xp, y, kernel, bias=None, /, strides=1, padding="valid", dilation=1, groups=1, relu=False,
    size=None, output_padding=None,
):  # fmt: skip
    checked("conv_transpose", y.shape, kernel.shape, kernel.shape[-1])
    options = {"strides": strides, "padding": padding, "dilation": dilation}
    w = transposed(y.shape, kernel.shape, options, size, output_padding)
    g = geometry(w, kernel.shape[-2] * groups, kernel.shape[-1], groups, y.dtype)
    x = g.transposed(xp, y, kernel, bias, _activation(relu))
    return x, (y, kernel, x if relu else None, g)


def _conv_transpose_ended(
    xp, steps, y, kernel, bias=None, strides=1, padding="valid", dilation=1, groups=1, relu=False,
    size=None, output_padding=None,
):  # fmt: skip
    options = {"strides": strides, "padding": padding, "dilation": dilation}
    w = transposed(y.shape, kernel.shape, options, size, output_padding)
    g = geometry(w, kernel.shape[-2] * groups, kernel.shape[-1], groups, y.dtype)
    x = g.transposed(xp, y, kernel, bias, _activation(relu), steps=steps)
    return x, (y, kernel, x if relu else None, g)


joining.begins(conv_transpose_fused.forward, _conv_transpose_ended, saves=convolution.conv_saves)


@conv_transpose_fused.explained
def conv_transpose_words(
    xp, y, kernel, bias=None, /, strides=1, padding="valid", dilation=1, groups=1, relu=False,
    size=None, output_padding=None,
):  # fmt: skip
    options = {"strides": strides, "padding": padding, "dilation": dilation}
    w = transposed(y.shape, kernel.shape, options, size, output_padding)
    g = geometry(w, kernel.shape[-2] * groups, kernel.shape[-1], groups, y.dtype)
    if g.depthwise:
        return g.told(f"a kernel each way for channels by themselves{_ending_words(bias, relu)}")
    classes = math.prod(w.strides)
    words = g.words(g.transposed_product(y.shape[0])) + _ending_words(bias, relu)
    return g.told(words + (f", {classes} classes of positions" if classes > 1 else ""))


@conv_transpose_fused.backward
def conv_transpose_fused_backward(xp, saved, gx, needs):
    return _transpose_back_ended(xp, (), saved, gx, needs)


def _transpose_back_ended(xp, steps, saved, gx, needs):
    """Return the gradients, that of ``y`` after steps; see `joining.begins`."""
    y, kernel, x, g = saved
    biased = len(needs) > 2 and needs[2]
    gz, gb = ending_backward(xp, gx, x, _activation(x is not None), biased)
    gy = g.forward(xp, gz, kernel, steps=steps) if needs[0] else None
    gk = g.kernel_gradient(xp, gz, y) if needs[1] else None
    return gy, gk, gb


joining.begins(conv_transpose_fused.pull, _transpose_back_ended)


@convolution.conv_kernel_gradient.fused(when=_fits)
def conv_kernel_gradient_fused(
    xp, x, y, /, kernel_size, strides=1, padding="valid", dilation=1, groups=1
):
    w = window(x.shape[1:-1], kernel_size, strides, padding, dilation)
    g = geometry(w, x.shape[-1], y.shape[-1], groups, x.dtype)
    return g.kernel_gradient(xp, x, y), (x, y, g)


@conv_kernel_gradient_fused.backward
def conv_kernel_gradient_fused_backward(xp, saved, gk, needs):
    x, y, g = saved
    return (
        g.transposed(xp, y, gk) if needs[0] else None,
        g.forward(xp, x, gk) if needs[1] else None,
    )
