"""`SimpleRNN`, `GRU` and `LSTM`: an `RNN` with a cell of that kind."""

import inspect
import operator

from gpunet.errors import ShapeError
from gpunet.layers.base import InputSpec
from gpunet.layers.recurrent.base import RNN
from gpunet.layers.recurrent.cells import GRUCell, LSTMCell, SimpleRNNCell
from gpunet.layers.recurrent.nesting import build_inside
from gpunet.layers.recurrent.parts import make_cell
from gpunet.registry import layers as registered

__all__ = ["GRU", "LSTM", "SimpleRNN"]

# Keys of a cell's config that the layer writes itself.
_OWN = ("name", "trainable", "dtype", "batch_input_shape")


class OwnCell(RNN):
    """Base of the layers that make their cell themselves and show its arguments as their own.

    Args:
        cell: class of the cell.
        given: dict of the local variables of the layer's constructor.
    """

    # Arguments of a cell that the layer hasn't.
    _hidden = ()

    def __init__(self, cell, given):
        kwargs = given["kwargs"]
        made = make_cell(cell, given)
        flags = ("return_sequences", "return_state", "go_backwards", "stateful", "unroll")
        flags = {name: given[name] for name in flags if name in given}
        super().__init__(
            made, **flags, activity_regularizer=given["activity_regularizer"], **kwargs
        )
        self.input_spec = InputSpec(ndim=3)

    def __init_subclass__(cls, cell=None, **kwargs):
        super().__init_subclass__(**kwargs)
        if cell is not None:
            for name in list(inspect.signature(cell.__init__).parameters)[1:-1]:
                setattr(cls, name, property(operator.attrgetter(f"cell.{name}")))

    def _cell_weights(self, shape):
        if shape[-1] is None:
            raise ShapeError(
                f"{self._who}: the number of input features must be known, got it as None"
            )
        build_inside(self.cell, shape)

    def get_config(self):
        inner = {k: v for k, v in self.cell.get_config().items() if k not in _OWN}
        config = self._base_config() | self._flags() | inner
        for name in self._hidden:
            del config[name]
        return {**config, "activity_regularizer": config.get("activity_regularizer")}


@registered.register()
class SimpleRNN(OwnCell, cell=SimpleRNNCell):
    """Recurrent layer whose output is fed back: ``h = activation(x W + h R + b)``.

    Args:
        units: int > 0, size of output and state.
        activation: name or function.
        use_bias: bool.
        kernel_initializer, recurrent_initializer, bias_initializer: see `gpunet.initializers`.
        kernel_regularizer, recurrent_regularizer, bias_regularizer, activity_regularizer: see
            `gpunet.regularizers`.
        kernel_constraint, recurrent_constraint, bias_constraint: see `gpunet.constraints`.
        dropout, recurrent_dropout: floats, shares of the inputs and of the state that are
            dropped in training, the same ones at all steps of a sequence.
        return_sequences, return_state, go_backwards, stateful, unroll, **kwargs: see `RNN`.

    Shapes:
        (batch, time, features) -> (batch, units), or (batch, time, units)
    """

    has_shape_rule = True

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
        activity_regularizer=None,
        kernel_constraint=None,
        recurrent_constraint=None,
        bias_constraint=None,
        dropout=0.0,
        recurrent_dropout=0.0,
        return_sequences=False,
        return_state=False,
        go_backwards=False,
        stateful=False,
        unroll=False,
        **kwargs,
    ):
        kwargs.pop("implementation", None)
        super().__init__(SimpleRNNCell, locals())

    def call(self, inputs, mask=None, training=None, initial_state=None):
        return super().call(inputs, mask, training, initial_state)


@registered.register()
class GRU(OwnCell, cell=GRUCell):
    """Gated recurrent unit.

    Args:
        recurrent_activation: name or function, of the update and the reset gate.
        implementation: 1 or 2; with 1, gates drop different parts of the inputs.
        reset_after: bool, the reset gate acts after the recurrent product, with a bias of its
            own, and not before it.
        units, activation, use_bias, kernel_initializer, recurrent_initializer,
            bias_initializer, kernel_regularizer, recurrent_regularizer, bias_regularizer,
            activity_regularizer, kernel_constraint, recurrent_constraint, bias_constraint,
            dropout, recurrent_dropout, return_sequences, return_state, go_backwards, stateful,
            unroll, **kwargs: see `SimpleRNN`.

    Shapes:
        (batch, time, features) -> (batch, units), or (batch, time, units)

    Reference:
        Cho et al., 2014, arXiv:1406.1078.
    """

    has_shape_rule = True

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
        activity_regularizer=None,
        kernel_constraint=None,
        recurrent_constraint=None,
        bias_constraint=None,
        dropout=0.0,
        recurrent_dropout=0.0,
        implementation=2,
        return_sequences=False,
        return_state=False,
        go_backwards=False,
        stateful=False,
        unroll=False,
        reset_after=False,
        **kwargs,
    ):
        super().__init__(GRUCell, locals())

    def call(self, inputs, mask=None, training=None, initial_state=None):
        return super().call(inputs, mask, training, initial_state)


@registered.register()
class LSTM(OwnCell, cell=LSTMCell):
    """Long short-term memory.

    Args:
        recurrent_activation: name or function, of the input, forget and output gates.
        unit_forget_bias: bool, the forget gate's bias starts at 1.
        implementation: 1 or 2; with 1, gates drop different parts of the inputs.
        units, activation, use_bias, kernel_initializer, recurrent_initializer,
            bias_initializer, kernel_regularizer, recurrent_regularizer, bias_regularizer,
            activity_regularizer, kernel_constraint, recurrent_constraint, bias_constraint,
            dropout, recurrent_dropout, return_sequences, return_state, go_backwards, stateful,
            unroll, **kwargs: see `SimpleRNN`.

    Shapes:
        (batch, time, features) -> (batch, units), or (batch, time, units)

    Reference:
        Hochreiter and Schmidhuber, 1997, Neural Computation 9(8), 1735-1780; the bias of the
        forget gate from Jozefowicz et al., 2015, JMLR W&CP 37.
    """

    has_shape_rule = True

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
        activity_regularizer=None,
        kernel_constraint=None,
        recurrent_constraint=None,
        bias_constraint=None,
        dropout=0.0,
        recurrent_dropout=0.0,
        implementation=2,
        return_sequences=False,
        return_state=False,
        go_backwards=False,
        stateful=False,
        unroll=False,
        **kwargs,
    ):
        super().__init__(LSTMCell, locals())

    def call(self, inputs, mask=None, training=None, initial_state=None):
        return super().call(inputs, mask, training, initial_state)
