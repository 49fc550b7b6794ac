"""The layers of VGG16 and VGG19."""

from gpunet.applications.assembly import Architecture
from gpunet.layers import Conv2D, Dense, Flatten, MaxPooling2D

__all__ = ["vgg", "REFERENCE"]

REFERENCE = "Simonyan and Zisserman, 2014, arXiv:1409.1556"

_FILTERS = (64, 128, 256, 512, 512)


def vgg(name, convolutions):
    """Return the Architecture with so many convolutions in each of five blocks."""

    def body(x):
        for block, (filters, count) in enumerate(zip(_FILTERS, convolutions, strict=True), 1):
            for n in range(1, count + 1):
                conv = f"block{block}_conv{n}"
                x = Conv2D(filters, 3, padding="same", activation="relu", name=conv)(x)
            x = MaxPooling2D(2, strides=2, name=f"block{block}_pool")(x)
        return x

    return Architecture(name, body, _top)


def _top(x, classes, activation):
    x = Flatten(name="flatten")(x)
    for name in ("fc1", "fc2"):
        x = Dense(4096, activation="relu", name=name)(x)
    return Dense(classes, activation=activation, name="predictions")(x)
