"""Compiling kernels when they are first needed, and running them."""

import dataclasses
import functools

import numpy as np

from gpunet.fused.sources import source

__all__ = ["REALS", "Chip", "chip", "launch", "launch_elementwise"]

# dtype of a kernel's float arrays -> its name in CUDA
REALS = {"float32": "float", "float64": "double"}

_THREADS = 256  # of a block
_BLOCKS = 4096  # at most: several times what any GPU holds at once, threads then take several turns
_NULL = np.uint64(0)  # as a pointer
_SHARED = 48 << 10  # bytes of dynamic shared memory that a kernel may have without being told


@dataclasses.dataclass(frozen=True)
class Chip:
    """What the layout of kernels depends on.

    Attributes:
        capability: int, such as 90.
        blocks: int, number of multiprocessors: that many large blocks run at once.
        shared: int, bytes of shared memory that a block can ask for.
    """

    capability: int
    blocks: int
    shared: int


def chip():
    """Return the Chip of CuPy's current device."""
    import cupy

    return _chip(cupy.cuda.Device().id)


@functools.cache
def _chip(number):
    import cupy

    device = cupy.cuda.Device(number)
    known = device.attributes
    return Chip(
        int(device.compute_capability),
        known["MultiProcessorCount"],
        known["MaxSharedMemoryPerBlockOptin"],
    )


@functools.cache
def _module(family, defines, together):
    """Return the compiled kernels of a source for one set of definitions."""
    import cupy

    options = tuple([f"-D{name}={value}" for name, value in defines])
    return cupy.RawModule(code=source(family), options=options, enable_cooperative_groups=together)


@functools.cache
def _kernel(family, name, defines, together):
    return _module(family, defines, together).get_function(name)


def launch(family, name, grid, block, args, defines, shared=0, together=False):
    """Run a kernel.

    Args:
        family: str, name of the source in ``kernels/``.
        name: str, name of the kernel.
        grid, block: tuples of ints, numbers of blocks and of threads.
        args: list of CuPy arrays in one piece, None for a null pointer, ints for 64 bits, and
            NumPy scalars.
        defines: dict, what the source is compiled for.
        shared: int, bytes of dynamic shared memory.
        together: bool, all blocks run at once and may wait for each other.

    Raises:
        ValueError: a strided array.
    """
    for a in args:
        if hasattr(a, "flags") and not a.flags.c_contiguous:
            raise ValueError(f"kernel {name!r}: expected arrays in one piece, got a strided one")
    kernel = _kernel(family, name, tuple(sorted(defines.items())), together)
    if shared > _SHARED and kernel.max_dynamic_shared_size_bytes < shared:
        kernel.max_dynamic_shared_size_bytes = shared
    given = tuple([_NULL if a is None else a for a in args])
    kernel(grid, block, given, shared_mem=shared)


def launch_elementwise(family, name, *arrays):
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
    if last.size:
        blocks = min(-(-last.size // _THREADS), _BLOCKS)
        defines = {"REAL": REALS[last.dtype.name]}
        launch(family, name, (blocks,), (_THREADS,), [*arrays, last.size], defines)
