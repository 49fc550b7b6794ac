"""Gradients that are rows of a table: made, added up, clipped, applied; beside dense ones."""

import numpy as np
import pytest
from fake_device import capture, fake_device, to_host

import gpunet
from gpunet import layers, ops, optimizers
from gpunet.autodiff import Tape
from gpunet.autodiff.rows import RowGradient
from gpunet.tensor import Tensor
from gpunet.variables import Variable

RULES = {
    "sgd": lambda **o: optimizers.SGD(0.1, **o),
    "momentum": lambda **o: optimizers.SGD(0.1, momentum=0.9, **o),
    "nesterov": lambda **o: optimizers.SGD(0.1, momentum=0.9, nesterov=True, **o),
    "rmsprop": lambda **o: optimizers.RMSprop(0.1, momentum=0.9, **o),
    "adagrad": lambda **o: optimizers.Adagrad(0.1, **o),
    "adadelta": lambda **o: optimizers.Adadelta(1.0, **o),
    "adamax": lambda **o: optimizers.Adamax(0.1, **o),
    "nadam": lambda **o: optimizers.Nadam(0.1, **o),
    "ftrl": lambda **o: optimizers.Ftrl(0.1, **o),
}
# Rules under which the means of a weight move on when its gradient is zero.
MOVING = {
    "mean_square": lambda **o: optimizers.RMSprop(0.1, **o),
    "centered": lambda **o: optimizers.RMSprop(0.1, centered=True, **o),
}
LEAVING, RULES = RULES, {**RULES, **MOVING}
EVERY = pytest.mark.parametrize("rule", RULES)
NUMBERS = [np.array([4, 1, 4]), np.array([0, 4, 4, 4]), np.array([2, 2, 1])]


def rows_of(numbers, seed, dtype="float32", width=3):
    values = np.random.default_rng(seed).standard_normal((len(numbers), width)).astype(dtype)
    return RowGradient(np, values, numbers, (6, width))


def table(dtype="float32", width=3):
    values = np.random.default_rng(9).standard_normal((6, width))
    return Variable(values, dtype=dtype, name="table")


