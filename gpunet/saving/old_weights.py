"""Weights of other layouts: Keras 1's, Theano's kernels, and those of cuDNN's recurrent layers."""

from typing import NamedTuple

import numpy as np

__all__ = ["Origin", "TODAY", "conversion"]


class Origin(NamedTuple):
    """Who wrote weights: the first number of Keras's version, and the backend."""

    version: int = 2
    backend: str = "tensorflow"


TODAY = Origin()


def conversion(layer, shapes, origin):
    """Return a function that brings a layer's arrays into today's layout, None if they are.

    Args:
        layer: Layer whose weights are declared.
        shapes: list of the shapes of the arrays in the file.
        origin: Origin.

    Returns:
        None, or function of a list of arrays that returns such a list. Shapes that can't be
        understood are left as they are.
    """
    leaves = list(_leaves(layer))
    if origin == TODAY:
        wanted = [tuple(w.shape) for w in layer.weights]
        if sorted(map(tuple, shapes)) == sorted(wanted):
            return None
        needed = any(type(leaf).__name__ in _CUDNN for leaf in leaves)
    else:
        names = {type(leaf).__name__ for leaf in leaves}
        needed = bool(names & (_KERAS1.keys() | _FLIPPED.keys() | _CUDNN.keys()))
    return (lambda arrays: _convert(layer, list(arrays), origin)) if needed else None


def _parts(layer):
    """Return the layers that a wrapper or a model is made of, None for others."""
    if hasattr(layer, "forward_layer"):
        return [layer.forward_layer, layer.backward_layer]
    if getattr(layer, "layers", None) is not None and hasattr(layer, "_split_weights"):
        return list(layer.layers)
    inner = getattr(layer, "layer", None)
    return [inner] if hasattr(inner, "weights") else None


def _leaves(layer):
    parts = _parts(layer)
    if parts is None:
        yield layer
    for part in parts or ():
        yield from _leaves(part)


def _convert(layer, arrays, origin):
    parts = _parts(layer)
    if parts is None:
        return _convert_leaf(layer, arrays, origin)
    if len(parts) == 1:
        return _convert(parts[0], arrays, origin)
    if hasattr(layer, "forward_layer"):
        half = len(arrays) // 2
        halves = zip(parts, (arrays[:half], arrays[half:]))
        return [a for part, own in halves for a in _convert(part, own, origin)]
    return _convert_model(parts, arrays, origin)


def _convert_model(parts, arrays, origin):
    """Convert the weights of a nested model: all trained ones come first, then the others."""
    longer = len(arrays) != sum(len(part.weights) for part in parts)
    counts = [
        (_old_count(part, origin) if longer else len(part.trainable_weights),
         len(part.non_trainable_weights))
        for part in parts
    ]  # fmt: skip
    start = [0, sum(trained for trained, _ in counts)]
    if start[1] + sum(others for _, others in counts) != len(arrays):
        return arrays
    found = [[], []]
    for part, (trained, others) in zip(parts, counts):
        own = arrays[start[0] : start[0] + trained] + arrays[start[1] : start[1] + others]
        start = [start[0] + trained, start[1] + others]
        new = _convert(part, own, origin)
        split = len(part.trainable_weights)
        found[0] += new[:split]
        found[1] += new[split:]
    return found[0] + found[1]


def _old_count(layer, origin):
    """Return how many trained arrays Keras 1 kept for a layer: each gate had its own."""
    gates = {"LSTM": 4, "ConvLSTM2D": 4, "GRU": 3}.get(type(layer).__name__, 1)
    return gates * len(layer.trainable_weights) if origin.version < 2 else 0


def _convert_leaf(layer, arrays, origin):
    kind = type(layer).__name__
    if origin.version < 2 and kind in _KERAS1:
        arrays = _KERAS1[kind](layer, arrays)
    if kind in _FLIPPED and origin.backend == "theano":
        rank = len(getattr(layer, "kernel_size", ()))
        flipped = (slice(None, None, -1),) * rank
        count = _FLIPPED[kind]
        arrays = [a[flipped] if i < count and a.ndim > rank else a for i, a in enumerate(arrays)]
    if kind in _CUDNN and len(arrays) == 3:
        arrays = _convert_cudnn(layer, kind, *arrays)
    return arrays


