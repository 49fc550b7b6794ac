"""Subnormal numbers count as zero inside of steps and nowhere else."""

import threading

import numpy as np
import pytest

import gpunet
from gpunet import subnormals, threads
from gpunet.optimizers import RMSprop
from gpunet.variables import Variable

pytestmark = pytest.mark.skipif(
    subnormals._switch() is None, reason="no known way to flush subnormals on this machine"
)


def half_of_the_smallest(dtype="float32"):
    return np.full(40, np.finfo(dtype).tiny, dtype) * np.dtype(dtype).type(0.5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_they_vanish_inside_and_stay_outside(dtype):
    assert half_of_the_smallest(dtype).all()
    with subnormals.flushed():
        assert not half_of_the_smallest(dtype).any()
        with subnormals.flushed():
            assert not half_of_the_smallest(dtype).any()
        assert not half_of_the_smallest(dtype).any()
    assert half_of_the_smallest(dtype).all()


def test_an_exception_puts_it_back():
    with pytest.raises(KeyError), subnormals.flushed():
        raise KeyError
    assert half_of_the_smallest().all()


def test_threads_that_run_already_are_left_alone():
    go, found = threading.Event(), []

    def look():
        go.wait(20)
        found.append(half_of_the_smallest().all())

    thread = threading.Thread(target=look)
    thread.start()
    with subnormals.flushed():
        go.set()
        thread.join(20)
    assert found == [True]


def test_spread_work_is_flushed_in_every_thread(monkeypatch):
    monkeypatch.setenv("GPUNET_THREADS", "3")
    both = threading.Barrier(3, timeout=20)
    found = []

    def work(i):
        both.wait()
        found.append(half_of_the_smallest().any())

    threads.spread(3, lambda: work)
    assert found == [False] * 3
    assert half_of_the_smallest().all()


def test_means_of_gradients_that_stay_away_reach_zero():
    optimizer = RMSprop(0.01, rho=0.5)
    weight = Variable(np.ones(8, "float32"))
    optimizer.apply([weight], [np.full(8, 1e-18, "float32")])
    for _ in range(20):
        optimizer.apply([weight], [np.zeros(8, "float32")])
    count, rms = optimizer.get_weights()
    assert count == 21 and not rms.any()
    assert half_of_the_smallest().all()


def test_training_leaves_the_thread_as_it_was():
    model = gpunet.models.Sequential([gpunet.layers.Dense(2, input_shape=(3,))])
    model.compile("sgd", "mse")
    model.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0)
    model.evaluate(np.ones((4, 3)), np.ones((4, 2)), verbose=0)
    model.predict(np.ones((4, 3)))
    assert half_of_the_smallest().all()
