"""Layers that join several tensors into one."""

from gpunet import ops
from gpunet.errors import ShapeError
from gpunet.layers.base import Layer
from gpunet.ops.linalg import batch_dot_axes
from gpunet.registry import layers as registered
from gpunet.tensor import Shape

__all__ = [
    "Add",
    "Subtract",
    "Multiply",
    "Average",
    "Maximum",
    "Minimum",
    "Concatenate",
    "Dot",
    "add",
    "subtract",
    "multiply",
    "average",
    "maximum",
    "minimum",
    "concatenate",
    "dot",
]


class _Merge(Layer):
    """Base of the layers that take a list of tensors and join their masks.

    A subclass gives `_merge_function`, and `compute_output_shape` unless its inputs are combined
    elementwise with broadcasting.  Scripts derive layers of their own from it.
    """

    has_shape_rule = True
    keeps_dtype = True
    supports_masking = True
    built = True
    #: The smallest and the largest number of inputs, None for any.
    fewest, most = 1, None

    def _merge_function(self, inputs):
        """Return what a list of tensors, all of the same rank, becomes."""
        raise NotImplementedError(f"{type(self).__name__} doesn't define _merge_function(inputs)")

    def call(self, inputs):
        return self._merge_function(_of_one_rank(inputs))

    def _check_inputs(self, inputs):
        if not isinstance(inputs, (list, tuple)):
            raise ValueError(
                f"{self._who}: expected a list of inputs, got one tensor of shape {inputs.shape}"
            )
        count = len(inputs)
        if count < self.fewest or (self.most is not None and count > self.most):
            wanted = "exactly" if self.fewest == self.most else "at least"
            raise ValueError(
                f"{self._who}: expected {wanted} {self.fewest} inputs, got {count} "
                f"(input shapes {_listed(inputs)})"
            )
        if len({t.shape[0] for t in inputs if t.shape} - {None}) > 1:
            raise ShapeError(f"{self._who}: batch sizes differ: {_listed(inputs)}")
        self.compute_output_shape([t.shape for t in inputs])

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
                    f"{self._who}: inputs of shapes {[Shape(s) for s in shapes]} can't be combined"
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


def _listed(tensors):
    return ", ".join(str(Shape(t.shape)) for t in tensors)


def _of_one_rank(inputs):
    """Put axes of size 1 behind the batch axis of the tensors that have fewer than others."""
    rank = max(len(t.shape) for t in inputs)
    aligned = []
    for t in inputs:
        missing = (1,) * (rank - len(t.shape))
        aligned.append(ops.reshape(t, (*t.shape[:1], *missing, *t.shape[1:])) if missing else t)
    return aligned


def _folded(op, inputs):
    """Combine the first two tensors, then the result with the third, and so on."""
    y = inputs[0]
    for x in inputs[1:]:
        y = op(y, x)
    return y


@registered.register()
class Add(_Merge):
    """Sum of a list of tensors, elementwise with broadcasting.

    Args:
        **kwargs: see `Layer`.

    Shapes:
        [(batch, ...), ...] -> (batch, ...)
    """

    def _merge_function(self, inputs):
        return _folded(ops.add, inputs)


@registered.register()
class Subtract(_Merge):
    """First of two tensors minus the second, elementwise with broadcasting.

    Args:
        **kwargs: see `Layer`.

    Shapes:
        [(batch, ...), (batch, ...)] -> (batch, ...)

    Raises:
        ValueError: not exactly two inputs.
    """

    fewest = most = 2

    def _merge_function(self, inputs):
        return ops.subtract(*inputs)


@registered.register()
class Multiply(_Merge):
    """Product of a list of tensors, elementwise with broadcasting.

    Args:
        **kwargs: see `Layer`.

    Shapes:
        [(batch, ...), ...] -> (batch, ...)
    """

    def _merge_function(self, inputs):
        return _folded(ops.multiply, inputs)


@registered.register()
class Average(_Merge):
    """Mean of a list of tensors, elementwise with broadcasting.

    Args:
        **kwargs: see `Layer`.

    Shapes:
        [(batch, ...), ...] -> (batch, ...)
    """

    keeps_dtype = False  # integers have a mean of the layer's own dtype

    def _merge_function(self, inputs):
        total = _folded(ops.add, inputs)
        total = total if total.dtype.kind == "f" else ops.cast(total, self.compute_dtype)
        return ops.divide(total, float(len(inputs)))


@registered.register()
class Maximum(_Merge):
    """Largest of the elements in the same place of a list of tensors.

    Args:
        **kwargs: see `Layer`.

    Shapes:
        [(batch, ...), ...] -> (batch, ...)
    """

    def _merge_function(self, inputs):
        return _folded(ops.maximum, inputs)


@registered.register()
class Minimum(_Merge):
    """Smallest of the elements in the same place of a list of tensors.

    Args:
        **kwargs: see `Layer`.

    Shapes:
        [(batch, ...), ...] -> (batch, ...)
    """

    def _merge_function(self, inputs):
        return _folded(ops.minimum, inputs)


