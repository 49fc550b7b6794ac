"""The files of CIFAR-10 and CIFAR-100."""

import os

import numpy as np

from gpunet import config
from gpunet.datasets.packed import read_pickle
from gpunet.errors import FileFormatError

__all__ = ["load_batch", "load_batches"]


def load_batch(fpath, label_key="labels"):
    """Read one file.

    Args:
        fpath: str.
        label_key: str, which labels.

    Returns:
        ``(images, labels)``: uint8 array of shape (images, 3, 32, 32) and a list of ints.

    Raises:
        FileFormatError: the file isn't one of CIFAR's, or is damaged.
    """
    content = read_pickle(fpath)
    try:
        data, labels = content[b"data"], content[label_key.encode()]
        return np.asarray(data, "uint8").reshape(len(labels), 3, 32, 32), labels
    except (KeyError, TypeError, ValueError) as error:
        raise FileFormatError(f"{os.fspath(fpath)!r} is no file of CIFAR: {error}") from error


def load_batches(folder, names, label_key):
    """Read several files into one array of images and one of labels.

    Args:
        folder: str.
        names: list of str.
        label_key: str, which labels.

    Returns:
        ``(x, y)``: uint8 images in the order of axes that `config.image_data_format` says, and
        uint8 labels of shape (images, 1).
    """
    parts = [load_batch(os.path.join(folder, name), label_key) for name in names]
    x = np.concatenate([images for images, _ in parts])
    y = np.concatenate([np.asarray(labels, "uint8") for _, labels in parts])
    if config.image_data_format() == "channels_last":
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    return x, y.reshape(-1, 1)
