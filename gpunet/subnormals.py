"""Subnormal numbers taken as zero, as GPUs and the other frameworks' CPU kernels do.

Running means of gradients that stay away sink below the smallest normal number and stay there;
on many CPUs every operation on such a number takes fifty times as long.  The switch is a bit of
the thread's floating-point environment, which the C library reads and writes.
"""

import ctypes
import functools
import platform
import sys

import numpy as np

__all__ = ["flushed", "flush_from_now_on"]

# Machine -> (which 32-bit word of C's fenv_t holds the bits, the bits): Linux.
_PLACES = {"x86_64": (7, 0x8040), "aarch64": (0, 1 << 24)}
_Environment = ctypes.c_uint32 * 8


class _Switch:
    """Reads and writes the calling thread's environment."""

    __slots__ = ("get", "set", "word", "bits")

    def __init__(self, library, word, bits):
        self.get, self.set = library.fegetenv, library.fesetenv
        self.word, self.bits = word, bits

    def on(self):
        """Flush from now on; return the environment before, None if it did so already."""
        before = _Environment()
        self.get(before)
        if before[self.word] & self.bits == self.bits:
            return None
        after = _Environment.from_buffer_copy(before)
        after[self.word] |= self.bits
        self.set(after)
        return before


@functools.cache
def _switch():
    """Return the `_Switch` of this machine, None where it isn't known or has no effect."""
    place = _PLACES.get(platform.machine())
    if not sys.platform.startswith("linux") or place is None:
        return None
    switch = None
    for library in (None, "libm.so.6"):  # what Python is linked to, or where glibc has them
        try:
            switch = switch or _Switch(ctypes.CDLL(library), *place)
        except (OSError, AttributeError):
            continue
    if switch is None:
        return None
    small = np.full(64, np.finfo("float32").tiny, "float32")
    before = switch.on()
    try:
        works = not (small * np.float32(0.5)).any()
    finally:
        if before is not None:
            switch.set(before)
    return switch if works and (small * np.float32(0.5)).all() else None


class flushed:
    """Context in which this thread takes subnormal numbers as zero, where that is possible."""

    __slots__ = ("_before",)

    def __enter__(self):
        switch = _switch()
        self._before = None if switch is None else switch.on()

    def __exit__(self, *_):
        if self._before is not None:
            _switch().set(self._before)


def flush_from_now_on():
    """Take subnormal numbers as zero in this thread for good: for threads of our own."""
    switch = _switch()
    if switch is not None:
        switch.on()
