"""Fashion-MNIST: articles of clothing, 28x28 pixels in shades of grey."""

import gzip
import os
import zlib

import numpy as np

from gpunet.datasets.sources import fetch
from gpunet.errors import FileFormatError

__all__ = ["load_data"]


def load_data(cache_dir=None):
    """Load the articles of clothing, fetched on first use.

    Args:
        cache_dir: str or path-like, the cache; ``~/.keras`` by default.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``: uint8 images of shape (60000, 28, 28) and
        (10000, 28, 28), and their classes 0 to 9 as uint8.

    Reference:
        Xiao et al., 2017, arXiv:1708.07747.
    """
    return tuple(_load_part(part, cache_dir) for part in ("train", "t10k"))


def _load_part(part, cache_dir):
    images, labels = (
        _read_idx(
            fetch(
                f"{part}-{kind}-ubyte.gz",
                cache_dir=cache_dir,
                cache_subdir=os.path.join("datasets", "fashion-mnist"),
            )
        )
        for kind in ("images-idx3", "labels-idx1")
    )
    return images, labels


def _read_idx(path):
    """Read an array of bytes in the IDX format: a magic number, the shape, the values."""
    try:
        with gzip.open(path, "rb") as file:
            content = file.read()
        rank = content[3]
        shape = np.frombuffer(content, ">u4", rank, 4)
        return np.frombuffer(content, "uint8", offset=4 + 4 * rank).reshape(shape).copy()
    except (OSError, EOFError, zlib.error, IndexError, ValueError) as error:
        raise FileFormatError(
            f"{path!r} is damaged: {error}. Remove it, then it is fetched anew."
        ) from error
