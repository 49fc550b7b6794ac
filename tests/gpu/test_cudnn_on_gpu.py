"""Convolutions through cuDNN itself: the shapes of the kernels' tests, larger ones, graphs."""

import numpy as np
import pytest
from test_conv_kernels import SHAPES, TOLERANCES, arrays_of, fusion_of
from test_conv_on_gpu import LARGE

from gpunet import config, ops
from gpunet.fused import cudnn, cudnn_conv, cudnn_plans, tuning
from gpunet.ops.window import window

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def through_cudnn(monkeypatch):
    library, reason = cudnn._found()
    if library is None:
        pytest.skip(f"cuDNN isn't here: {reason}")
    before = config.precision()
    monkeypatch.setattr(config, "_cudnn", "always")
    monkeypatch.delenv("GPUNET_AUTOTUNE", raising=False)
    yield
    config.set_precision(before)


@pytest.fixture
def ran(monkeypatch):
    """The directions that cuDNN went."""
    run, ways = cudnn_plans.Plan.run, []
    monkeypatch.setattr(
        cudnn_plans.Plan, "run", lambda self, *args: ways.append(self.c.way) or run(self, *args)
    )
    return ways


def step_of(x, k, b, **options):
    import cupy

    fusion = fusion_of(ops.conv)

    def step(gy=None):
        y, saved = fusion.forward(cupy, x, k, b, **options)
        return [y, *fusion.pull(cupy, saved, y if gy is None else gy, [True] * 3)]

    return step


@pytest.mark.parametrize("precision", TOLERANCES)
@pytest.mark.parametrize("name", [*SHAPES, *LARGE])
def test_conv(name, precision, monkeypatch, ran, rng):
    import cupy

    monkeypatch.setitem(SHAPES, name, {**SHAPES, **LARGE}[name])
    config.set_precision("strict" if precision == "strict" else "tf32")
    arrays, options = arrays_of(name, rng, "float16" if precision == "float16" else "float32")
    wide = [a.astype("float64") for a in arrays]
    y, saved = ops.conv.forward(np, *wide, **options)
    gy = rng.standard_normal(y.shape).astype(arrays[0].dtype)
    wanted = [y, *ops.conv.pull(np, saved, gy.astype("float64"), [True] * 3)]
    got = step_of(*map(cupy.asarray, arrays), **options)(cupy.asarray(gy))
    for a, known in zip(got, wanted, strict=True):
        tolerance = max(TOLERANCES[precision] * abs(known).max(), 1e-6)
        np.testing.assert_allclose(cupy.asnumpy(a), known, rtol=0, atol=tolerance)
    if name in LARGE and name != "depthwise":  # what every cuDNN can do
        assert set(ran) == {"forward", "transposed", "kernel_gradient"}


def test_strict_is_strict(ran, rng):
    """Numbers that TF32 would round."""
    import cupy

    config.set_precision("strict")
    x = cupy.asarray((1 + rng.integers(0, 2**10, (4, 16, 16, 32)) / 2**20).astype("float32"))
    k = cupy.asarray(rng.integers(-1, 2, (3, 3, 32, 32)).astype("float32"))
    y, _ = fusion_of(ops.conv).forward(cupy, x, k)
    known, _ = ops.conv.forward(np, *(cupy.asnumpy(a).astype("float64") for a in (x, k)))
    np.testing.assert_allclose(cupy.asnumpy(y), known, rtol=0, atol=3e-5)


def test_captured_and_repeated_with_the_same_bits(ran, rng):
    import cupy

    from gpunet.fused.graphs import Graphs

    x, k, b = (cupy.asarray(rng.standard_normal(s, "float32"))
               for s in [(8, 32, 32, 64), (3, 3, 64, 64), (64,)])  # fmt: skip
    step = step_of(x, k, b, padding="same", relu=True)
    first = [cupy.asnumpy(a) for a in step()]
    graphs = Graphs(cupy)
    graph, results = graphs.capture(step)
    for _ in range(3):
        graphs.launch(graph)
        cupy.cuda.runtime.deviceSynchronize()
        for a, known in zip(results, first, strict=True):
            np.testing.assert_array_equal(cupy.asnumpy(a), known)
    assert set(ran) == {"forward", "transposed", "kernel_gradient"}


def test_relu_keeps_nan(rng):
    import cupy

    x, k, b = (cupy.asarray(rng.standard_normal(s, "float32"))
               for s in [(2, 8, 8, 16), (1, 3, 16, 32), (32,)])  # fmt: skip
    x[0, 0, 0, 0] = np.nan
    y, _ = fusion_of(ops.conv).forward(cupy, x, k, b, relu=True)
    assert cupy.isnan(y[0, 0, 0]).all() and not cupy.isnan(y[1]).any()


def test_tuning_finds_a_way(monkeypatch, tmp_path, rng):
    import cupy

    monkeypatch.setattr(config, "_cudnn", "auto")
    monkeypatch.setenv("GPUNET_AUTOTUNE", "1")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    x, k = (cupy.asarray(rng.standard_normal(s, "float32"))
            for s in [(8, 32, 32, 64), (3, 3, 64, 64)])  # fmt: skip
    g = cudnn_conv.geometry(window((32, 32), (3, 3), 1, "same"), 64, 64, 1, x.dtype)
    tuned = g.forward(cupy, x, k)
    found = sorted(tuning._read(tuning.place()).values())
    assert any(way == "own" or way.startswith("cuDNN") for way in found)
    known = ops.conv.forward(np, cupy.asnumpy(x), cupy.asnumpy(k), padding="same")[0]
    np.testing.assert_allclose(cupy.asnumpy(tuned), known, rtol=0, atol=4e-3 * abs(known).max())
