"""ModelCheckpoint with real models and files."""

import os
import pickle

import numpy as np
import pytest

from gpunet.callbacks import Callback, ModelCheckpoint
from gpunet.models import load_model


class Weights(Callback):
    """Keeps the weights after each epoch and batch."""

    def __init__(self):
        self.epochs, self.batches = [], []

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(self.model.get_weights())

    def on_batch_end(self, batch, logs=None):
        self.batches.append(self.model.get_weights())


def same(left, right):
    return all(np.array_equal(a, b) for a, b in zip(left, right, strict=True))


@pytest.mark.parametrize(
    "name", ["best_model.weights", "m.h5", "m.hdf5", "m", "a b/ü/m.weights.h5"]
)
@pytest.mark.parametrize("weights_only", [False, True])
def test_best_model_comes_back(make_model, data, tmp_path, monkeypatch, capsys, name, weights_only):
    monkeypatch.chdir(tmp_path)
    kept, model = Weights(), make_model(["accuracy"])
    checkpoint = ModelCheckpoint(
        f"./{name}", monitor="val_acc", verbose=1, save_best_only=True,
        save_weights_only=weights_only,
    )  # fmt: skip
    history = model.fit(
        *data, epochs=6, validation_data=data, callbacks=[kept, checkpoint], verbose=0
    ).history["val_accuracy"]
    best = int(np.argmax(history))
    other = make_model(["accuracy"])
    other.load_weights(f"./{name}")
    assert same(other.get_weights(), kept.epochs[best]) and checkpoint.best == history[best]
    if not weights_only:
        loaded = load_model(f"./{name}")
        assert same(loaded.get_weights(), kept.epochs[best]) and loaded.optimizer is not None
    said = capsys.readouterr().out
    start = f"\nEpoch 00001: val_acc improved from -inf to {history[0]:.5f}, "
    assert said.startswith(f"{start}saving model to ./{name}\n")
    assert f"val_acc did not improve from {max(history):.5f}\n" in said
    assert not list(tmp_path.rglob("*.tmp"))


def test_names_of_files(make_model, data, tmp_path, capsys):
    model = make_model(["acc"])
    checkpoint = ModelCheckpoint(tmp_path / "{epoch:02d}-{val_loss:.2f}-{val_accuracy:.1f}.h5")
    history = model.fit(
        *data, epochs=2, validation_data=data, callbacks=[checkpoint], verbose=0
    ).history
    rows = zip((1, 2), history["val_loss"], history["val_acc"])
    assert sorted(os.listdir(tmp_path)) == [f"{e:02d}-{a:.2f}-{b:.1f}.h5" for e, a, b in rows]
    assert capsys.readouterr().out == ""
    with pytest.raises(KeyError, match="needs 'val_mae'; the logs have .*'loss'"):
        model.fit(*data, callbacks=[ModelCheckpoint("{val_mae}")], verbose=0)
    with pytest.raises(KeyError, match="needs 'batch'"):
        model.fit(*data, callbacks=[ModelCheckpoint("{batch}")], verbose=0)


def test_save_freq_counts_batches_over_epochs(make_model, data, tmp_path, capsys):
    kept, model = Weights(), make_model()
    checkpoint = ModelCheckpoint(
        tmp_path / "{epoch}-{batch}", save_freq=4, save_weights_only=True, verbose=1
    )
    model.fit(*data, batch_size=4, epochs=3, callbacks=[kept, checkpoint], verbose=0)
    assert sorted(os.listdir(tmp_path)) == ["2-1", "3-2"]  # batches 4 and 8 of nine
    for name, weights in (("2-1", kept.batches[3]), ("3-2", kept.batches[7])):
        model.load_weights(tmp_path / name)
        assert same(model.get_weights(), weights)
    assert capsys.readouterr().out.count("saving model to") == 2
    again = pickle.loads(pickle.dumps(ModelCheckpoint("x", save_freq=2)))
    assert again.on_train_batch_end.__self__ is again


def test_batches_are_only_watched_if_they_count(make_model):
    from gpunet.callbacks import CallbackList

    for save_freq, watched in (("epoch", False), (3, True)):
        hooks = CallbackList([ModelCheckpoint("x", save_freq=save_freq)], make_model(), {})
        assert hooks.wants_batches("train") is watched


def test_best_of_batches(make_model, data, tmp_path):
    checkpoint = ModelCheckpoint(
        tmp_path / "best", monitor="loss", save_best_only=True, save_freq=1
    )
    make_model().fit(*data, batch_size=2, epochs=2, callbacks=[checkpoint], verbose=0)
    assert os.listdir(tmp_path) == ["best"] and checkpoint.best < np.inf


def test_missing_value_warns_and_saves_nothing(make_model, data, tmp_path):
    checkpoint = ModelCheckpoint(tmp_path / "best", save_best_only=True)
    with pytest.warns(RuntimeWarning, match="save best model only with val_loss available, skip"):
        make_model().fit(*data, callbacks=[checkpoint], verbose=0)
    assert not os.listdir(tmp_path)


def test_a_failed_save_leaves_the_old_file(make_model, data, tmp_path, monkeypatch):
    path = tmp_path / "best.h5"
    model = make_model()
    model.fit(*data, callbacks=[ModelCheckpoint(path)], verbose=0)
    old = path.read_bytes()
    import gpunet.saving.files as files

    def fail(*args):
        raise OSError("no space left")

    monkeypatch.setattr(files, "write_weights", fail)
    with pytest.raises(OSError, match="no space left"):
        model.fit(*data, callbacks=[ModelCheckpoint(path)], verbose=0)
    assert path.read_bytes() == old and os.listdir(tmp_path) == ["best.h5"]


def test_arguments():
    assert ModelCheckpoint("x", "loss", 0, False, False, "auto", "epoch").period == 1
    assert ModelCheckpoint("x", "loss", 0, False, False, "auto", 5).period == 5
    assert ModelCheckpoint("x", initial_value_threshold=0.5).best == 0.5
    with pytest.raises(ValueError, match="save_freq as 'epoch' or a positive int, got 'batch'"):
        ModelCheckpoint("x", save_freq="batch")
    with pytest.raises(ValueError, match="period: expected a positive int, got 0"):
        ModelCheckpoint("x", period=0)
    with pytest.raises(ValueError, match=r"ends in '\.h5', got 'x\.keras'"):
        ModelCheckpoint("x.keras")
    with pytest.raises(TypeError, match="expected monitor as a name in the logs, got 5"):
        ModelCheckpoint("x", monitor=5)
    with pytest.warns(RuntimeWarning, match="mode best is unknown, fallback to auto mode"):
        assert ModelCheckpoint("x", "val_acc", mode="best").best == -np.inf
