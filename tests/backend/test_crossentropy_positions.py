"""The arguments of K's cross-entropies by their places, which the ops behind them don't have."""

import numpy as np
import pytest

from gpunet import backend as K

SCORES = np.array([[2.0, 1.0, -1.0], [0.5, 0.0, 3.0]], "float32")
LOGS = SCORES - np.log(np.exp(SCORES).sum(-1, keepdims=True))


@pytest.mark.parametrize(
    "name, target", [("categorical", np.eye(3, dtype="float32")[[0, 2]]), ("sparse", [0, 2])]
)
def test_from_logits_comes_third_and_axis_fourth(name, target):
    prefix = "" if name == "categorical" else "sparse_"
    loss = getattr(K, f"{prefix}categorical_crossentropy")
    expected = -LOGS[[0, 1], [0, 2]]
    np.testing.assert_allclose(K.eval(loss(target, SCORES, True)), expected, rtol=1e-6)
    np.testing.assert_allclose(K.eval(loss(target, np.exp(LOGS), False, -1)), expected, rtol=1e-5)
    first = loss(np.transpose(target), SCORES.T, True, 0)
    np.testing.assert_allclose(K.eval(first), expected, rtol=1e-6)
