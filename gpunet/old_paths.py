"""Old import paths: modules that earlier versions of Keras had elsewhere.

`OLD_PATHS` is the whole of it.  A finder at the very end of ``sys.meta_path`` makes such a module
when it is asked for; nothing is made at import.
"""

import importlib
import importlib.abc
import importlib.machinery
import sys
import types

__all__ = ["OLD_PATHS", "OldPathFinder", "lazy_modules"]

# path below gpunet -> the modules below gpunet that have its names today
OLD_PATHS = {
    "backend.common": "backend",
    "backend.tensorflow_backend": "backend",
    "callbacks.callbacks": "callbacks",
    "engine": "layers models",
    "engine.base_layer": "layers graph",
    "engine.functional": "models",
    "engine.input_layer": "layers",
    "engine.network": "models",
    "engine.saving": "saving models",
    "engine.sequential": "models",
    "engine.topology": "layers models graph utils",
    "engine.training": "models",
    "layers.experimental": "layers",
    "layers.experimental.preprocessing": "layers",
    "legacy": "layers",
    "legacy.interfaces": "old_interfaces",
    "legacy.layers": "layers",
    "objectives": "losses",
    "optimizers.experimental": "optimizers",
    "optimizers.legacy": "optimizers",
    "utils.data_utils": "utils",
    "utils.generic_utils": "utils",
    "utils.io_utils": "utils",
    "utils.layer_utils": "utils",
    "utils.np_utils": "utils",
    "utils.vis_utils": "utils",
}


class _OldModule(types.ModuleType):
    """A module that has the names of others."""

    def __init__(self, name, sources):
        super().__init__(name, f"Old path of what {' and '.join(sources)} have.")
        self.__dict__["_sources"] = sources

    def __getattr__(self, name):
        if not name.startswith("__"):
            for source in self._sources:
                module = importlib.import_module(source)
                if hasattr(module, name):
                    return getattr(module, name)
        elif name == "__all__":
            modules = map(importlib.import_module, self._sources)
            return list(dict.fromkeys(n for m in modules for n in m.__all__))
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")

    def __dir__(self):
        return sorted({*vars(self), *self.__all__})


class OldPathFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the modules of `OLD_PATHS` below a package."""

    def find_spec(self, name, path=None, target=None):
        root, _, rest = name.partition(".")
        if root != "gpunet" or rest not in OLD_PATHS:
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec):
        sources = OLD_PATHS[spec.name.partition(".")[2]].split()
        return _OldModule(spec.name, [f"gpunet.{source}" for source in sources])

    def exec_module(self, module):
        pass


def lazy_modules(package, names=()):
    """Return a module's ``__getattr__`` that imports submodules when they are first used.

    Args:
        package: str, the package's name.
        names: names of submodules, besides those of its old paths.
    """
    prefix = package.partition(".")[2]
    start = f"{prefix}." if prefix else ""
    old = {p[len(start) :] for p in OLD_PATHS if p.startswith(start)}
    known = {*names, *(p for p in old if "." not in p)}

    def __getattr__(name):
        if name in known:
            full = f"{package}.{name}"
            try:
                return importlib.import_module(full)
            except ModuleNotFoundError as error:
                if error.name != full:
                    raise
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return __getattr__


if not any(isinstance(finder, OldPathFinder) for finder in sys.meta_path):
    sys.meta_path.append(OldPathFinder())
