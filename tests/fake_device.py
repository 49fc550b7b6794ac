"""Arrays as strict as a GPU's while a CUDA graph is captured, for finding hidden syncs on a CPU.

`fake_device` makes a device of them the current one.  Its arrays refuse every read by the host,
every mix with NumPy arrays, and indexing by boolean masks; inside `capture`, copies to and from
the host are refused too.  What is computed comes from NumPy.
"""

import contextlib
import operator

import numpy as np

from gpunet import arrays

__all__ = ["FakeArray", "fake_device", "capture", "to_host", "module"]

_capturing = False

# NumPy functions whose result's shape depends on values, or that hand values to the host.
_READING = {"nonzero", "flatnonzero", "argwhere", "unique", "extract", "compress", "array_equal",
            "allclose", "isscalar", "trim_zeros", "setdiff1d", "intersect1d", "ix_", "nditer",
            "ndenumerate", "frompyfunc", "vectorize", "fromiter", "array2string"}  # fmt: skip
_HOST_TO_DEVICE = {"asarray", "array", "ascontiguousarray", "asanyarray"}


class HiddenSync(TypeError):
    """The host read a device array, or mixed it with one of its own."""


def _refuse(what):
    def refused(self, *_, **__):
        raise HiddenSync(f"{what} reads a device array on the host")

    return refused


def _inside(value):
    """Return the array inside a FakeArray; numbers as they are, host arrays not at all."""
    if isinstance(value, FakeArray):
        return value._values
    if isinstance(value, np.ndarray):
        raise HiddenSync("a NumPy array was mixed with device arrays")
    if isinstance(value, (list, tuple)):
        return type(value)([_inside(v) for v in value])
    return value


def _wrapped(value):
    if isinstance(value, (np.ndarray, np.generic)):
        return FakeArray(np.asarray(value))
    if isinstance(value, (list, tuple)):
        return type(value)([_wrapped(v) for v in value])
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

    __slots__ = ("_values", "__weakref__")
    __array_ufunc__ = None  # NumPy's operators give up on it
    __hash__ = None

    def __init__(self, values):
        self._values = values

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
    base = property(lambda self: None if self._values.base is None else _wrapped(self._values.base))
    data = property(lambda self: self._values.data)
    T = property(lambda self: FakeArray(self._values.T))

    def __getitem__(self, key):
        return _wrapped(self._values[_checked_key(key)])

    def __setitem__(self, key, value):
        self._values[_checked_key(key)] = _inside(value)

    def __len__(self):
        return len(self._values)


for _name in ("float", "int", "bool", "index", "complex", "iter", "array", "contains"):
    setattr(FakeArray, f"__{_name}__", _refuse(f"__{_name}__"))
for _name in ("item", "tolist", "tobytes", "get", "nonzero"):
    setattr(FakeArray, _name, _refuse(f".{_name}()"))


def _method(name):
    def call(self, *args, **kwargs):
        kwargs = {k: _inside(v) for k, v in kwargs.items()}
        return _wrapped(getattr(self._values, name)(*_inside(args), **kwargs))

    return call


_METHODS = """reshape astype sum mean max min prod var std any all copy transpose argmax argmin
cumsum cumprod ravel squeeze swapaxes repeat take clip round fill view flatten"""
for _name in _METHODS.split():
    setattr(FakeArray, _name, _method(_name))


def _operator(name, swapped):
    function = getattr(operator, f"__{name}__")

    def call(self, other):
        a, b = self._values, _inside(other)
        if not isinstance(b, (np.ndarray, np.generic, int, float)):
            return NotImplemented
        return _wrapped(function(b, a) if swapped else function(a, b))

    return call


def _in_place(name):
    function = getattr(operator, f"__{name}__")

    def call(self, other):
        function(self._values, _inside(other))
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
        if _capturing and self.__name__ in ("concatenate", "stack") and len(args[0]) > 8:
            raise HiddenSync("CuPy copies the addresses of more than 8 arrays from the host")
        kwargs = {k: _inside(v) for k, v in kwargs.items()}
        return _wrapped(self._function(*_inside(args), **kwargs))

    def at(self, target, indices, values):
        """Add (or whatever the function does) at indices, in place."""
        self._function.at(target._values, _checked_key(indices), _inside(values))


class _Module:
    """Stands in for numpy and cupy; has their function names."""

    ndarray = FakeArray
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


module = _Module()
for _name in _HOST_TO_DEVICE:
    setattr(module, _name, _asarray)
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
