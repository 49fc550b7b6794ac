"""Training that goes on where it was broken off."""

import contextlib
import glob
import os
import random as python_random
import warnings

import numpy as np

from gpunet.backend import randomness
from gpunet.durable import UNFINISHED
from gpunet.errors import FileFormatError, ShapeError
from gpunet.nest import flatten
from gpunet.ops import random
from gpunet.saving.hdf5 import open_for_reading, replace_file
from gpunet.saving.tree import read_tree, write_tree
from gpunet.training.callbacks import Callback
from gpunet.training.feeder import is_whole

__all__ = ["BackupAndRestore"]

_FORMAT = 1


class BackupAndRestore(Callback):
    """Keeps the state of training on the disk; the next `fit` goes on from there.

    A run that was killed at any time, and is then started again, ends with the same weights as
    one that wasn't, bit for bit, if the script does the same up to `fit`, the data are arrays or
    Sequences, and callbacks of the user's own name what they know in ``backed_up``.

    Kept are weights, the optimizer with its rates, all random generators (those of Python and
    NumPy too), the place in the epoch, and what the built-in callbacks know.

    Args:
        backup_dir: str or path-like, a folder for this run alone; it is made.
        save_freq: ``'epoch'``, or int, the number of batches between backups.
        delete_checkpoint: bool, delete the backup when training has come to its end.
        save_before_preemption: accepted as in tf.keras; changes nothing.

    Raises:
        ValueError: another ``save_freq``; when fit begins, a backup of another model.
    """

    runs_last = True

    def __init__(
        self, backup_dir, save_freq="epoch", delete_checkpoint=True, save_before_preemption=False
    ):
        if save_freq != "epoch" and not (is_whole(save_freq) and save_freq > 0):
            raise ValueError(
                "BackupAndRestore: expected save_freq as 'epoch' or a positive int, "
                f"got {save_freq!r}"
            )
        self.backup_dir = os.fsdecode(backup_dir)
        if not self.backup_dir:
            raise ValueError("BackupAndRestore: expected backup_dir as a folder, got ''")
        self.save_freq = save_freq
        self.delete_checkpoint = delete_checkpoint
        self._path = os.path.join(self.backup_dir, "backup.h5")
        if save_freq != "epoch":
            # On the object, so that fit calls them for each batch only where this is wanted.
            self.on_train_batch_begin = self._begin_batch
            self.on_train_batch_end = self._count_batch

    # -- restoring ------------------------------------------------------------------------

    def resume_fit(self, epoch, feeder, callbacks):
        """Restore a backup, if there is one; called when all callbacks have begun.

        Args:
            epoch: int, the first epoch otherwise.
            feeder: what gives the training data.
            callbacks: list of all callbacks.

        Returns:
            (epoch, batch) at which training goes on.
        """
        self._others = [c for c in callbacks if c is not self]
        self._first, self._batches, self._found, self._due = epoch, 0, None, False
        self._begun = self._epoch_begun = _generators(self.model)
        os.makedirs(self.backup_dir, exist_ok=True)
        for rest in glob.glob(os.path.join(glob.escape(self.backup_dir), UNFINISHED)):
            os.unlink(rest)  # killed while it was written
        if not os.path.exists(self._path):
            return epoch, 0
        state = self._read()
        self._first, self._begun = state["first"], state["begun"]
        # Orders that the data draw at the end of each epoch are drawn as they were.
        _set_generators(self.model, self._begun)
        feeder.advance(state["epoch"] - self._first)
        self._restore(state)
        if state["stop_training"]:
            return self.params["epochs"], 0
        self._found = state if state["batch"] else None
        return state["epoch"], state["batch"]

    def _read(self):
        with open_for_reading(self._path) as file:
            try:
                state = read_tree(file)
                if state["format"] != _FORMAT:
                    raise FileFormatError(f"it is of format {state['format']}")
            except (FileFormatError, LookupError, TypeError) as error:
                raise FileFormatError(
                    f"BackupAndRestore: can't go on from {self._path!r}, {error}; without this "
                    "file training begins anew"
                ) from None
        return state

    def _restore(self, state):
        """Set everything but the epoch's losses and metrics."""
        model = self.model
        try:
            _set_optimizer(model, state["optimizer"])
            model.set_weights(state["weights"])
        except (ShapeError, ValueError) as error:
            raise ShapeError(
                f"BackupAndRestore: the backup {self._path!r} is of another model than "
                f"{model.name!r}; delete it or choose another backup_dir ({error})"
            ) from None
        _set_layers(model, state["layers"])
        _set_generators(model, state["generators"])
        self._restore_callbacks(state["callbacks"])
        self._batches = state["batches"]

    def _restore_callbacks(self, kept):
        others = list(self._others)
        for name, values in kept:
            found = next((c for c in others if type(c).__name__ == name), None)
            if found is None and values:
                warnings.warn(
                    f"BackupAndRestore: the backup has the state of a {name}, and no such "
                    "callback was given",
                    stacklevel=2,
                )
            if found is None:
                continue
            others.remove(found)
            for attribute, value in values.items():
                setattr(found, attribute, value)

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch
        if self.save_freq == "epoch" and self._found is None:
            return
        self._epoch_begun = _generators(self.model)
        if self._found is not None:
            # What the other callbacks have done just now, they had done before.
            self._restore(self._found)
            self.model._objective.set_state(self._found["objective"])
            self._epoch_begun = self._found["epoch_begun"]
            _set_generators(self.model, self._epoch_begun)  # for the epoch's order
            if self.save_freq == "epoch":
                self.on_train_batch_begin = self._begin_batch

    def _begin_batch(self, batch, logs=None):
        if self._found is not None:  # the order is drawn, what follows goes on from the backup
            _set_generators(self.model, self._found["generators"])
            self._found = None

    # -- saving ---------------------------------------------------------------------------

    def _count_batch(self, batch, logs=None):
        self._batches += 1
        if self._batches >= self.save_freq and not self.model.stop_training:
            self._batches = 0
            self._due = batch + 1 == self.params["steps"]  # all that is left is the epoch's end
            if not self._due:
                self._save(self._epoch, batch + 1)

    def on_epoch_end(self, epoch, logs=None):
        if self.save_freq == "epoch" or self._due:
            self._due = False
            self._save(epoch + 1, 0)

    def _save(self, epoch, batch):
        model = self.model
        state = {
            "format": _FORMAT,
            "first": self._first,
            "epoch": epoch,
            "batch": batch,
            "batches": self._batches,
            "stop_training": bool(model.stop_training),
            "weights": model.get_weights(),
            "optimizer": _optimizer(model),
            "layers": _layers(model),
            "objective": model._objective.state() if batch else None,
            "begun": self._begun,
            "epoch_begun": self._epoch_begun if batch else None,
            "generators": _generators(model),
            "callbacks": [_known(callback) for callback in self._others],
        }
        with replace_file(self._path) as file:
            write_tree(file, state)

    def on_train_end(self, logs=None):
        if self.delete_checkpoint:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)
            with contextlib.suppress(OSError):  # something else lies there
                os.rmdir(self.backup_dir)


