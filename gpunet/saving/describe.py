"""What a model file holds, found out without building anything of it."""

import json
import os
import warnings

from gpunet.errors import FileFormatError, GpunetError
from gpunet.saving.archive import Archive, as_training_config, is_archive
from gpunet.saving.dialects import MAX_DEPTH, modern
from gpunet.saving.hdf5 import (
    dataset,
    has_attribute,
    has_member,
    member,
    name_of,
    open_for_reading,
    read_names,
    read_text,
)
from gpunet.saving.unknown import unknown_names
from gpunet.saving.weights import check_total, find_arrays

__all__ = ["describe", "read_config", "arrays_of"]


def describe(filepath, max_bytes=None):
    """Return what a file holds as a dict that JSON can hold.

    Args:
        filepath: str or path-like.
        max_bytes: int, as for `load_model`.

    Returns:
        dict: ``kind`` (``'model'`` or ``'weights'``), ``size`` of the file, ``keras_version``,
        ``backend``, ``gpunet_version``, ``model`` (class and name), ``layers`` (class, name,
        shapes of weights), ``parameters``, ``weight_bytes``, ``optimizer``, ``loss``,
        ``optimizer_arrays``, and ``refused``: list of reasons for which `load_model` would
        refuse it; empty where none is known.

    Raises:
        FileFormatError: no HDF5 file, or one without a model or weights.
    """
    if is_archive(filepath):
        return _describe_archive(filepath, max_bytes)
    with open_for_reading(filepath) as file:
        whole = read_text(file, "model_config") is not None
        if not (whole or has_attribute(file, "layer_names") or has_member(file, "model_weights")):
            raise FileFormatError(f"{name_of(filepath)}: it holds neither a model nor weights")
        refused = []
        found = {
            "file": os.fspath(filepath),
            "kind": "model" if whole else "weights",
            "size": os.path.getsize(filepath),
        }
        for key in ("keras_version", "backend", "gpunet_version"):
            found[key] = _tried(refused, read_text, file, key)
        found.update(_structure(file, refused) if whole else {})
        found.update(_weights(file, refused, max_bytes))
        if whole:
            found.update(_training(file, refused))
        found["refused"] = refused
        return found


def _describe_archive(filepath, max_bytes):
    refused = []
    archive = Archive(filepath, max_bytes)
    with open_for_reading(archive.weights) as file:
        version = _tried(refused, archive.version, default="")
        found = {
            "file": os.fspath(filepath),
            "kind": "model",
            "size": os.path.getsize(filepath),
            "keras_version": version,
            "backend": None,
            "gpunet_version": None,
        }
        config = _tried(refused, archive.config)
        compiled = config.get("compile_config") if isinstance(config, dict) else None
        config = _tried(refused, _modern, config, version)
        found.update(_described_config(config, refused))
        arrays = {}
        for name in ("layers", "_layer_checkpoint_dependencies"):
            if has_member(file, name):
                group = _tried(refused, member, file, name)
                arrays.update(_tried(refused, _deep_arrays, group, default={}))
        found.update(_sizes(arrays, refused, max_bytes))
        training = as_training_config(compiled) or {"optimizer_config": None, "loss": None}
        found.update(optimizer=training["optimizer_config"], loss=training["loss"])
        found["refused"] = refused
        return found


def _deep_arrays(group, depth=0):
    """Return the weights below a group of an archive: name -> list of (name, dataset)."""
    if depth > MAX_DEPTH:
        raise FileFormatError(f"group {group.name!r} lies too deep")
    found = {}
    for name in group:
        item = member(group, name)
        if not hasattr(item, "keys"):
            found.setdefault(group.name, []).append((name, dataset(group, name)))
            continue
        found.update(_deep_arrays(item, depth + 1))
    return found


def _tried(refused, function, *args, default=None):
    try:
        return function(*args)
    except (GpunetError, ValueError, OSError) as error:
        refused.append(str(error))
        return default


