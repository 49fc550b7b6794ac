"""Layers that join tensors, beside the real Keras; and the old Merge."""

import json
import warnings

import numpy as np
import pytest
from misc_cases import cases, check_config, check_values

import gpunet
from gpunet import layers, ops
from gpunet.errors import ShapeError
from gpunet.layers import merge
from gpunet.tensor import Tensor

NAMES = ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate", "Dot")


@pytest.mark.parametrize("case", cases("layer", *NAMES))
def test_values_of_keras(case):
    check_values(case)


@pytest.mark.parametrize("case", cases("mask", *NAMES))
def test_masks_of_keras(case):
    check_values(case)


@pytest.mark.parametrize("case", cases("layer", *NAMES))
def test_config_of_keras(case):
    check_config(case)


def test_functions():
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal((2, 3)).astype("float32") for _ in range(2))
    for name, want in {
        "add": x + y,
        "subtract": x - y,
        "multiply": x * y,
        "average": (x + y) / 2,
        "maximum": np.maximum(x, y),
        "minimum": np.minimum(x, y),
    }.items():
        np.testing.assert_allclose(getattr(layers, name)([x, y]), want, rtol=1e-6)
        symbolic = getattr(layers, name)(
            [layers.Input((3,)), layers.Input((3,))], name=f"my_{name}"
        )
        assert symbolic.node.layer.name == f"my_{name}"
    np.testing.assert_array_equal(layers.concatenate([x, y], axis=0), np.concatenate([x, y]))
    np.testing.assert_allclose(
        layers.dot([x, y], 1, normalize=True)[:, 0],
        (x * y).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1),
        rtol=1e-5,
    )


def test_integers():
    x, y = np.array([[1, 2]]), np.array([[4, 3]])
    assert layers.Add()([x, y]).dtype.kind == "i"
    mean = layers.Average()([x, y])
    assert mean.dtype == np.float32
    np.testing.assert_array_equal(mean, [[2.5, 2.5]])
    a, b = (layers.Input((2,), dtype="int32") for _ in range(2))
    assert layers.Add()([a, b]).dtype == np.int32
    assert layers.Average()([a, b]).dtype == np.float32


def test_shapes_of_unknown_size():
    a, b, c = layers.Input((None, 4)), layers.Input((5, 1)), layers.Input((4,))
    assert layers.Add()([a, b]).shape == (None, 5, 4)
    assert layers.Add()([a, c]).shape == (None, None, 4)
    assert layers.Concatenate(axis=1)([a, layers.Input((2, 4))]).shape == (None, None, 4)
    assert layers.Dot((2, 1))([a, c]).shape == (None, None)


@pytest.mark.parametrize("batch", [0, 1])
def test_small_batches(batch):
    x, y = np.ones((batch, 3, 4), "float32"), np.ones((batch, 4), "float32")
    for kind in (layers.Add, layers.Multiply, layers.Average, layers.Maximum):
        assert kind()([x, y]).shape == (batch, 3, 4)
    assert layers.Concatenate(axis=1)([x, x]).shape == (batch, 6, 4)
    assert layers.Dot((2, 1))([x, y]).shape == (batch, 3)


def masked(shape, rows):
    t = Tensor(np.ones(shape, "float32"))
    t._keras_mask = Tensor(np.array(rows, bool))
    return t


def test_masks_along_other_axes():
    x, plain = masked((1, 3, 2), [[1, 1, 0]]), Tensor(np.ones((1, 2, 2), "float32"))
    y = layers.Concatenate(axis=1)([x, plain])
    np.testing.assert_array_equal(y._keras_mask, [[1, 1, 0, 1, 1]])
    image = masked((1, 3, 2, 4), [[1, 1, 0]])
    for axis, want in ((1, [[1, 1, 0] * 2]), (2, [[1, 1, 0]]), (-1, [[1, 1, 0]])):
        y = layers.Concatenate(axis=axis)([image, image])
        np.testing.assert_array_equal(y._keras_mask, want)
    assert getattr(layers.Dot(2)([x, plain]), "_keras_mask", None) is None


def test_a_layer_of_ones_own():
    class Mixed(merge._Merge):
        def _merge_function(self, inputs):
            return 0.25 * inputs[0] + 0.75 * inputs[1]

    a, b = layers.Input((3,)), layers.Input((2, 3))
    y = Mixed(name="mixed")([a, b])
    assert y.shape == (None, 2, 3)
    model = gpunet.Model([a, b], y)
    got = model.predict([np.ones((4, 3)), np.zeros((4, 2, 3))])
    np.testing.assert_array_equal(got, np.full((4, 2, 3), 0.25))


