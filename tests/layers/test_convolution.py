"""Layers of convolution, local connection, padding and enlarging against the real Keras."""

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest

import gpunet
from gpunet import layers, ops, registry
from gpunet.autodiff import GradientTape
from gpunet.errors import ShapeError
from gpunet.tensor import Tensor

FOLDER = Path(__file__).resolve().parent.parent / "fixtures" / "keras"
STORED = json.loads((FOLDER / "conv.json").read_text(encoding="utf8"))
CASES = STORED["cases"]


def eighths(rng, shape):
    """The numbers that fixtures/makers/conv.py draws."""
    return rng.randint(-8, 9, shape).astype("float32") / 8


def stored_outputs():
    """Return, for each case, the list of arrays that Keras gave."""
    with np.load(FOLDER / "conv.npz") as file:
        flat, start, found = file["outputs"], 0, []
    for case in CASES:
        shapes = [(2, *case["output_shape"][1:]), (2, *case["shape"]), *case["weights"].values()]
        parts = []
        for shape in shapes:
            n = int(np.prod(shape))
            parts.append(flat[start : start + n].reshape(shape))
            start += n
        found.append(parts)
    assert start == flat.size
    return found


OUTPUTS = stored_outputs()


def label(i):
    options = "-".join(f"{k}={v}" for k, v in CASES[i]["config"].items())
    return f"{CASES[i]['class']}-{options}".replace(" ", "")


EVERY = pytest.mark.parametrize("i", range(len(CASES)), ids=label)


@EVERY
def test_output_and_gradients_are_those_of_keras(i):
    case, (want, *gradients) = CASES[i], OUTPUTS[i]
    layer = getattr(layers, case["class"])(**case["config"])
    rng = np.random.RandomState(case["number"])
    x = Tensor(eighths(rng, (2, *case["shape"])))
    symbolic = layer(layers.Input(case["shape"]))
    assert list(symbolic.shape) == case["output_shape"]
    assert [list(w.shape) for w in layer.weights] == list(case["weights"].values())
    prefix = f"{layer.name}/"
    wanted_names = [name.partition("/")[2] for name in case["weights"]]
    assert [w.name.removeprefix(prefix) for w in layer.weights] == wanted_names
    layer.set_weights([eighths(rng, s) for s in case["weights"].values()])
    with GradientTape() as tape:
        tape.watch(x)
        y = layer(x)
        total = ops.sum(ops.multiply(y, eighths(rng, tuple(y.shape))))
    np.testing.assert_allclose(y, want, rtol=1e-5, atol=1e-5)
    got = tape.gradient(total, [x, *layer.trainable_weights])
    for g, w in zip(got, gradients, strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-5, atol=1e-5)


def comparable(value):
    """Return a config value without what versions write differently."""
    if isinstance(value, dict) and "class_name" in value:
        return value["class_name"], comparable(value["config"])
    if isinstance(value, (list, tuple)):
        return [comparable(v) for v in value]
    return value


@pytest.mark.parametrize("name", STORED["configs"])
def test_config_is_that_of_keras(name):
    theirs = STORED["configs"][name]
    layer = getattr(layers, name).from_config(theirs)
    ours = json.loads(json.dumps(layer.get_config()))
    assert ours.keys() - theirs.keys() <= {"dilation_rate"}  # Conv3DTranspose takes it
    for key, value in ours.items():
        if key in theirs:
            assert comparable(value) == comparable(theirs[key]), key
    # What Keras writes and we don't is what every such layer has.
    for key in theirs.keys() - ours.keys():
        default = {"groups": 1, "filters": None}.get(key)
        fallback = comparable(theirs[key])
        assert fallback in (default, ("GlorotUniform", {"seed": None})), key


IMAGE_LAYERS = [
    ("Conv2D", {"filters": 4, "kernel_size": (3, 2), "padding": "same", "strides": 2}, (6, 5, 3)),
    ("Conv2D", {"filters": 4, "kernel_size": 3, "activation": "relu", "groups": 2}, (6, 5, 4)),
    ("Conv1D", {"filters": 4, "kernel_size": 3, "padding": "causal"}, (7, 3)),
    ("Conv3D", {"filters": 4, "kernel_size": 2}, (3, 4, 5, 2)),
    ("Conv1DTranspose", {"filters": 4, "kernel_size": 3, "strides": 2}, (5, 2)),
    ("Conv2DTranspose", {"filters": 4, "kernel_size": 3, "activation": "relu"}, (5, 4, 2)),
    ("Conv3DTranspose", {"filters": 2, "kernel_size": 2, "strides": 2}, (2, 3, 2, 2)),
    ("DepthwiseConv2D", {"kernel_size": 3, "depth_multiplier": 2}, (5, 4, 2)),
    ("SeparableConv2D", {"filters": 4, "kernel_size": 3, "padding": "same"}, (5, 4, 2)),
]


