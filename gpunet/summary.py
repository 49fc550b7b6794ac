"""The table that `Model.summary` prints, in the layout of Keras 2.4."""

from gpunet.nest import flatten

__all__ = ["print_summary"]


def print_summary(model, line_length=None, positions=None, print_fn=None, expand_nested=False,
                  show_trainable=False, layer_range=None):
    """Print a table of a model's layers; see `Model.summary`."""
    table = _Table(model, line_length, positions, print_fn or print, show_trainable)
    table.expand = expand_nested
    table.show(_in_range(model, layer_range))


def _in_range(model, layer_range):
    layers = model.layers
    if layer_range is None:
        return layers
    names = [layer.name for layer in layers]
    if len(layer_range) != 2 or any(n not in names for n in layer_range):
        raise ValueError(
            f"summary: expected layer_range to be two names out of {names}, got {layer_range!r}"
        )
    first, last = (names.index(n) for n in layer_range)
    return layers[first : last + 1]


class _Table:
    def __init__(self, model, line_length, positions, print_fn, show_trainable):
        self.model = model
        self.print = print_fn
        self.connected = not _is_chain(model)
        self.nodes = set(model._graph.nodes) if model._graph is not None else None
        self.show_trainable = show_trainable
        default = 98 if self.connected else 65
        parts = [0.33, 0.55, 0.67, 1.0] if self.connected else [0.45, 0.85, 1.0]
        self.header = ["Layer (type)", "Output Shape", "Param #"]
        if self.connected:
            self.header.append("Connected to")
        if show_trainable:
            default += 11
            parts = [p * 0.89 for p in parts[:-1]] + [0.89, 1.0]
            self.header.append("Trainable")
        self.width = line_length or default
        positions = positions or parts
        if positions[-1] <= 1:
            positions = [int(self.width * p) for p in positions]
        self.positions = positions

    def show(self, layers):
        self.print(f'Model: "{self.model.name}"')
        self.print("_" * self.width)
        self.row(self.header)
        self.print("=" * self.width)
        for i, layer in enumerate(layers):
            self.layer(layer)
            self.print(("=" if i == len(layers) - 1 else "_") * self.width)
        self.footer()

    def row(self, fields, level=0):
        line = ""
        for field, end in zip(fields, self.positions, strict=False):
            if line:
                line = line[:-1] + " "
            line = (line + field)[: end - 2 * level]
            line += " " * (end - 2 * level - len(line))
        self.print("|" * level + line + "|" * level)

    def layer(self, layer, level=0):
        name = _class_name(layer)
        sources = self.sources(layer) if self.connected else []
        fields = [f"{layer.name} ({name})", _shape_text(layer), _param_text(layer)]
        if self.connected:
            fields.append(sources[0] if sources else "")
        if self.show_trainable:
            fields.append("Y" if layer.trainable else "N")
        self.row(fields, level)
        for source in sources[1:]:
            self.row(["", "", "", source], level)
        nested = getattr(layer, "layers", None)
        if self.expand and nested:
            inner = self.width - 2 * level
            self.print("|" * (level + 1) + "¯" * (inner - 2) + "|" * (level + 1))
            for i, part in enumerate(nested):
                self.layer(part, level + 1)
                if i < len(nested) - 1:
                    self.print("|" * (level + 1) + "_" * (inner - 2) + "|" * (level + 1))
            self.print("|" * level + "¯" * inner + "|" * level)

    def sources(self, layer):
        """Return where a layer's inputs come from: name, node and tensor index."""
        return [
            f"{t.node.layer.name}[{t.node.index}][{t.tensor_index}]"
            for node in layer._inbound_nodes
            if node in self.nodes
            for t in node.inputs
        ]

    def footer(self):
        trained = sum(w.size for w in self.model.trainable_weights)
        frozen = sum(w.size for w in self.model.non_trainable_weights)
        self.print(f"Total params: {trained + frozen:,}")
        self.print(f"Trainable params: {trained:,}")
        self.print(f"Non-trainable params: {frozen:,}")
        self.print("_" * self.width)


def _is_chain(model):
    """Return whether every layer has one input and feeds the next."""
    graph = model._graph
    if graph is None or hasattr(model, "add"):
        return True
    by_depth = {}
    for node, depth in graph.depths.items():
        by_depth.setdefault(depth, []).append(node)
    if any(len(nodes) > 1 or len(nodes[0].inputs) > 1 for nodes in by_depth.values()):
        return False
    nodes = set(graph.nodes)
    return all(sum(n in nodes for n in layer._inbound_nodes) <= 1 for layer in graph.layers)


def _class_name(layer):
    name = type(layer).__name__
    return "Functional" if name == "Model" and layer._graph is not None else name


def _shape_text(layer):
    try:
        shape = layer.output_shape
    except (AttributeError, RuntimeError):
        # Several calls with different results, or none because the model is subclassed.
        return "multiple"
    if type(layer).__name__ == "InputLayer":
        return str([shape])
    return str(shape)


def _param_text(layer):
    if not layer.built and not flatten(layer.weights):
        return "0 (unused)"
    return str(layer.count_params()) if layer.built else str(sum(w.size for w in layer.weights))
