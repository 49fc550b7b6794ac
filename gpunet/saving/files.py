"""Whole models in HDF5 files, in the layout of Keras 2."""

import json
import os
import sys

import numpy as np

from gpunet import losses, metrics, optimizers, registry
from gpunet.errors import FileFormatError, UnknownNameError
from gpunet.saving.config import layer_config, layer_from_config
from gpunet.saving.hdf5 import open_for_reading, read_text, replace_file
from gpunet.saving.weights import read_arrays, read_weights, write_arrays, write_weights

__all__ = ["Saving", "save_model", "load_model", "KERAS_VERSION"]

# The version of Keras whose files these are.
KERAS_VERSION = "2.4.0"
FORMAT = 1


class Saving:
    """Mixin with a model's methods that save and load."""

    def save(self, filepath, overwrite=True, include_optimizer=True, save_format=None, **kwargs):
        """Write architecture, weights, compile arguments and optimizer state to an HDF5 file.

        Args:
            filepath: str or path-like.
            overwrite: bool; False refuses to replace a file.
            include_optimizer: bool, write the optimizer and its state.
            save_format: None or ``'h5'``.
        """
        save_model(self, filepath, overwrite, include_optimizer, save_format, **kwargs)

    def save_weights(self, filepath, overwrite=True, save_format=None, **kwargs):
        """Write the weights alone to an HDF5 file; see `save`."""
        _check_target(filepath, overwrite, save_format)
        if not self.built:
            raise ValueError(f"save_weights: model {self.name!r} isn't built, it has no weights")
        with replace_file(filepath) as file:
            write_weights(file, self)
            _stamp(file)

    def load_weights(self, filepath, by_name=False, skip_mismatch=False, reshape=False, **kwargs):
        """Fill the weights from an HDF5 file, of weights or of a whole model.

        Args:
            filepath: str or path-like.
            by_name: bool, match layers by name in place of position.
            skip_mismatch: bool, with ``by_name``: skip layers whose shapes differ.
            reshape: accepted as in Keras 2.3; shapes must match.

        Raises:
            ValueError: weights that don't fit; the model stays as it was.
        """
        if skip_mismatch and not by_name:
            raise ValueError("load_weights: skip_mismatch needs by_name=True")
        if not self.built:
            raise ValueError(
                f"load_weights: model {self.name!r} isn't built, it has no weights yet. "
                "Call it on data or build(input_shape) first."
            )
        with open_for_reading(filepath) as file:
            group = file["model_weights"] if "layer_names" not in file.attrs \
                and "model_weights" in file else file
            read_weights(group, self, by_name, skip_mismatch)

    def to_json(self, **kwargs):
        """Return the architecture as JSON; keyword arguments go to ``json.dumps``."""
        config = {**layer_config(self), "keras_version": KERAS_VERSION, "backend": "tensorflow"}
        return json.dumps(config, default=_plain, **kwargs)


def _check_target(filepath, overwrite, save_format):
    if save_format not in (None, "h5", "hdf5", "keras_h5"):
        raise ValueError(f"save: expected save_format 'h5', got {save_format!r}")
    if not overwrite and os.path.exists(filepath):
        raise FileExistsError(
            f"{os.fspath(filepath)!r} exists; pass overwrite=True to replace it"
        )


def _stamp(group):
    group.attrs["backend"] = "tensorflow"
    group.attrs["keras_version"] = KERAS_VERSION


def save_model(model, filepath, overwrite=True, include_optimizer=True, save_format=None,
               **kwargs):
    """Write a model to an HDF5 file; see `Model.save`."""
    import gpunet

    _check_target(filepath, overwrite, save_format)
    if not model.built:
        raise ValueError(f"save: model {model.name!r} isn't built, it has no weights yet")
    config = json.dumps(layer_config(model), default=_plain)
    training = None
    if include_optimizer and model.optimizer is not None:
        training = json.dumps(training_config(model), default=_plain)
    with replace_file(filepath) as file:
        _stamp(file)
        file.attrs["gpunet_version"] = gpunet.__version__
        file.attrs["gpunet_format"] = FORMAT
        file.attrs["model_config"] = config
        weights = file.create_group("model_weights")
        _stamp(weights)
        write_weights(weights, model)
        if training is not None:
            file.attrs["training_config"] = training
            state = model.optimizer.weights
            if state:
                group = file.create_group("optimizer_weights")
                write_arrays(group, model.optimizer.weight_names, [w.numpy() for w in state])


