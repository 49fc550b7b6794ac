"""Losses and metrics that use tensors of the graph, or are added to layers and models."""

import copy
import functools

import numpy as np
import pytest

import gpunet as keras
from gpunet import GradientTape, Input, Model, Sequential, models
from gpunet import backend as K
from gpunet.errors import GraphError
from gpunet.layers import Add, Dense, Dropout, Lambda, Layer

DATA = np.random.default_rng(0).standard_normal((24, 4)).astype("float32")


def encoder():
    x = Input((4,))
    h = Dense(6, activation="tanh")(x)
    mean, log_var = Dense(2, name="mean")(h), Dense(2, name="log_var")(h)
    return x, mean, log_var


def kl_of(mean, log_var):
    return -0.5 * np.sum(1 + log_var - mean**2 - np.exp(log_var), axis=-1)


def test_a_loss_with_tensors_from_around_it(seeds):
    x, mean, log_var = encoder()
    model = Model(x, Dense(4)(Add()([mean, 0.1 * K.exp(log_var)])))

    def loss(y_true, y_pred):
        kl = -0.5 * K.sum(1 + log_var - K.square(mean) - K.exp(log_var), axis=-1)
        return K.mean(K.square(y_true - y_pred), axis=-1) + kl

    def kl(y_true, y_pred):
        return -0.5 * K.sum(1 + log_var - K.square(mean) - K.exp(log_var), axis=-1)

    model.compile("sgd", loss, metrics=[kl, "mae"])
    m, v = Model(x, [mean, log_var]).predict(DATA)
    want = np.mean((model.predict(DATA) - DATA) ** 2) + kl_of(m, v).mean()
    got = model.evaluate(DATA, DATA, verbose=0)
    assert got[:2] == pytest.approx([want, kl_of(m, v).mean()], rel=1e-5)
    history = model.fit(DATA, DATA, epochs=6, batch_size=10, validation_split=0.25, verbose=0)
    assert history.history["loss"][-1] < history.history["loss"][0]
    assert list(history.history)[:3] == ["loss", "kl", "mae"]


def test_the_step_is_that_of_a_tape(seeds):
    """One SGD step with such a loss against the same with a GradientTape."""
    x, mean, log_var = encoder()
    model = Model(x, Dense(4)(mean))
    parts = Model(x, [mean, log_var, model.output])
    start = model.get_weights()
    with GradientTape() as tape:
        m, v, y = parts(DATA)
        kl = -0.5 * K.sum(1 + v - K.square(m) - K.exp(v), axis=-1)
        total = K.mean(K.mean(K.square(y - DATA), axis=-1) + kl)
    weights = parts.trainable_weights
    steps = {w.name: 0.1 * g.numpy() for w, g in zip(weights, tape.gradient(total, weights))}

    def loss(y_true, y_pred, m=mean, v=log_var):
        kl = -0.5 * K.sum(1 + v - K.square(m) - K.exp(v), axis=-1)
        return K.mean(K.square(y_true - y_pred), axis=-1) + kl

    model.compile(keras.optimizers.SGD(0.1), loss)
    model.train_on_batch(DATA, DATA)
    names = [w.name for w in model.weights]
    for name, before, w in zip(names, start, parts.weights and model.weights):
        np.testing.assert_allclose(w.numpy(), before - steps[name], rtol=1e-4, atol=1e-6)


class Center(keras.losses.Loss):
    """A loss object that was given a tensor of the graph."""

    def __init__(self, tensor):
        super().__init__(name="center")
        self.tensor = tensor

    def call(self, y_true, y_pred):
        return K.mean(K.square(self.tensor), axis=-1)


