"""Networks that share parts: two trained against each other, twins, features for a style."""

import numpy as np
import pytest

import gpunet as keras
from gpunet import Input, Model, Sequential
from gpunet import backend as K
from gpunet.layers import Conv2D, Dense, Lambda, LeakyReLU


def networks():
    generator = Sequential([Dense(8, input_shape=(2,)), LeakyReLU(0.2), Dense(2)], name="generator")
    critic = Sequential([Dense(8, input_shape=(2,)), LeakyReLU(0.2), Dense(1)], name="critic")
    return generator, critic


def wasserstein(y_true, y_pred):
    return K.mean(y_true * y_pred)


def test_wgan(seeds):
    """Two compiled models over one graph; ``trainable`` at each compile says what each trains."""
    generator, critic = networks()
    critic.compile(keras.optimizers.RMSprop(0.005), wasserstein)
    critic.trainable = False
    z = Input((2,))
    combined = Model(z, critic(generator(z)))
    combined.compile(keras.optimizers.RMSprop(0.005), wasserstein)
    assert combined.trainable_weights == generator.trainable_weights
    assert len(combined.non_trainable_weights) == 4
    real = np.random.standard_normal((32, 2)).astype("float32") * 0.1 + [2.0, -1.0]
    minus, plus = -np.ones((32, 1)), np.ones((32, 1))
    far, near = _distance(generator), []
    for step in range(60):
        noise = np.random.standard_normal((32, 2))
        frozen = generator.get_weights()
        if step == 0:  # it was compiled while it was trainable, and goes on as it was compiled
            with pytest.warns(UserWarning, match="trainable"):
                critic.train_on_batch(real, minus)
        else:
            critic.train_on_batch(real, minus)
        critic.train_on_batch(generator.predict(noise), plus)
        for layer in critic.layers:
            layer.set_weights([np.clip(w, -0.5, 0.5) for w in layer.get_weights()])
        for old, new in zip(frozen, generator.get_weights()):
            np.testing.assert_array_equal(old, new)
        frozen = critic.get_weights()
        combined.train_on_batch(noise, minus)
        for old, new in zip(frozen, critic.get_weights()):
            np.testing.assert_array_equal(old, new)
        near.append(_distance(generator))
    assert min(near) < 0.65 * far  # the two then circle around each other


def _distance(generator):
    """Return how far the mean of what is generated lies from that of the data."""
    made = generator.predict(np.random.standard_normal((64, 2)))
    return np.linalg.norm(made.mean(axis=0) - [2, -1])


def test_gan_with_two_models_on_one_graph(seeds):
    """As programs without nested models do it: layers frozen by name between compiles."""
    x, z = Input((2,)), Input((2,))
    generator, critic = networks()
    fake = generator(z)
    generator.trainable = False
    train_d = Model([x, z], [critic(x), critic(fake)])
    train_d.add_loss(K.mean(critic(fake) - critic(x)))
    train_d.compile("sgd")
    assert train_d.trainable_weights == critic.trainable_weights
    generator.trainable, critic.trainable = True, False
    train_g = Model(z, critic(fake))
    train_g.add_loss(-K.mean(train_g.output))
    train_g.compile("sgd")
    data = np.random.standard_normal((16, 2)), np.random.standard_normal((16, 2))
    before = [w.numpy() for w in (*generator.weights, *critic.weights)]
    with pytest.warns(UserWarning, match="trainable"):
        train_d.train_on_batch(list(data))
    middle = [w.numpy() for w in (*generator.weights, *critic.weights)]
    assert [np.array_equal(a, b) for a, b in zip(before, middle)] == [True] * 4 + [False] * 3 + [
        np.array_equal(before[7], middle[7])
    ]
    train_g.train_on_batch(data[1])
    after = [w.numpy() for w in (*generator.weights, *critic.weights)]
    changed = [not np.array_equal(a, b) for a, b in zip(middle, after)]
    assert changed == [True] * 4 + [False] * 4


