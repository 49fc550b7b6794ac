"""What callbacks do to a model, epoch by epoch, against stored traces of Keras."""

import json
from pathlib import Path

import numpy as np
import pytest

from gpunet import callbacks
from gpunet.optimizers import SGD

_FILE = Path(__file__).resolve().parents[1] / "fixtures" / "keras" / "callbacks.json"
_STORED = json.loads(_FILE.read_text(encoding="utf8"))
ROWS = [
    {"loss": 1.5, "acc": 0.25, "names": "a b", "list": [1, 2]},
    {"loss": 0.5, "list": np.array([3.0, 4.0]), "acc": np.float64(0.75)},
    {"loss": 0.125, "acc": 1.0, "names": "c,d", "list": []},
]


class Model:
    """Writes down what callbacks do; its weights are the epoch's number."""

    stop_training = False

    def __init__(self):
        self.optimizer = SGD(0.1)
        self.weights, self.saved = [-1], []

    def get_weights(self):
        return list(self.weights)

    def set_weights(self, weights):
        self.weights = list(weights)

    def save(self, path, overwrite=True):
        self.saved.append(["model", path])

    def save_weights(self, path, overwrite=True):
        self.saved.append(["weights", path])


def label(case):
    return f"{case['callback']}-{case['name']}-{case['options']}"[:90]


@pytest.mark.parametrize("case", _STORED["cases"], ids=label)
def test_trace(case):
    callback = getattr(callbacks, case["callback"])(**case["options"])
    check(callback, case)
    if case["callback"] != "ModelCheckpoint":  # its best value counts for all calls of fit
        check(callback, case)


def check(callback, case):
    model, rates = run(callback, [float(v) for v in case["values"]], case["name"])
    assert len(rates) == case["epochs"] and model.weights == [case["weights"]]
    np.testing.assert_allclose(rates, case["rates"], rtol=1e-6)
    assert model.saved == case["saved"]
    assert str(float(getattr(callback, "best", 0))) == case["best"]


def run(callback, values, name):
    model, rates = Model(), []
    callback.set_model(model)
    callback.on_train_begin({})
    for epoch, value in enumerate(values):
        callback.on_epoch_begin(epoch, {})
        model.weights = [epoch]
        callback.on_epoch_end(epoch, {name: value})
        rates.append(float(model.optimizer.lr))
        if model.stop_training:
            break
    callback.on_train_end({})
    return model, rates


@pytest.mark.parametrize("separator", _STORED["csv"])
def test_csv(separator, tmp_path):
    path = tmp_path / "log.csv"
    logger = callbacks.CSVLogger(path, separator)
    logger.set_params({"metrics": ["loss", "acc", "val_loss"]})
    logger.on_train_begin({})
    for epoch, row in enumerate(ROWS):
        logger.on_epoch_end(epoch, {**row, "val_loss": 2.0})
    logger.on_train_end({})
    assert path.read_bytes().decode() == _STORED["csv"][separator]