class Spread(keras.metrics.Metric):
    def __init__(self, tensor):
        super().__init__(name="spread")
        self.tensor, self.total = tensor, self.add_weight("total", initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.total.assign(K.max(K.abs(self.tensor)))

    def result(self):
        return self.total


def test_objects_that_hold_tensors(seeds):
    x, mean, _ = encoder()
    model = Model(x, Dense(1)(mean))
    model.compile("sgd", Center(mean), metrics=[Spread(mean)])
    m = Model(x, mean).predict(DATA)
    got = model.evaluate(DATA, np.zeros((24, 1)), batch_size=24, verbose=0)
    assert got == pytest.approx([np.mean(m**2), np.abs(m).max()], rel=1e-5)


def test_layers_called_in_a_loss(seeds):
    """A frozen network compares features, as perceptual losses do."""
    features = Sequential([Dense(3, activation="tanh", input_shape=(4,))])
    features.trainable = False
    x = Input((4,))
    h = Dense(4)(x)
    model = Model(x, h)

    def perceptual(y_true, y_pred):
        return K.mean(K.square(features(y_true) - features(y_pred) + 0 * K.sum(h)), axis=-1)

    model.compile("sgd", perceptual)
    want = np.mean((features.predict(DATA) - features.predict(model.predict(DATA))) ** 2)
    assert model.evaluate(DATA, DATA, verbose=0) == pytest.approx(want, rel=1e-4)
    frozen = features.get_weights()[0]
    history = model.fit(DATA, DATA, epochs=4, verbose=0).history["loss"]
    assert history[-1] < history[0]
    np.testing.assert_array_equal(features.get_weights()[0], frozen)


def test_tensors_that_the_model_is_asked_for(seeds):
    x = Input((4,))
    model = Model(x, Dense(1)(Dense(3, activation="tanh", name="h")(x)))

    def sparse(y_true, y_pred):
        return K.square(y_pred[:, 0]) + K.sum(K.abs(model.get_layer("h").output), axis=-1)

    def steep(y_true, y_pred):
        slope = K.gradients(y_pred, model.input)[0]
        return K.sum(K.square(slope), axis=-1)

    data = keras.convert_to_tensor(DATA)
    hidden = Model(x, model.get_layer("h").output)
    for loss in (sparse, steep):
        with GradientTape() as tape:
            tape.watch(data)
            y = model(data)
        if loss is steep:
            want = (tape.gradient(y, data).numpy() ** 2).sum(axis=1).mean()
        else:
            want = np.mean(y.numpy() ** 2) + np.abs(hidden.predict(DATA)).sum(axis=1).mean()
        model.compile("sgd", loss)
        got = model.evaluate(DATA, np.zeros((24, 1)), batch_size=24, verbose=0)
        assert got == pytest.approx(want, rel=1e-4)
        history = model.fit(DATA, np.zeros((24, 1)), epochs=3, verbose=0).history["loss"]
        assert history[-1] < history[0]


def test_tensors_of_another_graph_are_an_error():
    other = Dense(2)(Input((3,)))
    model = Sequential([Dense(2, input_shape=(4,))])
    model.compile("sgd", lambda y_true, y_pred: K.mean(K.square(y_pred - other), axis=-1))
    with pytest.raises(GraphError, match="Graph disconnected"):
        model.fit(DATA, DATA[:, :2], verbose=0)


# -- gradients in losses ----------------------------------------------------------------------


def gradient_penalty_loss(y_true, y_pred, averaged_samples):
    gradients = K.gradients(y_pred, averaged_samples)[0]
    gradients_sqr = K.square(gradients)
    gradients_sqr_sum = K.sum(gradients_sqr, axis=np.arange(1, len(gradients_sqr.shape)))
    gradient_l2_norm = K.sqrt(gradients_sqr_sum)
    return K.mean(K.square(1 - gradient_l2_norm))


def wasserstein_loss(y_true, y_pred):
    return K.mean(y_true * y_pred)


def critic_with_penalty():
    z_in = Input((3,))
    generator = Model(z_in, Dense(4)(Dense(5, activation="tanh")(z_in)), name="generator")
    critic = Sequential([Dense(6, activation="tanh", input_shape=(4,)), Dense(1)], name="critic")
    generator.trainable = False
    real_img, z_disc = Input((4,)), Input((3,))
    fake_img = generator(z_disc)
    interpolated = Lambda(lambda v: 0.3 * v[0] + 0.7 * v[1])([real_img, fake_img])
    partial_gp_loss = functools.partial(gradient_penalty_loss, averaged_samples=interpolated)
    partial_gp_loss.__name__ = "gradient_penalty"
    model = Model([real_img, z_disc], [critic(real_img), critic(fake_img), critic(interpolated)])
    model.compile(
        keras.optimizers.SGD(0.02),
        loss=[wasserstein_loss, wasserstein_loss, partial_gp_loss],
        loss_weights=[1, 1, 10],
    )
    return generator, critic, model


def test_wgan_gp(seeds):
    generator, critic, model = critic_with_penalty()
    noise = np.random.standard_normal((24, 3)).astype("float32")
    ones, dummy = np.ones((24, 1)), np.zeros((24, 1))
    fake = generator.predict(noise)
    middle = keras.convert_to_tensor(0.3 * DATA + 0.7 * fake)
    with GradientTape() as tape:
        with GradientTape() as inner:
            inner.watch(middle)
            y = critic(middle)
        slope = inner.gradient(y, middle)
        penalty = K.mean(K.square(1 - K.sqrt(K.sum(K.square(slope), axis=1))))
        total = K.mean(critic(fake)) - K.mean(critic(DATA)) + 10 * penalty
    want = tape.gradient(total, critic.trainable_weights)
    before, frozen = critic.get_weights(), generator.get_weights()
    got = model.evaluate([DATA, noise], [-ones, ones, dummy], batch_size=24, verbose=0)
    assert got[0] == pytest.approx(float(total), rel=1e-4)
    assert got[3] == pytest.approx(float(penalty), rel=1e-4)
    losses = model.train_on_batch([DATA, noise], [-ones, ones, dummy])
    assert losses == pytest.approx(got, rel=1e-5)
    for old, new, g in zip(before, critic.get_weights(), want):
        np.testing.assert_allclose(new, old - 0.02 * g.numpy(), rtol=1e-3, atol=1e-5)
    for old, new in zip(frozen, generator.get_weights()):
        np.testing.assert_array_equal(new, old)
    history = model.fit(
        [DATA, noise], [-ones, ones, dummy], batch_size=10, epochs=3, verbose=0
    ).history["loss"]
    assert history[-1] < history[0]


def test_gradient_with_respect_to_the_input(seeds):
    """A double-backprop regularizer: the slope of the output at the input."""
    x = Input((4,))
    y = Dense(1)(Dense(5, activation="tanh")(x))
    model = Model(x, y)

    def smooth(y_true, y_pred):
        return K.square(y_true - y_pred) + K.sum(K.square(K.gradients(y_pred, x)[0]), axis=-1)

    model.compile("sgd", smooth)
    data = keras.convert_to_tensor(DATA)
    with GradientTape() as tape:
        tape.watch(data)
        out = model(data)
    slope = tape.gradient(out, data).numpy()
    want = np.mean(out.numpy()[:, 0] ** 2 + (slope**2).sum(axis=1))
    # Losses of shape (N, 1) and (N,) are added as they broadcast, so compare sums of means.
    got = model.evaluate(DATA, np.zeros((24, 1)), batch_size=24, verbose=0)
    assert got == pytest.approx(want, rel=1e-4)


# -- add_loss and add_metric ------------------------------------------------------------------


def with_added():
    x = Input((4,), name="x")
    h = Dense(3, name="h")(x)
    inner = Model(x, h, name="inner")
    inner.add_loss(0.1 * K.sum(K.square(h)))
    inner.add_metric(K.mean(h), name="mean_h")
    return inner


def test_losses_of_nested_models_are_carried_out(seeds):
    inner = with_added()
    a = Input((4,))
    model = Model(a, Dense(2)(Add()([inner(a), inner(2 * a)])))
    model.compile("sgd", "mse")
    h = [Model(inner.input, inner.output).predict(k * DATA) for k in (1, 2)]
    want = np.mean((model.predict(DATA) - DATA[:, :2]) ** 2) + 0.1 * sum(np.sum(v**2) for v in h)
    got = model.evaluate(DATA, DATA[:, :2], batch_size=24, verbose=0, return_dict=True)
    assert got["loss"] == pytest.approx(want, rel=1e-5)
    assert got["mean_h"] == pytest.approx(np.mean(h), rel=1e-3, abs=1e-6)
    assert model.metrics_names == ["loss", "mean_h"]
    history = model.fit(DATA, DATA[:, :2], epochs=3, batch_size=10, verbose=0).history
    assert list(history) == ["loss", "mean_h"] and history["loss"][-1] < history["loss"][0]
    # Three levels, and in a Sequential model.
    b = Input((4,))
    outer = Sequential([Dense(4, input_shape=(4,)), model])
    outer = Model(b, outer(b))
    outer.compile("sgd", "mse")
    start = outer.evaluate(DATA, DATA[:, :2], verbose=0)[0]
    alone = np.mean((outer.predict(DATA) - DATA[:, :2]) ** 2)
    assert start > alone + 1e-3


def test_losses_of_a_model_called_on_values(seeds):
    inner = with_added()
    assert len(inner.losses) == 1
    y = inner(DATA)
    assert len(inner.losses) == 1
    assert float(inner.losses[0]) == pytest.approx(0.1 * np.sum(y.numpy() ** 2), rel=1e-5)
    inner.compile("sgd")
    before = inner.evaluate(DATA, verbose=0, batch_size=24)
    assert before[0] == pytest.approx(0.1 * np.sum(y.numpy() ** 2), rel=1e-5)
    assert inner.train_on_batch(DATA) == pytest.approx(before)


class Noted(Layer):
    def build(self, input_shape):
        self.kernel = self.add_weight("kernel", (input_shape[-1], 2))

    def call(self, x, training=None):
        y = K.dot(x, self.kernel)
        self.add_metric(K.sum(K.square(y)), name="energy", aggregation="mean")
        self.add_metric(y, name="mean_y")
        self.add_loss(1e-3 * K.sum(K.abs(y)))
        return y


class Net(Model):
    def __init__(self):
        super().__init__()
        self.noted, self.drop = Noted(), Dropout(0.5)

    def call(self, x, training=None):
        return self.drop(self.noted(x), training=training)


@pytest.mark.parametrize("make", [lambda: Sequential([Noted(input_shape=(4,))]), Net])
def test_metrics_of_layers(make, seeds):
    model = make()
    model.compile("sgd", "mse", metrics=["mae"])
    history = model.fit(DATA, DATA[:, :2], batch_size=8, epochs=2, verbose=0).history
    assert list(history) == ["loss", "mae", "energy", "mean_y"]
    y = model.predict(DATA)
    found = model.evaluate(DATA, DATA[:, :2], batch_size=8, verbose=0, return_dict=True)
    energy = np.mean([np.sum(part**2) for part in np.split(y, 3)])
    assert found["energy"] == pytest.approx(energy, rel=1e-5)
    assert found["mean_y"] == pytest.approx(y.mean(), rel=1e-4, abs=1e-6)
    assert model.metrics_names == ["loss", "mae", "energy", "mean_y"]
    assert [m.name for m in model.metrics][-2:] == ["energy", "mean_y"]


def test_added_metrics_in_copies(seeds, tmp_path):
    model = with_added()
    model.compile("sgd")
    want = model.evaluate(DATA, verbose=0)
    for other in (copy.deepcopy(model), models.clone_model(model)):
        other.set_weights(model.get_weights())
        other.compile("sgd")
        assert other.evaluate(DATA, verbose=0) == pytest.approx(want)
        assert other.metrics_names == ["loss", "mean_h"]


def test_errors():
    model = with_added()
    with pytest.raises(ValueError, match="needs a name for the metric"):
        model.add_metric(K.mean(model.output))
    with pytest.raises(ValueError, match="aggregation 'mean' or None, got 'sum'"):
        model.add_metric(K.mean(model.output), name="m", aggregation="sum")
    with pytest.raises(GraphError, match="give it to the functional model"):
        model.layers[1].add_metric(K.mean(model.output), name="m")
    with pytest.raises(GraphError, match="give it to the functional model"):
        model.layers[1].add_loss(K.mean(model.output))


def test_a_layer_on_the_way_to_a_loss_is_the_models(seeds):
    x = Input((4,))
    h = Dense(3, name="h")(x)
    model = Model(x, Dense(2, name="o")(h))
    side = Dense(1, name="side")(h)
    assert [v.name for v in model.layers] == [x.node.layer.name, "h", "o"]
    model.add_loss(K.mean(K.square(side)))
    assert model.layers[3].name == "side" and len(model.trainable_weights) == 6
    model.compile("sgd")
    before = model.get_layer("side").get_weights()[0]
    first = model.evaluate(DATA, verbose=0)
    model.fit(DATA, epochs=3, verbose=0)
    assert model.evaluate(DATA, verbose=0) < first
    assert (model.get_layer("side").get_weights()[0] != before).any()
    model.add_loss(K.constant(0.5) + 0 * K.mean(h))  # after it was run
    assert model.evaluate(DATA, verbose=0) > 0.5


def test_in_files(seeds, tmp_path):
    model = with_added()
    a = Input((4,))
    outer = Model(a, Dense(2)(model(a)))
    outer.add_loss(0.01 * K.sum(K.abs(outer.output)))
    for m, y in ((model, None), (outer, DATA[:, :2])):
        m.compile("sgd", None if y is None else "mse")
        m.fit(DATA, y, verbose=0)
        m.save(tmp_path / "m.h5")
        again = models.load_model(tmp_path / "m.h5")
        assert again.evaluate(DATA, y, verbose=0) == m.evaluate(DATA, y, verbose=0)
        assert again.metrics_names == m.metrics_names and "mean_h" in m.metrics_names
        assert again.get_config() == m.get_config()


def test_as_keras_wrote_it():
    """Layers AddLoss and AddMetric, as tf_keras has them in a config."""
    x = Input((4,))
    model = Model(x, Dense(3, name="h")(x))
    config = model.get_config()
    place = ["h", 0, 0, {}]
    for kind, name, more in (
        ("AddLoss", "add_loss", {"unconditional": False}),
        ("AddMetric", "add_metric", {"aggregation": "mean", "metric_name": "mine"}),
    ):
        inner = {"name": name, "trainable": True, "dtype": "float32", **more}
        entry = {"class_name": kind, "config": inner, "name": name, "inbound_nodes": [[place]]}
        config["layers"].append(entry)
    again = Model.from_config(config)
    again.compile("sgd")
    y = again.predict(DATA)
    got = again.evaluate(DATA, verbose=0)
    assert got == pytest.approx([y.mean(), y.mean()], rel=1e-4, abs=1e-6)
    assert again.metrics_names == ["loss", "mine"] and len(again.layers) == 2
