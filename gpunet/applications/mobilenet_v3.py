"""MobileNetV3Small, MobileNetV3Large."""

from gpunet.applications.assembly import Architecture, assemble
from gpunet.applications.imagenet_utils import decode_predictions, preprocessing
from gpunet.applications.parts import batch_norm, channels, padded, rounded
from gpunet.layers import (
    Activation,
    Add,
    Conv2D,
    DepthwiseConv2D,
    Dropout,
    Flatten,
    GlobalAveragePooling2D,
    Multiply,
    ReLU,
    Rescaling,
)

__all__ = ["MobileNetV3Small", "MobileNetV3Large", "preprocess_input", "decode_predictions"]

# widening, filters, stride, what the full version has: 5x5 kernels, weighed channels, hard swish
_SMALL = (
    (1, 16, 2, "se"),
    (72 / 16, 24, 2, ""),
    (88 / 24, 24, 1, ""),
    (4, 40, 2, "5 se swish"),
    (6, 40, 1, "5 se swish"),
    (6, 40, 1, "5 se swish"),
    (3, 48, 1, "5 se swish"),
    (3, 48, 1, "5 se swish"),
    (6, 96, 2, "5 se swish"),
    (6, 96, 1, "5 se swish"),
    (6, 96, 1, "5 se swish"),
)
_LARGE = (
    (1, 16, 1, ""),
    (4, 24, 2, ""),
    (3, 24, 1, ""),
    (3, 40, 2, "5 se"),
    (3, 40, 1, "5 se"),
    (3, 40, 1, "5 se"),
    (6, 80, 2, "swish"),
    (2.5, 80, 1, "swish"),
    (2.3, 80, 1, "swish"),
    (2.3, 80, 1, "swish"),
    (6, 112, 1, "se swish"),
    (6, 112, 1, "se swish"),
    (6, 160, 2, "5 se swish"),
    (6, 160, 1, "5 se swish"),
    (6, 160, 1, "5 se swish"),
)

_DOC = """Make a model that tells 1,000 kinds of things on images apart, or the part that sees.

    Args:
        input_shape: tuple; images of any size from 32x32 in 3 colours by default.
        alpha: float, factor for the numbers of filters.
        minimalistic: bool, without 5x5 kernels, weighed channels and hard swish.
        include_top: bool, with the layers that predict; without, the model gives features.
        weights: ``'imagenet'``, None or the path of a file.
        input_tensor: symbolic tensor to use as the images.
        classes: int, number of classes with random weights.
        pooling: without top, ``'avg'``, ``'max'`` or None.
        dropout_rate: float, rate before the last layer.
        classifier_activation: of the last layer; None gives logits.
        include_preprocessing: bool, scale images from 0 to 255 within the model.

    Returns:
        Model {name!r}.

    Raises:
        ValueError: arguments that don't fit; weights that there are none of.

    Reference:
        Howard et al., 2019, arXiv:1905.02244.
    """


