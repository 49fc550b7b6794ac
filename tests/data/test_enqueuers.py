"""Loader and enqueuers: order, ends, errors, and nothing left behind."""

import itertools
import threading
import time

import numpy as np
import pytest

from gpunet.data.loader import Loader
from gpunet.utils import GeneratorEnqueuer, OrderedEnqueuer, Sequence


def threads():
    return [t for t in threading.enumerate() if t.name.startswith("gpunet-loader")]


def late(job):
    time.sleep((job * 7 % 5) / 1000)
    return job * job


@pytest.mark.parametrize("count", [1, 2, 5])
def test_items_come_in_order(count):
    loader = Loader([late] * count, range(40), 3)
    assert list(loader) == [n * n for n in range(40)]
    assert list(loader) == []
    loader.close()
    assert not threads()


def test_not_more_is_fetched_ahead_than_asked_for():
    fetched = []
    loader = Loader([fetched.append], itertools.count(), 4)
    time.sleep(0.2)
    assert len(fetched) == 4
    next(loader)
    time.sleep(0.2)
    assert len(fetched) == 5
    loader.close()
    assert not threads()


@pytest.mark.parametrize("count", [1, 3])
def test_an_error_comes_in_its_place(count):
    def fetch(job):
        if job == 5:
            raise OSError("bad sector")
        return job

    loader = Loader([fetch] * count, range(40), 10)
    assert list(itertools.islice(loader, 5)) == [0, 1, 2, 3, 4]
    with pytest.raises(OSError, match="bad sector"):
        next(loader)
    loader.close()
    assert not threads()


def test_an_error_of_the_jobs_is_raised_too():
    def jobs():
        yield 1
        raise KeyError("order")

    loader = Loader([late] * 2, jobs(), 4)
    assert next(loader) == 1
    with pytest.raises(KeyError, match="order"):
        next(loader)
    assert list(loader) == []


def test_closing_doesnt_wait_for_a_function_that_hangs():
    hung = threading.Event()
    loader = Loader([lambda _: hung.wait(30)], range(3), 2)
    loader.patience = 0.05
    begun = time.monotonic()
    loader.close()
    assert time.monotonic() - begun < 10
    hung.set()


class Squares(Sequence):
    def __init__(self):
        self.epoch = 0

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return self.epoch * 100 + index

    def on_epoch_end(self):
        self.epoch += 1


@pytest.mark.parametrize("workers", [1, 3])
def test_ordered_enqueuer_goes_on_and_on(workers):
    with OrderedEnqueuer(Squares()) as enqueuer:
        enqueuer.start(workers, max_queue_size=8)
        got = list(itertools.islice(enqueuer.get(), 10))
        assert got == [0, 1, 2, 3, 100, 101, 102, 103, 200, 201] and enqueuer.is_running()
        with pytest.raises(RuntimeError, match="it runs already"):
            enqueuer.start()
    assert not enqueuer.is_running() and not threads()
    with pytest.raises(RuntimeError, match=r"start\(\) it before"):
        enqueuer.get()


def test_ordered_enqueuer_shuffles_within_epochs():
    enqueuer = OrderedEnqueuer(Squares(), shuffle=True)
    enqueuer.start(2)
    got = np.array(list(itertools.islice(enqueuer.get(), 12))).reshape(3, 4)
    enqueuer.stop()
    np.testing.assert_array_equal(np.sort(got % 100), [[0, 1, 2, 3]] * 3)
    np.testing.assert_array_equal(got // 100, [[0] * 4, [1] * 4, [2] * 4])


def test_generator_enqueuer():
    enqueuer = GeneratorEnqueuer(iter(range(5)))
    enqueuer.start(workers=3, max_queue_size=2)
    assert list(enqueuer.get()) == [0, 1, 2, 3, 4]
    enqueuer.stop(timeout=1)
    assert not threads()


def test_a_sequence_that_lacks_something_says_so():
    with pytest.raises(NotImplementedError, match="Sequence needs a __getitem__"):
        Sequence()[0]
    with pytest.raises(NotImplementedError, match="Sequence needs a __len__"):
        len(Sequence())
    assert list(Squares()) == [0, 1, 2, 3]