@registered.register()
class Concatenate(_Merge):
    """Joins a list of tensors along an axis.

    Args:
        axis: int, not the batch axis.
        **kwargs: see `Layer`.

    Shapes:
        [(batch, ..., n), ...] -> (batch, ..., sum of n)

    Raises:
        ShapeError: ranks, or sizes along other axes, differ.
    """

    has_shape_rule = True

    def __init__(self, axis=-1, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(axis, int) or isinstance(axis, bool):
            raise TypeError(f"Concatenate: expected axis to be an int, got {axis!r}")
        self.axis = axis

    def call(self, inputs):
        return ops.concatenate(list(inputs), self.axis)

    def compute_output_shape(self, input_shape):
        return joined_shape(self._who, input_shape, self.axis)

    def compute_mask(self, inputs, mask=None):
        return joined_mask(inputs, mask, self.axis)


def joined_shape(who, input_shape, axis):
    """Return the shape of tensors joined along an axis.

    Args:
        who: str for the error text.
        input_shape: list of shapes.
        axis: int.
    """
    shapes = [tuple(s) for s in input_shape]
    rank = len(shapes[0])
    if any(len(s) != rank for s in shapes) or not -rank <= axis < rank:
        raise ShapeError(
            f"{who}: inputs of shapes {[Shape(s) for s in shapes]} can't be joined along "
            f"axis {axis}"
        )
    result = []
    for i, sizes in enumerate(zip(*shapes, strict=True)):
        if i == axis % rank:
            result.append(None if None in sizes else sum(sizes))
            continue
        known = set(sizes) - {None}
        if len(known) > 1:
            raise ShapeError(
                f"{who}: all sizes but that of axis {axis} must match, "
                f"got shapes {[Shape(s) for s in shapes]}"
            )
        result.append(known.pop() if known else None)
    return tuple(result)


def joined_mask(inputs, mask, axis):
    """Return the mask of tensors joined along an axis: where no feature of a step is masked.

    Args:
        inputs: list of tensors.
        mask: list of masks and Nones (all steps count), or None.
        axis: int.
    """
    if mask is None or all(m is None for m in mask):
        return None
    rank = len(inputs[0].shape)
    masks = [m if m is None or len(m.shape) < rank else ops.all(m, axis=-1) for m in mask]
    depth = max(len(m.shape) for m in masks if m is not None)
    masks = [_to_depth(t, m, depth) for t, m in zip(inputs, masks, strict=True)]
    if axis % rank < depth:
        return ops.concatenate(masks, axis % rank)
    return _folded(ops.logical_and, masks)


def _to_depth(tensor, mask, depth):
    """Return a mask over a tensor's first axes; None is one in which all steps count."""
    if mask is not None and len(mask.shape) == depth:
        return mask
    ones = ops.ones_like(tensor, dtype="bool")
    ones = ops.all(ones, axis=tuple(range(depth, len(tensor.shape))))
    if mask is None:
        return ones
    for _ in range(depth - len(mask.shape)):
        mask = ops.expand_dims(mask, -1)
    return ops.logical_and(mask, ones)


@registered.register()
class Dot(_Merge):
    """Sum of products over one axis of two tensors, for each sample.

    Args:
        axes: int or pair of ints, the axes of the first and the second tensor.
        normalize: bool, whether the tensors are first scaled to length 1 along these axes,
            which gives their cosine.
        **kwargs: see `Layer`.

    Shapes:
        [(batch, ...), (batch, ...)] -> (batch, other axes of the first, of the second), (batch,
        1) where there are none

    Raises:
        ShapeError: the sizes of the axes differ.
    """

    has_shape_rule = True
    fewest = most = 2

    def __init__(self, axes, normalize=False, **kwargs):
        super().__init__(**kwargs)
        pair = axes if isinstance(axes, (list, tuple)) else (axes, axes)
        if not all(isinstance(a, int) for a in pair):
            raise TypeError(f"Dot: expected axes to be an int or a pair of ints, got {axes!r}")
        if len(pair) != 2:
            raise ValueError(f"Dot: expected axes to be an int or a pair of ints, got {axes!r}")
        self.axes = axes if isinstance(axes, int) else tuple(pair)
        self.normalize = bool(normalize)

    def call(self, inputs):
        x, y = inputs
        axes = self._pair(x.shape, y.shape)
        if self.normalize:
            x, y = (ops.l2_normalize(t, axis=a) for t, a in zip((x, y), axes, strict=True))
        return ops.batch_dot(x, y, axes=axes)

    def _pair(self, x, y):
        try:
            return batch_dot_axes(x, y, self.axes)
        except ShapeError as error:
            raise ShapeError(f"{self._who}: {error}") from None

    def compute_output_shape(self, input_shape):
        return ops.batch_dot.infer(*input_shape, axes=self._pair(*input_shape))

    def compute_mask(self, inputs, mask=None):
        return None


# -- as functions ---------------------------------------------------------------------------


def add(inputs, **kwargs):
    """Return the sum of a list of tensors; see `Add`."""
    return Add(**kwargs)(inputs)


def subtract(inputs, **kwargs):
    """Return the first of two tensors minus the second; see `Subtract`."""
    return Subtract(**kwargs)(inputs)


def multiply(inputs, **kwargs):
    """Return the product of a list of tensors; see `Multiply`."""
    return Multiply(**kwargs)(inputs)


def average(inputs, **kwargs):
    """Return the mean of a list of tensors; see `Average`."""
    return Average(**kwargs)(inputs)


def maximum(inputs, **kwargs):
    """Return the elementwise maximum of a list of tensors; see `Maximum`."""
    return Maximum(**kwargs)(inputs)


def minimum(inputs, **kwargs):
    """Return the elementwise minimum of a list of tensors; see `Minimum`."""
    return Minimum(**kwargs)(inputs)


def concatenate(inputs, axis=-1, **kwargs):
    """Return a list of tensors joined along an axis; see `Concatenate`."""
    return Concatenate(axis=axis, **kwargs)(inputs)


def dot(inputs, axes, normalize=False, **kwargs):
    """Return sums of products over one axis of two tensors; see `Dot`."""
    return Dot(axes=axes, normalize=normalize, **kwargs)(inputs)
