"""NVRTC by ctypes: it compiles for any architecture on a machine without GPU or driver."""

import ctypes
import functools
import importlib.metadata
import os
from pathlib import Path

__all__ = ["FOLDERS", "OPTIONS", "compiled", "library"]

FOLDERS = "GPUNET_NVRTC"  # environment variable: folders, parted by colons, to look in as well

# What CuPy passes beside definitions and include folders, of which the sources need none.
OPTIONS = ("-std=c++17", "-ftz=true", "--device-as-default-execution-space")

# version -> the package that has it, and where in it the library lies
_PACKAGES = {
    13: ("nvidia-cuda-nvrtc", "nvidia/cu13/lib/libnvrtc.so.13"),
    12: ("nvidia-cuda-nvrtc-cu12", "nvidia/cuda_nvrtc/lib/libnvrtc.so.12"),
}


@functools.cache
def library(version):
    """Return the library of a version of CUDA, or a text that says what is missing."""
    package, place = _PACKAGES[version]
    folders = [f for f in os.environ.get(FOLDERS, "").split(os.pathsep) if f]
    try:
        folders.append(importlib.metadata.distribution(package).locate_file(""))
    except importlib.metadata.PackageNotFoundError:
        pass
    found = next((p for f in folders if (p := Path(f) / place).is_file()), None)
    if found is None:
        return f"{package} is missing (pip install it, or name its folder in {FOLDERS})"
    return ctypes.CDLL(str(found))


def compiled(version, text, arch, defines):
    """Compile a source; return (whether that went well, the compiler's words, bytes of code)."""
    nvrtc, program = library(version), ctypes.c_void_p()
    nvrtc.nvrtcCreateProgram(ctypes.byref(program), text.encode(), b"kernels.cu", 0, None, None)
    given = [f"-arch={arch}", *OPTIONS, *[f"-D{name}={value}" for name, value in defines.items()]]
    options = (ctypes.c_char_p * len(given))(*[o.encode() for o in given])
    status = nvrtc.nvrtcCompileProgram(program, len(given), options)
    size = ctypes.c_size_t()
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, log)
    code = ctypes.c_size_t()
    if not status:
        nvrtc.nvrtcGetCUBINSize(program, ctypes.byref(code))
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    said = [line for line in log.value.decode().splitlines() if "are deprecated" not in line]
    return not status, "\n".join(said), code.value
