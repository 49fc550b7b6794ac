"""What joins the kernels of convolutions: steps behind them, moments, parts of the depth."""

import emulate
import numpy as np
import pytest

import gpunet
from gpunet import config, layers, models, ops
from gpunet.autodiff import Recorded
from gpunet.fused import conv_kernels, endings, launch, tiles
from gpunet.ops.window import window
from gpunet.tensor import Tensor

pytestmark = pytest.mark.skipif(not emulate.compiler(), reason="g++ is missing")


@pytest.fixture
def strict():
    before = config.precision()
    config.set_precision("strict")
    yield
    config.set_precision(before)


def floats(rng, *shape, dtype="float32"):
    return rng.standard_normal(shape).astype(dtype)


# batch, size, kernel, channels, filters, options
SHAPES = {
    "tiles": (2, (9, 8), (3, 3), 16, 70, {}),
    "one position": (1, (1, 1), (3, 3), 5, 33, {"padding": "same"}),
    "groups": (2, (5, 5), (2, 2), 6, 9, {"groups": 3, "padding": "same"}),
    "few channels": (2, (7, 5), (3, 2), 3, 33, {"padding": "same"}),
    "depthwise": (2, (6, 6), (3, 3), 5, 10, {"groups": 5, "strides": (1, 2)}),
    "1-D": (1, (9,), (3,), 16, 5, {"strides": 2}),
    "3-D": (1, (4, 3, 5), (2, 2, 3), 6, 4, {"padding": "same"}),
}


def geometry_of(name, dtype):
    batch, size, kernel, channels, filters, options = SHAPES[name]
    options = dict(options)
    groups = options.pop("groups", 1)
    w = window(size, kernel, options.get("strides", 1), options.get("padding", "valid"))
    return conv_kernels.geometry(w, channels, filters, groups, np.dtype(dtype))


def arrays_of(name, rng, dtype="float32"):
    batch, size, kernel, channels, filters, options = SHAPES[name]
    depth = channels // options.get("groups", 1)
    return [floats(rng, *s, dtype=dtype) for s in
            [(batch, *size, channels), (*kernel, depth, filters), (filters,)]]  # fmt: skip


# -- steps ------------------------------------------------------------------------------------


def residual(rng, y):
    """Return steps as behind a convolution in a residual network, and their NumPy result."""
    scale, shift = floats(rng, y.shape[-1]), floats(rng, 1, y.shape[-1])
    short = floats(rng, *y.shape)
    scale, shift, short = (a.astype(y.dtype) for a in (scale, shift, short))
    steps = [(np.multiply, scale), (np.add, shift), (np.add, short), (np.maximum, 0.0)]
    return steps, np.maximum(y * scale + shift + short, 0)


