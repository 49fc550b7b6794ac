"""The layers that most models are made of."""

from gpunet import activations, config, constraints, initializers, ops, regularizers
from gpunet.errors import ShapeError
from gpunet.layers.arguments import fraction, int_tuple, positive_int
from gpunet.layers.base import InputSpec, Layer
from gpunet.layers.lambdas import Lambda
from gpunet.layers.shaping import Flatten, Permute, RepeatVector, Reshape
from gpunet.ops import random
from gpunet.registry import layers as registered

__all__ = [
    "Dense",
    "Activation",
    "Dropout",
    "Masking",
    "Flatten",
    "Reshape",
    "Permute",
    "RepeatVector",
    "Lambda",
    "ActivityRegularization",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "SpatialDropout3D",
]


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

    def __init__(
        self,
        units,
        activation=None,
        use_bias=True,
        kernel_initializer="glorot_uniform",
        bias_initializer="zeros",
        kernel_regularizer=None,
        bias_regularizer=None,
        activity_regularizer=None,
        kernel_constraint=None,
        bias_constraint=None,
        **kwargs,
    ):
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
            inputs = ops.cast(inputs, self.compute_dtype)
        relu = self.activation is activations.relu
        y = ops.dense(inputs, self.kernel, self.bias, relu=relu)
        return y if relu else self.activation(y)

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

    Raises:
        ValueError: a rate outside of [0, 1).

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
        if noise_shape is not None:
            noise_shape = int_tuple("Dropout", "noise_shape", noise_shape)
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
class Masking(Layer):
    """Masks the steps all of whose features equal a value, and sets them to 0.

    Args:
        mask_value: float.
        **kwargs: see `Layer`.

    Shapes:
        (batch, ..., features) -> the same, with a mask (batch, ...)
    """

    has_shape_rule = True
    keeps_dtype = True
    supports_masking = True
    built = True

    def __init__(self, mask_value=0.0, **kwargs):
        super().__init__(**kwargs)
        self.mask_value = mask_value
        self.input_spec = InputSpec(min_ndim=2)

    def call(self, inputs):
        kept = ops.any(ops.not_equal(inputs, self.mask_value), axis=-1, keepdims=True)
        return ops.multiply(inputs, ops.cast(kept, inputs.dtype.name))

    def compute_mask(self, inputs, mask=None):
        return ops.any(ops.not_equal(inputs, self.mask_value), axis=-1)

    def compute_output_shape(self, input_shape):
        return input_shape


@registered.register()
class ActivityRegularization(Layer):
    """Returns its input and adds a penalty on it to the loss, divided by the batch size.

    Args:
        l1: float, factor of the sum of absolute values.
        l2: float, factor of the sum of squares.
        **kwargs: see `Layer`.

    Shapes:
        any -> the same
    """

    has_shape_rule = True
    keeps_dtype = True
    supports_masking = True
    built = True

    def __init__(self, l1=0.0, l2=0.0, **kwargs):
        super().__init__(activity_regularizer=regularizers.L1L2(l1, l2), **kwargs)
        self.l1, self.l2 = float(l1), float(l2)

    def call(self, inputs):
        return inputs

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        found = {**super().get_config(), "l1": self.l1, "l2": self.l2}
        del found["activity_regularizer"]
        return found


class _SpatialDropout(Dropout):
    """Base of the layers that drop whole channels; ``rank`` axes lie between them."""

    has_shape_rule = True
    rank = None

    def __init__(self, rate, data_format=None, **kwargs):
        super().__init__(rate, **kwargs)
        known = ("channels_last", "channels_first")
        if data_format not in (None, *known):
            raise ValueError(
                f"{type(self).__name__}: expected data_format 'channels_last' or "
                f"'channels_first', got {data_format!r}"
            )
        self.data_format = data_format or config.image_data_format()
        self.input_spec = InputSpec(ndim=self.rank + 2)

    def get_config(self):
        return {**super().get_config(), "noise_shape": self.noise_shape, "seed": self.seed}

    def _mask_shape(self, shape):
        space = (1,) * self.rank
        if self.data_format == "channels_first":
            return (*shape[:2], *space)
        return (shape[0], *space, shape[-1])


@registered.register()
class SpatialDropout1D(_SpatialDropout):
    """Sets random channels to 0 in training, for all steps together, and scales up the rest.

    Args:
        rate: float in [0, 1), the part that is dropped.
        **kwargs: see `Layer` and `Dropout`.

    Shapes:
        (batch, time, channels) -> the same

    Reference:
        Tompson et al., 2014, arXiv:1411.4280.
    """

    rank = 1

    def __init__(self, rate, **kwargs):
        super().__init__(rate, "channels_last", **kwargs)


@registered.register()
class SpatialDropout2D(_SpatialDropout):
    """Sets random channels to 0 in training, for a whole image, and scales up the rest.

    Args:
        rate: float in [0, 1), the part that is dropped.
        data_format: ``'channels_last'`` or ``'channels_first'``; None means
            `config.image_data_format`.
        **kwargs: see `Layer` and `Dropout`.

    Shapes:
        (batch, height, width, channels) -> the same

    Reference:
        Tompson et al., 2014, arXiv:1411.4280.
    """

    rank = 2

    def __init__(self, rate, data_format=None, **kwargs):
        super().__init__(rate, data_format, **kwargs)


@registered.register()
class SpatialDropout3D(_SpatialDropout):
    """Sets random channels to 0 in training, for a whole volume, and scales up the rest.

    Args:
        rate: float in [0, 1), the part that is dropped.
        data_format: ``'channels_last'`` or ``'channels_first'``; None means
            `config.image_data_format`.
        **kwargs: see `Layer` and `Dropout`.

    Shapes:
        (batch, depth, height, width, channels) -> the same

    Reference:
        Tompson et al., 2014, arXiv:1411.4280.
    """

    rank = 3

    def __init__(self, rate, data_format=None, **kwargs):
        super().__init__(rate, data_format, **kwargs)