@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize(
    "numbers",
    [
        *NUMBERS,
        np.array([], int),
        np.array([-1, 5]),
        np.arange(60) % 5,
        np.minimum(np.arange(99), 5),
    ],
)
def test_dense_and_summed(numbers, width):
    grad = rows_of(numbers, 0, width=width)
    want = np.zeros((6, width), "float32")
    np.add.at(want, numbers, grad.values)
    np.testing.assert_allclose(grad.dense(), want, rtol=1e-6, atol=1e-5)
    found, sums = grad.summed()
    assert found.tolist() == sorted({int(n) % 6 for n in numbers})
    np.testing.assert_allclose(sums, want[found], rtol=1e-6, atol=1e-5)
    assert grad.touched().reshape(-1).nonzero()[0].tolist() == found.tolist()
    np.testing.assert_allclose((grad + grad).dense(), 2 * want, rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(grad + np.ones_like(want), want + 1, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("rule", LEAVING)
def test_rows_without_gradient_keep_their_bits(rule):
    optimizer, w = RULES[rule](), table()
    assert optimizer.takes_rows
    before = w.numpy()
    for seed, numbers in enumerate(NUMBERS[:2]):
        optimizer.apply([w], [rows_of(numbers, seed)])
    touched = [0, 1, 4]
    untouched = [2, 3, 5]
    np.testing.assert_array_equal(w.numpy()[untouched], before[untouched])
    assert (w.numpy()[touched] != before[touched]).all()


@pytest.mark.parametrize("rule", MOVING)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("width", [1, 3, 7000])
def test_moving_rules_do_what_they_do_with_a_dense_gradient(rule, dtype, width):
    a, b = RULES[rule](), RULES[rule]()
    w, dense = table(dtype, width), table(dtype, width)
    for seed, numbers in enumerate(NUMBERS):
        grad = rows_of(numbers, seed, dtype, width)
        grad.values[...] = np.round(4 * grad.values) / 4  # sums are exact in any dtype
        a.apply([w], [grad])
        b.apply([dense], [grad.dense()])
    np.testing.assert_array_equal(w.numpy(), dense.numpy())
    for x, y in zip(a.get_weights(), b.get_weights(), strict=True):
        np.testing.assert_array_equal(x, y)


@EVERY
def test_a_table_that_is_all_looked_up_is_updated_as_a_dense_one(rule):
    """Each number at once: then there is nothing that a rule could leave alone."""
    everything = np.array([3, 1, 0, 5, 2, 4, 1])
    w, dense = table("float64"), table("float64")
    a, b = RULES[rule](), RULES[rule]()
    for seed in range(3):
        grad = rows_of(everything, seed, "float64")
        a.apply([w], [grad])
        b.apply([dense], [grad.dense()])
    np.testing.assert_allclose(w.numpy(), dense.numpy(), rtol=1e-12)
    for x, y in zip(a.get_weights(), b.get_weights(), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-12)


@EVERY
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_on_a_device_as_on_the_host(rule, dtype):
    host, w = RULES[rule](), table(dtype)
    for seed, numbers in enumerate(NUMBERS):
        host.apply([w], [rows_of(numbers, seed, dtype)])
    with fake_device() as device:
        other, v = RULES[rule](), table(dtype)
        for seed, numbers in enumerate(NUMBERS):
            grad = rows_of(numbers, seed, dtype)
            values, numbers = map(device.xp.asarray, (grad.values, numbers))
            grad = RowGradient(device.xp, values, numbers, grad.shape)
            if seed:
                with capture():
                    other.apply([v], [grad])
            else:
                other.apply([v], [grad])
        got = to_host(v.array)
    tolerance = 2e-3 if dtype == "float16" else 1e-5
    np.testing.assert_allclose(got, w.numpy(), rtol=tolerance, atol=tolerance)


@EVERY
def test_state_is_kept_in_the_order_of_the_weights(rule):
    shapes = {"a": (2, 2), "table": (6, 3), "b": (4,)}
    made = []
    for sparse in (False, True):
        rng = np.random.default_rng(0)
        weights = [Variable(rng.standard_normal(s), name=n) for n, s in shapes.items()]
        grads = [rng.standard_normal(w.shape) for w in weights]
        grads[1] = rows_of(np.arange(6), 3, "float64")
        grads[1] = grads[1] if sparse else grads[1].dense()
        optimizer = RULES[rule]()
        optimizer.apply(weights, grads)
        made.append((optimizer.get_weights(), [w.numpy() for w in weights]))
    for got, want in zip(made[1], made[0], strict=True):
        for x, y in zip(got, want, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-12)


def test_clipping():
    grad = rows_of(np.array([1, 1, 3]), 0)
    for options in ({"clipvalue": 0.1}, {"clipnorm": 0.5}, {"global_clipnorm": 0.5}):
        w, other = table(), Variable(np.ones((2,), "float32"))
        before = w.numpy()
        optimizers.SGD(1.0, **options).apply([w, other], [grad, np.full(2, 3.0, "float32")])
        values = grad.values.copy()
        square = np.square(values).sum()
        if "clipvalue" in options:
            values = np.clip(values, -0.1, 0.1)
        elif "clipnorm" in options:
            values = values * 0.5 / np.sqrt(square)
        else:
            values = values * 0.5 / np.sqrt(square + 18)
        want = before - RowGradient(np, values, grad.numbers, grad.shape).dense()
        np.testing.assert_allclose(w.numpy(), want, rtol=1e-5)
    assert (grad.values == rows_of(np.array([1, 1, 3]), 0).values).all()


# -- from a model ---------------------------------------------------------------------------


def pulled(build, w, rows=True):
    tape = Tape()
    tape.start()
    y = build(w)
    tape.stop()
    (grad,) = tape.pull({id(y): np.ones((), y.dtype)}, [w], rows={id(w)} if rows else frozenset())
    return grad


BUILDS = {
    "one": lambda w: ops.sum(ops.square(ops.gather(w, Tensor(NUMBERS[0])))),
    "two": lambda w: (
        ops.sum(ops.gather(w, Tensor(NUMBERS[0])))
        + ops.sum(ops.square(ops.gather(w, Tensor(NUMBERS[1][None]))))
    ),
    "rows_then_dense": lambda w: ops.sum(ops.gather(w, Tensor(NUMBERS[0]))) + ops.sum(w * w),
    "dense_then_rows": lambda w: ops.sum(w * w) + ops.sum(ops.gather(w, Tensor(NUMBERS[0]))),
    "tied": lambda w: ops.sum(ops.matmul(ops.gather(w, Tensor(NUMBERS[0])), ops.transpose(w))),
    "computed": lambda w: ops.sum(ops.gather(w * 2.0, Tensor(NUMBERS[0]))),
}


@pytest.mark.parametrize("name", BUILDS)
def test_the_tape_adds_rows_up(name):
    w = table("float64")
    got, want = pulled(BUILDS[name], w), pulled(BUILDS[name], w, rows=False)
    assert isinstance(want, np.ndarray)
    assert isinstance(got, RowGradient) == (name in ("one", "two"))
    got = got.dense() if isinstance(got, RowGradient) else got
    np.testing.assert_allclose(got, want, rtol=1e-12)


@pytest.mark.parametrize(
    ("options", "arrives"),
    [
        ({}, RowGradient),
        ({"embeddings_regularizer": "l2"}, np.ndarray),
        ({"embeddings_constraint": "max_norm"}, np.ndarray),
    ],
)
def test_what_arrives_at_the_optimizer(options, arrives, monkeypatch):
    seen = []
    apply = optimizers.SGD.apply

    def spy(self, weights, grads):
        seen.extend(map(type, grads))
        return apply(self, weights, grads)

    model = gpunet.Sequential([layers.Embedding(6, 2, input_length=2, **options)])
    model.compile(optimizers.SGD(0.1), "mse")
    plan = optimizers.Optimizer
    monkeypatch.setattr(plan, "apply", spy)
    model.train_on_batch(np.array([[1, 2]]), np.zeros((1, 2, 2)))
    assert seen == [arrives]


def test_optimizers_of_ones_own_get_arrays():
    class Mine(optimizers.SGD):
        def apply(self, weights, grads):
            assert all(isinstance(g, np.ndarray) for g in grads)
            return super().apply(weights, grads)

    model = gpunet.Sequential([layers.Embedding(6, 2, input_length=2), layers.Dense(1)])
    model.compile(Mine(0.1), "mse")
    model.train_on_batch(np.array([[1, 2]]), np.zeros((1, 2, 1)))
    assert not optimizers.Adam().takes_rows
    assert not optimizers.SGD(is_legacy_optimizer=False).takes_rows
