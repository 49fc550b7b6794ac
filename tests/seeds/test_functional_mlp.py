"""784-64-64-10, as a functional model; README.md says where it comes from."""

import numpy as np
import pytest

from gpunet import losses, optimizers
from gpunet.context import reset_uids
from gpunet.layers import Dense, Input
from gpunet.models import Model
from gpunet.utils import to_categorical

SUMMARY = """\
Model: "mnist_model"
_________________________________________________________________
Layer (type)                 Output Shape              Param #   
=================================================================
input_1 (InputLayer)         [(None, 784)]             0         
_________________________________________________________________
dense (Dense)                (None, 64)                50240     
_________________________________________________________________
dense_1 (Dense)              (None, 64)                4160      
_________________________________________________________________
dense_2 (Dense)              (None, 10)                650       
=================================================================
Total params: 55,050
Trainable params: 55,050
Non-trainable params: 0
_________________________________________________________________
"""  # noqa: W291


@pytest.fixture
def images(seeds):
    """Rows of 784 numbers, a brighter patch for each of ten classes."""
    labels = np.random.randint(10, size=500)
    data = np.random.random((500, 784)).astype("float32")
    for i, label in enumerate(labels):
        data[i, 78 * label : 78 * (label + 1)] += 0.5
    return data, labels


def test_softmax(images):
    data, numbers = images
    labels = to_categorical(numbers)
    # This returns a tensor
    inputs = Input(shape=(784,))
    # a layer instance is callable on a tensor, and returns a tensor
    x = Dense(64, activation="relu")(inputs)
    x = Dense(64, activation="relu")(x)
    predictions = Dense(10, activation="softmax")(x)
    # This creates a model that includes the Input layer and three Dense layers
    model = Model(inputs=inputs, outputs=predictions)
    model.compile(optimizer="rmsprop", loss="categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(data, labels, epochs=12, verbose=0)  # starts training
    assert list(history.history) == ["loss", "accuracy"]
    assert history.history["loss"][-1] < 0.5 < 2 < history.history["loss"][0]
    assert history.history["accuracy"][-1] > 0.8
    np.testing.assert_allclose(model.predict(data).sum(axis=1), 1, rtol=1e-5)


def test_summary_and_training(images, capsys):
    reset_uids()
    x, y = images
    inputs = Input(shape=(784,))
    assert inputs.shape.as_list() == [None, 784] and inputs.dtype == "float32"
    dense = Dense(64, activation="relu")
    h = dense(inputs)
    h = Dense(64, activation="relu")(h)
    outputs = Dense(10)(h)
    model = Model(inputs=inputs, outputs=outputs, name="mnist_model")
    model.summary()
    assert capsys.readouterr().out == SUMMARY
    model.compile(
        loss=losses.SparseCategoricalCrossentropy(from_logits=True),
        optimizer=optimizers.RMSprop(),
        metrics=["accuracy"],
    )
    history = model.fit(
        x[:400], y[:400], batch_size=64, epochs=8, validation_split=0.2, verbose=0
    ).history
    assert list(history) == ["loss", "accuracy", "val_loss", "val_accuracy"]
    assert history["val_loss"][-1] < history["val_loss"][0]
    scores = model.evaluate(x[400:], y[400:], verbose=0)
    assert model.metrics_names == ["loss", "accuracy"] and len(scores) == 2
    assert scores[1] > 0.7
