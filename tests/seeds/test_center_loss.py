"""Layers and losses that the tutorials write; README.md says where they come from."""

import numpy as np

from gpunet import backend as K
from gpunet.layers import *  # noqa: F403
from gpunet.layers import Dense, Input, Lambda, Layer
from gpunet.models import Model


class Dense_with_Center_loss(Layer):
    def __init__(self, output_dim, **kwargs):
        self.output_dim = output_dim
        super(Dense_with_Center_loss, self).__init__(**kwargs)  # noqa: UP008

    def build(self, input_shape):
        self.kernel = self.add_weight(
            name="kernel",
            shape=(input_shape[1], self.output_dim),
            initializer="glorot_normal",
            trainable=True,
        )
        self.bias = self.add_weight(
            name="bias", shape=(self.output_dim,), initializer="zeros", trainable=True
        )
        self.centers = self.add_weight(
            name="centers",
            shape=(self.output_dim, input_shape[1]),
            initializer="glorot_normal",
            trainable=True,
        )

    def call(self, inputs):
        self.inputs = inputs
        return K.dot(inputs, self.kernel) + self.bias

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.output_dim)

    def loss(self, y_true, y_pred, lamb=0.5):
        y_true = K.cast(y_true, "int32")
        crossentropy = K.sparse_categorical_crossentropy(y_true, y_pred, from_logits=True)
        centers = K.gather(self.centers, y_true[:, 0])
        center_loss = K.sum(K.square(centers - self.inputs), axis=1)
        return crossentropy + lamb * center_loss


def test_center_loss(seeds):
    x_train = np.random.random((210, 784)).astype("float32")
    y_train = np.random.randint(10, size=(210,))
    for i, label in enumerate(y_train):
        x_train[i, 78 * label : 78 * (label + 1)] += 1
    f_size = 2
    x_in = Input(shape=(784,))
    f = Dense(f_size)(x_in)
    dense_center = Dense_with_Center_loss(10)
    output = dense_center(f)
    model = Model(x_in, output)
    model.compile(loss=dense_center.loss, optimizer="adam", metrics=["sparse_categorical_accuracy"])
    # A partial last batch, and a validation between epochs.
    history = model.fit(
        x_train, y_train, epochs=10, validation_split=0.1, batch_size=32, verbose=0
    ).history
    names = ["loss", "sparse_categorical_accuracy"]
    assert list(history) == names + [f"val_{n}" for n in names]
    assert history["loss"][-1] < history["loss"][0]
    assert [w.name.rpartition("/")[2] for w in dense_center.trainable_weights] == [
        "kernel:0",
        "bias:0",
        "centers:0",
    ]
    assert model.predict(x_train[:5]).shape == (5, 10)


def test_lambda():
    x_in = Input(shape=(10,))
    x = Lambda(lambda x: x + 2)(x_in)
    np.testing.assert_array_equal(Model(x_in, x).predict(np.zeros((1, 10))), np.full((1, 10), 2))


def test_noise_in_training(seeds):
    def add_noise_in_train(x):
        x_ = x + K.random_normal(shape=K.shape(x))
        return K.in_train_phase(x_, x)

    x_in = Input(shape=(10,))
    x = Lambda(add_noise_in_train)(x_in)
    model = Model(x_in, x)
    data = np.random.random((400, 10)).astype("float32")
    np.testing.assert_array_equal(model.predict(data), data)
    noise = np.asarray(model(data, training=True)) - data
    assert abs(noise.mean()) < 0.1 and abs(noise.std() - 1) < 0.05
    assert (np.asarray(model(data, training=True)) - data != noise).any()
    model.compile("sgd", "mse")
    assert model.fit(data, data, epochs=1, verbose=0).history["loss"][0] > 0.8
    assert model.evaluate(data, data, verbose=0) == 0


class MyLayer(Layer):
    def __init__(self, output_dim, **kwargs):
        self.output_dim = output_dim
        super(MyLayer, self).__init__(**kwargs)  # noqa: UP008

    def build(self, input_shape):
        self.kernel = self.add_weight(
            name="kernel",
            shape=(input_shape[1], self.output_dim),
            initializer="uniform",
            trainable=True,
        )

    def call(self, x):
        return K.dot(x, self.kernel)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.output_dim)


class SplitVector(Layer):
    def __init__(self, **kwargs):
        super(SplitVector, self).__init__(**kwargs)  # noqa: UP008

    def call(self, inputs):
        in_dim = K.int_shape(inputs)[-1]
        return [inputs[:, : in_dim // 2], inputs[:, in_dim // 2 :]]

    def compute_output_shape(self, input_shape):
        in_dim = input_shape[-1]
        return [(None, in_dim // 2), (None, in_dim - in_dim // 2)]


def test_my_layer_and_a_layer_with_two_outputs(seeds):
    x_in = Input(shape=(11,))
    layer = SplitVector()
    x1, x2 = layer(x_in)
    assert x1.shape == (None, 5) and x2.shape == (None, 6)
    assert layer.output == [x1, x2] and layer.output_shape == [(None, 5), (None, 6)]
    mine = MyLayer(3)
    model = Model(x_in, [mine(x1), x2])
    data = np.random.random((4, 11)).astype("float32")
    y, rest = model.predict(data)
    np.testing.assert_allclose(y, data[:, :5] @ mine.get_weights()[0], rtol=1e-5)
    np.testing.assert_array_equal(rest, data[:, 5:])
    assert abs(mine.get_weights()[0]).max() <= 0.05 and model.count_params() == 15
    model.compile("sgd", ["mse", None])
    history = model.fit(data, [np.ones((4, 3)), rest], epochs=3, verbose=0).history["loss"]
    assert history[-1] < history[0]


def test_distance_in_a_lambda(seeds):
    def exponent_neg_manhattan_distance(v):
        return K.exp(-K.sum(K.abs(v[0] - v[1]), axis=1, keepdims=True))

    def out_shape(shapes):
        return (shapes[0][0], 1)

    left, right = Input((8,)), Input((8,))
    shared = Dense(4)
    malstm_distance = Lambda(exponent_neg_manhattan_distance, output_shape=out_shape)(
        [shared(left), shared(right)]
    )
    assert malstm_distance.shape == (None, 1)
    model = Model([left, right], malstm_distance)
    model.compile("adam", "mse", metrics=["accuracy"])
    a, b = np.random.random((2, 32, 8))
    assert list(model.fit([a, b], np.ones(32), verbose=0).history) == ["loss", "accuracy"]
    np.testing.assert_allclose(model.predict([a, a]), 1, rtol=1e-6)
