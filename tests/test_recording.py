"""Recorded functions: what replays do, and what isn't recorded."""

import threading

import fake_device
import numpy as np
import pytest

from gpunet import ops, recording
from gpunet.autodiff import GradientTape, Recorded, Tape
from gpunet.ops import random
from gpunet.recording import constant, effect
from gpunet.tensor import Tensor
from gpunet.variables import Variable


def tensors(*shapes, dtype="float32"):
    generator = np.random.default_rng(3)
    return [Tensor(generator.normal(size=shape).astype(dtype)) for shape in shapes]


class Counted:
    """A function that counts how often its Python runs."""

    def __init__(self, function):
        self.function, self.calls = function, 0
        self.recorded = Recorded(self, "test")

    def __call__(self, *inputs):
        self.calls += 1
        return self.function(*inputs)


def replayed(function, *inputs, times=5):
    """Run a function several times; return the results of the last and the Counted."""
    counted = Counted(function)
    for _ in range(times):
        results = counted.recorded(*inputs)
    return results, counted


def test_python_runs_twice_and_replays_give_the_same_bits():
    w, b = Variable(tensors((5, 4))[0].array), Variable(np.ones(4, "float32"))

    def f(x, y):
        h = ops.tanh(ops.dense(x, w, b)) * 2.0 + y
        return [ops.softmax(h), None, ops.sum(h, axis=0)]

    x, y = tensors((3, 5), (3, 4))
    (first, none, second), counted = replayed(f, x, y)
    assert counted.calls == 2 and counted.recorded.reason is None and none is None
    want = f(x, y)
    np.testing.assert_array_equal(first, want[0].array)
    np.testing.assert_array_equal(second, want[2].array)
    w.assign(w.numpy() * 3)  # variables are read anew
    np.testing.assert_array_equal(counted.recorded(x, y)[0], f(x, y)[0].array)
    x2, y2 = tensors((2, 5), (2, 4))  # another kind of inputs
    for calls in (4, 5, 5):
        result = counted.recorded(x2, y2)[0]
        np.testing.assert_array_equal(result, f(x2, y2)[0].array)
        assert counted.calls == calls - 1


def test_gradients_are_part_of_it():
    w = Variable(tensors((4, 4))[0].array)

    def f(x):
        tape = Tape()
        tape.start()
        h = ops.matmul(x, w)
        loss = ops.sum(ops.square(h) * h + ops.matmul(h, w))  # two ways to each of h and w
        tape.stop()
        seed = constant(np.ones((), "float32"))
        return tape.pull({id(loss): seed}, [w])

    (x,) = tensors((3, 4))
    (grad,), counted = replayed(f, x)
    assert counted.calls == 2 and counted.recorded.reason is None
    np.testing.assert_array_equal(grad, f(x)[0])
    (other,) = tensors((3, 4))
    other = Tensor(other.array + 1)
    np.testing.assert_array_equal(counted.recorded(other)[0], f(other)[0])
    assert np.any(counted.recorded(other)[0] != grad)


def test_casts_and_numbers():
    def f(x, n):
        return [ops.add(x, n) * 2, ops.maximum(n, 1), ops.cast(n, "float32") / 3]

    x = tensors((2, 3))[0]
    n = Tensor(np.array([1, 2, 3], "int64"))
    results, counted = replayed(f, x, n)
    assert counted.calls == 2
    for got, want in zip(results, f(x, n), strict=True):
        np.testing.assert_array_equal(got, want.array)
        assert got.dtype == want.dtype


def test_variables_are_written_and_effects_happen_each_time():
    total, seen = Variable(np.zeros(3, "float32")), []

    def f(x):
        total.assign_add(x)
        total.assign_sub(0.5)
        effect(lambda a: seen.append(a.sum()), (x * 2.0).array)
        return [total * 1.0]

    x = Tensor(np.ones(3, "float32"))
    (result,), counted = replayed(f, x, times=6)
    assert counted.calls == 2
    np.testing.assert_array_equal(total.numpy(), np.full(3, 3.0))
    np.testing.assert_array_equal(result, np.full(3, 3.0))
    assert seen == [6.0] * 6


def test_random_numbers_go_on():
    def f(x):
        return [random.dropout(x, 0.5)]

    x = Tensor(np.ones((4, 8), "float32"))
    random.set_seed(5)
    want = [f(x)[0].numpy() for _ in range(6)]
    random.set_seed(5)
    counted = Counted(f)
    got = [counted.recorded(x)[0] for _ in range(6)]
    assert counted.calls == 2
    np.testing.assert_array_equal(got, want)
    assert np.any(got[4] != got[5])


