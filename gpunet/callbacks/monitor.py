"""What callbacks that watch one value of the logs have in common."""

import warnings

import numpy as np

__all__ = ["comparison", "other_spelling", "value_in"]


def comparison(who, monitor, mode):
    """Return ``numpy.greater`` or ``numpy.less``, whichever is true of (better, worse).

    Args:
        who: str, the callback's name for texts.
        monitor: str, name in the logs.
        mode: ``'min'``, ``'max'``, or ``'auto'``: names with ``acc``, those that start with
            ``fmeasure`` or end with ``auc`` are better when larger, all others when smaller.
            Anything else counts as ``'auto'``, with a warning.
    """
    if not isinstance(monitor, str):
        raise TypeError(f"{who}: expected monitor as a name in the logs, got {monitor!r}")
    if mode not in ("auto", "min", "max"):
        warnings.warn(
            f"{who} mode {mode} is unknown, fallback to auto mode.", RuntimeWarning, stacklevel=3
        )
        mode = "auto"
    if mode == "auto":
        larger = "acc" in monitor or monitor.startswith("fmeasure") or monitor.endswith("auc")
        mode = "max" if larger else "min"
    return np.greater if mode == "max" else np.less


def other_spelling(name):
    """Return a name with ``acc`` for ``accuracy``, or the other way round; None without any."""
    for short, long in (("acc", "accuracy"), ("accuracy", "acc")):
        if name == short or name.endswith("_" + short):
            return name.removesuffix(short) + long
    return None


def value_in(logs, name):
    """Return what the logs hold under a name, or under its other spelling, or None."""
    logs = logs or {}
    return logs[name] if name in logs else logs.get(other_spelling(name))
