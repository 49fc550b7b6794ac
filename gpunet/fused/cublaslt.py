"""cuBLASLt through ctypes: a matrix product as a plan that is made once and run often.

CuPy's own products go through cuBLAS, which it refuses to call while a CUDA graph is captured.
Here the handle, the workspace and the stream are handed in, and a call of a plan neither allocates
nor waits, so that it may be captured. Matrices are column-major in this file, as the library has
them; `gpunet.fused.gemm` turns rows and columns around.

Reference:
    cuBLAS library, https://docs.nvidia.com/cuda/cublas, section cublasLt; values from cublasLt.h.
"""

import ctypes
import functools
import logging
import sys
import threading
import typing

from gpunet.errors import DeviceError, KernelError
from gpunet.fused import libraries

__all__ = ["COMPUTE", "EPILOGUE", "TYPES", "Plan", "Product", "library"]

_log = logging.getLogger("gpunet")

TYPES = {"float16": 2, "bfloat16": 14, "float32": 0, "float64": 1}  # cudaDataType
COMPUTE = {"float32": 68, "tf32": 77, "float64": 70}  # cublasComputeType_t
EPILOGUE = {"none": 1, "relu": 2, "bias": 4, "relu_bias": 6, "sums_of_a": 256}  # cublasLtEpilogue_t
_TRANSPOSED = 1  # cublasOperation_t
_NOT_SUPPORTED = 15  # cublasStatus_t

# Attributes: (number, type of the value).
_DESC_TRANSA = (3, ctypes.c_int32)
_DESC_TRANSB = (4, ctypes.c_int32)
_DESC_EPILOGUE = (7, ctypes.c_uint32)
_DESC_BIAS_POINTER = (8, ctypes.c_void_p)
_LAYOUT_BATCH_COUNT = (5, ctypes.c_int32)
_LAYOUT_BATCH_STRIDE = (6, ctypes.c_int64)
_PREF_WORKSPACE = (1, ctypes.c_uint64)
_PREF_ALIGNMENT = {name: (i, ctypes.c_uint32) for i, name in enumerate("abcd", 5)}


class _Algorithm(ctypes.Structure):
    """cublasLtMatmulAlgo_t."""

    _fields_ = [("data", ctypes.c_uint64 * 8)]


class _Heuristic(ctypes.Structure):
    """cublasLtMatmulHeuristicResult_t."""

    _fields_ = [
        ("algorithm", _Algorithm),
        ("workspace", ctypes.c_size_t),
        ("state", ctypes.c_int),
        ("waves", ctypes.c_float),
        ("reserved", ctypes.c_int * 4),
    ]


_pointer = ctypes.c_void_p
_to_pointer = ctypes.POINTER(ctypes.c_void_p)
_attribute = [_pointer, ctypes.c_int, _pointer, ctypes.c_size_t]

# function -> types of its arguments; all return a status
_FUNCTIONS = {
    "cublasLtCreate": [_to_pointer],
    "cublasLtMatmulDescCreate": [_to_pointer, ctypes.c_int, ctypes.c_int],
    "cublasLtMatmulDescDestroy": [_pointer],
    "cublasLtMatmulDescSetAttribute": _attribute,
    "cublasLtMatrixLayoutCreate": [
        _to_pointer, ctypes.c_int, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_int64,
    ],
    "cublasLtMatrixLayoutDestroy": [_pointer],
    "cublasLtMatrixLayoutSetAttribute": _attribute,
    "cublasLtMatmulPreferenceCreate": [_to_pointer],
    "cublasLtMatmulPreferenceDestroy": [_pointer],
    "cublasLtMatmulPreferenceSetAttribute": _attribute,
    "cublasLtMatmulAlgoGetHeuristic": [
        *[_pointer] * 7, ctypes.c_int, ctypes.POINTER(_Heuristic), ctypes.POINTER(ctypes.c_int),
    ],
    "cublasLtMatmul": [*[_pointer] * 14, ctypes.c_size_t, _pointer],
}  # fmt: skip


