"""The cache of files from the network: ``~/.keras``, as Keras users have it."""

import hashlib
import http.client
import os
import re
import sys
import tempfile
import urllib.parse
import warnings
from pathlib import Path

from gpunet.downloads.archives import extract_archive
from gpunet.downloads.fetching import fetch
from gpunet.downloads.locks import FileLock
from gpunet.errors import DownloadError, FileFormatError

__all__ = ["get_file", "cache_folder"]

# digits of a checksum -> its kind
_KINDS = {32: "md5", 64: "sha256"}


def get_file(
    fname=None,
    origin=None,
    untar=False,
    md5_hash=None,
    file_hash=None,
    cache_subdir="datasets",
    hash_algorithm="auto",
    extract=False,
    archive_format="auto",
    cache_dir=None,
):
    """Return the path of a file, which is downloaded unless the cache has it.

    Args:
        fname: str or path-like, its name in the cache, or an absolute path; the last part of the
            URL by default.
        origin: str, the URL.
        untar: bool, unpack it: ``fname`` is then the folder that ``fname.tar.gz`` holds.
        md5_hash: str, older spelling of ``file_hash``.
        file_hash: str, the MD5 or SHA-256 checksum in hexadecimal digits.
        cache_subdir: str, folder within the cache, or an absolute path.
        hash_algorithm: ``'md5'``, ``'sha256'``, or ``'auto'``: by the number of digits.
        extract: bool, unpack the archive beside itself.
        archive_format: ``'tar'``, ``'zip'``, a list of them, ``'auto'`` for both, None for none.
        cache_dir: str or path-like, the cache; by default the environment variable KERAS_HOME,
            then ``~/.keras``.

    Returns:
        str, path of the file, or of the folder with ``untar``.

    Raises:
        DownloadError: the file can't be had, or isn't the one that the checksum is of. The text
            says where to put it by hand.
        FileFormatError: an archive that is damaged, or wants to write elsewhere.
    """
    if origin is None:
        raise ValueError("get_file: expected a URL as origin, got None")
    name = os.fspath(fname) if fname else _name_in(origin)
    checksum = _Checksum(file_hash or md5_hash, hash_algorithm if file_hash else "auto")
    if untar:
        name = name.removesuffix(".tar.gz")
    archive = name + ".tar.gz" if untar else name
    folder = _folder(cache_dir, cache_subdir, name, archive)
    path, target = os.path.join(folder, name), os.path.join(folder, archive)
    if untar and os.path.exists(path) and not os.path.exists(target):
        return path
    fresh = False
    if not _is_there(target, checksum):
        with FileLock(target + ".lock"):
            # Another process may have been faster.
            fresh = not _is_there(target, checksum, quiet=True)
            if fresh:
                _download(origin, target, checksum)
    if untar and (fresh or not os.path.exists(path)) or extract:
        with FileLock(target + ".lock"):
            extract_archive(target, os.path.dirname(target), "tar" if untar else archive_format)
    if not os.path.exists(path):
        raise FileFormatError(f"{target!r} holds no {os.path.basename(name)!r}")
    return path


def cache_folder(cache_dir=None):
    """Return the path of the cache: what is given, KERAS_HOME, or ``~/.keras``."""
    chosen = cache_dir or os.environ.get("KERAS_HOME") or os.path.join("~", ".keras")
    return os.path.expanduser(os.fspath(chosen))


def _name_in(origin):
    name = os.path.basename(urllib.parse.urlsplit(origin).path)
    if name in ("", ".", ".."):
        raise ValueError(f"get_file: {origin!r} has no name of a file in it; give fname")
    return name


def _folder(cache_dir, cache_subdir, *names):
    """Return the folder to use: in the cache, or elsewhere if that can't be written to."""
    folder = os.path.join(cache_folder(cache_dir), os.fspath(cache_subdir))
    if any(os.path.exists(os.path.join(folder, name)) for name in names):
        return folder
    if _can_write(os.path.dirname(os.path.join(folder, names[0]))):
        return folder
    spare = os.path.join(tempfile.gettempdir(), ".keras", os.fspath(cache_subdir))
    warnings.warn(
        f"can't write to {folder!r}; files are kept in {spare!r} instead. KERAS_HOME or "
        "cache_dir=... choose another folder.",
        stacklevel=3,
    )
    os.makedirs(os.path.dirname(os.path.join(spare, names[0])), exist_ok=True)
    return spare


def _can_write(folder):
    try:
        os.makedirs(folder, exist_ok=True)
    except (PermissionError, FileExistsError, NotADirectoryError):
        return False
    return os.access(folder, os.W_OK)


def _is_there(path, checksum, quiet=False):
    if not os.path.exists(path):
        return False
    if checksum.fits(path):
        return True
    if not quiet:
        _say(f"{path!r} isn't the file wanted (its {checksum.kind} differs); it is fetched anew")
    return False


def _download(origin, target, checksum):
    """Fetch a file; put it in its place when it is whole."""
    part = target + ".part"
    _say(f"Downloading data from {origin}")
    try:
        resumed = fetch(origin, part, trusted=checksum.wanted is not None)
        if resumed and not checksum.fits(part):
            os.remove(part)  # the rest may be of another version of the file
            fetch(origin, part)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise DownloadError(
            f"can't fetch {origin}: {_reason(error)}. If you have the file, put it there: "
            f"{target}{checksum}"
        ) from error
    found = checksum.of(part)
    if checksum.wanted is not None and found != checksum.wanted:
        os.remove(part)
        raise DownloadError(
            f"{origin}: incomplete or corrupted file: expected {checksum.kind} {checksum.wanted}, "
            f"got {found}. If you have the right file, put it there: {target}"
        )
    os.replace(part, target)


def _reason(error):
    reason = getattr(error, "reason", None) or error
    code = getattr(error, "code", None)
    text = str(reason) or type(error).__name__
    return f"{code} {text}" if code is not None else text


class _Checksum:
    """What a file's checksum should be, if anything is known of it.

    Args:
        wanted: hexadecimal digits or None.
        kind: ``'md5'``, ``'sha256'`` or ``'auto'``.
    """

    def __init__(self, wanted, kind):
        if kind not in ("auto", *_KINDS.values()):
            raise ValueError(
                f"get_file: expected hash_algorithm 'auto', 'md5' or 'sha256', got {kind!r}"
            )
        self.wanted, self.kind = None, "md5"
        if wanted is None:
            return
        self.wanted = str(wanted).lower()
        self.kind = _KINDS.get(len(self.wanted)) if kind == "auto" else kind
        fits = self.kind is not None and _KINDS.get(len(self.wanted)) == self.kind
        if not fits or not re.fullmatch("[0-9a-f]+", self.wanted):
            digits = " or ".join(f"{n} ({k})" for n, k in _KINDS.items())
            raise ValueError(f"get_file: expected {digits} hexadecimal digits, got {wanted!r}")

    def of(self, path):
        """Return the checksum of a file; None if none is wanted."""
        if self.wanted is None:
            return None
        digest = hashlib.new(self.kind, usedforsecurity=False)
        with Path(path).open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        return digest.hexdigest()

    def fits(self, path):
        """Return whether a file is the one wanted."""
        return self.of(path) == self.wanted

    def __str__(self):
        return f" ({self.kind} {self.wanted})" if self.wanted is not None else ""


def _say(text):
    print(text, file=sys.stdout, flush=True)
