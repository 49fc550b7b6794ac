"""Runs the CUDA sources on the CPU: g++ compiles them, with a stand-in for what CUDA gives.

Good for kernels whose threads don't meet: no barriers, no shared memory, no warp functions.
Threads run one after the other, the last one first, so that a kernel which counts on their order
fails.
"""

import contextlib
import ctypes
import functools
import re
import shutil
import subprocess
import sys
import tempfile
import types
from pathlib import Path

import numpy as np

__all__ = ["compiler", "kernels_of", "fake_cupy", "as_cupy"]

# What a source finds before its first line; below it, launchers for its kernels.
_HEAD = """
#include <math.h>
#include <utility>
#define __global__
#define __device__
#define __restrict__
#define __forceinline__ inline
struct dim3 { unsigned x = 1, y = 1, z = 1; };
static dim3 gridDim, blockDim, threadIdx, blockIdx;

// Runs a kernel of any signature; args holds the addresses of its arguments.
template <typename... T, std::size_t... I>
static void gn_launch(void (*kernel)(T...), unsigned blocks, unsigned threads, void** args,
                      std::index_sequence<I...>) {
    gridDim.x = blocks;
    blockDim.x = threads;
    for (blockIdx.x = blocks; blockIdx.x-- > 0;)
        for (threadIdx.x = threads; threadIdx.x-- > 0;) kernel(*(T*)args[I]...);
}
template <typename... T>
static void gn_launch(void (*kernel)(T...), unsigned blocks, unsigned threads, void** args) {
    gn_launch(kernel, blocks, threads, args, std::index_sequence_for<T...>());
}
"""
_LAUNCHER = """
extern "C" void launch_{0}(unsigned blocks, unsigned threads, void** args) {{
    gn_launch({0}, blocks, threads, args);
}}
"""


def compiler():
    """Return the path of g++, or None."""
    return shutil.which("g++")


def kernels_of(code):
    """Return the names of the kernels in a source."""
    return re.findall(r"__global__\s+void\s+(\w+)\s*\(", code)


@functools.cache
def _library(code, options):
    folder = Path(tempfile.mkdtemp(prefix="gpunet-kernels-"))
    try:
        launchers = "".join(_LAUNCHER.format(name) for name in kernels_of(code))
        (folder / "kernels.cpp").write_text(_HEAD + code + launchers, encoding="utf8")
        command = [compiler(), "-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", "-shared",
                   "-fPIC", *options, "-o", "kernels.so", "kernels.cpp"]  # fmt: skip
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr)
        return ctypes.CDLL(str(folder / "kernels.so"))
    finally:
        shutil.rmtree(folder)


class RawModule:
    """Stands in for cupy.RawModule."""

    def __init__(self, code, options=()):
        self._library = _library(code, options)

    def get_function(self, name):
        launcher = getattr(self._library, f"launch_{name}")

        def run(grid, block, args):
            assert len(grid) == len(block) == 1
            held = [_pointer(a) for a in args]
            pointers = [ctypes.cast(ctypes.byref(a), ctypes.c_void_p) for a in held]
            launcher(grid[0], block[0], (ctypes.c_void_p * len(pointers))(*pointers))

        return run


def _pointer(value):
    if isinstance(value, np.ndarray):
        return ctypes.c_void_p(value.ctypes.data)
    return ctypes.c_longlong(value)


as_cupy = types.SimpleNamespace(
    __name__="cupy",
    RawModule=RawModule,
    ascontiguousarray=np.ascontiguousarray,
    # Unwritten elements show.
    empty=lambda shape, dtype: np.full(shape, np.nan, dtype),
)


@contextlib.contextmanager
def fake_cupy():
    """Return a context in which gpunet's kernels run here, on NumPy arrays."""
    from gpunet.fused import launch

    def forget():
        launch._module.cache_clear()
        launch._kernel.cache_clear()

    before = sys.modules.get("cupy")
    sys.modules["cupy"] = as_cupy
    forget()
    try:
        yield as_cupy
    finally:
        forget()
        if before is None:
            del sys.modules["cupy"]
        else:
            sys.modules["cupy"] = before
