"""EfficientNetB0 to EfficientNetB7: one network, scaled in width, depth and size of the images."""

import functools
import math

import numpy as np

from gpunet.applications.assembly import Architecture, application
from gpunet.applications.imagenet_utils import decode_predictions, preprocessing
from gpunet.applications.parts import batch_norm, channel_axis, channels, padded, rounded
from gpunet.layers import (
    Activation,
    Add,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Dropout,
    GlobalAveragePooling2D,
    Multiply,
    Normalization,
    Rescaling,
    Reshape,
)

__all__ = [
    *(f"EfficientNetB{n}" for n in range(8)),
    "preprocess_input",
    "decode_predictions",
]

# kernel, blocks, filters, widening, stride of the first block
_STACKS = (
    (3, 1, 16, 1, 1),
    (3, 2, 24, 6, 2),
    (5, 2, 40, 6, 2),
    (3, 3, 80, 6, 2),
    (5, 3, 112, 6, 1),
    (5, 4, 192, 6, 2),
    (3, 1, 320, 6, 1),
)
# The published weights expect the colours divided by these once more, by mistake of their time.
_DEVIATIONS = (0.229, 0.224, 0.225)

_NORMAL = {"scale": 2.0, "mode": "fan_out", "distribution": "truncated_normal"}
_UNIFORM = {"scale": 1.0 / 3.0, "mode": "fan_out", "distribution": "uniform"}


def _scaled(kind):
    return {"class_name": "VarianceScaling", "config": kind}


def _architecture(
    title,
    width,
    depth,
    size,
    dropout,
    drop_connect_rate=0.2,
    depth_divisor=8,
    activation="swish",
):
    """Return the Architecture of one size.

    Args:
        title: str.
        width: float, factor for the numbers of filters.
        depth: float, factor for the numbers of blocks.
        size: int, of the images.
        dropout: float, rate before the last layer.
        drop_connect_rate: float, rate at which the last block is left out; earlier ones less.
        depth_divisor: int, numbers of filters are multiples of it.
        activation: str or function.
    """

    def filters(count):
        return rounded(count * width, depth_divisor)

    def body(x):
        x = padded(x, 3, "stem_conv_pad")
        x = _conv(x, filters(32), 3, "stem_conv", strides=2, padding="valid")
        x = Activation(activation, name="stem_activation")(batch_norm(x, "stem_bn"))
        counts = [math.ceil(depth * blocks) for _, blocks, *_ in _STACKS]
        done = 0
        for stack, (kernel, _, count, widening, stride) in enumerate(_STACKS):
            for n in range(counts[stack]):
                x = _block(
                    x,
                    f"block{stack + 1}{chr(ord('a') + n)}_",
                    filters(count),
                    kernel,
                    widening,
                    stride if n == 0 else 1,
                    drop_connect_rate * done / sum(counts),
                    activation,
                )
                done += 1
        x = _conv(x, filters(1280), 1, "top_conv")
        return Activation(activation, name="top_activation")(batch_norm(x, "top_bn"))

    def top(x, classes, activation):
        x = GlobalAveragePooling2D(name="avg_pool")(x)
        if dropout > 0:
            x = Dropout(dropout, name="top_dropout")(x)
        uniform = _scaled(_UNIFORM)
        return Dense(
            classes, activation=activation, kernel_initializer=uniform, name="predictions"
        )(x)

    return Architecture(title.lower(), body, top, size, named_pools=True, prepare=_prepare)


def _prepare(x, imagenet):
    """Normalize the images within the model."""
    x = Normalization(axis=channel_axis())(Rescaling(1.0 / 255.0)(x))
    if not imagenet:
        return x
    scale = 1 / np.sqrt(_DEVIATIONS)
    return Rescaling((scale if channel_axis() == -1 else scale[:, None, None]).tolist())(x)


def _conv(x, filters, size, name, padding="same", use_bias=False, **options):
    return Conv2D(
        filters,
        size,
        padding=padding,
        use_bias=use_bias,
        kernel_initializer=_scaled(_NORMAL),
        name=name,
        **options,
    )(x)


def _excited(x, prefix, filters, activation):
    """Weigh the channels by what a small network makes of their means."""
    count = channels(x)
    mean = GlobalAveragePooling2D(name=prefix + "se_squeeze")(x)
    shape = (1, 1, count) if channel_axis() == -1 else (count, 1, 1)
    mean = Reshape(shape, name=prefix + "se_reshape")(mean)
    weights = _conv(mean, filters, 1, prefix + "se_reduce", use_bias=True, activation=activation)
    weights = _conv(weights, count, 1, prefix + "se_expand", use_bias=True, activation="sigmoid")
    return Multiply(name=prefix + "se_excite")([x, weights])


def _block(before, prefix, filters, kernel, widening, stride, drop_rate, activation):
    """Widen a tensor, convolve each channel by itself, weigh the channels, narrow it again."""
    x, count = before, channels(before)
    if widening != 1:
        x = _conv(x, count * widening, 1, prefix + "expand_conv")
        x = batch_norm(x, prefix + "expand_bn")
        x = Activation(activation, name=prefix + "expand_activation")(x)
    if stride == 2:
        x = padded(x, kernel, prefix + "dwconv_pad")
    x = DepthwiseConv2D(
        kernel,
        strides=stride,
        padding="valid" if stride == 2 else "same",
        use_bias=False,
        depthwise_initializer=_scaled(_NORMAL),
        name=prefix + "dwconv",
    )(x)
    x = Activation(activation, name=prefix + "activation")(batch_norm(x, prefix + "bn"))
    x = _excited(x, prefix, max(1, count // 4), activation)
    x = batch_norm(_conv(x, filters, 1, prefix + "project_conv"), prefix + "project_bn")
    if stride == 1 and count == filters:
        if drop_rate > 0:
            # Whole images are left out.
            x = Dropout(drop_rate, noise_shape=(None, 1, 1, 1), name=prefix + "drop")(x)
        x = Add(name=prefix + "add")([x, before])
    return x


def _efficientnet(title, *scales):
    vary = functools.partial(_architecture, title, *scales)
    options = ("drop_connect_rate", "depth_divisor", "activation")
    return application(title, vary(), "Tan and Le, 2019, arXiv:1905.11946", __name__, vary, options)


EfficientNetB0 = _efficientnet("EfficientNetB0", 1.0, 1.0, 224, 0.2)
EfficientNetB1 = _efficientnet("EfficientNetB1", 1.0, 1.1, 240, 0.2)
EfficientNetB2 = _efficientnet("EfficientNetB2", 1.1, 1.2, 260, 0.3)
EfficientNetB3 = _efficientnet("EfficientNetB3", 1.2, 1.4, 300, 0.3)
EfficientNetB4 = _efficientnet("EfficientNetB4", 1.4, 1.8, 380, 0.4)
EfficientNetB5 = _efficientnet("EfficientNetB5", 1.6, 2.2, 456, 0.4)
EfficientNetB6 = _efficientnet("EfficientNetB6", 1.8, 2.6, 528, 0.5)
EfficientNetB7 = _efficientnet("EfficientNetB7", 2.0, 3.1, 600, 0.5)
preprocess_input = preprocessing(None, __name__)
