"""Pooling layers: the numbers of real Keras, both layouts, masks, ties, bad input."""

import json
from pathlib import Path

import numpy as np
import pytest
import test_layer_table as table
from layer_cases import Case
from pool_reference import by_windows

from gpunet import config, layers, ops
from gpunet.autodiff import GradientTape
from gpunet.errors import ShapeError
from gpunet.layers import Input
from gpunet.ops import pool_cpu
from gpunet.tensor import Tensor, convert_to_tensor

FOLDER = Path(__file__).resolve().parents[1] / "fixtures" / "keras"
STORED = json.loads((FOLDER / "pool.json").read_text(encoding="utf8"))
with np.load(FOLDER / "pool.npz") as _file:
    _OUTPUTS = np.split(_file["outputs"], np.cumsum(
        [n for c in STORED["cases"] for n in (2 * int(np.prod(c["output_shape"][1:])),
                                              2 * int(np.prod(c["shape"])))]))  # fmt: skip
KERAS = [
    pytest.param(c, *_OUTPUTS[2 * i : 2 * i + 2], id=f"{c['number']}-{c['class']}")
    for i, c in enumerate(STORED["cases"])
]


def drawn(case):
    """Return the input and the incoming gradient of a case, as the maker drew them."""
    rng = np.random.RandomState(case["number"])
    x = rng.randint(-8, 9, (2, *case["shape"])).astype("float32") / 8
    if case["class"] == "MaxPooling3D":
        x = rng.permutation(x.size).reshape(x.shape).astype("float32") / 64
    shape = (2, *case["output_shape"][1:])
    return x, rng.randint(-8, 9, shape).astype("float32") / 8


def pulled(layer, x, gy, **options):
    """Return output and input gradient."""
    x = Tensor(x)
    with GradientTape() as tape:
        tape.watch(x)
        y = layer(x, **options)
    return y.numpy(), tape.gradient(y, x, Tensor(gy)).numpy()


def channels_first(a):
    return np.ascontiguousarray(np.moveaxis(a, -1, 1)) if a.ndim > 2 else a


