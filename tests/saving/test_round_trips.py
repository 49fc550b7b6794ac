"""What is saved and loaded is the same, bit for bit, and goes on as if nothing had happened."""

import io
import json
import random

import h5py
import numpy as np
import pytest
from saving_models import classifier, data, same_weights, shared, stack, steps, two_headed

from gpunet import layers, optimizers, schedules
from gpunet.context import reset_uids
from gpunet.models import Model, Sequential, load_model, save_model
from gpunet.ops import random as gpunet_random

OPTIMIZERS = {
    "sgd": lambda: optimizers.SGD(0.1),
    "nesterov": lambda: optimizers.SGD(0.1, momentum=0.9, nesterov=True, decay=0.01),
    "clipped": lambda: optimizers.SGD(0.1, momentum=0.5, clipnorm=0.5),
    "scheduled": lambda: optimizers.SGD(schedules.ExponentialDecay(0.1, 4, 0.5)),
    "rmsprop": lambda: optimizers.RMSprop(0.01),
    "rmsprop_centered": lambda: optimizers.RMSprop(0.01, momentum=0.5, centered=True),
    "adagrad": lambda: optimizers.Adagrad(0.05),
    "adadelta": lambda: optimizers.Adadelta(1.0),
    "adam": lambda: optimizers.Adam(0.01),
    "amsgrad": lambda: optimizers.Adam(0.01, beta_2=0.6, amsgrad=True),
    "adam_new": lambda: optimizers.Adam(0.01, is_legacy_optimizer=False),
    "adamw": lambda: optimizers.AdamW(0.01),
    "adamax": lambda: optimizers.Adamax(0.01),
    "nadam": lambda: optimizers.Nadam(0.01),
    "nadam_new": lambda: optimizers.Nadam(0.01, is_legacy_optimizer=False),
    "ftrl": lambda: optimizers.Ftrl(0.05),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("build", [classifier, stack])
def test_training_goes_on_bit_for_bit(build, name, tmp_path):
    x, y, _ = data()
    model = build()
    model.compile(OPTIMIZERS[name](), "categorical_crossentropy", metrics=["accuracy"])
    steps(model, x, y, 5)
    model.save(tmp_path / "m.h5")
    again = load_model(tmp_path / "m.h5")
    same_weights(again, model)
    assert again.optimizer.get_config() == model.optimizer.get_config()
    state = again.optimizer.get_weights(), model.optimizer.get_weights()
    for a, b in zip(*state, strict=True):
        np.testing.assert_array_equal(a, b)
    assert again.evaluate(x, y, verbose=0) == model.evaluate(x, y, verbose=0)
    assert steps(again, x, y, 7) == steps(model, x, y, 7)
    same_weights(again, model)


def test_a_fit_goes_on_bit_for_bit(tmp_path):
    x, y, _ = data()
    model = classifier()
    model.compile("adam", "categorical_crossentropy")
    model.fit(x, y, batch_size=5, epochs=2, shuffle=False, verbose=0)
    model.save(tmp_path / "m.h5")
    again = load_model(tmp_path / "m.h5")
    histories = [
        m.fit(x, y, batch_size=5, epochs=5, initial_epoch=2, shuffle=False, verbose=0).history
        for m in (model, again)
    ]
    assert histories[0] == histories[1]


@pytest.mark.parametrize("build", [classifier, stack, two_headed, shared])
def test_structure_and_outputs(build, tmp_path):
    model = build()
    model.save(tmp_path / "m.h5")
    again = load_model(tmp_path / "m.h5")
    assert type(again) is type(model)
    assert again.name == model.name
    assert [layer.name for layer in again.layers] == [layer.name for layer in model.layers]
    assert [w.name for w in again.weights] == [w.name for w in model.weights]
    assert again.to_json() == model.to_json()
    same_weights(again, model)
    x = data()[0]
    x = [x, x[::-1]] if len(model.inputs) == 2 else x
    for a, b in zip(again.predict_on_batch(x), model.predict_on_batch(x), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_second_file_has_the_same_content(tmp_path):
    x, y, _ = data()
    model = classifier()
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    steps(model, x, y)
    model.save(tmp_path / "a.h5")
    load_model(tmp_path / "a.h5").save(tmp_path / "b.h5")
    contents = []
    for name in "ab":
        with h5py.File(tmp_path / f"{name}.h5") as file:
            found = {"": {k: str(v) for k, v in file.attrs.items()}}
            file.visititems(
                lambda path, part, found=found: found.update(
                    {
                        path: part[()].tolist()
                        if isinstance(part, h5py.Dataset)
                        else {k: str(v) for k, v in part.attrs.items()}
                    }
                )
            )
        contents.append(found)
    assert contents[0] == contents[1]


def test_layout_of_the_file(tmp_path):
    x, y, _ = data()
    reset_uids()
    model = classifier()
    model.compile("sgd", "categorical_crossentropy")
    steps(model, x, y)
    model.save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5") as file:
        assert {"keras_version", "backend", "model_config", "training_config"} <= {*file.attrs}
        assert file.attrs["backend"] == "tensorflow"
        assert file.attrs["keras_version"].startswith("2.")
        assert file.attrs["gpunet_format"] == 1
        assert json.loads(file.attrs["model_config"])["class_name"] == "Functional"
        weights = file["model_weights"]
        assert weights.attrs["layer_names"].tolist() == [b"input_1", b"dense", b"dense_1"]
        assert weights["input_1"].attrs["weight_names"].shape == (0,)
        assert weights["dense/dense/kernel:0"].shape == (6, 5)
        assert file["optimizer_weights"].attrs["weight_names"].tolist() == [b"SGD/iter:0"]
        assert weights.attrs["keras_version"] == file.attrs["keras_version"]


@pytest.mark.parametrize("build", [classifier, stack])
def test_loading_draws_no_random_numbers(build, tmp_path, monkeypatch, seeds):
    model = build()
    model.save(tmp_path / "m.h5")
    before = str(gpunet_random.default().__dict__), random.getstate(), np.random.get_state()[1]

    def forbidden(*args, **kwargs):
        raise AssertionError("an initializer ran")

    from gpunet.initializers.drawn import VarianceScaling

    monkeypatch.setattr(VarianceScaling, "__call__", forbidden)
    again = load_model(tmp_path / "m.h5")
    same_weights(again, model)
    assert str(gpunet_random.default().__dict__) == before[0]
    assert random.getstate() == before[1]
    np.testing.assert_array_equal(np.random.get_state()[1], before[2])


# -- what was compiled ------------------------------------------------------------------------


def test_uncompiled(tmp_path):
    model = classifier()
    model.save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5") as file:
        assert "training_config" not in file.attrs
        assert "optimizer_weights" not in file
    again = load_model(tmp_path / "m.h5")
    assert again.optimizer is None
    with pytest.raises(RuntimeError, match="compile"):
        again.fit(*data()[:2])


def test_without_optimizer(tmp_path):
    x, y, _ = data()
    model = classifier()
    model.compile("adam", "categorical_crossentropy")
    steps(model, x, y)
    model.save(tmp_path / "m.h5", include_optimizer=False)
    assert load_model(tmp_path / "m.h5").optimizer is None
    save_model(model, tmp_path / "n.h5", True, False)
    same_weights(load_model(tmp_path / "n.h5"), model)


def test_compile_false(tmp_path):
    model = classifier()
    model.compile("adam", "categorical_crossentropy")
    steps(model, *data()[:2])
    model.save(tmp_path / "m.h5")
    assert load_model(tmp_path / "m.h5", compile=False).optimizer is None
    assert load_model(tmp_path / "m.h5", None, False).optimizer is None


@pytest.mark.filterwarnings("error")
def test_compiled_but_never_trained(tmp_path):
    x, y, _ = data()
    model = classifier()
    model.compile("adam", "categorical_crossentropy")
    model.save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5") as file:
        assert "optimizer_weights" not in file
    again = load_model(tmp_path / "m.h5")
    assert int(again.optimizer.iterations) == 0
    assert steps(again, x, y) == steps(model, x, y)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", ["sgd", "adam", "nadam"])
def test_only_the_number_of_steps(kind, tmp_path):
    model = classifier()
    model.compile(kind, "categorical_crossentropy")
    model.optimizer.iterations = 1000
    model.save(tmp_path / "m.h5")
    assert int(load_model(tmp_path / "m.h5").optimizer.iterations) == 1000


@pytest.mark.filterwarnings("ignore:compile")
def test_an_output_without_loss_has_slots(tmp_path):
    x, y, _ = data()
    model = two_headed()
    model.compile("adam", {"kind": "categorical_crossentropy"})
    for _ in range(3):
        model.train_on_batch(x, [y, None])
    model.save(tmp_path / "m.h5")
    again = load_model(tmp_path / "m.h5")
    assert int(again.optimizer.iterations) == 3
    assert again.train_on_batch(x, [y, None]) == model.train_on_batch(x, [y, None])


def test_an_optimizer_of_two_models(tmp_path):
    x, y, _ = data()
    shared_optimizer = optimizers.Adam(0.01)
    models = [classifier(), stack()]
    for model in models:
        model.compile(shared_optimizer, "categorical_crossentropy")
        steps(model, x, y)
    for i, model in enumerate(models):
        model.save(tmp_path / f"{i}.h5")
    for i, model in enumerate(models):
        again = load_model(tmp_path / f"{i}.h5")
        for w, v in zip(model.trainable_weights, again.trainable_weights, strict=True):
            for slot in ("m", "v"):
                np.testing.assert_array_equal(
                    shared_optimizer.get_slot(w, slot).numpy(),
                    again.optimizer.get_slot(v, slot).numpy(),
                )


def test_a_state_that_does_not_fit_is_left_alone(tmp_path):
    x, y, _ = data()
    model = classifier()
    model.compile("adam", "categorical_crossentropy")
    steps(model, x, y)
    model.save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "a") as file:
        names = file["optimizer_weights"].attrs["weight_names"]
        file["optimizer_weights"].attrs["weight_names"] = names[:-1]
    with pytest.warns(UserWarning, match="starts anew"):
        again = load_model(tmp_path / "m.h5")
    assert int(again.optimizer.iterations) == 0
    same_weights(again, model)


def test_frozen_layers(tmp_path):
    x, y, _ = data()
    model = classifier()
    model.layers[1].trainable = False
    model.compile("adam", "categorical_crossentropy")
    steps(model, x, y)
    model.save(tmp_path / "m.h5")
    again = load_model(tmp_path / "m.h5")
    assert [layer.trainable for layer in again.layers] == [True, False, True]
    same_weights(again, model)
    assert steps(again, x, y) == steps(model, x, y)


# -- kinds of models --------------------------------------------------------------------------


def test_float64(tmp_path):
    x, y, _ = data(dtype="float64")
    model = classifier("float64")
    model.compile("adam", "categorical_crossentropy")
    steps(model, x, y)
    model.save(tmp_path / "m.h5")
    again = load_model(tmp_path / "m.h5")
    assert {w.dtype.name for w in again.weights} == {"float64"}
    assert steps(again, x, y) == steps(model, x, y)
    same_weights(again, model)


@pytest.mark.filterwarnings("error")
def test_no_weights(tmp_path):
    x = layers.Input((6,))
    for model in (
        Model(x, layers.Activation("relu")(x)),
        Sequential([layers.Flatten(input_shape=(2, 3))]),
    ):
        model.compile("adam", "mse")
        model.save(tmp_path / "m.h5")
        again = load_model(tmp_path / "m.h5")
        assert again.get_weights() == []
        model.save_weights(tmp_path / "w.h5")
        again.load_weights(tmp_path / "w.h5")
        again.load_weights(tmp_path / "w.h5", by_name=True)
        assert again.output_shape == model.output_shape


def test_an_unbuilt_model_cannot_be_saved(tmp_path):
    model = Sequential([layers.Dense(3)])
    for method in (model.save, model.save_weights):
        with pytest.raises(ValueError, match="built"):
            method(tmp_path / "m.h5")
    assert list(tmp_path.iterdir()) == []


def test_a_model_built_by_its_data(tmp_path):
    x, y, _ = data()
    model = Sequential([layers.Dense(5, activation="tanh"), layers.Dense(3)])
    model.compile("adam", "mse")
    steps(model, x, y)
    model.save(tmp_path / "m.h5")
    again = load_model(tmp_path / "m.h5")
    assert steps(again, x, y) == steps(model, x, y)


def test_a_subclass_saves_weights_alone(tmp_path):
    class Net(Model):
        def __init__(self):
            super().__init__()
            self.first = layers.Dense(4, activation="relu")
            self.parts = [layers.Dense(3)]
            self.scale = self.add_weight("scale", (3,), initializer="ones")

        def call(self, x):
            return self.parts[0](self.first(x)) * self.scale

    x = data()[0]
    model, other = Net(), Net()
    want = model.predict(x)
    model.scale.assign([1.0, 2.0, 3.0])
    want = model.predict(x)
    with pytest.raises(NotImplementedError, match="weights alone"):
        model.save(tmp_path / "m.h5")
    model.save_weights(tmp_path / "w.h5")
    other.predict(x)
    other.load_weights(tmp_path / "w.h5")
    np.testing.assert_array_equal(other.predict(x), want)
    assert [p.name for p in tmp_path.iterdir()] == ["w.h5"]


def test_nested_weights_are_one_group_trained_ones_first(tmp_path):
    model = shared()
    model.get_layer("inner").trainable = False
    model.compile("adam", "mse")
    x, y, _ = data()
    model.train_on_batch([x, x], y)
    model.save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5") as file:
        names = file["model_weights/inner"].attrs["weight_names"].tolist()
        assert names == [b"deep/kernel:0", b"deep/bias:0"]
        config = json.loads(file.attrs["model_config"])["config"]
        calls = {entry["name"]: entry["inbound_nodes"] for entry in config["layers"]}
        assert [c[0][:3] for c in calls["inner"]] == [
            ["twice", 0, 0],
            ["twice", 1, 0],
            ["inner", 2, 0],
        ]
        assert [p[:3] for p in calls["sum"][0]] == [
            ["inner", 1, 0],
            ["inner", 3, 0],
            ["stacked", 1, 0],
        ]
    again = load_model(tmp_path / "m.h5")
    assert again.train_on_batch([x, x], y) == model.train_on_batch([x, x], y)


def test_partly_frozen_nested_model(tmp_path):
    inner = Sequential(
        [layers.Dense(4, input_shape=(6,), name="one"), layers.Dense(6, name="two")], name="inner"
    )
    x = layers.Input((6,))
    model = Model(x, layers.Dense(3)(inner(x)))
    inner.layers[0].trainable = False
    model.save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5") as file:
        names = file["model_weights/inner"].attrs["weight_names"].tolist()
    assert names == [b"two/kernel:0", b"two/bias:0", b"one/kernel:0", b"one/bias:0"]
    same_weights(load_model(tmp_path / "m.h5"), model)


@pytest.mark.parametrize("offset", [0, 1])
def test_calls_of_nested_models_may_count_from_zero(offset):
    """Keras 3, and tf.keras for Sequential models built by their data, count from 0."""
    reset_uids()
    model = shared()
    config = json.loads(model.to_json())["config"]
    if offset == 0:
        text = json.dumps(config)
        for node in (1, 2, 3):
            for name in ("inner", "stacked"):
                text = text.replace(f'["{name}", {node}, 0', f'["{name}", {node - 1}, 0')
        assert text != json.dumps(config)
        config = json.loads(text)
    again = Model.from_config(config)
    again.set_weights(model.get_weights())
    x = data()[0]
    np.testing.assert_array_equal(again.predict([x, x + 1]), model.predict([x, x + 1]))
    assert again.to_json() == model.to_json()


# -- paths ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["model", "m.weights", "m.hdf5", "Größe µ 模型.h5", "with space.h5", "a.b.c"]
)
def test_names_of_files(name, tmp_path):
    model = classifier()
    model.save(tmp_path / name)
    same_weights(load_model(tmp_path / name), model)
    model.save_weights(str(tmp_path / name))
    model.load_weights(str(tmp_path / name))
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_relative_and_bytes_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = classifier()
    model.save("m.h5")
    same_weights(load_model(b"m.h5"), model)


