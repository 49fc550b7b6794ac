"""Image layers: the numbers of real Keras where nothing is random, properties elsewhere."""

import json
from pathlib import Path

import fake_device
import numpy as np
import pytest

import gpunet
from gpunet import layers, ops
from gpunet.autodiff import GradientTape
from gpunet.layers import Input
from gpunet.tensor import Tensor, convert_to_tensor

FOLDER = Path(__file__).resolve().parents[1] / "fixtures" / "keras"
STORED = json.loads((FOLDER / "image.json").read_text(encoding="utf8"))
with np.load(FOLDER / "image.npz") as _file:
    _OUTPUTS = np.split(
        _file["outputs"], np.cumsum([np.prod(c["output_shape"]) for c in STORED["cases"]])
    )
KERAS = [
    pytest.param(c, y, id=f"{c['number']}-{c['class']}")
    for c, y in zip(STORED["cases"], _OUTPUTS, strict=False)
]
CONTRAST = _OUTPUTS[-1]
# Every layer with arguments that its constructor needs.
ALL = {name: config["given"] for name, config in STORED["configs"].items()}
RANDOM = sorted(name for name in ALL if name.startswith("Random"))
SAME_SIZE = sorted(set(RANDOM) - {"RandomCrop", "RandomHeight", "RandomWidth"})


def drawn(number, shape):
    """Return two images, as the maker drew them."""
    return np.random.RandomState(number).randint(-16, 17, (2, *shape)).astype("float32") / 16


def make(name, **options):
    """Return a layer whose random amounts aren't fixed."""
    given = {
        "RandomTranslation": {"height_factor": 0.3, "width_factor": 0.4},
        "RandomRotation": {"factor": 0.2},
        "RandomZoom": {"height_factor": 0.4},
        "RandomHeight": {"factor": 0.3},
        "RandomWidth": {"factor": 0.3},
        "RandomBrightness": {"factor": 0.5, "value_range": (0, 1)},
        "RandomContrast": {"factor": 0.5},
        "RandomFlip": {},
        "Rescaling": {"scale": 0.5},
    }
    return getattr(layers, name)(**{**given.get(name, {"height": 3, "width": 4}), **options})


@pytest.mark.parametrize(("case", "y"), KERAS)
def test_values_are_keras(case, y):
    x = drawn(case["number"], case["shape"])
    layer = getattr(layers, case["class"])(**case["config"])
    got = layer(x, training=bool(case["training"])).numpy()
    assert list(got.shape) == case["output_shape"]
    np.testing.assert_allclose(got.ravel(), y, rtol=1e-5, atol=2e-5)
    single = layer(x[1], training=bool(case["training"])).numpy()
    np.testing.assert_allclose(single, got[1], rtol=1e-5, atol=1e-6)
    free = layer(Input(case["shape"])).shape
    assert all(a in (None, b) for a, b in zip(free, got.shape, strict=True))
    if case["class"] not in ("RandomHeight", "RandomWidth"):
        assert free == (None, *got.shape[1:])


@pytest.mark.parametrize("name", STORED["configs"])
def test_configs_are_keras(name):
    want = {k: v for k, v in STORED["configs"][name].items() if k not in ("given", "rng_type")}
    layer = getattr(layers, name)(**ALL[name])
    got = json.loads(json.dumps(layer.get_config()))
    assert {**got, "name": want["name"]} == want
    again = type(layer).from_config(
        {k: v for k, v in STORED["configs"][name].items() if k != "given"}
    )
    assert again.get_config() == {**layer.get_config(), "name": again.name}


