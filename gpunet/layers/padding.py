"""Layers that add borders to sequences, images and volumes, cut them off, or enlarge them."""

from gpunet import ops
from gpunet.errors import ShapeError
from gpunet.layers.spatial import Spatial, axis_ints, axis_pairs
from gpunet.registry import layers as registered

__all__ = [
    "ZeroPadding1D",
    "ZeroPadding2D",
    "ZeroPadding3D",
    "Cropping1D",
    "Cropping2D",
    "Cropping3D",
    "UpSampling1D",
    "UpSampling2D",
    "UpSampling3D",
]


class _Resized(Spatial):
    """Base of the layers that change the sizes of the spatial axes and nothing else."""

    has_shape_rule = True
    keeps_dtype = True
    built = True

    def compute_output_shape(self, input_shape):
        batch, sizes, channels = self._split(input_shape)
        sizes = [None if n is None else self._new_size(i, n) for i, n in enumerate(sizes)]
        if any(n is not None and n < 1 for n in sizes):
            raise ShapeError(
                f"{self._who}: nothing is left of an input of shape {tuple(input_shape)}"
            )
        return self._join(batch, sizes, channels)

    def _new_size(self, axis, size):
        """Return the new size of a spatial axis."""
        raise NotImplementedError


class ZeroPadding(_Resized):
    """Adds zeros before and behind along the spatial axes.

    Args:
        padding: int; one int for each axis; or a pair (before, behind) for each axis.
        data_format: ``'channels_last'`` or ``'channels_first'``; None means
            `config.image_data_format`.
        **kwargs: see `Layer`.

    Shapes:
        (batch, *size, channels) -> (batch, *(size + before + behind), channels)

    Raises:
        ValueError: negative or not as many ints as needed.
    """

    has_shape_rule = True

    def __init__(self, padding=1, data_format=None, **kwargs):
        super().__init__(data_format, **kwargs)
        self._pairs = axis_pairs(self._who, "padding", padding, self.rank)
        self.padding = self._pairs[0] if self.rank == 1 else self._pairs

    def _new_size(self, axis, size):
        return size + sum(self._pairs[axis])

    def call(self, inputs):
        return ops.pad(inputs, paddings=self._join((0, 0), self._pairs, (0, 0)))


@registered.register()
class ZeroPadding1D(ZeroPadding, rank=1):
    """Adds zeros before and behind a sequence.

    Args:
        padding: int, or pair (before, behind).
        **kwargs: see `Layer`.

    Shapes:
        (batch, steps, channels) -> (batch, steps + before + behind, channels)

    Raises:
        ValueError: negative or not a pair.
    """

    has_shape_rule = True

    def __init__(self, padding=1, **kwargs):
        super().__init__(padding, "channels_last", **kwargs)


@registered.register()
class ZeroPadding2D(ZeroPadding, rank=2, padding=(1, 1)):
    __doc__ = ZeroPadding.__doc__


@registered.register()
class ZeroPadding3D(ZeroPadding, rank=3, padding=(1, 1, 1)):
    __doc__ = ZeroPadding.__doc__


class Cropping(_Resized):
    """Cuts off elements before and behind along the spatial axes.

    Args:
        cropping: int; one int for each axis; or a pair (before, behind) for each axis.
        data_format: ``'channels_last'`` or ``'channels_first'``; None means
            `config.image_data_format`.
        **kwargs: see `Layer`.

    Shapes:
        (batch, *size, channels) -> (batch, *(size - before - behind), channels)

    Raises:
        ValueError: negative or not as many ints as needed.
        ShapeError: nothing is left.
    """

    has_shape_rule = True

    def __init__(self, cropping=0, data_format=None, **kwargs):
        super().__init__(data_format, **kwargs)
        self._pairs = axis_pairs(self._who, "cropping", cropping, self.rank)
        self.cropping = self._pairs[0] if self.rank == 1 else self._pairs

    def _new_size(self, axis, size):
        return size - sum(self._pairs[axis])

    def call(self, inputs):
        self.compute_output_shape(inputs.shape)
        every = slice(None)
        kept = [slice(a, -b if b else None) for a, b in self._pairs]
        return inputs[self._join(every, kept, every)]


