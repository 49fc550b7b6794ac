"""Sizes: what `shape` gives, and how functions take shapes in which a size isn't known yet.

A size that is known is an int.  One that isn't is a `Size`, a symbolic tensor: sums and products
of it are sizes again, and as a part of a shape it counts as unknown until the graph runs.
"""

import math
import operator

import numpy as np

from gpunet.backend.expression import expression
from gpunet.graph import SymbolicTensor
from gpunet.ops import getitem, infer
from gpunet.ops import reshape as _reshape
from gpunet.ops.infer import reshaped
from gpunet.tensor import Operators as _Operators
from gpunet.tensor import Shape, convert_to_tensor, int_shape

__all__ = ["shape", "int_shape", "ndim", "dtype", "size", "reshape"]

_ARITHMETIC = ("add", "sub", "mul", "floordiv", "mod")


class Size(SymbolicTensor):
    """One size of a tensor, not known before the graph runs.

    Attributes:
        plain: bool, whether it is the size of an axis, not the result of a calculation.
    """

    def __init__(self, name=None):
        super().__init__((), "int32", name)
        self.plain = False


@expression
def _calculated(name, x, y):
    known = isinstance(x, int) and isinstance(y, int)
    return getattr(operator, name)(x, y) if known else Size()


def _arithmetic(name):
    general, swapped = getattr(_Operators, f"__{name}__"), getattr(_Operators, f"__r{name}__")

    def left(self, other):
        whole = isinstance(other, (int, Size))
        return _calculated(name, self, other) if whole else general(self, other)

    def right(self, other):
        whole = isinstance(other, (int, Size))
        return _calculated(name, other, self) if whole else swapped(self, other)

    return left, right


for _name in _ARITHMETIC:
    _left, _right = _arithmetic(_name)
    setattr(Size, f"__{_name}__", _left)
    setattr(Size, f"__r{_name}__", _right)


class Sizes(Shape):
    """The sizes of a tensor: a tuple of ints and `Size`s; calculations go element by element."""

    __slots__ = ()

    def __getitem__(self, key):
        part = tuple.__getitem__(self, key)
        if isinstance(key, slice):
            return Sizes(part)
        return part

    @property
    def shape(self):
        """Shape, that of the vector of sizes."""
        return Shape((len(self),))

    @property
    def dtype(self):
        """numpy.dtype of the sizes."""
        return np.dtype("int32")

    def numpy(self):
        """Return the sizes as a numpy array."""
        return convert_to_tensor(tuple(self)).numpy()


def _by_element(name, swapped):
    function = getattr(operator, name)

    def method(self, other):
        if not isinstance(other, (int, Size, list, tuple)):
            x = convert_to_tensor(tuple(self))
            return function(other, x) if swapped else function(x, other)
        others = other if isinstance(other, (list, tuple)) else [other] * len(self)
        if len(others) != len(self):
            raise infer.ShapeError(f"sizes {self} and {others} aren't of one length")
        pairs = [(b, a) if swapped else (a, b) for a, b in zip(self, others)]
        return Sizes([function(a, b) for a, b in pairs])

    return method


for _name in _ARITHMETIC:
    setattr(Sizes, f"__{_name}__", _by_element(_name, False))
    setattr(Sizes, f"__r{_name}__", _by_element(_name, True))


@expression
def _axis_size(x, axis):
    if isinstance(x, SymbolicTensor) and x.shape[axis] is None:
        return Size()
    return int(x.shape[axis])


def shape(x):
    """Return the sizes of a tensor.

    Args:
        x: tensor, array or symbolic tensor.

    Returns:
        Tuple of ints; a size that isn't known yet is a symbolic one, with which one can calculate
        and which stands in the shapes that other functions are given.
    """
    x = _tensor(x)
    sizes = [_axis_size(x, i) if n is None else int(n) for i, n in enumerate(x.shape)]
    for n in sizes:
        if isinstance(n, Size):
            n.plain = True
    return Sizes(sizes)


