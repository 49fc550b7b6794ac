"""The layer of InceptionResNetV2; apart, since files of that model name it."""

from gpunet import registry
from gpunet.layers.base import Layer

__all__ = ["CustomScaleLayer"]


@registry.register_keras_serializable()
class CustomScaleLayer(Layer):
    """Adds the second of two tensors, times a factor, to the first.

    Args:
        scale: float, the factor.
    """

    has_shape_rule = True

    def __init__(self, scale, **kwargs):
        super().__init__(**kwargs)
        self.scale = scale

    def call(self, inputs):
        return inputs[0] + inputs[1] * self.scale

    def compute_output_shape(self, input_shape):
        return input_shape[0]
