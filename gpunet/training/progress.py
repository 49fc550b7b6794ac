"""Progress for people: a bar at a terminal, plain lines in a log."""

import logging
import shutil
import sys
import time

from gpunet.training.callbacks import Callback

__all__ = [
    "Progbar",
    "Progress",
    "disable_interactive_logging",
    "enable_interactive_logging",
    "is_interactive_logging_enabled",
    "result_line",
]

_log = logging.getLogger("gpunet")
_interactive = True


def enable_interactive_logging():
    """Let progress go to the standard output, as it does unless told otherwise."""
    global _interactive
    _interactive = True


def disable_interactive_logging():
    """Let progress go to the logger ``gpunet``, line by line, and nothing to the output."""
    global _interactive
    _interactive = False


def is_interactive_logging_enabled():
    """Return whether progress goes to the standard output."""
    return _interactive


def _say(line):
    if _interactive:
        print(line, flush=True)
    else:
        _log.info("%s", line)


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


def _progress_line(done, steps, seconds, logs, unit):
    """Return a line about what is under way, for logs that can't show a bar."""
    parts = [f"{done}/{'?' if steps is None else steps}", _duration(seconds)]
    if steps is not None and done:
        parts.append(f"ETA {_duration(seconds / done * max(steps - done, 0))}")
    rate = done / seconds if seconds else 0.0
    parts.append(f"{rate:.1f} {unit}/s" if rate >= 1 or not rate else f"{1 / rate:.1f} s/{unit}")
    return " - ".join(parts + [f"{name}: {_value(value)}" for name, value in logs.items()])


def _shows_bars(stream):
    """Return whether a stream can write over its last line: a terminal or a notebook."""
    if stream is None or not _interactive:
        return False
    return stream.isatty() or type(stream).__module__.partition(".")[0] == "ipykernel"


class Progress(Callback):
    """Shows an epoch, an evaluation or a prediction as it goes.

    Args:
        verbose: 0 nothing, 1 or ``'auto'`` a bar at a terminal or in a notebook (elsewhere one
            line for each epoch, and one every `every` seconds), 2 one line for each epoch.
        mode: ``'train'``, ``'test'`` or ``'predict'``.
        steps: int, number of batches, or None.
        epochs: int, for the heading of each epoch.
        logs: function that returns the current means; called for the bar a few times a second.
        unit: str, what is counted.

    Raises:
        ValueError: another verbosity.
    """

    #: Seconds between the lines of a log.
    every = 30

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
            _say(f"Epoch {epoch + 1}/{self.epochs}")
        self.shown = self.start
        if self.verbose == 1 and _shows_bars(sys.stdout):
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

    def step(self, count=1):
        """Count one batch, or its samples; true for any verbosity, so keep it cheap."""
        self.done += count
        if self.verbose != 1:
            return
        now = time.perf_counter()
        if now - self.shown < (self.every if self.bar is None else 0.2):
            return
        self.shown = now
        logs = self.read()  # waits for the device
        if self.bar is None:
            seconds = now - self.start
            _say(_progress_line(self.done, self.steps, seconds, logs, self.unit))
        else:
            text = ", ".join(f"{k}={_value(v)}" for k, v in logs.items())
            self.bar.set_postfix_str(text, refresh=False)
            self.bar.update(self.done - self.bar.n)

    def end(self, logs):
        """Close the bar and print the line of results."""
        self.close()
        if self.verbose:
            seconds = time.perf_counter() - self.start
            line = result_line(self.done, seconds, logs, self.verbose == 1, self.unit)
            _say(line)

    def close(self):
        """Take the bar away, if one is shown."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None


class Progbar:
    """Shows the progress of a loop of one's own.

    Args:
        target: int, how many steps there will be; None if that isn't known.
        width: accepted; bars are as wide as the terminal.
        verbose: 0, 1 or 2, as for `Model.fit`.
        interval: accepted.
        stateful_metrics: list of the names whose last value counts; of others the mean is shown.
        unit_name: str, what is counted.
    """

    def __init__(
        self,
        target,
        width=30,
        verbose=1,
        interval=0.05,
        stateful_metrics=None,
        unit_name="step",
    ):
        self.target, self.stateful_metrics = target, set(stateful_metrics or ())
        self._sums = {}  # name -> [sum, weight]
        self._seen = 0
        self._progress = Progress(verbose, "loop", target, 1, self._means, unit_name)
        self._ended = False
        self._progress.begin()

    def update(self, current, values=None, finalize=None):
        """Say how far the loop is.

        Args:
            current: int, number of steps done.
            values: list of (name, value); a value counts for the steps since the last update.
            finalize: bool, whether this is the end; by default if ``current`` is ``target``.
        """
        count = current - self._seen
        for name, value in values or ():
            held = self._sums.setdefault(name, [0.0, 0])
            if name in self.stateful_metrics:
                held[:] = value, 1
            else:
                held[0] += value * max(count, 1)
                held[1] += max(count, 1)
        self._seen = current
        self._progress.step(count)
        if finalize is None:
            finalize = self.target is not None and current >= self.target
        if finalize and not self._ended:
            self._ended = True
            self._progress.end(self._means())

    def add(self, n, values=None):
        """Say that n more steps are done; see `update`."""
        self.update(self._seen + n, values)

    def _means(self):
        return {name: total / weight for name, (total, weight) in self._sums.items()}
