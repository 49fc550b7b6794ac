"""Steps as methods of the model, which a subclass may replace by its own."""

from gpunet import ops, threads
from gpunet.autodiff import GradientTape
from gpunet.errors import GpunetError
from gpunet.metrics import Metric
from gpunet.nest import flatten, map_nest
from gpunet.tensor import Tensor, convert_to_tensor
from gpunet.training import step as built_in
from gpunet.training.feeding import (
    Feeding,
    pack_x_y_sample_weight,
    packed,
    unpack_x_y_sample_weight,
)
from gpunet.training.plan import names_of, objective_of

__all__ = ["Steps"]

# What a subclass may replace in each mode, so that its own code has to run.
_METHODS = {
    "train": ("train_step", "make_train_function", "compute_loss", "compute_metrics"),
    "test": ("test_step", "make_test_function", "compute_loss", "compute_metrics"),
    "predict": ("predict_step", "make_predict_function"),
}


class Steps(Feeding):
    """The part of `Trainer` that later versions of Keras let subclasses replace.

    `fit`, `evaluate` and `predict` call these methods where a subclass has its own; otherwise
    they take a shorter way to the same numbers.
    """

    train_function = test_function = predict_function = None

    def train_step(self, data):
        """Update the weights with one batch, and return name -> value of what to show.

        Args:
            data: tensor, or tuple (x,), (x, y) or (x, y, sample_weight).
        """
        x, y, sample_weight = unpack_x_y_sample_weight(data)
        with GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compute_loss(x, y, y_pred, sample_weight)
        self.optimizer.minimize(loss, self.trainable_variables, tape=tape)
        return self.compute_metrics(x, y, y_pred, sample_weight)

    def test_step(self, data):
        """Return name -> value of what to show of one batch; see `train_step`."""
        x, y, sample_weight = unpack_x_y_sample_weight(data)
        y_pred = self(x, training=False)
        self.compute_loss(x, y, y_pred, sample_weight)
        return self.compute_metrics(x, y, y_pred, sample_weight)

    def predict_step(self, data):
        """Return the outputs for one batch; see `train_step`."""
        x, _, _ = unpack_x_y_sample_weight(data)
        return self(x, training=False)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
        """Return the loss of one batch, with what layers and regularizers add.

        Args:
            x: the batch's inputs.
            y: its targets.
            y_pred: the outputs for it.
            sample_weight: its weights, or None.
        """
        return self.compiled_loss(y, y_pred, sample_weight, regularization_losses=self.losses)

    def compute_metrics(self, x, y, y_pred, sample_weight):
        """Bring the compiled metrics up to date, and return name -> value of all there are.

        Args:
            x, y, y_pred, sample_weight: as for `compute_loss`.
        """
        self.compiled_metrics.update_state(y, y_pred, sample_weight)
        return self.get_metrics_result()

    def get_metrics_result(self):
        """Return name -> value of losses and metrics, as scalars on the device."""
        found = {}
        for m in self.metrics:
            result = m.result()
            found.update(result if isinstance(result, dict) else {m.name: result})
        return found

    def make_train_function(self, force=False):
        """Return the function (iterator over batches) -> logs that `fit` calls for each batch.

        Args:
            force: bool, make it anew.
        """
        if self.train_function is None or force:
            self.train_function = lambda iterator: self.train_step(next(iterator))
        return self.train_function

    def make_test_function(self, force=False):
        """Return the function that `evaluate` calls; see `make_train_function`."""
        if self.test_function is None or force:
            self.test_function = lambda iterator: self.test_step(next(iterator))
        return self.test_function

    def make_predict_function(self, force=False):
        """Return the function that `predict` calls; see `make_train_function`."""
        if self.predict_function is None or force:
            self.predict_function = lambda iterator: self.predict_step(next(iterator))
        return self.predict_function

    # -- what such steps use ------------------------------------------------------------------

    @property
    def compiled_loss(self):
        """The losses given to `compile`: ``compiled_loss(y, y_pred, sample_weight,
        regularization_losses=...)`` is the total of one batch, and counts in the logs."""
        return CompiledLoss(self)

    @property
    def compiled_metrics(self):
        """The metrics given to `compile`, with ``update_state(y, y_pred, sample_weight)``."""
        return CompiledMetrics(self)

    @property
    def metrics(self):
        """List of the metric objects: those compiled, and those that are attributes.

        In a model with a `train_step` of its own the losses, as running means, come first.
        """
        compiled = super().metrics
        if self._has_own("train") or self._has_own("test"):
            compiled = self.compiled_loss.metrics + self.compiled_metrics.metrics
        return compiled + [m for m in self._own_metrics() if not any(m is c for c in compiled)]

    def _own_metrics(self):
        if type(self).metrics is not Steps.metrics:  # a list of the subclass's own
            return [m for m in self.metrics if isinstance(m, Metric)]
        return [v for v in vars(self).values() if isinstance(v, Metric)]

    def reset_metrics(self):
        """Start losses and metrics anew."""
        super().reset_metrics()
        for metric in self._own_metrics():
            metric.reset_states()

    def _has_own(self, mode):
        """Return whether a subclass replaces something of a mode."""
        return any(
            name in vars(self) or getattr(type(self), name) is not getattr(Steps, name)
            for name in _METHODS[mode]
        )

    def _step(self, mode):
        """Return what runs the batches of ``'train'``, ``'test'`` or ``'predict'``."""
        if self._has_own(mode):
            return OwnStep(self, mode)
        return BuiltIn(self, mode)

    def _objective_for(self, y_pred):
        """Return the Objective, made for what a model gave if that wasn't known before."""
        if self._objective is None:
            outputs = flatten(y_pred)
            shapes = [(None, *t.shape[1:]) for t in outputs]
            self._objective = objective_of(self._compiled, names_of(y_pred), shapes)
        return self._objective


