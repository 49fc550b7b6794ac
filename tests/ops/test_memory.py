"""Memory that is used again, and never while anything still refers to it."""

import gc
import threading

import numpy as np
import pytest

from gpunet.ops import memory

SHAPE = (1024, 256)


def address(a):
    return a.__array_interface__["data"][0]


@pytest.fixture(autouse=True)
def no_free_rooms(monkeypatch):
    monkeypatch.setattr(memory, "_free", memory._Free())


VIEWS = {
    "itself": lambda a: a,
    "slice": lambda a: a[3:5],
    "element of a slice": lambda a: a[3:5][1:],
    "reshape": lambda a: a.reshape(-1),
    "transpose": lambda a: a.T[::2],
    "other type": lambda a: a.view("int32"),
    "asarray": lambda a: np.asarray(a),
    "buffer": lambda a: memoryview(a),
    "from a buffer": lambda a: np.frombuffer(memoryview(a), "float32"),
    "array in it": lambda a: np.ndarray((4,), "float32", a),
    "strides": lambda a: np.lib.stride_tricks.as_strided(a, (2, 2), (4, 4)),
    "broadcast": lambda a: np.broadcast_to(a, (2, *a.shape)),
    "dlpack": lambda a: np.from_dlpack(a),
    "iterator": lambda a: iter(a),
    "interface": lambda a: np.asarray(Interface(a)),
}


class Interface:
    def __init__(self, a):
        self.a, self.__array_interface__ = a, a.__array_interface__


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_a_view_keeps_its_memory(view):
    a = memory.empty(SHAPE, "float32")
    where = address(a)
    held = view(a)
    del a
    gc.collect()
    assert address(memory.empty(SHAPE, "float32")) != where
    del held
    gc.collect()
    assert address(memory.empty(SHAPE, "float32")) == where


def test_small_arrays_are_numpys_own():
    assert memory.empty((3, 4), "float64").base is None
    assert memory.empty((0, 4), "float64").shape == (0, 4)


def test_another_type_of_the_same_size_fits():
    a = memory.empty(SHAPE, "float32")
    where = address(a)
    del a
    b = memory.empty((SHAPE[0], SHAPE[1] // 2), "float64")
    assert address(b) == where and b.flags.writeable and b.flags.aligned and b.flags.c_contiguous


def test_what_is_kept_is_bounded(monkeypatch):
    monkeypatch.setattr(memory, "MOST", 3 * 2**20)
    for size in range(2**20, 2**20 + 40):
        memory.empty((size,), "uint8")
    assert memory._free._total <= 3 * 2**20
    assert sum(n * len(rooms) for n, rooms in memory._free._kept.items()) == memory._free._total
    memory.empty((4 * 2**20,), "uint8")
    assert 4 * 2**20 not in memory._free._kept


def test_threads_never_share():
    errors = []

    def work(number):
        for _ in range(300):
            a = memory.empty(SHAPE, "int32")
            a[...] = number
            part = a[5]
            del a
            if not (part == number).all():
                errors.append(number)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


def test_an_offer_is_taken_once_by_what_fits():
    mine = np.ones((1024, 512), "float32")
    with memory.offered(mine):
        assert memory.empty((512, 1024), "float32") is not mine
        assert memory.empty((1024, 512), "float64") is not mine
        assert memory.empty((1024, 512), "float32") is mine
        assert memory.empty((1024, 512), "float32") is not mine
    with pytest.raises(ZeroDivisionError), memory.offered(mine):
        raise ZeroDivisionError
    assert memory.empty((1024, 512), "float32") is not mine
