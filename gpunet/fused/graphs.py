"""CUDA graphs: the work that a function gives a GPU, written down once and launched as a whole.

A graph keeps the addresses of the arrays that it reads and writes.  So what is allocated while
it is captured comes from memory that nobody else gets, and everything else must stay where it is.
"""

import collections
import contextlib
import gc
import threading
import weakref

from gpunet.gpu import free_bytes, release

__all__ = ["Graphs", "forget", "has_graphs", "free_memory", "holders"]

holders = weakref.WeakSet()  # what keeps graphs, and lets go of them by its method `forget`
_AHEAD = 4  # launches that may wait for the GPU: Ctrl-C takes effect when these are through
_capturing = threading.Lock()


def has_graphs(xp):
    """Return whether an array module's device takes graphs."""
    return getattr(xp, "cuda", None) is not None


def free_memory(xp):
    """Return how many bytes of a GPU could still be allocated."""
    return free_bytes(xp)


def forget():
    """Let go of all graphs and of their memory; who needs one captures it anew."""
    for holder in list(holders):
        holder.forget()


class Graphs:
    """Captures functions on one device; what they allocate comes from one pool of memory.

    Graphs that share one must not run at the same time, and what one of them leaves in its
    results counts until another is launched.

    Args:
        xp: array module.

    Attributes:
        lock: to be held from a launch until its results were taken.
    """

    def __init__(self, xp):
        self.xp, self.lock = xp, threading.RLock()
        self._pool = None
        # Of its own, so that no other thread's work gets into a graph; nothing runs there.
        self._stream = xp.cuda.Stream(non_blocking=True)
        self._under_way = collections.deque()

    def _allocate(self, size):
        """Return memory from the driver.

        CuPy's pool would answer a failure by giving back what it holds, which graphs rely on.
        """
        cuda = self.xp.cuda
        if size > free_memory(self.xp):  # there may be a limit
            raise MemoryError(f"no {size} bytes left for a CUDA graph")
        try:
            return cuda.MemoryPointer(cuda.Memory(size), 0)
        except (cuda.runtime.CUDARuntimeError, cuda.memory.OutOfMemoryError) as error:
            raise MemoryError(f"no {size} bytes left for a CUDA graph ({error})") from None

    def capture(self, function):
        """Return (graph, what a function returned); what it did on arrays hasn't been done yet.

        Args:
            function: it must not read values, wait for the GPU or copy to or from the host.

        Raises:
            Exception: whatever the function raises, or CUDA; nothing is under capture then.
        """
        try:
            return self._captured(function)
        except MemoryError:
            release()  # what is kept for later arrays
            return self._captured(function)

    def _captured(self, function):
        with _capturing, _no_collection(), self._stream:
            self._pool = self._pool or self.xp.cuda.MemoryPool(self._allocate)
            with self.xp.cuda.using_allocator(self._pool.malloc):
                self._stream.begin_capture()
                try:
                    results = function()
                except BaseException:
                    with contextlib.suppress(Exception):  # it is void already, and says so
                        self._stream.end_capture()
                    raise
                graph = self._stream.end_capture()
        graph.upload()
        return graph, results

    def give_back(self):
        """Give memory back; no graph may be launched any more."""
        for done in self._under_way:
            done.synchronize()
        self._under_way.clear()
        self._pool = None

    def launch(self, graph):
        """Let a graph run on the current stream, after what was asked of it before."""
        graph.launch()
        done = self.xp.cuda.Event(disable_timing=True)
        done.record()
        self._under_way.append(done)
        if len(self._under_way) > _AHEAD:
            self._under_way.popleft().synchronize()


@contextlib.contextmanager
def _no_collection():
    """Let nothing be found dead meanwhile whose end would disturb a capture."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
