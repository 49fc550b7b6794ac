"""The functions of graphs by the names that files have for them: one fixed table, read both ways.

Keras writes a function that was called on symbolic tensors as a layer ``TFOpLambda`` with
TensorFlow's name of it.  Nothing else than what stands here can be reached from a file.
"""

import inspect
from dataclasses import dataclass, field

from gpunet import activations, ops
from gpunet import backend as K
from gpunet.autodiff import Op
from gpunet.errors import FileFormatError
from gpunet.layers.operation import GraphCall
from gpunet.tensor import Operators

__all__ = ["find", "written"]


@dataclass(frozen=True)
class Function:
    """One row of the table.

    Attributes:
        name: str, TensorFlow's name.
        call: function of the first argument and of others by name.
        arguments: dict TensorFlow's name of an argument -> its name in ``call``.
    """

    name: str
    call: object
    arguments: dict = field(default_factory=dict)

    def __call__(self, first, options):
        """Call it with arguments as a file has them.

        Raises:
            FileFormatError: an argument that isn't understood and asks for something.
        """
        given = {}
        for key, value in options.items():
            if key in self.arguments:
                if value is not None:
                    given[self.arguments[key]] = value
            elif key not in _NEUTRAL and not (value is None or _is_off(value)):
                raise FileFormatError(f"tf.{self.name}: the argument {key}={value!r} isn't known")
        return self.call(first, **given)


def _is_off(value):
    return not isinstance(value, Operators) and value in (False, 0)


# Arguments of TensorFlow's functions that change no numbers.
_NEUTRAL = ("name", "use_cudnn_on_gpu", "validate_indices", "num", "preserve_aspect_ratio")
_TABLE = {}
_WRITTEN = {}  # name of an op or expression -> Function


def _add(name, call, *arguments, also=(), **renamed):
    """Add a row.

    Args:
        name: str, the name under which it is written.
        call: op, or function with TensorFlow's arguments.
        *arguments: names that both sides have.
        also: further names under which it is found.
        **renamed: TensorFlow's name = the name here.
    """
    if not isinstance(call, Op) and not arguments and not renamed:
        arguments = list(inspect.signature(call).parameters)[1:]
    row = Function(name, call, {**{a: a for a in arguments}, **renamed})
    for one in (name, *also):
        _TABLE[one] = row
    if isinstance(call, Op) or hasattr(call, "__wrapped__"):
        _WRITTEN.setdefault(call.__name__, row)


def find(name):
    """Return the Function that a file means by a name.

    Raises:
        FileFormatError: none in the table.
    """
    name = str(name)
    row = _TABLE.get(name) or _TABLE.get(name.removeprefix("compat.v1."))
    if row is None and name.startswith("keras.backend."):
        call = getattr(K, name.rpartition(".")[2], None)
        if name.rpartition(".")[2] in _BACKEND and call is not None:
            return Function(name, call, {a: a for a in inspect.signature(call).parameters})
    if row is None and name.startswith("keras.activations."):
        call = activations.get(name.rpartition(".")[2])
        return Function(name, call, {a: a for a in inspect.signature(call).parameters})
    if row is None:
        raise FileFormatError(
            f"the model uses the TensorFlow function 'tf.{name}', which isn't known here; "
            "a model that has it in a Lambda layer can be given a function in custom_objects"
        )
    return row


def written(name):
    """Return the Function under which an op or expression is written, None if there is none."""
    return _WRITTEN.get(name)


# -- elementwise ------------------------------------------------------------------------------

for _name, _op in {
    "math.exp": ops.exp,
    "math.expm1": ops.expm1,
    "math.log": ops.log,
    "math.log1p": ops.log1p,
    "math.square": ops.square,
    "math.sqrt": ops.sqrt,
    "math.rsqrt": ops.rsqrt,
    "math.reciprocal": ops.reciprocal,
    "math.abs": ops.abs,
    "math.negative": ops.negative,
    "math.sign": ops.sign,
    "math.round": ops.round,
    "math.floor": ops.floor,
    "math.ceil": ops.ceil,
    "math.sin": ops.sin,
    "math.cos": ops.cos,
    "math.tan": ops.tan,
    "math.sinh": ops.sinh,
    "math.cosh": ops.cosh,
    "math.atan": ops.arctan,
    "math.erf": ops.erf,
    "math.tanh": ops.tanh,
    "math.sigmoid": ops.sigmoid,
    "math.softplus": ops.softplus,
    "nn.softsign": ops.softsign,
    "nn.selu": ops.selu,
    "nn.silu": ops.swish,
    "math.is_nan": ops.isnan,
    "math.is_inf": ops.isinf,
    "math.is_finite": ops.isfinite,
    "math.logical_not": ops.logical_not,
    "stop_gradient": ops.stop_gradient,
    "identity": ops.identity,
}.items():
    _short = _name.rpartition(".")[2]
    _add(_name, _op, also=(_short, f"nn.{_short}"))
