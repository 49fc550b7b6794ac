"""One table of layers that feeds every check."""

from dataclasses import dataclass, field

import numpy as np

from gpunet import layers, ops


@dataclass
class Case:
    """A layer with options and inputs.

    Attributes:
        kind: class of the layer.
        shapes: list of the inputs' shapes without the batch axis; more than one means a list.
        options: dict of constructor arguments.
        expected: function of the inputs (numpy arrays) and the layer's weights, None where a
            result is random.
        free: whether all axes but the last may be of unknown size.
        wrong: list of input shapes (batch axis in front) that the layer refuses.
    """

    kind: type
    shapes: list
    options: dict = field(default_factory=dict)
    expected: object = None
    free: bool = True
    wrong: list = field(default_factory=list)

    def make(self, **options):
        return self.kind(**{**self.options, **options})

    def data(self, batch=3, dtype="float64", seed=0):
        """Return the inputs: an array, or a list of arrays."""
        rng = np.random.default_rng(seed)
        arrays = [rng.standard_normal((batch, *s)).astype(dtype) for s in self.shapes]
        return arrays if len(arrays) > 1 else arrays[0]

    @property
    def id(self):
        options = "-".join(f"{k}={v}" for k, v in self.options.items())
        return f"{self.kind.__name__}-{self.shapes}-{options}".replace(" ", "")


def affine(x, kernel, bias=0.0):
    return x @ kernel + bias


def absolute(x):
    return ops.abs(x)


def channels_last(x):
    return np.moveaxis(x, 1, -1).reshape(len(x), -1)


CASES = [
    Case(layers.Dense, [(5,)], {"units": 4}, affine, wrong=[(3,)]),
    Case(
        layers.Dense,
        [(2, 5)],
        {"units": 4, "activation": "tanh"},
        lambda x, *w: np.tanh(affine(x, *w)),
    ),
    Case(layers.Dense, [(2, 3, 5)], {"units": 1, "use_bias": False}, affine),
    Case(
        layers.Dense,
        [(5,)],
        {
            "units": 3,
            "kernel_regularizer": "l2",
            "bias_initializer": "ones",
            "activity_regularizer": "l1",
            "kernel_constraint": "max_norm",
        },
        affine,
    ),
    Case(layers.Activation, [(4,)], {"activation": "sigmoid"}, lambda x: 1 / (1 + np.exp(-x))),
    Case(layers.Activation, [(2, 4)], {"activation": "linear"}, lambda x: x),
    Case(layers.Dropout, [(4, 3)], {"rate": 0.4}, lambda x: x),
    Case(layers.Dropout, [(4, 3)], {"rate": 0.4, "noise_shape": (None, 1, 3)}, lambda x: x),
    Case(layers.Dropout, [(4, 3)], {"rate": 0.0, "seed": 3}, lambda x: x),
    Case(layers.Flatten, [(2, 3, 4)], {}, lambda x: x.reshape(len(x), -1)),
    Case(layers.Flatten, [(3, 2, 4)], {"data_format": "channels_first"}, channels_last),
    Case(layers.Flatten, [()], {}, lambda x: x.reshape(len(x), 1), free=False),
    Case(
        layers.Reshape,
        [(2, 6)],
        {"target_shape": (3, 4)},
        lambda x: x.reshape(-1, 3, 4),
        free=False,
        wrong=[(3, 5), (3, 2, 5)],
    ),
    Case(
        layers.Reshape,
        [(2, 6)],
        {"target_shape": (-1, 3)},
        lambda x: x.reshape(-1, 4, 3),
        wrong=[(3, 2, 5)],
    ),
    Case(layers.Lambda, [(4,)], {"function": absolute}, np.abs),
    Case(
        layers.Add,
        [(4,), (4,)],
        {},
        lambda x: x[0] + x[1],
        wrong=[[(3, 4), (3, 5)], [(3, 4), (2, 4)], (3, 4)],
    ),
    Case(layers.Add, [(2, 4), (4,), (1, 4)], {}, lambda x: x[0] + x[1][:, None] + x[2]),
    Case(
        layers.Concatenate,
        [(4,), (2,)],
        {},
        lambda x: np.concatenate(x, -1),
        wrong=[[(3, 4), (3, 2, 4)], [(3, 4), (2, 4)], (3, 4)],
    ),
    Case(
        layers.Concatenate,
        [(2, 4), (3, 4)],
        {"axis": 1},
        lambda x: np.concatenate(x, 1),
        wrong=[[(3, 2, 4), (3, 2, 5)], [(3, 4), (3,)]],
    ),
]
