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
import queue
import threading

import numpy as np

from gpunet import subnormals

__all__ = ["begin", "count", "one_blas_thread", "spread", "spreading", "steady"]

_OPENBLAS = ("scipy_openblas_{}64_", "scipy_openblas_{}", "openblas_{}64_", "openblas_{}")
_lock = threading.Lock()
_users = 0  # calls of `spread` under way
_before = 0  # OpenBLAS's own number of threads
_helpers = 0  # threads that wait for work
_waiting = queue.SimpleQueue()  # (context, job) for each helper that a job can use


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


class steady:
    """Context of a step: BLAS uses one thread, and subnormal numbers count as zero."""

    __slots__ = ("_blas", "_flushed")

    def __enter__(self):
        self._blas, self._flushed = one_blas_thread(), subnormals.flushed()
        self._blas.__enter__()
        self._flushed.__enter__()

    def __exit__(self, *_):
        self._flushed.__exit__()
        self._blas.__exit__(None, None, None)


def _forget_helpers():
    """In a forked child: the threads are gone, and with them whoever held the lock."""
    global _lock, _users, _waiting, _helpers
    _lock, _waiting, _helpers = threading.Lock(), queue.SimpleQueue(), 0
    if _users:
        _users = 0
        _openblas()[1](_before)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_helpers)


def _help(waiting):
    """Join in whatever is spread, for ever; the loop of a helper thread."""
    subnormals.flush_from_now_on()  # as in `spread`: who does a task mustn't change its bits
    while True:
        context, job = waiting.get()
        context.run(job.help)
        del context, job  # they hold arrays


def _have_helpers(n):
    global _helpers
    with _lock:
        while _helpers < n:
            name = f"gpunet-{_helpers}"
            threading.Thread(target=_help, args=(_waiting,), name=name, daemon=True).start()
            _helpers += 1


class _Job:
    """Numbered tasks that several threads take one by one."""

    __slots__ = ("tasks", "start", "numbers", "done")

    def __init__(self, tasks, start):
        self.tasks, self.start = tasks, start
        self.numbers = itertools.count()
        self.done = queue.SimpleQueue()  # an exception or None for each task of the helpers

    def help(self):
        """Do tasks while there are some that nobody has begun."""
        work = None
        for i in self.numbers:
            if i >= self.tasks:
                return
            error = None
            try:
                work = work or self.start()
                work(i)
            except BaseException as caught:  # raised again where the work came from
                error = caught
            self.done.put(error)

    def run(self):
        """Do tasks, then wait for those that helpers have begun; raise what they raised."""
        tasks, numbers = self.tasks, self.numbers
        mine = []  # drawn and kept in one call: an interrupt can't come between
        try:
            work = self.start()
            while True:
                mine.extend(itertools.islice(numbers, 1))
                if mine[-1] >= tasks:
                    break
                work(mine[-1])
        finally:
            mine.extend(itertools.islice(numbers, tasks))  # after an exception: the rest
            error = self._wait(tasks - sum([i < tasks for i in mine]))
        if error is not None:
            raise error

    def _wait(self, n):
        """Wait for what became of n tasks; return an exception or None."""
        interrupt, found = None, []
        results = iter(self.done.get, self)  # without end
        while len(found) < n:
            try:
                found.extend(itertools.islice(results, 1))  # fetched and kept in one call
            except BaseException as caught:  # a signal's: helpers still write to the arrays
                interrupt = caught
        return interrupt or next(filter(None, found), None)


def spread(tasks, start, threads=None):
    """Do numbered tasks on several threads; which thread does which isn't fixed.

    Args:
        tasks: int, number of tasks; those done at the same time mustn't write to the same place.
        start: function without arguments, called once in each thread, that returns
            ``work(i)``, which does task ``i``; what it allocates belongs to that thread.
        threads: int; `count` by default.  With 1, BLAS has one thread as well.
    """
    small = threads == 1
    threads = min(count() if threads is None else threads, tasks)
    if threads == 1 and (_users or small):
        with contextlib.nullcontext() if _users else steady():
            work = start()
            for i in range(tasks):
                work(i)
        return
    job = _Job(tasks, start)
    if tasks == 1 or _openblas() is None:  # BLAS may use its own threads
        job.run()
        return
    if _helpers < threads - 1:
        _have_helpers(threads - 1)
    with steady():
        for _ in range(threads - 1):
            _waiting.put((contextvars.copy_context(), job))
        job.run()


def begin(work):
    """Let a helper do something soon; return a function that has to be called once.

    That function makes sure that it is done: it does it in the calling thread if no helper has
    begun it, else it waits; it raises what ``work`` raised.  It is called within a context like
    `one_blas_thread`.

    Args:
        work: function without arguments.
    """
    job = _Job(1, lambda: lambda _: work())
    others = count() - 1
    if others > 0 and _openblas() is not None:
        if _helpers < others:
            _have_helpers(others)
        _waiting.put((contextvars.copy_context(), job))
    return job.run