def _tensor(x):
    return x if hasattr(x, "shape") and hasattr(x, "dtype") else convert_to_tensor(x)


# -- slices between sizes -----------------------------------------------------------------


def _bounds(k):
    return (k.start, k.stop, k.step)


def _getitem(x, key):
    """Return ``x[key]``; bounds of its slices may be sizes."""
    parts = key if isinstance(key, tuple) else (key,)
    if any(isinstance(k, slice) and symbolic(*_bounds(k)) for k in parts):
        return _cut(x, [_bounds(k) if isinstance(k, slice) else k for k in parts])
    return getitem(x, key)


@expression
def _cut(x, parts):
    """Return a part of a tensor, a slice being given as (start, stop, step)."""
    if not symbolic(*parts):
        return getitem(x, tuple([slice(*k) if isinstance(k, tuple) else k for k in parts]))
    shape, key, axis = list(x.shape), [], 0
    used = [k for k in parts if k is not None and k is not Ellipsis]
    for k in parts:
        unknown = isinstance(k, tuple) and symbolic(*k)
        if unknown:
            shape[axis] = None
        key.append(slice(None) if unknown else slice(*k) if isinstance(k, tuple) else k)
        axis += len(shape) - len(used) if k is Ellipsis else k is not None
    return getitem(SymbolicTensor(shape, x.dtype), tuple(key))


SymbolicTensor.__getitem__ = _getitem


def ndim(x):
    """Return the number of axes of a tensor."""
    return len(_tensor(x).shape)


def dtype(x):
    """Return the name of the element type of a tensor."""
    return _tensor(x).dtype.name


def size(x, name=None):
    """Return the number of elements of a tensor, an int where it is known."""
    total = 1
    for n in shape(x):
        total = n * total
    return total


def resolved(given):
    """Return a shape as a tuple of ints, with None for what isn't known.

    Args:
        given: int, Size, integer tensor, or a list or tuple of such.
    """
    if isinstance(given, SymbolicTensor):
        if not given.shape:
            return (None,)
        if given.shape[0] is None:
            raise infer.ShapeError(f"a shape of unknown length was given: {given!r}")
        return (None,) * given.shape[0]
    if isinstance(given, int):
        return (int(given),)
    if getattr(given, "ndim", 1) == 0:
        return (int(given),)
    sizes = given.numpy() if hasattr(given, "numpy") and not isinstance(given, Sizes) else given
    return tuple([None if n is None or isinstance(n, SymbolicTensor) else int(n) for n in sizes])


def is_known(given):
    """Return whether a shape is known to its last size."""
    return None not in resolved(given)


def symbolic(*values):
    """Return whether a symbolic tensor is among values or in the shapes among them."""
    parts = [p for v in values for p in (v if isinstance(v, (list, tuple)) else (v,))]
    return any(isinstance(p, SymbolicTensor) for p in parts)


@expression
def reshape(x, shape):
    """Return the same elements in another shape.

    Args:
        x: tensor.
        shape: tuple of ints and sizes (see `K.shape`); one may be -1 and is worked out.
    """
    if not symbolic(shape):
        return _reshape(x, shape=resolved(shape))
    x = _tensor(x)
    sizes = resolved(shape)
    if -1 not in sizes:
        return SymbolicTensor(sizes, x.dtype)
    plain = [n for n in shape if getattr(n, "plain", False)]
    free = [n for n in x.shape if n is None]
    rest = None
    if len(plain) == len(free) == sizes.count(None):
        # The unknown sizes are taken over as they are, so the known ones give the -1.
        known = math.prod(n for n in sizes if n not in (None, -1))
        rest = reshaped((math.prod(n for n in x.shape if n is not None),), (known, -1))[1]
    return SymbolicTensor([rest if n == -1 else n for n in sizes], x.dtype)
