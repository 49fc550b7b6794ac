"""What a layer's constructor was given, as a config and back."""

import inspect

import numpy as np

from gpunet import activations, constraints, initializers, registry, regularizers
from gpunet.tensor import Shape

__all__ = ["Configured"]

# What a constructor's argument is, told by its name.
_KINDS = {
    "activation": activations,
    "initializer": initializers,
    "regularizer": regularizers,
    "constraint": constraints,
}
# Arguments that every layer takes; `Configured._base_config` writes them.
_COMMON = ("name", "dtype", "trainable")


class Configured:
    """Mixin that keeps a constructor's arguments and derives `get_config` from them."""

    def __new__(cls, *args, **kwargs):
        self = super().__new__(cls)
        kept = {k: v for k, v in kwargs.items() if k != "weights"}
        # Written past __setattr__, which a subclass may override.
        self.__dict__["_constructor"] = (args, kept)
        return self

    def get_config(self):
        """Return the constructor's arguments as a dict that JSON can hold."""
        found = self._base_config()
        for name, (owner, default) in _parameters(type(self), self._constructor[1]).items():
            if name in found or name in _COMMON:
                continue
            value = self._given(name, default)
            if owner.__module__.startswith("gpunet."):
                # Built-in layers keep their arguments in attributes, which scripts may change.
                value = self.__dict__.get(name, value)
            found[name] = _serialize(name, value)
        return found

    def _base_config(self):
        found = {"name": self.name, "trainable": self._trainable}
        if "_batch_input_shape" in self.__dict__:
            found["batch_input_shape"] = self._batch_input_shape
        found["dtype"] = self._written_dtype()
        if self.activity_regularizer is not None:
            found["activity_regularizer"] = regularizers.serialize(self.activity_regularizer)
        return found

    def _given(self, name, default):
        """Return what the constructor was given as an argument."""
        args, kwargs = self._constructor
        if name in kwargs:
            return kwargs[name]
        parameters = inspect.signature(type(self).__init__).parameters.values()
        names = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD][1:]
        return dict(zip(names, args)).get(name, default)

    def _clone(self):
        """Return a new layer of the same class and config."""
        return registry.from_config(type(self), self.get_config())

    @classmethod
    def from_config(cls, config):
        """Make a layer from what `get_config` returned."""
        return cls(
            **{
                name: value if _kind(name) else _deserialize(value)
                for name, value in config.items()
            }
        )


def _parameters(cls, given):
    """Return the constructor's arguments that a config needs: name -> (class, default).

    Those of the class itself, and of its bases those that were handed on through ``**kwargs``.
    Below a ``get_config`` of the user's own, which calls this one by ``super()``, all of the
    arguments of the base: Keras users know what they get there.

    Args:
        cls: the layer's class.
        given: dict, the keyword arguments that the constructor got.
    """
    classes = list(cls.__mro__[: cls.__mro__.index(Configured)])
    own = [i for i, c in enumerate(classes) if "get_config" in vars(c)]
    if not own:
        return _signature(classes, given)
    return _signature(classes[own[-1] + 1 :]) | _signature(classes[: own[0]], given)


def _signature(classes, given=None):
    """Return the arguments of the first constructor among classes and of those it calls."""
    found, first = {}, True
    for c in classes:
        if c.__name__ == "Layer" and c.__module__.startswith("gpunet."):
            break
        if "__init__" not in vars(c):
            continue
        parameters = list(inspect.signature(c.__init__).parameters.values())[1:]
        for p in parameters:
            named = p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
            if named and (first or given is None or p.name in given):
                found.setdefault(p.name, (c, None if p.default is p.empty else p.default))
        first = False
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return found


def _kind(name):
    return _KINDS.get(name.rpartition("_")[2])


def _serialize(name, value):
    module = _kind(name)
    if module is not None:
        return module.serialize(value)
    if isinstance(value, Configured):
        return registry.layers.serialize(value)
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    if isinstance(value, (list, tuple)) and type(value) is not Shape:
        return type(value)(_serialize(name, v) for v in value)
    return value


def _deserialize(value):
    """Make layers of the configs of layers; the rest is for the constructor to understand."""
    if isinstance(value, (list, tuple)):
        return type(value)([_deserialize(v) for v in value])
    if isinstance(value, dict) and value.keys() >= {"class_name", "config"}:
        found = registry.get_registered_object(value["class_name"], None, registry.layers.table)
        if inspect.isclass(found) and issubclass(found, Configured):
            return registry.layers.deserialize(value)
    return value
