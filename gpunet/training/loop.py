"""fit, evaluate, predict: the loop around single steps."""

import contextvars
import functools
import itertools
import numbers

import numpy as np

from gpunet import arrays
from gpunet.nest import pack
from gpunet.training.callbacks import CallbackList, History
from gpunet.training.data import as_columns, check_finite, check_shapes, structure_of
from gpunet.training.feeder import ArrayFeeder, is_whole, positive_int
from gpunet.training.interrupts import Interrupts
from gpunet.training.plan import Compiled
from gpunet.training.progress import Progress
from gpunet.training.step import predict_step, test_step, train_step
from gpunet.training.weighting import sample_weights, with_classes

__all__ = ["Trainer"]


def isolated(method):
    """Run a method in a copy of the context: Ctrl-C leaves no tape or learning phase behind."""

    @functools.wraps(method)
    def run(*args, **kwargs):
        return contextvars.copy_context().run(method, *args, **kwargs)

    return run


class Trainer(Compiled):
    """Mixin that trains a model; see the methods."""

    stop_training = False
    history = None

    def _init_trainer(self):
        self.stop_training = False

    # -- data -------------------------------------------------------------------------------

    def _inputs(self, what, x, batch_size=None, finite=True):
        """Return an ArrayFeeder of checked inputs, for a model that is ready to run on them."""
        if x is None:
            raise ValueError(f"{what}: expected data as x, got None")
        if _is_generator(x):
            raise TypeError(
                f"{what}: expected arrays as x, got {type(x).__name__}; generators and "
                "Sequences aren't supported yet"
            )
        names = self.input_names if self.inputs is not None else None
        xs = as_columns(x, names, f"{what}: x", _keys(self._input_nest))
        if not xs or any(column is None for column in xs):
            raise ValueError(f"{what}: x holds None or nothing where data is expected")
        if names is None:
            self._data_nest = structure_of(x) if len(xs) > 1 or isinstance(x, dict) else None
            for column in xs:
                column.widen = len(column.shape) == 1
        else:
            check_shapes(xs, self.inputs, what)
        if finite:
            check_finite(xs)
        feeder = ArrayFeeder(xs, batch_size=batch_size, what=what)
        self._ready(what, feeder.first)
        if names is None and self.inputs is not None:  # built just now
            check_shapes(xs, self.inputs, what)
        return feeder

    def _feeder(self, what, x, y, sample_weight, batch_size=None):
        """Return an ArrayFeeder of checked data, for a model that is ready to be trained on it."""
        if self._compiled is None:
            raise RuntimeError(
                f"{what}: You must compile your model before training/testing. "
                "Use `model.compile(optimizer, loss)`."
            )
        xs = self._inputs(what, x, batch_size).x
        objective = self._objective
        names, keys = objective.names, _keys(self._output_nest)
        ys = as_columns(y, names, f"{what}: y", keys, optional=objective.untrained())
        objective.fit_targets(ys, what)
        check_finite(ys)
        ws = sample_weights(sample_weight, names, keys, f"{what}: sample_weight")
        check_finite(ws)
        return ArrayFeeder(xs, ys, ws, batch_size, what)

    def _weigh(self, feeder, class_weight, what):
        if class_weight is not None:
            feeder.weight = with_classes(
                class_weight, feeder.y, feeder.weight, self._objective.names, self._objective, what
            )

    # -- loops ------------------------------------------------------------------------------

    @isolated
    def fit(
        self,
        x=None,
        y=None,
        batch_size=None,
        epochs=1,
        verbose=1,
        callbacks=None,
        validation_split=0.0,
        validation_data=None,
        shuffle=True,
        class_weight=None,
        sample_weight=None,
        initial_epoch=0,
        steps_per_epoch=None,
        validation_steps=None,
        validation_freq=1,
        max_queue_size=10,
        workers=1,
        use_multiprocessing=False,
        validation_batch_size=None,
        **kwargs,
    ):
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
            class_weight: dict class -> weight of its samples, for all classes of the targets.
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
            RuntimeError: the model isn't compiled.
        """
        epochs = _epoch(kwargs.pop("nb_epoch", epochs), "epochs")
        initial_epoch = _epoch(initial_epoch, "initial_epoch")
        if kwargs:
            raise TypeError(f"fit: unknown argument(s) {list(kwargs)}")
        if not (shuffle is None or shuffle in (True, False, "batch")):
            raise ValueError(f"fit: expected shuffle as True, False or 'batch', got {shuffle!r}")
        steps = positive_int(steps_per_epoch, "fit: steps_per_epoch")
        validation_steps = positive_int(validation_steps, "fit: validation_steps")
        _check_frequency(validation_freq)
        feeder = self._feeder("fit", x, y, sample_weight, batch_size)
        check = None
        if validation_data is not None:
            size = feeder.batch_size if validation_batch_size is None else validation_batch_size
            check = self._feeder("fit: validation_data", *_unpack(validation_data), size)
        elif validation_split:
            feeder, check = feeder.split(validation_split)
        self._weigh(feeder, class_weight, "fit")
        steps = min(steps or feeder.steps, feeder.steps)
        history = self.history = History()
        hooks = CallbackList(
            callbacks, self, _params(self, feeder, steps, verbose, epochs, check is not None)
        )
        if check is not None and hooks.callbacks:
            hooks.set_validation_data(check.arrays())
        hooks.append(history)
        shown = 0 if hooks.shows_progress() else verbose
        progress = Progress(shown, "train", steps, epochs, self._objective.logs)
        self.stop_training = False
        logs = {}
        hooks.call("on_train_begin", {})
        try:
            first, done = hooks.resume(initial_epoch, feeder)
            with Interrupts() as interrupts:
                for epoch in range(first, epochs):
                    self.reset_metrics()
                    hooks.call("on_epoch_begin", epoch, {})
                    progress.begin(epoch)
                    batches = feeder.batches(shuffle)
                    self._train_epoch(batches, steps, hooks, progress, interrupts, done)
                    done = 0
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
        hooks.call("on_train_end", logs)
        return history

    def _train_epoch(self, batches, steps, hooks, progress, interrupts, done):
        watched = hooks.wants_batches("train")
        progress.step(done)
        for number, batch in itertools.islice(zip(range(steps), batches), done, None):
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
        hooks.call("on_test_begin", {})
        watched = hooks.wants_batches("test")
        for number, batch in zip(range(steps or feeder.steps), feeder.batches()):
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

    @isolated
    def evaluate(
        self,
        x=None,
        y=None,
        batch_size=None,
        verbose=1,
        sample_weight=None,
        steps=None,
        callbacks=None,
        max_queue_size=10,
        workers=1,
        use_multiprocessing=False,
        return_dict=False,
        **kwargs,
    ):
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
        steps = positive_int(steps, "evaluate: steps")
        feeder = self._feeder("evaluate", x, y, sample_weight, batch_size)
        steps = min(steps or feeder.steps, feeder.steps)
        hooks = CallbackList(callbacks, self, _params(self, feeder, steps, verbose))
        progress = Progress(verbose, "test", steps, logs=self._objective.logs)
        progress.begin()
        try:
            logs = self._test_epoch(feeder, steps, hooks, progress)
            progress.end(logs)
        finally:
            progress.close()
        return logs if return_dict else _values(logs)

    @isolated
    def predict(
        self,
        x,
        batch_size=None,
        verbose=0,
        steps=None,
        callbacks=None,
        max_queue_size=10,
        workers=1,
        use_multiprocessing=False,
    ):
        """Return the outputs for data.

        Args:
            x, batch_size, callbacks: as for `fit`.
            verbose: 0 silent, 1 progress bar, 2 one line.
            steps: int, stop after so many batches.

        Returns:
            numpy array ``(N, ...)``, or what the outputs' structure says.
        """
        steps = positive_int(steps, "predict: steps")
        feeder = self._inputs("predict", x, batch_size, finite=False)
        steps = min(steps or feeder.steps, feeder.steps)
        hooks = CallbackList(callbacks, self, _params(self, feeder, steps, verbose))
        watched = hooks.wants_batches("predict")
        progress = Progress(verbose, "predict", steps)
        rows = min(feeder.samples, steps * feeder.batch_size)
        whole = None
        hooks.call("on_predict_begin", {})
        progress.begin()
        try:
            for number, batch in zip(range(steps), feeder.batches()):
                if watched:
                    begun = {"batch": number, "size": batch.size}
                    hooks.call("on_predict_batch_begin", number, begun)
                outputs = [arrays.to_host(t.array) for t in predict_step(self, batch)]
                if whole is None:
                    whole = [np.empty((rows, *a.shape[1:]), a.dtype) for a in outputs]
                start = number * feeder.batch_size
                for i, a in enumerate(outputs):
                    _put(whole[i], start, batch.size, a, i)
                progress.step()
                if watched:
                    done = {"batch": number, "size": batch.size, "outputs": outputs}
                    hooks.call("on_predict_batch_end", number, done)
            progress.end({})
        finally:
            progress.close()
        hooks.call("on_predict_end", {})
        return self._packed(whole)

    def _packed(self, flat):
        nest = self._output_nest if self._output_nest is not None else self._plan.structure
        return pack(nest, flat)

    # -- single batches -----------------------------------------------------------------------

    @isolated
    def train_on_batch(
        self,
        x,
        y=None,
        sample_weight=None,
        class_weight=None,
        reset_metrics=True,
        return_dict=False,
    ):
        """Update the weights once.

        Args:
            x, y, sample_weight, class_weight: one batch, as for `fit`.
            reset_metrics: bool; False accumulates over calls.
            return_dict: bool, return a dict by name.

        Returns:
            float, or list of floats in the order of `metrics_names`: the loss before the update.
        """
        feeder = self._feeder("train_on_batch", x, y, sample_weight)
        self._weigh(feeder, class_weight, "train_on_batch")
        batch = feeder.whole()
        if reset_metrics:
            self.reset_metrics()
        with Interrupts() as interrupts:
            train_step(self, batch, interrupts)
        logs = self._objective.logs()
        return logs if return_dict else _values(logs)

    @isolated
    def test_on_batch(self, x, y=None, sample_weight=None, reset_metrics=True, return_dict=False):
        """Return the loss and the metrics on one batch; see `train_on_batch`."""
        batch = self._feeder("test_on_batch", x, y, sample_weight).whole()
        if reset_metrics:
            self.reset_metrics()
        test_step(self, batch)
        logs = self._objective.logs()
        return logs if return_dict else _values(logs)

    @isolated
    def predict_on_batch(self, x):
        """Return the outputs for one batch as numpy arrays."""
        batch = self._inputs("predict_on_batch", x, finite=False).whole()
        outputs = predict_step(self, batch)
        return self._packed([np.array(arrays.to_host(t.array)) for t in outputs])


def _put(whole, start, size, values, i):
    """Write a batch of output i where it belongs."""
    if values.shape != (size, *whole.shape[1:]):
        raise ValueError(
            f"predict: a batch of output {i} has shape {values.shape}, expected "
            f"{(size, *whole.shape[1:])}, so batches can't be joined; use predict_on_batch"
        )
    whole[start : start + size] = values


def _keys(nest):
    """Return the keys of a model's flat dict of inputs or outputs, None if it has none."""
    return list(nest) if isinstance(nest, dict) else None


