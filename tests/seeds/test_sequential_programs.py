"""Sequential models: shapes of inputs, images, sequences; README.md says where they come from."""

import numpy as np
import pytest

import gpunet as keras
from gpunet.layers import (
    LSTM,
    Activation,
    Conv1D,
    Conv2D,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    GlobalAveragePooling1D,
    MaxPooling1D,
    MaxPooling2D,
)
from gpunet.models import Sequential
from gpunet.optimizers import SGD


def test_two_ways_to_make_one():
    listed = Sequential(
        [Dense(32, input_shape=(784,)), Activation("relu"), Dense(10), Activation("softmax")]
    )
    model = Sequential()
    model.add(Dense(32, input_shape=(784,)))
    model.add(Activation("relu"))
    assert listed.output_shape == (None, 10) and model.output_shape == (None, 32)
    assert listed.count_params() == 784 * 32 + 32 + 330
    # As the tutorial prints it: the second argument by position is no number of units.
    with pytest.raises(TypeError, match="units"):
        Dense(32, units=784)


def test_shapes_of_inputs():
    for given in ({"input_dim": 784}, {"input_shape": (784,)}):
        model = Sequential()
        model.add(Dense(32, **given))
        assert model.input_shape == (None, 784) and model.output_shape == (None, 32)
    steps = Sequential([LSTM(4, input_dim=8, input_length=6)])
    assert steps.input_shape == (None, 6, 8)
    free = Sequential([Dense(3, input_shape=(None, 8))])
    assert free.predict(np.zeros((2, 7, 8))).shape == (2, 7, 3)
    fixed = Sequential([LSTM(4, batch_size=32, input_shape=(6, 8), stateful=True)])
    assert fixed.input_shape == (32, 6, 8) and fixed.output_shape == (32, 4)
    with pytest.raises(ValueError, match="32"):
        fixed.predict(np.zeros((3, 6, 8)), batch_size=3)


def test_two_and_ten_classes(seeds):
    data = np.random.random((1000, 100))
    for units, classes, loss in (
        (1, 2, "binary_crossentropy"),
        (10, 10, "categorical_crossentropy"),
    ):
        labels = (data[:, :1] * classes).astype(int)
        y = labels if classes == 2 else keras.utils.to_categorical(labels, num_classes=10)
        model = Sequential()
        model.add(Dense(32, activation="relu", input_dim=100))
        model.add(Dense(units, activation="sigmoid" if units == 1 else "softmax"))
        model.compile(optimizer="rmsprop", loss=loss, metrics=["accuracy"])
        history = model.fit(data, y, epochs=10, batch_size=32, verbose=0).history
        assert history["loss"][-1] < history["loss"][0]
        assert history["accuracy"][-1] > 1.5 / classes


def vgg_like(size):
    model = Sequential()
    # this applies 32 convolution filters of size 3x3 each.
    model.add(Conv2D(32, (3, 3), activation="relu", input_shape=(size, size, 3)))
    model.add(Conv2D(32, (3, 3), activation="relu"))
    model.add(MaxPooling2D(pool_size=(2, 2)))
    model.add(Dropout(0.25))
    model.add(Conv2D(64, (3, 3), activation="relu"))
    model.add(Conv2D(64, (3, 3), activation="relu"))
    model.add(MaxPooling2D(pool_size=(2, 2)))
    model.add(Dropout(0.25))
    model.add(Flatten())
    model.add(Dense(256, activation="relu"))
    model.add(Dropout(0.5))
    model.add(Dense(10, activation="softmax"))
    return model


def test_vgg_like(seeds):
    whole = vgg_like(100)
    assert whole.layers[8].output_shape == (None, 22 * 22 * 64)
    assert whole.count_params() == 7998250
    model = vgg_like(24)
    labels = np.random.randint(3, size=(60, 1))
    x_train = np.random.random((60, 24, 24, 3)) * 0.5 + 0.5 * np.eye(3)[labels][:, :, None]
    y_train = keras.utils.to_categorical(labels, num_classes=10)
    sgd = SGD(lr=0.01, decay=1e-6, momentum=0.9, nesterov=True)
    model.compile(loss="categorical_crossentropy", optimizer=sgd)
    history = model.fit(x_train, y_train, batch_size=32, epochs=4, verbose=0).history
    assert history["loss"][-1] < 0.9 * history["loss"][0]
    score = model.evaluate(x_train, y_train, batch_size=32, verbose=0)
    assert isinstance(score, float) and score < history["loss"][0]


def test_lstm(seeds):
    max_features = 50
    model = Sequential()
    model.add(Embedding(max_features, output_dim=16))
    model.add(LSTM(16))
    model.add(Dropout(0.5))
    model.add(Dense(1, activation="sigmoid"))
    model.compile(loss="binary_crossentropy", optimizer="rmsprop", metrics=["accuracy"])
    y_train = np.random.randint(2, size=(160,))
    x_train = np.random.randint(max_features // 2, size=(160, 8)) + 25 * y_train[:, None]
    history = model.fit(x_train, y_train, batch_size=16, epochs=10, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    score = model.evaluate(x_train, y_train, batch_size=16, verbose=0)
    assert len(score) == 2 and score[1] > 0.7


def test_conv1d(seeds):
    seq_length = 32
    model = Sequential()
    model.add(Conv1D(64, 3, activation="relu", input_shape=(seq_length, 100)))
    model.add(Conv1D(64, 3, activation="relu"))
    model.add(MaxPooling1D(3))
    model.add(Conv1D(128, 3, activation="relu"))
    model.add(Conv1D(128, 3, activation="relu"))
    model.add(GlobalAveragePooling1D())
    model.add(Dropout(0.5))
    model.add(Dense(1, activation="sigmoid"))
    assert [x.output_shape[1] for x in model.layers[:5]] == [30, 28, 9, 7, 5]
    model.compile(loss="binary_crossentropy", optimizer="rmsprop", metrics=["accuracy"])
    y_train = np.random.randint(2, size=(64, 1))
    x_train = np.random.random((64, seq_length, 100)) - 0.5 + y_train[:, :, None]
    history = model.fit(x_train, y_train, batch_size=16, epochs=6, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert model.evaluate(x_train, y_train, batch_size=16, verbose=0)[1] > 0.6