@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
@pytest.mark.parametrize("fused", [True, False], ids=["fused", "plain"])
@pytest.mark.parametrize(("case", "y", "gx"), KERAS)
def test_values_and_gradients_are_keras(case, y, gx, layout, fused):
    x, gy = drawn(case)
    y, gx = y.reshape(gy.shape), gx.reshape(x.shape)
    layer = getattr(layers, case["class"])(**case["config"], data_format=layout)
    if layout == "channels_first":
        x, gy, y, gx = map(channels_first, (x, gy, y, gx))
    options = {"mask": np.array(STORED["mask"], bool)} if case["masked"] else {}
    before = config.fused_enabled()
    config.set_fused(fused)
    try:
        got, gradient = pulled(layer, x, gy, **options)
    finally:
        config.set_fused(before)
    np.testing.assert_allclose(got, y, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(gradient, gx, rtol=1e-6, atol=1e-6)
    shape = layer(Input(x.shape[1:])).shape
    assert shape == (None, *y.shape[1:])
    if layout == "channels_last":
        assert list(shape) == case["output_shape"]


@pytest.mark.parametrize("name", STORED["configs"])
def test_configs_are_keras(name):
    case = next(c for c in STORED["cases"] if c["class"] == name)
    got = json.loads(json.dumps(getattr(layers, name)(**case["config"]).get_config()))
    assert got == {**STORED["configs"][name], "name": got["name"]}
    assert got["name"].rstrip("0123456789").rstrip("_") == STORED["configs"][name]["name"]


def whole(choose):
    def pool(x, **_):
        return choose(x, tuple(range(1, x.ndim - 1)))

    return pool


def layer_cases():
    shapes = {1: (5, 3), 2: (5, 4, 2), 3: (3, 4, 3, 2)}
    for rank, shape in shapes.items():
        many = (3, *shape[1:]) if rank == 1 else shape[:-2] + shape[-1:]
        for name, choose in (("Max", np.max), ("Average", np.mean)):
            kind = getattr(layers, f"{name}Pooling{rank}D")
            for options in ({}, {"pool_size": 3, "strides": 2, "padding": "same"}):
                size = {"pool_size": 2, **options}

                def expected(x, size=size, choose=choose):
                    return by_windows(choose)(x, **size)

                yield Case(kind, [shape], options, expected, wrong=[(3, *shape, 1), (3, *many[1:])])
            kind = getattr(layers, f"Global{name}Pooling{rank}D")
            yield Case(kind, [shape], {}, whole(choose), wrong=[(3, *shape, 1)])


CHECKS = [
    table.test_value_and_dtype,
    table.test_symbolic_shape_is_the_eager_one,
    table.test_gradients,
    table.test_inputs_stay_as_they_are,
    table.test_config_round_trip,
    table.test_weights_round_trip,
    table.test_wrong_shapes_name_the_layer,
    table.test_other_values_than_tensors_name_the_layer,
    table.test_unknown_arguments_are_refused,
    table.test_copies_are_independent,
    table.test_a_mask_passes_or_stops,
]


@pytest.mark.parametrize("case", list(layer_cases()), ids=lambda case: case.id)
def test_as_every_layer(case):
    is_masked = case.kind is layers.GlobalAveragePooling1D
    for check in CHECKS:
        if check is table.test_value_and_dtype:
            for dtype in ("float16", "float32", "float64"):
                check(case, dtype)
        elif check is table.test_symbolic_shape_is_the_eager_one:
            for batch in (1, 3):
                for known in ("all", "features", "batch"):
                    check(case, batch, known)
        elif not (is_masked and check is table.test_a_mask_passes_or_stops):
            check(case)


@pytest.mark.parametrize("case", list(layer_cases())[:6], ids=lambda case: case.id)
def test_training(case, seeds):
    table.test_one_training_step(case, seeds)


def test_masks_end_at_the_layer():
    x = convert_to_tensor(np.array([[[1.0], [2.0], [6.0]]], "float32"))
    x._keras_mask = convert_to_tensor(np.array([[True, True, False]]))
    y = layers.GlobalAveragePooling1D()(x)
    assert y.numpy().tolist() == [[1.5]] and not hasattr(y, "_keras_mask")
    assert layers.GlobalMaxPooling1D()(x).numpy().tolist() == [[6.0]]
    y = layers.MaxPooling1D()(x)
    assert y.numpy().tolist() == [[[2.0]]] and not hasattr(y, "_keras_mask")
    masked = layers.Masking()(Input((3, 1)))
    assert getattr(layers.GlobalAveragePooling1D()(masked), "_keras_mask", None) is None


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_the_first_of_equal_elements_gets_the_gradient(rank, padding):
    x = np.ones((1, *(4,) * rank, 1), "float32")
    for size, strides in ((2, 2), (3, 2), (2, 1)):
        layer = getattr(layers, f"MaxPooling{rank}D")(size, strides, padding)
        shape = tuple(layer.compute_output_shape(x.shape))
        gy = np.arange(1, 1 + np.prod(shape), dtype="float32").reshape(shape)
        want = np.zeros_like(x)
        border = max((shape[1] - 1) * strides + size - 4, 0) // 2 if padding == "same" else 0
        for at in np.ndindex(shape):
            first = [max(i * strides - border, 0) for i in at[1:-1]]
            want[(0, *first, 0)] += gy[at]
        np.testing.assert_array_equal(pulled(layer, x, gy)[1], want)


@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
@pytest.mark.parametrize(
    ("size", "strides", "padding"),
    [(2, 2, "valid"), (3, 3, "valid"), (3, 2, "same"), (2, 3, "valid"), (3, 1, "same")],
)
def test_blocks_and_threads_change_nothing(monkeypatch, rng, layout, size, strides, padding):
    """Many blocks, some of them of a few rows, give what the plain functions give."""
    monkeypatch.setattr(pool_cpu, "BLOCK_BYTES", 700)
    monkeypatch.setattr(pool_cpu, "ALONE", 1)
    x = rng.integers(-3, 4, (3, 14, 11, 5)).astype("float32")
    options = {"pool_size": size, "strides": strides, "padding": padding, "data_format": layout}
    for op in (ops.max_pool, ops.average_pool):
        (fused,) = (f for f in op.fusions if f.forward.__name__.endswith("_cpu"))
        y, saved = fused.forward(np, x, **options)
        plain_y, plain_saved = op.forward(np, x, **options)
        np.testing.assert_allclose(y, plain_y, rtol=1e-6)
        gy = rng.standard_normal(y.shape).astype("float32")
        got, want = (
            pull(np, s, gy, [True])[0] for pull, s in ((fused.pull, saved), (op.pull, plain_saved))
        )
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_special_values():
    x = np.array([1, np.nan, 3, 4, -np.inf, -np.inf, -np.inf, -np.inf], "float32")
    x = x.reshape(2, 2, 2, 1)
    y = layers.MaxPooling2D()(x).numpy().ravel()
    assert np.isnan(y[0]) and y[1] == -np.inf


@pytest.mark.parametrize("dtype", ["int32", "uint8", "int64"])
def test_whole_numbers_stay(dtype):
    x = np.arange(16).reshape(1, 4, 4, 1).astype(dtype)
    for padding in ("valid", "same"):
        y = layers.MaxPooling2D(3, 2, padding)(x)
        assert y.dtype == dtype and y.numpy().max() == (10 if padding == "valid" else 15)
    assert layers.GlobalMaxPooling2D()(x).dtype == dtype


def test_no_samples():
    x = np.zeros((0, 4, 4, 2), "float32")
    for layer in (layers.MaxPooling2D(), layers.AveragePooling2D(padding="same")):
        y, gx = pulled(layer, x, np.zeros((0, 2, 2, 2), "float32"))
        assert y.shape == (0, 2, 2, 2) and gx.shape == x.shape
    assert layers.GlobalAveragePooling2D()(x).shape == (0, 2)


def test_the_layout_of_the_configuration():
    config.set_image_data_format("channels_first")
    try:
        assert layers.MaxPooling2D()(Input((3, 8, 6))).shape == (None, 3, 4, 3)
        assert layers.GlobalMaxPooling3D()(Input((3, 8, 6, 2))).shape == (None, 3)
        assert layers.MaxPooling1D()(Input((8, 3))).shape == (None, 4, 3)
    finally:
        config.set_image_data_format("channels_last")


def test_other_names():
    assert layers.MaxPool2D is layers.MaxPooling2D and layers.AvgPool1D is layers.AveragePooling1D
    assert layers.GlobalAvgPool3D is layers.GlobalAveragePooling3D
    model = layers.MaxPool2D.from_config({"pool_size": [2, 3], "strides": [1, 1]})
    assert model.pool_size == (2, 3)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: layers.MaxPooling2D((1, 2, 3)), "pool_size"),
        (lambda: layers.MaxPooling2D(0), "pool_size"),
        (lambda: layers.MaxPooling1D(2.5), "pool_size"),
        (lambda: layers.MaxPooling2D(strides=(1, 0)), "strides"),
        (lambda: layers.MaxPooling2D(padding="causal"), "padding"),
        (lambda: layers.AveragePooling2D(data_format="last"), "data_format"),
        (lambda: layers.GlobalMaxPooling2D(data_format="last"), "data_format"),
        (lambda: layers.MaxPooling2D(3, name="deep")(Input((2, 4, 1))), "'deep': no window of 3"),
        (lambda: layers.MaxPooling2D(name="deep")(Input((4, 1))), "'deep': .*rank 4"),
        (lambda: layers.MaxPooling2D(name="deep")(Input((4, 4, 1), dtype="bool")), "'deep'.*bool"),
        (lambda: layers.AveragePooling2D(name="m")(Input((4, 4, 1), dtype="int32")), "'m'.*int32"),
        (lambda: layers.GlobalMaxPooling2D(name="deep")(Input((0, 3, 1))), "'deep'.*one position"),
    ],
)
def test_errors_say_what_is_wrong(make, text):
    with pytest.raises((ValueError, TypeError), match=text):
        make()


def test_errors_when_called():
    with pytest.raises(ShapeError, match="no window of 2"):
        ops.max_pool(np.ones((1, 1, 3), "float32"), pool_size=2)
    with pytest.raises(ShapeError, match="batch axis"):
        ops.max_pool(np.ones((1, 3), "float32"), pool_size=2)
    with pytest.raises(ValueError, match="data_format"):
        ops.average_pool(np.ones((1, 3, 1), "float32"), pool_size=2, data_format="x")
