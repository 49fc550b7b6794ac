"""The table that `Model.summary` prints, in the layout of Keras 2.4."""

__all__ = ["print_summary"]


def print_summary(model, line_length=None, positions=None, print_fn=None, expand_nested=False,
                  show_trainable=False, layer_range=None):  # fmt: skip
    """Print a table of a model's layers; see `Model.summary`."""
    table = _Table(model, line_length, positions, print_fn or print, show_trainable)
    table.show(_in_range(model, layer_range), expand_nested)


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
        self.model, self.print = model, print_fn
        self.connected = not _is_chain(model)
        self.nodes = set(model._whole_graph()[0].nodes) if self.connected else ()
        self.show_trainable = show_trainable
        header = ["Layer (type)", "Output Shape", "Param #"]
        if self.connected:
            width, parts = 98, [0.33, 0.55, 0.67, 1.0]
            header.append("Connected to")
        else:
            width, parts = 65, [0.45, 0.85, 1.0]
        self.width = line_length or width
        self.positions = list(positions or parts)
        if self.positions[-1] <= 1:
            self.positions = [int(self.width * p) for p in self.positions]
        if show_trainable:
            self.width += 11
            self.positions.append(self.width)
            header.append("Trainable")
        self.header = header

    def show(self, layers, expand):
        """Print everything."""
        self.print(f'Model: "{self.model.name}"')
        self.print("_" * self.width)
        self.row(self.header)
        self.print("=" * self.width)
        self.rows(layers, expand)
        self.print("=" * self.width)
        trained = sum(w.size for w in self.model.trainable_weights)
        frozen = sum(w.size for w in self.model.non_trainable_weights)
        self.print(f"Total params: {trained + frozen:,}")
        self.print(f"Trainable params: {trained:,}")
        self.print(f"Non-trainable params: {frozen:,}")
        self.print("_" * self.width)

    def rows(self, layers, expand, level=0):
        """Print layers, and those inside them in boxes, with rules between."""
        bars, inner = "|" * level, self.width - 2 * level
        for i, layer in enumerate(layers):
            self.layer(layer, level)
            nested = getattr(layer, "layers", None) if expand else None
            if nested:
                self.print(f"{bars}|{'¯' * (inner - 2)}|{bars}")
                self.rows(nested, expand, level + 1)
                self.print(f"{bars}{'¯' * inner}{bars}")
            elif i < len(layers) - 1:
                self.print(f"{bars}{'_' * inner}{bars}")

    def layer(self, layer, level):
        """Print what there is to say of a layer."""
        sources = self.sources(layer) if self.connected else []
        fields = [f"{layer.name} ({_class_name(layer)})", _shape_text(layer), _param_text(layer)]
        if self.connected:
            fields.append(sources[0] if sources else "")
        if self.show_trainable:
            fields.append("Y" if layer.trainable else "N")
        self.row(fields, level)
        for source in sources[1:]:
            self.row(["", "", "", source], level)

    def row(self, fields, level=0):
        """Print fields, each cut off where the next begins."""
        line = "|" * level
        for i, (field, end) in enumerate(zip(fields, self.positions)):
            if i:
                line = line[:-1] + " "
            if end == self.positions[-1]:
                end -= level
            line = (line + field)[:end].ljust(end)
        self.print(line + "|" * level)

    def sources(self, layer):
        """Return where a layer's inputs come from: name, call and tensor index."""
        return [
            f"{t.node.layer.name}[{t.node.call_index}][{t.tensor_index}]"
            for node in layer._inbound_nodes
            if node in self.nodes
            for t in map(self.model._graph.source, node.inputs)
        ]


def _is_chain(model):
    """Return whether every layer has one input and feeds the next."""
    graph = model._graph
    if graph is None or hasattr(model, "pop"):  # subclassed, or Sequential
        return True
    if model._whole_graph()[0] is not graph:
        return False
    by_depth = {}
    for node, depth in graph.depths.items():
        by_depth.setdefault(depth, []).append(node)
    if any(len(nodes) > 1 or len(nodes[0].inputs) > 1 for nodes in by_depth.values()):
        return False
    nodes = set(graph.nodes)
    return all(sum(n in nodes for n in layer._inbound_nodes) <= 1 for layer in graph.layers)


def _class_name(layer):
    name = getattr(layer, "class_label", type(layer).__name__)
    return "Functional" if name == "Model" and layer._graph is not None else name


def _shape_text(layer):
    try:
        shape = layer.output_shape
    except AttributeError:  # several calls with different results, or no symbolic one
        return "multiple"
    return str([shape]) if type(layer).__name__ == "InputLayer" else str(shape)


def _param_text(layer):
    return str(layer.count_params()) if layer.built else "0 (unused)"
