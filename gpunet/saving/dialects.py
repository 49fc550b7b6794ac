"""Configs of every Keras, brought into the form that gpunet's classes take."""

import inspect
import warnings
from typing import NamedTuple

from gpunet import registry
from gpunet.errors import FileFormatError
from gpunet.layers import keras1
from gpunet.saving import keras3

__all__ = ["modern", "for_all", "MAX_DEPTH"]

# Models inside of models add about five levels each.
MAX_DEPTH = 200

# What else layers take; in files.
_LAYER_KEYS = {
    "name", "dtype", "trainable", "input_shape", "batch_input_shape", "batch_shape", "batch_size",
    "input_dim", "input_length", "weights", "dynamic", "autocast", "activity_regularizer",
    "time_major", "zero_output_for_mask", "seed",
}  # fmt: skip
# Those whose configs hold more than arguments.
_WHOLE = ("Lambda", "Merge", "Sequential", "Functional", "Model")
_ENTRY_KEYS = {
    "class_name", "config", "name", "inbound_nodes", "module", "registered_name", "build_config",
    "compile_config", "shared_object_id", "keras_version", "backend",
}  # fmt: skip


def modern(config, custom_objects=None, version=""):
    """Return a model's config with the names of today.

    Args:
        config: what JSON gave.
        custom_objects: dict name -> class; their configs are left as they are.
        version: str, of the Keras that wrote it.

    Warns:
        One warning that lists all keys that nothing knows and that are switched off, which is
        why they are left out. Others are for the layer's constructor to refuse.

    Raises:
        FileFormatError: nested too deeply, or something of Keras 1 that is no more.
    """
    ignored = {}
    config = _walk(config, _Reading(custom_objects or {}, version.startswith("3"), ignored), 0)
    if ignored:
        listed = ", ".join(f"{key!r} of {who}" for key, who in ignored.items())
        warnings.warn(f"load_model: ignored what changes nothing: {listed}", stacklevel=4)
    return config


class _Reading(NamedTuple):
    """What holds for all of a config, and the keys that were ignored: key -> of which layer."""

    custom: dict
    keras3: bool
    ignored: dict


def _walk(value, reading, depth):
    if depth > MAX_DEPTH:
        raise FileFormatError(f"the config is nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, list):
        return [_walk(v, reading, depth + 1) for v in value]
    if not isinstance(value, dict):
        return value
    name = value.get("class_name")
    if isinstance(name, str) and isinstance(value.get("config"), dict):
        value = _entry(name, value, reading)
    return {k: _walk(v, reading, depth + 1) for k, v in value.items()}


def _entry(name, entry, reading):
    if registry.get_registered_object(name, reading.custom) is not None:
        return entry
    name, config = keras1.rename(name, entry["config"])
    config = keras3.plain_calls(keras3.rename(name, config, reading.keras3))
    cls = registry.layers.table.get(name)
    if not inspect.isclass(cls):
        return entry
    who = f"{name} {config.get('name', '')!r}"
    for key, value in entry.items():
        if key not in _ENTRY_KEYS and _is_off(value):
            reading.ignored.setdefault(key, who)
    if name not in _WHOLE:
        unknown = [k for k, v in config.items() if _is_off(v) and not _is_known(cls, k, v)]
        reading.ignored.update(dict.fromkeys(unknown, who))
        config = {k: v for k, v in config.items() if k not in unknown}
        if not registry.takes(cls, "seed"):
            config.pop("seed", None)  # of dropout, whose draws never repeat those of Keras
    return {**entry, "class_name": name, "config": config}


def _is_known(cls, key, value):
    neutral = (key, value) in registry.layers.neutral
    return neutral or key in _LAYER_KEYS or registry.takes(cls, key)


# Arguments that some Keras has never heard of and that are left out where they say nothing.
_LEFT_OUT = {
    **dict.fromkeys(
        ("SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "Discretization"),
        {"trainable": True, "noise_shape": None},
    ),
    **dict.fromkeys(("Attention", "AdditiveAttention"), {"causal": False, "score_mode": "dot"}),
}


def for_all(config):
    """Return a config in the form that most versions of Keras can read."""
    if isinstance(config, (list, tuple)):
        return [for_all(v) for v in config]
    if not isinstance(config, dict):
        return config
    left = _LEFT_OUT.get(config.get("class_name")) if "config" in config else None
    if left:
        inner = {k: v for k, v in config["config"].items() if (k, v) not in left.items()}
        config = {**config, "config": inner}
    return {k: for_all(v) for k, v in config.items()}


def _is_off(value):
    return value is None or value is False or value in ("", [], {})
