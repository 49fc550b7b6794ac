"""All names of a config that nothing is registered under, found at once."""

import contextlib

from gpunet import registry
from gpunet.errors import UnknownNameError

__all__ = ["with_all_unknown", "unknown_names"]

# What a string under a key names, told by the last part of the key.
_KINDS = {
    "activation": registry.activations,
    "initializer": registry.initializers,
    "regularizer": registry.regularizers,
    "constraint": registry.constraints,
    "loss": registry.losses,
    "metrics": registry.metrics,
}
_TABLES = (
    *_KINDS.values(),
    registry.layers,
    registry.optimizers,
    registry.schedules,
)
# Dicts with a class name that stand for plain values and functions.
_VALUES = ("function", "DTypePolicy", "Policy", "TensorShape", "slice", "CompositeTensor")


@contextlib.contextmanager
def with_all_unknown(*configs, custom_objects=None):
    """Let an UnknownNameError raised inside name everything in configs that is unknown.

    Args:
        *configs: dicts that hold classes and functions by name.
        custom_objects: dict name -> class or function.
    """
    try:
        yield
    except UnknownNameError as error:
        found = unknown_names(configs, custom_objects)
        if len(found) < 2:
            raise
        listed = ", ".join(f"{kind} {name!r}" for name, kind in found.items())
        wanted = ", ".join(f"{name!r}: ..." for name in found)
        raise UnknownNameError(
            f"Unknown: {listed}. What is yours can be passed in custom_objects={{{wanted}}}."
        ) from error


def unknown_names(configs, custom_objects=None):
    """Return name -> kind, such as ``'layer'``, of all that a nest of configs names in vain."""
    found = {}
    _search(configs, None, custom_objects, found)
    return found


def _search(value, table, custom_objects, found):
    if isinstance(value, dict):
        name = value.get("class_name")
        if isinstance(name, str):
            _search_object(name, value, table, custom_objects, found)
            return
        for key, part in value.items():
            _search(part, _table(key, table), custom_objects, found)
    elif isinstance(value, (list, tuple)):
        for part in value:
            _search(part, table, custom_objects, found)
    elif isinstance(value, str) and table is not None and not table.knows(value, custom_objects):
        found.setdefault(value, table.kind)


def _search_object(name, value, table, custom_objects, found):
    registered = value.get("registered_name")
    names = [n for n in (name, registered) if isinstance(n, str)]
    config = value.get("config")
    if name == "function" and isinstance(config, str):
        _search(config, table, custom_objects, found)
        return
    plain = name.startswith("__") or name in _VALUES
    if not plain and not any(t.knows(n, custom_objects) for t in _TABLES for n in names):
        found.setdefault(name, (table or registry.layers).kind)
    if name == "Lambda" and isinstance(config, dict):
        _search_lambda(config, custom_objects, found)
    if isinstance(config, (dict, list)):
        _search(config, None, custom_objects, found)


def _search_lambda(config, custom_objects, found):
    by_layer = registry.get_registered_object(config.get("name") or "", custom_objects)
    for key in ("function", "output_shape", "mask"):
        name = config.get(key)
        kind = config.get(f"{key}_type")
        if isinstance(name, str) and kind == "function" and not by_layer:
            if registry.get_registered_object(name, custom_objects) is None:
                found.setdefault(name, "function")


def _table(key, around):
    """Return the registry that strings under a key belong to; None where they are plain text."""
    key = str(key)
    if around is not None:  # in a dict by the names of outputs
        return around
    return _KINDS.get(key.rpartition("_")[2])
