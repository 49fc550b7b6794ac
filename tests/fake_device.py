"""Arrays as strict as a GPU's while a CUDA graph is captured, for finding hidden syncs on a CPU.

`fake_device` makes a device of them the current one.  Its arrays refuse every read by the host,
every mix with NumPy arrays, and indexing by boolean masks; inside `capture`, copies to and from
the host are refused too, and what CuPy can't do while a graph is captured: products by its own
cuBLAS calls, sorting.  What is computed comes from NumPy.  `fake_cuda` adds streams and graphs.
"""

import contextlib
import functools
import operator
import sys
import types

import numpy as np

from gpunet import arrays, ops
from gpunet.autodiff.op import Op
from gpunet.ops import products

__all__ = ["FakeArray", "HiddenSync", "Buffer", "fake_device", "capture", "to_host", "module"]

_capturing = False
recorder = None  # what is told of every call on arrays, see `fake_cuda`

# NumPy functions whose result's shape depends on values, or that hand values to the host.
_READING = {"nonzero", "flatnonzero", "argwhere", "unique", "extract", "compress", "array_equal",
            "allclose", "isscalar", "trim_zeros", "setdiff1d", "intersect1d", "ix_", "nditer",
            "ndenumerate", "frompyfunc", "vectorize", "fromiter", "array2string", "bincount",
            "histogram"}  # fmt: skip
_WRITING = {"copyto", "put", "place", "putmask", "fill_diagonal", "put_along_axis"}
# Functions that CuPy has from libraries which refuse to be captured, or wait for the device.
_PRODUCTS = {"matmul", "dot", "tensordot", "einsum", "vdot", "inner"}
_SORTS = {"sort", "argsort", "lexsort", "partition", "argpartition", "median", "percentile"}
_HOST_TO_DEVICE = {"asarray", "array", "ascontiguousarray", "asanyarray"}


class HiddenSync(TypeError):
    """The host read a device array, or mixed it with one of its own."""


def _refuse(what):
    def refused(self, *_, **__):
        raise HiddenSync(f"{what} reads a device array on the host")

    return refused


class Buffer:
    """The storage of an array and of all views of it; dies with the last of them."""

    __slots__ = ("whole", "__weakref__")

    def __init__(self, whole):
        self.whole = whole
        if recorder is not None:
            recorder.allocated(self)


def _fakes(value, found):
    if isinstance(value, FakeArray):
        found.append(value)
    elif isinstance(value, (list, tuple)):
        for v in value:
            _fakes(v, found)
    elif isinstance(value, dict):
        _fakes(list(value.values()), found)
    return found


def _called(function, *args, writes=False, **kwargs):
    """Call a NumPy function on FakeArrays and numbers; return its results wrapped.

    Args:
        writes: bool, whether it writes to the first array.
    """
    given = _fakes([*args, kwargs], [])
    inner, options = _inside(args), {k: _inside(v) for k, v in kwargs.items()}
    if recorder is not None:
        recorder.before(given)
    writes = writes or "out" in kwargs
    if writes and recorder is not None:
        recorder.writes(given[:1] if "out" not in kwargs else _fakes(kwargs["out"], []))
    result = function(*inner, **options)
    made = []
    wrapped = _wrapped(result, given, made)
    if recorder is not None and (writes or result is None or any(m is not None for m in made)):
        recorder.did(lambda: function(*inner, **options), made, given)
    return wrapped


def _wrapped(value, given=(), made=None):
    if isinstance(value, (np.ndarray, np.generic)):
        value = np.asarray(value)
        seen = next((a for a in given if np.may_share_memory(value, a._values)), None)
        if made is not None:
            made.append(value if seen is None else None)
        return FakeArray(value, seen)
    if isinstance(value, (list, tuple)):
        kind = list if type(value) is list else tuple  # some functions name their results
        return kind([_wrapped(v, given, made) for v in value])
    return value


