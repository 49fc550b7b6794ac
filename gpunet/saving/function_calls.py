"""Calls of functions on symbolic tensors, written to configs and read from them.

The table of the functions themselves is in `gpunet.saving.functions`.
"""

import inspect

import numpy as np

from gpunet.backend.expression import Expression
from gpunet.context import unique_name
from gpunet.errors import FileFormatError
from gpunet.graph import SymbolicTensor
from gpunet.layers.operation import GraphCall
from gpunet.saving import raw_ops
from gpunet.saving.functions import find, written
from gpunet.tensor import Tensor

__all__ = ["Added", "FunctionCall", "added_entries", "function_entries"]

_CONSTANT = "_CONSTANT_VALUE"  # Keras's word for a plain value in the place of a tensor
_ELLIPSIS = {"class_name": "__ellipsis__"}
_SIZES = {
    "add": "__operators__.add",
    "sub": "math.subtract",
    "mul": "math.multiply",
    "floordiv": "compat.v1.floor_div",
    "mod": "math.floormod",
}


# -- writing ----------------------------------------------------------------------------------


def function_entries(layer, nodes, place):
    """Return the entries of a model's config for a function that was called on its tensors.

    Args:
        layer: GraphCall.
        nodes: list of its Nodes in the model.
        place: function of a symbolic tensor that gives [layer name, node, index].

    Raises:
        NotImplementedError: a function that no file has a name for.
    """
    entries = []
    for node in nodes:
        *before, last = _steps(layer, node)
        for suffix, name, first, options in before:
            entries.append(_entry(layer, layer.name + suffix, name, [(first, options)], place))
        entries.append(_entry(layer, layer.name, last[1], [last[2:]], place))
    merged = {}
    for entry in entries:
        kept = merged.setdefault(entry["name"], entry)
        if kept is not entry:
            kept["inbound_nodes"] += entry["inbound_nodes"]
    return list(merged.values())


def _entry(layer, name, function, calls, place):
    slicing = function == "__operators__.getitem"
    return {
        "class_name": "SlicingOpLambda" if slicing else "TFOpLambda",
        "config": {
            "name": name,
            "trainable": True,
            "dtype": layer.dtype,
            "function": function,
        },
        "name": name,
        "inbound_nodes": [_call(first, options, place) for first, options in calls],
    }


def _call(first, options, place):
    options = {key: _plain(value, place) for key, value in options.items()}

    def begin(value):
        if isinstance(value, (list, tuple)):
            return [begin(v) for v in value]
        if isinstance(value, SymbolicTensor):
            return [*place(value), options]
        if isinstance(value, _Before):
            return [value.name, 0, 0, options]
        return [_CONSTANT, -1, _plain(value, place), options]

    return begin(first)


def added_entries(losses, metrics, place):
    """Return the entries for what was added to a graph, which Keras writes as layers.

    Args:
        losses: list of symbolic tensors.
        metrics: list of pairs (name, symbolic tensor).
        place: see `function_entries`.
    """
    found = [("AddLoss", "add_loss", t, {"unconditional": False}) for t in losses]
    for name, t in metrics:
        found.append(("AddMetric", "add_metric", t, {"aggregation": "mean", "metric_name": name}))
    entries, counts = [], {}
    for kind, base, tensor, options in found:
        number = counts[base] = counts.get(base, -1) + 1
        name = f"{base}_{number}" if number else base
        config = {"name": name, "trainable": True, "dtype": tensor.dtype.name, **options}
        calls = [[[*place(tensor), {}]]]
        entries.append({"class_name": kind, "config": config, "name": name, "inbound_nodes": calls})
    return entries


class _Before:
    """Stands for what the entry of a name gives."""

    def __init__(self, name):
        self.name = name


def _plain(value, place):
    """Return an argument as JSON can hold it."""
    if isinstance(value, SymbolicTensor):
        return place(value)
    if isinstance(value, slice):
        parts = {"start": value.start, "stop": value.stop, "step": value.step}
        return {key: _plain(part, place) for key, part in parts.items()}
    if value is Ellipsis:
        return dict(_ELLIPSIS)
    if isinstance(value, (list, tuple)):
        return [_plain(part, place) for part in value]
    if isinstance(value, Tensor):
        value = np.asarray(value)
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    if isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, np.generic)):
        return np.dtype(value).name
    return int(value) if isinstance(value, int) and type(value) is not bool else value


