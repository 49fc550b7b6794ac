"""Models that begin with strings: as the real Keras runs, stores and trains them."""

import json
from pathlib import Path

import numpy as np
import pytest

import gpunet
from gpunet import layers, models
from gpunet.dropin.tf import data as tf_data
from gpunet.dropin.tf.creation import constant

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures" / "keras"
CASE = json.loads((FIXTURES / "strings.json").read_text(encoding="utf8"))["cases"]["two_inputs"]
Y = np.array(CASE["y"], "float32")


def data(dtype=object):
    return [np.array(CASE[name], dtype) for name in ("job", "note")]


@pytest.fixture
def model():
    return models.load_model(FIXTURES / "strings.h5")


@pytest.mark.parametrize("dtype", [object, str], ids=["objects", "fixed length"])
def test_predictions_of_keras(model, dtype):
    x = data(dtype)
    np.testing.assert_allclose(model.predict(x), CASE["predictions"], rtol=1e-5)
    np.testing.assert_allclose(model(x).numpy(), CASE["predictions"], rtol=1e-5)
    by_name = dict(zip(("job", "note"), x))
    np.testing.assert_allclose(model.predict(by_name, batch_size=4), CASE["predictions"], rtol=1e-5)


def test_losses_of_keras(model):
    losses = [model.train_on_batch(data(), Y) for _ in CASE["losses"]]
    np.testing.assert_allclose(losses, CASE["losses"], rtol=1e-5)


def test_fit_from_arrays_and_from_a_dataset_are_the_same(model):
    again = models.clone_model(model)
    again.set_weights(model.get_weights())
    again.compile(gpunet.optimizers.SGD(0.1), "mse")
    first = model.fit(data(), Y, batch_size=4, epochs=2, shuffle=False, verbose=0)
    job, note = data()
    batches = tf_data.Dataset.from_tensor_slices(({"job": job, "note": note}, Y)).batch(4)
    second = again.fit(batches, epochs=2, verbose=0)
    np.testing.assert_allclose(second.history["loss"], first.history["loss"], rtol=1e-6)
    assert model.evaluate(data(), Y, verbose=0) < CASE["losses"][0]


def test_files_and_configs_keep_the_dtype(model, tmp_path):
    path = tmp_path / "größe.h5"
    model.save(path)
    again = models.load_model(path)
    assert again.get_layer("job").get_config()["dtype"] == "string"
    np.testing.assert_array_equal(again.predict(data()), model.predict(data()))
    assert models.model_from_json(model.to_json()).inputs[0].dtype == object


def test_bytes_and_nested_lists(model):
    job, note = data()
    encoded = np.array([[row[0].encode()] for row in job], object)
    np.testing.assert_allclose(model.predict([encoded, note]), CASE["predictions"], rtol=1e-5)
    first = layers.Input((1,), dtype="string")
    numbers = models.Model(first, layers.StringLookup(vocabulary=["nurse"])(first))
    assert numbers.predict([["nurse"], ["x"]]).tolist() == [[1], [0]]
    assert numbers(constant([["x"], ["nurse"]])).numpy().tolist() == [[0], [1]]


def test_a_model_inside_another(model):
    job, note = layers.Input((1,), dtype="string"), layers.Input((1,), dtype="string")
    outer = models.Model([job, note], layers.Lambda(lambda t: 2 * t)(model([job, note])))
    np.testing.assert_allclose(
        outer.predict(data()), 2 * np.array(CASE["predictions"]), rtol=1e-5, atol=1e-7
    )


def test_numbers_where_strings_are_expected(model):
    job, note = data()
    with pytest.raises(TypeError, match=r"predict: x\[0\]: expected strings, got .* float64"):
        model.predict([np.zeros((6, 1)), note])
    with pytest.raises(TypeError, match=r"fit: x\['note'\]: expected strings, got .* int"):
        model.fit({"job": job, "note": np.zeros((6, 1), int)}, Y)
    with pytest.raises(TypeError, match="expected strings, got 3"):
        model.predict([np.array([["a"], [3]], object), note[:2]])


def test_strings_where_numbers_are_expected():
    numbers = models.Sequential([layers.Dense(1, input_shape=(1,))])
    numbers.compile("sgd", "mse")
    with pytest.raises(TypeError, match="predict: x: expected numbers, got an array of dtype"):
        numbers.predict(data()[0])
    with pytest.raises(TypeError, match="fit: y: expected numbers, got an array of dtype"):
        numbers.fit(np.zeros((6, 1)), data()[0])
    with pytest.raises(TypeError, match="Dense 'late': expected numbers, got strings"):
        layers.Dense(1, name="late")(layers.Input((1,), dtype="string"))
