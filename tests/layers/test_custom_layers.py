"""Layers of the user's own, in the idioms of Keras 2 tutorials."""

import json

import numpy as np
import pytest

import gpunet
from gpunet import backend as K
from gpunet import layers, ops
from gpunet.context import reset_uids
from gpunet.errors import ShapeError
from gpunet.layers import Dense, Input, Layer
from gpunet.layers.base import loss_scope
from gpunet.models import Model, Sequential
from gpunet.tensor import convert_to_tensor


class MyLayer(Layer):
    """Attributes before super().__init__(), a build() that never sets built."""

    def __init__(self, output_dim, **kwargs):
        self.output_dim = output_dim
        super(MyLayer, self).__init__(**kwargs)  # noqa: UP008

    def build(self, input_shape):
        self.kernel = self.add_weight(
            name="kernel",
            shape=(input_shape[1], self.output_dim),
            initializer="uniform",
            trainable=True,
        )

    def call(self, x):
        return K.dot(x, self.kernel)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.output_dim)


class CustomDense(Layer):
    """add_weight() without names, get_config() of its own keys alone, no **kwargs."""

    def __init__(self, units=32):
        super().__init__()
        self.units = units

    def build(self, input_shape):
        self.w = self.add_weight(
            shape=(input_shape[-1], self.units), initializer="random_normal", trainable=True
        )
        self.b = self.add_weight(shape=(self.units,), initializer="random_normal", trainable=True)

    def call(self, inputs):
        return K.dot(inputs, self.w) + self.b

    def get_config(self):
        return {"units": self.units}


