"""Noise in training and none otherwise."""

import numpy as np
import pytest
from fake_device import capture, fake_device, to_host
from misc_cases import cases, check_config, check_values

from gpunet import layers
from gpunet.autodiff import GradientTape
from gpunet.tensor import Tensor

NAMES = ("GaussianNoise", "GaussianDropout", "AlphaDropout")
NAMES += ("SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D")


@pytest.mark.parametrize("case", cases("layer", *NAMES))
def test_nothing_outside_of_training(case):
    check_values(case)


@pytest.mark.parametrize("case", cases("layer", *NAMES))
def test_config_of_keras(case):
    check_config(case)


def drawn(layer, mean=1.0, shape=(400, 250)):
    x = np.full(shape, mean, "float32")
    return layer(x, training=True).numpy().astype("float64")


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_gaussian_noise(seeds, dtype):
    y = drawn(layers.GaussianNoise(0.5, dtype=dtype))
    assert y.mean() == pytest.approx(1, abs=0.01) and y.std() == pytest.approx(0.5, rel=0.01)
    assert np.mean(np.abs(y - 1) < 0.5) == pytest.approx(0.6827, abs=0.01)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_gaussian_dropout(seeds, rate):
    y = drawn(layers.GaussianDropout(rate), 2.0)
    assert y.mean() == pytest.approx(2, abs=0.04)
    assert y.std() == pytest.approx(2 * np.sqrt(rate / (1 - rate)), rel=0.02)


@pytest.mark.parametrize("rate", [0.05, 0.3, 0.6])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_alpha_dropout_keeps_mean_and_variance(seeds, rate, dtype):
    x = np.random.default_rng(0).standard_normal((400, 250)).astype(dtype)
    y = layers.AlphaDropout(rate, dtype=dtype)(x, training=True)
    assert y.dtype == dtype
    y = y.numpy().astype("float64")
    assert y.mean() == pytest.approx(0, abs=0.02) and y.std() == pytest.approx(1, rel=0.02)
    values, counts = np.unique(y, return_counts=True)
    scale = ((1 - rate) * (1 + rate * 1.7580993408473766**2)) ** -0.5
    dropped = scale * -1.7580993408473766 * (1 - rate)
    assert values[counts.argmax()] == pytest.approx(dropped, rel=5e-3)
    assert counts.max() / y.size == pytest.approx(rate, abs=0.01)


def test_alpha_dropout_of_whole_rows(seeds):
    y = drawn(layers.AlphaDropout(0.5, noise_shape=(None, 1)), shape=(300, 20))
    assert (np.ptp(y, axis=1) == 0).all()
    assert 0.4 < np.mean(y[:, 0] < 0) < 0.6


@pytest.mark.parametrize(
    ("kind", "shape", "options"),
    [
        (layers.SpatialDropout1D, (60, 3, 40), {}),
        (layers.SpatialDropout2D, (60, 3, 2, 40), {}),
        (layers.SpatialDropout2D, (60, 40, 3, 2), {"data_format": "channels_first"}),
        (layers.SpatialDropout3D, (60, 3, 2, 2, 40), {}),
        (layers.SpatialDropout3D, (60, 40, 3, 2, 2), {"data_format": "channels_first"}),
    ],
)
def test_spatial_dropout_drops_whole_channels(seeds, kind, shape, options):
    y = drawn(kind(0.3, **options), shape=shape)
    y = y if options else np.moveaxis(y, -1, 1)
    y = y.reshape(60, 40, -1)
    assert (np.ptp(y, axis=-1) == 0).all()
    assert set(np.unique(y.round(4))) == {0.0, 1.4286}
    assert np.mean(y == 0) == pytest.approx(0.3, abs=0.03)


MAKERS = [
    lambda **o: layers.GaussianNoise(0.5, **o),
    lambda **o: layers.GaussianDropout(0.5, **o),
    lambda **o: layers.AlphaDropout(0.5, **o),
    lambda **o: layers.SpatialDropout1D(0.5, **o),
]


@pytest.mark.parametrize("make", MAKERS)
def test_seeded_layers_repeat_themselves(make):
    x = np.ones((4, 3, 5), "float32")
    a, b = make(seed=7), make(seed=7)
    first = a(x, training=True).numpy()
    np.testing.assert_array_equal(first, b(x, training=True))
    assert (a(x, training=True).numpy() != first).any()
    again = type(a).from_config(a.get_config())
    np.testing.assert_array_equal(again(x, training=True), first)


@pytest.mark.parametrize("make", MAKERS)
def test_the_gradient_is_that_of_the_drawn_noise(make):
    x = Tensor(np.random.default_rng(0).standard_normal((4, 3, 5)))
    with GradientTape() as tape:
        tape.watch(x)
        y = make(seed=3, dtype="float64")(x, training=True)
    up = make(seed=3, dtype="float64")(x.array + 1e-3, training=True)
    slope = (up.numpy() - y.numpy()) / 1e-3
    np.testing.assert_allclose(tape.gradient(y, x), slope, atol=1e-9)


@pytest.mark.parametrize("make", MAKERS)
def test_runs_while_a_step_is_captured(make):
    x = np.random.default_rng(0).standard_normal((3, 4, 5)).astype("float32")
    with fake_device() as device:
        layer = make(seed=5)
        data = Tensor(device.xp.asarray(x))
        first = to_host(layer(data, training=True).array)
        with GradientTape() as tape, capture():
            tape.watch(data)
            y = layer(data, training=True)
        with capture():
            tape.gradient(y, [data])
        assert (to_host(y.array) != first).any()
    np.testing.assert_allclose(make(seed=5)(x, training=True), first, rtol=1e-5, atol=1e-6)


def test_empty_batches():
    for make in MAKERS:
        assert make()(np.zeros((0, 3, 5), "float32"), training=True).shape == (0, 3, 5)


@pytest.mark.parametrize("kind", [layers.GaussianDropout, layers.AlphaDropout])
def test_bad_rates(kind):
    for rate in (1.0, -0.1, None):
        with pytest.raises(ValueError, match="rate"):
            kind(rate)
    with pytest.raises(ValueError, match="SpatialDropout2D: expected data_format"):
        layers.SpatialDropout2D(0.5, "first")
