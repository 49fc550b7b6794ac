"""The step: parts, blocks, missing gradients, clipping, constraints, hyperparameters, devices."""

import gc
import logging
import weakref

import numpy as np
import pytest
from fake_device import capture, fake_device, to_host
from test_optimizer_rules import RULES, SHAPES, make, make_grads, make_weights

from gpunet import optimizers
from gpunet.autodiff import GradientTape
from gpunet.errors import ShapeError
from gpunet.optimizers import parts, schedules
from gpunet.tensor import Tensor, value_of
from gpunet.variables import Variable, allocate


def train(optimizer, weights, grads):
    for gs in grads:
        optimizer.apply(weights, gs)
    return [w.numpy() for w in weights]


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("together", [True, False])
def test_flat_equals_one_weight_at_a_time(name, together):
    weights, grads = make_weights(dtype="float32", together=together), make_grads(dtype="float32")
    flat = train(make(name), weights, grads)
    for i, want in enumerate(flat):
        alone = make_weights(dtype="float32")
        got = train(make(name), [alone[i]], [[gs[i]] for gs in grads])
        np.testing.assert_array_equal(got[0], want)


@pytest.mark.parametrize("name", RULES)
def test_blocks_give_the_same_bits(name, monkeypatch):
    shapes = [(40, 50), (50,), (9, 9), (30, 30, 5)]
    grads = make_grads(shapes, dtype="float32", steps=3)
    whole = train(make(name), make_weights(shapes, "float32"), grads)
    monkeypatch.setattr(parts, "CACHE", 1000)
    monkeypatch.setattr(parts, "SMALL", (100, 100))
    optimizer = make(name)
    cut = train(optimizer, make_weights(shapes, "float32"), grads)
    for got, want in zip(cut, whole):
        np.testing.assert_array_equal(got, want)


def plan_of(optimizer, weights):
    optimizer.apply(weights, [np.zeros(w.shape, w.dtype) for w in weights])
    return list(optimizer._store._plans.values())[-1]


def test_small_weights_share_a_part():
    neighbours, scattered = make_weights([(3, 3), (3,)] * 40), make_weights([(3, 3), (3,)] * 40)
    lone = make_weights([(3, 3), (3,)] * 40, together=False)
    assert len(plan_of(optimizers.Adam(), neighbours).parts) == 1
    assert len(plan_of(optimizers.Adam(), scattered[::2]).parts) == 1
    assert len(plan_of(optimizers.Adam(), lone).parts) == 1


def test_a_large_weight_needs_no_copy_of_its_gradient():
    weights = make_weights([(600, 600), (600,), (600, 600), (600,)], "float32")
    sizes = {p.size: p.views for p in plan_of(optimizers.Adam(), weights).parts}
    assert sizes[360000] is None
    assert len(sizes[max(s for s in sizes if s < 360000)]) == 2


def test_gradients_are_only_read():
    weights, (grads,) = make_weights(), make_grads(steps=1)
    for g in grads:
        g.setflags(write=False)
    before = [g.copy() for g in grads]
    for name in RULES:
        make(name).apply(weights, grads)
        optimizers.SGD(clipvalue=0.1, clipnorm=0.1).apply(weights, grads)
    for g, want in zip(grads, before):
        np.testing.assert_array_equal(g, want)


def test_gradients_may_be_tensors_strided_or_of_another_dtype():
    a, b = make_weights(), make_weights()
    (grads,) = make_grads(steps=1)
    other = [Tensor(g.T.copy().T) for g in grads]
    other[1] = np.repeat(grads[1], 2)[::2]
    optimizers.Adam().apply(a, grads)
    optimizers.Adam().apply(b, other)
    c = make_weights([(200, 200)], "float32")
    optimizers.SGD().apply(c, [np.ones((200, 200))])
    assert c[0].dtype == "float32"
    for x, y in zip(a, b):
        np.testing.assert_array_equal(x.numpy(), y.numpy())


