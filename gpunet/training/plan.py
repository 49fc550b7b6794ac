"""Compiling: what training minimises, and what a step needs to know of the model."""

import contextlib

from gpunet import optimizers
from gpunet.errors import warn
from gpunet.graph import Graph
from gpunet.mixed_precision.loss_scale import LossScaleOptimizer, scale_options
from gpunet.nest import flatten, map_nest, pack
from gpunet.optimizers import Optimizer
from gpunet.stand_ins import StandIns
from gpunet.tensor import Shape
from gpunet.training.feeder import positive_int
from gpunet.training.objective import Objective
from gpunet.training.step import predict_step
from gpunet.variables import allocate

__all__ = ["Plan", "Compiled", "objective_of", "names_of"]

# Arguments of compile that later versions know and that change nothing here.
_IGNORED = ("pss_evaluation_shards", "auto_scale_loss", "experimental_run_tf_function")


class Plan:
    """What steps need of a model, found once: properties that walk over layers are slow.

    Args:
        model: Model, its weights are allocated.
        flags: dict layer or Variable -> whether it was trainable when `compile` was called.

    Attributes:
        graph: the `Graph` that it was made for, None for a subclassed model.
        whole: the same with the losses and metrics that were added to it.
        predict: function (list of Tensors, training) -> flat list of outputs.
        run: the same; behind the outputs come the losses that were added to the graph.
        structure: nest of a subclassed model's outputs, known after it ran.
        outputs: int, number of outputs; None for a subclassed model.
        weights: list of Variables that are trained.
        tables: set of ids of those whose gradient may come as rows.
        regularized: list of Variables with a regularizer.
        layers: list of the layers, nested ones too.
        keeps_state: bool, whether there are Variables that only layers write, such as averages.
        adds_losses: bool, whether `losses` gives any.
    """

    def __init__(self, model, flags):
        layers = model._nested_layers()
        everything = list({id(w): w for layer in layers for w in layer._own_weights()}.values())
        self.weights = _trained(model, flags)
        tables = [w for w in self.weights if w.ndim > 1 and w.constraint is None]
        self.tables = frozenset(map(id, tables))
        allocate(self.weights + [w for w in everything if not w.trainable] + everything)
        self.regularized = [w for w in everything if w.regularizer is not None]
        self.keeps_state = not all(w.trainable for w in everything)
        added = [loss for layer in layers for loss in layer._losses]
        self._functions = [loss for loss in added if callable(loss)]
        self.graph = graph = model._graph
        self.structure = None
        self._model, self._symbols, self._values = model, None, []
        self._losses, self._metrics, self.whole = [], [], None
        if graph is not None:
            self.outputs, self.predict = len(model.outputs), graph.run
            whole, self._losses, self._metrics = model._whole_graph()
            self.run = whole.run if whole is graph else self._run_whole
            self._whole = self.whole = whole
        else:
            self.outputs = None
            self.run = self.predict = self._call
        self.adds_losses = bool(self._functions or self.regularized or self._losses)
        self.layers = layers
        self.steps = None  # see `gpunet.training.step`
        self._parts = [*layers, *everything]
        self._flags = [flags.get(part, part._trainable) for part in self._parts]
        self._warned = False

    def _call(self, x, training):
        model = self._model
        nest = model._data_nest
        y = model(x[0] if nest is None else pack(nest, x), training=training)
        self.structure = map_nest(lambda _: None, y)
        return flatten(y)

    def _run_whole(self, x, training):
        """Run the graph with all that was added to it, and keep what isn't output or loss."""
        if self._symbols is not None:
            self._symbols.record()
        values = self._whole.run(x, training)
        losses = self.outputs + len(self._losses)
        metrics = losses + len(self._metrics)
        self._values = values[losses:metrics]
        if self._symbols is not None:
            self._symbols.values = values[metrics:]
        return values[:losses]

    def stand_in(self, objective):
        """Let the values of a batch stand in for the tensors of the graph that losses use.

        Args:
            objective: Objective, whose ``symbols`` are set.
        """
        self._symbols = None
        objective.symbols = contextlib.nullcontext()
        used, watched = objective.symbols_used(set(self.graph.inputs)) if self.graph else ((), ())
        if used:
            added = [*self._losses, *[t for _, t in self._metrics]]
            outputs = [*self._model.outputs, *added, *used]
            graph = self.graph
            self._whole = Graph(graph.inputs, outputs, graph.name, graph.aliases, watched)
            self._symbols = objective.symbols = StandIns(used, watched)
            self.run = self._run_whole

    def reported(self, scope):
        """Return the list of (name, value) of the metrics that were added in the last run.

        Args:
            scope: the `loss_scope` around it.
        """
        return [(name, v) for (name, _), v in zip(self._metrics, self._values)] + scope.metrics

    def losses(self, y):
        """Return the list of losses from regularizers, `add_loss` and the graph.

        Args:
            y: what `run` gave.
        """
        return (
            (y[self.outputs :] if self.outputs is not None else [])
            + [w.regularizer(w) for w in self.regularized]
            + [loss() for loss in self._functions]
        )

    def warn_if_stale(self, model):
        """Warn once if ``trainable`` was changed since the plan was made."""
        if self._warned or [part._trainable for part in self._parts] == self._flags:
            return
        if set(map(id, model.trainable_weights)) != set(map(id, self.weights)):
            self._warned = True
            warn(
                f"model {model.name!r}: `trainable` was changed after compile(); it takes "
                "effect at the next compile()",
            )


def flags_of(model):
    """Return what is trainable: dict layer or Variable -> bool."""
    layers = model._nested_layers()
    return {part: part._trainable for layer in layers for part in (layer, *layer._own_weights())}


