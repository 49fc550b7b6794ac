"""Which of several ways to do the same work is fastest on this GPU: tried once, kept on disk.

Only with the environment variable ``GPUNET_AUTOTUNE=1``: then the choice depends on the machine,
though the results do not.
"""

import hashlib
import json
import logging
import os
import threading
from pathlib import Path

from gpunet.durable import replacing

__all__ = ["fastest", "key_of", "place", "wanted"]

_log = logging.getLogger("gpunet")
_lock = threading.RLock()  # one of the ways may have ways of its own
_known = {}  # place -> dict of its file
_REPEATS = 5


def wanted():
    """Return whether ways are tried."""
    return os.environ.get("GPUNET_AUTOTUNE", "0") == "1"


def place():
    """Return the path of the file with what was found: in ``KERAS_HOME``, or ``~/.keras``."""
    return Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / "gpunet-tuning.json"


def key_of(chip, text, *work):
    """Return the name of a piece of work: its GPU, the source that does it, its sizes.

    Args:
        chip: `gpunet.fused.launch.Chip`.
        text: str, the source.
        work: whatever else it depends on, as `repr` gives it.
    """
    digest = hashlib.sha256("\0".join([text, *map(repr, work)]).encode()).hexdigest()[:32]
    return f"sm_{chip.capability}, {chip.blocks} multiprocessors, {digest}"


def fastest(key, ways, run):
    """Return the fastest of some ways.

    Args:
        key: str, from `key_of`.
        ways: dict name -> way, the one to take where nothing can be tried first.
        run: function of a way that asks the GPU for the work; it can be repeated.
    """
    where = place()
    with _lock:
        known = _known.setdefault(where, None) or _read(where)
        _known[where] = known
        if known.get(key) in ways:
            return ways[known[key]]
        if len(ways) < 2 or _capturing():
            return next(iter(ways.values()))
        times = {name: _seconds(lambda way=way: run(way)) for name, way in ways.items()}
        best = min(times, key=times.get)
        _log.debug("%s: %s of %s", key, best, times)
        known[key] = best
        _write(where, key, best)
        return ways[best]


def _read(where):
    """Return what a file says; one that can't be read says nothing."""
    try:
        found = json.loads(where.read_text(encoding="utf8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {k: v for k, v in found.items() if isinstance(v, str)}


def _write(where, key, best):
    """Add to a file what was found, beside what other processes have found meanwhile."""
    try:
        where.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({**_read(where), key: best}, indent=1, sort_keys=True)
        with replacing(where) as file:
            file.write(text.encode())
    except OSError as error:
        _log.warning("what was tuned isn't kept: %s", error)


def _capturing():
    """Return whether the current stream's work goes into a graph, where nothing can be timed."""
    import cupy

    return cupy.cuda.get_current_stream().is_capturing()


def _seconds(run):
    """Return how long work takes on the GPU: the shortest of a few times, after it was compiled."""
    import cupy

    times = []
    for _ in range(1 + _REPEATS):
        start, end = cupy.cuda.Event(), cupy.cuda.Event()
        start.record()
        run()
        end.record()
        end.synchronize()
        times.append(cupy.cuda.get_elapsed_time(start, end))
    return min(times[1:])
