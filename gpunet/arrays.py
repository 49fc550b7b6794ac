"""Which array module owns an array, which device new arrays go to, and moves between them.

CuPy is imported when a GPU is first looked for and never before.  Everything above this
file gets an array module ``xp`` handed in and doesn't know which one it is.
"""

import contextlib
import importlib.util
import logging
import os
import re
import sys
import threading
from contextvars import ContextVar

import numpy as np

from gpunet import gpu
from gpunet.errors import DeviceError
from gpunet.recording import host_reads

__all__ = [
    "Device",
    "module_of",
    "module_of_gpus",
    "is_array",
    "register_module",
    "set_device",
    "device",
    "current_device",
    "devices",
    "LINE",
    "flat_empty",
    "flat_zeros",
    "to_device",
    "to_host",
]

_log = logging.getLogger("gpunet")
_INSTALL = "pip install 'gpunet[cuda13]' (CUDA 13 driver) or pip install 'gpunet[cuda12]'"

LINE = 64  # bytes of a cache line, and of a vector instruction's operand

# type of array -> (module that computes with it, function that copies it to a numpy array)
_MODULES = {np.ndarray: (np, np.asarray)}
only_numpy = True  # until another module's arrays are made known


def register_module(array_type, module, to_host):
    """Make arrays of a type known.

    Args:
        array_type: class of the arrays.
        module: namespace with NumPy's function names that computes with them.
        to_host: function array -> numpy.ndarray.
    """
    global only_numpy
    _MODULES[array_type] = (module, to_host)
    only_numpy = False


def _lookup(array):
    found = _MODULES.get(type(array))
    if found is not None:
        return found
    if isinstance(array, (np.ndarray, np.generic)):
        found = _MODULES[np.ndarray]
    elif isinstance(array, getattr(sys.modules.get("cupy"), "ndarray", ())):
        cupy = module_of_gpus()
        found = (cupy, gpu.to_host)
    else:
        return None
    _MODULES[type(array)] = found
    return found


def module_of(array):
    """Return the array module that owns an array: numpy, cupy or a registered one.

    Raises:
        TypeError: not an array.
    """
    found = _lookup(array)
    if found is None:
        raise TypeError(f"expected an array, got {type(array).__name__}")
    return found[0]


def is_array(value):
    """Return whether a value is an array (or an array scalar) of a known module."""
    return _lookup(value) is not None


def module_of_gpus():
    """Return CuPy; its arrays are known from then on.

    Raises:
        ImportError: it isn't installed, or is broken.
    """
    import cupy

    if cupy.ndarray not in _MODULES:
        register_module(cupy.ndarray, cupy, gpu.to_host)
    return cupy


def to_host(array):
    """Return a numpy array with the same values; copies only from another device."""
    host_reads("an array")
    found = _lookup(array)
    return np.asarray(array) if found is None else found[1](array)


def to_device(array, dtype=None):
    """Return the array on the current device, as it is where it is there already.

    Args:
        array: array of any module, or anything that ``numpy.asarray`` takes.
        dtype: wanted dtype; None keeps it.
    """
    xp = current_device().xp
    found = _lookup(array)
    if found is None:
        array = np.asarray(array)
    elif found[0] is not xp and found[0] is not np:
        array = found[1](array)
    return xp.asarray(array, dtype=dtype)


def flat_zeros(xp, size, dtype):
    """Return zeros in a row that begin on a cache line, where vector instructions are fastest.

    Args:
        xp: array module; what isn't NumPy begins there anyway.
        size: int.
        dtype: dtype or its name.
    """
    return xp.zeros(size, dtype) if xp is not np else _on_a_line(np.zeros, size, dtype)


def flat_empty(xp, size, dtype):
    """Return an array as `flat_zeros` does, of undefined contents.

    NumPy asks for large pages of memory here, not for zeros: to touch it takes a fifth of the time.
    """
    return xp.empty(size, dtype) if xp is not np else _on_a_line(np.empty, size, dtype)


