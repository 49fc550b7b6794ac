"""Layers that pool: the largest, or the mean, of windows or of all positions."""

from gpunet import ops
from gpunet.errors import ShapeError
from gpunet.layers.spatial import Spatial, axis_ints
from gpunet.ops.window import window
from gpunet.registry import layers as registered

__all__ = [
    "MaxPooling",
    "AveragePooling",
    "GlobalMaxPooling",
    "GlobalAveragePooling",
    "MaxPooling1D",
    "MaxPooling2D",
    "MaxPooling3D",
    "AveragePooling1D",
    "AveragePooling2D",
    "AveragePooling3D",
    "GlobalMaxPooling1D",
    "GlobalMaxPooling2D",
    "GlobalMaxPooling3D",
    "GlobalAveragePooling1D",
    "GlobalAveragePooling2D",
    "GlobalAveragePooling3D",
    "MaxPool1D",
    "MaxPool2D",
    "MaxPool3D",
    "AvgPool1D",
    "AvgPool2D",
    "AvgPool3D",
    "GlobalMaxPool1D",
    "GlobalMaxPool2D",
    "GlobalMaxPool3D",
    "GlobalAvgPool1D",
    "GlobalAvgPool2D",
    "GlobalAvgPool3D",
]


class _Pooling(Spatial):
    """Base of all pooling; a subclass has the op and the kinds of dtypes that it takes."""

    has_shape_rule = True
    keeps_dtype = True
    op = None
    kinds = "fiu"

    def _check_inputs(self, inputs):
        super()._check_inputs(inputs)
        if inputs.dtype.kind not in self.kinds:
            wanted = "numbers" if "i" in self.kinds else "floats"
            raise TypeError(f"{self._who}: expected an input of {wanted}, got {inputs.dtype}")


# -- windows ------------------------------------------------------------------------------


class _WindowPooling(_Pooling):
    has_shape_rule = True

    def __init__(self, pool_size=2, strides=None, padding="valid", data_format=None, **kwargs):
        super().__init__(data_format, **kwargs)
        kind = type(self).__name__
        self.pool_size = axis_ints(kind, "pool_size", pool_size, self.rank)
        strides = self.pool_size if strides is None else strides
        self.strides = axis_ints(kind, "strides", strides, self.rank)
        self.padding = str(padding).lower()
        if self.padding not in ("valid", "same"):
            raise ValueError(f"{kind}: expected padding 'valid' or 'same', got {padding!r}")

    def call(self, inputs):
        return type(self).op(
            inputs,
            pool_size=self.pool_size,
            strides=self.strides,
            padding=self.padding,
            data_format=self.data_format,
        )

    def compute_output_shape(self, input_shape):
        batch, sizes, channels = self._split(input_shape)
        try:
            sizes = window(sizes, self.pool_size, self.strides, self.padding).out
        except ShapeError as error:
            raise ShapeError(f"{self._who}: {error} (input shape {input_shape})") from None
        return self._join(batch, sizes, channels)


class MaxPooling(_WindowPooling):
    """Takes the largest element of each channel in every window.

    Args:
        pool_size: int or tuple of ints, one for each spatial axis.
        strides: int or tuple, steps from one window to the next; None means ``pool_size``.
        padding: ``'valid'`` (windows stay inside) or ``'same'`` (``ceil(size / stride)`` windows;
            what of them lies outside of the input doesn't count).
        data_format: ``'channels_last'`` or ``'channels_first'``; None means
            `config.image_data_format`.
        **kwargs: see `Layer`.

    Shapes:
        (batch, *size, channels) -> (batch, *number of windows, channels)

    Raises:
        ValueError: an argument out of range.
        ShapeError: no window fits into the input.
        TypeError: the input has no numbers.
    """

    op = ops.max_pool


class AveragePooling(_WindowPooling):
    """Takes the mean of each channel in every window.

    Args:
        pool_size: int or tuple of ints, one for each spatial axis.
        strides: int or tuple, steps from one window to the next; None means ``pool_size``.
        padding: ``'valid'`` (windows stay inside) or ``'same'`` (``ceil(size / stride)`` windows;
            what of them lies outside of the input isn't counted).
        data_format: ``'channels_last'`` or ``'channels_first'``; None means
            `config.image_data_format`.
        **kwargs: see `Layer`.

    Shapes:
        (batch, *size, channels) -> (batch, *number of windows, channels)

    Raises:
        ValueError: an argument out of range.
        ShapeError: no window fits into the input.
        TypeError: the input isn't of floats.
    """

    op = ops.average_pool
    kinds = "f"


@registered.register("MaxPool1D")
class MaxPooling1D(MaxPooling, rank=1, data_format="channels_last"):
    __doc__ = MaxPooling.__doc__


@registered.register("MaxPool2D")
class MaxPooling2D(MaxPooling, rank=2, pool_size=(2, 2)):
    __doc__ = MaxPooling.__doc__


@registered.register("MaxPool3D")
class MaxPooling3D(MaxPooling, rank=3, pool_size=(2, 2, 2)):
    __doc__ = MaxPooling.__doc__


