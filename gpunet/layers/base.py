"""The base of all layers: naming, being called, building.

A layer's author writes ``__init__``, ``build``, ``call`` and, if it helps, shape and mask
rules.  Everything else follows: the constructor's arguments are kept, from which `get_config`
comes, and `add_weight("kernel", shape)` finds ``kernel_initializer``, ``kernel_regularizer``
and ``kernel_constraint`` among the layer's attributes.
"""

import inspect

import numpy as np

from gpunet import arrays, ops, regularizers
from gpunet.autodiff import autocast, no_tape
from gpunet.autodiff.autocast import casting_variables
from gpunet.context import (
    learning_phase,
    learning_phase_scope,
    name_scope,
    snake_case,
    trace_scope,
    tracing,
    unique_name,
)
from gpunet.graph import Node, SymbolicTensor
from gpunet.layers.arguments import STRINGS, take_input_shape
from gpunet.layers.constructor import Configured
from gpunet.layers.losses import LossOwner, collecting, loss_scope
from gpunet.layers.masks import mask_of, masks_of, with_masks
from gpunet.layers.members import LaterMembers
from gpunet.layers.nodes import NodeAccess
from gpunet.layers.spec import InputSpec
from gpunet.layers.weights import WeightOwner
from gpunet.nest import flatten, map_nest
from gpunet.stand_ins import current
from gpunet.tensor import Shape, Tensor, as_array, strings_of

__all__ = ["Layer", "InputSpec", "loss_scope", "placeholders"]


