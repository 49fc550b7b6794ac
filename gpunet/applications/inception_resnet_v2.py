"""InceptionResNetV2: blocks of parallel branches, scaled and added to what goes in."""

from gpunet.applications.assembly import Architecture, application, dense_top
from gpunet.applications.imagenet_utils import decode_predictions, preprocessing
from gpunet.applications.parts import batch_norm, channels, joined
from gpunet.applications.scaling import CustomScaleLayer
from gpunet.layers import Activation, AveragePooling2D, Conv2D, MaxPooling2D

__all__ = ["InceptionResNetV2", "CustomScaleLayer", "preprocess_input", "decode_predictions"]


def _conv(x, filters, size, strides=1, padding="same", name=None):
    x = Conv2D(filters, size, strides=strides, padding=padding, use_bias=False, name=name)(x)
    x = batch_norm(x, name and f"{name}_bn", scale=False)
    return Activation("relu", name=name and f"{name}_ac")(x)


def _branch(x, *steps, halve=False):
    """Convolve by (filters, size) after (filters, size); the last one may halve the size."""
    for n, (filters, size) in enumerate(steps, 1):
        last = halve and n == len(steps)
        x = _conv(x, filters, size, *((2, "valid") if last else ()))
    return x


# kind of block -> its branches
_BRANCHES = {
    "block35": [[(32, 1)], [(32, 1), (32, 3)], [(32, 1), (48, 3), (64, 3)]],
    "block17": [[(192, 1)], [(128, 1), (160, (1, 7)), (192, (7, 1))]],
    "block8": [[(192, 1)], [(192, 1), (224, (1, 3)), (256, (3, 1))]],
}


def _block(x, kind, number, scale, activation="relu"):
    name = f"{kind}_{number}"
    mixed = joined([_branch(x, *steps) for steps in _BRANCHES[kind]], f"{name}_mixed")
    up = Conv2D(channels(x), 1, padding="same", name=f"{name}_conv")(mixed)
    x = CustomScaleLayer(scale)([x, up])
    return x if activation is None else Activation(activation, name=f"{name}_ac")(x)


def _halved(x, name, *branches):
    """Join branches that halve the size, the last one by its maximum."""
    parts = [_branch(x, *steps, halve=True) for steps in branches]
    return joined([*parts, MaxPooling2D(3, strides=2)(x)], name)


def _body(x):
    x = _conv(x, 32, 3, 2, "valid")
    x = _conv(x, 32, 3, padding="valid")
    x = _conv(x, 64, 3)
    x = MaxPooling2D(3, strides=2)(x)
    x = _conv(x, 80, 1, padding="valid")
    x = _conv(x, 192, 3, padding="valid")
    x = MaxPooling2D(3, strides=2)(x)
    branches = [
        _branch(x, (96, 1)),
        _branch(x, (48, 1), (64, 5)),
        _branch(x, (64, 1), (96, 3), (96, 3)),
        _conv(AveragePooling2D(3, strides=1, padding="same")(x), 64, 1),
    ]
    x = joined(branches, "mixed_5b")
    for number in range(1, 11):
        x = _block(x, "block35", number, 0.17)
    x = _halved(x, "mixed_6a", [(384, 3)], [(256, 1), (256, 3), (384, 3)])
    for number in range(1, 21):
        x = _block(x, "block17", number, 0.1)
    x = _halved(
        x, "mixed_7a", [(256, 1), (384, 3)], [(256, 1), (288, 3)], [(256, 1), (288, 3), (320, 3)]
    )
    for number in range(1, 10):
        x = _block(x, "block8", number, 0.2)
    x = _block(x, "block8", 10, 1.0, activation=None)
    return _conv(x, 1536, 1, name="conv_7b")


InceptionResNetV2 = application(
    "InceptionResNetV2",
    Architecture("inception_resnet_v2", _body, dense_top(), size=299, smallest=75),
    "Szegedy et al., 2016, arXiv:1602.07261",
    __name__,
)
preprocess_input = preprocessing("tf", __name__)