@pytest.mark.parametrize(
    ("make", "shapes", "text"),
    [
        (lambda: layers.Add(name="m"), [(2, 3), (2, 4)], "can't be combined"),
        (lambda: layers.Add(name="m"), [(2, 3), (5, 3)], "batch sizes differ"),
        (lambda: layers.Subtract(name="m"), [(2, 3)], "exactly 2 inputs, got 1"),
        (lambda: layers.Concatenate(axis=2, name="m"), [(2, 3), (2, 3)], "along axis 2"),
        (lambda: layers.Concatenate(name="m"), [(2, 3, 4), (2, 5, 4)], "must match"),
        (lambda: layers.Dot(1, name="m"), [(2, 3), (2, 4)], "3 != 4"),
        (lambda: layers.Dot(0, name="m"), [(2, 3), (2, 3)], "axis 0"),
        (lambda: layers.Dot(3, name="m"), [(2, 3), (2, 3)], "axis 3"),
    ],
)
def test_wrong_shapes_name_the_layer(make, shapes, text):
    with pytest.raises(ValueError, match=f"'m'.*{text}"):
        make()([layers.Input(batch_shape=s) for s in shapes])
    with pytest.raises(ValueError, match=f"'m'.*{text}"):
        make()([np.ones(s, "float32") for s in shapes])


@pytest.mark.parametrize("axes", [1.5, "1", (1,), (1, 2, 3), (1, None)])
def test_bad_axes(axes):
    with pytest.raises((TypeError, ValueError), match="Dot: expected axes"):
        layers.Dot(axes)


# -- before Keras 2 -------------------------------------------------------------------------


@pytest.fixture
def old():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield layers.Merge


def test_the_warning_is_that_of_keras():
    text = (
        "The `Merge` layer is deprecated and will be removed after 08/2017. Use instead layers "
        "from `keras.layers.merge`, e.g. `add`, `concatenate`, etc."
    )
    with pytest.warns(UserWarning) as caught:
        layers.Merge(mode="sum")
    assert str(caught[0].message) == text
    assert caught[0].filename == __file__


def test_modes(old):
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal((2, 3)).astype("float32") for _ in range(2))
    dot = (x * y).sum(1, keepdims=True)
    lengths = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    for mode, want in {
        "sum": x + y,
        "mul": x * y,
        "ave": (x + y) / 2,
        "max": np.maximum(x, y),
        "concat": np.concatenate([x, y], 1),
        "dot": dot,
        "cos": dot / lengths[:, None],
    }.items():
        layer = old(mode=mode)
        np.testing.assert_allclose(layer([x, y]), want, rtol=1e-5)
        assert layer([layers.Input((3,))] * 2).shape == (None, *want.shape[1:])
        again = old.from_config(json.loads(json.dumps(layer.get_config())))
        np.testing.assert_allclose(again([x, y]), want, rtol=1e-5)
        np.testing.assert_allclose(layers.merge([x, y], mode), want, rtol=1e-5)
    assert layers.merge.concatenate is layers.concatenate  # a module, too
    three = [np.ones((2, 2, 3), "float32")] * 2
    assert old(mode="concat", concat_axis=1)(three).shape == (2, 4, 3)
    assert old(mode="dot", dot_axes=(2, 2))(three).shape == (2, 2, 2)


def manhattan(x):
    return ops.exp(ops.negative(ops.sum(ops.abs(x[0] - x[1]), axis=1, keepdims=True)))


@pytest.mark.parametrize("shape", [None, (1,), lambda shapes: (shapes[0][0], 1)])
def test_a_function(old, shape):
    """The Siamese network that compares sentences by the exponential of a distance."""
    a, b = layers.Input((3,)), layers.Input((3,))
    shared = layers.Dense(2)
    layer = old(mode=lambda x: manhattan(x), output_shape=shape)
    y = layer([shared(a), shared(b)])
    assert y.shape == (None, 1)
    model = gpunet.Model(inputs=[a, b], outputs=[y])
    model.compile("adam", "mse")
    x = np.random.default_rng(0).standard_normal((2, 8, 3)).astype("float32")
    losses = [model.train_on_batch(list(x), np.ones((8, 1))) for _ in range(5)]
    assert losses[-1] < losses[0]


def test_a_named_function_is_saved(old):
    layer = old(mode=manhattan, output_shape=(1,), name="distance")
    config = json.loads(json.dumps(layer.get_config()))
    again = old.from_config(config, custom_objects={"manhattan": manhattan})
    assert again.mode is manhattan and again.get_config() == layer.get_config()


def test_masks_of_functions(old):
    def pick(x, mask=None, weight=1.0):
        return weight * x[0] if mask is None else weight * x[1]

    x = masked((2, 3, 4), [[1, 1, 0], [1, 0, 0]])
    y = Tensor(np.zeros((2, 3, 4), "float32"))
    layer = old(mode=pick, arguments={"weight": 2.0}, output_mask=lambda masks: masks[0])
    out = layer([x, y])
    np.testing.assert_array_equal(out, np.zeros((2, 3, 4)))
    np.testing.assert_array_equal(out._keras_mask, x._keras_mask)
    assert getattr(old(mode="sum")([x, y]), "_keras_mask", None) is not None


def test_layers_called_before(old):
    a, b = layers.Dense(3, input_shape=(2,)), layers.Dense(3, input_shape=(2,))
    for layer in (a, b):
        layer(layers.Input((2,)))
    joined = old([a, b], mode="concat")
    assert joined.output.shape == (None, 6)


def test_what_merge_refuses(old):
    with pytest.raises(ValueError, match="Merge: expected mode"):
        old(mode="add")
    with pytest.raises(TypeError, match="at least 2 tensors"):
        old(mode="sum")([np.ones((2, 3), "float32")])
    with pytest.raises(ShapeError, match="'m'"):
        old(mode="sum", name="m")([layers.Input((2,)), layers.Input((3,))])
