"""One batch: forward, backward, update.  Nothing in here reads a value on the host.

What a step does is recorded and replayed (see `gpunet.autodiff.recorded`) where all of the code
in it is gpunet's own; a user's code runs at every step.  On a GPU replays become graphs (see
`gpunet.training.captured`).  BLAS is kept at one thread meanwhile;
ops spread what is large (see `gpunet.threads`).
"""

import contextlib

import numpy as np

from gpunet import arrays, threads
from gpunet.autodiff import Recorded, Tape, no_tape
from gpunet.context import learning_phase_scope
from gpunet.fused.graphs import Graphs, has_graphs, holders
from gpunet.layers.base import loss_scope
from gpunet.mixed_precision import LossScaleOptimizer
from gpunet.recording import constant, effect
from gpunet.tensor import Tensor
from gpunet.training.captured import Captured
from gpunet.training.origin import foreign
from gpunet.training.resident import Residence

__all__ = ["train_step", "test_step", "predict_step", "steps_of"]

_nothing = contextlib.nullcontext()


def train_step(model, batch, interrupts):
    """Update weights, losses and metrics with one batch.

    Args:
        model: compiled model.
        batch: `Batch`.
        interrupts: `Interrupts`, entered by the caller.
    """
    steps = steps_of(model)
    with threads.steady(), steps.numerics():
        if steps.plan.keeps_state:  # layers write it as they run
            interrupts.hold()
        steps.interrupts, steps.size = interrupts, batch.size
        try:
            steps.train(*steps.flat(batch))
        finally:
            interrupts.release()


def test_step(model, batch):
    """Update losses and metrics with one batch, weights stay."""
    steps = steps_of(model)
    with threads.steady():
        steps.size = batch.size
        steps.test(*steps.flat(batch))


def predict_step(model, batch):
    """Return the flat list of outputs for one batch."""
    with threads.steady():
        return [Tensor(a) for a in steps_of(model).predict(*batch.x)]


def steps_of(model):
    """Return the `Steps` of a model as it is compiled now."""
    plan = model._plan
    steps = plan.steps
    if (
        steps is None
        or steps.objective is not model._objective
        or steps.optimizer is not model.optimizer
        or steps.eagerly is not model.run_eagerly
    ):
        steps = plan.steps = Steps(model)
    return steps


