"""Subclasses with steps of their own: what they get, what they may return, what else goes on."""

import os
import signal

import numpy as np
import pytest

import gpunet
from gpunet import ops
from gpunet.layers import Dense, Input
from gpunet.metrics import Mean
from gpunet.models import Model
from gpunet.utils import Sequence, pack_x_y_sample_weight, unpack_x_y_sample_weight

X = np.arange(20, dtype="float32").reshape(10, 2)
Y = X.sum(axis=1, keepdims=True)


def made(kind, **options):
    """Return a small functional model of a subclass."""
    inputs = Input((2,))
    model = kind(inputs, Dense(1, kernel_initializer="ones")(inputs))
    model.compile(gpunet.optimizers.SGD(0.001), **{"loss": "mse", "metrics": ["mae"], **options})
    return model


class Seen(Model):
    """Keeps what its step gets."""

    def train_step(self, data):
        self.__dict__.setdefault("seen", []).append(data)
        return {"loss": 1.0}


def kinds(data):
    if isinstance(data, (list, tuple)):
        return type(data)(kinds(part) for part in data)
    if isinstance(data, dict):
        return {key: kinds(part) for key, part in data.items()}
    return tuple(data.shape)


W = np.ones(10)
FORMS = {
    "x": ((X,), (4, 2)),
    "x, y": ((X, Y), ((4, 2), (4, 1))),
    "1-d y": ((X, Y[:, 0]), ((4, 2), (4,))),
    "weights": ((X, Y, W), ((4, 2), (4, 1), (4,))),
    "dict": (({"a": X, "b": Y},), ({"a": (4, 2), "b": (4, 1)},)),
    "nests": (([X, {"b": Y}], (Y, Y)), ([(4, 2), {"b": (4, 1)}], ((4, 1), (4, 1)))),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("stream", [False, True])
def test_what_a_step_gets(form, stream):
    given, want = FORMS[form]
    model = made(Seen)
    if stream:

        def part(nest):
            if isinstance(nest, dict):
                return {k: part(v) for k, v in nest.items()}
            return type(nest)(map(part, nest)) if isinstance(nest, (list, tuple)) else nest[:4]

        model.fit(iter([part(given)]), verbose=0)
    else:
        x, y, w = (*given, None, None)[:3]
        model.fit(x, y, sample_weight=w, batch_size=4, steps_per_epoch=1, verbose=0)
    (data,) = model.seen
    assert kinds(data) == want
    assert all(isinstance(t, gpunet.Tensor) for t in gpunet.nest.flatten(data))


def test_class_weights_reach_an_own_step():
    model = made(Seen)
    y = np.array([0, 1, 1, 0, 1, 0, 0, 1, 1, 0])
    model.fit(X, y, batch_size=10, shuffle=False, class_weight={0: 0.5, 1: 2.0}, verbose=0)
    np.testing.assert_array_equal(model.seen[0][2].numpy(), np.where(y, 2.0, 0.5))


def test_super_step_is_what_fit_does_otherwise():
    class Counting(Model):
        def train_step(self, data):
            logs = super().train_step(data)
            return {**logs, "twice": 2 * logs["loss"]}

    class Items(Sequence):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            return X[index * 4 :][:4], Y[index * 4 :][:4]

    for source in ((X, Y), (Items(),)):
        options = {"batch_size": 4} if len(source) == 2 else {}
        histories = [
            made(kind).fit(*source, epochs=3, shuffle=False, verbose=0, **options).history
            for kind in (Counting, Model)
        ]
        own, plain = histories
        assert list(own) == ["loss", "mae", "twice"]
        np.testing.assert_allclose(own["loss"], plain["loss"], rtol=1e-6)
        np.testing.assert_allclose(own["mae"], plain["mae"], rtol=1e-6)
        np.testing.assert_allclose(own["twice"], 2 * np.array(own["loss"]), rtol=1e-6)


def test_on_batch_methods_use_own_steps():
    class Own(Model):
        def train_step(self, data):
            return {"a": 1.0, "b": ops.sum(data[0])}

        def test_step(self, data):
            return {"c": 3}

        def predict_step(self, data):
            return {"double": 2 * data, "half": data / 2}

    model = made(Own)
    assert model.train_on_batch(X, Y) == [1.0, X.sum()]
    assert model.train_on_batch(X, Y, return_dict=True) == {"a": 1.0, "b": X.sum()}
    assert model.test_on_batch(X, Y) == 3.0 == model.evaluate(X, Y, verbose=0)
    for outputs in (model.predict_on_batch(X), model.predict(X, batch_size=3)):
        np.testing.assert_array_equal(outputs["double"], 2 * X)
        np.testing.assert_array_equal(outputs["half"], X / 2)


def test_make_train_function_is_the_outermost_hook():
    class Own(Model):
        def make_train_function(self, force=False):
            step = super().make_train_function(force)

            def function(iterator):
                self.calls = getattr(self, "calls", 0) + 1
                return {**step(iterator), "calls": self.calls}

            return function

    history = made(Own).fit(X, Y, batch_size=5, epochs=2, verbose=0).history
    assert history["calls"] == [2.0, 4.0] and list(history) == ["loss", "mae", "calls"]


def test_metrics_that_are_attributes_start_anew_each_epoch():
    class Own(Model):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.seen = Mean(name="seen")

        def train_step(self, data):
            self.seen.update_state(ops.mean(data[0]))
            return {"seen": self.seen.result()}

    model = made(Own)
    assert model.fit(X, Y, batch_size=5, epochs=2, verbose=0).history["seen"] == [9.5, 9.5]
    assert [m.name for m in model.metrics] == ["loss", "mae", "seen"]


@pytest.mark.parametrize("returned", [None, 1.5, [1, 2]])
def test_a_step_that_returns_no_dict(returned):
    class Own(Model):
        def train_step(self, data):
            return returned

    with pytest.raises(TypeError, match="Own.train_step: expected it to return a dict"):
        made(Own).fit(X, Y, verbose=0)


def test_ctrl_c_comes_after_an_own_step():
    class Own(Model):
        def train_step(self, data):
            os.kill(os.getpid(), signal.SIGINT)
            return super().train_step(data)

    model = made(Own)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, verbose=0)
    assert int(model.optimizer.iterations) == 1
    with pytest.raises(KeyboardInterrupt):
        model.train_on_batch(X, Y)


