"""Masking, Permute, RepeatVector, ActivityRegularization; masks through whole models."""

import numpy as np
import pytest
from fake_device import capture, fake_device, to_host
from misc_cases import array, cases, check_config, check_values, close

import gpunet
from gpunet import layers
from gpunet.tensor import Tensor

NAMES = ("Masking", "Permute", "RepeatVector", "ActivityRegularization")


@pytest.mark.parametrize("case", cases("layer", *NAMES))
def test_values_of_keras(case):
    check_values(case)


@pytest.mark.parametrize("case", cases("mask", "Dense"))
def test_masks_of_keras(case):
    check_values(case)


@pytest.mark.parametrize("case", cases("layer", *NAMES))
def test_config_of_keras(case):
    check_config(case)


def test_masking():
    x = np.array([[[1, 0], [0, 0], [0, 2]]], "float32")
    y = layers.Masking()(x)
    np.testing.assert_array_equal(y._keras_mask, [[True, False, True]])
    other = layers.Masking(2.0)(np.array([[[2, 2], [2, 0]]], "float32"))
    np.testing.assert_array_equal(other, [[[0, 0], [2, 0]]])
    np.testing.assert_array_equal(other._keras_mask, [[False, True]])
    assert layers.Masking()(np.zeros((0, 3, 2), "float32")).shape == (0, 3, 2)
    assert layers.Masking()(layers.Input((None, 4)))._keras_mask.shape == (None, None)
    with pytest.raises(ValueError, match="'m': expected an input of rank at least 2"):
        layers.Masking(name="m")(np.zeros(3, "float32"))


def test_masking_runs_while_a_step_is_captured():
    with fake_device() as device:
        data = Tensor(device.xp.asarray(np.eye(3, dtype="float32")[None, :, :2]))
        with capture():
            y = layers.Masking()(data)
        np.testing.assert_array_equal(to_host(y._keras_mask.array), [[True, True, False]])


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: layers.Permute((0, 1)), "dims"),
        (lambda: layers.Permute((1, 3)), "dims"),
        (lambda: layers.Permute("ab"), "dims"),
        (lambda: layers.RepeatVector(0), "n to be"),
        (lambda: layers.RepeatVector("a"), "n to be"),
    ],
)
def test_bad_arguments(make, text):
    with pytest.raises(ValueError, match=text):
        make()


def test_small_batches():
    for batch in (0, 1):
        assert layers.Permute((2, 1))(np.ones((batch, 3, 4))).shape == (batch, 4, 3)
        assert layers.RepeatVector(3)(np.ones((batch, 4))).shape == (batch, 3, 4)
    assert layers.Permute((1,))(np.ones((2, 4), "int32")).dtype == np.int32


def test_activity_regularization_reaches_the_loss():
    model = gpunet.Sequential([layers.ActivityRegularization(l1=0.5, l2=0.25, input_shape=(3,))])
    model.compile("sgd", "mse")
    x = np.array([[1, -2, 0], [0, 0, 4]], "float32")
    assert model.evaluate(x, x, verbose=0) == pytest.approx((0.5 * 7 + 0.25 * 21) / 2)


@pytest.mark.parametrize("case", cases("model"))
def test_masks_in_losses_and_metrics(case):
    """Five steps of models with masks, with and without sample weights, as in Keras."""
    model = gpunet.Model.from_config(case["config"])
    model.set_weights([array(p) for p in case["weights"]])
    model.compile(
        gpunet.optimizers.SGD(0.5),
        "binary_crossentropy",
        metrics=["accuracy", "mae"],
        weighted_metrics=["mse"],
    )
    xs = [array(p) for p in case["xs"]]
    x, y = xs if len(xs) > 1 else xs[0], array(case["y"])
    for weighted, want in zip(case["weighted"], case["steps"], strict=True):
        weight = array(case["sample_weight"]) if weighted else None
        got = model.train_on_batch(x, y, sample_weight=weight)
        np.testing.assert_allclose(got, want, rtol=1e-4)
    assert model.metrics_names == case["metrics_names"]
    got = model.evaluate(x, y, batch_size=len(y), verbose=0)
    np.testing.assert_allclose(got, case["evaluate"], rtol=1e-4)
    close(model.predict(x), array(case["predict"]), 1e-4)
    for w, place in zip(model.get_weights(), case["after"], strict=True):
        close(w, array(place), 1e-4)


def test_masks_enter_nested_models():
    inner_in = layers.Input((3, 4))
    inner = gpunet.Model(inner_in, layers.LeakyReLU()(layers.Dense(2)(inner_in)))
    x = layers.Input((3,), dtype="int32")
    y = layers.Dropout(0.5)(inner(layers.Embedding(5, 4, mask_zero=True)(x)))
    assert y._keras_mask is not None
    model = gpunet.Model(x, y)
    out = model(np.array([[1, 0, 2]]))
    np.testing.assert_array_equal(out._keras_mask, [[True, False, True]])
    stopped = layers.Flatten()(y)
    assert stopped._keras_mask is None