class SplitVector(Layer):
    """Two outputs."""

    def call(self, inputs):
        in_dim = K.int_shape(inputs)[-1]
        return [inputs[:, : in_dim // 2], inputs[:, in_dim // 2 :]]

    def compute_output_shape(self, input_shape):
        in_dim = input_shape[-1]
        return [(None, in_dim // 2), (None, in_dim - in_dim // 2)]


def test_my_layer_trains(rng):
    x = Input(shape=(6,))
    layer = MyLayer(3)
    y = layer(x)
    assert layer.built and K.int_shape(y) == (None, 3)
    assert [w.name for w in layer.weights] == [f"{layer.name}/kernel:0"]
    model = Model(x, y)
    model.compile("adam", "mse")
    data = rng.standard_normal((40, 6)).astype("float32")
    losses = model.fit(data, data[:, :3], epochs=20, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    np.testing.assert_allclose(
        model.predict(data), data @ layer.get_weights()[0], rtol=1e-4, atol=1e-5
    )


def test_custom_dense_in_a_config():
    inputs = Input((4,))
    model = Model(inputs, CustomDense(10)(inputs))
    config = json.loads(json.dumps(model.get_config()))
    again = Model.from_config(config, custom_objects={"CustomDense": CustomDense})
    assert again.layers[1].name == model.layers[1].name
    assert again.layers[1].units == 10
    names = [w.name for w in model.weights]
    assert len(set(names)) == 2 and [tuple(w.shape) for w in model.weights] == [(4, 10), (10,)]
    with pytest.raises(ValueError, match="CustomDense"):
        Model.from_config(config)


def test_split_vector():
    x_in = Input((5,))
    x1, x2 = SplitVector()(x_in)
    assert (K.int_shape(x1), K.int_shape(x2)) == ((None, 2), (None, 3))
    assert SplitVector().compute_output_shape((None, 5)) == [(None, 2), (None, 3)]
    model = Model(x_in, [Dense(1, name="d")(x2), x1, x2])
    assert model.output_names[1:] == [x1.node.layer.name, f"{x1.node.layer.name}_1"]
    x = np.arange(10, dtype="float32").reshape(2, 5)
    _, a, b = model.predict(x)
    np.testing.assert_array_equal(a, x[:, :2])
    np.testing.assert_array_equal(b, x[:, 2:])
    again = Model.from_config(model.get_config(), {"SplitVector": SplitVector})
    again.set_weights(model.get_weights())
    np.testing.assert_array_equal(again.predict(x)[0], model.predict(x)[0])
    used = Model(x_in, Dense(1)(x2))  # one of the outputs is never used
    assert used.predict(x).shape == (2, 1)


def test_weights_made_in_init():
    class Scale(Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.scale = self.add_weight("scale", (), initializer="ones")
            self.count = self.add_weight("count", (2,), dtype="int32", trainable=False)

        def call(self, x):
            return x * self.scale

    layer = Scale(name="s")
    assert [w.name for w in layer.weights] == ["s/scale:0", "s/count:0"]
    assert [w.dtype for w in layer.weights] == ["float32", "int32"]
    model = Sequential([layer, Dense(1)])
    model.compile("sgd", "mse")
    model.fit(np.ones((4, 3), "float32"), np.zeros((4, 1)), verbose=0)
    assert float(layer.scale) != 1 and layer.trainable_weights == [layer.scale]


def test_variables_in_attributes_are_weights():
    class Bias(Layer):
        def build(self, input_shape):
            self.parts = {"b": [gpunet.Variable(np.zeros(input_shape[-1], "float32"))]}
            self.frozen = gpunet.Variable(1.0, trainable=False)

        def call(self, x):
            return x + self.parts["b"][0] * self.frozen

    layer = Bias()
    layer(np.ones((1, 3), "float32"))
    assert len(layer.trainable_weights) == 1 and layer.non_trainable_weights == [layer.frozen]


def test_sublayers_in_attributes_lists_and_dicts():
    class Block(Layer):
        def __init__(self, units, **kwargs):
            super().__init__(**kwargs)
            self.first = Dense(units, activation="relu", name="first")
            self.rest = [Dense(units, name="second"), (Dense(units, name="third"),)]
            self.named = {"last": Dense(1, name="last"), "same": self.first}

        def call(self, x):
            x = self.rest[1][0](self.rest[0](self.first(x)))
            return self.named["last"](x)

    block = Block(4, name="block")
    y = block(np.ones((2, 3), "float32"))
    assert tuple(y.shape) == (2, 1)
    names = [w.name for w in block.weights]
    assert names[:2] == ["block/first/kernel:0", "block/first/bias:0"] and len(names) == 8
    block.trainable = False
    assert block.trainable_weights == [] and len(block.non_trainable_weights) == 8
    block.rest[0].trainable = True
    assert block.trainable_weights == []  # the block as a whole is still frozen
    block._trainable = True
    assert [w.name for w in block.trainable_weights] == [
        "block/second/kernel:0",
        "block/second/bias:0",
    ]
    x = Input((3,))
    model = Model(x, Block(4)(x))
    model.compile("sgd", "mse")
    before = model.get_weights()
    model.train_on_batch(np.ones((2, 3)), np.ones((2, 1)))
    assert any((a != b).any() for a, b in zip(before, model.get_weights()))
    again = Model.from_config(model.get_config(), {"Block": Block})
    again.set_weights(model.get_weights())
    np.testing.assert_array_equal(again.predict(np.ones((2, 3))), model.predict(np.ones((2, 3))))


def test_a_layer_that_holds_its_model():
    class Watcher(Layer):
        def call(self, x):
            return x * 1.0

    x = Input((2,))
    watcher = Watcher()
    model = Model(x, Dense(1)(watcher(x)))
    watcher.owner = model
    assert len(model.weights) == len(model.trainable_weights) == 2
    assert len(model.losses) == 0 and model.count_params() == 3
    model.trainable = False
    assert model.trainable_weights == [] and not watcher.trainable


def test_a_layer_may_call_a_functional_model():
    x = Input((None, 4))
    classifier = Model(x, Dense(1)(layers.Activation("relu")(x)))

    class Recurrent(Layer):
        def __init__(self):
            super().__init__()
            self.units = 4
            self.projection_1 = Dense(units=4, activation="tanh")
            self.projection_2 = Dense(units=4, activation="tanh")
            self.classifier = classifier

        def call(self, inputs):
            outputs = []
            state = ops.multiply(inputs[:, 0, :4], 0.0)
            for t in range(inputs.shape[1]):
                h = self.projection_1(inputs[:, t, :])
                state = h + self.projection_2(state)
                outputs.append(state)
            return self.classifier(K.stack(outputs, axis=1))

    layer = Recurrent()
    assert tuple(layer(np.zeros((1, 10, 5), "float32")).shape) == (1, 10, 1)
    inputs = Input(batch_shape=(16, 10, 5))
    model = Model(inputs, layer(inputs))
    assert model.output_shape == (16, 10, 1)
    assert len(model.trainable_weights) == 6
    assert model.predict(np.zeros((16, 10, 5)), batch_size=16).shape == (16, 10, 1)


def test_subclasses_with_kwargs_get_their_config():
    class Narrow(Dense):
        def __init__(self, width, scale=1.0, **kwargs):
            super().__init__(units=2 * width, **kwargs)
            self.factor = scale

        def call(self, x):
            return super().call(x) * self.factor

    layer = Narrow(3, scale=0.5, activation="relu", use_bias=False, name="n", input_shape=(4,))
    config = json.loads(json.dumps(layer.get_config()))
    assert config == {
        "name": "n",
        "trainable": True,
        "batch_input_shape": [None, 4],
        "dtype": "float32",
        "width": 3,
        "scale": 0.5,
        "activation": "relu",
        "use_bias": False,
    }
    again = Narrow.from_config(config)
    x = np.ones((2, 4), "float32")
    layer(x), again(x)
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(again(x), layer(x))
    assert tuple(again(x).shape) == (2, 6)


def test_the_recorded_arguments_count_not_what_became_of_them():
    class Doubled(Layer):
        def __init__(self, units, names=("a",), *, table=None, **kwargs):
            super().__init__(**kwargs)
            self.units = 2 * units
            self.names = list(names)

    config = Doubled(4, ("x", "y"), table=np.arange(2)).get_config()
    assert (config["units"], config["names"], config["table"]) == (4, ("x", "y"), [0, 1])
    assert Doubled.from_config(config).units == 8


def test_changed_attributes_of_built_in_layers_are_saved():
    layer = layers.Dropout(0.5)
    layer.rate = 0.25
    assert layers.Dropout.from_config(layer.get_config()).rate == 0.25


def test_super_get_config_is_that_of_the_base():
    class Own(Layer):
        def __init__(self, units, **kwargs):
            super().__init__(**kwargs)
            self.units = units

        def get_config(self):
            config = super().get_config()
            assert "units" not in config or type(self) is not Own
            config.update({"units": self.units})
            return config

    class Below(Own):
        def __init__(self, units, extra=1, **kwargs):
            super().__init__(units, **kwargs)
            self.extra = extra

    class OfDense(Dense):
        def __init__(self, units, extra, **kwargs):
            super().__init__(units, **kwargs)
            self.extra = extra

        def get_config(self):
            return {**super().get_config(), "extra": self.extra}

    below = Below.from_config(Below(3, extra=5, name="b").get_config())
    assert (below.units, below.extra, below.name) == (3, 5, "b")
    config = OfDense(3, 7, activation="tanh").get_config()
    assert set(Dense(3).get_config()) | {"extra"} == set(config)
    assert OfDense.from_config(config).activation is gpunet.activations.tanh


def test_layers_as_arguments():
    class Wrapped(Layer):
        def __init__(self, layer, others=(), **kwargs):
            super().__init__(**kwargs)
            self.layer, self.others = layer, list(others)

        def call(self, x):
            x = self.layer(x)
            for other in self.others:
                x = other(x)
            return x

    layer = Wrapped(Dense(3, name="inner"), [layers.Activation("relu")])
    config = json.loads(json.dumps(layer.get_config()))
    assert config["layer"]["class_name"] == "Dense"
    again = Wrapped.from_config(config)
    assert again.layer.units == 3 and isinstance(again.others[0], layers.Activation)
    assert tuple(again(np.ones((1, 2), "float32")).shape) == (1, 3)


def test_forgotten_super_init():
    class Forgetful(Layer):
        def __init__(self, units):
            self.units = units

    with pytest.raises(RuntimeError, match=r"super\(\).__init__"):
        Forgetful(3)(np.ones((1, 2), "float32"))
    with pytest.raises(RuntimeError, match=r"super\(\).__init__"):
        Forgetful(3)(Input((2,)))
    with pytest.raises(RuntimeError, match=r"super\(\).__init__"):
        Forgetful(3).add_weight("w", (2,))


def test_a_failed_build_leaves_nothing_behind():
    class Picky(Layer):
        def build(self, input_shape):
            self.add_weight("a", (2,))
            self.add_weight("b", (input_shape[-1],))

    layer = Picky(name="picky")
    with pytest.raises(ShapeError, match="'picky': weight 'b' needs a known shape"):
        layer(Input((None,)))
    layer(Input((3,)))
    assert [w.name for w in layer.weights] == ["picky/a:0", "picky/b:0"]


def test_initializer_regularizer_and_constraint_by_name():
    class Named(Layer):
        kernel_initializer = "ones"
        kernel_regularizer = gpunet.regularizers.l2(0.5)
        kernel_constraint = gpunet.constraints.non_neg()

        def build(self, input_shape):
            self.kernel = self.add_weight("kernel", (3,))
            self.other = self.add_weight("other", 3, initializer="ones", regularizer="l1")

    layer = Named()
    layer(np.ones((1, 3), "float32"))
    assert layer.kernel.constraint is Named.kernel_constraint
    assert [float(loss) for loss in layer.losses] == pytest.approx([1.5, 0.03])
    np.testing.assert_array_equal(layer.kernel, [1, 1, 1])


class Penalty(Layer):
    def __init__(self, rate=1.0, **kwargs):
        super().__init__(**kwargs)
        self.rate = rate

    def call(self, x):
        self.add_loss(self.rate * K.sum(x))
        return x


def test_losses_of_the_last_call_are_kept():
    layer = Penalty()
    x = np.ones((2, 3), "float32")
    layer(x), layer(x)
    assert [float(loss) for loss in layer.losses] == [6.0]

    class Twice(Layer):
        def __init__(self):
            super().__init__()
            self.inner = Penalty(2.0)

        def call(self, x):
            return self.inner(self.inner(x))

    twice = Twice()
    twice(x), twice(x)
    assert [float(loss) for loss in twice.losses] == [12.0, 12.0]
    with loss_scope() as scope:
        twice(x)
    assert len(scope.losses) == 2


def test_added_losses_are_trained():
    x = Input((3,))
    model = Model(x, Dense(1, use_bias=False, kernel_initializer="ones")(Penalty(0.5)(x)))
    model.compile("sgd", "mse")
    data, target = np.ones((2, 3), "float32"), np.zeros((2, 1), "float32")
    assert model.evaluate(data, target, verbose=0) == pytest.approx(9 + 3.0)
    functions = Sequential([Dense(1, input_shape=(3,), kernel_initializer="ones")])
    functions.add_loss(lambda: K.sum(functions.layers[0].kernel))
    functions.compile("sgd", "mse")
    assert functions.evaluate(data, target, verbose=0) == pytest.approx(9 + 3.0)


def test_activity_regularizer():
    layer = Dense(2, kernel_initializer="ones", activity_regularizer=gpunet.regularizers.l1(0.1))
    layer(np.ones((4, 3), "float32"))
    assert [float(loss) for loss in layer.losses] == pytest.approx([0.1 * 24 / 4])
    assert layer.get_config()["activity_regularizer"]["config"]["l1"] == pytest.approx(0.1)


def test_training_reaches_nested_layers():
    seen = []

    class Asks(Layer):
        def call(self, x, training=None):
            seen.append(training)
            return x

    class Around(Layer):
        def __init__(self):
            super().__init__()
            self.inner = Asks()

        def call(self, x):
            return self.inner(x)

    x = np.ones((2, 3), "float32")
    Around()(x, training=True)
    Around()(x)
    assert seen == [True, False]
    i = Input((3,))
    model = Model(i, Dense(1)(Around()(i)))
    model.compile("sgd", "mse")
    seen.clear()
    model.train_on_batch(x, np.ones((2, 1)))
    model.predict(x)
    assert seen == [True, False]
    fixed = Model(i, Asks()(i, training=True))
    seen.clear()
    fixed.predict(x)
    assert seen == [True]


def test_further_arguments_of_call():
    class Scaled(Layer):
        def call(self, x, factor=1.0, other=None):
            y = x * factor
            return y if other is None else y + other

    x, z = np.ones((2, 3), "float32"), np.full((2, 3), 5, "float32")
    layer = Scaled()
    np.testing.assert_array_equal(layer(x, 2.0), 2 * x)
    np.testing.assert_array_equal(layer(x, factor=2.0, other=z), 2 * x + z)
    np.testing.assert_array_equal(layer(factor=3.0, x=x), 3 * x)
    with pytest.raises(TypeError, match="without an input"):
        layer(factor=3.0)
    a, b = Input((3,)), Input((3,))
    model = Model([a, b], layer(a, 2.0, other=b))
    np.testing.assert_array_equal(model.predict([x, z]), 2 * x + z)
    again = Model.from_config(
        json.loads(json.dumps(model.get_config())), custom_objects={"Scaled": Scaled}
    )
    np.testing.assert_array_equal(again.predict([x, z]), 2 * x + z)


def test_masks_reach_the_layers_that_take_them():
    class Masking(Layer):
        def compute_mask(self, inputs, mask=None):
            return K.any(K.not_equal(inputs, 0.0), axis=-1)

    class Pooled(Layer):
        def call(self, x, mask=None):
            if mask is None:
                return K.sum(x, axis=1)
            return K.sum(x * K.expand_dims(K.cast(mask, "float32"), -1), axis=1) + 100.0

        def compute_mask(self, inputs, mask=None):
            return None

    class Plain(Layer):
        def call(self, x):
            return x  # hands its input through, and its mask doesn't go along

    x = np.array([[[1.0], [0.0], [2.0]]], "float32")
    i = Input((3, 1))
    masked = layers.Activation("linear")(Masking()(i))
    assert masked._keras_mask is not None and Plain()(masked)._keras_mask is None
    model = Model(i, [Pooled()(masked), Pooled()(Plain()(masked)), Pooled()(i)])
    assert [float(y[0, 0]) for y in model.predict(x)] == [103.0, 3.0, 3.0]
    t = convert_to_tensor(x)
    t._keras_mask = convert_to_tensor([[True, False, True]])
    assert getattr(Plain()(t), "_keras_mask", None) is None and t._keras_mask is not None
    outer = Model(i, Pooled()(layers.Activation("relu")(i)))
    assert float(outer(t)) == 103.0 and float(outer(x)) == 3.0
    assert float(outer(x, mask=np.array([[True, False, False]]))) == 101.0
    around = Model(i, outer(Masking()(i)))
    assert float(around(x)) == 103.0


def test_a_lambda_that_looks_at_values_needs_its_shape_said():
    def host(x):
        return convert_to_tensor(np.sort(np.asarray(x), axis=-1))

    i = Input((3,))
    with pytest.raises(TypeError, match="symbolic"):
        layers.Lambda(host)(i)
    for shape in ((3,), lambda s: s):
        model = Model(i, layers.Lambda(host, output_shape=shape)(i))
        np.testing.assert_array_equal(model.predict(np.array([[3.0, 1, 2]])), [[1, 2, 3]])


def test_lambda_with_arguments_masks_and_training():
    x = np.ones((2, 3), "float32")
    np.testing.assert_array_equal(
        layers.Lambda(lambda v, by: v * by, arguments={"by": 3})(x), 3 * x
    )
    phases = []
    layers.Lambda(lambda v, training=None: phases.append(training) or v)(x, training=True)
    assert phases == [True]
    two = layers.Lambda(lambda v: K.exp(-K.sum(K.abs(v[0] - v[1]), axis=1, keepdims=True)),
                        output_shape=lambda shapes: (shapes[0][0], 1))  # fmt: skip
    a, b = Input((3,)), Input((3,))
    model = Model([a, b], two([a, b]))
    assert model.output_shape == (None, 1)
    np.testing.assert_array_equal(model.predict([x, x]), np.ones((2, 1)))


def test_names_follow_the_class():
    reset_uids()

    class BatchNorm2Custom(Layer):
        pass

    class _Private(Layer):
        pass

    assert BatchNorm2Custom().name == "batch_norm2custom"
    assert _Private().name == "private__private"
    assert MyLayer(1).name == "my_layer" and MyLayer(1).name == "my_layer_1"
