"""cuDNN through ctypes: the library, and the descriptors of its graph API.

Tensors, operations and plans are all descriptors there, with numbered attributes.

Reference:
    NVIDIA cuDNN, https://docs.nvidia.com/deeplearning/cudnn, graph API; values from cudnn_graph.h.
"""

import ctypes
import functools
import os
import sys
import threading

from gpunet.errors import DeviceError, KernelError, MissingPackageError
from gpunet.fused import cublaslt, libraries

__all__ = ["FUNCTIONS", "KINDS", "Descriptor", "Refused", "checked", "handle", "library", "needed"]

_OLDEST = 90000  # the version whose header the values are from, and all that follow
_UNSUPPORTED = range(3000, 4000)  # cudnnStatus_t

# Types of attributes (cudnnBackendAttributeType_t) and how their values lie in memory.
_HANDLE = (0, ctypes.c_void_p)
_DATA_TYPE = (1, ctypes.c_int)
_BOOLEAN = (2, ctypes.c_bool)
_INT64 = (3, ctypes.c_int64)
_FLOAT = (4, ctypes.c_float)
_POINTER = (6, ctypes.c_void_p)
_CONVOLUTION_MODE = (7, ctypes.c_int)
_RULE = (8, ctypes.c_int)
_NAN_RULE = (10, ctypes.c_int)
_NOTE = (11, ctypes.c_int)
_POINTWISE_MODE = (14, ctypes.c_int)
_DESCRIPTOR = (15, ctypes.c_void_p)


def _operation(first, *tensors):
    """Return the attributes of a convolution's operation, which are numbered in one order."""
    names = {"alpha": _FLOAT, "beta": _FLOAT, "convolution": _DESCRIPTOR}
    names |= dict.fromkeys(tensors, _DESCRIPTOR)
    return {name: (number, type_) for number, (name, type_) in enumerate(names.items(), first)}


# kind of descriptor (cudnnBackendDescriptorType_t) -> number, attribute -> (number, type)
KINDS = {
    "pointwise": (0, {
        "mode": (0, _POINTWISE_MODE), "compute": (1, _DATA_TYPE), "nan": (2, _NAN_RULE),
    }),
    "convolution": (1, {
        "compute": (100, _DATA_TYPE), "mode": (101, _CONVOLUTION_MODE), "dilation": (102, _INT64),
        "strides": (103, _INT64), "after": (104, _INT64), "before": (105, _INT64),
        "rank": (106, _INT64),
    }),
    "engine": (2, {"notes": (1303, _NOTE)}),
    "config": (3, {"engine": (300, _DESCRIPTOR)}),
    "heuristics": (4, {
        "rule": (200, _RULE), "graph": (201, _DESCRIPTOR), "results": (202, _DESCRIPTOR),
    }),
    "plan": (5, {
        "handle": (400, _HANDLE), "config": (401, _DESCRIPTOR), "workspace": (402, _INT64),
    }),
    "forward": (10, _operation(700, "kernel", "x", "y")),
    "kernel_gradient": (11, _operation(712, "kernel", "x", "y")),
    "transposed": (12, _operation(706, "kernel", "x", "y")),
    "pointwise_operation": (13, {
        "pointwise": (750, _DESCRIPTOR), "x": (751, _DESCRIPTOR), "b": (752, _DESCRIPTOR),
        "y": (753, _DESCRIPTOR),
    }),
    "graph": (15, {"handle": (800, _HANDLE), "operations": (801, _DESCRIPTOR)}),
    "arguments": (16, {
        "ids": (1000, _INT64), "pointers": (1001, _POINTER), "workspace": (1003, _POINTER),
    }),
    "tensor": (17, {
        "alignment": (900, _INT64), "type": (901, _DATA_TYPE), "sizes": (902, _INT64),
        "strides": (903, _INT64), "id": (906, _INT64), "virtual": (907, _BOOLEAN),
    }),
}  # fmt: skip

_pointer = ctypes.c_void_p
_to_pointer = ctypes.POINTER(ctypes.c_void_p)

# function -> types of its arguments; all return a status
FUNCTIONS = {
    "cudnnCreate": [_to_pointer],
    "cudnnSetStream": [_pointer, _pointer],
    "cudnnBackendCreateDescriptor": [ctypes.c_int, _to_pointer],
    "cudnnBackendDestroyDescriptor": [_pointer],
    "cudnnBackendFinalize": [_pointer],
    "cudnnBackendSetAttribute": [_pointer, ctypes.c_int, ctypes.c_int, ctypes.c_int64, _pointer],
    "cudnnBackendGetAttribute": [
        _pointer, ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.POINTER(ctypes.c_int64),
        _pointer,
    ],
    "cudnnBackendExecute": [_pointer, _pointer, _pointer],
}  # fmt: skip


# -- the library --------------------------------------------------------------------------


