"""What is called before and after epochs and batches."""

__all__ = ["Callback", "CallbackList", "History", "LambdaCallback"]


class Callback:
    """Base of callbacks: every hook does nothing.

    Attributes:
        model: the model being trained.
        params: dict with ``epochs``, ``steps``, ``samples``, ``batch_size``, ``verbose``,
            ``do_validation`` and ``metrics`` (names in logs).
        validation_data: list of the arrays that fit validates on, x, y and weights (ones if none
            were given); None without validation or if they lie in files.
    """

    model = None
    params = None
    validation_data = None

    #: bool, called after all others, so that it sees what they did.
    runs_last = False
    #: Names of the attributes that `BackupAndRestore` keeps: numbers, texts, arrays, and lists and
    #: dicts of them.
    backed_up = ()

    def set_params(self, params):
        """Receive the dict of parameters."""
        self.params = params

    def set_model(self, model):
        """Receive the model."""
        self.model = model

    def on_batch_begin(self, batch, logs=None):
        """Called before each training batch."""

    def on_batch_end(self, batch, logs=None):
        """Called after each training batch."""

    def on_epoch_begin(self, epoch, logs=None):
        """Called before each epoch."""

    def on_epoch_end(self, epoch, logs=None):
        """Called after each epoch, with the means of its losses and metrics."""

    def on_train_batch_begin(self, batch, logs=None):
        """Called before each training batch; calls `on_batch_begin`."""
        self.on_batch_begin(batch, logs=logs)

    def on_train_batch_end(self, batch, logs=None):
        """Called after each training batch; calls `on_batch_end`."""
        self.on_batch_end(batch, logs=logs)

    def on_test_batch_begin(self, batch, logs=None):
        """Called before each batch of evaluate or validation."""

    def on_test_batch_end(self, batch, logs=None):
        """Called after each batch of evaluate or validation."""

    def on_predict_batch_begin(self, batch, logs=None):
        """Called before each batch of predict."""

    def on_predict_batch_end(self, batch, logs=None):
        """Called after each batch of predict."""

    def on_train_begin(self, logs=None):
        """Called when fit begins."""

    def on_train_end(self, logs=None):
        """Called when fit ends."""

    def on_test_begin(self, logs=None):
        """Called when evaluate or a validation begins."""

    def on_test_end(self, logs=None):
        """Called when evaluate or a validation ends."""

    def on_predict_begin(self, logs=None):
        """Called when predict begins."""

    def on_predict_end(self, logs=None):
        """Called when predict ends."""


# The hooks of batches, and those that run them by default.
_BATCH_HOOKS = {
    "train": ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end"),
    "test": ("on_test_batch_begin", "on_test_batch_end"),
    "predict": ("on_predict_batch_begin", "on_predict_batch_end"),
}
# What `Callback` does for its subclasses, for callbacks that aren't any.
_OLDER = {"on_train_batch_begin": "on_batch_begin", "on_train_batch_end": "on_batch_end"}


