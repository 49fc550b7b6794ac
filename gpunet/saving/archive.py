"""Keras's ``.keras`` archives, read: a zip file of a config and weights in HDF5.

Reference:
    Keras 3, layout of ``model.weights.h5``: a group for each layer, named after its class and
    numbered, with the arrays ``vars/0``, ``vars/1``, ...; in it those of the layers it holds.
"""

import io
import json
import math
import zipfile

from gpunet.context import snake_case
from gpunet.errors import FileFormatError
from gpunet.saving.hdf5 import dataset, has_member, member, read_text
from gpunet.saving.weights import layer_weights

__all__ = [
    "MAX_JSON",
    "Archive",
    "is_archive",
    "weight_pairs",
    "optimizer_arrays",
    "as_training_config",
]

# More text than any config has; vocabularies may be long.
MAX_JSON = 1 << 28

_CONFIG, _WEIGHTS, _METADATA = "config.json", "model.weights.h5", "metadata.json"
_ZIP = b"PK\x03\x04"
# Groups in which the layers of a model lie, by the Keras that wrote them.
_LAYERS = ("layers", "_layer_checkpoint_dependencies")
# Parts of layers in the order of the layer's weights; those of others follow from attributes.
_PARTS = {"MultiHeadAttention": ("query_dense", "key_dense", "value_dense", "output_dense")}


def is_archive(source):
    """Return whether a path or binary file object begins like a zip file."""
    if hasattr(source, "attrs"):  # an h5py group
        return False
    if hasattr(source, "read") and hasattr(source, "seek"):
        place = source.tell()
        source.seek(0)
        start = source.read(4)
        source.seek(place)
        return start == _ZIP
    try:
        with open(source, "rb") as file:
            return file.read(4) == _ZIP
    except (OSError, TypeError, ValueError):  # for those who open it to say what is wrong
        return False


class Archive:
    """The members of an archive, each no larger than a limit.

    Args:
        source: path or binary file object.
        limit: int, most bytes of weights; None for no limit.

    Raises:
        FileFormatError: a damaged archive, or one without a model.
    """

    def __init__(self, source, limit):
        try:
            with zipfile.ZipFile(source) as file:
                self._config = self._member(file, _CONFIG, MAX_JSON)
                self._metadata = self._member(file, _METADATA, MAX_JSON)
                self.weights = io.BytesIO(self._member(file, _WEIGHTS, limit))
        except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError, EOFError) as error:
            if isinstance(error, FileFormatError):
                raise
            raise FileFormatError(f"the archive is damaged: {error}") from None

    @staticmethod
    def _member(file, name, limit):
        if name not in file.namelist():
            raise FileFormatError(f"the archive holds no {name!r}: it isn't a .keras model")
        limit = math.inf if limit is None else limit
        if file.getinfo(name).file_size > limit:
            raise FileFormatError(f"{name!r} in the archive has more than {limit:,} bytes")
        with file.open(name) as inner:  # what is declared may be a lie
            data = inner.read() if limit == math.inf else inner.read(limit + 1)
        if len(data) > limit:
            raise FileFormatError(f"{name!r} in the archive has more than {limit:,} bytes")
        return data

    def config(self):
        """Return the config, as JSON gives it."""
        return _read_json(_CONFIG, self._config)

    def version(self):
        """Return the version of Keras that wrote the archive."""
        found = _read_json(_METADATA, self._metadata)
        if not isinstance(found, dict):
            raise FileFormatError(f"{_METADATA!r} in the archive is no dict")
        return str(found.get("keras_version", ""))


def _read_json(name, data):
    try:
        return json.loads(data.decode("utf-8"))
    except ValueError as error:
        raise FileFormatError(f"{name!r} in the archive isn't JSON ({error})") from None
    except RecursionError:
        raise FileFormatError(f"{name!r} in the archive is nested too deeply") from None


def as_training_config(compiled):
    """Return what a model was compiled with in the form that HDF5 files have, None if it wasn't."""
    if not isinstance(compiled, dict) or not compiled.get("optimizer"):
        return None
    optimizer = compiled["optimizer"]
    if isinstance(optimizer, str):
        optimizer = {"class_name": optimizer, "config": {}}
    return {
        "optimizer_config": optimizer,
        **{k: compiled.get(k) for k in ("loss", "metrics", "loss_weights", "weighted_metrics")},
    }


# -- weights ----------------------------------------------------------------------------------


