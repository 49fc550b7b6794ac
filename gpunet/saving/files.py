"""Whole models in HDF5 files, in the layout of Keras 2."""

import contextlib
import json
import os

import numpy as np

from gpunet import registry
from gpunet.errors import FileFormatError, GpunetError, UnknownNameError
from gpunet.saving.archive import (
    MAX_JSON,
    Archive,
    as_training_config,
    is_archive,
    optimizer_arrays,
    weight_pairs,
)
from gpunet.saving.compiled import (
    compile_from,
    fill_state,
    read_state,
    training_config,
    write_state,
)
from gpunet.saving.config import layer_config, layer_from_config
from gpunet.saving.dialects import for_all, modern
from gpunet.saving.hdf5 import (
    has_attribute,
    has_member,
    member,
    name_of,
    open_for_reading,
    read_text,
    replace_file,
)
from gpunet.saving.unknown import with_all_unknown
from gpunet.saving.weights import (
    fill_weights,
    half_of_memory,
    has_weights,
    read_weights,
    write_weights,
)

__all__ = ["Saving", "save_model", "load_model", "KERAS_VERSION"]

# The version of Keras whose files these are.
KERAS_VERSION = "2.4.0"
FORMAT = 1

# Arguments of tf.keras that change nothing here.
_IGNORED = ("options", "signatures", "save_traces")


class Saving:
    """Mixin with a model's methods that save and load."""

    def save(self, filepath, overwrite=True, include_optimizer=True, save_format=None, **kwargs):
        """Write architecture, weights, compile arguments and optimizer state to an HDF5 file.

        Args:
            filepath: str or path-like, an h5py.File, or a binary file object.
            overwrite: bool; False refuses to replace a file.
            include_optimizer: bool, write the compile arguments and the optimizer's state.
            save_format: None or ``'h5'``.

        Raises:
            ValueError: a model without weights yet, or one that is Python code alone.
            OSError: the file can't be written; an old one of that name is as it was.
        """
        save_model(self, filepath, overwrite, include_optimizer, save_format, **kwargs)

    def save_weights(self, filepath, overwrite=True, save_format=None, **kwargs):
        """Write the weights alone to an HDF5 file; see `save`."""
        _check_target("save_weights", filepath, overwrite, save_format, kwargs)
        if not self.built:
            raise ValueError(f"save_weights: model {self.name!r} isn't built, it has no weights")
        with replace_file(filepath) as file:
            write_weights(file, self)
            _stamp(file)

    def load_weights(
        self, filepath, by_name=False, skip_mismatch=False, reshape=False, max_bytes=None, **kwargs
    ):
        """Fill the weights from an HDF5 file or a .keras archive, of weights or of a whole model.

        Args:
            filepath: str or path-like, an h5py group, or a binary file object.
            by_name: bool, match layers by name in place of position.
            skip_mismatch: bool, with ``by_name``: skip layers whose shapes differ.
            reshape: bool, take arrays of another shape with the same number of elements.
            max_bytes: int, the most that all arrays together may take; half of the machine's
                memory by default.

        Raises:
            ValueError: weights that don't fit, or a damaged file; the model stays as it was.
        """
        _check_unknown("load_weights", kwargs)
        if skip_mismatch and not by_name:
            raise ValueError("load_weights: skip_mismatch needs by_name=True")
        if not self.built:
            raise ValueError(
                f"load_weights: model {self.name!r} isn't built, it has no weights yet. "
                "Call it on data or build(input_shape) first."
            )
        name, archive = name_of(filepath), None
        with contextlib.ExitStack() as stack:
            if is_archive(filepath):
                with _named_errors(name):
                    archive = Archive(filepath, _most(max_bytes))
            file = stack.enter_context(open_for_reading(archive.weights if archive else filepath))
            stack.enter_context(_named_errors(name))
            whole = not has_attribute(file, "layer_names") and has_member(file, "model_weights")
            if archive is None and (whole or not has_member(file, "layers")):
                group = member(file, "model_weights") if whole else file
                read_weights(group, self, by_name, skip_mismatch, reshape, max_bytes)
                return
            if by_name:
                raise ValueError(
                    "load_weights: by_name=True needs a file of Keras 2; this is one of Keras 3"
                )
            with _understood("config.json"):
                config = archive.config() if archive else layer_config(self)
                triples = weight_pairs(self, config, file)
            fill_weights(triples, file, max_bytes)

    def to_json(self, **kwargs):
        """Return the architecture as JSON; keyword arguments go to ``json.dumps``."""
        config = {**layer_config(self), "keras_version": KERAS_VERSION, "backend": "tensorflow"}
        return json.dumps(config, default=_plain, **kwargs)


