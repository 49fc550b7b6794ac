import copy
import inspect
import json

import fake_device
import numpy as np
import pytest
from keras_values import assert_close, of_kind, tensor

from gpunet import context, losses, metrics, ops, registry
from gpunet.tensor import Tensor
from gpunet.variables import Variable

# What a class needs to be made, where it needs anything.
ARGUMENTS = {
    "MeanIoU": {"num_classes": 3},
    "OneHotMeanIoU": {"num_classes": 3},
    "IoU": {"num_classes": 3, "target_class_ids": [0, 2]},
    "OneHotIoU": {"num_classes": 3, "target_class_ids": [0, 2]},
    "MeanRelativeError": {"normalizer": [1.0, 2.0]},
    "SensitivityAtSpecificity": {"specificity": 0.5},
    "SpecificityAtSensitivity": {"sensitivity": 0.5},
    "PrecisionAtRecall": {"recall": 0.5},
    "RecallAtPrecision": {"precision": 0.5},
}
CLASSES = [
    getattr(metrics, name)
    for name in metrics.__all__
    if inspect.isclass(getattr(metrics, name)) and name not in ("Metric", "MeanMetricWrapper")
]


def made(kind):
    return kind(**ARGUMENTS.get(kind.__name__, {}))


# -- the numbers of Keras -----------------------------------------------------------------------


@pytest.mark.parametrize("case", of_kind("metric_function"))
def test_functions_are_keras(case):
    inputs = [tensor(key) for key in case["inputs"]]
    values = getattr(metrics, case["name"])(*inputs, **case["options"])
    assert_close(values, case["outputs"]["values"])


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("case", of_kind("metric_class"))
def test_classes_are_keras(case, weighted):
    metric = getattr(metrics, case["name"])(**case["config"])
    for batch, label in enumerate(("first", "second")):
        inputs = [tensor(key) for key in case["inputs"][batch]]
        weight = tensor(case["sample_weight"][batch]) if weighted else None
        metric.update_state(*inputs, sample_weight=weight)
        assert_close(metric.result(), case["outputs"][label + "_weighted" * weighted])


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("case", of_kind("metric_class"))
def test_no_value_is_read_on_the_host(case, weighted):
    with fake_device.fake_device():
        metric = getattr(metrics, case["name"])(**case["config"])
        batches = [[tensor(key) for key in keys] for keys in case["inputs"]]
        weights = [tensor(key) if weighted else None for key in case["sample_weight"]]
        metric.update_state(*batches[0], sample_weight=weights[0])  # makes the state
        state = [v.array for v in metric.variables]
        with fake_device.capture():
            metric.update_state(*batches[1], sample_weight=weights[1])
            result = metric.result()
        assert all(v.array is a for v, a in zip(metric.variables, state, strict=True))
        assert_close(
            fake_device.to_host(result.array), case["outputs"]["second" + "_weighted" * weighted]
        )


# -- all classes --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CLASSES, ids=lambda c: c.__name__)
def test_classes_go_to_configs_and_back(kind):
    metric = made(kind)
    saved = metrics.serialize(metric)
    assert saved["class_name"] == kind.__name__
    json.dumps(saved)
    again = metrics.deserialize(saved)
    assert type(again) is kind and again.get_config() == metric.get_config()
    assert metrics.get(metric) is metric
    wanted = set(inspect.signature(kind).parameters)
    # thresholds of AUC and shape of MeanTensor are written only where they were given, or never
    assert wanted - set(metric.get_config()) <= {"thresholds", "shape"}


@pytest.mark.parametrize("kind", CLASSES, ids=lambda c: c.__name__)
def test_state_is_floats_that_start_at_zero(kind):
    metric = kind(**ARGUMENTS.get(kind.__name__, {}), dtype="float64")
    assert metric.dtype == "float64" and metric.trainable_weights == []
    for variable in metric.variables:
        assert variable.dtype == "float64" and not variable.trainable
        assert not variable.numpy().any()


