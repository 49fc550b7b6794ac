"""Functions of tensors that are replayed without the layers and tapes in them."""

import logging
import threading

from gpunet import recording
from gpunet.autodiff.tape import recording as taping
from gpunet.recording import Recorder, current
from gpunet.tensor import value_of

__all__ = ["Recorded"]

_log = logging.getLogger("gpunet")
_recording = threading.Lock()  # one thread records at a time, others run as they are meanwhile
# Kinds of inputs that one function keeps replays for; each holds some tens of kilobytes.
_KINDS = 64
# After so many changes of a model's layers it isn't recorded any more: the changes go on.
_CHANGES = 20


class Recorded:
    """A function of tensors that is recorded when inputs of one kind come the second time.

    From then on the recording runs for inputs of these shapes and dtypes: the same array
    functions in the same order.  What can't be recorded goes on as it is; see
    `gpunet.recording`.  A replay shares nothing with another, so threads may run it at once.

    Args:
        function: (*inputs) -> flat list of Tensors, arrays, RowGradients and Nones.
        name: str for the log.
        refusal: function () -> why it mustn't be recorded as things are, or None.

    Attributes:
        reason: str, why it isn't recorded, or None.
    """

    def __init__(self, function, name, refusal=None):
        self.function, self.name, self.refusal = function, name, refusal
        self.reason = None
        self._replays = {}  # kind of inputs -> function, or None for one that came once
        self._edits, self._changes = recording.edits, 0

    def _forget(self):
        """Drop what was recorded: something changed that the recordings took for granted."""
        self._edits = recording.edits
        if self._replays or self.reason is not None:
            self._replays = {}
            self._changes += 1
            self.reason = None if self._changes < _CHANGES else "its layers keep changing"

    def __call__(self, *inputs):
        """Return the function's results as a list of arrays, RowGradients and Nones.

        Args:
            *inputs: Tensors or Nones.
        """
        if self._edits != recording.edits:
            self._forget()
        replays = self._replays
        values = [None if t is None else t.array for t in inputs]
        kind = _kind(values)
        replay = replays.get(kind)
        if replay is not None and not taping():
            return replay(*values)
        if self.reason is not None or taping() or current() is not None:
            return self._run(inputs)
        if kind not in replays:
            if len(replays) < _KINDS:
                replays[kind] = None
            return self._run(inputs)
        if not _recording.acquire(blocking=False):
            return self._run(inputs)
        try:
            return self._record(replays, kind, inputs, values)
        finally:
            _recording.release()

    def lines(self, *inputs):
        """Return how many lines the recording for inputs of a kind has, 0 without one."""
        replay = self._replays.get(_kind([None if t is None else t.array for t in inputs]))
        return 0 if replay is None else replay.source.count("\n")

    def _run(self, inputs):
        return [value_of(v) for v in self.function(*inputs)]

    def _record(self, replays, kind, inputs, values):
        reason = None if self.refusal is None else self.refusal()
        if reason is None:
            with Recorder(values) as recorder:
                results = self._run(inputs)
                replays[kind] = recorder.function(results)
            reason = recorder.reason
        else:
            results = self._run(inputs)
        if reason is not None:
            self.reason = reason
            _log.info("%s runs as it is and isn't recorded: %s", self.name, reason)
        return results


def _kind(values):
    return tuple([None if a is None else (a.shape, a.dtype, a.__class__) for a in values])
