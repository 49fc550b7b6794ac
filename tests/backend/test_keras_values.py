"""Functions of the backend against the stored numbers of the real Keras."""

import json
from pathlib import Path

import fake_device
import numpy as np
import pytest

from gpunet import GradientTape, Input
from gpunet import backend as K
from gpunet.layers import Lambda
from gpunet.models import Model
from gpunet.nest import flatten
from gpunet.tensor import Tensor

FOLDER = Path(__file__).resolve().parents[1] / "fixtures" / "keras"

with np.load(FOLDER / "backend.npz") as stored:
    ARRAYS = {key: stored[key] for key in stored.files}
CASES = json.loads((FOLDER / "backend.json").read_text(encoding="utf8"))["cases"]


def label(case):
    options = [f"{k}={v}" for k, v in case["options"].items()]
    first = [str(a) for a in case["args"][:2]]
    return "-".join([case["function"], *first, *options])


every = pytest.mark.parametrize("case", CASES, ids=label)
derived = pytest.mark.parametrize("case", [c for c in CASES if "gradient" in c], ids=label)


def is_name(value):
    return isinstance(value, str) and "@" in value


def array(name):
    return ARRAYS[name.lstrip("!@")]


def step(x, states):
    y = x + 0.5 * states[0]
    return y * 2.0, [y]


def call(case, tensors):
    """Call a function, its arrays taken from an iterator."""

    def value(v):
        if is_name(v):
            return next(tensors)
        return tuple(v) if isinstance(v, list) else v

    args = [value(a) for a in case["args"]]
    options = {k: value(v) for k, v in case["options"].items()}
    if case["function"] == "rnn":
        return K.rnn(step, args[0], [K.zeros_like(args[0][:, 0])], **options)
    if case["function"] == "ctc_decode" and not options.get("greedy", True):
        options["merge_repeated"] = True  # what the later Keras does
    return getattr(K, case["function"])(*args, **options)


def names(case):
    return [v for v in [*case["args"], *case["options"].values()] if is_name(v)]


def check(case, found):
    assert len(found) == len(case["outputs"])
    for y, key in zip(found, case["outputs"]):
        want = ARRAYS[key]
        y = np.asarray(y)
        assert y.shape == want.shape
        assert y.dtype.kind == want.dtype.kind
        # What a search drops on its way depends on the order of nearly equal beginnings.
        search = case["function"] == "ctc_decode" and case["options"]
        np.testing.assert_allclose(y, want, rtol=1e-3 if search else 2e-5, atol=2e-6)


@every
def test_on_arrays(case):
    check(case, flatten(call(case, map(array, names(case)))))


@every
def test_on_tensors(case):
    check(case, flatten(call(case, (Tensor(array(n)) for n in names(case)))))


def on_host(case):
    """Return whether a case is a search, or makes variables, which copy from the host."""
    return "greedy" in case["options"] or case["function"] in ("eye", "constant")


@pytest.mark.parametrize("case", [c for c in CASES if not on_host(c)], ids=label)
def test_on_strict_device(case):
    """Nothing is read or copied by the host while a step is recorded."""
    with fake_device.fake_device() as device:
        put = [Tensor(device.xp.asarray(array(n))) for n in names(case)]
        with fake_device.capture():
            found = flatten(call(case, iter(put)))
        check(case, [fake_device.to_host(y.array) for y in found])


def whole_inputs(case):
    arrays = [array(n) for n in names(case)]
    return arrays, [Input(batch_shape=a.shape, dtype=a.dtype.name) for a in arrays]


def in_graph(case):
    return names(case) and not (case["function"] == "switch" and len(names(case)) < 2)


graph_cases = pytest.mark.parametrize("case", [c for c in CASES if in_graph(c)], ids=label)


@graph_cases
def test_on_a_graph(case):
    arrays, symbolic = whole_inputs(case)
    made = flatten(call(case, iter(symbolic)))
    assert [tuple(t.shape) for t in made] == [ARRAYS[k].shape for k in case["outputs"]]
    check(case, K.function(symbolic, made)(arrays))


FREE = [c for c in CASES if in_graph(c) and c["args"][0] in ("@x3", "!@x3", "@x4", "!@x4")]


@pytest.mark.parametrize("case", FREE, ids=label)
def test_in_a_lambda_with_a_free_batch(case):
    """The first argument is a batch; the others are constants."""
    first, *others = [array(n) for n in names(case)]
    x = Input(batch_shape=(None, *first.shape[1:]))

    def function(t):
        return flatten(call(case, iter([t, *others])))[0]

    y = Lambda(function)(x)
    want = ARRAYS[case["outputs"][0]]
    assert all(a in (None, b) for a, b in zip(y.shape, want.shape, strict=True))
    if want.shape[0] == first.shape[0]:
        assert y.shape[0] is None or "transpose" in case["function"]
    got = Model(x, y)(first)
    np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-6)


@derived
def test_gradient(case):
    tensors = [Tensor(array(n)) for n in names(case)]
    (source,) = [t for t, n in zip(tensors, names(case)) if n.startswith("!")]
    with GradientTape() as tape:
        tape.watch(source)
        y = flatten(call(case, iter(tensors)))[0]
        weights = np.cos(np.arange(y.size, dtype="float32")).reshape(y.shape)
        total = K.sum(y * weights)
    got = tape.gradient(total, source)
    np.testing.assert_allclose(got, ARRAYS[case["gradient"]], rtol=2e-4, atol=2e-5)


@derived
def test_gradient_in_a_graph(case):
    arrays, symbolic = whole_inputs(case)
    y = flatten(call(case, iter(symbolic)))[0]
    weights = np.cos(np.arange(y.shape.num_elements(), dtype="float32")).reshape(y.shape)
    (source,) = [t for t, n in zip(symbolic, names(case)) if n.startswith("!")]
    gradient = K.gradients(K.sum(y * weights), source)
    assert gradient[0].shape == source.shape
    (got,) = K.function(symbolic, gradient)(arrays)
    np.testing.assert_allclose(got, ARRAYS[case["gradient"]], rtol=2e-4, atol=2e-5)