_add("nn.elu", ops.elu)
_add("nn.gelu", ops.gelu, "approximate")
_TABLE["nn.swish"] = _TABLE["nn.silu"]

for _name, _op in {
    "add": ops.add,
    "subtract": ops.subtract,
    "multiply": ops.multiply,
    "truediv": ops.divide,
    "pow": ops.power,
    "maximum": ops.maximum,
    "minimum": ops.minimum,
    "floormod": ops.floor_mod,
    "equal": ops.equal,
    "not_equal": ops.not_equal,
    "less": ops.less,
    "less_equal": ops.less_equal,
    "greater": ops.greater,
    "greater_equal": ops.greater_equal,
    "logical_and": ops.logical_and,
    "logical_or": ops.logical_or,
    "logical_xor": ops.not_equal,
}.items():
    _add(f"math.{_name}", _op, "y", also=(_name, f"__operators__.{_name}"))
for _name, _of in {
    "divide": "math.truediv",
    "math.divide": "math.truediv",
    "div": "math.truediv",
    "math.mod": "math.floormod",
    "__operators__.eq": "math.equal",
    "__operators__.ne": "math.not_equal",
}.items():
    _TABLE[_name] = _TABLE[_of]


def _floor_div(x, y):
    return ops.floor(ops.divide(x, y))


def _relu6(features):
    return ops.relu(features, max_value=6.0)


def _leaky_relu(features, alpha=0.2):
    return ops.relu(features, alpha=alpha)


_add("floor_div", _floor_div, also=("math.floordiv", "math.floor_div", "floordiv"))
_add("keras.backend.relu", ops.relu, "alpha", "max_value", "threshold")
_add("nn.relu", lambda x: ops.relu(x), also=("relu",))
_add("nn.relu6", _relu6)
_add("nn.leaky_relu", _leaky_relu)
_add("clip_by_value", ops.clip, clip_value_min="min_value", clip_value_max="max_value")
_add("cast", ops.cast, "dtype")
_add("where", ops.where, "x", "y", also=("where_v2",))

# -- reductions and products ------------------------------------------------------------------

for _name, _op in {
    "sum": ops.sum,
    "mean": ops.mean,
    "max": ops.max,
    "min": ops.min,
    "prod": ops.prod,
    "std": ops.std,
    "variance": ops.var,
    "any": ops.any,
    "all": ops.all,
    "logsumexp": ops.logsumexp,
}.items():
    _add(f"math.reduce_{_name}", _op, "axis", "keepdims", also=(f"reduce_{_name}",))


def _along(op, default):
    def call(x, axis=default):
        return op(x, axis=axis)

    return call


def _norm(tensor, ord="euclidean", axis=None, keepdims=False):
    axis = tuple(axis) if isinstance(axis, list) else axis
    if ord in ("euclidean", 2, 2.0):
        return ops.sqrt(ops.sum(ops.square(tensor), axis=axis, keepdims=bool(keepdims)))
    if ord in (1, 1.0):
        return ops.sum(ops.abs(tensor), axis=axis, keepdims=bool(keepdims))
    raise FileFormatError(f"tf.norm: ord={ord!r} isn't known here")


def _matmul(a, b, transpose_a=False, transpose_b=False):
    return ops.matmul(_turned(a) if transpose_a else a, _turned(b) if transpose_b else b)


def _turned(x):
    rank = len(x.shape)
    return ops.transpose(x, perm=(*range(rank - 2), rank - 1, rank - 2))


for _name, _op, _axis in (
    ("math.argmax", ops.argmax, 0),
    ("math.argmin", ops.argmin, 0),
    ("math.cumsum", ops.cumsum, 0),
    ("math.cumprod", ops.cumprod, 0),
    ("nn.softmax", ops.softmax, -1),
    ("nn.log_softmax", ops.log_softmax, -1),
    ("math.l2_normalize", ops.l2_normalize, None),
):
    # TensorFlow's defaults aren't those here, so they are always written.
    _add(_name, _op, "axis")
    _row = Function(_name, _along(_op, _axis), {"axis": "axis", "dimension": "axis"})
    for _one in (_name, _name.rpartition(".")[2], f"nn.{_name.rpartition('.')[2]}"):
        _TABLE[_one] = _row
_add("norm", _norm, also=("linalg.norm",))
_add("linalg.matmul", ops.matmul, b="y")
_add("matmul", _matmul)
_TABLE["linalg.matmul"] = _TABLE["matmul"]
_add("tensordot", ops.tensordot, "axes", b="y", also=("linalg.tensordot",))

# -- shapes -----------------------------------------------------------------------------------


