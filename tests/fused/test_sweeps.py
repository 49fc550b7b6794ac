"""Optimizers' rules as one kernel, made from their Python and run on the CPU."""

import emulate
import numpy as np
import pytest

import gpunet
from gpunet import config, optimizers
from gpunet.fused import sweeps
from gpunet.optimizers import parts

pytestmark = pytest.mark.skipif(not emulate.compiler(), reason="g++ is missing")

SCHEDULE = optimizers.schedules.ExponentialDecay(0.1, 3, 0.5)
CASES = {
    "sgd": lambda: optimizers.SGD(0.1),
    "momentum": lambda: optimizers.SGD(0.1, momentum=0.9, decay=0.01),
    "nesterov": lambda: optimizers.SGD(SCHEDULE, momentum=0.9, nesterov=True),
    "rmsprop": lambda: optimizers.RMSprop(0.01),
    "centered": lambda: optimizers.RMSprop(0.01, momentum=0.5, centered=True),
    "adagrad": lambda: optimizers.Adagrad(0.1),
    "adadelta": lambda: optimizers.Adadelta(1.0),
    "adam": lambda: optimizers.Adam(0.01),
    "amsgrad": lambda: optimizers.Adam(0.01, amsgrad=True, clipnorm=0.5),
    "adamw": lambda: optimizers.AdamW(0.01, weight_decay=0.1),
    "adamax": lambda: optimizers.Adamax(0.01),
    "nadam": lambda: optimizers.Nadam(0.01),
    "ftrl": lambda: optimizers.Ftrl(0.1, l1_regularization_strength=0.01, beta=0.1),
    "ftrl by a power": lambda: optimizers.Ftrl(0.1, learning_rate_power=-0.7),
}
SHAPES = [(7,), (3, 5), (1,), (300,)]


def steps(make, kernels, dtype="float32", count=4):
    """Return the weights after some steps, and how many kernels ran."""
    rng = np.random.default_rng(3)
    optimizer = make()
    weights = [gpunet.Variable(rng.standard_normal(s).astype(dtype)) for s in SHAPES]
    launched = []

    def kernel(xp, update, coefficients, *args):
        # NumPy makes numbers of arrays without axes, CuPy doesn't.
        *args, shrink = args
        *coefficients, shrink = [
            np.asarray(c) if isinstance(c, np.generic) else c for c in (*coefficients, shrink)
        ]
        done = sweeps.sweep(emulate.as_cupy, update, coefficients, *args, shrink)
        launched.append(done)
        return done

    def sweep(part, update, coefficients, g, shrink):
        # As on a device: parts ask for a kernel there alone.
        for source, room in part.staged:
            room[...] = source
        for cut, w, slots, scratch in part.blocks:
            piece = g if cut is None else g[cut]
            assert kernel(np, update, coefficients, w, piece, slots, scratch, shrink)
        for target, room in part.staged:
            target[...] = room

    with pytest.MonkeyPatch.context() as patch, emulate.fake_cupy():
        if kernels:
            patch.setattr(parts.Part, "sweep", sweep)
        for _ in range(count):
            optimizer.apply(weights, [rng.standard_normal(s).astype(dtype) for s in SHAPES])
    return [w.numpy() for w in weights], launched


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_the_array_operations(name):
    got, launched = steps(CASES[name], True)
    wanted, none = steps(CASES[name], False)
    assert launched and all(launched) and not none
    for a, b in zip(got, wanted):
        np.testing.assert_allclose(a, b, rtol=2e-6, atol=2e-7)


def test_doubles():
    got, _ = steps(CASES["adam"], True, "float64")
    for a, b in zip(got, steps(CASES["adam"], False, "float64")[0]):
        np.testing.assert_allclose(a, b, rtol=1e-14, atol=1e-15)


class Signed(optimizers.Optimizer):
    """A rule of a user's own: operators, a temporary, an assignment to a slice."""

    def __init__(self, learning_rate=0.1, name="Signed", **kwargs):
        super().__init__(name, learning_rate, **kwargs)

    def slots(self):
        return {"m": 0.0}

    def coefficients(self, xp, rate, step):
        return rate, 0.25

    def update(self, xp, coefficients, w, g, slots, scratch):
        rate, rest = coefficients
        (m,) = slots
        m[...] = (1 - rest) * m + rest * g
        w[:] = w - rate * xp.tanh(m) / (1.0 + abs(m)) ** 2


def test_a_rule_of_a_users_own():
    got, launched = steps(Signed, True)
    assert all(launched)
    for a, b in zip(got, steps(Signed, False)[0]):
        np.testing.assert_allclose(a, b, rtol=2e-6, atol=2e-7)


def refused(update, dtype="float32"):
    w, g = np.ones(3, dtype), np.ones(3, dtype)
    with emulate.fake_cupy() as cupy:
        done = sweeps.sweep(cupy, update, (np.array(0.5, dtype),), w, g, [], [], None)
    assert not done
    np.testing.assert_array_equal(w, 1)


@pytest.mark.parametrize(
    ("update", "reason"),
    [
        (lambda xp, c, w, g, s, t: xp.sort(w, out=w), "the function 'sort'"),
        (lambda xp, c, w, g, s, t: w if w > 0 else g, "a value is looked at, or compared"),
        (lambda xp, c, w, g, s, t: w[1:], "a value is looked at"),
        (lambda xp, c, w, g, s, t: xp.add(w, np.ones(3), out=w), "a ndarray among the operands"),
        (lambda xp, c, w, g, s, t: xp.add(w, g, where=g, out=w), "'add' with other arguments"),
        (lambda xp, c, w, g, s, t: xp.add(w, float("nan"), out=w), "the number nan"),
    ],
)
def test_what_is_no_chain_runs_as_it_is(update, reason, caplog):
    with caplog.at_level("DEBUG", "gpunet"):
        refused(update)
    assert reason in caplog.text


def test_other_types_and_switched_off():
    def update(xp, c, w, g, s, t):
        xp.subtract(w, g, out=w)

    refused(update, "float16")
    config.set_fused(False)
    try:
        refused(update)
    finally:
        config.set_fused(True)
    w = np.ones(4, "float32")
    assert not sweeps.sweep(np, update, (), w, w, [], [], None)


def test_settings_are_looked_at_every_time():
    class Rule:
        factor = 1.0

        def update(self, xp, c, w, g, s, t):
            xp.multiply(g, self.factor, out=w)

    rule, w, g = Rule(), np.zeros(3, "float32"), np.ones(3, "float32")
    with emulate.fake_cupy() as cupy:
        for rule.factor in (1.0, -3.0):
            assert sweeps.sweep(cupy, rule.update, (), w, g, [], [], None)
            np.testing.assert_array_equal(w, rule.factor)
