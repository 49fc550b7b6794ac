"""Batch, layer, group and unit normalization, beside the real Keras."""

import numpy as np
import pytest
from fake_device import capture, fake_device, to_host
from misc_cases import Called, array, cases, check_config, check_values, close

import gpunet
from gpunet import layers, ops
from gpunet.autodiff import GradientTape
from gpunet.errors import ShapeError
from gpunet.ops import normalization
from gpunet.tensor import Tensor

NAMES = ("BatchNormalization", "LayerNormalization", "GroupNormalization", "UnitNormalization")


@pytest.mark.parametrize("case", cases("layer", *NAMES))
def test_values_of_keras(case):
    check_values(case)


@pytest.mark.parametrize("case", cases("mask", *NAMES))
def test_masked_values_of_keras(case):
    check_values(case)


@pytest.mark.parametrize("case", cases("layer", *NAMES))
def test_config_of_keras(case):
    check_config(case)


@pytest.mark.parametrize("case", cases("layer", "BatchNormalization"))
def test_half_precision(case):
    if "dtype" in case["config"]:
        pytest.skip("the case sets a dtype, so float16 inputs do not reach the layer")
    called = Called(case, "float16")
    assert called.y.dtype == np.float16
    assert {w.dtype for w in called.layer.weights} <= {np.dtype("float32")}
    close(called.y.numpy().astype("float32"), array(case["y"]), 1e-2)


# -- blocks on the CPU ----------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(7, 5), (64, 3), (3, 5, 2, 8), (2, 2, 3, 4, 6), (1, 4), (5, 1)])
@pytest.mark.parametrize("block", [None, 24])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("given", ["both", "gamma", "beta", "none"])
def test_blocks_equal_the_plain_pair(shape, block, dtype, given, monkeypatch):
    if block:
        monkeypatch.setattr(normalization, "BLOCK", block)
        monkeypatch.setattr(normalization, "WIDE", 12)
    rng = np.random.default_rng(0)
    x, gy = (rng.standard_normal(shape).astype(dtype) + 3 for _ in range(2))
    gamma, beta = (rng.standard_normal(shape[-1]).astype(dtype) for _ in range(2))
    inputs = [x, gamma if given in ("both", "gamma") else None]
    inputs.append(beta if given in ("both", "beta") else None)
    options = {"axes": tuple(range(len(shape) - 1)), "epsilon": 0.01}
    assert normalization._channels_last(np, *inputs, **options)
    seeds = (gy, *(rng.standard_normal((1,) * (len(shape) - 1) + shape[-1:]) for _ in range(2)))
    seeds = tuple(s.astype(dtype) for s in seeds)
    results = []
    for forward, backward in (
        (ops.normalize.forward, ops.normalize.pull),
        (normalization.normalize_rows.forward, normalization.normalize_rows.pull),
    ):
        y, saved = forward(np, *inputs, **options)
        needs = [True, given in ("both", "gamma"), given in ("both", "beta")]
        for gy in (seeds, (seeds[0], None, None), (None, seeds[1], seeds[2])):
            grads = backward(np, saved, gy, needs)
            results.append([*y, *(g for g, n in zip(grads, needs, strict=True) if n)])
    tolerance = {"float32": 1e-4, "float64": 1e-11}[dtype]
    for plain, fused in zip(results[:3], results[3:], strict=True):
        for a, b in zip(plain, fused, strict=True):
            assert a.dtype == b.dtype == dtype
            close(b, a, tolerance)


def test_a_large_mean_costs_no_digits():
    """A variance of 1e-4 beside a mean of 100: sums of squares would lose it in float32."""
    x = (100 + 0.01 * np.random.default_rng(0).standard_normal((4096, 3))).astype("float32")
    _, mean, variance = ops.normalize(x, axes=0)
    exact = x.astype("float64")
    np.testing.assert_allclose(variance.numpy()[0], exact.var(0), rtol=1e-3)
    np.testing.assert_allclose(mean.numpy()[0], exact.mean(0), rtol=1e-6)


