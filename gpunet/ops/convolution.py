"""Convolution of any rank: three ops that are each other's gradients.

Arrays are channels-last: ``x`` (N, *size, C), ``y`` (N, *out, F), kernels (*kernel, C / groups, F).
The plain functions loop over the cells of a kernel.  NumPy arrays of floats go to `conv_cpu`.
"""

import numpy as np

from gpunet import joining
from gpunet.autodiff import differentiable, no_tape, taped
from gpunet.errors import ShapeError
from gpunet.ops import conv_cpu
from gpunet.ops.blockwise import rectified, rectifies
from gpunet.ops.products import product
from gpunet.ops.shape import pad
from gpunet.ops.window import per_axis, transposed_window, window

__all__ = ["conv", "conv_transpose", "conv_kernel_gradient"]


def _run(xp, op, *arrays, **options):
    """Run another op on arrays, or record it where the functions here are recorded."""
    return op(*arrays, **options) if xp is taped else op.forward(xp, *arrays, **options)[0]


def _window(size, kernel, options):
    return window(size, kernel, options["strides"], options["padding"], options["dilation"])


def _whole(shape):
    return tuple([int(n) for n in shape])


def _rows(x):
    return x.reshape((-1, x.shape[-1]))


def _per_group(xp, x, groups):
    """Return (..., C) as (groups, rows, C / groups)."""
    rows = x.reshape((-1, groups, x.shape[-1] // groups))
    return xp.transpose(rows, (1, 0, 2))


def _cell_groups(xp, matrix, groups):
    """Return one cell of a kernel (C / groups, F) as (groups, C / groups, F / groups)."""
    depth, filters = matrix.shape
    return xp.transpose(matrix.reshape((depth, groups, filters // groups)), (1, 0, 2))


def _joined(xp, parts, shape):
    """Return (groups, rows, C / groups) as an array of a shape (..., C)."""
    return xp.transpose(parts, (1, 0, 2)).reshape(shape)


def _mixed(xp, x, matrix, groups):
    """Return each position of (..., C) times one cell of a kernel (C / groups, F)."""
    shape = (*x.shape[:-1], matrix.shape[-1])
    if groups == 1:
        return product(xp, _rows(x), matrix).reshape(shape)
    parts = product(xp, _per_group(xp, x, groups), _cell_groups(xp, matrix, groups))
    return _joined(xp, parts, shape)


def _unmixed(xp, y, matrix, groups):
    """Return each position of (..., F) times one transposed cell of a kernel."""
    shape = (*y.shape[:-1], matrix.shape[0] * groups)
    if groups == 1:
        return product(xp, _rows(y), matrix.T).reshape(shape)
    cells = xp.transpose(_cell_groups(xp, matrix, groups), (0, 2, 1))
    return _joined(xp, product(xp, _per_group(xp, y, groups), cells), shape)


def _correlated(xp, x, y, groups):
    """Return the sum over positions of x (..., C) times y (..., F): (C / groups, F)."""
    if groups == 1:
        return product(xp, _rows(x).T, _rows(y))
    x = xp.transpose(_per_group(xp, x, groups), (0, 2, 1))
    parts = product(xp, x, _per_group(xp, y, groups))  # (groups, C / groups, F / groups)
    return xp.transpose(parts, (1, 0, 2)).reshape((parts.shape[1], y.shape[-1]))


def _finished(xp, y, bias, relu):
    if bias is not None:
        y += bias  # y is new here
    return xp.maximum(y, 0) if relu else y


def bias_gradient(gy):
    return gy.sum(axis=tuple(range(gy.ndim - 1)))


def checked(name, x, kernel, channels):
    if len(x) != len(kernel):
        raise ShapeError(
            f"{name}: expected an input of rank {len(kernel)} for a kernel of shape "
            f"{tuple(kernel)}, got shape {tuple(x)}"
        )
    if None not in (x[-1], channels) and x[-1] != channels:
        raise ShapeError(
            f"{name}: expected {channels} input channels for a kernel of shape {tuple(kernel)}, "
            f"got {x[-1]} (shape {tuple(x)})"
        )


def _on_cpu(xp, x, kernel, *_, **__):
    return xp is np and x.dtype.kind == "f" and x.dtype == kernel.dtype


# -- forward ------------------------------------------------------------------------------


def _infer_conv(x, kernel, bias=(), strides=1, padding="valid", dilation=1, groups=1, **_):
    checked("conv", x, kernel, kernel[-2] * groups)
    w = window(x[1:-1], kernel[:-2], strides, padding, dilation)
    return (x[0], *w.out, kernel[-1])


@differentiable(promote=0, infer=_infer_conv)
def conv(xp, x, kernel, bias=None, /, strides=1, padding="valid", dilation=1, groups=1, relu=False):
    """Return the convolution of ``x``, as neural networks define it: the kernel isn't reversed.

    Args:
        x: tensor (N, *size, C), any number of spatial axes.
        kernel: tensor (*kernel, C / groups, F).
        bias: tensor (F,) or None.
        strides: int or tuple.
        padding: ``'valid'``, ``'same'``, ``'causal'`` or pairs (before, after).
        dilation: int or tuple.
        groups: int; each of this many equal parts of the channels has filters of its own.
        relu: bool, whether the result is cut off at 0.

    Returns:
        Tensor (N, *out, F).
    """
    options = {"strides": strides, "padding": padding, "dilation": dilation, "groups": groups}
    if xp is taped:
        with no_tape():
            y = conv(x, kernel, bias, relu=True, **options) if relu else None
        return None, (x, kernel, y, options)
    checked("conv", x.shape, kernel.shape, kernel.shape[-2] * groups)
    w = _window(x.shape[1:-1], kernel.shape[:-2], options)
    inside = w.padded(xp, x)
    y = None
    for cell in w.cells():
        part = _mixed(xp, inside[(slice(None), *w.taken(cell))], kernel[cell], groups)
        y = part if y is None else y + part
    y = _finished(xp, y, bias, relu)
    return y, (x, kernel, y if relu else None, options)


@conv.backward
def conv_backward(xp, saved, gy, needs):
    x, kernel, y, options = saved
    if y is not None:
        gy = gy * (y > 0)
    gx = gk = gb = None
    if needs[0]:
        gx = _run(xp, conv_transpose, gy, kernel, size=_whole(x.shape[1:-1]), **options)
    if needs[1]:
        sizes = _whole(kernel.shape[:-2])
        gk = _run(xp, conv_kernel_gradient, x, gy, kernel_size=sizes, **options)
    if len(needs) > 2 and needs[2]:
        gb = bias_gradient(gy)
    return gx, gk, gb


@conv.fused(when=_on_cpu)
def conv_blocked(
    xp, x, kernel, bias=None, /, strides=1, padding="valid", dilation=1, groups=1, relu=False
):
    checked("conv", x.shape, kernel.shape, kernel.shape[-2] * groups)
    w = window(x.shape[1:-1], kernel.shape[:-2], strides, padding, dilation)
    y = conv_cpu.forward(x, kernel, bias, w, groups, relu)
    return y, (x, kernel, y if relu else None, w, groups)


def conv_saves(options):
    return joining.RESULT if options.get("relu") else joining.NOTHING


def _conv_finished(
    xp, steps, x, kernel, bias=None, strides=1, padding="valid", dilation=1, groups=1, relu=False
):
    """Do what `conv` does and then steps to each block; see `joining.begins`."""
    w = window(x.shape[1:-1], kernel.shape[:-2], strides, padding, dilation)
    y = conv_cpu.forward(x, kernel, bias, w, groups, relu, steps=steps)
    return y, (x, kernel, y if relu else None, w, groups)


def padded_too(before, call):
    """Return options that include a border of zeros made before; see `joining.begins`.

    Only where windows are read in the same way then, so that bits stay.
    """
    options, (shape, _) = call.options, call.kinds[1]
    rank = len(shape) - 2
    strides = per_axis(options.get("strides", 1), rank)
    depthwise = options.get("groups", 1) > 1 == shape[-2]
    own = options.get("padding", "valid")
    if before.forward is not pad.forward or before.options.get("constant_values"):
        return None
    if not (depthwise or min(strides) > 1) or own in ("same", "causal"):
        return None
    own = ((0, 0),) * rank if own == "valid" else own
    images, *sides, channels = before.options["paddings"]
    if any(images) or any(channels):
        return None
    sides = [(a + c, b + d) for (a, b), (c, d) in zip(sides, own)]
    return {**options, "padding": tuple(sides)}


joining.begins(conv_blocked.forward, _conv_finished, padded_too, conv_saves)


@conv_blocked.backward
def conv_blocked_backward(xp, saved, gy, needs):
    return _conv_back(xp, saved, gy if saved[2] is None else _masked(xp, saved, gy), needs)


def _masked(xp, saved, gy):
    """Return the gradient of what was cut off at 0: once for all that follows from it."""
    return rectified(xp, gy, saved[2])


def _conv_back(xp, saved, gy, needs):
    return _conv_back_finished(xp, [], saved, gy, needs)


def _conv_back_finished(xp, steps, saved, gy, needs):
    """Return the gradients, that of ``x`` after steps; see `joining.begins`."""
    x, kernel, _, w, groups = saved
    gx = gk = gb = None
    biased = len(needs) > 2 and needs[2]
    if needs[1]:
        gk, gb = conv_cpu.kernel_gradient(x, gy, w, groups, biased)
    elif biased:
        gb = bias_gradient(gy)
    if needs[0]:
        gx = conv_cpu.input_gradient(gy, kernel, None, w, groups, steps=steps)
    return gx, gk, gb


def _relu_is_in(options):
    return bool(options.get("relu"))


rectifies(_masked, 2)
joining.splits(conv_blocked.pull, _masked, _conv_back, _relu_is_in)
for _pull in (conv_blocked.pull, _conv_back):
    joining.begins(_pull, _conv_back_finished)


# -- the gradient with respect to the input, which is the transposed convolution ------------------


def transposed(y, kernel, options, size, output_padding):
    rank = len(kernel) - 2
    return transposed_window(
        tuple([None if n is None else int(n) for n in y[1:-1]]),
        _whole(kernel[:-2]),
        per_axis(options["strides"], rank),
        options["padding"],
        per_axis(options["dilation"], rank),
        None if output_padding is None else per_axis(output_padding, rank),
        None if size is None else tuple(size),
    )


def _infer_transpose(
    y, kernel, bias=(), strides=1, padding="valid", dilation=1, groups=1, size=None,
    output_padding=None, **_,
):  # fmt: skip
    checked("conv_transpose", y, kernel, kernel[-1])
    options = {"strides": strides, "padding": padding, "dilation": dilation}
    w = transposed(y, kernel, options, size, output_padding)
    return (y[0], *w.size, kernel[-2] * groups)


@differentiable(promote=0, infer=_infer_transpose)
def conv_transpose(
    xp, y, kernel, bias=None, /, strides=1, padding="valid", dilation=1, groups=1, relu=False,
    size=None, output_padding=None,
):  # fmt: skip
    """Return the transposed convolution of ``y``: what `conv` does to gradients.

    Args:
        y: tensor (N, *out, F).
        kernel: tensor (*kernel, C / groups, F), that of the convolution from C to F channels.
        bias: tensor (C,) or None.
        strides, padding, dilation, groups: those of the convolution, see `conv`.
        relu: bool, whether the result is cut off at 0.
        size: tuple, spatial sizes of the result.
        output_padding: tuple or int, added to the smallest possible sizes where ``size`` isn't
            given; None chooses them as Keras does.

    Returns:
        Tensor (N, *size, C).

    Reference:
        Dumoulin and Visin, 2016, arXiv:1603.07285.
    """
    options = {"strides": strides, "padding": padding, "dilation": dilation, "groups": groups}
    if xp is taped:
        with no_tape():
            more = {"size": size, "output_padding": output_padding, "relu": True}
            x = conv_transpose(y, kernel, bias, **options, **more) if relu else None
        return None, (y, kernel, x, options)
    checked("conv_transpose", y.shape, kernel.shape, kernel.shape[-1])
    w = transposed(y.shape, kernel.shape, options, size, output_padding)
    x = xp.zeros((y.shape[0], *w.padded_size, kernel.shape[-2] * groups), y.dtype)
    for cell in w.cells():
        x[(slice(None), *w.taken(cell))] += _unmixed(xp, y, kernel[cell], groups)
    inside = [slice(before, before + n) for n, (before, _) in zip(w.size, w.pads)]
    x = _finished(xp, x[(slice(None), *inside)], bias, relu)
    return x, (y, kernel, x if relu else None, options)


@conv_transpose.backward
def conv_transpose_backward(xp, saved, gx, needs):
    y, kernel, x, options = saved
    if x is not None:
        gx = gx * (x > 0)
    gy = gk = gb = None
    if needs[0]:
        gy = _run(xp, conv, gx, kernel, **options)
    if needs[1]:
        sizes = _whole(kernel.shape[:-2])
        gk = _run(xp, conv_kernel_gradient, gx, y, kernel_size=sizes, **options)
    if len(needs) > 2 and needs[2]:
        gb = bias_gradient(gx)
    return gy, gk, gb


@conv_transpose.fused(when=_on_cpu)
def conv_transpose_blocked(
    xp, y, kernel, bias=None, /, strides=1, padding="valid", dilation=1, groups=1, relu=False,
    size=None, output_padding=None,
):  # fmt: skip
    checked("conv_transpose", y.shape, kernel.shape, kernel.shape[-1])
    options = {"strides": strides, "padding": padding, "dilation": dilation}
    w = transposed(y.shape, kernel.shape, options, size, output_padding)
    x = conv_cpu.input_gradient(y, kernel, bias, w, groups, relu)
    return x, (y, kernel, x if relu else None, w, groups)


@conv_transpose_blocked.backward
def conv_transpose_blocked_backward(xp, saved, gx, needs):
    return _transpose_back(xp, saved, gx if saved[2] is None else _masked(xp, saved, gx), needs)


def _transpose_back(xp, saved, gx, needs):
    return _transpose_back_finished(xp, [], saved, gx, needs)


def _transpose_back_finished(xp, steps, saved, gx, needs):
    """Return the gradients, that of ``y`` after steps; see `joining.begins`."""
    y, kernel, _, w, groups = saved
    gy = gk = gb = None
    if needs[0]:
        gy = conv_cpu.forward(gx, kernel, None, w, groups, steps=steps)
    if needs[1]:
        gk, _ = conv_cpu.kernel_gradient(gx, y, w, groups)
    if len(needs) > 2 and needs[2]:
        gb = bias_gradient(gx)
    return gy, gk, gb


joining.splits(conv_transpose_blocked.pull, _masked, _transpose_back, _relu_is_in)
for _pull in (conv_transpose_blocked.pull, _transpose_back):
    joining.begins(_pull, _transpose_back_finished)


# -- the gradient with respect to the kernel ----------------------------------------------------


def _infer_kernel(x, y, kernel_size, groups=1, **_):
    return (*kernel_size, x[-1] // groups, y[-1])


@differentiable(promote=0, infer=_infer_kernel)
def conv_kernel_gradient(
    xp, x, y, /, kernel_size, strides=1, padding="valid", dilation=1, groups=1
):
    """Return the sum of all windows over ``x``, each times its place in ``y``.

    It is the gradient of `conv` with respect to the kernel, given that of its result, ``y``.

    Args:
        x: tensor (N, *size, C).
        y: tensor (N, *out, F).
        kernel_size: tuple.
        strides, padding, dilation, groups: those of the convolution, see `conv`.

    Returns:
        Tensor (*kernel_size, C / groups, F).
    """
    options = {"strides": strides, "padding": padding, "dilation": dilation, "groups": groups}
    if xp is taped:
        return None, (x, y, options)
    w = _window(x.shape[1:-1], kernel_size, options)
    inside = w.padded(xp, x)
    gk = xp.empty((*w.kernel, x.shape[-1] // groups, y.shape[-1]), x.dtype)
    for cell in w.cells():
        gk[cell] = _correlated(xp, inside[(slice(None), *w.taken(cell))], y, groups)
    return gk, (x, y, options)


@conv_kernel_gradient.backward
def conv_kernel_gradient_backward(xp, saved, gk, needs):
    x, y, options = saved
    gx = gy = None
    if needs[0]:
        gx = _run(xp, conv_transpose, y, gk, size=_whole(x.shape[1:-1]), **options)
    if needs[1]:
        gy = _run(xp, conv, x, gk, **options)
    return gx, gy


@conv_kernel_gradient.fused(when=_on_cpu)
def conv_kernel_gradient_blocked(
    xp, x, y, /, kernel_size, strides=1, padding="valid", dilation=1, groups=1
):
    w = window(x.shape[1:-1], kernel_size, strides, padding, dilation)
    return conv_cpu.kernel_gradient(x, y, w, groups)[0], (x, y, w, groups)


@conv_kernel_gradient_blocked.backward
def conv_kernel_gradient_blocked_backward(xp, saved, gk, needs):
    x, y, w, groups = saved
    gx = conv_cpu.input_gradient(y, gk, None, w, groups) if needs[0] else None
    gy = conv_cpu.forward(x, gk, None, w, groups) if needs[1] else None
    return gx, gy
