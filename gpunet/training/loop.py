"""compile, fit, evaluate, predict: the loop around single steps."""

import warnings

import numpy as np

from gpunet import arrays, optimizers
from gpunet.nest import flatten, pack
from gpunet.tensor import Shape
from gpunet.training.callbacks import CallbackList, History
from gpunet.training.data import (
    ArrayFeeder,
    Batch,
    as_columns,
    check_columns,
    check_finite,
    class_weights,
    take,
)
from gpunet.training.objective import Objective
from gpunet.training.progress import Progress
from gpunet.training.step import Interrupts, predict_step, test_step, train_step
from gpunet.variables import allocate

__all__ = ["Trainer"]


class Plan:
    """What a training step needs to know of a model's weights; fixed at compile.

    Attributes:
        weights: list of Variables that are trained.
        regularized: list of Variables with a regularizer.
        losses: list of functions given to `add_loss`.
    """

    def __init__(self, model):
        self.weights = model.trainable_weights
        everything = _unique(model._nested_weights())
        allocate(self.weights + [w for w in everything if not w.trainable] + everything)
        self.regularized = [w for w in everything if w.regularizer is not None]
        self.losses = [f for layer in model._nested_layers() for f in layer._losses if callable(f)]


class Trainer:
    """Mixin that trains a model; see the methods."""

    optimizer = None
    loss = None
    stop_training = False
    history = None
    _objective = None
    _plan = None
    _compiled = None

    def _init_trainer(self):
        self.stop_training = False

    # -- compile --------------------------------------------------------------------------

    def compile(self, optimizer="rmsprop", loss=None, metrics=None, loss_weights=None,
                sample_weight_mode=None, weighted_metrics=None, target_tensors=None,
                run_eagerly=None, steps_per_execution=None, jit_compile=None, **kwargs):
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
            steps_per_execution: accepted; chosen automatically.

        Raises:
            ValueError: unknown names, or entries that don't match the outputs.
        """
        if target_tensors is not None:
            raise ValueError("compile: target_tensors aren't supported; pass targets to fit()")
        unknown = [k for k in kwargs if k not in _IGNORED]
        if unknown:
            raise TypeError(f"compile: unknown argument(s) {unknown}")
        chosen = optimizers.get(optimizer)
        arguments = dict(
            loss=loss, metrics=metrics, loss_weights=loss_weights,
            weighted_metrics=weighted_metrics, sample_weight_mode=sample_weight_mode,
        )
        previous = self._compiled, self._objective
        self._compiled, self._objective = arguments, None
        try:
            if self.outputs is not None:
                self._make_objective([t.shape for t in self.outputs])
        except Exception:
            self._compiled, self._objective = previous
            raise
        self.optimizer, self.loss = chosen, loss
        self.run_eagerly = bool(run_eagerly)
        self._plan = None

    def _make_objective(self, shapes):
        names = self.output_names or [f"output_{i + 1}" for i in range(len(shapes))]
        given = self._compiled
        self._objective = Objective(
            given["loss"], given["metrics"], given["loss_weights"], given["weighted_metrics"],
            names, [Shape(s) for s in shapes],
        )

    def _ready(self, what, batch=None):
        """Make what a step needs: built layers, losses and metrics, the plan of weights."""
        if self._compiled is None and what != "predict":
            raise RuntimeError(
                f"{what}: You must compile your model before training/testing. "
                "Use `model.compile(optimizer, loss)`."
            )
        if self._objective is None and self._compiled is not None:
            if self.outputs is None:
                y = predict_step(self, batch)
                self._make_objective([(None, *t.shape[1:]) for t in y])
            else:
                self._make_objective([t.shape for t in self.outputs])
        if self._plan is None:
            self._plan = Plan(self)
        elif what in ("fit", "train_on_batch"):
            self._warn_if_changed()

    def _warn_if_changed(self):
        trained = {id(w) for w in self._plan.weights}
        if {id(w) for w in self.trainable_weights} != trained:
            warnings.warn(
                f"model {self.name!r}: `trainable` was changed after compile(); it takes "
                "effect at the next compile()",
                stacklevel=4,
            )

    @property
    def metrics(self):
        """List of the metric objects."""
        return [] if self._objective is None else list(self._objective.metrics)

    @property
    def metrics_names(self):
        """List of the names that `evaluate` and `train_on_batch` give values for, in order."""
        return [] if self._objective is None else self._objective.labels

    def reset_metrics(self):
        """Start losses and metrics anew."""
        if self._objective is not None:
            self._objective.reset()

    def _nested_layers(self):
        found, waiting = {}, [self]
        while waiting:
            layer = waiting.pop()
            if id(layer) not in found:
                found[id(layer)] = layer
                waiting.extend(reversed(layer._sublayers()))
        return list(found.values())

    def _nested_weights(self):
        return [w for layer in self._nested_layers() for w in layer._own_weights()]

    def _forward(self, x, training):
        """Return the flat list of outputs for a list of input Tensors."""
        if self._graph is not None:
            return self._graph.run(self._feed(x), training)
        inputs = pack(self._data_nest, x) if self._data_nest is not None else (
            x[0] if len(x) == 1 else x
        )
        return flatten(self(inputs, training=training))

    _data_nest = None

    # -- data -----------------------------------------------------------------------------

    def _columns(self, x, y, sample_weight, class_weight, what, finite=True):
        """Return (x, y, weights) as lists of checked arrays."""
        names = self.input_names if self.inputs is not None else None
        if x is None:
            raise ValueError(f"{what}: expected data as x, got None")
        if _is_generator(x):
            raise TypeError(
                f"{what}: expected arrays as x, got {type(x).__name__}; generators and "
                "Sequences aren't supported yet"
            )
        xs = as_columns(x, names, f"{what}: x")
        if any(a is None for a in xs):
            raise ValueError(f"{what}: x holds None where data is expected")
        if self.inputs is not None:
            xs = check_columns(xs, self.inputs, what)
        else:
            self._data_nest = x if isinstance(x, (list, tuple, dict)) and len(xs) > 1 else None
            self._build_from(xs)
        if finite:
            check_finite(xs, f"{what}: x")
        outputs = self.output_names or None
        ys = as_columns(y, outputs, f"{what}: y")
        if ys is not None and finite:
            check_finite([a for a in ys if a is not None], f"{what}: y")
        count = len(ys) if ys is not None else len(self.outputs or [None])
        ws = _weights(sample_weight, outputs, count, f"{what}: sample_weight")
        if ws is not None and finite:
            check_finite([a for a in ws if a is not None], f"{what}: sample_weight")
        if class_weight is not None:
            ws = _with_classes(class_weight, ys, ws, outputs, what)
        return xs, ys, ws

    def _build_from(self, xs):
        """Build a model that only its data tell the shape of."""
        if hasattr(self, "add") and self.outputs is None and len(xs) == 1:
            shape = xs[0].shape if len(xs[0].shape) > 1 else (None, 1)
            self.build((None, *shape[1:]))

    def _feeder(self, columns, batch_size, what):
        xs, ys, ws = columns
        feeder = ArrayFeeder(xs, ys, ws, batch_size, what)
        first = Batch([take(a, slice(0, 1)) for a in xs], None, None, 1)
        self._ready(what, first)
        if ys is not None:
            if len(ys) != len(self._objective.losses):
                raise ValueError(
                    f"{what}: the model has {len(self._objective.losses)} output(s), "
                    f"got {len(ys)} target array(s)"
                )
            self._objective.check_targets(ys, what)
        return feeder

    # -- loops ----------------------------------------------------------------------------

    def fit(self, x=None, y=None, batch_size=None, epochs=1, verbose=1, callbacks=None,
            validation_split=0.0, validation_data=None, shuffle=True, class_weight=None,
            sample_weight=None, initial_epoch=0, steps_per_epoch=None, validation_steps=None,
            validation_freq=1, max_queue_size=10, workers=1, use_multiprocessing=False,
            validation_batch_size=None, **kwargs):
        """Train the model.

        Args:
            x: array ``(N, ...)``; for several inputs a list, or a dict by input name.
            y: targets, likewise by output.
            batch_size: int, 32 by default; the last batch may be smaller.
            epochs: int, number of the last epoch.
            verbose: 0 silent, 1 progress bar, 2 one line for each epoch.
            callbacks: list of `gpunet.callbacks.Callback`.
            validation_split: float in [0, 1), the last part of the data to validate on.
            validation_data: ``(x, y)`` or ``(x, y, sample_weight)``; wins over the split.
            shuffle: True, False, or ``'batch'`` to keep batches together.
            class_weight: dict class -> weight of its samples.
            sample_weight: array ``(N,)``, or ``(N, T)`` for weights of single steps.
            initial_epoch: int, number of the first epoch.
            steps_per_epoch: int, stop an epoch after so many batches.
            validation_steps: int, likewise for the validation.
            validation_freq: int, or list of the epochs (from 1) after which to validate.
            max_queue_size, workers, use_multiprocessing: accepted; arrays need no queue.
            validation_batch_size: int, ``batch_size`` by default.

        Returns:
            `History`: ``.history`` maps names to one value for each epoch.

        Raises:
            ValueError, TypeError: data that don't fit the model; the text says which argument.
        """
        epochs = kwargs.pop("nb_epoch", epochs)
        if kwargs:
            raise TypeError(f"fit: unknown argument(s) {list(kwargs)}")
        columns = self._columns(x, y, sample_weight, class_weight, "fit")
        feeder = self._feeder(columns, batch_size, "fit")
        check = None
        if validation_data is not None:
            vx, vy, vw = _unpack_validation(validation_data)
            check = self._feeder(
                self._columns(vx, vy, vw, None, "fit: validation_data"),
                validation_batch_size or feeder.batch_size, "fit: validation_data",
            )
        elif validation_split:
            feeder, check = feeder.split(validation_split)
        steps = feeder.steps if steps_per_epoch is None else min(steps_per_epoch, feeder.steps)
        history = History()
        self.history = history
        labels = self._objective.labels
        hooks = CallbackList(callbacks, self, {
            "batch_size": feeder.batch_size, "epochs": epochs, "steps": steps,
            "samples": feeder.samples, "verbose": verbose, "do_validation": check is not None,
            "metrics": labels + ([f"val_{n}" for n in labels] if check is not None else []),
        })
        hooks.append(history)
        for hook in hooks:
            hook.validation_data = validation_data
        progress = Progress(_verbosity(verbose), "train", steps, epochs, self._objective.logs)
        self.stop_training = False
        hooks.call("on_train_begin", None)
        try:
            with Interrupts() as interrupts:
                for epoch in range(initial_epoch, epochs):
                    self.reset_metrics()
                    hooks.call("on_epoch_begin", epoch, {})
                    progress.begin(epoch)
                    order = feeder.order(shuffle)
                    self._train_epoch(feeder.batches(order), steps, hooks, progress, interrupts)
                    logs = self._objective.logs()
                    if check is not None and _is_due(epoch, validation_freq):
                        values = self._test_epoch(check, validation_steps, hooks)
                        logs.update((f"val_{k}", v) for k, v in values.items())
                    progress.end(logs)
                    hooks.call("on_epoch_end", epoch, logs)
                    if self.stop_training:
                        break
        finally:
            progress.close()
        hooks.call("on_train_end", None)
        return history

    def _train_epoch(self, batches, steps, hooks, progress, interrupts):
        watched = hooks.wants_batches("train")
        for number, batch in enumerate(batches):
            if number == steps:
                break
            if watched:
                hooks.call("on_train_batch_begin", number, {"batch": number, "size": batch.size})
            train_step(self, batch, interrupts)
            progress.step()
            if watched:
                logs = {"batch": number, "size": batch.size, **self._objective.logs()}
                hooks.call("on_train_batch_end", number, logs)
                if self.stop_training:
                    break

    def _test_epoch(self, feeder, steps, hooks, progress=None):
        """Return name -> value over one pass of the data."""
        self.reset_metrics()
        hooks.call("on_test_begin", None)
        watched = hooks.wants_batches("test")
        for number, batch in enumerate(feeder.batches()):
            if steps is not None and number == steps:
                break
            if watched:
                hooks.call("on_test_batch_begin", number, {"batch": number, "size": batch.size})
            test_step(self, batch)
            if progress is not None:
                progress.step()
            if watched:
                logs = {"batch": number, "size": batch.size, **self._objective.logs()}
                hooks.call("on_test_batch_end", number, logs)
        logs = self._objective.logs()
        hooks.call("on_test_end", logs)
        return logs

    def evaluate(self, x=None, y=None, batch_size=None, verbose=1, sample_weight=None, steps=None,
                 callbacks=None, max_queue_size=10, workers=1, use_multiprocessing=False,
                 return_dict=False, **kwargs):
        """Return the loss and the metrics on data.

        Args:
            x, y, batch_size, sample_weight, callbacks: as for `fit`.
            verbose: 0 silent, 1 progress bar, 2 one line.
            steps: int, stop after so many batches.
            return_dict: bool, return a dict by name.

        Returns:
            float, or list of floats in the order of `metrics_names`.
        """
        if kwargs:
            raise TypeError(f"evaluate: unknown argument(s) {list(kwargs)}")
        columns = self._columns(x, y, sample_weight, None, "evaluate")
        feeder = self._feeder(columns, batch_size, "evaluate")
        count = feeder.steps if steps is None else min(steps, feeder.steps)
        hooks = CallbackList(callbacks, self, _params(feeder, count, verbose, self))
        progress = Progress(_verbosity(verbose), "test", count, logs=self._objective.logs)
        progress.begin()
        try:
            logs = self._test_epoch(feeder, steps, hooks, progress)
            progress.end(logs)
        finally:
            progress.close()
        return logs if return_dict else _values(logs)

    def predict(self, x, batch_size=None, verbose=0, steps=None, callbacks=None,
                max_queue_size=10, workers=1, use_multiprocessing=False):
        """Return the outputs for data.

        Args:
            x, batch_size, callbacks: as for `fit`.
            verbose: 0 silent, 1 progress bar, 2 one line.
            steps: int, stop after so many batches.

        Returns:
            numpy array ``(N, ...)``, or what the outputs' structure says.
        """
        xs, _, _ = self._columns(x, None, None, None, "predict", finite=False)
        feeder = ArrayFeeder(xs, batch_size=batch_size, what="predict")
        self._ready("predict", Batch([take(a, slice(0, 1)) for a in xs], None, None, 1))
        count = feeder.steps if steps is None else min(steps, feeder.steps)
        hooks = CallbackList(callbacks, self, _params(feeder, count, verbose, self))
        watched = hooks.wants_batches("predict")
        progress = Progress(_verbosity(verbose), "predict", count)
        rows = min(feeder.samples, count * feeder.batch_size)
        gathered = None
        hooks.call("on_predict_begin", None)
        progress.begin()
        try:
            for number, batch in enumerate(feeder.batches()):
                if number == count:
                    break
                if watched:
                    hooks.call("on_predict_batch_begin", number, {"batch": number})
                outputs = predict_step(self, batch)
                if gathered is None:
                    gathered = [_Gathered(rows) for _ in outputs]
                for into, tensor in zip(gathered, outputs, strict=True):
                    into.add(arrays.to_host(tensor.array), number * feeder.batch_size)
                progress.step()
                if watched:
                    hooks.call("on_predict_batch_end", number, {"batch": number})
            progress.end({})
        finally:
            progress.close()
        hooks.call("on_predict_end", None)
        return self._packed([g.result() for g in gathered])

    def _packed(self, flat):
        if self._output_nest is not None:
            return pack(self._output_nest, flat)
        return flat[0] if len(flat) == 1 else flat

    # -- single batches ---------------------------------------------------------------------

    def _batch(self, columns, what):
        feeder = self._feeder(columns, int(columns[0][0].shape[0]) or None, what)
        return next(feeder.batches())

    def train_on_batch(self, x, y=None, sample_weight=None, class_weight=None,
                       reset_metrics=True, return_dict=False):
        """Update the weights once.

        Args:
            x, y, sample_weight, class_weight: one batch, as for `fit`.
            reset_metrics: bool; False accumulates over calls.
            return_dict: bool, return a dict by name.

        Returns:
            float, or list of floats in the order of `metrics_names`: the loss before the update.
        """
        columns = self._columns(x, y, sample_weight, class_weight, "train_on_batch")
        batch = self._batch(columns, "train_on_batch")
        if reset_metrics:
            self.reset_metrics()
        with Interrupts() as interrupts:
            train_step(self, batch, interrupts)
        logs = self._objective.logs()
        return logs if return_dict else _values(logs)

    def test_on_batch(self, x, y=None, sample_weight=None, reset_metrics=True,
                      return_dict=False):
        """Return the loss and the metrics on one batch; see `train_on_batch`."""
        columns = self._columns(x, y, sample_weight, None, "test_on_batch")
        batch = self._batch(columns, "test_on_batch")
        if reset_metrics:
            self.reset_metrics()
        test_step(self, batch)
        logs = self._objective.logs()
        return logs if return_dict else _values(logs)

    def predict_on_batch(self, x):
        """Return the outputs for one batch as numpy arrays."""
        xs, _, _ = self._columns(x, None, None, None, "predict_on_batch", finite=False)
        batch = Batch([take(a, slice(None)) for a in xs], None, None, len(xs[0]))
        self._ready("predict", batch)
        outputs = predict_step(self, batch)
        return self._packed([np.array(arrays.to_host(t.array)) for t in outputs])


# Arguments of compile that later versions know and that change nothing here.
_IGNORED = ("pss_evaluation_shards", "auto_scale_loss", "experimental_run_tf_function")


class _Gathered:
    """Batches of one output, joined without a second copy."""

    def __init__(self, rows):
        self.rows, self.whole, self.parts = rows, None, []

    def add(self, values, start):
        if self.whole is None and not self.parts and values.ndim:
            self.whole = np.empty((self.rows, *values.shape[1:]), values.dtype)
        stop = start + len(values)
        if self.whole is not None and values.shape[1:] == self.whole.shape[1:] \
                and stop <= self.rows:
            self.whole[start:stop] = values
            return
        raise ValueError(
            f"predict: batches of an output have shapes {self.whole.shape[1:]} and "
            f"{values.shape[1:]}, which can't be joined; use predict_on_batch"
        )

    def result(self):
        return self.whole


def _unique(weights):
    return list({id(w): w for w in weights}.values())


def _values(logs):
    values = list(logs.values())
    return values[0] if len(values) == 1 else values


def _params(feeder, steps, verbose, model):
    return {
        "batch_size": feeder.batch_size, "epochs": 1, "steps": steps, "samples": feeder.samples,
        "verbose": verbose, "do_validation": False, "metrics": model.metrics_names,
    }


def _verbosity(verbose):
    return 1 if verbose == "auto" else int(verbose)


def _is_due(epoch, frequency):
    if isinstance(frequency, int):
        return (epoch + 1) % frequency == 0
    return epoch + 1 in frequency


def _is_generator(x):
    return hasattr(x, "__next__") or (
        hasattr(x, "__getitem__") and hasattr(x, "__len__") and not hasattr(x, "shape")
        and not isinstance(x, (list, tuple, dict, str))
    )


def _unpack_validation(data):
    if isinstance(data, (list, tuple)) and len(data) in (2, 3):
        return (*data, None)[:3]
    raise ValueError(
        "fit: expected validation_data as (x, y) or (x, y, sample_weight), "
        f"got {type(data).__name__}"
        + (f" of length {len(data)}" if hasattr(data, "__len__") else "")
    )


def _weights(sample_weight, names, count, what):
    """Return one weight array (or None) for each output, or None."""
    if sample_weight is None:
        return None
    if isinstance(sample_weight, dict):
        if names is None:
            raise ValueError(f"{what}: a dict needs a model whose outputs have names")
        unknown = [k for k in sample_weight if k not in names]
        if unknown:
            raise ValueError(f"{what}: unknown names {unknown}; expected {list(names)}")
        listed = [sample_weight.get(n) for n in names]
        return [None if w is None else as_columns(w, None, what)[0] for w in listed]
    columns = as_columns(sample_weight, None, what)
    if len(columns) != count:
        if len(columns) != 1:
            raise ValueError(f"{what}: expected {count} arrays, one per output, got {len(columns)}")
        columns = columns * count
    return columns


def _with_classes(class_weight, ys, ws, names, what):
    """Multiply sample weights with those of the classes."""
    if ys is None:
        raise ValueError(f"{what}: class_weight needs targets")
    by_output = isinstance(class_weight, (list, tuple)) or (
        names and any(k in names for k in class_weight)
    )
    if len(ys) > 1 and not by_output:
        raise ValueError(
            f"{what}: class_weight of a model with several outputs must be a dict by output name"
        )
    if isinstance(class_weight, dict) and by_output:
        chosen = [class_weight.get(n) for n in names]
    else:
        chosen = list(class_weight) if isinstance(class_weight, (list, tuple)) else [class_weight]
    result = []
    for i, (y, weights) in enumerate(zip(ys, chosen, strict=True)):
        given = None if ws is None else ws[i]
        if weights:
            made = class_weights(y, weights, what)
            given = made if given is None else np.asarray(given) * made
        result.append(given)
    return result

