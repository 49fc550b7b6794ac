"""The convolution kernels on a GPU: the shapes of their emulated tests, larger ones, all tiles."""

import numpy as np
import pytest
from test_conv_kernels import SHAPES, TOLERANCES, arrays_of, fusion_of

from gpunet import config, ops
from gpunet.fused import conv_kernels, tiles, tuning
from gpunet.ops.window import window

pytestmark = pytest.mark.gpu

LARGE = {
    "64 to 64": (8, (32, 32), (3, 3), 64, 64, {"padding": "same"}),
    "few": (8, (64, 64), (7, 7), 3, 64, {"strides": 2, "padding": "same"}),
    "halved": (4, (56, 56), (3, 3), 64, 128, {"strides": 2, "padding": "same"}),
    "depthwise": (4, (56, 56), (3, 3), 144, 144, {"groups": 144, "padding": "same"}),
    "deep": (4, (14, 14), (3, 3), 256, 512, {"padding": "same"}),
    "volume": (2, (12, 20, 16), (3, 3, 3), 16, 24, {"dilation": 2, "padding": "same"}),
    "one cell": (8, (28, 28), (1, 1), 96, 40, {}),
}


@pytest.fixture(autouse=True)
def as_it_was():
    before = config.precision()
    yield
    config.set_precision(before)


def both_ways(arrays, options, rng):
    """Return what the fusion that takes arrays gives on the GPU, and the plain op on the CPU."""
    import cupy

    wide = [a.astype("float64") for a in arrays]
    y, saved = ops.conv.forward(np, *wide, **options)
    gy = rng.standard_normal(y.shape).astype(arrays[0].dtype)
    wanted = [y, *ops.conv.pull(np, saved, gy.astype("float64"), [True] * 3)]
    on_gpu = [cupy.asarray(a) for a in arrays]
    fusion = next(f for f in ops.conv.fusions if f.when(cupy, *on_gpu, **options))
    got, kept = fusion.forward(cupy, *on_gpu, **options)
    pulled = fusion.pull(cupy, kept, cupy.asarray(gy), [True] * 3)
    return [cupy.asnumpy(a) for a in (got, *pulled)], wanted


@pytest.mark.parametrize("precision", TOLERANCES)
@pytest.mark.parametrize("name", [*SHAPES, *LARGE])
def test_conv(name, precision, monkeypatch, rng):
    monkeypatch.setitem(SHAPES, name, {**SHAPES, **LARGE}[name])
    config.set_precision("strict" if precision == "strict" else "tf32")
    arrays, options = arrays_of(name, rng, "float16" if precision == "float16" else "float32")
    for got, wanted in zip(*both_ways(arrays, options, rng), strict=True):
        tolerance = TOLERANCES[precision] * abs(wanted).max()
        np.testing.assert_allclose(got, wanted, rtol=0, atol=max(tolerance, 1e-6))


