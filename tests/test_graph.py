"""The graph: errors, depth, memory, masks, replay."""

import copy
import gc
import pickle
import time
import weakref

import numpy as np
import pytest

from gpunet import backend as K
from gpunet import layers
from gpunet.errors import GraphError, ShapeError
from gpunet.graph import Graph
from gpunet.layers import Dense, Input, Layer
from gpunet.models import Model, Sequential
from gpunet.nest import flatten, is_nested, map_nest, pack


def test_disconnected():
    a, b = Input((3,), name="a"), Input((3,), name="b")
    y = layers.Add(name="sum")([Dense(3, name="fine")(a), b])
    with pytest.raises(ValueError, match="Graph disconnected.*'b'.*'fine'"):
        Model(a, y)
    with pytest.raises(GraphError, match="Graph disconnected"):
        Model(Input((3,)), y)


def test_names_must_differ():
    x = Input((3,))
    y = Dense(3, name="same")(Dense(3, name="same")(x))
    with pytest.raises(ValueError, match='The name "same" is used 2 times in the model. All layer'):
        Model(x, y)


def test_ends_that_are_none():
    x = Input((3,))
    y = Dense(1)(x)
    for ends in [(x, np.zeros(3)), (np.zeros(3), y), (x, None), ([x, 3], y), ("x", y)]:
        with pytest.raises(ValueError, match=r"Input\(\)|neither"):
            Model(*ends)
    with pytest.raises(ValueError, match="twice"):
        Model([x, x], y)
    with pytest.raises(TypeError, match="outputz"):
        Model(x, y, outputz=y)


def test_thousands_of_layers():
    x = y = Input((2,))
    start = time.perf_counter()
    for _ in range(3000):
        y = layers.Activation("relu")(y)
    model = Model(x, Dense(1)(y))
    assert len(model.layers) == 3002
    model.compile("sgd", "mse")
    data = np.ones((2, 2), "float32")
    model.train_on_batch(data, np.zeros((2, 1)))
    assert model.predict(data).shape == (2, 1)
    assert len(model.get_config()["layers"]) == 3002
    again = Model.from_config(model.get_config())
    assert [x.name for x in again.layers] == [x.name for x in model.layers]
    assert model.count_params() == 3
    nested = Input((2,))
    assert Model(nested, model(nested)).predict(data).shape == (2, 1)
    assert time.perf_counter() - start < 20


def test_a_wide_graph():
    x = Input((2,))
    y = layers.Add()([Dense(2)(x) for _ in range(300)])
    assert len(Model(x, y).layers) == 302


def test_values_are_freed_when_nobody_needs_them():
    alive, most = weakref.WeakSet(), []

    class Watched(Layer):
        def call(self, x):
            y = x + 1.0
            alive.add(y)
            most.append(len(alive))
            return y

    x = y = Input((2,))
    for _ in range(20):
        y = Watched()(y)
    model = Model(x, y)
    alive.clear()
    most.clear()
    gc.collect()
    np.testing.assert_array_equal(model.predict(np.zeros((1, 2))), [[20, 20]])
    assert max(most) <= 4


def test_an_output_may_be_an_input_or_given_twice():
    x = Input((2,))
    y = layers.Activation("relu")(x)
    model = Model(x, [x, y, y])
    a, b, c = model.predict(np.array([[-1.0, 2.0]]))
    np.testing.assert_array_equal(a, [[-1, 2]])
    np.testing.assert_array_equal(b, [[0, 2]])
    np.testing.assert_array_equal(b, c)


def test_a_model_from_the_middle():
    x = Input((3,), name="x")
    h = Dense(4, name="h")(x)
    y = Dense(2, name="y")(h)
    whole = Model(x, y)
    upper = Model(h, y)
    assert [layer.name for layer in upper.layers[1:]] == ["y"]
    assert upper.input_shape == (None, 4) and upper.layers[0].name.startswith("input")
    assert len(upper.weights) == 2
    data = np.ones((2, 3), "float32")
    lower = Model(x, h)
    np.testing.assert_array_equal(upper.predict(lower.predict(data)), whole.predict(data))
    assert whole.get_layer("y").output is y  # still its only call
    again = Model.from_config(upper.get_config())
    again.set_weights(upper.get_weights())
    np.testing.assert_array_equal(again.predict(np.ones((1, 4))), upper.predict(np.ones((1, 4))))
    upper.compile("sgd", "mse")
    upper.train_on_batch(np.ones((2, 4)), np.ones((2, 2)))
    both = Model([x, h], layers.Add()([Dense(2)(x), y]))
    assert len(both.inputs) == 2 and both.predict([data, np.ones((2, 4))]).shape == (2, 2)
    nested = Input((4,))
    assert Model(nested, upper(nested)).predict(np.ones((1, 4))).shape == (1, 2)
    assert upper(Input(batch_shape=(7, 4))).shape == (7, 2)


def test_features_of_every_layer():
    x = Input((3,))
    base = Model(x, Dense(2, name="b")(Dense(4, name="a")(x)))
    features = Model(inputs=base.input, outputs=[layer.output for layer in base.layers])
    data = np.ones((2, 3), "float32")
    found = features(data)
    assert [tuple(t.shape) for t in found] == [(2, 3), (2, 4), (2, 2)]
    np.testing.assert_array_equal(found[2], base.predict(data))


