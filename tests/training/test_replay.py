"""Steps that are replayed do what steps that run all Python do, bit for bit."""

import logging
import sys
from pathlib import Path

import numpy as np
import pytest

import gpunet
from gpunet import backend as K
from gpunet import layers, losses, metrics, optimizers, recording, regularizers
from gpunet.models import Model, Sequential
from gpunet.nest import flatten

sys.path.append(str(Path(__file__).parents[1] / "layers"))
from conv_layer_cases import CASES as CONV
from layer_cases import CASES as COMMON
from misc_layer_cases import CASES as MORE

CASES = COMMON + MORE + CONV
# Layers that hold a function of the test's.
_FOREIGN = ("Lambda", "absolute")


def trained(make, x, y, eagerly, **options):
    """Train a new model for three epochs; return (model, everything that came out)."""
    gpunet.utils.set_random_seed(7)
    K.clear_session()
    model = make()
    model.run_eagerly = eagerly
    history = model.fit(x, y, epochs=3, verbose=0, **options)
    found = [list(history.history.values()), model.get_weights(), model.predict(x, batch_size=4)]
    return model, [np.asarray(a) for a in flatten(found)] + model.optimizer.get_weights()


def check(make, x, y, recorded=True, **options):
    """Compare replayed steps with eager ones; return the model that was replayed."""
    _, want = trained(make, x, y, True, **options)
    model, got = trained(make, x, y, False, **options)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a, b)
    steps = model._plan.steps
    assert (steps.train.reason is None) == recorded, steps.train.reason
    if recorded:
        assert any(steps.train._replays.values()) and any(steps.predict._replays.values())
    return model


def data(*shape, n=20, seed=0, outputs=2):
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(n, *shape)).astype("float32")
    return x, generator.normal(size=(n, outputs)).astype("float32")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_every_layer(case):
    x = case.data(batch=12, dtype="float32")

    def make():
        leaves = flatten(x)
        inputs = [layers.Input(a.shape[1:]) for a in leaves]
        y = case.make()(inputs if len(leaves) > 1 else inputs[0])
        model = Model(inputs, layers.Dense(2)(layers.Flatten()(y)))
        model.compile("adam", "mse")
        return model

    y = np.random.default_rng(1).normal(size=(12, 2)).astype("float32")
    foreign = any(name in case.id or name in str(case.options) for name in _FOREIGN)
    check(make, x, y, recorded=not foreign, batch_size=4)


def mixed():
    """Many layers with state, randomness, regularizers and constraints."""
    x = layers.Input((6, 6, 3))
    h = layers.Conv2D(4, 3, padding="same", kernel_regularizer="l2")(x)
    h = layers.BatchNormalization()(h)
    h = layers.Activation("relu")(h)
    h = layers.MaxPooling2D()(layers.SpatialDropout2D(0.2)(h))
    h = layers.add([h, layers.Conv2D(4, 1, use_bias=False)(h)])
    h = layers.GaussianNoise(0.1)(layers.Flatten()(h))
    h = layers.Dense(8, "tanh", kernel_constraint="max_norm", activity_regularizer="l1")(h)
    return Model(x, layers.Dense(2, bias_regularizer=regularizers.l1(0.1))(layers.Dropout(0.3)(h)))


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adagrad", "adadelta", "adam", "nadam"])
def test_layers_with_state_and_every_optimizer(optimizer):
    def make():
        model = mixed()
        model.compile(optimizers.get(optimizer), "mse", metrics=["mae"])
        return model

    x, y = data(6, 6, 3)
    # A last batch of its own size; validation between epochs.
    check(make, x, y, batch_size=8, validation_split=0.2, shuffle=True)