@pytest.mark.parametrize("tile", tiles.TILES, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_every_tile(tile, dtype, monkeypatch, rng):
    """Whole numbers come out as they should, so every operand is at its place."""
    import cupy

    monkeypatch.setattr(tiles, "TILES", (tile,))
    monkeypatch.setattr(tiles, "chosen", tiles.chosen.__wrapped__)
    x = rng.integers(-2, 3, (3, 17, 16, 32)).astype(dtype)
    k = rng.integers(-1, 2, (3, 3, 32, 72)).astype(dtype)
    y, saved = ops.conv.forward(np, x.astype("float32"), k.astype("float32"))
    gy = rng.integers(-1, 2, y.shape).astype(dtype)
    wanted = [y, *ops.conv.pull(np, saved, gy.astype("float32"), [True, True])[:2]]
    g = conv_kernels.geometry(window((17, 16), (3, 3)), 32, 72, 1, np.dtype(dtype))
    x, k, gy = map(cupy.asarray, (x, k, gy))
    results = [g.forward(cupy, x, k), g.transposed(cupy, gy, k), g.kernel_gradient(cupy, x, gy)]
    for got, known in zip(results, wanted, strict=True):
        np.testing.assert_array_equal(cupy.asnumpy(got), known.astype(dtype))


def test_captured_and_repeated_with_the_same_bits(rng):
    import cupy

    from gpunet.fused.graphs import Graphs

    x, k, b = (cupy.asarray(rng.standard_normal(s, "float32"))
               for s in [(8, 32, 32, 64), (3, 3, 64, 64), (64,)])  # fmt: skip
    fusion, options = fusion_of(ops.conv), {"padding": "same", "relu": True}

    def step():
        y, saved = fusion.forward(cupy, x, k, b, **options)
        return [y, *fusion.pull(cupy, saved, y, [True] * 3)]

    first = [cupy.asnumpy(a) for a in step()]
    graphs = Graphs(cupy)
    graph, results = graphs.capture(step)
    for _ in range(2):
        graphs.launch(graph)
        cupy.cuda.runtime.deviceSynchronize()
        for a, b_ in zip(results, first, strict=True):
            np.testing.assert_array_equal(cupy.asnumpy(a), b_)


def test_tuning_finds_a_tile(monkeypatch, tmp_path, rng):
    import cupy

    monkeypatch.setenv("GPUNET_AUTOTUNE", "1")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    x, k = (cupy.asarray(rng.standard_normal(s, "float32"))
            for s in [(8, 32, 32, 64), (3, 3, 64, 64)])  # fmt: skip
    g = conv_kernels.geometry(window((32, 32), (3, 3), 1, "same"), 64, 64, 1, x.dtype)
    tuned = g.forward(cupy, x, k)
    (found,) = tuning._read(tuning.place()).values()
    assert found in map(str, tiles.TILES)
    monkeypatch.delenv("GPUNET_AUTOTUNE")
    np.testing.assert_array_equal(cupy.asnumpy(tuned), cupy.asnumpy(g.forward(cupy, x, k)))


# -- what recordings join behind them -------------------------------------------------------------


@pytest.mark.parametrize("name", LARGE)
def test_steps_and_moments(name, rng):
    import cupy

    config.set_precision("strict")
    batch, size, kernel, channels, filters, options = LARGE[name]
    options, groups = dict(options), LARGE[name][-1].get("groups", 1)
    options.pop("groups", None)
    shapes = (batch, *size, channels), (*kernel, channels // groups, filters), (filters,)
    x, k, bias = (rng.standard_normal(s).astype("float32") for s in shapes)
    y = ops.conv.forward(np, *[a.astype("float64") for a in (x, k, bias)], **LARGE[name][-1])[0]
    scale, short = rng.standard_normal(filters).astype("float32"), y[::-1].astype("float32")
    w = window(size, kernel, **options)
    g = conv_kernels.geometry(w, channels, filters, groups, x.dtype)
    x, k, bias = (cupy.asarray(a) for a in (x, k, bias))
    steps = [(np.multiply, cupy.asarray(scale)), (np.add, cupy.asarray(short)), (np.maximum, 0.0)]
    got = g.forward(cupy, x, k, bias, steps=steps)
    plain, moments = g.measured(cupy, x, k, bias)
    known = plain
    for function, operand in steps:
        known = getattr(cupy, function.__name__)(known, operand)
    cupy.testing.assert_array_equal(got, known)  # the bits of single operations
    np.testing.assert_allclose(cupy.asnumpy(plain), y, rtol=0, atol=2e-5 * abs(y).max())
    if moments is not None:
        count, mean, squares = cupy.asnumpy(moments).astype("float64").transpose(1, 0, 2)
        rows = cupy.asnumpy(plain).reshape(-1, filters).astype("float64")
        whole = (count * mean).sum(0) / len(rows)
        variance = (squares.sum(0) + (count * (mean - whole) ** 2).sum(0)) / len(rows)
        np.testing.assert_allclose(whole, rows.mean(0), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(variance, rows.var(0), rtol=1e-4)


@pytest.mark.parametrize("parts", [2, 5, 16])
def test_parts_of_the_depth(parts, monkeypatch, rng):
    monkeypatch.setattr(tiles, "splits", lambda *_: parts)
    config.set_precision("strict")
    x, k = (rng.standard_normal(s).astype("float32") for s in [(2, 7, 7, 512), (3, 3, 512, 64)])
    bias = np.zeros(64, "float32")
    for got, wanted in zip(*both_ways([x, k, bias], {"padding": "same"}, rng), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=4e-5 * abs(wanted).max())
