"""The cells of `SimpleRNN`, `GRU` and `LSTM`: one step each, and all steps by a fused op."""

from gpunet import activations, ops
from gpunet.errors import ShapeError
from gpunet.layers.arguments import positive_int
from gpunet.layers.base import InputSpec
from gpunet.layers.recurrent.nesting import zero_states
from gpunet.layers.recurrent.parts import DropoutCell, ForgetBias
from gpunet.nest import flatten
from gpunet.ops import rnn
from gpunet.ops.rnn_both import both_ways
from gpunet.ops.rnn_steps import ACTIVATIONS
from gpunet.registry import layers as registered

__all__ = ["GRUCell", "GatedCell", "LSTMCell", "SimpleRNNCell"]


class GatedCell(DropoutCell):
    """Base of the cells whose gates are sums of two matrix products.

    A subclass gives ``gates``, ``op`` (what does all steps at once) and ``call``.
    """

    op = None

    def _read(self, given):
        super()._read(given)
        self.units = positive_int(type(self).__name__, "units", given["units"])
        # As in Keras: gates see different parts of the states, so of the inputs too.
        self.implementation = 1 if self.recurrent_dropout else given.get("implementation") or 1
        self.state_size = self.output_size = self.units
        self.input_spec = InputSpec(ndim=2)

    def build(self, input_shape):
        features, width = input_shape[-1], self.gates * self.units
        if features is None:
            raise ShapeError(
                f"{self._who}: the number of input features must be known, got step shape "
                f"{input_shape}"
            )
        self.kernel = self.add_weight("kernel", (features, width))
        self.recurrent_kernel = self.add_weight(
            "recurrent_kernel",
            (self.units, width),
            initializer=self.recurrent_initializer,
            regularizer=self.recurrent_regularizer,
            constraint=self.recurrent_constraint,
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight("bias", self._bias_shape(), initializer=self._bias_start())
        self.input_spec = InputSpec(ndim=2, axes={-1: features})
        self.built = True

    def _bias_shape(self):
        return (self.gates * self.units,)

    def _bias_start(self):
        return self.bias_initializer

    def get_initial_state(self, inputs=None, batch_size=None, dtype=None):
        """Return states of zeros."""
        batch = batch_size if inputs is None else inputs.shape[0]
        return zero_states(self.state_size, batch, dtype or self.compute_dtype)

    def parameters(self):
        """Return kernel, recurrent kernel and bias (or None) in the layout of the ops."""
        return self.kernel, self.recurrent_kernel, self.bias

    # -- one step -------------------------------------------------------------------------

    def _project(self, inputs, training):
        """Return what the inputs add to each gate, a list of tensors (N, U)."""
        if inputs.dtype.kind != "f":
            inputs = ops.cast(inputs, self.compute_dtype)
        kernel, _, bias = self.parameters()
        if bias is not None and bias.ndim == 2:
            bias = bias[0]
        return self._product("dropout", inputs, kernel, bias, training)

    def _recur(self, h, training, bias=None):
        return self._product("recurrent_dropout", h, self.parameters()[1], bias, training)

    def _product(self, what, x, kernel, bias, training):
        seen = self.by_gate(what, x, training)
        if len(seen) == 1:
            return ops.split(ops.dense(seen[0], kernel, bias), parts=self.gates)
        kernels = ops.split(kernel, parts=self.gates)
        biases = [None] * self.gates if bias is None else ops.split(bias, parts=self.gates)
        return [ops.dense(x, k, b) for x, k, b in zip(seen, kernels, biases)]

    # -- all steps ------------------------------------------------------------------------

    def can_scan(self):
        """Return whether `scan` computes what `call` would, step by step."""
        built_in = type(self).call.__module__ == __name__ and "call" not in vars(self)
        names = [self.activation, getattr(self, "recurrent_activation", self.activation)]
        return built_in and all(f in _FUSED for f in names)

    def scan(self, x, states, mask, training, **options):
        """Walk over all steps at once.

        Args:
            x: tensor (T, N, C).
            states: list of tensors (N, U); None for zeros.
            mask: boolean tensor (T, N) or None.
            training: bool, whether to drop inputs and states.
            **options: ``sequences``, ``reverse``, ``zero_output``; see `gpunet.ops.rnn`.

        Returns:
            (outputs (T, N, U) or (N, U), list of states).
        """
        x, x_kept, h_kept = self._seen(x, training)
        y, *states = self.op(
            x, *self._own(states), mask, x_kept, h_kept, **self._op_options(), **options
        )
        return y, list(states)

    def goes_with(self, other):
        """Return whether `scan_both` can take another cell along."""
        return (
            type(self) is type(other)
            and self.use_bias == other.use_bias
            and self.units == other.units
            and self.implementation == other.implementation
            and self._op_options() == other._op_options()
        )

    def scan_both(self, other, x, states, mask, training, **options):
        """Walk over all steps at once, and another cell the other way.

        Args:
            other: cell for which `goes_with` holds.
            states: pair of what `scan` takes.
            x, mask, training, **options: see `scan`; ``reverse`` is that of this cell.

        Returns:
            Pair of what `scan` returns.
        """
        cells = (self, other)
        (x, *kept), (back_x, *back_kept) = (cell._seen(x, training) for cell in cells)
        own, back_own = (cell._own(s) for cell, s in zip(cells, states))
        back_x = None if back_x is x else back_x
        y, back_y, *made = both_ways(
            x, back_x, mask, *own, *kept, *back_own, *back_kept,
            cell=self.op.name, **self._op_options(), **options,
        )  # fmt: skip
        half = len(made) // 2
        return (y, made[:half]), (back_y, made[half:])

    def _seen(self, x, training):
        """Return the inputs, and the dropout masks of inputs and states that are left to the op."""
        if x.dtype.kind != "f":
            x = ops.cast(x, self.compute_dtype)
        x_kept = self.kept("dropout", tuple(x.shape[1:]), training)
        if x_kept is not None and x_kept.shape[0] < self.gates:
            x = x * (ops.cast(x_kept, x.dtype.name) * (1 / (1 - self.dropout)))
            x_kept = None
        return x, x_kept, self.kept("recurrent_dropout", (x.shape[1], self.units), training)

    def _own(self, states):
        """Return weights and states as the op takes them."""
        if states is None:
            states = [None] * len(flatten(self.state_size))
        return (*self.parameters(), *flatten(states))

    def _op_options(self):
        return {
            "activation": _FUSED[self.activation],
            "x_rate": self.dropout,
            "h_rate": self.recurrent_dropout,
        }


class _TwoActivations(GatedCell):
    """Base of the cells whose gates have an activation of their own."""

    def _op_options(self):
        gate = _FUSED[self.recurrent_activation]
        return {**super()._op_options(), "recurrent_activation": gate}


_FUSED = {getattr(activations, name): name for name in ACTIVATIONS}


@registered.register()
class SimpleRNNCell(GatedCell):
    """One step of `SimpleRNN`: ``activation(x @ kernel + h @ recurrent_kernel + bias)``.

    Args:
        units: int > 0, size of output and state.
        activation: name or function.
        use_bias: bool.
        kernel_initializer, recurrent_initializer, bias_initializer: see `gpunet.initializers`.
        kernel_regularizer, recurrent_regularizer, bias_regularizer: see `gpunet.regularizers`.
        kernel_constraint, recurrent_constraint, bias_constraint: see `gpunet.constraints`.
        dropout, recurrent_dropout: floats, shares of the inputs and of the state that are
            dropped in training, the same ones at all steps of a sequence.
        **kwargs: see `Layer`.

    Shapes:
        (batch, features), [(batch, units)] -> (batch, units), [(batch, units)]
    """

    op = rnn.simple_rnn

    def __init__(
        self,
        units,
        activation="tanh",
        use_bias=True,
        kernel_initializer="glorot_uniform",
        recurrent_initializer="orthogonal",
        bias_initializer="zeros",
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
        super().__init__(**kwargs)
        self._read(locals())

    def call(self, inputs, states, training=None):
        (h,) = flatten(states)
        (z,), (r,) = self._project(inputs, training), self._recur(h, training)
        y = self.activation(z + r)
        return y, [y]


@registered.register()
class GRUCell(_TwoActivations):
    """One step of `GRU`.

    Args:
        recurrent_activation: name or function, of the update and the reset gate.
        implementation: 1 or 2; with 1, gates drop different parts of the inputs.
        reset_after: bool, the reset gate acts after the recurrent product, with a bias of its
            own, and not before it.
        units, activation, use_bias, kernel_initializer, recurrent_initializer,
            bias_initializer, kernel_regularizer, recurrent_regularizer, bias_regularizer,
            kernel_constraint, recurrent_constraint, bias_constraint, dropout,
            recurrent_dropout, **kwargs: see `SimpleRNNCell`.

    Shapes:
        (batch, features), [(batch, units)] -> (batch, units), [(batch, units)]
    """

    gates = 3
    op = rnn.gru

    def __init__(
        self,
        units,
        activation="tanh",
        recurrent_activation="sigmoid",
        use_bias=True,
        kernel_initializer="glorot_uniform",
        recurrent_initializer="orthogonal",
        bias_initializer="zeros",
        kernel_regularizer=None,
        recurrent_regularizer=None,
        bias_regularizer=None,
        kernel_constraint=None,
        recurrent_constraint=None,
        bias_constraint=None,
        dropout=0.0,
        recurrent_dropout=0.0,
        implementation=2,
        reset_after=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self._read(locals())
        self.reset_after = bool(reset_after)

    def _bias_shape(self):
        width = 3 * self.units
        return (2, width) if self.reset_after else (width,)

    def call(self, inputs, states, training=None):
        (h,) = flatten(states)
        z, r, g = self._project(inputs, training)
        if self.reset_after:
            bias = None if self.bias is None else self.parameters()[2][1]
            hz, hr, hg = self._recur(h, training, bias)
        else:
            seen = self.by_gate("recurrent_dropout", h, training)
            seen = seen if len(seen) == 3 else seen * 3
            kz, kr, kg = ops.split(self.parameters()[1], parts=3)
            hz, hr = ops.matmul(seen[0], kz), ops.matmul(seen[1], kr)
        z = self.recurrent_activation(z + hz)
        r = self.recurrent_activation(r + hr)
        g = self.activation(g + (r * hg if self.reset_after else ops.matmul(r * seen[2], kg)))
        y = z * h + (1 - z) * g
        return y, [y]

    def _op_options(self):
        return {**super()._op_options(), "reset_after": self.reset_after}


@registered.register()
class LSTMCell(_TwoActivations):
    """One step of `LSTM`.

    Args:
        recurrent_activation: name or function, of the input, forget and output gates.
        unit_forget_bias: bool, the forget gate's bias starts at 1.
        implementation: 1 or 2; with 1, gates drop different parts of the inputs.
        units, activation, use_bias, kernel_initializer, recurrent_initializer,
            bias_initializer, kernel_regularizer, recurrent_regularizer, bias_regularizer,
            kernel_constraint, recurrent_constraint, bias_constraint, dropout,
            recurrent_dropout, **kwargs: see `SimpleRNNCell`.

    Shapes:
        (batch, features), [(batch, units)] * 2 -> (batch, units), [(batch, units)] * 2
    """

    gates = 4
    op = rnn.lstm

    def __init__(
        self,
        units,
        activation="tanh",
        recurrent_activation="sigmoid",
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
        implementation=2,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self._read(locals())
        self.unit_forget_bias = bool(unit_forget_bias)
        self.state_size = [self.units, self.units]

    def _bias_start(self):
        if self.unit_forget_bias:
            return ForgetBias(self.bias_initializer, self.units)
        return self.bias_initializer

    def call(self, inputs, states, training=None):
        h, c = flatten(states)
        i, f, g, o = (
            z + r for z, r in zip(self._project(inputs, training), self._recur(h, training))
        )
        gate = self.recurrent_activation
        c = gate(f) * c + gate(i) * self.activation(g)
        h = gate(o) * self.activation(c)
        return h, [h, c]
