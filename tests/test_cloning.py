"""clone_model, models from configs and JSON, and names that a config has in vain."""

import json

import numpy as np
import pytest

from gpunet import Input, Model, Sequential, activations, layers, models
from gpunet import backend as K
from gpunet.errors import UnknownNameError
from gpunet.layers import Dense, Lambda, Layer, TimeDistributed


class Double(Layer):
    def __init__(self, factor=2.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, x):
        return x * self.factor


def shared():
    """Two inputs, a layer that is called twice, a nested model, a Lambda and an op."""
    inner_in = Input((3,))
    inner = Model(inner_in, Double(name="d")(Dense(3, name="in")(inner_in)), name="inner")
    a, b = Input((4,), name="a"), Input((4,), name="b")
    dense = Dense(3, activation="tanh", name="shared")
    y = layers.add([inner(dense(a)), inner(dense(b))])
    y = Lambda(lambda t: t + 1, name="plus")(y) * 2.0
    return Model({"a": a, "b": b}, [y, dense.get_output_at(0)], name="outer")


def stacked():
    return Sequential([Dense(3, input_shape=(4,)), Double(3.0), TimeDistributed(Dense(2))][:2])


def data(model, rng):
    xs = [rng.standard_normal((5, *t.shape[1:])).astype("float32") for t in model.inputs]
    return dict(zip(model.input_names, xs)) if len(xs) > 1 else xs[0]


@pytest.mark.parametrize("make", [shared, stacked])
def test_clones_have_weights_of_their_own(make, rng):
    model = make()
    clone = models.clone_model(model)
    assert clone.name == model.name and type(clone) is type(model)
    assert [x.name for x in clone.layers] == [x.name for x in model.layers]
    assert not {id(w) for w in clone.weights} & {id(w) for w in model.weights}
    assert [tuple(w.shape) for w in clone.weights] == [tuple(w.shape) for w in model.weights]
    x = data(model, rng)
    first = np.asarray(clone.predict(x)[0])
    assert (first != np.asarray(model.predict(x)[0])).any()
    clone.set_weights(model.get_weights())
    for got, want in zip(np.atleast_1d(clone.predict(x)), np.atleast_1d(model.predict(x))):
        np.testing.assert_array_equal(got, want)
    assert not any(set(x.inbound_nodes) & set(y.inbound_nodes)
                   for x, y in zip(clone.layers, model.layers))  # fmt: skip


def test_clone_on_given_tensors(rng):
    model = stacked()
    start = Input((4,), name="start")
    clone = models.clone_model(model, input_tensors=start)
    assert clone.input is start and clone.output_shape == (None, 3)
    middle = Dense(4)(start)
    clone = models.clone_model(model, input_tensors=[middle])
    assert clone.output_shape == (None, 3) and len(clone.trainable_weights) == 2
    functional = shared()
    starts = [Input((4,)), Input((4,))]
    clone = models.clone_model(functional, input_tensors=starts)
    assert [t is s for t, s in zip(clone.inputs, starts)] == [True, True]
    with pytest.raises(ValueError, match="has 2 inputs, got 1"):
        models.clone_model(functional, input_tensors=starts[:1])


def test_clone_function():
    seen = []

    def wider(layer):
        seen.append(layer.name)
        if isinstance(layer, Dense):
            return Dense.from_config({**layer.get_config(), "activation": "relu"})
        return layer.__class__.from_config(layer.get_config())

    model = Sequential([Dense(3, input_shape=(4,), name="one"), Double(name="two")])
    clone = models.clone_model(model, clone_function=wider)
    assert seen == ["one", "two"] and clone.layers[0].activation is activations.relu
    inputs = Input((4,))
    functional = Model(inputs, model.layers[0](inputs))
    models.clone_model(functional, clone_function=wider)
    assert seen[2:] == ["one"]
    with pytest.raises(ValueError, match="callable"):
        models.clone_model(model, clone_function="wider")


def test_frozen_and_added_losses_are_cloned():
    inputs = Input((4,))
    dense = Dense(2)
    dense.trainable = False
    model = Model(inputs, Dense(1)(dense(inputs)))
    model.add_loss(K.mean(K.square(model.output)))
    clone = models.clone_model(model)
    assert len(clone.trainable_weights) == 2 and len(clone.non_trainable_weights) == 2
    clone.compile("sgd")
    x = np.random.default_rng(0).standard_normal((8, 4))
    want = np.mean(clone.predict(x) ** 2)
    assert clone.evaluate(x, verbose=0) == pytest.approx(want, rel=1e-5)


