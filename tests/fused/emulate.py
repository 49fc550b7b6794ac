"""Runs the CUDA sources on the CPU: g++ compiles them behind `cuda_on_cpu.h`.

Threads are fibers and blocks are threads, so that barriers, shuffles, clusters and cooperative
launches work; the order in which they run is shuffled anew for each launch.
"""

import contextlib
import ctypes
import functools
import itertools
import os
import re
import shutil
import subprocess
import sys
import tempfile
import types
from pathlib import Path

import numpy as np

__all__ = ["SANITIZE", "compiler", "kernels_of", "fake_cupy", "as_cupy", "products"]

SANITIZE = "GPUNET_TEST_SANITIZE"  # what to compile with, such as address
_HEADER = Path(__file__).with_name("cuda_on_cpu.h")
_RUNTIME = Path(__file__).with_name("cuda_on_cpu.cpp")
_PRODUCTS = Path(__file__).with_name("cublaslt_on_cpu.cpp")
_LAUNCHER = """
extern "C" int launch_{0}(const gn::Shape* shape, void** args) {{
    return gn::launch({0}, *shape, args);
}}
"""


class _Shape(ctypes.Structure):
    """gn::Shape of the header."""

    _fields_ = [(name, ctypes.c_uint * 3) for name in ("grid", "block")] + [
        (name, ctypes.c_uint) for name in ("dynamic_bytes", "cluster", "together", "seed")
    ]


def compiler():
    """Return the path of g++, or None."""
    return shutil.which("g++")


def kernels_of(code):
    """Return the names of the kernels in a source."""
    attributes = r"(?:\s*(?:__launch_bounds__|__cluster_dims__)\([^)]*\)|\s*#[^\n]*)*"
    return re.findall(rf"__global__\s+void{attributes}\s+(\w+)\s*\(", code)


# -O0: these sources are compiled far more often than they run for long.
_FLAGS = ["-std=c++17", "-O0", "-g0", "-fPIC", "-pthread"]
if SANITIZE in os.environ:
    _FLAGS.append(f"-fsanitize={os.environ[SANITIZE]}")


def _run_compiler(folder, *arguments):
    command = [compiler(), *_FLAGS, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)


@functools.cache
def _runtime():
    """Compile what runs the threads, and the header, once for all sources; return their folder."""
    folder = tempfile.TemporaryDirectory(prefix="gpunet-kernels-")
    shutil.copy(_HEADER, folder.name)
    _run_compiler(folder.name, "-w", "-x", "c++-header", _HEADER.name)  # half of a source's time
    _run_compiler(folder.name, "-O1", "-shared", "-o", "libcuda_on_cpu.so", str(_RUNTIME))
    ctypes.CDLL(str(Path(folder.name) / "libcuda_on_cpu.so"), ctypes.RTLD_GLOBAL)
    return folder


@functools.cache
def _library(code, options):
    header = Path(_runtime().name) / _HEADER.name
    with tempfile.TemporaryDirectory(prefix="gpunet-kernels-") as folder:
        launchers = "".join(_LAUNCHER.format(name) for name in kernels_of(code))
        text = f'#include "{header}"\n{code}{launchers}'
        (Path(folder) / "kernels.cpp").write_text(text, encoding="utf8")
        _run_compiler(
            folder, "-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", "-Wno-unknown-pragmas",
            "-shared", *options, "-o", "kernels.so", "kernels.cpp",
        )  # fmt: skip
        return ctypes.CDLL(str(Path(folder) / "kernels.so"))


@functools.cache
def products():
    """Return the stand-in for cuBLASLt, compiled."""
    from gpunet.fused import cublaslt

    with tempfile.TemporaryDirectory(prefix="gpunet-kernels-") as folder:
        _run_compiler(
            folder, "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-o", "products.so",
            str(_PRODUCTS),
        )  # fmt: skip
        return cublaslt.declared(ctypes.CDLL(str(Path(folder) / "products.so")))


class _Products:
    """`products`, compiled when the first function is asked for."""

    def __getattr__(self, name):
        return getattr(products(), name)


_launches = itertools.count()


class RawModule:
    """Stands in for cupy.RawModule."""

    def __init__(self, code, options=(), enable_cooperative_groups=False):
        options = tuple(o for o in options if not o.startswith("--"))
        self._library = _library(code, options)
        self._together = enable_cooperative_groups
        found = [o for o in options if o.startswith("-DCLUSTER=")]
        self._cluster = int(found[0].partition("=")[2]) if found else 1

    def get_function(self, name):
        return _Kernel(
            name, getattr(self._library, f"launch_{name}"), self._cluster, self._together
        )