def _steps(layer, node):
    """Return the calls that make up one call of a layer: (suffix of the name, function, ...)."""
    if isinstance(layer, Expression):
        steps = _of_expression(layer, node)
    else:
        steps = _of_op(layer, node)
    if steps is None:
        called = getattr(layer.function, "__name__", None) or repr(layer.function)
        raise NotImplementedError(
            f"{layer.name!r}: the model uses the function {called!r} on symbolic tensors, which "
            "files have no name for. Put it in a Lambda layer, or save weights alone."
        )
    return steps


def _of_expression(layer, node):
    name, args = getattr(layer.function, "__name__", ""), node.args
    if name == "_axis_size":
        before = _Before(f"{layer.name}_shape")
        return [
            ("_shape", "compat.v1.shape", args[0], {"out_type": "int32"}),
            ("", "__operators__.getitem", before, {"slice_spec": args[1] % len(args[0].shape)}),
        ]
    if name == "_calculated":
        return [("", _SIZES[args[0]], args[1], {"y": args[2]})]
    if name == "_cut":
        parts = [slice(*k) if isinstance(k, tuple) else k for k in args[1]]
        return [("", "__operators__.getitem", args[0], {"slice_spec": parts})]
    if name == "_filled":
        return [("", "fill", args[1], {"value": args[0]})]
    if name == "_conv_transpose":
        if len(args[0].shape) != 4:
            return None
        names = ("kernel", "output_shape", "strides", "padding", "data_format", "dilation_rate")
        options = dict(zip(names, args[1:]))
        return [("", "keras.backend.conv2d_transpose", args[0], options)]
    row = written(name)
    if row is None:
        return None
    parameters = list(inspect.signature(layer.function).parameters)
    return [("", row.name, args[0], _named(row, dict(zip(parameters[1:], args[1:]))))]


def _of_op(layer, node):
    op, args, options = layer.function, _weak(layer.function, node.args), dict(layer.options)
    if op.name == "take_slice":
        indices = iter(args[1:])
        key = [next(indices) if isinstance(k, str) else k for k in options["key"]]
        return [("", "__operators__.getitem", args[0], {"slice_spec": key})]
    special = _IMAGES.get(op.name)
    if special is not None:
        return special(layer, op, args, options)
    row = written(op.name)
    if row is None:
        return None
    if op.variadic:
        return [("", row.name, list(args), _named(row, options))]
    given = dict(zip(op.names[1:], args[1:]))
    for name, parameter in inspect.signature(op).parameters.items():
        if name in op.options:
            given[name] = options.get(name, parameter.default)
    if "ignore_class" in given and given["ignore_class"] is not None:
        return None
    if op.name == "relu" and (given["alpha"], given["max_value"], given["threshold"]) == (
        0,
        None,
        0,
    ):
        return [("", "nn.relu", args[0], {})]
    if op.name == "reverse":
        axes = given["axes"]
        given["axes"] = list(axes) if isinstance(axes, (list, tuple)) else [axes]
    if op.name == "elu" and given["alpha"] != 1:
        return [("", "keras.backend.elu", args[0], {"alpha": given["alpha"]})]
    return [("", row.name, args[0], _named(row, given))]


def _weak(op, args):
    """Return arguments, those that are whole numbers beside floats as floats."""
    dtypes = [a.dtype.kind for a in args if hasattr(a, "dtype")]
    if op.promote is None or "f" not in dtypes:
        return args
    return tuple([float(a) if type(a) is int else a for a in args])


def _named(row, given):
    """Return arguments under the names that a row has for them, Nones left out."""
    named = {k: given.get(own) for k, own in row.arguments.items()}
    return {k: v for k, v in named.items() if v is not None and v is not inspect.Parameter.empty}


def _numbers(value, rank):
    return list(value) if isinstance(value, (list, tuple)) else [value] * rank


def _convolution(layer, op, args, options):
    x, kernel, *more = args
    rank = len(x.shape) - 2
    if more or options.get("groups", 1) != 1 or options.get("relu"):
        return None
    steps, padding = [], options.get("padding", "valid")
    dilation = _numbers(options.get("dilation", 1), rank)
    if padding == "causal":
        before = dilation[0] * (kernel.shape[0] - 1)
        around = {"paddings": [[0, 0], [before, 0], [0, 0]], "constant_values": 0.0}
        steps.append(("_pad", "pad", x, around))
        x, padding = _Before(f"{layer.name}_pad"), "valid"
    given = {
        "filters": kernel,
        "strides": _numbers(options.get("strides", 1), rank),
        "padding": padding.upper(),
        "dilations": dilation,
    }
    return [*steps, ("", "nn.convolution", x, given)]


