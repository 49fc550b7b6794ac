"""Every layer: shapes, values, gradients, config, weights, a training step, bad input."""

import copy
import json
import pickle

import numpy as np
import pytest
from conv_layer_cases import CASES as CONV
from layer_cases import CASES as COMMON
from layer_cases import absolute
from misc_layer_cases import CASES as MORE

import gpunet
from gpunet import layers, ops
from gpunet.autodiff import GradientTape
from gpunet.errors import ShapeError
from gpunet.graph import SymbolicTensor
from gpunet.nest import flatten, map_nest
from gpunet.tensor import Tensor, convert_to_tensor

CASES = COMMON + MORE + CONV
EVERY = pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)


def tensors(data, dtype=None):
    return map_nest(lambda a: convert_to_tensor(a, dtype), data)


def shapes(nest):
    return map_nest(lambda t: tuple(t.shape), nest)


def single(nest):
    (leaf,) = flatten(nest)
    return leaf


@EVERY
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_value_and_dtype(case, dtype):
    layer, data = case.make(dtype=dtype), case.data(dtype=dtype)
    y = layer(data)
    assert single(y).dtype == dtype
    want = case.expected(data, *(w.numpy() for w in layer.weights))
    tolerance = {"float32": 1e-5, "float64": 1e-12, "float16": 5e-3}[dtype]
    np.testing.assert_allclose(single(y), want, rtol=tolerance, atol=tolerance)
    weights = getattr(layer, "_weight_dtype", dtype)
    assert {w.dtype for w in layer.weights} <= {np.dtype(weights)}


@EVERY
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("known", ["all", "features", "batch"])
def test_symbolic_shape_is_the_eager_one(case, batch, known):
    if known == "features" and not case.free:
        pytest.skip("needs to know the sizes")
    layer, data = case.make(), case.data(batch)

    def placeholder(a):
        shape = a.shape if known == "all" else (None, *a.shape[1:])
        if known == "features":
            shape = (*[None] * (a.ndim - 1), a.shape[-1])
        return layers.Input(batch_shape=shape, dtype="float32")

    x = map_nest(placeholder, data)
    y = layer(x)
    eager = layer(data)
    assert isinstance(single(y), SymbolicTensor)
    assert single(y).dtype == single(eager).dtype == np.float32
    for free, size in zip(single(y).shape, single(eager).shape, strict=True):
        assert free in (None, size)
    if known == "all":
        assert tuple(single(y).shape) == tuple(single(eager).shape)
    if known == "batch":
        assert tuple(single(y).shape)[1:] == tuple(single(eager).shape)[1:]
    assert tuple(layer.compute_output_shape(shapes(x))) == tuple(single(y).shape)
    model = gpunet.Model(x, y)
    np.testing.assert_array_equal(model.predict(data), single(eager))


@EVERY
def test_gradients(case):
    """Finite differences along a random direction, in float64."""
    layer = case.make(dtype="float64")
    inputs = tensors(case.data(dtype="float64"))
    layer(inputs)
    rng = np.random.default_rng(1)
    parts = flatten(inputs) + layer.trainable_weights
    weight = rng.standard_normal(single(layer(inputs)).shape)

    def loss():
        return ops.sum(ops.multiply(layer(inputs), weight))

    with GradientTape() as tape:
        tape.watch(flatten(inputs))
        y = loss()
    gradients = tape.gradient(y, parts)
    for part, gradient in zip(parts, gradients, strict=True):
        direction = rng.standard_normal(part.shape)
        before, values = part.numpy(), []
        for step in (1e-6, -1e-6):
            part.array[...] = before + step * direction
            values.append(float(loss()))
        part.array[...] = before
        want = (values[0] - values[1]) / 2e-6
        got = float(np.sum(gradient.numpy() * direction))
        assert got == pytest.approx(want, rel=1e-6, abs=1e-7)


@EVERY
def test_inputs_stay_as_they_are(case):
    data = case.data(dtype="float32")
    before = map_nest(np.copy, data)
    for a in flatten(data):
        a.setflags(write=False)
    case.make()(data, training=True)
    for a, b in zip(flatten(data), flatten(before), strict=True):
        np.testing.assert_array_equal(a, b)


@EVERY
def test_config_round_trip(case):
    layer = case.make(name="named", dtype="float64", trainable=False)
    config = json.loads(json.dumps(layer.get_config()))
    with gpunet.utils.custom_object_scope({"absolute": absolute}):
        again = case.kind.from_config(config)
    assert again.get_config() == layer.get_config()
    assert (again.name, again.dtype, again.trainable) == ("named", "float64", False)
    data = case.data()
    layer(data), again(data)
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(single(again(data)), single(layer(data)))


