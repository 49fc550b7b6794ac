"""`RNN`: the layer that walks a cell over time, and owns masks, direction and states."""

import inspect

from gpunet import ops, registry
from gpunet.autodiff import no_tape
from gpunet.context import trace_scope
from gpunet.errors import ShapeError
from gpunet.graph import SymbolicTensor
from gpunet.layers.base import InputSpec, Layer, placeholders
from gpunet.layers.recurrent.nesting import (
    as_list,
    first_shape,
    flat_sizes,
    nested_config,
    pack_states,
    split_arguments,
    state_shapes,
    steps_mask,
    zero_states,
)
from gpunet.layers.recurrent.scan import scan
from gpunet.layers.recurrent.stacked import StackedRNNCells
from gpunet.nest import flatten, map_nest
from gpunet.recording import effect
from gpunet.registry import layers as registered
from gpunet.tensor import Shape, Tensor, value_of
from gpunet.variables import Variable

__all__ = ["RNN"]


@registered.register()
class RNN(Layer):
    """Applies a cell to each step of a sequence.

    Args:
        cell: object with ``call(inputs, states) -> (output, states)`` and ``state_size``; also
            used where they are there: ``output_size``, ``get_initial_state(inputs, batch_size,
            dtype)``, ``build(input_shape)``, and the arguments ``training`` and ``constants``
            of ``call``.  Or a list of cells, one upon the other.
        return_sequences: bool, return all outputs and not only the last.
        return_state: bool, return the last states too: ``[output, *states]``.
        go_backwards: bool, walk from the last step to the first; outputs come in that order.
        stateful: bool, start each batch with the states that the batch before ended with.
        unroll: bool; accepted, the numbers are the same.
        time_major: bool, inputs and outputs are (time, batch, ...).
        **kwargs: ``zero_output_for_mask`` (outputs of masked steps are zeros); see `Layer`.

    Shapes:
        (batch, time, ...) -> (batch, output_size), or (batch, time, output_size)

    Raises:
        ValueError: a cell without ``call`` or ``state_size``.
    """

    has_shape_rule = True
    supports_masking = True
    _own_mask_rule = False

    def __init__(
        self,
        cell,
        return_sequences=False,
        return_state=False,
        go_backwards=False,
        stateful=False,
        unroll=False,
        time_major=False,
        **kwargs,
    ):
        self.zero_output_for_mask = bool(kwargs.pop("zero_output_for_mask", False))
        kwargs.pop("enable_caching_device", None)
        if "input_length" in kwargs and "input_dim" in kwargs:
            kwargs["input_shape"] = (kwargs.pop("input_length"), kwargs.pop("input_dim"))
        elif "input_dim" in kwargs:
            kwargs["input_shape"] = (None, kwargs.pop("input_dim"))
        super().__init__(**kwargs)
        if isinstance(cell, (list, tuple)):
            cell = StackedRNNCells(cell)
        for needed in ("call", "state_size"):
            if not hasattr(cell, needed):
                raise ValueError(f"{self._who}: expected a cell with {needed!r}, got {cell!r}")
        self.cell = cell
        self.return_sequences = bool(return_sequences)
        self.return_state = bool(return_state)
        self.go_backwards = bool(go_backwards)
        self.stateful = bool(stateful)
        self.unroll = bool(unroll)
        self.time_major = bool(time_major)
        self.input_spec = InputSpec(min_ndim=3)
        self._num_constants = 0
        self._carried = _Carried()

    # -- shapes ---------------------------------------------------------------------------

    @property
    def _batch_axis(self):
        return 1 if self.time_major else 0

    def _output_sizes(self):
        size = getattr(self.cell, "output_size", None)
        return flat_sizes(as_list(self.cell.state_size)[0] if size is None else size)

    def compute_output_shape(self, input_shape):
        shape = first_shape(input_shape)
        batch = shape[self._batch_axis]
        lead = tuple(shape[:2]) if self.return_sequences else (batch,)
        outputs = [(*lead, *size) for size in self._output_sizes()]
        if not self.return_state:
            return outputs[0] if len(outputs) == 1 else outputs
        return outputs + state_shapes(as_list(self.cell.state_size), batch)

    def compute_mask(self, inputs, mask=None):
        mask = flatten(mask)[0] if self.return_sequences else None
        if not self.return_state:
            return mask
        outputs = [mask] * len(self._output_sizes())
        return outputs + [None] * len(flat_sizes(self.cell.state_size))

    def _check_inputs(self, inputs):
        inputs, states, _ = split_arguments(inputs, None, None, self._num_constants)
        for t in flatten(inputs):
            self.input_spec.check(self, Shape(t.shape))
        self._check_states(states)

    def _check_states(self, states):
        if states is None:
            return
        sizes = flat_sizes(self.cell.state_size)
        got = [tuple(t.shape) for t in flatten(states)]
        fits = len(got) == len(sizes) and all(
            len(g) == len(s) + 1 and all(None in (a, b) or a == b for a, b in zip(g[1:], s))
            for g, s in zip(got, sizes)
        )
        if not fits:
            wanted = [(None, *s) for s in sizes]
            raise ShapeError(f"{self._who}: expected initial states of shapes {wanted}, got {got}")

    # -- building -------------------------------------------------------------------------

    def build(self, input_shape):
        nest = input_shape[0] if isinstance(input_shape, list) else input_shape
        if isinstance(nest, tuple) and all(n is None or isinstance(n, int) for n in nest):
            nest = Shape(nest)  # as users give it
        shape = first_shape(nest)
        if isinstance(self.cell, Layer) and not self.cell.built:
            self._build_cell(nest)
        if isinstance(nest, Shape):
            free = (0, 1) if not self.stateful else (1 - self._batch_axis,)
            sizes = [None if i in free else n for i, n in enumerate(nest)]
            self.input_spec = InputSpec(shape=tuple(sizes))
        if self.stateful:
            self._carried.batch = shape[self._batch_axis]
            self.reset_states()
        self.built = True

    def _step_shape(self, shape):
        return Shape((shape[self._batch_axis], *shape[2:]))

    def _build_cell(self, nest):
        steps = (
            self._step_shape(nest)
            if isinstance(nest, Shape)
            else map_shapes(self._step_shape, nest)
        )
        self._cell_weights(steps)
        if any(not layer.built for layer in self.cell._nested_layers()):
            # Layers inside a cell that its `build` leaves alone are built as they are called.
            inputs = placeholders(steps, self.compute_dtype)
            states = placeholders(
                state_shapes(as_list(self.cell.state_size), None), self.compute_dtype
            )
            with trace_scope():
                self.cell.call(inputs, states)

    def _cell_weights(self, shape):
        """Build the cell on the shape of one step."""
        self.cell._build_if_needed(placeholders(shape, self.cell.dtype))

    # -- states ---------------------------------------------------------------------------

    @property
    def states(self):
        """List of the states that a stateful layer keeps; of Nones before there are any."""
        size = self.cell.state_size
        kept = self._carried.variables
        return pack_states(size, kept or [None] * len(flat_sizes(size)))

    def get_initial_state(self, inputs):
        """Return the states for the start, a list of tensors (or of nested lists)."""
        first = flatten(inputs)[0]
        batch = first.shape[self._batch_axis]
        make = getattr(self.cell, "get_initial_state", None)
        if make is None:
            return zero_states(as_list(self.cell.state_size), batch, self.compute_dtype)
        return as_list(make(inputs=None, batch_size=batch, dtype=self.compute_dtype))

    def reset_states(self, states=None):
        """Set the states of a stateful layer.

        Args:
            states: arrays, nested as the cell's states; zeros (or what the cell starts with) by
                default.

        Raises:
            AttributeError: the layer isn't stateful.
            ValueError: the batch size isn't known, or arrays that don't fit.
        """
        if not self.stateful:
            raise AttributeError("Layer must be stateful.")
        batch = self._carried.batch
        if batch is None:
            raise ValueError(
                f"{self._who}: If a RNN is stateful, it needs to know its batch size. Specify it "
                "by passing a `batch_input_shape` to the first layer of a Sequential model, or a "
                "`batch_shape` to the Input layer."
            )
        if states is None:
            values = [value_of(s) for s in flatten(self._start(batch))]
        else:
            values = flatten(states)
        self._carried.write(self, values)

    def _carry(self, *states):
        self._carried.write(self, states)

    def _start(self, batch):
        shape = (1, batch, 1) if self.time_major else (batch, 1, 1)
        return self.get_initial_state(SymbolicTensor(shape, self.compute_dtype))

    # -- being called ---------------------------------------------------------------------

    def __call__(self, inputs, initial_state=None, constants=None, **kwargs):
        """Apply the layer.

        Args:
            inputs: tensor (batch, time, ...), or a list of it, initial states and constants.
            initial_state: list of tensors or arrays; in a graph they become further inputs.
            constants: list of tensors that each step gets.
            **kwargs: ``mask`` (batch, time), ``training``.
        """
        inputs, initial_state, constants = split_arguments(
            inputs, initial_state, constants, self._num_constants
        )
        if constants is not None:
            self._num_constants = len(constants)
        given = flatten([initial_state or [], constants or []])
        symbolic = [isinstance(t, SymbolicTensor) for t in given]
        if any(symbolic):
            if not all(symbolic):
                raise ValueError(
                    f"{self._who}: initial_state and constants can't mix symbolic tensors with "
                    "others"
                )
            return super().__call__([inputs, *given], **kwargs)
        self._check_states(initial_state)
        if initial_state is not None:
            kwargs["initial_state"] = initial_state
        if constants is not None:
            kwargs["constants"] = constants
        return super().__call__(inputs, **kwargs)

    def call(self, inputs, mask=None, training=None, initial_state=None, constants=None):
        inputs, initial_state, constants = split_arguments(
            inputs, initial_state, constants, self._num_constants
        )
        if isinstance(flatten(inputs)[0], SymbolicTensor):
            shapes = self.compute_output_shape(map_nest(lambda t: t.shape, inputs))
            return placeholders(shapes, self.compute_dtype)
        inputs, states, mask = self.begin(inputs, mask, initial_state)
        return self.end(*self._walk(inputs, states, mask, training, constants))

    def begin(self, inputs, mask, initial_state):
        """Return inputs, states and mask for a walk, time-major."""
        states = self._initial_states(inputs, initial_state)
        mask = steps_mask(mask, self.time_major)
        if not self.time_major:
            inputs = map_nest(_swapped, inputs)
        _forget_dropout(self.cell)
        return inputs, states, mask

    def end(self, y, states):
        """Return what ``call`` returns for the results of a walk; carries states on."""
        if self.return_sequences and not self.time_major:
            y = map_nest(_swapped, y)
        if self.stateful:
            effect(self._carry, *[t.array for t in flatten(states)])
        if not self.return_state:
            return y
        return [*as_list(y), *pack_states(self.cell.state_size, iter(flatten(states)))]

    def _initial_states(self, inputs, given):
        """Return the states for the start; None where a fused walk may start at zeros."""
        if given is not None:
            self._check_states(given)
            given = [t if isinstance(t, Tensor) else Tensor(t) for t in flatten(given)]
            given = pack_states(self.cell.state_size, map(self._as_own, given))
        if not self.stateful:
            return given
        batch = flatten(inputs)[0].shape[self._batch_axis]
        if batch != self._carried.batch:
            raise ShapeError(
                f"{self._who} is stateful and was built for batches of {self._carried.batch}, "
                f"got {batch}"
            )
        kept = self._carried.variables
        if given is not None:  # as in Keras: only while the kept states are zero
            with no_tape():
                moved = ops.any(ops.stack([ops.any(ops.not_equal(s, 0)) for s in kept]))
            given = flatten(given)
            kept = [ops.where(moved, s, g) for s, g in zip(kept, given, strict=True)]
        return pack_states(self.cell.state_size, kept)

    def _as_own(self, t):
        return t if t.dtype == self.compute_dtype else ops.cast(t, self.compute_dtype)

    def _walk(self, inputs, states, mask, training, constants):
        """Return (outputs, states), time-major."""
        options = self.walk_options()
        fused = getattr(self.cell, "scan", None) if not constants else None
        if fused is not None and self.cell.can_scan() and isinstance(inputs, Tensor):
            return fused(inputs, states, mask, training, **options)
        if states is None:
            first = flatten(inputs)[0]
            start = (
                first
                if self.time_major
                else SymbolicTensor((first.shape[1], first.shape[0]), first.dtype)
            )
            states = self.get_initial_state(start)
        return scan(self._step(training, constants), inputs, states, mask, **options)

    def walk_options(self):
        """Return the options of a walk that depend on the layer and not on its cell."""
        return {
            "sequences": self.return_sequences,
            "reverse": self.go_backwards,
            "zero_output": self.zero_output_for_mask,
        }

    def _step(self, training, constants):
        cell, kwargs = self.cell, {}
        parameters = inspect.signature(cell.call).parameters
        if "training" in parameters:
            kwargs["training"] = training
        if constants:
            if "constants" not in parameters:
                raise ValueError(f"{self._who}: its cell {cell!r} takes no constants")
            kwargs["constants"] = constants

        def step(inputs, states):
            y, new = cell.call(inputs, states, **kwargs)
            return y, as_list(new)

        return step

    # -- config ---------------------------------------------------------------------------

    def get_config(self):
        config = self._base_config() | self._flags()
        if self._num_constants:
            config["num_constants"] = self._num_constants
        config["cell"] = nested_config(self.cell)
        return config

    def _flags(self):
        names = ("return_sequences", "return_state", "go_backwards", "stateful", "unroll")
        flags = {name: getattr(self, name) for name in names}
        # Later versions of Keras refuse these two keys, and both are off by default.
        later = ("time_major", "zero_output_for_mask")
        return flags | {name: True for name in later if getattr(self, name)}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Make a layer from what `get_config` returned."""
        config = dict(config)
        count = config.pop("num_constants", 0) or 0
        if "cell" in config:
            config["cell"] = registry.layers.deserialize(config["cell"], custom_objects)
        layer = cls(**config)
        layer._num_constants = count
        return layer


class _Carried:
    """The states that a stateful layer keeps from batch to batch; they are no weights."""

    def __init__(self):
        self.batch = None
        self.variables = []

    def write(self, layer, values):
        """Write states in place; makes the variables the first time."""
        if not self.variables:
            self.variables = [
                Variable(v, dtype=layer.compute_dtype, trainable=False) for v in values
            ]
            return
        who = f"{type(layer).__name__} {layer.name!r}"
        if len(values) != len(self.variables):
            raise ValueError(f"{who} has {len(self.variables)} states, got {len(values)}")
        for i, (state, value) in enumerate(zip(self.variables, values)):
            shape = tuple(getattr(value, "shape", ()))
            if shape != tuple(state.shape):
                raise ShapeError(f"{who}: state {i} is of shape {tuple(state.shape)}, got {shape}")
        for state, value in zip(self.variables, values):
            state.assign(value)


def map_shapes(function, nest):
    """Return nested shapes with a function applied to each."""
    return function(nest) if isinstance(nest, Shape) else [map_shapes(function, s) for s in nest]


def _swapped(x):
    return ops.transpose(x, (1, 0, *range(2, x.ndim)))


def _forget_dropout(cell):
    """Let cells draw new dropout masks, which hold for all steps of a sequence."""
    for c in [cell, *getattr(cell, "cells", ())]:
        for name in ("reset_dropout_mask", "reset_recurrent_dropout_mask"):
            getattr(c, name, _nothing)()


def _nothing():
    pass
