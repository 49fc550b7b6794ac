"""Packages that gpunet can do without: loaded where they are used."""

import importlib

from gpunet.errors import MissingPackageError

__all__ = ["load"]


def load(module, who, package, install=None):
    """Return a module of an optional package.

    Args:
        module: str, its full name.
        who: str, who asks, for the error text.
        package: str, what people call the package.
        install: str, what ``pip install`` gets; the package by default.

    Raises:
        MissingPackageError: the package isn't installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingPackageError(
            f'{who} needs {package}; pip install "{install or package}" mends that ({error})'
        ) from error