@EVERY
def test_weights_round_trip(case):
    layer, other, data = case.make(), case.make(), case.data()
    y = layer(data)
    other(data)
    weights = layer.get_weights()
    other.set_weights(weights)
    np.testing.assert_array_equal(single(other(data)), single(y))
    given = case.make(weights=weights)
    np.testing.assert_array_equal(single(given(data)), single(y))
    assert layer.count_params() == sum(w.size for w in weights)
    if weights:
        with pytest.raises(ValueError, match="weights, got 0"):
            layer.set_weights([])
        with pytest.raises(ShapeError, match="has shape"):
            layer.set_weights([w[..., :1, None] for w in weights])
        np.testing.assert_array_equal(layer.get_weights()[0], weights[0])


@EVERY
def test_one_training_step(case, seeds):
    data = case.data(8, "float32")
    x = map_nest(lambda a: layers.Input(a.shape[1:]), data)
    outputs = layers.Dense(1)(layers.Flatten()(case.make()(x)))
    model = gpunet.Model(x, outputs)
    model.compile(gpunet.optimizers.SGD(1e-2), "mse")
    target = np.zeros((8, 1), "float32")
    before = model.get_weights()
    losses = [model.train_on_batch(data, target) for _ in range(40)]
    assert np.mean(losses[-10:]) < np.mean(losses[:10])
    assert all((a != b).any() for a, b in zip(before, model.get_weights(), strict=True))


@EVERY
def test_wrong_shapes_name_the_layer(case):
    for wrong in case.wrong:
        layer = case.make(name="culprit")
        many = isinstance(wrong, list)
        data = [np.zeros(s, "float32") for s in wrong] if many else np.zeros(wrong, "float32")
        with pytest.raises(ValueError, match="'culprit'"):
            layer(data)
        symbolic = map_nest(lambda a: layers.Input(batch_shape=a.shape), data)
        with pytest.raises(ValueError, match="'culprit'"):
            layer(symbolic)


@EVERY
def test_other_values_than_tensors_name_the_layer(case):
    with pytest.raises((TypeError, ValueError), match="'culprit'"):
        case.make(name="culprit")("text")
    with pytest.raises((TypeError, ValueError), match="'culprit'"):
        case.make(name="culprit")(None)


@EVERY
def test_unknown_arguments_are_refused(case):
    with pytest.raises(TypeError, match="unitz"):
        case.make(unitz=3)
    with pytest.raises(TypeError, match="name"):
        case.make(name=3)
    with pytest.raises(TypeError, match="dtype"):
        case.make(dtype="floaty")


@EVERY
def test_a_mask_passes_or_stops(case):
    if len(case.shapes) > 1 or not case.shapes[0]:
        pytest.skip("several inputs, or none that steps could be masked in")
    data = case.data(dtype="float32")
    x = convert_to_tensor(data)
    x._keras_mask = mask = convert_to_tensor(np.ones(data.shape[:2], bool))
    layer = case.make()
    y = layer(x)
    assert getattr(y, "_keras_mask", None) is (mask if layer.supports_masking else None)
    assert x._keras_mask is mask
    explicit = layer(data, mask=mask.numpy())
    assert hasattr(explicit, "_keras_mask") == layer.supports_masking
    np.testing.assert_array_equal(explicit, y)


@EVERY
def test_copies_are_independent(case):
    data = case.data(dtype="float32")
    layer = case.make()
    want = single(layer(data)).numpy()
    layer(map_nest(lambda a: layers.Input(a.shape[1:]), data))
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert other.inbound_nodes == []
        np.testing.assert_array_equal(single(other(data)), want)
        for a, b in zip(layer.weights, other.weights, strict=True):
            assert a is not b and not np.shares_memory(a.array, b.array)


def test_ints_and_numbers_in_lists_are_taken():
    layer = layers.Dense(2, kernel_initializer="ones")
    np.testing.assert_array_equal(layer([[1, 2], [3, 4]]), [[3, 3], [7, 7]])
    np.testing.assert_array_equal(layer(np.array([[1, 2]], "int64")), [[3, 3]])
    assert layers.Flatten()(np.ones((2, 3), "int32")).dtype == np.int32


def test_float_inputs_take_the_type_of_the_layer():
    layer = layers.Dense(2)
    assert layer(np.ones((1, 3))).dtype == np.float32
    x = layers.Input((3,), dtype="float64")
    y = layers.Flatten(dtype="float16")(layer(x))
    assert y.dtype == np.float16
    model = gpunet.Model(x, [y, layers.Activation("relu")(x)])
    a, b = model(np.ones((1, 3)))
    assert (a.dtype, b.dtype) == (np.float16, np.float32)
    assert layers.Activation("relu", autocast=False)(np.ones((1, 3))).dtype == np.float64


def test_a_cast_keeps_mask_and_gradient():
    x = convert_to_tensor(np.ones((2, 3, 4)))
    x._keras_mask = mask = convert_to_tensor(np.ones((2, 3), bool))
    with GradientTape() as tape:
        tape.watch(x)
        y = layers.Dense(2)(x)
    assert y._keras_mask is mask
    assert tape.gradient(y, x).dtype == np.float64


