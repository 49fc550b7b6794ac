"""The base of all layers: weights, naming, building, being called, config.

A layer's author writes ``__init__``, ``build``, ``call`` and, if it helps, shape and mask
rules.  Everything else follows: `Layer.__new__` keeps the constructor's arguments, from which
`get_config` comes, and `add_weight("kernel", shape)` finds ``kernel_initializer``,
``kernel_regularizer`` and ``kernel_constraint`` among the layer's attributes.
"""

import inspect
from contextvars import ContextVar

import numpy as np

from gpunet import activations, config, constraints, initializers, ops, registry, regularizers
from gpunet.autodiff import no_tape
from gpunet.context import (
    learning_phase,
    learning_phase_scope,
    name_scope,
    scoped_name,
    snake_case,
    trace_scope,
    tracing,
    unique_name,
)
from gpunet.errors import ShapeError
from gpunet.graph import Node, SymbolicTensor
from gpunet.layers.nodes import NodeAccess
from gpunet.nest import flatten, map_nest, pack
from gpunet.tensor import Shape, Tensor, as_array
from gpunet.variables import Variable

__all__ = ["Layer", "InputSpec", "loss_scope"]

# Losses that layers add while a model runs, collected by whoever runs it.
_added_losses = ContextVar("gpunet_added_losses", default=None)

# What a config key is, told by its name.
_KINDS = {
    "activation": activations,
    "initializer": initializers,
    "regularizer": regularizers,
    "constraint": constraints,
}


class InputSpec:
    """What a layer expects of an input; checked whenever it is called.

    Args:
        dtype: unused by the checks, kept for scripts that read it.
        shape: tuple, None for sizes that are free.
        ndim: int, exact rank.
        max_ndim, min_ndim: int, bounds of the rank.
        axes: dict axis -> size.
    """

    def __init__(self, dtype=None, shape=None, ndim=None, max_ndim=None, min_ndim=None, axes=None):
        self.dtype, self.shape = dtype, shape
        self.ndim = len(shape) if shape is not None else ndim
        self.max_ndim, self.min_ndim = max_ndim, min_ndim
        self.axes = axes or {}

    def check(self, layer, shape):
        """Raise a ShapeError that names the layer unless a shape fits."""
        who = f"{type(layer).__name__} {layer.name!r}"
        rank = len(shape)
        wanted = None
        if self.ndim is not None and rank != self.ndim:
            wanted = f"an input of rank {self.ndim}"
        elif self.max_ndim is not None and rank > self.max_ndim:
            wanted = f"an input of rank at most {self.max_ndim}"
        elif self.min_ndim is not None and rank < self.min_ndim:
            wanted = f"an input of rank at least {self.min_ndim}"
        if wanted:
            raise ShapeError(f"{who}: expected {wanted}, got rank {rank} (input shape {shape})")
        for axis, size in self.axes.items():
            if size is not None and shape[axis] not in (None, size):
                raise ShapeError(
                    f"{who}: expected size {size} along axis {axis}, got {shape[axis]} "
                    f"(input shape {shape})"
                )
        if self.shape is not None:
            for got, want in zip(shape, self.shape, strict=True):
                if None not in (got, want) and got != want:
                    raise ShapeError(f"{who}: expected input shape {self.shape}, got {shape}")


class loss_scope:
    """Context that collects the losses which layers add while it is active.

    Attributes:
        losses: list of scalar tensors.
    """

    def __enter__(self):
        self.losses = []
        self._token = _added_losses.set(self.losses)
        return self

    def __exit__(self, *_):
        _added_losses.reset(self._token)


