"""What cells share: arguments, dropout, the start of biases; and a base for cells of one's own."""

import inspect

import numpy as np

from gpunet import activations, constraints, initializers, ops, regularizers
from gpunet.layers.arguments import fraction
from gpunet.layers.base import Layer
from gpunet.layers.recurrent.nesting import zero_states
from gpunet.ops import random

__all__ = ["AbstractRNNCell", "DropoutCell", "ForgetBias", "make_cell"]


_READERS = {
    "activation": activations.get,
    "initializer": initializers.get,
    "regularizer": regularizers.get,
    "constraint": constraints.get,
}


class AbstractRNNCell(Layer):
    """Base for cells of one's own: ``call``, ``state_size`` and ``output_size`` are to be written.

    Args:
        trainable, name, dtype, dynamic, **kwargs: see `Layer`.
    """

    def __init__(self, trainable=True, name=None, dtype=None, dynamic=False, **kwargs):
        super().__init__(trainable=trainable, name=name, dtype=dtype, dynamic=dynamic, **kwargs)

    def call(self, inputs, states):
        """Return the output and the new states of one step."""
        raise NotImplementedError(f"{self._who}: a cell must define call(inputs, states)")

    @property
    def state_size(self):
        """Sizes of the states: int, `Shape`, or a nest of them."""
        raise NotImplementedError(f"{self._who}: a cell must define state_size")

    @property
    def output_size(self):
        """Size of the output: int or `Shape`."""
        raise NotImplementedError(f"{self._who}: a cell must define output_size")

    def get_initial_state(self, inputs=None, batch_size=None, dtype=None):
        """Return states of zeros."""
        batch = batch_size if inputs is None else inputs.shape[0]
        return zero_states(self.state_size, batch, dtype or self.compute_dtype)


class DropoutCell(Layer):
    """Base of cells that drop the same inputs and states at all steps of a sequence."""

    gates = 1
    implementation = 2
    dropout = recurrent_dropout = 0.0

    def _read(self, given):
        """Keep constructor arguments as attributes: objects in place of names.

        Args:
            given: dict of the constructor's local variables.
        """
        for name, value in given.items():
            read = _READERS.get(name.rpartition("_")[2])
            if read is not None:
                setattr(self, name, read(value))
        kind = type(self).__name__
        self.use_bias = bool(given["use_bias"])
        self.dropout = fraction(kind, "dropout", given["dropout"])
        self.recurrent_dropout = fraction(kind, "recurrent_dropout", given["recurrent_dropout"])

    def reset_dropout_mask(self):
        """Draw new masks for the inputs at the next step in training."""
        self.__dict__.setdefault("_kept", {}).pop("dropout", None)

    def reset_recurrent_dropout_mask(self):
        """Draw new masks for the states at the next step in training."""
        self.__dict__.setdefault("_kept", {}).pop("recurrent_dropout", None)

    def kept(self, what, shape, training):
        """Return which elements stay: boolean tensor (gates or 1, *shape), None for all.

        Args:
            what: ``'dropout'`` or ``'recurrent_dropout'``, the rate's name.
            shape: tuple, shape of the input or the state of one step.
            training: bool.
        """
        rate = getattr(self, what)
        if not training or not rate:
            return None
        shape = (self.gates if self.implementation == 1 else 1, *shape)
        masks = self.__dict__.setdefault("_kept", {})
        if what not in masks or tuple(masks[what].shape) != shape:
            key = random.default().draw(int(np.prod(shape, dtype=np.int64)))
            masks[what] = random.bernoulli(shape, 1 - rate, "bool", key)
        return masks[what]

    def by_gate(self, what, x, training):
        """Return x as each gate sees it: a list of one tensor, or of one for each gate."""
        kept = self.kept(what, tuple(x.shape), training)
        if kept is None:
            return [x]
        scale = 1 / (1 - getattr(self, what))
        return [x * (ops.cast(k, x.dtype.name) * scale) for k in ops.unstack(kept)]


class ForgetBias:
    """Initializer of a bias whose second part, that of the forget gate, is 1.

    Args:
        initializer: function ``(shape, dtype)`` for the other parts.
        units: int, size of a part.
        before: int, how many parts come before the forget gate's.
    """

    def __init__(self, initializer, units, before=1):
        self.initializer, self.units, self.before = initializer, units, before

    def __call__(self, shape, dtype=None):
        start = self.before * self.units
        values = self.initializer(shape, dtype=dtype)
        values = getattr(values, "array", values).copy()
        values[start : start + self.units] = 1
        return values


def make_cell(cell, given):
    """Return a cell made of the constructor arguments that a layer got.

    Args:
        cell: class of the cell.
        given: dict of the local variables of the layer's constructor.
    """
    wanted = inspect.signature(cell.__init__).parameters
    chosen = {name: value for name, value in given.items() if name in wanted and name != "self"}
    kwargs = chosen.pop("kwargs", {})
    return cell(**chosen, dtype=kwargs.get("dtype"), trainable=kwargs.get("trainable", True))
