"""Every rule against its formula, written down once more in plain NumPy, and against Keras."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from gpunet import ops, optimizers
from gpunet.autodiff import GradientTape
from gpunet.tensor import Tensor
from gpunet.variables import Variable, allocate

KERAS = Path(__file__).resolve().parents[1] / "fixtures" / "keras"
SHAPES = [(5, 4), (4,), (), (3, 2, 2), (1,)]


def make_weights(shapes=SHAPES, dtype="float64", seed=0, together=True):
    rng = np.random.default_rng(seed)
    weights = []
    for i, shape in enumerate(shapes):
        values = rng.standard_normal(shape).astype(dtype)
        weights.append(Variable(lambda s, d, v=values: v, shape, dtype, name=f"layer/w{i}:0"))
        if not together:
            allocate(weights[-1:])
    allocate(weights)
    return weights


def make_grads(shapes=SHAPES, steps=12, dtype="float64", seed=1):
    rng = np.random.default_rng(seed)
    return [[rng.standard_normal(s).astype(dtype) for s in shapes] for _ in range(steps)]


# Each takes (w, g, state, t) with t from 1, changes the dict state and returns the new w.


def sgd(w, g, s, t, rate=0.1):
    return w - rate * g


def momentum(w, g, s, t, rate=0.1, mu=0.9):
    s["v"] = mu * s.get("v", 0) - rate * g
    return w + s["v"]


def nesterov(w, g, s, t, rate=0.1, mu=0.9):
    s["v"] = mu * s.get("v", 0) - rate * g
    return w + mu * s["v"] - rate * g


def rmsprop(w, g, s, t, rate=0.01, rho=0.9, eps=1e-7):
    s["r"] = rho * s.get("r", 0) + (1 - rho) * g**2
    return w - rate * g / (np.sqrt(s["r"]) + eps)


def rmsprop_centered(w, g, s, t, rate=0.01, rho=0.9, eps=1e-7):
    s["r"] = rho * s.get("r", 0) + (1 - rho) * g**2
    s["g"] = rho * s.get("g", 0) + (1 - rho) * g
    return w - rate * g / (np.sqrt(s["r"] - s["g"] ** 2) + eps)


def rmsprop_momentum(w, g, s, t, rate=0.01, rho=0.9, mu=0.8, eps=1e-3):
    s["r"] = rho * s.get("r", 0) + (1 - rho) * g**2
    s["v"] = mu * s.get("v", 0) + rate * g / np.sqrt(s["r"] + eps)
    return w - s["v"]


def adagrad(w, g, s, t, rate=0.05, eps=1e-7, start=0.0):
    s["a"] = s.get("a", start) + g**2
    return w - rate * g / (np.sqrt(s["a"]) + eps)


def adadelta(w, g, s, t, rate=1.0, rho=0.95, eps=1e-6):
    s["g"] = rho * s.get("g", 0) + (1 - rho) * g**2
    step = np.sqrt(s.get("x", 0) + eps) / np.sqrt(s["g"] + eps) * g
    s["x"] = rho * s.get("x", 0) + (1 - rho) * step**2
    return w - rate * step


def adam(w, g, s, t, rate=0.01, b1=0.9, b2=0.999, eps=1e-7, amsgrad=False):
    s["m"] = b1 * s.get("m", 0) + (1 - b1) * g
    s["v"] = b2 * s.get("v", 0) + (1 - b2) * g**2
    s["x"] = np.maximum(s.get("x", 0), s["v"])
    v = s["x"] if amsgrad else s["v"]
    return w - rate * np.sqrt(1 - b2**t) / (1 - b1**t) * s["m"] / (np.sqrt(v) + eps)


def amsgrad(w, g, s, t):
    return adam(w, g, s, t, b2=0.8, amsgrad=True)


def adamw(w, g, s, t, decay=0.1, rate=0.01):
    return adam(w - rate * decay * w, g, s, t, rate)


def adamax(w, g, s, t, rate=0.02, b1=0.9, b2=0.999, eps=1e-7):
    s["m"] = b1 * s.get("m", 0) + (1 - b1) * g
    s["u"] = np.maximum(b2 * s.get("u", 0), np.abs(g))
    return w - rate / (1 - b1**t) * s["m"] / (s["u"] + eps)


def nadam(w, g, s, t, rate=0.01, b1=0.9, b2=0.999, eps=1e-7, psi=0.004):
    mu = [b1 * (1 - 0.5 * 0.96 ** (psi * i)) for i in range(1, t + 2)]
    s["m"] = b1 * s.get("m", 0) + (1 - b1) * g
    s["v"] = b2 * s.get("v", 0) + (1 - b2) * g**2
    m = mu[t] * s["m"] / (1 - np.prod(mu)) + (1 - mu[t - 1]) * g / (1 - np.prod(mu[:t]))
    return w - rate * m / (np.sqrt(s["v"] / (1 - b2**t)) + eps)


def new_nadam(w, g, s, t):
    return nadam(w, g, s, t, psi=1.0)


def ftrl(w, g, s, t, rate=0.1, l1=0.01, l2=0.02, beta=0.3, power=0.5, start=0.1, shrink=0.0):
    n = s.get("n", start)
    s["n"] = n + g**2
    s["z"] = s.get("z", 0) + g + 2 * shrink * w - (s["n"] ** power - n**power) / rate * w
    new = -(s["z"] - np.sign(s["z"]) * l1) / ((beta + s["n"] ** power) / rate + 2 * l2)
    return np.where(np.abs(s["z"]) <= l1, 0, new)


def ftrl_shrunk(w, g, s, t):
    return ftrl(w, g, s, t, beta=0.0, power=0.4, shrink=0.05)


RULES = {
    "sgd": (sgd, "SGD", {"learning_rate": 0.1}),
    "momentum": (momentum, "SGD", {"learning_rate": 0.1, "momentum": 0.9}),
    "nesterov": (nesterov, "SGD", {"learning_rate": 0.1, "momentum": 0.9, "nesterov": True}),
    "rmsprop": (rmsprop, "RMSprop", {"learning_rate": 0.01}),
    "rmsprop_centered": (rmsprop_centered, "RMSprop", {"learning_rate": 0.01, "centered": True}),
    "rmsprop_momentum": (
        rmsprop_momentum, "RMSprop", {"learning_rate": 0.01, "momentum": 0.8, "epsilon": 1e-3}),
    "adagrad": (adagrad, "Adagrad", {"learning_rate": 0.05}),
    "adadelta": (adadelta, "Adadelta", {"epsilon": 1e-6}),
    "adam": (adam, "Adam", {"learning_rate": 0.01}),
    "amsgrad": (amsgrad, "Adam", {"learning_rate": 0.01, "beta_2": 0.8, "amsgrad": True}),
    "adamw": (adamw, "AdamW", {"learning_rate": 0.01, "weight_decay": 0.1}),
    "adamax": (adamax, "Adamax", {"learning_rate": 0.02}),
    "nadam": (nadam, "Nadam", {"learning_rate": 0.01}),
    "new_nadam": (new_nadam, "Nadam", {"learning_rate": 0.01, "is_legacy_optimizer": False}),
    "ftrl": (ftrl, "Ftrl", {
        "learning_rate": 0.1, "l1_regularization_strength": 0.01,
        "l2_regularization_strength": 0.02, "beta": 0.3}),
    "ftrl_shrunk": (ftrl_shrunk, "Ftrl", {
        "learning_rate": 0.1, "l1_regularization_strength": 0.01, "learning_rate_power": -0.4,
        "l2_regularization_strength": 0.02, "l2_shrinkage_regularization_strength": 0.05}),
}  # fmt: skip


def make(name):
    _, kind, config = RULES[name]
    return getattr(optimizers, kind)(**config)


@pytest.mark.parametrize("dtype, tolerance", [("float64", 2e-7), ("float32", 2e-5)])
@pytest.mark.parametrize("name", RULES)
def test_rule_follows_its_formula(name, dtype, tolerance):
    weights, grads = make_weights(dtype=dtype), make_grads(dtype=dtype)
    optimizer = make(name)
    reference = RULES[name][0]
    expected = [w.numpy().astype("float64") for w in weights]
    states = [{} for _ in weights]
    for t, gs in enumerate(grads, 1):
        optimizer.apply(weights, gs)
        expected = [
            reference(w, g.astype("float64"), s, t) for w, g, s in zip(expected, gs, states)
        ]
    assert int(optimizer.iterations) == len(grads)
    for got, want in zip(weights, expected):
        assert got.dtype == dtype
        np.testing.assert_allclose(got.numpy(), want, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", RULES)
def test_float16_weights_are_updated_in_float32(name):
    weights = make_weights(dtype="float16")
    optimizer = make(name)
    optimizer.build(weights)
    for gs in make_grads(dtype="float16", steps=3):
        # The same step on float32 copies, rounded after it.
        copies = [Variable(w.numpy().astype("float32"), name=w.name) for w in weights]
        exact = make(name)
        exact.build(copies)
        exact.set_weights(optimizer.get_weights())
        exact.apply(copies, [g.astype("float32") for g in gs])
        optimizer.apply(weights, gs)
        for got, want in zip(weights, copies):
            assert got.dtype == "float16"
            np.testing.assert_array_equal(got.numpy(), want.numpy().astype("float16"))


def cases():
    """Return the names of the stored trainings that a plain classifier makes."""
    stored = json.loads((KERAS / "training.json").read_text(encoding="utf8"))["cases"]
    return [
        name
        for name, c in stored.items()
        if c["model"] == "plain"
        and c["sample_weight"] is c["class_weight"] is None
        # There Keras multiplies its product of momenta once for each weight, not for each step.
        and name != "new_nadam"
    ]


@pytest.fixture(scope="module")
def training():
    stored = json.loads((KERAS / "training.json").read_text(encoding="utf8"))
    with h5py.File(KERAS / stored["models"]["plain"]["file"]) as file:
        group = file["model_weights"]
        values = [
            (n, group[layer][n][...])
            for layer in group.attrs["layer_names"]
            for n in group[layer].attrs["weight_names"]
        ]
    with np.load(KERAS / stored["data"]) as data:
        return stored, values, data["x"], data["y"]


@pytest.mark.parametrize("name", cases())
def test_losses_are_those_of_keras(name, training):
    stored, values, x, y = training
    case, size = stored["cases"][name], stored["batch_size"]
    weights = [Variable(lambda s, d, v=v: v, v.shape, "float32", name=n) for n, v in values]
    allocate(weights)
    k1, b1, k2, b2, k3, b3 = weights
    legacy = case["family"] == "legacy"
    optimizer = getattr(optimizers, case["class"])(**case["config"], is_legacy_optimizer=legacy)
    losses = []
    for i in range(stored["steps"]):
        part = slice(i * size, (i + 1) * size)
        with GradientTape() as tape:
            h = ops.relu(ops.dense(Tensor(x[part]), k1, b1))
            h = ops.tanh(ops.dense(h, k2, b2))
            p = ops.softmax(ops.dense(h, k3, b3))
            loss = ops.mean(ops.categorical_crossentropy(Tensor(y[part]), p))
        losses.append(float(loss))
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))
    np.testing.assert_allclose(losses, case["losses"], rtol=1e-5)
    for w, final in zip(weights, case["final"]):
        assert np.sum(w.numpy().astype("float64") ** 2) == pytest.approx(
            final["sum_squares"], rel=1e-4
        )
