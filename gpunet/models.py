"""Models: functional graphs, stacks of layers, and subclasses of `Model`."""

import numpy as np

from gpunet import registry
from gpunet.errors import GraphError, ShapeError
from gpunet.graph import Graph, Node, SymbolicTensor
from gpunet.layers.base import Layer
from gpunet.layers.input import Input, InputLayer
from gpunet.nest import flatten, map_nest, pack
from gpunet.ops import cast
from gpunet.saving.config import graph_config, graph_from_config, layer_config, layer_from_config
from gpunet.saving.files import Saving, load_model, save_model
from gpunet.summary import print_summary
from gpunet.tensor import Shape, Tensor
from gpunet.training.loop import Trainer

__all__ = ["Model", "Sequential", "load_model", "save_model"]


@registry.layers.register("Functional")
class Model(Layer, Trainer, Saving):
    """Layers joined into one function that can be trained, saved and used as a layer.

    Either give the tensors it goes from and to, or subclass it and write ``call``.

    Args:
        inputs: symbolic tensor from `Input`, or a list or dict of them.
        outputs: symbolic tensor made from them by calling layers, or a list or dict.
        name: str.
        trainable: bool.

    Raises:
        GraphError: outputs that can't be computed from the inputs, or two layers of one name.
    """

    def __init__(self, *args, **kwargs):
        inputs, outputs = _take_ends(args, kwargs)
        name = kwargs.pop("name", args[2] if len(args) > 2 else None)
        if name is None and type(self) in (Model, Sequential):
            kwargs["name"] = None
        super().__init__(name=name, **{k: v for k, v in kwargs.items() if k != "name"})
        self._init_trainer()
        if inputs is not None:
            self._set_graph(inputs, outputs)

    def _set_graph(self, inputs, outputs):
        flat_inputs, flat_outputs = flatten(inputs), flatten(outputs)
        if len({id(t) for t in flat_inputs}) < len(flat_inputs):
            raise GraphError(f"model {self.name!r}: the same tensor is given twice in its inputs")
        self._graph = Graph(flat_inputs, flat_outputs, self.name)
        self._input_nest, self._output_nest = inputs, outputs
        self.inputs, self.outputs = flat_inputs, flat_outputs
        self.built = True
        # Node 0 is the model itself, as in Keras 2: its first call as a layer is node 1.
        creation = Node.__new__(Node)
        creation.layer, creation.args, creation.kwargs = self, (inputs,), {}
        creation.inputs, creation.outputs, creation.structure = flat_inputs, flat_outputs, outputs
        creation.index = 0
        self._inbound_nodes.append(creation)

    # A subclass may set these; for graph models they are filled above.
    _graph = None
    inputs = outputs = None
    _input_nest = _output_nest = None

    # -- parts ----------------------------------------------------------------------------

    @property
    def layers(self):
        """List of the layers, in the order of the graph."""
        return self._sublayers()

    def _sublayers(self):
        own = list(self._graph.layers) if self._graph is not None else []
        seen = {id(layer) for layer in own}
        return own + [layer for layer in super()._sublayers() if id(layer) not in seen]

    @property
    def makes_masks(self):
        """bool, whether a layer inside can put a mask where there was none."""
        return any(layer.makes_masks for layer in self._sublayers())

    _own_mask_rule = False

    def get_layer(self, name=None, index=None):
        """Return a layer by its name or its position in `layers`.

        Raises:
            ValueError: there is none; the text lists those there are.
        """
        layers = self.layers
        if index is not None:
            if not -len(layers) <= index < len(layers):
                raise ValueError(
                    f"get_layer: index {index}, but model {self.name!r} has {len(layers)} layers"
                )
            return layers[index]
        if name is None:
            raise ValueError("get_layer: expected a name or an index")
        for layer in layers:
            if layer.name == name:
                return layer
        raise ValueError(
            f"No such layer: {name}. Model {self.name!r} has {[x.name for x in layers]}"
        )

    @property
    def weights(self):
        """List of all Variables, layer by layer."""
        if self._graph is None:
            return super().weights
        nested = [w for layer in self._sublayers() for w in layer.weights]
        return list({id(w): w for w in nested + self._own_weights()}.values())

    @property
    def input_names(self):
        """List of the names by which inputs are fed."""
        return [t.node.layer.name for t in self.inputs or []]

    @property
    def output_names(self):
        """List of the names of the outputs: those of the layers that make them."""
        if self.outputs is None:
            return []
        names = []
        for t in self.outputs:
            base = name = t.node.layer.name
            number = 1
            while name in names:  # a layer may give several outputs
                name, number = f"{base}_{number}", number + 1
            names.append(name)
        return names

    @property
    def input(self):
        """Symbolic input tensor, or the nest that the model was made with."""
        return self._input_nest if self._graph is not None else super().input

    @property
    def output(self):
        """Symbolic output tensor, or the nest that the model was made with."""
        return self._output_nest if self._graph is not None else super().output

    @property
    def input_shape(self):
        """Shape of the input, or a list of them."""
        if self._graph is None:
            return super().input_shape
        return map_nest(lambda t: tuple(t.shape), self._input_nest)

    @property
    def output_shape(self):
        """Shape of the output, or a list of them."""
        if self._graph is None:
            return super().output_shape
        return map_nest(lambda t: tuple(t.shape), self._output_nest)

    @property
    def stateful(self):
        """bool, whether a layer inside keeps state between batches."""
        return any(layer.stateful for layer in self._sublayers())

    def reset_states(self):
        """Forget the states of all stateful layers."""
        for layer in self._sublayers():
            if layer.stateful and hasattr(layer, "reset_states"):
                layer.reset_states()

    @property
    def state_updates(self):
        """Empty list: state is updated in place."""
        return []

    # -- running --------------------------------------------------------------------------

    def call(self, inputs, training=None, mask=None):
        """Compute the outputs; a subclass without a graph overrides this.

        Args:
            inputs: tensors in the structure of the model's inputs, or a dict by name.
            training: bool.
            mask: mask of the inputs, in their structure.
        """
        if self._graph is None:
            raise NotImplementedError(
                f"{type(self).__name__} {self.name!r}: a subclass of Model must define call()"
            )
        values = self._feed(inputs)
        if mask is not None:
            for t, m in zip(values, flatten(mask), strict=False):
                t._keras_mask = m
        return pack(self._output_nest, self._graph.run(values, training))

    def _feed(self, inputs):
        """Return the flat list of input Tensors, in order and of the right dtypes."""
        if isinstance(inputs, dict) and not isinstance(self._input_nest, dict):
            missing = [n for n in self.input_names if n not in inputs]
            if missing:
                raise ValueError(
                    f"model {self.name!r}: no data for the inputs {missing}, got {list(inputs)}"
                )
            inputs = [inputs[n] for n in self.input_names]
        elif isinstance(inputs, dict):
            inputs = {k: inputs[k] for k in self._input_nest}
        values = flatten(inputs)
        if len(values) != len(self.inputs):
            raise ValueError(
                f"model {self.name!r}: expected {len(self.inputs)} inputs "
                f"{self.input_names}, got {len(values)}"
            )
        return [
            v if v.dtype == t.dtype else _cast(v, t.dtype)
            for v, t in zip(values, self.inputs, strict=True)
        ]

    def _check_inputs(self, inputs):
        if self._graph is None:
            return
        values = inputs if not isinstance(inputs, dict) else [
            inputs[n] for n in (self._input_nest if isinstance(self._input_nest, dict)
                                else self.input_names) if n in inputs
        ]
        for t, value in zip(self.inputs, flatten(values), strict=False):
            check_shape(t, value.shape, f"model {self.name!r}")

    def _to_tensors(self, inputs):
        # Inputs are cast to what the InputLayers say, not to the model's own dtype.
        if self._graph is None:
            return super()._to_tensors(inputs)
        return map_nest(lambda x: x if isinstance(x, Tensor) else _tensor(x), inputs) \
            if _has_arrays(inputs) else _tensor(inputs)

    def _infer(self, args, kwargs):
        if self._graph is None:
            return self._trace(args, kwargs)
        values = [
            v if isinstance(v, SymbolicTensor) else SymbolicTensor(v.shape, v.dtype)
            for v in flatten(self._feed_nest(args[0]))
        ]
        same = [
            v.shape == t.shape and v._keras_mask is None
            for v, t in zip(values, self.inputs, strict=True)
        ]
        outputs = self.outputs if all(same) else self._graph.replay(values)
        return pack(self._output_nest, outputs)

    _trace_graph = _infer

    def _trace(self, args, kwargs):
        return super()._trace(args, kwargs) if self._graph is None else self._infer(args, kwargs)

    def _feed_nest(self, inputs):
        if isinstance(inputs, dict) and not isinstance(self._input_nest, dict):
            return [inputs[n] for n in self.input_names]
        return inputs

    def compute_output_shape(self, input_shape):
        """Return the shape of the output (or a list of them) for a shape of the input."""
        if self._graph is None:
            return super().compute_output_shape(input_shape)
        shapes = [input_shape] if _is_shape(input_shape) else list(input_shape)
        tensors = [
            SymbolicTensor(s, t.dtype) for s, t in zip(shapes, self.inputs, strict=True)
        ]
        return map_nest(
            lambda t: tuple(t.shape), pack(self._output_nest, self._graph.replay(tensors))
        )

    def compute_mask(self, inputs, mask=None):
        """Return None: the outputs carry their own masks."""
        return None

    def build(self, input_shape):
        """Create the weights of a subclassed model by tracing ``call``.

        Args:
            input_shape: tuple with the batch size in front, or a nest of them.
        """
        if self._graph is None and type(self).call is not Model.call:
            nest = input_shape if _is_shape(input_shape) else list(input_shape)
            inputs = (
                SymbolicTensor(nest, self.dtype) if _is_shape(nest)
                else [SymbolicTensor(s, self.dtype) for s in nest]
            )
            self._trace((inputs,), {})
        self.built = True

    # -- seeing and saving ----------------------------------------------------------------

    def summary(self, line_length=None, positions=None, print_fn=None, expand_nested=False,
                show_trainable=False, layer_range=None):
        """Print a table of the layers.

        Args:
            line_length: int, width in characters; 65, or 98 for graphs that branch.
            positions: list of the columns' ends, as parts of the width or in characters.
            print_fn: function of a line; ``print`` by default.
            expand_nested: bool, list the layers of nested models too.
            show_trainable: bool, add a column that says so.
            layer_range: pair of layer names, first and last to be shown.
        """
        if not self.built:
            raise ValueError(
                f"summary: model {self.name!r} isn't built yet. Call it on data, fit it, or "
                "call build(input_shape) first."
            )
        print_summary(self, line_length, positions, print_fn, expand_nested, show_trainable,
                      layer_range)

    def get_config(self):
        """Return the graph as a dict that JSON can hold."""
        if self._graph is None:
            if type(self).__init__ is Model.__init__:
                raise NotImplementedError(
                    f"{type(self).__name__} {self.name!r} is a subclassed model: its structure "
                    "is Python code. Give it a get_config(), or save weights alone."
                )
            return super().get_config()
        return graph_config(self)

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Make a model from what `get_config` returned."""
        if "layers" not in config or "input_layers" not in config:
            return cls(**config)
        inputs, outputs = graph_from_config(config, custom_objects)
        model = cls(inputs=inputs, outputs=outputs, name=config.get("name"))
        if not config.get("trainable", True):
            model._trainable = False
        return model


@registry.layers.register()
class Sequential(Model):
    """A stack of layers, each fed by the one before.

    Args:
        layers: list of layers; the first may say its input's shape, else the first data do.
        name: str.
    """

    def __init__(self, layers=None, name=None, **kwargs):
        super().__init__(name=name, **kwargs)
        self._stack = []
        for layer in layers or []:
            self.add(layer)

    @property
    def layers(self):
        """List of the layers, without the InputLayer."""
        return [layer for layer in self._stack if not isinstance(layer, InputLayer)]

    def _sublayers(self):
        return self.layers

    def add(self, layer):
        """Put a layer on top.

        Raises:
            TypeError: not a layer.
            ValueError: a layer of that name is in the model, or it has several outputs.
        """
        if isinstance(layer, SymbolicTensor) and isinstance(layer.node.layer, InputLayer):
            layer = layer.node.layer
        if not isinstance(layer, Layer):
            raise TypeError(
                f"Sequential.add: expected a Layer, got {type(layer).__name__} ({layer!r})"
            )
        if any(layer.name == other.name for other in self._stack):
            raise ValueError(
                f"All layers added to a Sequential model should have unique names. "
                f'Name "{layer.name}" is already the name of a layer in this model.'
            )
        if self.outputs is not None:
            self._extend(layer)
        elif not self._stack:
            start = self._start_of(layer)
            if start is not None:
                if isinstance(layer, InputLayer):
                    self._stack.append(layer)
                    self.inputs = self.outputs = [start]
                    return
                self.inputs = self.outputs = [start]
                self._extend(layer)
        self._stack.append(layer)
        self._changed()

    def _start_of(self, layer):
        """Return the symbolic input that a first layer asks for, or None."""
        if isinstance(layer, InputLayer):
            return layer._inbound_nodes[0].structure
        shape, dtype = getattr(layer, "_batch_input_shape", None), layer.dtype
        if shape is None and isinstance(layer, Model) and layer.inputs:
            shape, dtype = tuple(layer.inputs[0].shape), layer.inputs[0].dtype.name
        if shape is None:
            return None
        # Keras names it after the layer, and files written by Keras do so too.
        return Input(batch_shape=shape, dtype=dtype, name=f"{layer.name}_input")

    def _extend(self, layer):
        y = layer(self.outputs[0])
        if isinstance(y, (list, tuple, dict)):
            raise ValueError(
                "All layers in a Sequential model should have a single output tensor. "
                "For multi-output layers, use the functional API."
            )
        self.outputs = [y]

    def _changed(self):
        """Forget the graph; it is made again when it is needed."""
        self._inbound_nodes[:] = self._inbound_nodes[1:] if self._made_graph else self._inbound_nodes
        self._made_graph = None
        self.built = self.outputs is not None and len(self.layers) > 0

    _made_graph = None

    @property
    def _graph(self):
        if self._made_graph is None and self.outputs is not None and self.layers:
            self._set_graph(self.inputs[0], self.outputs[0])
        return self._made_graph

    @_graph.setter
    def _graph(self, graph):
        self._made_graph = graph

    def pop(self):
        """Take the last layer off."""
        if not self.layers:
            raise TypeError("There are no layers in the model.")
        layer = self._stack.pop()
        self._changed()
        if self.outputs is not None:
            node = layer._inbound_nodes.pop()
            for parent in node.parents:
                parent.layer._outbound_nodes.remove(node)
            self.outputs = [node.inputs[0]] if self.layers else None
            if not self.layers and self._stack:
                self.outputs = [node.inputs[0]]
        self.built = bool(self.layers) and self.outputs is not None
        return layer

    @property
    def model(self):
        """The model itself; Keras 1 kept the graph in another object."""
        return self

    def build(self, input_shape=None):
        """Create the weights for a shape of the input, batch size in front."""
        if self.outputs is None:
            if input_shape is None:
                raise ValueError(
                    f"Sequential {self.name!r}: the shape of the input isn't known; pass "
                    "input_shape to the first layer or to build()"
                )
            layers, dtype = list(self._stack), self._first_dtype
            if not layers:
                raise ValueError(f"Sequential {self.name!r} has no layers")
            start = Input(
                batch_shape=tuple(input_shape), dtype=dtype, name=f"{layers[0].name}_input"
            )
            self.inputs = self.outputs = [start]
            for layer in layers:
                self._extend(layer)
            self._changed()
        self.built = True

    @property
    def _first_dtype(self):
        return self._stack[0].dtype if self._stack else self.dtype

    def _build_if_needed(self, inputs):
        if self.outputs is None:
            if isinstance(inputs, (list, tuple, dict)):
                raise ValueError(f"Sequential {self.name!r} takes one input, got several")
            self.build((None, *inputs.shape[1:]))

    def predict_proba(self, x, batch_size=32, verbose=0):
        """Return what `predict` returns."""
        return self.predict(x, batch_size=batch_size, verbose=verbose)

    def predict_classes(self, x, batch_size=32, verbose=0):
        """Return the most probable class of each sample."""
        p = self.predict(x, batch_size=batch_size, verbose=verbose)
        return np.argmax(p, axis=-1) if p.shape[-1] > 1 else (p > 0.5).astype("int32")

    def get_config(self):
        """Return the layers as a dict that JSON can hold."""
        layers = list(self._stack)
        if self.inputs is not None and not (layers and isinstance(layers[0], InputLayer)):
            layers.insert(0, self.inputs[0].node.layer)
        return {"name": self.name, "layers": [layer_config(layer) for layer in layers]}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Make a model from what `get_config` returned, or from a bare list of layers."""
        if isinstance(config, list):
            config = {"layers": config}
        model = cls(name=config.get("name"))
        for entry in config.get("layers", []):
            model.add(layer_from_config(entry, custom_objects))
        if model.outputs is None and config.get("build_input_shape") and model.layers:
            model.build(config["build_input_shape"])
        return model


