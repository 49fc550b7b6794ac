"""gpunet's own exceptions; each is also the built-in one that Keras users catch."""

import os
import sys
import warnings

__all__ = [
    "GpunetError",
    "DeviceError",
    "DeviceMemoryError",
    "DownloadError",
    "GraphError",
    "ShapeError",
    "FileFormatError",
    "KernelError",
    "KernelSourceError",
    "MissingPackageError",
    "UnknownNameError",
    "warn",
]

_HERE = os.path.dirname(__file__) + os.sep


def warn(message, category=UserWarning):
    """Warn about the line of the user's program that called gpunet.

    Args:
        message: str.
        category: class of warnings.
    """
    level, frame = 2, sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_HERE):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


class GpunetError(Exception):
    """Base class of all errors that gpunet raises on purpose."""


class DeviceError(GpunetError, ValueError):
    """A device was asked for that this machine or installation doesn't have."""


class DeviceMemoryError(GpunetError, MemoryError):
    """A GPU has no memory left, or none below its limit; the text says what was asked for."""


class DownloadError(GpunetError, OSError, ValueError):
    """A file that the network didn't give, or that came other than expected."""


class GraphError(GpunetError, ValueError):
    """Inputs and outputs that don't make a model."""


class ShapeError(GpunetError, ValueError):
    """An array or a tensor of the wrong rank or size."""


class UnknownNameError(GpunetError, ValueError):
    """A name or an identifier that nothing is registered under."""


class FileFormatError(GpunetError, OSError, ValueError):
    """A file that isn't what it should be, or is damaged."""


class MissingPackageError(GpunetError, ImportError):
    """An optional package isn't installed; the text says which command installs it."""


class KernelSourceError(GpunetError, OSError):
    """A CUDA source that should have come with gpunet isn't there."""


class KernelError(GpunetError, RuntimeError):
    """A library for the GPU refused work; the text names the call and the shapes."""