def _inside(value):
    """Return the array inside a FakeArray; numbers as they are, host arrays not at all."""
    if isinstance(value, FakeArray):
        return value._values
    if isinstance(value, np.ndarray):
        raise HiddenSync("a NumPy array was mixed with device arrays")
    if isinstance(value, (list, tuple)):
        return type(value)([_inside(v) for v in value])
    return value


def _checked_key(key):
    for k in key if isinstance(key, tuple) else (key,):
        if isinstance(k, FakeArray):
            if k.dtype.kind == "b":
                raise HiddenSync("a boolean mask as an index gives a shape that depends on values")
        elif isinstance(k, (list, np.ndarray)):
            raise HiddenSync("an index on the host has to be copied to the device")
    return _inside(key)


class FakeArray:
    """An array that only its own module can compute with."""

    __slots__ = ("_values", "_buffer", "_base", "__weakref__")
    __array_ufunc__ = None  # NumPy's operators give up on it
    __hash__ = None

    def __init__(self, values, viewed=None):
        self._values = values
        self._base = viewed if viewed is None or viewed._base is None else viewed._base
        self._buffer = Buffer(values) if viewed is None else viewed._buffer

    def __array_function__(self, function, types, args, kwargs):
        raise HiddenSync(f"np.{function.__name__} was called on a device array")

    def __repr__(self):
        return f"<FakeArray {self.shape} {self.dtype}>"

    shape = property(lambda self: self._values.shape)
    dtype = property(lambda self: self._values.dtype)
    ndim = property(lambda self: self._values.ndim)
    size = property(lambda self: self._values.size)
    itemsize = property(lambda self: self._values.itemsize)
    nbytes = property(lambda self: self._values.nbytes)
    strides = property(lambda self: self._values.strides)
    flags = property(lambda self: self._values.flags)
    base = property(lambda self: self._base)
    data = property(lambda self: types.SimpleNamespace(ptr=self._values.ctypes.data))
    T = property(lambda self: FakeArray(self._values.T, self))

    def __getitem__(self, key):
        _checked_key(key)
        return _called(operator.getitem, self, key)

    def __setitem__(self, key, value):
        _checked_key(key)
        _called(operator.setitem, self, key, value, writes=True)

    def __len__(self):
        return len(self._values)


for _name in ("float", "int", "bool", "index", "complex", "iter", "array", "contains"):
    setattr(FakeArray, f"__{_name}__", _refuse(f"__{_name}__"))
for _name in ("item", "tolist", "tobytes", "get", "nonzero"):
    setattr(FakeArray, _name, _refuse(f".{_name}()"))


def _method(name):
    def function(values, *args, **kwargs):
        return getattr(values, name)(*args, **kwargs)

    def call(self, *args, **kwargs):
        return _called(function, self, *args, writes=name == "fill", **kwargs)

    return call


_METHODS = """reshape astype sum mean max min prod var std any all copy transpose argmax argmin
cumsum cumprod ravel squeeze swapaxes repeat take clip round fill view flatten"""
for _name in _METHODS.split():
    setattr(FakeArray, _name, _method(_name))


def _operator(name, swapped):
    function = getattr(operator, f"__{name}__")

    def call(self, other):
        if not isinstance(_inside(other), (np.ndarray, np.generic, int, float)):
            return NotImplemented
        if name == "matmul":
            _check_product("@")
        return _called(function, other, self) if swapped else _called(function, self, other)

    return call


def _in_place(name):
    function = getattr(operator, f"__{name}__")

    def call(self, other):
        _called(function, self, other, writes=True)
        return self

    return call


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or",
              "xor", "lshift", "rshift"):  # fmt: skip
    setattr(FakeArray, f"__{_name}__", _operator(_name, False))
    setattr(FakeArray, f"__r{_name}__", _operator(_name, True))
    setattr(FakeArray, f"__i{_name}__", _in_place(f"i{_name}"))
for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    setattr(FakeArray, f"__{_name}__", _operator(_name, False))
for _name in ("neg", "pos", "abs", "invert"):
    setattr(FakeArray, f"__{_name}__", _method(f"__{_name}__"))