def test_reset_and_merge_and_copy():
    first, second = metrics.Mean(), metrics.Mean()
    first.update_state([1.0, 2.0])
    second.update_state([6.0])
    first.merge_state([second])
    assert float(first.result()) == 3
    again = copy.deepcopy(first)
    first.reset_state()
    assert float(first.result()) == 0 and float(again.result()) == 3
    again.reset_states()
    assert float(again.result()) == 0
    first.set_weights([np.float32(6), np.float32(2)])
    assert float(first.result()) == 3 and [float(w) for w in first.get_weights()] == [6, 2]
    with pytest.raises(ValueError, match="expected 2 arrays, got 1"):
        first.set_weights([np.float32(1)])
    with pytest.raises(ValueError, match="can't take over"):
        first.merge_state([metrics.AUC()])


def test_calling_updates_and_returns():
    metric = metrics.MeanSquaredError()
    assert float(metric([[1.0], [2.0]], [[1.0], [4.0]])) == 2
    assert float(metric([[0.0], [0.0]], [[0.0], [0.0]])) == 1


def test_a_result_is_not_the_live_state():
    metric = metrics.Sum()
    before = metric(1.0)
    metric(2.0)
    assert float(before) == 1 and float(metric.result()) == 3


def test_names():
    context.reset_uids()
    assert [metrics.AUC().name, metrics.AUC().name, metrics.AUC(name="x").name] == [
        "auc", "auc_1", "x",
    ]  # fmt: skip
    assert metrics.MeanIoU(2).name == "mean_io_u"  # as in Keras
    assert metrics.KLDivergence().name == "kullback_leibler_divergence"


def test_dtypes_of_configs():
    assert metrics.Mean(dtype=np.float64).dtype == "float64"
    assert metrics.Mean(dtype="mixed_float16").dtype == "float32"
    policy = {"class_name": "DTypePolicy", "config": {"name": "float64"}}
    assert metrics.Mean(dtype=policy).dtype == "float64"


# -- single metrics ---------------------------------------------------------------------------


def test_weights_of_means(rng):
    values = rng.random((2, 4, 4)).astype("float32")
    for shape in [(2,), (2, 4), (2, 4, 4), ()]:
        weight = rng.random(shape).astype("float32")
        metric = metrics.Mean()
        metric.update_state(values, sample_weight=weight)
        spread = np.broadcast_to(weight.reshape(shape + (1,) * (3 - len(shape))), values.shape)
        want = (values * spread).sum() / spread.sum()
        assert float(metric.result()) == pytest.approx(want, rel=1e-5)
    with pytest.raises(ValueError, match="sample_weight of shape"):
        metric.update_state(values, sample_weight=np.ones(3))


def test_mean_tensor():
    metric = metrics.MeanTensor()
    with pytest.raises(ValueError, match="no value yet"):
        metric.result()
    metric.update_state([1.0, 2.0])
    metric.update_state([3.0, 6.0], sample_weight=[1.0, 3.0])
    np.testing.assert_allclose(np.asarray(metric.result()), [2, 5])
    with pytest.raises(ValueError, match="expected values of shape"):
        metric.update_state([1.0])
    assert metrics.MeanTensor(shape=(2, 3)).total.shape == (2, 3)


def test_signs_of_the_cosine():
    x = np.array([[1.0, 2.0]], "float32")
    for name in ("cosine_similarity", "cosine_proximity", "cosine"):
        assert float(getattr(metrics, name)(x, x)[0]) == pytest.approx(1)
        assert metrics.get(name) is metrics.cosine_similarity
    assert float(metrics.CosineSimilarity()(x, -x)) == pytest.approx(-1)


