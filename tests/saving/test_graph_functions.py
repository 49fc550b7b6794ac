"""Models that use functions on symbolic tensors run and copy, and say why they can't be saved."""

import copy

import numpy as np
import pytest

from gpunet import Input, Model
from gpunet import backend as K
from gpunet.layers import Dense


def with_op(x):
    return K.exp(x) + 1.0


def with_expression(x):
    return K.in_train_phase(x, K.ones_like(x))


@pytest.mark.parametrize("function", [with_op, with_expression])
def test_refused_before_anything_is_written(tmp_path, function, rng):
    inputs = Input((4,))
    model = Model(inputs, Dense(2)(function(inputs)))
    x = rng.standard_normal((3, 4)).astype("float32")
    y = model.predict(x)
    path = tmp_path / "model.h5"
    path.write_bytes(b"old")
    with pytest.raises(NotImplementedError, match="on symbolic tensors.*Lambda"):
        model.save(path)
    assert path.read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1
    np.testing.assert_array_equal(copy.deepcopy(model).predict(x), y)

    model.save_weights(tmp_path / "weights.h5")
    other = Model(inputs, Dense(2)(function(inputs)))
    other.load_weights(tmp_path / "weights.h5")
    np.testing.assert_array_equal(other.predict(x), y)
