"""Compiling kernels when they are first needed, and running them."""

import contextlib
import dataclasses
import functools
from contextvars import ContextVar

import numpy as np

__all__ = [
    "CHIPS",
    "REALS",
    "Chip",
    "address",
    "as_on",
    "assumed",
    "chip",
    "launch",
    "launch_elementwise",
]

# dtype of a kernel's float arrays -> its name in CUDA
REALS = {"float32": "float", "float64": "double"}

_THREADS = 256  # of a block
_BLOCKS = 4096  # at most: several times what any GPU holds at once, threads then take several turns
_NULL = np.uint64(0)  # as a pointer
_SHARED = 48 << 10  # bytes of dynamic shared memory that a kernel may have without being told
_CLUSTER = 8  # blocks of a cluster that it may have without being told
_LARGE_CLUSTERS = 14  # CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED


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


# Well-known chips by name.
CHIPS = {
    "t4": Chip(75, 40, 64 << 10),
    "a100": Chip(80, 108, 163 << 10),
    "a10": Chip(86, 72, 99 << 10),
    "rtx3090": Chip(86, 82, 99 << 10),
    "l4": Chip(89, 58, 99 << 10),
    "rtx4090": Chip(89, 128, 99 << 10),
    "h100": Chip(90, 132, 227 << 10),
    "h200": Chip(90, 132, 227 << 10),
}

_assumed = ContextVar("gpunet_chip", default=None)


@contextlib.contextmanager
def as_on(chip):
    """Return a context in which layouts are chosen for a Chip that needn't be there."""
    token = _assumed.set(chip)
    try:
        yield
    finally:
        _assumed.reset(token)


def assumed():
    """Return the Chip of `as_on`, or None outside of it."""
    return _assumed.get()


def chip():
    """Return the Chip of CuPy's current device."""
    if assumed() is not None:
        return assumed()
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


def address(array):
    """Return where an array's first element lies on the GPU, as an int."""
    return array.data.ptr


@functools.cache
def _module(text, defines, together):
    """Return the compiled kernels of a source for one set of definitions."""
    import cupy

    options = tuple([f"-D{name}={value}" for name, value in defines])
    return cupy.RawModule(code=text, options=options, enable_cooperative_groups=together)


@functools.cache
def _kernel(text, name, defines, together):
    kernel = _module(text, defines, together).get_function(name)
    if dict(defines).get("CLUSTER", 1) > _CLUSTER:
        import cupy

        cupy.cuda.driver.funcSetAttribute(kernel.kernel.ptr, _LARGE_CLUSTERS, 1)
    return kernel


def launch(text, name, grid, block, args, defines, shared=0, together=False):
    """Run a kernel.

    Args:
        text: str, from `gpunet.fused.sources`.
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
    kernel = _kernel(text, name, tuple(sorted(defines.items())), together)
    if shared > _SHARED and kernel.max_dynamic_shared_size_bytes < shared:
        kernel.max_dynamic_shared_size_bytes = shared
    given = tuple([_NULL if a is None else a for a in args])
    kernel(grid, block, given, shared_mem=shared)


def launch_elementwise(text, name, n, args, dtype, defines=None):
    """Run a kernel whose threads share out n elements.

    Args:
        text, name, args: as for `launch`; the number of elements comes behind the arguments.
        n: int.
        dtype: numpy.dtype of the kernel's float arrays; None for a kernel of any.
        defines: dict, what the source is compiled for besides REAL, if more.

    Raises:
        ValueError: arrays that the kernel can't read: strided, or of another type.
    """
    wrong = [a.dtype for a in args if hasattr(a, "flags") and a.ndim and a.dtype.kind == "f"
             and a.dtype != dtype and dtype is not None]  # fmt: skip
    if wrong:
        raise ValueError(f"kernel {name!r}: expected arrays of {dtype}, got one of {wrong[0]}")
    if n:
        blocks = min(-(-n // _THREADS), _BLOCKS)
        defines = {**(defines or {}), **({} if dtype is None else {"REAL": REALS[dtype.name]})}
        launch(text, name, (blocks,), (_THREADS,), [*args, n], defines)