class CallbackList:
    """Calls the hooks of several callbacks in order.

    Args:
        callbacks: callback, list of them, or None.  They needn't be subclasses of `Callback`.
        model: the model.
        params: dict for `Callback.set_params`.

    Raises:
        TypeError: something that has no such hooks.
    """

    def __init__(self, callbacks, model, params):
        if callbacks is None:
            callbacks = []
        elif isinstance(callbacks, CallbackList):
            callbacks = callbacks.callbacks
        elif not isinstance(callbacks, (list, tuple)):
            callbacks = [callbacks]
        for callback in callbacks:
            if isinstance(callback, type) or not any(hasattr(callback, h) for h in _HOOKS):
                raise TypeError(
                    f"callbacks: expected Callback objects, got {callback!r}"
                    + (" (a class; call it)" if isinstance(callback, type) else "")
                )
        self.callbacks = []
        self.model, self.params = model, params
        for callback in callbacks:
            self.append(callback)

    def __iter__(self):
        return iter(self.callbacks)

    def append(self, callback):
        """Add a callback behind the others, but before those that run last."""
        last = [getattr(c, "runs_last", False) for c in self.callbacks]
        end = getattr(callback, "runs_last", False) or True not in last
        self.callbacks.insert(len(last) if end else last.index(True), callback)
        for setter, value in (("set_params", self.params), ("set_model", self.model)):
            if hasattr(callback, setter):
                getattr(callback, setter)(value)

    def set_validation_data(self, data):
        """Let callbacks see the data that fit validates on."""
        for callback in self.callbacks:
            callback.validation_data = data

    def wants_batches(self, mode):
        """Return whether a callback does something for each batch of a mode.

        Args:
            mode: ``'train'``, ``'test'`` or ``'predict'``.
        """
        return any(_has(c, hook) for c in self.callbacks for hook in _BATCH_HOOKS[mode])

    def shows_progress(self):
        """Return whether a callback shows the progress of fit, so that nothing else has to."""
        return any(getattr(callback, "shows_progress", False) for callback in self.callbacks)

    def resume(self, epoch, feeder):
        """Return (epoch, batch) at which fit begins: where a backup says, if there is one.

        Args:
            epoch: int, the first epoch otherwise.
            feeder: what gives the training data.
        """
        batch = 0
        for callback in self.callbacks:
            if hasattr(callback, "resume_fit"):
                epoch, batch = callback.resume_fit(epoch, feeder, self.callbacks)
        return epoch, batch

    def call(self, hook, *args):
        """Call a hook of each callback."""
        for callback in self.callbacks:
            function = getattr(callback, hook, None) or getattr(
                callback, _OLDER.get(hook, ""), None
            )
            if function is not None:
                function(*args)


_HOOKS = tuple(name for name in vars(Callback) if name.startswith("on_"))


def _has(callback, hook):
    """Return whether a callback has its own version of a hook."""
    if hook in getattr(callback, "__dict__", ()):
        return True
    found = getattr(type(callback), hook, None)
    return found is not None and found is not getattr(Callback, hook)


class History(Callback):
    """Keeps what epochs gave; `Model.fit` returns it.

    Attributes:
        history: dict name -> list with one value for each epoch.
        epoch: list of epoch numbers.
    """

    backed_up = ("history", "epoch")

    def __init__(self):
        self.history = {}
        self.epoch = []

    def on_train_begin(self, logs=None):
        self.history = {}
        self.epoch = []

    def on_epoch_end(self, epoch, logs=None):
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)


class LambdaCallback(Callback):
    """A callback made of functions.

    Args:
        on_epoch_begin, on_epoch_end: functions ``(epoch, logs)``.
        on_batch_begin, on_batch_end: functions ``(batch, logs)``.
        on_train_begin, on_train_end: functions ``(logs)``.
        **kwargs: functions for the other hooks, by the hooks' names.
    """

    def __init__(
        self,
        on_epoch_begin=None,
        on_epoch_end=None,
        on_batch_begin=None,
        on_batch_end=None,
        on_train_begin=None,
        on_train_end=None,
        **kwargs,
    ):
        given = dict(
            on_epoch_begin=on_epoch_begin,
            on_epoch_end=on_epoch_end,
            on_batch_begin=on_batch_begin,
            on_batch_end=on_batch_end,
            on_train_begin=on_train_begin,
            on_train_end=on_train_end,
            **kwargs,
        )
        for hook, function in given.items():
            if not hasattr(Callback, hook):
                raise TypeError(f"LambdaCallback: unknown hook {hook!r}")
            if function is not None:
                setattr(self, hook, _named_logs(function))


def _named_logs(function):
    """Let a hook be called with its logs by position or by name."""

    def hook(*args, logs=None):
        return function(*args) if logs is None else function(*args, logs)

    return hook
