"""Files of weights alone; loading by position and by name."""

import h5py
import numpy as np
import pytest
from saving_models import classifier, data, same_weights, shared, stack, steps

from gpunet import layers
from gpunet.models import Model, Sequential, load_model
from gpunet.saving.hdf5 import read_names


def named(*names, units=4):
    """Return a Sequential model of Dense layers with the given names."""
    return Sequential(
        [layers.Dense(units, input_shape=(units,), name=names[0])]
        + [layers.Dense(units, name=name) for name in names[1:]]
    )


@pytest.mark.parametrize("build", [classifier, stack, shared])
@pytest.mark.parametrize("by_name", [False, True])
def test_weights_alone(build, by_name, tmp_path):
    model = build()
    model.save_weights(tmp_path / "w.h5")
    with h5py.File(tmp_path / "w.h5") as file:
        assert "model_config" not in file.attrs
        assert file.attrs["backend"] == "tensorflow"
        assert read_names(file, "layer_names") == [layer.name for layer in model.layers]
    want = model.get_weights()
    model.set_weights([w * 0 - 1 for w in want])
    model.load_weights(tmp_path / "w.h5", by_name=by_name)
    for a, b in zip(model.get_weights(), want, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_whole_model_as_a_file_of_weights(tmp_path):
    model, other = classifier(), stack()
    model.compile("adam", "mse")
    steps(model, *data()[:2])
    model.save(tmp_path / "m.h5")
    other.load_weights(tmp_path / "m.h5")
    same_weights(other, model)
    with pytest.raises(ValueError, match="load_weights"):
        model.save_weights(tmp_path / "w.h5")
        load_model(tmp_path / "w.h5")


def test_by_name_leaves_the_others_alone(tmp_path):
    source, target = named("a", "b", "c"), named("c", "d", "a")
    source.save_weights(tmp_path / "w.h5")
    before = target.get_layer("d").get_weights()
    target.load_weights(tmp_path / "w.h5", by_name=True)
    for name in "ca":
        same_weights(target.get_layer(name), source.get_layer(name))
    np.testing.assert_array_equal(target.get_layer("d").get_weights()[0], before[0])
    target.load_weights(tmp_path / "w.h5")
    same_weights(target, source)


def test_by_name_without_any_match_warns(tmp_path):
    named("a").save_weights(tmp_path / "w.h5")
    with pytest.warns(UserWarning, match="no layer of the file has the name"):
        named("b").load_weights(tmp_path / "w.h5", by_name=True)


def test_skip_mismatch(tmp_path):
    source = named("a", "b")
    source.save_weights(tmp_path / "w.h5")
    target = Sequential(
        [
            layers.Dense(4, input_shape=(4,), name="a"),
            layers.Dense(7, name="b"),
        ]
    )
    before = target.get_weights()
    with pytest.raises(ValueError, match="Dense 'b'.*shape"):
        target.load_weights(tmp_path / "w.h5", by_name=True)
    for a, b in zip(target.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match="by_name=True"):
        target.load_weights(tmp_path / "w.h5", skip_mismatch=True)
    with pytest.warns(UserWarning, match="skipped.*Dense 'b'"):
        target.load_weights(tmp_path / "w.h5", by_name=True, skip_mismatch=True)
    same_weights(target.get_layer("a"), source.get_layer("a"))
    np.testing.assert_array_equal(target.get_weights()[2], before[2])


def test_reshape(tmp_path):
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file.attrs["layer_names"] = np.array([b"a"])
        file.create_group("a").attrs["weight_names"] = np.array([b"k", b"b"])
        file["a/k"], file["a/b"] = np.arange(16.0), np.arange(4.0).reshape(1, 4)
    model = named("a")
    with pytest.raises(ValueError, match="shape"):
        model.load_weights(tmp_path / "w.h5")
    model.load_weights(tmp_path / "w.h5", reshape=True)
    np.testing.assert_array_equal(model.get_weights()[0], np.arange(16).reshape(4, 4))


@pytest.mark.parametrize(
    "other",
    [
        lambda: named("a"),
        lambda: named("a", "b", "c"),
        lambda: named("a", "b", units=5),
        lambda: Sequential([layers.Dense(4, use_bias=False, input_shape=(4,)), layers.Dense(4)]),
    ],
)
def test_a_file_that_does_not_fit_changes_nothing(other, tmp_path):
    other().save_weights(tmp_path / "w.h5")
    model = named("a", "b")
    before = model.get_weights()
    with pytest.raises(ValueError, match=r"w\.h5.*the file has"):
        model.load_weights(tmp_path / "w.h5")
    for a, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_an_unbuilt_model_has_nothing_to_fill(tmp_path):
    named("a").save_weights(tmp_path / "w.h5")
    with pytest.raises(ValueError, match="isn't built"):
        Sequential([layers.Dense(4)]).load_weights(tmp_path / "w.h5")


def test_other_types_and_orders_of_numbers(tmp_path):
    """Numbers of another type or byte order, compressed and in blocks, are cast."""
    model = named("a")
    kernel = np.arange(16).reshape(4, 4)
    for dtype in (">f4", "f8", "f2", "i8", ">i2"):
        with h5py.File(tmp_path / "w.h5", "w") as file:
            file.attrs["layer_names"] = ["a"]  # str of variable length
            file.create_group("a").attrs["weight_names"] = ["k", "b"]
            file["a"].create_dataset(
                "k", data=kernel.astype(dtype), chunks=(2, 2), compression="gzip"
            )
            file["a"].create_dataset("b", (4,), "f4", chunks=(2,))  # never written: zeros
        model.load_weights(tmp_path / "w.h5")
        np.testing.assert_array_equal(model.get_weights()[0], kernel)
        np.testing.assert_array_equal(model.get_weights()[1], 0)
        assert model.get_weights()[0].dtype == "float32"


# -- names ------------------------------------------------------------------------------------


def test_names_that_are_not_ascii_or_have_slashes(tmp_path):
    model = Sequential(
        [
            layers.Dense(4, input_shape=(4,), name="größe/模型"),
            layers.Dense(4, name="größe"),
            layers.Dense(4, name="größe/模型/kernel"),
            layers.Dense(4, name="a b:0"),
        ]
    )
    model.save(tmp_path / "m.h5")
    again = load_model(tmp_path / "m.h5")
    assert [layer.name for layer in again.layers] == [layer.name for layer in model.layers]
    same_weights(again, model)
    again.set_weights([w * 0 for w in again.get_weights()])
    again.load_weights(tmp_path / "m.h5", by_name=True)
    same_weights(again, model)


class Twins(layers.Layer):
    """A layer whose weights have equal names."""

    def build(self, input_shape):
        inner = [layers.Dense(4, name="same") for _ in range(2)]
        for part in inner:
            part.build(input_shape)
        self.parts = inner
        for i in range(3):
            weight = self.add_weight(f"w{i}", (2,), initializer="normal")
            weight.name = "twins/equal:0"
        self.built = True

    def call(self, x):
        return self.parts[1](self.parts[0](x))


def test_equal_names_of_weights(tmp_path):
    x = layers.Input((4,))
    model = Model(x, Twins(name="twins")(x))
    model.save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5") as file:
        names = read_names(file["model_weights/twins"], "weight_names")
        assert len(set(names)) == len(names) == 7
        assert "twins/equal:0" in names and "twins/equal_1:0" in names
    same_weights(load_model(tmp_path / "m.h5", {"Twins": Twins}), model)


def test_long_lists_of_names_are_split(tmp_path):
    """HDF5 takes no attribute of more than 64 KB."""
    names = [f"{i:04d}" + "layer" * 40 for i in range(400)]
    x = y = layers.Input((2,), name="x")
    for name in names:
        y = layers.Activation("linear", name=name)(y)
    model = Model(x, layers.Dense(2, name="d" * 300)(y))
    model.save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5") as file:
        attributes = file["model_weights"].attrs
        assert "layer_names" not in attributes and "layer_names1" in attributes
        assert len(file.attrs["model_config"]) > 65536
        assert read_names(file["model_weights"], "layer_names") == ["x", *names, "d" * 300]
    again = load_model(tmp_path / "m.h5")
    same_weights(again, model)
    model.save_weights(tmp_path / "w.h5")
    again.load_weights(tmp_path / "w.h5")
    again.load_weights(tmp_path / "w.h5", by_name=True)


def test_a_name_that_no_attribute_can_hold(tmp_path):
    model = named("n" * 70000)
    with pytest.raises(ValueError, match="too long"):
        model.save(tmp_path / "m.h5")
    assert list(tmp_path.iterdir()) == []


def test_many_weights_in_one_layer(tmp_path):
    inner = Sequential(
        [layers.Dense(1, input_shape=(1,), name=f"{i:03d}" + "x" * 150) for i in range(300)],
        name="inner",
    )
    x = layers.Input((1,))
    model = Model(x, inner(x))
    model.save_weights(tmp_path / "w.h5")
    with h5py.File(tmp_path / "w.h5") as file:
        assert "weight_names0" in file["inner"].attrs
        assert len(read_names(file["inner"], "weight_names")) == 600
    want = model.get_weights()
    model.set_weights([w * 0 for w in want])
    model.load_weights(tmp_path / "w.h5")
    for a, b in zip(model.get_weights(), want, strict=True):
        np.testing.assert_array_equal(a, b)
