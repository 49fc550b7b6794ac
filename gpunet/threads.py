"""The CPU threads that an op spreads its blocks over, and BLAS kept from adding its own.

NumPy releases the interpreter lock in copies, arithmetic and matrix products, so plain threads
use all cores on blocks that fit into their caches.  OpenBLAS runs one call at a time unless it
is set to one thread; `spread` sets that while it works and puts the number back.
"""

import contextlib
import contextvars
import ctypes
import functools
import itertools
import os
import threading

import numpy as np

__all__ = ["count", "one_blas_thread", "spread", "spreading"]

_OPENBLAS = ("scipy_openblas_{}64_", "scipy_openblas_{}", "openblas_{}64_", "openblas_{}")
_lock = threading.Lock()
_users = 0  # calls of `spread` under way
_before = 0  # OpenBLAS's own number of threads
_helpers = []


def count():
    """Return how many threads to use: ``GPUNET_THREADS``, or as many as OpenBLAS may use.

    It is 1 where NumPy's BLAS isn't an OpenBLAS: then BLAS has the threads.
    """
    blas = _openblas()
    if blas is None:
        return 1
    wanted = os.environ.get("GPUNET_THREADS", "")
    if wanted.isdigit() and int(wanted):
        return int(wanted)
    return _before if _users else blas[0]()


@functools.cache
def _openblas():
    """Return OpenBLAS's functions (get, set) of its number of threads, None if not found."""
    core = getattr(np, "_core", None) or np.core
    try:
        library = ctypes.CDLL(core._multiarray_umath.__file__)
    except (OSError, AttributeError):
        return None
    for name in _OPENBLAS:
        try:
            return (
                getattr(library, name.format("get_num_threads")),
                getattr(library, name.format("set_num_threads")),
            )
        except AttributeError:
            continue
    return None


def spreading():
    """Return whether BLAS is kept at one thread just now and there are several to use."""
    return bool(_users) and count() > 1


class _one_blas_thread:
    """Context in which OpenBLAS uses one thread; the last to leave puts its number back."""

    def __enter__(self):
        global _users, _before
        with _lock:
            if not _users:
                _before = _openblas()[0]()
                _openblas()[1](1)
            _users += 1

    def __exit__(self, *_):
        global _users
        with _lock:
            _users -= 1
            if not _users:
                _openblas()[1](_before)


def one_blas_thread():
    """Return a context in which BLAS uses one thread: for many small products in a row.

    OpenBLAS's threads wait for each other by spinning, which takes a hundred times as long as a
    small product when another process wants the core.
    """
    return _one_blas_thread() if _openblas() else contextlib.nullcontext()


class _Helper:
    """A thread that waits for work."""

    def __init__(self):
        self._wake, self._done = threading.Semaphore(0), threading.Semaphore(0)
        self._work = self._error = None
        threading.Thread(target=self._loop, name="gpunet", daemon=True).start()

    def _loop(self):
        while True:
            self._wake.acquire()
            try:
                self._work()
            except BaseException as error:  # raised again where the work came from
                self._error = error
            self._work = None
            self._done.release()

    def start(self, work):
        """Begin with a piece of work, a function without arguments."""
        self._work = work
        self._wake.release()

    def join(self):
        """Wait for its end; return its exception or None."""
        self._done.acquire()
        error, self._error = self._error, None
        return error


def _forget_helpers():
    """In a forked child: the threads are gone, and with them whoever held the lock."""
    global _lock, _users
    _helpers.clear()
    _lock = threading.Lock()
    if _users:
        _users = 0
        _openblas()[1](_before)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_helpers)


def _borrow(n):
    with _lock:
        taken = [_helpers.pop() for _ in range(min(n, len(_helpers)))]
    return taken + [_Helper() for _ in range(n - len(taken))]


def spread(tasks, start, threads=None):
    """Do numbered tasks on several threads; which thread does which isn't fixed.

    Args:
        tasks: int, number of tasks; those done at the same time mustn't write to the same place.
        start: function without arguments, called once in each thread, that returns
            ``work(i)``, which does task ``i``; what it allocates belongs to that thread.
        threads: int; `count` by default.
    """
    threads = min(count() if threads is None else threads, tasks)
    numbers = itertools.count()

    def run():
        work = start()
        for i in iter(numbers.__next__, None):
            if i >= tasks:
                return
            work(i)

    if tasks == 1 or _openblas() is None:  # BLAS may use its own threads
        run()
        return
    helpers = _borrow(threads - 1)
    with _one_blas_thread():
        for helper in helpers:
            helper.start(functools.partial(contextvars.copy_context().run, run))
        errors = []
        try:
            run()
        finally:
            errors = [helper.join() for helper in helpers]
            with _lock:
                _helpers.extend(helpers)
    for error in filter(None, errors):
        raise error
