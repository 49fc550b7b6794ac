"""Convolution and transposed convolution over one, two or three spatial axes."""

from gpunet import activations, constraints, initializers, ops, regularizers
from gpunet.errors import ShapeError
from gpunet.layers.arguments import positive_int
from gpunet.layers.spatial import Spatial, axis_ints
from gpunet.ops.window import transposed_window, window
from gpunet.registry import layers as registered

__all__ = [
    "Conv",
    "Conv1D",
    "Conv2D",
    "Conv3D",
    "ConvTranspose",
    "Conv1DTranspose",
    "Conv2DTranspose",
    "Conv3DTranspose",
    "Convolution1D",
    "Convolution2D",
    "Convolution3D",
    "Convolution1DTranspose",
    "Convolution2DTranspose",
    "Convolution3DTranspose",
    "Deconvolution2D",
    "Deconvolution3D",
]


class Conv(Spatial):
    """Convolution: ``activation(conv(x, kernel) + bias)``, the kernel not being reversed.

    Args:
        filters: int > 0, number of output channels.
        kernel_size: int or tuple of ints, one for each spatial axis.
        strides: int or tuple.
        padding: ``'valid'``, ``'same'``, or ``'causal'`` with one spatial axis: outputs depend on
            no later input.
        data_format: ``'channels_last'`` or ``'channels_first'``; None means
            `config.image_data_format`.
        dilation_rate: int or tuple; not together with strides.
        activation: name or function; None means linear.
        use_bias: bool.
        kernel_initializer, bias_initializer: see `gpunet.initializers`.
        kernel_regularizer, bias_regularizer, activity_regularizer: see `gpunet.regularizers`.
        kernel_constraint, bias_constraint: see `gpunet.constraints`.
        groups: int, number of equal parts of the channels that are convolved apart.
        **kwargs: see `Layer`.

    Shapes:
        (batch, *size, channels) -> (batch, *new size, filters)

    Raises:
        ValueError: an argument out of range, or a combination that Keras doesn't allow.
        ShapeError: the number of channels isn't known or isn't a multiple of ``groups``, or no
            window fits into the input.

    Reference:
        Dumoulin and Visin, 2016, arXiv:1603.07285.
    """

    has_shape_rule = True

    def __init__(
        self,
        filters,
        kernel_size,
        strides=1,
        padding="valid",
        data_format=None,
        dilation_rate=1,
        activation=None,
        use_bias=True,
        kernel_initializer="glorot_uniform",
        bias_initializer="zeros",
        kernel_regularizer=None,
        bias_regularizer=None,
        activity_regularizer=None,
        kernel_constraint=None,
        bias_constraint=None,
        groups=1,
        **kwargs,
    ):
        super().__init__(data_format, activity_regularizer=activity_regularizer, **kwargs)
        kind, rank = type(self).__name__, self.rank
        self.filters = None if filters is None else positive_int(kind, "filters", filters)
        self.kernel_size = axis_ints(kind, "kernel_size", kernel_size, rank)
        self.strides = axis_ints(kind, "strides", strides, rank)
        self.padding = str(padding).lower()
        self.dilation_rate = axis_ints(kind, "dilation_rate", dilation_rate, rank)
        self.groups = positive_int(kind, "groups", groups or 1)
        self.activation = activations.get(activation)
        self.use_bias = bool(use_bias)
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)
        self._validate(kind)

    def _validate(self, kind):
        allowed = ("valid", "same", "causal") if self._causal_allowed else ("valid", "same")
        if self.padding not in allowed:
            raise ValueError(
                f"{kind}: expected padding to be one of {', '.join(map(repr, allowed))}, "
                f"got {self.padding!r}"
            )
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise ValueError(
                f"{kind}: strides > 1 and dilation_rate > 1 can't be combined, got "
                f"strides={self.strides} and dilation_rate={self.dilation_rate}"
            )
        if self.filters is not None and self.filters % self.groups:
            raise ValueError(
                f"{kind}: expected filters to be a multiple of groups={self.groups}, "
                f"got {self.filters}"
            )

    @property
    def _relu(self):  # scripts exchange the activation of a layer that is there
        return self.activation is activations.relu

    @property
    def _causal_allowed(self):
        return self.rank == 1

    def build(self, input_shape):
        channels = self._known_channels(input_shape)
        self._add_weights(channels)
        self._channels = channels
        self.built = True

    def _add_weights(self, channels):
        if channels % self.groups:
            raise ShapeError(
                f"{self._who}: expected a number of input channels that is a multiple of "
                f"groups={self.groups}, got {channels}"
            )
        self.kernel = self.add_weight(
            "kernel", (*self.kernel_size, channels // self.groups, self.filters)
        )
        self._add_bias(self.filters)

    def _add_bias(self, filters):
        self.bias = self.add_weight("bias", (filters,)) if self.use_bias else None

    def _check_inputs(self, inputs):
        super()._check_inputs(inputs)
        if self.built:
            self._check_channels(inputs.shape, self._channels)

    def call(self, inputs):
        if inputs.dtype.kind != "f":
            inputs = ops.cast(inputs, self.compute_dtype)
        y = self._channels_back(self._convolve(self._channels_last(inputs)))
        return y if self._relu else self.activation(y)

    def _convolve(self, x):
        """Return the biased convolution of a channels-last tensor, cut off at 0 for relu."""
        return ops.conv(
            x, self.kernel, self.bias, groups=self.groups, relu=self._relu, **self._geometry()
        )

    def _geometry(self):
        return {"strides": self.strides, "padding": self.padding, "dilation": self.dilation_rate}

    def compute_output_shape(self, input_shape):
        batch, sizes, channels = self._split(input_shape)
        try:
            sizes = self._new_sizes(sizes)
        except ShapeError as error:
            raise ShapeError(f"{self._who}: {error} (input shape {input_shape})") from None
        return self._join(batch, sizes, self._new_channels(channels))

    def _new_sizes(self, sizes):
        return window(sizes, self.kernel_size, self.strides, self.padding, self.dilation_rate).out

    def _new_channels(self, channels):
        return self.filters


@registered.register("Convolution1D")
class Conv1D(Conv, rank=1, data_format="channels_last"):
    __doc__ = Conv.__doc__


@registered.register("Convolution2D")
class Conv2D(Conv, rank=2, strides=(1, 1), dilation_rate=(1, 1)):
    __doc__ = Conv.__doc__


@registered.register("Convolution3D")
class Conv3D(Conv, rank=3, strides=(1, 1, 1), dilation_rate=(1, 1, 1)):
    __doc__ = Conv.__doc__


class ConvTranspose(Conv):
    """Transposed convolution, "deconvolution": what a convolution does to gradients.

    Args:
        filters: int > 0, number of output channels.
        kernel_size: int or tuple of ints, one for each spatial axis.
        strides: int or tuple; outputs are this many times as large as inputs.
        padding: ``'valid'`` or ``'same'``.
        output_padding: int or tuple of ints below the strides, added to the smallest possible
            output size; None chooses ``input * strides`` (``'same'``) or
            ``input * strides + max(kernel_size - strides, 0)`` (``'valid'``).
        data_format, dilation_rate, activation, use_bias: see `Conv2D`.
        kernel_initializer, bias_initializer: see `gpunet.initializers`.
        kernel_regularizer, bias_regularizer, activity_regularizer: see `gpunet.regularizers`.
        kernel_constraint, bias_constraint: see `gpunet.constraints`.
        **kwargs: see `Layer`.

    Shapes:
        (batch, *size, channels) -> (batch, *new size, filters)

    Raises:
        ValueError: an argument out of range, or a combination that Keras doesn't allow.
        ShapeError: the number of channels isn't known, or ``output_padding`` gives a size that
            no convolution maps to that of the input.

    Reference:
        Zeiler et al., CVPR 2010, doi:10.1109/CVPR.2010.5539957.
    """

    has_shape_rule = True
    _causal_allowed = False

    def __init__(
        self,
        filters,
        kernel_size,
        strides=1,
        padding="valid",
        output_padding=None,
        data_format=None,
        dilation_rate=1,
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
        super().__init__(
            filters,
            kernel_size,
            strides,
            padding,
            data_format,
            dilation_rate,
            activation,
            use_bias,
            kernel_initializer,
            bias_initializer,
            kernel_regularizer,
            bias_regularizer,
            activity_regularizer,
            kernel_constraint,
            bias_constraint,
            **kwargs,
        )
        kind = type(self).__name__
        if self.groups != 1:
            raise ValueError(f"{kind}: expected groups=1, got {self.groups}")
        if output_padding is not None:
            output_padding = axis_ints(kind, "output_padding", output_padding, self.rank, 0)
            if any(p >= s for p, s in zip(output_padding, self.strides)):
                raise ValueError(
                    f"{kind}: expected output_padding below the strides {self.strides}, "
                    f"got {output_padding}"
                )
        self.output_padding = output_padding

    def _add_weights(self, channels):
        self.kernel = self.add_weight("kernel", (*self.kernel_size, self.filters, channels))
        self._add_bias(self.filters)

    def _convolve(self, x):
        return ops.conv_transpose(
            x,
            self.kernel,
            self.bias,
            relu=self._relu,
            output_padding=self.output_padding,
            **self._geometry(),
        )

    def _new_sizes(self, sizes):
        return transposed_window(
            sizes,
            self.kernel_size,
            self.strides,
            self.padding,
            self.dilation_rate,
            self.output_padding,
        ).size


@registered.register("Convolution1DTranspose")
class Conv1DTranspose(ConvTranspose, rank=1):
    __doc__ = ConvTranspose.__doc__


@registered.register("Convolution2DTranspose", "Deconvolution2D")
class Conv2DTranspose(ConvTranspose, rank=2, strides=(1, 1), dilation_rate=(1, 1)):
    __doc__ = ConvTranspose.__doc__


@registered.register("Convolution3DTranspose", "Deconvolution3D")
class Conv3DTranspose(ConvTranspose, rank=3, strides=(1, 1, 1), dilation_rate=(1, 1, 1)):
    __doc__ = ConvTranspose.__doc__


# Names that older and newer scripts use.
Convolution1D, Convolution2D, Convolution3D = Conv1D, Conv2D, Conv3D
Convolution1DTranspose = Conv1DTranspose
Convolution2DTranspose = Deconvolution2D = Conv2DTranspose
Convolution3DTranspose = Deconvolution3D = Conv3DTranspose
