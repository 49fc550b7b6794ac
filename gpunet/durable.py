"""Files that are written whole or not at all."""

import contextlib
import os
import secrets

from gpunet.errors import FileFormatError

__all__ = ["UNFINISHED", "replacing"]

# Names of files that are being written; what a killed process left may be deleted.
UNFINISHED = ".gpunet-*.tmp"


@contextlib.contextmanager
def replacing(target):
    """Write a file beside its place, and move it there once it is complete and on the disk.

    Whatever happens before leaves an old file of that name as it was.

    Args:
        target: str or path-like; a link stays a link.

    Yields:
        Binary file, unbuffered, open for reading and writing.

    Raises:
        OSError: the folder doesn't exist, the name is a folder's, or the disk is full.
        FileFormatError: the name is a device's.
    """
    name = os.path.realpath(os.fspath(target))
    folder = os.path.dirname(name)
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"can't save {name!r}: the folder {folder!r} doesn't exist")
    if os.path.isdir(name):
        raise IsADirectoryError(f"can't save {name!r}: a folder of that name exists")
    if os.path.exists(name) and not os.path.isfile(name):
        raise FileFormatError(f"can't save {name!r}: it is a device, not a file")
    temporary = os.path.join(folder, UNFINISHED.replace("*", secrets.token_hex(8)))
    try:
        with open(temporary, "xb+", buffering=0) as raw:
            yield raw
            os.fsync(raw.fileno())
        if os.path.exists(name):
            with contextlib.suppress(OSError):
                os.chmod(temporary, os.stat(name).st_mode & 0o777)
        os.replace(temporary, name)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_folder(folder)


def _sync_folder(folder):
    """Have the new name on the disk too, where the system can do that."""
    with contextlib.suppress(OSError, AttributeError):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
