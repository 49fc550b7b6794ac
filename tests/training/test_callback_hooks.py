"""Which hooks are called when, with what, and what callbacks can do."""

import numpy as np
import pytest

import gpunet
from gpunet.callbacks import Callback, History, LambdaCallback
from gpunet.layers import Dense
from gpunet.models import Sequential

HOOKS = [name for name in vars(Callback) if name.startswith("on_")]


def model_of(metrics=None):
    model = Sequential([Dense(1, input_shape=(2,))])
    model.compile("sgd", "mse", metrics=metrics)
    return model


@pytest.fixture
def data(rng):
    return rng.standard_normal((10, 2)).astype("float32"), rng.standard_normal(10)


class Recorder(Callback):
    """Writes down every hook with its number and the names in its logs."""

    def __init__(self):
        self.calls = []


def _record(name):
    def hook(self, *args, logs=None):
        *number, given = args if logs is None else (*args, logs)
        assert isinstance(given, dict)
        assert all(type(v) is float for k, v in given.items() if k in ("loss", "val_loss", "mae"))
        self.calls.append((name, *number, sorted(given)))

    return hook


for _name in HOOKS:
    if _name not in ("on_batch_begin", "on_batch_end"):
        setattr(Recorder, _name, _record(_name))


def test_order_of_hooks(data):
    recorder = Recorder()
    model_of(["mae"]).fit(
        *data, batch_size=5, epochs=2, validation_split=0.4, callbacks=[recorder], verbose=0
    )
    batch, done = ["batch", "size"], ["batch", "loss", "mae", "size"]
    train = [
        call
        for i in range(2)
        for call in (("on_train_batch_begin", i, batch), ("on_train_batch_end", i, done))
    ]
    validation = [
        ("on_test_begin", []),
        ("on_test_batch_begin", 0, batch),
        ("on_test_batch_end", 0, done),
        ("on_test_end", ["loss", "mae"]),
    ]
    names = ["loss", "mae", "val_loss", "val_mae"]
    epochs = [
        call
        for e in range(2)
        for call in (
            ("on_epoch_begin", e, []),
            *train,
            *validation,
            ("on_epoch_end", e, names),
        )  # fmt: skip
    ]
    assert recorder.calls == [("on_train_begin", []), *epochs, ("on_train_end", names)]


def test_hooks_of_evaluate_and_predict(data):
    model, recorder = model_of(), Recorder()
    model.evaluate(*data, batch_size=10, callbacks=[recorder], verbose=0)
    model.predict(data[0], batch_size=10, callbacks=recorder)
    assert recorder.calls == [
        ("on_test_begin", []),
        ("on_test_batch_begin", 0, ["batch", "size"]),
        ("on_test_batch_end", 0, ["batch", "loss", "size"]),
        ("on_test_end", ["loss"]),
        ("on_predict_begin", []),
        ("on_predict_batch_begin", 0, ["batch", "size"]),
        ("on_predict_batch_end", 0, ["batch", "outputs", "size"]),
        ("on_predict_end", []),
    ]


def test_params_model_and_validation_data(data):
    x, y = data
    model, callback = model_of(["mae"]), Callback()
    model.fit(x, y, batch_size=4, epochs=3, validation_split=0.5, callbacks=[callback], verbose=0)
    assert callback.model is model
    assert callback.params == {
        "batch_size": 4, "epochs": 3, "steps": 2, "samples": 5, "verbose": 0,
        "do_validation": True, "metrics": ["loss", "mae", "val_loss", "val_mae"],
    }  # fmt: skip
    vx, vy, weight = callback.validation_data
    np.testing.assert_array_equal(vx, x[5:])
    np.testing.assert_array_equal(vy, y[5:])
    np.testing.assert_array_equal(weight, np.ones(5))
    model.fit(x, y, validation_data=(x, y, y), callbacks=[callback], verbose=0)
    np.testing.assert_array_equal(callback.validation_data[2], y)
    callback = Callback()
    model.fit(x, y, steps_per_epoch=1, batch_size=4, callbacks=[callback], verbose=0)
    assert callback.params["steps"] == 1 and not callback.params["do_validation"]
    assert callback.params["metrics"] == ["loss", "mae"] and callback.validation_data is None


def test_old_batch_hooks(data):
    class Old(Callback):
        seen = ()

        def on_batch_begin(self, batch, logs={}):  # noqa: B006, as scripts write it
            self.seen += (("begin", batch, logs.get("size")),)

        def on_batch_end(self, batch, logs={}):  # noqa: B006
            self.seen += (("end", batch, type(logs.get("loss"))),)

    old = Old()
    model_of().fit(*data, batch_size=6, callbacks=[old], verbose=0)
    assert old.seen == (
        ("begin", 0, 6), ("end", 0, float), ("begin", 1, 4), ("end", 1, float)
    )  # fmt: skip


