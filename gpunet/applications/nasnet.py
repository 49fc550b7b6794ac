"""NASNetMobile, NASNetLarge: two kinds of cells that a search found."""

from gpunet.applications.assembly import Architecture, assemble, dense_top, image_size, refuse
from gpunet.applications.imagenet_utils import decode_predictions, preprocessing
from gpunet.applications.parts import batch_norm, channels, joined, padded
from gpunet.layers import (
    Activation,
    Add,
    AveragePooling2D,
    Conv2D,
    Cropping2D,
    MaxPooling2D,
    SeparableConv2D,
    ZeroPadding2D,
)

__all__ = ["NASNetMobile", "NASNetLarge", "preprocess_input", "decode_predictions"]

_DOC = """Make a model that tells 1,000 kinds of things on images apart, or the part that sees.

    Args:
        input_shape: tuple, {size}x{size} pixels in 3 colours by default, at least 32x32.
        include_top: bool, with the layers that predict; without, the model gives features.
        weights: ``'imagenet'``, None or the path of a file.
        input_tensor: symbolic tensor to use as the images.
        pooling: without top, ``'avg'``, ``'max'`` or None.
        classes: int, number of classes with random weights.
        classifier_activation: of the last layer; None gives logits.
        **kwargs: none.

    Returns:
        Model ``NASNet``.

    Raises:
        ValueError: arguments that don't fit.

    Reference:
        Zoph et al., 2017, arXiv:1707.07012.
    """


