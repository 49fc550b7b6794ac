"""Layers and models of one's own, and mixtures of styles; README.md says where they come from."""

import numpy as np
import pytest

import gpunet as keras
from gpunet import backend as K
from gpunet import layers

UNITS, TIMESTEPS, INPUT_DIM = 32, 10, 5


class CustomDense(layers.Layer):
    def __init__(self, units=32):
        super(CustomDense, self).__init__()  # noqa: UP008
        self.units = units

    def build(self, input_shape):
        self.w = self.add_weight(
            shape=(input_shape[-1], self.units), initializer="random_normal", trainable=True
        )
        self.b = self.add_weight(shape=(self.units,), initializer="random_normal", trainable=True)

    def call(self, inputs):
        return K.dot(inputs, self.w) + self.b

    def get_config(self):
        return {"units": self.units}


def test_custom_dense(seeds):
    inputs = keras.Input((4,))
    outputs = CustomDense(10)(inputs)
    model = keras.Model(inputs, outputs)
    config = model.get_config()
    new_model = keras.Model.from_config(config, custom_objects={"CustomDense": CustomDense})
    assert new_model.layers[-1].units == 10 and outputs.shape == (None, 10)
    assert new_model.get_config() == config
    x = np.random.random((3, 4)).astype("float32")
    new_model.set_weights(model.get_weights())
    kernel, bias = model.get_weights()
    np.testing.assert_allclose(new_model.predict(x), x @ kernel + bias, rtol=1e-5, atol=1e-6)


class MLP(keras.Model):
    def __init__(self, **kwargs):
        super(MLP, self).__init__(**kwargs)  # noqa: UP008
        self.dense_1 = layers.Dense(64, activation="relu")
        self.dense_2 = layers.Dense(10)

    def call(self, inputs):
        x = self.dense_1(inputs)
        return self.dense_2(x)


def test_functional_and_subclassed(seeds):
    inputs = keras.Input(shape=(32,))
    x = layers.Dense(64, activation="relu")(inputs)
    outputs = layers.Dense(10)(x)
    functional = keras.Model(inputs, outputs)
    # Instantiate the model.
    mlp = MLP()
    # The model doesn't have a state until it's called at least once.
    with pytest.raises(ValueError, match="not yet been built"):
        mlp.summary()
    assert mlp.weights == []
    _ = mlp(K.zeros((1, 32)))
    assert mlp.count_params() == functional.count_params() == 32 * 64 + 64 + 650
    mlp.set_weights(functional.get_weights())
    x = np.random.random((5, 32)).astype("float32")
    np.testing.assert_array_equal(mlp.predict(x), functional.predict(x))
    with pytest.raises(NotImplementedError, match="MLP 'mlp.*' is Python code"):
        mlp.save("mlp.h5")
    with pytest.raises(ValueError, match=r"shape \(None, 32\)"):
        functional.predict(x[:, :31])


def classifier():
    # Define a Functional model
    inputs = keras.Input((None, UNITS))
    x = layers.GlobalAveragePooling1D()(inputs)
    return keras.Model(inputs, layers.Dense(1)(x))


class CustomRNN(layers.Layer):
    def __init__(self, classifier):
        super(CustomRNN, self).__init__()  # noqa: UP008
        self.units = UNITS
        self.projection_1 = layers.Dense(units=UNITS, activation="tanh")
        self.projection_2 = layers.Dense(units=UNITS, activation="tanh")
        # Our previously-defined Functional model, or a layer
        self.classifier = classifier

    def call(self, inputs):
        outputs = []
        state = K.zeros(shape=(inputs.shape[0], self.units))
        for t in range(inputs.shape[1]):
            x = inputs[:, t, :]
            h = self.projection_1(x)
            y = h + self.projection_2(state)
            state = y
            outputs.append(y)
        features = K.stack(outputs, axis=1)
        print(features.shape)
        return self.classifier(features)


def reference(rnn, x, outputs_of):
    """Return what the loop gives, in NumPy."""
    (k1, b1), (k2, b2) = (p.get_weights() for p in (rnn.projection_1, rnn.projection_2))
    state, outputs = np.zeros((len(x), UNITS)), []
    for t in range(x.shape[1]):
        state = np.tanh(x[:, t] @ k1 + b1) + np.tanh(state @ k2 + b2)
        outputs.append(state)
    return outputs_of(np.stack(outputs, axis=1))


def test_functional_model_inside_a_layer(capsys):
    model = classifier()
    rnn_model = CustomRNN(model)
    _ = rnn_model(K.zeros((1, TIMESTEPS, INPUT_DIM)))
    assert capsys.readouterr().out == "(1, 10, 32)\n"
    assert len(rnn_model.trainable_weights) == 6
    x = np.random.default_rng(0).standard_normal((3, TIMESTEPS, INPUT_DIM)).astype("float32")
    kernel, bias = model.get_weights()
    want = reference(rnn_model, x, lambda f: f.mean(axis=1) @ kernel + bias)
    np.testing.assert_allclose(rnn_model(x).numpy(), want, rtol=1e-4, atol=1e-5)


def test_layer_inside_a_functional_model(capsys, seeds):
    # The batch size is fixed because the loop makes zeros of the batch's size.
    inputs = keras.Input(batch_shape=(16, TIMESTEPS, INPUT_DIM))
    x = layers.Conv1D(32, 3)(inputs)
    rnn = CustomRNN(layers.Dense(1))
    outputs = rnn(x)
    assert outputs.shape == (16, TIMESTEPS - 2, 1)
    assert capsys.readouterr().out == "(16, 8, 32)\n"
    model = keras.Model(inputs, outputs)
    assert model.count_params() == (3 * 5 * 32 + 32) + 2 * (32 * 32 + 32) + 33
    model.compile("adam", "mse")
    data = np.random.standard_normal((32, TIMESTEPS, INPUT_DIM)).astype("float32")
    target = np.tile(data[:, :8, :1], 1)
    losses = model.fit(data, target, batch_size=16, epochs=8, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    hidden = keras.Model(inputs, x).predict(data[:16], batch_size=16)
    kernel, bias = rnn.classifier.get_weights()
    want = reference(rnn, hidden, lambda f: f @ kernel + bias)
    np.testing.assert_allclose(model.predict(data[:16], batch_size=16), want, rtol=1e-3, atol=1e-5)


def test_rnn_on_zeros():
    rnn_model = CustomRNN(layers.Dense(1))
    assert rnn_model(K.zeros((1, 10, 5))).shape == (1, 10, 1)


class Gate(layers.Layer):
    """Takes mask and training: the fourth pattern of ``call``."""

    def call(self, inputs, training=None, mask=None, **kwargs):
        self.seen = (training, None if mask is None else tuple(mask.shape))
        return inputs * kwargs.get("scale", 1.0)


def test_patterns_of_call():
    words = keras.Input((4,), dtype="int32")
    x = layers.Embedding(9, 3, mask_zero=True)(words)
    gate = Gate()
    model = keras.Model(words, gate(x, scale=2.0))
    plain = keras.Model(words, x)
    data = np.array([[1, 2, 0, 0]])
    np.testing.assert_allclose(model.predict(data), 2 * plain.predict(data))
    assert gate.seen == (False, (1, 4))
    model.compile("sgd", "mse")
    model.fit(data, np.zeros((1, 4, 3)), verbose=0)
    assert gate.seen == (True, (1, 4))