def test_an_own_step_needs_compile():
    inputs = Input((2,))
    with pytest.raises(RuntimeError, match="You must compile"):
        Seen(inputs, Dense(1)(inputs)).fit(X, Y)


def test_targets_of_compiled_loss_by_name_and_wrong_counts():
    class Own(Model):
        def train_step(self, data):
            x, y = data
            with gpunet.GradientTape() as tape:
                outputs = self(x, training=True)
                loss = self.compiled_loss(y, outputs)
            self.optimizer.minimize(loss, self.trainable_variables, tape=tape)
            self.compiled_metrics.update_state(y, outputs)
            return {m.name: m.result() for m in self.metrics}

    inputs = Input((2,))
    outputs = [Dense(1, name="a")(inputs), Dense(1, name="b")(inputs)]
    model = Own(inputs, outputs)
    model.compile("sgd", "mse", metrics=["mae"])
    logs = model.fit(X, {"b": Y, "a": Y}, verbose=0).history
    assert list(logs) == ["loss", "a_loss", "b_loss", "a_mae", "b_mae"]
    with pytest.raises(ValueError, match="expected 2 tensors, one for each of .*, got 1"):
        model.fit(X, Y, verbose=0)
    with pytest.raises(ValueError, match="unknown outputs .'c'."):
        model.fit(X, {"a": Y, "c": Y}, verbose=0)


def test_unpack_and_pack():
    assert unpack_x_y_sample_weight(1) == (1, None, None)
    assert unpack_x_y_sample_weight((1,)) == (1, None, None)
    assert unpack_x_y_sample_weight([1, 2]) == (1, 2, None)
    assert unpack_x_y_sample_weight((1, 2, 3)) == (1, 2, 3)
    with pytest.raises(ValueError, match="tuple of length 4"):
        unpack_x_y_sample_weight((1, 2, 3, 4))
    assert pack_x_y_sample_weight(1) == 1
    assert pack_x_y_sample_weight([1]) == ([1],)
    assert pack_x_y_sample_weight(1, 2) == (1, 2)
    assert pack_x_y_sample_weight(1, 2, 3) == (1, 2, 3)
