"""Sequential: a stack of layers."""

import numpy as np

from gpunet import registry
from gpunet.context import graph_scope
from gpunet.graph import SymbolicTensor
from gpunet.layers.base import Layer
from gpunet.layers.input import Input, InputLayer
from gpunet.models.model import Model
from gpunet.nest import is_nested
from gpunet.saving.config import layer_config, layer_from_config
from gpunet.saving.unknown import with_all_unknown

__all__ = ["Sequential"]


@registry.layers.register()
class Sequential(Model):
    """A stack of layers, each fed by the one before.

    Args:
        layers: list of layers; the first may say its input's shape, else the first data do.
        name: str.
    """

    _made_graph = None

    def __init__(self, layers=None, name=None, **kwargs):
        super().__init__(name=name, **kwargs)
        self._stack = []
        for layer in layers if isinstance(layers, (list, tuple)) else [layers]:
            if layer is not None:
                self.add(layer)

    @property
    def layers(self):
        """List of the layers, without the InputLayer."""
        return [layer for layer in self._stack if not isinstance(layer, InputLayer)]

    def _sublayers(self):
        return self.layers

    # -- the stack ------------------------------------------------------------------------

    def add(self, layer):
        """Put a layer on top.

        Raises:
            TypeError: not a layer.
            ValueError: a layer of that name is in the model, or it has several outputs.
        """
        if isinstance(layer, SymbolicTensor) and isinstance(layer.node.layer, InputLayer):
            layer = layer.node.layer
        if not isinstance(layer, Layer):
            raise TypeError(f"The added layer must be an instance of class Layer. Found: {layer!r}")
        if any(layer.name == other.name for other in self._stack):
            raise ValueError(
                "All layers added to a Sequential model should have unique names. "
                f'Name "{layer.name}" is already the name of a layer in this model.'
            )
        if not self._stack and (start := self._start_of(layer)) is not None:
            self.inputs = self.outputs = [start]
        if self.outputs is not None and not isinstance(layer, InputLayer):
            self._extend(layer)
        self._stack.append(layer)
        self._changed()

    def pop(self):
        """Take the last layer off and return it.

        Raises:
            TypeError: there is none.
        """
        if not self.layers:
            raise TypeError("There are no layers in the model.")
        layer = self._stack.pop()
        if self.outputs is not None:
            node = self.outputs[0].node
            self.outputs = list(node.inputs)
            if layer._inbound_nodes[-1] is node:  # others keep their numbers
                layer._inbound_nodes.pop()
                for parent in node.parents:
                    parent.layer._outbound_nodes.remove(node)
        if not self._stack:
            self.inputs = self.outputs = None
        self._changed()
        return layer

    def _start_of(self, layer):
        """Return the symbolic input that a first layer asks for, or None."""
        if isinstance(layer, InputLayer):
            return layer._inbound_nodes[0].structure
        shape, dtype = getattr(layer, "_batch_input_shape", None), layer.dtype
        if shape is None and isinstance(layer, Model) and layer.inputs:
            shape, dtype = layer.inputs[0].shape, layer.inputs[0].dtype.name
        return None if shape is None else self._start(layer, shape, dtype)

    @staticmethod
    def _start(layer, shape, dtype):
        # Keras names it after the layer, and files written by Keras do so too.
        return Input(batch_shape=tuple(shape), dtype=dtype, name=f"{layer.name}_input")

    def _extend(self, layer):
        y = layer(self.outputs[0])
        if is_nested(y):
            raise ValueError(
                "All layers in a Sequential model should have a single output tensor. "
                "For multi-output layers, use the functional API."
            )
        self.outputs = [y]

    def _changed(self):
        """Forget the graph; another is made when it is needed."""
        self._made_graph = None
        self.built = self.outputs is not None and bool(self.layers)

    @property
    def _graph(self):
        if self._made_graph is None and self.outputs is not None and self.layers:
            self._set_graph(self.inputs[0], self.outputs[0])
        return self._made_graph

    @_graph.setter
    def _graph(self, graph):
        self._made_graph = graph

    @property
    def model(self):
        """The model itself; Keras 1 kept the graph in another object."""
        return self

    def __setstate__(self, state):
        super().__setstate__(state)
        if self.outputs is None and self._stack and isinstance(self._stack[0], InputLayer):
            self.inputs = self.outputs = [self._start_of(self._stack[0])]

    # -- building -------------------------------------------------------------------------

    def build(self, input_shape=None):
        """Create the weights.

        Args:
            input_shape: tuple with the batch size in front; needed unless a layer says it.

        Raises:
            ValueError: no layers, or no shape.
        """
        if self.outputs is None:
            if not self._stack:
                raise ValueError(f"Sequential {self.name!r} has no layers")
            if input_shape is None:
                raise ValueError(
                    f"Sequential {self.name!r}: the shape of the input isn't known; pass "
                    "input_shape to the first layer or to build()"
                )
            first = self._stack[0]
            start = self._start(first, input_shape, first.dtype)
            self.inputs = self.outputs = [start]
            try:
                with graph_scope():  # a layer around it may be traced for its shapes
                    for layer in self._stack:
                        self._extend(layer)
            except Exception:
                self.inputs = self.outputs = None
                raise
            self._changed()

    def _build_if_needed(self, inputs):
        if self.outputs is None:
            if is_nested(inputs):
                raise ValueError(f"Sequential {self.name!r} takes one input, got several")
            self.build((None, *inputs.shape[1:]))

    def predict_proba(self, x, batch_size=32, verbose=0):
        """Return what `predict` returns."""
        return self.predict(x, batch_size=batch_size, verbose=verbose)

    def predict_classes(self, x, batch_size=32, verbose=0):
        """Return the most probable class of each sample."""
        p = self.predict(x, batch_size=batch_size, verbose=verbose)
        return np.argmax(p, axis=-1) if p.shape[-1] > 1 else (p > 0.5).astype("int32")

    # -- config ---------------------------------------------------------------------------

    def get_config(self):
        """Return the layers as a dict that JSON can hold."""
        layers = list(self._stack)
        if self.inputs is not None and not (layers and isinstance(layers[0], InputLayer)):
            layers.insert(0, self.inputs[0].node.layer)
        return {"name": self.name, "layers": [layer_config(layer) for layer in layers]}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Make a model from what `get_config` returned, or from a bare list of layers.

        Args:
            config: dict, or list as Keras wrote before version 2.2.3.
            custom_objects: dict name -> class or function.
        """
        if isinstance(config, list):
            config = {"layers": config}
        model = cls(name=config.get("name"))
        with with_all_unknown(config, custom_objects=custom_objects):
            for entry in config.get("layers", []):
                model.add(layer_from_config(entry, custom_objects))
        if model.outputs is None and config.get("build_input_shape") and model.layers:
            model.build(config["build_input_shape"])
        return model
