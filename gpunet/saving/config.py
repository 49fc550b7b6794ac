"""Graphs to config dicts and back, in the form that Keras 2 writes."""

import inspect

from gpunet import registry
from gpunet.context import unique_name
from gpunet.errors import FileFormatError
from gpunet.graph import SymbolicTensor
from gpunet.layers.input import InputLayer
from gpunet.layers.operation import GraphCall
from gpunet.nest import flatten, map_nest
from gpunet.saving.function_calls import Added, FunctionCall, added_entries, function_entries

__all__ = ["graph_config", "graph_from_config", "layer_config", "layer_from_config"]


def class_name(layer):
    """Return the class name that a config carries for a layer."""
    name = registry.get_registered_name(type(layer))
    return "Functional" if name == "Model" and layer._graph is not None else name


def layer_config(layer):
    """Return ``{"class_name", "config"}`` of a layer."""
    return {"class_name": class_name(layer), "config": layer.get_config()}


def layer_from_config(entry, custom_objects=None):
    """Make a layer from what `layer_config` returned, or any Keras wrote."""
    if not isinstance(entry, dict) or "class_name" not in entry:
        raise FileFormatError(f"layer config: expected a dict with 'class_name', got {entry!r}")
    if entry["class_name"] == "Model":  # classic Keras's name of a functional model
        entry = {**entry, "class_name": "Functional"}
    layer = registry.layers.deserialize(entry, custom_objects)
    name = entry.get("name")
    if name and layer.name != name:
        layer._name = name
    return layer


def graph_config(model):
    """Return the config of a functional model.

    Tensors are written as (layer name, node, index), nodes being counted among those of this
    model; a nested model's node 0 is the model itself.
    """
    graph, losses, metrics = model._whole_graph()
    inside = set(graph.nodes)
    numbers = {}
    everything = list(model.layers) if losses or metrics else graph.layers
    for layer in everything:
        first = 1 if getattr(layer, "_graph", None) is not None else 0
        kept = [node for node in layer._inbound_nodes if node in inside]
        numbers.update((node, n) for n, node in enumerate(kept, first))

    def place(t):
        t = graph.source(t)
        return [t.node.layer.name, numbers[t.node], t.tensor_index]

    def ends(nest):
        single = isinstance(nest, SymbolicTensor)
        return [place(nest)] if single else map_nest(place, nest)

    layers = []
    for layer in everything:
        nodes = [node for node in layer._inbound_nodes if node in inside]
        if isinstance(layer, GraphCall):
            layers += function_entries(layer, nodes, place)
            continue
        calls = [_call(node, place) for node in nodes]
        entry = layer_config(layer)
        entry["name"] = layer.name
        entry["inbound_nodes"] = [c for c in calls if c]
        layers.append(entry)
    layers += added_entries(losses, metrics, place)
    return {
        "name": model.name,
        "trainable": model._trainable,
        "layers": layers,
        "input_layers": ends(model._input_nest),
        "output_layers": ends(model._output_nest),
    }


def _call(node, place):
    """Return one call: a list of [layer, node, tensor, kwargs], the kwargs with the first."""

    def placed(nest):
        return map_nest(lambda v: place(v) if isinstance(v, SymbolicTensor) else v, nest)

    kwargs = placed(node.kwargs)
    if len(node.args) > 1:  # files have all but the first argument by name
        names = list(inspect.signature(node.layer.call).parameters)
        kwargs = {**dict(zip(names[1:], placed(list(node.args[1:])))), **kwargs}
    if isinstance(node.first, dict):
        return {k: [*place(t), kwargs] for k, t in node.first.items()}
    tensors = flatten(node.first) if node.args else []
    return [[*place(t), kwargs if i == 0 else {}] for i, t in enumerate(tensors)]


