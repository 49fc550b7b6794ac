import inspect

import fake_device
import numpy as np
import pytest
from keras_values import ARRAYS, assert_close, of_kind, tensor

from gpunet import activations, losses, ops, registry
from gpunet.autodiff import GradientTape
from gpunet.tensor import Tensor, convert_to_tensor

CLASSES = [
    getattr(losses, name)
    for name in losses.__all__
    if inspect.isclass(getattr(losses, name))
    and name not in ("Loss", "LossFunctionWrapper", "Reduction")
]


# -- the numbers of Keras -----------------------------------------------------------------------


@pytest.mark.parametrize("case", of_kind("loss_function"))
def test_functions_are_keras(case):
    y_true, y_pred = (tensor(key) for key in case["inputs"])
    with GradientTape() as tape:
        tape.watch(y_pred)
        values = getattr(losses, case["name"])(y_true, y_pred, **case["options"])
        mean = ops.mean(values)
    if "values" in case["outputs"]:
        assert_close(values, case["outputs"]["values"])
    if "gy_pred" in case["outputs"]:
        assert_close(tape.gradient(mean, y_pred), case["outputs"]["gy_pred"])


@pytest.mark.parametrize("case", of_kind("loss_class"))
def test_classes_are_keras(case):
    y_true, y_pred = (tensor(key) for key in case["inputs"])
    for label, want in case["outputs"].items():
        reduction, _, weighted = label.partition("_")
        loss = getattr(losses, case["name"])(reduction=reduction, **case["config"])
        weight = tensor(case["sample_weight"]) if weighted else None
        assert_close(loss(y_true, y_pred, sample_weight=weight), want)


@pytest.mark.parametrize("case", of_kind("loss_class"))
def test_no_value_is_read_on_the_host(case):
    with fake_device.fake_device():
        y_true, y_pred = (tensor(key) for key in case["inputs"])
        weight = tensor(case["sample_weight"])
        loss = getattr(losses, case["name"])(**case["config"])
        with fake_device.capture(), GradientTape() as tape:
            tape.watch(y_pred)
            value = loss(y_true, y_pred, sample_weight=weight)
            assert tape.gradient(value, y_pred).shape == y_pred.shape


# -- weights and masks ----------------------------------------------------------------------------


@pytest.fixture
def steps(rng):
    """Targets and predictions of three features at five steps of four samples."""
    return rng.random((4, 5, 3)).astype("float32"), rng.random((4, 5, 3)).astype("float32")


def test_weights_of_samples_steps_and_numbers(steps, rng):
    y_true, y_pred = steps
    values = ((y_true - y_pred) ** 2).mean(axis=-1)
    for shape in [(4,), (4, 1), (4, 5), (4, 5, 1), ()]:
        weight = rng.random(shape).astype("float32")
        spread = weight.reshape(weight.shape[:2] + (1,) * (2 - weight.ndim))
        got = losses.MeanSquaredError()(y_true, y_pred, sample_weight=weight)
        assert float(got) == pytest.approx((values * spread).mean(), rel=1e-5)
    assert float(losses.MeanSquaredError("sum")(y_true, y_pred, 0.5)) == pytest.approx(
        values.sum() / 2, rel=1e-5
    )


def test_masked_steps_do_not_count(steps, rng):
    y_true, y_pred = steps
    mask = rng.random((4, 5)) > 0.4
    values = ((y_true - y_pred) ** 2).mean(axis=-1)
    weight = rng.random(4).astype("float32")
    y_pred = Tensor(y_pred)
    y_pred._keras_mask = Tensor(mask)
    mse = losses.MeanSquaredError()
    assert float(mse(y_true, y_pred)) == pytest.approx(values[mask].mean(), rel=1e-5)
    weighted = (values * weight[:, None])[mask].sum() / mask.sum()
    assert float(mse(y_true, y_pred, sample_weight=weight)) == pytest.approx(weighted, rel=1e-5)
    total = float(losses.MeanSquaredError("sum")(y_true, y_pred))
    assert total == pytest.approx(values[mask].sum(), rel=1e-5)
    y_pred._keras_mask = Tensor(np.zeros((4, 5), bool))
    assert float(mse(y_true, y_pred)) == 0


def test_ignored_classes_do_not_count(rng):
    ids, p = rng.integers(0, 3, (4, 5)), rng.dirichlet([1, 1, 1], (4, 5)).astype("float32")
    kept = ids != 1
    values = -np.log(np.take_along_axis(p, ids[..., None], -1)[..., 0])
    loss = losses.SparseCategoricalCrossentropy(ignore_class=1)
    assert float(loss(ids, p)) == pytest.approx(values[kept].mean(), rel=1e-5)
    per_step = losses.sparse_categorical_crossentropy(ids, p, ignore_class=1)
    np.testing.assert_allclose(np.asarray(per_step), np.where(kept, values, 0), rtol=1e-5)