@pytest.mark.parametrize(("name", "config", "shape"), IMAGE_LAYERS)
def test_channels_first_is_channels_last_moved(name, config, shape):
    last = getattr(layers, name)(**config, data_format="channels_last")
    first = getattr(layers, name)(**config, data_format="channels_first")
    rng = np.random.RandomState(0)
    x = eighths(rng, (2, *shape))
    moved = np.ascontiguousarray(np.moveaxis(x, -1, 1))
    want = last(x)
    assert first.compute_output_shape((None, *moved.shape[1:]))[1] == want.shape[-1]
    first(moved)
    first.set_weights(last.get_weights())
    np.testing.assert_allclose(first(moved), np.moveaxis(want.numpy(), -1, 1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: layers.Conv2D(0, 3), "Conv2D: expected filters to be a positive int, got 0"),
        (lambda: layers.Conv2D(4, (3, 3, 3)), "expected kernel_size to be an int >= 1, or 2"),
        (lambda: layers.Conv2D(4, 0), "Conv2D: expected kernel_size"),
        (lambda: layers.Conv2D(4, 3, strides=0), "expected strides"),
        (lambda: layers.Conv2D(4, 3, padding="causal"), "'valid', 'same', got 'causal'"),
        (lambda: layers.Conv2D(4, 3, strides=2, dilation_rate=2), "can't be combined"),
        (lambda: layers.Conv2D(4, 3, groups=3), "expected filters to be a multiple of groups=3"),
        (lambda: layers.Conv2D(4, 3, data_format="nchw"), "expected data_format"),
        (lambda: layers.Conv2DTranspose(4, 3, output_padding=1), "below the strides"),
        (lambda: layers.DepthwiseConv2D(3, depth_multiplier=0), "depth_multiplier"),
        (lambda: layers.LocallyConnected1D(4, 3, padding="same"), "implementation 2 or 3"),
        (lambda: layers.LocallyConnected1D(4, 3, implementation=4), "implementation 1, 2 or 3"),
        (lambda: layers.UpSampling2D(interpolation="bicubic"), "'nearest' or 'bilinear'"),
        (lambda: layers.UpSampling2D(0), "expected size to be an int >= 1"),
        (lambda: layers.ZeroPadding2D((1, 2, 3)), "2 pairs of ints"),
        (lambda: layers.ZeroPadding1D(-1), "ZeroPadding1D 'zero_padding1d"),
        (lambda: layers.Cropping2D(((1, 2), (3,))), "expected cropping"),
    ],
)
def test_bad_arguments(make, text):
    with pytest.raises(ValueError) as error:
        make()
    assert text in str(error.value)


def built(layer, shape):
    layer(layers.Input(shape))
    return layer


@pytest.mark.parametrize(
    ("layer", "shape", "text"),
    [
        (
            lambda: built(layers.Conv2D(4, 3, name="c"), (28, 28, 16)),
            (28, 28, 3),
            "Conv2D 'c': expected 16 input channels, got 3 "
            "(input shape (None, 28, 28, 3), channels_last)",
        ),
        (
            lambda: layers.Conv2D(4, 3, name="c"),
            (28, 28),
            "Conv2D 'c': expected an input of rank 4, got rank 3 (input shape (None, 28, 28))",
        ),
        (
            lambda: layers.Conv2D(4, 3, name="c"),
            (28, 2, 1),
            "Conv2D 'c': no window of 3 cells fits into size 2 of spatial axis 1 with padding "
            "'valid' (input shape (None, 28, 2, 1))",
        ),
        (lambda: layers.Conv2D(4, 3, name="c"), (28, 28, None), "Conv2D 'c': the number of"),
        (lambda: layers.Conv2D(4, 3, groups=2, name="c"), (9, 9, 3), "a multiple of groups=2"),
        (
            lambda: layers.Conv1DTranspose(
                4, 4, strides=2, padding="same", output_padding=0, name="t"
            ),
            (4, 2),
            "Conv1DTranspose 't': a transposed convolution of spatial sizes (4,) can't give (6,)",
        ),
        (lambda: layers.LocallyConnected1D(4, 3, name="l"), (None, 3), "'l': the sizes of the"),
        (lambda: layers.Cropping1D(2, name="k"), (4, 3), "Cropping1D 'k': nothing is left"),
    ],
)
def test_wrong_inputs_are_refused_by_name(layer, shape, text):
    made = layer()
    with pytest.raises(ShapeError) as error:
        made(layers.Input(shape))
    assert text in str(error.value)