def test_a_model_on_other_shapes_is_replayed():
    x = Input((None, 3))
    per_step = Model(x, Dense(5)(x))
    assert per_step(Input((7, 3))).shape == (None, 7, 5)
    assert per_step(Input(batch_shape=(2, 7, 3))).shape == (2, 7, 5)
    assert per_step.compute_output_shape((None, 9, 3)) == (None, 9, 5)
    with pytest.raises(ShapeError, match="expected shape"):
        per_step(Input((7, 4)))


def test_ops_on_symbolic_tensors_are_layers():
    x = Input((3,))
    y = K.sum(x * 2.0 + 1.0, axis=1, keepdims=True)
    model = Model(x, Dense(1, kernel_initializer="ones")(y))
    np.testing.assert_array_equal(model.predict(np.ones((2, 3))), [[9], [9]])


@pytest.mark.parametrize("make", ["functional", "stack", "nested", "middle", "subclass"])
@pytest.mark.parametrize("how", ["deepcopy", "pickle"])
def test_copies_of_models(make, how):
    model = COPIED[make]()
    x = np.linspace(-1, 1, 12, dtype="float32").reshape(4, 3)
    target = np.ones((4, 2), "float32")
    model.compile("adam", "mse", metrics=["mae"])
    model.fit(x, target, epochs=2, verbose=0)
    copied = copy.deepcopy(model) if how == "deepcopy" else pickle.loads(pickle.dumps(model))
    assert [layer.name for layer in copied.layers] == [layer.name for layer in model.layers]
    assert all(a is not b for a, b in zip(copied.weights, model.weights))
    np.testing.assert_array_equal(copied.predict(x), model.predict(x))
    before = model.get_weights()
    losses = [m.train_on_batch(x, target) for m in (copied, copied)]
    for a, b in zip(model.get_weights(), before):
        np.testing.assert_array_equal(a, b)
    assert losses == [model.train_on_batch(x, target) for _ in range(2)]  # same slots too
    assert copied.metrics_names == model.metrics_names


def _functional():
    x = Input((3,))
    h = Dense(3, name="shared")
    y = layers.Concatenate()([h(h(x)), layers.Lambda(_twice)(x)])
    model = Model(x, Dense(2, kernel_regularizer="l2", kernel_constraint="max_norm")(y))
    model.add_loss(K.mean(K.square(model.layers[1].get_output_at(0))))
    return model


def _twice(x):
    return x * 2.0


def _nested():
    inner, x = _functional(), Input((3,))
    return Model(x, Sequential([Dense(2)])(inner(x)))


def _middle():
    x = layers.Activation("relu")(Input((3,)))
    return Model(x, Dense(2)(Dense(3)(x)))


class Subclass(Model):
    def __init__(self):
        super().__init__()
        self.parts = [Dense(4, activation="relu"), Dense(2)]

    def call(self, x):
        return self.parts[1](self.parts[0](x))


COPIED = {
    "functional": _functional,
    "stack": lambda: Sequential([Dense(4, input_shape=(3,)), Dense(2)]),
    "nested": _nested,
    "middle": _middle,
    "subclass": Subclass,
}


def test_nests():
    nest = {"b": [1, (2,)], "a": 3}
    assert flatten(nest) == [1, 2, 3]
    assert pack(nest, [4, 5, 6]) == {"b": [4, (5,)], "a": 6}
    assert map_nest(lambda v: v + 1, nest) == {"b": [2, (3,)], "a": 4}
    assert is_nested([]) and is_nested({}) and not is_nested(3)


def test_a_graph_needs_tensors_of_a_graph():
    x = Input((3,))
    with pytest.raises(GraphError, match="inputs of model 'm'"):
        Graph([3], [x], "m")
    assert Graph([x], [x], "m").layers == [x.node.layer]


def test_layers_of_a_dtype_in_a_graph():
    x = Input((3,), dtype="int32")
    y = layers.Flatten()(x)
    assert y.dtype == "int32"
    model = Model(x, Dense(2, dtype="float64")(Dense(2)(y)))
    assert model.predict(np.ones((1, 3))).dtype == np.float64
    assert model(np.ones((1, 3), "int64")).dtype == np.float64
    model.compile("sgd", "mse")
    model.train_on_batch(np.ones((1, 3)), np.ones((1, 2)))


def test_an_input_that_is_a_tensor_of_a_graph(rng):
    x = Input((4,), name="x")
    h = Dense(3)(x)
    assert Input(tensor=x) is x
    begun = Input(tensor=h)
    model = Model(begun, Dense(2, name="top")(begun))
    assert model.input_shape == (None, 3) and model.count_params() == 8
    whole = Model(x, model.get_layer("top").output)
    data = rng.standard_normal((5, 4)).astype("float32")
    np.testing.assert_allclose(
        model.predict(Model(x, h).predict(data)), whole.predict(data), rtol=1e-5, atol=1e-6
    )
    with pytest.raises(TypeError, match="expected as tensor one made by Input"):
        Input(tensor=np.zeros((2, 3)))
    with pytest.warns(UserWarning, match="keeps its name"):
        Input(tensor=h, name="other")