def weight_pairs(model, config, file):
    """Return a list of (who, weights, datasets) for all layers of a model.

    Args:
        model: Model whose weights are declared.
        config: dict, its config.
        file: h5py.File of the weights.

    Raises:
        FileFormatError: a group that is missing.
    """
    return list(_pairs(model, config, file))


def _pairs(layer, config, group):
    inner = config.get("config") if isinstance(config, dict) else None
    entries = inner.get("layers") if isinstance(inner, dict) else inner
    if hasattr(layer, "_split_weights") and isinstance(entries, list):
        yield from _of_model(layer, entries, group)
        return
    used = []
    for name, part, part_config in _parts(layer, inner if isinstance(inner, dict) else {}):
        found = list(_pairs(part, part_config, member(group, name)))
        used += [w for _, weights, _ in found for w in weights]
        yield from found
    inside = {id(w) for w in used}
    own = [w for w in layer_weights(layer) if id(w) not in inside]
    if own:
        yield _who(layer), own, _own_arrays(layer, group)


def _who(layer):
    return f"{type(layer).__name__} {layer.name!r}"


def _of_model(model, entries, group):
    place = next((name for name in _LAYERS if has_member(group, name)), None)
    if place is None:
        raise FileFormatError(f"group {group.name!r} holds no layers")
    inside = member(group, place)
    named = _groups_by_name(inside)
    taken = {}
    layers = {layer.name: layer for layer in model.layers}
    for entry in entries:
        kind = str(entry.get("class_name")).rpartition(">")[2]
        stem = snake_case(kind)
        number = taken[stem] = taken.get(stem, -1) + 1
        name = entry.get("name") or entry["config"].get("name")
        layer = layers.get(name)
        if layer is None or not layer.weights:
            continue
        stem = named.get(name) or (f"{stem}_{number}" if number else stem)
        yield from _pairs(layer, entry, member(inside, stem))


def _groups_by_name(group):
    """Return layer's name -> group, where they say whose they are: Keras does since 3.4."""
    found = {}
    for stem in group:
        inner = member(group, stem)
        if has_member(inner, "vars"):
            found[read_text(member(inner, "vars"), "name")] = stem
    return found


def _parts(layer, config):
    """Return (name of the group, layer, config) of the layers that a layer is made of."""
    if hasattr(layer, "forward_layer"):
        sides = (config.get("layer"), config.get("backward_layer") or config.get("layer"))
        names = ("forward_layer", "backward_layer")
        return [(n, getattr(layer, n), c) for n, c in zip(names, sides)]
    if hasattr(layer, "cells"):
        taken, found = {}, []
        for cell in layer.cells:
            stem = snake_case(type(cell).__name__)
            number = taken[stem] = taken.get(stem, -1) + 1
            found.append((f"cells/{stem}_{number}" if number else f"cells/{stem}", cell, None))
        return found
    if hasattr(getattr(layer, "cell", None), "weights"):
        return [("cell", layer.cell, None)]
    if hasattr(getattr(layer, "layer", None), "weights"):
        return [("layer", layer.layer, config.get("layer"))]
    return []


def _own_arrays(layer, group):
    parts = _PARTS.get(type(layer).__name__)
    groups = [group] if parts is None else [member(group, part) for part in parts]
    if parts is None and not _arrays(group) and has_member(group, "cell"):
        groups = [member(group, "cell")]
    return [d for g in groups for d in _arrays(g)]


def _arrays(group):
    """Return the datasets ``vars/0``, ``vars/1``, ... of a group."""
    if not has_member(group, "vars"):
        return []
    inner, found = member(group, "vars"), []
    if not hasattr(inner, "keys"):
        raise FileFormatError(f"{inner.name!r} is no group")
    while has_member(inner, str(len(found))):
        found.append(dataset(inner, str(len(found))))
    return found


def optimizer_arrays(file, keras3):
    """Return (names, datasets) of the optimizer's state, as HDF5 files have them.

    Args:
        file: h5py.File of the weights.
        keras3: bool, whether the learning rate comes second, as Keras 3 has it.

    Returns:
        Two lists, or None where there is no state.
    """
    if not has_member(file, "optimizer"):
        return None
    arrays = _arrays(member(file, "optimizer"))
    names = ["iteration", "/learning_rate" if keras3 else "1", *map(str, range(2, len(arrays)))]
    return names[: len(arrays)], arrays