@pytest.mark.parametrize("ratio", [1, 1e2, 1e3, 1e4, 1e5])
def test_means_of_many_deviations(ratio):
    """Errors beside float64 grow no faster than those of the numbers themselves, rounded.

    Those of TensorFlow's kernel on the same numbers are 6e-7, 2e-5, 4e-4, 2e-3 and 5e-3 for the
    results, 7e-7, 2e-6, 3e-5, 1e-4 and 5e-4 for gradients: several times as large.
    """
    rng = np.random.default_rng(0)
    x = (ratio + rng.standard_normal((32, 16, 16, 24))).astype("float32")
    gy = rng.standard_normal(x.shape).astype("float32")
    forward, pull = ops.normalize.pair(np, [x], {"axes": (0, 1, 2)})
    (y, mean, variance), saved = forward(np, x, axes=(0, 1, 2))
    (gx,) = pull(np, saved, (gy, None, None), [True])
    wide, g = x.astype("float64"), gy.astype("float64")
    exact = wide.mean((0, 1, 2)), wide.var((0, 1, 2))
    inverse = 1 / np.sqrt(exact[1] + 1e-3)
    unit = (wide - exact[0]) * inverse
    back = inverse * (g - g.mean((0, 1, 2)) - unit * (g * unit).mean((0, 1, 2)))
    step = ratio * np.finfo("float32").eps  # from one number to the next, in deviations

    def error(got, want):
        return abs(got.reshape(want.shape) - want).max() / abs(want).max()

    assert error(mean, exact[0]) < 2e-7
    assert error(variance, exact[1]) < 1e-6 + 0.1 * step
    assert error(y, unit) < 1e-6 + step
    assert error(gx, back) < 1e-6 + 0.2 * step


def test_strided_and_read_only_inputs():
    x = np.random.default_rng(0).standard_normal((4, 6, 10)).astype("float32")[:, ::2, 1::3]
    layer = layers.BatchNormalization()
    y = layer(x, training=True)
    packed = x.copy()
    packed.setflags(write=False)
    np.testing.assert_array_equal(layer(packed, training=True), y)


# -- moving statistics ----------------------------------------------------------------------


def test_moving_statistics_are_written_in_place():
    layer = layers.BatchNormalization(momentum=0.9)
    x = np.random.default_rng(0).standard_normal((8, 3)).astype("float32")
    layer(x)
    arrays = [layer.moving_mean.array, layer.moving_variance.array]
    layer(x, training=True)
    assert arrays[0] is layer.moving_mean.array and arrays[1] is layer.moving_variance.array
    np.testing.assert_allclose(arrays[0], 0.1 * x.mean(0), rtol=1e-5)
    np.testing.assert_allclose(arrays[1], 0.9 + 0.1 * x.var(0), rtol=1e-5)
    assert layer.get_weights()[2] is not arrays[0]


@pytest.mark.parametrize("shape", [(4, 2, 2, 3), (4, 1, 2, 2, 3)])
@pytest.mark.parametrize(
    ("options", "unbiased"), [({}, 1), ({"fused": False}, 0), ({"axis": 2}, 0)]
)
def test_the_variance_of_images_is_unbiased(shape, options, unbiased):
    x = np.random.default_rng(0).standard_normal(shape).astype("float32")
    layer = layers.BatchNormalization(momentum=0.0, **options)
    layer(x, training=True)
    axes = tuple(i for i in range(len(shape)) if i != layer.axis % len(shape))
    np.testing.assert_allclose(layer.moving_variance.numpy(), x.var(axes, ddof=unbiased), rtol=1e-5)


def test_frozen_layers_work_as_in_inference():
    x = np.random.default_rng(0).standard_normal((8, 3)).astype("float32")
    layer = layers.BatchNormalization()
    want = layer(x)
    layer.trainable = False
    np.testing.assert_array_equal(layer(x, training=True), want)
    np.testing.assert_array_equal(layer.moving_mean.numpy(), 0)
    assert layer.trainable_weights == [] and len(layer.non_trainable_weights) == 4
    inner = gpunet.Sequential([layers.BatchNormalization(input_shape=(3,)), layers.Dense(2)])
    inner.trainable = False
    inner(x, training=True)
    np.testing.assert_array_equal(inner.layers[0].moving_mean.numpy(), 0)


def test_an_empty_batch_changes_nothing():
    for shape in ((0, 3), (0, 2, 2, 3)):
        layer = layers.BatchNormalization()
        assert layer(np.zeros(shape, "float32"), training=True).shape == shape
        np.testing.assert_array_equal(layer.moving_variance.numpy(), 1)


def test_a_batch_of_one_is_finite():
    layer = layers.BatchNormalization()
    for shape in ((1, 3), (1, 1, 1, 3)):
        layer = layers.BatchNormalization()
        y = layer(np.ones(shape, "float32"), training=True)
        np.testing.assert_array_equal(y, np.zeros(shape))
        assert np.isfinite(layer.moving_variance.numpy()).all()


def test_a_wholly_masked_batch_is_finite():
    x = Tensor(np.ones((2, 3, 4), "float32"))
    x._keras_mask = Tensor(np.zeros((2, 3), bool))
    layer = layers.BatchNormalization()
    assert np.isfinite(layer(x, training=True).numpy()).all()
    assert all(np.isfinite(w).all() for w in layer.get_weights())


