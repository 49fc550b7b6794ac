"""One file from one URL, in as many tries as it takes."""

import contextlib
import http.client
import json
import os
import re
import sys
import time
import urllib.error
import urllib.request

__all__ = ["fetch"]

_SCHEMES = ("http", "https", "ftp", "file")
_TIMEOUT = 30  # seconds without a byte
_TRIES = 4  # without a byte more than before
_PAUSE = 0.5  # seconds before the second try, doubled for each further one
_BLOCK = 1 << 18

# What a connection that breaks down raises.
_BROKEN = (ConnectionError, TimeoutError, http.client.HTTPException, urllib.error.URLError)


class _Short(ConnectionError):
    """The connection ended before the file did."""


def fetch(url, part, trusted=False):
    """Fetch a URL into a file; go on where an earlier try was cut off.

    Beside the file, ``PART.json`` holds what the server calls this version of it: another version
    isn't appended to.

    Args:
        url: str.
        part: str, path of the file.
        trusted: bool, go on from a file of unknown version too, since a checksum will be compared.

    Returns:
        bool, whether it was put together from several tries.

    Raises:
        OSError: a server or network that doesn't give the file.
        ValueError: not a URL of http, https, ftp or file.
    """
    scheme = url.partition(":")[0].lower()
    if scheme not in _SCHEMES:
        raise ValueError(f"expected a URL of {', '.join(_SCHEMES)}, got {url!r}")
    if not trusted and _size(part) and _version_of(part, url) is None:
        os.remove(part)
    failures = 0
    while True:
        before = _size(part)
        try:
            resumed = _try(url, part)
            break
        except _BROKEN as error:
            failures = 1 if _size(part) > before else failures + 1
            if failures >= _TRIES or not _worth_another(error):
                raise
            time.sleep(_PAUSE * 2 ** (failures - 1))
    with contextlib.suppress(FileNotFoundError):
        os.remove(part + ".json")
    return resumed


def _worth_another(error):
    """Return whether an error may pass by itself; a wrong name or address doesn't."""
    if isinstance(error, urllib.error.HTTPError):
        return error.code >= 500 or error.code in (408, 416, 429)
    if isinstance(error, urllib.error.URLError):
        return isinstance(error.reason, (ConnectionResetError, TimeoutError))
    return not isinstance(error, (ConnectionRefusedError, http.client.InvalidURL))


def _try(url, part):
    """Fetch what is missing; return whether the file had some of it."""
    request = urllib.request.Request(url, headers={"User-Agent": "gpunet"})
    start, version = _size(part), _version_of(part, url)
    if start:
        request.add_header("Range", f"bytes={start}-")
    if start and version:
        request.add_header("If-Range", version)
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # no such range: the file isn't what it was
            os.remove(part)
        raise
    with response:
        start, total = _position(response, start)
        with open(part, "r+b" if start else "wb") as file:
            file.truncate(start)
            file.seek(start)
            _keep_version(part, url, response.headers)
            _copy(response, file, start, total, url)
    return start > 0


def _position(response, asked):
    """Return (offset of the first byte that comes, size of the whole file or None)."""
    length = response.headers.get("Content-Length", "")
    length = int(length) if length.isdecimal() else None
    if getattr(response, "status", None) != 206:
        return 0, length
    found = re.match(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
    if found is None or int(found[1]) != asked:
        raise http.client.HTTPException("the server sent another part than the one asked for")
    if found[2] != "*":
        return asked, int(found[2])
    return asked, None if length is None else asked + length


def _copy(response, file, start, total, url):
    done = start
    with _bar(url, start, total) as bar:
        while True:
            try:
                block = response.read(_BLOCK)
            except http.client.IncompleteRead as error:
                block = error.partial
            if not block:
                break
            file.write(block)
            done += len(block)
            bar.update(len(block))
    if total is not None and done != total:
        raise _Short(f"the connection ended after {done:,} of {total:,} bytes")


def _bar(url, start, total):
    from tqdm import tqdm  # takes as long to import as half of gpunet

    return tqdm(
        total=total,
        initial=start,
        unit="B",
        unit_scale=True,
        unit_divisor=1024,
        desc=os.path.basename(url.partition("?")[0]),
        file=sys.stdout,
        disable=sys.stdout is None or not sys.stdout.isatty(),
    )


def _size(path):
    try:
        return os.path.getsize(path)
    except FileNotFoundError:
        return 0


def _version_of(part, url):
    """Return what the server called the version that a file is a part of, or None."""
    try:
        with open(part + ".json", encoding="utf8") as file:
            note = json.load(file)
        return note["version"] if note["url"] == url else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _keep_version(part, url, headers):
    tag = headers.get("ETag", "")
    if tag.startswith("W/"):  # says that versions are alike, not that bytes are the same
        tag = ""
    version = tag or headers.get("Last-Modified")
    with open(part + ".json", "w", encoding="utf8") as file:
        json.dump({"url": url, "version": version}, file)
