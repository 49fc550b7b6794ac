"""Sequential: stacking, taking off, building late, nesting, config."""

import json

import numpy as np
import pytest

from gpunet import layers
from gpunet.context import reset_uids
from gpunet.layers import Activation, Dense, Dropout, Input, InputLayer
from gpunet.models import Model, Sequential


@pytest.fixture(autouse=True)
def fresh_names():
    reset_uids()


def test_two_ways_to_make_one():
    listed = Sequential([Dense(32, input_shape=(784,)), Activation("relu"), Dense(10)])
    added = Sequential()
    added.add(Dense(32, input_dim=784))
    added.add(Activation("relu"))
    added.add(Dense(10))
    for model in (listed, added):
        assert model.built and model.input_shape == (None, 784) and model.output_shape == (None, 10)
        assert model.count_params() == 784 * 32 + 32 + 330
        assert [type(layer).__name__ for layer in model.layers] == ["Dense", "Activation", "Dense"]
    assert listed.input_names == ["dense_input"] and listed.output_names == ["dense_1"]
    assert Sequential(Dense(1, input_dim=2)).output_shape == (None, 1)
    assert Sequential([Dense(1)], "given").name == "given"


@pytest.mark.parametrize(
    "first", [lambda: Input((4,), name="x"), lambda: InputLayer(input_shape=(4,), name="x")]
)
def test_an_input_first(first):
    model = Sequential([first(), Dense(3), Dense(2)])
    assert [layer.name for layer in model.layers] == ["dense", "dense_1"]
    assert model.input_names == ["x"] and model.output_shape == (None, 2)
    assert [e["class_name"] for e in model.get_config()["layers"]] == [
        "InputLayer",
        "Dense",
        "Dense",
    ]


def test_built_by_data_or_shape():
    x = np.ones((5, 4), "float32")
    for build in (
        lambda m: m(x),
        lambda m: m.build((None, 4)),
        lambda m: m.predict(x),
        lambda m: m(Input((4,))),
        lambda m: m.compute_output_shape((None, 4)) and m.build((None, 4)),
    ):
        model = Sequential([Dense(3), Dropout(0.5), Dense(2)])
        assert not model.built and model.weights == [] and model.outputs is None
        build(model)
        assert model.built and len(model.weights) == 4
        assert model.input_shape == (None, 4) and model.output_shape == (None, 2)
        assert model.predict(x[:3]).shape == (3, 2)
    model = Sequential([Dense(3), Dense(1)])
    model.compile("sgd", "mse")
    model.fit(x, np.ones(5), verbose=0)
    assert model.count_params() == 15 + 4
    model.add(Dense(7))
    assert model.output_shape == (None, 7)


def test_not_built_yet():
    model = Sequential([Dense(3)])
    with pytest.raises(ValueError, match="This model has not yet been built"):
        model.summary()
    with pytest.raises(ValueError, match="isn't built yet"):
        model.count_params()
    with pytest.raises(ValueError, match="input_shape"):
        model.build()
    with pytest.raises(ValueError, match="no layers"):
        Sequential().build((None, 3))
    with pytest.raises(ValueError, match="no layers"):
        Sequential()(np.ones((1, 2)))
    with pytest.raises(ValueError, match="one input"):
        model([np.ones((1, 2)), np.ones((1, 2))])
    with pytest.raises(ValueError, match="'dense'"):
        Sequential([Dense(3, name="dense")]).build((None, None))


def test_a_failed_build_can_be_repeated():
    model = Sequential([layers.Reshape((2, 2)), layers.Flatten(), Dense(1)])
    with pytest.raises(ValueError, match="target_shape"):
        model.build((None, 5))
    assert model.outputs is None
    model.build((None, 4))
    assert model.output_shape == (None, 1)


def test_pop():
    model = Sequential([Dense(4, input_shape=(3,)), Dense(2, name="top")])
    assert model.pop().name == "top"
    assert model.output_shape == (None, 4) and len(model.weights) == 2
    assert model.layers[0].outbound_nodes == []
    model.add(Dense(5))
    assert model.predict(np.ones((2, 3))).shape == (2, 5)
    model.pop(), model.pop()
    assert model.layers == [] and model.outputs is None and model.inputs is None
    assert not model.built
    with pytest.raises(TypeError, match="There are no layers in the model."):
        model.pop()
    model.add(Dense(2, input_shape=(6,)))
    assert model.input_shape == (None, 6)
    kept = Sequential([Input((3,)), Dense(1)])
    kept.pop()
    kept.add(Dense(2))
    assert kept.output_shape == (None, 2)
    late = Sequential([Dense(1), Dense(2)])
    late.pop()
    assert late(np.ones((1, 3))).shape == (1, 1)


def test_pop_of_a_layer_that_is_used_elsewhere():
    layer = Dense(2)
    model = Sequential([Dense(3, input_shape=(3,)), layer])
    y = layer(Input((3,)))
    model.pop()
    assert model.output_shape == (None, 3) and layer.get_output_at(1) is y


