"""Finding the CUDA sources, and making one text of a source and its headers."""

import functools
import re
from pathlib import Path

from gpunet.errors import KernelSourceError

__all__ = ["expanded", "folder", "source"]

_PACKAGE = Path(__file__).resolve().parents[1]
# A wheel carries the sources inside the package; in a checkout they lie beside it.
_PLACES = (_PACKAGE / "_kernels", _PACKAGE.parent / "kernels")

_INCLUDE = re.compile(r'^[ \t]*#include[ \t]+"([\w.]+)"[^\n]*$', re.MULTILINE)


def folder():
    """Return the path of the folder with the sources.

    Raises:
        KernelSourceError: it isn't there.
    """
    for place in _PLACES:
        if (place / "common.cuh").is_file():
            return place
    raise KernelSourceError(
        f"the CUDA sources are missing, looked in {' and '.join(map(str, _PLACES))}; "
        "install gpunet again, or switch kernels off with gpunet.config.set_fused(False)"
    )


@functools.cache
def source(family):
    """Return a source with the headers that it includes pasted in, each once.

    Caches of compiled kernels are keyed by this text; they wouldn't notice a change in a header
    that is only included.

    Args:
        family: str, name of a file in the folder without its ``.cu``.

    Raises:
        KernelSourceError: no such file, or one that it includes is missing.
    """
    return _pasted(folder() / f"{family}.cu", set())


@functools.cache
def expanded(text):
    """Return a text with the headers that it includes pasted in; see `source`."""
    return _with_headers(text, folder(), set())


def _pasted(path, done):
    if path in done:
        return ""
    done.add(path)
    try:
        text = path.read_text(encoding="utf8")
    except FileNotFoundError:
        raise KernelSourceError(
            f"the CUDA source {path.name} is missing in {path.parent}"
        ) from None
    return _with_headers(text, path.parent, done)


def _with_headers(text, place, done):
    return _INCLUDE.sub(lambda found: _pasted(place / found[1], done), text)
