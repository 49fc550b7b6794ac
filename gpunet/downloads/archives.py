"""Archives unpacked without trusting them."""

import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
from pathlib import PurePosixPath, PureWindowsPath

from gpunet.errors import FileFormatError

__all__ = ["extract_archive"]


def extract_archive(path, folder, archive_format="auto"):
    """Unpack a tar or zip archive whole or not at all.

    Args:
        path: str, the archive.
        folder: str, where its members go.
        archive_format: ``'tar'``, ``'zip'``, a list of them, ``'auto'`` for both, None for none.

    Returns:
        bool, whether it was an archive of such a format.

    Raises:
        FileFormatError: a damaged archive, or members that are links, devices or lie outside of
            the folder.
    """
    formats = {"auto": ["tar", "zip"], None: []}.get(_hashable(archive_format), archive_format)
    for kind in [formats] if isinstance(formats, str) else formats:
        if kind not in _FORMATS:
            raise ValueError(f"archive_format: expected 'tar', 'zip' or 'auto', got {kind!r}")
        fits, unpack = _FORMATS[kind]
        if not fits(path):
            continue
        os.makedirs(folder, exist_ok=True)
        # Beside its place: what is cut off half-way leaves no folder that looks complete.
        with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=folder) as temporary:
            try:
                unpack(path, temporary)
            except (tarfile.TarError, zipfile.BadZipFile, EOFError, ValueError) as error:
                raise FileFormatError(f"{path!r}: {error}") from error
            except OSError as error:
                if error.errno is not None:  # the disk's, not the archive's
                    raise
                raise FileFormatError(f"{path!r}: {error}") from error
            _move(temporary, folder)
        return True
    return False


def _hashable(value):
    return value if value is None or isinstance(value, str) else "list"


def _unpack_tar(path, folder):
    with tarfile.open(path) as archive:
        for member in archive:
            if not (member.isfile() or member.isdir()):
                raise ValueError(f"member {member.name!r} is a link or a device; it is refused")
            target = _inside(folder, member.name)
            if member.isdir():
                os.makedirs(target, exist_ok=True)
                continue
            _write(archive.extractfile(member), target)


def _unpack_zip(path, folder):
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            mode = member.external_attr >> 16
            if mode and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or not stat.S_IFMT(mode)):
                raise ValueError(f"member {member.filename!r} is a link or a device; it is refused")
            target = _inside(folder, member.filename)
            if member.is_dir():
                os.makedirs(target, exist_ok=True)
                continue
            try:
                _write(archive.open(member), target)
            except (RuntimeError, NotImplementedError) as error:  # encrypted, unknown compression
                raise ValueError(f"member {member.filename!r}: {error}") from None


_FORMATS = {
    "tar": (tarfile.is_tarfile, _unpack_tar),
    "zip": (zipfile.is_zipfile, _unpack_zip),
}


def _inside(folder, name):
    """Return the path of a member below a folder.

    Raises:
        ValueError: a name that leads elsewhere.
    """
    parts = PurePosixPath(name).parts
    windows = PureWindowsPath(name)
    if (
        name.startswith(("/", "\\"))
        or windows.drive
        or ".." in parts
        or ".." in windows.parts
        or "\0" in name
    ):
        raise ValueError(f"member {name!r} lies outside of the archive's folder; it is refused")
    return os.path.join(folder, *parts)


def _write(source, target):
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with source, open(target, "wb") as file:
        shutil.copyfileobj(source, file, 1 << 20)


def _move(source, folder):
    """Move all that a folder holds into another one, over files that are there."""
    for entry in os.scandir(source):
        target = os.path.join(folder, entry.name)
        if entry.is_dir() and os.path.isdir(target) and not os.path.islink(target):
            _move(entry.path, target)
        else:
            os.replace(entry.path, target)