def _concat(values, axis=0):
    return ops.concat(*values, axis=axis)


def _stack(values, axis=0):
    return ops.pack(*values, axis=axis)


def _unstack(value, num=None, axis=0):
    return list(value) if isinstance(value, tuple) else list(ops.unstack(value, axis=axis))


def _split(value, num_or_size_splits, axis=0):
    if isinstance(num_or_size_splits, int):
        return list(ops.split(value, parts=num_or_size_splits, axis=axis))
    axis, start, parts = axis % len(value.shape), 0, []
    for size in num_or_size_splits:
        parts.append(value[(slice(None),) * axis + (slice(start, start + size),)])
        start += size
    return parts


def _gather(params, indices, axis=0, batch_dims=0):
    if batch_dims:
        raise FileFormatError(f"tf.gather: batch_dims={batch_dims} isn't known here")
    if not axis:
        return ops.gather(params, indices)
    axis %= len(params.shape)
    return params[(slice(None),) * axis + (indices,)]


def _pad(tensor, paddings, mode="CONSTANT", constant_values=0):
    if str(mode).upper() != "CONSTANT":
        raise FileFormatError(f"tf.pad: mode={mode!r} isn't known here")
    return ops.pad(tensor, paddings=[tuple(p) for p in paddings], constant_values=constant_values)


def _expand_dims(input, axis=-1):
    return ops.expand_dims(input, axis=axis)


def _squeeze(input, axis=None, squeeze_dims=None):
    axis = squeeze_dims if axis is None else axis
    return ops.squeeze(input, axis=tuple(axis) if isinstance(axis, list) else axis)


def _one_hot(indices, depth, on_value=None, off_value=None, axis=-1, dtype=None):
    if axis not in (None, -1) or on_value not in (None, 1, 1.0) or off_value not in (None, 0, 0.0):
        raise FileFormatError("tf.one_hot: only the last axis with 0 and 1 is known here")
    y = K.one_hot(indices, depth)
    return y if dtype in (None, y.dtype) else ops.cast(y, dtype=dtype)


def _slice_of(x, slice_spec):
    """Return ``x[slice_spec]``; the parts are slices, numbers, tensors, None and Ellipsis."""
    key = tuple(slice_spec) if isinstance(slice_spec, list) else slice_spec
    return x[key]


def _shape(input, out_type="int32"):
    return K.shape(input)


def _size(input, out_type="int32"):
    return K.size(input)


_add("compat.v1.transpose", ops.transpose, "perm", also=("transpose",))
_add("concat", _concat, also=("concatenate",))
_add("stack", _stack)
_add("unstack", _unstack)
_add("split", _split)
_add("reshape", K.reshape, "shape")
_add("tile", K.tile, multiples="n")
_add("expand_dims", _expand_dims)
_add("squeeze", _squeeze)
_add("compat.v1.gather", ops.gather, "indices")
_add("gather", _gather)
_TABLE["compat.v1.gather"] = _TABLE["gather"]
_add("pad", _pad)
_add("one_hot", _one_hot)
_add("reverse", ops.reverse, axis="axes")
_add("broadcast_to", ops.broadcast_to, "shape")
_add("ones_like", ops.ones_like, "dtype")
_add("zeros_like", ops.zeros_like, "dtype")
_add("__operators__.getitem", _slice_of)
_add("fill", lambda dims, value: K.creation._filled(value, dims, None), "value")
_add("shape", _shape)
_add("size", _size)
_add("rank", lambda input: len(input.shape))
_add("keras.backend.in_train_phase", K.phase._by_phase, "alt")
_WRITTEN.update(
    {
        "expand_dims": Function("expand_dims", None, {"axis": "axis"}),
        "squeeze": Function("squeeze", None, {"axis": "axis"}),
        "unstack": Function("unstack", None, {"axis": "axis"}),
        "split": Function("split", None, {"num_or_size_splits": "parts", "axis": "axis"}),
        "pad": Function("pad", None, {a: a for a in ("paddings", "constant_values")}),
        "resample": Function("image.resize", None, {"size": "size", "method": "method"}),
        "one_hot": Function("one_hot", None, {"depth": "num_classes"}),
        "concat": Function("concat", None, {"axis": "axis"}),
        "pack": Function("stack", None, {"axis": "axis"}),
    }
)


# -- images -----------------------------------------------------------------------------------


def _bias_add(value, bias, data_format="NHWC"):
    first = str(data_format).startswith("NC")
    return K.bias_add(value, K.constant(bias) if isinstance(bias, list) else bias,
                      "channels_first" if first else "channels_last")  # fmt: skip


