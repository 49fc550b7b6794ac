"""Embedding: a table of vectors, looked up by number."""

import numpy as np

from gpunet import constraints, initializers, ops, regularizers
from gpunet.errors import ShapeError
from gpunet.layers.arguments import int_tuple, positive_int
from gpunet.layers.base import Layer
from gpunet.recording import effect
from gpunet.registry import layers as registered

__all__ = ["Embedding"]


@registered.register()
class Embedding(Layer):
    """Turns whole numbers into vectors that are learned.

    On the CPU, numbers out of range are an error; on a GPU looking for them would make it wait,
    and they stand for some row of the table.

    Args:
        input_dim: int > 0, how many numbers there are: 0 to ``input_dim - 1``.
        output_dim: int > 0, length of a vector.
        embeddings_initializer: see `gpunet.initializers`.
        embeddings_regularizer, activity_regularizer: see `gpunet.regularizers`.
        embeddings_constraint: see `gpunet.constraints`.
        mask_zero: bool, whether steps with number 0 are masked.
        input_length: int, length of the sequences (a tuple for more axes), or None.
        **kwargs: see `Layer`.

    Shapes:
        (batch, ...) -> (batch, ..., output_dim)

    Raises:
        ValueError: ``input_dim`` or ``output_dim`` isn't a positive int, or a number is out of
            range or too large to be exact in the float type in which it came.
    """

    has_shape_rule = True
    _autocast = _casts_weights = False

    def __init__(
        self,
        input_dim,
        output_dim,
        embeddings_initializer="uniform",
        embeddings_regularizer=None,
        activity_regularizer=None,
        embeddings_constraint=None,
        mask_zero=False,
        input_length=None,
        **kwargs,
    ):
        if input_length is not None:
            input_length = int_tuple("Embedding", "input_length", input_length)
        if "input_shape" not in kwargs:
            kwargs["input_shape"] = input_length or (None,)
        if kwargs.pop("sparse", False):
            raise ValueError("Embedding: sparse=True, which gives sparse tensors, isn't available")
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.input_dim = positive_int("Embedding", "input_dim", input_dim)
        self.output_dim = positive_int("Embedding", "output_dim", output_dim)
        self.embeddings_initializer = initializers.get(embeddings_initializer)
        self.embeddings_regularizer = regularizers.get(embeddings_regularizer)
        self.embeddings_constraint = constraints.get(embeddings_constraint)
        self.mask_zero = self.supports_masking = bool(mask_zero)
        one = input_length is not None and len(input_length) == 1
        self.input_length = input_length[0] if one else input_length

    def build(self, input_shape):
        self.embeddings = self.add_weight("embeddings", (self.input_dim, self.output_dim))
        self.built = True

    def call(self, inputs):
        if isinstance(inputs.array, np.ndarray):
            effect(self._check_numbers, inputs.array)
        if inputs.dtype.kind != "i":
            inputs = ops.cast(inputs, "int32")
        y = ops.gather(self.embeddings, inputs)  # few rows, which are cast rather than the table
        return y if y.dtype == self.compute_dtype else ops.cast(y, self.compute_dtype)

    def _check_numbers(self, numbers):
        if not numbers.size:
            return
        low, high = numbers.min(), numbers.max()
        limit = self.input_dim
        if numbers.dtype.kind == "f":
            exact = 2 ** (np.finfo(numbers.dtype).nmant + 1)
            if limit > exact and high >= exact:
                raise ValueError(
                    f"{self._who}: {numbers.dtype} holds whole numbers up to {exact} exactly, got "
                    f"{high}; give the input an integer dtype: Input(..., dtype='int32')"
                )
        if not (low > -1 and high < limit):
            raise ValueError(
                f"{self._who}: expected numbers from 0 to {limit - 1} (input_dim={limit}), "
                f"got {low} to {high}"
            )

    def compute_mask(self, inputs, mask=None):
        return ops.not_equal(inputs, 0) if self.mask_zero else None

    @property
    def _own_mask_rule(self):
        return self.mask_zero

    def compute_output_shape(self, input_shape):
        if self.input_length is None:
            return (*input_shape, self.output_dim)
        given = self.input_length if isinstance(self.input_length, tuple) else (self.input_length,)
        sizes = tuple(input_shape)[1:]
        if len(given) != len(sizes) or any(
            None not in (a, b) and a != b for a, b in zip(given, sizes, strict=True)
        ):
            raise ShapeError(
                f"{self._who}: input_length is {self.input_length}, but the input has shape "
                f"{input_shape}"
            )
        sizes = tuple(a if b is None else b for a, b in zip(given, sizes, strict=True))
        return (input_shape[0], *sizes, self.output_dim)
