"""Models made anew: from another model's structure, or from a config."""

import json

from gpunet import registry
from gpunet.graph import SymbolicTensor
from gpunet.layers.input import InputLayer
from gpunet.layers.lambdas import safe_mode_scope
from gpunet.models.copying import follow, recipe
from gpunet.models.model import Model
from gpunet.models.sequential import Sequential
from gpunet.nest import flatten
from gpunet.saving.config import layer_from_config
from gpunet.saving.unknown import with_all_unknown

__all__ = ["clone_model", "model_from_config", "model_from_json", "model_from_yaml"]


def clone_model(model, input_tensors=None, clone_function=None):
    """Return a model of the same structure with new layers and new weights.

    Args:
        model: Sequential or functional model, or a subclass with a ``get_config``.
        input_tensors: symbolic tensors, in the order of ``model.inputs``, to build the clone on;
            new inputs if not given.
        clone_function: function of a layer (never an InputLayer) that returns the layer to be
            used in its place; by default a layer of the same class and config.

    Returns:
        Model, not compiled.

    Raises:
        ValueError: no model, or one that can't be cloned in the way that is asked for.
    """
    if not isinstance(model, Model):
        raise ValueError(
            f"Expected `model` argument to be a `Model` instance, got {type(model).__name__}"
        )
    if clone_function is not None and not callable(clone_function):
        raise ValueError("Expected `clone_function` argument to be a callable.")
    known = {type(layer).__name__: type(layer) for layer in model._nested_layers()}
    # The classes and functions are those of a model that lives here, not of a file.
    with registry.custom_object_scope(known), safe_mode_scope(False):
        if isinstance(model, Sequential):
            return _clone_sequential(model, input_tensors, clone_function)
        if model._graph is not None:
            return _clone_graph(model, input_tensors, clone_function)
        if input_tensors is not None or clone_function is not None:
            raise ValueError(
                "Expected `model` argument to be a functional `Model` instance, but got a "
                f"subclass model instead: {type(model).__name__} {model.name!r}; it is cloned by "
                "its get_config() alone"
            )
        return type(model).from_config(model.get_config())


def _copy_of(layer, clone_function):
    if isinstance(layer, InputLayer):
        return type(layer).from_config(layer.get_config())
    if clone_function is not None:
        return clone_function(layer)
    return clone_model(layer) if isinstance(layer, Model) else layer._clone()


def _clone_sequential(model, input_tensors, clone_function):
    layers = [layer for layer in model._stack if not isinstance(layer, InputLayer)]
    copies = [_copy_of(layer, clone_function) for layer in layers]
    if input_tensors is not None:
        start = flatten(input_tensors)
        if len(start) != 1:
            raise ValueError(f"clone_model: a Sequential has one input, got {len(start)} tensors")
        y = _symbolic(start)[0]
        if isinstance(y.node.layer, InputLayer):
            copies.insert(0, y.node.layer)
        else:  # in the middle of another graph
            for layer in copies:
                y = layer(y)
            return Model(start[0], y, name=model.name)
    elif model.inputs is not None:
        copies.insert(0, _copy_of(model.inputs[0].node.layer, None))
    copy = Sequential(copies, name=model.name)
    copy._trainable = model._trainable
    return copy


def _clone_graph(model, input_tensors, clone_function):
    graph, losses, metrics = model._whole_graph()
    ends = [model._output_nest, losses, [t for _, t in metrics]]
    calls, inputs, outputs = recipe(graph, model._input_nest, ends)
    given = {}
    if input_tensors is not None:
        tensors = _symbolic(flatten(input_tensors))
        if len(tensors) != len(model.inputs):
            raise ValueError(
                f"clone_model: model {model.name!r} has {len(model.inputs)} inputs, "
                f"got {len(tensors)} tensors"
            )
        given = {t.node.layer: [new] for t, new in zip(model.inputs, tensors)}
    layers = dict.fromkeys(layer for layer, _, _ in calls)
    copies = {layer: _copy_of(layer, clone_function) for layer in layers if layer not in given}
    calls = [(copies.get(layer, layer), args, kwargs) for layer, args, kwargs in calls]
    inputs, (outputs, losses, values) = follow((calls, inputs, outputs), given)
    kind = type(model) if type(model).__init__ is Model.__init__ else Model
    copy = kind(inputs, outputs, name=model.name)
    copy._losses += losses
    copy._reports += zip([name for name, _ in metrics], values)
    copy._trainable = model._trainable
    return copy


def _symbolic(tensors):
    for t in tensors:
        if not isinstance(t, SymbolicTensor) or t.node is None:
            raise ValueError(f"clone_model: expected tensors made by Input() or layers, got {t!r}")
    return tensors


# -- from configs -----------------------------------------------------------------------------


def model_from_config(config, custom_objects=None):
    """Make a model of ``{"class_name": ..., "config": ...}``.

    Args:
        config: dict.
        custom_objects: dict name -> class or function, for what gpunet doesn't know.

    Returns:
        Model with new weights, not compiled.

    Raises:
        TypeError: a list.
        UnknownNameError: custom objects that weren't passed in; the text names all of them.
    """
    if isinstance(config, list):
        raise TypeError(
            "`model_from_config` expects a dictionary, not a list. Maybe you meant to use "
            "`Sequential.from_config(config)`?"
        )
    with with_all_unknown(config, custom_objects=custom_objects):
        return layer_from_config(config, custom_objects)


def model_from_json(json_string, custom_objects=None):
    """Make a model of what `Model.to_json` returned; see `model_from_config`.

    Args:
        json_string: str.
        custom_objects: dict name -> class or function.

    Raises:
        ValueError: no JSON.
    """
    return model_from_config(json.loads(json_string), custom_objects)


def model_from_yaml(yaml_string, custom_objects=None):
    """Raise an error: YAML can run code while it is read, so Keras took it out as well.

    Raises:
        RuntimeError: always.
    """
    raise RuntimeError(
        "Method `model_from_yaml()` has been removed due to security risk of arbitrary code "
        "execution. Please use `Model.to_json()` and `model_from_json()` instead."
    )
