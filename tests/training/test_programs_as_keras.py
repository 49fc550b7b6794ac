"""Programs that train give, batch by batch, the numbers that tf_keras stored."""

import json

import numpy as np
import pytest
from keras_values import FOLDER
from training_programs import PROGRAMS, results

import gpunet

STORED = json.loads((FOLDER / "programs.json").read_text(encoding="utf8"))["cases"]


@pytest.mark.parametrize("name", PROGRAMS)
def test_as_keras(name):
    want, got = STORED[name], results(gpunet, gpunet.GradientTape, PROGRAMS[name])
    assert got["history_keys"] == want["history_keys"]
    assert got["epochs"] == want["epochs"]
    assert [list(b) for b in got["batches"]] == [list(b) for b in want["batches"]]
    for key, values in want["history"].items():
        np.testing.assert_allclose(got["history"][key], values, rtol=1e-4, err_msg=key)
    for number, (one, other) in enumerate(zip(got["batches"], want["batches"], strict=True)):
        for key, value in other.items():
            assert one[key] == pytest.approx(value, rel=1e-4, abs=1e-6), (number, key)
    for key in ("evaluate", "predict"):
        if key in want:
            np.testing.assert_allclose(got[key], want[key], rtol=1e-4, atol=1e-6, err_msg=key)
    for one, other in zip(got["final"], want["final"], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=2e-5)
