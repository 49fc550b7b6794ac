"""Calls as Keras 1 had them: the layer of today, with a warning that says what to write."""

import numpy as np
import pytest

import gpunet
from gpunet import backend as K
from gpunet import layers, models
from gpunet.regularizers import l2

# Old call -> the same in Keras 2.
CALLS = {
    "Dense": (
        {"output_dim": 4, "input_dim": 3, "init": "uniform", "bias": False},
        {"units": 4, "input_shape": (3,), "kernel_initializer": "uniform", "use_bias": False},
    ),
    "Conv2D": (
        {
            "nb_filter": 8,
            "nb_row": 3,
            "nb_col": 2,
            "border_mode": "same",
            "subsample": (2, 1),
            "W_regularizer": l2(0.01),
            "dim_ordering": "tf",
        },
        {
            "filters": 8,
            "kernel_size": (3, 2),
            "padding": "same",
            "strides": (2, 1),
            "kernel_regularizer": l2(0.01),
            "data_format": "channels_last",
        },
    ),
    "Conv1D": (
        {
            "nb_filter": 8,
            "filter_length": 3,
            "subsample_length": 2,
            "input_length": 10,
            "input_dim": 4,
        },
        {"filters": 8, "kernel_size": 3, "strides": 2, "input_shape": (10, 4)},
    ),
    "MaxPooling2D": (
        {"pool_size": (2, 2), "border_mode": "same"},
        {"pool_size": (2, 2), "padding": "same"},
    ),
    "MaxPooling1D": ({"pool_length": 3, "stride": 2}, {"pool_size": 3, "strides": 2}),
    "LSTM": (
        {
            "output_dim": 4,
            "inner_activation": "relu",
            "dropout_W": 0.2,
            "dropout_U": 0.1,
            "forget_bias_init": "zero",
            "consume_less": "gpu",
        },
        {
            "units": 4,
            "recurrent_activation": "relu",
            "dropout": 0.2,
            "recurrent_dropout": 0.1,
            "unit_forget_bias": False,
        },
    ),
    "Embedding": (
        {"input_dim": 9, "output_dim": 2, "init": "normal", "dropout": 0.0},
        {"input_dim": 9, "output_dim": 2, "embeddings_initializer": "normal"},
    ),
    "BatchNormalization": (
        {"mode": 0, "axis": 1, "beta_init": "one"},
        {"axis": 1, "beta_initializer": "one"},
    ),
    "Dropout": ({"p": 0.5}, {"rate": 0.5}),
    "GaussianNoise": ({"sigma": 0.1}, {"stddev": 0.1}),
    "UpSampling1D": ({"length": 3}, {"size": 3}),
    "ZeroPadding2D": (
        {"padding": (1, 1), "dim_ordering": "th"},
        {"padding": (1, 1), "data_format": "channels_first"},
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_same_layer_as_the_call_of_today(name):
    old, today = CALLS[name]
    with pytest.warns(UserWarning, match=f"Update your `{name}` call to the Keras 2 API: `{name}"):
        made = getattr(layers, name)(**old, name="x")
    expected = getattr(layers, name)(**today, name="x")
    assert made.get_config() == expected.get_config()
    again = type(made).from_config(made.get_config())
    assert again.get_config() == made.get_config()


def test_kernel_sizes_one_by_one():
    with pytest.warns(UserWarning, match=r"Conv2D\(8, kernel_size=\(3, 5\), padding='same'"):
        layer = layers.Convolution2D(8, 3, 5, border_mode="same", input_shape=(9, 9, 2))
    model = models.Sequential([layer])
    assert layer.kernel.shape == (3, 5, 2, 8) and model.output_shape == (None, 9, 9, 8)
    assert layers.Conv2D(8, 3, 2).strides == (2, 2)  # nothing else speaks of Keras 1


def test_subclasses_hand_old_arguments_on():
    class Half(layers.Dense):
        def __init__(self, size, **kwargs):
            super().__init__(output_dim=size // 2, **kwargs)
            self.size = size

    with pytest.warns(UserWarning, match=r"Dense\(units=3"):
        half = Half(6, input_dim=2)
    assert half.units == 3
    assert models.Sequential([half]).predict(np.ones((1, 2))).shape == (1, 3)


def test_what_has_no_counterpart_is_an_error():
    with pytest.raises(ValueError, match="BatchNormalization None: mode=2 of Keras 1 has no"):
        layers.BatchNormalization(mode=2)
    with pytest.raises(TypeError, match="Dense 'd': unknown argument 'border_mode'"):
        layers.Dense(2, border_mode="same", name="d")


def test_order_of_axes_by_its_old_name():
    assert K.image_dim_ordering() == "tf"
    try:
        K.set_image_dim_ordering("th")
        assert gpunet.config.image_data_format() == "channels_first"
        assert K.image_dim_ordering() == "th"
    finally:
        K.set_image_data_format("channels_last")
    with pytest.raises(ValueError, match="expected 'tf' or 'th', got 'channels_last'"):
        K.set_image_dim_ordering("channels_last")