def _trained(model, flags):
    """Return the weights that were trainable under flags of another time."""
    now = [(part, part._trainable) for part in flags]
    try:
        for part, flag in flags.items():
            part._trainable = flag
        return model.trainable_weights
    finally:
        for part, flag in now:
            part._trainable = flag


class Compiled:
    """The part of `Trainer` that is about compiling."""

    optimizer = None
    loss = None
    run_eagerly = False
    steps_per_execution = None
    _objective = None
    _plan = None
    _compiled = None
    _flags = None
    _data_nest = None

    def compile(
        self,
        optimizer="rmsprop",
        loss=None,
        metrics=None,
        loss_weights=None,
        sample_weight_mode=None,
        weighted_metrics=None,
        target_tensors=None,
        run_eagerly=None,
        steps_per_execution=None,
        jit_compile=None,
        **kwargs,
    ):
        """Say what training minimises and measures.

        Args:
            optimizer: name, config or object; see `gpunet.optimizers`.
            loss: name, function, `Loss`; for several outputs also a list or a dict by name.
            metrics: list of names, functions or `Metric` objects, for several outputs also a
                list of lists or a dict by name.  ``'accuracy'`` fits itself to loss and output.
            loss_weights: list of numbers, or dict by output name.
            sample_weight_mode: accepted; the shape of the weights tells.
            weighted_metrics: like ``metrics``, measured with sample weights.
            run_eagerly: bool, run the Python of every step instead of a recording of it.
            steps_per_execution: int, how many batches are worked on in one go, between which
                callbacks aren't called.  By default (and for ``'auto'``) one where a callback
                has hooks for batches, else as many as pay.

        Raises:
            ValueError: unknown names, entries that don't match the outputs, or a
                ``steps_per_execution`` that isn't a positive int.
        """
        if target_tensors is not None:
            raise ValueError("compile: target_tensors aren't supported; pass targets to fit()")
        unknown = [k for k in kwargs if k not in _IGNORED]
        if unknown:
            raise TypeError(f"compile: unknown argument(s) {unknown}")
        chosen = optimizers.get(optimizer)
        if chosen is None:
            raise ValueError("compile: expected an optimizer, got None")
        scales = isinstance(chosen, LossScaleOptimizer) or not isinstance(chosen, Optimizer)
        if self.dtype_policy.name == "mixed_float16" and not scales:
            loss_scale = getattr(self.dtype_policy, "loss_scale", "dynamic")
            if loss_scale is not None:
                chosen = LossScaleOptimizer(chosen, **scale_options(loss_scale))
        arguments = {
            "loss": loss,
            "metrics": metrics,
            "loss_weights": loss_weights,
            "weighted_metrics": weighted_metrics,
            "sample_weight_mode": sample_weight_mode,
        }
        objective = None
        if self.outputs is not None:
            objective = objective_of(arguments, self.output_names, [t.shape for t in self.outputs])
        self._compiled, self._objective, self._plan = arguments, objective, None
        self._flags = flags_of(self)
        self.optimizer, self.loss = chosen, loss
        self.run_eagerly = bool(run_eagerly)
        if isinstance(steps_per_execution, str) and steps_per_execution == "auto":
            steps_per_execution = None
        self.steps_per_execution = positive_int(steps_per_execution, "compile: steps_per_execution")

    def _ready(self, what, first):
        """Make what steps need: built layers, the plan, losses and metrics.

        Args:
            what: str, who asks.
            first: function that returns a `Batch` of some data, to build the model on.
        """
        if self._plan is not None and self._plan.graph is not self._graph:
            self._plan = self._objective = None  # layers were added or taken off
        elif self._plan is not None and self._graph is not None:
            if self._plan.whole is not self._whole_graph()[0]:  # something was added to it
                self._plan = None
        if self._plan is None:
            if self.outputs is None:
                self._build_on(first())
            self._plan = Plan(self, self._flags or {})
            if self._objective is not None:
                self._objective.symbols = None
        if self._compiled is not None and self._objective is None:
            if self.outputs is not None:
                names, shapes = self.output_names, [t.shape for t in self.outputs]
            else:
                y = predict_step(self, first())
                names, shapes = names_of(self._plan.structure), [(None, *t.shape[1:]) for t in y]
            self._objective = objective_of(self._compiled, names, shapes)
        if self._objective is not None and self._objective.symbols is None:
            self._plan.stand_in(self._objective)
        if what in ("fit", "train_on_batch") and self._compiled is not None:
            self._plan.warn_if_stale(self)

    def _build_on(self, batch):
        """Run a model once, since only data tell the shapes of its weights."""
        self._plan = Plan(self, {})  # of what there is so far
        try:
            predict_step(self, batch)
        finally:
            self._plan = None

    @property
    def metrics(self):
        """List of the metric objects."""
        return [] if self._objective is None else self._objective.metrics

    @property
    def metrics_names(self):
        """List of the names that `evaluate` and `train_on_batch` give values for, in order."""
        return [] if self._objective is None else list(self._objective.labels)

    def reset_metrics(self):
        """Start losses and metrics anew."""
        if self._objective is not None:
            self._objective.reset()


def objective_of(given, names, shapes):
    """Return the Objective that arguments of `compile` make for outputs of these shapes."""
    return Objective(
        given["loss"],
        given["metrics"],
        given["loss_weights"],
        given["weighted_metrics"],
        list(names),
        [Shape(s) for s in shapes],
    )


def names_of(structure):
    """Return names for a subclassed model's outputs: a dict's keys, else ``output_1``, ..."""
    if isinstance(structure, dict) and not any(map(_nested, structure.values())):
        return [str(key) for key in structure]
    return [f"output_{i + 1}" for i in range(len(flatten(structure)))]


def _nested(value):
    return isinstance(value, (list, tuple, dict))
