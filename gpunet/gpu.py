"""gpunet's own stream and memory on each GPU, and errors that say how much was asked for.

All work is put on one stream that waits for no other, in every thread, and the memory that arrays
need comes from one pool, which grows as it is asked and may be limited. A stream or an allocator
that the program chose before stays in use instead.
"""

import gc
import logging
import os
import re
import threading

from gpunet.context import scoped_name
from gpunet.errors import DeviceError, DeviceMemoryError

__all__ = ["enter", "free_bytes", "home_stream", "limit_of", "release", "to_host"]

_log = logging.getLogger("gpunet")

VARIABLE = "GPUNET_GPU_MEMORY"
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_LIMIT = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(?:(%)|([KMGT]?)(?:i?B)?)", re.IGNORECASE)

_thread = threading.local()  # .entered: set of the numbers of the GPUs that are set up in it
_lock = threading.Lock()
_streams = {}  # number of a GPU -> its stream
_pool = None  # the pool, once it is in use
_asked = False  # whether it was tried


def enter(cupy):
    """Let this thread put its work on gpunet's stream of the current GPU, and use its memory.

    Args:
        cupy: the module.
    """
    index = cupy.cuda.runtime.getDevice()
    entered = getattr(_thread, "entered", None)
    if entered is None:
        entered = _thread.entered = set()
    if index in entered:
        return
    if index not in _streams:
        with _lock:
            _set_up(cupy, index)
    if not cupy.cuda.get_current_stream().ptr:  # else the program chose one, for a while perhaps
        _streams[index].use()
        entered.add(index)


def _set_up(cupy, index):
    if index not in _streams:
        _use_pool(cupy)
        if _pool is not None:
            _limit(cupy)
        _streams[index] = cupy.cuda.Stream(non_blocking=True)


def home_stream(index):
    """Return the address of gpunet's stream on a GPU; 0, the default one, if it has none."""
    stream = _streams.get(index)
    return 0 if stream is None else stream.ptr


# -- memory ---------------------------------------------------------------------------------


def _use_pool(cupy):
    """Make the pool and let CuPy take memory from it, unless the program has an allocator."""
    global _pool, _asked
    if _asked:
        return
    _asked = True
    if cupy.cuda.get_allocator() != cupy.get_default_memory_pool().malloc:
        _log.info("GPU memory comes from the allocator that CuPy was given, without a limit")
        return
    _pool = cupy.cuda.MemoryPool()
    cupy.cuda.set_allocator(_allocate)


def limit_of(text, total):
    """Return the number of bytes that a text stands for.

    Args:
        text: ``'4GB'``, ``'512 MiB'`` or a number of bytes; ``'50%'`` or ``'0.5'`` of all.
        total: int, bytes that the GPU has.

    Raises:
        DeviceError: no such text.
    """
    found = _LIMIT.fullmatch(text.strip())
    number = float(found[1]) if found else 0
    share = number / 100 if found and found[2] else number
    bare = bool(found) and text.strip()[-1] in "0123456789."
    if found and (found[2] or (bare and number <= 1)):
        limit = int(share * total) if share <= 1 else 0
    else:
        limit = int(number * _UNITS[found[3].upper()]) if found else 0
    if limit < 1:
        raise DeviceError(
            f"environment variable {VARIABLE}={text!r}: expected an amount such as '4GB', or a "
            "part of the GPU's memory such as '50%' or '0.5'"
        )
    return limit


def _limit(cupy):
    """Set the limit of the current GPU."""
    wanted = os.environ.get(VARIABLE)
    if wanted:
        _pool.set_limit(size=limit_of(wanted, cupy.cuda.runtime.memGetInfo()[1]))


def _allocate(size):
    """Return memory of the pool; CuPy calls this for every array."""
    try:
        return _pool.malloc(size)
    except MemoryError as error:
        raise DeviceMemoryError(_told(size)) from error


def _told(size):
    """Return what there is to say where memory is out."""
    import cupy

    index = cupy.cuda.runtime.getDevice()
    free, total = cupy.cuda.runtime.memGetInfo()
    limit, layer = _pool.get_limit(), scoped_name("").rstrip("/")
    text = f"GPU {index} is out of memory: {_spelled(size)} more were asked for"
    text += f" in layer {layer!r}" if layer else ""
    text += f"; gpunet's arrays take {_spelled(_pool.used_bytes())}"
    if limit:
        text += f" of the {_spelled(limit)} that {VARIABLE}={os.environ.get(VARIABLE)!r} allows"
    text += f"; {_spelled(free)} of the GPU's {_spelled(total)} are free"
    return text + ". Smaller batches need less"


def _spelled(size):
    for unit in ("bytes", "KB", "MB", "GB"):
        if size < 1024 or unit == "GB":
            return f"{size} bytes" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    raise AssertionError


def free_bytes(xp):
    """Return how many bytes of the current GPU arrays could still take.

    Args:
        xp: CuPy, or what stands in for it.
    """
    pool = xp.get_default_memory_pool() if _pool is None else _pool
    free = xp.cuda.runtime.memGetInfo()[0] + pool.free_bytes()
    if _pool is not None and _pool.get_limit():
        free = min(free, _pool.get_limit() - _pool.used_bytes())
    return free


# Bytes of arrays that go to the host through pinned memory: copying less takes no time, and more
# of it would be missed by the rest of the machine while somebody keeps the result.
_PINNED = range(1 << 20, 1 << 28)


def to_host(array):
    """Return a CuPy array's values as a numpy array, once the work before is done."""
    import cupy

    if array.nbytes not in _PINNED:
        return cupy.asnumpy(array)
    import cupyx

    return array.get(out=cupyx.empty_pinned(array.shape, array.dtype))


def release():
    """Give the memory that no array needs back to the GPU and the host."""
    if _pool is None:
        return
    import cupy

    gc.collect()  # arrays that are caught in circles
    for stream in list(_streams.values()):
        stream.synchronize()
    _pool.free_all_blocks()
    cupy.get_default_pinned_memory_pool().free_all_blocks()