def read_config(file):
    """Return the config of the model in an open file, in today's names.

    Raises:
        FileFormatError: there is none, or it makes no sense.
    """
    text = read_text(file, "model_config")
    if text is None:
        raise FileFormatError("there is no attribute 'model_config': it holds weights alone")
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"attribute 'model_config' isn't JSON ({error})") from None
    return _modern(config, read_text(file, "keras_version") or "")


def _modern(config, version):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = modern(config, version=version)
    if not isinstance(config, dict):
        raise FileFormatError("the config holds no model")
    return config


def _structure(file, refused):
    return _described_config(_tried(refused, read_config, file), refused)


def _described_config(config, refused):
    if not isinstance(config, dict):
        return {"model": None, "layers": []}
    inner = config.get("config")
    entries = inner if isinstance(inner, list) else _config_of(config).get("layers", [])
    name = _config_of(config).get("name")
    entries = [e for e in entries if isinstance(e, dict)] if isinstance(entries, list) else []
    unknown = unknown_names([config], None)
    refused += [f"unknown {kind} {n!r}: pass it in custom_objects" for n, kind in unknown.items()]
    refused += [
        f"Lambda {n!r} holds Python bytecode: pass its function in custom_objects, or use "
        "safe_mode=False"
        for n in _bytecode(config)
    ]
    layers = [
        {"class_name": e.get("class_name"), "name": _config_of(e).get("name")} for e in entries
    ]
    return {
        "model": {"class_name": config.get("class_name"), "name": name},
        "layers": layers,
    }


def _config_of(entry):
    config = entry.get("config")
    return config if isinstance(config, dict) else {}


def _bytecode(value):
    """Yield the names of the Lambda layers whose functions are stored as code."""
    if isinstance(value, list):
        for part in value:
            yield from _bytecode(part)
    elif isinstance(value, dict):
        config = value.get("config")
        if value.get("class_name") == "Lambda" and isinstance(config, dict):
            function = config.get("function")
            kind = function.get("class_name") if isinstance(function, dict) else None
            if isinstance(function, list) or kind == "__lambda__":
                yield config.get("name")
        for part in value.values():
            yield from _bytecode(part)


def _weights(file, refused, max_bytes):
    return _sizes(_tried(refused, arrays_of, file, default={}), refused, max_bytes)


def _sizes(found, refused, max_bytes):
    datasets = [d for arrays in found.values() for _, d in arrays]
    for d in datasets:
        if d.external or d.is_virtual:
            refused.append(f"the data of {d.name!r} lie in another file")
    _tried(refused, check_total, datasets, max_bytes)
    return {
        "weights": {
            layer: {name: list(d.shape) for name, d in arrays} for layer, arrays in found.items()
        },
        "parameters": sum(int(d.size) for d in datasets),
        "weight_bytes": sum(int(d.size) * d.dtype.itemsize for d in datasets),
    }


def arrays_of(file):
    """Return the weights of an open file: layer -> list of (name, dataset)."""
    whole = not has_attribute(file, "layer_names")
    group = member(file, "model_weights") if whole else file
    found = {}
    for layer in read_names(group, "layer_names"):
        names, datasets = find_arrays(member(group, layer))
        found[layer] = list(zip(names, datasets))
    return found


def _training(file, refused):
    text = _tried(refused, read_text, file, "training_config")
    if text is None:
        return {"optimizer": None, "loss": None}
    try:
        training = json.loads(text)
    except (ValueError, RecursionError):
        training = None
    if not isinstance(training, dict) or not isinstance(training.get("optimizer_config"), dict):
        refused.append("attribute 'training_config' can't be understood (compile=False skips it)")
        return {"optimizer": None, "loss": None}
    unknown = unknown_names([training], None)
    refused += [
        f"unknown {kind} {n!r}: pass it in custom_objects, or compile=False"
        for n, kind in unknown.items()
    ]
    state = has_member(file, "optimizer_weights")
    return {
        "optimizer": training["optimizer_config"],
        "loss": training.get("loss"),
        "metrics": training.get("metrics"),
        "optimizer_arrays": len(_tried(refused, _state_names, file, default=()) if state else ()),
    }


def _state_names(file):
    return read_names(member(file, "optimizer_weights"), "weight_names")