def _mobilenet_v3(title, kind, blocks, last):
    """Return the function for one size.

    Args:
        title: str, its name.
        kind: ``'small'`` or ``'large'``.
        blocks: tuple of blocks.
        last: int, filters before the predictions.
    """

    def build(
        input_shape=None,
        alpha=1.0,
        minimalistic=False,
        include_top=True,
        weights="imagenet",
        input_tensor=None,
        classes=1000,
        pooling=None,
        dropout_rate=0.2,
        classifier_activation="softmax",
        include_preprocessing=True,
    ):
        _check(title, weights, alpha, minimalistic)

        def body(x):
            return _body(x, blocks, alpha, minimalistic)

        def top(x, classes, activation):
            x = GlobalAveragePooling2D(keepdims=True)(x)
            x = Conv2D(rounded(last * max(alpha, 1.0)), 1, padding="same", name="Conv_2")(x)
            x = _active(x, not minimalistic)
            if dropout_rate > 0:
                x = Dropout(dropout_rate)(x)
            x = Conv2D(classes, 1, padding="same", name="Logits")(x)
            return Activation(activation, name="Predictions")(Flatten()(x))

        def prepare(x, imagenet):
            return Rescaling(1 / 127.5, offset=-1.0)(x) if include_preprocessing else x

        variant = f"{kind}{'_minimalistic' if minimalistic else ''}_224_{alpha}"
        architecture = Architecture(
            f"MobilenetV3{kind}",
            body,
            top,
            named_pools=True,
            fixed_size=False,
            files=f"mobilenet_v3_{variant}",
            prepare=prepare,
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

    build.__name__ = build.__qualname__ = title
    build.__doc__ = _DOC.format(name=f"MobilenetV3{kind}")
    return build


def _check(title, weights, alpha, minimalistic):
    if weights != "imagenet":
        return
    published = (1.0,) if minimalistic else (0.75, 1.0)
    if alpha not in published:
        raise ValueError(
            f"{title}: the weights 'imagenet' are for alpha {published} with "
            f"minimalistic={minimalistic}, got {alpha}"
        )


def _body(x, blocks, alpha, minimalistic):
    swish = not minimalistic
    x = Conv2D(16, 3, strides=2, padding="same", use_bias=False, name="Conv")(x)
    x = _active(_norm(x, "Conv"), swish)
    for number, (widening, filters, stride, has) in enumerate(blocks):
        has = set() if minimalistic else set(has.split())
        x = _block(x, number, widening, rounded(filters * alpha), stride, has)
    x = Conv2D(rounded(channels(x) * 6), 1, padding="same", use_bias=False, name="Conv_1")(x)
    return _active(_norm(x, "Conv_1"), swish)


def _norm(x, name):
    return batch_norm(x, f"{name}/BatchNorm", epsilon=1e-3, momentum=0.999)


def _hard_sigmoid(x):
    return ReLU(6.0)(x + 3.0) * (1.0 / 6.0)


def _active(x, swish):
    """Apply hard swish, or cut off what is negative."""
    return Multiply()([x, _hard_sigmoid(x)]) if swish else ReLU()(x)


def _weighed(x, prefix):
    """Weigh the channels by what a small network makes of their means."""
    prefix, count = f"{prefix}squeeze_excite/", channels(x)
    mean = GlobalAveragePooling2D(keepdims=True, name=prefix + "AvgPool")(x)
    weights = Conv2D(rounded(count * 0.25), 1, padding="same", name=prefix + "Conv")(mean)
    weights = ReLU(name=prefix + "Relu")(weights)
    weights = Conv2D(count, 1, padding="same", name=prefix + "Conv_1")(weights)
    return Multiply(name=prefix + "Mul")([x, _hard_sigmoid(weights)])


def _block(x, number, widening, filters, stride, has):
    """Widen a tensor, convolve each channel by itself, narrow it again."""
    before, kernel, swish = x, 5 if "5" in has else 3, "swish" in has
    prefix = f"expanded_conv_{number}/" if number else "expanded_conv/"
    if number:
        wide = rounded(channels(x) * widening)
        x = Conv2D(wide, 1, padding="same", use_bias=False, name=prefix + "expand")(x)
        x = _active(_norm(x, prefix + "expand"), swish)
    if stride == 2:
        x = padded(x, kernel, prefix + "depthwise/pad")
    x = DepthwiseConv2D(
        kernel,
        strides=stride,
        padding="valid" if stride == 2 else "same",
        use_bias=False,
        name=prefix + "depthwise",
    )(x)
    x = _active(_norm(x, prefix + "depthwise"), swish)
    if "se" in has:
        x = _weighed(x, prefix)
    x = Conv2D(filters, 1, padding="same", use_bias=False, name=prefix + "project")(x)
    x = _norm(x, prefix + "project")
    if stride == 1 and channels(before) == filters:
        x = Add(name=prefix + "Add")([before, x])
    return x


MobileNetV3Small = _mobilenet_v3("MobileNetV3Small", "small", _SMALL, 1024)
MobileNetV3Large = _mobilenet_v3("MobileNetV3Large", "large", _LARGE, 1280)
preprocess_input = preprocessing(None, __name__)
