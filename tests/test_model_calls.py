"""Calling models on tensors again and again: recordings must not show, but in the time."""

import copy

import numpy as np
import pytest

import gpunet
from gpunet import backend as K
from gpunet import layers, models

CALLS = 4  # one as it is, one recorded, two replayed


def image_model():
    x = inputs = layers.Input((8, 8, 3))
    for filters in (4, 4):
        y = layers.Conv2D(filters, 3, padding="same")(x)
        x = layers.Activation("relu")(layers.BatchNormalization()(y))
    x = layers.add([x, layers.Conv2D(4, 1)(inputs)])
    x = layers.Dropout(0.5)(layers.Flatten()(layers.MaxPooling2D()(x)))
    return models.Model(inputs, layers.Dense(3)(x))


@pytest.fixture
def model():
    model = image_model()
    for w in model.weights:
        w.assign(np.random.default_rng(w.size).uniform(0.05, 0.3, w.shape))
    return model


@pytest.fixture
def x(rng):
    return rng.random((1, 8, 8, 3)).astype("float32")


def by_layers(model, x):
    """Return what the layers compute, called one by one."""
    model.run_eagerly = True
    try:
        return model(x).numpy()
    finally:
        model.run_eagerly = False


def replays(model):
    recorded = model._again[1]
    return [r for r in recorded._replays.values() if r is not None]


def test_calls_give_the_same(model, x):
    want = by_layers(model, x)
    assert model._again is None
    for _ in range(CALLS):
        np.testing.assert_allclose(model(x).numpy(), want, rtol=1e-6)
    assert len(replays(model)) == 1
    three = np.concatenate([x, x + 1, x])
    for _ in range(CALLS):
        np.testing.assert_allclose(model(three).numpy(), by_layers(model, three), rtol=1e-5)
    assert len(replays(model)) == 2


def changes(model):
    """Yield functions that change what the model computes, each by another way."""
    first = model.layers[1]
    yield lambda: model.set_weights([w * 0.7 for w in model.get_weights()])
    yield lambda: first.set_weights([w * 1.3 for w in first.get_weights()])
    yield lambda: first.kernel.assign(first.kernel.numpy() * 1.2)
    yield lambda: K.set_value(first.bias, first.bias.numpy() + 1)
    yield lambda: model.train_on_batch(np.ones((2, 8, 8, 3)), np.eye(3)[:2])
    yield lambda: model.optimizer.apply_gradients(
        [(np.ones(w.shape, "float32"), w) for w in model.trainable_weights]
    )
    yield lambda: setattr(model.layers[3], "activation", gpunet.activations.tanh)


def test_changes_show_at_once(model, x, tmp_path):
    model.compile(gpunet.optimizers.SGD(1e-3), "mse")
    model.save_weights(tmp_path / "w.h5")
    before = first = by_layers(model, x)
    for change in changes(model):
        for _ in range(CALLS):
            model(x)
        change()
        now = by_layers(model, x)
        assert not np.allclose(now, before, rtol=1e-6)
        for _ in range(CALLS):
            np.testing.assert_allclose(model(x).numpy(), now, rtol=1e-5)
        before = now
    model.layers[3].activation = gpunet.activations.relu
    model.load_weights(tmp_path / "w.h5")
    for _ in range(CALLS):
        np.testing.assert_allclose(model(x).numpy(), first, rtol=1e-5)


def test_training_and_gradients_between(model, x):
    def gradient():
        with gpunet.GradientTape() as tape:
            loss = K.sum(K.square(model(x, training=False)))
        return [g.numpy() for g in tape.gradient(loss, model.trainable_weights)]

    want = gradient()
    for _ in range(CALLS):
        model(x)
    for a, b in zip(gradient(), want, strict=True):
        np.testing.assert_array_equal(a, b)
    plain = model(x).numpy()
    assert not np.array_equal(model(x, training=True).numpy(), plain)
    K.set_learning_phase(1)
    try:
        assert not np.array_equal(model(x).numpy(), model(x).numpy())  # dropout
    finally:
        K.set_learning_phase(0)


def test_one_array_for_two_inputs(rng):
    a, b = layers.Input((4,)), layers.Input((4,))
    model = models.Model([a, b], layers.subtract([a, b]))
    x, y = rng.random((2, 1, 4)).astype("float32")
    for _ in range(CALLS):
        np.testing.assert_array_equal(model([x, x]).numpy(), 0 * x)
    np.testing.assert_array_equal(model([x, y]).numpy(), x - y)


def test_an_array_that_is_a_weight_too(rng):
    model = models.Sequential([layers.Dense(3, use_bias=False, input_shape=(3,))])
    kernel, x = model.layers[0].kernel, rng.random((3, 3)).astype("float32")
    for _ in range(CALLS):
        model(kernel)
    np.testing.assert_allclose(model(x).numpy(), x @ kernel.numpy(), rtol=1e-6)


def test_losses_are_those_of_the_last_call(rng):
    dense = layers.Dense(3, activity_regularizer="l2", input_shape=(3,))
    model = models.Sequential([dense])
    for n in range(CALLS):
        x = rng.random((1, 3)).astype("float32") * (n + 1)
        y = model(x).numpy()
        assert len(model.losses) == 1
        np.testing.assert_allclose(model.losses[0].numpy(), 0.01 * np.sum(y**2), rtol=1e-5)


def test_masks_stay():
    model = models.Sequential([layers.Embedding(5, 2, mask_zero=True, input_length=3)])
    for _ in range(CALLS):
        y = model(np.array([[1, 0, 2]]))
        assert y._keras_mask.numpy().tolist() == [[True, False, True]]


def test_a_users_layer_runs_every_time(x):
    calls = []

    class Counted(layers.Layer):
        def call(self, inputs):
            calls.append(inputs.shape)
            return inputs

    inputs = layers.Input((8, 8, 3))
    inner = models.Model(inputs, Counted()(inputs))
    outer = models.Model(inputs, layers.Flatten()(inner(inputs)))
    del calls[:]
    for n in range(CALLS):
        outer(x)
        assert len(calls) == n + 1


def test_layers_added_and_copies(model, x):
    for _ in range(CALLS):
        model(x)
    other = copy.deepcopy(model)
    other.set_weights([w * 0.5 for w in other.get_weights()])
    for _ in range(CALLS):
        assert not np.allclose(other(x).numpy(), model(x).numpy(), rtol=1e-6)
    grown = models.Sequential([layers.Dense(3, input_shape=(3,))])
    one = np.ones((1, 3), "float32")
    for _ in range(CALLS):
        grown(one)
    grown.add(layers.Dense(2))
    for _ in range(CALLS):
        assert grown(one).shape == (1, 2)
    grown.pop()
    assert grown(one).shape == (1, 3)


def test_random_layers_draw_anew(rng):
    inputs = layers.Input((64,))
    model = models.Model(inputs, layers.Dropout(0.5)(inputs, training=True))
    drawn = [model(np.ones((1, 64), "float32")).numpy().tobytes() for _ in range(CALLS + 2)]
    assert len(set(drawn)) == len(drawn)


def test_a_state_moves_on():
    model = models.Sequential([layers.SimpleRNN(2, stateful=True, batch_input_shape=(1, 1, 1))])
    one = np.ones((1, 1, 1), "float32")
    found = [model(one).numpy() for _ in range(CALLS)]
    model.reset_states()
    for want in found:
        np.testing.assert_allclose(model(one).numpy(), want, rtol=1e-6)
    assert not np.allclose(found[-1], found[-2])
