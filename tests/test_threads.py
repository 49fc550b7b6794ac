"""The pool of CPU threads: who does what, exceptions, nesting, forks."""

import contextvars
import os
import signal
import threading
import time

import numpy as np
import pytest

from gpunet import threads

pytestmark = pytest.mark.skipif(threads._openblas() is None, reason="NumPy's BLAS isn't OpenBLAS")


@pytest.fixture(autouse=True)
def three_threads(monkeypatch):
    monkeypatch.setenv("GPUNET_THREADS", "3")


def blas_threads():
    return threads._openblas()[0]()


@pytest.mark.parametrize("tasks", [0, 1, 2, 3, 50])
def test_every_task_is_done_once(tasks):
    done = []
    for _ in range(20):
        threads.spread(tasks, lambda: done.append)
        assert sorted(done) == list(range(tasks))
        done.clear()


def test_helpers_work_and_none_is_added_later():
    both = threading.Barrier(3, timeout=20)
    names = set()

    def start():
        def work(i):
            names.add(threading.current_thread().name)
            both.wait()

        return work

    threads.spread(3, start)
    assert len(names) == 3
    before = threading.active_count()
    for _ in range(50):
        threads.spread(8, lambda: lambda i: None)
    assert threading.active_count() == before


def test_one_thread_stays_alone(monkeypatch):
    monkeypatch.setenv("GPUNET_THREADS", "1")
    found = set()
    threads.spread(20, lambda: lambda i: found.add((threading.get_ident(), blas_threads())))
    assert found == {(threading.get_ident(), 1)}


def test_helpers_that_are_busy_elsewhere_are_not_waited_for():
    free, busy = threading.Event(), threading.Semaphore(0)

    def hold():
        busy.release()
        assert free.wait(20)

    others = [
        threading.Thread(target=threads.spread, args=(3, lambda: lambda i: hold()), daemon=True)
        for _ in range(2)
    ]
    for other in others:
        other.start()
    # Two callers and two helpers: one task each.
    for _ in range(4):
        assert busy.acquire(timeout=20)
    done = []
    threads.spread(10, lambda: done.append)
    assert sorted(done) == list(range(10))
    free.set()
    for other in others:
        other.join(20)
        assert not other.is_alive()


@pytest.mark.parametrize("where", ["caller", "helper", "start"])
def test_an_exception_waits_for_the_tasks_in_progress(where):
    caller = threading.get_ident()
    before, running = blas_threads(), []
    begun = threading.Semaphore(0)

    def start():
        mine = threading.get_ident() == caller
        if where == "start" and mine:
            raise ArithmeticError("no task")

        def work(i):
            begun.release()
            if mine:
                assert begun.acquire(timeout=20) and begun.acquire(timeout=20)
            if mine == (where == "caller"):
                raise ArithmeticError("a task")
            running.append(i)
            time.sleep(0.02)
            running.remove(i)

        return work

    with pytest.raises(ArithmeticError):
        threads.spread(4, start)
    assert not running
    assert blas_threads() == before
    done = []
    threads.spread(30, lambda: done.append)
    assert sorted(done) == list(range(30))


@pytest.mark.skipif(
    threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"),
    reason="signals reach the main thread alone",
)
def test_an_interrupt_waits_for_the_tasks_in_progress():
    caller, running = threading.get_ident(), []
    begun = threading.Semaphore(0)

    def start():
        def work(i):
            if threading.get_ident() == caller:
                assert begun.acquire(timeout=20) and begun.acquire(timeout=20)
                signal.setitimer(signal.ITIMER_REAL, 0.05)
                return
            running.append(i)
            begun.release()
            time.sleep(0.2)
            running.remove(i)

        return work

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            threads.spread(3, start)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert not running


def test_tasks_may_spread_themselves():
    done = []

    def start():
        def work(i):
            threads.spread(5, lambda: lambda j: done.append((i, j)))

        return work

    threads.spread(6, start)
    assert sorted(done) == [(i, j) for i in range(6) for j in range(5)]


def test_helpers_see_the_callers_context():
    setting = contextvars.ContextVar("setting", default=0)
    token = setting.set(7)
    found = []
    both = threading.Barrier(3, timeout=20)

    def work(i):
        both.wait()
        found.append(setting.get())

    threads.spread(3, lambda: work)
    setting.reset(token)
    assert found == [7, 7, 7]


def test_callers_do_not_mix_up_their_tasks():
    rng = np.random.default_rng(0)
    a = rng.standard_normal((8, 64, 64))
    wrong = []

    def call():
        for _ in range(100):
            out = np.zeros_like(a)
            threads.spread(8, lambda out=out: lambda i: np.matmul(a[i], a[i], out=out[i]))
            if not np.array_equal(out, wanted):
                wrong.append(1)

    with threads.one_blas_thread():
        wanted = np.stack([m @ m for m in a])
        callers = [threading.Thread(target=call) for _ in range(4)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join(60)
    assert not wrong


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_has_helpers_of_its_own():
    threads.spread(9, lambda: lambda i: None)
    child = os.fork()
    if not child:
        done = []
        threads.spread(9, lambda: done.append)
        os._exit(0 if sorted(done) == list(range(9)) else 1)
    assert os.waitpid(child, 0)[1] == 0
