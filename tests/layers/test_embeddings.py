"""Embedding: values, masks, lengths, numbers out of range, training."""

import json
from pathlib import Path

import numpy as np
import pytest
from fake_device import capture, fake_device, to_host
from misc_cases import cases, check_config, check_values

import gpunet
from gpunet import layers
from gpunet.autodiff import GradientTape
from gpunet.errors import ShapeError
from gpunet.tensor import Tensor

KERAS = Path(__file__).resolve().parent.parent / "fixtures" / "keras"


@pytest.mark.parametrize("case", cases("layer", "Embedding"))
def test_values_of_keras(case):
    check_values(case)


@pytest.mark.parametrize("case", cases("layer", "Embedding"))
def test_config_of_keras(case):
    check_config(case)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64", "float32", "float64", "bool"])
def test_every_type_of_numbers(dtype):
    ids = np.array([[0, 1, 1], [1, 0, 0]]).astype(dtype)
    layer = layers.Embedding(2, 4)
    y = layer(ids)
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y, layer.embeddings.numpy()[ids.astype(int)])
    half = layers.Embedding(2, 4, dtype="float16")
    assert half(ids).dtype == np.float16


@pytest.mark.parametrize("shape", [(0, 3), (1, 1), (2, 0), (5,), (2, 3, 4)])
def test_every_shape(shape):
    layer = layers.Embedding(5, 2, input_shape=(None,))
    y = layer(np.ones(shape, "int32"))
    assert y.shape == (*shape, 2)
    assert layer(layers.Input(batch_shape=shape)).shape == (*shape, 2)
    assert layer.compute_output_shape((None, *shape[1:])) == (None, *shape[1:], 2)


def test_numbers_out_of_range_name_the_layer():
    layer = layers.Embedding(5, 2, name="words")
    for ids in ([[5]], [[-1]], [[4.0, 7.0]], [[np.nan]]):
        with pytest.raises(ValueError, match="'words': expected numbers from 0 to 4"):
            layer(np.array(ids))
    assert layer(np.array([[-0.5, 4.9]])).shape == (1, 2, 2)  # cut off as Keras does


def test_numbers_a_float_cannot_hold():
    layer = layers.Embedding(2**24 + 10, 1, name="words")
    layer.embeddings = layer.add_weight("embeddings", (1, 1))
    layer.built = True
    with pytest.raises(ValueError, match="'words': float32 holds whole numbers up to 16777216"):
        layer(np.array([[2.0**24]], "float32"))
    with pytest.raises(IndexError):  # an exact number, looked up in the small table
        layer(np.array([[2.0**24]], "float64"))


def test_input_length():
    model = gpunet.Sequential([layers.Embedding(9, 4, input_length=5)])
    assert model.input_shape == (None, 5) and model.output_shape == (None, 5, 4)
    assert gpunet.Sequential([layers.Embedding(9, 4)]).output_shape == (None, None, 4)
    layer = layers.Embedding(9, 4, input_length=(5, 3), name="words")
    assert layer(layers.Input((None, 3))).shape == (None, 5, 3, 4)
    assert layer.get_config()["input_length"] == (5, 3)
    for shape in ((4, 3), (5,)):
        with pytest.raises(ShapeError, match=r"'words': input_length is \(5, 3\)"):
            layer(layers.Input(shape))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"input_dim": 0, "output_dim": 2}, "input_dim"),
        ({"input_dim": 3, "output_dim": -2}, "output_dim"),
        ({"input_dim": 3, "output_dim": 2, "input_length": "a"}, "input_length"),
        ({"input_dim": 3, "output_dim": 2, "sparse": True}, "sparse"),
    ],
)
def test_bad_arguments(options, text):
    with pytest.raises(ValueError, match=text):
        layers.Embedding(**options)


def test_the_mask_of_number_zero():
    ids = Tensor(np.array([[0, 2, 1], [1, 0, 0]]))
    y = layers.Embedding(3, 2, mask_zero=True)(ids)
    np.testing.assert_array_equal(y._keras_mask, [[False, True, True], [True, False, False]])
    assert getattr(layers.Embedding(3, 2)(ids), "_keras_mask", None) is None
    x = layers.Input((3,))
    assert layers.Embedding(3, 2, mask_zero=True)(x)._keras_mask.shape == (None, 3)
    assert layers.Embedding(3, 2)(x)._keras_mask is None


def test_runs_while_a_step_is_captured():
    with fake_device() as device:
        layer = layers.Embedding(5, 2, mask_zero=True)
        ids = Tensor(device.xp.asarray(np.array([[1, 0, 4]], "float32")))
        layer(ids)
        with GradientTape() as tape, capture():
            y = layer(ids)
        with capture():
            (grad,) = tape.gradient(y, [layer.embeddings])
        np.testing.assert_array_equal(
            to_host(grad.array), np.eye(5)[[1, 0, 4]].sum(0)[:, None] * [1, 1]
        )


def stored_training():
    stored = json.loads((KERAS / "training.json").read_text(encoding="utf8"))
    found = {k: c for k, c in stored["cases"].items() if c["model"] == "embedding"}
    return stored, found


STORED, TRAINING = stored_training()


@pytest.mark.parametrize("name", TRAINING)
def test_training_as_in_keras(name):
    """Ids repeat within a batch and most rows are absent from it: sparse rules show."""
    case, described = TRAINING[name], STORED["models"]["embedding"]
    model = gpunet.models.load_model(KERAS / described["file"], compile=False)
    optimizer = getattr(gpunet.optimizers, case["class"]).from_config(
        {**case["config"], **({} if case["family"] == "legacy" else {"is_legacy_optimizer": False})}
    )
    model.compile(optimizer, described["loss"])
    size = STORED["batch_size"]
    with np.load(KERAS / STORED["data"]) as data:
        x, y = data[described["x"]], data[described["y"]]
    weights = case["class_weight"] and {int(k): v for k, v in case["class_weight"].items()}
    batches = [slice(size * k, size * (k + 1)) for k in range(STORED["steps"])]
    losses = [model.train_on_batch(x[b], y[b], class_weight=weights) for b in batches]
    np.testing.assert_allclose(losses, case["losses"], rtol=1e-4)
    for weight, want in zip(model.weights, case["final"], strict=True):
        values = weight.numpy().astype("float64")
        assert values.sum() == pytest.approx(want["sum"], rel=1e-3, abs=1e-3)
        assert np.square(values).sum() == pytest.approx(want["sum_squares"], rel=1e-3)