class Steps:
    """The steps of one model as functions of flat lists of tensors.

    Attributes:
        plan, objective, optimizer, eagerly: the model's.
        train, test: functions of inputs, targets and weights that return nothing.
        predict: function of inputs that returns a list of arrays.
        interrupts, size: those of the batch that is worked on.
        residence: `Residence` of data on a device that takes graphs, else None.
    """

    def __init__(self, model):
        self.plan, self.objective, self.optimizer = model._plan, model._objective, model.optimizer
        self.interrupts = self.size = None
        self.scales = isinstance(self.optimizer, LossScaleOptimizer)
        self.eagerly = model.run_eagerly
        self.residence = None
        name = f"{type(model).__name__} {model.name!r}"
        if self.eagerly:
            self.train, self.test, self.predict = self._train, self._test, self._predict_eagerly
            return

        def refusal():
            rules = [w.regularizer for w in self.plan.regularized]
            return foreign([model, *self.plan.layers, *rules])

        def refusal_of_steps():
            return refusal() or foreign(self.objective.replayed())

        self.train = Recorded(self._train, f"training {name}", refusal_of_steps)
        self.test = Recorded(self._test, f"testing {name}", refusal_of_steps)
        self.predict = Recorded(self._predict, name, refusal)
        device = arrays.current_device()
        if has_graphs(device.xp):
            self._capture(device)

    def _capture(self, device):
        """Let replays become graphs."""
        plan = self.plan

        def refusal():
            rules = [w.constraint for w in plan.weights if w.constraint is not None]
            return foreign([*self.objective.metrics, self.optimizer, *rules])

        def assumed():  # an optimizer needn't be one of ours, but then there are no graphs
            return getattr(self.optimizer, "assumed", tuple)()

        place = device, Graphs(device.xp)
        self.train = Captured(self.train, *place, assumed, refusal)
        self.test = Captured(self.test, *place, tuple, refusal)
        self.predict = Captured(self.predict, *place, tuple, lambda: None)
        self._graphs = place[1]
        self.residence = Residence(device.xp, self._drop_graphs)
        holders.add(self)

    def _drop_graphs(self):
        for function in (self.train, self.test, self.predict):
            function.forget()
        self._graphs.give_back()

    def forget(self):
        """Drop all graphs, and data on the device that nobody reads any more."""
        with self._graphs.lock:
            self.residence.drop()

    def resident(self, mode, source, rows, times, interrupts):
        """Run a mode's function several times on data of the device; see `Captured.steps`.

        Args:
            interrupts: `Interrupts`, None unless the mode is ``'train'``.
        """
        self.interrupts, self.size = interrupts, rows
        if interrupts is not None:
            interrupts.hold()
        try:
            with threads.steady(), self.numerics():
                return getattr(self, mode).steps(source, rows, times)
        finally:
            if interrupts is not None:
                interrupts.release()

    def numerics(self):
        """Return a context for a step: where losses are scaled, numbers may overflow."""
        return np.errstate(over="ignore", invalid="ignore") if self.scales else _nothing

    def flat(self, batch):
        """Return a Batch as a flat list: one entry for each input, target and weight."""
        none = [None] * len(self.objective.names)
        return [*batch.x, *(batch.y or none), *(batch.weight or none)]

    def _parted(self, flat):
        """Return (inputs, targets, weights)."""
        count = len(self.objective.names)
        first, second = len(flat) - 2 * count, len(flat) - count
        return flat[:first], flat[first:second], flat[second:]

    def _train(self, *flat):
        plan, objective = self.plan, self.objective
        x, y, weight = self._parted(flat)
        tape = Tape()
        tape.start()
        try:
            with learning_phase_scope(1), loss_scope() as scope:
                y_pred, total, parts = self._losses(x, y, weight, scope, True)
                scaled = self._scaled(total)
        finally:
            tape.stop()
        if plan.weights:
            xp = arrays.module_of(total.array)
            seeds = {id(scaled): constant(xp.ones((), scaled.array.dtype))}
            rows = plan.tables if self.optimizer.takes_rows else frozenset()
            grads = tape.pull(seeds, plan.weights, rows=rows)
            effect(self._apply, *grads)
        effect(self._track, total.array, *[p.array for p in parts])
        objective.update(y, y_pred, weight)
        return ()

    def _test(self, *flat):
        x, y, weight = self._parted(flat)
        with no_tape(), learning_phase_scope(0), loss_scope() as scope:
            y_pred, total, parts = self._losses(x, y, weight, scope, False)
            effect(self._track, total.array, *[p.array for p in parts])
            self.objective.update(y, y_pred, weight)
        return ()

    def _predict(self, *x):
        with no_tape(), learning_phase_scope(0), loss_scope():
            return self.plan.predict(list(x), False)

    def _predict_eagerly(self, *x):
        return [t.array for t in self._predict(*x)]

    def _losses(self, x, y, weight, scope, training):
        plan = self.plan
        y_pred = plan.run(list(x), training)
        added = scope.losses
        if plan.adds_losses:
            added = added + plan.losses(y_pred)
            y_pred = y_pred[: plan.outputs]
        self.objective.reported = plan.reported(scope)
        total, parts = self.objective.compute(y, y_pred, weight, added)
        return y_pred, total, parts

    def _scaled(self, total):
        """Return the loss that gradients are computed of."""
        return self.optimizer.get_scaled_loss(total) if self.scales else total

    def _apply(self, *grads):
        self.interrupts.hold()
        if self.scales:
            grads = self.optimizer.get_unscaled_gradients(grads)
        self.optimizer.apply(self.plan.weights, grads)

    def _track(self, total, *parts):
        self.objective.track(total, parts, self.size)