class Layer(NodeAccess):
    """A function of tensors that may own weights.

    Args:
        trainable: bool, whether its weights are trained.
        name: str; made from the class name by default.
        dtype: name of the float type of weights and results; `config.floatx()` by default.
        **kwargs: ``input_shape``, ``batch_input_shape``, ``batch_size``, ``input_dim``,
            ``input_length`` (the shape of the input of a Sequential model's first layer),
            ``weights`` (list of arrays to start from), ``activity_regularizer``,
            ``autocast``, ``dynamic``.

    Raises:
        TypeError: an unknown argument.
    """

    # Built-in layers whose compute_output_shape tells all; others are traced.
    has_shape_rule = False
    # Whether the output has the dtype of the input and not the layer's.
    keeps_dtype = False
    supports_masking = False
    stateful = False
    built = False
    input_spec = None
    activity_regularizer = None
    _takes_training = _takes_mask = _takes_any = False

    def __new__(cls, *args, **kwargs):
        self = super().__new__(cls)
        # Written past __setattr__ so that subclasses may override that.
        self.__dict__.update(
            _constructor=(args, kwargs), _weights=[], _inbound_nodes=[], _outbound_nodes=[],
            _losses=[], _trainable=True,
        )
        return self

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        parameters = inspect.signature(cls.call).parameters.values()
        names = {p.name for p in parameters}
        anything = any(p.kind is p.VAR_KEYWORD for p in parameters)
        cls._takes_training = "training" in names
        cls._takes_mask = "mask" in names
        cls._takes_any = anything
        if "has_shape_rule" not in cls.__dict__ and "call" in cls.__dict__:
            cls.has_shape_rule = False  # a user's subclass of a built-in layer

    def __init__(self, trainable=True, name=None, dtype=None, **kwargs):
        self._trainable = bool(trainable)
        if name is not None and not isinstance(name, str):
            raise TypeError(f"{type(self).__name__}: expected a str as name, got {name!r}")
        self._name = unique_name(snake_case(type(self).__name__), name)
        self.dtype = _dtype_name(dtype)
        shape = _batch_input_shape(kwargs)
        if shape is not None:
            self._batch_input_shape = shape
        self._initial_weights = kwargs.pop("weights", None)
        kwargs.pop("autocast", None)
        kwargs.pop("dynamic", None)
        regularizer = kwargs.pop("activity_regularizer", None)
        if regularizer is not None:
            self.activity_regularizer = regularizers.get(regularizer)
        if kwargs:
            known = ", ".join(map(repr, kwargs))
            raise TypeError(f"{type(self).__name__} {self._name!r}: unknown argument {known}")

    @property
    def name(self):
        """str, unique in a model."""
        if "_name" not in self.__dict__:
            raise RuntimeError(
                f"{type(self).__name__}.__init__ must call super().__init__(**kwargs) "
                "before the layer is used"
            )
        return self._name

    @property
    def makes_masks(self):
        """bool, whether it can put a mask where there was none."""
        return type(self).compute_mask is not Layer.compute_mask or any(
            layer.makes_masks for layer in self._sublayers()
        )

    def __repr__(self):
        return f"<{type(self).__name__} {self.__dict__.get('_name', '?')!r}>"

    # -- to be overridden -----------------------------------------------------------------

    def build(self, input_shape):
        """Create the weights; called once, before the first call.

        Args:
            input_shape: Shape of the input, or a nest of them.
        """
        self.built = True

    def call(self, inputs, *args, **kwargs):
        """Compute the output.

        Args:
            inputs: Tensor or nest of them.
        """
        return inputs

    def compute_output_shape(self, input_shape):
        """Return the shape of the output for a shape of the input."""
        inputs = _placeholders(input_shape, self.dtype)
        self._build_if_needed(inputs)
        return map_nest(lambda t: t.shape, self._trace((inputs,), {}))

    def compute_mask(self, inputs, mask=None):
        """Return the mask of the output: the input's where the layer supports masks."""
        if not self.supports_masking:
            return None
        return mask

    # -- weights --------------------------------------------------------------------------

    def add_weight(self, name=None, shape=None, dtype=None, initializer=None, regularizer=None,
                   trainable=None, constraint=None, **kwargs):
        """Create a weight.

        Args:
            name: str; what is left out below is looked up as ``<name>_initializer``,
                ``<name>_regularizer``, ``<name>_constraint`` on the layer.
            shape: tuple of ints; None means a scalar.
            dtype: name; the layer's by default.
            initializer: see `gpunet.initializers`; Glorot uniform for floats by default.
            regularizer: see `gpunet.regularizers`.
            trainable: bool, True by default.
            constraint: see `gpunet.constraints`.
            **kwargs: arguments of later versions of Keras that change nothing here.

        Returns:
            Variable.
        """
        if name is not None and not isinstance(name, str):  # Keras 2.0: add_weight(shape, ...)
            name, shape = shape if isinstance(shape, str) else None, name
        given = name
        name = self._unused_weight_name(name or "weight")
        shape = tuple(int(n) if n is not None else None for n in (() if shape is None else shape))
        if None in shape:
            raise ShapeError(
                f"{type(self).__name__} {self.name!r}: weight {name!r} needs a known shape, "
                f"got {shape}; the layer was built on an input of unknown size"
            )
        dtype = _dtype_name(dtype or self.dtype)
        if given is not None:
            initializer = initializer or getattr(self, given + "_initializer", None)
            regularizer = regularizer or getattr(self, given + "_regularizer", None)
            constraint = constraint or getattr(self, given + "_constraint", None)
        if initializer is None:
            initializer = "glorot_uniform" if dtype.startswith("float") else "zeros"
        weight = Variable(
            initializers.bind(initializers.get(initializer), shape, dtype),
            shape=shape,
            dtype=dtype,
            name=f"{scoped_name(self._scope_name())}{name}:0",
            trainable=trainable is None or trainable,
            constraint=constraints.get(constraint),
            regularizer=regularizers.get(regularizer),
        )
        self._weights.append(weight)
        return weight

    def _scope_name(self):
        # Inside build() the layer's own scope is active already.
        return "" if scoped_name("").endswith(f"{self.name}/") else f"{self.name}/"

    def _unused_weight_name(self, name):
        taken = {w.name.rpartition("/")[2].removesuffix(":0") for w in self._weights}
        if name not in taken:
            return name
        return next(f"{name}_{n}" for n in range(1, len(taken) + 2) if f"{name}_{n}" not in taken)

    def _sublayers(self):
        """Return the layers held in attributes, lists, tuples and dicts, each once."""
        found = {}
        for attribute, value in self.__dict__.items():
            if attribute not in _PRIVATE:
                _find(value, Layer, found)
        found.pop(id(self), None)
        return list(found.values())

    def _own_weights(self):
        found = {id(w): w for w in self._weights}
        for attribute, value in self.__dict__.items():
            if attribute not in _PRIVATE:
                _find(value, Variable, found)
        return list(found.values())

    def _all_weights(self):
        """Return (own and nested weights, whether each is trained) pairs."""
        pairs = [(w, w.trainable and self._trainable) for w in self._own_weights()]
        for layer in self._sublayers():
            pairs += [(w, t and self._trainable) for w, t in layer._all_weights()]
        return pairs

    @property
    def trainable_weights(self):
        """List of the Variables that training changes."""
        return _unique(w for w, trained in self._all_weights() if trained)

    @property
    def non_trainable_weights(self):
        """List of the Variables that training leaves alone."""
        trained = {id(w) for w in self.trainable_weights}
        return _unique(w for w, _ in self._all_weights() if id(w) not in trained)

    @property
    def weights(self):
        """List of all Variables: the trained ones, then the others."""
        return self.trainable_weights + self.non_trainable_weights

    # The names that later versions of Keras use; lambdas, so that overriding one reaches both.
    variables = property(lambda self: self.weights)
    trainable_variables = property(lambda self: self.trainable_weights)
    non_trainable_variables = property(lambda self: self.non_trainable_weights)

    @property
    def trainable(self):
        """bool, whether its weights are trained; setting it reaches nested layers."""
        return self._trainable

    @trainable.setter
    def trainable(self, value):
        self._trainable = bool(value)
        for layer in self._sublayers():
            layer.trainable = value

    def count_params(self):
        """Return the number of elements of all weights."""
        if not self.built:
            raise ValueError(
                f"count_params: {type(self).__name__} {self.name!r} isn't built yet, so it has "
                "no weights; call it on data or build(input_shape) first"
            )
        return sum(w.size for w in self.weights)

    def get_weights(self):
        """Return copies of the weights as a list of numpy arrays."""
        return [w.numpy() for w in self.weights]

    def set_weights(self, weights):
        """Write all weights.

        Args:
            weights: list of arrays in the order of `weights`.

        Raises:
            ValueError: a wrong number or shape; nothing is written then.
        """
        weights, own = list(weights), self.weights
        if len(weights) != len(own):
            raise ValueError(
                f"set_weights: {type(self).__name__} {self.name!r} has {len(own)} weights, "
                f"got {len(weights)}"
            )
        for w, value in zip(own, weights, strict=True):
            if tuple(np.shape(value)) != tuple(w.shape):
                raise ShapeError(
                    f"set_weights: weight {w.name!r} of {type(self).__name__} {self.name!r} "
                    f"has shape {w.shape}, got {Shape(np.shape(value))}"
                )
        for w, value in zip(own, weights, strict=True):
            w.assign(value)

    # -- losses ---------------------------------------------------------------------------

    def add_loss(self, losses, inputs=None):
        """Add scalar losses to those that training minimises.

        Args:
            losses: tensor, list of tensors, or function without arguments that returns one.
            inputs: accepted as in Keras 2.3, not needed.
        """
        if tracing():
            return
        collected = _added_losses.get()
        for loss in losses if isinstance(losses, (list, tuple)) else [losses]:
            if callable(loss):
                self._losses.append(loss)
            elif collected is not None:
                collected.append(loss)
            else:
                self._losses.append(loss)

    @property
    def losses(self):
        """List of the regularization losses of weights and those given to `add_loss`."""
        found = [loss() if callable(loss) else loss for loss in self._losses]
        found += [w.regularizer(w) for w in self._own_weights() if w.regularizer is not None]
        for layer in self._sublayers():
            found += layer.losses
        return found

    @property
    def updates(self):
        """Empty list: state is updated in place as the layer runs."""
        return []

    # -- being called ---------------------------------------------------------------------

    def __call__(self, *args, **kwargs):
        """Apply the layer.

        Args:
            *args: Tensors, arrays, or symbolic tensors (which makes a node of the graph).
            **kwargs: further arguments of ``call``; ``training`` and ``mask`` are always taken.

        Returns:
            Tensor, symbolic tensor, or a nest of them.
        """
        if not args:
            args, kwargs = self._first_by_name(kwargs)
        if any(isinstance(t, SymbolicTensor) for t in flatten([args, kwargs])):
            return self._call_symbolic(args, kwargs)
        args = (self._to_tensors(args[0]), *args[1:])
        for t in flatten(args[0]):
            if not isinstance(t, Tensor):
                raise TypeError(
                    f"{type(self).__name__} {self.name!r}: expected a tensor or an array, "
                    f"got {type(t).__name__}"
                )
        self._check_inputs(args[0])
        self._build_if_needed(args[0])
        training = kwargs.pop("training", None)
        if training is None:
            training = bool(learning_phase())
        if _added_losses.get() is None:
            self._losses = [loss for loss in self._losses if callable(loss)]
        with learning_phase_scope(training), name_scope(self.name):
            return self._invoke(args, kwargs, training)

    def _first_by_name(self, kwargs):
        first = next(iter(inspect.signature(self.call).parameters), None)
        if first not in kwargs:
            raise TypeError(f"{type(self).__name__} {self.name!r}: called without an input")
        kwargs = dict(kwargs)
        return (kwargs.pop(first),), kwargs

    def _to_tensors(self, inputs):
        def convert(x):
            if isinstance(x, Tensor):
                array = x.array
                if array.dtype.kind != "f" or array.dtype == self.dtype:
                    return x
                return ops.cast(x, self.dtype)
            if x is None or isinstance(x, (str, bytes)):
                return x
            array = as_array(x)
            return Tensor(array.astype(self.dtype) if array.dtype.kind == "f" else array)

        if isinstance(inputs, (list, tuple)) and not any(
            isinstance(t, Tensor) or hasattr(t, "dtype") for t in flatten(inputs)
        ):
            return convert(inputs)  # numbers in nested lists
        return map_nest(convert, inputs)

    def plain_call(self):
        """Return (call, whether it takes training) if nothing else happens around ``call``."""
        if self.activity_regularizer is not None or self._takes_mask:
            return None
        if type(self)._invoke is not Layer._invoke or not self.has_shape_rule:
            return None
        return self.call, self._takes_training

    def _invoke(self, args, kwargs, training):
        """Run ``call`` on Tensors, with masks, training flag and activity regularizer."""
        inputs = args[0] if args else None
        if self._takes_training and kwargs.get("training") is None:
            kwargs = {**kwargs, "training": training}
        masks = [getattr(t, "_keras_mask", None) for t in flatten(inputs)]
        masked = any(m is not None for m in masks)
        given = kwargs.get("mask")
        mask = given
        if masked and given is None:
            mask = pack(inputs, masks)
            if self._takes_mask:
                kwargs = {**kwargs, "mask": mask}
        elif "mask" in kwargs and not (self._takes_mask or self._takes_any):
            kwargs = {k: v for k, v in kwargs.items() if k != "mask"}
        y = self.call(*args, **kwargs)
        y = map_nest(lambda t: t if isinstance(t, Tensor) else Tensor(as_array(t)), y)
        if self.activity_regularizer is not None:
            for t in flatten(y):
                self.add_loss(ops.divide(self.activity_regularizer(t), t.array.shape[0]))
        if masked or given is not None or self._own_mask_rule:
            with no_tape():
                self._set_masks(y, self.compute_mask(inputs, mask))
        return y

    @property
    def _own_mask_rule(self):
        return type(self).compute_mask is not Layer.compute_mask

    @staticmethod
    def _set_masks(y, mask):
        if mask is None:
            return
        outputs = flatten(y)
        masks = flatten(mask)
        for t, m in zip(outputs, masks if len(masks) == len(outputs) else masks * len(outputs),
                        strict=False):
            t._keras_mask = m

    def _call_symbolic(self, args, kwargs):
        self._check_inputs(args[0])
        self._build_if_needed(args[0])
        # A fresh tensor for each output: `call` may hand its input through.
        y = map_nest(self._output, self._infer(args, kwargs))
        with trace_scope():
            masks = map_nest(lambda t: getattr(t, "_keras_mask", None), args[0])
            mask = kwargs.get("mask", masks)
            known = any(m is not None for m in flatten(mask))
            self._set_masks(y, self.compute_mask(args[0], mask if known else None))
        if not tracing():
            Node(self, args, {k: v for k, v in kwargs.items() if v is not None}, y)
        return y

    def _output(self, t):
        if not isinstance(t, (SymbolicTensor, Tensor)):
            t = Tensor(as_array(t))
        made = SymbolicTensor(t.shape, t.dtype, f"{self.name}/{type(self).__name__}:0")
        made._keras_mask = getattr(t, "_keras_mask", None)
        return made

    def _infer(self, args, kwargs):
        """Return symbolic outputs: by the shape rule, or by tracing ``call``."""
        if not self.has_shape_rule:
            return self._trace(args, kwargs)
        shapes = self.compute_output_shape(map_nest(lambda t: t.shape, args[0]))
        first = flatten(args[0])[0]
        dtype = first.dtype if self.keeps_dtype else self.dtype
        return _placeholders(shapes, dtype)

    def _trace(self, args, kwargs):
        kwargs = dict(kwargs)
        training = kwargs.pop("training", None)
        if self._takes_training:
            kwargs["training"] = bool(learning_phase()) if training is None else training
        if "mask" in kwargs and not (self._takes_mask or self._takes_any):
            del kwargs["mask"]
        elif self._takes_mask and kwargs.get("mask") is None:
            masks = map_nest(lambda t: getattr(t, "_keras_mask", None), args[0])
            kwargs["mask"] = masks if any(m is not None for m in flatten(masks)) else None
        with trace_scope(), name_scope(self.name):
            return self.call(*args, **kwargs)

    def _check_inputs(self, inputs):
        if self.input_spec is None:
            return
        leaves = flatten(inputs)
        specs = self.input_spec if isinstance(self.input_spec, (list, tuple)) else [self.input_spec]
        if len(specs) != len(leaves):
            raise ValueError(
                f"{type(self).__name__} {self.name!r}: expected {len(specs)} input(s), "
                f"got {len(leaves)}"
            )
        for spec, t in zip(specs, leaves, strict=True):
            spec.check(self, Shape(t.shape))

    def _build_if_needed(self, inputs):
        if self.built:
            return
        with no_tape(), name_scope(self.name):
            self.build(map_nest(lambda t: Shape(t.shape), inputs))
        self.built = True  # a `build` may forget to say so
        self._check_inputs(inputs)
        if self.__dict__.get("_initial_weights") is not None:
            self.set_weights(self._initial_weights)
            self._initial_weights = None

    # -- config ---------------------------------------------------------------------------

    def get_config(self):
        """Return the constructor's arguments as a dict that JSON can hold."""
        found = self._base_config()
        for name, default in _parameters(type(self)).items():
            if name in found or name in ("kwargs", "name", "dtype", "trainable"):
                continue
            value = self.__dict__.get(name, self._given(name, default))
            found[name] = _serialize(name, value)
        return found

    def _base_config(self):
        found = {"name": self.name, "trainable": self._trainable}
        if "_batch_input_shape" in self.__dict__:
            found["batch_input_shape"] = self._batch_input_shape
        found["dtype"] = self.dtype
        if self.activity_regularizer is not None:
            found["activity_regularizer"] = regularizers.serialize(self.activity_regularizer)
        return found

    def _given(self, name, default):
        args, kwargs = self._constructor
        if name in kwargs:
            return kwargs[name]
        names = [
            p.name
            for p in list(inspect.signature(type(self).__init__).parameters.values())[1:]
            if p.kind is p.POSITIONAL_OR_KEYWORD
        ]
        position = names.index(name) if name in names else len(args)
        return args[position] if position < len(args) else default

    @classmethod
    def from_config(cls, config):
        """Make a layer from what `get_config` returned."""
        return cls(**config)


