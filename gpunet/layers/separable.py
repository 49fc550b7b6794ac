"""Convolutions that treat channels apart: depthwise ones, and those that mix channels after it."""

from gpunet import constraints, initializers, ops, regularizers
from gpunet.layers.arguments import positive_int
from gpunet.layers.convolution import Conv
from gpunet.registry import layers as registered

__all__ = [
    "DepthwiseConv",
    "DepthwiseConv1D",
    "DepthwiseConv2D",
    "SeparableConv",
    "SeparableConv1D",
    "SeparableConv2D",
    "SeparableConvolution1D",
    "SeparableConvolution2D",
]


class _PerChannel(Conv):
    """Base of the convolutions with ``depth_multiplier`` filters for each channel."""

    has_shape_rule = True

    def _take_depthwise(self, multiplier, initializer, regularizer, constraint):
        self.depth_multiplier = positive_int(type(self).__name__, "depth_multiplier", multiplier)
        self.depthwise_initializer = initializers.get(initializer)
        self.depthwise_regularizer = regularizers.get(regularizer)
        self.depthwise_constraint = constraints.get(constraint)
        if self.groups != 1:
            raise ValueError(f"{type(self).__name__}: expected groups=1, got {self.groups}")

    def _add_depthwise(self, channels):
        self.depthwise_kernel = self.add_weight(
            "depthwise_kernel",
            (*self.kernel_size, channels, self.depth_multiplier),
            initializer=self.depthwise_initializer,
            regularizer=self.depthwise_regularizer,
            constraint=self.depthwise_constraint,
        )

    def _depthwise(self, x, bias, relu):
        channels = int(x.shape[-1])
        shape = (*self.kernel_size, 1, channels * self.depth_multiplier)
        kernel = ops.reshape(self.depthwise_kernel, shape)
        return ops.conv(x, kernel, bias, groups=channels, relu=relu, **self._geometry())


class DepthwiseConv(_PerChannel):
    """Convolution of each channel with filters of its own.

    Args:
        kernel_size: int or tuple of ints, one for each spatial axis.
        strides: int or tuple.
        padding: ``'valid'`` or ``'same'``.
        depth_multiplier: int > 0, number of filters for each channel.
        data_format, dilation_rate, activation, use_bias: see `Conv2D`.
        depthwise_initializer, bias_initializer: see `gpunet.initializers`.
        depthwise_regularizer, bias_regularizer, activity_regularizer: see
            `gpunet.regularizers`.
        depthwise_constraint, bias_constraint: see `gpunet.constraints`.
        **kwargs: see `Layer`.

    Shapes:
        (batch, *size, channels) -> (batch, *new size, channels * depth_multiplier)

    Raises:
        ValueError: an argument out of range.
        ShapeError: the number of channels isn't known, or no window fits into the input.
    """

    has_shape_rule = True
    _causal_allowed = False

    def __init__(
        self,
        kernel_size,
        strides=1,
        padding="valid",
        depth_multiplier=1,
        data_format=None,
        dilation_rate=1,
        activation=None,
        use_bias=True,
        depthwise_initializer="glorot_uniform",
        bias_initializer="zeros",
        depthwise_regularizer=None,
        bias_regularizer=None,
        activity_regularizer=None,
        depthwise_constraint=None,
        bias_constraint=None,
        **kwargs,
    ):
        super().__init__(
            None,
            kernel_size,
            strides,
            padding,
            data_format,
            dilation_rate,
            activation,
            use_bias,
            bias_initializer=bias_initializer,
            bias_regularizer=bias_regularizer,
            activity_regularizer=activity_regularizer,
            bias_constraint=bias_constraint,
            **kwargs,
        )
        self._take_depthwise(
            depth_multiplier, depthwise_initializer, depthwise_regularizer, depthwise_constraint
        )

    def _add_weights(self, channels):
        self._add_depthwise(channels)
        self._add_bias(channels * self.depth_multiplier)

    def _convolve(self, x):
        return self._depthwise(x, self.bias, self._relu)

    def _new_channels(self, channels):
        return None if channels is None else channels * self.depth_multiplier


@registered.register()
class DepthwiseConv1D(DepthwiseConv, rank=1):
    __doc__ = DepthwiseConv.__doc__


@registered.register()
class DepthwiseConv2D(DepthwiseConv, rank=2, strides=(1, 1), dilation_rate=(1, 1)):
    __doc__ = DepthwiseConv.__doc__


class SeparableConv(_PerChannel):
    """Depthwise convolution, then a mix of all channels at each place.

    Args:
        filters: int > 0, number of output channels.
        kernel_size: int or tuple of ints, one for each spatial axis.
        strides: int or tuple.
        padding: ``'valid'``, ``'same'``, or ``'causal'`` with one spatial axis.
        data_format, dilation_rate: see `Conv2D`.
        depth_multiplier: int > 0, number of depthwise filters for each channel.
        activation, use_bias: see `Conv2D`.
        depthwise_initializer, pointwise_initializer, bias_initializer: see
            `gpunet.initializers`.
        depthwise_regularizer, pointwise_regularizer, bias_regularizer, activity_regularizer: see
            `gpunet.regularizers`.
        depthwise_constraint, pointwise_constraint, bias_constraint: see `gpunet.constraints`.
        **kwargs: see `Layer`.

    Shapes:
        (batch, *size, channels) -> (batch, *new size, filters)

    Raises:
        ValueError: an argument out of range.
        ShapeError: the number of channels isn't known, or no window fits into the input.

    Reference:
        Chollet, CVPR 2017, arXiv:1610.02357.
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
        depth_multiplier=1,
        activation=None,
        use_bias=True,
        depthwise_initializer="glorot_uniform",
        pointwise_initializer="glorot_uniform",
        bias_initializer="zeros",
        depthwise_regularizer=None,
        pointwise_regularizer=None,
        bias_regularizer=None,
        activity_regularizer=None,
        depthwise_constraint=None,
        pointwise_constraint=None,
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
            bias_initializer=bias_initializer,
            bias_regularizer=bias_regularizer,
            activity_regularizer=activity_regularizer,
            bias_constraint=bias_constraint,
            **kwargs,
        )
        self._take_depthwise(
            depth_multiplier, depthwise_initializer, depthwise_regularizer, depthwise_constraint
        )
        self.pointwise_initializer = initializers.get(pointwise_initializer)
        self.pointwise_regularizer = regularizers.get(pointwise_regularizer)
        self.pointwise_constraint = constraints.get(pointwise_constraint)

    def _add_weights(self, channels):
        self._add_depthwise(channels)
        self.pointwise_kernel = self.add_weight(
            "pointwise_kernel",
            (*(1,) * self.rank, channels * self.depth_multiplier, self.filters),
            initializer=self.pointwise_initializer,
            regularizer=self.pointwise_regularizer,
            constraint=self.pointwise_constraint,
        )
        self._add_bias(self.filters)

    def _convolve(self, x):
        return ops.conv(
            self._depthwise(x, None, False), self.pointwise_kernel, self.bias, relu=self._relu
        )


@registered.register("SeparableConvolution1D")
class SeparableConv1D(SeparableConv, rank=1, data_format="channels_last"):
    __doc__ = SeparableConv.__doc__


@registered.register("SeparableConvolution2D")
class SeparableConv2D(SeparableConv, rank=2, strides=(1, 1), dilation_rate=(1, 1)):
    __doc__ = SeparableConv.__doc__


SeparableConvolution1D, SeparableConvolution2D = SeparableConv1D, SeparableConv2D
