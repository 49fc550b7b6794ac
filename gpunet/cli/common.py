"""What several commands share: arguments, files of arrays, printing."""

import json
import os

import numpy as np

from gpunet.durable import replacing
from gpunet.errors import FileFormatError, MissingPackageError

__all__ = ["add_file", "add_json", "print_json", "read_arrays", "write_arrays"]


def add_file(parser, name="file", what="model file (.h5 or .keras)"):
    """Add an argument that names a file."""
    parser.add_argument(name, metavar=name.upper(), help=what)


def add_json(parser):
    """Add ``--json``."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def print_json(value):
    """Print a value as JSON, with what JSON lacks as text."""
    print(json.dumps(value, indent=1, default=str, ensure_ascii=False))


# -- arrays from files ------------------------------------------------------------------------


def read_arrays(path, model):
    """Return what a file holds for a model's inputs: a list of (name or None, array).

    Args:
        path: str, ``.npy``, ``.npz``, ``.csv`` or an image.
        model: Model, whose inputs say how an image is read.
    """
    suffix = os.path.splitext(path)[1].lower()
    try:
        if suffix == ".npy":
            return [(None, np.load(path, allow_pickle=False))]
        if suffix == ".npz":
            with np.load(path, allow_pickle=False) as z:
                return [(name, z[name]) for name in z.files]
        if suffix in (".csv", ".txt"):
            return [(None, _read_csv(path))]
    except ValueError as error:
        raise FileFormatError(f"{path!r}: {error}") from None
    return [(None, _read_image(path, model))]


def _read_csv(path):
    with open(path, encoding="utf8") as file:
        first = file.readline()
    cells = first.strip().split(",")
    try:
        [float(cell) for cell in cells if cell.strip()]
        titles = 0
    except ValueError:
        titles = 1
    return np.loadtxt(path, delimiter=",", skiprows=titles, ndmin=2, dtype="float32")


def _read_image(path, model):
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise MissingPackageError("images need Pillow: pip install 'gpunet[image]'") from None
    shape = tuple(model.inputs[0].shape)
    if len(shape) != 4 or shape[3] not in (1, 3, 4):
        raise ValueError(f"{path!r}: an image doesn't fit the model's input of shape {shape}")
    try:
        with Image.open(path) as image:
            image = image.convert({1: "L", 3: "RGB", 4: "RGBA"}[shape[3]])
            if None not in shape[1:3]:
                image = image.resize((shape[2], shape[1]), Image.Resampling.BILINEAR)
            array = np.asarray(image, "float32")
    except UnidentifiedImageError:
        raise FileFormatError(f"{path!r}: expected .npy, .npz, .csv or an image") from None
    return array.reshape(1, *array.shape[:2], shape[3])


# -- arrays to files --------------------------------------------------------------------------


def write_arrays(path, names, arrays):
    """Write arrays to a ``.npy``, ``.npz`` or ``.csv`` file.

    Raises:
        ValueError: another suffix, or one that can't hold the arrays.
    """
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in (".npy", ".npz", ".csv"):
        raise ValueError(f"expected an output that ends in .npy, .npz or .csv, got {path!r}")
    if suffix != ".npz" and len(arrays) > 1:
        raise ValueError(f"the model has {len(arrays)} outputs: write them to a .npz file")
    if suffix == ".csv" and arrays[0].ndim > 2:
        raise ValueError(f"an output of shape {arrays[0].shape} doesn't fit a .csv file")
    with replacing(path) as file:
        if suffix == ".npy":
            np.save(file, arrays[0])
        elif suffix == ".npz":
            np.savez(file, **dict(zip(names, arrays)))
        else:
            np.savetxt(file, arrays[0], delimiter=",", fmt="%.9g")
