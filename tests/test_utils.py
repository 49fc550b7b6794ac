"""Helpers for scripts."""

import random

import numpy as np
import pytest

import gpunet
from gpunet import utils
from gpunet.ops import random as draws
from gpunet.tensor import Tensor


@pytest.mark.parametrize("make", [list, np.array, lambda y: Tensor(np.array(y))])
def test_to_categorical(make):
    rows = utils.to_categorical(make([0, 2, 1, 2]))
    assert type(rows) is np.ndarray and rows.dtype == "float32"
    assert rows.tolist() == [[1, 0, 0], [0, 0, 1], [0, 1, 0], [0, 0, 1]]


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [((), (5,)), ((1,), (1, 5)), ((4,), (4, 5)), ((4, 1), (4, 5)), ((4, 2), (4, 2, 5)),
     ((4, 2, 1), (4, 2, 5)), ((0,), (0, 5)), ((0, 1), (0, 5))],
)  # fmt: skip
def test_to_categorical_shapes(shape, wanted):
    y = np.full(shape, 3)
    rows = utils.to_categorical(y, 5, dtype="int8")
    assert rows.shape == wanted and rows.dtype == "int8"
    assert (rows.argmax(-1) == 3).all() and (rows.sum(-1) == 1).all()


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32", "bool"])
def test_to_categorical_of_any_numbers(dtype):
    assert utils.to_categorical(np.array([0, 1]).astype(dtype)).tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize(
    ("y", "classes", "text"),
    [
        ([0, 3], 3, "from 0 to 2, got 0 to 3"),
        ([-1, 1], None, "from 0 to 1, got -1 to 1"),
        ([], None, "num_classes is needed"),
        ([0.5], None, "whole numbers"),
        ([np.nan], None, "whole numbers"),
    ],
)
def test_to_categorical_errors(y, classes, text):
    with pytest.raises(ValueError, match=f"to_categorical: .*{text}"):
        utils.to_categorical(y, classes)


def test_normalize():
    x = np.array([[3.0, 4.0], [0.0, 0.0]])
    assert utils.normalize(x).tolist() == [[0.6, 0.8], [0.0, 0.0]]
    assert utils.normalize(x, axis=0).tolist() == [[1.0, 1.0], [0.0, 0.0]]
    np.testing.assert_allclose(utils.normalize(x, order=1)[0], [3 / 7, 4 / 7])
    assert utils.normalize([3, 4]).tolist() == [[0.6, 0.8]]  # two axes, as in Keras
    assert utils.normalize(x.astype("float32")).dtype == "float32"
    assert type(utils.normalize(Tensor(x))) is np.ndarray


def drawn():
    return [random.random(), np.random.rand(), draws.uniform((3,)).tolist()]


def test_seed_repeats_all_draws(seeds):
    utils.set_random_seed(7)
    first, then = drawn(), drawn()
    utils.set_random_seed(np.int64(7))
    assert drawn() == first and drawn() == then
    utils.set_random_seed(8)
    other = drawn()
    assert all(a != b for a, b in zip(other, first))


@pytest.mark.parametrize("wrong", [-1, 2**32, 1.0, "1", None, True])
def test_seed_errors(wrong):
    with pytest.raises(ValueError, match="set_random_seed: expected an int from 0 to"):
        utils.set_random_seed(wrong)


def test_layer_utils(capsys):
    from gpunet.utils import layer_utils

    a, b = gpunet.Input((6, 6, 1)), gpunet.Input((6, 6, 1))
    conv = gpunet.layers.Conv2D(1, 3)
    y = conv(gpunet.layers.add([a, b]))
    assert layer_utils.get_source_inputs(y) == [a, b]
    conv(a)
    assert layer_utils.get_source_inputs(None, conv, 1) == [a]
    model = gpunet.Model([a, b], y)
    before = conv.get_weights()
    layer_utils.convert_all_kernels_in_model(model)
    np.testing.assert_array_equal(conv.get_weights()[0], before[0][::-1, ::-1])
    layer_utils.print_summary(model, line_length=70)
    printed = capsys.readouterr().out
    model.summary(line_length=70)
    assert printed == capsys.readouterr().out and "conv2d" in printed