# -- what doesn't fit -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "shape", "text"),
    [
        (lambda: layers.BatchNormalization(name="n"), (2, 3, None), "size of axis -1"),
        (lambda: layers.BatchNormalization(axis=3, name="n"), (2, 3, 4), "axis 3 doesn't exist"),
        (lambda: layers.BatchNormalization(axis=[1, -2], name="n"), (2, 3, 4), "twice"),
        (lambda: layers.LayerNormalization(axis=[1, 4], name="n"), (2, 3, 4), "doesn't exist"),
        (lambda: layers.GroupNormalization(3, name="n"), (2, 3, 4), "4 channels"),
        (lambda: layers.GroupNormalization(8, name="n"), (2, 3, 4), "8 groups"),
        (lambda: layers.UnitNormalization(axis=3, name="n"), (2, 3, 4), "axis 3"),
    ],
)
def test_wrong_shapes_name_the_layer(make, shape, text):
    with pytest.raises(ShapeError, match=f"'n'.*{text}"):
        make()(layers.Input(batch_shape=shape))


def test_other_channels_than_built_for():
    layer = layers.BatchNormalization(axis=1, name="n")
    layer(np.ones((2, 3, 4), "float32"))
    with pytest.raises(ShapeError, match="'n': expected size 3 along axis 1, got 5"):
        layer(np.ones((2, 5, 4), "float32"))
    with pytest.raises(ShapeError, match="'n': expected an input of rank 3, got rank 2"):
        layer(layers.Input((3,)))


@pytest.mark.parametrize("option", ["renorm", "virtual_batch_size", "adjustment"])
def test_what_is_not_available_says_so(option):
    with pytest.raises(ValueError, match=f"BatchNormalization: {option}"):
        layers.BatchNormalization(**{option: 2})
    layers.BatchNormalization(**{option: None}, synchronized=True)


@pytest.mark.parametrize("axis", [1.5, "1", [], [1.0], True])
def test_bad_axis(axis):
    for kind in (layers.BatchNormalization, layers.LayerNormalization, layers.UnitNormalization):
        with pytest.raises(TypeError, match="axis"):
            kind(axis=axis)


# -- steps and second derivatives -----------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        layers.BatchNormalization,
        lambda: layers.BatchNormalization(axis=1),
        lambda: layers.LayerNormalization(axis=[1, 2]),
        lambda: layers.GroupNormalization(2),
    ],
)
def test_runs_while_a_step_is_captured(make):
    x = np.random.default_rng(0).standard_normal((3, 4, 2)).astype("float32")
    host = make()
    want = host(x, training=True).numpy()
    with fake_device() as device:
        layer = make()
        data = Tensor(device.xp.asarray(x))
        layer(data)
        with GradientTape() as tape, capture():
            tape.watch(data)
            y = layer(data, training=True)
        with capture():
            grads = tape.gradient(y, [data, *layer.trainable_weights])
        assert all(g is not None for g in grads)
        close(to_host(y.array), want, 1e-5)
        for a, b in zip(layer.weights, host.weights, strict=True):
            close(to_host(a.array), b.numpy(), 1e-5)


def test_second_derivative():
    rng = np.random.default_rng(0)
    x = Tensor(rng.standard_normal((4, 3)))
    layer = layers.BatchNormalization(dtype="float64")
    layer(x)
    weight, along = rng.standard_normal((2, 4, 3))

    def slope(values):
        with GradientTape() as tape:
            tape.watch(values)
            y = ops.sum(ops.multiply(ops.square(layer(values, training=True)), weight))
        return tape.gradient(y, values)

    with GradientTape() as outer:
        outer.watch(x)
        total = ops.sum(ops.multiply(slope(x), along))
    got = np.sum(outer.gradient(total, x).numpy() * along)
    up, down = (np.sum(slope(Tensor(x.array + s * along)).numpy() * along) for s in (1e-5, -1e-5))
    assert got == pytest.approx((up - down) / 2e-5, rel=1e-5)


def test_training_learns_the_statistics(rng):
    x = rng.normal(5, 3, (512, 4)).astype("float32")
    model = gpunet.Sequential([layers.BatchNormalization(momentum=0.8, input_shape=(4,))])
    model.compile("sgd", "mse")
    model.fit(x, np.zeros((512, 4)), batch_size=64, epochs=4, verbose=0)
    layer = model.layers[0]
    np.testing.assert_allclose(layer.moving_mean.numpy(), x.mean(0), rtol=0.1)
    np.testing.assert_allclose(layer.moving_variance.numpy(), x.var(0), rtol=0.2)
    again = gpunet.Sequential.from_config(model.get_config())
    again.set_weights(model.get_weights())
    np.testing.assert_array_equal(again.predict(x[:5]), model.predict(x[:5]))
