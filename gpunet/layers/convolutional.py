"""Old path of the convolutions and of the layers that go with them."""

from gpunet.layers import convolution, padding, pooling, separable
from gpunet.layers.convolution import *  # noqa: F403
from gpunet.layers.padding import *  # noqa: F403
from gpunet.layers.pooling import *  # noqa: F403
from gpunet.layers.separable import *  # noqa: F403

__all__ = [*convolution.__all__, *padding.__all__, *pooling.__all__, *separable.__all__]