@pytest.mark.parametrize("name", ["sgd", "momentum", "adam"])
def test_weights_without_gradient_keep_value_and_slots(name, caplog):
    weights, (one, two) = make_weights(), make_grads(steps=2)
    optimizer = make(name)
    optimizer.apply(weights, one)
    before = weights[1].numpy()
    slots = {s: optimizer.get_slot(weights[1], s).numpy() for s in optimizer.get_slot_names()}
    two = [two[0], None, *two[2:]]
    with caplog.at_level(logging.WARNING, "gpunet"):
        optimizer.apply(weights, two)
        optimizer.apply(weights, two)
    assert len(caplog.records) == 1
    assert "Gradients do not exist for variables ['layer/w1:0']" in caplog.text
    np.testing.assert_array_equal(weights[1].numpy(), before)
    for s, want in slots.items():
        np.testing.assert_array_equal(optimizer.get_slot(weights[1], s).numpy(), want)


def test_wrong_gradients_change_nothing():
    weights, (grads,) = make_weights(), make_grads(steps=1)
    optimizer = optimizers.Adam()
    before = [w.numpy() for w in weights]
    with pytest.raises(ValueError, match="No gradients provided for any variable: .*w0"):
        optimizer.apply(weights, [None] * len(weights))
    with pytest.raises(ShapeError, match=r"'layer/w4:0': expected shape \(1,\), got \(2,\)"):
        optimizer.apply(weights, [*grads[:-1], np.zeros(2)])
    with pytest.raises(ValueError, match="one gradient for each of 5 weights, got 4"):
        optimizer.apply(weights, grads[:-1])
    with pytest.raises(ValueError, match="more than once"):
        optimizer.apply([weights[0], weights[0]], [grads[0], grads[0]])
    assert int(optimizer.iterations) == 0
    for w, want in zip(weights, before):
        np.testing.assert_array_equal(w.numpy(), want)


@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_clipping(dtype):
    (grads,) = make_grads(steps=1, dtype=dtype)
    exact = [g.astype("float64") for g in grads]

    def steps(**options):
        weights = make_weights(dtype=dtype)
        before = [w.numpy() for w in weights]
        optimizers.SGD(1.0, **options).apply(weights, grads)
        return [b.astype("float64") - w.numpy() for b, w in zip(before, weights)]

    def norm(g):
        return np.sqrt(np.sum(g**2))

    total = np.sqrt(sum(np.sum(g**2) for g in exact))
    bounded = [np.clip(g, -0.3, 0.3) for g in exact]
    expected = {
        ("clipvalue", 0.3): bounded,
        ("clipnorm", 0.7): [g * min(1, 0.7 / norm(g)) for g in exact],
        ("global_clipnorm", 0.5): [g * 0.5 / total for g in exact],
        ("global_clipnorm", 1e3): exact,
    }
    for option, want in expected.items():
        for a, b in zip(steps(**dict([option])), want):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6 if dtype == "float64" else 2e-3)
    for a, b in zip(steps(clipvalue=0.3, clipnorm=0.7), bounded):
        want = b * min(1, 0.7 / norm(b))
        np.testing.assert_allclose(a, want, rtol=1e-6, atol=1e-6 if dtype == "float64" else 2e-3)


def test_clip_norm_function():
    g = np.array([3.0, 4.0])
    np.testing.assert_allclose(optimizers.clip_norm(g, 1.0, np.float64(5.0)), [0.6, 0.8])
    assert optimizers.clip_norm(g, 0, np.float64(5.0)) is g
    clipped = optimizers.clip_norm(Tensor(g), 10.0, Tensor(np.array(5.0)))
    np.testing.assert_array_equal(clipped.numpy(), g)


def test_constraints_are_applied_after_the_update():
    w = Variable(np.array([0.5, -0.5]), constraint=lambda w: Tensor(np.maximum(w.array, 0)))
    storage = w.array
    with GradientTape():
        optimizers.SGD(0.1).apply([w], [np.array([1.0, 1.0])])
    np.testing.assert_allclose(w.numpy(), [0.4, 0.0])
    assert w.array is storage