def test_training_goes_on_after_add_and_pop():
    x, y = np.ones((4, 3), "float32"), np.zeros((4, 2), "float32")
    model = Sequential([Dense(2, input_shape=(3,))])
    model.compile("adam", "mse", metrics=["mae"])
    model.fit(x, y, verbose=0)
    model.add(Dense(2))
    assert list(model.fit(x, y, verbose=0).history) == ["loss", "mae"]
    model.pop()
    model.fit(x, y, verbose=0)
    assert model.evaluate(x, y, verbose=0)[0] < 10


def test_what_cant_be_added():
    model = Sequential([Dense(3, name="a", input_shape=(2,))])
    with pytest.raises(TypeError, match="must be an instance of class Layer. Found: 3"):
        model.add(3)
    with pytest.raises(TypeError, match="must be an instance"):
        model.add(Dense)
    with pytest.raises(ValueError, match='unique names. Name "a" is already'):
        model.add(Dense(1, name="a"))

    class Two(layers.Layer):
        def call(self, x):
            return [x, x]

    with pytest.raises(ValueError, match="single output tensor"):
        model.add(Two())
    assert len(model.layers) == 1 and model.output_shape == (None, 3)
    model.add(Dense(1))
    assert model.predict(np.ones((1, 2))).shape == (1, 1)


def test_nested():
    x = Input((4,))
    inner = Model(x, Dense(3)(x), name="inner")
    model = Sequential([inner, Sequential([Dense(2)], name="late"), Activation("relu")])
    assert model.input_shape == (None, 4) and model.output_shape == (None, 2)
    assert len(model.weights) == 4 and model.layers[0] is inner
    data = np.ones((2, 4), "float32")
    model.compile("sgd", "mse")
    model.train_on_batch(data, np.zeros((2, 2)))
    again = Sequential.from_config(json.loads(json.dumps(model.get_config())))
    again.set_weights(model.get_weights())
    np.testing.assert_array_equal(again.predict(data), model.predict(data))
    i = Input((4,))
    outer = Model(i, layers.Add()([model(i), model(layers.Activation("tanh")(i))]))
    assert outer.predict(data).shape == (2, 2) and len(outer.weights) == 4


def test_a_model_with_two_inputs_doesnt_fit():
    a, b = Input((3,)), Input((3,))
    with pytest.raises(ValueError, match="expected 2 inputs"):
        Sequential([Model([a, b], layers.Add()([a, b]))])


def test_config():
    model = Sequential([Dense(3, input_shape=(2,), activation="relu"), Dropout(0.1), Dense(1)])
    config = json.loads(json.dumps(model.get_config()))
    assert [e["class_name"] for e in config["layers"]] == [
        "InputLayer",
        "Dense",
        "Dropout",
        "Dense",
    ]
    assert config["layers"][0]["config"]["name"] == "dense_input"
    assert json.loads(model.to_json())["class_name"] == "Sequential"
    for given in (config, config["layers"], config["layers"][1:]):
        again = Sequential.from_config(given)
        assert [x.name for x in again.layers] == [x.name for x in model.layers]
        again.set_weights(model.get_weights())
        np.testing.assert_array_equal(
            again.predict(np.ones((1, 2))), model.predict(np.ones((1, 2)))
        )
    late = Sequential([Dense(3), Dense(1)])
    again = Sequential.from_config(late.get_config())
    assert not again.built and len(again.layers) == 2
    built = Sequential.from_config({**late.get_config(), "build_input_shape": [None, 5]})
    assert built.input_shape == (None, 5)


def test_many_layers():
    model = Sequential([Dense(2, input_shape=(2,))])
    for _ in range(500):
        model.add(Activation("relu"))
    assert model.predict(np.ones((1, 2))).shape == (1, 2)


def test_freezing():
    model = Sequential([Dense(3, input_shape=(2,)), Dense(1)])
    model.layers[0].trainable = False
    assert len(model.trainable_weights) == 2 and len(model.non_trainable_weights) == 2
    again = Sequential.from_config(model.get_config())
    assert len(again.trainable_weights) == 2
    model.trainable = False
    assert model.trainable_weights == []


def test_classes():
    model = Sequential([Dense(3, input_shape=(3,), use_bias=False, kernel_initializer="identity")])
    x = np.array([[0.1, 0.7, 0.2], [0.9, 0.0, 0.1]], "float32")
    np.testing.assert_array_equal(model.predict_classes(x), [1, 0])
    np.testing.assert_allclose(model.predict_proba(x), x)
    one = Sequential([Dense(1, input_shape=(3,), use_bias=False, kernel_initializer="ones")])
    assert set(np.unique(one.predict_classes(x * [[1], [0.1]]))) == {0, 1}
    assert one.model is one
