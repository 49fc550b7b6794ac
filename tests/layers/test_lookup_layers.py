"""Lookups, hashing and texts beside the real Keras."""

import json

import numpy as np
import pytest
from later_values import cases

from gpunet import layers, models
from gpunet.errors import ShapeError


def made(case):
    layer = getattr(layers, case["class"])(**case["config"])
    if "data" in case:
        layer.adapt(case["data"])
    return layer


@pytest.mark.parametrize("case", cases("lookup"))
def test_values_of_keras(case):
    layer = made(case)
    y = layer(case["x"])
    assert y.dtype == case["dtype"]
    np.testing.assert_allclose(y.numpy(), case["y"], rtol=1e-6)
    if "vocabulary" in case:
        assert layer.get_vocabulary() == case["vocabulary"]
        assert layer.vocabulary_size() == len(case["vocabulary"])
    again = type(layer).from_config(json.loads(json.dumps(layer.get_config())))
    np.testing.assert_allclose(again(case["x"]).numpy(), y.numpy(), rtol=1e-6)
    assert again.get_config().keys() == layer.get_config().keys()


def test_inverse_gives_strings():
    layer = layers.StringLookup(vocabulary=["a", "b"], invert=True)
    assert layer([[1, 2, 0]]).tolist() == [["a", "b", "[UNK]"]]


def test_integers_in_a_model():
    x = layers.Input((2,), dtype="int64")
    y = layers.IntegerLookup(vocabulary=[7, 9])(x)
    assert y.shape == (None, 2) and y.dtype == "int64"
    np.testing.assert_array_equal(
        models.Model(x, y).predict(np.array([[9, 1]]), verbose=0), [[2, 0]]
    )


@pytest.mark.parametrize(
    "name, config",
    [
        ("StringLookup", {"max_tokens": 1}),
        ("StringLookup", {"pad_to_max_tokens": True}),
        ("StringLookup", {"num_oov_indices": -1}),
        ("StringLookup", {"vocabulary": ["a", "a"]}),
        ("StringLookup", {"vocabulary": []}),
        ("StringLookup", {"vocabulary": ["a", "b"], "max_tokens": 2}),
        ("StringLookup", {"sparse": True, "output_mode": "count"}),
        ("StringLookup", {"invert": True, "output_mode": "count"}),
        ("IntegerLookup", {"vocabulary": ["a"]}),
        ("TextVectorization", {"ragged": True}),
        ("TextVectorization", {"split": "lines"}),
        ("TextVectorization", {"standardize": "upper"}),
        ("Hashing", {"num_bins": 0}),
        ("Hashing", {"num_bins": 3, "salt": [1]}),
        ("HashedCrossing", {"num_bins": 3, "output_mode": "count"}),
    ],
)
def test_wrong_arguments(name, config):
    with pytest.raises((ValueError, TypeError), match=name):
        getattr(layers, name)(**config)


def test_wrong_inputs():
    with pytest.raises(ValueError, match="isn't in the vocabulary"):
        layers.StringLookup(vocabulary=["a"], num_oov_indices=0)(["b"])
    with pytest.raises(RuntimeError, match="adapt"):
        layers.StringLookup(output_mode="count")(["b"])
    with pytest.raises(TypeError, match="whole numbers"):
        layers.Hashing(3)([0.5])
    with pytest.raises(ShapeError, match="one shape"):
        layers.HashedCrossing(3)([["a"], ["b", "c"]])
    with pytest.raises(ValueError, match="is given"):
        layers.StringLookup(vocabulary=["a"]).adapt(["b"])
