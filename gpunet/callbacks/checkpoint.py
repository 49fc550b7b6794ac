"""Models saved as they are trained."""

import os
import warnings

import numpy as np

from gpunet.callbacks.monitor import comparison, other_spelling, value_in
from gpunet.training.callbacks import Callback
from gpunet.training.feeder import is_whole, positive_int

__all__ = ["ModelCheckpoint"]


class ModelCheckpoint(Callback):
    """Saves the model, or its weights, after epochs or after a number of batches.

    A file is written beside its place and moved there when it is complete; folders are made.

    Args:
        filepath: str or path-like; may hold ``{epoch}`` (from 1), ``{batch}`` (from 1, when
            saving after batches) and names of the logs, as in ``{epoch:02d}-{val_loss:.2f}.h5``.
            Whatever its suffix, the file is HDF5.
        monitor: str, name in the logs that says which model is best; ``acc`` and ``accuracy``
            find each other.
        verbose: 0 silent, 1 a message for each file.
        save_best_only: bool, save only if the monitored value is better than ever before.
        save_weights_only: bool, `Model.save_weights` in place of `Model.save`.
        mode: ``'min'``, ``'max'`` or ``'auto'``, which goes by the name: accuracies, AUC and
            F-measures should grow, all else should fall.
        period: int, number of epochs between files.
        save_freq: ``'epoch'``, or int, the number of batches between files.
        options: accepted as in tf.keras; changes nothing.
        initial_value_threshold: float, the value that the first best model has to beat.

    Attributes:
        best: float, the best value so far.

    Raises:
        ValueError: another ``save_freq`` or ``period``, or a file format that gpunet doesn't write.
        KeyError: ``filepath`` holds a name that isn't in the logs.
    """

    backed_up = ("best", "epochs_since_last_save", "_batches_since_last_save", "_epoch")

    def __init__(
        self,
        filepath,
        monitor="val_loss",
        verbose=0,
        save_best_only=False,
        save_weights_only=False,
        mode="auto",
        period=1,
        save_freq="epoch",
        options=None,
        initial_value_threshold=None,
    ):
        if period == "epoch":  # by position, as tf.keras has its arguments
            period, save_freq = 1, period
        self.filepath = os.fsdecode(filepath)
        if self.filepath.endswith((".keras", ".tf")):
            raise ValueError(
                "ModelCheckpoint: gpunet writes HDF5 files; expected a filepath that ends in "
                f"'.h5', got {self.filepath!r}"
            )
        if save_freq != "epoch" and not (is_whole(save_freq) and save_freq > 0):
            raise ValueError(
                "ModelCheckpoint: expected save_freq as 'epoch' or a positive int, "
                f"got {save_freq!r}"
            )
        self.monitor = monitor
        self.monitor_op = comparison("ModelCheckpoint", monitor, mode)
        self.verbose = verbose
        self.save_best_only = save_best_only
        self.save_weights_only = save_weights_only
        self.period = positive_int(period, "ModelCheckpoint: period", 1)
        self.save_freq = save_freq
        self.best = initial_value_threshold
        if self.best is None:
            self.best = -np.inf if self.monitor_op is np.greater else np.inf
        self.epochs_since_last_save = 0
        self._batches_since_last_save = 0
        self._epoch = 0
        if save_freq != "epoch":
            # On the object, so that fit calls it for each batch only where this is wanted.
            self.on_train_batch_end = self._count_batch

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_epoch_end(self, epoch, logs=None):
        self.epochs_since_last_save += 1
        if self.save_freq == "epoch" and self.epochs_since_last_save >= self.period:
            self.epochs_since_last_save = 0
            self._save(epoch, None, logs)

    def _count_batch(self, batch, logs=None):
        self._batches_since_last_save += 1
        if self._batches_since_last_save >= self.save_freq:
            self._batches_since_last_save = 0
            self._save(self._epoch, batch, logs)

    def _save(self, epoch, batch, logs):
        """Save the model, unless only the best is wanted and this one isn't better."""
        path = self._path(epoch, batch, logs or {})
        said = f"\nEpoch {epoch + 1:05d}:"
        if self.save_best_only:
            current = value_in(logs, self.monitor)
            if current is None:
                warnings.warn(
                    f"Can save best model only with {self.monitor} available, skipping.",
                    RuntimeWarning,
                    stacklevel=2,
                )
                return
            if not self.monitor_op(current, self.best):
                if self.verbose > 0:
                    print(f"{said} {self.monitor} did not improve from {self.best:0.5f}")
                return
            said += f" {self.monitor} improved from {self.best:0.5f} to {current:0.5f},"
            self.best = current
        if self.verbose > 0:
            print(f"{said} saving model to {path}")
        folder = os.path.dirname(path)
        if folder:
            os.makedirs(folder, exist_ok=True)
        if self.save_weights_only:
            self.model.save_weights(path, overwrite=True)
        else:
            self.model.save(path, overwrite=True)

    def _path(self, epoch, batch, logs):
        names = {other_spelling(name): value for name, value in logs.items()}
        names.update(logs)
        names["epoch"] = epoch + 1
        if batch is not None:
            names["batch"] = batch + 1
        names.pop(None, None)
        try:
            return self.filepath.format(**names)
        except (KeyError, IndexError) as error:
            raise KeyError(
                f"ModelCheckpoint: filepath {self.filepath!r} needs {error}; the logs have "
                f"{sorted(names)}"
            ) from None