def load_model(filepath, custom_objects=None, compile=True, safe_mode=True, **kwargs):
    """Read a model from an HDF5 file that `Model.save`, or Keras, wrote.

    Args:
        filepath: str or path-like.
        custom_objects: dict name -> class or function, for what the file names and gpunet
            doesn't know.
        compile: bool, restore the compile arguments and the optimizer's state.
        safe_mode: bool; False lets Lambda layers run bytecode from the file.

    Returns:
        Model.

    Raises:
        FileFormatError: no model in the file, or a damaged one.
        UnknownNameError: a custom layer or loss that wasn't passed in.
    """
    from gpunet.layers.lambdas import safe_mode_scope

    with open_for_reading(filepath) as file:
        config = _read_json(file, "model_config", filepath)
        with safe_mode_scope(safe_mode):
            model = layer_from_config(config, custom_objects)
        if "model_weights" not in file:
            raise FileFormatError(f"{os.fspath(filepath)!r} holds a config, but no weights")
        if model.built:
            read_weights(file["model_weights"], model)
        if compile and "training_config" in file.attrs:
            training = _read_json(file, "training_config", filepath)
            with registry.custom_object_scope(custom_objects):
                _compile(model, training, filepath)
            if "optimizer_weights" in file:
                names, values = read_arrays(file["optimizer_weights"])
                model.optimizer.build(model.trainable_weights)
                model.optimizer.set_weights(values)
    return model


def _read_json(file, name, filepath):
    text = read_text(file, name)
    if text is None:
        raise FileFormatError(
            f"{os.fspath(filepath)!r} holds no {name}: it isn't a whole model. A file of weights "
            "alone goes into a model of the same layers by model.load_weights(path)."
        )
    try:
        return json.loads(text)
    except ValueError as error:
        raise FileFormatError(
            f"{os.fspath(filepath)!r}: attribute {name} isn't JSON ({error})"
        ) from None


def _compile(model, training, filepath):
    try:
        model.compile(
            optimizer=optimizers.deserialize(training["optimizer_config"]),
            loss=_read(losses.deserialize, training.get("loss")),
            metrics=_read(metrics.deserialize, training.get("metrics")),
            loss_weights=training.get("loss_weights"),
            weighted_metrics=_read(metrics.deserialize, training.get("weighted_metrics")),
        )
    except UnknownNameError as error:
        raise UnknownNameError(
            f"{os.fspath(filepath)!r} was compiled with something unknown: {error} "
            "Or load it with compile=False."
        ) from None


def _read(deserialize, nest):
    """Make objects of the configs in a nest of names and configs."""
    if isinstance(nest, dict) and "class_name" not in nest:
        return {key: _read(deserialize, part) for key, part in nest.items()}
    if isinstance(nest, list):
        return [_read(deserialize, part) for part in nest]
    return deserialize(nest) if isinstance(nest, dict) else nest


def training_config(model):
    """Return the compile arguments as a dict that JSON can hold."""
    given = model._compiled
    return {
        "loss": _write(losses.serialize, given["loss"]),
        "metrics": _write(metrics.serialize, given["metrics"]),
        "weighted_metrics": _write(metrics.serialize, given["weighted_metrics"]),
        "sample_weight_mode": given["sample_weight_mode"],
        "loss_weights": given["loss_weights"],
        "optimizer_config": {
            "class_name": registry.get_registered_name(type(model.optimizer)),
            "config": model.optimizer.get_config(),
        },
    }


def _write(serialize, nest):
    if isinstance(nest, dict) and "class_name" not in nest:
        return {key: _write(serialize, part) for key, part in nest.items()}
    if isinstance(nest, (list, tuple)):
        return [_write(serialize, part) for part in nest]
    return serialize(nest)


def _plain(value):
    """Give json what it can hold in place of arrays, numpy numbers, tuples and dtypes."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if hasattr(value, "get_config"):
        return {"class_name": type(value).__name__, "config": value.get_config()}
    if hasattr(value, "numpy"):
        return value.numpy().tolist()
    name = getattr(value, "__name__", None)
    if name is not None and name in sys.modules.get("builtins").__dict__:
        return name
    raise TypeError(f"a config can't hold {value!r} of type {type(value).__name__}")