def test_what_cant_be_cloned():
    class Net(Model):
        def __init__(self, units=3):
            super().__init__()
            self.dense = Dense(units)

        def call(self, x):
            return self.dense(x)

        def get_config(self):
            return {"units": 5}

    assert models.clone_model(Net()).dense.units == 5
    with pytest.raises(ValueError, match="subclass model"):
        models.clone_model(Net(), input_tensors=[Input((2,))])
    with pytest.raises(ValueError, match="`Model` instance"):
        models.clone_model(Dense(2))


def halved():
    x = Input((4,), name="a")
    return Model(x, Double(0.5, name="half")(Dense(2)(x)), name="m")


@pytest.mark.parametrize("make", [halved, stacked])
def test_json(make):
    model = make()
    text = model.to_json()
    config = json.loads(text)
    assert config["class_name"] in ("Functional", "Sequential") and config["keras_version"]
    for back in (
        models.model_from_json(text, custom_objects={"Double": Double}),
        models.model_from_config(config, {"Double": Double}),
        type(model).from_config(model.get_config(), custom_objects={"Double": Double}),
    ):
        assert back.get_config() == model.get_config()
        assert back.layers[-1].factor == model.layers[-1].factor


def test_yaml_is_gone():
    with pytest.raises(RuntimeError, match="security risk.*to_json"):
        stacked().to_yaml()
    with pytest.raises(RuntimeError, match="security risk.*model_from_json"):
        models.model_from_yaml("")


def test_configs_that_are_none():
    with pytest.raises(TypeError, match="expects a dictionary, not a list.*Sequential"):
        models.model_from_config([])
    with pytest.raises(ValueError):
        models.model_from_json("{")
    with pytest.raises(ValueError, match="class_name"):
        models.model_from_json("{}")


def test_compile_config(rng):
    model = stacked()
    assert model.get_compile_config() is None
    model.compile_from_config(None)
    model.compile("adam", "mse", metrics=["mae"], loss_weights=[2.0])
    config = json.loads(json.dumps(model.get_compile_config()))
    assert config["loss"] == "mse" and config["optimizer"]["class_name"] == "Adam"
    other = stacked()
    other.set_weights(model.get_weights())
    other.compile_from_config(config)
    x = rng.standard_normal((6, 4))
    assert other.train_on_batch(x, x[:, :3]) == model.train_on_batch(x, x[:, :3])

    class Net(Model):
        def call(self, x):
            return x

    net = Net()
    net.compile("sgd", "mse", metrics=["mae"])
    assert net.get_compile_config()["metrics"] == ["mae"]


# -- names in vain --------------------------------------------------------------------------------


def far(y_true, y_pred):
    return K.mean(K.abs(y_true - y_pred))


def loud(x):
    return 2 * x


class Near(Layer):
    def call(self, x):
        return x


def custom():
    x = Input((4,))
    inner_in = Input((4,))
    inner = Model(inner_in, Near()(inner_in))
    y = TimeDistributed(Near())(layers.Reshape((2, 2))(inner(x)))
    y = layers.Flatten()(Double()(y))
    model = Model(x, Dense(2, activation=loud)(Lambda(loud)(y)))
    model.compile("adam", far, metrics=["accuracy", far])
    return model


def test_all_that_is_unknown_is_named_at_once(tmp_path):
    model = custom()
    path = str(tmp_path / "m.h5")
    model.save(path)
    wanted = {"Double": Double, "Near": Near, "loud": loud, "far": far}
    with pytest.raises(UnknownNameError) as caught:
        models.load_model(path)
    text = str(caught.value)
    assert all(repr(name) in text for name in wanted) and text.count("'Near'") == 2
    assert "m.h5" in text and "accuracy" not in text and "Lambda" not in text
    with pytest.raises(UnknownNameError, match="'Near'.*'loud'") as caught:
        models.model_from_json(model.to_json(), custom_objects={"Double": Double})
    assert "'Double'" not in str(caught.value) and "'far'" not in str(caught.value)
    with pytest.raises(UnknownNameError, match="Unknown layer 'Near'"):
        models.model_from_json(model.to_json(), {"Double": Double, "loud": loud})
    back = models.load_model(path, custom_objects=wanted)
    x = np.random.default_rng(0).standard_normal((3, 4))
    np.testing.assert_array_equal(back.predict(x), model.predict(x))