# -- running them -------------------------------------------------------------------------


class BuiltIn:
    """Runs batches the short way.

    Attributes:
        own: False.
    """

    own = False

    def __init__(self, model, mode):
        self.model, self.mode = model, mode
        self._run = getattr(built_in, f"{mode}_step")

    def run(self, batch, *interrupts):
        """Do one step; for predict return the flat list of outputs."""
        return self._run(self.model, batch, *interrupts)

    def take_in(self, feeder, passes):
        """Return the `Resident` of a feeder whose data go to the device for good, or None."""
        steps = built_in.steps_of(self.model)
        if steps.residence is None or feeder.samples is None:
            return None
        outputs = 0 if self.mode == "predict" else len(steps.objective.names)
        return steps.residence.take_in(feeder, passes, outputs)

    def leave(self, feeder):
        """Note that a feeder's data aren't read any more."""
        residence = built_in.steps_of(self.model).residence
        if residence is not None:
            residence.leave(feeder)

    def captures(self):
        """Return whether batches may be taken from data on the device."""
        return getattr(self._function(), "can", False)

    def most(self, resident, rows):
        """Return how many batches of resident data should be worked on in one go."""
        return self._function().most(resident, rows)

    def run_resident(self, resident, rows, times, interrupts=None):
        """Do several steps on resident data; return the outputs of each."""
        steps = built_in.steps_of(self.model)
        found = steps.resident(self.mode, resident, rows, times, interrupts)
        return [[Tensor(a) for a in outputs] for outputs in found]

    def _function(self):
        return getattr(built_in.steps_of(self.model), self.mode)

    def logs(self):
        """Return name -> float, the means so far."""
        return self.model._objective.logs()

    @property
    def structure(self):
        """Nest of the outputs."""
        nest = self.model._output_nest
        return nest if nest is not None else self.model._plan.structure


class OwnStep:
    """Runs batches through methods that a subclass has replaced.

    Attributes:
        own: True.
    """

    own = True

    def __init__(self, model, mode):
        self.model, self.mode = model, mode
        self._function = getattr(model, f"make_{mode}_function")()
        self._last = {}

    def take_in(self, feeder, passes):
        """Return None: the user's code gets every batch."""

    def run(self, batch, interrupts=None):
        """Do one step, which no Ctrl-C breaks off; for predict return the flat list of outputs."""
        data = _data_of(batch)
        if interrupts is not None:
            interrupts.hold()
        try:
            with threads.steady():
                found = self._function(iter([data]))
        finally:
            if interrupts is not None:
                interrupts.release()
        if self.mode == "predict":
            self.structure = map_nest(lambda _: None, found)
            return [convert_to_tensor(t) for t in flatten(found)]
        if not isinstance(found, dict):
            raise TypeError(
                f"{type(self.model).__name__}.{self.mode}_step: expected it to return a dict of "
                f"name to value, got {type(found).__name__}"
            )
        self._last = found
        return None

    def logs(self):
        """Return name -> float of what the last step returned."""
        found = {}
        for name, value in self._last.items():
            found.update(value if isinstance(value, dict) else {name: value})
        return {name: _number(value) for name, value in found.items()}


