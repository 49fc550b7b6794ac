"""Layers that rearrange the elements of each sample."""

import numpy as np

from gpunet import ops
from gpunet.errors import ShapeError
from gpunet.layers.arguments import int_tuple, positive_int
from gpunet.layers.base import InputSpec, Layer
from gpunet.registry import layers as registered
from gpunet.tensor import Shape

__all__ = ["Flatten", "Reshape", "Permute", "RepeatVector"]


@registered.register()
class Flatten(Layer):
    """Joins all axes but the first.

    Args:
        data_format: ``'channels_first'`` moves the channels last before; None keeps the order.
        **kwargs: see `Layer`.

    Shapes:
        (batch, ...) -> (batch, product)
    """

    has_shape_rule = True
    keeps_dtype = True
    built = True

    def __init__(self, data_format=None, **kwargs):
        super().__init__(**kwargs)
        if data_format not in (None, "channels_last", "channels_first"):
            raise ValueError(
                f"Flatten: expected data_format 'channels_last' or 'channels_first', "
                f"got {data_format!r}"
            )
        self.data_format = data_format or "channels_last"
        self.input_spec = InputSpec(min_ndim=1)

    def call(self, inputs):
        if self.data_format == "channels_first" and inputs.ndim > 2:
            inputs = ops.transpose(inputs, (0, *range(2, inputs.ndim), 1))
        return ops.reshape(inputs, (inputs.shape[0], self._width(inputs.shape)))

    @staticmethod
    def _width(shape):
        sizes = tuple(shape)[1:]
        return None if None in sizes else int(np.prod(sizes, dtype=np.int64))

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self._width(input_shape))


@registered.register()
class Reshape(Layer):
    """Gives each sample another shape.

    Args:
        target_shape: tuple of ints without the batch axis; one may be -1.
        **kwargs: see `Layer`.

    Shapes:
        (batch, ...) -> (batch, *target_shape)

    Raises:
        ShapeError: the number of elements differs.
    """

    has_shape_rule = True
    keeps_dtype = True
    built = True

    def __init__(self, target_shape, **kwargs):
        super().__init__(**kwargs)
        self.target_shape = int_tuple("Reshape", "target_shape", target_shape)
        if sum(n == -1 for n in self.target_shape) > 1:
            raise ValueError(f"Reshape: at most one size may be -1, got {self.target_shape}")

    def call(self, inputs):
        return ops.reshape(inputs, self.compute_output_shape(inputs.shape))

    def compute_output_shape(self, input_shape):
        batch, *sizes = input_shape
        target = self.target_shape
        if None in sizes:
            return (batch, *(None if n == -1 else n for n in target))
        total = int(np.prod(sizes, dtype=np.int64))
        known = int(np.prod([n for n in target if n != -1], dtype=np.int64))
        free = -1 in target
        if (known == 0 or total % known if free else total != known) and not total == known == 0:
            raise ShapeError(
                f"Reshape {self.name!r}: {total} elements of input shape {Shape(input_shape)} "
                f"don't fit target_shape {target}"
            )
        return (batch, *(total // max(known, 1) if n == -1 else n for n in target))


@registered.register()
class Permute(Layer):
    """Puts the axes of each sample in another order.

    Args:
        dims: tuple, the order of the axes counted from 1, without the batch axis.
        **kwargs: see `Layer`.

    Shapes:
        (batch, ...) -> (batch, ... in the given order)

    Raises:
        ValueError: ``dims`` isn't an order of 1, 2, ...
    """

    has_shape_rule = True
    keeps_dtype = True
    built = True

    def __init__(self, dims, **kwargs):
        super().__init__(**kwargs)
        self.dims = int_tuple("Permute", "dims", dims)
        if sorted(self.dims) != list(range(1, len(self.dims) + 1)):
            raise ValueError(f"Permute: expected dims to be an order of 1, 2, ..., got {dims}")
        self.input_spec = InputSpec(ndim=len(self.dims) + 1)

    def call(self, inputs):
        return ops.transpose(inputs, perm=(0, *self.dims))

    def compute_output_shape(self, input_shape):
        return (input_shape[0], *(input_shape[d] for d in self.dims))


@registered.register()
class RepeatVector(Layer):
    """Repeats each sample's vector n times.

    Args:
        n: int > 0.
        **kwargs: see `Layer`.

    Shapes:
        (batch, features) -> (batch, n, features)
    """

    has_shape_rule = True
    keeps_dtype = True
    built = True

    def __init__(self, n, **kwargs):
        super().__init__(**kwargs)
        self.n = positive_int("RepeatVector", "n", n)
        self.input_spec = InputSpec(ndim=2)

    def call(self, inputs):
        return ops.repeat(inputs, self.n)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.n, input_shape[1])