def save_model(model, filepath, overwrite=True, include_optimizer=True, save_format=None, **kwargs):
    """Write a model to an HDF5 file; see `Model.save`."""
    import gpunet

    _check_target("save", filepath, overwrite, save_format, kwargs)
    if not model.built:
        raise ValueError(f"save: model {model.name!r} isn't built, it has no weights yet")
    if model._graph is None:
        raise NotImplementedError(
            f"save: the structure of {type(model).__name__} {model.name!r} is Python code, which "
            "isn't written to files; save the weights alone by save_weights()"
        )
    compiled = include_optimizer and model.optimizer is not None
    config = json.dumps(for_all(layer_config(model)), default=_plain)
    training = json.dumps(training_config(model), default=_plain) if compiled else None
    with replace_file(filepath) as file:
        _stamp(file)
        file.attrs["gpunet_version"] = gpunet.__version__
        file.attrs["gpunet_format"] = FORMAT
        file.attrs["model_config"] = config
        weights = file.create_group("model_weights")
        _stamp(weights)
        write_weights(weights, model)
        if compiled:
            file.attrs["training_config"] = training
            write_state(file, model)


def load_model(
    filepath, custom_objects=None, compile=True, options=None, safe_mode=True, max_bytes=None
):
    """Read a model from an HDF5 file that `Model.save`, or Keras, wrote, or a .keras archive.

    Args:
        filepath: str or path-like, an h5py.File, or a binary file object.
        custom_objects: dict name -> class or function, for what the file names and gpunet
            doesn't know.
        compile: bool, restore the compile arguments and the optimizer's state.
        options: accepted as in tf.keras; changes nothing.
        safe_mode: bool; False lets Lambda layers run bytecode from the file.
        max_bytes: int, the most that all arrays of the model together may take; half of the
            machine's memory by default.

    Returns:
        Model.

    Raises:
        FileFormatError: no model in the file, or a damaged one.
        UnknownNameError: a custom layer or loss that wasn't passed in.
    """
    from gpunet.layers.lambdas import safe_mode_scope

    name = name_of(filepath)
    with contextlib.ExitStack() as stack:
        if not is_archive(filepath):
            file = stack.enter_context(open_for_reading(filepath))
        stack.enter_context(registry.custom_object_scope(custom_objects))
        stack.enter_context(_named_errors(name))
        if is_archive(filepath):
            archive = Archive(filepath, _most(max_bytes))
            file = stack.enter_context(open_for_reading(archive.weights))
            source = _InArchive(archive, file, max_bytes)
        else:
            source = _InFile(file, max_bytes)
        with _understood(source.place):
            config = modern(source.config(), custom_objects, source.version())
            training = source.training() if compile else None
        with (
            safe_mode_scope(safe_mode),
            _understood(source.place),
            with_all_unknown(config, training, custom_objects=custom_objects),
        ):
            model = layer_from_config(config, custom_objects)
            if not isinstance(model, Saving):
                raise FileFormatError(f"it holds a {type(model).__name__}, which is no model")
        source.fill(model, config)
        if training is not None:
            _compile(model, training, custom_objects)
            source.fill_state(model)
    return model


def _most(max_bytes):
    """Return how many bytes weights may take; some more for what is around them."""
    limit = half_of_memory() if max_bytes is None else max_bytes
    return None if limit is None else limit + (1 << 24)


def _compile(model, training, custom_objects):
    try:
        with (
            _understood("training_config"),
            with_all_unknown(training, custom_objects=custom_objects),
        ):
            compile_from(model, training)
    except UnknownNameError as error:
        raise UnknownNameError(
            f"it was compiled with something unknown: {error} Or load it with compile=False."
        ) from None


