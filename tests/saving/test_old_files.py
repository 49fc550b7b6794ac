"""Files of Keras 1, of Theano, of cuDNN's layers, and of Keras 3: names and layouts of weights."""

import json
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest

from gpunet import layers
from gpunet.errors import FileFormatError, ShapeError
from gpunet.models import Model, Sequential, load_model
from gpunet.regularizers import L1L2
from gpunet.saving.config import layer_from_config
from gpunet.saving.dialects import MAX_DEPTH, modern
from gpunet.saving.hdf5 import write_names

STORED = Path(__file__).resolve().parents[1] / "fixtures" / "keras" / "old_weights.json"
CASES = json.loads(STORED.read_text(encoding="utf8"))["cases"]


def write_weights(path, arrays, version=None, backend=None, name="any"):
    """Write the arrays of one layer as a Keras of some version and backend would."""
    with h5py.File(path, "w") as file:
        write_names(file, "layer_names", [name])
        if version:
            file.attrs["keras_version"] = version
        if backend:
            file.attrs["backend"] = backend
        group = file.create_group(name)
        write_names(group, "weight_names", [f"w{i}" for i in range(len(arrays))])
        for i, array in enumerate(arrays):
            group[f"w{i}"] = array


def single(layer, shape):
    return Sequential([layers.InputLayer(shape), layer])


# -- weights ----------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
@pytest.mark.parametrize("nested", [False, True])
def test_weights_of_older_layouts(case, nested, tmp_path):
    rng = np.random.RandomState(case["number"])
    arrays = [rng.randint(-99, 99, shape).astype("float32") for shape in case["shapes"]]
    version = {"2": "2.2.4", "1": None}[case["version"]]
    write_weights(tmp_path / "old.h5", arrays, version)
    model = single(layer_from_config(case["layer"]), case["shape"])
    if nested:
        model = single(model, case["shape"])
    model.load_weights(tmp_path / "old.h5")
    for got, want in zip(model.get_weights(), case["arrays"], strict=True):
        np.testing.assert_allclose(got, np.array(want, "float32"))


