"""Ctrl-C that waits until the weights are those of a whole step."""

import contextvars
import functools
import signal
import threading

__all__ = ["Interrupts", "isolated"]


def isolated(method):
    """Run a method in a copy of the context: Ctrl-C leaves no tape or learning phase behind."""

    @functools.wraps(method)
    def run(*args, **kwargs):
        return contextvars.copy_context().run(method, *args, **kwargs)

    return run


class Interrupts:
    """Context that holds SIGINT back while weights are written.

    The handler in place before, Python's or the program's own, gets the signal right after.
    Outside the main thread, where Python runs no handlers, it does nothing.
    """

    def __init__(self):
        self.busy = False
        self._pending = None  # the arguments of a handler that has to wait
        self._previous = None
        self._away = False

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            previous = signal.getsignal(signal.SIGINT)
            if callable(previous):  # neither ignored nor handled outside of Python
                self._previous = previous
                signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *_):
        if self._previous is not None:
            self.busy = True
            signal.signal(signal.SIGINT, self._previous)
            self._deliver()

    def _handle(self, number, frame):
        if self.busy:
            self._pending = (number, frame)
            return
        # Back in place first: if an exception leaves this context, nothing can come between.
        self._away = True
        signal.signal(signal.SIGINT, self._previous)
        self._previous(number, frame)
        self._come_back()

    def _come_back(self):
        signal.signal(signal.SIGINT, self._handle)
        self._away = False

    def _deliver(self):
        if self._pending is not None:
            arguments, self._pending = self._pending, None
            self._previous(*arguments)

    def hold(self):
        """Begin to write."""
        self.busy = True
        if self._away:  # someone caught the KeyboardInterrupt and went on
            self._come_back()

    def release(self):
        """End writing; the handler runs that had to wait."""
        self.busy = False
        if self._pending is not None:
            self._deliver()