# Attributes that hold layers or variables which aren't parts of the layer.
_PRIVATE = frozenset(
    ("_inbound_nodes", "_outbound_nodes", "_losses", "_constructor", "_weights", "_initial_weights",
     "optimizer", "history", "_graph", "inputs", "outputs", "_compiled")
)


def _find(value, kind, found):
    if isinstance(value, kind):
        found.setdefault(id(value), value)
    elif isinstance(value, dict):
        for part in value.values():
            _find(part, kind, found)
    elif isinstance(value, (list, tuple)) and type(value) is not Shape:
        for part in value:
            _find(part, kind, found)


def _unique(weights):
    return list({id(w): w for w in weights}.values())


def _dtype_name(dtype):
    if isinstance(dtype, dict):  # a Keras 3 policy: {"class_name": "DTypePolicy", ...}
        dtype = dtype.get("config", {}).get("name", dtype.get("name"))
    if dtype is None:
        return config.floatx()
    return getattr(dtype, "name", None) or np.dtype(dtype).name


def _batch_input_shape(kwargs):
    """Take the arguments that give an input shape out of a layer's keyword arguments."""
    batch = kwargs.pop("batch_size", None)
    dim = kwargs.pop("input_dim", None)
    length = kwargs.pop("input_length", None)
    shape = kwargs.pop("input_shape", None)
    whole = kwargs.pop("batch_input_shape", kwargs.pop("batch_shape", None))
    if whole is not None:
        return tuple(whole)
    if shape is None and dim is not None:
        shape = (dim,) if length is None else (length, dim)
    if shape is None:
        return None
    shape = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
    return (batch, *shape)


def _placeholders(shapes, dtype):
    if isinstance(shapes, list):
        return [_placeholders(s, dtype) for s in shapes]
    return SymbolicTensor(shapes, dtype)


def _parameters(cls):
    """Return the constructor's parameters: name -> default, those that **kwargs pass on too."""
    found = {}
    for base in cls.__mro__:
        if base is Layer:
            break
        if "__init__" not in base.__dict__:
            continue
        parameters = list(inspect.signature(base.__init__).parameters.values())[1:]
        for p in parameters:
            if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY):
                found.setdefault(p.name, None if p.default is p.empty else p.default)
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return found


def _serialize(name, value):
    module = _KINDS.get(name.rpartition("_")[2])
    if module is not None:
        return module.serialize(value)
    if isinstance(value, Layer):
        return registry.layers.serialize(value)
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    if isinstance(value, (list, tuple)) and type(value) is not Shape:
        return type(value)(_serialize(name, v) for v in value)
    return value
