"""The base of layers that keep the shape of their input."""

from gpunet import ops
from gpunet.layers.base import Layer

__all__ = ["SameShape"]


class SameShape(Layer):
    """Base of the layers that give a float tensor of their input's shape, and keep its mask."""

    has_shape_rule = True
    supports_masking = True

    def _float(self, inputs):
        """Return the input; one of integers with the layer's dtype."""
        return inputs if inputs.dtype.kind == "f" else ops.cast(inputs, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return input_shape
