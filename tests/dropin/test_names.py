"""Which modules stand behind names: old paths, defaults of tensorflow.keras, versions."""

import copy
import importlib
import inspect
import pickle
import subprocess
import sys

import numpy as np
import pytest

import gpunet
from gpunet.dropin.defaults import TF_DEFAULTS
from gpunet.old_paths import OLD_PATHS

# Old path and names that Keras 2.3.1 has there.
OLD_NAMES = {
    "layers.core": "Dense Dropout Activation Flatten Reshape Permute RepeatVector Lambda Masking",
    "layers.convolutional": "Conv2D Convolution2D MaxPooling2D ZeroPadding2D UpSampling2D",
    "layers.pooling": "MaxPooling1D GlobalAveragePooling2D",
    "layers.recurrent": "RNN SimpleRNN LSTM GRU LSTMCell",
    "layers.embeddings": "Embedding",
    "layers.merge": "Add Concatenate add concatenate",
    "layers.normalization": "BatchNormalization",
    "layers.advanced_activations": "LeakyReLU PReLU",
    "layers.noise": "GaussianNoise",
    "layers.local": "LocallyConnected1D",
    "layers.wrappers": "Wrapper TimeDistributed Bidirectional",
    "layers.convolutional_recurrent": "ConvLSTM2D",
    "layers.cudnn_recurrent": "CuDNNLSTM",
    "engine": "Input InputLayer InputSpec Layer Model",
    "engine.topology": "Input InputLayer InputSpec Layer Node",
    "engine.training": "Model",
    "engine.base_layer": "Layer InputSpec",
    "engine.input_layer": "Input InputLayer",
    "engine.network": "Model",
    "engine.sequential": "Sequential",
    "engine.saving": "save_model load_model model_from_json",
    "legacy.layers": "Merge",
    "objectives": "mean_squared_error categorical_crossentropy mse",
    "utils.np_utils": "to_categorical normalize",
    "utils.generic_utils": "CustomObjectScope get_custom_objects serialize_keras_object",
    "utils.data_utils": "get_file Sequence",
    "utils.vis_utils": "plot_model model_to_dot",
    "utils.conv_utils": "normalize_tuple normalize_padding conv_output_length",
    "backend.tensorflow_backend": "dot floatx",
    "callbacks.callbacks": "EarlyStopping",
    "layers.experimental.preprocessing": "Normalization",
}


@pytest.mark.parametrize("path", OLD_NAMES)
def test_old_paths(path, keras):
    for root in ("gpunet", "keras", "tensorflow.keras"):
        module = importlib.import_module(f"{root}.{path}")
        for name in OLD_NAMES[path].split():
            assert getattr(module, name) is not None
            assert name in module.__all__ or name == "Node"


@pytest.mark.parametrize("path", OLD_PATHS)
def test_old_paths_lead_somewhere(path):
    module = importlib.import_module(f"gpunet.{path}")
    assert module.__all__ and dir(module)
    with pytest.raises(AttributeError):
        print(module.no_such_name)


def test_old_paths_as_attributes(keras):
    assert keras.engine.topology.Layer is gpunet.layers.Layer
    assert keras.utils.np_utils.to_categorical is gpunet.utils.to_categorical
    assert gpunet.utils.conv_utils.conv_output_length(10, 3, "valid", 2) == 4
    with pytest.raises(AttributeError, match="module 'gpunet.utils' has no attribute 'nothing'"):
        print(gpunet.utils.nothing)


def test_nothing_is_made_at_import():
    code = "import sys, gpunet; print([m for m in sys.modules if m.startswith('gpunet.dropin')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_versions_and_identity(tf, keras):
    assert keras.__version__ == "2.3.1" and tf.__version__ == tf.keras.__version__ == "2.4.0"
    assert keras.layers is gpunet.layers
    assert keras.Model is tf.keras.Model is gpunet.Model
    assert tf.keras.layers.Dense is gpunet.layers.Dense
    assert tf.optimizers.Adam is tf.keras.optimizers.Adam is gpunet.optimizers.Adam
    assert set(gpunet.layers.__all__) == set(tf.keras.layers.__all__)


def test_setting_a_name_reaches_gpunet(tf, monkeypatch):
    monkeypatch.setattr(gpunet.backend, "mine", 1, raising=False)
    tf.keras.backend.mine = 2
    assert gpunet.backend.mine == 2


# -- defaults -----------------------------------------------------------------------------


def test_defaults_are_those_of_tf_keras(tf, keras):
    for module, table in TF_DEFAULTS.items():
        for name, defaults in table.items():
            ours = inspect.signature(getattr(getattr(keras, module), name)).parameters
            theirs = inspect.signature(getattr(getattr(tf.keras, module), name)).parameters
            assert list(ours) == list(theirs)
            for p in ours:
                assert theirs[p].default == defaults.get(p, ours[p].default)
                assert p not in defaults or ours[p].default != defaults[p]


def test_gru_by_name(tf, keras, tmp_path):
    x = np.ones((2, 3, 4), "float32")
    model = tf.keras.Sequential([tf.keras.layers.GRU(5, input_shape=(3, 4))])
    assert model.layers[0].reset_after and model.weights[2].shape == (2, 15)
    assert not keras.layers.GRU(5).reset_after
    assert not tf.keras.layers.GRU(5, reset_after=False).reset_after
    assert isinstance(model.layers[0], keras.layers.GRU)
    assert isinstance(keras.layers.GRU(5), tf.keras.layers.GRU)
    assert not isinstance(keras.layers.LSTM(5), tf.keras.layers.GRU)
    assert model.get_config()["layers"][-1]["class_name"] == "GRU"
    model.save(tmp_path / "m.h5")
    for again in (
        gpunet.models.load_model(tmp_path / "m.h5"),
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
    ):
        np.testing.assert_array_equal(model.predict(x), again.predict(x))
        assert isinstance(again.layers[0], tf.keras.layers.GRU)

    class Mine(tf.keras.layers.GRU):
        pass

    assert Mine(3).reset_after and not isinstance(tf.keras.layers.GRU(3), Mine)
    assert isinstance(Mine(3), keras.layers.GRU) and issubclass(Mine, tf.keras.layers.GRU)


def test_optimizers_by_class_and_by_name(tf, keras):
    new = tf.keras.optimizers
    assert float(new.Adagrad().lr) == pytest.approx(0.001)
    assert float(new.Adagrad(0.5).lr) == float(new.Adagrad(lr=0.5).lr) == 0.5
    assert float(new.Adagrad(learning_rate=0.5).lr) == 0.5
    assert float(keras.optimizers.Adagrad().lr) == pytest.approx(0.01)
    assert new.Adagrad().get_config()["initial_accumulator_value"] == 0.1
    assert float(new.get("nadam").lr) == pytest.approx(0.001)
    again = new.deserialize(new.serialize(new.Adamax(0.25)))
    assert isinstance(again, new.Adamax) and float(again.lr) == 0.25


def test_names_of_optimizers_are_put_back():
    from gpunet import dropin

    def rate():
        return float(gpunet.optimizers.get("adadelta").lr)

    was_installed = any(type(f).__name__ == "_Finder" for f in sys.meta_path)
    dropin.install()
    importlib.import_module("tensorflow.keras")
    assert rate() == pytest.approx(0.001)
    dropin.uninstall()
    assert rate() == 1.0
    if was_installed:
        dropin.install()
