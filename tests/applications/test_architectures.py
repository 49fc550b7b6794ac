"""The models of applications: layers, names, shapes and counts of the real Keras; arguments."""

import json
from pathlib import Path

import application_cases as cases
import numpy as np
import pytest

import gpunet
from gpunet import applications, config
from gpunet.layers import Input

FOLDER = Path(__file__).resolve().parents[1] / "fixtures" / "keras"
STORED = json.loads((FOLDER / "applications.json").read_text(encoding="utf8"))["cases"]


@pytest.mark.parametrize("case", cases.CASES)
def test_layers_are_those_of_keras(case):
    assert cases.digest(cases.make(gpunet, case)) == STORED[case]


def test_every_stored_case_is_tested():
    assert STORED.keys() == cases.CASES.keys()


def test_modules_offer_what_keras_has():
    for module, names in applications._MODULES.items():
        found = getattr(applications, module)
        for name in (*names, "preprocess_input", "decode_predictions"):
            assert callable(getattr(found, name)), (module, name)
            assert name in found.__all__
        for name in names:
            assert getattr(applications, name) is getattr(found, name)
            assert getattr(applications, name).__name__ == name
            assert "Args:" in getattr(applications, name).__doc__
    assert applications.resnet50.ResNet50 is applications.ResNet50
    with pytest.raises(AttributeError, match="ResNet51"):
        applications.ResNet51  # noqa: B018


def small(name="MobileNetV2", **options):
    options = {"weights": None, "input_shape": (32, 32, 3), "classes": 3, **options}
    return getattr(applications, name)(**options)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"weights": "imagnet"}, "None, 'imagenet' or the path of a file, got 'imagnet'"),
        ({"weights": "imagenet", "classes": 7}, "1000 classes, got classes=7"),
        ({"pooling": "mean"}, "'avg' or 'max', got 'mean'"),
        ({"input_shape": (31, 40, 3)}, r"at least 32x32, got \(31, 40, 3\)"),
        ({"input_shape": (32, 32)}, "expected 3 numbers as input_shape"),
        ({"input_shape": 32}, "expected 3 numbers as input_shape, got 32"),
        ({"input_shape": (None, None, 3)}, "input_shape must be known"),
        (
            {"weights": "imagenet", "classes": 1000, "input_shape": (64, 64, 3)},
            r"need input_shape=\(224, 224, 3\), got \(64, 64, 3\)",
        ),
        (
            {"weights": "imagenet", "include_top": False, "input_shape": (64, 64, 1)},
            "3 colours",
        ),
        (
            {"weights": "imagenet", "classes": 1000, "classifier_activation": "relu"},
            "classifier_activation='relu'",
        ),
    ],
)
@pytest.mark.parametrize("name", ["VGG16", "ResNet50", "MobileNetV2"])
def test_arguments_that_do_not_fit(name, options, text):
    with pytest.raises(ValueError, match=text):
        small(name, **options)


@pytest.mark.parametrize("name", ["VGG16", "ResNet50", "MobileNetV2"])
def test_tensors_that_do_not_fit(name):
    """Said before anything is fetched."""
    with pytest.raises(ValueError, match=r"input_tensor of 4 axes, got shape \(None, 64\)"):
        small(name, input_tensor=Input((64,)))
    gray = Input((64, 64, 1))
    with pytest.raises(ValueError, match="3 colours"):
        small(name, weights="imagenet", include_top=False, input_tensor=gray)
    with pytest.raises(TypeError, match=r"got \(1, 64, 64, 3\) of type ndarray"):
        small(name, input_tensor=np.zeros((1, 64, 64, 3), "float32"))


def test_weights_that_were_never_published():
    for name, options in {
        "MobileNet": {"alpha": 0.3},
        "MobileNetV2": {"alpha": 0.3},
        "MobileNetV3Small": {"alpha": 0.75, "minimalistic": True},
    }.items():
        with pytest.raises(ValueError, match=f"{name}: the weights 'imagenet' are for alpha"):
            getattr(applications, name)(**options)
    with pytest.raises(ValueError, match="depth_multiplier 1"):
        applications.MobileNet(depth_multiplier=2)


@pytest.mark.parametrize("name", ["VGG16", "MobileNet", "NASNetMobile", "EfficientNetB0"])
def test_unknown_arguments(name):
    with pytest.raises(TypeError, match=rf"{name}: unknown argument\(s\) \['colour'\]"):
        getattr(applications, name)(weights=None, colour=1)


def test_on_a_given_tensor(rng):
    images = Input(shape=(40, 36, 3))
    doubled = gpunet.layers.Rescaling(2.0)(images)
    model = applications.MobileNetV2(weights=None, input_tensor=doubled, include_top=False)
    assert model.inputs == [images] and model.input is images
    assert model.layers[1].name.startswith("rescaling")
    assert model.predict(rng.normal(size=(1, 40, 36, 3)), verbose=0).shape == (1, 2, 2, 1280)


def test_features_from_images_of_any_size(rng):
    model = applications.MobileNet(weights=None, include_top=False, pooling="avg", alpha=0.25)
    assert model.input_shape == (None, None, None, 3)
    for size in (32, 45):
        assert model.predict(rng.normal(size=(2, size, size, 3)), verbose=0).shape == (2, 256)


def test_another_number_of_colours(rng):
    model = small(input_shape=(32, 32, 5))
    assert model.predict(rng.normal(size=(1, 32, 32, 5)), verbose=0).shape == (1, 3)


@pytest.fixture
def channels_first():
    config.set_image_data_format("channels_first")
    yield
    config.set_image_data_format("channels_last")


@pytest.mark.parametrize(
    "name",
    [
        "ResNet50",
        "MobileNetV2",
        "MobileNetV3Small",
        "EfficientNetB0",
        "NASNetMobile",
        "DenseNet121",
    ],
)
def test_channels_first_gives_the_same(name, rng, channels_first):
    shape = (3, 32, 45)
    first = small(name, input_shape=shape)
    config.set_image_data_format("channels_last")
    last = small(name, input_shape=(32, 45, 3))
    last.set_weights(first.get_weights())
    x = rng.uniform(0, 255, (2, *shape)).astype("float32")
    np.testing.assert_allclose(
        first.predict(x, verbose=0),
        last.predict(x.transpose(0, 2, 3, 1), verbose=0),
        rtol=1e-4,
        atol=1e-6,
    )


def test_trained_further(rng, seeds):
    base = applications.MobileNet(
        weights=None, include_top=False, pooling="avg", alpha=0.25, input_shape=(32, 32, 3)
    )
    base.trainable = False
    model = gpunet.Sequential([base, gpunet.layers.Dense(2, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    before = base.get_weights()
    x, y = rng.normal(size=(8, 32, 32, 3)), np.arange(8) % 2
    model.fit(x, y, epochs=1, verbose=0)
    for old, new in zip(before, base.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    base.trainable = True
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(x, y, epochs=1, verbose=0)
    assert any((old != new).any() for old, new in zip(before, base.get_weights(), strict=True))


def test_saved_and_loaded(tmp_path, rng):
    x = rng.normal(size=(1, 32, 32, 3)).astype("float32")
    model = small("EfficientNetB0")
    model.save(tmp_path / "model.h5")
    loaded = gpunet.models.load_model(tmp_path / "model.h5")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
