"""Layers that prepare data, beside the real Keras."""

import json

import numpy as np
import pytest
from misc_cases import array, cases, close, input_of, make

import gpunet
from gpunet import layers
from gpunet.errors import ShapeError

CASES = cases("preparing")
GIVEN = [c for c in CASES if "data" not in c.values[0]]
LEARNED = [c for c in CASES if "data" in c.values[0]]


@pytest.mark.parametrize("case", GIVEN)
def test_values_of_keras(case):
    layer, x = make(case), input_of(case["inputs"])
    y = layer(x)
    assert y.dtype == case["dtype"]
    close(y, array(case["y"]), 1e-5)
    symbolic = make(case)(layers.Input(batch_shape=x.shape, dtype=x.dtype))
    assert tuple(symbolic.shape) == tuple(y.shape) and symbolic.dtype == y.dtype
    again = type(layer).from_config(json.loads(json.dumps(layer.get_config())))
    np.testing.assert_array_equal(again(x), y)
    assert again.get_config().keys() == layer.get_config().keys()


@pytest.mark.parametrize("case", LEARNED)
def test_adapt_as_keras(case):
    layer, data = make(case, name="layer"), array(case["data"])
    layer.adapt(data)
    close(layer(data), array(case["y"]), 1e-4)
    if case["class"] == "Normalization":
        assert [w.name for w in layer.weights] == [f"layer/{n}" for n in case["weight_names"]]
        for w, place in zip(layer.get_weights(), case["weights"], strict=True):
            close(w, array(place), 1e-5)
    again = type(layer).from_config(json.loads(json.dumps(layer.get_config())))
    again(data) if case["class"] == "Normalization" else None
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(again(data), layer(data))


def test_adapt_takes_batches():
    data = np.random.default_rng(0).normal(5, 3, (100, 3)).astype("float32")
    whole, parts = layers.Normalization(), layers.Normalization()
    whole.adapt(data)
    parts.adapt([data[:30], data[30:]][i] for i in range(2))
    np.testing.assert_allclose(parts.get_weights()[0], whole.get_weights()[0], rtol=1e-5)
    np.testing.assert_allclose(parts.get_weights()[1], data.var(0), rtol=1e-4)
    parts.adapt(iter([data[:30], data[30:]]), steps=1)
    np.testing.assert_allclose(parts.get_weights()[0], data[:30].mean(0), rtol=1e-5)
    y = whole(data).numpy()
    np.testing.assert_allclose([y.mean(), y.std()], [0, 1], atol=1e-5)
    whole.reset_state()
    np.testing.assert_array_equal(whole(data), layers.Normalization()(data))
    single = layers.Normalization(axis=None)
    single.adapt(data[:, 0])
    assert single.get_weights()[0] == pytest.approx(data[:, 0].mean(), rel=1e-5)


def test_in_a_model():
    ids = np.array([[0, 2], [1, 1]])
    model = gpunet.Sequential(
        [layers.Input((2,), dtype="int32"), layers.CategoryEncoding(3), layers.Dense(1)]
    )
    assert model.predict(ids).shape == (2, 1)
    weights = np.array([[1.0, 2.0], [3.0, 4.0]])
    y = layers.CategoryEncoding(3, output_mode="count")(ids, count_weights=weights)
    np.testing.assert_array_equal(y, [[1, 0, 2], [0, 7, 0]])


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: layers.CategoryEncoding(), "num_tokens"),
        (lambda: layers.CategoryEncoding(3, output_mode="int"), "output_mode"),
        (lambda: layers.CategoryEncoding(3, sparse=True), "sparse"),
        (lambda: layers.Discretization([1.0], 3), "num_bins"),
        (lambda: layers.Discretization(num_bins=2)(np.ones((2, 2))), "adapt"),
        (lambda: layers.Discretization([1.0]).adapt(np.ones((2, 2))), "can't change"),
        (lambda: layers.Normalization(mean=1.0), "mean and variance"),
        (lambda: layers.Normalization(mean=1.0, variance=1.0).adapt(np.ones(3)), "can't change"),
        (lambda: layers.CategoryEncoding(3)(np.array([[3]])), "from 0 to 2"),
    ],
)
def test_what_is_refused(make, text):
    with pytest.raises(ValueError, match=text):
        make()


def test_wrong_shapes_name_the_layer():
    with pytest.raises(ShapeError, match="'c'"):
        layers.CategoryEncoding(3, name="c")(layers.Input((2, 2), dtype="int32"))
    with pytest.raises(ShapeError, match="'n'"):
        layers.Normalization(name="n")(layers.Input((None,)))
    with pytest.raises(ShapeError, match="'n'"):
        layers.Normalization(axis=3, name="n")(layers.Input((2,)))