class _Function:
    """A NumPy function on FakeArrays."""

    def __init__(self, function):
        self._function = function
        self.__name__ = function.__name__

    def __call__(self, *args, **kwargs):
        name = self.__name__
        if _capturing:
            if name in ("concatenate", "stack") and len(args[0]) > 8:
                raise HiddenSync("CuPy copies the addresses of more than 8 arrays from the host")
            if name in _SORTS:
                raise HiddenSync(f"xp.{name} waits for the device, which a capture forbids")
            if name in _PRODUCTS:
                _check_product(f"xp.{name}")
        if name == "where" and len(args) == 1:
            raise HiddenSync("xp.where of a mask alone has a shape that depends on values")
        return _called(self._function, *args, writes=name in _WRITING, **kwargs)

    def at(self, target, indices, values):
        """Add (or whatever the function does) at indices, in place."""
        _checked_key(indices)
        _called(self._function.at, target, indices, values, writes=True)


def _check_product(name):
    """Refuse a product during capture that cuBLAS would get from CuPy.

    `products.product` has another way on a GPU, and so have ops with a kernel of their own.
    """
    if not _capturing:
        return
    frame, allowed = sys._getframe(1), _with_kernels()
    while frame is not None:
        if frame.f_code in allowed:
            return
        frame = frame.f_back
    raise HiddenSync(f"{name} goes to cuBLAS by CuPy, which refuses to be captured")


@functools.cache
def _with_kernels():
    found = {products.product.__code__}
    modules = [m for m in vars(ops).values() if isinstance(m, types.ModuleType)]
    for op in {id(v): v for m in [ops, *modules] for v in vars(m).values()}.values():
        if isinstance(op, Op) and op.fusions:
            found |= {f.__code__ for f in (op.forward, op.pull) if f is not None}
    return found


class _Linalg:
    """Stands in for numpy.linalg and cupy.linalg, whose libraries refuse to be captured."""

    def __getattr__(self, name):
        if _capturing:
            raise HiddenSync(f"xp.linalg.{name} refuses to be captured")
        return _Function(getattr(np.linalg, name))


class _Module:
    """Stands in for numpy and cupy; has their function names."""

    ndarray = FakeArray
    linalg = _Linalg()
    __name__ = "fake"

    def __getattr__(self, name):
        if name in _READING:
            raise HiddenSync(f"xp.{name} reads a device array on the host")
        found = getattr(np, name)
        if isinstance(found, type) or not callable(found):
            return found  # dtypes, pi, newaxis
        return _Function(found)


def _asarray(value, dtype=None, **_):
    if isinstance(value, FakeArray):
        same = dtype is None or value.dtype == dtype
        return value if same else value.astype(dtype)
    if _capturing:
        raise HiddenSync("a host array is copied to the device during capture")
    return FakeArray(np.array(value, dtype=dtype))


def _in_one_piece(value, dtype=None):
    return _called(np.ascontiguousarray, _asarray(value, dtype))


def _copy(value, dtype=None, **_):
    return _asarray(value, dtype).copy()


module = _Module()
for _name in _HOST_TO_DEVICE:
    setattr(module, _name, _asarray)
module.ascontiguousarray, module.array = _in_one_piece, _copy
DEVICE = arrays.Device("fake", 0, module)


def to_host(array):
    """Return a copy of a FakeArray's values; refused inside `capture`."""
    if _capturing:
        raise HiddenSync("a device array is copied to the host during capture")
    return np.array(array._values)


@contextlib.contextmanager
def fake_device():
    """Return a context in which new arrays are FakeArrays; gives the Device."""
    known, alone = dict(arrays._MODULES), arrays.only_numpy
    arrays.register_module(FakeArray, module, to_host)
    try:
        with arrays.device(DEVICE) as device:
            yield device
    finally:
        arrays._MODULES.clear()
        arrays._MODULES.update(known)
        arrays.only_numpy = alone


@contextlib.contextmanager
def capture():
    """Return a context in which no copy to or from the host may happen."""
    global _capturing
    _capturing = True
    try:
        yield
    finally:
        _capturing = False
