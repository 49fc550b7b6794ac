"""HDF5 as Keras uses it: attributes of text, lists of names, groups of weights."""

import contextlib
import os
import tempfile

import numpy as np

from gpunet.errors import FileFormatError

__all__ = ["open_for_reading", "replace_file", "read_text", "read_names", "write_names"]

# HDF5 keeps attributes of at most 64 KB in an object's header.
_MAX_ATTRIBUTE = 64512


def open_for_reading(path):
    """Open an HDF5 file.

    Args:
        path: str or path-like.

    Raises:
        FileNotFoundError, FileFormatError: no such file, or none that HDF5 can read.
    """
    import h5py

    name = os.fspath(path)
    if os.path.isdir(name):
        raise FileFormatError(
            f"{name!r} is a folder (a TensorFlow SavedModel?). gpunet reads HDF5 files: in Keras, "
            "save the model with model.save('model.h5')"
        )
    if not os.path.exists(name):
        raise FileNotFoundError(f"no such file: {name!r}")
    try:
        return h5py.File(name, "r", locking=False)
    except OSError as error:
        raise FileFormatError(f"{name!r} is no HDF5 file, or it is damaged: {error}") from None


@contextlib.contextmanager
def replace_file(path):
    """Write an HDF5 file whole or not at all.

    The file is written beside its place and moved there when it is complete and on the disk;
    whatever happens before leaves an old file of that name as it was.

    Args:
        path: str or path-like.

    Yields:
        h5py.File, open for writing.
    """
    import h5py

    name = os.fspath(path)
    folder = os.path.dirname(os.path.abspath(name))
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"can't save {name!r}: the folder {folder!r} doesn't exist")
    if os.path.isdir(name):
        raise IsADirectoryError(f"can't save {name!r}: a folder of that name exists")
    handle, temporary = tempfile.mkstemp(prefix=".gpunet-", suffix=".h5", dir=folder)
    os.close(handle)
    try:
        with h5py.File(temporary, "w") as file:
            yield file
        with open(temporary, "rb+") as written:
            os.fsync(written.fileno())
        _keep_mode(temporary, name)
        os.replace(temporary, name)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _keep_mode(temporary, name):
    """Give the new file the access rights that an ordinary new file, or the old one, has."""
    with contextlib.suppress(OSError):
        if os.path.exists(name):
            mode = os.stat(name).st_mode & 0o777
        else:
            mask = os.umask(0)
            os.umask(mask)
            mode = 0o666 & ~mask
        os.chmod(temporary, mode)


def read_text(group, name, default=None):
    """Return an attribute that holds text, whether as bytes or as str."""
    value = group.attrs.get(name, default)
    if isinstance(value, np.ndarray) and value.shape == ():
        value = value.item()
    return value.decode("utf-8") if isinstance(value, bytes) else value


def read_names(group, name):
    """Return an attribute that holds a list of names; long lists are split over several.

    Raises:
        FileFormatError: there is no such attribute.
    """
    if name in group.attrs:
        parts = [group.attrs[name]]
    else:
        parts = []
        while f"{name}{len(parts)}" in group.attrs:
            parts.append(group.attrs[f"{name}{len(parts)}"])
        if not parts:
            raise FileFormatError(f"group {group.name!r} has no attribute {name!r}")
    return [n.decode("utf-8") if isinstance(n, bytes) else str(n) for part in parts for n in part]


def write_names(group, name, names):
    """Write a list of names as an attribute, split over several if it is long."""
    encoded = [n.encode("utf-8") for n in names]
    longest = max(map(len, encoded), default=1) or 1
    fits = max(1, _MAX_ATTRIBUTE // longest)
    if len(encoded) <= fits:
        group.attrs[name] = np.array(encoded, dtype=f"S{longest}") if encoded else np.zeros(0)
        return
    for i, start in enumerate(range(0, len(encoded), fits)):
        group.attrs[f"{name}{i}"] = np.array(encoded[start : start + fits], dtype=f"S{longest}")
