"""Merge: how Keras before 2.0 joined tensors; some scripts still do."""

import inspect
import types
import warnings

from gpunet import config, ops
from gpunet.layers import merge as merging
from gpunet.layers.base import Layer, placeholders
from gpunet.layers.lambdas import read_function, write_function
from gpunet.nest import flatten
from gpunet.registry import layers as registered

__all__ = ["Merge", "merge"]

_MODES = {
    "sum": merging.Add,
    "mul": merging.Multiply,
    "ave": merging.Average,
    "max": merging.Maximum,
}
_NAMED = (*_MODES, "concat", "dot", "cos")
_FUNCTIONS = ("mode", "output_shape", "output_mask")
_WARNING = (
    "The `Merge` layer is deprecated and will be removed after 08/2017. "
    "Use instead layers from `keras.layers.merge`, e.g. `add`, `concatenate`, etc."
)


@registered.register()
class Merge(Layer):
    """Joins a list of tensors in the way that a mode names; deprecated.

    Args:
        layers: list of layers that were called once, whose outputs are joined at once; None.
        mode: ``'sum'``, ``'mul'``, ``'ave'``, ``'max'``, ``'concat'``, ``'dot'``, ``'cos'``, or a
            function of the list of tensors, and of ``mask`` if it has such a parameter.
        concat_axis: int, for ``'concat'``.
        dot_axes: int or pair of ints, for ``'dot'`` and ``'cos'``.
        output_shape: for a function: the shape without the batch axis, or a function of the
            list of input shapes; None finds it by tracing.
        output_mask: for a function: the mask, or a function of the list of masks.
        arguments: dict of further keyword arguments of the function.
        node_indices, tensor_indices: lists of ints, which call of each layer and which of its
            outputs are joined; the first by default.
        name: str.

    Shapes:
        [(batch, ...), ...] -> depends on the mode

    Raises:
        ValueError: unknown mode.
    """

    def __init__(
        self,
        layers=None,
        mode="sum",
        concat_axis=-1,
        dot_axes=-1,
        output_shape=None,
        output_mask=None,
        arguments=None,
        node_indices=None,
        tensor_indices=None,
        name=None,
        **kwargs,
    ):
        warnings.warn(_WARNING, UserWarning, stacklevel=2)
        super().__init__(name=name, **kwargs)
        if not callable(mode) and mode not in _NAMED:
            raise ValueError(f"Merge: expected mode to be one of {_NAMED}, got {mode!r}")
        self.mode, self.concat_axis, self.dot_axes = mode, concat_axis, dot_axes
        self._output_shape, self._output_mask = output_shape, output_mask
        self.arguments = dict(arguments or {})
        self.supports_masking = self.built = True
        # The layer that does the work, unless a function does.
        self._does = None if callable(mode) else self._layer_for(mode)
        if layers is not None:
            self(self._outputs_of(layers, node_indices, tensor_indices))

    def _layer_for(self, mode):
        if mode == "concat":
            return merging.Concatenate(self.concat_axis, name=self.name)
        if mode in ("dot", "cos"):
            return merging.Dot(self.dot_axes, name=self.name)
        return _MODES[mode](name=self.name)

    def _outputs_of(self, layers, nodes, tensors):
        found = []
        for i, layer in enumerate(layers):
            made = flatten(layer.get_output_at(nodes[i] if nodes else 0))
            found.append(made[tensors[i] if tensors else 0])
        return found

    def _check_inputs(self, inputs):
        if not isinstance(inputs, (list, tuple)) or len(inputs) < 2:
            raise TypeError(f"{self._who}: expected a list of at least 2 tensors, got {inputs!r}")
        if self._does is not None:
            self._does._check_inputs(inputs)

    def call(self, inputs, mask=None):
        inputs = list(inputs)
        if self._does is None:
            options = dict(self.arguments)
            if "mask" in inspect.signature(self.mode).parameters:
                options["mask"] = mask
            return self.mode(inputs, **options)
        y = self._does.call(inputs)
        if self.mode == "cos":
            x, z = inputs
            squares = ops.multiply(self._does.call([x, x]), self._does.call([z, z]))
            y = ops.divide(y, ops.maximum(ops.sqrt(squares), config.epsilon()))
        return y

    def _infer(self, args, kwargs):
        if self._does is None and self._output_shape is None:
            return self._trace(args, kwargs)
        shape = self.compute_output_shape([t.shape for t in args[0]])
        return placeholders(tuple(shape), args[0][0].dtype)

    def compute_output_shape(self, input_shape):
        if self._does is not None:
            return self._does.compute_output_shape(input_shape)
        if callable(self._output_shape):
            return self._output_shape([tuple(s) for s in input_shape])
        if self._output_shape is not None:
            return (input_shape[0][0], *self._output_shape)
        return super().compute_output_shape(input_shape)

    def compute_mask(self, inputs, mask=None):
        if self._does is not None:
            return self._does.compute_mask(inputs, mask)
        return self._output_mask(mask) if callable(self._output_mask) else self._output_mask

    @property
    def _own_mask_rule(self):
        return self._output_mask is not None

    def get_config(self):
        found = self._base_config()
        for key, value in zip(
            _FUNCTIONS, (self.mode, self._output_shape, self._output_mask), strict=True
        ):
            found[key], found[f"{key}_type"] = value, "raw"
            if callable(value):
                found[key], found[f"{key}_type"] = write_function(value, self.name)
        found.update(concat_axis=self.concat_axis, dot_axes=self.dot_axes, arguments=self.arguments)
        return found

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Make a layer from its config; see `Lambda.from_config` about functions."""
        config = dict(config)
        for key in _FUNCTIONS:
            kind = config.pop(f"{key}_type", "raw")
            if kind != "raw":
                layer = config.get("name")
                config[key] = read_function(config[key], kind, None, layer, custom_objects)
            elif isinstance(config.get(key), list):
                config[key] = tuple(config[key])
        return cls(**config)


def merge(
    inputs,
    mode="sum",
    concat_axis=-1,
    dot_axes=-1,
    output_shape=None,
    output_mask=None,
    arguments=None,
    name=None,
):
    """Return a list of tensors joined in the way that a mode names; see `Merge`."""
    layer = Merge(
        None, mode, concat_axis, dot_axes, output_shape, output_mask, arguments, name=name
    )
    return layer(list(inputs))


class _CallableModule(types.ModuleType):
    """``keras.layers.merge``: a function before Keras 2, a module since; this one is both."""

    __call__ = staticmethod(merge)


merging.__class__ = _CallableModule
