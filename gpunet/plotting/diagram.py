"""A model as boxes and arrows, before anybody draws them."""

import re
import unicodedata

from gpunet.graph import SymbolicTensor

__all__ = ["Box", "Diagram", "diagram_of"]

_LINE = 46  # characters of a line of text
_LINES = 4  # lines of shapes, after which the rest is counted

# Part of a module's name -> what kind of layer it has; a class of colours each.
_KINDS = {
    "input": "input",
    "convolution": "conv",
    "separable": "conv",
    "local": "conv",
    "convlstm": "recurrent",
    "pooling": "pool",
    "recurrent": "recurrent",
    "embeddings": "recurrent",
    "merge": "merge",
    "attention": "recurrent",
    "normalization": "shape",
    "noise": "shape",
    "shaping": "shape",
    "padding": "shape",
    "spatial": "shape",
    "advanced_activations": "shape",
}


class Box:
    """One layer.

    Attributes:
        key: str, unique in the whole diagram.
        title: list of lines.
        rows: list of (label, list of lines).
        kind: str, what sort of layer it is.
        inner: Diagram of a nested model, or None.
    """

    def __init__(self, key, title, rows, kind, inner):
        self.key, self.title, self.rows, self.kind, self.inner = key, title, rows, kind, inner


class Diagram:
    """Boxes in the order of the model's layers, and edges: pairs of indices, each once."""

    def __init__(self, boxes, edges):
        self.boxes, self.edges = boxes, edges


def diagram_of(model, show_shapes=False, show_dtype=False, show_layer_names=True,
               expand_nested=False, layer_range=None, show_layer_activations=False,
               show_trainable=False):  # fmt: skip
    """Return the Diagram of a model; see `plot_model`.

    Raises:
        ValueError: a model that isn't built, or a ``layer_range`` that names no layers.
    """
    options = {
        "shapes": show_shapes,
        "dtype": show_dtype,
        "names": show_layer_names,
        "nested": expand_nested,
        "activations": show_layer_activations,
        "trainable": show_trainable,
    }
    if not hasattr(model, "layers") or not hasattr(model, "_graph"):
        raise TypeError(f"plot_model: expected a model, got {type(model).__name__}")
    if not model.built:
        raise ValueError(
            f"plot_model: model {model.name!r} has not yet been built. Build it first by calling "
            "build() or by calling it on a batch of data."
        )
    return _diagram(model, options, layer_range, "")


def _diagram(model, options, layer_range, prefix):
    graph = model._graph
    if graph is None:  # a subclass: what joins its layers is Python
        return Diagram([_box(model, None, options, prefix)], [])
    layers = _in_range(graph.layers, layer_range)
    index = {layer: i for i, layer in enumerate(layers)}
    nodes = {layer: [] for layer in layers}
    edges = {}
    for node in graph.nodes:
        if node.layer not in index:
            continue
        nodes[node.layer].append(node)
        for t in node.inputs:
            source = graph.source(t).node.layer
            if source in index:
                edges[index[source], index[node.layer]] = None
    boxes = [_box(layer, nodes[layer], options, prefix) for layer in layers]
    return Diagram(boxes, list(edges))


def _in_range(layers, layer_range):
    if layer_range is None:
        return list(layers)
    names = [layer.name for layer in layers]
    found = []
    for wanted in layer_range if isinstance(layer_range, (list, tuple)) else ():
        matching = [i for i, n in enumerate(names) if n == wanted or re.fullmatch(wanted, n)]
        if matching:
            found.append(matching[-1] if found else matching[0])
    if len(found) != 2 or len(layer_range) != 2:
        raise ValueError(
            "plot_model: expected layer_range to be two names of layers out of "
            f"{names}, got {layer_range!r}"
        )
    return layers[min(found) : max(found) + 1]


def _box(layer, nodes, options, prefix):
    key = f"{prefix}{layer.name}"
    inner = None
    if options["nested"] and nodes is not None and getattr(layer, "_graph", None) is not None:
        inner = _diagram(layer, options, None, f"{key}/")
    name = f"{layer.name}: " if options["names"] else ""
    title = _wrapped(name + _class_name(layer))
    return Box(key, title, _rows(layer, nodes or [], options), _kind(layer), inner)


def _class_name(layer):
    name = type(layer).__name__
    if name == "Model" and layer._graph is not None:
        return "Functional"
    wrapped = getattr(layer, "layer", None) or getattr(layer, "forward_layer", None)
    if wrapped is not None and hasattr(wrapped, "call") and wrapped is not layer:
        return f"{name}({_class_name(wrapped)})"
    return name


def _kind(layer):
    if hasattr(layer, "_graph"):
        return "model"
    wrapped = getattr(layer, "layer", None)
    if wrapped is not None and hasattr(wrapped, "call"):
        return _kind(wrapped)
    for part in type(layer).__module__.split("."):
        if part in _KINDS:
            return _KINDS[part]
    return "other"


def _rows(layer, nodes, options):
    rows = []
    if options["activations"] and getattr(layer, "activation", None) is not None:
        activation = layer.activation
        text = getattr(activation, "__name__", None) or type(activation).__name__
        rows.append(("activation:", _wrapped(text)))
    if options["trainable"]:
        rows.append(("trainable:", ["yes" if layer.trainable else "no"]))
    if options["dtype"]:
        found = dict.fromkeys(t.dtype.name for node in nodes for t in node.outputs)
        rows.append(("dtype:", [", ".join(found) or str(layer.dtype)]))
    if options["shapes"]:
        if not nodes:
            rows.append(("output:", ["?"]))
        elif nodes[0].inputs:
            rows.append(("input:", _shape_lines(nodes, "inputs")))
        if nodes:
            rows.append(("output:", _shape_lines(nodes, "outputs")))
    return rows


def _shape_lines(nodes, end):
    """Return the shapes of all calls of a layer as lines; those of equal calls once."""
    calls = dict.fromkeys(
        tuple(str(t.shape) for t in getattr(n, end) if isinstance(t, SymbolicTensor)) for n in nodes
    )
    lines = []
    for shapes in calls:
        pieces = [f"{shape}, " for shape in shapes[:-1]] + list(shapes[-1:])
        if len(shapes) > 1:
            pieces[0], pieces[-1] = f"[{pieces[0]}", f"{pieces[-1]}]"
        lines += _packed(pieces)
    if len(lines) > _LINES:
        more = len(lines) - _LINES + 1
        lines[_LINES - 1 :] = [f"… {more} more lines"]
    return lines


def _wrapped(text):
    """Return a text in lines, broken after separators if that is possible."""
    text = "".join(c if c.isprintable() else " " for c in text)
    pieces = re.findall(r"[^/_.: ]*[/_.: ]*", text)
    return _packed([p[i : i + _LINE // 2] for p in pieces for i in range(0, len(p), _LINE // 2)])


def _packed(pieces):
    """Return pieces joined into lines that aren't longer than `_LINE` unless one piece is."""
    lines = [""]
    for piece in pieces:
        if lines[-1] and _length(lines[-1] + piece.rstrip()) > _LINE:
            lines.append("")
        lines[-1] += piece
    return [line.rstrip() for line in lines]


def _length(text):
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
