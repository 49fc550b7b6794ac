"""Training that is broken off and goes on ends as if nothing had happened, bit for bit."""

import os
import random
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from gpunet import optimizers
from gpunet.callbacks import (
    BackupAndRestore,
    Callback,
    CSVLogger,
    EarlyStopping,
    LearningRateScheduler,
    ModelCheckpoint,
    ReduceLROnPlateau,
)
from gpunet.errors import FileFormatError, ShapeError
from gpunet.layers import (
    LSTM,
    BatchNormalization,
    Concatenate,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    Input,
    Reshape,
)
from gpunet.metrics import AUC
from gpunet.models import Model, Sequential
from gpunet.schedules import ExponentialDecay
from gpunet.utils import set_random_seed

EPOCHS = 6


class Broken(Exception):
    pass


class Breaker(Callback):
    """Ends a run after so many batches, or so many epochs."""

    def __init__(self, batches=None, epochs=None):
        self.batches, self.epochs = batches, epochs

    def on_batch_end(self, batch, logs=None):
        if self.batches is not None:
            self.batches -= 1
            if self.batches < 0:
                raise Broken

    def on_epoch_end(self, epoch, logs=None):
        if epoch == self.epochs:
            raise Broken


class Jitter(Callback):
    """Draws from everybody's generators, and changes the rate by what it was."""

    def on_epoch_begin(self, epoch, logs=None):
        rate = float(self.model.optimizer.lr)
        self.model.optimizer.lr = rate * (1 + 0.1 * np.random.rand() + 0.1 * random.random())


def run(folder, breaker=None, save_freq="epoch", **options):
    """Do what a script does: the same up to fit, whether it was broken off before or not."""
    set_random_seed(11)
    x = np.random.normal(size=(40, 4)).astype("float32")
    y = (x.sum(1) > 0).astype("float32")
    model = Sequential(
        [
            Dense(8, activation="relu", input_shape=(4,)),
            BatchNormalization(),
            Dropout(0.3),
            Dropout(0.2, seed=5),
            Dense(1, activation="sigmoid"),
        ]
    )
    model.compile("adam", "binary_crossentropy", metrics=["acc", AUC(name="auc")])
    found = {"model": model, "log": os.path.join(folder, "log.csv")}
    callbacks = [
        BackupAndRestore(os.path.join(folder, "backup"), save_freq, **options),
        Jitter(),
        EarlyStopping("val_loss", patience=50, restore_best_weights=True),
        ReduceLROnPlateau("loss", min_delta=0.1, patience=1),
        ModelCheckpoint(os.path.join(folder, "best.h5"), "loss", save_best_only=True),
        CSVLogger(found["log"]),
    ]
    if breaker is not None:
        callbacks.append(breaker)
    history = model.fit(
        x, y, 16, EPOCHS, verbose=0, validation_split=0.1, callbacks=callbacks
    )  # 3 batches in an epoch
    found["history"], found["best"] = history, callbacks[2].best
    return found


