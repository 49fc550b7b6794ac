"""Recurrent layers whose products are convolutions: `ConvLSTM1D`, `ConvLSTM2D`, `ConvLSTM3D`."""

from gpunet import arrays, ops
from gpunet.errors import ShapeError
from gpunet.layers.arguments import positive_int
from gpunet.layers.base import InputSpec
from gpunet.layers.recurrent.nesting import first_shape
from gpunet.layers.recurrent.parts import DropoutCell, ForgetBias
from gpunet.layers.recurrent.ready import OwnCell
from gpunet.layers.recurrent.scan import scan
from gpunet.layers.spatial import Spatial, axis_ints, with_defaults
from gpunet.nest import flatten
from gpunet.ops.window import window
from gpunet.recording import constant
from gpunet.registry import layers as registered
from gpunet.tensor import Shape, Tensor

__all__ = ["ConvLSTM1D", "ConvLSTM2D", "ConvLSTM2DCell", "ConvLSTM3D"]


class ConvLSTMCell(DropoutCell, Spatial):
    """One step of a `ConvLSTM2D` and its like.

    Args:
        filters: int > 0, channels of output and states.
        kernel_size: int or tuple of ints, one for each spatial axis.
        strides, padding, dilation_rate: of the input's convolution; see `Conv`.
        data_format: ``'channels_last'`` or ``'channels_first'``; None means
            `config.image_data_format`.
        activation: name or function.
        recurrent_activation: name or function, of the input, forget and output gates.
        use_bias: bool.
        kernel_initializer, recurrent_initializer, bias_initializer: see `gpunet.initializers`.
        unit_forget_bias: bool, the forget gate's bias starts at 1.
        kernel_regularizer, recurrent_regularizer, bias_regularizer: see `gpunet.regularizers`.
        kernel_constraint, recurrent_constraint, bias_constraint: see `gpunet.constraints`.
        dropout, recurrent_dropout: floats, shares of the inputs and of the state that are
            dropped in training, the same ones at all steps of a sequence.
        **kwargs: see `Layer`.

    Shapes:
        (batch, *size, channels), states -> (batch, *new size, filters), states
    """

    gates = 4
    implementation = 1

    def __init__(
        self,
        filters,
        kernel_size,
        strides=1,
        padding="valid",
        data_format=None,
        dilation_rate=1,
        activation="tanh",
        recurrent_activation="hard_sigmoid",
        use_bias=True,
        kernel_initializer="glorot_uniform",
        recurrent_initializer="orthogonal",
        bias_initializer="zeros",
        unit_forget_bias=True,
        kernel_regularizer=None,
        recurrent_regularizer=None,
        bias_regularizer=None,
        kernel_constraint=None,
        recurrent_constraint=None,
        bias_constraint=None,
        dropout=0.0,
        recurrent_dropout=0.0,
        **kwargs,
    ):
        super().__init__(data_format, **kwargs)
        self._read(locals())
        kind = type(self).__name__
        self.filters = positive_int(kind, "filters", filters)
        self.kernel_size = axis_ints(kind, "kernel_size", kernel_size, self.rank)
        self.strides = axis_ints(kind, "strides", strides, self.rank)
        self.dilation_rate = axis_ints(kind, "dilation_rate", dilation_rate, self.rank)
        self.padding = str(padding).lower()
        if self.padding not in ("valid", "same"):
            raise ValueError(f"{kind}: expected padding 'valid' or 'same', got {padding!r}")
        self.unit_forget_bias = bool(unit_forget_bias)
        self.state_size = [self.filters, self.filters]

    def build(self, input_shape):
        channels, width = self._known_channels(input_shape), 4 * self.filters
        self.kernel = self.add_weight("kernel", (*self.kernel_size, channels, width))
        self.recurrent_kernel = self.add_weight(
            "recurrent_kernel",
            (*self.kernel_size, self.filters, width),
            initializer=self.recurrent_initializer,
            regularizer=self.recurrent_regularizer,
            constraint=self.recurrent_constraint,
        )
        self.bias = None
        if self.use_bias:
            start = self.bias_initializer
            if self.unit_forget_bias:
                start = ForgetBias(start, self.filters)
            self.bias = self.add_weight("bias", (width,), initializer=start)
        self.built = True

    def output_shape_of(self, shape):
        """Return the shape of output and states for the shape of one step's input."""
        batch, sizes, _ = self._split(shape)
        sizes = window(sizes, self.kernel_size, self.strides, self.padding, self.dilation_rate).out
        return Shape(self._join(batch, sizes, self.filters))

    def input_conv(self, x, w, b=None, padding="valid"):
        """Return the convolution of one step's inputs with some gates' kernel."""
        x = self._channels_last(x)
        y = ops.conv(x, w, b, strides=self.strides, padding=padding, dilation=self.dilation_rate)
        return self._channels_back(y)

    def recurrent_conv(self, x, w):
        """Return the convolution of a state with some gates' recurrent kernel."""
        return self._channels_back(ops.conv(self._channels_last(x), w, padding="same"))

    # -- one step, channels last -----------------------------------------------------------

    def _gates(self, seen, kernel, bias=None, **options):
        """Return the convolution of what each gate sees, (N, *out, 4 * F)."""
        if len(seen) == 1:
            return ops.conv(seen[0], kernel, bias, **options)
        kernels = ops.split(kernel, parts=4)
        biases = [None] * 4 if bias is None else ops.split(bias, parts=4)
        return ops.concatenate(
            [ops.conv(x, k, b, **options) for x, k, b in zip(seen, kernels, biases)]
        )

    def _project(self, seen):
        return self._gates(
            seen, self.kernel, self.bias, strides=self.strides, padding=self.padding,
            dilation=self.dilation_rate,
        )  # fmt: skip

    def _step(self, z, states, training):
        """Return output and states, z being what the inputs add to the gates."""
        h, c = states
        seen = self.by_gate("recurrent_dropout", h, training)
        z = z + self._gates(seen, self.recurrent_kernel, padding="same")
        i, f, g, o = ops.split(z, parts=4)
        gate = self.recurrent_activation
        c = gate(f) * c + gate(i) * self.activation(g)
        h = gate(o) * self.activation(c)
        return h, [h, c]

    def call(self, inputs, states, training=None):
        x = self._channels_last(inputs)
        states = [self._channels_last(s) for s in flatten(states)]
        h, states = self._step(
            self._project(self.by_gate("dropout", x, training)), states, training
        )
        return self._channels_back(h), [self._channels_back(s) for s in states]

    # -- all steps ------------------------------------------------------------------------

    def can_scan(self):
        """Return whether `scan` computes what `call` would, step by step."""
        return type(self).call is ConvLSTMCell.call

    def scan(self, x, states, mask, training, **options):
        """Walk over all steps, the inputs' convolutions being one; see `GatedCell.scan`."""
        if x.dtype.kind != "f":
            x = ops.cast(x, self.compute_dtype)
        steps = x.shape[0]
        x = self._channels_last(_folded(x))
        kept = self.kept("dropout", (x.shape[0] // steps, *x.shape[1:]), training)
        seen = [x]
        if kept is not None:
            split = _unfolded(x, steps)
            scale = 1 / (1 - self.dropout)
            seen = [_folded(split * (ops.cast(k, x.dtype.name) * scale)) for k in ops.unstack(kept)]
        z = _unfolded(self._project(seen), steps)
        if states is None:
            start = (*z.shape[1:-1], self.filters)
            zeros = constant(arrays.module_of(z.array).zeros(start, z.dtype))
            states = [Tensor(zeros), Tensor(zeros)]
        else:
            states = [self._channels_last(s) for s in flatten(states)]
        y, states = scan(
            lambda z, states: self._step(z, states, training), z, states, mask, **options
        )
        if options.get("sequences"):
            y = _unfolded(self._channels_back(_folded(y)), steps)
        else:
            y = self._channels_back(y)
        return y, [self._channels_back(s) for s in states]


def _folded(x):
    """Return (time * batch, ...) for (time, batch, ...)."""
    return ops.reshape(x, (x.shape[0] * x.shape[1], *x.shape[2:]))


def _unfolded(x, steps):
    return ops.reshape(x, (steps, x.shape[0] // steps, *x.shape[1:]))


class ConvLSTM(OwnCell):
    """Long short-term memory whose products are convolutions.

    Args:
        filters: int > 0, channels of output and states.
        kernel_size: int or tuple of ints, one for each spatial axis.
        strides, padding, dilation_rate: of the input's convolution; see `Conv2D`.
        data_format: ``'channels_last'`` or ``'channels_first'``; None means
            `config.image_data_format`.
        activation: name or function.
        recurrent_activation: name or function, of the input, forget and output gates.
        use_bias, kernel_initializer, recurrent_initializer, bias_initializer, unit_forget_bias,
            kernel_regularizer, recurrent_regularizer, bias_regularizer, activity_regularizer,
            kernel_constraint, recurrent_constraint, bias_constraint, return_sequences,
            return_state, go_backwards, stateful, dropout, recurrent_dropout: see `LSTM`.
        **kwargs: see `Layer`.

    Shapes:
        (batch, time, *size, channels) -> (batch, *new size, filters), or (batch, time, ...)

    Raises:
        ShapeError: the number of channels isn't known, or no window fits into the input.

    Reference:
        Shi et al., 2015, arXiv:1506.04214; without its connections from the state to the gates.
    """

    has_shape_rule = True
    cell_class = None

    def __init_subclass__(cls, of=None, **defaults):
        super().__init_subclass__(cell=of)
        if of is not None:
            cls.cell_class, cls.rank = of, of.rank
        if defaults:
            cls.__init__ = with_defaults(cls.__init__, defaults)

    def __init__(
        self,
        filters,
        kernel_size,
        strides=1,
        padding="valid",
        data_format=None,
        dilation_rate=1,
        activation="tanh",
        recurrent_activation="hard_sigmoid",
        use_bias=True,
        kernel_initializer="glorot_uniform",
        recurrent_initializer="orthogonal",
        bias_initializer="zeros",
        unit_forget_bias=True,
        kernel_regularizer=None,
        recurrent_regularizer=None,
        bias_regularizer=None,
        activity_regularizer=None,
        kernel_constraint=None,
        recurrent_constraint=None,
        bias_constraint=None,
        return_sequences=False,
        return_state=False,
        go_backwards=False,
        stateful=False,
        dropout=0.0,
        recurrent_dropout=0.0,
        **kwargs,
    ):
        super().__init__(self.cell_class, locals())
        self.input_spec = InputSpec(ndim=self.rank + 3)

    def call(self, inputs, mask=None, training=None, initial_state=None):
        return super().call(inputs, mask, training, initial_state)

    def build(self, input_shape):
        shape = first_shape(input_shape)
        self._step_output = self._one_step(shape)  # says where no window fits
        super().build(input_shape)
        sizes = [shape[0] if self.stateful else None, *[None] * (self.rank + 2)]
        channels = self.cell._channel_axis + 1
        sizes[channels] = shape[channels]
        self.input_spec = InputSpec(shape=tuple(sizes))

    def _cell_weights(self, shape):
        try:
            super()._cell_weights(shape)
        except ShapeError as error:
            raise ShapeError(f"{self._who}: {error}") from None

    def _one_step(self, shape):
        """Return the shape of output and states for an input shape (batch, time, ...)."""
        try:
            return self.cell.output_shape_of((shape[0], *shape[2:]))
        except ShapeError as error:
            raise ShapeError(f"{self._who}: {error} (input shape {shape})") from None

    def compute_output_shape(self, input_shape):
        shape = first_shape(input_shape)
        step = tuple(self._one_step(shape))
        output = (step[0], shape[1], *step[1:]) if self.return_sequences else step
        return [output, step, step] if self.return_state else output

    def _check_states(self, states):
        for s in flatten(states or []):
            if len(s.shape) != self.rank + 2:
                raise ShapeError(
                    f"{self._who}: expected initial states of rank {self.rank + 2}, got shape "
                    f"{tuple(s.shape)}"
                )

    def get_initial_state(self, inputs):
        """Return states of zeros for inputs (batch, time, ...)."""
        shape = tuple(self._one_step(inputs.shape))
        xp = arrays.current_device().xp
        return [Tensor(xp.zeros(shape, self.compute_dtype)) for _ in range(2)]

    def _start(self, batch):
        shape = (batch, *self._step_output[1:])
        if None in shape:
            raise ValueError(
                f"{self._who}: a stateful layer needs to know batch size and image size, "
                f"got output shape {Shape(shape)}"
            )
        xp = arrays.current_device().xp
        return [Tensor(xp.zeros(shape, self.compute_dtype)) for _ in range(2)]


class ConvLSTM1DCell(ConvLSTMCell, rank=1):
    __doc__ = ConvLSTMCell.__doc__


@registered.register()
class ConvLSTM2DCell(ConvLSTMCell, rank=2, strides=(1, 1), dilation_rate=(1, 1)):
    __doc__ = ConvLSTMCell.__doc__


class ConvLSTM3DCell(ConvLSTMCell, rank=3, strides=(1, 1, 1), dilation_rate=(1, 1, 1)):
    __doc__ = ConvLSTMCell.__doc__


@registered.register()
class ConvLSTM1D(ConvLSTM, of=ConvLSTM1DCell, strides=1):
    __doc__ = ConvLSTM.__doc__


@registered.register()
class ConvLSTM2D(ConvLSTM, of=ConvLSTM2DCell, strides=(1, 1), dilation_rate=(1, 1)):
    __doc__ = ConvLSTM.__doc__


@registered.register()
class ConvLSTM3D(ConvLSTM, of=ConvLSTM3DCell, strides=(1, 1, 1), dilation_rate=(1, 1, 1)):
    __doc__ = ConvLSTM.__doc__
