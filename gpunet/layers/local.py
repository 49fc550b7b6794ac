"""Locally connected layers: convolutions whose kernel differs from place to place."""

import math

import numpy as np

from gpunet import activations, arrays, constraints, initializers, ops, regularizers
from gpunet.errors import ShapeError
from gpunet.layers.arguments import positive_int
from gpunet.layers.spatial import Spatial, axis_ints
from gpunet.ops.window import window
from gpunet.registry import layers as registered

__all__ = ["LocallyConnected1D", "LocallyConnected2D"]


class LocallyConnected(Spatial):
    """Convolution with a kernel and a bias of its own at every place.

    Args:
        filters: int > 0, number of output channels.
        kernel_size: int or tuple of ints, one for each spatial axis.
        strides: int or tuple.
        padding: ``'valid'``; ``'same'`` with ``implementation`` 2 or 3.
        data_format: ``'channels_last'`` or ``'channels_first'``; None means
            `config.image_data_format`.
        activation: name or function; None means linear.
        use_bias: bool.
        kernel_initializer, bias_initializer: see `gpunet.initializers`.
        kernel_regularizer, bias_regularizer, activity_regularizer: see `gpunet.regularizers`.
        kernel_constraint, bias_constraint: see `gpunet.constraints`.
        implementation: 1, 2 or 3: how Keras stores the kernel, as a matrix for each place, as one
            dense array from all inputs to all outputs, or as a vector of what is used of that.
            The layer computes the same way with all of them.
        **kwargs: see `Layer`.

    Shapes:
        (batch, *size, channels) -> (batch, *new size, filters)

    Raises:
        ValueError: an argument out of range.
        ShapeError: the sizes or the number of channels aren't known, or no window fits.
    """

    has_shape_rule = True

    def __init__(
        self,
        filters,
        kernel_size,
        strides=1,
        padding="valid",
        data_format=None,
        activation=None,
        use_bias=True,
        kernel_initializer="glorot_uniform",
        bias_initializer="zeros",
        kernel_regularizer=None,
        bias_regularizer=None,
        activity_regularizer=None,
        kernel_constraint=None,
        bias_constraint=None,
        implementation=1,
        **kwargs,
    ):
        super().__init__(data_format, activity_regularizer=activity_regularizer, **kwargs)
        kind = type(self).__name__
        self.filters = positive_int(kind, "filters", filters)
        self.kernel_size = axis_ints(kind, "kernel_size", kernel_size, self.rank)
        self.strides = axis_ints(kind, "strides", strides, self.rank)
        self.padding = str(padding).lower()
        if implementation not in (1, 2, 3):
            raise ValueError(f"{kind}: expected implementation 1, 2 or 3, got {implementation!r}")
        if self.padding not in ("valid", "same") or (self.padding, implementation) == ("same", 1):
            raise ValueError(
                f"{kind}: expected padding 'valid', or 'same' with implementation 2 or 3, "
                f"got {padding!r} with implementation {implementation}"
            )
        self.activation = activations.get(activation)
        self.use_bias = bool(use_bias)
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)
        self.implementation = implementation

    def build(self, input_shape):
        channels = self._known_channels(input_shape)
        sizes = self._split(input_shape)[1]
        if None in sizes:
            raise ShapeError(
                f"{self._who}: the sizes of the spatial axes must be known, got input shape "
                f"{input_shape}"
            )
        self.compute_output_shape(input_shape)  # raises an error where no window fits
        self._window, self._channels = self._window_over(sizes), channels
        w = self._window
        self.kernel = self.add_weight("kernel", self._kernel_shape(w, channels))
        bias_shape = (*w.out, self.filters)
        self.bias = self.add_weight("bias", bias_shape) if self.use_bias else None
        self._index = None if self._is_direct else self._kernel_index(w, channels)
        self._index_on = {}  # copies on devices
        if self._index is not None:
            self._device_index()
        self.built = True

    @property
    def _is_direct(self):
        return self.implementation == 1 and self.data_format == "channels_last"

    def _window_over(self, sizes):
        """Return the Window; with ``'same'`` the border is Keras's, the larger part in front."""
        padding = self.padding
        if padding == "same" and None not in sizes:
            padding = []
            for n, k, s in zip(sizes, self.kernel_size, self.strides):
                padding.append((k // 2, max((-(-n // s) - 1) * s + k - n - k // 2, 0)))
        return window(sizes, self.kernel_size, self.strides, padding)

    def _kernel_shape(self, w, channels):
        if self.implementation == 1:
            return (math.prod(w.out), math.prod(w.kernel) * channels, self.filters)
        if self.implementation == 2:
            return (*self._join(0, w.size, channels)[1:], *self._join(0, w.out, self.filters)[1:])
        used = [self._reached(w, cell).size for cell in w.cells()]
        return (sum(used) * channels * self.filters,)

    @staticmethod
    def _reached(w, cell):
        """Return the places whose window has a cell inside the input, as flat numbers."""
        places = np.arange(math.prod(w.out)).reshape(w.out)
        return places[w.overlap(cell)[0]].ravel()

    def _kernel_index(self, w, channels):
        """Return where each element of (places, cells * channels, filters) lies in the kernel.

        Elements that Keras doesn't store, beyond the input's border, get the kernel's size.
        """
        shape = (math.prod(w.out), math.prod(w.kernel), channels, self.filters)
        if self.implementation == 1:  # channels first: (places, channels * cells, filters)
            index = np.arange(math.prod(shape)).reshape(shape[0], channels, shape[1], shape[3])
            return np.swapaxes(index, 1, 2)
        size = math.prod(w.size)
        inner = np.arange(size).reshape(w.size)
        index = np.full(shape, -1, np.int64)
        for i, cell in enumerate(w.cells()):
            places, inputs = self._reached(w, cell), inner[w.overlap(cell)[1]].ravel()
            source = self._flat(inputs[:, None], np.arange(channels), size, channels)
            target = self._flat(places[:, None], np.arange(self.filters), shape[0], self.filters)
            total = shape[0] * self.filters
            index[places, i] = source[:, :, None] * total + target[:, None, :]
        if self.implementation == 2:
            index[index < 0] = size * channels * shape[0] * self.filters
            return index
        return self._sorted(index, shape[0] * self.filters)

    def _flat(self, place, channel, places, channels):
        """Return the number of an element of an image whose axes are joined."""
        if self.data_format == "channels_first":
            return channel * places + place
        return place * channels + channel

    @staticmethod
    def _sorted(index, total):
        """Return the rank of each used element, sorted by output and then by input."""
        used = index >= 0
        order = (index[used] % total) * (index.max() // total + 1) + index[used] // total
        ranks = np.empty(order.size, np.int64)
        ranks[np.argsort(order, kind="stable")] = np.arange(order.size)
        result = np.full(index.shape, order.size, np.int64)
        result[used] = ranks
        return result

    def _device_index(self):
        device = str(arrays.current_device())
        if device not in self._index_on:
            self._index_on[device] = arrays.to_device(self._index)
        return self._index_on[device]

    def _local_kernel(self):
        """Return the kernel as (places, cells * channels, filters)."""
        if self._is_direct:
            return self.kernel
        places, cells, channels, filters = self._index.shape
        flat = ops.reshape(self.kernel, (-1,))
        flat = ops.pad(flat, paddings=((0, 1),))  # the last one stands for cells outside
        kernel = ops.gather(flat, self._device_index())
        return ops.reshape(kernel, (places, cells * channels, filters))

    def _check_inputs(self, inputs):
        super()._check_inputs(inputs)
        if not self.built:
            return
        self._check_channels(inputs.shape, self._channels)
        got = self._split(inputs.shape)[1]
        if any(None not in (a, b) and a != b for a, b in zip(got, self._window.size)):
            raise ShapeError(
                f"{self._who}: expected spatial sizes {self._window.size}, got {tuple(got)} "
                f"(input shape {inputs.shape}, {self.data_format})"
            )

    def call(self, inputs):
        if inputs.dtype.kind != "f":
            inputs = ops.cast(inputs, self.compute_dtype)
        y = ops.local_conv(
            self._channels_last(inputs),
            self._local_kernel(),
            kernel_size=self.kernel_size,
            strides=self.strides,
            padding=self._window.pads,
        )
        if self.bias is not None:
            y = ops.add(y, self._local_bias())
        return self.activation(self._channels_back(y))

    def _local_bias(self):
        """Return the bias as (*out, filters)."""
        if self.data_format == "channels_last":
            return self.bias
        # Keras reads the same numbers as (filters, *out) there.
        shape = tuple(self.bias.shape)
        bias = ops.reshape(self.bias, (shape[-1], *shape[:-1]))
        return ops.transpose(bias, (*range(1, self.rank + 1), 0))

    def compute_output_shape(self, input_shape):
        batch, sizes, _ = self._split(input_shape)
        try:
            out = self._window_over(sizes).out
        except ShapeError as error:
            raise ShapeError(f"{self._who}: {error} (input shape {input_shape})") from None
        return self._join(batch, out, self.filters)


@registered.register()
class LocallyConnected1D(LocallyConnected, rank=1):
    __doc__ = LocallyConnected.__doc__


@registered.register()
class LocallyConnected2D(LocallyConnected, rank=2, strides=(1, 1)):
    __doc__ = LocallyConnected.__doc__
