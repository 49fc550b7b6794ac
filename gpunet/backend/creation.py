"""New tensors: zeros, ones, ranges; and what repeats, cuts or pads a tensor by given numbers."""

from gpunet import config, ops
from gpunet.arrays import current_device
from gpunet.backend.expression import expression
from gpunet.backend.sizes import is_known, resolved, symbolic
from gpunet.backend.state import variable
from gpunet.context import tracing
from gpunet.graph import SymbolicTensor
from gpunet.tensor import Tensor

__all__ = [
    "arange",
    "eye",
    "ones",
    "one_hot",
    "repeat",
    "resize_images",
    "resize_volumes",
    "slice",
    "spatial_2d_padding",
    "spatial_3d_padding",
    "temporal_padding",
    "tile",
    "zeros",
]


@expression
def _filled(value, shape, dtype):
    sizes = resolved(shape)
    if not is_known(shape):
        return SymbolicTensor(sizes, dtype)
    return Tensor(current_device().xp.full(sizes, value, dtype))


def _new(value, shape, dtype, name):
    made = _filled(value, shape, dtype or config.floatx())
    if tracing() or isinstance(made, SymbolicTensor):
        return made
    return variable(made, name=name)


def zeros(shape, dtype=None, name=None):
    """Return zeros: a variable, or a tensor of the graph where a size isn't known.

    Args:
        shape: tuple of ints and sizes (see `K.shape`).
        dtype: name; the default float type if not given.
        name: str.
    """
    return _new(0, shape, dtype, name)


def ones(shape, dtype=None, name=None):
    """Return ones; see `zeros`."""
    return _new(1, shape, dtype, name)


def eye(size, dtype=None, name=None):
    """Return a variable with ones on the diagonal and zeros elsewhere.

    Args:
        size: int, or pair of ints (rows, columns).
        dtype, name: see `zeros`.
    """
    rows, columns = size if isinstance(size, (list, tuple)) else (size, size)
    values = current_device().xp.eye(int(rows), int(columns), dtype=dtype or config.floatx())
    return variable(Tensor(values), name=name)


@expression
def arange(start, stop=None, step=1, dtype="int32"):
    """Return evenly spaced whole numbers.

    Args:
        start: int or size, the first number; 0 if ``stop`` isn't given, which it then is.
        stop: int or size, the first number beyond.
        step: int.
        dtype: name.
    """
    if stop is None:
        start, stop = 0, start
    if symbolic(start, stop, step):
        return SymbolicTensor((None,), dtype)
    bounds = [n if isinstance(n, (int, float)) else n.item() for n in (start, stop, step)]
    return Tensor(current_device().xp.arange(*bounds, dtype=dtype))


@expression
def one_hot(indices, num_classes):
    """Return a last axis with a 1 in the place that each index names; see `ops.one_hot`."""
    (count,) = resolved(num_classes)
    if count is None:
        return SymbolicTensor((*indices.shape, None), config.floatx())
    return ops.one_hot(indices, num_classes=count)


@expression
def tile(x, n):
    """Return ``x`` repeated as a whole.

    Args:
        x: tensor.
        n: list of ints and sizes, how often along each axis; an int for a single axis.
    """
    times = resolved(n)
    if None not in times:
        return ops.tile(x, n=times)
    shape = [None if None in (a, b) else a * b for a, b in zip(x.shape, times, strict=True)]
    return SymbolicTensor(shape, x.dtype)


@expression
def repeat(x, n):
    """Return a matrix (N, D) repeated along a new middle axis: (N, n, D)."""
    if len(x.shape) != 2:
        raise ops.infer.ShapeError(f"repeat: expected a matrix, got shape {tuple(x.shape)}")
    (times,) = resolved(n)
    if times is None:
        return SymbolicTensor((x.shape[0], None, x.shape[1]), x.dtype)
    return ops.repeat(x, times)


@expression
def slice(x, start, size):
    """Return a block of a tensor.

    Args:
        x: tensor.
        start: list of ints and sizes, the first index along each axis.
        size: list of ints and sizes, the sizes; -1 takes what is left.
    """
    if not symbolic(start, size):
        return ops.slice(x, resolved(start), resolved(size))
    firsts, sizes = resolved(start), resolved(size)
    left = [None if None in (n, a) else n - a for n, a in zip(x.shape, firsts)]
    return SymbolicTensor([b if n == -1 else n for n, b in zip(sizes, left)], x.dtype)


# -- images -------------------------------------------------------------------------------


def layout(data_format):
    """Return a data format, the configured one for None.

    Raises:
        ValueError: no such format.
    """
    data_format = data_format or config.image_data_format()
    if data_format not in ("channels_first", "channels_last"):
        raise ValueError(f"Unknown data_format: {data_format}")
    return data_format


def temporal_padding(x, padding=(1, 1)):
    """Return (N, T, C) with zeros before and after the middle axis.

    Args:
        x: tensor.
        padding: pair of ints.
    """
    return ops.pad(x, paddings=((0, 0), tuple(padding), (0, 0)))


def _padded(x, padding, data_format):
    pairs = tuple([tuple(p) for p in padding])
    if layout(data_format) == "channels_first":
        return ops.pad(x, paddings=((0, 0), (0, 0), *pairs))
    return ops.pad(x, paddings=((0, 0), *pairs, (0, 0)))


def spatial_2d_padding(x, padding=((1, 1), (1, 1)), data_format=None):
    """Return images with a border of zeros.

    Args:
        x: tensor with four axes.
        padding: pairs of ints (before, after) for rows and columns.
        data_format: ``'channels_last'``, ``'channels_first'``, or None for the configured one.
    """
    return _padded(x, padding, data_format)


def spatial_3d_padding(x, padding=((1, 1), (1, 1), (1, 1)), data_format=None):
    """Return volumes (five axes) with a border of zeros; see `spatial_2d_padding`."""
    return _padded(x, padding, data_format)


def resize_images(x, height_factor, width_factor, data_format, interpolation="nearest"):
    """Return images enlarged by whole factors.

    Args:
        x: tensor with four axes.
        height_factor: int.
        width_factor: int.
        data_format: ``'channels_last'`` or ``'channels_first'``.
        interpolation: ``'nearest'`` or ``'bilinear'``.
    """
    first = 2 if layout(data_format) == "channels_first" else 1
    factors = (int(height_factor), int(width_factor))
    return ops.upsample(x, factors=factors, first=first, interpolation=interpolation)


def resize_volumes(x, depth_factor, height_factor, width_factor, data_format):
    """Return volumes (five axes) enlarged by whole factors; see `resize_images`."""
    first = 2 if layout(data_format) == "channels_first" else 1
    factors = (int(depth_factor), int(height_factor), int(width_factor))
    return ops.upsample(x, factors=factors, first=first)
