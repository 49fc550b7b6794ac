"""Raw operations of TensorFlow's graphs, as Keras of TensorFlow 2.0 to 2.3 wrote them to files.

A ``TensorFlowOpLayer`` holds one operation as protocol-buffer text: its name, attributes, and
those of its inputs that are constants.
"""

import base64
import json

import numpy as np

from gpunet import backend as K
from gpunet import ops
from gpunet.errors import FileFormatError
from gpunet.graph import SymbolicTensor

__all__ = ["RawOp"]


class RawOp:
    """One operation.

    Args:
        config: dict with ``node_def`` and ``constants``.

    Raises:
        FileFormatError: an operation that isn't known, or no operation.
    """

    def __init__(self, config):
        node = config.get("node_def")
        if isinstance(node, str):
            try:
                node = json.loads(node)
            except ValueError as error:
                raise FileFormatError(f"TensorFlowOpLayer: node_def isn't JSON ({error})") from None
        if not isinstance(node, dict) or "op" not in node:
            raise FileFormatError(f"TensorFlowOpLayer: expected node_def with 'op', got {node!r}")
        self.op, self.attributes = str(node["op"]), node.get("attr") or {}
        self.function = _OPS.get(self.op)
        if self.function is None:
            raise FileFormatError(
                f"the model uses the TensorFlow operation {self.op!r}, which isn't known here"
            )
        self.inputs = len([i for i in node.get("input") or [] if not str(i).startswith("^")])
        self.constants = {int(k): v for k, v in (config.get("constants") or {}).items()}

    def __call__(self, tensors):
        """Return the result for the inputs that are no constants."""
        tensors = list(tensors) if isinstance(tensors, (list, tuple)) else [tensors]
        total = max(self.inputs, len(tensors) + len(self.constants))
        rest = iter(tensors)
        given = [
            self.constants[i] if i in self.constants else next(rest, None) for i in range(total)
        ]
        if any(x is None for x in given):
            raise FileFormatError(f"TensorFlowOpLayer {self.op!r}: an input is missing")
        return self.function(self.attributes, *given)


def _flag(attributes, name):
    return bool((attributes.get(name) or {}).get("b", False))


def _integer(attributes, name, default=0):
    return int((attributes.get(name) or {}).get("i", default))


def _numbers(attributes, name):
    listed = (attributes.get(name) or {}).get("list") or {}
    return [int(i) for i in listed.get("i", [])]


def _text(attributes, name, default):
    text = (attributes.get(name) or {}).get("s")
    return default if text is None else base64.b64decode(text).decode("ascii", "replace")


_TYPES = {
    "DT_HALF": "float16",
    "DT_FLOAT": "float32",
    "DT_DOUBLE": "float64",
    "DT_INT32": "int32",
    "DT_INT64": "int64",
    "DT_BOOL": "bool",
    "DT_UINT8": "uint8",
    "DT_INT8": "int8",
    "DT_INT16": "int16",
}


def _cast(attributes, x):
    return ops.cast(x, dtype=_TYPES[(attributes.get("DstT") or {}).get("type", "DT_FLOAT")])


def _number(value):
    """Return a constant as a Python number where it is one, so that its type gives way."""
    return value.item() if isinstance(value, (np.ndarray, np.generic)) and not value.ndim else value


def _plain(op):
    return lambda attributes, *xs: op(*map(_number, xs))


def _reduction(op):
    def call(attributes, x, axes):
        if isinstance(x, tuple):  # sizes
            return _total_of(op, x)
        axis = axes if isinstance(axes, int) else tuple(np.ravel(axes).astype(int).tolist())
        return op(x, axis=axis, keepdims=_flag(attributes, "keep_dims"))

    return call


def _total_of(op, sizes):
    if op is not ops.prod:
        raise FileFormatError(f"TensorFlowOpLayer: {op.name!r} of sizes isn't known here")
    total = 1
    for n in sizes:
        total = n * total
    return total


def _shape_of(value):
    if isinstance(value, (tuple, SymbolicTensor)):
        return value
    return tuple(np.ravel(value).astype(int).tolist())


def _reshape(attributes, x, shape):
    return K.reshape(x, _shape_of(shape))


def _concat(attributes, *parts):
    *xs, axis = parts
    return ops.concat(*xs, axis=int(axis))


