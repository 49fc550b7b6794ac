import numpy as np
import pytest
from keras_values import ARRAYS, assert_close, expected, of_kind, tensor

from gpunet import activations, ops, registry
from gpunet.autodiff import GradientTape
from gpunet.tensor import Tensor

NAMES = [
    "elu", "exponential", "gelu", "hard_sigmoid", "linear", "mish", "relu", "selu", "sigmoid",
    "softmax", "softplus", "softsign", "swish", "tanh",
]  # fmt: skip


@pytest.mark.parametrize("case", of_kind("activation"))
@pytest.mark.filterwarnings("ignore:overflow encountered")
@pytest.mark.filterwarnings("ignore:invalid value encountered")
def test_values_and_gradients_are_keras(case):
    x, gy = (tensor(key) for key in case["inputs"])
    with GradientTape() as tape:
        tape.watch(x)
        y = getattr(activations, case["name"])(x, **case["options"])
        total = ops.sum(y * gy)
    if "y" in case["outputs"]:
        assert_close(y, case["outputs"]["y"])
    if "gx" in case["outputs"]:
        gx, want = np.asarray(tape.gradient(total, x)), expected(case["outputs"]["gx"])
        if case["name"] == "selu":  # at the kink TensorFlow takes the slope from the right
            kink = np.abs(ARRAYS[case["inputs"][0]]) < 1e-7
            gx, want = np.where(kink, 0, gx), np.where(kink, 0, want)
        np.testing.assert_allclose(gx, want, rtol=1e-5, atol=3e-6)


@pytest.mark.parametrize("name", NAMES)
def test_names_go_to_functions_and_back(name):
    function = activations.get(name)
    assert function is getattr(activations, name)
    assert activations.serialize(function) == name
    assert activations.deserialize(name) is function
    assert activations.get(function) is function


def test_get_takes_what_keras_takes():
    assert activations.get(None) is activations.linear
    assert activations.get("silu") is activations.swish
    assert activations.get(abs) is abs
    config = {"class_name": "function", "config": "relu", "registered_name": "relu"}
    assert activations.get(config) is activations.relu


def test_errors():
    with pytest.raises(ValueError, match="did you mean 'relu'"):
        activations.get("rellu")
    with pytest.raises(TypeError, match="activation"):
        activations.get(3)
    with pytest.raises(ValueError, match="two axes"):
        activations.softmax(np.ones(3, "float32"))


def test_custom_objects():
    def double(x):
        return x * 2

    with registry.custom_object_scope({"double": double}):
        assert activations.get("double") is double
    assert activations.deserialize("double", custom_objects={"double": double}) is double


def test_linear_is_the_tensor_itself():
    x = Tensor(np.ones(3, "float32"))
    assert activations.linear(x) is x