def test_dropout_draws_in_training_alone(seeds):
    x = np.ones((200, 50), "float32")
    layer = layers.Dropout(0.25)
    np.testing.assert_array_equal(layer(x), x)
    y = layer(x, training=True).numpy()
    assert set(np.unique(y)) == {0.0, np.float32(1 / 0.75)}
    assert np.mean(y == 0) == pytest.approx(0.25, abs=0.02)
    with gpunet.backend.learning_phase_scope(1):
        assert (layer(x).numpy() == 0).any()
    rows = layers.Dropout(0.5, noise_shape=(None, 1))(x, training=True).numpy()
    assert set(np.unique(rows.std(axis=1))) == {0.0} and 0 < np.mean(rows == 0) < 1


def test_a_seeded_dropout_repeats_itself():
    x = np.ones((20, 5), "float32")
    a, b = layers.Dropout(0.5, seed=7), layers.Dropout(0.5, seed=7)
    first = a(x, training=True).numpy()
    np.testing.assert_array_equal(first, b(x, training=True))
    assert (a(x, training=True).numpy() != first).any()


def test_masks_of_merged_inputs():
    x = convert_to_tensor(np.ones((1, 3, 2), "float32"))
    y = convert_to_tensor(np.ones((1, 3, 2), "float32"))
    x._keras_mask = convert_to_tensor([[True, True, False]])
    np.testing.assert_array_equal(layers.Add()([x, y])._keras_mask, [[True, True, False]])
    y._keras_mask = convert_to_tensor([[False, True, True]])
    np.testing.assert_array_equal(layers.Add()([x, y])._keras_mask, [[False, True, False]])
    joined = layers.Concatenate()([x, y])
    np.testing.assert_array_equal(joined._keras_mask, [[False, True, False]])
    longer = layers.Concatenate(axis=1)([x, y])
    np.testing.assert_array_equal(longer._keras_mask, [[True, True, False, False, True, True]])


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: layers.Dense(0), "units"),
        (lambda: layers.Dense(2.5), "units"),
        (lambda: layers.Dense("3"), "units"),
        (lambda: layers.Dense(True), "units"),
        (lambda: layers.Dense(3, activation="rellu"), "rellu"),
        (lambda: layers.Dense(3, kernel_initializer="glorot"), "glorot"),
        (lambda: layers.Dropout(1.0), "rate"),
        (lambda: layers.Dropout(-0.1), "rate"),
        (lambda: layers.Flatten("channels"), "data_format"),
        (lambda: layers.Reshape((-1, -1)), "-1"),
        (lambda: layers.Reshape("ab"), "target_shape"),
        (lambda: layers.Concatenate(axis=0.5), "axis"),
        (lambda: layers.Lambda(3), "function"),
        (lambda: layers.Input(), "shape"),
        (lambda: layers.Input((3,), batch_shape=(None, 3)), "both"),
        (lambda: layers.Input((-3,)), "-3"),
        (lambda: layers.Input(("a",)), "shape"),
        (lambda: layers.Input((3,), sparse=True), "sparse"),
        (lambda: layers.Dense(3, input_shape=("a",)), "input_shape"),
    ],
)
def test_bad_arguments(make, text):
    with pytest.raises((ValueError, TypeError), match=text):
        make()


def test_dense_needs_a_known_last_axis():
    with pytest.raises(ShapeError, match="'wide'"):
        layers.Dense(3, name="wide")(layers.Input((None,)))
    layer = layers.Dense(3, name="wide")
    layer(np.ones((2, 4), "float32"))
    with pytest.raises(ShapeError, match="'wide': expected size 4 along axis -1, got 5"):
        layer(np.ones((2, 5), "float32"))


def test_shape_of_the_input_in_each_spelling():
    spellings = [
        ({"input_shape": (4,)}, (None, 4)),
        ({"input_shape": [4]}, (None, 4)),
        ({"input_shape": 4}, (None, 4)),
        ({"input_dim": 4}, (None, 4)),
        ({"input_dim": 4, "input_length": 7}, (None, 7, 4)),
        ({"input_shape": (4,), "batch_size": 2}, (2, 4)),
        ({"batch_input_shape": (2, 4)}, (2, 4)),
        ({"batch_shape": (None, None, 4)}, (None, None, 4)),
    ]
    for options, shape in spellings:
        model = gpunet.Sequential([layers.Dense(3, **options)])
        assert model.input_shape == shape
        assert model.layers[0].get_config()["batch_input_shape"] == shape


def test_tensors_of_one_layer_are_not_shared():
    layer = layers.Activation("linear")
    x = layers.Input((3,))
    assert layer(x) is not x and layer(x) is not layer(x)
    t = Tensor(np.ones((1, 3), "float32"))
    assert layer.call(t) is t
