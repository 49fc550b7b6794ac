"""Callbacks that change the learning rate."""

import inspect
import warnings

import numpy as np

from gpunet.callbacks.monitor import comparison, value_in
from gpunet.schedules import LearningRateSchedule
from gpunet.training.callbacks import Callback

__all__ = ["LearningRateScheduler", "ReduceLROnPlateau"]


def _rate(callback):
    """Return the learning rate of a callback's model as a float."""
    who, optimizer = type(callback).__name__, getattr(callback.model, "optimizer", None)
    if not hasattr(optimizer, "lr"):
        raise ValueError(f'{who}: Optimizer must have a "lr" attribute, got {optimizer!r}')
    if isinstance(optimizer.lr, LearningRateSchedule):
        raise ValueError(
            f"{who}: expected an optimizer whose learning rate is a number, got the schedule "
            f"{type(optimizer.lr).__name__}"
        )
    return float(optimizer.lr)


class LearningRateScheduler(Callback):
    """Sets the learning rate before each epoch.

    Args:
        schedule: function ``(epoch)`` or ``(epoch, lr)``, the epoch from 0 and the rate so far,
            that returns the new rate.
        verbose: 0 silent, 1 a message for each epoch.

    Logs:
        lr: the rate of the epoch.

    Raises:
        TypeError: ``schedule`` isn't a function.
        ValueError: it returns something else than a number.
    """

    def __init__(self, schedule, verbose=0):
        if not callable(schedule):
            raise TypeError(
                f"LearningRateScheduler: expected schedule as a function, got {schedule!r}"
            )
        self.schedule = schedule
        self.verbose = verbose

    def on_epoch_begin(self, epoch, logs=None):
        rate = _rate(self)
        given = self.schedule(epoch, rate) if _takes_two(self.schedule) else self.schedule(epoch)
        rate = _as_float(given)
        if rate is None:
            raise ValueError(
                'LearningRateScheduler: The output of the "schedule" function should be float, '
                f"got {given!r}"
            )
        self.model.optimizer.lr = rate
        if self.verbose > 0:
            print(
                f"\nEpoch {epoch + 1:05d}: LearningRateScheduler setting learning rate to {rate}."
            )

    def on_epoch_end(self, epoch, logs=None):
        if logs is not None:
            logs["lr"] = _rate(self)


def _as_float(value):
    """Return a number, or an array or tensor without axes, as a float; None for all else."""
    if isinstance(value, (bool, str)) or np.ndim(value):
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _takes_two(schedule):
    """Return whether a schedule takes (epoch, lr)."""
    try:
        signature = inspect.signature(schedule)
    except (TypeError, ValueError):  # written in C
        return True
    try:
        signature.bind(0, 0.0)
    except TypeError:
        return False
    return True


class ReduceLROnPlateau(Callback):
    """Lowers the learning rate when a value has stopped getting better.

    Args:
        monitor: str, name in the logs; ``acc`` and ``accuracy`` find each other.
        factor: float < 1, by which the rate is multiplied.
        patience: int, number of epochs without getting better after which it is.
        verbose: 0 silent, 1 a message for each change.
        mode: ``'min'``, ``'max'`` or ``'auto'``, which goes by the name: accuracies, AUC and
            F-measures should grow, all else should fall.
        min_delta: float, a change has to be larger to count as better.
        cooldown: int, number of epochs after a change that don't count.
        min_lr: float, the rate never falls below.
        **kwargs: ``epsilon``, the old name of ``min_delta``.

    Logs:
        lr: the rate of the epoch.

    Raises:
        ValueError: ``factor`` isn't below 1.
    """

    backed_up = ("best", "wait", "cooldown_counter")

    def __init__(
        self,
        monitor="val_loss",
        factor=0.1,
        patience=10,
        verbose=0,
        mode="auto",
        min_delta=1e-4,
        cooldown=0,
        min_lr=0,
        **kwargs,
    ):
        if factor >= 1.0:
            raise ValueError(
                f"ReduceLROnPlateau does not support a factor >= 1.0: expected factor < 1, "
                f"got {factor}"
            )
        min_delta = kwargs.pop("epsilon", min_delta)
        if kwargs:
            raise TypeError(f"ReduceLROnPlateau: unknown argument(s) {list(kwargs)}")
        self.monitor = monitor
        self.mode = mode
        self._better = comparison("ReduceLROnPlateau", monitor, mode)
        self.factor = factor
        self.patience = patience
        self.verbose = verbose
        self.min_delta = min_delta
        self.cooldown = cooldown
        self.min_lr = min_lr
        self._reset()

    def _reset(self):
        self.best = -np.inf if self._better is np.greater else np.inf
        self.cooldown_counter = self.wait = 0

    def monitor_op(self, value, best):
        """Return whether a value is better than the best one."""
        delta = self.min_delta if self._better is np.greater else -self.min_delta
        return self._better(value, best + delta)

    def on_train_begin(self, logs=None):
        self._reset()

    def on_epoch_end(self, epoch, logs=None):
        logs = {} if logs is None else logs
        old = logs["lr"] = _rate(self)
        current = value_in(logs, self.monitor)
        if current is None:
            warnings.warn(
                f"Reduce LR on plateau conditioned on metric `{self.monitor}` which is not "
                f"available. Available metrics are: {','.join(logs)}",
                RuntimeWarning,
                stacklevel=2,
            )
            return
        if self.in_cooldown():
            self.cooldown_counter -= 1
            self.wait = 0
        if self.monitor_op(current, self.best):
            self.best = current
            self.wait = 0
        elif not self.in_cooldown():
            self.wait += 1
            if self.wait >= self.patience and old > np.float32(self.min_lr):
                self._lower(epoch, max(old * self.factor, self.min_lr))

    def _lower(self, epoch, rate):
        self.model.optimizer.lr = rate
        if self.verbose > 0:
            print(f"\nEpoch {epoch + 1:05d}: ReduceLROnPlateau reducing learning rate to {rate}.")
        self.cooldown_counter = self.cooldown
        self.wait = 0

    def in_cooldown(self):
        """Return whether epochs don't count at the moment."""
        return self.cooldown_counter > 0
