"""MobileNet."""

from gpunet.applications.assembly import (
    Architecture,
    assemble,
    refuse,
    trained_size,
)
from gpunet.applications.imagenet_utils import decode_predictions, preprocessing
from gpunet.applications.parts import batch_norm
from gpunet.layers import (
    Activation,
    Conv2D,
    DepthwiseConv2D,
    Dropout,
    GlobalAveragePooling2D,
    ReLU,
    Reshape,
    ZeroPadding2D,
)

__all__ = ["MobileNet", "preprocess_input", "decode_predictions"]

# (filters, stride) of the 13 blocks
_BLOCKS = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    *[(512, 1)] * 5,
    (1024, 2),
    (1024, 1),
)
_ALPHAS, _SIZES = (0.25, 0.5, 0.75, 1.0), (128, 160, 192, 224)


def MobileNet(
    input_shape=None,
    alpha=1.0,
    depth_multiplier=1,
    dropout=1e-3,
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
        depth_multiplier: int, filters of each depthwise convolution for one channel.
        dropout: float, rate before the last layer.
        include_top: bool, with the layers that predict; without, the model gives features.
        weights: ``'imagenet'``, None or the path of a file.
        input_tensor: symbolic tensor to use as the images.
        pooling: without top, ``'avg'``, ``'max'`` or None.
        classes: int, number of classes with random weights.
        classifier_activation: of the last layer; None gives logits.
        **kwargs: none.

    Returns:
        Model ``mobilenet_ALPHA_SIZE``.

    Raises:
        ValueError: arguments that don't fit; weights that there are none of.

    Reference:
        Howard et al., 2017, arXiv:1704.04861.
    """
    refuse("MobileNet", kwargs)
    if weights == "imagenet" and (alpha not in _ALPHAS or depth_multiplier != 1):
        raise ValueError(
            f"MobileNet: the weights 'imagenet' are for alpha {_ALPHAS} and depth_multiplier 1, "
            f"got {alpha} and {depth_multiplier}"
        )
    size, rows = trained_size(_SIZES, input_shape, input_tensor, include_top)

    def body(x):
        x = Conv2D(int(32 * alpha), 3, strides=2, padding="same", use_bias=False, name="conv1")(x)
        x = ReLU(6.0, name="conv1_relu")(batch_norm(x, "conv1_bn"))
        for number, (filters, stride) in enumerate(_BLOCKS, 1):
            x = _block(x, int(filters * alpha), depth_multiplier, stride, number)
        return x

    def top(x, classes, activation):
        x = GlobalAveragePooling2D(keepdims=True)(x)
        x = Dropout(dropout, name="dropout")(x)
        x = Conv2D(classes, 1, padding="same", name="conv_preds")(x)
        x = Reshape((classes,), name="reshape_2")(x)
        return Activation(activation, name="predictions")(x)

    architecture = Architecture(
        f"mobilenet_{alpha:0.2f}_{rows if weights != 'imagenet' else size}",
        body,
        top,
        size,
        files=f"mobilenet_{alpha:0.2f}_{size}",
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


def _block(x, filters, multiplier, stride, number):
    """Convolve each channel by itself, then mix them."""
    if stride > 1:
        x = ZeroPadding2D(((0, 1), (0, 1)), name=f"conv_pad_{number}")(x)
    x = DepthwiseConv2D(
        3,
        strides=stride,
        padding="same" if stride == 1 else "valid",
        depth_multiplier=multiplier,
        use_bias=False,
        name=f"conv_dw_{number}",
    )(x)
    x = ReLU(6.0, name=f"conv_dw_{number}_relu")(batch_norm(x, f"conv_dw_{number}_bn"))
    x = Conv2D(filters, 1, padding="same", use_bias=False, name=f"conv_pw_{number}")(x)
    return ReLU(6.0, name=f"conv_pw_{number}_relu")(batch_norm(x, f"conv_pw_{number}_bn"))


preprocess_input = preprocessing("tf", __name__)
