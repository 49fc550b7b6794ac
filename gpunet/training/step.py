"""One batch: forward, backward, update.  Nothing in here reads a value on the host.

BLAS is kept at one thread meanwhile; ops spread what is large (see `gpunet.threads`).
"""

from gpunet import arrays, threads
from gpunet.autodiff import Tape, no_tape
from gpunet.context import learning_phase_scope
from gpunet.layers.base import loss_scope

__all__ = ["train_step", "test_step", "predict_step"]


def train_step(model, batch, interrupts):
    """Update weights, losses and metrics with one batch.

    Args:
        model: compiled model.
        batch: `Batch`.
        interrupts: `Interrupts`, entered by the caller.
    """
    with threads.steady():
        _train_step(model._objective, model._plan, model.optimizer, batch, interrupts)


def _train_step(objective, plan, optimizer, batch, interrupts):
    if plan.keeps_state:  # layers write it as they run
        interrupts.hold()
    try:
        tape = Tape()
        tape.start()
        try:
            with learning_phase_scope(1), loss_scope() as scope:
                y_pred, total, parts = _losses(objective, plan, batch, scope, True)
        finally:
            tape.stop()
        if plan.weights:
            xp = arrays.module_of(total.array)
            seeds = {id(total): xp.ones((), total.array.dtype)}
            rows = plan.tables if optimizer.takes_rows else frozenset()
            grads = tape.pull(seeds, plan.weights, rows=rows)
            interrupts.hold()
            optimizer.apply(plan.weights, grads)
    finally:
        interrupts.release()
    objective.track(total, parts, batch.size)
    objective.update(batch.y, y_pred, batch.weight)


def test_step(model, batch):
    """Update losses and metrics with one batch, weights stay."""
    objective, plan = model._objective, model._plan
    with threads.steady(), no_tape(), learning_phase_scope(0), loss_scope() as scope:
        y_pred, total, parts = _losses(objective, plan, batch, scope, False)
        objective.track(total, parts, batch.size)
        objective.update(batch.y, y_pred, batch.weight)


def predict_step(model, batch):
    """Return the flat list of outputs for one batch."""
    with threads.steady(), no_tape(), learning_phase_scope(0), loss_scope():
        return model._plan.predict(batch.x, False)


def _losses(objective, plan, batch, scope, training):
    y_pred = plan.run(batch.x, training)
    added = scope.losses
    if plan.adds_losses:
        added = added + plan.losses(y_pred)
        y_pred = y_pred[: plan.outputs]
    objective.reported = plan.reported(scope)
    total, parts = objective.compute(batch.y, y_pred, batch.weight, added)
    return y_pred, total, parts