def test_open_files_and_streams(tmp_path):
    x, y, _ = data()
    model = classifier()
    model.compile("adam", "categorical_crossentropy")
    steps(model, x, y)
    with h5py.File(tmp_path / "m.h5", "w") as file:
        model.save(file)
    with h5py.File(tmp_path / "m.h5") as file:
        same_weights(load_model(file), model)
        model.load_weights(file["model_weights"])
        same_weights(load_model(tmp_path / "m.h5"), model)  # open twice
        assert file.id.valid
    stream = io.BytesIO()
    model.save(stream)
    stream.seek(0)
    same_weights(load_model(stream), model)


@pytest.mark.parametrize("options", [{"save_format": "tf"}, {"nonsense": 1}])
def test_unknown_options(options, tmp_path):
    model = classifier()
    for method in (model.save, model.save_weights):
        with pytest.raises((ValueError, TypeError)):
            method(tmp_path / "m.h5", **options)
    with pytest.raises(TypeError):
        model.load_weights(tmp_path / "m.h5", nonsense=1)
    with pytest.raises(TypeError):
        load_model(tmp_path / "m.h5", nonsense=1)
    with pytest.raises(ValueError, match="HDF5"):
        model.save(tmp_path / "m.keras")
    with pytest.raises(TypeError, match="path"):
        model.save(3)
    with pytest.raises(TypeError, match="path"):
        load_model(None)


def test_overwrite_false(tmp_path):
    model = classifier()
    model.save(tmp_path / "m.h5", overwrite=False)
    before = (tmp_path / "m.h5").read_bytes()
    for method in (model.save, model.save_weights):
        with pytest.raises(FileExistsError, match="overwrite=True"):
            method(tmp_path / "m.h5", overwrite=False)
    assert (tmp_path / "m.h5").read_bytes() == before
