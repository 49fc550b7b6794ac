"""Order, names, calls and summaries of models, as real Keras 2 has them."""

import json
from pathlib import Path

import pytest
from graph_models import MODELS

import gpunet
from gpunet.context import reset_uids

_STORED = Path(__file__).resolve().parent / "fixtures" / "keras" / "graphs.json"
CASES = json.loads(_STORED.read_text(encoding="utf8"))["cases"]


@pytest.fixture(params=MODELS)
def pair(request):
    """A model, and what Keras says of it."""
    reset_uids()
    return MODELS[request.param](gpunet), CASES[request.param]


def names(weights):
    return [w.name for w in weights]


def lines_of(model, **options):
    lines = []
    model.summary(print_fn=lines.append, **options)
    return lines


def test_every_case_is_stored():
    assert set(CASES) == set(MODELS)


def test_order_of_layers(pair):
    model, keras = pair
    found = [["Functional" if k == "Model" else k, n] for k, n in
             ((type(layer).__name__, layer.name) for layer in model.layers)]  # fmt: skip
    assert found == keras["layers"]
    assert model.input_names == keras["input_names"]
    assert model.output_names == keras["output_names"]


def test_order_of_weights(pair):
    model, keras = pair
    assert [[w.name, list(w.shape)] for w in model.weights] == keras["weights"]
    assert names(model.trainable_weights) == keras["trainable"]
    assert names(model.non_trainable_weights) == keras["others"]
    for layer in model.layers:
        weights = layer.trainable_weights + layer.non_trainable_weights
        assert names(weights) == keras["files"][layer.name]


def test_calls_in_the_config(pair):
    model, keras = pair
    config = json.loads(json.dumps(model.get_config()))
    if keras["ends"] is None:
        return
    assert {e["name"]: e["inbound_nodes"] for e in config["layers"]} == keras["calls"]
    # A single end may be written with or without a list around it.
    for found, wanted in zip((config["input_layers"], config["output_layers"]), keras["ends"]):
        assert (found if isinstance(found[0], list) else [found]) == wanted


def test_summary(pair, request):
    model, keras = pair
    if "from_the_middle" in request.node.name:
        # Keras calls the layers anew for such a model; here their only call stays the only one.
        for key in ("summary", "narrow"):
            keras = {**keras, key: [line.replace("[1][0]", "[0][0]") for line in keras[key]]}
    assert lines_of(model) == keras["summary"]
    assert lines_of(model, line_length=65) == keras["narrow"]


def test_config_gives_the_same_model(pair):
    model, _ = pair
    config = json.loads(json.dumps(model.get_config()))
    again = type(model).from_config(config)
    assert json.loads(json.dumps(again.get_config())) == config
    assert names(again.weights) == names(model.weights)
    assert names(again.trainable_weights) == names(model.trainable_weights)
    assert lines_of(again) == lines_of(model)
