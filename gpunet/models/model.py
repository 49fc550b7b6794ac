"""Model: a functional graph that can be trained, or a subclass with a ``call`` of its own."""

from gpunet import ops, registry
from gpunet.autodiff.autocast import casting_variables
from gpunet.errors import GraphError, ShapeError
from gpunet.graph import Graph, Node, SymbolicTensor, node_of
from gpunet.layers.arguments import STRINGS, is_shape
from gpunet.layers.base import Layer
from gpunet.layers.input import Input, InputLayer
from gpunet.layers.masks import mask_of
from gpunet.models.copying import Copied
from gpunet.models.replaying import Replayed
from gpunet.nest import flatten, map_nest, pack
from gpunet.saving.compiled import compile_from, training_config
from gpunet.saving.config import graph_config, graph_from_config
from gpunet.saving.files import Saving
from gpunet.saving.unknown import with_all_unknown
from gpunet.summary import print_summary
from gpunet.tensor import Shape, Tensor
from gpunet.training.loop import Trainer

__all__ = ["Model"]


@registry.layers.register("Functional")
class Model(Copied, Replayed, Layer, Trainer, Saving):
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

    # A subclass without a graph leaves these as they are.
    _graph = None
    inputs = outputs = None
    _input_nest = _output_nest = None
    _own_mask_rule = False  # what runs inside it gives the outputs their masks
    metrics = Trainer.metrics  # not what layers say of theirs

    def __init__(self, *args, **kwargs):
        inputs, outputs = _take_ends(args, kwargs)
        if len(args) > 2:
            kwargs.setdefault("name", args[2])
        super().__init__(**kwargs)
        self._init_trainer()
        if inputs is not None:
            self._set_graph(inputs, outputs)

    def _set_graph(self, inputs, outputs):
        given = flatten(inputs)
        if len(set(map(id, given))) < len(given):
            raise GraphError(f"model {self.name!r}: the same tensor is given twice in its inputs")
        for t in given:
            node_of(t, f"inputs of model {self.name!r}")
        # A tensor in the middle of another graph gives way to an input of its own.
        aliases = {
            t: Input(batch_shape=t.shape, dtype=t.dtype.name)
            for t in given
            if not isinstance(t.node.layer, InputLayer)
        }
        starts = [aliases.get(t, t) for t in given]
        self._graph = Graph(starts, flatten(outputs), self.name, aliases)
        self._input_nest, self._output_nest = pack(inputs, starts), outputs
        self.inputs, self.outputs = starts, self._graph.outputs
        self.built = True
        Node.of_model(self, self._input_nest, outputs)

    # -- parts ----------------------------------------------------------------------------

    @property
    def layers(self):
        """List of the layers, in the order of the graph."""
        return self._sublayers()

    def _sublayers(self):
        own = []
        if self._graph is not None:
            # What only leads to losses and metrics comes last.
            own = [*self._graph.layers, *self._whole_graph()[0].layers]
        return list(dict.fromkeys(own + super()._sublayers()))

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
        """List of all Variables, layer by layer, those of nested models too."""
        return list({id(w): w for w in self._weights_by_layer()}.values())

    def _weights_by_layer(self, above=()):
        found, above = [], (*above, self)
        for layer in self._sublayers():
            if isinstance(layer, Model):
                found += () if layer in above else layer._weights_by_layer(above)
            else:
                found += layer.weights
        return found + self._own_weights()

    def _split_weights(self, above=()):
        own = self._own_weights()
        inner = self._split_inner(above)
        trained = [w for part, _ in inner for w in part] + [w for w in own if w.trainable]
        others = [w for _, part in inner for w in part] + [w for w in own if not w.trainable]
        return (trained, others) if self._trainable else ([], trained + others)

    @property
    def input_names(self):
        """List of the names by which inputs are fed."""
        return [t.node.layer.name for t in self.inputs or []]

    @property
    def output_names(self):
        """List of the names of the outputs: those of the layers that make them."""
        names = []
        for t in self.outputs or []:
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
        return _shapes(self._input_nest) if self._graph is not None else super().input_shape

    @property
    def output_shape(self):
        """Shape of the output, or a list of them."""
        return _shapes(self._output_nest) if self._graph is not None else super().output_shape

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
            values = [_masked(t, m) for t, m in zip(values, self._in_order(mask), strict=True)]
        graph, losses, metrics = self._whole_graph()
        results = self._run_graph(graph, values, training)
        if graph is not self._graph:
            results, added = results[: len(self.outputs)], results[len(self.outputs) :]
            for loss in added[: len(losses)]:
                self.add_loss(loss)
            for (name, _), value in zip(metrics, added[len(losses) :]):
                self.add_metric(value, name)
        return pack(self._output_nest, results)

    def _in_order(self, nest):
        """Return what is given for the inputs, in the structure of the inputs or by name, flat.

        Raises:
            ValueError: something missing, or too much.
        """
        if isinstance(nest, dict):
            names = self._input_nest if isinstance(self._input_nest, dict) else self.input_names
            missing = [n for n in names if n not in nest]
            if missing:
                raise ValueError(
                    f"model {self.name!r}: no data for the inputs {missing}, got {list(nest)}"
                )
            nest = [nest[n] for n in names]
        values = flatten(nest)
        if len(values) != len(self.inputs):
            raise ValueError(
                f"model {self.name!r}: expected {len(self.inputs)} inputs {self.input_names}, "
                f"got {len(values)}"
            )
        return values

    def _feed(self, inputs):
        """Return the flat list of input Tensors, in order and of the dtypes of the graph."""
        return [
            v if v.dtype == t.dtype else _cast(v, t.dtype)
            for v, t in zip(self._in_order(inputs), self.inputs, strict=True)
        ]

    @property
    def takes_strings(self):
        """bool, whether an input of the graph was made with dtype ``'string'``."""
        return self._graph is not None and any(t.dtype == STRINGS for t in self.inputs)

    def _own_precision(self):
        # In a graph each layer has its own.
        return super()._own_precision() if self._graph is None else casting_variables(None)

    def casts(self, inputs):
        """Return False for a graph: inputs are cast to what its InputLayers say."""
        return self._graph is None and super().casts(inputs)

    def _check_inputs(self, inputs):
        if self._graph is not None:
            for t, value in zip(self.inputs, self._in_order(inputs), strict=True):
                check_shape(t, value.shape, f"model {self.name!r}")

    def _build_if_needed(self, inputs):
        # A subclass without a build() of its own is built by running: its call() may look at
        # values, which tracing doesn't have.
        if self._graph is None and type(self).build is Model.build:
            self.built = True
        else:
            super()._build_if_needed(inputs)

    def _trace(self, args, kwargs):
        if self._graph is None:
            return super()._trace(args, kwargs)
        values = [
            SymbolicTensor(v.shape, t.dtype)
            if not isinstance(v, SymbolicTensor) or v.dtype != t.dtype
            else v
            for v, t in zip(self._in_order(args[0]), self.inputs, strict=True)
        ]
        same = all(
            v.shape == t.shape and mask_of(v) is None
            for v, t in zip(values, self.inputs, strict=True)
        )
        return pack(self._output_nest, self.outputs if same else self._graph.replay(values))

    def compute_output_shape(self, input_shape):
        """Return the shape of the output (or a list of them) for a shape of the input."""
        if self._graph is None:
            return super().compute_output_shape(input_shape)
        shapes = [input_shape] if is_shape(input_shape) else self._in_order_shapes(input_shape)
        tensors = [SymbolicTensor(s, t.dtype) for s, t in zip(shapes, self.inputs, strict=True)]
        return _shapes(pack(self._output_nest, self._graph.replay(tensors)))

    def _in_order_shapes(self, shapes):
        if isinstance(shapes, dict):
            return [shapes[n] for n in self.input_names]
        return list(shapes)

    def build(self, input_shape):
        """Create the weights of a subclassed model by tracing ``call``.

        Args:
            input_shape: tuple with the batch size in front, or a nest of them.
        """
        if self._graph is None:
            self.built = True
            if type(self).call is not Model.call:
                super().compute_output_shape(input_shape)

    # -- seeing and saving ----------------------------------------------------------------

    def summary(self, line_length=None, positions=None, print_fn=None, expand_nested=False,
                show_trainable=False, layer_range=None):  # fmt: skip
        """Print a table of the layers.

        Args:
            line_length: int, width in characters; 65, or 98 for graphs that branch.
            positions: list of the columns' ends, as parts of the width or in characters.
            print_fn: function of a line; ``print`` by default.
            expand_nested: bool, list the layers of nested models too.
            show_trainable: bool, add a column that says so.
            layer_range: pair of layer names, first and last to be shown.

        Raises:
            ValueError: the model isn't built yet.
        """
        if not self.built:
            raise ValueError(
                "This model has not yet been built. Build the model first by calling `build()` "
                "or by calling the model on a batch of data."
            )
        print_summary(
            self, line_length, positions, print_fn, expand_nested, show_trainable, layer_range
        )

    def _repr_svg_(self):
        """Return a drawing for notebooks, None where there is no graph to be drawn."""
        if not self.built or self._graph is None:
            return None
        from gpunet.plotting import plot_model

        return plot_model(self, to_file=None, show_shapes=True).svg()

    def get_config(self):
        """Return the graph as a dict that JSON can hold."""
        if self._graph is not None:
            return graph_config(self)
        if type(self).__init__ is Model.__init__:
            raise NotImplementedError(
                f"{type(self).__name__} {self.name!r} is a subclassed model: its structure "
                "is Python code. Give it a get_config(), or save weights alone."
            )
        return super().get_config()

    def get_compile_config(self):
        """Return what `compile` was given, as a dict that JSON can hold; None before."""
        if self._compiled is None:
            return None
        config = training_config(self)
        return {"optimizer": config.pop("optimizer_config"), **config}

    def compile_from_config(self, config):
        """Compile the model with what `get_compile_config` returned.

        Args:
            config: dict, or None, which does nothing.
        """
        if config is not None:
            config = dict(config)
            compile_from(self, {"optimizer_config": config.pop("optimizer"), **config})

    def to_yaml(self, **kwargs):
        """Raise an error: YAML can run code while it is read, so Keras took it out as well.

        Raises:
            RuntimeError: always.
        """
        raise RuntimeError(
            "Method `model.to_yaml()` has been removed due to security risk of arbitrary code "
            "execution. Please use `model.to_json()` instead."
        )

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Make a model from what `get_config` returned.

        Args:
            config: dict.
            custom_objects: dict name -> class or function.
        """
        if "layers" not in config or "input_layers" not in config:
            with registry.custom_object_scope(custom_objects):
                return super().from_config(config)
        with with_all_unknown(config, custom_objects=custom_objects):
            inputs, outputs, losses, metrics = graph_from_config(config, custom_objects)
        model = cls(inputs=inputs, outputs=outputs, name=config.get("name"))
        model._losses += losses
        model._reports += metrics
        model._trainable = bool(config.get("trainable", True))
        return model


def check_shape(tensor, shape, who):
    """Raise a ShapeError unless data of a shape fit a symbolic input.

    Args:
        tensor: SymbolicTensor of an InputLayer.
        shape: tuple, the shape of the data.
        who: str for the error text.
    """
    wanted = tensor.shape
    fits = len(shape) == len(wanted) and all(
        w is None or g is None or w == g for w, g in zip(wanted, shape, strict=True)
    )
    if not fits:
        raise ShapeError(
            f"{who}: input {tensor.node.layer.name!r} expected shape {wanted}, got {Shape(shape)}"
        )


def _take_ends(args, kwargs):
    """Take inputs and outputs out of a model's constructor arguments."""
    inputs = kwargs.pop("inputs", kwargs.pop("input", args[0] if args else None))
    outputs = kwargs.pop("outputs", kwargs.pop("output", args[1] if len(args) > 1 else None))
    if (inputs is None) != (outputs is None):
        raise ValueError("Model: expected both inputs and outputs, or neither")
    return inputs, outputs


def _shapes(nest):
    return map_nest(lambda t: tuple(t.shape), nest)


def _cast(value, dtype):
    return _masked(ops.cast(value, dtype.name), mask_of(value))


def _masked(tensor, mask):
    """Return a tensor with a mask; the one given stays as it is."""
    if mask is None or mask_of(tensor) is mask:
        return tensor
    tensor = ops.identity(tensor)
    tensor._keras_mask = mask if isinstance(mask, Tensor) else ops.convert_to_tensor(mask)
    return tensor
