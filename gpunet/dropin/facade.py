"""What stands behind the names keras.* and tensorflow.*.

Under ``keras`` lie gpunet's own modules.  Where a script should see something else, as in all
of ``tensorflow``, there are facades: modules that hand on what others have.
"""

import difflib
import importlib
import types

from gpunet.saving.files import KERAS_VERSION

__all__ = ["Facade", "NotGiven", "target_of"]

# What scripts are told they run on. Keras 2.3.1 is the API of `keras`; tf.keras came with 2.4.
_VERSIONS = {"keras": "2.3.1", "tensorflow": KERAS_VERSION, "tensorflow.keras": KERAS_VERSION}

# Names of one thing, and the name under which it is found.
_ALSO = {
    "tensorflow.compat.v2": "tensorflow",
    "tensorflow.compat.v1.": "tensorflow",
    "tensorflow.contrib.keras": "tensorflow.keras",
    "tensorflow.initializers": "tensorflow.keras.initializers",
    "tensorflow.losses": "tensorflow.keras.losses",
    "tensorflow.metrics": "tensorflow.keras.metrics",
    "tensorflow.optimizers": "tensorflow.keras.optimizers",
    "tensorflow.python.keras": "tensorflow.keras",
}


class NotGiven(ModuleNotFoundError):
    """A script imports something of Keras or TensorFlow that gpunet doesn't have."""

    __module__ = "gpunet.dropin"


class Facade(types.ModuleType):
    """A module that hands on what another one has.

    Args:
        name: str, the name that scripts see.
        target: the module that has the names.
        own: dict of names that come before those of the target.
    """

    def __init__(self, name, target, own=()):
        super().__init__(name, target.__doc__)
        vars(self).update(own, __path__=[], _target=target, _own=dict(own))
        if name in _VERSIONS:
            vars(self)["__version__"] = _VERSIONS[name]

    def __getattr__(self, name):
        full = f"{self.__name__}.{name}"
        if name == "__all__":
            return self.__dir__()
        if not name.startswith("_"):
            found = getattr(self._target, name, self)
            if found is not self and not isinstance(found, types.ModuleType):
                return found
            try:
                return importlib.import_module(full)
            except NotGiven as error:
                if error.name != full:
                    raise
        # Without an object Python doesn't add a hint of its own.
        raise AttributeError(_text(full, self.__dir__()), name=full, obj=None)

    def __setattr__(self, name, value):
        # What a script puts into a module is meant for the one that is used.
        local = isinstance(value, types.ModuleType) or name in self._own or name.startswith("__")
        (super().__setattr__ if local else self._target.__setattr__)(name, value)

    def __dir__(self):
        names = {*self._own, *self._target.__all__}
        return sorted(n for n in names if not n.startswith("_"))


def target_of(name):
    """Return the module that stands behind a name.

    Raises:
        NotGiven: there is none.
    """
    for other, plain in _ALSO.items():
        # A dot at the end: what lies below alone.
        if name == other or name.startswith(other.rstrip(".") + "."):
            return importlib.import_module(plain + name[len(other.rstrip(".")) :])
    root, _, below = name.partition(".")
    if root == "tensorflow" and f"{below}.".startswith("keras."):
        return _keras(name, below.partition(".")[2], tensorflow=True)
    if root == "tensorflow":
        return Facade(name, _import("gpunet.dropin.tf", below, name))
    return _keras(name, below, tensorflow=False)


def _keras(name, below, tensorflow):
    from gpunet.dropin import defaults, session

    module = _import("gpunet", below, name)
    own = session.FOR_BACKEND if below.startswith("backend") else {}
    if tensorflow:
        defaults.name_optimizers()
        own = {**own, **defaults.classes(below)}
    if not own and below:
        return module
    return Facade(name, module, own)


def _import(package, below, name):
    """Import a module for a script.

    Args:
        package: str, where to look.
        below: str, the path below that; empty for the package itself.
        name: str, what the script calls it.
    """
    full = f"{package}.{below}" if below else package
    try:
        return importlib.import_module(full)
    except ModuleNotFoundError as error:
        if not f"{full}.".startswith(f"{error.name}."):
            raise  # a package that gpunet itself needs for it
    raise NotGiven(_text(name, _siblings(package, below)), name=name)


def _siblings(package, below):
    try:
        return dir(importlib.import_module(".".join([package, *below.split(".")[:-1]])))
    except ModuleNotFoundError:
        return []


def _text(name, others):
    parent, _, last = name.rpartition(".")
    close = difflib.get_close_matches(last, others, n=3)
    hint = f"; did you mean {' or '.join(f'{parent}.{c}' for c in close)}?" if close else ""
    return f"{name} isn't part of what gpunet gives scripts{hint}"