def graph_from_config(config, custom_objects=None):
    """Build the graph again.

    Args:
        config: dict as from `graph_config`, or as Keras 2 and Keras 3 write it.
        custom_objects: dict name -> class or function.

    Returns:
        (inputs, outputs, losses, metrics): nested symbolic tensors; a list of them; a list of
        pairs (name, symbolic tensor).

    Raises:
        FileFormatError: a config that refers to tensors that nothing makes.
    """
    made, waiting, added = {}, [], []
    from_zero = _first_calls(config)
    for entry in config["layers"]:  # functions make layers whose names must be others
        if isinstance(entry, dict) and isinstance(entry.get("name"), str):
            unique_name("", entry["name"])
    for entry in config["layers"]:
        if isinstance(entry, dict) and entry.get("class_name") in FunctionCall.CLASSES:
            layer = FunctionCall(entry)
            waiting += [(layer, n, c) for n, c in enumerate(entry.get("inbound_nodes") or [])]
            continue
        if isinstance(entry, dict) and entry.get("class_name") in Added.CLASSES:
            added.append(Added(entry))
            waiting += [(added[-1], 0, c) for c in entry.get("inbound_nodes") or []]
            continue
        layer = layer_from_config(entry, custom_objects)
        if isinstance(layer, InputLayer):
            made[layer.name, 0, 0] = layer._inbound_nodes[0].outputs[0]
            continue
        # A nested model's node 0 is the model itself in most files, its first call in some.
        nested = getattr(layer, "layers", None) is not None and layer.name not in from_zero
        for number, call in enumerate(entry.get("inbound_nodes") or [], int(nested)):
            waiting.append((layer, number, call))

    def find(place):
        name, node, index = place[:3]
        return made.get((name, int(node), int(index)))

    while waiting:
        left = []
        for layer, number, call in waiting:
            function = isinstance(layer, (FunctionCall, Added))
            read = layer.read_call if function else _read_call
            args, kwargs, complete = read(call, find)
            if not complete:
                left.append((layer, number, call))
                continue
            y = layer(*args, **kwargs)
            results = y if function else flatten(y)
            made.update(((layer.name, number, i), t) for i, t in enumerate(results))
        if len(left) == len(waiting):
            names = sorted({layer.name for layer, _, _ in left})
            raise FileFormatError(
                f"model config {config.get('name')!r}: the inputs of the layers {names} are "
                "made by no layer of the model"
            )
        waiting = left

    def ends(key):
        nest = config[key]
        if _is_place(nest):
            nest = [nest]
        if isinstance(nest, dict):
            return {k: _end(v, find, key) for k, v in nest.items()}
        tensors = [_end(place, find, key) for place in nest]
        return tensors[0] if len(tensors) == 1 else tensors

    losses = [t for one in added if one.metric is None for t in one.tensors]
    metrics = [(one.metric, t) for one in added if one.metric is not None for t in one.tensors]
    return ends("input_layers"), ends("output_layers"), losses, metrics


def _first_calls(config):
    """Return the names of the layers whose node 0 is used in a config."""
    found, waiting = set(), [e.get("inbound_nodes") for e in config["layers"]]
    waiting += [config["input_layers"], config["output_layers"]]
    while waiting:
        nest = waiting.pop()
        if _is_place(nest):
            if nest[1] == 0:
                found.add(nest[0])
            waiting += nest[3:]
        elif isinstance(nest, dict):
            waiting += nest.values()
        elif isinstance(nest, list):
            waiting += nest
    return found


def _end(place, find, key):
    tensor = find(place)
    if tensor is None:
        raise FileFormatError(f"model config: {key} names the tensor {place}, which nothing makes")
    return tensor


def _is_place(value):
    return (
        isinstance(value, (list, tuple))
        and len(value) in (3, 4)
        and isinstance(value[0], str)
        and all(isinstance(n, int) for n in value[1:3])
    )


def _read_call(call, find):
    """Return (args, kwargs, whether all tensors are there already) of one call."""
    complete = True
    if isinstance(call, dict) and "args" in call:  # Keras 3

        def read(nest):
            nonlocal complete
            if isinstance(nest, dict) and nest.get("class_name") == "__keras_tensor__":
                t = find(nest["config"]["keras_history"])
                complete = complete and t is not None
                return t
            if isinstance(nest, dict):
                return {k: read(v) for k, v in nest.items()}
            if isinstance(nest, list):
                return [read(v) for v in nest]
            return nest

        kwargs = {k: v for k, v in read(call.get("kwargs", {})).items() if v is not None}
        return tuple(read(call["args"])), kwargs, complete

    def tensor(value):
        nonlocal complete
        if not _is_place(value):
            return [tensor(v) for v in value] if isinstance(value, list) else value
        t = find(value)
        complete = complete and t is not None
        return t

    if isinstance(call, dict):
        places = list(call.values())
    else:
        places = [call] if _is_place(call) else call
    kwargs = next((p[3] for p in places if len(p) > 3 and p[3]), {})
    kwargs = {k: tensor(v) for k, v in kwargs.items()}
    tensors = [tensor(p) for p in places]
    if isinstance(call, dict):
        return (dict(zip(call, tensors, strict=True)),), kwargs, complete
    return (tensors[0] if len(tensors) == 1 else tensors,), kwargs, complete
