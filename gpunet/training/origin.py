"""Whose code a model is made of: only gpunet's own is known to be safe to replay."""

import functools
import sys
import types

__all__ = ["foreign"]

_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, types.MethodType, type)
_KNOWN = {"gpunet", *sys.stdlib_module_names}
_LIBRARIES = {"numpy", "cupy"}  # their arrays and functions


def foreign(parts):
    """Return what among some objects or their attributes isn't gpunet's own, None if all is.

    Args:
        parts: list of objects: layers, losses, metrics, functions.

    Returns:
        str that names it, or None.
    """
    for part in parts:
        found = _foreign(part, 2)
        if found is not None:
            return f"{found} may do more than compute"
    return None


def _foreign(value, depth):
    """Return the name of what is foreign in a value and its attributes down to a depth."""
    if isinstance(value, functools.partial):
        return _foreign(value.func, depth)
    if isinstance(value, (list, tuple, set, frozenset)):
        return next(filter(None, (_foreign(v, depth) for v in value)), None)
    if isinstance(value, dict):
        return next(filter(None, (_foreign(v, depth) for v in value.values())), None)
    if isinstance(value, _FUNCTIONS):
        module = getattr(value, "__module__", None) or "builtins"
        return None if _is_own(module) else f"{module}.{getattr(value, '__qualname__', value)}"
    kind = type(value)
    if not _is_own(kind.__module__):
        return f"{kind.__module__}.{kind.__qualname__}"
    if depth and kind.__module__.partition(".")[0] == "gpunet" and hasattr(value, "__dict__"):
        return _foreign([v for k, v in _used(value) if k not in _SKIPPED], depth - 1)
    return None


# What a layer knows of the graph around it and of its own making.
_SKIPPED = frozenset(("_inbound_nodes", "_outbound_nodes", "_constructor"))


def _used(value):
    """Return the attributes of an object that a step may use, as (name, value)."""
    if hasattr(value, "train_on_batch"):  # of a model all but this is about how it is trained
        return [("_losses", value._losses)]
    return vars(value).items()


def _is_own(module):
    root = module.partition(".")[0]
    return root in _KNOWN or root in _LIBRARIES
