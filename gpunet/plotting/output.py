"""Pictures in files: whole or not at all."""

import os

from gpunet.durable import replacing

__all__ = ["write_whole", "kind_of"]


def kind_of(path, kinds, who):
    """Return what kind of picture a file name asks for; ``'png'`` without a suffix.

    Args:
        path: str or path-like.
        kinds: the kinds that there are.
        who: str, who asks, for the error text.

    Raises:
        ValueError: none of them.
    """
    kind = os.path.splitext(os.fspath(path))[1].lstrip(".").lower() or "png"
    if kind not in kinds:
        raise ValueError(f"{who}: expected a name that ends in {', '.join(kinds)}, got {path!r}")
    return kind


def write_whole(path, data):
    """Write bytes beside a file's place and move them there when they are complete.

    Args:
        path: str or path-like.
        data: bytes.

    Raises:
        OSError: it can't be written; an old file of that name is as it was.
    """
    with replacing(path) as file:
        file.write(data)
