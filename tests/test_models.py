"""Model: as a layer, its parts and weights, config, freezing, subclasses."""

import json

import numpy as np
import pytest

import gpunet
from gpunet import layers
from gpunet.errors import ShapeError
from gpunet.layers import Dense, Input, Layer
from gpunet.models import Model, Sequential
from gpunet.tensor import Tensor


@pytest.fixture
def data(rng):
    return rng.standard_normal((6, 3)).astype("float32")


def mlp(name=None):
    x = Input((3,), name="x")
    y = Dense(4, activation="relu", name="hidden")(x)
    return Model(x, Dense(2, name="end")(y), name=name)


def two_ends():
    a, b = Input((3,), name="a"), Input((3,), name="b")
    h = layers.Add(name="h")([a, b])
    return Model([a, b], [Dense(1, name="u")(h), Dense(2, name="v")(h)])


class Net(Model):
    def __init__(self, units=4, **kwargs):
        super().__init__(**kwargs)
        self.hidden = Dense(units, activation="relu")
        self.end = Dense(2)

    def call(self, inputs, training=None):
        return self.end(self.hidden(inputs))


# -- as a layer -----------------------------------------------------------------------------


def test_a_model_is_a_layer(data):
    model = mlp()
    x = Input((3,))
    y = model(x)
    outer = Model(x, y)
    assert outer.layers[1] is model
    np.testing.assert_array_equal(outer.predict(data), model.predict(data))
    outer.compile("sgd", "mse")
    before = model.get_weights()
    outer.train_on_batch(data, data[:, :2])
    assert all((a != b).any() for a, b in zip(before, model.get_weights()))
    np.testing.assert_array_equal(outer.predict(data), model.predict(data))


