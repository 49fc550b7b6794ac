"""gpunet in the place of keras and tensorflow, for programs that import those.

``python -m gpunet run script.py`` does this for a script.  A notebook or a ``conftest.py`` says

>>> from gpunet import dropin
>>> dropin.install()
>>> from keras.layers.core import Dense

before its first import of keras or tensorflow.
"""

import importlib
import importlib.abc
import importlib.machinery
import os
import sys

from gpunet.dropin.facade import Facade, NotGiven, target_of
from gpunet.errors import GpunetError

__all__ = ["install", "uninstall", "stand_in", "Facade", "NotGiven", "DropinError"]

# A folder with a keras.py and a tensorflow.py. Processes that a script starts take over its
# sys.path, but not what is in its memory.
_SHIMS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "path")
_ROOTS = ("keras", "tensorflow")


class DropinError(GpunetError, ImportError):
    """A real Keras or TensorFlow is in use already."""


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds keras, tensorflow and all below them in gpunet, before anything else is asked."""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in _ROOTS:
            return None
        spec = importlib.machinery.ModuleSpec(name, self, is_package=True)
        spec.loader_state = target_of(name)
        return spec

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        # The import system takes what it then finds under the name.
        sys.modules[module.__name__] = module.__spec__.loader_state


def install():
    """Make ``import keras`` and ``import tensorflow`` give gpunet, here and in child processes.

    Raises:
        DropinError: one of them has been imported already, and it is a real one.
    """
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    for name in _ROOTS:
        file = getattr(sys.modules.get(name), "__file__", None)
        if name in sys.modules and os.path.dirname(file or "") != _SHIMS:
            raise DropinError(
                f"{name} has been imported already, from {file}; gpunet.dropin.install() has to "
                f"come before the first import of it"
            )
    sys.meta_path.insert(0, _Finder())
    if _SHIMS not in sys.path:
        sys.path.insert(1, _SHIMS)
    home = os.path.dirname(os.path.dirname(os.path.dirname(_SHIMS)))
    if home not in sys.path:
        sys.path.append(home)


def uninstall():
    """Undo `install`; what was imported under those names stays with those who have it."""
    sys.meta_path[:] = [f for f in sys.meta_path if not isinstance(f, _Finder)]
    sys.path[:] = [p for p in sys.path if p != _SHIMS]
    defaults = sys.modules.get("gpunet.dropin.defaults")
    if defaults is not None:
        defaults.name_optimizers(again=True)
    for name in list(sys.modules):
        if name.partition(".")[0] in _ROOTS:
            del sys.modules[name]


def stand_in(name):
    """Put gpunet's module under a name that is being imported from elsewhere."""
    sys.modules[name] = target_of(name)
