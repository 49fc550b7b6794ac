"""`CuDNNLSTM` and `CuDNNGRU`: the layers of old files, with weights as cuDNN lays them out."""

from gpunet import ops
from gpunet.layers.recurrent.cells import GRUCell, LSTMCell
from gpunet.layers.recurrent.parts import ForgetBias
from gpunet.layers.recurrent.ready import OwnCell
from gpunet.registry import layers as registered

__all__ = ["CuDNNGRU", "CuDNNLSTM"]


class _CuDNNCell:
    """Mixin: weights in cuDNN's layout.

    A gate's part of ``kernel`` (C, U) holds the numbers of a matrix (U, C) in its order, a part
    of ``recurrent_kernel`` is transposed, and inputs and states have a bias each.
    """

    def _bias_shape(self):
        return (2 * self.gates * self.units,)

    def parameters(self):
        """Return kernel, recurrent kernel and bias in the layout of the ops."""
        shape = (self.units, self.kernel.shape[0])
        kernels = ops.split(self.kernel, parts=self.gates)
        kernel = [ops.transpose(ops.reshape(k, shape), (1, 0)) for k in kernels]
        recurrent = ops.split(self.recurrent_kernel, parts=self.gates)
        recurrent = [ops.transpose(k, (1, 0)) for k in recurrent]
        bias = ops.reshape(self.bias, (2, self.gates * self.units))
        return ops.concatenate(kernel), ops.concatenate(recurrent), self._own_bias(bias)


class _CuDNNLSTMCell(_CuDNNCell, LSTMCell):
    def _bias_start(self):
        if self.unit_forget_bias:
            return ForgetBias(self.bias_initializer, self.units, before=5)
        return self.bias_initializer

    def _own_bias(self, bias):
        return ops.sum(bias, axis=0)


class _CuDNNGRUCell(_CuDNNCell, GRUCell):
    def _own_bias(self, bias):
        return bias


_FIXED = ("activation", "recurrent_activation", "use_bias", "dropout", "recurrent_dropout",
          "implementation")  # fmt: skip


@registered.register()
class CuDNNLSTM(OwnCell, cell=LSTMCell):
    """`LSTM` with two biases, as old models for GPUs have it; runs everywhere.

    Args:
        units, kernel_initializer, recurrent_initializer, bias_initializer, unit_forget_bias,
            kernel_regularizer, recurrent_regularizer, bias_regularizer, activity_regularizer,
            kernel_constraint, recurrent_constraint, bias_constraint, return_sequences,
            return_state, stateful, **kwargs: see `LSTM`.

    Shapes:
        (batch, time, features) -> (batch, units), or (batch, time, units)
    """

    has_shape_rule = True
    _hidden = (*_FIXED, "unroll")

    def __init__(
        self,
        units,
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
        stateful=False,
        **kwargs,
    ):
        super().__init__(_CuDNNLSTMCell, locals())

    def call(self, inputs, mask=None, training=None, initial_state=None):
        return super().call(inputs, mask, training, initial_state)


@registered.register()
class CuDNNGRU(OwnCell, cell=GRUCell):
    """`GRU` with ``reset_after=True``, as old models for GPUs have it; runs everywhere.

    Args:
        units, kernel_initializer, recurrent_initializer, bias_initializer, kernel_regularizer,
            recurrent_regularizer, bias_regularizer, activity_regularizer, kernel_constraint,
            recurrent_constraint, bias_constraint, return_sequences, return_state, stateful,
            **kwargs: see `GRU`.

    Shapes:
        (batch, time, features) -> (batch, units), or (batch, time, units)
    """

    has_shape_rule = True
    _hidden = (*_FIXED, "reset_after", "unroll")

    def __init__(
        self,
        units,
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
        return_sequences=False,
        return_state=False,
        stateful=False,
        **kwargs,
    ):
        reset_after = True
        super().__init__(_CuDNNGRUCell, {**locals(), "reset_after": reset_after})

    def call(self, inputs, mask=None, training=None, initial_state=None):
        return super().call(inputs, mask, training, initial_state)