def test_top_k_of_equals_and_of_strange_predictions():
    p = np.array([[0.2, 0.2, 0.2], [0.5, 0.5, 0.1], [0.1, 0.4, 0.4], [np.nan, 1, 0]], "float32")
    got = metrics.sparse_top_k_categorical_accuracy(np.array([2, 1, 0, 0]), p, k=1)
    np.testing.assert_array_equal(np.asarray(got), [1, 1, 0, 0])
    got = metrics.sparse_top_k_categorical_accuracy(np.array([7, -1, 2]), p[:3], k=3)
    np.testing.assert_array_equal(np.asarray(got), [0, 0, 1])


def test_precision_keeps_exactly_k_of_equals():
    metric = metrics.Precision(top_k=1)
    metric.update_state(np.array([[0, 1, 1]]), np.array([[0.5, 0.5, 0.5]], "float32"))
    assert float(metric.result()) == 0


def test_evenly_spread_thresholds_count_like_any(rng):
    y, p = rng.integers(0, 2, 200), rng.random(200).astype("float32")
    p[:5] = [0, 1, 0.5, 0.25, np.nan]
    spread = [i / 8 for i in range(9)]
    for kind in CLASSES:
        if "thresholds" in inspect.signature(kind).parameters and kind is not metrics.AUC:
            fast, plain = kind(thresholds=spread), kind(thresholds=spread)
            plain._thresholds.even = 0
            for metric in (fast, plain):
                metric.update_state(y, p)
            np.testing.assert_allclose(np.asarray(fast.result()), np.asarray(plain.result()))


def test_area_under_the_roc_is_the_share_of_ordered_pairs(rng):
    y, p = rng.integers(0, 2, 400), rng.random(400).astype("float32")
    pairs = p[y == 1][:, None] - p[y == 0][None]
    metric = metrics.AUC(num_thresholds=2000)
    for part in range(4):
        metric.update_state(y[part::4], p[part::4])
    assert float(metric.result()) == pytest.approx((pairs > 0).mean(), abs=1e-3)


def test_labels_of_auc_are_found_from_the_first_batch(rng):
    y, p = rng.integers(0, 2, (50, 3)), rng.random((50, 3)).astype("float32")
    metric = metrics.AUC(multi_label=True)
    metric.update_state(y, p)
    single = []
    for i in range(3):
        one = metrics.AUC()
        one.update_state(y[:, i], p[:, i])
        single.append(float(one.result()))
    assert float(metric.result()) == pytest.approx(np.mean(single), rel=1e-5)
    with pytest.raises(ValueError, match="expected 3 labels"):
        metric.update_state(y[:, :2], p[:, :2])


def test_classes_out_of_range_are_not_counted():
    metric = metrics.MeanIoU(2)
    metric.update_state([0, 1, 5, -1], [0, 1, 1, 0])
    assert float(metric.result()) == 1


def test_constant_targets_score_zero():
    metric = metrics.R2Score()
    metric.update_state([[1.0], [1.0]], [[0.0], [3.0]])
    assert float(metric.result()) == 0


@pytest.mark.parametrize(
    "make, text",
    [
        (lambda: metrics.get("accurcy"), "Unknown metric 'accurcy'; did you mean 'accuracy'"),
        (lambda: metrics.Precision(thresholds=[0.2, 1.5]), "Precision: expected thresholds"),
        (lambda: metrics.AUC(num_thresholds=1), "num_thresholds > 1"),
        (lambda: metrics.AUC(curve="XYZ"), "expected curve from roc, pr"),
        (lambda: metrics.AUC(summation_method="all"), "expected summation_method"),
        (lambda: metrics.AUC(thresholds=[2.0]), "thresholds in"),
        (lambda: metrics.AUC(num_labels=2), "multi_label"),
        (lambda: metrics.AUC(label_weights=[-1.0]), "label_weights"),
        (lambda: metrics.AUC(multi_label=True).result(), "no value yet"),
        (lambda: metrics.SensitivityAtSpecificity(2), "specificity in"),
        (lambda: metrics.PrecisionAtRecall(0.5, num_thresholds=0), "num_thresholds > 0"),
        (lambda: metrics.IoU(2, [2]), "target_class_ids in"),
        (lambda: metrics.FBetaScore(average="all"), "expected average"),
        (lambda: metrics.FBetaScore(beta=0.0), "> 0 as beta"),
        (lambda: metrics.F1Score(threshold=2.0), "F1Score: expected a threshold"),
        (lambda: metrics.F1Score()([1.0], [1.0]), "batch, labels"),
        (lambda: metrics.R2Score("mean"), "class_aggregation"),
        (lambda: metrics.R2Score(num_regressors=-1), "num_regressors"),
        (lambda: metrics.R2Score()([1.0], [1.0]), "batch, outputs"),
        (lambda: metrics.Recall()([[1.0, 0.0]], [[1.0, 0.0, 0.0]]), "predictions' shape"),
    ],
)
def test_errors(make, text):
    with pytest.raises(ValueError, match=text):
        make()