def test_clipping_schedules_and_weights():
    def make():
        model = Sequential([layers.Dense(5, "relu", input_shape=(4,)), layers.Dense(2)])
        rate = optimizers.schedules.ExponentialDecay(0.1, 3, 0.5)
        model.compile(
            optimizers.SGD(rate, momentum=0.9, nesterov=True, clipnorm=0.5),
            losses.Huber(),
            weighted_metrics=["mae", "RootMeanSquaredError"],
        )
        return model

    x, y = data(4)
    weight = np.linspace(0, 1, len(x))
    check(make, x, y, sample_weight=weight, batch_size=6)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_embeddings_masks_and_recurrence(optimizer):
    def make():
        words = layers.Input((5,))
        h = layers.Embedding(11, 4, mask_zero=True)(words)
        h = layers.Bidirectional(layers.LSTM(3, return_sequences=True, dropout=0.2))(h)
        h = layers.GRU(4, recurrent_dropout=0.3)(h)
        model = Model(words, layers.Dense(3, "softmax")(h))
        model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["acc"])
        return model

    generator = np.random.default_rng(0)
    x, y = generator.integers(0, 11, (20, 5)), generator.integers(0, 3, 20)
    model = check(make, x, y, batch_size=8)
    before = model.get_weights()
    x[3, 2] = 11
    with pytest.raises(ValueError, match="expected numbers from 0 to 10"):
        model.fit(x, y, batch_size=20, shuffle=False, verbose=0)
    with pytest.raises(ValueError, match="expected numbers from 0 to 10"):
        model.fit(x, y, batch_size=8, shuffle=False, verbose=0)
    for a, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_stateful_recurrence():
    def make():
        model = Sequential(
            [layers.LSTM(3, stateful=True, batch_input_shape=(4, 5, 2)), layers.Dense(2)]
        )
        model.compile("adam", "mse")
        return model

    x, y = data(5, 2)
    model = check(make, x, y, batch_size=4, shuffle=False)
    first, second = model.predict(x, batch_size=4), model.predict(x, batch_size=4)
    assert np.any(first != second)
    model.reset_states()
    once = model.predict(x, batch_size=4)
    model.reset_states()
    np.testing.assert_array_equal(model.predict(x, batch_size=4), once)


def test_several_outputs_and_missing_targets():
    def make():
        a, b = layers.Input((4,), name="a"), layers.Input((3,), name="b")
        h = layers.concatenate([layers.Dense(4)(a), layers.Dense(4, "relu")(b)])
        outputs = [layers.Dense(2, name="p")(h), layers.Dense(1, "sigmoid", name="q")(h)]
        model = Model([a, b], [*outputs, layers.Dense(1, name="r")(h)])
        with pytest.warns(UserWarning, match="aren't trained"):
            model.compile(
                "rmsprop",
                {"p": "mse", "q": "binary_crossentropy"},
                {"q": ["accuracy", "binary_crossentropy"]},
                loss_weights={"p": 0.5, "q": 2.0},
            )
        return model

    (a, p), (b, q) = data(4), data(3, seed=1, outputs=1)
    check(make, {"a": a, "b": b}, {"p": p, "q": (q > 0) * 1.0}, batch_size=7)


def test_counting_metrics():
    def make():
        model = Sequential([layers.Dense(1, "sigmoid", input_shape=(4,))])
        kinds = ["accuracy", metrics.AUC(), metrics.Precision(), metrics.Recall()]
        model.compile("adam", "binary_crossentropy", kinds)
        return model

    x, y = data(4, outputs=1)
    check(make, x, (y > 0) * 1, batch_size=8)


# -- what changes after a recording --------------------------------------------------------


def small(**options):
    hidden = [layers.Dense(4, input_shape=(3,)), layers.Dropout(0.0)]
    model = Sequential([*hidden, layers.Dense(2, "tanh")])
    model.compile("sgd", "mse", **options)
    return model


def test_options_of_layers_and_trainability_are_seen():
    model = small()
    x, y = data(3)
    for _ in range(4):
        model.train_on_batch(x, y)
    assert any(model._plan.steps.train._replays.values())
    model.layers[1].rate = 1.0  # nothing gets through
    before = model.layers[0].get_weights()
    for _ in range(3):
        model.train_on_batch(x, y)
    np.testing.assert_array_equal(model.layers[0].get_weights()[0], before[0])
    model.layers[2].activation = lambda t: t * 0.0
    np.testing.assert_array_equal(model.predict(x), np.zeros((20, 2)))


def test_frozen_normalization_is_seen():
    model = Sequential([layers.BatchNormalization(input_shape=(3,)), layers.Dense(2)])
    model.compile("sgd", "mse")
    x, y = data(3)
    for _ in range(4):
        model.train_on_batch(x + 5, y)
    model.layers[0].trainable = False
    kept = model.layers[0].get_weights()[2]
    with pytest.warns(UserWarning, match="trainable"):
        model.train_on_batch(x, y)
    np.testing.assert_array_equal(model.layers[0].get_weights()[2], kept)


