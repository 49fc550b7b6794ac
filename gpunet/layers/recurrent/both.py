"""Walking two recurrent layers over one sequence in opposite directions, as one op."""

from gpunet.context import learning_phase
from gpunet.layers.recurrent.ready import GRU, LSTM, SimpleRNN
from gpunet.tensor import Tensor

__all__ = ["can_join", "walk_both"]


def can_join(first, second, inputs):
    """Return whether two layers do together what each would do alone.

    Args:
        first, second: recurrent layers with opposite ``go_backwards``.
        inputs: what both get.
    """
    return isinstance(inputs, Tensor) and (
        all(type(layer) in (GRU, LSTM, SimpleRNN) and _is_plain(layer) for layer in (first, second))
        and first.time_major == second.time_major
        and first.zero_output_for_mask == second.zero_output_for_mask
        and not first.casts(inputs)
        and first.dtype == second.dtype
        and first.cell.goes_with(second.cell)
    )


def _is_plain(layer):
    """Return whether nothing happens around a layer's walk."""
    return (
        layer.built
        and layer.activity_regularizer is None
        and "call" not in vars(layer)
        and layer.cell.can_scan()
    )


def walk_both(first, second, inputs, states, mask, training):
    """Return what two layers for which `can_join` holds return.

    Args:
        states: pair of lists of initial states, or of Nones.
        mask: tensor (batch, time) or None.
        training: bool or None.
    """
    layers = (first, second)
    if training is None:
        training = bool(learning_phase())
    begun = [layer.begin(inputs, mask, own) for layer, own in zip(layers, states)]
    x, _, mask = begun[0]
    made = first.cell.scan_both(
        second.cell, x, [b[1] for b in begun], mask, training, **first.walk_options()
    )
    return [layer.end(*parts) for layer, parts in zip(layers, made)]