def test_an_axis_of_size_one_may_be_missing(rng):
    y = rng.integers(0, 2, (6, 1)).astype("float32")
    p = rng.random((6, 1)).astype("float32")
    want = float(losses.BinaryCrossentropy()(y, p))
    loss = losses.BinaryCrossentropy()
    assert float(loss(Tensor(y[:, 0]), Tensor(p))) == pytest.approx(want, rel=1e-6)
    assert float(loss(Tensor(y), Tensor(p[:, 0]))) == pytest.approx(want, rel=1e-6)


def test_targets_get_the_type_of_predictions():
    for dtype in ("float16", "float32", "float64"):
        pred = np.array([[0.25, 0.75]], dtype)
        for target in ([[0, 1]], np.array([[0, 1]], "int64"), np.array([[False, True]])):
            assert losses.mse(target, pred).dtype == dtype
            assert losses.binary_crossentropy(target, pred).dtype == dtype
    assert losses.mse([1, 2], [3, 4]).dtype == "float32"


def test_class_numbers_come_as_floats_too(rng):
    p = rng.dirichlet([1, 1, 1], 4).astype("float32")
    loss = losses.SparseCategoricalCrossentropy()
    want = float(loss(np.array([0, 1, 2, 1]), p))
    assert float(loss(np.array([[0.0], [1.0], [2.0], [1.0]], "float32"), p)) == want


def test_probabilities_are_traced_back_to_their_logits():
    logits = Tensor(np.array([[200.0, 0.0], [0.0, 200.0]], "float32"))
    y = np.array([[0, 1], [0, 1]], "float32")
    p = activations.softmax(logits)
    np.testing.assert_allclose(
        np.asarray(losses.categorical_crossentropy(y, p)), [200, 0], atol=1e-6
    )
    with pytest.warns(UserWarning, match="from_logits=True, but"):
        losses.categorical_crossentropy(y, p, from_logits=True)
    p = activations.sigmoid(logits)
    np.testing.assert_allclose(np.asarray(losses.binary_crossentropy(y, p)), [100.3466, 0.3466],
                               rtol=1e-4)  # fmt: skip


def test_signs_of_the_cosine():
    x = np.array([[1.0, 2.0]], "float32")
    for name in ("cosine_similarity", "cosine_proximity", "cosine"):
        assert float(getattr(losses, name)(x, x)[0]) == pytest.approx(-1)
    assert float(losses.CosineSimilarity()(x, -x)) == pytest.approx(1)


# -- names, configs, classes of the user ------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [
        ("mse", "MSE", "mean_squared_error"),
        ("mae", "MAE", "mean_absolute_error"),
        ("mape", "MAPE", "mean_absolute_percentage_error"),
        ("msle", "MSLE", "mean_squared_logarithmic_error"),
        ("kld", "KLD", "kl_divergence", "kullback_leibler_divergence"),
        ("bce", "BCE", "binary_crossentropy"),
        ("log_cosh", "logcosh"),
        ("huber", "huber_loss"),
        ("cosine_similarity", "cosine_proximity", "cosine"),
    ],
)
def test_aliases(names):
    for name in names:
        function = getattr(losses, name)
        assert function is getattr(losses, names[0])
        assert losses.get(name) is function


def test_every_function_is_found_by_name():
    for name in losses.__all__:
        value = getattr(losses, name)
        if inspect.isfunction(value) and value.__module__.endswith("functions"):
            assert losses.get(name) is value and losses.serialize(value) == value.__name__


@pytest.mark.parametrize("kind", CLASSES, ids=lambda c: c.__name__)
def test_classes_go_to_configs_and_back(kind):
    made = kind(reduction="sum", name="mine")
    saved = losses.serialize(made)
    assert saved["class_name"] == kind.__name__
    assert {"reduction": "sum", "name": "mine"}.items() <= saved["config"].items()
    again = losses.deserialize(saved)
    assert type(again) is kind and again.get_config() == made.get_config()
    assert type(losses.get(kind.__name__)) is type(losses.get(kind)) is kind
    options = set(inspect.signature(kind).parameters)
    assert options == set(made.get_config()) and losses.function_of(made) is made.fn


def test_configs_of_later_versions():
    config = {
        "module": "keras.losses",
        "class_name": "MeanSquaredError",
        "config": {"name": "m", "reduction": "auto", "fn": "mean_squared_error"},
        "registered_name": None,
    }
    assert losses.get(config).name == "m"


