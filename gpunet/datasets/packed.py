"""Files with pickled arrays read without running what they say.

The classic files hold arrays of lists (``imdb.npz``) and dicts of arrays (CIFAR) as pickles, which
can call any function. Here a pickle gets plain numbers, texts, lists and dicts, and stand-ins for
the three names of NumPy that it needs; NumPy itself only sees bytes that were checked.
"""

import contextlib
import os
import pickle
import re
import zipfile

import numpy as np

from gpunet.errors import FileFormatError

__all__ = ["read_npz", "read_pickle", "objects", "shuffled", "split_at"]


def read_npz(path, *names):
    """Return arrays from an ``.npz`` file.

    Args:
        path: str.
        *names: of the arrays.

    Returns:
        Tuple of arrays.

    Raises:
        FileFormatError: a damaged file, or one with something else in it.
    """
    with _understood(path), zipfile.ZipFile(path) as archive:
        return tuple(_read_member(archive, name + ".npy") for name in names)


def _read_member(archive, name):
    with archive.open(name) as file:
        version = np.lib.format.read_magic(file)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        _, _, dtype = read_header(file)
        if dtype.hasobject:
            return _unpickle(file)
    with archive.open(name) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def read_pickle(path):
    """Return what a pickle holds, texts of Python 2 as bytes.

    Args:
        path: str.

    Raises:
        FileFormatError: a damaged file, or one that names anything but arrays.
    """
    with _understood(path), open(path, "rb") as file:
        return _unpickle(file)


@contextlib.contextmanager
def _understood(path):
    """Turn whatever a damaged file leads to into a FileFormatError."""
    try:
        yield
    except (FileNotFoundError, PermissionError):
        raise
    except Exception as error:
        raise FileFormatError(f"{os.fspath(path)!r} can't be read: {error}") from error


# -- pickles ----------------------------------------------------------------------------------


class _Dtype:
    """Stands in for ``numpy.dtype`` in a pickle."""

    def __init__(self, name, *_):
        name = name.decode("ascii") if isinstance(name, bytes) else name
        if not isinstance(name, str) or not re.fullmatch("[<>|=]?([biuf][1248]|O8?|O4)", name):
            raise pickle.UnpicklingError(f"arrays of {name!r} aren't expected")
        self.is_object = "O" in name
        self.name = name

    def __setstate__(self, state):
        order = state[1].decode("ascii") if isinstance(state[1], bytes) else state[1]
        if order in ("<", ">") and not self.is_object:
            self.name = order + self.name.lstrip("<>|=")


class _Array:
    """Stands in for ``numpy.ndarray`` in a pickle."""

    def __setstate__(self, state):
        _, self.shape, self.dtype, self.fortran, self.content = state

    def value(self):
        """Return the array."""
        order = "F" if self.fortran else "C"
        if not self.dtype.is_object:
            flat = np.frombuffer(self.content, self.dtype.name)
            return flat.reshape(self.shape, order=order).copy()
        items = [item.value() if isinstance(item, _Array) else item for item in self.content]
        return objects(items).reshape(self.shape, order=order)


def _reconstruct(*_):
    return _Array()


def _encode(text, encoding="latin1"):
    """Stand in for ``codecs.encode``, by which old protocols write bytes."""
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"encoding {encoding!r} isn't expected")
    return text.encode("latin1")


_STAND_INS = {
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _Array,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("_codecs", "encode"): _encode,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module, name):
        try:
            return _STAND_INS[module, name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"it asks for {module}.{name}, which a data set doesn't need"
            ) from None


def _unpickle(file):
    made = _Unpickler(file, encoding="bytes").load()
    if isinstance(made, dict):
        return {k: v.value() if isinstance(v, _Array) else v for k, v in made.items()}
    return made.value() if isinstance(made, _Array) else made


def objects(items):
    """Return a list as an array of objects, of one axis also where all items have one length."""
    made = np.empty(len(items), object)
    for i, item in enumerate(items):
        made[i] = item
    return made


# -- order ------------------------------------------------------------------------------------


def shuffled(rng, *arrays):
    """Return arrays in a random order, all in the same one.

    Args:
        rng: numpy.random.RandomState, whose orders are those of Keras.
        *arrays: of one length.
    """
    order = np.arange(len(arrays[0]))
    rng.shuffle(order)
    return tuple(array[order] for array in arrays)


def split_at(test_split, x, y):
    """Return ``(x_train, y_train), (x_test, y_test)``.

    Args:
        test_split: float, the part at the end that is for testing.
        x: array.
        y: array.

    Raises:
        ValueError: a split outside of [0, 1).
    """
    if not 0 <= test_split < 1:
        raise ValueError(f"expected test_split from 0 to below 1, got {test_split!r}")
    middle = int(len(x) * (1 - test_split))
    return (x[:middle], y[:middle]), (x[middle:], y[middle:])
