"""Fused convolution and its gradients: windows are gathered on the way into matrix products."""

import math

from gpunet import config
from gpunet.fused.launch import REALS, chip, launch, launch_elementwise
from gpunet.fused.sources import source
from gpunet.ops import convolution
from gpunet.ops.convolution import bias_gradient, checked, transposed
from gpunet.ops.window import window

__all__ = []

_THREADS, _TILE = 256, 64
_SPLIT = 512  # windows that a block adds up at least, in a gradient of the kernel
_SPLITS = 64  # at most; a function of shapes alone, so that sums are the same on every chip


def _fits(xp, a, b, *_, **__):
    return (
        xp.__name__ == "cupy"
        and a.dtype == b.dtype
        and a.dtype.name in REALS
        and 3 <= a.ndim <= 5
        and a.size > 0
        and b.size > 0
    )


class _Geometry:
    """One convolution from C to F channels, for which the source is compiled.

    Args:
        xp: CuPy.
        w: `gpunet.ops.window.Window`.
        channels, filters, groups: ints.
        dtype: numpy.dtype.
    """

    def __init__(self, xp, w, channels, filters, groups, dtype):
        self.xp, self.w, self.groups, self.dtype = xp, w, groups, dtype
        self.channels, self.filters = channels, filters
        tensor_cores = config.precision() == "tf32" and dtype.itemsize == 4
        self.defines = {
            "REAL": REALS[dtype.name],
            "TF32": int(tensor_cores and chip().capability >= 80),
            "CHANNELS": channels,
            "FILTERS": filters,
            "GROUPS": groups,
        }
        missing = 3 - w.rank
        for name, values, other in (
            ("SIZE", w.size, 1), ("OUT", w.out, 1), ("KERNEL", w.kernel, 1),
            ("STRIDE", w.strides, 1), ("DILATION", w.dilation, 1),
            ("PAD", [before for before, _ in w.pads], 0),
        ):  # fmt: skip
            for i, value in enumerate([other] * missing + [int(v) for v in values]):
                self.defines[f"{name}{i}"] = value

    def _launch(self, name, rows, columns, deep, args):
        grid = (-(-rows // _TILE), -(-columns // _TILE), deep)
        launch(source("conv"), name, grid, (_THREADS,), args, self.defines)

    def forward(self, x, kernel, bias=None, relu=False, live=None):
        """Return the convolution; ``x`` counts as 0 where ``live`` isn't above 0."""
        batch = x.shape[0]
        y = self.xp.empty((batch, *self.w.out, self.filters), self.dtype)
        rows = batch * math.prod(self.w.out)
        args = [*self._pieces(x, live, kernel, bias), y, int(relu), batch]
        if rows:
            self._launch("conv_forward", rows, self.filters // self.groups, self.groups, args)
        return y

    def transposed(self, y, kernel, bias=None, relu=False, live=None):
        """Return the transposed convolution of ``y``; see `forward`."""
        batch = y.shape[0]
        x = self.xp.empty((batch, *self.w.size, self.channels), self.dtype)
        rows = batch * math.prod(self.w.size)
        args = [*self._pieces(y, live, kernel, bias), x, int(relu), batch]
        if rows:
            self._launch("conv_transposed", rows, self.channels // self.groups, self.groups, args)
        return x

    def kernel_gradient(self, x, y, live_x=None, live_y=None):
        """Return the gradient of the kernel for the input ``x`` and the result's gradient."""
        batch, depth = x.shape[0], self.channels // self.groups
        shape = (*self.w.kernel, depth, self.filters)
        splits = max(1, min(_SPLITS, batch * math.prod(self.w.out) // _SPLIT))
        partial = self.xp.empty((splits, *shape), self.dtype)
        rows, columns = math.prod(self.w.kernel) * depth, self.filters // self.groups
        args = [*self._pieces(x, live_x, y, live_y), partial, splits, batch]
        self._launch("conv_kernel_gradient", rows, columns, self.groups * splits, args)
        if splits == 1:
            return partial[0]
        joined = self.xp.empty(shape, self.dtype)
        launch_elementwise(
            source("conv"), "splits_joined", joined.size, [partial, joined, splits], self.dtype,
            self.defines,
        )  # fmt: skip
        return joined

    def _pieces(self, *arrays):
        return [None if a is None else self.xp.ascontiguousarray(a) for a in arrays]


def _live(gy, y):
    return gy if y is None else gy * (y > 0)


@convolution.conv.fused(when=_fits)
def conv_fused(
    xp, x, kernel, bias=None, /, strides=1, padding="valid", dilation=1, groups=1, relu=False
):
    checked("conv", x.shape, kernel.shape, kernel.shape[-2] * groups)
    w = window(x.shape[1:-1], kernel.shape[:-2], strides, padding, dilation)
    g = _Geometry(xp, w, x.shape[-1], kernel.shape[-1], groups, x.dtype)
    y = g.forward(x, kernel, bias, relu)
    return y, (x, kernel, y if relu else None, g)


@conv_fused.backward
def conv_fused_backward(xp, saved, gy, needs):
    x, kernel, y, g = saved
    gx = g.transposed(gy, kernel, live=y) if needs[0] else None
    gk = g.kernel_gradient(x, gy, live_y=y) if needs[1] else None
    gb = bias_gradient(_live(gy, y)) if len(needs) > 2 and needs[2] else None
    return gx, gk, gb


@convolution.conv_transpose.fused(when=_fits)
def conv_transpose_fused(
    xp, y, kernel, bias=None, /, strides=1, padding="valid", dilation=1, groups=1, relu=False,
    size=None, output_padding=None,
):  # fmt: skip
    checked("conv_transpose", y.shape, kernel.shape, kernel.shape[-1])
    options = {"strides": strides, "padding": padding, "dilation": dilation}
    w = transposed(y.shape, kernel.shape, options, size, output_padding)
    g = _Geometry(xp, w, kernel.shape[-2] * groups, kernel.shape[-1], groups, y.dtype)
    x = g.transposed(y, kernel, bias, relu)
    return x, (y, kernel, x if relu else None, g)


@conv_transpose_fused.backward
def conv_transpose_fused_backward(xp, saved, gx, needs):
    y, kernel, x, g = saved
    gy = g.forward(gx, kernel, live=x) if needs[0] else None
    gk = g.kernel_gradient(gx, y, live_x=x) if needs[1] else None
    gb = bias_gradient(_live(gx, x)) if len(needs) > 2 and needs[2] else None
    return gy, gk, gb


@convolution.conv_kernel_gradient.fused(when=_fits)
def conv_kernel_gradient_fused(
    xp, x, y, /, kernel_size, strides=1, padding="valid", dilation=1, groups=1
):
    w = window(x.shape[1:-1], kernel_size, strides, padding, dilation)
    g = _Geometry(xp, w, x.shape[-1], y.shape[-1], groups, x.dtype)
    return g.kernel_gradient(x, y), (x, y, g)


@conv_kernel_gradient_fused.backward
def conv_kernel_gradient_fused_backward(xp, saved, gk, needs):
    x, y, g = saved
    return (
        g.transposed(y, gk) if needs[0] else None,
        g.forward(x, gk) if needs[1] else None,
    )