def test_resolve():
    def own(y_true, y_pred):
        return ops.mean(y_pred - y_true, axis=-1)

    assert losses.resolve(None) is None
    assert losses.resolve("mse").name == "mean_squared_error"
    assert losses.resolve(losses.Huber).get_config()["delta"] == 1.0
    made = losses.Huber(2.0)
    assert losses.resolve(made) is made
    wrapped = losses.resolve(own)
    assert wrapped.name == "own"
    assert float(wrapped([[0.0], [0.0]], [[1.0], [2.0]])) == 1.5
    with registry.custom_object_scope({"own": own}):
        assert losses.resolve("own").fn is own
        again = losses.LossFunctionWrapper.from_config(wrapped.get_config())
        assert again.fn is own


def test_function_of():
    want = losses.categorical_crossentropy
    for loss in (
        "categorical_crossentropy",
        "CategoricalCrossentropy",
        want,
        losses.CategoricalCrossentropy,
        losses.CategoricalCrossentropy(label_smoothing=0.1),
        losses.serialize(losses.CategoricalCrossentropy()),
        losses.resolve("categorical_crossentropy"),
    ):
        assert losses.function_of(loss) is want and losses.is_categorical_crossentropy(loss)
    assert not losses.is_categorical_crossentropy("mse")
    assert not losses.is_categorical_crossentropy(None)


def test_subclasses():
    class Scaled(losses.Loss):
        def __init__(self, by=2.0, name="scaled", reduction="auto"):
            super().__init__(reduction=reduction, name=name)
            self.by = by

        def call(self, y_true, y_pred):
            return ops.mean(ops.abs(y_pred - y_true), axis=-1) * self.by

        def get_config(self):
            return {**super().get_config(), "by": self.by}

    made = losses.deserialize(losses.serialize(Scaled(by=3.0)), custom_objects={"Scaled": Scaled})
    y_true, y_pred = convert_to_tensor([[0.0], [0.0]]), convert_to_tensor([[1.0], [3.0]])
    assert float(made(y_true, y_pred)) == 6
    assert float(made(y_true, y_pred, sample_weight=np.array([1.0, 0.0]))) == 1.5
    assert losses.resolve(made) is made


def test_reductions():
    assert losses.Reduction.AUTO == "auto" and "none" in losses.Reduction.all()
    with pytest.raises(ValueError, match="reduction: expected one of auto"):
        losses.MeanSquaredError(reduction="mean")


@pytest.mark.parametrize(
    "make, text",
    [
        (lambda: losses.get("msee"), "Unknown loss 'msee'; did you mean 'mse'"),
        (lambda: losses.categorical_crossentropy([1, 0], [[0.5, 0.5], [0.5, 0.5]]),
         "integer classes need sparse_categorical_crossentropy"),
        (lambda: losses.categorical_crossentropy([[1, 0]], [[0.5, 0.5]], axis=True), "axis"),
        (lambda: losses.MeanSquaredError()(np.ones((4, 2)), np.ones((4, 2)), np.ones(3)),
         "sample_weight"),
        (lambda: losses.get({"config": {}}), "class_name"),
    ],
)  # fmt: skip
def test_errors(make, text):
    with pytest.raises(ValueError, match=text):
        make()


def test_a_loss_without_call():
    with pytest.raises(NotImplementedError, match="call"):
        losses.Loss()([[1.0]], [[1.0]])


def test_inputs_are_left_alone():
    before = {key: array.copy() for key, array in ARRAYS.items() if key.startswith("mass_2d")}
    y_true, y_pred = Tensor(ARRAYS["mass_2d_true"]), Tensor(ARRAYS["mass_2d_pred"])
    losses.CategoricalCrossentropy(label_smoothing=0.1)(y_true, y_pred, np.ones(len(y_pred)))
    for key, array in before.items():
        np.testing.assert_array_equal(ARRAYS[key], array)


@pytest.mark.parametrize("name", ["categorical_crossentropy", "sparse_categorical_crossentropy"])
def test_crossentropy_goes_on_from_what_softmax_has_computed(name, rng):
    """In a training step; the numbers are those of logits, also where softmax gives 0."""
    x = (rng.standard_normal((6, 4)) * 100).astype("float32")
    y = np.array([0, 1, 2, 3, 0, 1])
    target = np.eye(4, dtype="float32")[y] if name.startswith("cat") else y
    loss = getattr(losses, name)

    def gradient(give):
        logits = convert_to_tensor(x)
        with GradientTape() as tape:
            tape.watch(logits)
            values = give(logits)
        return values.numpy(), tape.gradient(values, logits).numpy()

    got = gradient(lambda z: loss(target, activations.softmax(z)))
    wanted = gradient(lambda z: loss(target, z, from_logits=True))
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(a, b)
    assert got[0].max() > 90  # float32 can't hold the probability
