"""Normalization, activations, noise, merging and the rest of core for the table of layers."""

import numpy as np
from layer_cases import Case

from gpunet import layers


def same(x, *_):
    return x


def frozen_batch(x, *_):
    return x / np.sqrt(1 + 1e-3)


def standard(*axes):
    def normalized(x, *_):
        axis = tuple(a % x.ndim for a in axes)
        x = x.astype("float64")
        return (x - x.mean(axis, keepdims=True)) / np.sqrt(x.var(axis, keepdims=True) + 1e-3)

    return normalized


def grouped(groups):
    def normalized(x, *_):
        parts = np.stack(np.split(x.astype("float64"), groups, -1))
        axis = tuple(range(2, parts.ndim))
        parts = parts - parts.mean(axis, keepdims=True)
        parts = parts / np.sqrt((parts**2).mean(axis, keepdims=True) + 1e-3)
        return np.concatenate(list(parts), -1)

    return normalized


def leaky(slope):
    return lambda x, *_: np.where(x > 0, x, slope * x)


def softmax(axis):
    def soft(x):
        e = np.exp(x - x.max(axis, keepdims=True))
        return e / e.sum(axis, keepdims=True)

    return soft


def batch_dot(a, b):
    def product(x):
        return np.stack([np.tensordot(p, q, (a - 1, b - 1)) for p, q in zip(*x, strict=True)])

    return product


def mean(x):
    return (x[0] + x[1] + x[2]) / 3


NORMALIZATION = [
    Case(layers.BatchNormalization, [(4,)], {}, frozen_batch),
    Case(layers.BatchNormalization, [(2, 4)], {"scale": False, "momentum": 0.9}, frozen_batch),
    Case(layers.BatchNormalization, [(4, 2, 3)], {"axis": 1}, frozen_batch, free=False),
    Case(layers.BatchNormalization, [(4, 2, 3)], {"axis": [1, 3]}, frozen_batch, free=False),
    Case(layers.LayerNormalization, [(4,)], {}, standard(-1)),
    Case(layers.LayerNormalization, [(3, 4)], {"axis": [1, 2]}, standard(1, 2), free=False),
    Case(layers.LayerNormalization, [(3, 4)], {"axis": 1}, standard(1), free=False),
    Case(layers.GroupNormalization, [(2, 6)], {"groups": 3}, grouped(3), wrong=[(3, 2, 4)]),
    Case(layers.GroupNormalization, [(2, 6)], {"groups": -1}, grouped(6)),
    Case(
        layers.UnitNormalization,
        [(2, 4)],
        {},
        lambda x: x / np.sqrt((x * x).sum(-1, keepdims=True)),
    ),
]

ACTIVATIONS = [
    Case(layers.LeakyReLU, [(3, 4)], {"alpha": 0.2}, leaky(0.2)),
    Case(layers.PReLU, [(3, 4)], {"shared_axes": [1]}, leaky(0), free=True, wrong=[(3,)]),
    Case(layers.PReLU, [(4,)], {"alpha_initializer": "ones"}, leaky(1)),
    Case(layers.ELU, [(4,)], {"alpha": 0.5}, lambda x: np.where(x > 0, x, 0.5 * np.expm1(x))),
    Case(layers.ThresholdedReLU, [(4,)], {"theta": 0.1}, lambda x: x * (x > 0.1)),
    Case(layers.Softmax, [(4,)], {}, softmax(-1)),
    Case(layers.Softmax, [(4,)], {"axis": [-1]}, softmax(-1)),
    Case(
        layers.ReLU,
        [(3, 4)],
        {"max_value": 1.5, "negative_slope": 0.1, "threshold": 0.2},
        lambda x: np.where(x > 0.2, np.minimum(x, 1.5), 0.1 * (x - 0.2)),
    ),
]

NOISE = [
    Case(layers.GaussianNoise, [(3, 4)], {"stddev": 0.1}, same),
    Case(layers.GaussianDropout, [(3, 4)], {"rate": 0.1, "seed": 3}, same),
    Case(layers.AlphaDropout, [(3, 4)], {"rate": 0.1, "noise_shape": (None, 1, 4)}, same),
    Case(layers.SpatialDropout1D, [(3, 4)], {"rate": 0.1}, same, wrong=[(3, 4)]),
    Case(layers.SpatialDropout2D, [(2, 3, 4)], {"rate": 0.1}, same, wrong=[(3, 4)]),
    Case(
        layers.SpatialDropout3D,
        [(2, 3, 2, 4)],
        {"rate": 0.1, "data_format": "channels_first", "seed": 1},
        same,
        wrong=[(3, 4)],
    ),
]

CORE = [
    Case(layers.Permute, [(2, 4)], {"dims": (2, 1)}, lambda x: x.swapaxes(1, 2), wrong=[(3, 4)]),
    Case(
        layers.Permute,
        [(2, 3, 4)],
        {"dims": [3, 1, 2]},
        lambda x: x.transpose(0, 3, 1, 2),
        wrong=[(2, 3, 4)],
        free=False,
    ),
    Case(
        layers.RepeatVector,
        [(4,)],
        {"n": 3},
        lambda x: np.repeat(x[:, None], 3, 1),
        wrong=[(3, 2, 4)],
    ),
    Case(layers.ActivityRegularization, [(2, 4)], {"l1": 0.01, "l2": 0.02}, same),
]

MERGE = [
    Case(
        layers.Subtract,
        [(4,), (4,)],
        {},
        lambda x: x[0] - x[1],
        wrong=[[(3, 4), (3, 4), (3, 4)], [(3, 4), (3, 3)]],
    ),
    Case(layers.Multiply, [(2, 4), (1, 4)], {}, lambda x: x[0] * x[1], wrong=[(3, 4)]),
    Case(layers.Average, [(4,), (4,), (4,)], {}, mean, wrong=[[(3, 4), (3, 5)]]),
    Case(layers.Maximum, [(4,), (4,)], {}, lambda x: np.maximum(*x)),
    Case(layers.Minimum, [(4,), (4,)], {}, lambda x: np.minimum(*x)),
    Case(
        layers.Dot,
        [(2, 4), (3, 4)],
        {"axes": 2},
        batch_dot(2, 2),
        wrong=[[(3, 2, 4), (3, 3, 5)], [(3, 2, 4), (3, 3, 4), (3, 3, 4)], [(3,), (3, 2, 4)]],
    ),
    Case(layers.Dot, [(4, 2), (3, 4)], {"axes": (1, -1)}, batch_dot(1, 2)),
]

CASES = NORMALIZATION + ACTIVATIONS + NOISE + CORE + MERGE
