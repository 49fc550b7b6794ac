"""Recurrent layers and wrappers give the numbers of the real Keras."""

import json
from pathlib import Path

import numpy as np
import pytest
from rnn_values import INPUTS, array, make, mask_of, of_kind

from gpunet import layers, ops
from gpunet.autodiff import GradientTape
from gpunet.context import reset_uids
from gpunet.layers.recurrent.cells import GatedCell
from gpunet.models import Model, Sequential, load_model
from gpunet.nest import flatten
from gpunet.tensor import convert_to_tensor

FILES = Path(__file__).resolve().parents[1] / "fixtures" / "h5"
INDEX = json.loads((FILES / "index.json").read_text(encoding="utf8"))["keras2"]
PATHS = pytest.mark.parametrize("path", ["fused", "steps"])


def close(got, want, rtol=1e-5, atol=2e-6):
    got = np.asarray(got)
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=rtol, atol=atol)


def built(case):
    x = INPUTS[case["options"].get("input", "x")]
    layer = make(case)
    layer(x)
    layer.set_weights([array(w) for w in case["weights"]])
    return layer, x


@PATHS
@pytest.mark.parametrize("case", of_kind("layer"))
def test_values_and_gradients(case, path, monkeypatch):
    """By one op for all steps, and step by step."""
    if path == "steps":
        monkeypatch.setattr(GatedCell, "can_scan", lambda self: False)
    layer, x = built(case)
    x = convert_to_tensor(x)
    states = [convert_to_tensor(array(s)) for s in case["states"]]
    given = {"initial_state": states} if states else {}
    if "training" in case["options"]:
        given["training"] = case["options"]["training"]
    with GradientTape() as tape:
        tape.watch([x, *states])
        y = flatten(layer(x, mask=mask_of(case, x), **given))
        total = [ops.sum(t * array(g)) for t, g in zip(y, case["gy"], strict=True)]
    sources = [x, *states, *layer.trainable_weights]
    grads = tape.gradient(total, sources, unconnected_gradients="zero")
    for got, want in zip(y, case["y"], strict=True):
        close(got, array(want))
    wanted = [case["gx"], *case["gstates"], *case["gw"]]
    for got, want in zip(grads, wanted, strict=True):
        close(got, array(want), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", of_kind("layer"))
def test_shapes_masks_and_names(case):
    layer, x = built(case)
    free = (None, x.shape[1] if layer.__dict__.get("unroll") else None)
    symbolic = flatten(layer(layers.Input(batch_shape=(*free, *x.shape[2:]))))
    assert [list(t.shape) for t in symbolic] == case["shapes"]
    assert all(t.dtype == "float32" for t in symbolic)
    mask = mask_of(case, x)
    if mask is not None:
        y = flatten(layer(x, mask=mask))
        got = [getattr(t, "_keras_mask", None) for t in y]
        wanted = case["masks"] + [None] * (len(y) - len(case["masks"]))  # one for nested states
        for g, w in zip(got, wanted, strict=True):
            assert (g is None) == (w is None)
            if w is not None:
                np.testing.assert_array_equal(g, np.array(w, bool))
    plain = [
        name.replace(f"{cell}_cell/", "")
        for name in case["weight_names"]
        for cell in ["simple_rnn" if "simple_rnn" in name else "lstm" if "lstm" in name else "gru"]
    ]
    if case["class"] in ("LSTM", "GRU", "SimpleRNN", "TimeDistributed", "ConvLSTM2D"):
        assert [w.name for w in layer.weights] == plain
    assert [tuple(w.shape) for w in layer.weights] == [array(w).shape for w in case["weights"]]


@pytest.mark.parametrize("case", of_kind("layer"))
def test_config_and_weights_round_trip(case):
    layer, x = built(case)
    config = json.loads(json.dumps(layer.get_config()))
    again = type(layer).from_config(config)
    again(x)
    again.set_weights(layer.get_weights())
    for a, b in zip(flatten(again(x)), flatten(layer(x)), strict=True):
        np.testing.assert_array_equal(a, b)
    assert json.loads(json.dumps(again.get_config())) == config


def inner(config):
    """Return a config without what only says where classes live."""
    if isinstance(config, list):
        return [inner(v) for v in config]
    if not isinstance(config, dict):
        return config
    drop = ("module", "registered_name", "time_major", "build_config")
    return {k: inner(v) for k, v in config.items() if k not in drop}


@pytest.mark.parametrize("case", of_kind("config"))
def test_config_is_keras_own(case):
    got = json.loads(json.dumps(make(case).get_config()))
    assert inner(got) == inner(case["full"])
    kind = type(make(case))
    assert inner(json.loads(json.dumps(kind.from_config(case["full"]).get_config()))) == inner(got)


@pytest.mark.parametrize("case", of_kind("carried"))
def test_states_are_carried(case):
    layer, x = make(case), INPUTS["x"]
    layer(x)
    layer.set_weights([array(w) for w in case["weights"]])
    layer.reset_states()
    got = [layer(x * np.float32(k)) for k in (1, 2, -1)]
    layer.reset_states()
    got.append(layer(x))
    states = [array(s) for s in case["states"]]
    layer.reset_states(states if case["class"] != "GRU" else states[0])
    got.append(layer(x))
    for g, w in zip(got, case["y"], strict=True):
        close(g, array(w))


@pytest.mark.parametrize("case", of_kind("model"))
def test_training(case):
    kind = Sequential if case["class"] == "Sequential" else Model
    model = kind.from_config(case["config"])
    model.set_weights([array(w) for w in case["weights"]])
    model.compile("adam", "binary_crossentropy")
    model.optimizer.learning_rate = 0.05
    xs = [array(x) for x in case["xs"]]
    x, y = xs if len(xs) > 1 else xs[0], array(case["y"])
    losses = [np.ravel(model.train_on_batch(x, y))[0] for _ in case["losses"]]
    np.testing.assert_allclose(losses, case["losses"], rtol=1e-4)
    close(model.predict(x), array(case["predict"]), rtol=1e-3, atol=1e-4)
    for got, want in zip(model.get_weights(), case["after"], strict=True):
        close(got, array(want), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["rnn_lstm_variants", "rnn_gru_variants", "seed_twitter_dict"])
def test_files(name, tmp_path):
    reset_uids()
    expected = INDEX[name]
    with np.load(FILES / f"{name}.npz") as stored:
        arrays = dict(stored)
    model = load_model(FILES / f"{name}.h5")
    xs = [arrays[f"in_{k}"] for k in range(expected["n_in"])]
    targets = [arrays[f"tgt_{k}"] for k in range(expected["n_tgt"])]
    for k, y in enumerate(model.predict(xs)):
        close(y, arrays[f"out_{k}"], rtol=1e-4, atol=1e-6)
    got = model.evaluate(xs, targets, batch_size=expected["batch"], verbose=0)
    np.testing.assert_allclose(got, expected["evaluate"], rtol=1e-4)
    lines = []
    model.summary(line_length=65, print_fn=lines.append)
    assert "\n".join(lines).rstrip("\n") == expected["summary"]["65"]["keras_2.4"]
    losses = [np.ravel(model.train_on_batch(xs, targets))[0] for _ in expected["train"]]
    np.testing.assert_allclose(losses, expected["train"], rtol=1e-3)
    after = model.predict(xs)
    for k, y in enumerate(after):
        close(y, arrays[f"after_{k}"], rtol=1e-3, atol=1e-5)
    model.save(tmp_path / "again.h5")
    for a, b in zip(load_model(tmp_path / "again.h5").predict(xs), after, strict=True):
        np.testing.assert_array_equal(a, b)
