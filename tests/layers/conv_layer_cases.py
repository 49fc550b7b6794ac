"""Cases of convolution and its neighbours; references loop over places, see conv_cases."""

import sys
from pathlib import Path

import numpy as np
from layer_cases import Case

from gpunet import layers

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "ops"))

from conv_cases import bilinear, conv, local_conv, nearest


def convolution(activation=None, **options):
    def expected(x, kernel, bias=None):
        y = conv(x, kernel, bias, **options)
        return y if activation is None else activation(y)

    return expected


def first(expected):
    """Return a reference for channels-first inputs."""

    def moved(x, *weights):
        return np.moveaxis(expected(np.moveaxis(x, 1, -1), *weights), -1, 1)

    return moved


def depthwise(**options):
    def expected(x, kernel, bias=0):
        channels = kernel.shape[-2]
        kernel = kernel.reshape(*kernel.shape[:-2], 1, -1)
        return conv(x, kernel, groups=channels, **options) + bias

    return expected


def separable(**options):
    def expected(x, depth, point, bias=0):
        return conv(depthwise(**options)(x, depth), point) + bias

    return expected


def transposed(strides, cut=0, more=0):
    """Reference for one spatial axis: every input adds a scaled kernel to the output."""

    def expected(x, kernel, bias):
        k, filters, _ = kernel.shape
        y = np.zeros((len(x), (x.shape[1] - 1) * strides + k + more, filters), x.dtype)
        for i in range(x.shape[1]):
            y[:, i * strides : i * strides + k] += np.einsum("nc,kfc->nkf", x[:, i], kernel)
        return y[:, cut : y.shape[1] - (k - strides - cut if cut else 0)] + bias

    return expected


def relu(x):
    return np.maximum(x, 0)


def local(kernel_size, strides):
    def expected(x, kernel, bias):
        return local_conv(x, kernel, kernel_size, strides=strides) + bias

    return expected


WEIGHTED = [
    Case(layers.Conv1D, [(7, 3)], {"filters": 4, "kernel_size": 3}, convolution(), wrong=[(2, 7)]),
    Case(layers.Conv1D, [(7, 3)], {"filters": 4, "kernel_size": 2, "padding": "causal",
                                   "dilation_rate": 3}, convolution(padding="causal", dilation=3)),
    Case(layers.Conv2D, [(6, 5, 3)], {"filters": 4, "kernel_size": (3, 2), "strides": (2, 1),
                                      "padding": "same", "activation": "relu"},
         convolution(relu, strides=(2, 1), padding="same"),
         wrong=[(2, 5, 3), (2, 6, 5, 3, 1)]),
    Case(layers.Conv2D, [(4, 6, 5)], {"filters": 6, "kernel_size": 2, "groups": 2,
                                      "data_format": "channels_first", "activation": "tanh"},
         first(convolution(np.tanh, groups=2)), free=False),
    Case(layers.Conv3D, [(4, 3, 5, 2)], {"filters": 3, "kernel_size": 2, "use_bias": False},
         convolution()),
    Case(layers.Conv1DTranspose, [(4, 2)], {"filters": 3, "kernel_size": 3, "strides": 2},
         transposed(2)),
    Case(layers.Conv1DTranspose, [(4, 2)],
         {"filters": 3, "kernel_size": 4, "strides": 2, "padding": "same"}, transposed(2, 1)),
    Case(layers.Conv1DTranspose, [(4, 2)],
         {"filters": 3, "kernel_size": 3, "strides": 2, "output_padding": 1}, transposed(2, 0, 1)),
    Case(layers.Conv2DTranspose, [(4, 1, 2)],
         {"filters": 3, "kernel_size": (3, 1), "strides": (2, 1)},
         lambda x, k, b: transposed(2)(x[:, :, 0], k[:, 0], b)[:, :, None]),
    Case(layers.Conv3DTranspose, [(1, 4, 1, 2)],
         {"filters": 3, "kernel_size": (1, 3, 1), "strides": (1, 2, 1)},
         lambda x, k, b: transposed(2)(x[:, 0, :, 0], k[0, :, 0], b)[:, None, :, None]),
    Case(layers.DepthwiseConv1D, [(7, 3)], {"kernel_size": 3, "depth_multiplier": 2}, depthwise()),
    Case(layers.DepthwiseConv2D, [(6, 5, 3)], {"kernel_size": 3, "padding": "same"},
         depthwise(padding="same"), wrong=[(2, 6, 5)]),
    Case(layers.SeparableConv1D, [(7, 3)], {"filters": 4, "kernel_size": 3, "padding": "causal"},
         separable(padding="causal")),
    Case(layers.SeparableConv2D, [(6, 5, 3)],
         {"filters": 4, "kernel_size": 3, "depth_multiplier": 2, "strides": 2},
         separable(strides=2)),
    Case(layers.LocallyConnected1D, [(6, 2)], {"filters": 3, "kernel_size": 3, "strides": 2},
         local((3,), 2), free=False, wrong=[(2, 2, 2)]),
    Case(layers.LocallyConnected2D, [(4, 3, 2)], {"filters": 3, "kernel_size": 2},
         local((2, 2), 1), free=False),
]  # fmt: skip

BORDERS = [
    Case(layers.ZeroPadding1D, [(4, 2)], {"padding": (2, 1)},
         lambda x: np.pad(x, ((0, 0), (2, 1), (0, 0)))),
    Case(layers.ZeroPadding2D, [(4, 3, 2)], {"padding": (2, 1)},
         lambda x: np.pad(x, ((0, 0), (2, 2), (1, 1), (0, 0)))),
    Case(layers.ZeroPadding3D, [(4, 3, 2, 2)], {"data_format": "channels_first"},
         lambda x: np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1), (1, 1))), free=False),
    Case(layers.Cropping1D, [(4, 2)], {"cropping": (0, 2)}, lambda x: x[:, :2],
         wrong=[(2, 2, 3), (2, 3)]),
    Case(layers.Cropping2D, [(4, 3, 2)], {"cropping": ((1, 0), (0, 2))}, lambda x: x[:, 1:, :1]),
    Case(layers.Cropping3D, [(3, 4, 3, 2)], {}, lambda x: x[:, 1:-1, 1:-1, 1:-1]),
    Case(layers.UpSampling1D, [(4, 2)], {"size": 3}, lambda x: nearest(x, (3,))),
    Case(layers.UpSampling2D, [(4, 3, 2)], {}, lambda x: nearest(x, (2, 2))),
    Case(layers.UpSampling2D, [(2, 3, 4)], {"size": (3, 2), "interpolation": "bilinear",
                                            "data_format": "channels_first"},
         lambda x: bilinear(x, (3, 2), 2, "bilinear"), free=False),
    Case(layers.UpSampling3D, [(2, 1, 3, 2)], {}, lambda x: nearest(x, (2, 2, 2))),
]  # fmt: skip

CASES = WEIGHTED + BORDERS
