import json
import math

import numpy as np
import pytest
from keras_values import FOLDER

from gpunet import initializers, registry
from gpunet.ops import random
from gpunet.tensor import Tensor
from gpunet.variables import Variable

CASES = json.loads((FOLDER / "initializers.json").read_text(encoding="utf8"))["cases"]
IDS = [f"{c['name']}-{'x'.join(map(str, c['shape']))}-{c['config']}" for c in CASES]
DRAWS = 20
SEEDED = [
    "RandomNormal", "RandomUniform", "TruncatedNormal", "VarianceScaling", "GlorotNormal",
    "GlorotUniform", "HeNormal", "HeUniform", "LecunNormal", "LecunUniform", "Orthogonal",
]  # fmt: skip


def draws(case):
    kind = getattr(initializers, case["name"])
    if case["name"] not in SEEDED:
        return np.asarray(kind(**case["config"])(case["shape"]))[None]
    return np.stack(
        [np.asarray(kind(**case["config"], seed=s)(case["shape"])) for s in range(DRAWS)]
    )


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_moments_are_keras(case):
    values, want = draws(case).astype("float64"), case["measured"]
    assert values.shape[1:] == tuple(case["shape"])
    if len(values) == 1:
        assert values.mean() == pytest.approx(want["mean"], rel=1e-6)
        assert values.std() == pytest.approx(want["std"], rel=1e-6)
        return
    # Both sides are samples: allow five standard errors of the mean.
    error = 5 * want["std"] / math.sqrt(values.size)
    assert values.mean() == pytest.approx(want["mean"], abs=2 * error)
    assert values.std() == pytest.approx(want["std"], rel=0.02)
    if "limit" in case:
        assert np.abs(values).max() <= case["limit"] * (1 + 1e-6)
        assert np.abs(values).max() > case["limit"] * 0.99
    truncated = case["config"].get("distribution") != "untruncated_normal"
    if "stddev" in case and truncated:
        assert np.abs(values).max() <= 2 * case["stddev"] * (1 + 1e-6)
        assert np.abs(values).max() > 1.9 * case["stddev"]
    if "gram_error" in want:
        flat = values[0].reshape(-1, case["shape"][-1]) / case["config"]["gain"]
        gram = flat.T @ flat if flat.shape[0] >= flat.shape[1] else flat @ flat.T
        assert np.abs(gram - np.eye(len(gram))).max() < 1e-5


@pytest.mark.parametrize("case", [c for c in CASES if "fan_in" in c], ids=lambda c: c["name"])
def test_fans_are_keras(case):
    assert initializers.compute_fans(case["shape"]) == (case["fan_in"], case["fan_out"])


def test_fans_of_few_axes():
    assert initializers.compute_fans(()) == (1, 1)
    assert initializers.compute_fans((7,)) == (7, 7)
    assert initializers.compute_fans((5, 4, 3)) == (20, 15)


def test_a_wide_orthogonal_matrix_has_orthogonal_rows():
    q = np.asarray(initializers.Orthogonal(gain=2.0, seed=1)((4, 9)))
    np.testing.assert_allclose(q @ q.T, 4 * np.eye(4), atol=1e-5)


@pytest.mark.parametrize("name", SEEDED)
def test_seeds(name):
    kind = getattr(initializers, name)
    made = kind(seed=3)
    first, second = np.asarray(made((6, 5))), np.asarray(made((6, 5)))
    assert not np.array_equal(first, second)
    again = kind(seed=3)
    np.testing.assert_array_equal(np.asarray(again((6, 5))), first)
    np.testing.assert_array_equal(np.asarray(again((6, 5))), second)
    assert not np.array_equal(np.asarray(kind(seed=4)((6, 5))), first)
    assert not np.array_equal(np.asarray(kind()((6, 5))), np.asarray(kind()((6, 5))))


def test_the_default_generator_repeats_a_run():
    runs = []
    for _ in range(2):
        random.set_seed(11)
        runs.append([np.asarray(initializers.get("he_normal")((3, 2))) for _ in range(3)])
    np.testing.assert_array_equal(runs[0], runs[1])


def test_the_order_of_reading_changes_nothing():
    def variables():
        random.set_seed(5)
        made = initializers.GlorotUniform()
        start = [made.bind((4, 3), "float32") for _ in range(3)]
        return [Variable(s, shape=(4, 3), dtype="float32") for s in start]

    forward = [v.numpy() for v in variables()]
    backward = [v.numpy() for v in reversed(variables())]
    np.testing.assert_array_equal(forward, backward[::-1])
    np.testing.assert_array_equal(variables()[2].numpy(), forward[2])


def test_bind_gives_the_same_values_at_each_call():
    for made in (initializers.RandomNormal(), initializers.RandomNormal(seed=1)):
        start = initializers.bind(made, (2, 3))
        np.testing.assert_array_equal(
            np.asarray(start((2, 3), "float32")), np.asarray(start((2, 3), "float32"))
        )


