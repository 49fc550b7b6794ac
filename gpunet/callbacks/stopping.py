"""Callbacks that end training early."""

import math
import warnings

import numpy as np

from gpunet.callbacks.monitor import comparison, value_in
from gpunet.training.callbacks import Callback

__all__ = ["EarlyStopping", "TerminateOnNaN"]


class EarlyStopping(Callback):
    """Stops training when a value has stopped getting better.

    Args:
        monitor: str, name in the logs; ``acc`` and ``accuracy`` find each other.
        min_delta: float, a change has to be larger to count as better.
        patience: int, number of epochs without getting better after which training stops.
        verbose: 0 silent, 1 messages.
        mode: ``'min'``, ``'max'`` or ``'auto'``, which goes by the name: accuracies, AUC and
            F-measures should grow, all else should fall.
        baseline: float; as long as the value isn't better than this, epochs count as not better.
        restore_best_weights: bool, end with the weights of the best epoch; False keeps the last.
        start_from_epoch: int, epochs before this one (from 0) are left out.

    Attributes:
        stopped_epoch: int, the epoch (from 0) that was the last one; 0 if it didn't stop.
        best: float, the best value so far.
        best_epoch: int, its epoch, from 0.
    """

    backed_up = ("wait", "stopped_epoch", "best", "best_epoch", "best_weights")

    def __init__(
        self,
        monitor="val_loss",
        min_delta=0,
        patience=0,
        verbose=0,
        mode="auto",
        baseline=None,
        restore_best_weights=False,
        start_from_epoch=0,
    ):
        self.monitor = monitor
        self.monitor_op = comparison("EarlyStopping", monitor, mode)
        self.min_delta = abs(min_delta) if self.monitor_op is np.greater else -abs(min_delta)
        self.patience = patience
        self.verbose = verbose
        self.baseline = baseline
        self.restore_best_weights = restore_best_weights
        self.start_from_epoch = start_from_epoch
        self._reset()

    def _reset(self):
        self.wait = self.stopped_epoch = self.best_epoch = 0
        self.best = -np.inf if self.monitor_op is np.greater else np.inf
        self.best_weights = None

    def on_train_begin(self, logs=None):
        self._reset()

    def on_epoch_end(self, epoch, logs=None):
        current = self.get_monitor_value(logs)
        if current is None or epoch < self.start_from_epoch:
            return
        if self.restore_best_weights and self.best_weights is None:
            self._keep(epoch)  # for the case that no epoch is better than none, such as NaN
        self.wait += 1
        if self._is_better(current, self.best):
            self.best = current
            self._keep(epoch)
            if self.baseline is None or self._is_better(current, self.baseline):
                self.wait = 0
        elif self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs=None):
        if self.stopped_epoch > 0 and self.verbose > 0:
            print(f"Epoch {self.stopped_epoch + 1:05d}: early stopping")
        if self.restore_best_weights and self.best_weights is not None:
            if self.verbose > 0:
                print(
                    "Restoring model weights from the end of the best epoch: "
                    f"{self.best_epoch + 1}."
                )
            self.model.set_weights(self.best_weights)

    def get_monitor_value(self, logs):
        """Return the monitored value, or None (with a warning) if the logs don't have it."""
        value = value_in(logs, self.monitor)
        if value is None:
            warnings.warn(
                f"Early stopping conditioned on metric `{self.monitor}` which is not available. "
                f"Available metrics are: {','.join(logs or {})}",
                RuntimeWarning,
                stacklevel=3,
            )
        return value

    def _keep(self, epoch):
        self.best_epoch = epoch
        if self.restore_best_weights:
            self.best_weights = self.model.get_weights()

    def _is_better(self, value, than):
        return self.monitor_op(value - self.min_delta, than)


class TerminateOnNaN(Callback):
    """Stops training as soon as the loss is NaN or infinite."""

    def on_batch_end(self, batch, logs=None):
        loss = (logs or {}).get("loss")
        if loss is not None and not math.isfinite(loss):
            print(f"Batch {batch}: Invalid loss, terminating training")
            self.model.stop_training = True
