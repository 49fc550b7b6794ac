"""Activations with parameters, beside the real Keras."""

import numpy as np
import pytest
from fake_device import capture, fake_device, to_host
from misc_cases import cases, check_config, check_values

from gpunet import layers
from gpunet.autodiff import GradientTape
from gpunet.errors import ShapeError
from gpunet.tensor import Tensor

NAMES = ("LeakyReLU", "PReLU", "ELU", "ThresholdedReLU", "Softmax", "ReLU")


@pytest.mark.parametrize("case", cases("layer", *NAMES))
def test_values_of_keras(case):
    check_values(case)


@pytest.mark.parametrize("case", cases("mask", *NAMES))
def test_masked_values_of_keras(case):
    check_values(case)


@pytest.mark.parametrize("case", cases("layer", *NAMES))
def test_config_of_keras(case):
    check_config(case)


MAKERS = [
    lambda: layers.LeakyReLU(0.2),
    lambda: layers.PReLU(alpha_initializer="ones"),
    lambda: layers.ELU(0.5),
    lambda: layers.ThresholdedReLU(0.5),
    lambda: layers.Softmax(),
    lambda: layers.ReLU(2.0, 0.1, 0.5),
]


@pytest.mark.parametrize("make", MAKERS)
def test_integers_become_floats(make):
    x = np.array([[-2, 0, 3]])
    symbolic = make()(layers.Input((3,), dtype="int32"))
    y = make()(x)
    assert y.dtype == symbolic.dtype == np.float32
    np.testing.assert_array_equal(y, make()(x.astype("float32")))


@pytest.mark.parametrize("make", MAKERS)
def test_runs_while_a_step_is_captured(make):
    x = np.random.default_rng(0).standard_normal((3, 4)).astype("float32")
    with fake_device() as device:
        layer = make()
        data = Tensor(device.xp.asarray(x))
        layer(data)
        with GradientTape() as tape, capture():
            tape.watch(data)
            y = layer(data)
        with capture():
            tape.gradient(y, [data, *layer.trainable_weights])
        values = to_host(y.array)
    np.testing.assert_allclose(values, make()(x), rtol=1e-6)


def test_empty_batches():
    for make in MAKERS:
        assert make()(np.zeros((0, 4), "float32")).shape == (0, 4)


def test_shape_of_alpha():
    for shared, shape in (
        (None, (2, 3, 4)),
        (1, (1, 3, 4)),
        ([1, 2], (1, 1, 4)),
        ((3,), (2, 3, 1)),
    ):
        layer = layers.PReLU(shared_axes=shared)
        layer(layers.Input((2, 3, 4)))
        assert layer.alpha.shape == shape
    layer = layers.PReLU(shared_axes=[1])
    assert layer(layers.Input((None, 4))).shape == (None, None, 4)
    with pytest.raises(ShapeError, match="'slope': expected size 4"):
        layer = layers.PReLU(shared_axes=[1], name="slope")
        layer(layers.Input((None, 4)))
        layer(layers.Input((None, 5)))
    with pytest.raises(ShapeError, match="'slope': the size of axes"):
        layers.PReLU(name="slope")(layers.Input((None, 4)))
    with pytest.raises(ShapeError, match="'slope': expected shared_axes"):
        layers.PReLU(shared_axes=[3], name="slope")(layers.Input((2, 4)))


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: layers.LeakyReLU(None), "LeakyReLU: expected alpha"),
        (lambda: layers.ELU(alpha="a"), "ELU: expected alpha"),
        (lambda: layers.ThresholdedReLU(-1), "theta to be a number >= 0"),
        (lambda: layers.ReLU(max_value=-1), "max_value"),
        (lambda: layers.ReLU(negative_slope=-1), "negative_slope"),
        (lambda: layers.ReLU(threshold=None), "threshold"),
    ],
)
def test_bad_arguments(make, text):
    with pytest.raises(ValueError, match=text):
        make()


def test_softmax_leaves_masked_elements_out():
    x = np.array([[1.0, 2.0, 3.0]])
    mask = np.array([[True, False, True]])
    want = np.exp([1.0, -np.inf, 3.0]) / np.exp([1.0, 3.0]).sum()
    for dtype in ("float16", "float32", "float64"):
        for robust in (False, True):
            layer = layers.Softmax(dtype=dtype, robust_masking=robust)
            y = layer(x, mask=mask)
            np.testing.assert_allclose(y[0], want, rtol=2e-3 if dtype == "float16" else 1e-6)
            assert layer.get_config().get("robust_masking", False) == robust
            assert type(layer).from_config(layer.get_config()).robust_masking == robust
