"""EarlyStopping, TerminateOnNaN, LearningRateScheduler and ReduceLROnPlateau in `fit`."""

import numpy as np
import pytest

from gpunet.callbacks import (
    Callback,
    EarlyStopping,
    LearningRateScheduler,
    ReduceLROnPlateau,
    TerminateOnNaN,
)
from gpunet.optimizers import SGD
from gpunet.optimizers.schedules import ExponentialDecay


class Logs(Callback):
    """Puts values into the logs of epochs, and keeps the weights."""

    def __init__(self, **values):
        self.values, self.weights = values, []

    def on_epoch_end(self, epoch, logs=None):
        logs.update({name: values[epoch] for name, values in self.values.items()})
        self.weights.append(self.model.get_weights())


def test_early_stopping_restores_the_best_weights(make_model, data, capsys):
    logs, model = Logs(val_accuracy=[0.1, 0.5, 0.4, 0.3, 0.2]), make_model()
    stop = EarlyStopping("val_acc", patience=2, restore_best_weights=True, verbose=1)
    history = model.fit(*data, epochs=5, callbacks=[logs, stop], verbose=0)
    assert history.epoch == [0, 1, 2, 3] and stop.stopped_epoch == 3 and stop.best_epoch == 1
    for got, want in zip(model.get_weights(), logs.weights[1]):
        np.testing.assert_array_equal(got, want)
    assert capsys.readouterr().out == (
        "Epoch 00004: early stopping\nRestoring model weights from the end of the best epoch: 2.\n"
    )


def test_early_stopping_without_its_value(make_model, data):
    with pytest.warns(
        RuntimeWarning, match="on metric `val_loss` which is not available. .*: loss"
    ):
        history = make_model().fit(*data, epochs=2, callbacks=[EarlyStopping()], verbose=0)
    assert history.epoch == [0, 1]
    with pytest.warns(RuntimeWarning, match="EarlyStopping mode up is unknown"):
        EarlyStopping(mode="up")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_terminate_on_nan(make_model, data, capsys, bad):
    class Spoil(Callback):
        def on_batch_end(self, batch, logs=None):
            if batch == 1:
                logs["loss"] = bad

    history = make_model().fit(
        *data, batch_size=2, epochs=3, callbacks=[Spoil(), TerminateOnNaN()], verbose=0
    )
    assert history.epoch == [0]
    assert capsys.readouterr().out == "Batch 1: Invalid loss, terminating training\n"


def test_terminate_on_a_loss_that_is_nan(make_model, data):
    model = make_model()
    model.set_weights([np.full((2, 1), np.nan), np.zeros(1)])
    history = model.fit(*data, epochs=3, callbacks=[TerminateOnNaN()], verbose=0)
    assert history.epoch == [0] and np.isnan(history.history["loss"][0])


class Rates(Callback):
    """Keeps the learning rate of each batch."""

    def __init__(self):
        self.rates = []

    def on_batch_end(self, batch, logs=None):
        self.rates.append(float(self.model.optimizer.lr))


@pytest.mark.parametrize(
    ("schedule", "want"),
    [
        (lambda epoch: 0.1 / (epoch + 1), [0.1, 0.05, 0.1 / 3]),
        (lambda epoch, lr: lr * 0.5, [0.2, 0.1, 0.05]),
        (lambda epoch, lr=1.0: lr * 0.5, [0.2, 0.1, 0.05]),
        (lambda *args: np.float32(sum(args)), [0.4, 1.4, 3.4]),
        (lambda epoch: np.array(epoch), [0, 1, 2]),
        (max, [0.4, 1, 2]),
    ],
)
def test_learning_rate_scheduler(make_model, data, schedule, want):
    seen, model = Rates(), make_model(optimizer=SGD(0.4))
    callbacks = [LearningRateScheduler(schedule), seen]
    history = model.fit(*data, batch_size=5, epochs=3, callbacks=callbacks, verbose=0).history
    np.testing.assert_allclose(seen.rates, np.repeat(want, 2), rtol=1e-6)
    np.testing.assert_allclose(history["lr"], want, rtol=1e-6)
    assert all(type(rate) is float for rate in history["lr"])


def test_messages_and_errors_of_the_scheduler(make_model, data, capsys):
    model = make_model()
    model.fit(*data, callbacks=[LearningRateScheduler(lambda epoch: 0.5, verbose=1)], verbose=0)
    text = "\nEpoch 00001: LearningRateScheduler setting learning rate to 0.5.\n"
    assert capsys.readouterr().out == text
    for bad in (None, "0.1", True, [0.1, 0.2]):
        scheduler = LearningRateScheduler(always(bad))
        with pytest.raises(ValueError, match='output of the "schedule" function should be float'):
            model.fit(*data, callbacks=[scheduler], verbose=0)
    with pytest.raises(TypeError, match="expected schedule as a function, got 0.1"):
        LearningRateScheduler(0.1)
    with pytest.raises(TypeError, match="mine"):  # the schedule's own error comes through
        model.fit(*data, callbacks=[LearningRateScheduler(raising)], verbose=0)
    model = make_model(optimizer=SGD(ExponentialDecay(0.1, 10, 0.9)))
    with pytest.raises(ValueError, match="a number, got the schedule ExponentialDecay"):
        model.fit(*data, callbacks=[LearningRateScheduler(lambda epoch: 0.5)], verbose=0)


def always(value):
    return lambda epoch: value


def raising(epoch):
    raise TypeError("mine")


def test_reduce_lr_on_plateau(make_model, data, capsys):
    model = make_model(optimizer=SGD(0.4))
    reduce = ReduceLROnPlateau("val_acc", 0.5, patience=2, verbose=1, epsilon=0.05)
    assert reduce.min_delta == 0.05
    values = Logs(val_accuracy=[0.5, 0.52, 0.5, 0.6, 0.6, 0.6])
    history = model.fit(*data, epochs=6, callbacks=[values, reduce], verbose=0).history
    np.testing.assert_allclose(history["lr"], [0.4, 0.4, 0.4, 0.2, 0.2, 0.2], rtol=1e-6)
    assert float(model.optimizer.lr) == pytest.approx(0.1)
    said = capsys.readouterr().out
    assert said.startswith("\nEpoch 00003: ReduceLROnPlateau reducing learning rate to 0.2000")
    assert said.count("Epoch") == 2


def test_errors_of_reduce_lr_on_plateau(make_model, data):
    with pytest.raises(ValueError, match="expected factor < 1, got 1.5"):
        ReduceLROnPlateau(factor=1.5)
    with pytest.raises(TypeError, match=r"unknown argument\(s\) \['delta'\]"):
        ReduceLROnPlateau(delta=1)
    with pytest.warns(RuntimeWarning, match="conditioned on metric `val_loss` which is not avail"):
        history = make_model().fit(*data, callbacks=[ReduceLROnPlateau()], verbose=0).history
    assert history["lr"] == [pytest.approx(0.01)]
