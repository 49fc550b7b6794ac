"""Compile arguments in files: losses, metrics, their names and weights."""

import json

import h5py
import numpy as np
import pytest
from saving_models import classifier, data, same_weights, steps, two_headed

from gpunet import losses, metrics
from gpunet.errors import FileFormatError
from gpunet.models import load_model


def reloaded(model, folder):
    model.save(folder / "m.h5")
    return load_model(folder / "m.h5")


def stored(folder):
    with h5py.File(folder / "m.h5") as file:
        return json.loads(file.attrs["training_config"])


LOSSES = [
    "categorical_crossentropy",
    losses.categorical_crossentropy,
    losses.CategoricalCrossentropy(label_smoothing=0.1),
    losses.Huber(delta=0.3),
    "mse",
    "MeanSquaredError",
    losses.MeanAbsoluteError(reduction="sum"),
]


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_losses(loss, tmp_path):
    x, y, _ = data()
    model = classifier()
    model.compile("adam", loss)
    steps(model, x, y)
    again = reloaded(model, tmp_path)
    assert again.evaluate(x, y, verbose=0) == model.evaluate(x, y, verbose=0)
    assert steps(again, x, y) == steps(model, x, y)
    assert reloaded(again, tmp_path).to_json() == model.to_json()


METRICS = [
    ["accuracy"],
    ["acc"],
    ["acc", "mae", "mean_squared_error"],
    ["AUC"],
    [metrics.categorical_accuracy, metrics.mae],
    [metrics.CategoricalAccuracy(name="mine"), metrics.Precision(thresholds=0.4, name="p")],
    [metrics.TopKCategoricalAccuracy(k=2)],
    [metrics.MeanMetricWrapper(metrics.mae, name="wrapped")],
    "accuracy",
    [["accuracy", "mse"]],
]


@pytest.mark.parametrize("measured", METRICS, ids=str)
def test_metrics(measured, tmp_path):
    x, y, _ = data()
    model = classifier()
    model.compile("sgd", "categorical_crossentropy", metrics=measured)
    again = reloaded(model, tmp_path)
    assert again.metrics_names == model.metrics_names
    assert again.evaluate(x, y, verbose=0) == model.evaluate(x, y, verbose=0)
    third = reloaded(again, tmp_path)
    assert third.metrics_names == model.metrics_names


@pytest.mark.parametrize("name", ["accuracy", "acc"])
def test_one_output_keeps_the_words(name, tmp_path):
    model = classifier()
    model.compile("sgd", "categorical_crossentropy", metrics=[name], weighted_metrics=["mse"])
    again = reloaded(model, tmp_path)
    assert stored(tmp_path)["metrics"] == [name]
    assert stored(tmp_path)["weighted_metrics"] == ["mse"]
    assert again.metrics_names == model.metrics_names == ["loss", name, "mse"]


TWO = {
    "dicts": {
        "loss": {"kind": "categorical_crossentropy", "flag": "binary_crossentropy"},
        "loss_weights": {"kind": 1.0, "flag": 0.2},
        "metrics": {"kind": ["accuracy"], "flag": ["accuracy", "mae"]},
    },
    "lists": {
        "loss": ["categorical_crossentropy", losses.BinaryCrossentropy()],
        "loss_weights": [1.0, 0.2],
        "metrics": [["acc"], ["acc", metrics.AUC(name="auc")]],
    },
    "one for both": {"loss": "mse", "metrics": ["mae"]},
    "flat list": {"loss": "mse", "metrics": ["mae", "accuracy"], "weighted_metrics": ["mse"]},
    "one loss": {"loss": {"kind": "categorical_crossentropy"}, "metrics": {"kind": "accuracy"}},
    "none": {"loss": "mse"},
}