def _stack(attributes, *xs):
    if all(isinstance(x, (int, K.sizes.Size)) for x in map(_number, xs)):
        return K.sizes.Sizes(map(_number, xs))
    return ops.pack(*xs, axis=_integer(attributes, "axis"))


def _expand(attributes, x, axis):
    return ops.expand_dims(x, axis=int(np.ravel(axis)[0]))


def _squeeze(attributes, x):
    axes = tuple(_numbers(attributes, "squeeze_dims"))
    return ops.squeeze(x, axis=axes or None)


def _transpose(attributes, x, perm):
    return ops.transpose(x, perm=_shape_of(perm))


def _matmul(first, second):
    def call(attributes, x, y):
        if _flag(attributes, first):
            x = K.permute_dimensions(x, _swapped(x))
        if _flag(attributes, second):
            y = K.permute_dimensions(y, _swapped(y))
        return ops.matmul(x, y)

    return call


def _swapped(x):
    rank = len(x.shape)
    return (*range(rank - 2), rank - 1, rank - 2)


def _strided_slice(attributes, x, begin, end, strides):
    begin, end, strides = (np.ravel(v).astype(int).tolist() for v in (begin, end, strides))
    masks = {
        name: _integer(attributes, f"{name}_mask")
        for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")
    }

    def marked(name, i):
        return masks[name] >> i & 1

    key = []
    for i, (low, high, step) in enumerate(zip(begin, end, strides)):
        if marked("ellipsis", i):
            key.append(Ellipsis)
        elif marked("new_axis", i):
            key.append(None)
        elif marked("shrink_axis", i):
            key.append(low)
        else:
            key.append(
                slice(
                    None if marked("begin", i) else low,
                    None if marked("end", i) else high,
                    None if step == 1 else step,
                )
            )
    return x[tuple(key)] if not isinstance(x, tuple) or len(key) > 1 else x[key[0]]


def _split(attributes, axis, x):
    return list(ops.split(x, parts=_integer(attributes, "num_split", 1), axis=int(axis)))


def _leaky(attributes, x):
    return ops.relu(x, alpha=float((attributes.get("alpha") or {}).get("f", 0.2)))


def _gather(attributes, x, indices, axis=0):
    if int(axis) != 0:
        raise FileFormatError(f"TensorFlowOpLayer 'GatherV2': axis {axis} isn't known here")
    return ops.gather(x, indices)


def _clip(attributes, x, low, high):
    return ops.clip(x, min_value=float(_number(low)), max_value=float(_number(high)))


def _cumulated(op):
    def call(attributes, x, axis):
        if _flag(attributes, "exclusive") or _flag(attributes, "reverse"):
            raise FileFormatError(f"TensorFlowOpLayer: {op.name!r} backwards isn't known here")
        return op(x, axis=int(axis))

    return call


def _reverse(attributes, x, axes):
    return ops.reverse(x, axes=tuple(np.ravel(axes).astype(int).tolist()))


def _cut(attributes, x, begin, size):
    if isinstance(x, tuple):
        first, count = int(np.ravel(begin)[0]), int(np.ravel(size)[0])
        return x[first : first + count if count >= 0 else None]
    return K.slice(x, _shape_of(begin), _shape_of(size))


def _conv(attributes, x, kernel):
    if _text(attributes, "data_format", "NHWC") != "NHWC":
        raise FileFormatError("TensorFlowOpLayer: channels first isn't known here")
    return ops.conv(
        x,
        K.constant(kernel) if isinstance(kernel, list) else kernel,
        strides=tuple(_numbers(attributes, "strides")[1:3]),
        padding=_text(attributes, "padding", "VALID").lower(),
        dilation=tuple(_numbers(attributes, "dilations")[1:3] or (1, 1)),
    )


def _resized(method):
    def call(attributes, x, size):
        if not _flag(attributes, "half_pixel_centers"):
            raise FileFormatError("TensorFlowOpLayer: resizing as TensorFlow 1 isn't known here")
        return ops.resample(x, size=_shape_of(size), method=method)

    return call


def _normal(attributes, shape):
    return K.random_normal(_shape_of(shape))


