"""Training that goes on from a file is the training that was never broken off, bit for bit."""

import sys
from pathlib import Path

import numpy as np
import pytest

import gpunet
from gpunet import set_random_seed
from gpunet.models import load_model

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "interop"))

import exchange

OPTIMIZERS = {**exchange.OPTIMIZERS, **exchange.NEWER}
MODELS = ("two_outputs", "batch_norm", "seed_twitter", "nested_twice", "embedding_mask", "gated")


def trained(name, optimizer):
    model, options = exchange.build(gpunet, name)
    inputs, targets = exchange.data_of(name, model)
    model.compile(optimizer=exchange.optimizer(gpunet, optimizer), loss=options["loss"])
    exchange.steps(model, inputs, targets, 0, 3)
    return model, inputs, targets


def goes_on_alike(path, name, optimizer):
    model, inputs, targets = trained(name, optimizer)
    model.save(path)
    again = load_model(path, exchange.custom_objects(gpunet))
    runs = []
    for one in (model, again):
        set_random_seed(5)
        runs.append(exchange.steps(one, inputs, targets, 3, 5))
    assert runs[0] == runs[1]
    for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(model.optimizer.get_weights(), again.optimizer.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer(optimizer, tmp_path):
    goes_on_alike(tmp_path / "m.h5", "mlp_functional", optimizer)


@pytest.mark.parametrize("name", MODELS)
def test_models(name, tmp_path):
    goes_on_alike(tmp_path / "m.h5", name, "adam")


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in exchange.ZOO if n not in MODELS])
def test_every_model(name, tmp_path):
    goes_on_alike(tmp_path / "m.h5", name, "nadam")