def test_nested_models_of_gates_and_statistics(tmp_path):
    """In a nested model the statistics come last, and each gate of Keras 1 has its own arrays."""
    inner = single(layers.LSTM(2, return_sequences=True), (4, 3))
    inner.add(layers.BatchNormalization())
    inner.add(layers.GRU(2))
    rng = np.random.default_rng(0)
    lstm = [rng.random(s).astype("f4") for s in [(3, 2), (2, 2), (2,)] * 4]
    gru = [rng.random(s).astype("f4") for s in [(2, 2), (2, 2), (2,)] * 3]
    norm = [rng.random(2).astype("f4") for _ in range(4)]
    write_weights(tmp_path / "old.h5", [*lstm, *norm[:2], *gru, *norm[2:]], "1.2.2")
    model = single(inner, (4, 3))
    model.load_weights(tmp_path / "old.h5")
    got = inner.layers[0].get_weights()
    np.testing.assert_array_equal(got[0], np.concatenate([lstm[i] for i in (0, 6, 3, 9)], axis=1))
    for a, b in zip(inner.layers[1].get_weights(), norm, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(
        inner.layers[2].get_weights()[2], np.concatenate([gru[i] for i in (2, 5, 8)])
    )


@pytest.mark.parametrize(
    "plain, fused",
    [(layers.LSTM, layers.CuDNNLSTM), (lambda n: layers.GRU(n, reset_after=True), layers.CuDNNGRU)],
    ids=["LSTM", "GRU"],
)
def test_cudnn_both_ways(plain, fused, tmp_path):
    x = np.random.default_rng(0).standard_normal((3, 5, 4)).astype("f4")
    models = [single(plain(3), (5, 4)), single(fused(3), (5, 4))]
    for source, target in (models, models[::-1]):
        source.set_weights([np.random.default_rng(1).random(w.shape) for w in source.get_weights()])
        source.save_weights(tmp_path / "w.h5")
        target.load_weights(tmp_path / "w.h5")
        np.testing.assert_allclose(target.predict(x), source.predict(x), rtol=1e-5, atol=1e-6)


def test_cudnn_does_not_fit_the_older_gru(tmp_path):
    single(layers.CuDNNGRU(3), (5, 4)).save_weights(tmp_path / "w.h5")
    model = single(layers.GRU(3, reset_after=False), (5, 4))
    with pytest.raises(ShapeError, match=r"GRU.*bias.*\(9,\).*\(18,\)"):
        model.load_weights(tmp_path / "w.h5")


@pytest.mark.parametrize(
    "kind, shape",
    [("Conv1D", (9, 2)), ("Conv2D", (7, 6, 2)), ("Conv3D", (5, 5, 4, 2)),
     ("Conv2DTranspose", (5, 4, 2)), ("ConvLSTM2D", (3, 6, 6, 2))],
)  # fmt: skip
def test_kernels_of_theano_are_turned(kind, shape, tmp_path):
    model = single(getattr(layers, kind)(3, 3), shape)
    want = model.get_weights()
    turns = {"ConvLSTM2D": 2}.get(kind, 1)
    axes = tuple(range(want[0].ndim - 2))
    stored = [np.flip(w, axes) if i < turns else w for i, w in enumerate(want)]
    write_weights(tmp_path / "theano.h5", stored, "2.1.6", "theano")
    model.set_weights([np.zeros_like(w) for w in want])
    model.load_weights(tmp_path / "theano.h5")
    for a, b in zip(model.get_weights(), want, strict=True):
        np.testing.assert_array_equal(a, b)
    write_weights(tmp_path / "cntk.h5", want, "2.1.6", "cntk")
    model.load_weights(tmp_path / "cntk.h5")
    np.testing.assert_array_equal(model.get_weights()[0], want[0])


def test_a_failed_conversion_leaves_the_model(tmp_path):
    model = single(layers.LSTM(4), (5, 3))
    before = model.get_weights()
    write_weights(tmp_path / "w.h5", [np.zeros((3, 16)), np.zeros((4, 16)), np.zeros(31)], "2.2.4")
    with pytest.raises(ShapeError, match="bias"):
        model.load_weights(tmp_path / "w.h5")
    for a, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


# -- configs of Keras 1 -----------------------------------------------------------------------

L2 = {"name": "WeightRegularizer", "l1": 0.0, "l2": 0.01}
OLD = [
    ("Dense", {"output_dim": 4, "init": "he_normal", "bias": False, "W_regularizer": L2,
               "W_constraint": {"name": "MaxNorm", "m": 2, "axis": 0}, "input_dim": 3},
     layers.Dense(4, kernel_initializer="he_normal", use_bias=False,
                  kernel_regularizer=L1L2(l2=0.01), kernel_constraint="max_norm")),
    ("TimeDistributedDense", {"output_dim": 4}, layers.Dense(4)),
    ("Convolution2D", {"nb_filter": 4, "nb_row": 3, "nb_col": 2, "border_mode": "same",
                       "subsample": [2, 1], "dim_ordering": "tf", "bias": True},
     layers.Conv2D(4, (3, 2), padding="same", strides=(2, 1))),
    ("AtrousConvolution2D", {"nb_filter": 4, "nb_row": 3, "nb_col": 2, "atrous_rate": [2, 2],
                             "dim_ordering": "th"},
     layers.Conv2D(4, (3, 2), dilation_rate=2, data_format="channels_first")),
    ("Convolution1D", {"nb_filter": 4, "filter_length": 3, "subsample_length": 2, "input_dim": None,
                       "input_length": None}, layers.Conv1D(4, 3, strides=2)),
    ("Convolution3D", {"nb_filter": 4, "kernel_dim1": 3, "kernel_dim2": 2, "kernel_dim3": 1,
                       "dim_ordering": "tf"}, layers.Conv3D(4, (3, 2, 1))),
    ("Deconvolution2D", {"nb_filter": 4, "nb_row": 3, "nb_col": 3, "output_shape": [None, 9, 9, 4],
                         "subsample": [2, 2], "dim_ordering": "tf"},
     layers.Conv2DTranspose(4, 3, strides=2)),
    ("SeparableConvolution2D", {"nb_filter": 4, "nb_row": 3, "nb_col": 3, "depth_multiplier": 2,
                                "depthwise_init": "uniform", "dim_ordering": "tf"},
     layers.SeparableConv2D(4, 3, depth_multiplier=2, depthwise_initializer="uniform")),
    ("MaxPooling1D", {"pool_length": 3, "stride": 2, "border_mode": "valid"},
     layers.MaxPooling1D(3, 2)),
    ("AveragePooling2D", {"pool_size": [2, 3], "strides": [1, 1], "border_mode": "same",
                          "dim_ordering": "tf"},
     layers.AveragePooling2D((2, 3), 1, padding="same")),
    ("UpSampling1D", {"length": 3}, layers.UpSampling1D(3)),
    ("ZeroPadding2D", {"padding": [1, 2], "dim_ordering": "tf"}, layers.ZeroPadding2D((1, 2))),
    ("LSTM", {"output_dim": 4, "init": "glorot_uniform", "inner_init": "orthogonal",
              "forget_bias_init": "one", "inner_activation": "hard_sigmoid", "dropout_W": 0.1,
              "dropout_U": 0.2, "consume_less": "cpu", "U_regularizer": L2, "input_dim": 3},
     layers.LSTM(4, recurrent_activation="hard_sigmoid", dropout=0.1, recurrent_dropout=0.2,
                 recurrent_regularizer=L1L2(l2=0.01))),
    ("GRU", {"output_dim": 4, "inner_activation": "hard_sigmoid", "consume_less": "gpu"},
     layers.GRU(4, recurrent_activation="hard_sigmoid")),
    ("Embedding", {"input_dim": 9, "output_dim": 4, "init": "uniform", "dropout": 0.0,
                   "W_constraint": {"name": "NonNeg"}},
     layers.Embedding(9, 4, embeddings_constraint="non_neg")),
    ("BatchNormalization", {"mode": 0, "axis": 1, "beta_init": "zero", "gamma_init": "one",
                            "epsilon": 1e-5, "momentum": 0.9},
     layers.BatchNormalization(axis=1, epsilon=1e-5, momentum=0.9)),
    ("Dropout", {"p": 0.3}, layers.Dropout(0.3)),
    ("GaussianNoise", {"sigma": 0.3}, layers.GaussianNoise(0.3)),
    ("PReLU", {"init": "one", "shared_axes": [1]}, layers.PReLU("ones", shared_axes=[1])),
]  # fmt: skip


@pytest.mark.parametrize("name, config, today", OLD, ids=[o[0] for o in OLD])
def test_arguments_of_keras_1(name, config, today):
    entry = {"class_name": name, "config": {"name": today.name, "trainable": True, **config}}
    got = layer_from_config(modern(entry))
    assert type(got) is type(today)
    assert as_json(got) == as_json(today)
    # Inside of a wrapper too.
    outer = {"class_name": "TimeDistributed", "config": {"name": "w", "layer": entry}}
    assert as_json(layer_from_config(modern(outer)).layer) == as_json(today)


def as_json(layer):
    config = layer.get_config()
    for key, value in config.items():  # the same number as an array of one for each axis
        if isinstance(value, (tuple, list)) and len(set(map(str, value))) == 1:
            config[key] = value[0]
    return json.loads(json.dumps(config))


EMBEDDING = {"dropout": 0.5, "init": "uniform", "input_dim": 3, "output_dim": 2}


@pytest.mark.parametrize(
    "name, config", [("BatchNormalization", {"mode": 2}), ("Embedding", EMBEDDING)]
)
def test_what_only_keras_1_had(name, config):
    with pytest.raises(FileFormatError, match="Keras 1 has no counterpart"):
        modern({"class_name": name, "config": config})


def test_a_whole_file_of_keras_1(tmp_path):
    """A bare list of layers, no version anywhere, bytes and str."""
    config = [
        {"class_name": "Convolution1D", "config": {
            "name": "convolution1d_1", "batch_input_shape": [None, 8, 3], "input_dtype": "float32",
            "nb_filter": 4, "filter_length": 3, "border_mode": "valid", "subsample_length": 1,
            "init": "glorot_uniform", "activation": "relu", "trainable": True, "bias": True,
            "W_regularizer": None, "b_regularizer": None, "activity_regularizer": None,
            "W_constraint": None, "b_constraint": None, "input_dim": 3, "input_length": 8}},
        {"class_name": "LSTM", "config": {
            "name": "lstm_1", "output_dim": 2, "init": "glorot_uniform", "trainable": True,
            "inner_init": "orthogonal", "forget_bias_init": "one", "activation": "tanh",
            "inner_activation": "hard_sigmoid", "return_sequences": False, "go_backwards": False,
            "stateful": False, "unroll": False, "consume_less": "cpu", "input_dim": 4,
            "W_regularizer": None, "U_regularizer": None, "b_regularizer": None, "dropout_W": 0.0,
            "dropout_U": 0.0, "input_length": None}},
        {"class_name": "Dense", "config": {"name": "dense_1", "output_dim": 1, "init": "uniform",
         "activation": "linear", "trainable": True, "input_dim": None, "bias": True}},
    ]  # fmt: skip
    training = {
        "optimizer_config": {"class_name": "SGD", "config": {"lr": 0.1, "momentum": 0.0,
                             "decay": 0.0, "nesterov": False}},
        "loss": "mse", "metrics": [], "sample_weight_mode": None, "loss_weights": None,
    }  # fmt: skip
    rng = np.random.default_rng(0)
    arrays = {
        "convolution1d_1": [(3, 1, 3, 4), (4,)],
        "lstm_1": [(4, 2), (2, 2), (2,)] * 4,
        "dense_1": [(2, 1), (1,)],
    }
    arrays = {k: [rng.standard_normal(s).astype("f4") for s in v] for k, v in arrays.items()}
    with h5py.File(tmp_path / "old.h5", "w") as file:
        file.attrs["model_config"] = json.dumps(
            {"class_name": "Sequential", "config": config}
        ).encode()
        file.attrs["training_config"] = json.dumps(training).encode()
        weights = file.create_group("model_weights")
        weights.attrs["layer_names"] = [n.encode() for n in arrays]
        for name, values in arrays.items():
            group = weights.create_group(name)
            group.attrs["weight_names"] = [f"{name}_{i}".encode() for i in range(len(values))]
            for i, value in enumerate(values):
                group[f"{name}_{i}"] = value
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = load_model(tmp_path / "old.h5")

    conv, lstm, dense = arrays.values()
    today = Sequential(
        [
            layers.Conv1D(4, 3, activation="relu", input_shape=(8, 3)),
            layers.LSTM(2, recurrent_activation="hard_sigmoid"),
            layers.Dense(1),
        ]
    )
    gates = [[lstm[3 * g + i] for g in (0, 2, 1, 3)] for i in range(3)]
    today.set_weights([conv[0][:, 0], conv[1], *[np.concatenate(g, -1) for g in gates], *dense])
    x = rng.standard_normal((4, 8, 3)).astype("f4")
    np.testing.assert_allclose(model.predict(x), today.predict(x), rtol=1e-5)
    assert np.isfinite(model.train_on_batch(x, np.ones((4, 1))))
    model.save(tmp_path / "today.h5")
    np.testing.assert_array_equal(load_model(tmp_path / "today.h5").predict(x), model.predict(x))


# -- Keras 3, and keys that nobody knows --------------------------------------------------------


def test_functions_of_keras_3_that_have_an_old_name():
    entry = {"class_name": "Activation", "config": {"activation": "hard_sigmoid"}}
    x = np.linspace(-4, 4, 9, dtype="f4")
    newer = layer_from_config(modern(entry, version="3.15.1"))(x).numpy()
    older = layer_from_config(modern(entry, version="2.4.0"))(x).numpy()
    np.testing.assert_allclose(newer, np.clip(x + 3, 0, 6) / 6, rtol=1e-6)
    np.testing.assert_allclose(older, np.clip(0.2 * x + 0.5, 0, 1), rtol=1e-6)


def test_keys_that_change_nothing_are_listed_in_one_warning(tmp_path):
    path = tmp_path / "m.h5"
    Sequential([layers.Dense(2, input_shape=(3,), name="d")]).save(path)
    edit(path, lambda c: c["layers"][1]["config"].update(sparkle=None, lora_rank=None, flags=[]))
    with pytest.warns(UserWarning, match="ignored.*'sparkle' of Dense 'd'.*'lora_rank'.*'flags'"):
        load_model(path)
    edit(path, lambda c: c["layers"][1]["config"].update(sparkle=0.5))
    with (
        pytest.warns(UserWarning, match="lora_rank"),
        pytest.raises(TypeError, match="'d': unknown argument 'sparkle'"),
    ):
        load_model(path)


def edit(path, change):
    with h5py.File(path, "a") as file:
        config = json.loads(file.attrs["model_config"])
        change(config["config"])
        file.attrs["model_config"] = json.dumps(config)


def test_custom_classes_get_what_is_written(tmp_path):
    class Dense(layers.Layer):
        def __init__(self, p=None, lora_rank=3, **kwargs):
            super().__init__(**kwargs)
            self.p, self.lora_rank = p, lora_rank

    entry = {"class_name": "Dense", "config": {"p": 0.5, "lora_rank": None, "init": "x"}}
    assert modern(entry, {"Dense": Dense}) == entry


def test_depth_is_bounded():
    nest = []
    for _ in range(MAX_DEPTH + 1):
        nest = [nest]
    with pytest.raises(FileFormatError, match="levels deep"):
        modern({"class_name": "Sequential", "config": {"layers": nest}})


def test_files_of_models_that_later_versions_open(tmp_path):
    """What some Keras doesn't know is left out where it says nothing."""
    a = layers.Input((4, 4, 2))
    model = Model(a, layers.SpatialDropout2D(0.1)(a))
    model.save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5") as file:
        config = json.loads(file.attrs["model_config"])["config"]["layers"][1]["config"]
    assert "trainable" not in config
    model.layers[1].trainable = False
    model.save(tmp_path / "m.h5")
    assert load_model(tmp_path / "m.h5").layers[1].trainable is False
