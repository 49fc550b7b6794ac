"""Python's operators and a few methods on tensors, and the taped form of NumPy's functions."""

from gpunet import arrays
from gpunet.autodiff import taped
from gpunet.ops import elementwise, index, linalg, logic, reduce, shape
from gpunet.ops.einsum import einsum
from gpunet.tensor import Operators, Tensor

__all__ = []

# -- operators ----------------------------------------------------------------------------


def _binary(op):
    return lambda self, other: op(self, other)


def _reflected(op):
    return lambda self, other: op(other, self)


def _power(self, other):
    if isinstance(other, (int, float)) and other in (0.5, 1, 2):
        return {0.5: elementwise.sqrt, 1: logic.identity, 2: elementwise.square}[other](self)
    return elementwise.power(self, other)


_NUMERIC = {
    "add": elementwise.add,
    "sub": elementwise.subtract,
    "mul": elementwise.multiply,
    "truediv": elementwise.divide,
    "floordiv": lambda x, y: elementwise.floor(elementwise.divide(x, y)),
    "mod": elementwise.floor_mod,
    "pow": elementwise.power,
    "matmul": linalg.matmul,
    "and": logic.logical_and,
    "or": logic.logical_or,
    "xor": logic.not_equal,
}
for _name, _op in _NUMERIC.items():
    setattr(Operators, f"__{_name}__", _binary(_op))
    setattr(Operators, f"__r{_name}__", _reflected(_op))
Operators.__pow__ = _power
Operators.__neg__ = lambda self: elementwise.negative(self)
Operators.__pos__ = lambda self: self
Operators.__abs__ = lambda self: elementwise.abs(self)
Operators.__invert__ = lambda self: logic.logical_not(self)
Operators.__lt__ = _binary(logic.less)
Operators.__le__ = _binary(logic.less_equal)
Operators.__gt__ = _binary(logic.greater)
Operators.__ge__ = _binary(logic.greater_equal)
Operators.__getitem__ = lambda self, key: index.getitem(self, key)


def _comparable(other):
    return arrays.is_array(other) or isinstance(other, (Operators, int, float, list, tuple))


def _equal(self, other):
    return logic.equal(self, other) if _comparable(other) else NotImplemented


def _not_equal(self, other):
    return logic.not_equal(self, other) if _comparable(other) else NotImplemented


# On Tensor alone: symbolic tensors are told apart by identity.
Tensor.__eq__ = _equal
Tensor.__ne__ = _not_equal

# -- methods ------------------------------------------------------------------------------


def _sizes(given):
    return given[0] if len(given) == 1 and not isinstance(given[0], int) else given


def _reshape(self, *sizes):
    """Return the same elements in another shape, given as a tuple or as several ints."""
    return shape.reshape(self, shape=_sizes(sizes))


def _transpose(self, *axes):
    """Return the tensor with its axes in another order, reversed if none is given."""
    return shape.transpose(self, perm=_sizes(axes) if axes else None)


def _astype(self, dtype, copy=True):
    """Return the tensor with another element type."""
    return logic.cast(self, dtype=dtype)


def _reduction(op):
    def method(self, axis=None, dtype=None, out=None, keepdims=False):
        # np.sum(tensor) and its like come here, with these arguments.
        if out is not None:
            raise TypeError(f"{op.name} of a tensor makes a new tensor, out= can't be given")
        return op(self if dtype is None else self.astype(dtype), axis=axis, keepdims=keepdims)

    method.__doc__ = op.__doc__
    method.__name__ = op.name
    return method


Operators.reshape = _reshape
Operators.transpose = _transpose
Operators.T = property(shape.transpose)
Operators.astype = _astype
Operators.flatten = shape.flatten
for _op in (reduce.sum, reduce.mean, reduce.max, reduce.min, reduce.prod, reduce.any, reduce.all,
            reduce.std, reduce.var):  # fmt: skip
    setattr(Operators, _op.name, _reduction(_op))
Operators.argmax = lambda self, axis=-1: reduce.argmax(self, axis=axis)
Operators.argmin = lambda self, axis=-1: reduce.argmin(self, axis=axis)
Operators.squeeze = lambda self, axis=None: shape.squeeze(self, axis=axis)
Operators.ravel = shape.flatten
Operators.clip = lambda self, min=None, max=None: logic.clip(self, min_value=min, max_value=max)

# -- what backward functions may use where they are recorded themselves -----------------------


def _flip(x, axis=None):
    return shape.reverse(x, axes=tuple(range(x.ndim)) if axis is None else axis)


def _take(x, indices, axis=0):
    if axis != 0:
        raise NotImplementedError("take along another axis than 0 has no taped form")
    return index.gather(x, indices)


def _arange(*bounds, dtype=None):
    return Tensor(arrays.current_device().xp.arange(*bounds, dtype=dtype))


taped.functions.update(
    absolute=elementwise.abs,
    rint=elementwise.round,
    remainder=elementwise.floor_mod,
    mod=elementwise.floor_mod,
    true_divide=elementwise.divide,
    invert=logic.logical_not,
    reshape=lambda x, sizes: shape.reshape(x, shape=sizes),
    transpose=lambda x, axes=None: shape.transpose(x, perm=axes),
    expand_dims=lambda x, axis: shape.expand_dims(x, axis=axis),
    squeeze=lambda x, axis=None: shape.squeeze(x, axis=axis),
    broadcast_to=lambda x, sizes: shape.broadcast_to(x, shape=sizes),
    concatenate=lambda parts, axis=0: shape.concat(*parts, axis=axis),
    stack=lambda parts, axis=0: shape.pack(*parts, axis=axis),
    pad=lambda x, width, constant_values=0.0: shape.pad(
        x, paddings=width, constant_values=constant_values
    ),
    flip=_flip,
    take=_take,
    arange=_arange,
    zeros_like=shape.zeros_like,
    empty_like=shape.zeros_like,
    ones_like=shape.ones_like,
)
for _room in (elementwise, logic):
    for _name in _room.__all__:
        if _name not in ("pow", "cast", "cast_to_floatx", "identity", "stop_gradient"):
            taped.functions.setdefault(_name, getattr(_room, _name))
for _name in ("sum", "mean", "max", "min", "prod", "any", "all", "argmax", "argmin", "cumsum",
              "cumprod", "var", "std"):  # fmt: skip
    taped.functions[_name] = getattr(reduce, _name)
taped.functions["matmul"] = linalg.matmul
taped.functions["einsum"] = lambda equation, x, y: einsum(x, y, equation=equation)
taped.functions["tensordot"] = linalg.tensordot
del _name, _op, _room