def test_siamese_with_contrastive_loss(seeds):
    def euclidean_distance(vects):
        x, y = vects
        sum_square = K.sum(K.square(x - y), axis=1, keepdims=True)
        return K.sqrt(K.maximum(sum_square, K.epsilon()))

    def eucl_dist_output_shape(shapes):
        shape1, _ = shapes
        return (shape1[0], 1)

    def contrastive_loss(y_true, y_pred):
        margin = 1
        square_pred = K.square(y_pred)
        margin_square = K.square(K.maximum(margin - y_pred, 0))
        return K.mean(y_true * square_pred + (1 - y_true) * margin_square)

    def accuracy(y_true, y_pred):
        return K.mean(K.equal(y_true, K.cast(y_pred < 0.5, y_true.dtype)))

    base = Sequential([Dense(16, activation="relu", input_shape=(6,)), Dense(4)])
    input_a, input_b = Input(shape=(6,)), Input(shape=(6,))
    distance = Lambda(euclidean_distance, output_shape=eucl_dist_output_shape)(
        [base(input_a), base(input_b)]
    )
    model = Model([input_a, input_b], distance)
    model.compile(loss=contrastive_loss, optimizer=keras.optimizers.RMSprop(0.01),
                  metrics=[accuracy])  # fmt: skip
    classes = np.random.randint(2, size=(2, 96))
    a, b = (np.random.random((96, 6)) * 0.5 + np.eye(2)[c].repeat(3, axis=1) for c in classes)
    same = (classes[0] == classes[1]).astype("float32")
    history = model.fit([a, b], same, batch_size=32, epochs=12, verbose=0).history
    assert list(history) == ["loss", "accuracy"]
    assert history["loss"][-1] < 0.5 * history["loss"][0] and history["accuracy"][-1] > 0.9
    np.testing.assert_allclose(model.predict([a, a]), np.sqrt(K.epsilon()), rtol=1e-5)


def test_features_of_vgg19():
    """The tutorial's feature extraction, with the architecture itself and random weights."""
    vgg19 = keras.applications.VGG19(weights=None, input_shape=(32, 32, 3), include_top=False)
    features_list = [layer.output for layer in vgg19.layers]
    feat_extraction_model = keras.Model(inputs=vgg19.input, outputs=features_list)
    img = np.random.default_rng(0).random((1, 32, 32, 3)).astype("float32")
    extracted_features = feat_extraction_model(img)
    assert len(extracted_features) == len(vgg19.layers) == 22
    assert [tuple(f.shape) for f in extracted_features] == [
        (1, *layer.output_shape[1:]) if i else (1, 32, 32, 3)
        for i, layer in enumerate(vgg19.layers)
    ]
    last, pooled = (f.numpy() for f in extracted_features[-2:])
    np.testing.assert_array_equal(pooled[0, 0, 0], last[0].max(axis=(0, 1)))


def test_style_of_a_network_as_a_loss(seeds):
    """An image model is trained so that Gram matrices of another network's features agree."""
    features = Sequential(
        [Conv2D(6, 3, activation="tanh", input_shape=(8, 8, 3)), Conv2D(4, 3, activation="tanh")]
    )
    features.trainable = False
    extract = Model(features.input, [layer.output for layer in features.layers])

    def gram(x):
        flat = K.reshape(x, (-1, x.shape[1] * x.shape[2], x.shape[3]))
        return K.batch_dot(flat, flat, axes=(1, 1)) / float(flat.shape[1])

    style = np.random.random((1, 8, 8, 3)).astype("float32")
    wanted = [gram(f) for f in extract(style)]

    def style_loss(y_true, y_pred):
        found = extract(y_pred)
        return sum(
            K.sum(K.square(gram(f) - w), axis=(1, 2)) for f, w in zip(found, wanted, strict=True)
        )

    painter = Sequential([Conv2D(3, 3, padding="same", input_shape=(8, 8, 3))])
    painter.compile(keras.optimizers.Adam(0.02), style_loss)
    x = np.random.random((8, 8, 8, 3)).astype("float32")
    history = painter.fit(x, x, epochs=10, verbose=0).history["loss"]
    assert history[-1] < 0.5 * history[0]