class _Kernel:
    """Stands in for cupy.RawKernel."""

    max_dynamic_shared_size_bytes = 48 << 10

    def __init__(self, name, launcher, cluster, together):
        self.name, self._launcher = name, launcher
        self._cluster, self._together = cluster, together
        self.kernel = types.SimpleNamespace(ptr=self)
        self.large_clusters = False

    def __call__(self, grid, block, args, shared_mem=0):
        assert shared_mem <= self.max_dynamic_shared_size_bytes, "the kernel wasn't told"
        assert self._cluster <= 8 or self.large_clusters, "the kernel wasn't told"
        three = [(*size, 1, 1)[:3] for size in (grid, block)]
        shape = _Shape(
            *[(ctypes.c_uint * 3)(*size) for size in three],
            shared_mem, self._cluster, self._together, next(_launches),
        )  # fmt: skip
        held = [_pointer(a) for a in args]
        pointers = [ctypes.cast(ctypes.byref(a), ctypes.c_void_p) for a in held]
        status = self._launcher(ctypes.byref(shape), (ctypes.c_void_p * len(pointers))(*pointers))
        if status:
            what = {1: "its threads wait for each other in vain", 2: "an address isn't aligned"}
            raise RuntimeError(f"kernel {self.name!r}: {what[status]}")


def _pointer(value):
    if value is None:
        return ctypes.c_void_p(None)
    if isinstance(value, np.ndarray):
        return ctypes.c_void_p(value.ctypes.data)
    if isinstance(value, np.generic):
        return np.ctypeslib.as_ctypes_type(value.dtype)(value.item())
    return ctypes.c_longlong(value)


def _empty(shape, dtype="float64"):
    """Return an array in which unwritten elements show."""
    dtype = np.dtype(dtype)
    return np.full(shape, np.nan if dtype.kind == "f" else 99, dtype)


def _set_attribute(kernel, attribute, value):
    """Stands in for cupy.cuda.driver.funcSetAttribute; 14 allows clusters of more than 8."""
    assert (attribute, value) == (14, 1)
    kernel.large_clusters = True


class _Device:
    """Stands in for cupy.cuda.Device; `fake_cupy` says what it is like."""

    compute_capability = "90"
    attributes = {"MultiProcessorCount": 132, "MaxSharedMemoryPerBlockOptin": 227 << 10}

    def __init__(self, number=0):
        self.id = number


class _Memory:
    """Stands in for cupy.cuda.Memory."""

    def __init__(self, size):
        self._bytes = np.empty(size, np.uint8)
        self.ptr, self.size = self._bytes.ctypes.data, size


class _Stream:
    """Stands in for cupy.cuda.Stream."""

    ptr = 0

    def is_capturing(self):
        return False


class _Module:
    """NumPy under CuPy's name."""

    __name__ = "cupy"
    cuda = types.SimpleNamespace(
        Device=_Device,
        Memory=_Memory,
        get_current_stream=_Stream,
        driver=types.SimpleNamespace(funcSetAttribute=_set_attribute),
    )
    RawModule = RawModule
    empty = staticmethod(_empty)

    def empty_like(self, a):
        return _empty(a.shape, a.dtype)

    def __getattr__(self, name):
        return getattr(np, name)


as_cupy = _Module()


@contextlib.contextmanager
def fake_cupy(capability=90, blocks=132, shared=227 << 10):
    """Return a context in which gpunet's kernels run here, on NumPy arrays.

    Args:
        capability, blocks, shared: what the kernels' layout is chosen for, see `launch.Chip`.
    """
    from gpunet.fused import cublaslt, gemm, launch, tiles

    def forget():
        for cache in (launch._module, launch._kernel, launch._chip, gemm._plan, gemm._workspace,
                      cublaslt._handle):  # fmt: skip
            cache.cache_clear()

    library = cublaslt.library
    before = sys.modules.get("cupy")
    sys.modules["cupy"] = as_cupy
    _Device.compute_capability = str(capability)
    _Device.attributes = {"MultiProcessorCount": blocks, "MaxSharedMemoryPerBlockOptin": shared}
    forget()
    cublaslt.library = _Products
    gemm.address = tiles.address = lambda array: array.ctypes.data
    try:
        yield as_cupy
    finally:
        forget()
        cublaslt.library, gemm.address, tiles.address = library, launch.address, launch.address
        if before is None:
            del sys.modules["cupy"]
        else:
            sys.modules["cupy"] = before


@contextlib.contextmanager
def on_gpu(**chip):
    """Return a context in which ops take NumPy arrays for CuPy's, and so run gpunet's kernels."""
    from gpunet import arrays
    from gpunet.autodiff import op

    before = arrays.only_numpy, arrays.module_of, op._on_one_device
    with fake_cupy(**chip) as cupy:
        arrays.only_numpy, arrays.module_of = False, lambda _: cupy
        op._on_one_device = lambda _: cupy
        try:
            yield cupy
        finally:
            arrays.only_numpy, arrays.module_of, op._on_one_device = before
