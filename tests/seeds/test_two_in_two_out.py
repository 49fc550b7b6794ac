"""Two inputs and two outputs, given as lists and as dicts; README.md says where it comes from."""

import numpy as np
import pytest

from gpunet.context import reset_uids
from gpunet.layers import Dense, Input, concatenate
from gpunet.models import Model
from gpunet.utils import to_categorical

SUMMARY = """\
Model: "model"
__________________________________________________________________________________________________
Layer (type)                    Output Shape         Param #     Connected to                     
==================================================================================================
x_in (InputLayer)               [(None, 100)]        0                                            
__________________________________________________________________________________________________
y_in (InputLayer)               [(None, 100)]        0                                            
__________________________________________________________________________________________________
dense (Dense)                   (None, 64)           6464        x_in[0][0]                       
__________________________________________________________________________________________________
dense_1 (Dense)                 (None, 64)           6464        y_in[0][0]                       
__________________________________________________________________________________________________
concatenate (Concatenate)       (None, 128)          0           dense[0][0]                      
                                                                 dense_1[0][0]                    
__________________________________________________________________________________________________
x_out (Dense)                   (None, 1)            129         concatenate[0][0]                
__________________________________________________________________________________________________
y_out (Dense)                   (None, 10)           1290        concatenate[0][0]                
==================================================================================================
Total params: 14,347
Trainable params: 14,347
Non-trainable params: 0
__________________________________________________________________________________________________
"""  # noqa: W291

LISTS = {
    "loss": ["binary_crossentropy", "categorical_crossentropy"],
    "loss_weights": [1.0, 0.2],
}
DICTS = {
    "loss": {"x_out": "binary_crossentropy", "y_out": "categorical_crossentropy"},
    "loss_weights": {"x_out": 1.0, "y_out": 0.2},
}


def build():
    reset_uids()
    x_in = Input(shape=(100,), name="x_in")
    y_in = Input(shape=(100,), name="y_in")
    # a layer instance is callable on a tensor, and returns a tensor
    x = Dense(64, activation="relu")(x_in)
    y = Dense(64, activation="relu")(y_in)
    z = concatenate([x, y])
    x = Dense(1, activation="sigmoid", name="x_out")(z)
    y = Dense(10, activation="softmax", name="y_out")(z)
    return Model(inputs=[x_in, y_in], outputs=[x, y])


@pytest.fixture
def columns(seeds):
    data = np.random.random((200, 100))
    xs = np.random.randint(2, size=(200, 1))
    ys = np.random.randint(10, size=(200, 1))
    ys[0] = 9
    return data, xs, to_categorical(ys)


def test_summary(capsys):
    build().summary()
    assert capsys.readouterr().out == SUMMARY


def test_lists_and_dicts_are_the_same(columns):
    data, xs, ys = columns
    histories, weights = [], None
    for how in (LISTS, DICTS):
        model = build()
        if weights is None:
            weights = model.get_weights()
        model.set_weights(weights)
        model.compile(optimizer="rmsprop", **how)
        assert model.metrics_names == ["loss", "x_out_loss", "y_out_loss"]
        if how is LISTS:
            x, y = [data, data], [xs, ys]
        else:
            x, y = {"x_in": data, "y_in": data}, {"x_out": xs, "y_out": ys}
        histories.append(model.fit(x, y, epochs=3, batch_size=32, shuffle=False, verbose=0).history)
    assert list(histories[0]) == ["loss", "x_out_loss", "y_out_loss"]
    assert histories[0] == histories[1]
    first = {name: values[0] for name, values in histories[0].items()}
    assert first["loss"] == pytest.approx(first["x_out_loss"] + 0.2 * first["y_out_loss"], rel=1e-5)
    assert histories[0]["loss"][-1] < histories[0]["loss"][0]


def test_one_loss_for_all_outputs(columns):
    data, xs, ys = columns
    model = build()
    model.compile(
        optimizer="rmsprop",
        loss="binary_crossentropy",
        loss_weights=[1.0, 0.2],
        metrics=["accuracy"],
    )
    history = model.fit(
        [data, data], [xs, ys], epochs=2, batch_size=32, validation_split=0.25, verbose=0
    ).history
    names = ["loss", "x_out_loss", "y_out_loss", "x_out_accuracy", "y_out_accuracy"]
    assert list(history) == names + [f"val_{name}" for name in names]
    assert model.evaluate([data, data], [xs, ys], verbose=0)[0] > 0
    a, b = model.predict([data[:3], data[:3]])
    assert a.shape == (3, 1) and b.shape == (3, 10)
    np.testing.assert_allclose(b.sum(axis=1), 1, rtol=1e-5)


def test_metrics_by_output(columns):
    data, xs, ys = columns
    model = build()
    model.compile("adam", metrics={"y_out": "acc", "x_out": ["mae"]}, **DICTS)
    history = model.fit([data, data], {"y_out": ys, "x_out": xs}, verbose=0).history
    assert list(history) == ["loss", "x_out_loss", "y_out_loss", "x_out_mae", "y_out_acc"]
