"""What differs under the name tensorflow.keras from keras: a table of defaults.

The classes made from it are those of gpunet in all but these defaults: an instance of one is an
instance of the other, and files hold the same.
"""

import functools
import inspect

from gpunet import layers, optimizers, registry

__all__ = ["TF_DEFAULTS", "SameInstances", "classes", "name_optimizers", "with_defaults"]

# module below tensorflow.keras -> class -> argument -> default
TF_DEFAULTS = {
    "layers": {"GRU": {"reset_after": True}, "GRUCell": {"reset_after": True}},
    "optimizers": {
        "Adadelta": {"learning_rate": 0.001},
        "Adagrad": {"learning_rate": 0.001, "initial_accumulator_value": 0.1},
        "Adamax": {"learning_rate": 0.001},
        "Nadam": {"learning_rate": 0.001},
    },
}

# Old spellings of arguments.
_SPELLINGS = {"learning_rate": "lr"}


class SameInstances(type):
    """Metaclass of a class whose instances are also all those of its base."""

    def __instancecheck__(cls, instance):
        if "_stands_for" in vars(cls):
            return isinstance(instance, cls._stands_for)
        return super().__instancecheck__(instance)

    def __subclasscheck__(cls, other):
        if "_stands_for" in vars(cls):
            return issubclass(other, cls._stands_for)
        return super().__subclasscheck__(other)


def with_defaults(base, defaults):
    """Return a subclass that differs from its base in the defaults of its constructor alone.

    Args:
        base: class.
        defaults: dict argument -> default.
    """
    signature = inspect.signature(base.__init__)

    @functools.wraps(base.__init__)
    def __init__(self, *args, **kwargs):
        given = signature.bind_partial(self, *args, **kwargs)
        given = {*given.arguments, *given.arguments.get("kwargs", ())}
        for name, value in defaults.items():
            if name not in given:
                kwargs[name] = kwargs.pop(_SPELLINGS.get(name), value)
        base.__init__(self, *args, **kwargs)

    __init__.__signature__ = signature.replace(
        parameters=[
            p.replace(default=defaults.get(n, p.default)) for n, p in signature.parameters.items()
        ]
    )
    names = {
        "__init__": __init__,
        "__doc__": base.__doc__,
        "__module__": __name__,
        "_stands_for": base,
    }
    return SameInstances(base.__name__, (base,), names)


def _made():
    found = {}
    for module, table in TF_DEFAULTS.items():
        plain = {"layers": layers, "optimizers": optimizers}[module]
        found[module] = {n: with_defaults(getattr(plain, n), d) for n, d in table.items()}
    return found


_CLASSES = _made()
globals().update({name: c for table in _CLASSES.values() for name, c in table.items()})  # pickles


def classes(module):
    """Return the classes of a module below tensorflow.keras that have other defaults."""
    return _CLASSES.get(module, {})


def name_optimizers(again=False):
    """Make the names of optimizers in ``compile`` mean those with the defaults of tensorflow.keras.

    Args:
        again: bool; True puts back what they mean otherwise.
    """
    table = registry.optimizers.table
    for other in classes("optimizers").values():
        old, new = (other, other._stands_for) if again else (other._stands_for, other)
        table.update({name: new for name, found in table.items() if found is old})