@pytest.mark.parametrize(
    "function",
    [
        lambda x: [x * Tensor(np.ones(3, "float32"))],  # an array from nowhere
        lambda x: [ops.add(x, np.ones(3, "float32"))],
        lambda x: [x * float(ops.sum(x))],  # read by the host
        lambda x: [x * 1.0, x.numpy()],
        lambda x: [ops.add(x, x.array.max())],  # computed outside of ops
        lambda x: [Tensor(x.array + 1)],
    ],
)
def test_what_is_not_recorded_runs_as_it_is(function):
    (x,) = tensors((2, 3))
    results, counted = replayed(function, x)
    assert counted.calls == 5 and counted.recorded.reason
    for n in range(3):
        x = Tensor(x.array * 2 + n)
        for got, want in zip(counted.recorded(x), function(x), strict=True):
            np.testing.assert_array_equal(got, getattr(want, "array", want))


def test_constants_may_come_from_anywhere():
    ones = constant(np.ones(3, "float32"))
    (result,), counted = replayed(lambda x: [x * Tensor(ones)], *tensors((2, 3)))
    assert counted.calls == 2
    np.testing.assert_array_equal(result, tensors((2, 3))[0].array)


def test_a_tape_around_it_sees_ops():
    counted = Counted(lambda x: [ops.square(x)])
    (x,) = tensors((2, 3))
    for _ in range(3):
        counted.recorded(x)
    with GradientTape() as tape:
        tape.watch(x)
        counted.recorded(x)
    assert counted.calls == 3 and tape._tape.entries


def test_changes_drop_recordings_and_too_many_end_it():
    counted = Counted(lambda x: [x * 2.0])
    (x,) = tensors((2, 3))
    for n in range(30):
        for _ in range(3):
            counted.recorded(x)
        assert counted.calls == 2 * (n + 1) or n > 15
        recording.edited()
    assert "keep changing" in counted.recorded.reason


def test_an_exception_leaves_no_recorder_behind():
    class Wrong(Exception):
        pass

    def f(x):
        if counted.calls == 2:
            raise Wrong
        return [x * 2.0]

    counted = Counted(f)
    (x,) = tensors((2, 3))
    counted.recorded(x)
    with pytest.raises(Wrong):
        counted.recorded(x)
    assert recording.current() is None and recording.active is None
    for _ in range(3):
        np.testing.assert_array_equal(counted.recorded(x)[0], x.array * 2)
    assert counted.calls == 3


def test_threads_record_one_at_a_time_and_replay_at_once():
    counted = Counted(lambda x: [ops.softmax(ops.exp(x) * 2.0)])
    found, start = {}, threading.Barrier(4)

    def work(i):
        start.wait(20)
        x = Tensor(np.full((3, 4), i, "float32") * np.arange(4, dtype="float32"))
        want = counted.function(x)[0].array
        found[i] = all(np.array_equal(counted.recorded(x)[0], want) for _ in range(50))

    workers = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert found == dict.fromkeys(range(4), True)
    assert recording.active is None


def test_many_kinds_of_inputs():
    counted = Counted(lambda x: [x + 1.0])
    for n in range(100):
        for _ in range(3):
            result = counted.recorded(Tensor(np.full(n, n, "float32")))[0]
            np.testing.assert_array_equal(result, np.full(n, n + 1, "float32"))


def test_arrays_are_let_go():
    """A replay holds nothing after it, and no more than it needs meanwhile."""
    _, counted = replayed(lambda x: [ops.tanh(ops.tanh(ops.tanh(x)))], *tensors((2, 3)))
    (replay,) = counted.recorded._replays.values()
    assert replay.source.count("del ") >= 2
    assert not any(isinstance(v, np.ndarray) for v in replay.__globals__.values())


def test_on_a_device():
    with fake_device.fake_device() as device:
        w = Variable(np.ones((3, 3), "float32"))
        x = Tensor(device.xp.asarray(np.ones((2, 3), "float32")))
        own = random.Generator(3)  # the default one would stay on the device
        counted = Counted(lambda x: [random.dropout(ops.matmul(x, w), 0.5, generator=own) * 2.0])
        for _ in range(3):
            counted.recorded(x)
        with fake_device.capture():
            (y,) = counted.recorded(x)
        assert counted.calls == 2
        assert set(np.unique(fake_device.to_host(y))) <= {0.0, 12.0}
