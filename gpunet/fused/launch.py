"""Compiling kernels when they are first needed, and running them."""

import functools

from gpunet.fused.sources import source

__all__ = ["REALS", "launch"]

# dtype of a kernel's float arrays -> its name in CUDA
REALS = {"float32": "float", "float64": "double"}

_THREADS = 256  # of a block
_BLOCKS = 4096  # at most: several times what any GPU holds at once, threads then take several turns


@functools.cache
def _module(family, real):
    """Return the compiled kernels of a source for one float type."""
    import cupy

    return cupy.RawModule(code=source(family), options=(f"-DREAL={real}",))


@functools.cache
def _kernel(family, name, real):
    return _module(family, real).get_function(name)


def launch(family, name, *arrays):
    """Run an elementwise kernel: one thread for one element of the last array.

    Args:
        family: str, name of the source in ``kernels/``.
        name: str, name of the kernel.
        *arrays: CuPy arrays in one piece and of one float type; the kernel's arguments before
            the number of elements.

    Raises:
        ValueError: an array that the kernel can't read: strided, or of another size or type.
    """
    last = arrays[-1]
    for a in arrays:
        if not a.flags.c_contiguous or a.size != last.size or a.dtype != last.dtype:
            raise ValueError(
                f"kernel {name!r}: expected arrays in one piece, of {last.size} elements and "
                f"{last.dtype}; got {a.size} elements of {a.dtype}"
                + ("" if a.flags.c_contiguous else ", strided")
            )
    if not last.size:
        return
    kernel = _kernel(family, name, REALS[last.dtype.name])
    blocks = min(-(-last.size // _THREADS), _BLOCKS)
    kernel((blocks,), (_THREADS,), (*arrays, last.size))