def test_contrast_is_keras(monkeypatch):
    layer = layers.RandomContrast(0.5)
    monkeypatch.setattr(layer, "_draw", lambda shape, bounds: Tensor(np.float32(1.3).reshape(())))
    y = layer(drawn(0, (5, 6, 2)) * 200, training=True)
    np.testing.assert_allclose(y.numpy().ravel(), CONTRAST, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_dtypes_and_whole_numbers(seeds, name, dtype):
    layer = make(name, dtype=dtype)
    for x in (np.arange(240, dtype="uint8").reshape(2, 5, 8, 3), np.ones((2, 5, 8, 3), "float64")):
        for training in (False, True):
            assert layer(x, training=training).dtype == dtype
    symbolic = layer(Input((5, 8, 3), dtype="uint8"))
    assert symbolic.dtype == dtype


@pytest.mark.parametrize("name", SAME_SIZE + ["RandomHeight", "RandomWidth"])
def test_nothing_happens_outside_of_training(name):
    x = drawn(1, (5, 6, 3))
    layer = make(name)
    np.testing.assert_array_equal(layer(x), x)
    np.testing.assert_array_equal(layer(x, training=False), x)


@pytest.mark.parametrize("name", RANDOM)
def test_a_seed_repeats_itself(name):
    x = drawn(1, (6, 7, 3))
    a, b = make(name, seed=3), make(name, seed=3)
    first = [a(x, training=True).numpy() for _ in range(8)]
    for y in first:
        np.testing.assert_array_equal(b(x, training=True), y)
    assert any(y.shape != first[0].shape or (y != first[0]).any() for y in first)


@pytest.mark.parametrize("name", RANDOM)
def test_the_default_generator(seeds, name):
    x = drawn(1, (6, 7, 3))
    layer = make(name)
    first = layer(x, training=True).numpy()
    gpunet.utils.set_random_seed(0)
    np.testing.assert_array_equal(layer(x, training=True), first)


@pytest.mark.parametrize("mode", ["horizontal", "vertical", "horizontal_and_vertical"])
def test_flips(seeds, mode):
    x = np.tile(drawn(1, (4, 5, 3))[:1], (400, 1, 1, 1))
    y = layers.RandomFlip(mode)(x, training=True).numpy()
    kinds = {"same": x[0], "left": x[0, :, ::-1], "up": x[0, ::-1], "both": x[0, ::-1, ::-1]}
    found = {k: int(np.all(y == v, axis=(1, 2, 3)).sum()) for k, v in kinds.items()}
    possible = {"horizontal": ("same", "left"), "vertical": ("same", "up")}.get(mode, tuple(kinds))
    assert sum(found[k] for k in possible) == 400
    for k in possible:
        assert found[k] == pytest.approx(400 / len(possible), abs=50)


def test_each_image_moves_by_itself(seeds):
    x = np.zeros((300, 11, 21, 1), "float32")
    x[:, 5, 10] = 1
    options = {"fill_mode": "constant", "interpolation": "nearest"}
    y = layers.RandomTranslation((-0.2, 0.4), 0.3, **options)(x, training=True).numpy()
    rows, columns = (np.argmax(y.sum(axis=(a, 3)), axis=1) for a in (2, 1))
    assert rows.min() == 3 and rows.max() == 9  # 5 - 2.2, 5 + 4.4
    assert columns.min() == 4 and columns.max() == 16
    assert len(set(zip(rows.tolist(), columns.tolist()))) > 30


def test_brightness(seeds):
    x = np.full((500, 2, 2, 3), 100, "float32")
    y = layers.RandomBrightness((-0.2, 0.1))(x, training=True).numpy()
    assert (y == y[:, :1, :1, :1]).all()
    assert 49 <= y.min() < 55 and 120 < y.max() <= 125.5
    y = layers.RandomBrightness(1.0, (0, 200))(x, training=True).numpy()
    assert y.min() == 0 and y.max() == 200


def test_contrast(seeds):
    x = drawn(1, (4, 5, 3)) * 20 + 100
    layer = layers.RandomContrast((0.5, 0.25))
    mean = x.mean((1, 2), keepdims=True)
    found = []
    for _ in range(100):
        y = layer(x, training=True).numpy()
        factor = ((y - mean) / np.where(x == mean, 1, x - mean))[np.abs(x - mean) > 1]
        np.testing.assert_allclose(factor, factor[0], atol=1e-3)
        found.append(factor[0])
    assert 0.499 < min(found) < 0.55 and 1.2 < max(found) < 1.251


def test_sizes(seeds):
    x = drawn(1, (20, 30, 1))
    high = {layers.RandomHeight((-0.5, 0.25))(x, training=True).shape for _ in range(100)}
    assert {s[2] for s in high} == {30} and {s[1] for s in high} <= set(range(10, 26))
    assert len(high) > 8
    wide = {layers.RandomWidth(0.1)(x, training=True).shape for _ in range(100)}
    assert {s[1] for s in wide} == {20} and {s[2] for s in wide} <= set(range(27, 34))


def test_crops_are_parts_of_the_image(seeds):
    x = np.arange(2 * 6 * 7, dtype="float32").reshape(2, 6, 7, 1)
    places = set()
    for _ in range(200):
        y = layers.RandomCrop(4, 6)(x, training=True).numpy()
        top, left = divmod(int(y[0, 0, 0, 0]), 7)
        np.testing.assert_array_equal(y, x[:, top : top + 4, left : left + 6])
        places.add((top, left))
    assert places == {(i, j) for i in range(3) for j in range(2)}


@pytest.mark.parametrize("name", ["RandomFlip", "RandomTranslation", "RandomRotation",
                                  "RandomZoom", "RandomBrightness", "RandomCrop"])  # fmt: skip
def test_gradients(name):
    """The same numbers drawn again, two points apart by a small step."""
    x, direction = drawn(1, (5, 6, 2)).astype("float64") / 4 + 0.5, drawn(2, (5, 6, 2)) / 8

    def run(at):
        at = Tensor(at)
        with GradientTape() as tape:
            tape.watch(at)
            y = make(name, seed=1, dtype="float64")(at, training=True)
            total = ops.sum(y * y)
        return float(total), tape.gradient(total, at).numpy()

    (up, _), (down, _) = run(x + 1e-6 * direction), run(x - 1e-6 * direction)
    assert np.sum(run(x)[1] * direction) == pytest.approx((up - down) / 2e-6, rel=1e-6)


@pytest.mark.parametrize("name", sorted(set(ALL) - {"RandomHeight", "RandomWidth"}))
def test_on_strict_device(name):
    """Nothing is read on the host, whatever is drawn."""
    x = drawn(1, (5, 6, 2))
    options = {"seed": 5} if name in RANDOM else {}
    want = make(name, **options)(x, training=True).numpy()
    with fake_device.fake_device():
        layer = make(name, **options)
        given = convert_to_tensor(x)
        if layer.__dict__.get("_generator"):
            layer._generator.draw(4)
            layer._generator.set_seed(5)
        with fake_device.capture():
            y = layer(given, training=True)
        np.testing.assert_allclose(fake_device.to_host(y.array), want, rtol=1e-5, atol=1e-6)


def test_in_a_model(seeds):
    model = gpunet.Sequential(
        [
            layers.RandomFlip(input_shape=(6, 6, 1)),
            layers.RandomRotation(0.1),
            layers.RandomCrop(5, 5),
            layers.Flatten(),
            layers.Dense(1),
        ]
    )
    model.compile("sgd", "mse")
    x, y = drawn(1, (6, 6, 1)), np.zeros((2, 1), "float32")
    before = model.test_on_batch(x, y)
    for _ in range(30):
        model.train_on_batch(x, y)
    assert model.test_on_batch(x, y) < before
    again = gpunet.Sequential.from_config(json.loads(json.dumps(model.get_config())))
    again.set_weights(model.get_weights())
    np.testing.assert_array_equal(again.predict(x), model.predict(x))


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: layers.Resizing(0, 3), "height"),
        (lambda: layers.Resizing(3, 2.5), "width"),
        (lambda: layers.Resizing(3, 3, "cubic"), "interpolation"),
        (lambda: layers.RandomFlip("diagonal"), "mode"),
        (lambda: layers.RandomTranslation(1.5, 0), "height_factor"),
        (lambda: layers.RandomTranslation(0, (0.3, 0.1)), "width_factor"),
        (lambda: layers.RandomRotation((0.3, 0.1)), "factor"),
        (lambda: layers.RandomRotation(0.1, fill_mode="mirror"), "fill_mode"),
        (lambda: layers.RandomRotation(0.1, interpolation="area"), "interpolation"),
        (lambda: layers.RandomZoom(1.1), "height_factor"),
        (lambda: layers.RandomZoom(0.1, (-1.5, 0)), "width_factor"),
        (lambda: layers.RandomHeight((-1.5, 0)), "factor"),
        (lambda: layers.RandomContrast(-0.1), "factor"),
        (lambda: layers.RandomContrast((1.1, 1.2)), "factor"),
        (lambda: layers.RandomBrightness(2), "factor"),
        (lambda: layers.RandomBrightness(0.1, 255), "value_range"),
        (lambda: layers.CenterCrop(2, 2, name="middle")(Input((5,))), "'middle'.*rank"),
        (lambda: layers.CenterCrop(2, 2, size=3), "size"),
    ],
)
def test_errors(make, text):
    with pytest.raises((ValueError, TypeError), match=text):
        make()