def test_weight_decay_and_exclusion():
    weights, plain = make_weights(), make_weights()
    (grads,) = make_grads(steps=1)
    before = [w.numpy() for w in weights]
    optimizer = optimizers.Adam(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["w1"], var_list=[weights[3]])
    optimizer.apply(weights, grads)
    optimizers.Adam(0.1).apply(plain, grads)
    for i, (w, p, b) in enumerate(zip(weights, plain, before)):
        lost = 0 if i in (1, 3) else 0.05 * b
        np.testing.assert_allclose(w.numpy(), p.numpy() - lost, rtol=1e-6, atol=1e-7)
    with pytest.raises(ValueError, match="after the first step"):
        optimizer.exclude_from_weight_decay(var_names=["w0"])


def test_hyperparameters_change_in_place():
    optimizer = optimizers.SGD(lr=0.5, momentum=0.9, decay=0.1)
    scalar = optimizer.learning_rate
    assert float(optimizer.lr) == 0.5 and optimizer.lr is scalar
    optimizer.lr = 0.25
    assert float(scalar) == 0.25
    scalar.assign(0.125)
    assert float(optimizer.learning_rate) == 0.125
    optimizer.momentum = np.float32(0.5)
    assert float(optimizer.momentum) == 0.5
    optimizer.lr = Tensor(np.float32(2))
    assert float(optimizer.lr) == 2
    assert optimizer.lr.dtype == "float32" and optimizer.lr.shape == ()
    assert optimizer.iterations.dtype == "int64"
    shared = Variable(np.float32(3))
    assert optimizers.SGD(shared).lr is shared


def test_momentum_may_be_switched_on():
    weights = make_weights()
    optimizer = optimizers.SGD(0.1)
    train(optimizer, weights, make_grads(steps=2))
    assert len(optimizer.weights) == 1
    optimizer.momentum = 0.9
    train(optimizer, weights, make_grads(steps=2))
    assert len(optimizer.weights) == 6
    assert np.any(optimizer.get_slot(weights[0], "momentum").numpy())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rmsprop_with_a_mean_square_decayed_to_nothing(dtype):
    weights = make_weights([(6,)], dtype)
    before = weights[0].numpy()
    optimizer = optimizers.RMSprop(0.01)
    optimizer.build(weights)
    rms = optimizer.get_slot(weights[0], "rms")
    rms.assign(np.full(6, np.finfo(dtype).smallest_subnormal))
    g = np.array([0, 0, 0, 1e-3, 0, 2], dtype)
    optimizer.apply(weights, [g])
    want = before - 0.01 * g / (np.sqrt(0.1 * g * g) + 1e-7)
    np.testing.assert_allclose(weights[0].numpy(), want, rtol=1e-5)
    np.testing.assert_array_equal(weights[0].numpy()[g == 0], before[g == 0])
    assert not np.any(rms.numpy()[g == 0] > np.finfo(dtype).tiny)  # the slot isn't moved


def test_decay_and_schedules():
    for optimizer, rates in [
        (optimizers.SGD(1.0, decay=0.5), [1, 1 / 1.5, 1 / 2]),
        (optimizers.SGD(schedules.PiecewiseConstantDecay([1], [1.0, 0.25])), [1, 1, 0.25]),
        (optimizers.SGD(schedules.ExponentialDecay(1.0, 1, 0.5), decay=1.0), [1, 0.25, 0.25 / 3]),
    ]:
        w = Variable(np.zeros(1))
        moved = []
        for _ in rates:
            before = w.numpy()
            optimizer.apply([w], [np.ones(1)])
            moved.append((before - w.numpy()).item())
        np.testing.assert_allclose(moved, rates, rtol=1e-7)


def test_schedule_of_ones_own():
    class Halved(schedules.LearningRateSchedule):
        def __call__(self, step):
            return Tensor(value_of(step) * 0.5)

    w = Variable(np.zeros(1))
    optimizer = optimizers.SGD(Halved())
    train(optimizer, [w], [[np.ones(1)]] * 3)
    assert w.numpy() == -1.5
    optimizer.lr = 2.0
    optimizer.apply([w], [np.ones(1)])
    assert w.numpy() == -3.5


