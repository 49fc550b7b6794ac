"""Finding NVIDIA's libraries, of which a machine may have several, for CuPy's CUDA."""

import ctypes
import os

__all__ = ["by_name", "by_pathfinder", "found", "major"]


def major():
    """Return the major version of CuPy's CUDA."""
    import cupy

    return cupy.cuda.runtime.runtimeGetVersion() // 1000


def by_pathfinder(name):
    """Load a library from where NVIDIA's own packages and installers put it."""
    from cuda import pathfinder

    return ctypes.CDLL(pathfinder.load_nvidia_dynamic_lib(name).abs_path)


def by_name(name, version):
    """Load a library that the system's loader finds, or that is in memory already."""
    return ctypes.CDLL(f"{name}64_{version}.dll" if os.name == "nt" else f"lib{name}.so.{version}")


def found(loads, fitting):
    """Return (library, ``''``), or (None, why there is none).

    Args:
        loads: functions that return a library, in the order in which they are tried.
        fitting: function that returns a library, or raises an error if it can't be used.
    """
    tried = []
    for load in loads:
        try:
            return fitting(load()), ""
        except Exception as error:  # whatever a broken installation raises
            tried.append(str(error).partition("\n")[0] or type(error).__name__)
    return None, "; ".join(dict.fromkeys(tried))
