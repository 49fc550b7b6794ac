"""The strict device refuses what a GPU would refuse while a graph is captured."""

import fake_device
import numpy as np
import pytest

from gpunet import arrays, ops
from gpunet.autodiff import GradientTape
from gpunet.tensor import convert_to_tensor

READS = {
    "float": float,
    "int": int,
    "bool": bool,
    "index": lambda a: [1, 2][a],
    "iteration": list,
    "membership": lambda a: 1 in a,
    "item": lambda a: a.item(),
    "tolist": lambda a: a.tolist(),
    "asarray": np.asarray,
    "numpy function": np.exp,
    "numpy reduction": np.sum,
    "numpy join": lambda a: np.concatenate([a, a]),
    "plus numpy": lambda a: a + np.ones(3),
    "numpy plus": lambda a: np.ones(3) + a,
    "numpy argument": lambda a: fake_device.module.add(a, np.ones(3)),
    "mask": lambda a: a[a > 0],
    "mask assignment": lambda a: a.__setitem__(a > 0, 0),
    "list index": lambda a: a[[0, 1]],
    "numpy index": lambda a: a[np.array([0, 1])],
    "nonzero": lambda a: fake_device.module.nonzero(a),
    "numpy assignment": lambda a: a.__setitem__(slice(None), np.ones(3)),
    "numpy in place": lambda a: a.__iadd__(np.ones(3)),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_reads_are_refused(read):
    with fake_device.fake_device() as device:
        with pytest.raises(TypeError):
            read(device.xp.asarray(np.arange(3.0)))


def test_copies_are_refused_during_capture():
    with fake_device.fake_device() as device:
        a = device.xp.asarray(np.ones(3))
        with fake_device.capture():
            with pytest.raises(TypeError, match="host"):
                device.xp.asarray(np.ones(3))
            with pytest.raises(TypeError, match="host"):
                arrays.to_host(a)
            assert device.xp.zeros(3) is not None
        assert arrays.to_host(a).tolist() == [1, 1, 1]


def test_arithmetic_is_numpys():
    with fake_device.fake_device() as device:
        a = device.xp.asarray(np.arange(3.0, dtype="float32"))
        b = (2 * a + np.float32(1)) ** 2 - a[::-1] / 2
        assert b.dtype == "float32" and b.shape == (3,)
        b += a
        b[0] = 7
        device.xp.add.at(b, device.xp.asarray(np.array([1, 1])), 1.0)
        np.testing.assert_allclose(arrays.to_host(b), [7, 11.5, 27])


def test_everything_is_put_back():
    known, alone = dict(arrays._MODULES), arrays.only_numpy
    with fake_device.fake_device():
        assert isinstance(convert_to_tensor([1.0]).array, fake_device.FakeArray)
    assert (arrays._MODULES, arrays.only_numpy) == (known, alone)
    assert isinstance(convert_to_tensor([1.0]).array, np.ndarray)


def test_a_hidden_sync_shows():
    with fake_device.fake_device():
        x = convert_to_tensor([1.0, -2.0])
        with pytest.raises(TypeError), fake_device.capture():
            if ops.sum(x) > 0:
                raise AssertionError


def test_a_step_runs_without_the_host():
    """Forward, loss, gradients and an update in place, all while a graph is captured."""
    rng = np.random.default_rng(0)
    with fake_device.fake_device():
        x, t = (convert_to_tensor(rng.random((8, n)).astype("float32")) for n in (5, 3))
        values = rng.random((5, 3)).astype("float32"), np.zeros(3, "float32")
        kernel, bias = (convert_to_tensor(a) for a in values)
        generator = ops.random.Generator(0)
        generator.draw(1)
        losses = []
        for _ in range(20):
            with fake_device.capture():
                with GradientTape() as tape:
                    tape.watch([kernel, bias])
                    h = ops.random.dropout(x, 0.1, generator=generator)
                    y = ops.softmax(ops.dense(h, kernel, bias))
                    loss = ops.mean(
                        ops.categorical_crossentropy(t / ops.sum(t, axis=1, keepdims=True), y)
                    )
                for w, g in zip((kernel, bias), tape.gradient(loss, [kernel, bias])):
                    w.array -= 0.5 * g.array
            losses.append(loss.item())
        assert losses[-1] < losses[0]
