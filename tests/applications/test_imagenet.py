"""Images made ready, predictions by name, published weights from a local server."""

import hashlib
import json

import fake_device
import h5py
import numpy as np
import pytest

from gpunet import applications, config, models
from gpunet.applications import imagenet_utils, weights
from gpunet.errors import DownloadError
from gpunet.layers import Input
from gpunet.tensor import Tensor, convert_to_tensor

PIXEL = np.array([10.0, 100.0, 250.0], "float32")  # red, green, blue
READY = {
    "caffe": [250 - 103.939, 100 - 116.779, 10 - 123.68],
    "tf": [10 / 127.5 - 1, 100 / 127.5 - 1, 250 / 127.5 - 1],
    "torch": [
        (10 / 255 - 0.485) / 0.229,
        (100 / 255 - 0.456) / 0.224,
        (250 / 255 - 0.406) / 0.225,
    ],
}
MODES = {
    "vgg16": "caffe",
    "vgg19": "caffe",
    "resnet": "caffe",
    "resnet50": "caffe",
    "imagenet_utils": "caffe",
    "resnet_v2": "tf",
    "inception_v3": "tf",
    "inception_resnet_v2": "tf",
    "xception": "tf",
    "mobilenet": "tf",
    "mobilenet_v2": "tf",
    "nasnet": "tf",
    "densenet": "torch",
    "mobilenet_v3": None,
    "efficientnet": None,
}


def test_every_module_has_a_mode():
    assert MODES.keys() == applications._MODULES.keys()


