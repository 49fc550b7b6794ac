"""The CUDA sources: found, compiled by nvcc, and run on the CPU beside the plain ops."""

import re
import shutil
from pathlib import Path

import builds
import emulate
import numpy as np
import pytest

from gpunet import config, ops
from gpunet.errors import KernelSourceError
from gpunet.fused import elementwise, launch, sources

ROOT = Path(__file__).resolve().parents[2]
FAMILIES = sorted(path.stem for path in sources.folder().glob("*.cu"))
# The pairs that kernels serve: family, op, fusion.
PAIRS = [
    ("elementwise", op, getattr(elementwise, f"{op.name}_fused"))
    for op in (ops.swish, ops.sigmoid, ops.tanh, ops.elu, ops.relu)
]

needs_gcc = pytest.mark.skipif(not emulate.compiler(), reason="g++ is missing")
needs_nvcc = pytest.mark.skipif(not shutil.which("nvcc"), reason="nvcc is missing")


# -- sources ------------------------------------------------------------------------------


def test_headers_are_pasted_once(tmp_path, monkeypatch):
    (tmp_path / "common.cuh").write_text("// shared\n")
    (tmp_path / "more.cuh").write_text('#include "common.cuh"\n// more\n')
    text = '#include <math.h>\n#include "common.cuh"\n#include "more.cuh" // why\n// own\n'
    (tmp_path / "family.cu").write_text(text)
    monkeypatch.setattr(sources, "_PLACES", (tmp_path / "nowhere", tmp_path))
    lines = [line for line in sources.source.__wrapped__("family").splitlines() if line]
    assert lines == ["#include <math.h>", "// shared", "// more", "// own"]


def test_wheel_comes_before_checkout(tmp_path, monkeypatch):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "common.cuh").write_text("")
    monkeypatch.setattr(sources, "_PLACES", (tmp_path / "a", tmp_path / "b"))
    assert sources.folder() == tmp_path / "a"
    (tmp_path / "a" / "common.cuh").unlink()
    assert sources.folder() == tmp_path / "b"


def test_missing_sources_are_named(tmp_path, monkeypatch):
    with pytest.raises(KernelSourceError, match="missing.cu is missing in"):
        sources.source.__wrapped__("missing")
    monkeypatch.setattr(sources, "_PLACES", (tmp_path,))
    with pytest.raises(OSError, match="install gpunet again"):
        sources.source.__wrapped__("elementwise")


@pytest.mark.parametrize("family", FAMILIES)
def test_sources_are_whole(family):
    text = sources.source(family)
    assert '#include "' not in text
    assert emulate.kernels_of(text)


# -- compilation --------------------------------------------------------------------------


def test_every_source_is_compiled():
    assert sorted(builds.BUILDS) == FAMILIES


@needs_nvcc
@pytest.mark.parametrize("arch", builds.CHIPS)
@pytest.mark.parametrize("family", FAMILIES)
def test_nvcc_compiles_without_spills(family, arch, tmp_path):
    for defines in builds.BUILDS[family](builds.CHIPS[arch]):
        done = builds.compile_for(family, arch, defines, tmp_path)
        assert done.returncode == 0, (defines, done.stderr)


@pytest.mark.parametrize("family", FAMILIES)
def test_constant_functions_say_that_they_are_for_the_device(family):
    """NVRTC asks for it, while nvcc and g++ don't."""
    text = re.sub(r"//[^\n]*", "", sources.source(family))
    bare = re.findall(r"(?m)^(?:static |inline )*constexpr [\w:<>]+[ \n]+\w+\([^)]*\)\s*\{", text)
    assert not bare


@pytest.mark.parametrize("family", FAMILIES)
def test_nvrtc_compiles(family):
    library = builds.nvrtc()
    if library is None:
        pytest.skip("NVRTC is missing: pip install nvidia-cuda-nvrtc")
    defines = builds.BUILDS[family](builds.CHIPS["sm_90"])[0]
    assert builds.compile_by_nvrtc(library, family, "sm_90", defines) == ""


@needs_nvcc
@pytest.mark.slow
@pytest.mark.parametrize("arch", builds.CHIPS)
@pytest.mark.parametrize("product", ["forward", "transposed", "gradient"])
def test_no_tile_of_a_convolution_spills(product, arch, tmp_path):
    family = {"gradient": "conv_kernel_gradient"}.get(product, f"conv_{product}")
    every = builds.convolutions(product, builds.CHIPS[arch])
    if product != "gradient":
        # Without tensor cores the largest tile spills 12 bytes then, behind its loop.
        ended = [d for d in every if d["TENSOR"] or d["TILE_M"] < 256]
        every += [{**d, "MEASURED": 1, "ENDING": builds.ENDED} for d in ended]
    for defines in every:
        done = builds.compile_for(family, arch, defines, tmp_path)
        assert done.returncode == 0, (defines, done.stderr)


# -- execution ----------------------------------------------------------------------------


def samples(dtype, shape):
    x = np.random.default_rng(0).normal(scale=4, size=shape).astype(dtype)
    flat = x.reshape(-1)
    flat[: min(6, flat.size)] = [0, -0.0, 1e3, -1e3, -89, 1e-30][: flat.size]
    return x