def _values(logs):
    values = list(logs.values())
    return values[0] if len(values) == 1 else values


def _params(model, feeder, steps, verbose, epochs=1, validates=False):
    labels = model.metrics_names
    return {
        "batch_size": feeder.batch_size,
        "epochs": epochs,
        "steps": steps,
        "samples": feeder.samples,
        "verbose": verbose,
        "do_validation": validates,
        "metrics": labels + [f"val_{n}" for n in labels] if validates else labels,
    }


def _epoch(value, name):
    if not is_whole(value) or value < 0:
        raise ValueError(f"fit: expected {name} as an int >= 0, got {value!r}")
    return int(value)


def _check_frequency(frequency):
    if isinstance(frequency, (list, tuple, set, range, np.ndarray)):
        return
    positive_int(frequency, "fit: validation_freq (or a list of epochs)")


def _is_due(epoch, frequency):
    if isinstance(frequency, numbers.Real):
        return (epoch + 1) % int(frequency) == 0
    return epoch + 1 in frequency


def _is_generator(x):
    return hasattr(x, "__next__") or (
        hasattr(x, "__getitem__")
        and hasattr(x, "__len__")
        and not hasattr(x, "shape")
        and not isinstance(x, (list, tuple, dict, str, bytes, range))
    )


def _unpack(data):
    """Return (x, y, sample_weight) of a user's validation_data."""
    if isinstance(data, (list, tuple)) and len(data) in (2, 3):
        return (*data, None)[:3]
    raise ValueError(
        "fit: expected validation_data as (x, y) or (x, y, sample_weight), "
        f"got {type(data).__name__}"
        + (f" of length {len(data)}" if hasattr(data, "__len__") else "")
    )
