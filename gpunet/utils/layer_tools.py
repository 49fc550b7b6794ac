"""What Keras has in ``utils.layer_utils``."""

import numpy as np

from gpunet.graph import source_inputs
from gpunet.layers import Conv1D, Conv2D, Conv3D
from gpunet.summary import print_summary as _print_summary

__all__ = ["convert_all_kernels_in_model", "get_source_inputs", "print_summary"]


def print_summary(model, line_length=None, positions=None, print_fn=None):
    """Print a table of a model's layers, as `Model.summary` does.

    Args:
        model: Model that is built.
        line_length: int, width in characters.
        positions: list of the columns' ends.
        print_fn: function of a line.
    """
    _print_summary(model, line_length, positions, print_fn)


def get_source_inputs(tensor, layer=None, node_index=None):
    """Return the list of the inputs that a symbolic tensor is computed from.

    Args:
        tensor: symbolic tensor.
        layer: layer; with ``node_index`` it says whose output is meant in place of ``tensor``.
        node_index: int, number of a call of that layer.
    """
    if layer is not None and node_index is not None:
        tensor = layer.get_output_at(node_index)
    return source_inputs(tensor)


def convert_all_kernels_in_model(model):
    """Turn the kernels of all convolutions around, from Theano's convention or to it.

    Args:
        model: Model; its weights are changed.
    """
    for layer in model._nested_layers():
        if isinstance(layer, (Conv1D, Conv2D, Conv3D)) and hasattr(layer, "kernel"):
            kernel = layer.kernel.numpy()
            layer.kernel.assign(np.flip(kernel, tuple(range(kernel.ndim - 2))))
