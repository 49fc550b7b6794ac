"""gpunet's stream, pool and limit on a GPU, on a stand-in for CuPy."""

import sys
import threading
import types

import numpy as np
import pytest

from gpunet import backend as K
from gpunet import gpu
from gpunet.context import name_scope
from gpunet.errors import DeviceError, DeviceMemoryError
from gpunet.ops import memory

TOTAL = 8 << 30


class OutOfMemoryError(MemoryError):
    """As CuPy has it."""


class Pool:
    """Stands in for cupy.cuda.MemoryPool on a GPU with `TOTAL` bytes."""

    def __init__(self):
        self.used, self.kept, self.limit = 0, 0, 0

    def malloc(self, size):
        if self.used + size > (self.limit or TOTAL):
            raise OutOfMemoryError(f"Out of memory allocating {size} bytes")
        self.used += size
        return size

    def set_limit(self, size):
        self.limit = size

    def get_limit(self):
        return self.limit

    def used_bytes(self):
        return self.used

    def free_bytes(self):
        return self.kept

    def free_all_blocks(self):
        self.kept = 0


class Cupy:
    """Stands in for cupy; one current device for all threads, a current stream for each."""

    def __init__(self):
        self.device, self.log, self.pools = 0, [], []
        self.default, self.pinned = Pool(), Pool()
        self.allocator = self.default.malloc
        self.thread = threading.local()
        cupy = self

        class Stream:
            def __init__(self, non_blocking=False):
                cupy.log.append(f"stream of {cupy.device}, non_blocking={non_blocking}")
                self.ptr = 100 + len(cupy.log)

            def use(self):
                vars(cupy.thread)[f"stream{cupy.device}"] = self

            def synchronize(self):
                cupy.log.append("waited")

        def pool():
            cupy.pools.append(Pool())
            return cupy.pools[-1]

        null = types.SimpleNamespace(ptr=0)
        self.cuda = types.SimpleNamespace(
            Stream=Stream,
            MemoryPool=pool,
            get_allocator=lambda: cupy.allocator,
            set_allocator=lambda allocator: setattr(cupy, "allocator", allocator),
            get_current_stream=lambda: getattr(cupy.thread, f"stream{cupy.device}", null),
            runtime=types.SimpleNamespace(
                getDevice=lambda: cupy.device,
                memGetInfo=lambda: (TOTAL - sum(p.used + p.kept for p in cupy.pools), TOTAL),
            ),
        )

    def get_default_memory_pool(self):
        return self.default

    def get_default_pinned_memory_pool(self):
        return self.pinned


@pytest.fixture
def cupy(monkeypatch):
    for name, value in (("_streams", {}), ("_pool", None), ("_asked", False)):
        monkeypatch.setattr(gpu, name, value)
    monkeypatch.setattr(gpu, "_thread", threading.local())
    made = Cupy()
    monkeypatch.setitem(sys.modules, "cupy", made)
    return made


def in_a_thread(function):
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


def test_all_threads_share_a_stream_of_each_gpu(cupy):
    current = []

    def work():
        gpu.enter(cupy)
        current.append(cupy.cuda.get_current_stream().ptr)

    assert gpu.home_stream(0) == 0
    work()
    in_a_thread(work)
    assert current[0] == current[1] == gpu.home_stream(0) != 0
    cupy.device = 1
    work()
    assert current[2] == gpu.home_stream(1) != current[0]
    assert cupy.log == ["stream of 0, non_blocking=True", "stream of 1, non_blocking=True"]


def test_a_stream_of_the_program_stays_current(cupy):
    own = cupy.cuda.Stream()
    own.use()
    gpu.enter(cupy)
    assert cupy.cuda.get_current_stream() is own
    vars(cupy.thread).clear()  # it was for a while only
    gpu.enter(cupy)
    assert cupy.cuda.get_current_stream().ptr == gpu.home_stream(0)


def test_memory_comes_from_one_pool(cupy):
    for cupy.device in (0, 1):
        gpu.enter(cupy)
    assert len(cupy.pools) == 1 and cupy.allocator(100) == 100
    assert cupy.pools[0].used == 100 and cupy.default.used == 0 and not cupy.pools[0].limit


