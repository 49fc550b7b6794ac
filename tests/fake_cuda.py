"""CUDA's streams, memory pools and graphs on a CPU, as strict as the real ones.

`fake_cuda` gives the device of `fake_device` what CuPy has under ``cupy.cuda``.  While a stream is
under capture, each call on arrays is written down and takes no effect on arrays from before.  A
launch does these calls again, on the same storage.  Refused are, besides what `fake_device`
refuses, memory from elsewhere than the graph's pool, and launches that would read or write what is
gone; what was let go during the capture holds garbage again after its last use in a launch.
"""

import contextlib
import types
import weakref

import fake_device
import numpy as np
from fake_device import HiddenSync

__all__ = ["fake_cuda", "StalePointer", "WrongMemory"]


class StalePointer(RuntimeError):
    """A graph would touch memory that was given back."""


class WrongMemory(RuntimeError):
    """Memory was taken from a pool that isn't for it."""


class CUDARuntimeError(RuntimeError):
    """What CUDA raises."""


class Cuda:
    """Stands in for cupy.cuda.

    Args:
        memory: int, bytes that the device has.

    Attributes:
        captures, launches: int, how many graphs were captured and launched.
        launched: list of the numbers of calls in each launch.
    """

    def __init__(self, memory):
        self.left = memory
        self.captures = self.launches = 0
        self.capture = None  # the `_Capture` under way
        self.null = Stream(self, null=True)
        self.current = self.null
        self.allocator = None
        self.pools = weakref.WeakSet()  # those of graphs
        self.runtime = types.SimpleNamespace(
            memGetInfo=lambda: (self.left, memory), CUDARuntimeError=CUDARuntimeError
        )
        self.memory = types.SimpleNamespace(OutOfMemoryError=MemoryError)

    def Stream(self, non_blocking=False):
        return Stream(self)

    def Event(self, disable_timing=False):
        return Event(self)

    def MemoryPool(self, allocator=None):
        return Pool(self, allocator)

    def Memory(self, size):
        if size > self.left:
            raise CUDARuntimeError("cudaErrorMemoryAllocation: out of memory")
        self.left -= size
        return types.SimpleNamespace(size=size)

    def MemoryPointer(self, memory, offset):
        return memory

    def get_current_stream(self):
        return self.current

    @contextlib.contextmanager
    def using_allocator(self, allocator):
        before, self.allocator = self.allocator, allocator
        try:
            yield
        finally:
            self.allocator = before

    def refuse_waiting(self, what):
        if self.capture is not None:
            self.capture.void = f"{what} waits for the device during capture"
            raise HiddenSync(self.capture.void)

    # -- what `fake_device` tells -----------------------------------------------------------

    def allocated(self, buffer):
        if self.allocator is not None:
            self.allocator(buffer.whole.nbytes)
        if self.capture is not None:
            if self.allocator is None:
                raise WrongMemory("an array is allocated outside of the graph's pool")
            self.capture.allocated(buffer)
        elif self.allocator is not None:
            raise WrongMemory("memory of graphs is taken outside of a capture")

    def before(self, given):
        if self.capture is not None and self.current is not self.capture.stream:
            raise HiddenSync("work on another stream gets mixed into a capture")

    def writes(self, given):
        if self.capture is not None:
            self.capture.writes(given)

    def did(self, call, made, given):
        if self.capture is not None:
            self.capture.did(call, made, given)


class Pool:
    """Stands in for cupy.cuda.MemoryPool: what was let go isn't given back."""

    def __init__(self, cuda, allocator):
        self._allocator, self._cuda = allocator, cuda
        self.taken = 0

    def malloc(self, size):
        self.taken += size
        return self._allocator(size) if self._allocator else self._cuda.Memory(size)

    def free_bytes(self):
        return 0


class Event:
    def __init__(self, cuda):
        self._cuda = cuda

    def record(self, stream=None):
        self._cuda.refuse_waiting("an event outside of the graph")

    def synchronize(self):
        self._cuda.refuse_waiting("event.synchronize()")