def _known(callback):
    names = getattr(callback, "backed_up", ())
    return [type(callback).__name__, {name: getattr(callback, name) for name in names}]


# -- parts of the state -----------------------------------------------------------------------


def _optimizer(model):
    optimizer = model.optimizer
    names, state = optimizer.state_of(model._plan.weights)
    rates = {name: float(v) for name, v in _rates(optimizer)}
    return {"names": names, "values": [v.numpy() for v in state], "rates": rates}


def _rates(optimizer):
    """Return the hyperparameters that are numbers, as pairs (name, Variable)."""
    return [(name, v) for name, v in optimizer._hyper.items() if hasattr(v, "assign")]


def _set_optimizer(model, kept):
    names, state = model.optimizer.state_of(model._plan.weights)
    if len(names) != len(kept["names"]) or any(
        tuple(v.shape) != np.shape(new) for v, new in zip(state, kept["values"])
    ):
        raise ShapeError(f"the optimizer has {names}, the backup {kept['names']}")
    for variable, value in zip(state, kept["values"]):
        variable.assign(value)
    for name, variable in _rates(model.optimizer):
        if name in kept["rates"] and float(variable) != kept["rates"][name]:
            setattr(model.optimizer, name, kept["rates"][name])


def _layers(model):
    """Return the states of stateful layers, a list for each layer."""
    kept = [flatten(layer.states) for layer in _stateful(model)]
    return [[s.numpy() for s in states if s is not None] for states in kept]


def _set_layers(model, kept):
    for layer, states in zip(_stateful(model), kept):
        if states:
            layer.reset_states(states)


def _stateful(model):
    layers = model._nested_layers()
    return [la for la in layers if getattr(la, "stateful", False) and hasattr(la, "states")]


def _own_generators(model):
    """Return the generators of layers, and of functions, that were given a seed."""
    found = [v for la in model._nested_layers() for v in vars(la).values()]
    return [v for v in found if isinstance(v, random.Generator)]


def _generators(model):
    kind, keys, *rest = np.random.get_state()
    return {
        "own": random.default().state(),
        "layers": [generator.state() for generator in _own_generators(model)],
        "functions": {str(seed): g.state() for seed, g in randomness.generators().items()},
        "numpy": [kind, keys, *rest],
        "python": python_random.getstate(),
    }


def _set_generators(model, kept):
    random.default().set_state(kept["own"])
    for generator, state in zip(_own_generators(model), kept["layers"]):
        generator.set_state(state)
    for seed, state in kept["functions"].items():
        randomness.generators().setdefault(int(seed), random.Generator()).set_state(state)
    np.random.set_state(tuple(kept["numpy"]))
    version, words, gauss = kept["python"]
    python_random.setstate((version, tuple(words), gauss))
