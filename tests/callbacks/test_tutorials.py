"""Callbacks as tutorials write them: best weights, rates by epoch, a variable, a warm-up."""

import numpy as np
import pytest

from gpunet import backend as K
from gpunet.callbacks import Callback, LearningRateScheduler, ModelCheckpoint
from gpunet.layers import Dense
from gpunet.models import Sequential
from gpunet.optimizers import Adam


def new_model(loss="sparse_categorical_crossentropy", metrics=("accuracy",), optimizer="adam"):
    model = Sequential([Dense(3, activation="softmax", input_shape=(4,))])
    model.compile(loss=loss, optimizer=optimizer, metrics=list(metrics))
    return model


@pytest.fixture
def classes(seeds):
    x = np.random.random((40, 4)).astype("float32")
    return x, x[:, :3].argmax(axis=1)


def test_evaluate_saves_the_best_weights(classes, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    x, y = classes
    model = new_model()

    def evaluate():
        return np.mean(model.predict(x).argmax(axis=1) == y)

    class Evaluate(Callback):
        def __init__(self):
            self.accs = []
            self.highest = 0.0

        def on_epoch_end(self, epoch, logs=None):
            acc = evaluate()
            self.accs.append(acc)
            if acc >= self.highest:
                self.highest = acc
                self.best = model.get_weights()  # added for the test
                model.save_weights("best_model.weights")
            print("acc: %s, highest: %s" % (acc, self.highest))  # noqa: UP031

    def lr_schedule(epoch):
        if epoch < 5:
            lr = 1e-1
        elif epoch < 8:
            lr = 1e-2
        else:
            lr = 1e-3
        return lr

    evaluator = Evaluate()
    lr_scheduler = LearningRateScheduler(lr_schedule)
    history = model.fit(x, y, epochs=10, callbacks=[evaluator, lr_scheduler], verbose=0)
    np.testing.assert_allclose(history.history["lr"], [0.1] * 5 + [0.01] * 3 + [0.001] * 2)
    other = new_model()
    other.load_weights("best_model.weights")
    for got, want in zip(other.get_weights(), evaluator.best):
        np.testing.assert_array_equal(got, want)
    assert other.evaluate(x, y, verbose=0)[1] == pytest.approx(evaluator.highest)
    assert len(evaluator.accs) == 10 and evaluator.highest == max(evaluator.accs)
    assert capsys.readouterr().out.splitlines()[-1].startswith("acc: ")


def test_checkpoint_by_val_acc(classes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checkpoint = ModelCheckpoint(
        filepath="./best_model.weights", monitor="val_acc", verbose=1, save_best_only=True
    )
    model = new_model()
    history = model.fit(
        *classes, epochs=4, validation_data=classes, callbacks=[checkpoint], verbose=0
    )
    model.load_weights("./best_model.weights")
    assert model.evaluate(*classes, verbose=0)[1] == max(history.history["val_accuracy"])


def test_a_variable_in_the_loss_changes_between_epochs(classes):
    x, y = classes
    y = np.eye(3)[y]
    e = K.variable(0.1)

    def mycrossentropy(y_true, y_pred):
        loss1 = K.categorical_crossentropy(y_true, y_pred)
        loss2 = K.categorical_crossentropy(K.ones_like(y_pred) / 3, y_pred)
        return (1 - e) * loss1 + e * loss2

    class callback4e(Callback):
        def __init__(self, e):
            self.e = e

        def on_epoch_end(self, epoch, logs={}):  # noqa: B006
            if epoch > 1:
                K.set_value(self.e, 1.0)

    model = new_model(loss=mycrossentropy, metrics=(), optimizer=Adam(0.0))
    losses = model.fit(x, y, epochs=5, callbacks=[callback4e(e)], verbose=0).history["loss"]
    p = model.predict(x).astype("float64")
    right, even = -np.log(p[y == 1]).mean(), -np.log(p).mean()
    np.testing.assert_allclose(losses[:3], [0.9 * right + 0.1 * even] * 3, rtol=1e-5)
    np.testing.assert_allclose(losses[3:], [even] * 2, rtol=1e-5)
    assert K.get_value(e) == 1.0


@pytest.mark.parametrize("steps", ["given", None])
def test_warm_up(classes, steps):
    seen = []

    class Evaluate(Callback):
        def __init__(self):
            self.num_passed_batchs = 0
            self.warmup_epochs = 3

        def on_batch_begin(self, batch, logs=None):
            if steps is None:
                self.params["steps"] = None  # as Keras has it for arrays
            if self.params["steps"] == None:  # noqa: E711
                self.steps_per_epoch = np.ceil(
                    1.0 * self.params["samples"] / self.params["batch_size"]
                )
            else:
                self.steps_per_epoch = self.params["steps"]
            if self.num_passed_batchs < self.steps_per_epoch * self.warmup_epochs:
                K.set_value(
                    self.model.optimizer.lr,
                    0.001 * (self.num_passed_batchs + 1) / self.steps_per_epoch
                    / self.warmup_epochs,
                )  # fmt: skip
                self.num_passed_batchs += 1

        def on_batch_end(self, batch, logs=None):
            seen.append(K.get_value(self.model.optimizer.lr))

    model = new_model()
    model.fit(*classes, batch_size=16, epochs=5, callbacks=[Evaluate()], verbose=0)
    want = [0.001 * min(i + 1, 9) / 9 for i in range(15)]  # three batches in an epoch
    np.testing.assert_allclose(seen, want, rtol=1e-6)
