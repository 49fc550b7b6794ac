"""Training through a model gives the losses, histories and weights that tf_keras stored."""

import json

import numpy as np
import pytest
from keras_values import FOLDER

from gpunet import optimizers
from gpunet.models import load_model

TRAINING = json.loads((FOLDER / "training.json").read_text(encoding="utf8"))
HISTORIES = json.loads((FOLDER / "fit_history.json").read_text(encoding="utf8"))


def arrays(file):
    with np.load(FOLDER / file) as stored:
        return {key: stored[key] for key in stored.files}


def optimizer_of(case, family="legacy"):
    config = dict(case["config"])
    if family == "new":
        config["is_legacy_optimizer"] = False
    return getattr(optimizers, case["class"]).from_config(config)


def check_final(model, final):
    assert [w.name for w in model.weights] == [want["name"] for want in final]
    for w, want in zip(model.weights, final, strict=True):
        values = w.numpy().astype("float64")
        size = np.abs(values).sum()
        assert values.sum() == pytest.approx(want["sum"], rel=1e-4, abs=1e-5 * max(size, 1e-2))
        assert np.square(values).sum() == pytest.approx(want["sum_squares"], rel=2e-4, abs=1e-8)


# Cases that don't follow the stored run: the newer Nadam of Keras multiplies its product of momenta
# once for each weight, not for each step; the others need gradients of the batch's rows alone.
OTHERWISE = {"new_nadam"} | {
    f"embedding_{rule}"
    for rule in ("sgd_momentum", "sgd_nesterov", "sgd_clipnorm", "rmsprop_momentum", "adadelta",
                 "adamax", "nadam", "ftrl")
}  # fmt: skip
CASES = {name: case for name, case in TRAINING["cases"].items() if name not in OTHERWISE}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_losses_of_20_steps(case):
    made = TRAINING["models"][case["model"]]
    data = arrays(TRAINING["data"])
    x, y = data[made["x"]], data[made["y"]]
    weight = data[case["sample_weight"]] if case["sample_weight"] else None
    classes = case["class_weight"] and {int(k): v for k, v in case["class_weight"].items()}
    model = load_model(FOLDER / made["file"], compile=False)
    model.compile(optimizer_of(case, case["family"]), made["loss"])
    losses = []
    for k in range(TRAINING["steps"]):
        rows = slice(k * TRAINING["batch_size"], (k + 1) * TRAINING["batch_size"])
        losses.append(
            model.train_on_batch(
                x[rows],
                y[rows],
                sample_weight=None if weight is None else weight[rows],
                class_weight=classes,
            )
        )
    assert all(type(loss) is float for loss in losses)
    np.testing.assert_allclose(losses, case["losses"], rtol=1e-4)
    check_final(model, case["final"])


def chosen(data, names, part):
    if names is None:
        return None
    if isinstance(names, dict):
        return {k: data[f"{n}_{part}"] for k, n in names.items()}
    if isinstance(names, list):
        return [data[f"{n}_{part}"] for n in names]
    return data[f"{names}_{part}"]


@pytest.mark.parametrize("case", HISTORIES["cases"].values(), ids=HISTORIES["cases"])
def test_history(case):
    data = arrays(HISTORIES["data"])
    x, y, w = (
        {part: chosen(data, case[key], part) for part in ("train", "val")}
        for key in ("inputs", "targets", "sample_weight")
    )
    model = load_model(FOLDER / case["model"], compile=False)
    model.compile(optimizer_of(case["optimizer"]), **case["compile"])
    check = (x["val"], y["val"]) if w["val"] is None else (x["val"], y["val"], w["val"])
    history = model.fit(
        x["train"],
        y["train"],
        sample_weight=w["train"],
        validation_data=check,
        verbose=0,
        **HISTORIES["fit"],
    )
    assert list(history.history) == case["history_keys"]
    assert model.metrics_names == case["metrics_names"]
    for key, want in case["history"].items():
        np.testing.assert_allclose(history.history[key], want, rtol=1e-4, err_msg=key)
    values = model.evaluate(x["val"], y["val"], sample_weight=w["val"], batch_size=32, verbose=0)
    np.testing.assert_allclose(values, case["evaluate"], rtol=1e-4)
    check_final(model, case["final"])
