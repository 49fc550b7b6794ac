"""Members of layers that later versions of Keras have, and old paths of modules."""

import importlib

import numpy as np
import pytest

from gpunet import layers, metrics, models

X = np.ones((2, 3), "float32")


def test_dtypes_and_parts():
    layer = layers.Dense(2, dtype="float64")
    assert layer.compute_dtype == layer.variable_dtype == layer.dtype_policy.name == "float64"
    assert layers.TimeDistributed(layer).submodules == (layer,)
    layer.mean = metrics.Mean()
    assert layer.metrics == [layer.mean] == layers.TimeDistributed(layer).metrics


def test_build_config():
    layer = layers.Dense(2)
    assert layer.get_build_config() is None
    layer(X)
    assert layer.get_build_config() == {"input_shape": (2, 3)}
    again = layers.deserialize(layers.serialize(layer))
    again.build_from_config(layer.get_build_config())
    assert [w.shape for w in again.weights] == [w.shape for w in layer.weights]
    again.build_from_config(None)


def test_losses_by_input():
    layer = layers.Dense(2, kernel_regularizer="l2", activity_regularizer="l2")
    layer(X)
    assert len(layer.get_losses_for(None)) == len(layer.get_losses_for(X)) == 1
    assert len(layer.losses) == 2


def test_updates_and_metrics():
    class Counting(layers.Layer):
        def build(self, input_shape):
            self.count = self.add_weight("count", (), initializer="zeros", trainable=False)
            self.other = self.add_weight("other", (), initializer="zeros", trainable=False)

        def call(self, inputs):
            self.add_update([(self.count, self.count + 1), lambda: self.other.assign(5)])
            return inputs

    layer = Counting()
    layer(X), layer(X), layer(layers.Input((3,)))
    assert [float(w) for w in layer.get_weights()] == [2, 5]
    with pytest.raises(ValueError, match="Counting.*needs a name"):
        layer.add_metric(1.0)


def test_a_model_has_the_metrics_it_is_compiled_with():
    model = models.Sequential([layers.Dense(1, input_shape=(3,))])
    model.compile("sgd", "mse", metrics=["mae"])
    model.fit(X, X[:, :1], verbose=0)
    assert "mean_absolute_error" in [m.name for m in model.metrics] or len(model.metrics) == 1


def test_constraints_of_both_directions():
    layer = layers.Bidirectional(layers.LSTM(2, kernel_constraint="non_neg"))
    layer(np.ones((2, 3, 4), "float32"))
    assert len(layer.constraints) == 2


@pytest.mark.parametrize(
    "name, held",
    [
        ("core", "Dense Flatten Reshape Permute RepeatVector Lambda Masking"),
        ("convolutional", "Conv1D Convolution2D MaxPooling2D ZeroPadding2D SeparableConv2D"),
        ("convolutional_recurrent", "ConvLSTM2D"),
        ("cudnn_recurrent", "CuDNNGRU CuDNNLSTM"),
    ],
)
def test_old_paths(name, held):
    module = importlib.import_module(f"gpunet.layers.{name}")
    for each in held.split():
        assert getattr(module, each) is getattr(layers, each)
