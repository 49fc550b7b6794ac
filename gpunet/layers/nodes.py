"""What a layer tells about its calls: inputs, outputs and shapes by node."""

from gpunet.nest import map_nest

__all__ = ["NodeAccess"]


class NodeAccess:
    """Mixin with the properties and methods that read ``_inbound_nodes``."""

    @property
    def inbound_nodes(self):
        """List of the Nodes that are calls of this layer."""
        return self._inbound_nodes

    @property
    def outbound_nodes(self):
        """List of the Nodes that use an output of this layer."""
        return self._outbound_nodes

    @property
    def input(self):
        """Symbolic input tensor (or nest), if the layer was called once."""
        return self._only("input", lambda node: node.first)

    @property
    def output(self):
        """Symbolic output tensor (or nest), if the layer was called once."""
        return self._only("output", lambda node: node.structure)

    @property
    def input_mask(self):
        """Mask of the input, if the layer was called once."""
        return self._only("input mask", lambda node: _mask(node.first))

    @property
    def output_mask(self):
        """Mask of the output, if the layer was called once."""
        return self._only("output mask", lambda node: _mask(node.structure))

    @property
    def input_shape(self):
        """Shape of the input, if it is the same for all calls."""
        return self._common("input", lambda node: node.first)

    @property
    def output_shape(self):
        """Shape of the output, if it is the same for all calls."""
        return self._common("output", lambda node: node.structure)

    def get_input_at(self, node_index):
        """Return the symbolic input of a call."""
        return self._at(node_index, "input").first

    def get_output_at(self, node_index):
        """Return the symbolic output of a call."""
        return self._at(node_index, "output").structure

    def get_input_shape_at(self, node_index):
        """Return the shape of the input of a call."""
        return _shape(self._at(node_index, "input shape").first)

    def get_output_shape_at(self, node_index):
        """Return the shape of the output of a call."""
        return _shape(self._at(node_index, "output shape").structure)

    def get_input_mask_at(self, node_index):
        """Return the mask of the input of a call."""
        return _mask(self._at(node_index, "input mask").first)

    def get_output_mask_at(self, node_index):
        """Return the mask of the output of a call."""
        return _mask(self._at(node_index, "output mask").structure)

    def _calls(self, what):
        if not self._inbound_nodes:
            raise AttributeError(
                f"Layer {self.name} has no inbound nodes: it has no {what} until it is called on a "
                "symbolic tensor."
            )
        return self._inbound_nodes

    def _only(self, what, read):
        nodes = self._calls(what)
        if len(nodes) > 1:
            raise AttributeError(
                f'Layer {self.name} has multiple inbound nodes, hence the notion of "layer '
                f'{what}" is ill-defined. Use `get_{what.replace(" ", "_")}_at(node_index)` '
                "instead."
            )
        return read(nodes[0])

    def _common(self, what, read):
        shapes = [_shape(read(node)) for node in self._calls(f"{what} shape")]
        if any(s != shapes[0] for s in shapes):
            raise AttributeError(
                f'The layer "{self.name}" has multiple inbound nodes with different {what} '
                f'shapes. Hence the notion of "{what} shape" is ill-defined for the layer. '
                f"Use `get_{what}_shape_at(node_index)` instead."
            )
        return shapes[0]

    def _at(self, index, what):
        nodes = self._calls(what)
        try:
            return nodes[index]
        except IndexError:
            raise ValueError(
                f"Layer {self.name}: asked to get {what} at node {index}, but the layer has only "
                f"{len(nodes)} inbound nodes."
            ) from None


def _shape(nest):
    return map_nest(lambda t: tuple(t.shape), nest)


def _mask(nest):
    return map_nest(lambda t: getattr(t, "_keras_mask", None), nest)