# -- Keras 1 ----------------------------------------------------------------------------------


def _first_kernel(axes, data_format=None):
    """Return a conversion that orders the axes of a kernel anew, for one data format or both."""

    def convert(layer, arrays):
        fits = (
            data_format in (None, layer.data_format) and arrays[:1] and arrays[0].ndim == len(axes)
        )
        return [arrays[0].transpose(axes), *arrays[1:]] if fits else arrays

    return convert


def _conv1d(layer, arrays):
    kernel = arrays[0]
    if kernel.ndim != 4:
        return arrays
    if kernel.shape[:2] != (layer.kernel_size[0], 1) or kernel.shape[3] != layer.filters:
        kernel = kernel.transpose(2, 3, 1, 0)  # (filters, channels, length, 1) before 1.2
    return [kernel[:, 0], *arrays[1:]]


def _conv2d_transpose(layer, arrays):
    axes = (0, 1, 3, 2) if layer.data_format == "channels_last" else (2, 3, 0, 1)
    return _first_kernel(axes)(layer, arrays)


def _gates(order):
    """Return a conversion that joins the arrays of single gates, in a given order of gates."""

    def convert(layer, arrays):
        if len(arrays) != 3 * len(order):
            return arrays
        joined = [np.concatenate([arrays[3 * g + i] for g in order], axis=-1) for i in range(3)]
        if type(layer).__name__ == "ConvLSTM2D" and layer.data_format == "channels_first":
            joined[:2] = [a.transpose(2, 3, 1, 0) for a in joined[:2]]
        return joined

    return convert


_KERAS1 = {
    "Conv1D": _conv1d,
    "Conv2D": _first_kernel((2, 3, 1, 0), "channels_first"),
    "Conv3D": _first_kernel((2, 3, 4, 1, 0), "channels_first"),
    "Conv2DTranspose": _conv2d_transpose,
    "GRU": _gates((0, 1, 2)),
    "LSTM": _gates((0, 2, 1, 3)),  # they were kept in the order i, c, f, o
    "ConvLSTM2D": _gates((0, 2, 1, 3)),
}

# Layers whose kernels Theano turns around, as convolution in mathematics does: how many arrays.
_FLIPPED = {"Conv1D": 1, "Conv2D": 1, "Conv3D": 1, "Conv2DTranspose": 1, "ConvLSTM2D": 2}


# -- cuDNN ------------------------------------------------------------------------------------

# Recurrent layers that exist in both layouts: number of gates.
_CUDNN = {"LSTM": 4, "CuDNNLSTM": 4, "GRU": 3, "CuDNNGRU": 3}


def _convert_cudnn(layer, kind, kernel, recurrent, bias):
    """Convert between `LSTM` and `CuDNNLSTM`, `GRU(reset_after=True)` and `CuDNNGRU`."""
    gates, units = _CUDNN[kind], layer.units
    stored, wanted = bias.shape == (2 * gates * units,), kind.startswith("CuDNN")
    joined = bias.shape == ((gates * units,) if gates == 4 else (2, gates * units))
    if stored == wanted or not (stored or joined) or getattr(layer, "reset_after", True) is False:
        return [kernel, recurrent, bias]
    order = "F" if stored else "C"
    kernel = [k.T.reshape(k.shape, order=order) for k in np.split(kernel, gates, axis=-1)]
    recurrent = [r.T for r in np.split(recurrent, gates, axis=-1)]
    if gates == 3:
        bias = bias.reshape((2, -1) if stored else -1)
    else:
        bias = bias.reshape(2, -1).sum(0) if stored else np.tile(0.5 * bias, 2)
    return [np.concatenate(kernel, axis=-1), np.concatenate(recurrent, axis=-1), bias]
