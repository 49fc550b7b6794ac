"""Convolutions that cuDNN may do in place of our kernels, each of the three directions by itself.

Where it does is `gpunet.config.set_cudnn`'s to say; a convolution that the library has no fit plan
for stays with our kernels. Its kernels of filters are (F, *kernel, C / groups), ours (*kernel,
C / groups, F): they are turned around on the way, and that is part of what is timed.
"""

import functools

import numpy as np

from gpunet import config
from gpunet.fused import conv_kernels, cudnn, cudnn_plans, tuning
from gpunet.fused.conv_kernels import Geometry
from gpunet.fused.endings import done
from gpunet.fused.launch import address, assumed
from gpunet.fused.sources import source

__all__ = ["geometry"]

_ENDINGS = {"linear": [], "relu": [(np.maximum, 0.0)]}  # activations, as steps behind it
_LINE = 16  # bytes, at most, that cuDNN is told addresses are multiples of


def geometry(w, channels, filters, groups, dtype):
    """Return the `conv_kernels.Geometry` of a convolution, or one that may leave it to cuDNN.

    Raises:
        MissingPackageError: cuDNN is to be used always, and isn't there.
    """
    own = conv_kernels.geometry(w, channels, filters, groups, dtype)
    where = config.cudnn()
    if where == "never" or own.dtype not in cudnn_plans.TYPES:
        return own
    if where == "auto" and not tuning.wanted():  # without trying it's unknown which is faster
        return own
    if where == "auto" and cudnn.library() is None:
        return own
    if where == "always" and assumed() is None:
        cudnn.needed("set_cudnn('always')")
    return _either(own)


@functools.lru_cache(maxsize=1024)
def _either(own):
    return Either(own.w, own.channels, own.filters, own.groups, own.dtype, own.tensor, own.chip)


class Either(Geometry):
    """A `Geometry` whose convolutions are our kernels' or cuDNN's."""

    def told(self, words):
        if config.cudnn() == "always":
            return f"cuDNN; where it has no plan, {words}"
        return f"cuDNN or our kernels, as was found by trying; ours: {words}"

    def forward(self, xp, x, kernel, bias=None, activation="linear", before=False, steps=()):
        own = functools.partial(
            super().forward, xp, x, kernel, bias, activation, before=before, steps=steps
        )
        if before or activation not in _ENDINGS or not x.size:
            return own()
        x, kernel = xp.ascontiguousarray(x), xp.ascontiguousarray(kernel)
        bias = None if bias is None else xp.ascontiguousarray(bias)
        ending = _ending(bias, activation)
        plans = self._plans(xp, "forward", x=x, bias=bias, relu=activation == "relu")
        inside = bool(plans)
        if ending and not inside:
            plans = self._plans(xp, "forward", x=x)
        behind = [*([] if inside else ending), *steps]

        def run(plan):
            y = xp.empty((x.shape[0], *self.w.out, self.filters), x.dtype)
            _run(xp, plan, x, _filters_first(xp, kernel), y, bias if inside else None)
            return done(xp, behind, y)

        about = (x.shape[0], bias is not None, activation, _kinds(steps))
        return self._fastest("conv_forward", own, run, plans, about)

    def measured(self, xp, x, kernel, bias=None, activation="linear"):
        if config.cudnn() == "always":
            return self.forward(xp, x, kernel, bias, activation), None
        return super().measured(xp, x, kernel, bias, activation)

    def transposed(self, xp, y, kernel, bias=None, activation="linear", before=False, steps=()):
        own = functools.partial(
            super().transposed, xp, y, kernel, bias, activation, before=before, steps=steps
        )
        if before or activation not in _ENDINGS or not y.size:
            return own()
        y, kernel = xp.ascontiguousarray(y), xp.ascontiguousarray(kernel)
        behind = [*_ending(bias, activation), *steps]

        def run(plan):
            x = xp.empty((y.shape[0], *self.w.size, self.channels), y.dtype)
            _run(xp, plan, x, _filters_first(xp, kernel), y, None)
            return done(xp, behind, x)

        about = (y.shape[0], bias is not None, activation, _kinds(steps))
        plans = self._plans(xp, "transposed", y=y)
        return self._fastest("conv_transposed", own, run, plans, about)

    def kernel_gradient(self, xp, x, y):
        own = functools.partial(super().kernel_gradient, xp, x, y)
        x, y = xp.ascontiguousarray(x), xp.ascontiguousarray(y)

        def run(plan):
            found = xp.empty((self.filters, *self.w.kernel, self.depth), x.dtype)
            _run(xp, plan, x, found, y, None)
            return xp.ascontiguousarray(xp.moveaxis(found, 0, -1))

        plans = self._plans(xp, "kernel_gradient", x=x, y=y)
        return self._fastest("conv_kernel_gradient", own, run, plans, (x.shape[0],))

    def _plans(self, xp, way, x=None, y=None, bias=None, relu=False):
        """Return cuDNN's plans; arrays that aren't given will be new ones."""
        w, batch = self.w, len(y if x is None else x)
        return cudnn_plans.plans(cudnn_plans.Convolution(
            way, xp.cuda.Device().id, self.dtype, config.precision() == "strict", batch,
            self.channels, self.filters, self.groups,
            *[tuple(map(int, n)) for n in (w.size, w.out, w.kernel, w.strides, w.dilation)],
            w.pads, bias is not None, relu, (_aligned(x), _LINE, _aligned(y), _aligned(bias)),
        ))  # fmt: skip

    def _fastest(self, family, own, run, plans, about):
        """Do the work in the way that is to be taken, and return what comes of it."""
        ways = {f"cuDNN {i}": functools.partial(run, plan) for i, plan in enumerate(plans, 1)}
        if config.cudnn() == "auto" or not ways:
            ways = {"own": own, **ways}
        if len(ways) > 1 and tuning.wanted():
            version, precision = cudnn.library().cudnnGetVersion(), config.precision()
            key = tuning.key_of(self.chip, source(family), version, self, about, precision, *ways)
            return tuning.fastest(key, ways, lambda way: way())()
        return next(iter(ways.values()))()


def _run(xp, plan, x, kernel, y, bias):
    room = xp.empty(plan.workspace, "uint8") if plan.workspace else None
    pointers = [0 if a is None else address(a) for a in (x, kernel, y, bias, room)]
    plan.run(*pointers, xp.cuda.get_current_stream().ptr)


def _filters_first(xp, kernel):
    return xp.ascontiguousarray(xp.moveaxis(kernel, -1, 0))


def _ending(bias, activation):
    """Return the steps, see `endings.done`, of a bias and an activation."""
    steps = [] if bias is None else [(np.add, bias)]
    return steps + _ENDINGS[activation]


def _kinds(steps):
    """Return what the time of steps depends on."""
    return [getattr(operand, "shape", None) for _, operand in steps]


def _aligned(array):
    """Return what an array's address is a multiple of, of powers of 2; new ones are."""
    if array is None:
        return _LINE
    place = address(array)
    return min(place & -place, _LINE) if place else _LINE