def test_rates_and_variables_are_read_at_each_step():
    model = small()
    x, y = data(3)
    for _ in range(4):
        model.train_on_batch(x, y)
    before = model.get_weights()
    K.set_value(model.optimizer.lr, 0.0)
    model.train_on_batch(x, y)
    for a, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)
    model.set_weights([w * 0 for w in before])
    np.testing.assert_array_equal(model.predict(x), np.zeros((20, 2)))


class Counting(layers.Layer):
    calls = 0

    def call(self, x):
        Counting.calls += 1
        return x * 1.0


def counting_loss(y_true, y_pred):
    Counting.calls += 1
    return K.mean(K.square(y_true - y_pred), axis=-1)


@pytest.mark.parametrize(
    "where", ["layer", "loss", "metric", "activation", "lambda", "regularizer"]
)
def test_code_of_the_user_runs_at_every_step(where, caplog):
    def counted(t):
        Counting.calls += 1
        return t * 1.0

    parts = {
        "layer": lambda: [Counting(), layers.Dense(2)],
        "activation": lambda: [layers.Dense(2, activation=counted)],
        "lambda": lambda: [layers.Lambda(counted), layers.Dense(2)],
        "regularizer": lambda: [layers.Dense(2, kernel_regularizer=lambda w: K.sum(counted(w)))],
    }.get(where, lambda: [layers.Dense(2)])
    model = Sequential([layers.InputLayer((3,)), *parts()])
    model.compile(
        "sgd",
        counting_loss if where == "loss" else "mse",
        [counting_loss] if where == "metric" else None,
    )
    x, y = data(3)
    with caplog.at_level(logging.INFO, "gpunet"):
        for _ in range(6):
            before = Counting.calls
            model.train_on_batch(x, y)
            assert Counting.calls == before + 1
    assert ("isn't recorded" in caplog.text) == (where != "metric")  # that isn't in the way


def test_run_eagerly_records_nothing():
    model = small(run_eagerly=True)
    x, y = data(3)
    for _ in range(4):
        model.train_on_batch(x, y)
    assert not hasattr(model._plan.steps.train, "reason")


class Spread(metrics.Metric):
    """A metric of the user's that looks at values, masks and weights."""

    def __init__(self):
        super().__init__(name="spread")
        self.seen = []

    def update_state(self, y_true, y_pred, sample_weight=None):
        weight = 1.0 if sample_weight is None else float(K.sum(sample_weight))
        logits = getattr(y_pred, "_keras_logits", None)
        self.seen.append(float(K.max(y_pred)) * weight + (logits is not None))

    def result(self):
        return sum(self.seen)

    def reset_states(self):
        self.seen = []


def test_metrics_of_the_user_run_at_every_step():
    def make():
        x = layers.Input((5, 3))
        h = layers.Dense(2, "softmax")(layers.Masking()(x))
        model = Model(x, h)
        rate = lambda y_true, y_pred: K.mean(y_pred, axis=-1)  # noqa: E731
        model.compile("sgd", "categorical_crossentropy", [Spread(), "acc"], weighted_metrics=[rate])
        return model

    generator = np.random.default_rng(0)
    x = generator.normal(size=(20, 5, 3)) * (generator.random((20, 5, 1)) > 0.3)
    y = generator.random((20, 5, 2))
    model = check(make, x, y, batch_size=8, sample_weight=generator.random(20))
    assert len(model.metrics[0].seen) == 3


def test_added_losses_and_metrics():
    def make():
        x = layers.Input((4,))
        h = layers.Dense(3, "tanh")(x)
        model = Model(x, layers.Dense(2)(h))
        model.add_loss(K.mean(K.square(h)))
        model.add_metric(K.sum(h), name="total", aggregation="mean")
        model.compile("adam", "mse")
        return model

    x, y = data(4)
    model = check(make, x, y, batch_size=8)
    assert len(set(model.history.history["total"])) == 3


def test_training_itself_changes_nothing_that_recordings_rely_on():
    model = small()
    x, y = data(3)
    stop = gpunet.callbacks.EarlyStopping("loss", patience=5)
    model.fit(x, y, epochs=2, verbose=0, validation_split=0.5, callbacks=[stop])
    before = recording.edits
    model.fit(x, y, epochs=2, verbose=0, validation_split=0.5, callbacks=[stop])
    model.evaluate(x, y, verbose=0)
    model.predict(x)
    assert recording.edits == before