# -- metrics of the user ------------------------------------------------------------------------


class Largest(metrics.Metric):
    """The largest error so far, as a user writes it."""

    def __init__(self, name="largest", scale=1.0, **kwargs):
        self.scale = scale  # before super().__init__, as old scripts do
        super().__init__(name=name, **kwargs)
        self.error = self.add_weight(name="error", initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        error = ops.max(ops.abs(y_pred - y_true)) * self.scale
        self.error.assign(ops.maximum(self.error, error))

    def result(self):
        return self.error

    def get_config(self):
        return {**super().get_config(), "scale": self.scale}


def test_subclasses():
    metric = Largest(scale=2.0)
    metric.update_state(Tensor(np.zeros(3, "float32")), Tensor(np.array([1, -4, 2], "float32")))
    assert float(metric.result()) == 8
    metric.reset_states()
    assert float(metric.result()) == 0
    again = metrics.deserialize(metrics.serialize(metric), custom_objects={"Largest": Largest})
    assert again.scale == 2 and again.variables == again.weights


def test_old_names_of_resetting():
    class Old(metrics.Mean):
        times = 0

        def reset_states(self):
            super().reset_states()
            self.times += 1

    class New(metrics.Mean):
        times = 0

        def reset_state(self):
            super().reset_state()
            self.times += 1

    for kind in (Old, New):
        metric = kind()
        metric.update_state(3.0)
        metric.reset_state()
        metric.reset_states()
        assert metric.times == 2 and float(metric.result()) == 0


def test_state_in_attributes():
    class Counter(metrics.Metric):
        def __init__(self):
            super().__init__()
            self.seen = Variable(np.float32(0), trainable=False)
            self.inner = [metrics.Mean()]

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.seen.assign_add(1.0)
            self.inner[0].update_state(y_pred)

        def result(self):
            return float(self.seen) + float(self.inner[0].result())

    metric = Counter()
    assert metric(0.0, 4.0) == 5 and len(metric.variables) == 3
    metric.reset_state()
    assert metric.result() == 0


def test_unwritten_methods():
    with pytest.raises(NotImplementedError, match="update_state"):
        metrics.Metric().update_state()
    with pytest.raises(NotImplementedError, match="result"):
        metrics.Metric().result()


def test_wrapped_functions():
    def off(y_true, y_pred, by=1.0):
        return ops.abs(y_pred - y_true) * by

    metric = metrics.MeanMetricWrapper(off, name="off", by=2.0)
    assert float(metric([1.0, 2.0], [2.0, 5.0])) == 4
    with registry.custom_object_scope({"off": off}):
        again = metrics.MeanMetricWrapper.from_config(metric.get_config())
    assert again.get_config() == {"name": "off", "dtype": "float32", "fn": "off", "by": 2.0}
    stored = {"class_name": "MeanMetricWrapper", "config": {"name": "a", "fn": "binary_accuracy"}}
    assert float(metrics.get(stored)([[1.0]], [[0.7]])) == 1


# -- what compile() is given --------------------------------------------------------------------


@pytest.mark.parametrize(
    "loss, output, target, kind",
    [
        ("binary_crossentropy", (None, 1), None, "binary"),
        ("binary_crossentropy", (None, 5), None, "binary"),
        ("mse", (None, 1), None, "binary"),
        ("mse", (None, 3), None, "categorical"),
        ("mse", (None, 3), (None, 1), "sparse_categorical"),
        ("mse", (None, 7, 3), (None, 7), "sparse_categorical"),
        (None, (None, 3), None, "categorical"),
        ("categorical_crossentropy", (None, 3), (None, 3), "categorical"),
        ("sparse_categorical_crossentropy", (None, 3), None, "sparse_categorical"),
        (losses.SparseCategoricalCrossentropy(), (None, 3), None, "sparse_categorical"),
        (losses.sparse_categorical_crossentropy, (None, 3), None, "sparse_categorical"),
        (losses.resolve("sparse_categorical_crossentropy"), (None, 3), None, "sparse_categorical"),
        (losses.BinaryCrossentropy, (None, 2), None, "binary"),
    ],
)
def test_short_names_choose_by_loss_and_shape(loss, output, target, kind):
    for given, what in [
        ("acc", "accuracy"), ("accuracy", "accuracy"),
        ("ce", "crossentropy"), ("crossentropy", "crossentropy"),
    ]:  # fmt: skip
        name, metric = metrics.resolve(given, output, loss, target)
        assert name == metric.name == given
        assert metric._fn is getattr(metrics, f"{kind}_{what}")


def test_resolve_takes_every_form():
    def own(y_true, y_pred):
        return ops.mean(y_pred, axis=-1)

    assert metrics.resolve("mae")[0] == "mae"
    assert metrics.resolve("MSE")[0] == "MSE"
    assert metrics.resolve(own)[0] == "own"
    assert metrics.resolve(metrics.binary_accuracy)[0] == "binary_accuracy"
    name, metric = metrics.resolve(metrics.AUC)
    assert isinstance(metric, metrics.AUC) and name == metric.name
    given = metrics.Precision(name="p")
    assert metrics.resolve(given) == ("p", given)
    name, metric = metrics.resolve({"class_name": "Recall", "config": {"name": "r"}})
    assert isinstance(metric, metrics.Recall) and name == "r"
    assert isinstance(metrics.resolve("CategoricalAccuracy")[1], metrics.CategoricalAccuracy)
    name, metric = metrics.resolve(losses.Huber())
    assert name == "huber_loss" and float(metric([[1.0]], [[2.0]])) == 0.5
    with registry.custom_object_scope({"own": own}):
        assert metrics.resolve("own")[0] == "own"
    with pytest.raises(ValueError, match="need the shape"):
        metrics.resolve("acc")
    with pytest.raises(ValueError, match="Unknown metric"):
        metrics.resolve("nothing", (None, 1), "mse")


def test_functions_may_give_several_values():
    def both(y_true, y_pred):
        return {"low": ops.min(y_pred, axis=-1), "high": ops.max(y_pred, axis=-1)}

    name, metric = metrics.resolve(both, (None, 2), "mse")
    metric.update_state([[0.0, 0.0]], [[1.0, 2.0]])
    metric.update_state([[0.0, 0.0]], [[3.0, 6.0]])
    result = metric.result()
    assert name == "both" and {k: float(v) for k, v in result.items()} == {"low": 2, "high": 4}
    metric.reset_state()
    assert float(metric.result()["high"]) == 0


def test_a_function_that_gives_a_number_is_averaged_over_batches():
    _, metric = metrics.resolve(lambda y_true, y_pred: ops.mean(y_pred), (None, 1), "mse")
    metric.update_state([[0.0], [0.0]], [[1.0], [1.0]])
    metric.update_state([[0.0]], [[4.0]])
    assert float(metric.result()) == 2.5