def _convolution(input, filter=None, padding="VALID", strides=None, dilation_rate=None,
                 data_format=None, filters=None, dilations=None, stride=None):  # fmt: skip
    strides = stride if strides is None else strides
    kernel = filter if filters is None else filters
    rank = len(input.shape) - 2
    if str(data_format or "N").startswith("NC"):
        raise FileFormatError("tf.nn.convolution: channels_first isn't known here")
    return ops.conv(
        input,
        K.constant(kernel) if isinstance(kernel, list) else kernel,
        strides=_spatial(strides, rank),
        padding=str(padding).lower(),
        dilation=_spatial(dilation_rate or dilations, rank),
    )


def _spatial(given, rank):
    if given is None or isinstance(given, int):
        return given or 1
    return tuple(given)[-rank - 1 : -1] if len(given) == rank + 2 else tuple(given)


def _pool(op):
    def call(input, ksize, strides, padding="VALID", data_format=None):
        if str(data_format or "N").startswith("NC"):
            raise FileFormatError(f"tf.nn.{op.name}: channels_first isn't known here")
        rank = len(input.shape) - 2
        return op(
            input,
            pool_size=_spatial(ksize, rank),
            strides=_spatial(strides, rank),
            padding=str(padding).lower(),
        )

    return call


def _resize(images, size, method="bilinear", antialias=False):
    if antialias or len(images.shape) != 4:
        raise FileFormatError("tf.image.resize: antialias isn't known here")
    return ops.resample(images, size=tuple(size), method=method)


_add("nn.bias_add", _bias_add)
_add("nn.convolution", _convolution, also=("nn.conv1d", "nn.conv2d"))
_add("nn.max_pool", _pool(ops.max_pool), also=("nn.max_pool2d", "nn.max_pool3d"))
_add("nn.avg_pool", _pool(ops.average_pool), also=("nn.avg_pool2d", "nn.avg_pool3d"))
_add("image.resize", _resize)

# -- Keras's own functions, which TensorFlow knows by their names in keras.backend ------------

_BACKEND = (
    "abs", "all", "any", "arange", "argmax", "argmin", "batch_dot", "batch_flatten",
    "batch_normalization", "bias_add", "binary_crossentropy", "cast", "cast_to_floatx",
    "categorical_crossentropy", "clip", "concatenate", "conv1d", "conv2d", "conv2d_transpose",
    "conv3d", "cos", "ctc_batch_cost", "cumprod", "cumsum", "depthwise_conv2d", "dot", "dropout",
    "elu", "equal", "exp", "expand_dims", "flatten", "gather", "greater", "greater_equal",
    "hard_sigmoid", "identity", "in_test_phase", "in_train_phase", "l2_normalize", "less",
    "less_equal", "log", "max", "maximum", "mean", "min", "minimum", "not_equal", "one_hot",
    "ones_like", "permute_dimensions", "pool2d", "pool3d", "pow", "prod", "random_bernoulli",
    "random_binomial", "random_normal", "random_uniform", "relu", "repeat", "repeat_elements",
    "reshape", "resize_images", "resize_volumes", "reverse", "round", "separable_conv1d",
    "separable_conv2d", "shape", "sigmoid", "sign", "sin", "size", "slice", "softmax", "softplus",
    "softsign", "sparse_categorical_crossentropy", "spatial_2d_padding", "spatial_3d_padding",
    "sqrt", "square", "squeeze", "stack", "std", "stop_gradient", "sum", "switch", "tanh",
    "temporal_padding", "tile", "transpose", "truncated_normal", "var", "zeros_like",
)  # fmt: skip

for _name in ("hard_sigmoid", "batch_flatten", "batch_dot", "dot", "repeat_elements",
              "binary_crossentropy", "categorical_crossentropy",
              "sparse_categorical_crossentropy", "repeat", "slice", "dropout", "random_normal",
              "random_uniform", "random_bernoulli", "truncated_normal", "arange"):  # fmt: skip
    _call = getattr(K, _name)
    _arguments = [a for a in inspect.signature(_call).parameters if a != "ignore_class"][1:]
    _add(f"keras.backend.{_name}", _call, *_arguments)


def _random(name):
    def call(shape, **options):
        return getattr(K, f"random_{name}")(shape, **options)

    return call


_add("random.normal", _random("normal"), "mean", "stddev", "dtype", "seed",
     also=("random_normal",))  # fmt: skip
_add("random.uniform", _random("uniform"), "minval", "maxval", "dtype", "seed",
     also=("random_uniform",))  # fmt: skip

# What Python's operators are called in names of layers.
_OPERATORS = {"math.add": "__operators__.add"}


def _named(function):
    name = getattr(function, "__name__", None)
    row = _TABLE["__operators__.getitem"] if name == "take_slice" else written(name)
    return None if row is None else f"tf.{_OPERATORS.get(row.name, row.name)}"


GraphCall.named = staticmethod(_named)
