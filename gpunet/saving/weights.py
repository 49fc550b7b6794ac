"""Weights to HDF5 groups and back, layer by layer."""

import math
import os
import warnings
from typing import NamedTuple

import numpy as np

from gpunet.errors import FileFormatError, ShapeError
from gpunet.saving.hdf5 import (
    dataset,
    has_member,
    member,
    read_array,
    read_names,
    read_text,
    write_names,
)
from gpunet.saving.old_weights import TODAY, Origin, conversion
from gpunet.tensor import Shape
from gpunet.variables import allocate

__all__ = [
    "write_weights",
    "read_weights",
    "fill_weights",
    "write_arrays",
    "find_arrays",
    "check_total",
    "half_of_memory",
    "has_weights",
]

# The group of the weights that a model owns itself, outside of its layers.
_OWN = "top_level_model_weights"


def layer_weights(layer):
    """Return a layer's weights in the order of files: the trained ones, then the others."""
    return layer.trainable_weights + layer.non_trainable_weights


def _parts(model):
    """Return a `_Part` for each of the layers that files keep in a group of its own.

    Files list the layers in the order of the graph, Sequential models without InputLayer.
    """
    return [
        _Part(layer.name, f"{type(layer).__name__} {layer.name!r}", layer_weights(layer), layer)
        for layer in model.layers
    ]


class _Part(NamedTuple):
    """What files keep in one group: weights of a layer, or the model's own (layer None)."""

    name: str
    who: str
    weights: list
    layer: object


class _Filling(NamedTuple):
    """Weights, the datasets they are filled from, and the conversion of the arrays or None."""

    part: _Part
    group: object
    datasets: list
    convert: object


def _own_weights(model):
    inside = {id(w) for part in _parts(model) for w in part.weights}
    return [w for w in layer_weights(model) if id(w) not in inside]


# -- writing ----------------------------------------------------------------------------------


def write_weights(group, model):
    """Write all weights of a model, a group for each of its layers.

    Args:
        group: h5py group, empty.
        model: Model.
    """
    parts = _parts(model)
    write_names(group, "layer_names", [part.name for part in parts])
    for part in parts:
        inner = group.require_group(part.name)  # layers may be called 'a' and 'a/b'
        write_arrays(inner, [w.name for w in part.weights], [w.numpy() for w in part.weights])
    own = _own_weights(model)
    if own:
        inner = group.require_group(_OWN)
        write_arrays(inner, [w.name for w in own], [w.numpy() for w in own])


def write_arrays(group, names, values):
    """Write arrays under the attribute ``weight_names``; equal names get numbers."""
    taken, unique = set(), []
    for name in names:
        stem, colon, tail = name.rpartition(":") if ":" in name else (name, "", "")
        number = 0
        while name in taken or name in group:
            number += 1
            name = f"{stem}_{number}{colon}{tail}"
        taken.add(name)
        unique.append(name)
    write_names(group, "weight_names", unique)
    for name, value in zip(unique, values, strict=True):
        group.create_dataset(name, data=np.asarray(value))


# -- reading ----------------------------------------------------------------------------------


def find_arrays(group):
    """Return (names, datasets) of what `write_arrays` wrote; no values are read.

    Raises:
        FileFormatError: a name without a dataset of numbers.
    """
    names = read_names(group, "weight_names")
    return names, [dataset(group, name) for name in names]


def check_total(datasets, max_bytes):
    """Raise a FileFormatError if arrays, as they are declared, wouldn't fit in the memory.

    Args:
        datasets: list of h5py datasets.
        max_bytes: int; half of the machine's memory if None.
    """
    total = sum(math.prod(d.shape) * max(d.dtype.itemsize, 4) for d in datasets)
    limit = half_of_memory() if max_bytes is None else max_bytes
    if limit is not None and total > limit:
        raise FileFormatError(
            f"the file declares arrays of {total:,} bytes, more than max_bytes={limit:,}"
        )