def declared(dll):
    """Return a ctypes library with the types of the functions used here."""
    for name, types in _FUNCTIONS.items():
        function = getattr(dll, name)
        function.argtypes, function.restype = types, ctypes.c_int
    dll.cublasLtGetVersion.argtypes, dll.cublasLtGetVersion.restype = [], ctypes.c_size_t
    dll.cublasLtGetStatusString.argtypes = [ctypes.c_int]
    dll.cublasLtGetStatusString.restype = ctypes.c_char_p
    return dll


@functools.cache
def library():
    """Return the library that belongs to CuPy's CUDA, or None; the log says once why not."""
    found, reason = libraries.found((_load_by_pathfinder, _load_by_name), _fitting)
    if found is None:
        _log.info("cuBLASLt isn't used, matrix products are CuPy's own: %s", reason)
    return found


def _load_by_pathfinder():
    return libraries.by_pathfinder("cublasLt")


def _load_by_name():
    # cuBLAS is in memory by now or can be found by the loader, and then so is this part of it.
    return libraries.by_name("cublasLt", libraries.major())


def _fitting(dll):
    """Return the library if it is of the same CUDA version as CuPy."""
    lt, wanted = declared(dll), libraries.major()
    found = lt.cublasLtGetVersion() // 10_000
    if found != wanted:
        raise DeviceError(f"found cuBLASLt of CUDA {found}, CuPy is for CUDA {wanted}")
    return lt


def _checked(status, call, about):
    if status:
        meaning = library().cublasLtGetStatusString(status)
        meaning = meaning.decode() if meaning else "unknown"
        raise KernelError(f"{call} for {about}: {meaning} (status {status})")


@functools.cache
def _handle(device):
    """Return the handle for the device, which has to be the current one."""
    handle = ctypes.c_void_p()
    _checked(library().cublasLtCreate(handle), "cublasLtCreate", f"GPU {device}")
    return handle


class Product(typing.NamedTuple):
    """What a plan depends on: ``d = epilogue(op(a) @ op(b) + accumulate * d)``.

    Attributes:
        device: int, number of the GPU.
        rows, columns, inner: ints, of d, and the length of the sums.
        types: names of the dtypes of a, b and d.
        compute: key of `COMPUTE`.
        transposed: pair of bools, for a and b.
        leading: leading dimensions of a, b and d.
        batch: int, number of products.
        strides: elements between the matrices of a, b and d of a batch.
        epilogue: key of `EPILOGUE`; ``sums_of_a`` also writes the sums over ``inner`` of op(a).
        accumulate: bool.
        alignments: bytes that the addresses of a, b, d and the vector are multiples of; 0 for no
            vector.
        workspace: int, bytes at hand.
    """

    device: int
    rows: int
    columns: int
    inner: int
    types: tuple
    compute: str
    transposed: tuple
    leading: tuple
    batch: int
    strides: tuple
    epilogue: str
    accumulate: bool
    alignments: tuple
    workspace: int

    def __str__(self):
        batch = f"{self.batch} x " if self.batch > 1 else ""
        letters = ["ᵀ" if t else "" for t in self.transposed]
        return (
            f"{batch}({self.columns}, {self.inner}){letters[1]} @ ({self.inner}, {self.rows})"
            f"{letters[0]} of {self.types[0]}, computed in {self.compute}, "
            f"epilogue {self.epilogue!r}, leading dimensions {self.leading}"
        )


# alpha and beta, which the library reads from the host while it is called
_ONE, _ZERO = (
    {"float64": ctypes.c_double(v), "float32": ctypes.c_float(v), "tf32": ctypes.c_float(v)}
    for v in (1.0, 0.0)
)