@registered.register()
class Cropping1D(Cropping, rank=1):
    """Cuts off steps before and behind.

    Args:
        cropping: int, or pair (before, behind).
        **kwargs: see `Layer`.

    Shapes:
        (batch, steps, channels) -> (batch, steps - before - behind, channels)

    Raises:
        ValueError: negative or not a pair.
        ShapeError: nothing is left.
    """

    has_shape_rule = True

    def __init__(self, cropping=(1, 1), **kwargs):
        super().__init__(cropping, "channels_last", **kwargs)


@registered.register()
class Cropping2D(Cropping, rank=2, cropping=((0, 0), (0, 0))):
    __doc__ = Cropping.__doc__


@registered.register()
class Cropping3D(Cropping, rank=3, cropping=((1, 1), (1, 1), (1, 1))):
    __doc__ = Cropping.__doc__


class UpSampling(_Resized):
    """Makes the spatial axes longer by whole factors.

    Args:
        size: int or tuple of ints > 0, the factors.
        data_format: ``'channels_last'`` or ``'channels_first'``; None means
            `config.image_data_format`.
        interpolation: ``'nearest'`` repeats elements, ``'bilinear'`` interpolates between them.
        **kwargs: see `Layer`.

    Shapes:
        (batch, *size, channels) -> (batch, *(size * factor), channels)

    Raises:
        ValueError: unknown interpolation, or not as many factors as needed.
    """

    has_shape_rule = True

    def __init__(self, size=2, data_format=None, interpolation="nearest", **kwargs):
        super().__init__(data_format, **kwargs)
        self._factors = axis_ints(self._who, "size", size, self.rank)
        self.size = self._factors
        self.interpolation = str(interpolation).lower()
        if self.interpolation not in ("nearest", "bilinear"):
            raise ValueError(
                f"{self._who}: expected interpolation 'nearest' or 'bilinear', "
                f"got {interpolation!r}"
            )
        # Interpolated values are floats.
        self.keeps_dtype = self.interpolation == "nearest"

    def _new_size(self, axis, size):
        return size * self._factors[axis]

    def call(self, inputs):
        if inputs.dtype.kind != "f" and not self.keeps_dtype:
            inputs = ops.cast(inputs, self.compute_dtype)
        return ops.upsample(
            inputs,
            factors=self._factors,
            first=self._first_axis,
            interpolation=self.interpolation,
        )


@registered.register()
class UpSampling1D(UpSampling, rank=1):
    """Repeats each step of a sequence.

    Args:
        size: int > 0, how often.
        **kwargs: see `Layer`.

    Shapes:
        (batch, steps, channels) -> (batch, steps * size, channels)

    Raises:
        ValueError: not an int > 0.
    """

    has_shape_rule = True

    def __init__(self, size=2, **kwargs):
        super().__init__(size, "channels_last", **kwargs)
        (self.size,) = self._factors


@registered.register()
class UpSampling2D(UpSampling, rank=2, size=(2, 2)):
    __doc__ = UpSampling.__doc__


@registered.register()
class UpSampling3D(UpSampling, rank=3):
    """Repeats the elements of a volume.

    Args:
        size: int or tuple of three ints > 0, how often along each axis.
        data_format: ``'channels_last'`` or ``'channels_first'``; None means
            `config.image_data_format`.
        **kwargs: see `Layer`.

    Shapes:
        (batch, *size, channels) -> (batch, *(size * factor), channels)

    Raises:
        ValueError: not as many factors as needed.
    """

    has_shape_rule = True

    def __init__(self, size=(2, 2, 2), data_format=None, **kwargs):
        super().__init__(size, data_format, **kwargs)
