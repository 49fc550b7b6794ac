"""The layers that most models are made of."""

import numpy as np

from gpunet import activations, constraints, initializers, ops, regularizers
from gpunet.errors import ShapeError
from gpunet.layers.arguments import fraction, int_tuple, positive_int
from gpunet.layers.base import InputSpec, Layer
from gpunet.ops import random
from gpunet.registry import layers as registered
from gpunet.tensor import Shape

__all__ = ["Dense", "Activation", "Dropout", "Flatten", "Reshape"]


@registered.register()
class Dense(Layer):
    """Affine map of the last axis: ``activation(x @ kernel + bias)``.

    Args:
        units: int > 0, size of the output's last axis.
        activation: name or function; None means linear.
        use_bias: bool.
        kernel_initializer, bias_initializer: see `gpunet.initializers`.
        kernel_regularizer, bias_regularizer, activity_regularizer: see `gpunet.regularizers`.
        kernel_constraint, bias_constraint: see `gpunet.constraints`.
        **kwargs: see `Layer`.

    Shapes:
        (batch, ..., features) -> (batch, ..., units)

    Raises:
        ValueError: units isn't a positive int.
    """

    has_shape_rule = True
    supports_masking = True

    def __init__(self, units, activation=None, use_bias=True, kernel_initializer="glorot_uniform",
                 bias_initializer="zeros", kernel_regularizer=None, bias_regularizer=None,
                 activity_regularizer=None, kernel_constraint=None, bias_constraint=None,
                 **kwargs):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.units = positive_int("Dense", "units", units)
        self.activation = activations.get(activation)
        self.use_bias = bool(use_bias)
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)
        self.input_spec = InputSpec(min_ndim=2)
        self._linear = self.activation is activations.linear

    def build(self, input_shape):
        features = input_shape[-1]
        if features is None:
            raise ShapeError(
                f"Dense {self.name!r}: the size of the input's last axis must be known, "
                f"got input shape {input_shape}"
            )
        self.kernel = self.add_weight("kernel", (features, self.units))
        self.bias = self.add_weight("bias", (self.units,)) if self.use_bias else None
        self.input_spec = InputSpec(min_ndim=2, axes={-1: features})
        self.built = True

    def call(self, inputs):
        if inputs.dtype.kind != "f":
            inputs = ops.cast(inputs, self.dtype)
        y = ops.dense(inputs, self.kernel, self.bias)
        return y if self._linear else self.activation(y)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)


@registered.register()
class Activation(Layer):
    """Applies a function elementwise (softmax: along the last axis).

    Args:
        activation: name or function.
        **kwargs: see `Layer`.

    Shapes:
        any -> the same
    """

    has_shape_rule = True
    keeps_dtype = True
    supports_masking = True
    built = True

    def __init__(self, activation, **kwargs):
        super().__init__(**kwargs)
        self.activation = activations.get(activation)

    def call(self, inputs):
        return self.activation(inputs)

    def compute_output_shape(self, input_shape):
        return input_shape


@registered.register()
class Dropout(Layer):
    """Sets a random part of the input to 0 in training and scales up the rest.

    Args:
        rate: float in [0, 1), the part that is dropped.
        noise_shape: tuple that broadcasts to the input's shape, the shape of the random mask;
            None in it means the input's own size there.
        seed: int, gives this layer a random stream of its own.
        **kwargs: see `Layer`.

    Shapes:
        any -> the same

    Reference:
        Srivastava et al., JMLR 15 (2014), 1929-1958.
    """

    has_shape_rule = True
    keeps_dtype = True
    supports_masking = True
    built = True

    def __init__(self, rate, noise_shape=None, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.rate = fraction("Dropout", "rate", rate)
        self.noise_shape = noise_shape
        self.seed = seed
        self._generator = None if seed is None else random.Generator(seed)

    def _mask_shape(self, shape):
        if self.noise_shape is None:
            return None
        return tuple(
            size if n is None else n for n, size in zip(self.noise_shape, shape, strict=True)
        )

    def call(self, inputs, training=None):
        if not training or self.rate == 0:
            return inputs
        shape = self._mask_shape(inputs.shape)
        generator = self._generator or random.default()
        return random.dropout(inputs, self.rate, noise_shape=shape, generator=generator)

    def compute_output_shape(self, input_shape):
        return input_shape


@registered.register()
class Flatten(Layer):
    """Joins all axes but the first.

    Args:
        data_format: ``'channels_first'`` moves the channels last before; None keeps the order.
        **kwargs: see `Layer`.

    Shapes:
        (batch, ...) -> (batch, product)
    """

    has_shape_rule = True
    keeps_dtype = True
    built = True

    def __init__(self, data_format=None, **kwargs):
        super().__init__(**kwargs)
        if data_format not in (None, "channels_last", "channels_first"):
            raise ValueError(
                f"Flatten: expected data_format 'channels_last' or 'channels_first', "
                f"got {data_format!r}"
            )
        self.data_format = data_format or "channels_last"
        self.input_spec = InputSpec(min_ndim=1)

    def call(self, inputs):
        if self.data_format == "channels_first" and inputs.ndim > 2:
            inputs = ops.transpose(inputs, (0, *range(2, inputs.ndim), 1))
        return ops.reshape(inputs, (inputs.shape[0], self._width(inputs.shape)))

    @staticmethod
    def _width(shape):
        sizes = tuple(shape)[1:]
        return None if None in sizes else int(np.prod(sizes, dtype=np.int64))

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self._width(input_shape))


@registered.register()
class Reshape(Layer):
    """Gives each sample another shape.

    Args:
        target_shape: tuple of ints without the batch axis; one may be -1.
        **kwargs: see `Layer`.

    Shapes:
        (batch, ...) -> (batch, *target_shape)

    Raises:
        ShapeError: the number of elements differs.
    """

    has_shape_rule = True
    keeps_dtype = True
    built = True

    def __init__(self, target_shape, **kwargs):
        super().__init__(**kwargs)
        self.target_shape = int_tuple("Reshape", "target_shape", target_shape)
        if sum(n == -1 for n in self.target_shape) > 1:
            raise ValueError(f"Reshape: at most one size may be -1, got {self.target_shape}")

    def call(self, inputs):
        return ops.reshape(inputs, self.compute_output_shape(inputs.shape))

    def compute_output_shape(self, input_shape):
        batch, *sizes = input_shape
        target = self.target_shape
        if None in sizes:
            return (batch, *(None if n == -1 else n for n in target))
        total = int(np.prod(sizes, dtype=np.int64))
        known = int(np.prod([n for n in target if n != -1], dtype=np.int64))
        free = -1 in target
        if (known == 0 or total % known if free else total != known) and not total == known == 0:
            raise ShapeError(
                f"Reshape {self.name!r}: {total} elements of input shape {Shape(input_shape)} "
                f"don't fit target_shape {target}"
            )
        return (batch, *(total // max(known, 1) if n == -1 else n for n in target))
