"""What holds for the code being run: training or inference, names, tracing.

All of it lives in context variables, so threads and tasks don't see each other's; only the
name counters are shared, under a lock.
"""

import collections
import re
import threading
from contextvars import ContextVar

__all__ = [
    "learning_phase",
    "set_learning_phase",
    "learning_phase_scope",
    "tracing",
    "trace_scope",
    "graph_scope",
    "name_scope",
    "scoped_name",
    "get_uid",
    "reset_uids",
    "unique_name",
    "snake_case",
]

_phase = ContextVar("gpunet_learning_phase", default=None)
_default_phase = 0
_tracing = ContextVar("gpunet_tracing", default=False)
_scope = ContextVar("gpunet_name_scope", default="")
_lock = threading.Lock()
_counts = collections.defaultdict(int)
_taken = set()


def learning_phase():
    """Return 1 while a model is being trained, else 0."""
    phase = _phase.get()
    return _default_phase if phase is None else phase


def set_learning_phase(value):
    """Set what `learning_phase` gives outside of fit, evaluate and predict.

    Args:
        value: 0 (inference) or 1 (training).
    """
    global _default_phase
    if value not in (0, 1):
        raise ValueError(f"set_learning_phase: expected 0 or 1, got {value!r}")
    _default_phase = int(value)


class _Scope:
    """Sets a context variable inside a ``with`` block; cheaper than a generator."""

    __slots__ = ("_variable", "_value", "_token")

    def __init__(self, variable, value):
        self._variable, self._value = variable, value

    def __enter__(self):
        self._token = self._variable.set(self._value)
        return self

    def __exit__(self, *_):
        self._variable.reset(self._token)


def learning_phase_scope(value):
    """Return a context in which `learning_phase` gives a value; None leaves it as it is."""
    return _Scope(_phase, _phase.get() if value is None else int(bool(value)))


def tracing():
    """Return whether a layer's ``call`` is being run for the shapes of its outputs alone."""
    return _tracing.get()


def trace_scope():
    """Return a context in which ops on symbolic tensors infer shapes and leave no nodes."""
    return _Scope(_tracing, True)


def graph_scope():
    """Return a context in which calls on symbolic tensors leave nodes, also inside of a trace."""
    return _Scope(_tracing, False)


def name_scope(name):
    """Return a context in which `scoped_name` puts ``name/`` in front."""
    return _Scope(_scope, f"{_scope.get()}{name}/")


def scoped_name(name):
    """Return a name with the names of the scopes around it in front."""
    return _scope.get() + name


def get_uid(prefix=""):
    """Return 1, 2, 3, ... for each prefix."""
    with _lock:
        _counts[prefix] += 1
        return _counts[prefix]


def reset_uids():
    """Start all name counters anew."""
    with _lock:
        _counts.clear()
        _taken.clear()


def unique_name(base, given=None, first=0):
    """Return a layer name that no other layer has: ``dense``, ``dense_1``, ...

    Args:
        base: str, such as ``'dense'``.
        given: str, a name chosen by the user, which is used as it is and remembered.
        first: 0 gives the plain base first, 1 starts with ``base_1``.
    """
    with _lock:
        if given is not None:
            _taken.add(given)
            return given
        while True:
            number = _counts["name:" + base] + first
            _counts["name:" + base] += 1
            name = f"{base}_{number}" if number else base
            if name not in _taken:
                _taken.add(name)
                return name


def snake_case(name):
    """Return ``'batch_normalization'`` for ``'BatchNormalization'``."""
    name = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", name)
    name = re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
    return "private" + name if name.startswith("_") else name
