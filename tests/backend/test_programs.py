"""Small forms of the classic programs that are written with K: pictures, autoencoders, CTC."""

import numpy as np
import pytest

from gpunet import Input
from gpunet import backend as K
from gpunet.layers import Conv2D, Dense, GlobalAveragePooling2D, Lambda, Layer
from gpunet.models import Model

IMAGES = np.random.default_rng(3).standard_normal((1, 8, 8, 3)).astype("float32")


def images():
    x = Input((None, None, 3))
    first = Conv2D(4, 3, activation="tanh", padding="same", name="first")(x)
    second = Conv2D(5, 3, activation="tanh", name="second")(first)
    return Model(x, Dense(3)(GlobalAveragePooling2D()(second)))


def test_deep_dream():
    model = images()
    layers = {layer.name: layer for layer in model.layers}
    dream = model.input
    loss = K.variable(0.0)
    for name, share in (("first", 0.2), ("second", 3.0)):
        x = layers[name].output
        scaling = K.prod(K.cast(K.shape(x), "float32"))
        loss = loss + share * K.sum(K.square(x[:, 2:-2, 2:-2, :])) / scaling
    grads = K.gradients(loss, dream)[0]
    grads /= K.maximum(K.mean(K.abs(grads)), K.epsilon())
    fetch = K.function([dream], [loss, grads])
    image, seen = IMAGES, []
    for _ in range(5):
        value, slope = fetch([image])
        seen.append(float(value))
        image = image + 0.02 * slope
    assert seen == sorted(seen) and seen[-1] > seen[0]
    assert fetch([np.zeros((1, 9, 7, 3))])[1].shape == (1, 9, 7, 3)


def test_filter_visualisation_and_saliency():
    model = images()
    loss = K.mean(model.get_layer("second").output[:, :, :, 2])
    grads = K.gradients(loss, model.input)[0]
    grads /= K.sqrt(K.mean(K.square(grads))) + 1e-5
    value, slope = K.function([model.input], [loss, grads])([IMAGES])
    assert slope.shape == IMAGES.shape and np.sqrt(np.mean(slope**2)) == pytest.approx(1, rel=0.1)
    (saliency,) = K.function([model.input], K.gradients(model.output[:, 1], model.input))([IMAGES])
    step = 1e-2 * saliency / np.abs(saliency).max()
    up, down = (model.predict(IMAGES + s * step)[0, 1] for s in (1, -1))
    assert up - down == pytest.approx(2 * np.sum(saliency * step), rel=1e-2)


def test_grad_cam():
    model = images()
    features = model.get_layer("second").output
    grads = K.gradients(model.output[:, 0], features)[0]
    pooled = K.mean(grads, axis=(0, 1, 2))
    weights, maps = K.function([model.input], [pooled, features[0]])([IMAGES])
    kernel = model.layers[-1].get_weights()[0][:, 0]
    np.testing.assert_allclose(weights, kernel / 36, rtol=1e-4, atol=1e-6)
    assert maps.shape == (6, 6, 5)


def gram_matrix(x):
    assert K.ndim(x) == 3
    features = K.batch_flatten(K.permute_dimensions(x, (2, 0, 1)))
    return K.dot(features, K.transpose(features))


def test_style_transfer():
    base, style = K.variable(IMAGES), K.variable(IMAGES[:, ::-1])
    combination = K.placeholder((1, 8, 8, 3))
    together = K.concatenate([base, style, combination], axis=0)
    assert together.shape == (3, 8, 8, 3)
    model = Model(together, Conv2D(4, 3, activation="tanh")(together))
    features = model.layers[-1].output
    loss = K.variable(0.0)
    loss = loss + 0.1 * K.sum(K.square(features[2] - features[0]))
    loss = loss + K.sum(K.square(gram_matrix(features[1]) - gram_matrix(features[2]))) / 100.0
    grads = K.gradients(loss, combination)
    fetch = K.function([combination], [loss, *grads])
    image, seen = IMAGES * 0, []
    for _ in range(6):
        value, slope = fetch([image])
        seen.append(float(value))
        image = image - 0.1 * slope / np.abs(slope).max()
    assert seen[-1] < seen[0] and image.shape == (1, 8, 8, 3)


def test_variational_autoencoder():
    def sampling(args):
        mean, log_var = args
        batch, dim = K.shape(mean)[0], K.int_shape(mean)[1]
        return mean + K.exp(0.5 * log_var) * K.random_normal(shape=(batch, dim))

    for sample in (Lambda(sampling, output_shape=(2,)), sampling):
        x = Input((4,))
        h = Dense(8, activation="relu")(x)
        mean, log_var = Dense(2)(h), Dense(2)(h)
        y = Dense(4)(sample([mean, log_var]))
        model = Model(x, y)
        kl = -0.5 * K.sum(1 + log_var - K.square(mean) - K.exp(log_var), axis=-1)
        model.add_loss(K.mean(K.sum(K.square(x - y), axis=-1) + kl))
        model.compile("adam")
        data = np.random.default_rng(5).standard_normal((64, 4)).astype("float32")
        history = model.fit(data, epochs=30, verbose=0).history["loss"]
        assert history[-1] < history[0]


class Attention(Layer):
    """Weights steps by a score: K in a layer's call."""

    def build(self, input_shape):
        self.w = self.add_weight("w", (input_shape[-1], 1), initializer="normal")
        self.built = True

    def call(self, x):
        scores = K.squeeze(K.dot(x, self.w), axis=-1)
        return K.sum(x * K.expand_dims(K.softmax(scores)), axis=1)


def test_attention_with_k():
    x = Input((None, 3))
    model = Model(x, Attention()(x))
    assert model.output_shape == (None, 3)
    model.compile("sgd", "mse")
    data = np.random.default_rng(1).standard_normal((4, 6, 3))
    assert model.predict(data).shape == (4, 3)
    assert len(model.fit(data, np.zeros((4, 3)), verbose=0).history["loss"]) == 1


def test_ctc_model():
    """The image OCR example's loss: a Lambda of four inputs."""
    x, labels = Input((6, 4)), Input((2,))
    steps, counts = Input((1,), dtype="int64"), Input((1,), dtype="int64")
    y = Dense(5, activation="softmax")(x)
    loss = Lambda(lambda a: K.ctc_batch_cost(*a), output_shape=(1,))([labels, y, steps, counts])
    model = Model([x, labels, steps, counts], loss)
    model.compile("adam", loss=lambda t, p: p)
    rng = np.random.default_rng(0)
    data = [rng.standard_normal((8, 6, 4)), rng.integers(0, 4, (8, 2)), np.full((8, 1), 6),
            np.full((8, 1), 2)]  # fmt: skip
    history = model.fit(data, np.zeros((8, 1)), epochs=40, verbose=0).history["loss"]
    assert history[-1] < history[0]
    decoded = K.get_value(K.ctc_decode(Model(x, y)(data[0]), np.full(8, 6))[0][0])
    assert decoded.shape == (8, 6)
