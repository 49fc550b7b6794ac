"""Data made ready for models: `image`, `sequence` and `text`, loaded when first used."""

import importlib
import pkgutil

_MODULES = tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))

__all__ = list(_MODULES)


def __getattr__(name):
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *_MODULES})
