"""The convolution kernels' launches: one geometry, forward and both gradients."""

import dataclasses
import functools
import math

from gpunet import config
from gpunet.fused import tiles, tuning
from gpunet.fused.elementwise import ACTIVATIONS, FLOATS
from gpunet.fused.endings import Ending, done, in_one_piece
from gpunet.fused.launch import chip, launch, launch_elementwise
from gpunet.fused.sources import source

__all__ = ["Geometry", "ending_backward", "geometry"]

_FEW = 4  # channels, at most, that conv_few.cu takes, and bytes of its kernel
_FEW_BYTES = 48 << 10
_MULTIPLIER = 4  # filters for each channel, at most, that conv_depthwise.cu takes
_WAVES = 16  # blocks for each multiprocessor where threads take several turns
_BLOCKS = 264  # that share a kernel's gradient, if large: two for each multiprocessor of an H200
_SPLIT = 256  # windows that each of them adds up at least
_PARTS = 128  # of the rows of a gradient, at most, that a bias's gradient is made from
_PART = 64  # rows of a part, at least


@dataclasses.dataclass(frozen=True)
class Geometry:
    """One convolution from C to F channels, for which the sources are compiled.

    Attributes:
        w: `gpunet.ops.window.Window`.
        channels, filters, groups: ints.
        dtype: str, of the arrays.
        tensor: bool, tensor cores multiply.
        chip: `gpunet.fused.launch.Chip`.
    """

    w: object
    channels: int
    filters: int
    groups: int
    dtype: str
    tensor: bool
    chip: object

    @property
    def depth(self):
        """int, channels of a group."""
        return self.channels // self.groups

    @property
    def width(self):
        """int, filters of a group."""
        return self.filters // self.groups

    @property
    def size(self):
        """int, bytes of an element."""
        return {"float64": 8, "float32": 4}.get(self.dtype, 2)

    @property
    def depthwise(self):
        """bool, `conv_depthwise.cu` does all."""
        return self.groups == self.channels > 1 and self.width <= _MULTIPLIER

    @property
    def few(self):
        """bool, `conv_few.cu` does the convolution."""
        bytes_of_sums = {"float64": 8}.get(self.dtype, 4)
        kernel = math.prod(self.w.kernel) * self.channels * (-(-self.filters // 4) * 4)
        return self.groups == 1 and self.channels <= _FEW and kernel * bytes_of_sums <= _FEW_BYTES

    @functools.cached_property
    def defines(self):
        """dict, what all kernels of this geometry are compiled for."""
        real, narrow = FLOATS[self.dtype]
        found = {"REAL": real, "NARROW": narrow, "ACTIVATION": ACTIVATIONS["linear"]}
        found |= {"SPLITS": 1, "MEASURED": 0}
        found |= {"CHANNELS": self.channels, "FILTERS": self.filters, "GROUPS": self.groups}
        w, missing = self.w, 3 - self.w.rank
        for name, values, other in (
            ("SIZE", w.size, 1), ("OUT", w.out, 1), ("KERNEL", w.kernel, 1),
            ("STRIDE", w.strides, 1), ("DILATION", w.dilation, 1),
            ("PAD", [before for before, _ in w.pads], 0),
        ):  # fmt: skip
            for i, value in enumerate([other] * missing + [int(v) for v in values]):
                found[f"{name}{i}"] = value
        return found

    # -- products -------------------------------------------------------------------------

    def forward_product(self, batch, x=None, kernel=None):
        """Return the `tiles.Product` of `forward`; without arrays, of aligned ones."""
        rows, depth = batch * math.prod(self.w.out), math.prod(self.w.kernel) * self.depth
        return self._product(rows, self.width, depth, self.groups, True, False,
                             (self.depth, x), (self.width, kernel))  # fmt: skip

    def transposed_product(self, batch, y=None, kernel=None):
        """Return the `tiles.Product` of `transposed`: that of its largest class of positions."""
        w, classes = self.w, math.prod(self.w.strides)
        rows = batch * math.prod([-(-n // s) for n, s in zip(w.size, w.strides)])
        depth = math.prod([-(-k // s) for k, s in zip(w.kernel, w.strides)]) * self.width
        return self._product(rows, self.depth, depth, self.groups * classes, True, True,
                             (self.width, y), (self.width, kernel))  # fmt: skip

    def gradient_product(self, batch, x=None, y=None):
        """Return the `tiles.Product` of `kernel_gradient`, and the number of its splits.

        The splits are a function of shapes alone, so that sums are the same on every chip.
        """
        windows, rows = batch * math.prod(self.w.out), math.prod(self.w.kernel) * self.depth
        cut = -(-rows // 192) * -(-self.width // 64) * self.groups
        splits = max(1, min(_BLOCKS // cut, windows // _SPLIT))
        product = self._product(rows, self.width, -(-windows // splits), self.groups * splits,
                                False, False, (self.depth, x), (self.width, y))  # fmt: skip
        return product, splits

    def _product(self, rows, columns, depth, count, left_deep, right_deep, left, right):
        vectors = [
            tiles.vector(n, a, self.size) if a is not None else math.gcd(16 // self.size, n)
            for n, a in (left, right)
        ]
        return tiles.Product(rows, columns, depth, count, self.size, self.tensor,
                             left_deep, right_deep, *vectors)  # fmt: skip

    def told(self, words):
        """Return what `gpunet.explain` says of an op, given what its kernels are."""
        return words

    def words(self, product):
        """Return how a product is made, for `gpunet.explain`."""
        parts = tiles.splits(product, self.chip) if product.left_deep else 1
        tile = tiles.chosen(product.split(parts), self.chip)
        cores = {2: "16 bits", 4: "tf32"}.get(self.size)
        how = f"tensor cores ({cores})" if self.tensor else "no tensor cores"
        words = f"kernel of {tile}, {how}, {tile.stages(self.chip)} stages"
        return words + (f", {parts} parts of the depth" if parts > 1 else "")

    # -- launches -------------------------------------------------------------------------

    def forward(self, xp, x, kernel, bias=None, activation="linear", before=False, steps=()):
        """Return the convolution and, with ``before``, what went into its activation.

        Args:
            steps: list of pairs (function, operand) that come last, see `Ending`.
        """
        y, z, _ = self._ended(xp, self._forward, x, kernel, self.w.out, self.filters, bias,
                              activation, before, steps)  # fmt: skip
        return (y, z) if before else y

    def measured(self, xp, x, kernel, bias=None, activation="linear"):
        """Return the convolution and its moments [parts, 3, filters], see `conv_forward.cu`.

        They are None where another kernel than that for tiles does the convolution.
        """
        y, _, moments = self._ended(xp, self._forward, x, kernel, self.w.out, self.filters, bias,
                                    activation, False, (), True)  # fmt: skip
        return y, moments

    def transposed(self, xp, y, kernel, bias=None, activation="linear", before=False, steps=()):
        """Return the transposed convolution of ``y``; see `forward`."""
        x, z, _ = self._ended(xp, self._transposed, y, kernel, self.w.size, self.channels, bias,
                              activation, before, steps)  # fmt: skip
        return (x, z) if before else x

    def _ended(self, xp, work, x, kernel, size, channels, bias, activation, before, steps,
               measured=False):  # fmt: skip
        """Return (result, input of the activation or None, moments or None)."""
        x, kernel = xp.ascontiguousarray(x), xp.ascontiguousarray(kernel)
        shape = (x.shape[0], *size, channels)
        y, z = xp.empty(shape, x.dtype), xp.empty(shape, x.dtype) if before else None
        bias = None if bias is None else xp.ascontiguousarray(bias)
        ending = Ending(bias, activation, z, in_one_piece(xp, steps), y)
        moments = work(xp, x, kernel, ending, y, measured) if y.size else None
        return done(xp, ending.rest, y), z, moments

    def _forward(self, xp, x, kernel, ending, y, measured):
        windows = y.size // self.filters
        if self.depthwise:
            jobs = -(-windows // 4) * self.filters
            return self._direct("conv_depthwise", "depthwise_forward", jobs, x, kernel, ending, y)
        if self.few:
            jobs = -(-windows // 4) * -(-self.filters // 4)
            return self._direct("conv_few", "conv_few", jobs, x, kernel, ending, y)
        product = self.forward_product(x.shape[0], x, kernel)
        return self._multiply(xp, "conv_forward", product, x, kernel, ending, y, measured)

    def _transposed(self, xp, y, kernel, ending, x, measured):
        if self.depthwise:
            name = "depthwise_transposed"
            return self._direct("conv_depthwise", name, x.size, y, kernel, ending, x)
        product = self.transposed_product(y.shape[0], y, kernel)
        return self._multiply(xp, "conv_transposed", product, y, kernel, ending, x, False)

    def kernel_gradient(self, xp, x, y):
        """Return the gradient of the kernel for the input ``x`` and the result's gradient."""
        x, y = xp.ascontiguousarray(x), xp.ascontiguousarray(y)
        product, splits = self.gradient_product(x.shape[0], x, y)
        across, deep = -(-self.filters // 32), -(-math.prod(self.w.kernel) // 16)
        if self.depthwise:
            windows = x.shape[0] * math.prod(self.w.out)
            splits = max(1, min(4 * _BLOCKS // (across * deep), windows // _PART))
        shape = (*self.w.kernel, self.depth, self.filters)
        partial = xp.empty((splits, *shape), _sums(x.dtype))
        args = [x, y, partial, splits, x.shape[0]]
        if self.depthwise:
            launch(source("conv_depthwise"), "depthwise_kernel_gradient", (across, splits, deep),
                   (32, 8), args, self.defines)  # fmt: skip
        else:
            text = source("conv_kernel_gradient")
            self._launch(text, "conv_kernel_gradient", product, lambda tile: args, self.defines)
        return joined(xp, partial, x.dtype)

    def _direct(self, family, name, jobs, x, kernel, ending, y):
        """Run a kernel whose threads share out jobs."""
        blocks = min(-(-jobs // 256), _WAVES * self.chip.blocks)
        args = [x, kernel, *ending.arguments, y, x.shape[0]]
        text, defines = ending.text + source(family), {**self.defines, **ending.defines}
        launch(text, name, (blocks,), (256,), args, defines)

    def _multiply(self, xp, name, product, x, kernel, ending, y, measured):
        """Run a kernel of tiles, and what joins its parts; return moments, if it makes some."""
        parts = tiles.splits(product, self.chip)
        product, measured = product.split(parts), measured and parts == 1
        sums, channels = _sums(y.dtype), y.shape[-1]
        aside = xp.empty((parts, *y.shape), sums) if parts > 1 else None

        def arguments(tile):
            nonlocal aside
            if measured:
                aside = xp.empty((tile.grid(product)[0], 3, channels), sums)
            return [x, kernel, *ending.arguments, y, aside, x.shape[0]]

        defines = {**self.defines, **ending.defines, "SPLITS": parts, "MEASURED": int(measured)}
        self._launch(ending.text + source(name), name, product, arguments, defines)
        if parts > 1:
            args = [aside, *ending.arguments, y, parts, channels]
            defines = {**_loose(y.dtype), **ending.defines}
            text = ending.text + source("splits")
            launch_elementwise(text, "splits_ended", y.size, args, None, defines)
        return aside if measured else None

    def _launch(self, text, name, product, arguments, defines):
        """Run a kernel of tiles on the arguments for the tile that is chosen."""

        def run(tile):
            launch(text, name, tile.grid(product), (tile.threads,), arguments(tile),
                   {**defines, **tile.defines(product, self.chip)},
                   shared=tile.shared(product, self.chip))  # fmt: skip

        if tuning.wanted():
            ways = {str(tile): tile for tile in tiles.candidates(product, self.chip)}
            key = tuning.key_of(self.chip, text, product, sorted(defines.items()))
            run(tuning.fastest(key, ways, run))
        else:
            run(tiles.chosen(product, self.chip))


def geometry(w, channels, filters, groups, dtype):
    """Return the `Geometry` of a convolution on CuPy's current device.

    Args:
        w: `gpunet.ops.window.Window`.
        channels, filters, groups: ints.
        dtype: numpy.dtype of the arrays.
    """
    here, size = chip(), dtype.itemsize
    tensor = here.capability >= 80 and (size == 2 or (size == 4 and config.precision() == "tf32"))
    return _geometry(w, channels, filters, groups, dtype.name, tensor, here)


_geometry = functools.lru_cache(maxsize=1024)(Geometry)


def _sums(dtype):
    """Return the dtype in which sums of a dtype are kept."""
    return "float64" if FLOATS[dtype.name][0] == "double" else "float32"


def _loose(dtype, activation="linear"):
    real, narrow = FLOATS[dtype.name]
    return {"REAL": real, "NARROW": narrow, "ACTIVATION": ACTIVATIONS[activation]}


def joined(xp, partial, dtype):
    """Return the sum of ``partial`` over its first axis, added up in its order."""
    if len(partial) == 1 and partial.dtype == dtype:
        return partial[0]
    total = xp.empty(partial.shape[1:], dtype)
    args = [partial, total, len(partial), total.size]
    launch(source("splits"), "splits_joined", (-(-total.size // 32),), (32, 8), args, _loose(dtype))
    return total


def ending_backward(xp, gy, y, activation, biased):
    """Return the gradients before a result's activation, and of the bias below it if wanted.

    Args:
        xp: CuPy.
        gy: array, gradient of the result.
        y: array, the result; for swish what went into it; None without an activation.
        activation: str, a key of `ACTIVATIONS`.
        biased: bool, whether the gradient of the bias is wanted.
    """
    if y is None and not biased:
        return gy, None
    gy = xp.ascontiguousarray(gy)
    columns = gy.shape[-1]
    rows = gy.size // columns
    parts = max(1, min(_PARTS, rows // _PART))
    gz = xp.empty(gy.shape, gy.dtype) if y is not None else None
    partial = xp.empty((parts, columns), _sums(gy.dtype)) if biased else None
    args = [gy, y, gz, partial, rows, columns]
    launch(source("splits"), "ending_backward", (-(-columns // 32), parts), (32, 8), args,
           _loose(gy.dtype, activation))  # fmt: skip
    return gy if gz is None else gz, joined(xp, partial, gy.dtype) if biased else None
