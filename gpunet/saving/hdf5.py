"""HDF5 as Keras uses it: attributes of text, lists of names, groups of weights.

h5py is imported only where a file is opened: programs that need no file don't wait for it.
"""

import contextlib
import io
import mmap
import os
import struct
from contextvars import ContextVar

import numpy as np

from gpunet.durable import replacing
from gpunet.errors import FileFormatError
from gpunet.saving.texts import Image, StreamBytes

__all__ = [
    "open_for_reading",
    "replace_file",
    "name_of",
    "member",
    "dataset",
    "has_member",
    "has_attribute",
    "read_array",
    "read_text",
    "read_names",
    "write_names",
]

# HDF5 keeps attributes of at most 64 KB in an object's header.
_MAX_ATTRIBUTE = 64512

# What h5py raises where the bytes of a file make no sense.
_DAMAGE = (OSError, KeyError, RuntimeError, ValueError, TypeError, OverflowError, AttributeError)


def name_of(source):
    """Return what error texts call a file: its path, quoted, or the kind of object."""
    if _is_group(source):
        return repr(source.file.filename)
    if _is_stream(source):
        return f"the {type(source).__name__}"
    return repr(_path(source))


def _path(source):
    try:
        return os.fsdecode(os.fspath(source))
    except TypeError:
        raise TypeError(
            f"expected a path, an h5py.File or a binary file object, got {type(source).__name__}"
        ) from None


def _is_group(source):
    return hasattr(source, "attrs") and hasattr(source, "require_group")


def _is_stream(source):
    return hasattr(source, "seek") and (hasattr(source, "read") or hasattr(source, "write"))


# -- files ------------------------------------------------------------------------------------


def open_for_reading(source):
    """Return an open HDF5 file, to be used as a context.

    Args:
        source: str or path-like, an h5py group (which stays open afterwards), or a binary
            file object.

    Raises:
        FileNotFoundError, FileFormatError: no such file, or none that HDF5 can read.
    """
    import h5py

    if _is_group(source):
        return _watched(source)
    if not _is_stream(source):
        source = _path(source)
        _check_readable(source)
    try:
        with contextlib.ExitStack() as stack:
            data = stack.enter_context(_bytes_of(source))
            _check_heaps(data)
            file = stack.enter_context(_open(h5py, source))
            stack.enter_context(_kept_image(file, data))
            return _Opened(file, stack.pop_all())
    except (OSError, RuntimeError, ValueError) as error:
        if "lock" in str(error).lower():
            raise FileFormatError(
                f"HDF5 can't lock {name_of(source)}; where a drive has no locks, set the "
                f"environment variable HDF5_USE_FILE_LOCKING=FALSE ({error})"
            ) from None
        raise FileFormatError(
            f"{name_of(source)} is no HDF5 file, or it is damaged{_instead(source)}: {error}"
        ) from None


def _open(h5py, source):
    if not isinstance(source, str):
        return h5py.File(source, "r")
    try:
        return h5py.File(source, "r", locking=False)  # network drives often have no locks
    except OSError as error:
        if "locking flag" not in str(error):
            raise
        return h5py.File(source, "r")  # this program has it open, with locks


def _check_readable(name):
    if os.path.isdir(name):
        kind = "a TensorFlow SavedModel" if "saved_model.pb" in os.listdir(name) else "a folder"
        raise FileFormatError(
            f"{name!r} is {kind}; gpunet reads HDF5 files. In Keras, save the model by "
            "model.save('model.h5')"
        )
    if not os.path.exists(name):
        if os.path.exists(name + ".index"):
            raise FileFormatError(
                f"{name!r} is a TensorFlow checkpoint; gpunet reads HDF5 files. In Keras, save "
                "the weights by model.save_weights('weights.h5')"
            )
        raise FileNotFoundError(f"no such file: {name!r}")


class _Opened:
    """An open file and what goes with it, to be used as a context."""

    def __init__(self, file, stack):
        self._file, self._stack = file, stack

    def __enter__(self):
        return self._file

    def __exit__(self, *error):
        self._stack.close()


# Number of an open file in HDF5 -> Image of its bytes, from which texts are read.
_images = ContextVar("gpunet_images", default={})  # noqa: B039 - it is replaced, never written to


@contextlib.contextmanager
def _kept_image(file, data):
    """Let texts be read from the bytes of an open file.

    Not for a file that this program has open for writing: what it wrote last may not be in any
    bytes yet, and isn't hostile.
    """
    import h5py

    if data is None or file.mode != "r":
        yield
        return
    number = h5py.h5o.get_info(file.id).fileno
    token = _images.set({**_images.get(), number: Image(data)})
    try:
        yield
    finally:
        _images.reset(token)


