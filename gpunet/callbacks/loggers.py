"""Callbacks that show, write or send logs."""

import csv
import json
import os
import warnings

import numpy as np

from gpunet.training.callbacks import Callback
from gpunet.training.progress import Progress

__all__ = ["BaseLogger", "CSVLogger", "ProgbarLogger", "RemoteMonitor"]


class BaseLogger(Callback):
    """Averages what batches log over an epoch, each batch by its number of samples.

    The logs of a model's own loss and metrics are running means already and stay as they are, so
    this only does something for values that other callbacks put into the logs of batches.

    Args:
        stateful_metrics: list of names that aren't averaged: the last value counts.
    """

    backed_up = ("seen", "totals")

    def __init__(self, stateful_metrics=None):
        self.stateful_metrics = set(stateful_metrics or ())
        self.seen, self.totals = 0, {}

    def on_epoch_begin(self, epoch, logs=None):
        self.seen = 0
        self.totals = {}
        self._last = self.stateful_metrics | set(getattr(self.model, "metrics_names", None) or ())

    def on_batch_end(self, batch, logs=None):
        logs = logs or {}
        size = logs.get("size", 0)
        self.seen += size
        for name, value in logs.items():
            if name in self._last:
                self.totals[name] = value
            elif name not in ("batch", "size"):
                self.totals[name] = self.totals.get(name, 0) + value * size

    def on_epoch_end(self, epoch, logs=None):
        if logs is None:
            return
        for name, value in self.totals.items():
            if name not in self._last:
                logs[name] = value / max(self.seen, 1)
            else:
                logs.setdefault(name, value)


class ProgbarLogger(Callback):
    """Shows the progress of `fit`, in place of what ``verbose`` shows, and as verbosely.

    Args:
        count_mode: ``'samples'`` or ``'steps'``, what is counted.
        stateful_metrics: accepted; logs of batches are running means already.

    Raises:
        ValueError: another ``count_mode``.
    """

    shows_progress = True  # fit shows none of its own beside it
    _progress = None

    def __init__(self, count_mode="samples", stateful_metrics=None):
        if count_mode not in ("samples", "steps"):
            raise ValueError(
                "ProgbarLogger: Unknown `count_mode`: expected 'samples' or 'steps', "
                f"got {count_mode!r}"
            )
        self.count_mode = count_mode
        self.use_steps = count_mode == "steps"
        self.stateful_metrics = set(stateful_metrics or ())

    def on_train_begin(self, logs=None):
        self.verbose = self.params["verbose"]
        self.epochs = self.params["epochs"]

    def on_epoch_begin(self, epoch, logs=None):
        self._close()
        self._logs = {}
        self.target = self._target()
        unit = "step" if self.use_steps else "sample"
        self._progress = Progress(
            self.verbose, "train", self.target, self.epochs, lambda: self._logs, unit
        )
        self._progress.begin(epoch)

    def _target(self):
        """Return how many steps or samples an epoch has, None if that isn't known."""
        steps, samples = self.params.get("steps"), self.params.get("samples")
        if self.use_steps:
            return steps
        size = self.params.get("batch_size")
        return min(samples, steps * size) if samples and steps and size else samples

    def on_batch_end(self, batch, logs=None):
        self._logs = self._shown(logs)
        self._progress.step(1 if self.use_steps else (logs or {}).get("size", 0))

    def on_epoch_end(self, epoch, logs=None):
        self._progress.end(self._shown(logs))

    def on_train_end(self, logs=None):
        self._close()

    def _shown(self, logs):
        return {name: logs[name] for name in self.params["metrics"] if name in (logs or {})}

    def _close(self):
        if self._progress is not None:
            self._progress.close()