@pytest.mark.parametrize("case", TWO)
@pytest.mark.filterwarnings("ignore:compile")
def test_two_outputs(case, tmp_path):
    x, y, flag = data()
    targets = [y, None if case == "one loss" else flag]
    model = two_headed()
    model.compile("adam", **TWO[case])
    model.train_on_batch(x, targets)
    again = reloaded(model, tmp_path)
    assert again.metrics_names == model.metrics_names
    assert not any(n.startswith(("kind_kind", "flag_flag")) for n in again.metrics_names)
    assert again.evaluate(x, targets, verbose=0) == model.evaluate(x, targets, verbose=0)
    assert again.train_on_batch(x, targets) == model.train_on_batch(x, targets)
    same_weights(again, model)
    assert reloaded(again, tmp_path).metrics_names == model.metrics_names


def test_metrics_of_several_outputs_carry_their_names(tmp_path):
    """Otherwise real Keras takes equal names for one metric."""
    model = two_headed()
    model.compile("adam", **TWO["dicts"])
    reloaded(model, tmp_path)
    found = stored(tmp_path)
    assert found["loss"] == TWO["dicts"]["loss"]
    assert found["loss_weights"] == TWO["dicts"]["loss_weights"]
    assert [
        [(m["class_name"], m["config"]["name"]) for m in part] for part in found["metrics"]
    ] == [
        [("CategoricalAccuracy", "kind_accuracy")],
        [("BinaryAccuracy", "flag_accuracy"), ("MeanAbsoluteError", "flag_mae")],
    ]


KERAS_FORMS = [
    # tf_keras: resolved, with the outputs' names in front already
    [[{"class_name": "MeanMetricWrapper",
       "config": {"name": "kind_accuracy", "dtype": "float32", "fn": "categorical_accuracy"}}],
     [{"class_name": "MeanMetricWrapper",
       "config": {"name": "flag_accuracy", "dtype": "float32", "fn": "binary_accuracy"}}]],
    [["accuracy"], ["accuracy"]],
    {"kind": "accuracy", "flag": "accuracy"},
    ["accuracy"],
]  # fmt: skip


@pytest.mark.parametrize("form", KERAS_FORMS)
def test_forms_of_other_kerases(form, tmp_path):
    x, y, flag = data()
    model = two_headed()
    model.compile("adam", **{**TWO["dicts"], "metrics": ["accuracy"]})
    model.save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "a") as file:
        config = json.loads(file.attrs["training_config"])
        config["metrics"] = form
        file.attrs["training_config"] = json.dumps(config).encode()
    again = load_model(tmp_path / "m.h5")
    assert again.metrics_names[-2:] == ["kind_accuracy", "flag_accuracy"]
    assert again.evaluate(x, [y, flag], verbose=0) == model.evaluate(x, [y, flag], verbose=0)


def test_a_training_config_that_makes_no_sense(tmp_path):
    model = classifier()
    model.compile("adam", "mse")
    for config in (
        {},
        [],
        {"optimizer_config": 3},
        {"optimizer_config": {"config": {}}},
        {"optimizer_config": {"class_name": "Adam", "config": {"beta_1": []}}},
    ):
        model.save(tmp_path / "m.h5")
        with h5py.File(tmp_path / "m.h5", "a") as file:
            file.attrs["training_config"] = json.dumps(config)
        with pytest.raises((ValueError, TypeError)):
            load_model(tmp_path / "m.h5")
        same_weights(load_model(tmp_path / "m.h5", compile=False), model)


def test_a_state_of_absurd_size_is_not_read(tmp_path):
    model = classifier()
    model.compile("adam", "mse")
    steps(model, *data()[:2])
    model.save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "a") as file:
        group = file["optimizer_weights"]
        name = group.attrs["weight_names"][1].decode()
        del group[name]
        group.create_dataset(name, (1 << 40,), "f4", chunks=(1 << 20,))
    with pytest.warns(UserWarning, match="no weight has the shape"):
        again = load_model(tmp_path / "m.h5")
    assert int(again.optimizer.iterations) == 0


def test_a_missing_array_of_the_state(tmp_path):
    model = classifier()
    model.compile("adam", "mse")
    steps(model, *data()[:2])
    model.save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "a") as file:
        del file["optimizer_weights"]["Adam"]
    with pytest.raises(FileFormatError, match=r"m\.h5.*Adam.*is missing"):
        load_model(tmp_path / "m.h5")
    assert np.isfinite(load_model(tmp_path / "m.h5", compile=False).predict(data()[0])).all()
