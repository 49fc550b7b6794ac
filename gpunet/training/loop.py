"""fit, evaluate, predict: the loop around single steps."""

import contextlib
import numbers

import numpy as np

from gpunet import arrays
from gpunet.nest import pack
from gpunet.training.callbacks import CallbackList, History
from gpunet.training.executions import Passes
from gpunet.training.feeder import is_whole, positive_int
from gpunet.training.generators import ForGenerators
from gpunet.training.interrupts import Interrupts, isolated
from gpunet.training.on_batch import values_of
from gpunet.training.progress import Progress
from gpunet.training.streams import Fetching, is_stream, refuse_in_bootstrap

__all__ = ["Trainer"]


class Trainer(ForGenerators):
    """Mixin that trains a model; see the methods."""

    stop_training = False
    history = None

    def _init_trainer(self):
        self.stop_training = False

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
            x: array ``(N, ...)``; for several inputs a list, or a dict by input name.  Or what
                gives batches ``(x, y)`` or ``(x, y, sample_weight)``: a `utils.Sequence`, a
                generator, or anything else that can be iterated.
            y: targets, likewise by output.
            batch_size: int, 32 by default; the last batch may be smaller.
            epochs: int, number of the last epoch.
            verbose: 0 silent, 1 progress bar, 2 one line for each epoch.
            callbacks: list of `gpunet.callbacks.Callback`.
            validation_split: float in [0, 1), the last part of the data to validate on.
            validation_data: ``(x, y)`` or ``(x, y, sample_weight)``, or what gives batches; wins
                over the split.
            shuffle: True, False, or ``'batch'`` to keep batches together.  The batches of a
                Sequence are shuffled, those of an iterable aren't.
            class_weight: dict class -> weight of its samples, for all classes of the targets.
            sample_weight: array ``(N,)``, or ``(N, T)`` for weights of single steps.
            initial_epoch: int, number of the first epoch.
            steps_per_epoch: int, stop an epoch after so many batches; arrays and generators go
                on from there in the next, a Sequence begins anew.
            validation_steps: int, likewise for the validation.
            validation_freq: int, or list of the epochs (from 1) after which to validate.
            max_queue_size: int, how many batches are fetched ahead.
            workers: int, number of threads that fetch them, one alone for an iterable; 0 fetches
                each when it's needed.
            use_multiprocessing: bool, let processes fetch those of a Sequence.
            validation_batch_size: int, ``batch_size`` by default.

        Returns:
            `History`: ``.history`` maps names to one value for each epoch.

        Raises:
            ValueError, TypeError: data that don't fit the model; the text says which argument.
            RuntimeError: the model isn't compiled, or a worker process died.
        """
        refuse_in_bootstrap("fit")
        epochs = _epoch(kwargs.pop("nb_epoch", epochs), "epochs")
        todo = range(_epoch(initial_epoch, "initial_epoch"), epochs)
        if kwargs:
            raise TypeError(f"fit: unknown argument(s) {list(kwargs)}")
        if not (shuffle is None or shuffle in (True, False, "batch")):
            raise ValueError(f"fit: expected shuffle as True, False or 'batch', got {shuffle!r}")
        _check_frequency(validation_freq)
        fetching = Fetching.checked("fit", workers, use_multiprocessing, max_queue_size)
        steps = positive_int(steps_per_epoch, "fit: steps_per_epoch")
        validation_steps = positive_int(validation_steps, "fit: validation_steps")
        if validation_batch_size is None:
            validation_batch_size = batch_size
        train, test = self._step("train"), self._step("test")
        with contextlib.ExitStack() as opened:
            feeder = self._source(
                "fit", x, y, sample_weight, batch_size, train.own, steps, len(todo), fetching,
                class_weight, repeats=True,
            )  # fmt: skip
            opened.callback(feeder.close)
            check = None
            if validation_data is not None:
                passes = sum(_is_due(epoch, validation_freq) for epoch in todo)
                check = self._source(
                    "fit: validation_data", *_unpack(validation_data, validation_batch_size),
                    test.own, validation_steps, passes, fetching,
                )  # fmt: skip
                opened.callback(check.close)
            elif validation_split:
                feeder, check = _divided(feeder, validation_split, x)
            if feeder.samples is not None:
                self._weigh(feeder, class_weight, "fit")
                steps = min(steps or feeder.steps, feeder.steps)
                if steps < feeder.steps:
                    feeder.go_on(steps, shuffle)
            else:
                steps = feeder.steps
            history = self.history = History()
            params = _params(self, feeder, steps, verbose, epochs, check is not None)
            hooks = CallbackList(callbacks, self, params)
            if check is not None and hooks.callbacks:
                hooks.set_validation_data(check.arrays())
            hooks.append(history)
            shown = 0 if hooks.shows_progress() else verbose
            progress = opened.enter_context(Progress(shown, "train", steps, epochs, train.logs))
            self.stop_training = False
            passes = opened.enter_context(Passes(train, feeder, len(todo)))
            if check is not None:
                checks = opened.enter_context(Passes(test, check, len(todo)))
            watched = hooks.wants_batches("train")
            logs = {}
            hooks.call("on_train_begin", {})
            first, done = hooks.resume(todo.start, feeder)
            with Interrupts() as interrupts:
                for epoch in range(first, epochs):
                    self.reset_metrics()
                    hooks.call("on_epoch_begin", epoch, {})
                    progress.begin(epoch)
                    progress.step(done)
                    left = None if steps is None else steps - done
                    work = passes.executions(watched, shuffle, done, left)
                    done = self._train_epoch(train, work, done, hooks, progress, interrupts)
                    if steps is None:  # known from now on
                        steps = progress.steps = params["steps"] = done
                    done = 0
                    logs = train.logs()
                    if check is not None and _is_due(epoch, validation_freq):
                        values = self._test_epoch(test, checks, validation_steps, hooks)
                        logs.update((f"val_{k}", v) for k, v in values.items())
                    progress.end(logs)
                    hooks.call("on_epoch_end", epoch, logs)
                    feeder.ended()
                    if self.stop_training:
                        break
            progress.close()
            hooks.call("on_train_end", logs)
        return history

    def _train_epoch(self, step, executions, done, hooks, progress, interrupts):
        """Train on what is left of an epoch; return how many batches it had."""
        watched = hooks.wants_batches("train")
        for work in executions:
            if watched:
                hooks.call("on_train_batch_begin", done, {"batch": done, "size": work.size})
            work.run(interrupts)
            progress.step(work.count)
            done += work.count
            if watched:
                logs = {"batch": done - 1, "size": work.size, **step.logs()}
                hooks.call("on_train_batch_end", done - 1, logs)
                if self.stop_training:
                    break
        return done

    def _test_epoch(self, step, passes, steps, hooks, progress=None):
        """Return name -> value over one pass of the data."""
        self.reset_metrics()
        hooks.call("on_test_begin", {})
        watched = hooks.wants_batches("test")
        done = 0
        for work in passes.executions(watched, left=steps):
            if watched:
                hooks.call("on_test_batch_begin", done, {"batch": done, "size": work.size})
            work.run()
            done += work.count
            if progress is not None:
                progress.step(work.count)
            if watched:
                logs = {"batch": done - 1, "size": work.size, **step.logs()}
                hooks.call("on_test_batch_end", done - 1, logs)
        logs = step.logs()
        passes.feeder.ended()
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
        fetching = Fetching.checked("evaluate", workers, use_multiprocessing, max_queue_size)
        step = self._step("test")
        feeder = self._source(
            "evaluate", x, y, sample_weight, batch_size, step.own, steps, 1, fetching
        )
        with contextlib.closing(feeder):
            steps = min(steps or feeder.steps, feeder.steps) if feeder.steps else steps
            hooks = CallbackList(callbacks, self, _params(self, feeder, steps, verbose))
            with Progress(verbose, "test", steps, logs=step.logs) as progress:
                progress.begin()
                with Passes(step, feeder) as passes:
                    logs = self._test_epoch(step, passes, steps, hooks, progress)
                progress.end(logs)
        return logs if return_dict else values_of(logs)

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
        fetching = Fetching.checked("predict", workers, use_multiprocessing, max_queue_size)
        step = self._step("predict")
        feeder = self._asked("predict", x, batch_size, step.own, steps, fetching)
        with contextlib.closing(feeder):
            steps = min(steps or feeder.steps, feeder.steps) if feeder.steps else steps
            hooks = CallbackList(callbacks, self, _params(self, feeder, steps, verbose))
            with Progress(verbose, "predict", steps) as progress:
                found = self._predict(step, feeder, steps, hooks, progress)
        return pack(step.structure, found)

    def _predict(self, step, feeder, steps, hooks, progress):
        """Return the flat list of outputs, those of all batches joined."""
        watched = hooks.wants_batches("predict")
        rows = None if feeder.samples is None else min(feeder.samples, steps * feeder.batch_size)
        joined = Joined(rows)
        hooks.call("on_predict_begin", {})
        progress.begin()
        outputs = None

        def each(found, size):
            nonlocal outputs
            outputs = [arrays.to_host(t.array) for t in found]
            joined.add(outputs, size)

        done = 0
        with Passes(step, feeder) as passes:
            for work in passes.executions(watched, left=steps):
                if watched:
                    begun = {"batch": done, "size": work.size}
                    hooks.call("on_predict_batch_begin", done, begun)
                work.run(each=each)
                done += work.count
                progress.step(work.count)
                if watched:
                    ended = {"batch": done - 1, "size": work.size, "outputs": outputs}
                    hooks.call("on_predict_batch_end", done - 1, ended)
        progress.end({})
        feeder.ended()
        hooks.call("on_predict_end", {})
        return joined.arrays()


class Joined:
    """Outputs of batches, joined along the first axis.

    Args:
        rows: int, how many rows there will be; None if that isn't known.
    """

    def __init__(self, rows):
        self._rows = rows
        self._whole = None  # arrays of all rows, or lists of arrays
        self._start = 0

    def add(self, outputs, size):
        """Add the outputs of a batch of ``size`` samples."""
        if self._whole is None:
            self._shapes = [a.shape[1:] for a in outputs]
            self._whole = [
                [] if self._rows is None else np.empty((self._rows, *a.shape[1:]), a.dtype)
                for a in outputs
            ]
        for i, (whole, a, shape) in enumerate(zip(self._whole, outputs, self._shapes)):
            if a.shape != (size, *shape):
                raise ValueError(
                    f"predict: a batch of output {i} has shape {a.shape}, expected "
                    f"{(size, *shape)}, so batches can't be joined; use predict_on_batch"
                )
            if self._rows is None:
                whole.append(np.array(a))
            else:
                whole[self._start : self._start + size] = a
        self._start += size

    def arrays(self):
        """Return the list of joined arrays."""
        if self._rows is None:
            return [np.concatenate(parts) for parts in self._whole]
        return self._whole


def _params(model, feeder, steps, verbose, epochs=1, validates=False):
    labels = model.metrics_names
    params = {
        "batch_size": feeder.batch_size,
        "epochs": epochs,
        "steps": steps,
        "samples": feeder.samples,
        "verbose": verbose,
        "do_validation": validates,
        "metrics": labels + [f"val_{n}" for n in labels] if validates else labels,
    }
    if feeder.samples is None:  # nobody knows
        del params["samples"], params["batch_size"]
    return params


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


def _divided(feeder, split, x):
    """Return the feeders of the first part of the data and of the rest, to validate on."""
    if feeder.samples is None:
        raise ValueError(
            f"fit: validation_split needs arrays, it can't divide a {type(x).__name__}; "
            "give validation_data"
        )
    return feeder.split(split)


def _unpack(data, size):
    """Return (x, y, sample_weight, batch size) of a user's validation_data."""
    if is_stream(data):
        return data, None, None, None
    if isinstance(data, (list, tuple)) and len(data) in (2, 3):
        return (*data, None)[:3] + (size,)
    raise ValueError(
        "fit: expected validation_data as (x, y) or (x, y, sample_weight), "
        f"got {type(data).__name__}"
        + (f" of length {len(data)}" if hasattr(data, "__len__") else "")
    )
