"""Ctrl-C: the weights are those of a whole step, and everything can go on."""

import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

from gpunet.layers import Dense
from gpunet.models import Sequential
from gpunet.optimizers import SGD
from gpunet.training.interrupts import Interrupts

pytestmark = pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals")


@pytest.fixture(autouse=True)
def signals_arrive():
    """Background jobs are started with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


# SGD whose update takes several slow sweeps, with Python in between, so that most signals come
# while weights are half written.  After k whole steps every weight is -k, bias and kernels alike.
PROGRAM = """
import os, random, signal, sys, threading, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs ignore it
import numpy as np
from gpunet import ops, optimizers
from gpunet.layers import Dense
from gpunet.models import Sequential


class Slow(optimizers.SGD):
    def update(self, xp, coefficients, w, g, slots, scratch):
        for i in range(4):
            w[i::4] -= 1
            for _ in range(200):
                pass


def fail():
    print("weights", [np.unique(w) for w in model.get_weights()], int(model.optimizer.iterations))
    sys.exit(1)


def check():
    values = np.unique(np.concatenate([w.ravel() for w in model.get_weights()]))
    if len(values) != 1 or -values[0] != int(model.optimizer.iterations):
        fail()
    return int(-values[0])


rounds, mode = int(sys.argv[1]), sys.argv[2]
x, y = np.ones((64, 8), "float32"), np.ones((64, 1), "float32")
model = Sequential([Dense(8, kernel_initializer="zeros", input_shape=(8,)),
                    Dense(8, kernel_initializer="zeros"), Dense(1, kernel_initializer="zeros")])
model.compile(Slow(0.1), "mse", metrics=["mae"])
caught = 0


class Stop(Exception):
    pass


def own(number, frame):
    raise Stop


if mode == "own":
    signal.signal(signal.SIGINT, own)
before = signal.getsignal(signal.SIGINT)
rng = random.Random(0)
with np.errstate(all="ignore"):
    model.fit(x, y, batch_size=8, verbose=0)
    for _ in range(rounds):
        timer = threading.Timer(rng.random() * 0.02, os.kill, (os.getpid(), signal.SIGINT))
        was = check()
        try:
            timer.start()
            if mode == "single":
                while True:
                    model.train_on_batch(x[:8], y[:8])
            model.fit(x, y, batch_size=8, epochs=10**6, verbose=0)
        except (KeyboardInterrupt, Stop) as error:
            caught += isinstance(error, Stop if mode == "own" else KeyboardInterrupt)
        if signal.getsignal(signal.SIGINT) is not before:
            sys.exit("the handler was not restored")
        if check() < was:
            fail()
    from gpunet.autodiff import recording
    from gpunet.context import learning_phase
    assert not recording() and learning_phase() == 0
    now = check()
    model.fit(x, y, batch_size=8, verbose=0)
    assert check() == now + 8
