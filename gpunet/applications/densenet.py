"""DenseNet121, DenseNet169, DenseNet201: each block sees all that came before it."""

from gpunet.applications.assembly import Architecture, application, dense_top
from gpunet.applications.imagenet_utils import decode_predictions, preprocessing
from gpunet.applications.parts import channels, joined
from gpunet.applications.resnet import norm
from gpunet.layers import Activation, AveragePooling2D, Conv2D, MaxPooling2D, ZeroPadding2D

__all__ = ["DenseNet121", "DenseNet169", "DenseNet201", "preprocess_input", "decode_predictions"]

_GROWTH = 32  # channels that a block adds


def _norm_relu(x, prefix, separator="_"):
    x = norm(x, f"{prefix}{separator}bn")
    return Activation("relu", name=f"{prefix}{separator}relu")(x)


def _block(x, name):
    """Join new channels, made of all that there are, to a tensor."""
    new = _norm_relu(x, f"{name}_0")
    new = Conv2D(4 * _GROWTH, 1, use_bias=False, name=f"{name}_1_conv")(new)
    new = _norm_relu(new, f"{name}_1")
    new = Conv2D(_GROWTH, 3, padding="same", use_bias=False, name=f"{name}_2_conv")(new)
    return joined([x, new], f"{name}_concat")


def _transition(x, name):
    """Halve the size and the number of channels."""
    x = _norm_relu(x, name)
    x = Conv2D(channels(x) // 2, 1, use_bias=False, name=f"{name}_conv")(x)
    return AveragePooling2D(2, strides=2, name=f"{name}_pool")(x)


def _densenet(title, *blocks):
    """Return the function for DenseNets with so many blocks in each of four stacks."""

    def body(x):
        x = ZeroPadding2D(3)(x)
        x = Conv2D(64, 7, strides=2, use_bias=False, name="conv1/conv")(x)
        x = _norm_relu(x, "conv1", "/")
        x = ZeroPadding2D(1)(x)
        x = MaxPooling2D(3, strides=2, name="pool1")(x)
        for stack, count in enumerate(blocks, 2):
            for n in range(1, count + 1):
                x = _block(x, f"conv{stack}_block{n}")
            if stack <= len(blocks):
                x = _transition(x, f"pool{stack}")
        return _norm_relu(x, "", "")

    architecture = Architecture(title.lower(), body, dense_top(), named_pools=True)
    return application(title, architecture, "Huang et al., 2016, arXiv:1608.06993", __name__)


DenseNet121 = _densenet("DenseNet121", 6, 12, 24, 16)
DenseNet169 = _densenet("DenseNet169", 6, 12, 32, 32)
DenseNet201 = _densenet("DenseNet201", 6, 12, 48, 32)
preprocess_input = preprocessing("torch", __name__)
