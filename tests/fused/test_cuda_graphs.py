"""The graphs' own layer, and that the stand-in for CUDA which proves it catches planted faults."""

import gc
import threading

import fake_cuda
import fake_device
import numpy as np
import pytest
from fake_cuda import StalePointer, WrongMemory
from fake_device import HiddenSync

from gpunet.fused.graphs import Graphs


@pytest.fixture
def cuda():
    with fake_cuda.fake_cuda() as cuda:
        yield cuda


@pytest.fixture
def xp(cuda):
    return fake_device.module


def host(a):
    return fake_device.to_host(a)


def test_a_launch_does_it_again_on_what_is_there_then(cuda, xp):
    x, total = xp.asarray(np.arange(3.0)), xp.zeros(3)

    def work():
        nonlocal total
        y = xp.exp(x)[::-1] * 2
        total += y
        return y

    graphs = Graphs(xp)
    graph, y = graphs.capture(work)
    np.testing.assert_array_equal(host(total), 0)  # nothing was done yet
    x[...] = xp.asarray(np.ones(3))
    graphs.launch(graph)
    graphs.launch(graph)
    np.testing.assert_allclose(host(y), 2 * np.e)
    np.testing.assert_allclose(host(total), 4 * np.e)
    assert (cuda.captures, cuda.launches) == (1, 2) and gc.isenabled()


def test_few_launches_are_under_way(cuda, xp, monkeypatch):
    waited = []
    monkeypatch.setattr(fake_cuda.Event, "synchronize", lambda self: waited.append(self))
    graphs = Graphs(xp)
    graph, _ = graphs.capture(lambda: None)
    for _ in range(10):
        graphs.launch(graph)
    assert len(waited) == 6 == len(set(map(id, waited)))


@pytest.mark.parametrize(
    "fault",
    [
        lambda xp, x: float(x[0]),
        lambda xp, x: x.item(),
        lambda xp, x: x if x[0] > 0 else -x,
        lambda xp, x: x[x > 0],
        lambda xp, x: xp.nonzero(x),
        lambda xp, x: xp.where(x > 0),
        lambda xp, x: x[[0, 1]],
        lambda xp, x: xp.asarray(np.ones(3)) + x,
        lambda xp, x: xp.asarray(1.0) + x,
        lambda xp, x: fake_device.to_host(x),
        lambda xp, x: xp.matmul(x, x),
        lambda xp, x: x @ x,
        lambda xp, x: xp.dot(x, x),
        lambda xp, x: xp.einsum("i,i->", x, x),
        lambda xp, x: xp.linalg.norm(x),
        lambda xp, x: xp.argsort(x),
        lambda xp, x: xp.cuda.get_current_stream().synchronize(),
        lambda xp, x: xp.cuda.Stream().begin_capture(),
        lambda xp, x: np.add(x, 1),
    ],
)
def test_what_a_capture_refuses(cuda, xp, fault):
    x = xp.asarray(np.arange(3.0))
    graphs = Graphs(xp)
    with pytest.raises((TypeError, RuntimeError)):
        graphs.capture(lambda: fault(xp, x))
    # All is as before, and the next capture works.
    assert cuda.capture is None and cuda.allocator is None and cuda.current is cuda.null
    np.testing.assert_array_equal(host(x), np.arange(3.0))
    graph, y = graphs.capture(lambda: x + 1)
    graphs.launch(graph)
    np.testing.assert_array_equal(host(y), np.arange(1.0, 4.0))


def test_allocations_from_elsewhere(cuda, xp):
    def work():
        with cuda.using_allocator(None):
            return xp.zeros(3)

    with pytest.raises(WrongMemory):
        Graphs(xp).capture(work)


def test_work_on_another_stream(cuda, xp):
    x = xp.zeros(3)

    def work():
        with cuda.null:
            return x + 1

    with pytest.raises(HiddenSync):
        Graphs(xp).capture(work)


def test_stale_pointers(cuda, xp):
    graphs, rooms = Graphs(xp), [xp.zeros(3)]
    graph, y = graphs.capture(lambda: rooms[0] + 1)
    graphs.launch(graph)
    rooms[0] = xp.zeros(3)  # rebound: the old one is gone
    with pytest.raises(StalePointer):
        graphs.launch(graph)


def test_memory_that_was_let_go_in_a_capture_holds_garbage(cuda, xp):
    """It is another array's by then, so what still reads it reads that."""
    x, kept = xp.asarray(np.arange(3.0)), []

    def work():
        made = x * 2
        kept.append(made._values)  # a pointer without a reference
        y = made + 1
        del made
        return y

    graphs = Graphs(xp)
    graph, y = graphs.capture(work)
    assert np.all(host(y) != np.arange(3.0) * 2 + 1)  # nor is there a result before a launch
    graphs.launch(graph)
    np.testing.assert_array_equal(host(y), np.arange(3.0) * 2 + 1)
    assert np.all(kept[0] > 1e100)


def test_running_out_of_memory_gives_nothing_back():
    """What CuPy does then would take away what other graphs use."""
    with fake_cuda.fake_cuda(memory=100):
        xp = fake_device.module
        x = xp.zeros(4)
        graphs = Graphs(xp)
        graph, y = graphs.capture(lambda: x + 1)
        with pytest.raises(MemoryError, match="bytes"):
            graphs.capture(lambda: xp.zeros(100))
        graphs.launch(graph)
        np.testing.assert_array_equal(host(y), 1)


def test_one_capture_at_a_time(cuda, xp):
    x, start, found = xp.zeros(3), threading.Event(), []

    def slow():
        start.set()
        for _ in range(50):
            y = x + 1
        return y

    def other():
        start.wait(20)
        found.append(Graphs(xp).capture(lambda: 7)[1])

    thread = threading.Thread(target=other)
    thread.start()
    Graphs(xp).capture(slow)
    thread.join(20)
    assert found == [7]
