"""MobileNetV2."""

from gpunet.applications.assembly import (
    Architecture,
    assemble,
    dense_top,
    refuse,
    trained_size,
)
from gpunet.applications.imagenet_utils import decode_predictions, preprocessing
from gpunet.applications.parts import batch_norm, channels, padded, rounded
from gpunet.layers import Add, Conv2D, DepthwiseConv2D, ReLU

__all__ = ["MobileNetV2", "preprocess_input", "decode_predictions"]

# (filters, blocks, stride of the first one)
_STACKS = ((16, 1, 1), (24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1))
_ALPHAS, _SIZES = (0.35, 0.5, 0.75, 1.0, 1.3, 1.4), (96, 128, 160, 192, 224)


def MobileNetV2(
    input_shape=None,
    alpha=1.0,
    include_top=True,
    weights="imagenet",
    input_tensor=None,
    pooling=None,
    classes=1000,
    classifier_activation="softmax",
    **kwargs,
):
    """Make a model that tells 1,000 kinds of things on images apart, or the part that sees.

    Args:
        input_shape: tuple, 224x224 pixels in 3 colours by default, at least 32x32.
        alpha: float, factor for the numbers of filters.
        include_top: bool, with the layers that predict; without, the model gives features.
        weights: ``'imagenet'``, None or the path of a file.
        input_tensor: symbolic tensor to use as the images.
        pooling: without top, ``'avg'``, ``'max'`` or None.
        classes: int, number of classes with random weights.
        classifier_activation: of the last layer; None gives logits.
        **kwargs: none.

    Returns:
        Model ``mobilenetv2_ALPHA_SIZE``.

    Raises:
        ValueError: arguments that don't fit; weights that there are none of.

    Reference:
        Sandler et al., 2018, arXiv:1801.04381.
    """
    refuse("MobileNetV2", kwargs)
    if weights == "imagenet" and alpha not in _ALPHAS:
        raise ValueError(
            f"MobileNetV2: the weights 'imagenet' are for alpha {_ALPHAS}, got {alpha}"
        )
    size, rows = trained_size(_SIZES, input_shape, input_tensor, include_top)

    def body(x):
        x = Conv2D(rounded(32 * alpha), 3, strides=2, padding="same", use_bias=False, name="Conv1")(
            x
        )
        x = ReLU(6.0, name="Conv1_relu")(_norm(x, "bn_Conv1"))
        number = 0
        for filters, blocks, first in _STACKS:
            for n in range(blocks):
                x = _block(x, rounded(int(filters * alpha)), first if n == 0 else 1, number)
                number += 1
        x = Conv2D(rounded(1280 * max(alpha, 1.0)), 1, use_bias=False, name="Conv_1")(x)
        return ReLU(6.0, name="out_relu")(_norm(x, "Conv_1_bn"))

    architecture = Architecture(
        f"mobilenetv2_{alpha:0.2f}_{rows if weights != 'imagenet' else size}",
        body,
        dense_top(pool=None),
        size,
        files=f"mobilenetv2_{alpha:0.2f}_{size}",
    )
    return assemble(
        architecture,
        include_top,
        weights,
        input_tensor,
        input_shape,
        pooling,
        classes,
        classifier_activation,
    )


def _norm(x, name):
    return batch_norm(x, name, epsilon=1e-3, momentum=0.999)


def _block(x, filters, stride, number):
    """Widen a tensor, convolve each channel by itself, narrow it again."""
    before = x
    prefix = f"block_{number}_" if number else "expanded_conv_"
    if number:
        x = Conv2D(6 * channels(x), 1, padding="same", use_bias=False, name=prefix + "expand")(x)
        x = ReLU(6.0, name=prefix + "expand_relu")(_norm(x, prefix + "expand_BN"))
    if stride > 1:
        x = padded(x, 3, prefix + "pad")
    x = DepthwiseConv2D(
        3,
        strides=stride,
        padding="same" if stride == 1 else "valid",
        use_bias=False,
        name=prefix + "depthwise",
    )(x)
    x = ReLU(6.0, name=prefix + "depthwise_relu")(_norm(x, prefix + "depthwise_BN"))
    x = Conv2D(filters, 1, padding="same", use_bias=False, name=prefix + "project")(x)
    x = _norm(x, prefix + "project_BN")
    if stride == 1 and channels(before) == filters:
        x = Add(name=prefix + "add")([before, x])
    return x


preprocess_input = preprocessing("tf", __name__)