@pytest.mark.parametrize("name", SHAPES)
def test_steps_come_last(name, strict, rng):
    x, k, bias = arrays_of(name, rng, "float64")
    y = ops.conv.forward(np, x, k, bias, relu=True, **SHAPES[name][-1])[0]
    steps, wanted = residual(rng, y)
    with emulate.fake_cupy() as cupy:
        got = geometry_of(name, "float64").forward(cupy, x, k, bias, "relu", steps=steps)
    np.testing.assert_allclose(got, wanted, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_steps_on_tensor_cores(dtype, rng):
    x, k, bias = arrays_of("tiles", rng, dtype)
    wide = [a.astype("float32") for a in (x, k, bias)]
    steps, wanted = residual(rng, ops.conv.forward(np, *wide)[0])
    steps = [(f, o.astype(dtype) if hasattr(o, "dtype") else o) for f, o in steps]
    with emulate.fake_cupy() as cupy:
        got = geometry_of("tiles", dtype).forward(cupy, x, k, bias, steps=steps)
    assert got.dtype == dtype
    np.testing.assert_allclose(got, wanted, rtol=8e-3, atol=8e-3 * abs(wanted).max())


@pytest.mark.parametrize("name", ["tiles", "groups", "depthwise", "1-D"])
def test_steps_behind_transposed_ones(name, strict, rng):
    with emulate.fake_cupy():
        g = geometry_of(name, "float64")
    _, k, _ = arrays_of(name, rng, "float64")
    y = floats(rng, 2, *g.w.out, g.filters, dtype="float64")
    options = {**SHAPES[name][-1], "size": g.w.size}
    x = ops.conv_transpose.forward(np, y, k, **options)[0]
    steps, wanted = residual(rng, x)
    with emulate.fake_cupy() as cupy:
        got = g.transposed(cupy, y, k, steps=steps)
    np.testing.assert_allclose(got, wanted, rtol=1e-11, atol=1e-12)


def test_more_operands_than_a_kernel_has(strict, rng):
    x, k, _ = arrays_of("tiles", rng, "float64")
    wanted = ops.conv.forward(np, x, k)[0]
    given = [floats(rng, *wanted.shape, dtype="float64") for _ in range(11)]
    steps = [(np.add, a) for a in given] + [(np.maximum, 0.0)]
    with emulate.fake_cupy() as cupy:
        got = geometry_of("tiles", "float64").forward(cupy, x, k, steps=steps)
    np.testing.assert_allclose(got, np.maximum(wanted + sum(given), 0), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_steps_keep_the_bits_of_single_operations(dtype, rng):
    x = floats(rng, 7, 5, 3, dtype=dtype) * 100
    x[0, 0], x[1, 1] = np.nan, np.inf
    scale, other = floats(rng, 3, dtype=dtype), floats(rng, 7, 5, 3, dtype=dtype)
    other[2, 2] = np.nan
    steps = [(np.multiply, scale), (np.subtract, other), (np.divide, 0.3), (np.maximum, -2.0),
             (np.minimum, other), (np.add, 1)]  # fmt: skip
    wanted = x
    with np.errstate(invalid="ignore"):
        for f, o in steps:
            wanted = f(wanted, o)
    with emulate.fake_cupy() as cupy:
        np.testing.assert_array_equal(endings.done(cupy, steps, x), wanted)


def test_numbers_and_arrays_are_told_apart(rng):
    """True is 1 and False is 0 to a cache."""
    x, row = floats(rng, 4, 3), np.arange(3, dtype="float32") - 1
    with emulate.fake_cupy() as cupy:
        for operand in (1, row, x[::-1], 0.0, np.float32(1), 0, np.array([[2, 3, 4]], "float32")):
            for f in (np.maximum, np.add):
                got = endings.done(cupy, [(f, operand)], x)
                np.testing.assert_array_equal(got, f(x, operand))
                again = endings.done(cupy, [(f, operand), (np.add, row)], x)
                np.testing.assert_array_equal(again, f(x, operand) + row)


def test_nothing_to_do_for_empty_batches(strict, rng):
    _, k, bias = arrays_of("tiles", rng)
    with emulate.fake_cupy() as cupy:
        g = geometry_of("tiles", "float32")
        x, short = np.empty((0, 9, 8, 16), "float32"), np.empty((0, 7, 6, 70), "float32")
        assert g.forward(cupy, x, k, bias, steps=[(np.add, short)]).shape == short.shape
        assert g.measured(cupy, x, k)[1] is None


def test_what_cannot_be_written_down_stays_by_itself():
    def looks(z, _, out):
        out[...] = z if z > 0 else -z

    def picks(z, _, out):
        out[...] = z[0]

    assert not endings.traceable(looks, None) and not endings.traceable(picks, None)
    assert not endings.traceable(np.arctan2, True) and endings.traceable(np.multiply, True)
    assert not endings.traceable(np.add, float("inf")) and endings.traceable(np.add, 2)


# -- moments ----------------------------------------------------------------------------------


def merged(moments):
    """Return mean and variance of parts, in float64."""
    count, mean, squares = moments.astype("float64").transpose(1, 0, 2)
    total = count.sum(0)
    mean = np.where(count > 0, mean, 0)
    whole = (count * mean).sum(0) / total
    return whole, ((squares * (count > 0)).sum(0) + (count * (mean - whole) ** 2).sum(0)) / total


@pytest.mark.parametrize("tensor", [True, False], ids=["tensor cores", "strict"])
def test_moments_of_small_tiles(tensor, rng, monkeypatch):
    check_moments(tiles.TILES[-1], tensor, rng, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("tile", tiles.TILES[:-1], ids=str)
@pytest.mark.parametrize("tensor", [True, False], ids=["tensor cores", "strict"])
def test_moments_of_any_tile(tile, tensor, rng, monkeypatch):
    check_moments(tile, tensor, rng, monkeypatch)


def check_moments(tile, tensor, rng, monkeypatch):
    monkeypatch.setattr(tiles, "TILES", (tile,))
    monkeypatch.setattr(tiles, "chosen", tiles.chosen.__wrapped__)
    monkeypatch.setattr(tiles, "splits", lambda *_: 1)
    config.set_precision("tf32" if tensor else "strict")
    filters = 37 if tile in tiles.TILES[4:] else 40  # large ones want pieces of several elements
    x, k, bias = (floats(rng, *s) for s in [(3, 6, 7, 8), (3, 3, 8, filters), (filters,)])
    bias += 1000  # a mean that is large beside the deviation
    with emulate.fake_cupy() as cupy:
        g = conv_kernels.geometry(window((6, 7), (3, 3), 1, "same"), 8, filters, 1, x.dtype)
        y, moments = g.measured(cupy, x, k, bias)
    config.set_precision("tf32")
    assert moments.shape == (-(-126 // tile.m), 3, filters)
    np.testing.assert_array_equal(moments[:, 0].sum(0), 126)
    mean, variance = merged(moments)
    rows = y.reshape(-1, filters).astype("float64")
    np.testing.assert_allclose(mean, rows.mean(0), rtol=1e-6)
    np.testing.assert_allclose(variance, rows.var(0), rtol=2e-4)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_moments_of_any_shape(name, dtype, rng):
    x, k, bias = arrays_of(name, rng, dtype)
    with emulate.fake_cupy() as cupy:
        g = geometry_of(name, dtype)
        y, moments = g.measured(cupy, x, k, bias, "relu")
        np.testing.assert_array_equal(y, g.forward(cupy, x, k, bias, "relu"))
    assert (moments is None) == (g.few or g.depthwise)
    if moments is not None:
        mean, variance = merged(moments)
        rows = y.reshape(-1, y.shape[-1]).astype("float64")  # what memory holds
        np.testing.assert_allclose(mean, rows.mean(0), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(variance, rows.var(0), rtol=1e-4, atol=1e-6)


# -- any shape --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "seed", [*range(3), *[pytest.param(s, marks=pytest.mark.slow) for s in range(3, 60)]]
)
def test_any_shape(seed, monkeypatch):
    """Odd sizes, borders, groups and parts; all three ways with steps, against float64."""
    rng = np.random.default_rng(seed)
    rank, groups = int(rng.integers(1, 4)), int(rng.choice([1, 1, 1, 2, 3]))
    channels, filters = (groups * int(n) for n in rng.choice([1, 3, 5, 16, 33], 2))
    kernel = tuple(int(n) for n in rng.integers(1, 4, rank))
    size = tuple(int(n) for n in rng.integers(1, 10, rank))
    strides = tuple(int(n) for n in rng.integers(1, 3, rank))
    dtype, precision = [("float32", "strict"), ("float32", "tf32"), ("float16", "tf32")][seed % 3]
    options = {"strides": strides, "padding": "same", "groups": groups}
    x = floats(rng, int(rng.integers(1, 3)), *size, channels).astype(dtype)
    k = (floats(rng, *kernel, channels // groups, filters) / 4).astype(dtype)
    bias = floats(rng, filters).astype(dtype)
    wide = [a.astype("float64") for a in (x, k, bias)]
    y, saved = ops.conv.forward(np, *wide, **options)
    gy = floats(rng, *y.shape).astype(dtype)
    gx = ops.conv.pull(np, saved, gy.astype("float64"), [True, False, False])[0]
    steps, wanted = residual(rng, y)
    steps_back, wanted_back = residual(rng, gx)
    given, given_back = (
        [(f, o.astype(dtype) if hasattr(o, "dtype") else o) for f, o in s]
        for s in (steps, steps_back)
    )
    parts = int(rng.choice([1, 2, 5]))
    monkeypatch.setattr(tiles, "splits", lambda *_: parts)
    before = config.precision()
    config.set_precision(precision)
    try:
        with emulate.fake_cupy() as cupy:
            w = window(size, kernel, strides, "same")
            g = conv_kernels.geometry(w, channels, filters, groups, x.dtype)
            results = [g.forward(cupy, x, k, bias, steps=given),
                       g.transposed(cupy, gy, k, steps=given_back)]  # fmt: skip
            plain, moments = g.measured(cupy, x, k, bias)
    finally:
        config.set_precision(before)
    tolerance = 2e-5 if precision == "strict" else 6e-3 if dtype == "float32" else 1e-2
    for got, known in zip([*results, plain], [wanted, wanted_back, y], strict=True):
        scale = max(1.0, abs(known).max())
        np.testing.assert_allclose(got, known, rtol=tolerance, atol=tolerance * scale)
    if moments is not None:
        mean, variance = merged(moments)
        rows = plain.reshape(-1, filters).astype("float64")
        np.testing.assert_allclose(mean, rows.mean(0), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(variance, rows.var(0), rtol=1e-4, atol=1e-5)


# -- parts of the depth ------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [3, *[pytest.param(n, marks=pytest.mark.slow) for n in (2, 16)]])
@pytest.mark.parametrize("name", ["tiles", "one position", "groups", "3-D"])
def test_parts_of_the_depth(name, parts, strict, rng, monkeypatch):
    monkeypatch.setattr(tiles, "splits", lambda *_: parts)
    x, k, bias = arrays_of(name, rng, "float64")
    options = SHAPES[name][-1]
    y, saved = ops.conv.forward(np, x, k, bias, relu=True, **options)
    steps, wanted = residual(rng, y)
    gx = ops.conv.pull(np, ops.conv.forward(np, x, k, **options)[1], y, [True, False])[0]
    with emulate.fake_cupy() as cupy:
        g = geometry_of(name, "float64")
        got, before = g.forward(cupy, x, k, bias, "relu", before=True, steps=steps)
        again = g.transposed(cupy, y, k)
        assert g.measured(cupy, x, k)[1] is None
    np.testing.assert_allclose(got, wanted, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(np.maximum(before, 0), y, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(again, gx, rtol=1e-11, atol=1e-11)


def test_parts_with_strides(strict, rng, monkeypatch):
    """Classes of positions have depths of their own, and some have none."""
    monkeypatch.setattr(tiles, "splits", lambda *_: 3)
    x, k = floats(rng, 1, 9, 7, 4, dtype="float64"), floats(rng, 2, 1, 4, 40, dtype="float64")
    options = {"strides": (3, 2)}
    y, saved = ops.conv.forward(np, x, k, **options)
    (gx, _) = ops.conv.pull(np, saved, y, [True, False])[:2]
    with emulate.fake_cupy() as cupy:
        g = conv_kernels.geometry(window((9, 7), (2, 1), (3, 2)), 4, 40, 1, x.dtype)
        np.testing.assert_allclose(g.transposed(cupy, y, k), gx, rtol=1e-11, atol=1e-12)


def test_only_deep_layers_with_few_positions_are_cut():
    def product(rows, columns, depth):
        return tiles.Product(rows, columns, depth, 1, 4, True, True, False, 4, 4)

    chip = launch.CHIPS["h200"]
    assert tiles.splits(product(2 * 7 * 7, 512, 4608), chip) > 1
    assert tiles.splits(product(64 * 32 * 32, 64, 576), chip) == 1
    assert tiles.splits(product(49, 64, 72), chip) == 1
    for parts in (2, 3, 16):
        part = product(98, 512, 4608).split(parts)
        assert part.depth * parts >= 4608 and part.count == parts and part.depth % 16 == 0


# -- joined recordings ---------------------------------------------------------------------------


def replay_of(function, *inputs):
    recorded = Recorded(function, "test")
    for _ in range(3):
        results = recorded(*inputs)
    (replay,) = recorded._replays.values()
    return [getattr(r, "array", r) for r in results], replay


def shaken(rng, model):
    model.set_weights([0.5 + 0.3 * abs(floats(rng, *w.shape)) for w in model.get_weights()])
    return model


def bottleneck():
    x = layers.Input((6, 5, 8))
    y = layers.Conv2D(6, 3, padding="same", use_bias=False)(x)
    y = layers.ReLU(6.0)(layers.BatchNormalization()(y))
    y = layers.ZeroPadding2D(1)(y)
    y = layers.DepthwiseConv2D(3, use_bias=False)(y)
    y = layers.Activation("swish")(layers.BatchNormalization()(y))
    y = layers.BatchNormalization()(layers.Conv2D(8, 1)(y))
    y = layers.ReLU()(layers.Add()([x, y]))
    return models.Model(x, layers.Conv2DTranspose(3, 2, strides=2, activation="tanh")(y))


def test_recordings_join_kernels(strict, rng):
    model, x = shaken(rng, bottleneck()), Tensor(floats(rng, 2, 6, 5, 8))
    wanted = model(x).array
    with emulate.on_gpu():
        alone = model(x).array
        (got,), replay = replay_of(lambda x: [model(x)], x)
    text = replay.source
    np.testing.assert_allclose(got, wanted, rtol=2e-5, atol=2e-5)
    np.testing.assert_array_equal(got, alone)  # the bits of single kernels
    assert text.count("_conv_ended") == 2 and text.count("_conv_transpose_ended") == 1
    assert "_affine" not in text and "_relu" not in text and "_pad_" not in text
    assert "swish" not in text and "activation" not in text
    assert text.count("_done") == 1  # behind the product that is cuBLASLt's


def pulled(model, x, gy):
    """Return a recorded step's results beside the plain ones, and its text."""

    def step(x, gy):
        with gpunet.GradientTape() as tape:
            tape.watch(x)
            y = model(x, training=True)
        return [y, *tape.gradient(y, [x, *model.trainable_weights], gy)]

    start = model.get_weights()
    wanted = [t.array for t in step(x, gy)]
    wanted += model.get_weights()
    model.set_weights(start)
    with emulate.on_gpu():
        alone = [t.array for t in step(x, gy)]
        model.set_weights(start)
        _, replay = replay_of(step, x, gy)
        model.set_weights(start)
        got = [getattr(r, "array", r) for r in replay(x.array, gy.array)]
    return [*got, *model.get_weights()], alone, wanted, replay.source


def test_training_steps_are_joined(strict, rng, monkeypatch):
    monkeypatch.setattr(config, "floatx", lambda: "float64")
    model, x = shaken(rng, bottleneck()), Tensor(floats(rng, 2, 6, 5, 8, dtype="float64"))
    gy = Tensor(floats(rng, 2, 12, 10, 3, dtype="float64"))
    got, _, wanted, text = pulled(model, x, gy)
    for a, b in zip(got, wanted, strict=True):
        assert a.dtype == "float64"
        # The bias below a normalization has no gradient.
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6 * abs(b).max() + 1e-12)
    lines = text.splitlines()
    forward = [line for line in lines if "_normalize_ended" in line]
    assert len(forward) == 3 and "_maximum" not in text and "_relu" not in text
    assert sum("_add" in line for line in forward) == 1  # the shortcut, and the rectifier behind it
    assert text.count("_conv_told") == 2  # of three: the other one is cuBLASLt's
    assert sum("vt" in line for line in forward) == 2


def residual_block():
    """Two rectifiers whose masks, and a shortcut's sum, end gradients of convolutions."""
    x = layers.Input((5, 6, 8))
    z = layers.Conv2D(8, 3, padding="same")(x)
    z = layers.Activation("relu")(z)
    y = layers.Activation("tanh")(layers.Conv2D(6, 3, padding="same")(z))
    y = layers.Conv2D(8, 3, padding="same", strides=1)(y)
    return models.Model(x, layers.Add()([y, z]))


def test_gradients_go_on_too(strict, rng, monkeypatch):
    monkeypatch.setattr(config, "floatx", lambda: "float64")
    model, x = shaken(rng, residual_block()), Tensor(floats(rng, 2, 5, 6, 8, dtype="float64"))
    gy = Tensor(floats(rng, 2, 5, 6, 8, dtype="float64"))
    got, alone, wanted, text = pulled(model, x, gy)
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9 * abs(b).max())
    for a, b in zip(got, alone):
        np.testing.assert_array_equal(a, b)
    back = [line for line in text.splitlines() if "_conv_back_ended" in line]
    assert len(back) == 2 and "activation_fused_backward" not in text
    assert sum("_added" in line or "_add" in line for line in back) == 1


# -- launches, as benchmarks.conv_joined counts them ---------------------------------------------


@pytest.fixture
def launched(monkeypatch):
    """List of the names of kernels that ran."""
    names, call = [], emulate._Kernel.__call__

    def noted(self, *args, **options):
        names.append(self.name)
        return call(self, *args, **options)

    monkeypatch.setattr(emulate._Kernel, "__call__", noted)
    return names


def unit():
    x = layers.Input((6, 6, 8))
    z = layers.Activation("relu")(layers.Conv2D(8, 3, padding="same")(x))
    y = layers.BatchNormalization()(layers.Conv2D(8, 3, padding="same", use_bias=False)(z))
    y = layers.ReLU()(layers.Add()([y, z]))
    return models.Model(x, y)


def test_launches(strict, rng, launched):
    model, x = shaken(rng, unit()), Tensor(floats(rng, 2, 6, 6, 8))
    gy = Tensor(floats(rng, 2, 6, 6, 8))

    def step(x, gy):
        with gpunet.GradientTape() as tape:
            y = model(x, training=True)
        return tape.gradient(y, model.trainable_weights, gy)

    with emulate.on_gpu():
        _, replay = replay_of(lambda x: [model(x)], x)
        launched.clear()
        replay(x.array)
        assert launched == ["conv_forward"] * 2
        _, replay = replay_of(step, x, gy)
        launched.clear()
        replay(x.array, gy.array)
    assert launched == [
        "conv_forward", "conv_forward", "moments_merged", "normalize_columns",
        "activation_backward", "gradient_sums", "gradient_sums_merged",
        "normalize_columns_backward", "conv_transposed", "conv_kernel_gradient",
        "ending_backward", "conv_kernel_gradient",
    ]  # fmt: skip


def test_joined_is_counted_as_less():
    from benchmarks import conv_joined

    for shape in conv_joined.UNITS.values():
        for ways in conv_joined.joined(*shape).values():
            assert all(a < b for a, b in zip(ways["joined"], ways["alone"]))
    for shape in conv_joined.CUT.values():
        parts, seconds, whole = conv_joined.cut(*shape)
        assert (parts > 1) == (seconds < whole)