@contextlib.contextmanager
def _watched(group):
    """Give back a group that somebody else has opened."""
    file = group.file
    on_disk = file.driver in ("sec2", "stdio") and os.path.isfile(file.filename)
    with contextlib.ExitStack() as stack:
        if file.mode == "r":
            image = None if on_disk else io.BytesIO(file.id.get_file_image())
            data = stack.enter_context(_bytes_of(file.filename if on_disk else image))
            stack.enter_context(_kept_image(file, data))
        yield group


@contextlib.contextmanager
def _bytes_of(source):
    """Give the bytes of a file, without reading what isn't used; None if it is empty."""
    if isinstance(source, (str, bytes)):
        with open(source, "rb") as file:
            if not os.fstat(file.fileno()).st_size:
                yield None
                return
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                yield data
    elif hasattr(source, "getvalue"):
        yield source.getvalue() or None
    else:
        yield StreamBytes(source) if hasattr(source, "read") else None


def _check_heaps(data):
    """Raise a ValueError for bytes of a file that would make HDF5 crash or read for ever.

    Texts of variable length lie in heaps, one after the other with their sizes in front.  HDF5
    believes the sizes: at 0 it never comes to the end, and a large one leads out of its memory.
    """
    if data is None:
        return
    steps = len(data) // 16  # more than all heaps of a sound file have
    start = data.find(b"GCOL\x01")
    while 0 <= start <= len(data) - 16:
        (total,) = struct.unpack("<Q", data[start + 8 : start + 16])
        place, end = start + 16, start + total
        while place + 16 <= end <= len(data):  # HDF5 itself refuses longer ones
            number, _, _, size = struct.unpack("<HHIQ", data[place : place + 16])
            size = 16 + (size + 7) // 8 * 8 if number else size
            steps -= 1
            if not 0 < size <= end - place or steps < 0:
                raise ValueError(f"the heap of texts at byte {start} is damaged")
            place += size
        start = data.find(b"GCOL\x01", start + 1)


def _instead(source):
    """Return what a file seems to be that isn't HDF5, for error texts."""
    start = b""
    if isinstance(source, str):
        with contextlib.suppress(OSError), open(source, "rb") as file:
            start = file.read(64)
            if not start:
                return " (it is empty)"
    if start.startswith(b"PK"):
        return " (a .keras archive? `gpunet convert` writes it as .h5)"
    if start.startswith(b"version https://git-lfs"):
        return " (a Git LFS pointer; `git lfs pull` fetches the file itself)"
    return ""


@contextlib.contextmanager
def replace_file(target):
    """Write an HDF5 file whole or not at all.

    The file is written beside its place and moved there when it is complete and on the disk;
    whatever happens before leaves an old file of that name as it was.  An h5py group or a
    file object as target is written into as it is.

    Args:
        target: str or path-like, an h5py group, or a binary file object.

    Yields:
        h5py.File (or the group), open for writing.
    """
    import h5py

    if _is_group(target):
        yield target
        return
    if _is_stream(target):
        with h5py.File(target, "w") as file:
            yield file
        return
    with replacing(_path(target)) as raw, h5py.File(_Sink(raw), "w") as file:
        yield file


class _Sink:
    """A file for h5py to write to; after an error, such as a full disk, it takes all and drops it.

    HDF5 tries for ever to write what it still holds, and crashes at the end of the program if
    it can't.
    """

    def __init__(self, raw):
        self._raw = raw
        self._failed = False

    def __getattr__(self, name):
        return getattr(self._raw, name)

    def write(self, data):
        return self._try(self._write_all, data, len(data))

    def truncate(self, size=None):
        return self._try(self._raw.truncate, size, size)

    def flush(self):
        """Do nothing: the file has no buffer."""

    def _write_all(self, data):
        data = memoryview(data)
        done = 0
        while done < len(data):
            done += self._raw.write(data[done:])
        return done

    def _try(self, action, argument, result):
        if self._failed:
            return result
        try:
            return action(argument)
        except BaseException:
            self._failed = True
            raise


# -- what is in them --------------------------------------------------------------------------


def member(group, name):
    """Return a group or dataset that lies inside a group, under a name that may hold ``/``.

    Raises:
        FileFormatError: there is none, or a link that leads elsewhere stands in its place.
    """
    import h5py

    found = group
    for part in filter(None, name.split("/")):
        who = f"{name!r} in group {group.name!r}"
        try:
            link = found.get(part, getlink=True) if isinstance(found, h5py.Group) else None
            if link is not None and not isinstance(link, h5py.HardLink):
                raise FileFormatError(f"{who} is a link to another place, which isn't followed")
            inner = None if link is None else found[part]
        except FileFormatError:
            raise
        except _DAMAGE as error:
            raise FileFormatError(f"{who} is damaged: {error}") from None
        if inner is None:
            raise FileFormatError(f"{who} is missing")
        found = inner
    return found


