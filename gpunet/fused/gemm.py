"""Matrix products on a GPU: strided, transposed and batched ones as they lie in memory.

A product of arrays in rows is one of their transposes in columns, with the factors exchanged:
``d = a @ b`` is asked of cuBLASLt as ``dᵀ = bᵀ @ aᵀ``, which moves no element.
"""

import functools
import math

from gpunet import config, gpu
from gpunet.errors import KernelError
from gpunet.fused import cublaslt
from gpunet.fused.cublaslt import TYPES, Plan, Product
from gpunet.fused.elementwise import relu_gradient
from gpunet.fused.launch import address, assumed, chip
from gpunet.ops import linalg, products

__all__ = ["gemm", "takes"]

_LOOPS = 8  # products of a batch that are asked for one by one before its arrays are copied
_PLANS = 4096  # kept at most


def takes(xp, *arrays):
    """Return whether `gemm` multiplies arrays: they lie on a GPU and are of one float type."""
    dtype = arrays[0].dtype
    return (
        getattr(xp, "__name__", None) == "cupy"  # the recording of second derivatives has none
        and config.fused_enabled()
        and dtype.name in TYPES
        and all(a.dtype == dtype for a in arrays)
        and (assumed() or cublaslt.library() is not None)
    )


def gemm(a, b, out=None, bias=None, relu=False, sums=None, accumulate=False):
    """Return ``a @ b + bias`` over the last two axes, on the current stream.

    Nothing is allocated but the result, and arrays whose rows and columns both have gaps are
    copied; all else is read as it lies. Once a product of the same shapes, strides and options
    was asked for on a stream, asking again may be captured in a CUDA graph.

    Args:
        a: CuPy array (..., m, k).
        b: CuPy array (..., k, n) of the same float type; leading axes are broadcast.
        out: array (..., m, n) to write to, of the inputs' type, or float32 for 16-bit ones.
        bias: array (n,) of the result's type, or None.
        relu: bool, negative results become 0.
        sums: array (n,) of the result's type that gets the sums of the columns of ``b``, a (k, n)
            matrix, or None: the gradient of a bias comes with that of its kernel.
        accumulate: bool, add to ``out``.

    Returns:
        ``out``, or a new array.

    Raises:
        ValueError: shapes that don't fit.
        gpunet.errors.KernelError: cuBLASLt refuses the product.
    """
    import cupy as xp

    _check(a, b, out, bias, sums)
    if out is None and b.ndim == 2 and a.ndim > 2 and a.flags.c_contiguous:
        # One large product in place of a batch.
        rows = a.reshape((math.prod(a.shape[:-1]), a.shape[-1]))
        return gemm(rows, b, None, bias, relu, sums).reshape((*a.shape[:-1], b.shape[1]))
    lead = _broadcast(a.shape[:-2], b.shape[:-2])
    shape = (*lead, a.shape[-2], b.shape[-1])
    if out is None:
        out = xp.empty(shape, a.dtype)
    elif out.shape != shape:
        raise ValueError(f"gemm: shapes {a.shape} and {b.shape} give {shape}, out has {out.shape}")
    bias = None if bias is None else xp.ascontiguousarray(bias)
    if not out.size or not a.shape[-1]:
        _nothing_added(xp, b, out, bias, relu, sums, accumulate)
    elif _matrix(out)[:2] == (True, False):
        _multiplied(_Call(xp, a, b, out, lead), bias, relu, sums, accumulate)
    else:  # only rows can be written to; where the result lies otherwise, it's moved
        made = out.copy(order="C") if accumulate else xp.empty(shape, out.dtype)
        out[...] = gemm(a, b, made, bias, relu, sums, accumulate)
    return out


def _check(a, b, out, bias, sums):
    if a.ndim < 2 or b.ndim < 2 or a.shape[-1] != b.shape[-2]:
        raise ValueError(f"gemm: shapes {a.shape} and {b.shape} don't fit")
    if a.dtype != b.dtype or a.dtype.name not in TYPES:
        raise ValueError(f"gemm: expected two arrays of one float type, got {a.dtype}, {b.dtype}")
    result = a.dtype if out is None else out.dtype
    if result != a.dtype and (result != "float32" or a.itemsize > 2):
        raise ValueError(f"gemm: a product of {a.dtype} can't be written to {result}")
    for name, vector in (("bias", bias), ("sums", sums)):
        if vector is not None and (vector.shape, vector.dtype) != (b.shape[-1:], result):
            raise ValueError(
                f"gemm: expected {name} of shape {b.shape[-1:]} and type {result}, "
                f"got {vector.shape} of {vector.dtype}"
            )
    if sums is not None and (b.ndim != 2 or bias is not None or not sums.flags.c_contiguous):
        raise ValueError("gemm: sums are those of a matrix, in one piece, and come without bias")