def declared(dll):
    """Return a ctypes library with the types of the functions used here."""
    for name, types in FUNCTIONS.items():
        function = getattr(dll, name)
        function.argtypes, function.restype = types, ctypes.c_int
    for name in ("cudnnGetVersion", "cudnnGetCudartVersion"):
        function = getattr(dll, name)
        function.argtypes, function.restype = [], ctypes.c_size_t
    dll.cudnnGetErrorString.argtypes = [ctypes.c_int]
    dll.cudnnGetErrorString.restype = ctypes.c_char_p
    dll.cudnnGetLastErrorString.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
    dll.cudnnGetLastErrorString.restype = None
    return dll


@functools.cache
def _found():
    """Return (the library or None, why it can't be used)."""
    cublaslt.library()  # which cuDNN looks for in memory first
    return libraries.found((_load_by_pathfinder, _load_from_wheel, _load_by_name), _fitting)


def library():
    """Return cuDNN for CuPy's CUDA, or None where it isn't installed."""
    return _found()[0]


def needed(who):
    """Return the library.

    Args:
        who: str, who asks, for the error text.

    Raises:
        MissingPackageError: it isn't installed.
    """
    dnn, reason = _found()
    if dnn is None:
        extra = "cudnn12" if libraries.major() == 12 else "cudnn"
        raise MissingPackageError(
            f'{who} needs cuDNN; pip install "gpunet[{extra}]" mends that ({reason})'
        )
    return dnn


def _load_by_pathfinder():
    return libraries.by_pathfinder("cudnn")


def _load_from_wheel():
    name = os.path.join("nvidia", "cudnn", "lib", "libcudnn.so.9")
    there = [path for folder in sys.path if os.path.exists(path := os.path.join(folder, name))]
    if not there:
        raise DeviceError(f"no {name} beside the installed packages")
    return ctypes.CDLL(there[0])


def _load_by_name():
    return libraries.by_name("cudnn", 9)


def _fitting(dll):
    """Return the library if its functions are those of this file and it is for CuPy's CUDA."""
    dnn = declared(dll)
    version, cuda = dnn.cudnnGetVersion(), dnn.cudnnGetCudartVersion() // 1000
    if version < _OLDEST:
        raise DeviceError(f"found cuDNN {version}, version 9 or later is needed")
    if cuda != libraries.major():
        raise DeviceError(f"found cuDNN for CUDA {cuda}, CuPy is for CUDA {libraries.major()}")
    return dnn


class Refused(KernelError):
    """The library can't do what it was asked for, though there's nothing wrong with asking."""


def checked(status, call, about):
    if status:
        dnn, text = library(), ctypes.create_string_buffer(1024)
        dnn.cudnnGetLastErrorString(text, len(text))
        meaning, more = (dnn.cudnnGetErrorString(status) or b"").decode(), text.value.decode()
        kind = Refused if status in _UNSUPPORTED else KernelError
        more = f" ({more})" if more else ""
        raise kind(f"{call} for {about}: {meaning} (status {status}){more}")


@functools.cache
def handle(device):
    """Return (handle for the device, which has to be the current one; a lock for its use)."""
    made = ctypes.c_void_p()
    checked(library().cudnnCreate(made), "cudnnCreate", f"GPU {device}")
    return made, threading.Lock()


class Descriptor:
    """A descriptor that has all of its attributes.

    Args:
        kind: key of `KINDS`.
        about: what it is for, to name in errors.
        attributes: name -> value, or list of values; descriptors and handles among them.
    """

    def __init__(self, kind, about, /, complete=True, **attributes):
        self._dnn, self.kind, self._about = library(), kind, about
        self._held = attributes  # what it refers to
        made = ctypes.c_void_p()
        self._call("CreateDescriptor", KINDS[kind][0], made)
        self.value = made.value
        for name, values in attributes.items():
            self._set(name, values if isinstance(values, (list, tuple)) else [values])
        if complete:
            self._call("Finalize", self.value)

    def __del__(self, ending=sys.is_finalizing):  # at the end, names of modules are gone
        if not ending() and getattr(self, "value", None):
            self._dnn.cudnnBackendDestroyDescriptor(self.value)

    def _call(self, name, *args):
        call = f"cudnnBackend{name}"
        status = getattr(self._dnn, call)(*args)
        if status:
            checked(status, f"{call} ({self.kind})", self._about)

    def _set(self, name, values):
        number, (type_, kept_as) = KINDS[self.kind][1][name]
        values = [v.value if isinstance(v, (Descriptor, _pointer)) else v for v in values]
        memory = (kept_as * len(values))(*values)
        self._call("SetAttribute", self.value, number, type_, len(values), ctypes.addressof(memory))

    def get(self, name, room, first=()):
        """Return the values of an attribute, ``room`` of them at most.

        Args:
            first: what the memory holds before: descriptors that the library is to fill in.
        """
        number, (type_, kept_as) = KINDS[self.kind][1][name]
        memory, count = (kept_as * room)(*[d.value for d in first]), ctypes.c_int64()
        self._call("GetAttribute", self.value, number, type_, room, count,
                   ctypes.addressof(memory))  # fmt: skip
        return list(memory)[: count.value]