print("caught", caught)
"""


@pytest.mark.parametrize("mode", ["fit", "single", "own"])
def test_signals_at_random_moments(mode):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "40", mode], capture_output=True, text=True, timeout=120,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "caught 40\n"), done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["fit", "single", "own"])
def test_many_signals_at_random_moments(mode):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "1500", mode], capture_output=True, text=True, timeout=600
    )
    assert (done.returncode, done.stdout) == (0, "caught 1500\n"), done.stdout + done.stderr


def regression(rng):
    x = rng.standard_normal((64, 3)).astype("float32")
    return x, x.sum(1)


def adam():
    model = Sequential([Dense(4, input_shape=(3,), kernel_initializer="ones"), Dense(1)])
    model.layers[1].set_weights([np.ones((4, 1)), np.zeros(1)])
    model.compile("adam", "mse")
    return model


@pytest.mark.parametrize("steps", [1, 5, 13])
def test_interrupted_in_a_callback_equals_a_prefix(rng, steps):
    from gpunet.callbacks import Callback

    class Interrupt(Callback):
        left = steps

        def on_train_batch_end(self, batch, logs=None):
            self.left -= 1
            if not self.left:
                os.kill(os.getpid(), signal.SIGINT)

    x, y = regression(rng)
    model, plain = adam(), adam()
    with pytest.raises(KeyboardInterrupt):
        model.fit(x, y, batch_size=8, epochs=9, shuffle=False, callbacks=[Interrupt()], verbose=0)
    for i in range(steps):
        rows = slice(i % 8 * 8, i % 8 * 8 + 8)
        plain.train_on_batch(x[rows], y[rows])
    assert int(model.optimizer.iterations) == steps
    for got, want in zip(model.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(got, want)
    assert len(model.fit(x, y, epochs=2, verbose=0).epoch) == 2


def test_signal_during_an_update_waits_for_its_end(rng):
    seen = []

    class Signalling(SGD):
        def update(self, xp, coefficients, w, g, slots, scratch):
            seen.append("before")
            os.kill(os.getpid(), signal.SIGINT)
            super().update(xp, coefficients, w, g, slots, scratch)
            seen.append("after")

    x, y = regression(rng)
    model = Sequential([Dense(1, input_shape=(3,))])
    model.compile(Signalling(0.1), "mse")
    before = signal.getsignal(signal.SIGINT)
    for call in (model.fit, model.train_on_batch):
        seen.clear()
        with pytest.raises(KeyboardInterrupt):
            call(x, y)
        assert seen == ["before", "after"] and signal.getsignal(signal.SIGINT) is before


def test_state_that_layers_write_belongs_to_whole_steps_too(rng):
    class Counting(Dense):
        def build(self, input_shape):
            super().build(input_shape)
            self.count = self.add_weight("count", (), initializer="zeros", trainable=False)

        def call(self, x, training=None):
            if training:
                self.count.assign_add(1.0)
                os.kill(os.getpid(), signal.SIGINT)
            return super().call(x)

    model = Sequential([Counting(4, input_shape=(3,)), Dense(1)])
    model.compile("sgd", "mse")
    for done in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            model.fit(*regression(rng), verbose=0)
        assert float(model.layers[0].count) == int(model.optimizer.iterations) == done


def test_a_handler_that_returns_is_called_every_time(rng):
    model, calls = adam(), []

    def stop(number, frame):
        calls.append(number)
        model.stop_training = len(calls) == 3

    class Signal:
        def on_epoch_begin(self, epoch, logs):
            os.kill(os.getpid(), signal.SIGINT)

    previous = signal.signal(signal.SIGINT, stop)
    try:
        history = model.fit(*regression(rng), epochs=9, callbacks=[Signal()], verbose=0)
        assert signal.getsignal(signal.SIGINT) is stop
    finally:
        signal.signal(signal.SIGINT, previous)
    assert calls == [signal.SIGINT] * 3 and history.epoch == [0, 1, 2]


def test_ignored_signals_stay_ignored(rng):
    class Signal:
        def on_batch_end(self, batch, logs):
            os.kill(os.getpid(), signal.SIGINT)

    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        adam().fit(*regression(rng), callbacks=[Signal()], verbose=0)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, previous)


def test_in_another_thread_training_goes_on(rng):
    x, y = regression(rng)
    model, result = adam(), []
    before = signal.getsignal(signal.SIGINT)
    started = threading.Event()

    class Started:
        def on_epoch_begin(self, epoch, logs):
            started.set()

    def work():
        result.append(model.fit(x, y, epochs=30, callbacks=[Started()], verbose=0))

    thread = threading.Thread(target=work)
    with pytest.raises(KeyboardInterrupt):
        thread.start()
        started.wait(10)
        os.kill(os.getpid(), signal.SIGINT)
        thread.join(10)
    thread.join(20)
    assert len(result[0].epoch) == 30 and signal.getsignal(signal.SIGINT) is before


def test_interrupts_nest():
    before = signal.getsignal(signal.SIGINT)
    with Interrupts() as outer:
        outer.hold()
        with Interrupts() as inner:
            inner.hold()
            os.kill(os.getpid(), signal.SIGINT)
            inner.release()  # to the outer one, which holds too
        with pytest.raises(KeyboardInterrupt):
            outer.release()
    assert signal.getsignal(signal.SIGINT) is before


def test_holds_again_after_someone_caught_the_interrupt():
    with Interrupts() as interrupts:
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        interrupts.hold()
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            interrupts.release()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_scopes_that_an_interrupt_left_open_end_with_fit(rng):
    from gpunet.autodiff import recording
    from gpunet.context import learning_phase, learning_phase_scope

    class Unlucky(Dense):
        calls = 0

        def call(self, x):
            self.calls += 1
            if self.calls == 3:
                learning_phase_scope(1).__enter__()  # the signal comes before the block begins
                raise KeyboardInterrupt
            return super().call(x)

    model = Sequential([Unlucky(1, input_shape=(3,))])
    model.compile("sgd", "mse")
    for _ in range(2):
        model.layers[0].calls = 0
        with pytest.raises(KeyboardInterrupt):
            model.fit(*regression(rng), epochs=9, verbose=0)
        assert learning_phase() == 0 and not recording()