def _number(value):
    if isinstance(value, Tensor):
        value = value.numpy()
    return float(value) if getattr(value, "ndim", 0) == 0 else value


def _data_of(batch):
    x, y, weight = (packed(*pair) for pair in zip(batch.nests, (batch.x, batch.y, batch.weight)))
    return pack_x_y_sample_weight(x, y, weight)


# -- losses and metrics of a batch ---------------------------------------------------------


class CompiledLoss:
    """What `Steps.compiled_loss` gives."""

    def __init__(self, model):
        self._model = model

    def __call__(self, y_true, y_pred, sample_weight=None, regularization_losses=None):
        objective = self._model._objective_for(y_pred)
        outputs = flatten(y_pred)
        weights = _by_output(objective, sample_weight, spread=True)
        ys = _targets(objective, y_true)
        total, parts = objective.compute(ys, outputs, weights, list(regularization_losses or ()))
        size = int(outputs[0].shape[0])
        objective.track(total.array, [part.array for part in parts], size)
        return total

    @property
    def metrics(self):
        """List of the losses as running means."""
        objective = self._model._objective
        labels = [] if objective is None else objective.loss_labels
        return [RunningLoss(objective, i) for i in range(len(labels))]


class CompiledMetrics:
    """What `Steps.compiled_metrics` gives."""

    def __init__(self, model):
        self._model = model

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Bring the metrics up to date with one batch."""
        objective = self._model._objective_for(y_pred)
        weights = _by_output(objective, sample_weight, spread=True)
        objective.update(_targets(objective, y_true), flatten(y_pred), weights)

    @property
    def metrics(self):
        """List of the metric objects, under their names in logs."""
        objective = self._model._objective
        return [] if objective is None else [Labelled.of(m) for m in objective.measures]


class RunningLoss:
    """One of the losses as a metric that can be read.

    Attributes:
        name: str, its name in logs.
    """

    def __init__(self, objective, index):
        self._objective, self._index = objective, index
        self.name = objective.loss_labels[index]

    def result(self):
        """Return the mean since the last reset, a scalar on the device."""
        return self._objective.running(self._index)


class Labelled:
    """A metric under the name that it has in logs; everything else is the metric's."""

    def __init__(self, metric, label):
        self._metric, self.name = metric, label

    @classmethod
    def of(cls, measure):
        """Return the metric of a measure, as it is if it has the name already."""
        metric = measure.metric
        return metric if metric.name == measure.label else cls(metric, measure.label)

    def __getattr__(self, attribute):
        return getattr(self._metric, attribute)


def _targets(objective, y):
    """Return the flat list of targets; 1-D ones become ``(N, 1)``."""
    found = _by_output(objective, y)
    return [
        ops.expand_dims(t, -1) if t is not None and len(t.shape) == 1 and len(shape) > 1 else t
        for t, shape in zip(found, objective.shapes, strict=True)
    ]


def _by_output(objective, nest, spread=False):
    """Return one tensor (or None) for each output."""
    names = objective.names
    if nest is None:
        return [None] * len(names)
    if isinstance(nest, dict):
        unknown = [key for key in nest if key not in names]
        if unknown:
            raise ValueError(f"compiled_loss: unknown outputs {unknown}; expected {list(names)}")
        leaves = [nest.get(name) for name in names]
    else:
        leaves = flatten(nest)
        if spread and len(leaves) == 1:
            leaves *= len(names)
    if len(leaves) != len(names):
        raise _WrongCount(
            f"compiled_loss: expected {len(names)} tensors, one for each of {list(names)}, "
            f"got {len(leaves)}"
        )
    return [None if leaf is None else convert_to_tensor(leaf) for leaf in leaves]


class _WrongCount(GpunetError, ValueError):
    """Targets or weights that don't match the outputs."""
