"""What a model was compiled with, and the state of its optimizer, to files and back."""

import warnings

import numpy as np

from gpunet import losses, metrics, optimizers, registry
from gpunet.errors import FileFormatError, ShapeError
from gpunet.metrics import Metric
from gpunet.metrics.lookup import FunctionMetric
from gpunet.saving.hdf5 import read_array
from gpunet.saving.weights import check_total, find_arrays, write_arrays

__all__ = ["training_config", "compile_from", "write_state", "read_state", "fill_state"]


def training_config(model):
    """Return the compile arguments as a dict that JSON can hold."""
    given = model._compiled
    return {
        "loss": _map(losses.serialize, given["loss"]),
        "metrics": _measured(model, weighted=False),
        "weighted_metrics": _measured(model, weighted=True),
        "sample_weight_mode": given["sample_weight_mode"],
        "loss_weights": given["loss_weights"],
        "optimizer_config": registry.optimizers.serialize(model.optimizer),
    }


def _map(function, nest):
    """Apply a function to the names and configs in a nest of lists and dicts."""
    if isinstance(nest, dict) and "class_name" not in nest:
        return {key: _map(function, part) for key, part in nest.items()}
    if isinstance(nest, (list, tuple)):
        return [_map(function, part) for part in nest]
    return function(nest)


def _measured(model, weighted):
    """Return the metrics: of a single output as they were given, of several a list for each.

    The metrics of several outputs are written as objects under their names in logs, because
    real Keras takes equal names for one and the same metric.
    """
    if model._objective is None:  # the outputs of a subclass aren't known before it runs
        return _map(metrics.serialize, model._compiled["weighted_" * weighted + "metrics"])
    found = [m for m in model._objective.measures if m.weighted is weighted]
    if not found:
        return None
    if len(model._objective.names) == 1:
        return [_as_given(m) for m in found]
    return [
        [_as_object(m) for m in found if m.output == output]
        for output in range(len(model._objective.names))
    ]


def _as_given(measure):
    named = isinstance(measure.metric, FunctionMetric) and not isinstance(measure.given, Metric)
    return metrics.serialize(measure.given) if named else _as_object(measure)


def _as_object(measure):
    config = metrics.serialize(measure.metric)
    if not isinstance(measure.metric, FunctionMetric):
        return {**config, "config": {**config["config"], "name": measure.label}}
    name, dtype = config["config"]["fn"], config["config"].get("dtype")
    table = registry.metrics.table
    # Keras 3 can't read MeanMetricWrapper, and the classes do the same.
    kind = table.get("".join(part.title() for part in str(name).split("_")))
    if isinstance(kind, type) and table.get(name) is measure.metric._fn:
        return {"class_name": kind.__name__, "config": {"name": measure.label, "dtype": dtype}}
    return {
        "class_name": "MeanMetricWrapper",
        "config": {**config["config"], "name": measure.label},
    }


def compile_from(model, training):
    """Compile a model with what `training_config`, or any Keras 2, returned.

    Args:
        model: Model.
        training: dict.

    Raises:
        UnknownNameError: a loss, metric or optimizer that isn't known.
        FileFormatError: no such dict.
    """

    def read(deserialize, key):
        return _map(
            lambda one: deserialize(one) if isinstance(one, dict) else one, training.get(key)
        )

    if not isinstance(training, dict) or not isinstance(training.get("optimizer_config"), dict):
        raise FileFormatError("training_config: expected a dict with 'optimizer_config'")
    model.compile(
        optimizer=optimizers.deserialize(training["optimizer_config"]),
        loss=read(losses.deserialize, "loss"),
        metrics=read(metrics.deserialize, "metrics"),
        loss_weights=training.get("loss_weights"),
        sample_weight_mode=training.get("sample_weight_mode"),
        weighted_metrics=read(metrics.deserialize, "weighted_metrics"),
    )


# -- the optimizer's state --------------------------------------------------------------------


def write_state(file, model):
    """Write the state of a model's optimizer, unless it has made no step yet."""
    optimizer = model.optimizer
    if not hasattr(optimizer, "state_of") or int(optimizer.iterations) == 0:
        return
    names, state = optimizer.state_of(model.trainable_weights)
    write_arrays(file.create_group("optimizer_weights"), names, [w.numpy() for w in state])


def read_state(group, model, max_bytes=None):
    """Give a compiled model's optimizer the state that a file holds; see `fill_state`.

    Args:
        group: h5py group ``optimizer_weights``.
        model: Model, just compiled.
        max_bytes: int, cap of the declared sizes.
    """
    fill_state(*find_arrays(group), model, max_bytes)


def fill_state(names, datasets, model, max_bytes=None):
    """Give a compiled model's optimizer the state that datasets hold.

    A state that doesn't fit, such as that of a model whose layers were frozen later, is left
    alone with a warning, as Keras does.

    Args:
        names, datasets: lists, in the order of the file.
        model: Model, just compiled.
        max_bytes: int, cap of the declared sizes.
    """
    optimizer, weights = model.optimizer, model.trainable_weights
    rate = next((d for n, d in zip(names, datasets) if n.endswith("/learning_rate")), None)
    if rate is not None:
        # Keras 3 keeps it among the weights, and Nadam's product, which follows from the step.
        left = ("learning_rate", "variable")
        pairs = zip(names, datasets)
        datasets = [d for n, d in pairs if n.rpartition("/")[2] not in left]
    shapes = {(), (1,), *(tuple(w.shape) for w in weights)}
    try:
        for dataset in datasets:
            if dataset.shape not in shapes:
                raise ShapeError(
                    f"no weight has the shape {dataset.shape} of dataset {dataset.name!r}"
                )
        check_total(datasets, max_bytes)
        values = [read_array(dataset) for dataset in datasets]
        if any(np.ndim(v) for v in values) or len(values) > len(optimizer.weights):
            optimizer.state_of(weights)  # makes it
        optimizer.set_weights(values)
        if rate is not None and rate.shape == ():
            optimizer.learning_rate = float(read_array(rate))
    except ShapeError as error:
        warnings.warn(
            f"load_model: the optimizer's state in the file doesn't fit model {model.name!r}, "
            f"so the optimizer starts anew: {error}",
            stacklevel=4,
        )