@pytest.mark.parametrize("name", [*RULES, "clipped", "scheduled"])
def test_a_step_never_reads_on_the_host(name):
    grads = make_grads(dtype="float32", steps=3)

    def optimizer():
        if name == "clipped":
            return optimizers.Adam(clipvalue=0.5, global_clipnorm=0.5, decay=0.1, weight_decay=0.1)
        if name == "scheduled":
            rate = schedules.CosineDecay(0.01, 10, warmup_target=0.1, warmup_steps=2)
            return optimizers.SGD(rate, momentum=0.9, clipnorm=0.5)
        return make(name)

    expected = train(optimizer(), make_weights(dtype="float32"), grads)
    with fake_device() as device:
        weights = make_weights(dtype="float32")
        gs = [[device.xp.asarray(g) for g in step] for step in grads]
        chosen = optimizer()
        chosen.apply(weights, gs[0])
        with capture():
            chosen.apply(weights, gs[1])
            chosen.apply(weights, gs[2])
        for w, want in zip(weights, expected):
            np.testing.assert_allclose(to_host(w.array), want, rtol=2e-6, atol=1e-7)
        assert to_host(chosen.iterations.array) == 3
        chosen.lr = 0.5
        for value, target in zip(chosen.get_weights(), chosen.weights):
            assert value.shape == tuple(target.shape)


def test_storage_never_moves():
    weights, grads = make_weights(), make_grads(steps=3)
    optimizer = optimizers.Adam()
    optimizer.apply(weights[:2], grads[0][:2])
    slot = optimizer.get_slot(weights[0], "m")
    storage = slot.array
    optimizer.apply(weights, grads[1])
    optimizer.apply(weights[1:], grads[2][1:])
    assert optimizer.get_slot(weights[0], "m") is slot and slot.array is storage


def test_one_optimizer_for_overlapping_lists():
    """Two models that share a layer: each weight's slots follow its own updates."""
    a, b = make_weights(), make_weights()
    grads = make_grads(steps=6)
    lists = [[0, 1, 2], [1, 2, 3, 4], [0, 1, 2, 3, 4], [4, 0]]
    shared = optimizers.SGD(0.1, momentum=0.9)
    alone = [optimizers.SGD(0.1, momentum=0.9) for _ in SHAPES]
    for i, gs in enumerate(grads):
        chosen = lists[i % 4]
        shared.apply([a[k] for k in chosen], [gs[k] for k in chosen])
        for k in chosen:
            alone[k].apply([b[k]], [gs[k]])
    for x, y in zip(a, b):
        np.testing.assert_array_equal(x.numpy(), y.numpy())


def test_weights_are_held_weakly():
    optimizer = optimizers.Adam()
    kept, gone = make_weights(), make_weights(seed=3)
    (grads,) = make_grads(steps=1)
    optimizer.apply(gone + kept, grads + grads)
    optimizer.apply(kept, grads)
    assert len(optimizer.weights) == 1 + 2 * 10
    refs = [weakref.ref(w) for w in gone]
    del gone
    gc.collect()
    assert not any(r() for r in refs)
    assert len(optimizer.weights) == 1 + 2 * 5
    assert len(optimizer._store._plans) == 1
    optimizer.apply(kept, grads)


def test_frozen_neighbours_stay():
    weights, grads = make_weights(), make_grads(steps=2)
    before = weights[1].numpy()
    optimizer = optimizers.RMSprop(0.1)
    optimizer.apply([weights[0], *weights[2:]], [grads[0][0], *grads[0][2:]])
    np.testing.assert_array_equal(weights[1].numpy(), before)


def test_mixed_dtypes_in_one_step():
    single, double = make_weights(dtype="float32"), make_weights(dtype="float64")
    (gs,), (gd,) = make_grads(steps=1, dtype="float32"), make_grads(steps=1)
    mixed = [w for pair in zip(single, double) for w in pair]
    optimizers.Adam(global_clipnorm=1e9).apply(mixed, [g for pair in zip(gs, gd) for g in pair])
    for a, b in zip(single, double):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5)


