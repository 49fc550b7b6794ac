"""A lock that other processes see."""

import os
import time

try:
    import fcntl
except ImportError:  # Windows
    import msvcrt

    fcntl = None

__all__ = ["FileLock"]

_PAUSE = 0.05  # seconds between two looks


class FileLock:
    """Context manager that one thread of one process can be in at a time.

    The system frees it when a process ends, however it ends. Where the file system knows no locks
    (some network drives), it does nothing.

    Args:
        path: str, a file that exists as long as the lock is held or waited for.
    """

    def __init__(self, path):
        self.path = path
        self.file = None

    def __enter__(self):
        while True:
            file = open(self.path, "ab")
            try:
                held = _lock(file)
                if held and _is_at(file, self.path):
                    self.file = file
                    return self
            except BaseException:
                file.close()
                raise
            file.close()  # another holds it, or took the file away when it was done
            if not held:
                time.sleep(_PAUSE)

    def __exit__(self, *_):
        try:
            os.remove(self.path)
        except OSError:
            pass  # Windows keeps files that others have opened
        self.file.close()


def _is_at(file, path):
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def _lock(file):
    """Take the lock of an open file; return False where another holds it."""
    try:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return True  # no locks on this file system
    return True
