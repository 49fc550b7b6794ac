import numpy as np
import pytest
from keras_values import assert_close, of_kind, tensor

from gpunet import regularizers
from gpunet.autodiff import GradientTape
from gpunet.tensor import Tensor


@pytest.mark.parametrize("case", of_kind("regularizer"))
def test_values_and_gradients_are_keras(case):
    w = tensor(case["inputs"][0])
    with GradientTape() as tape:
        tape.watch(w)
        value = getattr(regularizers, case["name"])(**case["config"])(w)
    assert_close(value, case["outputs"]["value"])
    assert_close(tape.gradient(value, w), case["outputs"]["gx"])


@pytest.mark.parametrize(
    "made, kind, config",
    [
        (regularizers.l1(0.1), "L1", {"l1": 0.1}),
        (regularizers.l2(0.1), "L2", {"l2": 0.1}),
        (regularizers.l2(l=0.1), "L2", {"l2": 0.1}),
        (regularizers.l1_l2(l1=0.1, l2=0.2), "L1L2", {"l1": 0.1, "l2": 0.2}),
        (regularizers.l1_l2(), "L1L2", {"l1": 0.01, "l2": 0.01}),
        (regularizers.L1L2(), "L1L2", {"l1": 0.0, "l2": 0.0}),
        (
            regularizers.OrthogonalRegularizer(0.1, "columns"),
            "OrthogonalRegularizer",
            {"factor": 0.1, "mode": "columns"},
        ),
    ],
)
def test_configs(made, kind, config):
    assert regularizers.serialize(made) == {"class_name": kind, "config": config}
    again = regularizers.deserialize(regularizers.serialize(made))
    assert type(again) is type(made) and again.get_config() == config


def test_get_takes_what_keras_takes():
    assert regularizers.get(None) is None
    assert regularizers.get("l2").get_config() == {"l2": 0.01}
    assert regularizers.get("l1_l2").get_config() == {"l1": 0.01, "l2": 0.01}
    assert regularizers.deserialize("l1_l2").get_config() == {"l1": 0.01, "l2": 0.01}
    assert regularizers.get("L1L2").get_config() == {"l1": 0.0, "l2": 0.0}
    assert regularizers.get(regularizers.L2).l2 == 0.01
    assert regularizers.get(abs) is abs
    rounded = {"class_name": "L2", "config": {"l2": np.float32(0.01)}, "module": "keras"}
    assert regularizers.get(rounded).get_config() == {"l2": pytest.approx(0.01)}


def test_a_zero_penalty_is_a_scalar():
    assert np.asarray(regularizers.L1L2()(Tensor(np.ones((2, 2), "float32")))) == 0


@pytest.mark.parametrize(
    "make, text",
    [
        (lambda: regularizers.L2("much"), "L2: expected a number as l2"),
        (lambda: regularizers.L1(float("nan")), "L1: expected a finite number"),
        (lambda: regularizers.L1L2(l2=float("inf")), "L1L2: expected a finite number as l2"),
        (lambda: regularizers.OrthogonalRegularizer(mode="diagonal"), "'rows' or 'columns'"),
        (lambda: regularizers.OrthogonalRegularizer()(np.ones(3, "float32")), "matrix"),
        (lambda: regularizers.get("l3"), "Unknown regularizer 'l3'"),
    ],
)
def test_errors(make, text):
    with pytest.raises(ValueError, match=text):
        make()


def test_subclasses():
    class Entropy(regularizers.Regularizer):
        def __call__(self, x):
            return x

    made = regularizers.deserialize(
        regularizers.serialize(Entropy()), custom_objects={"Entropy": Entropy}
    )
    assert isinstance(made, Entropy)