def test_second_call_with_other_sizes():
    conv = layers.Conv2D(2, 3)
    assert conv(np.zeros((1, 8, 8, 3))).shape == (1, 6, 6, 2)
    assert conv(np.zeros((2, 5, 9, 3))).shape == (2, 3, 7, 2)
    local = built(layers.LocallyConnected1D(2, 3), (8, 3))
    with pytest.raises(ShapeError, match="expected spatial sizes"):
        local(np.zeros((1, 9, 3)))


def test_unknown_sizes():
    x = layers.Input((None, None, 3))
    y = layers.Conv2D(4, 3, padding="same", strides=2)(x)
    y = layers.Conv2DTranspose(2, 3, strides=2)(y)
    y = layers.UpSampling2D(2)(layers.ZeroPadding2D(1)(layers.Cropping2D(1)(y)))
    assert y.shape.as_list() == [None, None, None, 2]
    model = gpunet.Model(x, y)
    for height, width in ((8, 6), (5, 9)):
        size = [2 * (2 * -(-n // 2) + 1) for n in (height, width)]
        got = model.predict(np.zeros((1, height, width, 3)))
        assert got.shape == (1, *size, 2)


def test_empty_batch():
    x = np.zeros((0, 6, 6, 4), "float32")
    for layer in (
        layers.Conv2D(3, 3),
        layers.Conv2DTranspose(3, 3),
        layers.DepthwiseConv2D(3),
        layers.LocallyConnected2D(3, 3),
        layers.UpSampling2D(interpolation="bilinear"),
    ):
        with GradientTape() as tape:
            y = layer(x)
        assert y.shape[0] == 0
        for g in tape.gradient(y, layer.trainable_weights):
            assert not g.numpy().any()


def test_integer_images():
    x = np.arange(2 * 5 * 5 * 1, dtype="uint8").reshape(2, 5, 5, 1)
    layer = layers.Conv2D(2, 3)
    np.testing.assert_allclose(layer(x), layer(x.astype("float32")))
    assert layers.UpSampling2D()(x).dtype == np.uint8
    assert layers.ZeroPadding2D()(x).dtype == np.uint8
    assert layers.UpSampling2D(interpolation="bilinear")(x).dtype == np.float32


def test_aliases_load():
    for alias, kind in [
        ("Convolution1D", layers.Conv1D),
        ("Convolution2D", layers.Conv2D),
        ("Convolution3D", layers.Conv3D),
        ("Deconvolution2D", layers.Conv2DTranspose),
        ("Deconvolution3D", layers.Conv3DTranspose),
        ("Convolution1DTranspose", layers.Conv1DTranspose),
        ("SeparableConvolution1D", layers.SeparableConv1D),
        ("SeparableConvolution2D", layers.SeparableConv2D),
    ]:
        assert getattr(layers, alias) is kind
        config = {"class_name": alias, "config": {"filters": 2, "kernel_size": 3}}
        assert type(registry.layers.deserialize(config)) is kind


def test_a_subclass_keeps_its_rank_and_defaults():
    class Mine(layers.Conv2D):
        def call(self, inputs):
            return super().call(inputs) * 2

    layer = Mine(3, 3)
    x = np.ones((1, 4, 4, 2), "float32")
    symbolic = layer(layers.Input((4, 4, 2)))
    assert symbolic.shape.as_list() == [None, 2, 2, 3]
    assert layer.get_config()["strides"] == (1, 1)
    assert layer(x).shape == (1, 2, 2, 3)


FILES = FOLDER.parent / "h5"
INDEX = json.loads((FILES / "index.json").read_text(encoding="utf8"))["keras2"]


@pytest.mark.parametrize("name", ["conv2d_variants", "seed_toy_resnet"])
def test_files_of_keras(name):
    """Outputs, evaluate, summary, and the next training losses where nothing is random."""
    expected = INDEX[name]
    model = gpunet.models.load_model(FILES / f"{name}.h5")
    with np.load(FILES / f"{name}.npz") as file:
        stored = dict(file)
    x, y, out = (
        [stored[k] for k in sorted(stored) if k.startswith(p)] for p in ("in", "tgt", "out")
    )
    got = model.predict(x[0])
    for a, b in zip(got if isinstance(got, list) else [got], out, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    y = y if len(y) > 1 else y[0]
    scores = model.evaluate(x[0], y, batch_size=expected["batch"], verbose=0)
    np.testing.assert_allclose(scores, expected["evaluate"], rtol=1e-4)
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        model.summary()
    assert text.getvalue().strip() == expected["summary"]["default"]["keras_2.4"].strip()
    if "train" in expected:
        losses = [np.ravel(model.train_on_batch(x[0], y))[0] for _ in range(5)]
        np.testing.assert_allclose(losses, expected["train"], rtol=1e-3)