def test_clipping_by_0_is_off():
    w = Variable(np.zeros(2))
    optimizers.SGD(1.0, clipnorm=0, clipvalue=0, weight_decay=0).apply([w], [np.ones(2)])
    np.testing.assert_array_equal(w.numpy(), [-1, -1])


def test_rule_of_ones_own():
    class SignDescent(optimizers.Optimizer):
        size = optimizers.Hyper()
        settings = (*optimizers.Optimizer.settings, "size")

        def __init__(self, learning_rate=0.1, size=2.0, **kwargs):
            super().__init__(learning_rate=learning_rate, **kwargs)
            self.size = size

        def coefficients(self, xp, rate, step):
            return (rate * self.hyper(xp, "size"),)

        def update(self, xp, coefficients, w, g, slots, scratch):
            xp.sign(g, out=scratch[0])
            w -= coefficients[0] * scratch[0]

    w = Variable(np.zeros(2))
    optimizer = SignDescent(size=3.0, name="mine")
    optimizer.apply([w], [np.array([5.0, -5.0])])
    np.testing.assert_allclose(w.numpy(), [-0.3, 0.3], rtol=1e-6)
    assert SignDescent.from_config(optimizer.get_config()).get_config() == {
        "name": "mine", "learning_rate": 0.1, "decay": 0.0, "size": 3.0}  # fmt: skip


def test_minimize_and_its_relatives():
    w = Variable(np.array([1.0, 2.0]))

    def loss():
        return w * w

    optimizer = optimizers.SGD(0.25)
    optimizer.minimize(loss, [w])
    np.testing.assert_allclose(w.numpy(), [0.5, 1.0])
    with GradientTape() as tape:
        value = w * w
    optimizer.minimize(value, lambda: [w], tape=tape)
    np.testing.assert_allclose(w.numpy(), [0.25, 0.5])
    np.testing.assert_allclose(optimizer.get_gradients(loss, [w])[0].numpy(), [0.5, 1.0])
    optimizer.get_updates(loss, [w])
    assert optimizer.apply_gradients(iter([(np.ones(2), w)]), name="x") is optimizer.iterations
    assert optimizer.apply_gradients([]) is optimizer.iterations
    assert int(optimizer.iterations) == 4
    with pytest.raises(ValueError, match="needs the tape"):
        optimizer.minimize(value, [w])
    with pytest.raises(ValueError, match="as a function"):
        optimizer.get_gradients(value, [w])
    with pytest.raises(ValueError, match="'other' has no gradient"):
        optimizer.get_gradients(loss, [Variable(np.zeros(1), name="other")])


def test_nothing_is_allocated_by_the_constructor():
    weights = [Variable(lambda s, d: np.zeros(s, d), (2,), "float32")]
    optimizer = optimizers.Adam()
    assert not optimizer.iterations.allocated and not optimizer.lr.allocated
    optimizer.get_config()
    assert not optimizer.lr.allocated
    optimizer.build(weights)
    assert weights[0].allocated


def test_empty_weights():
    weights = make_weights([(0, 3), (3,), (0,)])
    optimizers.Adam(clipnorm=1.0).apply(weights, [np.ones(w.shape) for w in weights])
    optimizers.Adam().apply(weights[:1], [np.ones((0, 3))])
    allocate(weights)


@pytest.mark.parametrize("name", ["RMSprop", "Adam", "Nadam", "Adadelta"])
def test_large_weights_are_swept_by_several_threads_with_the_same_bits(name, monkeypatch):
    found = []
    for count in ("1", "3"):
        monkeypatch.setenv("GPUNET_THREADS", count)
        weights = make_weights([(700, 700), (5,)])
        optimizer = getattr(optimizers, name)(0.01)
        train(optimizer, weights, make_grads([(700, 700), (5,)], steps=3))
        found.append([w.numpy() for w in weights] + optimizer.get_weights())
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)
