"""Whole training steps on arrays that the host can't read."""

import fake_device
import numpy as np
import pytest

import gpunet
from gpunet import arrays, regularizers
from gpunet.layers import Concatenate, Dense, Dropout, Input
from gpunet.models import Model, Sequential
from gpunet.ops import random
from gpunet.training import step
from gpunet.training.interrupts import Interrupts

X = np.random.default_rng(1).standard_normal((24, 6)).astype("float32")
Y = np.arange(24) % 3


pytestmark = pytest.mark.usefixtures("plain_sums")


@pytest.fixture(autouse=True)
def own_generator(monkeypatch):
    """A generator whose state doesn't stay behind on a device that is gone."""
    monkeypatch.setattr(random, "_default", random.Generator(0))


def mlp():
    return Sequential(
        [
            Dense(
                16, activation="relu", input_shape=(6,), kernel_regularizer=regularizers.l2(0.01)
            ),
            Dropout(0.4),
            Dense(3, activation="softmax"),
        ]
    )


def compiled(optimizer="adam", loss="sparse_categorical_crossentropy"):
    gpunet.utils.set_random_seed(0)
    model = mlp()
    measured = ["accuracy"]
    model.compile(optimizer, loss, metrics=measured, weighted_metrics=["accuracy"])
    return model


def several_steps(optimizer, loss="sparse_categorical_crossentropy", capture=False):
    model = compiled(optimizer, loss)
    y = Y if loss.startswith("sparse") else np.eye(3, dtype="float32")[Y]
    feeder = model._feeder("fit", X, y, np.linspace(0, 1, 24), 8)
    batches = list(feeder.batches())
    logs = []
    with Interrupts() as interrupts:
        for i, batch in enumerate([*batches, *batches]):
            if capture and i >= len(batches):  # everything has its storage by now
                with fake_device.capture():
                    step.train_step(model, batch, interrupts)
            else:
                step.train_step(model, batch, interrupts)
            if i == 3:
                logs.append(model._objective.logs())
    step.test_step(model, batches[0])
    (p,) = step.predict_step(model, batches[0])
    return model, [*logs, model._objective.logs()], arrays.to_host(p.array)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop", "nadam"])
@pytest.mark.parametrize("loss", ["sparse_categorical_crossentropy", "categorical_crossentropy"])
def test_mlp_steps_equal_those_of_numpy(optimizer, loss):
    want = several_steps(optimizer, loss)
    with fake_device.fake_device():
        model, logs, p = several_steps(optimizer, loss)
        assert isinstance(model.layers[0].kernel.array, fake_device.FakeArray)
        weights = model.get_weights()
    assert logs == want[1]
    np.testing.assert_array_equal(p, want[2])
    for got, expected in zip(weights, want[0].get_weights(), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_steps_copy_nothing_between_host_and_device():
    want = several_steps("adam")
    with fake_device.fake_device():
        model, logs, _ = several_steps("adam", capture=True)
        weights = model.get_weights()
    assert logs == want[1]
    for got, expected in zip(weights, want[0].get_weights(), strict=True):
        np.testing.assert_array_equal(got, expected)


def storage(model):
    """Return what a recorded step would hold on to."""
    objective, optimizer = model._objective, model.optimizer
    variables = [*model.weights, *optimizer.weights]
    variables += [v for m in model.metrics for v in m.variables]
    return [id(a) for a in [*objective._sums, *(v.array for v in variables)]]


def test_nothing_is_rebound_from_epoch_to_epoch():
    model = compiled()
    model.fit(X, Y, epochs=1, validation_split=0.5, verbose=0)
    kept = storage(model)
    model.fit(X, Y, epochs=2, validation_split=0.5, verbose=0)
    model.set_weights(model.get_weights())
    model.train_on_batch(X, Y)
    assert storage(model) == kept


def test_fit_evaluate_predict_on_a_device():
    def run():
        gpunet.utils.set_random_seed(5)
        a, b = Input((6,), name="a"), Input((6,), name="b")
        hidden = Dropout(0.3)(Dense(8, activation="tanh")(Concatenate()([a, b])))
        model = Model([a, b], [Dense(3, activation="softmax", name="kind")(hidden),
                               Dense(1, name="value")(hidden)])  # fmt: skip
        model.compile("adam", ["sparse_categorical_crossentropy", "mae"], metrics=["acc"],
                      loss_weights=[1.0, 0.3])  # fmt: skip
        history = model.fit([X, X * 2], [Y, X[:, 0]], batch_size=7, epochs=3,
                            validation_split=0.25, verbose=0)  # fmt: skip
        return [history.history, model.evaluate([X, X], [Y, X[:, 0]], verbose=0),
                [p.tolist() for p in model.predict([X, X])],
                [p.tolist() for p in model.predict_on_batch([X, X])]]  # fmt: skip

    want = run()
    with fake_device.fake_device():
        assert run() == want


def test_data_that_lie_on_the_device():
    want = compiled().fit(X, Y, epochs=2, verbose=0).history
    with fake_device.fake_device() as device:
        x = device.xp.asarray(X)
        y = device.xp.asarray(Y)
        model = compiled()
        assert model.fit(x, y, epochs=2, verbose=0).history == want
        assert model.predict(x).shape == (24, 3)