class Plan:
    """Descriptors and the algorithm of a Product.

    Args:
        product: Product.

    Attributes:
        supported: bool, whether the library has an algorithm; if not, the plan can't be run.
    """

    def __init__(self, product):
        self.product = product
        self._lt, self._handle = library(), _handle(product.device)
        self._lock = threading.Lock()
        self._vector = None  # the address that the descriptor holds
        self._descriptor = self._created(
            "MatmulDesc", COMPUTE[product.compute],
            TYPES["float64" if product.compute == "float64" else "float32"],
        )  # fmt: skip
        for attribute, value in (
            (_DESC_TRANSA, _TRANSPOSED * product.transposed[0]),
            (_DESC_TRANSB, _TRANSPOSED * product.transposed[1]),
            (_DESC_EPILOGUE, EPILOGUE[product.epilogue]),
        ):
            self._set("MatmulDesc", self._descriptor, attribute, value)
        if product.alignments[3]:
            # The library looks at how the address is aligned, and not at what is there.
            self._point(product.alignments[3])
        shapes = (
            (product.rows, product.inner)[:: -1 if product.transposed[0] else 1],
            (product.inner, product.columns)[:: -1 if product.transposed[1] else 1],
            (product.rows, product.columns),
        )
        self._layouts = [self._layout(i, shape) for i, shape in enumerate(shapes)]
        self._alpha = ctypes.addressof(_ONE[product.compute])
        self._beta = ctypes.addressof((_ONE if product.accumulate else _ZERO)[product.compute])
        self._algorithm = _Algorithm()
        self.supported = self._choose()

    def __del__(self, ending=sys.is_finalizing):  # at the end, names of modules are gone
        if ending():
            return
        for kind, held in (
            ("MatmulDesc", [getattr(self, "_descriptor", None)]),
            ("MatrixLayout", getattr(self, "_layouts", [])),
        ):
            for handle in held:
                if handle is not None:
                    getattr(self._lt, f"cublasLt{kind}Destroy")(handle)

    def _created(self, kind, *args):
        made, call = ctypes.c_void_p(), f"cublasLt{kind}Create"
        _checked(getattr(self._lt, call)(made, *args), call, self.product)
        return made

    def _set(self, kind, target, attribute, value):
        number, type_ = attribute
        value, call = type_(value), f"cublasLt{kind}SetAttribute"
        status = getattr(self._lt, call)(
            target, number, ctypes.addressof(value), ctypes.sizeof(value)
        )
        _checked(status, f"{call} {number}", self.product)

    def _point(self, address):
        if address != self._vector:
            self._set("MatmulDesc", self._descriptor, _DESC_BIAS_POINTER, address)
            self._vector = address

    def _layout(self, i, shape):
        product = self.product
        made = self._created("MatrixLayout", TYPES[product.types[i]], *shape, product.leading[i])
        if product.batch > 1:
            self._set("MatrixLayout", made, _LAYOUT_BATCH_COUNT, product.batch)
            self._set("MatrixLayout", made, _LAYOUT_BATCH_STRIDE, product.strides[i])
        return made

    def _choose(self):
        """Ask for the algorithm; return whether there is one."""
        product, kind = self.product, "MatmulPreference"
        preference = self._created(kind)
        try:
            self._set(kind, preference, _PREF_WORKSPACE, product.workspace)
            a, b, d, _ = product.alignments
            for name, bytes_ in zip("abcd", (a, b, d, d)):
                self._set(kind, preference, _PREF_ALIGNMENT[name], bytes_)
            found, count = _Heuristic(), ctypes.c_int()
            a, b, d = self._layouts
            status = self._lt.cublasLtMatmulAlgoGetHeuristic(
                self._handle, self._descriptor, a, b, d, d, preference, 1, found, count
            )
        finally:
            self._lt.cublasLtMatmulPreferenceDestroy(preference)
        if status == _NOT_SUPPORTED or (not status and (not count.value or found.state)):
            _log.debug("cuBLASLt has no algorithm for %s", product)
            return False
        _checked(status, "cublasLtMatmulAlgoGetHeuristic", product)
        ctypes.pointer(self._algorithm)[0] = found.algorithm
        return True

    def run(self, a, b, d, vector, workspace, stream):
        """Enqueue the product.

        Args:
            a, b, d: ints, addresses of the matrices.
            vector: int, address of the bias or of the sums; 0 if there is none.
            workspace: int, address of the workspace, of as many bytes as the Product says.
            stream: int, address of the stream.

        Raises:
            KernelError: the library refuses; the text names the call and the shapes.
        """
        layout_a, layout_b, layout_d = self._layouts
        with self._lock:  # the descriptor holds the vector's address
            if vector:
                self._point(vector)
            status = self._lt.cublasLtMatmul(
                self._handle, self._descriptor, self._alpha, a, layout_a, b, layout_b,
                self._beta, d, layout_d, d, layout_d, ctypes.addressof(self._algorithm),
                workspace, self.product.workspace, stream,
            )  # fmt: skip
        if status:
            _checked(status, "cublasLtMatmul", self.product)
