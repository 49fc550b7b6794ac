"""Layers, losses, metrics and functions of the user's own, and Lambda layers, in files."""

import base64
import json
import marshal

import h5py
import numpy as np
import pytest
from saving_models import classifier, data, same_weights, steps

from gpunet import backend as K
from gpunet import layers, losses, metrics, ops
from gpunet.errors import FileFormatError, UnknownNameError
from gpunet.models import Model, Sequential, load_model
from gpunet.registry import CustomObjectScope, get_custom_objects, register_keras_serializable


class Scale(layers.Layer):
    """Multiplies by a weight and a number."""

    def __init__(self, factor=2.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def build(self, input_shape):
        self.gain = self.add_weight("gain", (input_shape[-1],), initializer="ones")
        super().build(input_shape)

    def call(self, x):
        return x * self.gain * self.factor

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


def bent(x):
    """An activation."""
    return ops.tanh(x) * 0.5


def far(y_true, y_pred):
    """A loss."""
    return ops.mean(ops.square(y_true - y_pred) * 3.0, axis=-1)


def near(y_true, y_pred):
    """A metric."""
    return ops.mean(ops.abs(y_true - y_pred), axis=-1)


class Far(losses.Loss):
    """A loss with an option."""

    def __init__(self, power=2, **kwargs):
        super().__init__(**kwargs)
        self.power = power

    def call(self, y_true, y_pred):
        return ops.mean(ops.abs(y_true - y_pred) ** self.power, axis=-1)

    def get_config(self):
        return {**super().get_config(), "power": self.power}


class Count(metrics.Metric):
    """Counts batches."""

    def __init__(self, name="count", **kwargs):
        super().__init__(name=name, **kwargs)
        self.batches = self.add_weight("batches", initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.batches.assign_add(1.0)

    def result(self):
        return self.batches


OWN = {"Scale": Scale, "bent": bent, "far": far, "near": near, "Far": Far, "Count": Count}


def model_of_own(loss=far, measured=(near,)):
    x = layers.Input((6,))
    y = Scale(factor=1.5, name="scaled")(layers.Dense(4, activation=bent)(x))
    model = Model(x, layers.Dense(3, activation="softmax")(y))
    model.compile("adam", loss, metrics=list(measured))
    return model


@pytest.mark.parametrize("loss", [far, Far(power=3)])
@pytest.mark.parametrize("measured", [(near,), (Count(),), (near, "accuracy", Count())])
@pytest.mark.parametrize("way", ["argument", "scope", "nested scopes", "global"])
def test_custom_objects(loss, measured, way, tmp_path):
    x, y, _ = data()
    model = model_of_own(loss, measured)
    steps(model, x, y)
    model.save(tmp_path / "m.h5")
    with pytest.raises(UnknownNameError, match="custom_objects"):
        load_model(tmp_path / "m.h5")
    if way == "argument":
        again = load_model(tmp_path / "m.h5", custom_objects=OWN)
    elif way == "scope":
        with CustomObjectScope(OWN):
            again = load_model(tmp_path / "m.h5")
    elif way == "nested scopes":
        with CustomObjectScope({"Scale": Scale, "bent": bent}):
            with CustomObjectScope({"far": far, "near": near}):
                again = load_model(tmp_path / "m.h5", {"Far": Far, "Count": Count})
    else:
        get_custom_objects().update(OWN)
        try:
            again = load_model(tmp_path / "m.h5")
        finally:
            for name in OWN:
                get_custom_objects().pop(name)
    same_weights(again, model)
    assert again.metrics_names == model.metrics_names
    assert again.evaluate(x, y, verbose=0) == model.evaluate(x, y, verbose=0)
    assert steps(again, x, y) == steps(model, x, y)
    with pytest.raises(UnknownNameError):
        load_model(tmp_path / "m.h5")


def test_without_compiling_no_loss_is_needed(tmp_path):
    model = model_of_own()
    model.save(tmp_path / "m.h5")
    with pytest.raises(UnknownNameError, match=r"m\.h5.*'far'.*compile=False"):
        load_model(tmp_path / "m.h5", {"Scale": Scale, "bent": bent, "near": near})
    again = load_model(tmp_path / "m.h5", {"Scale": Scale, "bent": bent}, compile=False)
    same_weights(again, model)


def test_what_is_unknown_is_named(tmp_path):
    model_of_own().save(tmp_path / "m.h5")
    with pytest.raises(UnknownNameError, match=r"m\.h5.*layer 'Scale'"):
        load_model(tmp_path / "m.h5", {"bent": bent})


def test_registered_objects_need_not_be_passed(tmp_path):
    @register_keras_serializable(package="Mine", name="Shift")
    class Shifted(layers.Layer):
        def __init__(self, by=1.0, **kwargs):
            super().__init__(**kwargs)
            self.by = by

        def call(self, x):
            return x + self.by

        def get_config(self):
            return {**super().get_config(), "by": self.by}

    @register_keras_serializable(package="Mine")
    def wavy(x):
        return ops.sin(x)

    try:
        x = layers.Input((6,))
        model = Model(x, Shifted(by=3.0)(layers.Dense(2, activation=wavy)(x)))
        model.save(tmp_path / "m.h5")
        with h5py.File(tmp_path / "m.h5") as file:
            text = file.attrs["model_config"]
        assert '"Mine>Shift"' in text and '"Mine>wavy"' in text
        again = load_model(tmp_path / "m.h5")
        assert type(again.layers[-1]) is Shifted and again.layers[-1].by == 3.0
        np.testing.assert_array_equal(again.predict(data()[0]), model.predict(data()[0]))
    finally:
        get_custom_objects().pop("Mine>Shift")
        get_custom_objects().pop("Mine>wavy")


def test_a_custom_object_wins_over_a_built_in_one(tmp_path):
    class Dense(layers.Dense):
        pass

    classifier().save(tmp_path / "m.h5")
    again = load_model(tmp_path / "m.h5", {"Dense": Dense})
    assert type(again.layers[1]) is Dense


def test_a_subclass_of_a_functional_model(tmp_path):
    class Net(Model):
        pass

    x = layers.Input((6,))
    model = Net(x, layers.Dense(2)(x))
    model.save(tmp_path / "m.h5")
    again = load_model(tmp_path / "m.h5", {"Net": Net})
    assert type(again) is Net
    same_weights(again, model)
    with pytest.raises(UnknownNameError, match="'Net'"):
        load_model(tmp_path / "m.h5")


# -- Lambda -----------------------------------------------------------------------------------


def doubled(x, by=2.0):
    """Return a multiple of ``x``."""
    return x * by


def lambda_model(function, **options):
    return Sequential(
        [
            layers.Dense(4, input_shape=(6,), name="first"),
            layers.Lambda(function, name="mine", **options),
        ]
    )


def test_lambda_by_name(tmp_path):
    model = lambda_model(doubled, arguments={"by": 3.0})
    model.save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5") as file:
        config = json.loads(file.attrs["model_config"])["config"]["layers"][-1]["config"]
    assert (config["function"], config["function_type"]) == ("doubled", "function")
    with pytest.raises(ValueError, match="'mine'.*'doubled'.*custom_objects"):
        load_model(tmp_path / "m.h5")
    for objects in ({"doubled": doubled}, {"mine": doubled}):
        again = load_model(tmp_path / "m.h5", objects)
        np.testing.assert_array_equal(again.predict(data()[0]), model.predict(data()[0]))
    other = load_model(tmp_path / "m.h5", {"doubled": lambda x, by: x - by})
    assert not np.array_equal(other.predict(data()[0]), model.predict(data()[0]))


FUNCTIONS = {
    "plain": lambda x: x * 2.0,
    "default": lambda x, by=3.0: x * by,
    "backend": lambda x: K.tanh(x),
    "nested": lambda x: sum([(lambda y: y * 2.0)(x) for _ in range(2)], 0.0),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_anonymous_lambda(name, tmp_path):
    model = lambda_model(FUNCTIONS[name])
    model.save(tmp_path / "m.h5")
    with pytest.raises(ValueError, match="'mine'.*bytecode.*custom_objects.*safe_mode=False"):
        load_model(tmp_path / "m.h5")
    for options in ({"custom_objects": {"mine": FUNCTIONS[name]}}, {"safe_mode": False}):
        again = load_model(tmp_path / "m.h5", **options)
        np.testing.assert_array_equal(again.predict(data()[0]), model.predict(data()[0]))
    again.save(tmp_path / "again.h5")
    assert load_model(tmp_path / "again.h5", safe_mode=False).output_shape == model.output_shape


def test_a_lambda_with_variables_from_around_it(tmp_path):
    by = 5.0
    model = lambda_model(lambda x: x * by)
    model.save(tmp_path / "m.h5")
    again = load_model(tmp_path / "m.h5", safe_mode=False)
    np.testing.assert_array_equal(again.predict(data()[0]), model.predict(data()[0]))


def test_safe_mode_is_over_after_loading(tmp_path):
    lambda_model(lambda x: x).save(tmp_path / "m.h5")
    load_model(tmp_path / "m.h5", safe_mode=False)
    with pytest.raises(ValueError, match="bytecode"):
        load_model(tmp_path / "m.h5")


def test_output_shape_mask_and_arrays(tmp_path):
    def halves(x, scale=None):
        return x[:, :2] * scale

    def narrow(shape):
        return (shape[0], 2)

    def no_mask(inputs, mask=None):
        return mask

    model = lambda_model(
        halves, output_shape=narrow, mask=no_mask, arguments={"scale": np.float32([1, 2])}
    )
    model.save(tmp_path / "m.h5")
    known = {"halves": halves, "narrow": narrow, "no_mask": no_mask}
    again = load_model(tmp_path / "m.h5", known)
    assert again.layers[-1].mask is no_mask
    np.testing.assert_array_equal(again.predict(data()[0]), model.predict(data()[0]))
    model = lambda_model(doubled, output_shape=(4,))
    model.save(tmp_path / "m.h5")
    again = load_model(tmp_path / "m.h5", {"doubled": doubled})
    assert again.output_shape == (None, 4)


def test_functions_without_a_name(tmp_path):
    class Caller:
        def __call__(self, x):
            return x

    with pytest.raises(ValueError, match="'mine'.*def"):
        lambda_model(Caller()).save(tmp_path / "m.h5")
    assert list(tmp_path.iterdir()) == []


def with_bytecode(path, text):
    """Put other bytecode into a file."""
    with h5py.File(path, "a") as file:
        config = json.loads(file.attrs["model_config"])
        config["config"]["layers"][-1]["config"]["function"][0] = text
        file.attrs["model_config"] = json.dumps(config)


def foreign():
    """Return bytecode with an operation that this Python doesn't have."""
    import dis

    code = FUNCTIONS["plain"].__code__
    unknown = next(n for n in range(1, 256) if dis.opname[n].startswith("<"))
    return code.replace(co_code=bytes([unknown, 0]) + code.co_code[2:])


@pytest.mark.parametrize(
    "text",
    [
        base64.encodebytes(marshal.dumps(foreign())).decode(),
        base64.encodebytes(b"\xe3" + b"\x00" * 40).decode(),
        base64.encodebytes(marshal.dumps([1, 2])).decode(),
        base64.encodebytes(b"").decode(),
        "no base64 at all é",
        None,
    ],
)
def test_bytecode_of_another_python(text, tmp_path):
    lambda_model(FUNCTIONS["plain"]).save(tmp_path / "m.h5")
    with_bytecode(tmp_path / "m.h5", text)
    with pytest.raises(FileFormatError, match="'mine'.*version of Python.*custom_objects"):
        load_model(tmp_path / "m.h5", safe_mode=False)
    load_model(tmp_path / "m.h5", {"mine": FUNCTIONS["plain"]})


def test_bytecode_is_not_even_decoded_in_safe_mode(tmp_path, monkeypatch):
    lambda_model(FUNCTIONS["plain"]).save(tmp_path / "m.h5")

    def forbidden(*args):
        raise AssertionError("bytecode was touched")

    monkeypatch.setattr(marshal, "loads", forbidden)
    with pytest.raises(ValueError, match="bytecode"):
        load_model(tmp_path / "m.h5")
