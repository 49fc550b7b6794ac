"""Progress for people: a bar at a terminal, plain lines in a log."""

import shutil
import sys
import time

from gpunet.training.callbacks import Callback

__all__ = ["Progress", "result_line"]


def result_line(steps, seconds, logs, per_step=True, unit="step"):
    """Return the line that closes an epoch.

    Args:
        steps: int, batches done.
        seconds: float, time they took.
        logs: dict name -> number.
        per_step: bool, say how long a batch took.
        unit: str, what is counted.
    """
    parts = [f"{steps}/{steps}", _duration(seconds)]
    if per_step:
        parts[-1] += f" {_step_time(seconds / max(steps, 1))}/{unit}"
    parts += [f"{name}: {_value(value)}" for name, value in logs.items()]
    return " - ".join(parts)


def _duration(seconds):
    if seconds >= 3600:
        return f"{int(seconds) // 3600}:{int(seconds) % 3600 // 60:02d}:{int(seconds) % 60:02d}"
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}" if seconds > 60 else f"{seconds:.0f}s"


def _step_time(seconds):
    if seconds >= 1 or seconds == 0:
        return f"{seconds:.0f}s"
    return f"{seconds * 1e3:.0f}ms" if seconds >= 1e-3 else f"{seconds * 1e6:.0f}us"


def _value(value):
    try:
        return f"{value:.4f}" if abs(value) > 1e-3 or value == 0 else f"{value:.4e}"
    except TypeError:  # a metric that isn't one number
        return str(value)


class Progress(Callback):
    """Shows an epoch, an evaluation or a prediction as it goes.

    Args:
        verbose: 0 nothing, 1 or ``'auto'`` a bar at a terminal (one line for each epoch
            elsewhere), 2 one line for each epoch.
        mode: ``'train'``, ``'test'`` or ``'predict'``.
        steps: int, number of batches, or None.
        epochs: int, for the heading of each epoch.
        logs: function that returns the current means; called for the bar a few times a second.
        unit: str, what is counted.

    Raises:
        ValueError: another verbosity.
    """

    def __init__(self, verbose, mode, steps, epochs=1, logs=dict, unit="step"):
        if verbose not in (0, 1, 2, "auto"):
            raise ValueError(f"verbose: expected 0, 1, 2 or 'auto', got {verbose!r}")
        self.verbose = 1 if verbose == "auto" else int(verbose)
        self.mode, self.steps, self.epochs = mode, steps, epochs
        self.read, self.unit = logs, unit
        self.bar = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def begin(self, epoch=0):
        """Start an epoch."""
        self.start = time.perf_counter()
        self.done = 0
        if self.mode == "train" and self.verbose:
            print(f"Epoch {epoch + 1}/{self.epochs}", flush=True)
        if self.verbose == 1 and sys.stdout is not None and sys.stdout.isatty():
            from tqdm import tqdm  # takes as long to import as half of gpunet

            columns, rows = shutil.get_terminal_size()  # tqdm shows nothing at one of unknown size
            self.bar = tqdm(
                total=self.steps,
                unit=self.unit,
                leave=False,
                ncols=columns,
                nrows=rows,
                file=sys.stdout,
            )
            self.shown = self.start

    def step(self, count=1):
        """Count one batch, or its samples; true for any verbosity, so keep it cheap."""
        self.done += count
        if self.bar is None:
            return
        now = time.perf_counter()
        if now - self.shown >= 0.2:  # reading logs waits for the device
            self.shown = now
            self.bar.set_postfix_str(
                ", ".join(f"{k}={_value(v)}" for k, v in self.read().items()), refresh=False
            )
            self.bar.update(self.done - self.bar.n)

    def end(self, logs):
        """Close the bar and print the line of results."""
        self.close()
        if self.verbose:
            seconds = time.perf_counter() - self.start
            line = result_line(self.done, seconds, logs, self.verbose == 1, self.unit)
            print(line, flush=True)

    def close(self):
        """Take the bar away, if one is shown."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None