def dataset(group, name):
    """Return a dataset of numbers that lies inside a group.

    Raises:
        FileFormatError: there is none, or something else.
    """
    import h5py

    found = member(group, name)
    try:
        if isinstance(found, h5py.Dataset) and found.shape is not None:
            if found.dtype.kind in "fiub":
                return found
    except _DAMAGE as error:
        raise FileFormatError(f"dataset {found.name!r} is damaged: {error}") from None
    raise FileFormatError(f"{name!r} in group {group.name!r} isn't an array of numbers")


def has_member(group, name):
    """Return whether a group holds something under a name."""
    try:
        return name in group
    except _DAMAGE as error:
        raise FileFormatError(f"group {group.name!r} is damaged: {error}") from None


def read_array(dataset):
    """Return the values of a dataset.

    Raises:
        FileFormatError: damaged, or data that lie outside of the file.
    """
    try:
        if dataset.external or dataset.is_virtual:
            raise FileFormatError(f"the data of {dataset.name!r} lie in another file")
        return dataset[()]
    except FileFormatError:
        raise
    except _DAMAGE as error:
        raise FileFormatError(f"dataset {dataset.name!r} is damaged: {error}") from None


def _attribute(group, name):
    """Return an attribute's value: text, number or an array of them; None if there is none."""
    import h5py

    try:
        if name not in group.attrs:
            return None
        attribute = h5py.h5a.open(group.id, name.encode())
        kind = attribute.get_type()
        if kind.get_class() == h5py.h5t.STRING and kind.is_variable_str():
            info = h5py.h5o.get_info(group.id)
            image = _images.get().get(info.fileno)
            if image is not None:
                texts = image.texts(info.addr, name)
                return texts[0] if attribute.shape == () else np.array(texts, dtype=object)
        elif kind.get_class() not in (h5py.h5t.STRING, h5py.h5t.INTEGER, h5py.h5t.FLOAT):
            raise ValueError("it is neither text nor a number")
        return group.attrs[name]
    except _DAMAGE as error:
        raise _bad_attribute(group, name, error) from None


def _bad_attribute(group, name, what):
    return FileFormatError(f"attribute {name!r} of {group.name!r} is damaged: {what}")


def has_attribute(group, name):
    """Return whether a group has an attribute, perhaps one that is split over several."""
    return any(_attribute(group, n) is not None for n in (name, f"{name}0"))


def read_text(group, name):
    """Return an attribute that holds text, whether as bytes or as str; None if there is none."""
    value = _attribute(group, name)
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
    return None if value is None else _text(group, name, value)


def _text(group, name, value):
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise _bad_attribute(group, name, error) from None
    if not isinstance(value, str):
        raise _bad_attribute(group, name, f"expected text, got {type(value).__name__}")
    return str(value)


def read_names(group, name):
    """Return an attribute that holds a list of names; long lists are split over several.

    Raises:
        FileFormatError: there is no such attribute, or it holds something else.
    """
    parts = [_attribute(group, name)]
    if parts[0] is None:
        while parts[-1] is not None or len(parts) == 1:
            parts.append(_attribute(group, f"{name}{len(parts) - 1}"))
        parts = parts[1:-1]
        if not parts:
            raise FileFormatError(f"group {group.name!r} has no attribute {name!r}")
    found = []
    for part in parts:
        if not isinstance(part, np.ndarray) or part.ndim != 1:
            raise _bad_attribute(group, name, "expected a list of names")
        found += [_text(group, name, value) for value in part.tolist()]
    return found


def write_names(group, name, names):
    """Write a list of names as an attribute, split over several if it is long.

    Raises:
        ValueError: a name that is longer than an attribute can be.
    """
    encoded = [n.encode("utf-8") for n in names]
    longest = max(map(len, encoded), default=1) or 1
    if longest > _MAX_ATTRIBUTE:
        raise ValueError(f"a name is too long for a file: {max(names, key=len)[:40]!r}...")
    fits = _MAX_ATTRIBUTE // longest
    if len(encoded) <= fits:
        group.attrs[name] = np.array(encoded, dtype=f"S{longest}") if encoded else np.zeros(0)
        return
    for i, start in enumerate(range(0, len(encoded), fits)):
        group.attrs[f"{name}{i}"] = np.array(encoded[start : start + fits], dtype=f"S{longest}")
