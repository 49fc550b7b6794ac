"""MLPs for ten classes and for two, as Sequential models; README.md says where they come from."""

import numpy as np
import pytest

from gpunet import backend as K
from gpunet.layers import Activation, Dense, Dropout
from gpunet.models import Sequential
from gpunet.optimizers import SGD
from gpunet.utils import to_categorical


@pytest.fixture
def data(seeds):
    x = np.random.random((1000, 20))
    return x, (5 * x[:, :1] + 5 * x[:, 1:2]).astype(int)


def test_softmax(data):
    x_train, classes = data
    y_train = to_categorical(classes, num_classes=10)
    model = Sequential()
    # Dense(64) is a fully-connected layer with 64 hidden units.
    # in the first layer, you must specify the expected input data shape
    model.add(Dense(64, activation="relu", input_dim=20))
    model.add(Dropout(0.5))
    model.add(Dense(64, activation="relu"))
    model.add(Dropout(0.5))
    model.add(Dense(10, activation="softmax"))
    sgd = SGD(lr=0.01, decay=1e-6, momentum=0.9, nesterov=True)
    assert float(sgd.lr) == pytest.approx(0.01) and sgd.nesterov
    model.compile(loss="categorical_crossentropy", optimizer=sgd, metrics=["accuracy"])
    history = model.fit(x_train, y_train, epochs=20, batch_size=128, verbose=0).history
    assert list(history) == ["loss", "accuracy"] and len(history["loss"]) == 20
    assert history["loss"][-1] < 0.95 * history["loss"][0]
    score = model.evaluate(x_train[:100], y_train[:100], batch_size=128, verbose=0)
    assert len(score) == 2 and 0.15 < score[1] <= 1
    assert int(sgd.iterations) == 20 * 8


def test_binary(data):
    x_train = data[0]
    y_train = (x_train[:, :1] > 0.5).astype(int)
    model = Sequential()
    model.add(Dense(64, input_dim=20, activation="relu"))
    model.add(Dropout(0.5))
    model.add(Dense(64, activation="relu"))
    model.add(Dropout(0.5))
    model.add(Dense(1, activation="sigmoid"))
    model.compile(loss="binary_crossentropy", optimizer="rmsprop", metrics=["accuracy"])
    history = model.fit(x_train, y_train, epochs=20, batch_size=128, verbose=0).history
    assert list(history) == ["loss", "accuracy"]
    assert history["loss"][-1] < history["loss"][0]
    score = model.evaluate(x_train, y_train, batch_size=128, verbose=0)
    assert score[1] > 0.75
    assert model.predict(x_train).shape == (1000, 1)
    assert set(np.unique(model.predict_classes(x_train))) <= {0, 1}


def test_list_of_layers_and_metric_of_ones_own(data):
    def mean_pred(y_true, y_pred):
        return K.mean(y_pred)

    x, _ = data
    model = Sequential(
        [Dense(32, input_shape=(20,)), Activation("relu"), Dense(1, activation="sigmoid")]
    )
    model.compile(optimizer="rmsprop", loss="binary_crossentropy", metrics=["accuracy", mean_pred])
    labels = np.random.randint(2, size=(1000, 1))
    history = model.fit(x, labels, epochs=2, batch_size=32, verbose=0).history
    assert list(history) == ["loss", "accuracy", "mean_pred"]
    assert model.metrics_names == ["loss", "accuracy", "mean_pred"]
    values = model.evaluate(x, labels, verbose=0, batch_size=1000)
    assert values[2] == pytest.approx(model.predict(x).mean(), rel=1e-4)


def test_regression(data):
    x, _ = data
    model = Sequential([Dense(1, input_dim=20)])
    model.compile(optimizer="rmsprop", loss="mse")
    y = x.sum(axis=1)
    history = model.fit(x, y, epochs=5, verbose=0).history
    assert list(history) == ["loss"] and history["loss"][-1] < history["loss"][0]
