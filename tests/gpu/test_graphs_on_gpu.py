"""Steps as CUDA graphs on a real GPU: captured, and equal to the steps that they were made of.

All need a CUDA device; `benchmarks/gpu_check.sh` runs them where there is one.
"""

import logging

import numpy as np
import pytest

import gpunet
from gpunet import backend as K
from gpunet import callbacks, layers, models, optimizers
from gpunet.fused.graphs import Graphs

pytestmark = pytest.mark.gpu

DRAWN = np.random.default_rng(1)
X = DRAWN.standard_normal((90, 6)).astype("float32")
Y = np.arange(90) % 3
IMAGES = DRAWN.integers(0, 255, (90, 8, 8, 2)).astype("uint8")
WORDS = DRAWN.integers(0, 9, (90, 7))


def mlp():
    hidden = [layers.Dense(12, activation="relu", input_shape=(6,)), layers.Dropout(0.4)]
    return models.Sequential([*hidden, layers.Dense(3, activation="softmax")]), X


def cnn():
    return models.Sequential(
        [
            layers.Conv2D(4, 3, activation="relu", input_shape=(8, 8, 2)),
            layers.BatchNormalization(),
            layers.MaxPooling2D(),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3, activation="softmax"),
        ]
    ), IMAGES


def lstm():
    return models.Sequential(
        [
            layers.Embedding(9, 4, mask_zero=True, input_length=7),
            layers.LSTM(8, return_sequences=True),
            layers.Bidirectional(layers.GRU(4)),
            layers.Dense(3, activation="softmax"),
        ]
    ), WORDS


@pytest.fixture
def launched(monkeypatch):
    """The list of all launches."""
    found, launch = [], Graphs.launch

    def counted(self, graph):
        found.append(graph)
        launch(self, graph)

    monkeypatch.setattr(Graphs, "launch", counted)
    return found


def trained(make, rule, eagerly):
    with gpunet.device("gpu"):
        gpunet.utils.set_random_seed(0)
        model, x = make()
        model.compile(rule(), "sparse_categorical_crossentropy", metrics=["accuracy"],
                      run_eagerly=eagerly)  # fmt: skip
        slower = callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.9)
        history = model.fit(x, Y, batch_size=16, epochs=5, verbose=0, validation_split=0.2,
                            callbacks=[slower]).history  # fmt: skip
        K.set_value(model.optimizer.lr, 0.0)
        still = model.get_weights()
        model.fit(x, Y, batch_size=16, epochs=2, verbose=0)
        moved = [not np.array_equal(a, b) for a, b in zip(still, model.get_weights())]
        return history, model.predict(x), model.evaluate(x, Y, verbose=0), any(moved)


@pytest.mark.parametrize("make", [mlp, cnn, lstm])
@pytest.mark.parametrize("rule", [optimizers.SGD, optimizers.RMSprop, optimizers.Adam])
def test_graphs_give_the_numbers_of_eager_steps(make, rule, launched, caplog):
    with caplog.at_level(logging.INFO, "gpunet"):
        history, predicted, tested, moved = trained(make, rule, False)
    assert not [r.getMessage() for r in caplog.records if "graph" in r.getMessage()]
    assert len(launched) > 10
    count = len(launched)
    wanted, predictions, scores, _ = trained(make, rule, True)
    assert len(launched) == count  # nothing is launched eagerly
    for name, values in wanted.items():
        np.testing.assert_allclose(history[name], values, rtol=1e-4, atol=1e-5, err_msg=name)
    np.testing.assert_allclose(predicted, predictions, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(tested, scores, rtol=1e-3, atol=1e-4)
    if make is not cnn:  # whose averages move without a rate
        assert not moved


def test_a_failed_capture_leaves_all_usable(launched, monkeypatch, caplog):
    """The host reads a value while the stream is under capture."""
    from gpunet.training.objective import Objective

    track = Objective.track

    def reading(self, total, parts, size):
        float(total)
        track(self, total, parts, size)

    monkeypatch.setattr(Objective, "track", reading)
    with caplog.at_level(logging.INFO, "gpunet"):
        trained(mlp, optimizers.SGD, False)
    assert [r for r in caplog.records if "runs without a CUDA graph" in r.getMessage()]
    monkeypatch.undo()
    with gpunet.device("gpu"):
        assert np.isfinite(gpunet.ops.sum(gpunet.convert_to_tensor(X)).numpy())
