"""What layers for sequences, images and volumes share: rank, layout, arguments per axis."""

import inspect
import types

from gpunet import config, ops
from gpunet.errors import ShapeError
from gpunet.layers.arguments import int_tuple
from gpunet.layers.base import InputSpec, Layer

__all__ = ["Spatial", "axis_ints", "axis_pairs", "with_defaults"]


class Spatial(Layer):
    """Base of the layers for (batch, *spatial axes, channels), or channels before those axes.

    A class for a number of spatial axes is ``class Conv2D(Conv, rank=2, strides=(1, 1))``: the
    further arguments are its constructor's defaults where they aren't those of its base.

    Args:
        data_format: ``'channels_last'`` or ``'channels_first'``; None means
            `config.image_data_format`.
        **kwargs: see `Layer`.
    """

    rank = None

    def __init_subclass__(cls, rank=None, **defaults):
        super().__init_subclass__()
        if rank is not None:
            cls.rank = rank
        if defaults:
            cls.__init__ = with_defaults(cls.__init__, defaults)

    def __init__(self, data_format=None, **kwargs):
        super().__init__(**kwargs)
        if data_format is not None:
            data_format = str(data_format).lower()
        if data_format not in (None, "channels_last", "channels_first"):
            raise ValueError(
                f"{self._who}: expected data_format 'channels_last' or 'channels_first', "
                f"got {data_format!r}"
            )
        self.data_format = data_format or config.image_data_format()
        self.input_spec = InputSpec(ndim=self.rank + 2)

    @property
    def _channel_axis(self):
        return 1 if self.data_format == "channels_first" else self.rank + 1

    @property
    def _first_axis(self):
        """int, the first of the spatial axes."""
        return 2 if self.data_format == "channels_first" else 1

    def _split(self, shape):
        """Return (batch, spatial sizes, channels) of a shape."""
        shape = tuple(shape)
        first = self._first_axis
        return shape[0], shape[first : first + self.rank], shape[self._channel_axis]

    def _join(self, batch, sizes, channels):
        """Return the shape of (batch, spatial sizes, channels)."""
        if self.data_format == "channels_first":
            return (batch, channels, *sizes)
        return (batch, *sizes, channels)

    def _channels_last(self, x):
        if self.data_format == "channels_last":
            return x
        return ops.transpose(x, (0, *range(2, self.rank + 2), 1))

    def _channels_back(self, x):
        if self.data_format == "channels_last":
            return x
        return ops.transpose(x, (0, self.rank + 1, *range(1, self.rank + 1)))

    def _known_channels(self, input_shape):
        channels = self._split(input_shape)[2]
        if channels is None:
            raise ShapeError(
                f"{self._who}: the number of channels (axis {self._channel_axis}) must be known, "
                f"got input shape {input_shape}"
            )
        return channels

    def _check_channels(self, shape, expected):
        """Raise a ShapeError unless a shape has the channels that the layer was built for."""
        got = self._split(shape)[2]
        if got not in (None, expected):
            raise ShapeError(
                f"{self._who}: expected {expected} input channels, got {got} "
                f"(input shape {shape}, {self.data_format})"
            )


def with_defaults(init, defaults):
    """Return a constructor with other defaults for some arguments."""
    names = [
        p.name
        for p in inspect.signature(init).parameters.values()
        if p.kind is p.POSITIONAL_OR_KEYWORD
    ]
    old = init.__defaults__ or ()
    given = dict(zip(names[len(names) - len(old) :], old))
    if not defaults.keys() <= given.keys():
        raise TypeError(f"{init.__qualname__} has no optional {sorted(defaults.keys() - given)}")
    made = types.FunctionType(
        init.__code__,
        init.__globals__,
        init.__name__,
        tuple({**given, **defaults}.values()),
        init.__closure__,
    )
    made.__kwdefaults__, made.__doc__ = init.__kwdefaults__, init.__doc__
    made.__qualname__, made.__annotations__ = init.__qualname__, init.__annotations__
    return made


def axis_ints(layer, name, value, rank, least=1):
    """Return an int, or one for each axis, as a tuple.

    Args:
        layer: str, who asks.
        name: str, the argument.
        value: int or sequence of ints.
        rank: int.
        least: int, the smallest value allowed.

    Raises:
        ValueError: anything else.
    """
    values = value if isinstance(value, (list, tuple)) else (value,) * rank
    values = int_tuple(layer, name, values)
    if len(values) != rank or any(v is None or v < least for v in values):
        raise ValueError(
            f"{layer}: expected {name} to be an int >= {least}, or {rank} of them, got {value!r}"
        )
    return values


def axis_pairs(layer, name, value, rank):
    """Return an int, one for each axis, or pairs (before, after) as a tuple of pairs.

    With one axis, two ints are its pair.

    Raises:
        ValueError: anything else.
    """
    if rank == 1 and not (isinstance(value, (list, tuple)) and len(value) == 1):
        return (axis_ints(layer, name, value, 2, 0),)
    values = value if isinstance(value, (list, tuple)) else (value,) * rank
    if len(values) != rank:
        raise ValueError(
            f"{layer}: expected {name} to be an int, {rank} ints, or {rank} pairs of ints, "
            f"got {value!r}"
        )
    return tuple(axis_ints(layer, name, v, 2, 0) for v in values)
