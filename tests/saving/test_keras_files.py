"""Files that the real Keras wrote: read, predicted, evaluated and trained on as there."""

import contextlib
import io
import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from gpunet import set_random_seed
from gpunet.context import reset_uids
from gpunet.models import load_model
from gpunet.saving.config import class_name

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
INDEX = json.loads((FIXTURES / "h5" / "index.json").read_text(encoding="utf8"))

# Name -> section of the index: all there are.
FILES = {
    "seed_mlp_functional": "keras2",
    "opt_adam": "keras2",
    "bn_variants": "keras2",
    "nested_bn_deep": "keras2",
    "newopt_adam": "keras2",
    "conv2d_variants": "keras2",
    "rnn_gru_variants": "keras2",
    "rnn_lstm_variants": "keras2",
    "seed_toy_resnet": "keras2",
    "seed_twitter_dict": "keras2",
    "seed_autoencoder_nested": "keras2",
    "fmt_k216_sequential_list": "formats",
    "k3_seed_mlp_functional": "keras3",
}


@pytest.fixture(params=FILES)
def stored(request):
    """Return (path, expectations, arrays) of a file."""
    reset_uids()  # one of the files has no name for its model
    path = FIXTURES / "h5" / f"{request.param}.h5"
    with np.load(path.with_suffix(".npz")) as arrays:
        return path, INDEX[FILES[request.param]][request.param], dict(arrays)


def taken(arrays, prefix, count):
    found = [arrays[f"{prefix}_{k}"] for k in range(count)]
    return found[0] if count == 1 else found


def test_structure(stored):
    path, expected, _ = stored
    model = load_model(path)
    assert [[class_name(layer), layer.name] for layer in model.layers] == expected["layers"]
    assert model.name == expected["model_name"]
    assert model.count_params() == expected["params"]
    assert [list(w.shape) for w in model.get_weights()] == expected.get(
        "weight_shapes", [list(w.shape) for w in model.get_weights()]
    )
    if "summary" in expected:
        text = io.StringIO()
        with contextlib.redirect_stdout(text):
            model.summary(line_length=65)
        assert text.getvalue().rstrip("\n") == expected["summary"]["65"]["keras_2.4"]


def test_predictions(stored):
    path, expected, arrays = stored
    model = load_model(path, compile=False)
    got = model.predict(taken(arrays, "in", expected["n_in"]))
    for k, y in enumerate(got if isinstance(got, list) else [got]):
        np.testing.assert_allclose(y, arrays[f"out_{k}"], rtol=1e-4, atol=1e-6)


def test_evaluation(stored):
    path, expected, arrays = stored
    model = load_model(path)
    x, y = (taken(arrays, p, expected[n]) for p, n in (("in", "n_in"), ("tgt", "n_tgt")))
    got = model.evaluate(x, y, batch_size=expected["batch"], verbose=0)
    np.testing.assert_allclose(got, expected["evaluate"], rtol=1e-4)
    assert model.metrics_names == expected.get("metrics_names", ["loss", "accuracy"])


def test_training_goes_on(stored):
    path, expected, arrays = stored
    model = load_model(path)
    x, y = (taken(arrays, p, expected[n]) for p, n in (("in", "n_in"), ("tgt", "n_tgt")))
    if "train" not in expected:
        pytest.skip("its training draws random numbers")
    losses = [np.ravel(model.train_on_batch(x, y))[0] for _ in expected["train"]]
    np.testing.assert_allclose(losses, expected["train"], rtol=1e-3)
    got = model.predict(x)
    for k, after in enumerate(got if isinstance(got, list) else [got]):
        if f"after_{k}" in arrays:
            np.testing.assert_allclose(after, arrays[f"after_{k}"], rtol=1e-3, atol=1e-4)


def test_saved_again_it_is_the_same(stored, tmp_path):
    path, expected, arrays = stored
    model = load_model(path)
    model.save(tmp_path / "again.h5")
    again = load_model(tmp_path / "again.h5")
    x, y = (taken(arrays, p, expected[n]) for p, n in (("in", "n_in"), ("tgt", "n_tgt")))
    assert again.metrics_names == model.metrics_names
    results = []
    for one in (again, model):
        set_random_seed(1)  # of dropout
        results.append([one.train_on_batch(x, y) for _ in range(3)])
    assert results[0] == results[1]


@pytest.mark.parametrize("name", INDEX["hostile"])
@pytest.mark.filterwarnings("error")
def test_hostile_files_are_refused(name):
    words = {
        "bad_lambda_bytecode": "bytecode.*custom_objects.*safe_mode=False",
        "bad_no_model_config": "no attribute 'model_config'.*load_weights",
        "bad_weight_shape": "has shape .*, the file has ",
    }
    with pytest.raises(ValueError, match=words[name]):
        load_model(FIXTURES / "h5" / f"{name}.h5")


def test_bytecode_runs_only_when_asked_for():
    path = FIXTURES / "h5" / "bad_lambda_bytecode.h5"
    with h5py.File(path) as file:
        layers = json.loads(file.attrs["model_config"])["config"]["layers"]
    name = next(entry["config"]["name"] for entry in layers if entry["class_name"] == "Lambda")
    model = load_model(path, custom_objects={name: lambda x: x * 2.0})
    x = np.ones((2, *model.input_shape[1:]), "float32")
    assert model.predict(x).shape[0] == 2


UNCOMPILED = [
    "training",
    "training_regularized",
    "training_saturated_softmax",
    "training_saturated_sigmoid",
    "fit_single",
    "fit_double",
]


@pytest.mark.parametrize("name", UNCOMPILED)
def test_uncompiled_files(name, tmp_path):
    model = load_model(FIXTURES / "keras" / f"{name}.h5")
    assert model.optimizer is None
    model.save(tmp_path / "again.h5")
    again = load_model(tmp_path / "again.h5")
    with (
        h5py.File(FIXTURES / "keras" / f"{name}.h5") as old,
        h5py.File(tmp_path / "again.h5") as new,
    ):
        found = []
        old["model_weights"].visititems(
            lambda path, d: found.append(path) if isinstance(d, h5py.Dataset) else None
        )
        assert found
        for path in found:
            np.testing.assert_array_equal(new["model_weights"][path], old["model_weights"][path])
    for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