@needs_gcc
@pytest.mark.parametrize("shape", [(), (1,), (7, 3), (257,), (0, 4)])
@pytest.mark.parametrize("dtype", sorted(launch.REALS))
@pytest.mark.parametrize("pair", PAIRS, ids=[p[1].name for p in PAIRS])
def test_agrees_with_the_plain_op(pair, dtype, shape):
    _, op, fusion = pair
    x, gy = samples(dtype, shape), samples(dtype, shape)[::-1] if shape else samples(dtype, shape)
    for a in (x, gy):
        a.flags.writeable = False
    y, saved = op.forward(np, x)
    (gx,) = op.pull(np, saved, gy, [True])
    with emulate.fake_cupy() as xp:
        assert fusion.when(xp, x)
        fused_y, fused_saved = fusion.forward(xp, x)
        (fused_gx,) = fusion.pull(xp, fused_saved, gy, [True])
    tolerance = 1e-5 if dtype == "float32" else 1e-13
    for got, wanted in ((fused_y, y), (fused_gx, gx)):
        assert (got.shape, got.dtype) == (wanted.shape, dtype)
        np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance)


@needs_gcc
def test_threads_take_several_turns(monkeypatch):
    monkeypatch.setattr(launch, "_BLOCKS", 2)
    x = samples("float32", (3 * 2 * 256 + 5,))
    with emulate.fake_cupy() as xp:
        y, _ = elementwise.swish_fused.forward(xp, x)
    np.testing.assert_allclose(y, ops.swish(x).numpy(), rtol=1e-6)


@needs_gcc
def test_strided_arrays_are_copied_first():
    x = samples("float64", (6, 8))[:, ::2]
    with emulate.fake_cupy() as xp:
        y, saved = elementwise.swish_fused.forward(xp, x)
        (gx,) = elementwise.swish_fused.pull(xp, saved, np.broadcast_to(1.0, x.shape), [True])
    np.testing.assert_allclose(y, ops.swish(x).numpy(), rtol=1e-14)
    _, saved = ops.swish.forward(np, x)
    np.testing.assert_allclose(gx, ops.swish.pull(np, saved, np.ones(x.shape), [True])[0])


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (np.zeros((4, 4), "float32")[:, ::2], "expected arrays in one piece, got a strided one"),
        (np.zeros(8), "expected arrays of float32, got one of float64"),
    ],
    ids=["strided", "dtype"],
)
def test_launch_refuses_what_kernels_cannot_read(x, text):
    y = np.zeros(8, "float32")
    with emulate.fake_cupy(), pytest.raises(ValueError, match=f"kernel 'rows': {text}"):
        launch.launch_elementwise(sources.source("rows"), "rows", 8, [x, y], y.dtype)


def test_kernels_are_for_gpus_and_floats():
    when = elementwise.swish_fused.when
    assert when(emulate.as_cupy, np.zeros(3, "float32"))
    assert when(emulate.as_cupy, np.zeros(3, "float16"))
    assert not when(emulate.as_cupy, np.zeros(3, "int32"))
    assert not when(np, np.zeros(3, "float32"))
    kinds = [elementwise.relu_fused, elementwise.relu6_fused, elementwise.leaky_relu_fused]
    for options, wanted in [({}, 0), ({"max_value": 6.0}, 1), ({"alpha": 0.1}, 2),
                            ({"alpha": 0.1, "max_value": 6.0}, 3), ({"threshold": 1.0}, 3),
                            ({"max_value": 5.0}, 3)]:  # fmt: skip
        fit = [f.when(emulate.as_cupy, np.zeros(3), **options) for f in kinds]
        assert [i for i, yes in enumerate([*fit, not any(fit)]) if yes] == [wanted]


@needs_gcc
@pytest.mark.parametrize(
    ("kind", "options"), [("leaky_relu", {"alpha": 0.3}), ("relu6", {"max_value": 6.0})]
)
def test_rectifiers(kind, options):
    fusion = getattr(elementwise, f"{kind}_fused")
    x, gy = samples("float32", (257,)), samples("float32", (257,))[::-1]
    y, saved = ops.relu.forward(np, x, **options)
    with emulate.fake_cupy() as xp:
        got, kept = fusion.forward(xp, x, **options)
        (gx,) = fusion.pull(xp, kept, gy, [True])
    np.testing.assert_allclose(got, y, rtol=1e-6)
    np.testing.assert_allclose(gx, ops.relu.pull(np, saved, gy, [True])[0], rtol=1e-6)


@needs_gcc
def test_activations_of_16_bits():
    x = np.linspace(-6, 6, 40).astype("float16")
    with emulate.fake_cupy() as xp:
        y, saved = elementwise.sigmoid_fused.forward(xp, x)
        (gx,) = elementwise.sigmoid_fused.pull(xp, saved, np.ones_like(x), [True])
    wanted = 1 / (1 + np.exp(-x.astype("float64")))
    assert y.dtype == gx.dtype == x.dtype
    np.testing.assert_allclose(y, wanted, rtol=2e-3)
    np.testing.assert_allclose(gx, wanted * (1 - wanted), rtol=4e-3, atol=1e-3)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", sorted(launch.REALS))
@pytest.mark.parametrize("pair", PAIRS, ids=[p[1].name for p in PAIRS])
def test_on_a_gpu(pair, dtype):
    import cupy

    from gpunet import GradientTape, convert_to_tensor, device

    op = pair[1]
    assert pair[2].when(cupy, cupy.zeros(3, dtype))
    values = []
    with device("gpu"):
        x, gy = (convert_to_tensor(samples(dtype, (300, 7)) + s) for s in (0, 1))
        for fused in (True, False):
            config.set_fused(fused)
            try:
                with GradientTape() as tape:
                    tape.watch(x)
                    y = op(x)
                values.append((y.numpy(), tape.gradient(y, x, gy).numpy()))
            finally:
                config.set_fused(True)
    for got, wanted in zip(*values):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)