def half_of_memory():
    """Return half of the machine's memory in bytes, None where that can't be known."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, ValueError, OSError):  # not known on this system
        return None


def read_weights(group, model, by_name=False, skip_mismatch=False, reshape=False, max_bytes=None):
    """Fill a model's weights; either all of them or, on an error, none.

    Args:
        group: h5py group with ``layer_names``.
        model: Model whose weights are declared; they needn't be allocated.
        by_name: bool, match layers by name and leave those alone that the file lacks.
        skip_mismatch: bool, with ``by_name``: leave layers alone whose shapes differ.
        reshape: bool, take arrays of another shape with the same number of elements.
        max_bytes: int, cap of the declared sizes; half of the machine's memory if None.

    Raises:
        ValueError: another number of layers or weights, or other shapes.
    """
    origin = origin_of(group)
    fillings = []
    for part, inner in _matched_by(by_name, group, model):
        try:
            fillings.append(_match(part, inner, reshape, origin))
        except ShapeError as error:
            if not (by_name and skip_mismatch):
                raise
            warnings.warn(f"load_weights: skipped, {error}", stacklevel=4)
    _fill(fillings, reshape, max_bytes)


def fill_weights(triples, file, max_bytes=None):
    """Fill weights; either all of them or, on an error, none.

    Args:
        triples: list of (str for error texts, list of weights, list of datasets).
        file: h5py.File of the datasets.
        max_bytes: as for `read_weights`.

    Raises:
        ShapeError: another number of arrays, or other shapes.
    """
    fillings = []
    for who, weights, datasets in triples:
        part = _Part(None, who, weights, None)
        _check_shapes(part, datasets, file, False)
        fillings.append(_Filling(part, file, datasets, None))
    _fill(fillings, False, max_bytes)


def _fill(fillings, reshape, max_bytes):
    check_total([d for filling in fillings for d in filling.datasets], max_bytes)
    # Everything is read and checked before anything is written.
    pairs = []
    for filling in fillings:
        values = [read_array(d) for d in filling.datasets]
        if filling.convert is not None:
            values = filling.convert(values)
            _check_shapes(filling.part, values, filling.group, reshape)
        pairs += zip(filling.part.weights, values, strict=True)
    allocate([w for w, _ in pairs], fill=False)
    for weight, value in pairs:
        weight.assign(value.reshape(tuple(weight.shape)))


def origin_of(group):
    """Return who wrote the weights in a group with ``layer_names``."""
    version = read_text(group, "keras_version") or read_text(group.file, "keras_version") or "1"
    backend = read_text(group, "backend") or read_text(group.file, "backend") or TODAY.backend
    return Origin(
        1 if version.startswith("1") else 2, backend if backend == "theano" else TODAY.backend
    )


def has_weights(group):
    """Return whether a group with ``layer_names`` holds any weight."""
    return bool(_groups(group, read_names(group, "layer_names")))


def _groups(group, names):
    return [g for n in names if read_names(g := member(group, n), "weight_names")]


def _matched_by(by_name, group, model):
    """Return (part, group of the file) of all layers to be filled."""
    names = read_names(group, "layer_names")
    parts = _parts(model)
    if by_name:
        listed = set(names)
        found = [(part, member(group, part.name)) for part in parts if part.name in listed]
        if not found:
            warnings.warn(
                f"load_weights: no layer of the file has the name of one of model {model.name!r}",
                stacklevel=5,
            )
    else:
        parts = [part for part in parts if part.weights]
        groups = _groups(group, names)
        if len(parts) != len(groups):
            raise ShapeError(
                f"the file has weights for {len(groups)} layers, model {model.name!r} has "
                f"{len(parts)} layers with weights"
            )
        found = list(zip(parts, groups, strict=True))
    own = _own_weights(model)
    if own and not (by_name and not has_member(group, _OWN)):
        part = _Part(_OWN, f"model {model.name!r}", own, None)
        found.append((part, member(group, _OWN)))
    return found


def _match(part, group, reshape, origin):
    _, datasets = find_arrays(group)
    convert = None
    if part.layer is not None:
        convert = conversion(part.layer, [d.shape for d in datasets], origin)
    if convert is None:
        _check_shapes(part, datasets, group, reshape)
    return _Filling(part, group, datasets, convert)


def _check_shapes(part, arrays, group, reshape):
    """Raise a ShapeError unless arrays, or datasets, are what weights can be filled with."""
    if len(part.weights) != len(arrays):
        raise ShapeError(
            f"{part.who} has {len(part.weights)} weights, the file has {len(arrays)} for it "
            f"(group {group.name!r})"
        )
    for w, a in zip(part.weights, arrays, strict=True):
        if tuple(w.shape) != tuple(a.shape) and not (reshape and w.size == math.prod(a.shape)):
            place = f"dataset {a.name!r}" if hasattr(a, "name") else f"group {group.name!r}"
            raise ShapeError(
                f"{part.who}: weight {w.name!r} has shape {w.shape}, the file has "
                f"{Shape(a.shape)} ({place})"
            )