class Stream:
    def __init__(self, cuda, null=False):
        self._cuda, self._null = cuda, null
        self._before = []

    def __enter__(self):
        self._before.append(self._cuda.current)
        self._cuda.current = self
        return self

    def __exit__(self, *_):
        self._cuda.current = self._before.pop()

    def synchronize(self):
        self._cuda.refuse_waiting("stream.synchronize()")

    def begin_capture(self):
        if self._null:
            raise CUDARuntimeError("cudaErrorStreamCaptureUnsupported: the null stream")
        if self._cuda.capture is not None:
            raise CUDARuntimeError("cudaErrorIllegalState: another capture is under way")
        self._cuda.capture = _Capture(self._cuda, self)
        fake_device._capturing = True

    def end_capture(self):
        capture, self._cuda.capture = self._cuda.capture, None
        fake_device._capturing = False
        capture.undo()
        if capture.void:
            raise CUDARuntimeError(f"cudaErrorStreamCaptureInvalidated: {capture.void}")
        self._cuda.captures += 1
        return Graph(self._cuda, capture)


def _garbage(whole):
    """Fill storage with what is no number that anybody wants."""
    if whole.flags.writeable and whole.size:
        whole.reshape(-1).view("uint8")[:] = 0x7F if whole.dtype != bool else 1


class _Capture:
    """Writes calls down."""

    def __init__(self, cuda, stream):
        self.cuda, self.stream, self.void = cuda, stream, None
        self.steps = []  # ("do", call, results) and ("free", storage)
        self.outside = {}  # id of a Buffer from before -> weak reference to it
        self._own = {}  # id of a Buffer of the graph's pool -> its storage
        self._saved = []  # (storage from before, its values)

    def allocated(self, buffer):
        self._own[id(buffer)] = buffer.whole
        weakref.finalize(buffer, self._freed, id(buffer), buffer.whole)

    def _freed(self, key, whole):
        if self.cuda.capture is self:
            self._own.pop(key, None)
            self.steps.append(("free", whole, None))

    def writes(self, given):
        for a in given:
            known = id(a._buffer) in self._own or any(w is a._buffer.whole for w, _ in self._saved)
            if not known:
                self._saved.append((a._buffer.whole, a._buffer.whole.copy()))

    def did(self, call, made, given):
        for a in given:
            if id(a._buffer) not in self._own:
                self.outside[id(a._buffer)] = weakref.ref(a._buffer)
        self.steps.append(("do", call, made))

    def undo(self):
        """Let what was captured not have happened: that is the launches' business."""
        for whole, values in self._saved:
            whole[...] = values
        for whole in self._own.values():
            _garbage(whole)
        for kind, whole, _ in self.steps:
            if kind == "free":
                _garbage(whole)


class Graph:
    """Stands in for cupy.cuda.Graph."""

    def __init__(self, cuda, capture):
        self._cuda = cuda
        self._steps, self._outside = capture.steps, list(capture.outside.values())

    def upload(self, stream=None):
        self._cuda.refuse_waiting("graph.upload()")

    def launch(self, stream=None):
        if self._cuda.capture is not None:
            raise CUDARuntimeError("cudaErrorStreamCaptureUnsupported: a launch during capture")
        if any(buffer() is None for buffer in self._outside):
            raise StalePointer("a graph reads or writes an array that is gone")
        self._cuda.launches += 1
        for kind, call, made in self._steps:
            if kind == "free":
                _garbage(call)
                continue
            result = call()
            for storage, new in zip(made, _flat(result), strict=True):
                if storage is not None:
                    storage[...] = new


def _flat(result):
    """Return the arrays of a call's result in the order of `fake_device._wrapped`."""
    if isinstance(result, (list, tuple)):
        return [new for part in result for new in _flat(part)]
    return [result] if isinstance(result, (np.ndarray, np.generic)) else []


@contextlib.contextmanager
def fake_cuda(memory=1 << 32):
    """Return a context in which new arrays are FakeArrays of a device with graphs.

    Args:
        memory: int, bytes that graphs can have.

    Yields:
        Cuda.
    """
    cuda = Cuda(memory)
    module = fake_device.module
    module.cuda, module.get_default_memory_pool = cuda, lambda: Pool(cuda, None)
    fake_device.recorder = cuda
    try:
        with fake_device.fake_device() as device:
            cuda.device = device
            yield cuda
    finally:
        fake_device.recorder, fake_device._capturing = None, False
        del module.cuda, module.get_default_memory_pool
