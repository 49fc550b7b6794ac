"""Xception: separable convolutions with shortcuts."""

from gpunet.applications.assembly import Architecture, application, dense_top
from gpunet.applications.imagenet_utils import decode_predictions, preprocessing
from gpunet.applications.parts import batch_norm
from gpunet.layers import Activation, Add, Conv2D, MaxPooling2D, SeparableConv2D

__all__ = ["Xception", "preprocess_input", "decode_predictions"]


def _relu(x, name):
    return Activation("relu", name=f"{name}_act")(x)


def _separable(x, filters, name):
    x = SeparableConv2D(filters, 3, padding="same", use_bias=False, name=name)(x)
    return batch_norm(x, f"{name}_bn")


def _halving_block(x, number, *filters, relu_first=True):
    """Convolve twice and halve the size, beside a shortcut that does so at once."""
    shortcut = Conv2D(filters[-1], 1, strides=2, padding="same", use_bias=False)(x)
    shortcut = batch_norm(shortcut)
    for n, count in enumerate(filters, 1):
        name = f"block{number}_sepconv{n}"
        if n > 1 or relu_first:
            x = _relu(x, name)
        x = _separable(x, count, name)
    x = MaxPooling2D(3, strides=2, padding="same", name=f"block{number}_pool")(x)
    return Add()([x, shortcut])


def _middle_block(x, number):
    """Add to a tensor what three convolutions make of it."""
    shortcut = x
    for n in (1, 2, 3):
        name = f"block{number}_sepconv{n}"
        x = _separable(_relu(x, name), 728, name)
    return Add()([x, shortcut])


def _body(x):
    for name, filters, stride in (("block1_conv1", 32, 2), ("block1_conv2", 64, 1)):
        x = Conv2D(filters, 3, strides=stride, use_bias=False, name=name)(x)
        x = _relu(batch_norm(x, f"{name}_bn"), name)
    x = _halving_block(x, 2, 128, 128, relu_first=False)
    x = _halving_block(x, 3, 256, 256)
    x = _halving_block(x, 4, 728, 728)
    for number in range(5, 13):
        x = _middle_block(x, number)
    x = _halving_block(x, 13, 728, 1024)
    for name, filters in (("block14_sepconv1", 1536), ("block14_sepconv2", 2048)):
        x = _relu(_separable(x, filters, name), name)
    return x


Xception = application(
    "Xception",
    Architecture("xception", _body, dense_top(), size=299, smallest=71),
    "Chollet, 2016, arXiv:1610.02357",
    __name__,
)
preprocess_input = preprocessing("tf", __name__)
