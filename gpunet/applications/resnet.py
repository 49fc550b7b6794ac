"""ResNet50, ResNet101, ResNet152."""

from gpunet.applications.assembly import Architecture, application, dense_top
from gpunet.applications.imagenet_utils import decode_predictions, preprocessing
from gpunet.applications.parts import batch_norm
from gpunet.layers import Activation, Add, Conv2D, MaxPooling2D, ZeroPadding2D

__all__ = [
    "ResNet50",
    "ResNet101",
    "ResNet152",
    "preprocess_input",
    "decode_predictions",
    "norm",
    "norm_relu",
    "stem",
]


def norm(x, name):
    """Normalize a tensor, with the epsilon of ResNet."""
    return batch_norm(x, name, epsilon=1.001e-5)


def norm_relu(x, name):
    """Normalize a tensor and cut off what is negative."""
    return Activation("relu", name=f"{name}_relu")(norm(x, f"{name}_bn"))


def stem(x, after=lambda x: x):
    """Make the first steps: a quarter of the height and width, 64 channels.

    Args:
        x: images.
        after: function of what the convolution gives.
    """
    x = ZeroPadding2D(3, name="conv1_pad")(x)
    x = after(Conv2D(64, 7, strides=2, name="conv1_conv")(x))
    x = ZeroPadding2D(1, name="pool1_pad")(x)
    return MaxPooling2D(3, strides=2, name="pool1_pool")(x)


def _block(x, filters, stride, name, project):
    """Add to a tensor what a 1x1, a 3x3 and a 1x1 convolution make of it."""
    shortcut = x
    if project:
        shortcut = Conv2D(4 * filters, 1, strides=stride, name=f"{name}_0_conv")(x)
        shortcut = norm(shortcut, f"{name}_0_bn")
    x = Conv2D(filters, 1, strides=stride, name=f"{name}_1_conv")(x)
    x = norm_relu(x, f"{name}_1")
    x = Conv2D(filters, 3, padding="same", name=f"{name}_2_conv")(x)
    x = norm_relu(x, f"{name}_2")
    x = Conv2D(4 * filters, 1, name=f"{name}_3_conv")(x)
    x = norm(x, f"{name}_3_bn")
    x = Add(name=f"{name}_add")([shortcut, x])
    return Activation("relu", name=f"{name}_out")(x)


def _resnet(title, *blocks):
    """Return the function for ResNets with so many blocks in each of four stacks."""

    def body(x):
        x = stem(x, lambda x: norm_relu(x, "conv1"))
        for stack, count in enumerate(blocks):
            for n in range(count):
                stride = 2 if stack > 0 and n == 0 else 1
                name = f"conv{stack + 2}_block{n + 1}"
                x = _block(x, 64 * 2**stack, stride, name, project=n == 0)
        return x

    architecture = Architecture(title.lower(), body, dense_top(), named_pools=True)
    return application(title, architecture, "He et al., 2015, arXiv:1512.03385", __name__)


ResNet50 = _resnet("ResNet50", 3, 4, 6, 3)
ResNet101 = _resnet("ResNet101", 3, 4, 23, 3)
ResNet152 = _resnet("ResNet152", 3, 8, 36, 3)
preprocess_input = preprocessing("caffe", __name__)
