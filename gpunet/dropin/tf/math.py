"""tf.math: what works element by element, and reductions."""

from gpunet import backend as K
from gpunet import ops
from gpunet.dropin.tf.arguments import axes, plain, table, tensor

_ELEMENTWISE = {
    "abs": ops.abs,
    "add": ops.add,
    "atan": ops.arctan,
    "ceil": ops.ceil,
    "cos": ops.cos,
    "cosh": ops.cosh,
    "divide": ops.divide,
    "equal": ops.equal,
    "erf": ops.erf,
    "exp": ops.exp,
    "expm1": ops.expm1,
    "floor": ops.floor,
    "floormod": ops.floor_mod,
    "greater": ops.greater,
    "greater_equal": ops.greater_equal,
    "is_finite": ops.isfinite,
    "is_inf": ops.isinf,
    "is_nan": ops.isnan,
    "less": ops.less,
    "less_equal": ops.less_equal,
    "log": ops.log,
    "log1p": ops.log1p,
    "logical_and": ops.logical_and,
    "logical_not": ops.logical_not,
    "logical_or": ops.logical_or,
    "maximum": ops.maximum,
    "minimum": ops.minimum,
    "mod": ops.floor_mod,
    "multiply": ops.multiply,
    "negative": ops.negative,
    "not_equal": ops.not_equal,
    "pow": ops.power,
    "reciprocal": ops.reciprocal,
    "round": ops.round,
    "rsqrt": ops.rsqrt,
    "sigmoid": ops.sigmoid,
    "sign": ops.sign,
    "sin": ops.sin,
    "sinh": ops.sinh,
    "softplus": ops.softplus,
    "sqrt": ops.sqrt,
    "square": ops.square,
    "subtract": ops.subtract,
    "tan": ops.tan,
    "tanh": ops.tanh,
    "truediv": ops.divide,
}
globals().update(table(_ELEMENTWISE))

_REDUCTIONS = {
    "reduce_all": ops.all,
    "reduce_any": ops.any,
    "reduce_logsumexp": ops.logsumexp,
    "reduce_max": ops.max,
    "reduce_mean": ops.mean,
    "reduce_min": ops.min,
    "reduce_prod": ops.prod,
    "reduce_std": ops.std,
    "reduce_sum": ops.sum,
    "reduce_variance": ops.var,
}

__all__ = [
    *_ELEMENTWISE,
    *_REDUCTIONS,
    "accumulate_n",
    "add_n",
    "argmax",
    "argmin",
    "count_nonzero",
    "cumprod",
    "cumsum",
    "divide_no_nan",
    "floordiv",
    "l2_normalize",
    "in_top_k",
    "log_sigmoid",
    "log_softmax",
    "scalar_mul",
    "softmax",
    "squared_difference",
    "xlogy",
]


def _reduction(function):
    def reduce(input_tensor, axis=None, keepdims=False, name=None):
        return function(tensor(input_tensor), axis=axes(axis), keepdims=keepdims)

    reduce.__doc__ = function.__doc__
    return reduce


globals().update({name: _reduction(function) for name, function in _REDUCTIONS.items()})


def add_n(inputs, name=None):
    """Return the sum of a list of tensors."""
    first, *others = map(tensor, inputs)
    for other in others:
        first = ops.add(first, other)
    return first


accumulate_n = add_n


def argmax(input, axis=0, output_type=None, name=None):
    """Return where the largest elements along an axis are."""
    return _index(ops.argmax, input, axis, output_type)


def argmin(input, axis=0, output_type=None, name=None):
    """Return where the smallest elements along an axis are."""
    return _index(ops.argmin, input, axis, output_type)


def _index(function, x, axis, output_type):
    y = function(tensor(x), axis=0 if axis is None else int(axis))
    return y if output_type is None or y.dtype == output_type else ops.cast(y, output_type.name)


def count_nonzero(input, axis=None, keepdims=None, dtype="int64", name=None):
    """Return how many elements aren't 0."""
    marks = ops.cast(ops.not_equal(tensor(input), 0), str(dtype))
    return ops.sum(marks, axis=axes(axis), keepdims=bool(keepdims))


def cumsum(x, axis=0, name=None):
    """Return running sums along an axis."""
    return ops.cumsum(tensor(x), axis=int(axis))


def cumprod(x, axis=0, name=None):
    """Return running products along an axis."""
    return ops.cumprod(tensor(x), axis=int(axis))


@plain
def divide_no_nan(x, y):
    """Return ``x / y``, 0 where ``y`` is."""
    x, y = tensor(x), tensor(y)
    none = ops.equal(y, 0)
    y = x / ops.where(none, ops.ones_like(y), y)
    return ops.where(none, ops.zeros_like(y), y)


@plain
def floordiv(x, y):
    """Return ``x // y``."""
    return x // y


def in_top_k(targets, predictions, k, name=None):
    """Return whether each target is among the ``k`` largest predictions."""
    return K.in_top_k(tensor(predictions), tensor(targets), k)


def l2_normalize(x, axis=None, epsilon=1e-12, name=None):
    """Return ``x`` scaled to length 1 along axes."""
    x = tensor(x)
    length = ops.sum(ops.square(x), axis=axes(axis), keepdims=True)
    return x * ops.rsqrt(ops.maximum(length, epsilon))


@plain
def log_sigmoid(x):
    """Return ``log(sigmoid(x))``."""
    return -ops.softplus(-x)


def softmax(logits, axis=-1, name=None):
    """Return the probabilities that logits stand for."""
    return ops.softmax(tensor(logits), axis=-1 if axis is None else axis)


def log_softmax(logits, axis=-1, name=None):
    """Return the logarithms of the probabilities that logits stand for."""
    return ops.log_softmax(tensor(logits), axis=-1 if axis is None else axis)


@plain
def scalar_mul(scalar, x):
    """Return ``scalar * x``."""
    return scalar * x


@plain
def squared_difference(x, y):
    """Return ``(x - y) ** 2``."""
    return ops.square(x - y)


@plain
def xlogy(x, y):
    """Return ``x * log(y)``, 0 where ``x`` is."""
    none = ops.equal(x, 0)
    return x * ops.log(ops.where(none, ops.ones_like(y), y))