def compare(got, want):
    for a, b in zip(got["model"].get_weights(), want["model"].get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(
        got["model"].optimizer.get_weights(), want["model"].optimizer.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    assert got["history"].history == want["history"].history
    assert got["history"].epoch == want["history"].epoch == list(range(EPOCHS))
    assert got["best"] == want["best"]
    with open(got["log"]) as one, open(want["log"]) as other:
        assert one.read() == other.read()


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    return run(str(tmp_path_factory.mktemp("unbroken")))


@pytest.mark.parametrize(
    "save_freq, breakers",
    [
        ("epoch", [Breaker(batches=1)]),
        ("epoch", [Breaker(epochs=0), Breaker(epochs=4)]),
        ("epoch", [Breaker(batches=8), Breaker(batches=4), Breaker(epochs=5)]),
        (1, [Breaker(batches=0), Breaker(batches=7), Breaker(batches=1)]),
        (2, [Breaker(batches=4), Breaker(batches=5)]),
        (3, [Breaker(epochs=1), Breaker(batches=1)]),
        (4, [Breaker(batches=17)]),
        (100, [Breaker(batches=7)]),
    ],
)
def test_goes_on_bit_for_bit(tmp_path, unbroken, save_freq, breakers):
    for breaker in breakers:
        with pytest.raises(Broken):
            run(tmp_path, breaker, save_freq)
    compare(run(tmp_path, save_freq=save_freq), unbroken)
    assert not os.path.exists(tmp_path / "backup")


def test_another_frequency_reads_the_backup_too(tmp_path, unbroken):
    with pytest.raises(Broken):
        run(tmp_path, Breaker(batches=4), save_freq=1)
    with pytest.raises(Broken):
        run(tmp_path, Breaker(epochs=3), save_freq="epoch")
    (tmp_path / "backup" / ".gpunet-0123.tmp").write_bytes(b"killed while it was written")
    compare(run(tmp_path, save_freq=5), unbroken)
    assert not os.path.exists(tmp_path / "backup")


def test_early_stopping_holds_after_a_kill_at_the_end(tmp_path):
    class LastWords(Callback):
        def on_train_end(self, logs=None):
            raise Broken

    def go(*more):
        set_random_seed(1)
        model = Sequential([Dense(1, input_shape=(2,))])
        model.compile("sgd", "mse")
        stop = EarlyStopping("loss", patience=1, min_delta=10.0)
        callbacks = [*more, BackupAndRestore(tmp_path / "b"), stop]
        return model, model.fit(
            np.ones((8, 2)), np.ones(8), epochs=9, verbose=0, callbacks=callbacks
        )

    with pytest.raises(Broken):
        go(LastWords())
    assert os.path.exists(tmp_path / "b" / "backup.h5")
    _, history = go()
    assert len(history.history["loss"]) == 2


def test_backup_can_be_kept(tmp_path, unbroken):
    first = run(tmp_path, delete_checkpoint=False)
    assert os.listdir(tmp_path / "backup") == ["backup.h5"]
    again = run(tmp_path, delete_checkpoint=False)  # nothing is left to do
    compare(first, unbroken)
    compare(again, unbroken)


def test_states_of_stateful_layers(tmp_path):
    def go(*callbacks):
        set_random_seed(2)
        model = Sequential(
            [Reshape((2, 2), batch_input_shape=(4, 4)), LSTM(3, stateful=True), Dense(1)]
        )
        model.compile("rmsprop", "mse")
        x = np.random.normal(size=(16, 4)).astype("float32")
        callbacks = [*callbacks, BackupAndRestore(tmp_path / "b", save_freq=3)]
        model.fit(x, x[:, :1], 4, 4, verbose=0, callbacks=callbacks)
        return model.get_weights()

    want = go()
    with pytest.raises(Broken):
        go(Breaker(batches=7))
    for a, b in zip(go(), want):
        np.testing.assert_array_equal(a, b)


def small(width, folder, **options):
    model = Sequential([Dense(width, input_shape=(2,)), Dense(1)])
    model.compile("adam", "mse")
    x = np.ones((4, 2), "float32")
    callbacks = [BackupAndRestore(folder, delete_checkpoint=False)]
    model.fit(x, x[:, 0], verbose=0, callbacks=callbacks, **options)
    return model


def test_backup_of_another_model(tmp_path):
    small(3, tmp_path, epochs=2)
    with pytest.raises(ShapeError, match="of another model"):
        small(4, tmp_path, epochs=3)


@pytest.mark.parametrize("content", [b"", b"nothing", None])
def test_damaged_backup(tmp_path, content):
    small(3, tmp_path, epochs=2)
    path = tmp_path / "backup.h5"
    path.write_bytes(path.read_bytes()[:900] if content is None else content)
    with pytest.raises(FileFormatError, match="backup.h5"):
        small(3, tmp_path, epochs=3)


def test_more_epochs_than_before(tmp_path):
    small(3, tmp_path, epochs=2)
    model = small(3, tmp_path, epochs=5)
    assert model.history.epoch == [0, 1, 2, 3, 4]


def test_missing_callback_warns(tmp_path, data, make_model):
    stop = EarlyStopping("loss", patience=9)
    backup = BackupAndRestore(tmp_path, delete_checkpoint=False)
    make_model().fit(*data, epochs=1, verbose=0, callbacks=[stop, backup])
    with pytest.warns(UserWarning, match="EarlyStopping"):
        make_model().fit(*data, epochs=2, verbose=0, callbacks=[backup])


def test_own_callbacks_take_part(tmp_path, data, make_model):
    class Counter(Callback):
        backed_up = ("seen",)

        def __init__(self):
            self.seen = {"epochs": [], "best": np.zeros(2)}

        def on_epoch_end(self, epoch, logs=None):
            self.seen["epochs"].append(epoch)
            self.seen["best"][0] += 1

    backup = BackupAndRestore(tmp_path, delete_checkpoint=False)
    make_model().fit(*data, epochs=2, verbose=0, callbacks=[backup, Counter()])
    counter = Counter()
    make_model().fit(*data, epochs=3, verbose=0, callbacks=[backup, counter])
    assert counter.seen["epochs"] == [0, 1, 2] and counter.seen["best"].tolist() == [3, 0]


def test_what_cannot_be_written_leaves_the_old_backup(tmp_path, data, make_model):
    class Odd(Callback):
        backed_up = ("value",)
        value = None

        def on_epoch_end(self, epoch, logs=None):
            self.value = object() if epoch else 1

    backup = BackupAndRestore(tmp_path, delete_checkpoint=False)
    with pytest.raises(TypeError, match="object"):
        make_model().fit(*data, epochs=2, verbose=0, callbacks=[backup, Odd()])
    assert os.listdir(tmp_path) == ["backup.h5"]
    model = make_model()
    model.fit(*data, epochs=1, verbose=0, callbacks=[backup, Odd()])
    assert int(model.optimizer.iterations) == 1


@pytest.mark.parametrize("save_freq", [0, -1, 1.5, "batch", None, True])
def test_bad_frequency(tmp_path, save_freq):
    with pytest.raises(ValueError, match="save_freq"):
        BackupAndRestore(tmp_path, save_freq)


def test_schedule_by_the_rate_so_far(tmp_path):
    """The schedule isn't applied twice to the epoch that was broken off."""

    def go(*more):
        set_random_seed(3)
        model = Sequential([Dense(1, input_shape=(2,))])
        model.compile("sgd", "mse")
        callbacks = [
            *more,
            LearningRateScheduler(lambda epoch, rate: rate * 0.5),
            BackupAndRestore(tmp_path, save_freq=1),
        ]
        x = np.ones((8, 2), "float32")
        return model.fit(x, x[:, 0], 2, 4, verbose=0, callbacks=callbacks).history["lr"]

    with pytest.raises(Broken):
        go(Breaker(batches=6))
    np.testing.assert_allclose(go(), [0.005, 0.0025, 0.00125, 0.000625], rtol=1e-6)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL, which this system lacks")
@pytest.mark.parametrize("save_freq", [pytest.param("'epoch'", marks=pytest.mark.slow), "2"])
def test_kill_9(tmp_path, save_freq):
    script = tmp_path / "train.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import os, signal, sys
            import numpy as np
            import gpunet
            from gpunet.layers import Dense, Dropout
            from gpunet.callbacks import BackupAndRestore, LambdaCallback

            folder, left = sys.argv[1], int(sys.argv[2])
            gpunet.set_random_seed(4)
            x = np.random.normal(size=(60, 3)).astype("float32")
            model = gpunet.Sequential([Dense(9, input_shape=(3,)), Dropout(0.5), Dense(1)])
            model.compile("adam", "mse")

            def count(batch, logs):
                global left
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

            callbacks = [BackupAndRestore(folder, {save_freq})]
            if left:
                callbacks.append(LambdaCallback(on_batch_end=count))
            model.fit(x, x[:, 0], 8, 5, verbose=0, callbacks=callbacks)
            np.savez(folder + ".npz", *model.get_weights())
            """
        )
    )

    def start(folder, batches):
        command = [sys.executable, str(script), str(tmp_path / folder), str(batches)]
        return subprocess.run(command, env=os.environ, timeout=100).returncode

    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    os.environ.setdefault("PYTHONPATH", root)
    assert start("whole", 0) == 0
    for batches in (13, 9) if save_freq == "2" else (13,):
        assert start("broken", batches) == -signal.SIGKILL
    assert start("broken", 0) == 0
    want, got = np.load(tmp_path / "whole.npz"), np.load(tmp_path / "broken.npz")
    for name in want:
        np.testing.assert_array_equal(got[name], want[name])


@pytest.mark.parametrize(
    "optimizer",
    ["sgd", "rmsprop", "adagrad", "adadelta", "adam", "adamax", "nadam", "ftrl", "momentum"],
)
def test_every_optimizer(tmp_path, optimizer):
    """With two inputs and outputs, an embedding, a frozen layer and a schedule of the rate."""

    def go(*more):
        set_random_seed(5)
        ids, x = Input((3,), name="ids"), Input((2,), name="x")
        frozen = Dense(4, trainable=False)
        h = Concatenate()([Flatten()(Embedding(7, 2)(ids)), frozen(x)])
        model = Model([ids, x], [Dense(1, name="a")(h), Dense(2, name="b")(h)])
        chosen = optimizer
        if optimizer == "momentum":
            chosen = optimizers.SGD(ExponentialDecay(0.1, 3, 0.5), momentum=0.9, nesterov=True)
        model.compile(chosen, "mse", metrics={"b": "mae"}, loss_weights=[1.0, 0.5])
        data = [np.random.randint(7, size=(14, 3)), np.random.normal(size=(14, 2))]
        targets = [np.random.normal(size=(14, 1)), np.random.normal(size=(14, 2))]
        callbacks = [*more, BackupAndRestore(tmp_path / "b", save_freq=3)]
        history = model.fit(
            data, targets, 4, 3, verbose=0, callbacks=callbacks, validation_data=(data, targets)
        )
        return model.get_weights() + model.optimizer.get_weights(), history.history

    want = go()
    with pytest.raises(Broken):
        go(Breaker(batches=7))
    got = go()
    assert got[1] == want[1]
    for a, b in zip(got[0], want[0], strict=True):
        np.testing.assert_array_equal(a, b)
