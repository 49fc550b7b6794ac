"""Nested states of cells, and what `RNN` and the wrappers share about calls and building."""

from gpunet import arrays, ops, registry
from gpunet.context import scoped_name
from gpunet.graph import SymbolicTensor
from gpunet.layers.arguments import is_shape
from gpunet.layers.base import placeholders
from gpunet.nest import flatten
from gpunet.tensor import Shape, Tensor, convert_to_tensor

__all__ = [
    "as_list",
    "build_inside",
    "first_shape",
    "flat_sizes",
    "nested_config",
    "pack_states",
    "split_arguments",
    "state_shapes",
    "steps_mask",
    "zero_states",
]


def _is_leaf(size):
    return isinstance(size, Shape) or not isinstance(size, (list, tuple))


def as_list(states):
    """Return states (or their sizes) as a list: one is a list of one."""
    return [states] if _is_leaf(states) else list(states)


def flat_sizes(state_size):
    """Return the sizes as a flat list of tuples; an int stands for one axis."""
    if not _is_leaf(state_size):
        return [size for part in state_size for size in flat_sizes(part)]
    return [tuple(state_size) if isinstance(state_size, Shape) else (int(state_size),)]


def state_shapes(state_size, batch):
    """Return the shapes of the states in the structure of their sizes, in lists."""
    if not _is_leaf(state_size):
        return [state_shapes(part, batch) for part in state_size]
    return Shape((batch, *flat_sizes(state_size)[0]))


def zero_states(state_size, batch, dtype):
    """Return states of zeros in the structure of their sizes, in lists."""
    if not _is_leaf(state_size):
        return [zero_states(part, batch, dtype) for part in state_size]
    shape = (batch, *flat_sizes(state_size)[0])
    return Tensor(arrays.current_device().xp.zeros(shape, dtype))


def pack_states(state_size, leaves):
    """Return a flat list of states in the structure of their sizes, in lists."""
    return _pack(as_list(state_size), iter(leaves))


def _pack(state_size, leaves):
    if not _is_leaf(state_size):
        return [_pack(part, leaves) for part in state_size]
    return next(leaves)


def first_shape(input_shape):
    """Return the first of nested shapes."""
    return Shape(input_shape) if is_shape(input_shape) else first_shape(input_shape[0])


def split_arguments(inputs, initial_state, constants, count):
    """Return (inputs, initial states, constants) of a recurrent layer, the latter lists or None.

    Args:
        inputs: nested tensors; a list holds the input, the initial states and the constants.
        initial_state: tensor, list of them, or None.
        constants: tensor, list of them, or None.
        count: int, how many constants a list ends with.
    """
    if isinstance(inputs, list) and any(_is_tensor(t) for t in flatten(inputs)):
        if len(inputs) > count > 0 and constants is None:
            inputs, constants = inputs[:-count], inputs[-count:]
        if len(inputs) > 1 and initial_state is None:
            initial_state = inputs[1:]
        inputs = inputs[0]
    return inputs, _optional_list(initial_state), _optional_list(constants)


def _is_tensor(value):
    return isinstance(value, (Tensor, SymbolicTensor)) or arrays.is_array(value)


def _optional_list(value):
    return None if value is None else list(value) if isinstance(value, (list, tuple)) else [value]


def steps_mask(mask, time_major):
    """Return a mask as a boolean Tensor (T, N), None if there is none.

    Args:
        mask: nested masks (N, T), or (T, N) with ``time_major``; the first counts.
        time_major: bool.
    """
    leaves = [m for m in flatten(mask) if m is not None]
    if not leaves:
        return None
    mask = convert_to_tensor(leaves[0])
    if mask.dtype != "bool":
        mask = ops.not_equal(mask, 0)
    if mask.ndim == 3:  # (N, T, 1)
        mask = mask[:, :, 0]
    return mask if time_major else ops.transpose(mask, (1, 0))


def build_inside(layer, shape):
    """Build a layer inside another one's `build`, its weights named as if they were that one's.

    Args:
        layer: Layer that isn't built.
        shape: Shape of its input, or a nest of them.
    """
    before = {id(w) for w in layer.weights}
    inputs = placeholders(shape, layer.compute_dtype)
    layer._check_inputs(inputs)
    layer._build_if_needed(inputs)
    scope = scoped_name("")
    for w in layer.weights:
        name = w.name.removeprefix(f"{scope}{layer.name}/")
        if id(w) not in before and name != w.name:
            w.name = scope + name


# Where Keras 2 has its models, by class name; layers are in keras.layers.
_MODULES = {"Sequential": "keras", "Functional": "keras.src.engine.functional"}


def nested_config(layer):
    """Return what a layer's config holds of a layer inside it.

    Later versions of Keras find a class by its module.
    """
    entry = registry.layers.serialize(layer)
    if registry.layers.table.get(entry["class_name"]) is not type(layer):
        return entry
    if entry["class_name"] == "Model" and getattr(layer, "_graph", None) is not None:
        entry["class_name"] = "Functional"
    module = _MODULES.get(entry["class_name"], "keras.layers")
    return {"module": module, **entry, "registered_name": None}
