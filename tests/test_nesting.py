"""Models inside models, layers and wrappers: run, train, copy, clone, pickle and save them."""

import copy
import io
import pickle

import numpy as np
import pytest

from gpunet import Input, Model, Sequential, models
from gpunet import backend as K
from gpunet.layers import (
    LSTM,
    Add,
    BatchNormalization,
    Bidirectional,
    Concatenate,
    Conv2D,
    Dense,
    Embedding,
    GlobalAveragePooling2D,
    Layer,
    TimeDistributed,
)


class Sub(Model):
    """A subclass with layers in attributes, lists, tuples and an unbuilt Sequential."""

    def __init__(self, units=3, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.first = Dense(units)
        self.inner = Sequential([Dense(4), Dense(units)])
        self.parts = {"a": [Dense(units)], "b": (Dense(units),)}

    def call(self, x, training=None):
        y = self.inner(self.first(x))
        return y + self.parts["a"][0](x) + self.parts["b"][0](x)

    def get_config(self):
        return {"units": self.units, "name": self.name}


class Doubled(Layer):
    def __init__(self, model, **kwargs):
        super().__init__(**kwargs)
        self.model = model

    def call(self, x):
        return self.model(x) * 2


def wrapped_twice():
    x = Input((5, 4))
    recurrent = Model(x, Bidirectional(LSTM(3, return_sequences=True))(x))
    video = Input((2, 5, 4))
    y = TimeDistributed(recurrent)(video)
    top = Sequential([Dense(2, input_shape=(6,)), BatchNormalization()])
    return Model(video, TimeDistributed(TimeDistributed(top))(y))


def subclass_in_a_graph():
    x = Input((4,))
    return Model(x, Dense(2)(Sub()(x)))


def sequences_of_sequences():
    inner = Sequential([Dense(3), Sequential([Dense(3), Sequential([Dense(3)])])])
    return Sequential([Input((4,)), Sequential([Dense(3, input_shape=(4,)), inner]), Dense(2)])


def dicts_and_shared_layers():
    a, b, dense = Input((4,), name="a"), Input((3,), name="b"), Dense(3)
    inner = Model({"p": a, "q": b}, {"s": dense(a) + b, "t": dense(a) * b})
    u, v = Input((4,)), Input((3,))
    out = inner({"p": u, "q": v})
    return Model([u, v], [out["s"], Dense(1)(out["t"])])


def model_in_a_layer():
    x = Input((4,))
    return Model(x, Doubled(Sequential([Dense(3, input_shape=(4,))]))(x))


def masks_through_a_model():
    words = Input((6,), dtype="int32")
    steps = Input((6, 4))
    encoder = Model(steps, LSTM(3)(steps))
    return Model(words, encoder(Embedding(10, 4, mask_zero=True)(words)))


def functions_between_layers():
    x = Input((8, 8, 3))
    y = Add()([Conv2D(4, 3, padding="same")(x), Conv2D(4, 1)(x)])
    return Model(x, Dense(2)(GlobalAveragePooling2D()(K.relu(y)[:, ::2, ::2])))


def two_outputs_called_twice():
    a = Input((3,))
    inner = Model(a, [Dense(2)(a), Dense(2)(a)])
    b = Input((3,))
    p, q = inner(b)
    return Model(b, Concatenate()([p, q, inner(b + 1.0)[0]]))


CUSTOM = {"Sub": Sub, "Doubled": Doubled}


@pytest.mark.parametrize(
    "make",
    [wrapped_twice, subclass_in_a_graph, sequences_of_sequences, dicts_and_shared_layers,
     model_in_a_layer, masks_through_a_model, functions_between_layers, two_outputs_called_twice],
)  # fmt: skip
def test_everything_of_a_nested_model(make, rng):
    model = make()
    model.compile("adam", "mse")
    xs = [
        rng.integers(0, 9, (6, *t.shape[1:]))
        if t.dtype.kind == "i"
        else rng.standard_normal((6, *t.shape[1:]))
        for t in model.inputs
    ]
    targets = [np.zeros((6, *t.shape[1:])) for t in model.outputs]
    losses = model.fit(xs, targets, epochs=4, batch_size=4, verbose=0).history["loss"]
    assert losses[-1] < losses[0]

    def outputs(of):
        ys = of.predict(xs)
        return ys if isinstance(ys, list) else [ys]

    wanted = outputs(model)
    clone = models.clone_model(model)
    clone.set_weights(model.get_weights())
    file = io.BytesIO()
    model.save(file)
    loaded = models.load_model(file, custom_objects=CUSTOM)
    for other in (clone, loaded, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        for got, want in zip(outputs(other), wanted, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    went_on = loaded.train_on_batch(xs, targets)
    np.testing.assert_allclose(went_on, model.train_on_batch(xs, targets), rtol=1e-5)
    for got, want in zip(outputs(loaded), outputs(model), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
