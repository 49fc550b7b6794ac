"""Layers that join several tensors into one."""

from gpunet import ops
from gpunet.errors import ShapeError
from gpunet.layers.base import Layer
from gpunet.registry import layers as registered
from gpunet.tensor import Shape

__all__ = ["Merge_", "Add", "Concatenate", "add", "concatenate"]


class Merge_(Layer):
    """Base of the layers that take a list of tensors.

    A subclass gives `merge`, and `compute_output_shape` unless its inputs are combined
    elementwise with broadcasting.
    """

    has_shape_rule = True
    keeps_dtype = True
    supports_masking = True
    built = True
    fewest = 1

    def _check_inputs(self, inputs):
        who = f"{type(self).__name__} {self.name!r}"
        if not isinstance(inputs, (list, tuple)):
            raise ValueError(f"{who}: expected a list of inputs, got one tensor")
        if len(inputs) < self.fewest:
            raise ValueError(f"{who}: expected at least {self.fewest} inputs, got {len(inputs)}")
        batches = {t.shape[0] for t in inputs if t.shape} - {None}
        if len(batches) > 1:
            raise ShapeError(f"{who}: batch sizes differ: {[tuple(t.shape) for t in inputs]}")
        self.compute_output_shape([Shape(t.shape) for t in inputs])

    def merge(self, x, y):
        """Return the combination of two tensors."""
        raise NotImplementedError(f"{type(self).__name__} doesn't define merge(x, y)")

    def call(self, inputs):
        y = inputs[0]
        for x in _aligned(inputs)[1:]:
            y = self.merge(y, x)
        return y

    def compute_output_shape(self, input_shape):
        shapes = [tuple(s) for s in input_shape]
        rank = max(map(len, shapes))
        # A missing axis goes behind the batch axis: (N, C) joins (N, T, C) as (N, 1, C).
        padded = [(*s[:1], *(1,) * (rank - len(s)), *s[1:]) for s in shapes]
        result = []
        for sizes in zip(*padded, strict=True):
            known = set(sizes) - {None, 1}
            if len(known) > 1:
                raise ShapeError(
                    f"{type(self).__name__} {self.name!r}: inputs of shapes "
                    f"{[Shape(s) for s in shapes]} can't be combined"
                )
            free = None if None in sizes else 1
            result.append(known.pop() if known else free)
        return tuple(result)

    def compute_mask(self, inputs, mask=None):
        masks = [m for m in mask or [] if m is not None]
        if not masks:
            return None
        joined = masks[0]
        for m in masks[1:]:
            joined = ops.logical_and(joined, m)
        return joined

    @property
    def makes_masks(self):
        """bool, False: it only joins masks that are there."""
        return False

    _own_mask_rule = False


def _aligned(inputs):
    rank = max(len(t.shape) for t in inputs)
    aligned = []
    for t in inputs:
        for _ in range(rank - len(t.shape)):
            t = ops.expand_dims(t, 1)
        aligned.append(t)
    return aligned


@registered.register()
class Add(Merge_):
    """Sum of a list of tensors, elementwise with broadcasting.

    Shapes:
        [(batch, ...), ...] -> (batch, ...)
    """

    fewest = 2

    def merge(self, x, y):
        return ops.add(x, y)


@registered.register()
class Concatenate(Merge_):
    """Joins a list of tensors along an axis.

    Args:
        axis: int, not the batch axis.
        **kwargs: see `Layer`.

    Shapes:
        [(batch, ..., n), ...] -> (batch, ..., sum of n)
    """

    has_shape_rule = True

    def __init__(self, axis=-1, **kwargs):
        super().__init__(**kwargs)
        self.axis = axis

    def call(self, inputs):
        return ops.concatenate(list(inputs), self.axis)

    def compute_output_shape(self, input_shape):
        shapes = [tuple(s) for s in input_shape]
        rank = len(shapes[0])
        who = f"Concatenate {self.name!r}"
        if any(len(s) != rank for s in shapes) or not -rank <= self.axis < rank:
            raise ShapeError(
                f"{who}: shapes {[Shape(s) for s in shapes]} can't be joined along "
                f"axis {self.axis}"
            )
        axis = self.axis % rank
        result = []
        for i, sizes in enumerate(zip(*shapes, strict=True)):
            if i == axis:
                result.append(None if None in sizes else sum(sizes))
                continue
            known = set(sizes) - {None}
            if len(known) > 1:
                raise ShapeError(
                    f"{who}: all sizes but that of axis {self.axis} must match, "
                    f"got shapes {[Shape(s) for s in shapes]}"
                )
            result.append(known.pop() if known else None)
        return tuple(result)

    def compute_mask(self, inputs, mask=None):
        if mask is None or all(m is None for m in mask):
            return None
        # A mask covers the axes before the features; where a tensor has none, all steps count.
        rank = len(inputs[0].shape)
        parts = []
        for t, m in zip(inputs, mask, strict=True):
            if m is None:
                m = ops.ones_like(ops.cast(t, "bool"))
            while len(m.shape) < rank:
                m = ops.expand_dims(m, -1)
            parts.append(m if m.shape == t.shape else ops.logical_and(m, ops.ones_like(ops.cast(t, "bool"))))
        return ops.all(ops.concatenate(parts, self.axis), axis=-1)


def add(inputs, **kwargs):
    """Return the sum of a list of tensors; see `Add`."""
    return Add(**kwargs)(inputs)


def concatenate(inputs, axis=-1, **kwargs):
    """Return a list of tensors joined along an axis; see `Concatenate`."""
    return Concatenate(axis=axis, **kwargs)(inputs)
