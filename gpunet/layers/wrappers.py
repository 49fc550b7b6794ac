"""Layers that apply another layer: to each step of a sequence, or in both directions of time."""

from gpunet import ops, registry
from gpunet.context import trace_scope
from gpunet.errors import ShapeError
from gpunet.graph import SymbolicTensor
from gpunet.layers.base import InputSpec, Layer
from gpunet.layers.masks import mask_of
from gpunet.layers.recurrent.both import can_join, walk_both
from gpunet.layers.recurrent.nesting import (
    build_inside,
    first_shape,
    nested_config,
    split_arguments,
)
from gpunet.nest import flatten, map_nest
from gpunet.registry import layers as registered
from gpunet.tensor import Shape

__all__ = ["Bidirectional", "TimeDistributed", "Wrapper"]


@registered.register()
class Wrapper(Layer):
    """Base of the layers that apply another one.

    Args:
        layer: Layer.
        **kwargs: see `Layer`.

    Raises:
        ValueError: no layer.
    """

    def __init__(self, layer, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(layer, Layer):
            raise ValueError(f"{self._who}: expected a Layer, got {layer!r}")
        self.layer = layer

    def build(self, input_shape=None):
        if not self.layer.built:
            self.layer.build(input_shape)
            self.layer.built = True
        self.built = True

    def get_config(self):
        return {**self._base_config(), "layer": nested_config(self.layer)}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Make a layer from what `get_config` returned."""
        config = dict(config)
        layer = registry.layers.deserialize(config.pop("layer"), custom_objects)
        return cls(layer, **config)


@registered.register()
class TimeDistributed(Wrapper):
    """Applies a layer or a model to each step of a sequence.

    Args:
        layer: Layer or model; the same weights serve all steps.
        **kwargs: see `Layer`.

    Shapes:
        (batch, time, ...) -> (batch, time, ...): what the layer makes of (batch, ...)

    Raises:
        ValueError: no layer.
        ShapeError: an input without a time axis.
    """

    supports_masking = True

    def __init__(self, layer, **kwargs):
        super().__init__(layer, **kwargs)
        self.input_spec = None

    @property
    def makes_masks(self):
        """bool, whether the layer inside makes masks."""
        return self.layer.makes_masks

    _own_mask_rule = property(lambda self: self.makes_masks)

    # -- shapes ---------------------------------------------------------------------------

    def _check_inputs(self, inputs):
        for t in flatten(inputs):
            InputSpec(min_ndim=3).check(self, Shape(t.shape))
        lengths = {t.shape[1] for t in flatten(inputs)} - {None}
        if len(lengths) > 1:
            raise ShapeError(f"{self._who}: inputs differ in their numbers of steps: {lengths}")

    def _one_step(self, inputs):
        """Return symbolic inputs of one step."""
        return map_nest(lambda t: SymbolicTensor((t.shape[0], *t.shape[2:]), t.dtype), inputs)

    def build(self, input_shape=None):
        if not self.layer.built:
            # Only a layer with states needs the batch size, and it gets one step at a time.
            stateful = self.layer.stateful
            build_inside(
                self.layer,
                _map_shapes(lambda s: Shape((s[0] if stateful else None, *s[2:])), input_shape),
            )
        self.built = True

    def compute_output_shape(self, input_shape):
        steps = _map_shapes(lambda s: Shape((s[0], *s[2:])), input_shape)
        time = _first(input_shape)[1]
        made = self.layer.compute_output_shape(steps)
        return _map_shapes(lambda s: Shape((s[0], time, *s[1:])), made)

    def _infer(self, args, kwargs):
        time = flatten(args[0])[0].shape[1]
        training = {"training": kwargs["training"]} if "training" in kwargs else {}
        with trace_scope():
            y = self.layer(self._one_step(args[0]), **training)

        def with_time(t):
            made = SymbolicTensor((t.shape[0], time, *t.shape[1:]), t.dtype)
            inner = mask_of(t)
            if inner is not None:
                made._keras_mask = with_time(inner)
            return made

        return map_nest(with_time, y)

    # -- on tensors -----------------------------------------------------------------------

    def call(self, inputs, training=None, mask=None):
        first = flatten(inputs)[0]
        if isinstance(first, SymbolicTensor):
            return self._infer((inputs,), {})
        batch, time = first.shape[:2]
        given = {"training": training} if self.layer._takes_training else {}
        if self.layer.stateful:
            return self._step_by_step(inputs, time, given)
        if mask is not None and self.layer._takes_mask:
            folded = [m if m is None or len(m.shape) < 3 else _folded(m) for m in flatten(mask)]
            if folded[0] is not None and len(folded[0].shape) > 1:
                given["mask"] = folded[0]
        y = self.layer(map_nest(_folded, inputs), **given)

        def unfolded(t):
            made = ops.reshape(t, (batch, time, *t.shape[1:]))
            inner = mask_of(t)
            if inner is not None:
                made._keras_mask = ops.reshape(inner, (batch, time, *inner.shape[1:]))
            return made

        return map_nest(unfolded, y)

    def _step_by_step(self, inputs, time, given):
        """Apply a layer with states of its own to one step after the other."""
        steps = [self.layer(map_nest(lambda x, t=t: x[:, t], inputs), **given) for t in range(time)]
        columns = zip(*[flatten(y) for y in steps])
        y = [ops.stack(list(column), axis=1) for column in columns]
        return y if isinstance(steps[0], (list, tuple)) else y[0]

    def compute_mask(self, inputs, mask=None):
        """Return the input's mask; what the layer inside makes is on the outputs already."""
        leaves = [m for m in flatten(mask) if m is not None]
        if not leaves:
            return None
        mask = leaves[0]
        while len(mask.shape) > 2:
            mask = ops.any(mask, axis=-1)
        return mask

    def reset_states(self):
        """Forget the states of the layer inside."""
        self.layer.reset_states()


def _folded(x):
    """Return (batch * time, ...) for (batch, time, ...)."""
    shape = tuple(x.shape)
    return ops.reshape(x, (shape[0] * shape[1], *shape[2:]))


def _map_shapes(function, shapes):
    if isinstance(shapes, (list, tuple)) and any(isinstance(s, (list, tuple)) for s in shapes):
        return [_map_shapes(function, s) for s in shapes]
    return function(Shape(shapes))


def _first(shapes):
    return _first(shapes[0]) if isinstance(shapes[0], (list, tuple)) else shapes


_MODES = {
    "sum": lambda y, z: y + z,
    "mul": lambda y, z: y * z,
    "ave": lambda y, z: (y + z) / 2,
    "concat": lambda y, z: ops.concatenate([y, z]),
    None: lambda y, z: [y, z],
}


@registered.register()
class Bidirectional(Wrapper):
    """Walks a recurrent layer over a sequence in both directions and joins the outputs.

    Args:
        layer: recurrent layer; copies of it do the work.
        merge_mode: ``'concat'``, ``'sum'``, ``'mul'``, ``'ave'``, or None for a list of both.
        weights: list of arrays to start from, those of the forward layer first.
        backward_layer: recurrent layer for the backward direction, with the other
            ``go_backwards``; a copy of ``layer`` by default.
        **kwargs: see `Layer`.

    Shapes:
        (batch, time, features) -> as ``layer``, with twice the features if concatenated

    Raises:
        ValueError: an unknown merge_mode, or two layers that don't go together.

    Reference:
        Schuster and Paliwal, 1997, IEEE Trans. Signal Processing 45(11), 2673-2681.
    """

    has_shape_rule = True
    supports_masking = True
    _own_mask_rule = False

    def __init__(self, layer, merge_mode="concat", weights=None, backward_layer=None, **kwargs):
        super().__init__(layer, **kwargs)
        if merge_mode not in _MODES:
            raise ValueError(
                f"{self._who}: expected merge_mode 'sum', 'mul', 'ave', 'concat' or None, "
                f"got {merge_mode!r}"
            )
        for given in (layer, backward_layer):
            if given is not None and not hasattr(given, "go_backwards"):
                raise ValueError(f"{self._who}: expected a recurrent layer, got {given!r}")
        self.merge_mode = merge_mode
        self._initial_weights = weights
        self._num_constants = 0
        self.forward_layer = _copy(layer)
        self._backward_config = None
        if backward_layer is None:
            self.backward_layer = _copy(layer, go_backwards=not layer.go_backwards)
        else:
            self._backward_config = nested_config(backward_layer)
            self.backward_layer = backward_layer
        self.forward_layer._name = "forward_" + self.forward_layer.name
        self.backward_layer._name = "backward_" + self.backward_layer.name
        self._check_pair()
        for each in (self.forward_layer, self.backward_layer):
            each.zero_output_for_mask = each.return_sequences
        self.stateful = layer.stateful
        self.return_sequences = layer.return_sequences
        self.return_state = layer.return_state
        if "trainable" not in kwargs:
            self._trainable = layer._trainable
        if not hasattr(self, "_batch_input_shape") and hasattr(layer, "_batch_input_shape"):
            self._batch_input_shape = layer._batch_input_shape

    def _check_pair(self):
        forward, backward = self.forward_layer, self.backward_layer
        if forward.go_backwards == backward.go_backwards:
            raise ValueError(
                f"{self._who}: layer and backward_layer must differ in go_backwards, "
                f"both have {forward.go_backwards}"
            )
        for name in ("stateful", "return_sequences", "return_state"):
            if getattr(forward, name) != getattr(backward, name):
                raise ValueError(
                    f"{self._who}: layer and backward_layer must have the same {name}, got "
                    f"{getattr(forward, name)} and {getattr(backward, name)}"
                )

    def _sublayers(self):
        return [self.forward_layer, self.backward_layer]

    @property
    def constraints(self):
        """Dict of the constraints of weights by the weights' names."""
        return {w.name: w.constraint for w in self.weights if w.constraint is not None}

    @property
    def _directions(self):
        return self.forward_layer, self.backward_layer

    # -- shapes ---------------------------------------------------------------------------

    def _check_inputs(self, inputs):
        inputs, states, _ = split_arguments(inputs, None, None, self._num_constants)
        for direction, own in zip(self._directions, self._halves(states)):
            direction._check_inputs(inputs)
            direction._check_states(own)

    def _halves(self, states):
        """Return the initial states of both directions."""
        if states is None:
            return None, None
        if len(states) % 2:
            raise ValueError(
                f"{self._who}: expected initial states for both directions, got {len(states)}"
            )
        half = len(states) // 2
        return states[:half], states[half:]

    def build(self, input_shape):
        inputs = SymbolicTensor(first_shape(input_shape), self.compute_dtype)
        for direction in self._directions:
            direction._build_if_needed(inputs)
        self.built = True

    def compute_output_shape(self, input_shape):
        shapes = self.forward_layer.compute_output_shape(input_shape)
        output, *states = shapes if self.return_state else [shapes]
        if self.merge_mode == "concat":
            output = (*output[:-1], 2 * output[-1])
        outputs = [output, output] if self.merge_mode is None else [output]
        made = [*outputs, *states, *states]
        return made[0] if len(made) == 1 else made

    def compute_mask(self, inputs, mask=None):
        mask = flatten(mask)[0] if self.return_sequences else None
        made = [mask] * (1 + (self.merge_mode is None))
        if self.return_state:
            made += [None] * (2 * len(flatten(self.forward_layer.states)))
        return made[0] if len(made) == 1 else made

    # -- being called ---------------------------------------------------------------------

    def __call__(self, inputs, initial_state=None, constants=None, **kwargs):
        """Apply the layer; initial states of the forward direction come first.

        Args:
            inputs, initial_state, constants, **kwargs: see `RNN.__call__`.
        """
        inputs, initial_state, constants = split_arguments(
            inputs, initial_state, constants, self._num_constants
        )
        if constants is not None:
            for layer in (self, *self._directions):
                layer._num_constants = len(constants)
        self._halves(initial_state)
        given = flatten([initial_state or [], constants or []])
        if any(isinstance(t, SymbolicTensor) for t in given):
            return super().__call__([inputs, *given], **kwargs)
        if initial_state is not None:
            kwargs["initial_state"] = initial_state
        if constants is not None:
            kwargs["constants"] = constants
        return super().__call__(inputs, **kwargs)

    def call(self, inputs, training=None, mask=None, initial_state=None, constants=None):
        inputs, initial_state, constants = split_arguments(
            inputs, initial_state, constants, self._num_constants
        )
        mask = next((m for m in flatten(mask) if m is not None), None)
        halves = self._halves(initial_state)
        if constants is None and can_join(*self._directions, inputs):
            made = walk_both(*self._directions, inputs, halves, mask, training)
        else:
            options = {"training": training, "mask": mask}
            if constants is not None:
                options["constants"] = constants
            made = [
                direction(inputs, initial_state=own, **options)
                for direction, own in zip(self._directions, halves)
            ]
        states = []
        if self.return_state:
            states = [s for parts in made for s in parts[1:]]
            made = [parts[0] for parts in made]
        y, back = made
        if self.return_sequences:
            back = ops.reverse(back, axes=(0 if self.forward_layer.time_major else 1,))
        y = _MODES[self.merge_mode](y, back)
        if not self.return_state:
            return y
        return [*(y if isinstance(y, list) else [y]), *states]

    def reset_states(self, states=None):
        """Set the states of stateful layers.

        Args:
            states: list of arrays, those of the forward layer first; zeros by default.
        """
        if not self.stateful:
            raise AttributeError("Layer must be stateful.")
        for direction, own in zip(self._directions, self._halves(states)):
            direction.reset_states(own)

    # -- config ---------------------------------------------------------------------------

    def get_config(self):
        config = {**super().get_config(), "merge_mode": self.merge_mode}
        if self._num_constants:
            config["num_constants"] = self._num_constants
        if self._backward_config is not None:
            config["backward_layer"] = self._backward_config
        return config

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Make a layer from what `get_config` returned."""
        config = dict(config)
        count = config.pop("num_constants", 0) or 0
        if config.get("backward_layer") is not None:
            config["backward_layer"] = registry.layers.deserialize(
                config["backward_layer"], custom_objects
            )
        layer = super().from_config(config, custom_objects)
        for each in (layer, *layer._directions):
            each._num_constants = count
        return layer


def _copy(layer, **changes):
    """Return a layer made from another one's config, its cells' classes being known."""
    cell = getattr(layer, "cell", None)
    classes = {type(c).__name__: type(c) for c in [cell, *getattr(cell, "cells", ())]}
    with registry.custom_object_scope(classes):
        return registry.from_config(type(layer), {**layer.get_config(), **changes})
