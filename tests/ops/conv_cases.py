"""Cases of the ops of convolution; references loop over outputs, one window at a time."""

import itertools

import numpy as np
from op_cases import Case, real

from gpunet import ops


def pads_of(size, extent, stride, padding):
    """Return (before, after) along an axis, as TensorFlow defines them."""
    if padding == "same":
        total = max((-(-size // stride) - 1) * stride + extent - size, 0)
        return total // 2, total - total // 2
    return {"valid": (0, 0), "causal": (extent - 1, 0)}[padding]


def each(value, rank):
    return value if isinstance(value, tuple) else (value,) * rank


def windows(x, kernel_size, strides=1, padding="valid", dilation=1):
    """Return (outs, list of (place, window)) over (N, *size, C), with windows (N, *kernel, C)."""
    rank = x.ndim - 2
    strides, dilation = each(strides, rank), each(dilation, rank)
    extents = [(k - 1) * d + 1 for k, d in zip(kernel_size, dilation)]
    if isinstance(padding, str):
        sizes = zip(x.shape[1:-1], extents, strides)
        padding = [pads_of(n, e, s, padding) for n, e, s in sizes]
    x = np.pad(x, [(0, 0), *padding, (0, 0)])
    outs = [(n - e) // s + 1 for n, e, s in zip(x.shape[1:-1], extents, strides)]
    found = []
    for place in itertools.product(*map(range, outs)):
        key = [slice(p * s, p * s + e, d) for p, s, e, d in zip(place, strides, extents, dilation)]
        found.append((place, x[(slice(None), *key)]))
    return outs, found


def conv(x, kernel, bias=None, groups=1, relu=False, **options):
    """The definition: each output is a sum over the cells of its window."""
    outs, found = windows(x, kernel.shape[:-2], **options)
    depth, filters = kernel.shape[-2], kernel.shape[-1] // groups
    y = np.zeros((len(x), *outs, kernel.shape[-1]), x.dtype)
    for (place, cells), g in itertools.product(found, range(groups)):
        own = slice(g * filters, (g + 1) * filters)
        part = cells[..., g * depth : (g + 1) * depth].reshape(len(x), -1)
        y[(slice(None), *place, own)] = part @ kernel[..., own].reshape(-1, filters)
    y = y if bias is None else y + bias
    return np.maximum(y, 0) if relu else y


def transpose_of(function, shape, y):
    """Return the transpose of a linear function of arrays of a shape, applied to ``y``."""
    x = np.zeros(shape)
    for i in np.ndindex(*shape):
        unit = np.zeros(shape)
        unit[i] = 1
        x[i] = np.sum(function(unit) * y)
    return x


def conv_transpose(y, kernel, bias=None, size=None, output_padding=None, relu=False, **options):
    shape = (len(y), *size, kernel.shape[-2] * options.get("groups", 1))
    x = transpose_of(lambda v: conv(v, kernel, **options), shape, y)
    x = x if bias is None else x + bias
    return np.maximum(x, 0) if relu else x


def conv_kernel_gradient(x, y, kernel_size, **options):
    depth = x.shape[-1] // options.get("groups", 1)
    shape = (*kernel_size, depth, y.shape[-1])
    return transpose_of(lambda k: conv(x, k, **options), shape, y)


def local_conv(x, kernel, kernel_size, **options):
    outs, found = windows(x, kernel_size, **options)
    y = [w.reshape(len(x), -1) @ kernel[i] for i, (_, w) in enumerate(found)]
    return np.stack(y, axis=1).reshape(len(x), *outs, -1)


def bilinear(x, factors, first, interpolation):
    """Interpolation between the centres of elements, by numpy."""
    for axis, factor in enumerate(factors, first):
        n = x.shape[axis]
        at = (np.arange(n * factor) + 0.5) / factor - 0.5
        x = np.apply_along_axis(lambda v, at=at, n=n: np.interp(at, np.arange(n), v), axis, x)
    return x


def nearest(x, factors, first=1):
    for axis, factor in enumerate(factors, first):
        x = np.repeat(x, factor, axis)
    return x


IMAGE = real(3, 5, 6, 4)
# Kernels don't begin with a 3, which stands for a batch.
CASES = [
    Case(ops.conv, [IMAGE, real(2, 3, 4, 5), real(5)], conv, loose=2),
    Case(ops.conv, [IMAGE, real(2, 3, 4, 5)], conv, label="same", loose=2, padding="same",
         strides=(1, 2)),
    Case(ops.conv, [real(3, 9, 2), real(4, 2, 3)], conv, label="causal", padding="causal",
         dilation=2),
    Case(ops.conv, [IMAGE, real(2, 2, 2, 6), real(6)], conv, label="groups", groups=2,
         padding=((1, 0), (0, 2))),
    Case(ops.conv, [IMAGE, real(1, 1, 4, 5), real(5)], conv, label="one cell", loose=2),
    Case(ops.conv, [IMAGE, real(4, 3, 1, 8)], conv, label="depthwise", groups=4, padding="same"),
    Case(ops.conv, [real(3, 3, 4, 3, 2), real(2, 2, 2, 2, 3)], conv, label="3d"),
    Case(ops.conv, [IMAGE, real(2, 3, 4, 5), real(5)], conv, smooth=False, label="relu", loose=2,
         relu=True),
    Case(ops.conv_transpose, [real(3, 2, 3, 4), real(2, 3, 2, 4), real(2)], conv_transpose,
         loose=2, strides=(2, 1), size=(4, 5)),
    Case(ops.conv_transpose, [real(3, 3, 2), real(2, 3, 2)], conv_transpose, label="same",
         strides=2, padding="same", size=(5,)),
    Case(ops.conv_transpose, [real(3, 2, 2, 4), real(2, 2, 1, 4)], conv_transpose,
         label="depthwise", groups=2, size=(3, 3)),
    Case(ops.conv_transpose, [real(3, 3, 2), real(2, 3, 2), real(3)], conv_transpose,
         label="relu", smooth=False, size=(4,), relu=True),
    Case(ops.conv_kernel_gradient, [real(3, 4, 5, 2), real(3, 2, 4, 3)], conv_kernel_gradient,
         loose=4, kernel_size=(3, 2)),
    Case(ops.conv_kernel_gradient, [real(3, 5, 4), real(3, 3, 2)], conv_kernel_gradient,
         loose=4, label="groups", kernel_size=(3,), padding="same", strides=2, groups=2),
    Case(ops.local_conv, [real(3, 4, 3, 2), real(6, 8, 3)], local_conv, loose=2,
         kernel_size=(2, 2)),
    Case(ops.local_conv, [real(3, 5, 2), real(3, 6, 3)], local_conv, label="same", loose=2,
         kernel_size=(3,), strides=2, padding="same"),
    Case(ops.upsample, [real(3, 2, 4, 2)], nearest, factors=(2, 3)),
    Case(ops.upsample, [real(3, 2, 4)], nearest, label="first", factors=(3,), first=2),
    Case(ops.upsample, [real(3, 3, 4, 2)], bilinear, label="bilinear", factors=(3, 2), first=1,
         interpolation="bilinear"),
    Case(ops.upsample, [real(3, 1, 4, 2)], bilinear, label="bilinear_one", factors=(4, 1), first=1,
         interpolation="bilinear"),
]  # fmt: skip
