"""Large arrays whose memory is used again: new memory costs a page fault for each 4 KB of it.

An array lives in a room, and so does every view of it.  When the last of them is gone, and not
before, the room goes back to those that are free.
"""

import contextlib
import math
import os
import threading
from collections import OrderedDict

import numpy as np

__all__ = ["empty", "offered", "release"]

LEAST = 2**18  # bytes from which on memory is kept
MOST = 2**28  # bytes of free rooms in all


class _Memory(np.ndarray):
    """Bytes, of another type than the arrays in them: NumPy would take it for their base."""


class _Room(np.ndarray):
    """The base of an array; what it stands for is free when it dies."""

    memory = None

    def __del__(self):
        if self.memory is not None and _free is not None:
            _free.give(self.memory)


class _Free:
    """Memory that nobody uses, by size."""

    def __init__(self):
        self._lock = threading.RLock()  # collecting garbage may free a room at any moment
        self._kept = OrderedDict()  # size -> list of _Memory; the size used longest ago first
        self._total = 0

    def take(self, size):
        """Return some _Memory."""
        with self._lock:
            found = self._kept.get(size)
            if found:
                self._kept.move_to_end(size)
                self._total -= size
                return found.pop()
        return np.empty(size, np.uint8).view(_Memory)

    def give(self, memory):
        """Take memory back."""
        size = memory.nbytes
        if size > MOST:
            return
        with self._lock:
            self._kept.setdefault(size, []).append(memory)
            self._kept.move_to_end(size)
            self._total += size
            while self._total > MOST:
                oldest, rooms = self._kept.popitem(last=False)
                self._total -= oldest * len(rooms)

    def clear(self):
        """Let go of all of it."""
        with self._lock:
            self._kept.clear()
            self._total = 0


_free = _Free()


def release():
    """Give the memory that is kept for later back."""
    _free.clear()


def _forget():
    """In a forked child: the threads are gone, and with them whoever held the lock."""
    _free._lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


class _Offer(threading.local):
    """An array that the next large array of its kind in this thread may be."""

    array = None


_offer = _Offer()


@contextlib.contextmanager
def offered(array):
    """Context in which one new array, if a large one of this shape and dtype is made, is ``array``.

    It is for those who would copy what a function returns, and so saves the copy; the function
    mustn't keep or return any other array that is made in it.

    Args:
        array: contiguous array.
    """
    _offer.array = array
    try:
        yield
    finally:
        _offer.array = None


def empty(shape, dtype):
    """Return an array of undefined contents, as ``numpy.empty``.

    Args:
        shape: tuple of ints.
        dtype: NumPy dtype, or its name.
    """
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    if size < LEAST:
        return np.empty(shape, dtype)
    offer = _offer.array
    if offer is not None and offer.shape == shape and offer.dtype == dtype:
        _offer.array = None
        return offer
    # Arrays of nearly one size share rooms; pages that nobody touches cost nothing.
    step = 1 << (size.bit_length() - 3)
    room = _free.take(-(-size // step) * step).view(_Room)
    room.memory = room.base
    return np.ndarray(shape, dtype, room)
