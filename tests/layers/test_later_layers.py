"""Identity, EinsumDense and SpectralNormalization beside the real Keras."""

import json

import numpy as np
import pytest
from later_values import cases

from gpunet import layers, models, ops
from gpunet.autodiff import GradientTape
from gpunet.errors import ShapeError
from gpunet.tensor import Tensor


@pytest.mark.parametrize("case", cases("einsum"))
def test_einsum_values_of_keras(case):
    layer = layers.EinsumDense(**case["config"])
    x = Tensor(np.array(case["x"], "float32"))
    shape = layers.Input(batch_shape=(None, *x.shape[1:]))
    assert tuple(layer(shape).shape) == (None, *np.shape(case["y"])[1:])
    layer.set_weights([np.array(w) for w in case["weights"]])
    with GradientTape() as tape:
        tape.watch(x)
        y = layer(x)
        total = ops.sum(ops.square(y))
    grads = tape.gradient(total, [x, *layer.weights])
    np.testing.assert_allclose(y.numpy(), case["y"], rtol=1e-5, atol=1e-5)
    for g, expected in zip(grads, case["grads"], strict=True):
        np.testing.assert_allclose(g.numpy(), expected, rtol=1e-4, atol=1e-4)
    again = layers.EinsumDense.from_config(json.loads(json.dumps(layer.get_config())))
    assert again.get_config() == layer.get_config()
    again(x)
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(again(x), layer(x))


@pytest.mark.parametrize(
    "equation, output_shape, bias_axes, error",
    [
        ("ab->a", 3, None, ValueError),
        ("ab,bc->ad", 3, None, ValueError),
        ("aa,ab->ab", 3, None, ValueError),
        ("ab,bc->ac", (3, 4), None, ShapeError),
        ("abc,cd->abd", 3, None, ShapeError),
        ("ab,bc->ab", 3, None, ShapeError),
        ("ab,bc->ac", 3, "z", ValueError),
    ],
)
def test_einsum_errors(equation, output_shape, bias_axes, error):
    with pytest.raises(error, match="EinsumDense"):
        layers.EinsumDense(equation, output_shape, bias_axes=bias_axes)(layers.Input((4,)))


@pytest.mark.parametrize("case", cases("normed"))
def test_spectral_normalization_of_keras(case):
    inner = getattr(layers, case["class"])(**case["config"])
    layer = layers.SpectralNormalization(inner, power_iterations=2, name="sn")
    x = np.array(case["x"], "float32")
    layer(x)
    assert [w.name for w in layer.weights] == case["names"]
    layer.set_weights([np.array(w) for w in case["weights"]])
    np.testing.assert_allclose(layer(x, training=True).numpy(), case["y"], rtol=1e-4, atol=1e-5)
    for w, expected in zip(layer.get_weights(), case["after"], strict=True):
        np.testing.assert_allclose(w, expected, rtol=1e-4, atol=1e-5)
    again = type(layer).from_config(json.loads(json.dumps(layer.get_config())))
    assert again.power_iterations == 2 and type(again.layer) is type(inner)


def test_spectral_normalization_trains_and_keeps_zeros():
    inner = layers.Dense(2, kernel_initializer="zeros")
    layer = layers.SpectralNormalization(inner)
    x = np.ones((3, 4), "float32")
    np.testing.assert_array_equal(layer(x, training=True).numpy(), 0)
    model = models.Sequential([layers.SpectralNormalization(layers.Dense(2), input_shape=(4,))])
    model.compile("sgd", "mse")
    model.fit(x, np.ones((3, 2)), verbose=0)
    with pytest.raises(ValueError, match="neither"):
        layers.SpectralNormalization(layers.ReLU())(x)


def test_identity():
    layer = layers.Identity()
    x = np.arange(6).reshape(2, 3)
    np.testing.assert_array_equal(layer(x).numpy(), x)
    assert layer(layers.Input((3,), dtype="int32")).dtype == "int32"
    assert layers.Identity.from_config(layer.get_config()).name == layer.name