@pytest.mark.parametrize("name", MODES)
def test_preprocess_input(name):
    prepare = getattr(applications, name).preprocess_input
    want = READY.get(MODES[name], PIXEL)
    for x in (PIXEL[None, None], np.ones((2, 4, 5, 1)) * PIXEL, PIXEL.astype("uint8")[None, None]):
        kept = x.copy()
        got = prepare(x)
        np.testing.assert_allclose(got, np.broadcast_to(want, x.shape), rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(x, kept)
        if MODES[name]:
            assert got.dtype == (x.dtype if x.dtype.kind == "f" else config.floatx())
        first = np.moveaxis(x, -1, -3)
        got = prepare(first, data_format="channels_first")
        np.testing.assert_allclose(np.moveaxis(got, -3, -1), prepare(x), rtol=1e-6)


@pytest.mark.parametrize("mode", READY)
def test_preprocess_tensors(mode):
    x = np.ones((1, 2, 2, 1), "float32") * PIXEL
    want = imagenet_utils.preprocess_input(x, mode=mode)
    got = imagenet_utils.preprocess_input(Tensor(x), mode=mode)
    np.testing.assert_allclose(got.numpy(), want, rtol=1e-6)
    image = Input(shape=(2, 2, 3))
    model = models.Model(image, imagenet_utils.preprocess_input(image, mode=mode))
    np.testing.assert_allclose(model.predict(x, verbose=0), want, rtol=1e-6)


@pytest.mark.parametrize("mode", READY)
def test_preprocess_on_a_device(mode):
    x = np.ones((1, 2, 2, 1), "float32") * PIXEL
    want = imagenet_utils.preprocess_input(x, mode=mode)
    with fake_device.fake_device():
        tensor = convert_to_tensor(x.astype("uint8"))
        for given in (tensor, tensor.array):
            got = imagenet_utils.preprocess_input(given, mode=mode)
            got = fake_device.to_host(getattr(got, "array", got))
            np.testing.assert_allclose(got, want, rtol=1e-5)


def test_preprocess_bad_arguments():
    with pytest.raises(ValueError, match="mode caffe, tf, torch, got 'keras'"):
        imagenet_utils.preprocess_input(PIXEL, mode="keras")
    with pytest.raises(ValueError, match="'channels_first', got 'last'"):
        imagenet_utils.preprocess_input(PIXEL, data_format="last")
    gray = np.full((2, 3, 4, 1), 255.0)
    for mode in ("caffe", "torch"):
        for x, options in ((gray, {}), (gray[..., 0], {"data_format": "channels_first"})):
            with pytest.raises(ValueError, match="3 colours along axis"):
                imagenet_utils.preprocess_input(x, mode=mode, **options)
    np.testing.assert_array_equal(imagenet_utils.preprocess_input(gray, mode="tf"), gray * 0 + 1)


# -- names of classes -------------------------------------------------------------------------


@pytest.fixture
def index(site, monkeypatch):
    content = json.dumps({str(i): [f"n{i:08d}", f"thing_{i}"] for i in range(1000)}).encode()
    site.files["/index.json"] = content
    entry = {
        "fname": "imagenet_class_index.json",
        "origin": site.url + "/index.json",
        "file_hash": hashlib.md5(content).hexdigest(),
    }
    monkeypatch.setattr(imagenet_utils, "CLASS_INDEX", entry)
    imagenet_utils._class_names.cache_clear()
    yield site
    imagenet_utils._class_names.cache_clear()


def test_decode_predictions(index, tmp_path):
    scores = np.zeros((2, 1000), "float32")
    scores[0, [5, 7, 999]] = 0.2, 0.5, 0.3
    scores[1, 0] = 1
    for preds in (scores, Tensor(scores), scores.tolist()):
        first, second = applications.vgg16.decode_predictions(preds, top=3)
        assert [(key, name) for key, name, _ in first] == [
            ("n00000007", "thing_7"),
            ("n00000999", "thing_999"),
            ("n00000005", "thing_5"),
        ]
        np.testing.assert_allclose([s for *_, s in first], [0.5, 0.3, 0.2], rtol=1e-6)
        assert second[0][1] == "thing_0"
    assert len(index.requests) == 1
    assert (tmp_path / "keras" / "models" / "imagenet_class_index.json").is_file()
    assert len(applications.resnet.decode_predictions(scores)[0]) == 5
    assert len(applications.resnet.decode_predictions(scores, top=2000)[0]) == 1000


@pytest.mark.parametrize("shape", [(1000,), (1, 999), (1, 1, 1000)])
def test_decode_other_shapes(shape):
    with pytest.raises(ValueError, match=r"shape \(images, 1000\), got"):
        imagenet_utils.decode_predictions(np.zeros(shape))


# -- published weights ------------------------------------------------------------------------


def test_every_model_has_its_files():
    for files in weights.FILES.values():
        assert files.url.startswith("https://storage.googleapis.com/")
        assert all(c is None or len(c) == 32 for c in files.checksums)
    urls = [f.url for f in weights.FILES.values()]
    assert len(set(urls)) == len(urls)


# function -> (file with top, file without), as they lie in the caches of Keras users
NAMES = {
    "VGG19": (
        "vgg19_weights_tf_dim_ordering_tf_kernels.h5",
        "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
    ),
    "ResNet152V2": (
        "resnet152v2_weights_tf_dim_ordering_tf_kernels.h5",
        "resnet152v2_weights_tf_dim_ordering_tf_kernels_notop.h5",
    ),
    "MobileNet": ("mobilenet_1_0_224_tf.h5", "mobilenet_1_0_224_tf_no_top.h5"),
    "MobileNetV2": (
        "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224.h5",
        "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
    ),
    "MobileNetV3Small": (
        "weights_mobilenet_v3_small_224_1.0_float.h5",
        "weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5",
    ),
    "NASNetMobile": ("nasnet_mobile.h5", "nasnet_mobile_no_top.h5"),
    "EfficientNetB0": ("efficientnetb0.h5", "efficientnetb0_notop.h5"),
}


@pytest.mark.parametrize("name", NAMES)
def test_without_network(name, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    # Nothing listens there.
    monkeypatch.setattr(
        weights,
        "FILES",
        {
            k: f._replace(url=f.url.replace("https://storage.googleapis.com", "http://127.0.0.1:9"))
            for k, f in weights.FILES.items()
        },
    )
    for include_top, file in zip((True, False), NAMES[name], strict=True):
        with pytest.raises(DownloadError) as caught:
            getattr(applications, name)(include_top=include_top)
        assert f"put it there: {tmp_path / 'models' / file}" in str(caught.value)


def serve_weights(site, monkeypatch, key, model, name, include_top=True):
    model.save_weights(name)
    content = name.read_bytes()
    old = weights.FILES[key]
    url = f"{site.url}/{key}"
    site.files[f"/{key}{'' if include_top else old.no_top}.h5"] = content
    checksum = hashlib.md5(content).hexdigest()
    monkeypatch.setitem(weights.FILES, key, old._replace(url=url, checksums=(checksum, checksum)))


@pytest.mark.parametrize("include_top", [True, False])
def test_published_weights(site, monkeypatch, tmp_path, include_top):
    options = {"alpha": 0.35, "include_top": include_top}
    published = applications.MobileNetV2(weights=None, **options)
    key = "mobilenetv2_0.35_224"
    serve_weights(site, monkeypatch, key, published, tmp_path / "w.h5", include_top)
    for _ in range(2):
        model = applications.MobileNetV2(**options)
        for a, b in zip(model.get_weights(), published.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
    assert len(site.requests) == 1
    from_path = applications.MobileNetV2(weights=str(tmp_path / "w.h5"), **options)
    np.testing.assert_array_equal(from_path.get_weights()[0], published.get_weights()[0])


def test_files_of_the_first_keras(tmp_path):
    """They say nothing of versions, name weights otherwise, and list layers without weights."""
    options = {"alpha": 0.25, "include_top": False, "input_shape": (32, 32, 3)}
    published = applications.MobileNet(weights=None, **options)
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in published.layers]
        for layer in published.layers:
            group = file.create_group(layer.name)
            names = [f"{layer.name}_{n}_1:0" for n in range(len(layer.weights))]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, value in zip(names, layer.get_weights(), strict=True):
                group[name] = value
    model = applications.MobileNet(weights=str(tmp_path / "w.h5"), **options)
    for a, b in zip(model.get_weights(), published.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_weights_of_another_model(tmp_path):
    applications.MobileNetV2(weights=None, alpha=0.35).save_weights(tmp_path / "w.h5")
    with pytest.raises(ValueError, match="w.h5"):
        applications.MobileNet(weights=tmp_path / "w.h5")


def test_size_of_the_images_chooses_the_file(site, monkeypatch, tmp_path):
    shape = (160, 160, 3)
    published = applications.MobileNet(weights=None, alpha=0.25, input_shape=shape)
    serve_weights(site, monkeypatch, "mobilenet_0.25_160", published, tmp_path / "w.h5")
    model = applications.MobileNet(alpha=0.25, input_shape=shape)
    assert model.name == "mobilenet_0.25_160"
    np.testing.assert_array_equal(model.get_weights()[0], published.get_weights()[0])


def test_published_efficientnet_scales_once_more(site, monkeypatch, tmp_path, rng):
    published = applications.EfficientNetB0(weights=None)
    normalization = next(x for x in published.layers if x.name.startswith("normalization"))
    normalization.set_weights([np.array([0.5] * 3), np.array([0.25] * 3), np.array(1)])
    serve_weights(site, monkeypatch, "efficientnetb0", published, tmp_path / "w.h5")
    model = applications.EfficientNetB0()
    ready = models.Model(model.input, model.get_layer("stem_conv_pad").input)
    x = rng.uniform(0, 255, (1, 224, 224, 3)).astype("float32")
    want = (x / 255 - 0.5) / 0.5 / np.sqrt([0.229, 0.224, 0.225])
    np.testing.assert_allclose(ready.predict(x, verbose=0), want, rtol=1e-4, atol=1e-5)