def _on_a_line(make, size, dtype):
    dtype = np.dtype(dtype)
    room = make(size + LINE // dtype.itemsize, dtype)
    start = -room.__array_interface__["data"][0] % LINE // dtype.itemsize
    return room[start : start + size]


class Device:
    """A place where arrays live.

    Attributes:
        kind: ``'cpu'`` or ``'gpu'``.
        index: int, number of the GPU; 0 for the CPU.
        xp: its array module.
    """

    __slots__ = ("kind", "index", "xp")

    def __init__(self, kind, index, xp):
        self.kind, self.index, self.xp = kind, index, xp

    def __repr__(self):
        return f"<Device {self}>"

    def __str__(self):
        return self.kind if self.kind == "cpu" else f"{self.kind}:{self.index}"

    def __eq__(self, other):
        return str(self) == str(other)

    def __hash__(self):
        return hash(str(self))


_CPU = Device("cpu", 0, np)
_scoped = ContextVar("gpunet_device", default=None)
_default = None  # resolved at first use, so that importing gpunet never touches a GPU
_thread = threading.local()  # .device: the Device that CuPy uses in this thread


def current_device():
    """Return the Device that new arrays go to."""
    scoped = _scoped.get()
    if scoped is not None:
        return scoped
    chosen = _default or _resolve_default()
    if chosen.kind == "gpu" and getattr(_thread, "device", None) is not chosen:
        _activate(chosen)  # CuPy starts every thread on GPU 0
    return chosen


def _resolve_default():
    global _default
    wanted = os.environ.get("GPUNET_DEVICE", "auto")
    try:
        _default = _parse(wanted)
    except DeviceError as error:
        raise DeviceError(f"environment variable GPUNET_DEVICE={wanted!r}: {error}") from None
    _activate(_default)
    return _default


def set_device(name):
    """Choose the device for everything that follows.

    Weights that were made before stay where they are.

    Args:
        name: ``'auto'`` (a GPU if one is usable), ``'cpu'``, ``'gpu'``, ``'gpu:1'``, ...

    Returns:
        The Device.

    Raises:
        DeviceError: unknown name, or that device can't be used; the text says why.
    """
    global _default
    chosen = _parse(name)
    _activate(chosen)
    _default = chosen
    return chosen


@contextlib.contextmanager
def device(name):
    """Choose the device inside a ``with`` block, in this thread or task alone.

    Args:
        name: as for `set_device`.

    Raises:
        DeviceError: as for `set_device`.
    """
    chosen = _parse(name)
    place = chosen.xp.cuda.Device(chosen.index) if chosen.kind == "gpu" else _nothing
    token = _scoped.set(chosen)
    try:
        with place:
            if chosen.kind == "gpu":
                gpu.enter(chosen.xp)
            yield chosen
    finally:
        _scoped.reset(token)


_nothing = contextlib.nullcontext()


def devices():
    """Return the list of usable Devices, the CPU last."""
    reason, count = _gpu_count()
    gpus = [] if reason else [Device("gpu", i, module_of_gpus()) for i in range(count)]
    return [*gpus, _CPU]


def _activate(chosen):
    if chosen.kind == "gpu":
        chosen.xp.cuda.Device(chosen.index).use()
        gpu.enter(chosen.xp)
    _thread.device = chosen


# Besides our own names those of TensorFlow: '/gpu:0', '/device:GPU:0'.
_NAME = re.compile(r"(?:/?device:|/)?(auto|cpu|gpu|cuda)(?::([0-9]+))?", re.IGNORECASE)


_started = False  # whether this process has asked CUDA for its GPUs
_forked = False  # whether such a process was forked to make this one


def _after_fork():
    """In a forked child: CUDA doesn't work there, so say so instead of crashing in it."""
    global _default, _forked
    if _started:
        _default, _forked = None, True
        _scoped.set(None)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _parse(name):
    if _forked and str(name) != "cpu":
        raise DeviceError(
            f"device {str(name)!r} can't be used: this process was forked from one that uses a "
            "GPU, and CUDA doesn't survive that. Start processes with "
            "multiprocessing.get_context('spawn'), or call gpunet.set_device('cpu') here"
        )
    if isinstance(name, Device):
        return name
    found = _NAME.fullmatch(str(name).strip())
    kind, number = found.groups() if found else ("", None)
    kind = kind.lower()
    if not found or (kind == "auto" and number) or (kind == "cpu" and int(number or 0)):
        raise DeviceError(f"device {name!r}: expected 'auto', 'cpu', 'gpu' or 'gpu:<number>'")
    if kind == "cpu":
        return _CPU
    index = int(number or 0)
    reason, count = _gpu_count()
    if reason is None and index >= count:
        reason = f"the usable GPUs of this machine are numbered from 0 to {count - 1}"
    if reason is None:
        return Device("gpu", index, module_of_gpus())
    if kind == "auto":
        _log.info("computing on the CPU: %s", reason)
        return _CPU
    raise DeviceError(f"device {name!r} can't be used: {reason}")


def _gpu_count():
    """Return (None, number of GPUs) or (why none can be used, 0)."""
    if "cupy" not in sys.modules and importlib.util.find_spec("cupy") is None:
        return f"CuPy is not installed; {_INSTALL}", 0
    try:
        cupy = module_of_gpus()
    except Exception as error:  # whatever a broken installation raises
        return f"CuPy is there, but importing it fails ({_first_line(error)}); {_INSTALL}", 0
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:  # of a type of CuPy's own
        if "NoDevice" not in str(error):
            return f"CuPy is there, but no working NVIDIA driver ({_first_line(error)})", 0
        count = 0
    if count:
        global _started
        _started = True
        return None, count
    reason = "CuPy and a driver are there, but no CUDA device"
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        reason += f" (CUDA_VISIBLE_DEVICES is {os.environ['CUDA_VISIBLE_DEVICES']!r})"
    return reason, 0


def _first_line(error):
    return str(error).strip().partition("\n")[0] or type(error).__name__
