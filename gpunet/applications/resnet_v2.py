"""ResNet50V2, ResNet101V2, ResNet152V2: normalization comes before the convolutions."""

from gpunet.applications.assembly import Architecture, application, dense_top
from gpunet.applications.imagenet_utils import decode_predictions, preprocessing
from gpunet.applications.resnet import norm_relu, stem
from gpunet.layers import Add, Conv2D, MaxPooling2D, ZeroPadding2D

__all__ = ["ResNet50V2", "ResNet101V2", "ResNet152V2", "preprocess_input", "decode_predictions"]


def _block(x, filters, stride, name, project):
    """Add to a tensor what a 1x1, a 3x3 and a 1x1 convolution make of it, normalized first."""
    ready = norm_relu(x, f"{name}_preact")
    if project:
        shortcut = Conv2D(4 * filters, 1, strides=stride, name=f"{name}_0_conv")(ready)
    else:
        shortcut = MaxPooling2D(1, strides=stride)(x) if stride > 1 else x
    x = Conv2D(filters, 1, use_bias=False, name=f"{name}_1_conv")(ready)
    x = norm_relu(x, f"{name}_1")
    x = ZeroPadding2D(1, name=f"{name}_2_pad")(x)
    x = Conv2D(filters, 3, strides=stride, use_bias=False, name=f"{name}_2_conv")(x)
    x = norm_relu(x, f"{name}_2")
    x = Conv2D(4 * filters, 1, name=f"{name}_3_conv")(x)
    return Add(name=f"{name}_out")([shortcut, x])


def _resnet_v2(title, *blocks):
    """Return the function for ResNets with so many blocks in each of four stacks."""

    def body(x):
        x = stem(x)
        for stack, count in enumerate(blocks):
            for n in range(count):
                # The last block of a stack halves the size, but not that of the last stack.
                stride = 2 if stack < 3 and n == count - 1 else 1
                name = f"conv{stack + 2}_block{n + 1}"
                x = _block(x, 64 * 2**stack, stride, name, project=n == 0)
        return norm_relu(x, "post")

    architecture = Architecture(title.lower(), body, dense_top(), named_pools=True)
    return application(title, architecture, "He et al., 2016, arXiv:1603.05027", __name__)


ResNet50V2 = _resnet_v2("ResNet50V2", 3, 4, 6, 3)
ResNet101V2 = _resnet_v2("ResNet101V2", 3, 4, 23, 3)
ResNet152V2 = _resnet_v2("ResNet152V2", 3, 8, 36, 3)
preprocess_input = preprocessing("tf", __name__)
