"""One batch: forward, backward, update.  Nothing in here reads a value on the host."""

import signal
import threading

from gpunet import arrays
from gpunet.autodiff import Tape, no_tape
from gpunet.context import learning_phase_scope
from gpunet.layers.base import loss_scope

__all__ = ["Interrupts", "train_step", "test_step", "predict_step"]


class Interrupts:
    """Holds Ctrl-C back while weights are written, so that they are those of whole steps.

    Outside the main thread, or where the program handles SIGINT itself, it does nothing.
    """

    def __init__(self):
        self.busy = self.pending = False
        self._previous = None

    def __enter__(self):
        main = threading.current_thread() is threading.main_thread()
        if main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._previous = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *_):
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
            self._previous = None

    def _handle(self, number, frame):
        if not self.busy:
            raise KeyboardInterrupt
        self.pending = True

    def hold(self):
        """Begin to write."""
        self.busy = True

    def release(self):
        """End writing; raises the KeyboardInterrupt that came meanwhile."""
        self.busy = False
        if self.pending:
            self.pending = False
            raise KeyboardInterrupt


_FREE = Interrupts()


def train_step(model, batch, interrupts=_FREE):
    """Update weights, losses and metrics with one batch."""
    objective, plan = model._objective, model._plan
    tape = Tape()
    tape.start()
    try:
        with learning_phase_scope(1), loss_scope() as scope:
            y_pred = model._forward(batch.x, True)
            added = scope.losses + [w.regularizer(w) for w in plan.regularized]
            added += [loss() for loss in plan.losses]
            total, parts = objective.compute(batch.y, y_pred, batch.weight, added)
    finally:
        tape.stop()
    xp = arrays.module_of(total.array)
    seed = xp.ones((), total.array.dtype)
    grads = tape.pull({id(total): seed}, plan.weights)
    interrupts.hold()
    try:
        if plan.weights:
            model.optimizer.apply(plan.weights, grads)
    finally:
        interrupts.release()
    objective.track(total, parts, batch.size)
    objective.update(batch.y, y_pred, batch.weight)


def test_step(model, batch):
    """Update losses and metrics with one batch, weights stay."""
    objective, plan = model._objective, model._plan
    with no_tape(), learning_phase_scope(0), loss_scope() as scope:
        y_pred = model._forward(batch.x, False)
        added = scope.losses + [w.regularizer(w) for w in plan.regularized]
        added += [loss() for loss in plan.losses]
        total, parts = objective.compute(batch.y, y_pred, batch.weight, added)
        objective.track(total, parts, batch.size)
        objective.update(batch.y, y_pred, batch.weight)


def predict_step(model, batch):
    """Return the flat list of outputs for one batch."""
    with no_tape(), learning_phase_scope(0), loss_scope():
        return model._forward(batch.x, False)