def test_an_allocator_of_the_program_stays(cupy):
    own = cupy.allocator = lambda size: size
    gpu.enter(cupy)
    assert cupy.allocator is own and not cupy.pools
    gpu.release()
    cupy.default.kept = 5
    assert gpu.free_bytes(cupy) == TOTAL + 5


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("4GB", 4 << 30), ("512 MiB", 512 << 20), ("1.5g", 3 << 29), ("50%", TOTAL // 2),
     ("0.5", TOTAL // 2), (".25", TOTAL // 4), ("1", TOTAL), ("100%", TOTAL), ("1000000", 1000000),
     ("1B", 1), ("12 kb", 12 << 10), ("1TB", 1 << 40)],
)  # fmt: skip
def test_limits(text, wanted):
    assert gpu.limit_of(text, TOTAL) == wanted


@pytest.mark.parametrize("text", ["much", "", "0", "-1", "150%", "4 XB", "0%", "4GB5", "nan"])
def test_wrong_limits(text):
    with pytest.raises(DeviceError, match="GPUNET_GPU_MEMORY=.*'4GB', or a part"):
        gpu.limit_of(text, TOTAL)


def test_out_of_memory_says_what_was_asked_for(cupy, monkeypatch):
    monkeypatch.setenv("GPUNET_GPU_MEMORY", "1GB")
    gpu.enter(cupy)
    cupy.allocator(900 << 20)
    with name_scope("dense_3"), pytest.raises(DeviceMemoryError) as caught:
        cupy.allocator(200 << 20)
    assert str(caught.value) == (
        "GPU 0 is out of memory: 200.0 MB more were asked for in layer 'dense_3'; gpunet's arrays "
        "take 900.0 MB of the 1.0 GB that GPUNET_GPU_MEMORY='1GB' allows; 7.1 GB of the GPU's "
        "8.0 GB are free. Smaller batches need less"
    )
    assert isinstance(caught.value, MemoryError)
    assert isinstance(caught.value.__cause__, OutOfMemoryError)
    assert gpu.free_bytes(cupy) == 124 << 20
    cupy.allocator(124 << 20)


def test_out_of_memory_without_a_limit(cupy):
    gpu.enter(cupy)
    cupy.allocator(TOTAL)
    with pytest.raises(DeviceMemoryError, match="GPU 0 .* 3 bytes more .* take 8.0 GB; 0 bytes of"):
        cupy.allocator(3)


def test_a_wrong_limit_is_said_before_anything_is_made(cupy, monkeypatch):
    monkeypatch.setenv("GPUNET_GPU_MEMORY", "lots")
    for _ in range(2):
        with pytest.raises(DeviceError, match="GPUNET_GPU_MEMORY='lots'"):
            gpu.enter(cupy)


def test_clear_session_gives_memory_back(cupy):
    gpu.enter(cupy)
    cupy.allocator(100)
    cupy.pools[0].kept, cupy.pinned.kept = 50, 20
    room = memory.empty((memory.LEAST,), "uint8")
    room[...] = 1
    del room
    assert memory._free._total >= memory.LEAST
    K.clear_session()
    assert (cupy.pools[0].used, cupy.pools[0].kept, cupy.pinned.kept) == (100, 0, 0)
    assert cupy.log[-1] == "waited" and memory._free._total == 0
    again = memory.empty((memory.LEAST,), "uint8")
    np.testing.assert_equal(again.shape, (memory.LEAST,))


def test_large_arrays_come_through_pinned_memory(cupy, monkeypatch):
    pinned = []

    def empty_pinned(shape, dtype):
        pinned.append(np.empty(shape, dtype))
        return pinned[-1]

    class Array:
        def __init__(self, nbytes):
            self.nbytes, self.shape, self.dtype = nbytes, (2,), np.dtype("float32")

        def get(self, out):
            out[...] = 3
            return out

    monkeypatch.setitem(sys.modules, "cupyx", types.SimpleNamespace(empty_pinned=empty_pinned))
    cupy.asnumpy = lambda array: "plain"
    assert gpu.to_host(Array(2 << 20)) is pinned[0] and pinned[0].tolist() == [3, 3]
    assert gpu.to_host(Array(100)) == gpu.to_host(Array(1 << 30)) == "plain" and len(pinned) == 1