def _broadcast(a, b):
    longest = max(len(a), len(b))
    a, b = ((1,) * (longest - len(s)) + tuple(s) for s in (a, b))
    if any(x != y and 1 not in (x, y) for x, y in zip(a, b)):
        raise ValueError(f"gemm: leading axes {a} and {b} can't be broadcast")
    return tuple([y if x == 1 else x for x, y in zip(a, b)])


def _multiplied(call, bias, relu, sums, accumulate):
    """Do a product and what follows it, in one call of the library where it can."""
    if sums is not None:
        epilogue, vector = "sums_of_a", sums
    else:
        names = [name for name, given in (("relu", relu), ("bias", bias is not None)) if given]
        epilogue, vector = "_".join(names) or "none", bias
    if (sums is None or not relu) and call.run(epilogue, vector, accumulate):
        return
    if not call.run("none", None, accumulate):
        raise KernelError(
            f"gemm: cuBLASLt has no algorithm for {call.a[0].shape} @ {call.b[0].shape} of "
            f"{call.a[0].dtype} to {call.out.dtype}"
        )
    _finish(call.xp, call.b[0], call.out, bias, relu, sums)


def _nothing_added(xp, b, out, bias, relu, sums, accumulate):
    """Do a product without elements, or one in which nothing is added up."""
    if not accumulate:
        out[...] = 0
    _finish(xp, b, out, bias, relu, sums)


def _finish(xp, b, out, bias, relu, sums):
    if sums is not None:
        xp.sum(b, axis=0, out=sums)
    if bias is not None:
        out += bias
    if relu:
        xp.maximum(out, 0, out=out)


def _matrix(a):
    """Return (whether the matrices can be read as they lie, whether by columns, leading size)."""
    rows, columns = a.shape[-2:]
    size, strides = a.itemsize, a.strides
    if not any(s % size or s < 0 for s in strides):
        down, across = strides[-2] // size, strides[-1] // size
        if (across == 1 or columns == 1) and (down >= columns or rows == 1):
            return True, False, down if rows > 1 else columns
        if (down == 1 or rows == 1) and (across >= rows or columns == 1):
            return True, True, across if columns > 1 else rows
    return False, False, columns


def _readable(xp, a):
    """Return (a, whether by columns, leading size); ``a`` is a copy where it has to be."""
    fits, turned, leading = _matrix(a)
    return (a if fits else xp.ascontiguousarray(a)), turned, leading


def _aligned(value):
    """Return the power of 2, up to 256, that a number is a multiple of."""
    return min(value & -value, 256) if value else 256


class _Call:
    """One call of `gemm` on arrays in which there's something to do."""

    def __init__(self, xp, a, b, out, lead):
        self.xp, self.out = xp, out
        self.a, self.b = _readable(xp, a), _readable(xp, b)
        self.axes = self._merged(lead)
        if math.prod([n for n, _ in self.axes[:-1]]) > _LOOPS:
            a, b = (xp.broadcast_to(x, (*lead, *x.shape[-2:])) for x in (a, b))
            self.a, self.b = (_readable(xp, xp.ascontiguousarray(x)) for x in (a, b))
            self.axes = self._merged(lead)

    def _merged(self, lead):
        """Return the leading axes as (size, strides of b, a and out), the longest at the end.

        Those that follow each other evenly in all three arrays become one.
        """
        axes = []
        for i, n in enumerate(lead, -len(lead) - 2):
            if n == 1:
                continue
            strides = tuple([
                x.strides[i] // x.itemsize if x.ndim >= -i and x.shape[i] > 1 else 0
                for x in (self.b[0], self.a[0], self.out)
            ])  # fmt: skip
            if axes and all(outer == n * s for outer, s in zip(axes[-1][1], strides)):
                axes[-1] = (axes[-1][0] * n, strides)
            else:
                axes.append((n, strides))
        return sorted(axes, key=lambda axis: axis[0])

    def run(self, epilogue, vector, accumulate):
        """Enqueue the products; return False if the library can't do them."""
        (a, a_turned, a_leading), (b, b_turned, b_leading) = self.a, self.b
        out = self.out
        *loops, (batch, strides) = self.axes or [(1, (0, 0, 0))]
        offsets = [(0, 0, 0)]
        for n, steps in loops:
            offsets = [
                tuple([o + i * s for o, s in zip(at, steps)]) for at in offsets for i in range(n)
            ]
        sizes = (b.itemsize, a.itemsize, out.itemsize)
        places = [
            [start + o * size for start, o, size in zip(map(address, (b, a, out)), at, sizes)]
            for at in offsets
        ]
        at = 0 if vector is None else address(vector)
        device = self.xp.cuda.Device().id
        size = _workspace_size(chip().capability)
        product = Product(
            device, out.shape[-1], out.shape[-2], a.shape[-1],
            (b.dtype.name, a.dtype.name, out.dtype.name), _compute(a.dtype.name),
            (b_turned, a_turned), (b_leading, a_leading, _matrix(out)[2]),
            batch, strides, epilogue, accumulate,
            (*[min(map(_aligned, same)) for same in zip(*places)], at and _aligned(at)), size,
        )  # fmt: skip
        plan = _plan(product)
        if not plan.supported:
            return False
        stream, owner = _stream_and_owner(self.xp, device)
        workspace = _workspace(device, owner, size).ptr
        for place in places:
            plan.run(*place, at, workspace, stream)
        return True


