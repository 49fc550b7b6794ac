"""Strings and whole numbers on the host, and their encoding as rows of numbers."""

import numpy as np

from gpunet import arrays
from gpunet.autodiff import no_tape
from gpunet.errors import ShapeError
from gpunet.graph import SymbolicTensor
from gpunet.layers.base import Layer
from gpunet.nest import flatten
from gpunet.tensor import Tensor, as_array

__all__ = ["HostLayer", "encoded", "encoded_shape", "host_values"]


class HostLayer(Layer):
    """Base of the layers that read their input on the host, which may be strings."""

    has_shape_rule = True
    built = True
    _autocast = False
    takes_strings = True

    def __call__(self, inputs, *args, **kwargs):
        """Apply the layer to lists or arrays of numbers or strings, or to symbolic tensors.

        Args:
            inputs: array, tensor or nested list.
            *args, **kwargs: see `Layer`.
        """
        if any(isinstance(t, SymbolicTensor) for t in flatten(inputs)):
            return super().__call__(inputs, *args, **kwargs)
        with no_tape():
            return self.call(inputs)

    def _tensor(self, values):
        return Tensor(as_array(np.asarray(values), self.compute_dtype))


def host_values(who, values):
    """Return values as an array of whole numbers, or of objects of type str.

    Args:
        who: str for the error text.
        values: array, tensor, nested list, or single value.

    Raises:
        TypeError: anything else than strings and whole numbers.
    """
    values = getattr(values, "array", values)
    values = np.asarray(arrays.to_host(values) if arrays.is_array(values) else values)
    if values.dtype.kind in "iub":
        return values
    if values.dtype.kind == "f" and np.array_equal(values, np.floor(values)):
        return values.astype("int64")
    if values.dtype.kind not in "USO":
        raise TypeError(f"{who}: expected strings or whole numbers, got dtype {values.dtype}")
    made = np.empty(values.shape, object)
    for place in np.ndindex(values.shape):
        made[place] = text_of(who, values[place])
    return made


def text_of(who, value):
    """Return a str or bytes as str; TypeError otherwise."""
    if isinstance(value, bytes):
        return value.decode("utf8", "surrogateescape")
    if not isinstance(value, str):
        raise TypeError(f"{who}: expected strings, got {value!r}")
    return str(value)


def encoded(who, numbers, mode, depth, weights=None):
    """Return numbers as rows of a length; numbers out of range are left out.

    Args:
        who: str for the error text.
        numbers: integer array of rank 0 to 2.
        mode: ``'one_hot'``, ``'multi_hot'``, ``'count'`` or ``'tf_idf'``.
        depth: int.
        weights: array (depth,), for ``'tf_idf'``.
    """
    made = encoded_shape(who, numbers.shape, mode, depth)
    rows = numbers.reshape((-1, 1) if mode == "one_hot" else (-1, *numbers.shape[-1:]))
    counts = np.zeros((len(rows), depth))
    at = np.nonzero((rows >= 0) & (rows < depth))
    np.add.at(counts, (at[0], rows[at]), 1)
    if mode in ("one_hot", "multi_hot"):
        counts = np.minimum(counts, 1)
    return (counts if weights is None else counts * weights).reshape(made)


def encoded_shape(who, shape, mode, depth):
    """Return the shape that `encoded` gives.

    Raises:
        ShapeError: an input of too many axes.
    """
    shape = tuple(shape) or (1,)
    single = mode == "one_hot" and shape[-1] != 1
    made = (*shape, depth) if single else (*shape[:-1], depth)
    if len(made) > 2:
        raise ShapeError(
            f"{who}: output_mode {mode!r} gives at most rank 2, the input has shape {shape}"
        )
    return made