def test_two_levels(data):
    inner = mlp("inner")
    x = Input((3,))
    middle = Model(x, Dense(3)(inner(x)), name="middle")
    x = Input((3,))
    outer = Model(x, Dense(1)(middle(middle(x))), name="outer")
    assert [layer.name for layer in outer.layers[1:2]] == ["middle"]
    assert len(outer.weights) == 8 and outer.count_params() == sum(w.size for w in outer.weights)
    outer.compile("adam", "mse")
    losses = outer.fit(data, data[:, :1], epochs=30, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    again = Model.from_config(json.loads(json.dumps(outer.get_config())))
    again.set_weights(outer.get_weights())
    np.testing.assert_array_equal(again.predict(data), outer.predict(data))
    assert outer.get_layer("middle").get_layer("inner") is inner


def test_ways_to_feed_a_model(data):
    model = two_ends()
    want = model.predict([data, 2 * data])
    for x in ([data, 2 * data], (data, 2 * data), {"b": 2 * data, "a": data}):
        for got in (model(x), model.predict(x), model.predict_on_batch(x)):
            assert len(got) == 2
            np.testing.assert_allclose(got[1], want[1], rtol=1e-6)
    assert all(isinstance(t, Tensor) for t in model([data, data]))
    with pytest.raises(ValueError, match=r"no data for the inputs \['b'\]"):
        model({"a": data})
    with pytest.raises(ValueError, match=r"expected 2 inputs \['a', 'b'\], got 1"):
        model(data)
    with pytest.raises(ValueError, match=r"expected 2 inputs \['a', 'b'\], got 1"):
        model(Input((3,)))
    with pytest.raises(ShapeError, match=r"input 'b' expected shape \(None, 3\), got \(6, 2\)"):
        model([data, data[:, :2]])
    with pytest.raises(ShapeError, match="'b'"):
        model([Input((3,)), Input((4,))])
    with pytest.raises(TypeError, match="expected a tensor or an array"):
        mlp()("text")
    np.testing.assert_array_equal(mlp()([[1, 2, 3]]).shape, (1, 2))


def test_dicts_as_inputs_and_outputs(data):
    a, b = Input((3,), name="first"), Input((3,), name="second")
    model = Model({"p": a, "q": b}, {"sum": layers.Add()([a, b]), "d": Dense(1)(a)})
    got = model({"q": data, "p": 2 * data})
    assert list(got) == ["sum", "d"]
    np.testing.assert_allclose(got["sum"], 3 * data, rtol=1e-6)
    outer = Model(a, model({"p": a, "q": a})["sum"])
    np.testing.assert_allclose(outer.predict(data), 2 * data, rtol=1e-6)
    assert model.output_shape == {"sum": (None, 3), "d": (None, 1)}


def test_training_flag_reaches_layers(seeds):
    x = Input((50,))
    model = Model(x, layers.Dropout(0.5)(x))
    ones = np.ones((2, 50), "float32")
    np.testing.assert_array_equal(model(ones), ones)
    assert (model(ones, training=True).numpy() == 0).any()
    always = Model(x, layers.Dropout(0.5)(x, training=True))
    assert (always.predict(ones) == 0).any()
    outer = Model(x, model(x))
    assert (outer(ones, training=True).numpy() == 0).any()


def test_integer_inputs_are_cast_to_the_graphs_type(data):
    model = mlp()
    whole = np.arange(6).reshape(2, 3)
    np.testing.assert_array_equal(model(whole), model.predict(whole.astype("float32")))
    np.testing.assert_array_equal(model(whole.astype("float64")), model(whole))


# -- parts ----------------------------------------------------------------------------------


def test_parts():
    model = mlp("named")
    assert model.name == "named" and model.built
    assert model.input_names == ["x"] and model.output_names == ["end"]
    assert model.input_shape == (None, 3) and model.output_shape == (None, 2)
    assert model.input is model.inputs[0] and model.output is model.outputs[0]
    assert model.get_layer("hidden") is model.layers[1] is model.get_layer(index=1)
    assert model.get_layer(index=-1).name == "end"
    with pytest.raises(ValueError, match="No such layer: nobody.*'hidden'"):
        model.get_layer("nobody")
    with pytest.raises(ValueError, match="index 9"):
        model.get_layer(index=9)
    with pytest.raises(ValueError, match="name or an index"):
        model.get_layer()
    assert model.compute_output_shape((7, 3)) == (7, 2)
    two = two_ends()
    assert two.output_shape == [(None, 1), (None, 2)]
    assert two.compute_output_shape([(5, 3), (5, 3)]) == [(5, 1), (5, 2)]
    assert two.compute_output_shape({"b": (5, 3), "a": (5, 3)}) == [(5, 1), (5, 2)]
    assert not model.stateful and model.reset_states() is None
    assert model.updates == model.state_updates == [] and model.losses == []


def test_old_names_of_the_ends():
    x = Input((3,))
    y = Dense(2)(x)
    for model in (Model(input=x, output=y), Model(x, y, "third"), Model([x], [y])):
        assert model.output_shape in ((None, 2), [(None, 2)])
    assert Model(x, y, "third").name == "third"
    assert Model(inputs=x, outputs=y, trainable=False).trainable_weights == []


def test_weights_and_copies(data):
    model, other = mlp(), mlp()
    other.set_weights(model.get_weights())
    np.testing.assert_array_equal(other.predict(data), model.predict(data))
    taken = model.get_weights()
    taken[0][...] = 7
    assert (model.get_weights()[0] != 7).all()
    with pytest.raises(ValueError, match="has 4 weights, got 3"):
        model.set_weights(taken[:3])
    with pytest.raises(ShapeError, match="hidden/bias"):
        model.set_weights([taken[0], taken[0], taken[2], taken[3]])
    assert (model.get_weights()[0] != 7).all()
    assert model.variables == model.weights and model.trainable_variables == model.weights


# -- freezing -------------------------------------------------------------------------------


def counts(model):
    return len(model.trainable_weights), len(model.non_trainable_weights), len(model.weights)


def test_freezing(data):
    inner = mlp("inner")
    x = Input((3,))
    outer = Model(x, Dense(1, name="last")(inner(x)))
    assert counts(outer) == (6, 0, 6)
    inner.trainable = False
    assert counts(outer) == (2, 4, 6) and counts(inner) == (0, 4, 4)
    assert [layer.trainable for layer in inner.layers] == [False, False, False]
    outer.compile("sgd", "mse")
    before = outer.get_weights()
    outer.train_on_batch(data, data[:, :1])
    changed = [(a != b).any() for a, b in zip(before, outer.get_weights())]
    assert changed == [False] * 4 + [True] * 2
    inner.get_layer("end").trainable = True
    assert counts(outer) == (2, 4, 6)  # the model around it is frozen as a whole
    inner.trainable = True
    assert counts(outer) == (6, 0, 6)
    inner.get_layer("hidden").trainable = False
    assert counts(outer) == (4, 2, 6)
    assert [w.name for w in outer.non_trainable_weights] == ["hidden/kernel:0", "hidden/bias:0"]
    outer.trainable = False
    assert counts(outer) == (0, 6, 6)
    assert {id(w) for w in outer.weights} == {id(w) for w in outer.non_trainable_weights}


def test_frozen_layers_stay_frozen_in_a_config():
    model = mlp()
    model.get_layer("hidden").trainable = False
    again = Model.from_config(model.get_config())
    assert counts(again) == counts(model) == (2, 2, 4)
    assert not again.get_layer("hidden").trainable
    model.trainable = False
    assert not Model.from_config(model.get_config()).trainable


def test_a_layer_shared_with_a_frozen_model():
    shared = Dense(3, name="shared")
    x = Input((3,))
    inner = Model(x, shared(x))
    outer = Model(x, layers.Add()([inner(x), shared(x)]))
    inner._trainable = False  # frozen as a whole, the layer itself isn't
    assert counts(outer) == (2, 0, 2)


# -- subclasses -----------------------------------------------------------------------------


def test_a_subclass(data):
    model = Net(name="net")
    assert not model.built and model.inputs is None
    with pytest.raises(ValueError, match="This model has not yet been built"):
        model.summary()
    y = model(data)
    assert tuple(y.shape) == (6, 2) and model.built
    assert [layer.name for layer in model.layers] == [model.hidden.name, model.end.name]
    assert [w.name.count("/") for w in model.weights] == [2, 2, 2, 2]
    assert model.weights[0].name == f"net/{model.hidden.name}/kernel:0"
    model.compile("adam", "mse", metrics=["mae"])
    history = model.fit(data, data[:, :2], epochs=20, verbose=0).history
    assert list(history) == ["loss", "mae"] and history["loss"][-1] < history["loss"][0]
    np.testing.assert_allclose(model.predict(data), model(data), rtol=1e-6)


def test_a_subclass_can_be_built_by_a_shape(data):
    model = Net()
    model.build((None, 3))
    assert model.count_params() == 26
    lines = []
    model.summary(print_fn=lines.append)
    assert "Total params: 26" in lines
    assert model.compute_output_shape((None, 3)) == (None, 2)
    x = Input((3,))
    outer = Model(x, Dense(1)(model(x)))
    assert outer.layers[1] is model and outer.predict(data).shape == (6, 1)


def test_a_subclass_whose_call_looks_at_values(data):
    class Looks(Model):
        def __init__(self):
            super().__init__()
            self.dense = Dense(2)

        def call(self, x):
            return self.dense(x) if float(x.numpy().sum()) > -1e9 else x

    model = Looks()
    assert tuple(model(data).shape) == (6, 2)
    assert model.predict(data).shape == (6, 2)


def test_a_subclass_with_a_graph(data):
    class Classifier(Model):
        def __init__(self, units):
            x = Input((3,))
            super().__init__(x, Dense(units)(x))
            self.extra = Dense(1)

    model = Classifier(4)
    assert model.predict(data).shape == (6, 4)
    assert model.extra in model.layers and len(model.layers) == 3


def test_config_of_a_subclass():
    model = Net(units=5, name="n")
    assert Net.from_config(model.get_config()).hidden.units == 5

    class Bare(Model):
        def call(self, x):
            return x

    with pytest.raises(NotImplementedError, match="Bare"):
        Bare().get_config()
    with pytest.raises(NotImplementedError, match=r"must define call\(\)"):
        Model()(np.ones((1, 2)))


def test_a_model_inside_a_list_of_a_subclass(data):
    class Ensemble(Model):
        def __init__(self):
            super().__init__()
            self.members = [mlp("a"), mlp("b"), Sequential([Dense(2)])]

        def call(self, x):
            return [member(x) for member in self.members]

    model = Ensemble()
    assert [tuple(y.shape) for y in model(data)] == [(6, 2)] * 3
    assert len(model.weights) == 10 and len(model.layers) == 3


# -- losses ---------------------------------------------------------------------------------


def test_losses_of_nested_models(data):
    x = Input((3,))
    regularized = Dense(2, kernel_regularizer="l2", kernel_initializer="ones")
    inner = Model(x, regularized(x))
    outer = Model(x, layers.Add()([inner(x), regularized(x)]))
    assert [float(loss) for loss in outer.losses] == pytest.approx([0.06])
    outer.compile("sgd", "mse")
    assert outer.evaluate(data, outer.predict(data), verbose=0) == pytest.approx(0.06)


def test_layers_on_a_finished_model(data):
    """Cut off the head of a model and put another on it."""
    base = mlp()
    features = Model(base.input, base.get_layer("hidden").output)
    features.trainable = False
    head = Dense(1, name="head")(features.output)
    model = Model(features.input, head)
    assert [layer.name for layer in model.layers] == ["x", "hidden", "head"]
    assert counts(model) == (2, 2, 4)
    assert model.predict(data).shape == (6, 1)


def test_a_custom_layer_between_models(data):
    class Twice(Layer):
        def call(self, x):
            return x * 2.0

    inner = mlp()
    x = Input((3,))
    model = Model(x, inner(Twice()(x)))
    np.testing.assert_allclose(model.predict(data), inner.predict(2 * data), rtol=1e-6)


def test_namespace():
    assert gpunet.models.load_model and gpunet.models.save_model
    assert gpunet.Model is Model and gpunet.Sequential is Sequential
