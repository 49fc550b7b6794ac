"""Values that a callback changes while training: whoever uses them sees it at the next batch."""

import numpy as np
import pytest

import gpunet as keras
from gpunet import Input, Model
from gpunet import backend as K
from gpunet.callbacks import Callback
from gpunet.layers import Dense, Dropout, GaussianNoise, Lambda, Layer

DATA = np.random.default_rng(0).standard_normal((24, 4)).astype("float32")


class Change(Callback):
    """Sets a value after the second epoch."""

    def __init__(self, change):
        super().__init__()
        self.change = change

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            self.change()


class Scaled(Layer):
    def __init__(self, factor, **kwargs):
        super().__init__(**kwargs)
        self.factor = K.variable(factor)
        self.factor.trainable = False

    def call(self, x):
        return x * self.factor


def one_dense(**options):
    x = Input((4,))
    return x, Dense(2, kernel_initializer="ones", name="d", **options)(x)


def in_a_loss(e):
    x, y = one_dense()
    return Model(x, y), lambda t, p: e * K.mean(K.square(p), axis=-1)


def in_a_lambda(e):
    x, y = one_dense()
    return Model(x, Lambda(lambda v: v * K.sqrt(e))(y)), "mse"


def in_a_graph(e):
    x, y = one_dense()
    return Model(x, e * K.square(y)), lambda t, p: K.mean(p, axis=-1)


def in_a_weight_of_losses(e):
    x, y = one_dense()
    return Model(x, y), "mse"


def in_an_added_loss(e):
    x, y = one_dense()
    model = Model(x, y)
    model.add_loss(e * K.mean(K.square(y)))
    return model, None


@pytest.mark.parametrize(
    "make",
    [in_a_loss, in_a_lambda, in_a_graph, in_a_weight_of_losses, in_an_added_loss],
)
@pytest.mark.parametrize("eagerly", [False, True])
def test_variables(make, eagerly, seeds):
    e = K.variable(1.0)
    model, loss = make(e)
    weights = [e] if make is in_a_weight_of_losses else None
    # No step size: all that changes is the variable.
    model.compile(keras.optimizers.SGD(0.0), loss, loss_weights=weights, run_eagerly=eagerly)
    target = None if loss is None else np.zeros((24, 2))
    history = model.fit(
        DATA,
        target,
        epochs=5,
        batch_size=8,
        verbose=0,
        callbacks=[Change(lambda: K.set_value(e, 4.0))],
    ).history["loss"]
    base = np.mean((DATA.sum(axis=1)) ** 2)
    np.testing.assert_allclose(history, base * np.array([1, 1, 4, 4, 4]), rtol=1e-4)


def test_in_a_regularizer(seeds):
    e = K.variable(1.0)
    x, y = one_dense(kernel_regularizer=lambda w: e * K.sum(K.square(w)))
    model = Model(x, y)
    model.compile(keras.optimizers.SGD(0.0), lambda t, p: 0 * K.mean(p, axis=-1))
    change = Change(lambda: K.set_value(e, 0.5))
    history = model.fit(DATA, DATA, epochs=4, verbose=0, callbacks=[change]).history["loss"]
    np.testing.assert_allclose(history, [8, 8, 4, 4], rtol=1e-5)


def test_attributes_of_layers(seeds):
    x = Input((4,))
    scaled = Scaled(1.0)
    model = Model(x, scaled(Dense(2, kernel_initializer="ones")(x)))
    model.compile(keras.optimizers.SGD(0.0), "mse")
    change = Change(lambda: scaled.factor.assign(2.0))
    history = model.fit(DATA, np.zeros((24, 2)), epochs=4, verbose=0, callbacks=[change]).history[
        "loss"
    ]
    np.testing.assert_allclose(np.array(history) / history[0], [1, 1, 4, 4], rtol=1e-4)
    assert not scaled.trainable_weights and len(scaled.weights) == 1


@pytest.mark.parametrize(
    "layer, name, value", [(Dropout(0.9), "rate", 0.0), (GaussianNoise(9.0), "stddev", 0.0)]
)
def test_options_of_built_in_layers(layer, name, value, seeds):
    x = Input((4,))
    model = Model(x, Dense(2, kernel_initializer="ones")(layer(x)))
    model.compile(keras.optimizers.SGD(0.0), "mse")
    change = Change(lambda: setattr(layer, name, value))
    history = model.fit(DATA, np.zeros((24, 2)), epochs=4, verbose=0, callbacks=[change]).history[
        "loss"
    ]
    base = np.mean((DATA.sum(axis=1)) ** 2)
    np.testing.assert_allclose(history[2:], base, rtol=1e-4)
    assert abs(history[0] - base) > 0.05 * base


def test_the_learning_rate(seeds):
    x, y = one_dense()
    model = Model(x, y)
    model.compile(keras.optimizers.SGD(0.0), "mse")
    before = model.get_weights()[0]
    seen = []

    def change():
        seen.append(model.get_weights()[0])
        K.set_value(model.optimizer.lr, 0.1)

    model.fit(DATA, np.zeros((24, 2)), epochs=3, verbose=0, callbacks=[Change(change)])
    np.testing.assert_array_equal(seen[0], before)
    assert (model.get_weights()[0] != before).all()


@pytest.mark.parametrize("before, after", [("linear", "relu"), ("relu", "linear")])
def test_an_activation_is_exchanged(before, after):
    x, y = one_dense(activation=before)
    model = Model(x, y)
    data = np.array([[1, 1, 1, 1], [-1, -1, -1, -1]], "float32")
    wanted = {"linear": [4, -4], "relu": [4, 0]}
    for _ in range(3):  # the third time a recording runs
        np.testing.assert_array_equal(model.predict(data)[:, 0], wanted[before])
    model.get_layer("d").activation = keras.activations.get(after)
    np.testing.assert_array_equal(model.predict(data)[:, 0], wanted[after])


@pytest.mark.parametrize(
    "kind, options",
    [
        ("Conv2D", {}),
        ("Conv2DTranspose", {}),
        ("SeparableConv2D", {}),
        ("DepthwiseConv2D", {"depthwise_initializer": "ones"}),
    ],
)
def test_an_activation_of_a_convolution_is_exchanged(kind, options):
    filters = () if kind == "DepthwiseConv2D" else (2,)
    layer = getattr(keras.layers, kind)(*filters, 1, name="c", input_shape=(2, 2, 1), **options)
    model = keras.Sequential([layer])
    model.set_weights([np.ones_like(w) for w in model.get_weights()])
    data = np.array([1, -3, 2, -4], "float32").reshape(1, 2, 2, 1)
    linear = model.predict(data)
    assert linear.min() < 0
    for name in ("relu", "linear", "relu"):
        layer.activation = keras.activations.get(name)
        wanted = np.maximum(linear, 0) if name == "relu" else linear
        for _ in range(4):
            np.testing.assert_array_equal(model.predict(data), wanted)