def _nasnet(title, size, stem, blocks, filters, skip):
    """Return the function that makes NASNets.

    Args:
        title: str, its name.
        size: int, of the images.
        stem: int, filters of the first convolution.
        blocks: int, cells between two halvings.
        filters: int, of the first stack.
        skip: bool, whether cells after a halving look past it.
    """

    def body(x):
        x = _conv(x, stem, "stem_conv1", 3, strides=2, padding="valid")
        x = _norm(x, "stem_bn1")
        x, before = _reduction(x, None, filters // 4, "stem_1"), x
        x, before = _reduction(x, before, filters // 2, "stem_2"), x
        for stack in range(3):
            width = filters * 2**stack
            if stack:
                halved = _reduction(x, before, width, f"reduce_{stack * blocks}")
                x, before = halved, before if skip else x
            for n in range(blocks):
                number = stack * blocks + n + (stack > 0)
                x, before = _normal(x, before, width, number), x
        return Activation("relu")(x)

    architecture = Architecture(
        "NASNet", body, dense_top(pool=None), size, files=f"nasnet_{title[6:].lower()}"
    )

    def build(
        input_shape=None,
        include_top=True,
        weights="imagenet",
        input_tensor=None,
        pooling=None,
        classes=1000,
        classifier_activation="softmax",
        **kwargs,
    ):
        refuse(title, kwargs)
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
    build.__doc__ = _DOC.format(size=size)
    return build


# -- parts ------------------------------------------------------------------------------------


def _conv(x, filters, name, size=1, **options):
    options = {"padding": "same", "kernel_initializer": "he_normal", **options}
    return Conv2D(filters, size, use_bias=False, name=name, **options)(x)


def _norm(x, name):
    return batch_norm(x, name, momentum=0.9997, epsilon=1e-3)


def _projected(x, filters, conv, norm):
    return _norm(_conv(Activation("relu")(x), filters, conv), norm)


def _pooled(x, name, strides=1, kind=AveragePooling2D):
    padding = "same" if strides == 1 else "valid"
    return kind(3, strides=strides, padding=padding, name=name)(x)


def _separable(x, filters, kernel, name, strides=1):
    """Convolve twice, channels apart; the first one may halve the size."""
    x = Activation("relu")(x)
    if strides == 2:
        x = padded(x, kernel, f"separable_conv_1_pad_{name}")
    for n in (1, 2):
        if n == 2:
            x = Activation("relu")(x)
        halves = strides == 2 and n == 1
        x = SeparableConv2D(
            filters,
            kernel,
            strides=2 if halves else 1,
            padding="valid" if halves else "same",
            use_bias=False,
            kernel_initializer="he_normal",
            name=f"separable_conv_{n}_{name}",
        )(x)
        x = _norm(x, f"separable_conv_{n}_bn_{name}")
    return x


def _adjusted(before, x, filters, name):
    """Bring what an earlier cell gave to the size of a tensor and a number of filters."""
    if before is None:
        return x
    if image_size(before.shape[1:])[1] != image_size(x.shape[1:])[1]:
        before = Activation("relu", name=f"adjust_relu_1_{name}")(before)
        shifted = Cropping2D(((1, 0), (1, 0)))(ZeroPadding2D(((0, 1), (0, 1)))(before))
        halves = [
            _conv(
                AveragePooling2D(1, strides=2, name=f"adjust_avg_pool_{n}_{name}")(part),
                filters // 2,
                f"adjust_conv_{n}_{name}",
            )
            for n, part in ((1, before), (2, shifted))
        ]
        return _norm(joined(halves), f"adjust_bn_{name}")
    if channels(before) != filters:
        conv, norm = f"adjust_conv_projection_{name}", f"adjust_bn_{name}"
        return _projected(before, filters, conv, norm)
    return before


def _normal(x, before, filters, number):
    """Join what is made of a cell's output and of the one before it; the size stays."""
    p = _adjusted(before, x, filters, number)
    h = _projected(x, filters, f"normal_conv_1_{number}", f"normal_bn_1_{number}")

    def add(parts, n):
        return Add(name=f"normal_add_{n}_{number}")(parts)

    def separable(t, kernel, side):
        return _separable(t, filters, kernel, f"normal_{side}_{number}")

    def pooled(t, side):
        return _pooled(t, f"normal_{side}_{number}")

    parts = [
        p,
        add([separable(h, 5, "left1"), separable(p, 3, "right1")], 1),
        add([separable(p, 5, "left2"), separable(p, 3, "right2")], 2),
        add([pooled(h, "left3"), p], 3),
        add([pooled(p, "left4"), pooled(p, "right4")], 4),
        add([separable(h, 3, "left5"), h], 5),
    ]
    return joined(parts, f"normal_concat_{number}")


def _reduction(x, before, filters, name):
    """Join what is made of a cell's output and of the one before it, at half the size."""
    p = _adjusted(before, x, filters, name)
    h = _projected(x, filters, f"reduction_conv_1_{name}", f"reduction_bn_1_{name}")
    wide = padded(h, 3, f"reduction_pad_1_{name}")

    def separable(t, kernel, side, strides=2):
        return _separable(t, filters, kernel, f"reduction_{side}_{name}", strides)

    def pooled(t, side, kind=AveragePooling2D, strides=2):
        return _pooled(t, f"reduction_{side}_{name}", strides, kind)

    def add(parts, n):
        return Add(name=n and f"reduction_add{n}_{name}")(parts)

    x1 = add([separable(h, 5, "left1"), separable(p, 7, "right1")], "_1")
    x2 = add([pooled(wide, "left2", MaxPooling2D), separable(p, 7, "right2")], "_2")
    x3 = add([pooled(wide, "left3"), separable(p, 5, "right3")], "3")
    x4 = add([x2, pooled(x1, "left4", strides=1)], None)
    x5 = separable(x1, 3, "left4", strides=1)
    x5 = add([x5, pooled(wide, "right5", MaxPooling2D)], "4")
    return joined([x2, x3, x4, x5], f"reduction_concat_{name}")


NASNetMobile = _nasnet("NASNetMobile", 224, 32, 4, 44, skip=False)
NASNetLarge = _nasnet("NASNetLarge", 331, 96, 6, 168, skip=True)
preprocess_input = preprocessing("tf", __name__)