def _pool(op):
    def call(attributes, x):
        if _text(attributes, "data_format", "NHWC") != "NHWC":
            raise FileFormatError("TensorFlowOpLayer: pooling with channels first isn't known here")
        size, strides = _numbers(attributes, "ksize")[1:3], _numbers(attributes, "strides")[1:3]
        padding = _text(attributes, "padding", "VALID").lower()
        return op(x, pool_size=tuple(size), strides=tuple(strides), padding=padding)

    return call


_OPS = {
    "AddV2": _plain(ops.add),
    "BiasAdd": _plain(ops.add),
    "Sub": _plain(ops.subtract),
    "Mul": _plain(ops.multiply),
    "RealDiv": _plain(ops.divide),
    "Div": _plain(ops.divide),
    "FloorMod": _plain(ops.floor_mod),
    "FloorDiv": _plain(lambda x, y: ops.floor(ops.divide(x, y))),
    "SquaredDifference": _plain(lambda x, y: ops.square(ops.subtract(x, y))),
    "Inv": _plain(ops.reciprocal),
    "Select": _plain(ops.where),
    "Relu6": _plain(lambda x: ops.relu(x, max_value=6.0)),
    "Sqrt": _plain(ops.sqrt),
    "AddN": lambda attributes, *xs: sum(xs[1:], start=xs[0]),
    "Cast": _cast,
    "Reshape": _reshape,
    "Concat": lambda attributes, axis, *xs: _concat(attributes, *xs, axis),
    "ConcatV2": _concat,
    "Pack": _stack,
    "Unpack": lambda a, x: list(ops.unstack(x, axis=_integer(a, "axis"))),
    "ExpandDims": _expand,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Tile": lambda attributes, x, times: K.tile(x, _shape_of(times)),
    "MatMul": _matmul("transpose_a", "transpose_b"),
    "BatchMatMul": _matmul("adj_x", "adj_y"),
    "BatchMatMulV2": _matmul("adj_x", "adj_y"),
    "StridedSlice": _strided_slice,
    "Split": _split,
    "Cumsum": _cumulated(ops.cumsum),
    "Cumprod": _cumulated(ops.cumprod),
    "ReverseV2": _reverse,
    "Slice": _cut,
    "Conv2D": _conv,
    "ResizeNearestNeighbor": _resized("nearest"),
    "ResizeBilinear": _resized("bilinear"),
    "RandomStandardNormal": _normal,
    "Log1p": _plain(ops.log1p),
    "Expm1": _plain(ops.expm1),
    "Shape": lambda attributes, x: K.shape(x),
    "LeakyRelu": _leaky,
    "GatherV2": _gather,
    "ClipByValue": _clip,
    "MaxPool": _pool(ops.max_pool),
    "AvgPool": _pool(ops.average_pool),
    "ArgMax": lambda attributes, x, axis: ops.argmax(x, axis=int(axis)),
    "ArgMin": lambda attributes, x, axis: ops.argmin(x, axis=int(axis)),
    "OneHot": lambda attributes, x, depth, *_: K.one_hot(x, int(depth)),
    "Pad": lambda a, x, paddings: ops.pad(x, paddings=[tuple(p) for p in np.asarray(paddings)]),
}
_OPS["Add"], _OPS["SelectV2"] = _OPS["AddV2"], _OPS["Select"]
for _name in (
    "abs", "ceil", "cos", "cosh", "elu", "equal", "erf", "exp", "expm1", "floor", "greater",
    "greater_equal", "identity", "less", "less_equal", "log", "log1p", "log_softmax",
    "logical_and", "logical_not", "logical_or", "maximum", "minimum", "not_equal", "reciprocal",
    "relu", "round", "rsqrt", "selu", "sigmoid", "sign", "sin", "sinh", "softmax", "softplus",
    "softsign", "square", "stop_gradient", "tan", "tanh", "zeros_like", "ones_like",
):  # fmt: skip
    _OPS["".join(part.title() for part in _name.split("_"))] = _plain(getattr(ops, _name))
_OPS["Neg"], _OPS["Pow"], _OPS["Atan"] = map(_plain, (ops.negative, ops.power, ops.arctan))
_OPS["Gather"] = _gather
for _name, _op in {"Sum": ops.sum, "Mean": ops.mean, "Max": ops.max, "Min": ops.min,
                   "Prod": ops.prod, "Any": ops.any, "All": ops.all}.items():  # fmt: skip
    _OPS[_name] = _reduction(_op)
