"""Small models and helpers for the tests of files."""

import numpy as np

from gpunet import layers, regularizers
from gpunet.models import Model, Sequential

ROWS = 24


def data(seed=0, dtype="float32"):
    """Return x (24, 6), class rows (24, 3) and a flag (24, 1)."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((ROWS, 6)).astype(dtype)
    y = np.eye(3, dtype=dtype)[rng.integers(0, 3, ROWS)]
    return x, y, (x.sum(axis=1, keepdims=True) > 0).astype(dtype)


def classifier(dtype=None):
    """Return a functional model, 6 -> 3."""
    x = layers.Input((6,), dtype=dtype)
    y = layers.Dense(5, activation="relu", kernel_regularizer=regularizers.l2(0.01), dtype=dtype)(x)
    return Model(x, layers.Dense(3, activation="softmax", dtype=dtype)(y))


def stack():
    """Return a Sequential model, 6 -> 3."""
    return Sequential(
        [
            layers.Dense(5, activation="tanh", input_shape=(6,)),
            layers.Reshape((5, 1)),
            layers.Flatten(),
            layers.Dense(3, activation="softmax"),
        ]
    )


def two_headed():
    """Return a model with the outputs ``kind`` (3) and ``flag`` (1)."""
    x = layers.Input((6,), name="given")
    h = layers.Dense(4, activation="tanh", name="hidden")(x)
    kind = layers.Dense(3, activation="softmax", name="kind")(h)
    return Model(x, [kind, layers.Dense(1, activation="sigmoid", name="flag")(h)])


def shared():
    """Return a model that calls a layer twice and a nested model twice."""
    inner_x = layers.Input((6,))
    inner = Model(inner_x, layers.Dense(6, activation="tanh", name="deep")(inner_x), name="inner")
    stacked = Sequential([layers.Dense(6, input_shape=(6,), name="low")], name="stacked")
    twice = layers.Dense(6, name="twice")
    a, b = layers.Input((6,), name="a"), layers.Input((6,), name="b")
    both = [inner(twice(a)), inner(inner(twice(b))), stacked(a)]
    return Model([a, b], layers.Dense(3, name="end")(layers.Add(name="sum")(both)))


def steps(model, x, y, count=3):
    """Return the losses of some training steps."""
    found = []
    for i in range(count):
        rows = slice(8 * (i % 3), 8 * (i % 3) + 8)
        found.append(np.ravel(model.train_on_batch(x[rows], y[rows]))[0])
    return found


def same_weights(a, b):
    """Assert that the weights of two models are the same bits."""
    for v, w in zip(a.get_weights(), b.get_weights(), strict=True):
        assert v.dtype == w.dtype
        np.testing.assert_array_equal(v, w)
