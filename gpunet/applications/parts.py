"""Small parts that several architectures are made of."""

from gpunet import config
from gpunet.applications.assembly import image_size
from gpunet.layers import BatchNormalization, Concatenate, ZeroPadding2D

__all__ = ["batch_norm", "channel_axis", "channels", "joined", "padded", "rounded"]


def channel_axis():
    """Return the axis of the channels, as it is configured."""
    return 1 if config.image_data_format() == "channels_first" else -1


def channels(x):
    """Return the number of channels of a tensor."""
    return x.shape[channel_axis()]


def batch_norm(x, name=None, **options):
    """Normalize the channels of a tensor."""
    return BatchNormalization(axis=channel_axis(), name=name, **options)(x)


def joined(xs, name=None):
    """Join the channels of tensors."""
    return Concatenate(axis=channel_axis(), name=name)(xs)


def padded(x, kernel, name):
    """Pad a tensor so that a kernel with steps of 2 sees what it does in TensorFlow's 'same'.

    Args:
        x: symbolic tensor.
        kernel: int, its height and width.
        name: str.
    """
    half = kernel // 2
    # One less on the left for even sizes; those that aren't known are taken as even.
    less = [1 if n is None else 1 - n % 2 for n in image_size(x.shape[1:])]
    return ZeroPadding2D([(half - n, half) for n in less], name=name)(x)


def rounded(filters, divisor=8):
    """Return the multiple of a divisor next to a number of filters, never under 90 % of it."""
    near = max(divisor, int(filters + divisor / 2) // divisor * divisor)
    return near if near >= 0.9 * filters else near + divisor
