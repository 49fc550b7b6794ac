"""InceptionV3: blocks of parallel branches."""

from gpunet.applications.assembly import Architecture, application, dense_top
from gpunet.applications.imagenet_utils import decode_predictions, preprocessing
from gpunet.applications.parts import batch_norm, joined
from gpunet.layers import Activation, AveragePooling2D, Conv2D, MaxPooling2D

__all__ = ["InceptionV3", "preprocess_input", "decode_predictions"]


def _conv(x, filters, size, strides=1, padding="same"):
    x = Conv2D(filters, size, strides=strides, padding=padding, use_bias=False)(x)
    return Activation("relu")(batch_norm(x, scale=False))


def _branch(x, *steps, halve=False):
    """Convolve by (filters, size) after (filters, size); the last one may halve the size."""
    for n, (filters, size) in enumerate(steps, 1):
        last = halve and n == len(steps)
        x = _conv(x, filters, size, *((2, "valid") if last else ()))
    return x


def _averaged(x, filters):
    return _conv(AveragePooling2D(3, strides=1, padding="same")(x), filters, 1)


def _block_35(x, pooled, name):
    """Join branches on the map of 35x35."""
    branches = [
        _branch(x, (64, 1)),
        _branch(x, (48, 1), (64, 5)),
        _branch(x, (64, 1), (96, 3), (96, 3)),
        _averaged(x, pooled),
    ]
    return joined(branches, name)


def _block_17(x, inner, name):
    """Join branches on the map of 17x17; 7x7 convolutions are made of 1x7 and 7x1."""
    row, column = (1, 7), (7, 1)
    branches = [
        _branch(x, (192, 1)),
        _branch(x, (inner, 1), (inner, row), (192, column)),
        _branch(x, (inner, 1), (inner, column), (inner, row), (inner, column), (192, row)),
        _averaged(x, 192),
    ]
    return joined(branches, name)


def _block_8(x, number):
    """Join branches on the map of 8x8, two of which fork."""
    first = _branch(x, (320, 1))
    left = _branch(x, (384, 1))
    left = joined([_conv(left, 384, (1, 3)), _conv(left, 384, (3, 1))], f"mixed9_{number}")
    right = _branch(x, (448, 1), (384, 3))
    right = joined([_conv(right, 384, (1, 3)), _conv(right, 384, (3, 1))])
    return joined([first, left, right, _averaged(x, 192)], f"mixed{9 + number}")


def _body(x):
    x = _conv(x, 32, 3, 2, "valid")
    x = _conv(x, 32, 3, padding="valid")
    x = _conv(x, 64, 3)
    x = MaxPooling2D(3, strides=2)(x)
    x = _conv(x, 80, 1, padding="valid")
    x = _conv(x, 192, 3, padding="valid")
    x = MaxPooling2D(3, strides=2)(x)
    for number, pooled in enumerate((32, 64, 64)):
        x = _block_35(x, pooled, f"mixed{number}")
    branches = [
        _branch(x, (384, 3), halve=True),
        _branch(x, (64, 1), (96, 3), (96, 3), halve=True),
        MaxPooling2D(3, strides=2)(x),
    ]
    x = joined(branches, "mixed3")
    for number, inner in enumerate((128, 160, 160, 192), 4):
        x = _block_17(x, inner, f"mixed{number}")
    branches = [
        _branch(x, (192, 1), (320, 3), halve=True),
        _branch(x, (192, 1), (192, (1, 7)), (192, (7, 1)), (192, 3), halve=True),
        MaxPooling2D(3, strides=2)(x),
    ]
    x = joined(branches, "mixed8")
    for number in (0, 1):
        x = _block_8(x, number)
    return x


InceptionV3 = application(
    "InceptionV3",
    Architecture("inception_v3", _body, dense_top(), size=299, smallest=75),
    "Szegedy et al., 2015, arXiv:1512.00567",
    __name__,
)
preprocess_input = preprocessing("tf", __name__)
