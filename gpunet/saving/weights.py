"""Weights to HDF5 groups and back, layer by layer."""

import numpy as np

from gpunet.errors import FileFormatError, ShapeError
from gpunet.saving.hdf5 import read_names, write_names
from gpunet.tensor import Shape
from gpunet.variables import allocate

__all__ = ["write_weights", "read_weights", "write_arrays", "read_arrays"]


def layer_weights(layer):
    """Return a layer's weights in the order of files: the trained ones, then the others."""
    return layer.trainable_weights + layer.non_trainable_weights


def write_weights(group, model):
    """Write all weights of a model, a group for each of its layers.

    Args:
        group: h5py group, empty.
        model: Model.
    """
    layers = _file_layers(model)
    write_names(group, "layer_names", [layer.name for layer in layers])
    for layer in layers:
        inner = group.create_group(layer.name)
        weights = layer_weights(layer)
        write_arrays(inner, [w.name for w in weights], [w.numpy() for w in weights])


def _file_layers(model):
    """Return a model's layers as files list them: Sequential without its InputLayer."""
    return model.layers


def write_arrays(group, names, values):
    """Write arrays under the attribute ``weight_names``; equal names get numbers."""
    taken, unique = set(), []
    for name in names:
        base, number = name, 1
        while name in taken:
            stem, colon, tail = base.rpartition(":")
            name = f"{stem}_{number}{colon}{tail}" if colon else f"{base}_{number}"
            number += 1
        taken.add(name)
        unique.append(name)
    write_names(group, "weight_names", unique)
    for name, value in zip(unique, values, strict=True):
        value = np.asarray(value)
        dataset = group.create_dataset(name, value.shape, dtype=value.dtype)
        if value.shape:
            dataset[:] = value
        else:
            dataset[()] = value


def read_arrays(group):
    """Return (names, arrays) of what `write_arrays` wrote.

    Raises:
        FileFormatError: a name without a dataset.
    """
    names = read_names(group, "weight_names")
    return names, [_dataset(group, name)[()] for name in names]


def _dataset(group, name):
    found = group.get(name)
    if found is None or not hasattr(found, "shape"):
        raise FileFormatError(f"group {group.name!r} lists the weight {name!r}, but holds none")
    return found


def read_weights(group, model, by_name=False, skip_mismatch=False):
    """Fill a model's weights; either all of them or, on an error, none.

    Args:
        group: h5py group with ``layer_names``.
        model: Model whose weights exist.
        by_name: bool, match layers by name and leave those alone that the file lacks.
        skip_mismatch: bool, with ``by_name``: leave layers alone whose shapes differ.

    Raises:
        ValueError: another number of layers or weights, or other shapes.
    """
    names = read_names(group, "layer_names")
    for name in names:
        if name not in group:
            raise FileFormatError(f"the file lists the layer {name!r}, but holds no group for it")
    if by_name:
        stored = {n: group[n] for n in names}
        pairs = [(layer, stored[layer.name]) for layer in _file_layers(model)
                 if layer.name in stored]
    else:
        layers = [layer for layer in _file_layers(model) if layer_weights(layer)]
        stored = [group[n] for n in names if read_names(group[n], "weight_names")]
        if len(layers) != len(stored):
            raise ValueError(
                f"the file has weights for {len(stored)} layers, model {model.name!r} has "
                f"{len(layers)} layers with weights"
            )
        pairs = list(zip(layers, stored, strict=True))
    updates = []
    for layer, inner in pairs:
        try:
            updates += _match(layer, inner)
        except ValueError:
            if not (by_name and skip_mismatch):
                raise
    # Everything is read and checked before anything is written.
    values = [dataset[()] for _, dataset in updates]
    allocate([w for w, _ in updates], fill=False)
    for (weight, _), value in zip(updates, values, strict=True):
        weight.assign(value)


def _match(layer, group):
    weights = layer_weights(layer)
    datasets = [_dataset(group, n) for n in read_names(group, "weight_names")]
    who = f"{type(layer).__name__} {layer.name!r}"
    if len(weights) != len(datasets):
        raise ValueError(
            f"{who} has {len(weights)} weights, the file has {len(datasets)} for it "
            f"(group {group.name!r})"
        )
    for w, d in zip(weights, datasets, strict=True):
        if tuple(w.shape) != tuple(d.shape):
            raise ShapeError(
                f"{who}: weight {w.name!r} has shape {w.shape}, the file has {Shape(d.shape)} "
                f"(dataset {d.name!r})"
            )
    return list(zip(weights, datasets, strict=True))