def test_functions_of_the_user():
    def plain(shape):
        return np.full(shape, 2.0)

    def typed(shape, dtype=None):
        return np.full(shape, 3.0, dtype)

    class Own(initializers.Initializer):
        def __call__(self, shape, dtype=None):
            return np.full(shape, 4.0, dtype)

    for made, value in ((plain, 2), (typed, 3), (Own(), 4), (initializers.get(Own), 4)):
        start = initializers.bind(initializers.get(made), (2,), "float32")
        np.testing.assert_array_equal(Variable(start, (2,), "float32").numpy(), value)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("name", [*SEEDED, "Zeros", "Ones", "Constant", "Identity"])
def test_dtypes(name, dtype):
    made = getattr(initializers, name)()((4, 3), dtype=dtype)
    assert isinstance(made, Tensor) and made.dtype == dtype and made.shape == (4, 3)


def test_constants():
    assert initializers.Zeros()((2,)).dtype == "float32"
    assert initializers.Ones()((2,), "int32").dtype == "int32"
    np.testing.assert_array_equal(np.asarray(initializers.Constant([1, 2])((3, 2))), [[1, 2]] * 3)
    assert initializers.Constant(np.ones(2)).get_config() == {"value": [1.0, 1.0]}


@pytest.mark.parametrize(
    "made, config",
    [
        ({"class_name": "GlorotUniform", "config": {"seed": None}}, {"seed": None}),
        (
            {
                "class_name": "VarianceScaling",
                "config": {
                    "scale": 1.0, "mode": "fan_avg", "distribution": "normal", "seed": 3,
                    "dtype": "float32",
                },
            },
            {"scale": 1.0, "mode": "fan_avg", "distribution": "truncated_normal", "seed": 3},
        ),
        (
            {
                "module": "keras.initializers", "class_name": "Constant",
                "config": {"value": 0.5}, "registered_name": None,
            },
            {"value": 0.5},
        ),
        ({"class_name": "Zeros", "config": {}}, {}),
        ("orthogonal", {"gain": 1.0, "seed": None}),
        ("uniform", {"minval": -0.05, "maxval": 0.05, "seed": None}),
        ("normal", {"mean": 0.0, "stddev": 0.05, "seed": None}),
    ],
)  # fmt: skip
def test_configs(made, config):
    found = initializers.get(made)
    assert found.get_config() == config
    saved = initializers.serialize(found)
    json.dumps(saved)
    assert initializers.deserialize(saved).get_config() == config


@pytest.mark.parametrize(
    "alias, kind",
    [
        ("zero", "Zeros"), ("zeros", "Zeros"), ("one", "Ones"), ("ones", "Ones"),
        ("constant", "Constant"), ("identity", "Identity"), ("orthogonal", "Orthogonal"),
        ("normal", "RandomNormal"), ("random_normal", "RandomNormal"),
        ("uniform", "RandomUniform"), ("random_uniform", "RandomUniform"),
        ("truncated_normal", "TruncatedNormal"), ("variance_scaling", "VarianceScaling"),
        ("glorot_normal", "GlorotNormal"), ("glorot_uniform", "GlorotUniform"),
        ("he_normal", "HeNormal"), ("he_uniform", "HeUniform"),
        ("lecun_normal", "LecunNormal"), ("lecun_uniform", "LecunUniform"),
    ],
)  # fmt: skip
def test_aliases(alias, kind):
    assert getattr(initializers, alias) is getattr(initializers, kind)
    assert type(initializers.get(alias)).__name__ == kind
    assert registry.initializers.find(alias) is getattr(initializers, kind)


@pytest.mark.parametrize(
    "make, text",
    [
        (lambda: initializers.VarianceScaling(scale=0), "scale > 0"),
        (lambda: initializers.VarianceScaling(mode="fan"), "expected mode from fan_in"),
        (lambda: initializers.VarianceScaling(distribution="cauchy"), "expected distribution"),
        (lambda: initializers.RandomNormal(seed="x"), "RandomNormal: expected an int or None"),
        (lambda: initializers.Orthogonal()((3,)), "at least two axes"),
        (lambda: initializers.Identity()((3, 3, 3)), "matrix"),
        (lambda: initializers.GlorotUniform()((3, None)), "shape of ints"),
        (lambda: initializers.Zeros()((-1,)), "shape of ints"),
        (lambda: initializers.Zeros()(3), "shape of ints"),
        (lambda: initializers.HeNormal()((3, 2), "int32"), "float dtype"),
        (lambda: initializers.Ones()((3, 2), "real"), "unknown dtype"),
        (lambda: initializers.Constant([1, 2])((3,)), "doesn't fit"),
        (lambda: initializers.get("glorot"), "Unknown initializer 'glorot'"),
    ],
)
def test_errors(make, text):
    with pytest.raises(ValueError, match=text):
        make()