class Layer(Configured, WeightOwner, LossOwner, NodeAccess, LaterMembers):
    """A function of tensors that may own weights.

    Args:
        trainable: bool, whether its weights are trained.
        name: str; made from the class name by default.
        dtype: name of the float type of weights and results; `config.floatx()` by default.
        **kwargs: ``input_shape``, ``batch_input_shape``, ``batch_size``, ``input_dim``,
            ``input_length`` (the shape of the input of a Sequential model's first layer),
            ``weights`` (list of arrays to start from), ``activity_regularizer``,
            ``autocast`` (False: float inputs keep their type), ``dynamic``.

    Raises:
        TypeError: an unknown argument.
    """

    # Built-in layers whose compute_output_shape tells all; others are traced.
    has_shape_rule = False
    # Whether an integer input gives an output of its own dtype, and not of the layer's.
    keeps_dtype = False
    supports_masking = False
    stateful = False
    built = False
    input_spec = None
    activity_regularizer = None
    _autocast = True
    takes_strings = False
    # Whether `call` sees weights in the type that a policy of mixed precision computes in.
    _casts_weights = True
    _takes_training = _takes_mask = _takes_any = False

    def __new__(cls, *args, **kwargs):
        self = super().__new__(cls, *args, **kwargs)
        self.__dict__.update(
            _weights=[],
            _inbound_nodes=[],
            _outbound_nodes=[],
            _losses=[],
            _reports=[],
            _trainable=True,
        )
        return self

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        parameters = inspect.signature(cls.call).parameters
        cls._takes_training = "training" in parameters
        cls._takes_mask = "mask" in parameters
        cls._takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        if "has_shape_rule" not in cls.__dict__ and "call" in cls.__dict__:
            cls.has_shape_rule = False  # a user's subclass of a built-in layer

    def __init__(self, trainable=True, name=None, dtype=None, **kwargs):
        kind = type(self).__name__
        self._trainable = bool(trainable)
        if name is not None and not isinstance(name, str):
            raise TypeError(f"{kind}: expected a str as name, got {name!r}")
        self._name = unique_name(snake_case(kind), name)
        self._take_policy(dtype)
        shape = take_input_shape(kind, kwargs)
        if shape is not None:
            self._batch_input_shape = shape
        self._initial_weights = kwargs.pop("weights", None)
        if not kwargs.pop("autocast", True):
            self._autocast = False
        kwargs.pop("dynamic", None)
        regularizer = kwargs.pop("activity_regularizer", None)
        if regularizer is not None:
            self.activity_regularizer = regularizers.get(regularizer)
        if kwargs:
            unknown = ", ".join(map(repr, kwargs))
            raise TypeError(f"{kind} {self._name!r}: unknown argument {unknown}")

    @property
    def name(self):
        """str, unique in a model."""
        if "_name" not in self.__dict__:
            raise RuntimeError(
                f"{type(self).__name__}.__init__ must call super().__init__(**kwargs) "
                "before the layer is used"
            )
        return self._name

    @name.setter
    def name(self, value):
        self._name = value

    def __getstate__(self):
        # A copy is no part of the graph that this layer is in.
        left = ("_inbound_nodes", "_outbound_nodes", "_losses", "_loss_holders", "_reports")
        state = {k: v for k, v in vars(self).items() if k not in left}
        kept = [loss for loss in self._losses if callable(loss)]
        return {**state, "_losses": kept, "_reports": []}

    def __setstate__(self, state):
        self.__dict__.update(state)

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
        """Return the shape of the output for a shape of the input, or nests of them."""
        inputs = placeholders(input_shape, self.compute_dtype)
        self._build_if_needed(inputs)
        return map_nest(lambda t: t.shape, self._trace((inputs,), {}))

    def compute_mask(self, inputs, mask=None):
        """Return the mask of the output: the input's where the layer supports masks.

        Args:
            inputs: Tensor or nest of them.
            mask: the inputs' masks in their structure, or None.
        """
        return mask if self.supports_masking else None

    # -- being called ---------------------------------------------------------------------

    def __call__(self, *args, **kwargs):
        """Apply the layer.

        Args:
            *args: Tensors, arrays, or symbolic tensors (which makes a node of the graph).
            **kwargs: further arguments of ``call``; ``training`` and ``mask`` are always taken.

        Returns:
            Tensor, symbolic tensor, or a nest of them.
        """
        scope = name_scope(self.name)
        if not args:
            args, kwargs = self._first_by_name(kwargs)
        if any(isinstance(t, SymbolicTensor) for t in flatten([args, kwargs])):
            stand_ins = current()
            if stand_ins is not None:
                args, kwargs = stand_ins.resolve((args, kwargs))
            if stand_ins is None or tracing():
                return self._call_symbolic(args, kwargs)
        inputs = self.cast_inputs(self._to_tensors(args[0]))
        args = (inputs, *map_nest(_array_to_tensor, args[1:]))
        kwargs = {k: map_nest(_array_to_tensor, v) for k, v in kwargs.items()}
        self._check_inputs(inputs)
        self._build_if_needed(inputs)
        training = kwargs.pop("training", None)
        if training is None:
            training = bool(learning_phase())
        with learning_phase_scope(training), scope:
            if collecting():
                return self._invoke(args, kwargs, training)
            with loss_scope() as scope:
                y = self._invoke(args, kwargs, training)
        self._keep_losses(scope)
        return y

    def _placeholders(self, shapes):
        return placeholders(shapes, self.compute_dtype)

    def _first_by_name(self, kwargs):
        first = next(iter(inspect.signature(self.call).parameters), None)
        if first not in kwargs:
            raise TypeError(f"{self._who}: called without an input")
        kwargs = dict(kwargs)
        return (kwargs.pop(first),), kwargs

    @property
    def _who(self):
        return f"{type(self).__name__} {self.name!r}"

    def _to_tensors(self, inputs):
        """Make Tensors of the arrays, and of numbers in nested lists."""
        if isinstance(inputs, (list, tuple)) and not any(
            hasattr(t, "dtype") for t in flatten(inputs)
        ):
            return self._to_tensor(inputs)
        return map_nest(self._to_tensor, inputs)

    def _to_tensor(self, value):
        if isinstance(value, Tensor):
            return value
        try:
            return Tensor(as_array(value))
        except TypeError:
            strings = strings_of(value) if self.takes_strings else None
            if strings is not None:
                return Tensor(strings)
            raise TypeError(
                f"{self._who}: expected a tensor or an array, got {type(value).__name__}"
            ) from None

    def casts(self, inputs):
        """Return whether `cast_inputs` would change nested tensors; dtypes alone decide."""
        dtype = self.compute_dtype
        if not self._autocast or not dtype.startswith("float"):
            return False
        return any(t.dtype.kind == "f" and t.dtype != dtype for t in flatten(inputs))

    def cast_inputs(self, inputs):
        """Return nested tensors, those of a float type with the layer's own one."""
        return map_nest(self._cast_input, inputs) if self.casts(inputs) else inputs

    def _cast_input(self, t):
        dtype = self.compute_dtype
        if t.dtype.kind != "f" or t.dtype == dtype:
            return t
        symbolic = isinstance(t, SymbolicTensor)
        made = SymbolicTensor(t.shape, dtype) if symbolic else ops.cast(t, dtype)
        if mask_of(t) is not None:
            made._keras_mask = mask_of(t)
        return made

    def _check_inputs(self, inputs):
        if self.input_spec is None:
            return
        leaves = flatten(inputs)
        specs = self.input_spec if isinstance(self.input_spec, (list, tuple)) else [self.input_spec]
        if len(specs) != len(leaves):
            raise ValueError(f"{self._who}: expected {len(specs)} input(s), got {len(leaves)}")
        for spec, t in zip(specs, leaves, strict=True):
            if spec is not None:
                spec.check(self, Shape(t.shape))

    def _build_if_needed(self, inputs):
        if self.built:
            return
        made = len(self._weights)
        try:
            with no_tape(), name_scope(self.name):
                self.build(map_nest(lambda t: Shape(t.shape), inputs))
        except Exception:
            del self._weights[made:]  # the next call builds anew
            raise
        self.built = True  # a `build` may forget to say so
        self._keep_build_shape(inputs)
        self._check_inputs(inputs)
        if self._initial_weights is not None:
            self.set_weights(self._initial_weights)
            self._initial_weights = None

    # -- on tensors -----------------------------------------------------------------------

    @property
    def makes_masks(self):
        """bool, whether it can put a mask where there was none."""
        return self._own_mask_rule or any(layer.makes_masks for layer in self._sublayers())

    @property
    def _own_mask_rule(self):
        return type(self).compute_mask is not Layer.compute_mask

    def plain_call(self):
        """Return (call, whether it takes training) if nothing else happens around ``call``.

        A graph without masks then calls it directly.
        """
        if self.activity_regularizer is not None or self._takes_mask or self._computes_in:
            return None
        if type(self)._invoke is not Layer._invoke or not self.has_shape_rule:
            return None
        return self.call, self._takes_training

    def _invoke(self, args, kwargs, training):
        """Run ``call`` on Tensors, with masks, training flag and activity regularizer."""
        if not (self._computes_in or autocast.used):
            return self._invoke_in_scope(args, kwargs, training)
        with self._own_precision():
            return self._invoke_in_scope(args, kwargs, training)

    def _own_precision(self):
        """Return the context that ``call`` runs in."""
        return casting_variables(self._computes_in if self._casts_weights else None)

    def _invoke_in_scope(self, args, kwargs, training):
        inputs = args[0] if args else None
        if self._takes_training and kwargs.get("training") is None:
            kwargs = {**kwargs, "training": training}
        mask, kwargs = self._take_mask(inputs, kwargs)
        y = map_nest(_as_tensor, self.call(*args, **kwargs))
        if self.activity_regularizer is not None:
            for t in flatten(y):
                self.add_loss(ops.divide(self.activity_regularizer(t), t.array.shape[0]))
        if mask is not None or self._own_mask_rule:
            with no_tape():
                mask = self.compute_mask(inputs, mask)
            y = with_masks(y, mask, inputs)
        return y

    def _take_mask(self, inputs, kwargs):
        """Return (mask of the inputs, keyword arguments of ``call``)."""
        mask = kwargs.get("mask")
        if mask is None:
            mask = masks_of(inputs)
            if mask is not None and self._takes_mask:
                kwargs = {**kwargs, "mask": mask}
        elif not (self._takes_mask or self._takes_any):
            kwargs = {k: v for k, v in kwargs.items() if k != "mask"}
        return mask, kwargs

    # -- on symbolic tensors ----------------------------------------------------------------

    def _call_symbolic(self, args, kwargs):
        if not self.takes_strings and any(
            getattr(t, "dtype", None) == STRINGS for t in flatten(args[0])
        ):
            raise TypeError(
                f"{self._who}: expected numbers, got strings; StringLookup, TextVectorization and "
                "Hashing make numbers of them"
            )
        self._check_inputs(args[0])
        self._build_if_needed(args[0])
        inputs = self.cast_inputs(args[0])
        given = {k: v for k, v in kwargs.items() if v is not None}
        made = self._infer((inputs, *args[1:]), given)
        with trace_scope():
            mask = self.compute_mask(inputs, self._take_mask(inputs, given)[0])
        # A fresh tensor for each output: `call` may hand its input through.
        through = {id(t) for t in flatten(inputs)}
        y = map_nest(lambda t: self._output(t, id(t) not in through), made)
        y = with_masks(y, mask, ())
        if not tracing():
            Node(self, args, given, y)
        return y

    def _output(self, t, keep_mask):
        t = t if isinstance(t, (SymbolicTensor, Tensor)) else Tensor(as_array(t))
        made = SymbolicTensor(t.shape, t.dtype, f"{self.name}/{type(self).__name__}:0")
        made._keras_mask = mask_of(t) if keep_mask else None
        return made

    def _infer(self, args, kwargs):
        """Return symbolic outputs: by the shape rule, or by tracing ``call``."""
        if not self.has_shape_rule:
            return self._trace(args, kwargs)
        shapes = self.compute_output_shape(map_nest(lambda t: t.shape, args[0]))
        first = flatten(args[0])[0].dtype
        return placeholders(shapes, first if self.keeps_dtype else self.compute_dtype)

    def _trace(self, args, kwargs):
        _, kwargs = self._take_mask(args[0], kwargs)
        training = kwargs.get("training")
        kwargs = {k: v for k, v in kwargs.items() if k != "training"}
        if self._takes_training:
            kwargs["training"] = bool(learning_phase()) if training is None else training
        with trace_scope(), name_scope(self.name), self._own_precision():
            return self.call(*args, **kwargs)


def _as_tensor(value):
    return value if isinstance(value, Tensor) else Tensor(as_array(value))


def _array_to_tensor(value):
    is_array = arrays.is_array(value) and not isinstance(value, np.generic)
    return Tensor(as_array(value)) if is_array else value


def placeholders(shapes, dtype):
    """Return symbolic tensors for a shape or a nest of shapes."""
    if isinstance(shapes, dict):
        return {key: placeholders(s, dtype) for key, s in shapes.items()}
    if isinstance(shapes, (list, tuple)) and any(isinstance(s, (list, tuple)) for s in shapes):
        return [placeholders(s, dtype) for s in shapes]
    return SymbolicTensor(shapes, dtype)