class CSVLogger(Callback):
    """Writes one row for each epoch to a CSV file: the epoch from 0, then the logs by name.

    Args:
        filename: str or path-like.
        separator: str, one character between values.
        append: bool, add to a file that is there, in the columns that it has; False replaces it.
    """

    backed_up = ("written",)
    csv_file = None

    def __init__(self, filename, separator=",", append=False):
        if not isinstance(separator, str) or len(separator) != 1:
            raise ValueError(f"CSVLogger: expected separator as one character, got {separator!r}")
        self.sep = separator
        self.filename = os.fsdecode(filename)
        self.append = append
        self.writer = None
        self.keys = None

    def on_train_begin(self, logs=None):
        self._close()
        self.keys = self._columns() if self.append else None
        self.append_header = self.keys is None
        mode = "a" if self.append else "w"
        self.csv_file = open(self.filename, mode, encoding="utf8", newline="")

    def _columns(self):
        """Return the names of the columns of the file that is there, None if there is none."""
        if not os.path.exists(self.filename):
            return None
        with open(self.filename, encoding="utf8", newline="") as file:
            header = next(csv.reader(file, delimiter=self.sep), None)
        return header[1:] if header else None

    @property
    def written(self):
        """str, the whole file as it is; assigning goes on from there."""
        if self.csv_file is None:
            return None
        self.csv_file.flush()
        with open(self.filename, encoding="utf8", newline="") as file:
            return file.read()

    @written.setter
    def written(self, text):
        if text is None:
            return
        self._close()
        self.csv_file = open(self.filename, "w", encoding="utf8", newline="")
        self.csv_file.write(text)
        self.csv_file.flush()
        self.keys = self._columns()
        self.append_header = self.keys is None

    def on_epoch_end(self, epoch, logs=None):
        logs = logs or {}
        if self.keys is None:
            # With validation_freq, the first epoch needn't have a validation.
            later = {name for name in self._metrics() if name.startswith("val_")}
            self.keys = sorted(later.union(logs))
        if self.writer is None:
            self.writer = csv.writer(self.csv_file, csv.excel, delimiter=self.sep)
            if self.append_header:
                self.writer.writerow(["epoch", *self.keys])
            missing = [name for name in logs if name not in self.keys]
            if missing:
                warnings.warn(
                    f"CSVLogger: {self.filename!r} has no columns for {missing}", stacklevel=2
                )
        self.writer.writerow([epoch, *(_cell(logs.get(name, "NA")) for name in self.keys)])
        self.csv_file.flush()

    def on_train_end(self, logs=None):
        self._close()

    def _metrics(self):
        return (self.params or {}).get("metrics") or ()

    def _close(self):
        if self.csv_file is not None:
            self.csv_file.close()
        self.csv_file = self.writer = None


def _cell(value):
    """Return what a cell holds: numbers and texts as they are, ``"[1, 2]"`` for several."""
    if isinstance(value, str) or np.ndim(value) == 0:
        return value
    return f'"[{", ".join(map(str, value))}]"'


class RemoteMonitor(Callback):
    """Sends the logs of each epoch to a server, by POST.  Errors only warn.

    Args:
        root: str, the server's address, ``http://`` or ``https://``.
        path: str, what follows it.
        field: str, name of the form's field that holds the logs as JSON.
        headers: dict of HTTP headers, or None.
        send_as_json: bool, send JSON as it is in place of a form.

    Raises:
        ValueError: another kind of address.
    """

    #: Seconds that a server has for its answer.
    timeout = 10

    def __init__(
        self,
        root="http://localhost:9000",
        path="/publish/epoch/end/",
        field="data",
        headers=None,
        send_as_json=False,
    ):
        if not str(root).lower().startswith(("http://", "https://")):
            raise ValueError(
                f"RemoteMonitor: expected root to start with http:// or https://, got {root!r}"
            )
        self.root = root
        self.path = path
        self.field = field
        self.headers = headers
        self.send_as_json = send_as_json

    def on_epoch_end(self, epoch, logs=None):
        import http.client  # here, because they load more than all of this package
        import urllib.parse
        import urllib.request

        text = json.dumps({"epoch": epoch, **(logs or {})}, default=_plain)
        if self.send_as_json:
            kind, body = "application/json", text
        else:
            kind = "application/x-www-form-urlencoded"
            body = urllib.parse.urlencode({self.field: text})
        headers = {"Content-Type": kind, **(self.headers or {})}
        try:
            request = urllib.request.Request(self.root + self.path, body.encode(), headers)
            with urllib.request.urlopen(request, timeout=self.timeout):
                pass
        except (OSError, ValueError, http.client.HTTPException) as error:
            warnings.warn(
                f"Warning: could not reach RemoteMonitor root server at {self.root} ({error})",
                stacklevel=2,
            )


def _plain(value):
    """Give json numbers and lists in place of arrays."""
    if hasattr(value, "tolist"):
        return value.tolist()
    return float(value)
