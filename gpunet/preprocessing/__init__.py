"""Data made ready for models: `image`, `sequence` and `text`, loaded when first used."""

import importlib
import pkgutil

_MODULES = tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))
# public name -> module that has it
_LAZY = {
    "image_dataset_from_directory": "gpunet.data.folders",
    "text_dataset_from_directory": "gpunet.data.folders",
    "timeseries_dataset_from_array": "gpunet.data.windows",
}

__all__ = [*_MODULES, *_LAZY]


def __getattr__(name):
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *_MODULES, *_LAZY})