def _pool(layer, op, args, options):
    rank = len(args[0].shape) - 2
    if rank not in (2, 3) or options.get("data_format", "channels_last") != "channels_last":
        return None
    size = _numbers(options["pool_size"], rank)
    strides = options.get("strides")
    given = {
        "ksize": size,
        "strides": size if strides is None else _numbers(strides, rank),
        "padding": options.get("padding", "valid").upper(),
    }
    kind = "max" if op.name == "max_pool" else "avg"
    return [("", f"nn.{kind}_pool{rank}d", args[0], given)]


def _upsample(layer, op, args, options):
    if len(args[0].shape) != 4 or len(options["factors"]) != 2:
        return None
    height, width = options["factors"]
    given = {
        "height_factor": height,
        "width_factor": width,
        "data_format": f"channels_{'last' if options.get('first', 1) == 1 else 'first'}",
        "interpolation": options.get("interpolation", "nearest"),
    }
    return [("", "keras.backend.resize_images", args[0], given)]


_IMAGES = {
    "conv": _convolution,
    "max_pool": _pool,
    "average_pool": _pool,
    "upsample": _upsample,
}


# -- reading ----------------------------------------------------------------------------------


class Added:
    """A loss or a metric that was added to a graph.

    Args:
        entry: dict, the entry of an ``AddLoss`` or ``AddMetric``.

    Attributes:
        metric: str, the metric's name; None for a loss.
        tensors: list of what was added, filled as the model is built again.
    """

    CLASSES = ("AddLoss", "AddMetric")

    def __init__(self, entry):
        config = entry.get("config") or {}
        self.name = str(entry.get("name") or config.get("name"))
        self.metric = None
        if entry["class_name"] == "AddMetric":
            self.metric = str(config.get("metric_name") or self.name)
        self.tensors = []

    def read_call(self, call, tensor_at):
        """Return (args, kwargs, whether the tensor is there already); see `FunctionCall`."""
        tensor = tensor_at(call[0] if isinstance(call[0], list) else call)
        return (tensor,), {}, tensor is not None

    def __call__(self, tensor):
        """Keep the tensor; return the list of results."""
        self.tensors.append(tensor)
        return [tensor]


class FunctionCall:
    """A function in a model's config, called on tensors while the model is built again.

    Args:
        entry: dict, the entry of a ``TFOpLambda``, ``SlicingOpLambda`` or ``TensorFlowOpLayer``.
    """

    CLASSES = ("TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer")

    def __init__(self, entry):
        config = entry.get("config")
        if not isinstance(config, dict):
            raise FileFormatError(f"{entry['class_name']}: expected a config, got {config!r}")
        self.name = str(entry.get("name") or config.get("name"))
        self.raw = None
        if entry["class_name"] == "TensorFlowOpLayer":
            self.raw = raw_ops.RawOp(config)
        else:
            self.function = find(config.get("function"))

    def read_call(self, call, tensor_at):
        """Return (args, kwargs, whether all tensors are there already) of one call.

        Args:
            call: list as it stands in the config.
            tensor_at: function of [layer name, node, index] that returns a tensor or None.
        """
        complete, kwargs = True, {}

        def read(nest):
            nonlocal complete
            if isinstance(nest, (list, tuple)):
                if len(nest) > 2 and isinstance(nest[0], str) and isinstance(nest[1], int):
                    return tensor(nest)
                return [read(part) for part in nest]
            if isinstance(nest, dict):
                if nest.get("class_name") == "__ellipsis__":
                    return Ellipsis
                if nest.keys() == {"start", "stop", "step"}:
                    return slice(*(read(nest[k]) for k in ("start", "stop", "step")))
                return {key: read(part) for key, part in nest.items()}
            return nest

        def tensor(at):
            nonlocal complete
            if len(at) > 3 and isinstance(at[3], dict):
                kwargs.update(at[3])
            if at[0] == _CONSTANT:
                return at[2]
            if len(at) > 4 or not isinstance(at[2], int):
                return [read(part) for part in at]
            found = tensor_at(at)
            complete = complete and found is not None
            return found

        first = read(call)
        options = {key: read(value) for key, value in list(kwargs.items())}
        return (first,), options, complete

    def __call__(self, first, **options):
        """Call the function; return the list of its results."""
        y = self.raw(first) if self.raw is not None else self.function(first, options)
        results = list(y) if isinstance(y, list) or type(y) is tuple else [y]
        self._name(results)
        return results

    def _name(self, results):
        """Give the layer that made the result the name that the file has for it."""
        made = results[0]
        layer = made.node.layer if isinstance(made, SymbolicTensor) and made.node else None
        if isinstance(layer, GraphCall) and len(layer._inbound_nodes) == 1:
            if getattr(layer, "_named_by_file", None) is None:
                layer._name = unique_name("", self.name)
                layer._named_by_file = True