@registered.register("AvgPool1D")
class AveragePooling1D(AveragePooling, rank=1, data_format="channels_last"):
    __doc__ = AveragePooling.__doc__


@registered.register("AvgPool2D")
class AveragePooling2D(AveragePooling, rank=2, pool_size=(2, 2)):
    __doc__ = AveragePooling.__doc__


@registered.register("AvgPool3D")
class AveragePooling3D(AveragePooling, rank=3, pool_size=(2, 2, 2)):
    __doc__ = AveragePooling.__doc__


# -- all positions ------------------------------------------------------------------------


class _GlobalPooling(_Pooling):
    has_shape_rule = True

    def __init__(self, data_format=None, keepdims=False, **kwargs):
        super().__init__(data_format, **kwargs)
        self.keepdims = bool(keepdims)

    @property
    def _axes(self):
        return tuple(range(self._first_axis, self._first_axis + self.rank))

    def _check_inputs(self, inputs):
        super()._check_inputs(inputs)
        if 0 in self._split(inputs.shape)[1]:
            raise ShapeError(
                f"{self._who}: expected at least one position to pool, "
                f"got input shape {inputs.shape}"
            )

    def call(self, inputs):
        return type(self).op(inputs, axis=self._axes, keepdims=self.keepdims)

    def compute_output_shape(self, input_shape):
        batch, _, channels = self._split(input_shape)
        return self._join(batch, (1,) * self.rank if self.keepdims else (), channels)


class GlobalMaxPooling(_GlobalPooling):
    """Takes the largest element of each channel.

    Args:
        data_format: ``'channels_last'`` or ``'channels_first'``; None means
            `config.image_data_format`.
        keepdims: bool, whether the spatial axes stay with size 1.
        **kwargs: see `Layer`.

    Shapes:
        (batch, *size, channels) -> (batch, channels)

    Raises:
        ShapeError: a spatial axis of size 0.
        TypeError: the input has no numbers.
    """

    op = ops.max


class GlobalAveragePooling(_GlobalPooling):
    """Takes the mean of each channel.

    Args:
        data_format: ``'channels_last'`` or ``'channels_first'``; None means
            `config.image_data_format`.
        keepdims: bool, whether the spatial axes stay with size 1.
        **kwargs: see `Layer`.

    Shapes:
        (batch, *size, channels) -> (batch, channels)

    Raises:
        ShapeError: a spatial axis of size 0.
        TypeError: the input isn't of floats.
    """

    op = ops.mean
    kinds = "f"


@registered.register("GlobalMaxPool1D")
class GlobalMaxPooling1D(GlobalMaxPooling, rank=1, data_format="channels_last"):
    __doc__ = GlobalMaxPooling.__doc__


@registered.register("GlobalMaxPool2D")
class GlobalMaxPooling2D(GlobalMaxPooling, rank=2):
    __doc__ = GlobalMaxPooling.__doc__


@registered.register("GlobalMaxPool3D")
class GlobalMaxPooling3D(GlobalMaxPooling, rank=3):
    __doc__ = GlobalMaxPooling.__doc__


@registered.register("GlobalAvgPool1D")
class GlobalAveragePooling1D(GlobalAveragePooling, rank=1, data_format="channels_last"):
    """Takes the mean of each channel over the steps of a sequence.

    Args:
        data_format: ``'channels_last'`` or ``'channels_first'``.
        keepdims: bool, whether the axis of steps stays with size 1.
        **kwargs: see `Layer`.

    Shapes:
        (batch, time, channels) -> (batch, channels)
        mask (batch, time): only steps where it is true count; where none is, the mean is NaN.

    Raises:
        ShapeError: no step at all.
        TypeError: the input isn't of floats.
    """

    has_shape_rule = True
    supports_masking = True
    _own_mask_rule = False  # it only takes masks away

    def call(self, inputs, mask=None):
        if mask is None:
            return super().call(inputs)
        axis = self._first_axis
        counted = ops.expand_dims(ops.cast(mask, inputs.dtype), self._channel_axis)
        total = ops.sum(inputs * counted, axis=axis, keepdims=self.keepdims)
        return total / ops.sum(counted, axis=axis, keepdims=self.keepdims)

    def compute_mask(self, inputs, mask=None):
        return None


@registered.register("GlobalAvgPool2D")
class GlobalAveragePooling2D(GlobalAveragePooling, rank=2):
    __doc__ = GlobalAveragePooling.__doc__


@registered.register("GlobalAvgPool3D")
class GlobalAveragePooling3D(GlobalAveragePooling, rank=3):
    __doc__ = GlobalAveragePooling.__doc__


MaxPool1D = MaxPooling1D
MaxPool2D = MaxPooling2D
MaxPool3D = MaxPooling3D
AvgPool1D = AveragePooling1D
AvgPool2D = AveragePooling2D
AvgPool3D = AveragePooling3D
GlobalMaxPool1D = GlobalMaxPooling1D
GlobalMaxPool2D = GlobalMaxPooling2D
GlobalMaxPool3D = GlobalMaxPooling3D
GlobalAvgPool1D = GlobalAveragePooling1D
GlobalAvgPool2D = GlobalAveragePooling2D
GlobalAvgPool3D = GlobalAveragePooling3D