def test_a_callback_needs_no_base_class(data):
    class Bare:
        def __init__(self):
            self.epochs, self.batches = [], []

        def on_epoch_end(self, epoch, logs):
            self.epochs.append(epoch)

    class WithBatches(Bare):
        def on_batch_end(self, batch, logs):
            self.batches.append(batch)

    bare, more = Bare(), WithBatches()
    model_of().fit(*data, batch_size=5, epochs=2, callbacks=(bare, more), verbose=0)
    assert bare.epochs == more.epochs == [0, 1] and more.batches == [0, 1, 0, 1]


def test_lambda_callback(data):
    seen = []
    callback = LambdaCallback(
        on_epoch_begin=lambda epoch, logs: seen.append(("epoch", epoch)),
        on_batch_end=lambda batch, logs: seen.append(("batch", batch, type(logs["loss"]))),
        on_train_end=lambda logs: seen.append(sorted(logs)),
        on_test_begin=lambda logs: seen.append("test"),
    )
    model_of().fit(*data, callbacks=[callback], validation_split=0.5, verbose=0)
    assert seen == [("epoch", 0), ("batch", 0, float), "test", ["loss", "val_loss"]]
    with pytest.raises(TypeError, match="unknown hook 'on_lunch'"):
        LambdaCallback(on_lunch=print)


def test_stop_training(data):
    def stop(when):
        class Stop(Callback):
            def on_epoch_end(self, epoch, logs=None):
                if when == ("epoch", epoch):
                    self.model.stop_training = True

            def on_train_batch_end(self, batch, logs=None):
                if when == ("batch", batch):
                    self.model.stop_training = True

        return Stop()

    model = model_of()
    history = model.fit(*data, epochs=5, callbacks=[stop(("epoch", 1))], verbose=0)
    assert history.epoch == [0, 1] and model.stop_training
    recorder = Recorder()
    model.fit(*data, batch_size=2, epochs=5, callbacks=[stop(("batch", 2)), recorder], verbose=0)
    assert sum(call[0] == "on_train_batch_end" for call in recorder.calls) == 3
    assert recorder.calls[-1][0] == "on_train_end"
    assert len(model.fit(*data, epochs=2, verbose=0).epoch) == 2


def test_history_sees_what_callbacks_add_to_logs(data):
    class Rate(Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["lr"] = 0.1 * epoch

    model = model_of()
    history = model.fit(*data, epochs=2, callbacks=[Rate()], verbose=0)
    assert isinstance(history, History) and history is model.history and history.model is model
    assert list(history.history) == ["loss", "lr"] and history.history["lr"] == [0.0, 0.1]
    assert all(type(v) is float for v in history.history["loss"])


def test_a_callback_may_train_and_test_the_model(data):
    x, y = data

    class Busy(Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.predict(x)

        def on_epoch_end(self, epoch, logs=None):
            logs["later"] = self.model.evaluate(x, y, verbose=0)

    history = model_of().fit(x, y, batch_size=5, epochs=2, callbacks=[Busy()], verbose=0)
    assert history.history["later"][0] < 2 * history.history["loss"][0]


@pytest.mark.parametrize("hook", [h for h in HOOKS if "predict" not in h])
def test_an_exception_leaves_everything_usable(data, hook):
    class Broken(Callback):
        pass

    def fail(*args, **kwargs):
        raise OSError("disk full")

    setattr(Broken, hook, fail)
    model = model_of()
    with pytest.raises(OSError, match="disk full"):
        model.fit(*data, validation_split=0.5, callbacks=[Broken()], verbose=0)
    from gpunet.autodiff import recording
    from gpunet.context import learning_phase

    assert not recording() and learning_phase() == 0
    losses = model.fit(*data, epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("given", [[3], "tensorboard", [Callback], [print]])
def test_what_is_no_callback(data, given):
    model = model_of()
    before = model.get_weights()
    with pytest.raises(TypeError, match="callbacks: expected Callback objects, got"):
        model.fit(*data, callbacks=given, verbose=0)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_batches_are_only_watched_when_someone_does():
    from gpunet.training.callbacks import CallbackList

    class OnBatch(Callback):
        def on_batch_end(self, batch, logs=None):
            pass

    def watches(callback):
        made = CallbackList([callback], None, {})
        return [made.wants_batches(mode) for mode in ("train", "test", "predict")]

    assert watches(History()) == [False, False, False]
    assert watches(OnBatch()) == [True, False, False]
    assert watches(LambdaCallback(on_test_batch_end=print)) == [False, True, False]
    assert watches(LambdaCallback(on_epoch_end=print)) == [False, False, False]
    assert gpunet.callbacks.CallbackList is CallbackList
