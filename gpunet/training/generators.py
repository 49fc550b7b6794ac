"""The methods that Keras had for generators before `fit` took them."""

from gpunet.errors import warn
from gpunet.training.on_batch import OnBatch
from gpunet.training.streams import is_stream

__all__ = ["ForGenerators"]

# Arguments of Keras 1 and what they are called now.
_OLD = {
    "nb_epoch": "epochs",
    "nb_worker": "workers",
    "max_q_size": "max_queue_size",
    "pickle_safe": "use_multiprocessing",
    "nb_val_samples": "validation_steps",
    "val_samples": "steps",
}


class ForGenerators(OnBatch):
    """The part of `Trainer` with the older names."""

    def fit_generator(
        self,
        generator,
        steps_per_epoch=None,
        epochs=1,
        verbose=1,
        callbacks=None,
        validation_data=None,
        validation_steps=None,
        validation_freq=1,
        class_weight=None,
        max_queue_size=10,
        workers=1,
        use_multiprocessing=False,
        shuffle=True,
        initial_epoch=0,
        **kwargs,
    ):
        """Train on batches from a generator or a Sequence; `fit` does the same.

        Args:
            generator: what gives batches.
            steps_per_epoch, epochs, verbose, callbacks, validation_data, validation_steps,
                validation_freq, class_weight, max_queue_size, workers, use_multiprocessing,
                shuffle, initial_epoch: as for `fit`.

        Returns:
            `History`.
        """
        arguments = {
            "steps_per_epoch": steps_per_epoch,
            "epochs": epochs,
            "verbose": verbose,
            "callbacks": callbacks,
            "validation_data": validation_data,
            "validation_steps": validation_steps,
            "validation_freq": validation_freq,
            "class_weight": class_weight,
            "max_queue_size": max_queue_size,
            "workers": workers,
            "use_multiprocessing": use_multiprocessing,
            "shuffle": shuffle,
            "initial_epoch": initial_epoch,
        }
        _check(generator, "fit_generator")
        _take_old(kwargs, arguments, generator, "fit_generator")
        return self.fit(generator, **arguments)

    def evaluate_generator(
        self,
        generator,
        steps=None,
        callbacks=None,
        max_queue_size=10,
        workers=1,
        use_multiprocessing=False,
        verbose=0,
        **kwargs,
    ):
        """Return the loss and the metrics on batches; `evaluate` does the same.

        Args:
            generator: what gives batches.
            steps, callbacks, max_queue_size, workers, use_multiprocessing, verbose: as for
                `evaluate`.
        """
        arguments = {
            "steps": steps,
            "callbacks": callbacks,
            "max_queue_size": max_queue_size,
            "workers": workers,
            "use_multiprocessing": use_multiprocessing,
            "verbose": verbose,
        }
        _check(generator, "evaluate_generator")
        _take_old(kwargs, arguments, generator, "evaluate_generator")
        return self.evaluate(generator, **arguments)

    def predict_generator(
        self,
        generator,
        steps=None,
        callbacks=None,
        max_queue_size=10,
        workers=1,
        use_multiprocessing=False,
        verbose=0,
        **kwargs,
    ):
        """Return the outputs for batches; `predict` does the same.

        Args:
            generator: what gives batches.
            steps, callbacks, max_queue_size, workers, use_multiprocessing, verbose: as for
                `predict`.
        """
        arguments = {
            "steps": steps,
            "callbacks": callbacks,
            "max_queue_size": max_queue_size,
            "workers": workers,
            "use_multiprocessing": use_multiprocessing,
            "verbose": verbose,
        }
        _check(generator, "predict_generator")
        _take_old(kwargs, arguments, generator, "predict_generator")
        return self.predict(generator, **arguments)


def _check(generator, what):
    if not is_stream(generator):
        raise TypeError(
            f"{what}: expected a generator, a Sequence or an iterable of batches, "
            f"got {type(generator).__name__}"
        )


def _take_old(given, arguments, generator, what):
    """Move arguments of Keras 1 to where they belong now."""
    for old, value in given.items():
        new = _OLD.get(old)
        if old == "samples_per_epoch" and "steps_per_epoch" in arguments:
            size = getattr(generator, "batch_size", None)
            if not size:
                raise TypeError(
                    f"{what}: samples_per_epoch counts samples; give steps_per_epoch, the number "
                    "of batches"
                )
            new, value = "steps_per_epoch", value // size
        if new not in arguments:
            raise TypeError(f"{what}: unknown argument {old!r}")
        if old in ("nb_val_samples", "val_samples"):
            warn(f"{what}: {old} now counts batches; it is called {new}")
        arguments[new] = value