class _InFile:
    """Where the parts of a model are in an HDF5 file."""

    place = "model_config"

    def __init__(self, file, max_bytes):
        self._file, self._max_bytes = file, max_bytes

    def config(self):
        return _read_json(self._file, "model_config")

    def version(self):
        return read_text(self._file, "keras_version") or ""

    def training(self):
        return _read_json(self._file, "training_config", needed=False)

    def fill(self, model, config):
        weights = member(self._file, "model_weights")
        if not model.built and has_weights(weights):
            raise FileFormatError("its model_config says nothing of the input's shape")
        if model.built:
            read_weights(weights, model, max_bytes=self._max_bytes)

    def fill_state(self, model):
        if has_member(self._file, "optimizer_weights"):
            read_state(member(self._file, "optimizer_weights"), model, self._max_bytes)


class _InArchive(_InFile):
    """Where the parts of a model are in a .keras archive."""

    place = "config.json"

    def __init__(self, archive, file, max_bytes):
        super().__init__(file, max_bytes)
        self._archive = archive

    def config(self):
        return self._archive.config()

    def version(self):
        return self._archive.version()

    def training(self):
        config = self._archive.config()
        return as_training_config(config.get("compile_config"))

    def fill(self, model, config):
        if not model.built and has_member(self._file, "layers"):
            raise FileFormatError("its config says nothing of the input's shape")
        if model.built:
            with _understood(self.place):
                triples = weight_pairs(model, config, self._file)
            fill_weights(triples, self._file, self._max_bytes)

    def fill_state(self, model):
        found = optimizer_arrays(self._file, self.version().startswith("3"))
        if found is not None:
            fill_state(*found, model, self._max_bytes)


# -- checks -----------------------------------------------------------------------------------


def _check_target(what, filepath, overwrite, save_format, options):
    _check_unknown(what, options)
    if save_format not in (None, "h5", "hdf5", "keras_h5"):
        raise ValueError(
            f"{what}: expected save_format 'h5', got {save_format!r}; gpunet writes HDF5"
        )
    if not isinstance(filepath, (str, bytes, os.PathLike)):
        return
    path = os.fsdecode(filepath)
    if path.endswith((".keras", ".tf")):
        raise ValueError(f"{what}: gpunet writes HDF5 files; end the name in '.h5', got {path!r}")
    if not overwrite and os.path.exists(path):
        raise FileExistsError(f"{path!r} exists; pass overwrite=True to replace it")


def _check_unknown(what, options):
    unknown = [key for key in options if key not in _IGNORED]
    if unknown:
        raise TypeError(f"{what}: unknown argument(s) {unknown}")


@contextlib.contextmanager
def _named_errors(name):
    """Put the file's name in front of what gpunet has to say about its content."""
    try:
        yield
    except GpunetError as error:
        raise type(error)(f"{name}: {error}") from error.__cause__


@contextlib.contextmanager
def _understood(attribute):
    """Turn what a malformed config leads to into an error that names the attribute."""
    try:
        yield
    except (KeyError, IndexError, AttributeError, RecursionError, ArithmeticError) as error:
        raise FileFormatError(
            f"attribute {attribute!r} can't be understood ({type(error).__name__}: {error})"
        ) from error


def _read_json(file, name, needed=True):
    text = read_text(file, name)
    if text is None and not needed:
        return None
    if text is None:
        raise FileFormatError(
            f"there is no attribute {name!r}: it isn't a whole model. A file of weights "
            "alone goes into a model of the same layers by model.load_weights(path)."
        )
    if len(text) > MAX_JSON:
        raise FileFormatError(f"attribute {name!r} has more than {MAX_JSON:,} characters")
    try:
        return json.loads(text)
    except ValueError as error:
        raise FileFormatError(f"attribute {name!r} isn't JSON ({error})") from None
    except RecursionError:
        raise FileFormatError(f"attribute {name!r} is nested too deeply") from None


# -- JSON -------------------------------------------------------------------------------------


def _stamp(group):
    group.attrs["backend"] = "tensorflow"
    group.attrs["keras_version"] = KERAS_VERSION


def _plain(value):
    """Give json what it can hold in place of arrays, numpy numbers, dtypes and functions."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.dtype):
        return value.name
    if hasattr(value, "get_config") and not isinstance(value, type):
        return {
            "class_name": registry.get_registered_name(type(value)),
            "config": value.get_config(),
        }
    if hasattr(value, "numpy"):
        return value.numpy().tolist()
    name = registry.get_registered_name(value) if callable(value) else None
    if name is None:
        raise TypeError(f"a config can't hold {value!r} of type {type(value).__name__}")
    return name