def _take_ends(args, kwargs):
    """Take inputs and outputs out of a model's constructor arguments."""
    inputs = kwargs.pop("inputs", kwargs.pop("input", args[0] if args else None))
    outputs = kwargs.pop("outputs", kwargs.pop("output", args[1] if len(args) > 1 else None))
    if (inputs is None) != (outputs is None):
        raise ValueError("Model: expected both inputs and outputs, or neither")
    return inputs, outputs


def _is_shape(value):
    return isinstance(value, (tuple, list)) and all(
        n is None or isinstance(n, (int, np.integer)) for n in value
    )


def _has_arrays(nest):
    return any(hasattr(t, "dtype") for t in flatten(nest))


def _tensor(x):
    from gpunet.tensor import as_array

    return Tensor(as_array(x))


def _cast(value, dtype):
    if isinstance(value, SymbolicTensor):
        return cast(value, dtype.name)
    made = Tensor(value.array.astype(dtype)) if value.dtype.kind != "f" else cast(value, dtype.name)
    mask = getattr(value, "_keras_mask", None)
    if mask is not None:
        made._keras_mask = mask
    return made


def check_shape(tensor, shape, who):
    """Raise a ShapeError unless data of a shape fit a symbolic input."""
    wanted = tensor.shape
    fits = len(shape) == len(wanted) and all(
        w is None or g is None or w == g for w, g in zip(wanted, shape, strict=True)
    )
    if not fits:
        raise ShapeError(
            f"{who}: input {tensor.node.layer.name!r} expected shape {wanted}, got {Shape(shape)}"
        )