_plan = functools.lru_cache(_PLANS)(Plan)


def _compute(dtype):
    """Return how products of a type are computed: a key of `cublaslt.COMPUTE`."""
    if dtype != "float32":
        return "float64" if dtype == "float64" else "float32"
    return "tf32" if config.precision() == "tf32" and chip().capability >= 80 else "float32"


def _workspace_size(capability):
    return 32 << 20 if capability >= 90 else 4 << 20


def _stream_and_owner(xp, device):
    """Return the addresses of the current stream and of the one that the work will run on.

    A graph is captured on a stream where nothing runs, and launched on gpunet's own.
    """
    stream = xp.cuda.get_current_stream()
    return stream.ptr, gpu.home_stream(device) if stream.is_capturing() else stream.ptr


@functools.cache
def _workspace(device, stream, size):
    """Return memory for the products of a stream, which come one after the other.

    It is never let go, since recorded graphs know its address, and belongs to no pool.
    """
    import cupy

    return cupy.cuda.Memory(size)


# -- the ops ------------------------------------------------------------------------------


def _product(xp, a, b, out):
    """Multiply in place of ``xp.matmul`` where `gemm` can; see `gpunet.ops.products.product`."""
    if not takes(xp, a, b) or (out is not None and out.dtype != a.dtype):
        return None
    if a.ndim > 1 and b.ndim > 1:
        return gemm(a, b, out)
    if out is not None or not a.ndim or not b.ndim:
        return None
    y = gemm(a if a.ndim > 1 else a[None], b if b.ndim > 1 else b[:, None])
    y = y if b.ndim > 1 else y[..., 0]
    return y if a.ndim > 1 else y[..., 0, :] if b.ndim > 1 else y[..., 0]


products.on_gpu = _product


def _dense_fits(xp, x, kernel, bias=None, /, relu=False):
    return takes(xp, x, kernel, *([] if bias is None else [bias]))


@linalg.dense.fused(when=_dense_fits)
def dense_fused(xp, x, kernel, bias=None, /, relu=False):
    rows = x if x.ndim == 2 else x.reshape((math.prod(x.shape[:-1]), x.shape[-1]))
    y = gemm(rows, kernel, bias=bias, relu=relu)
    saved = (rows, kernel, x.shape, y if relu else None)
    return y.reshape((*x.shape[:-1], kernel.shape[1])), saved


@dense_fused.explained
def dense_words(xp, x, kernel, bias=None, /, relu=False):
    names = [name for name, given in (("bias", bias is not None), ("ReLU", relu)) if given]
    more = f", {' and '.join(names)} in the same call" if names else ""
    return f"cuBLASLt in {_compute(x.dtype.name)}{more}; two products back"


@dense_fused.backward
def dense_fused_backward(xp, saved, gy, needs):
    rows, kernel, shape, y = saved
    gy = gy.reshape((rows.shape[0], kernel.shape[1]))
    if y is not None:
        gy = relu_gradient(xp, y, gy)
    gx = gemm(gy, kernel.T).reshape(shape) if needs[0] else None
    gkernel = gbias = None
    if len(needs) > 2 and needs[2]:
        gbias = xp.empty(gy.shape[1:], gy.dtype) if needs[1] else gy.sum(axis=0)
    if needs[1]:
        gkernel = gemm(rows.T, gy, sums=gbias)
    return gx, gkernel, gbias
