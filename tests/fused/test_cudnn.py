"""Convolutions through cuDNN, against its header and a stand-in that goes by it."""

import ctypes
import dataclasses
import importlib.util
import json
import sys
from pathlib import Path

import emulate
import numpy as np
import pytest
from cudnn_on_cpu import FIXTURES, KNOWN, VALUES, StandIn
from test_conv_kernels import SHAPES, TOLERANCES, arrays_of, fusion_of

import gpunet
from gpunet import config, layers, ops
from gpunet.errors import KernelError, MissingPackageError
from gpunet.fused import conv_kernels, cudnn, cudnn_conv, cudnn_plans, launch, libraries, tuning
from gpunet.ops.window import window

needs_compiler = pytest.mark.skipif(not emulate.compiler(), reason="g++ is missing")
FOUND = cudnn._found  # of which `use` makes another


@pytest.fixture(autouse=True)
def as_it_was(monkeypatch):
    before, asked = config.precision(), config._cudnn
    monkeypatch.delenv("GPUNET_CUDNN", raising=False)
    monkeypatch.delenv("GPUNET_AUTOTUNE", raising=False)
    yield
    config.set_precision(before)
    config._cudnn = asked
    forget()


def forget():
    for cache in (cudnn_plans.plans, cudnn.handle):
        cache.cache_clear()


@pytest.fixture
def use(monkeypatch):
    """Return a function that puts a `StandIn` where the library would be."""

    def put(*args, **options):
        library = StandIn(*args, **options)
        forget()
        monkeypatch.setattr(cudnn, "_found", lambda: (library, ""))
        return library

    with emulate.fake_cupy() as cupy:
        monkeypatch.setattr(cudnn_conv, "address", lambda a: a.ctypes.data)
        put.cupy = cupy
        yield put
        forget()


def geometry(x, kernel, groups=1, **options):
    w = window(x.shape[1:-1], kernel.shape[:-2], **options)
    return cudnn_conv.geometry(w, x.shape[-1], kernel.shape[-1], groups, x.dtype)


# -- the binding ----------------------------------------------------------------------------


def test_values_are_those_of_the_header():
    for kind, about in KNOWN["descriptors"].items():
        number, attributes = cudnn.KINDS[kind]
        assert number == about["number"]
        assert {name: n for name, (n, _) in attributes.items()} == about["attributes"], kind
        for name, wanted in about["types"].items():
            assert attributes[name][1][0] == VALUES[wanted], (kind, name)
    assert set(cudnn.KINDS) == set(KNOWN["descriptors"])
    v, p = VALUES, cudnn_plans
    assert p.TYPES == {
        "float16": v["CUDNN_DATA_HALF"], "bfloat16": v["CUDNN_DATA_BFLOAT16"],
        "float32": v["CUDNN_DATA_FLOAT"],
    }  # fmt: skip
    assert p._RULES == (v["CUDNN_HEUR_MODE_A"], v["CUDNN_HEUR_MODE_FALLBACK"])
    assert (p._ADD, p._RELU) == (v["CUDNN_POINTWISE_ADD"], v["CUDNN_POINTWISE_RELU_FWD"])
    assert (p._CORRELATION, p._KEPT) == (v["CUDNN_CROSS_CORRELATION"], v["CUDNN_PROPAGATE_NAN"])
    note = "CUDNN_NUMERICAL_NOTE_"
    assert (p._TENSOR_CORES, p._NARROWED, p._NARROW_SUMS, p._UNORDERED) == (
        v[note + "TENSOR_CORE"], v[note + "DOWN_CONVERT_INPUTS"],
        v[note + "REDUCED_PRECISION_REDUCTION"], v[note + "NONDETERMINISTIC"],
    )  # fmt: skip
    unsupported = v["CUDNN_STATUS_NOT_SUPPORTED"], v["CUDNN_STATUS_INTERNAL_ERROR"]
    assert (cudnn._UNSUPPORTED.start, cudnn._UNSUPPORTED.stop) == unsupported


def installed(*parts):
    """Return the files of an installed wheel of cuDNN."""
    found = [Path(place, "nvidia", "cudnn", *parts) for place in sys.path]
    return [path for path in found if path.is_file()]


def test_stored_values_are_those_of_an_installed_header():
    headers = installed("include", "cudnn_graph.h")
    if not headers:
        pytest.skip("cudnn_graph.h isn't here: no wheel nvidia-cudnn-cu13")
    path = FIXTURES / "makers" / "cudnn_facts.py"
    spec = importlib.util.spec_from_file_location("cudnn_facts", path)
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    found = maker.facts(headers[0])
    assert found == {name: KNOWN[name] for name in found}


def convolution(way="forward", size=(9, 8), kernel=(3, 3), pads=((1, 1), (1, 1)), **options):
    out = tuple([n + sum(p) - k + 1 for n, k, p in zip(size, kernel, pads)])
    ones = (1,) * len(size)
    c = cudnn_plans.Convolution(
        way, 0, "float32", False, 2, 8, 16, 1, size, out, kernel, ones, ones, pads, False, False,
        (16,) * 4,
    )  # fmt: skip
    return c._replace(**options)


@pytest.fixture
def real(monkeypatch):
    """The library itself, of which this much needs no GPU, only the driver's library."""
    found = installed("lib", "libcudnn.so.9")
    if not found:
        pytest.skip("libcudnn isn't here: no wheel nvidia-cudnn-cu13")
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        pytest.skip(f"parts of libcudnn need the driver: {error}")
    library = cudnn.declared(ctypes.CDLL(str(found[0])))
    assert library.cudnnGetVersion() >= 90000 and library.cudnnGetCudartVersion() >= 12000
    monkeypatch.setattr(cudnn, "_found", lambda: (library, ""))
    monkeypatch.setattr(cudnn_plans, "_where", lambda c, kind: {})
    forget()
    return library


WAYS = ("forward", "transposed", "kernel_gradient")
PLACES = [((9,), (3,), ((2, 0),)), ((9, 8), (3, 3), ((1, 1),) * 2), ((9, 8), (3, 3), ((0, 1),) * 2),
          ((5, 6, 7), (1, 2, 3), ((0, 0),) * 3)]  # fmt: skip


def test_installed_library_takes_what_is_described(real, monkeypatch):
    made = []

    def descriptor(kind, *args, **options):
        if kind != "graph":  # which is for one GPU
            made.append(cudnn.Descriptor(kind, *args, **options))
            return made[-1]

    monkeypatch.setattr(cudnn_plans, "Descriptor", descriptor)
    for way in WAYS:
        ends = {"bias": True, "relu": True} if way == "forward" else {}
        for dtype in cudnn_plans.TYPES:
            for place in PLACES:
                cudnn_plans._graph(convolution(way, *place, dtype=dtype, **ends))
    assert {*WAYS, "convolution", "pointwise_operation", "pointwise", "tensor"} == {
        d.kind for d in made
    }
    with pytest.raises(KernelError, match=r"cudnnBackendFinalize \(forward\).*status 2"):
        cudnn_plans._graph(convolution(out=(9, 9)))
    number, _ = cudnn.KINDS["tensor"][1]["id"]
    monkeypatch.setitem(cudnn.KINDS["tensor"][1], "id", (number, (4, ctypes.c_float)))
    with pytest.raises(KernelError, match=r"cudnnBackendSetAttribute \(tensor\)"):
        cudnn_plans._graph(convolution())


H200 = {
    "cudaDeviceId": 0, "deviceVer": 900, "driverVer": 13000, "deviceName": "NVIDIA H200",
    "maxGridSize": [2**31 - 1, 65535, 65535], "maxBlockSize": [1024, 1024, 64],
    "regsPerBlock": 65536, "multiProcessorCount": 132, "smCountOrigin": 0, "warpSize": 32,
    "maxSharedMemoryPerBlock": 49152, "maxSharedMemoryPerBlockOptin": 232448,
    "reservedSharedMemoryPerBlock": 1024, "oversizedSharedMemoryPerBlock": 0,
    "maxRegistersPerSM": 65536, "maxCtasPerSM": 32, "maxThreadsPerBlock": 1024,
    "maxThreadsPerSM": 2048, "pciDeviceId": 0, "isTccDriver": 0, "supportCoopLaunch": 1,
    "totalGlobalMem": 150_000_000_000, "smClockRateKHz": 1980000, "memClockRateKHz": 3201000,
    "memoryBusWidth": 6144, "l2CacheSize": 62914560,
}  # fmt: skip


def test_installed_library_has_plans_for_an_h200(real, monkeypatch):
    """Since version 9.8 it plans for a GPU that is described in place of one that is there."""
    if real.cudnnGetVersion() < 90800:
        pytest.skip("cuDNN before 9.8 plans for GPUs that are there alone")
    monkeypatch.setitem(cudnn.KINDS, "device", (38, {"json": (2702, (24, ctypes.c_char))}))
    for kind, number in (("heuristics", 204), ("plan", 407)):
        monkeypatch.setitem(cudnn.KINDS[kind][1], "device", (number, cudnn._DESCRIPTOR))
    text = (json.dumps(H200) + "\0").encode()
    device = cudnn.Descriptor("device", "an H200", json=[bytes([b]) for b in text])
    monkeypatch.setattr(
        cudnn_plans, "_where", lambda c, kind: {} if kind == "graph" else {"device": device}
    )
    for way in WAYS:
        for dtype in cudnn_plans.TYPES:
            for place in PLACES:
                assert cudnn_plans.plans(convolution(way, *place, dtype=dtype)), (way, dtype, place)
    for strict in (True, False):
        assert cudnn_plans.plans(convolution(bias=True, relu=True, strict=strict))
        assert cudnn_plans.plans(convolution(groups=8, channels=8, strict=strict))


def test_the_library_is_one_for_the_cuda_of_cupy(monkeypatch):
    monkeypatch.setattr(cudnn, "declared", lambda dll: dll)
    monkeypatch.setattr(libraries, "major", lambda: 13)
    monkeypatch.setattr(cudnn.cublaslt, "library", lambda: None)
    loads = [StandIn(version=8907), StandIn(cuda=12), StandIn()]
    for name, library in zip(("_load_by_pathfinder", "_load_from_wheel", "_load_by_name"), loads):
        monkeypatch.setattr(cudnn, name, lambda library=library: library)
    assert FOUND.__wrapped__() == (loads[2], "")
    monkeypatch.setattr(cudnn, "_load_by_name", lambda: loads[1])
    assert FOUND.__wrapped__() == (None, "found cuDNN 8907, version 9 or later is needed; found "
                                         "cuDNN for CUDA 12, CuPy is for CUDA 13")  # fmt: skip


@pytest.mark.parametrize(("major", "extra"), [(12, "cudnn12"), (13, "cudnn")])
def test_a_missing_library_is_named(major, extra, monkeypatch, rng):
    monkeypatch.setattr(libraries, "major", lambda: major)
    monkeypatch.setattr(cudnn, "_found", lambda: (None, "libcudnn.so.9: cannot open"))
    config.set_cudnn("always")
    x, k = (rng.standard_normal(s).astype("float32") for s in [(1, 5, 8), (3, 8, 4)])
    with (
        emulate.fake_cupy(),
        pytest.raises(MissingPackageError, match=rf'pip install "gpunet\[{extra}\]".*cannot open'),
    ):
        geometry(x, k)
    monkeypatch.setenv("GPUNET_AUTOTUNE", "1")
    config.set_cudnn("auto")
    with emulate.fake_cupy():
        assert type(geometry(x, k)) is conv_kernels.Geometry


def test_settings(monkeypatch):
    assert config.cudnn() == "auto"
    monkeypatch.setenv("GPUNET_CUDNN", "never")
    assert config.cudnn() == "never"
    config.set_cudnn("always")
    assert config.cudnn() == "always"
    with pytest.raises(ValueError, match="set_cudnn: expected one of auto, .*, got 'yes'"):
        config.set_cudnn("yes")
    config._cudnn = None
    monkeypatch.setenv("GPUNET_CUDNN", "1")
    with pytest.raises(ValueError, match="GPUNET_CUDNN='1': expected one of auto, always, never"):
        config.cudnn()


# -- convolutions ---------------------------------------------------------------------------


@needs_compiler
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("name", SHAPES)
def test_conv(name, dtype, use, rng):
    """Both ways; what is asked of the library is asked so that it gives what the plain op gives."""
    library = use()
    config.set_cudnn("always")
    arrays, options = arrays_of(name, rng, dtype)
    options = {**options, "relu": True}
    wide = [a.astype("float32") for a in arrays]
    y, saved = ops.conv.forward(np, *wide, **options)
    gy = rng.standard_normal(y.shape).astype(dtype)
    fusion = fusion_of(ops.conv)
    got, kept = fusion.forward(use.cupy, *arrays, **options)
    grads = fusion.pull(use.cupy, (*kept[:2], y.astype(dtype, order="C"), kept[3]), gy, [True] * 3)
    assert len(library.runs) == 3
    wanted = [y, *ops.conv.pull(np, saved, gy.astype("float32"), [True] * 3)]
    tolerance = TOLERANCES["strict" if dtype == "float32" else dtype]
    for a, b in zip([got, *grads], wanted, strict=True):
        assert (a.shape, a.dtype) == (b.shape, dtype) and a.flags.c_contiguous
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * max(1, abs(b).max()))


@needs_compiler
@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("relu", [True, False])
def test_what_follows_a_convolution(fused, bias, relu, use, rng):
    """In the library's graph or, where it has no engine for that, after it."""
    library = use(fused=fused)
    config.set_cudnn("always")
    x, k, b = (rng.standard_normal(s).astype("float32") for s in [(2, 6, 5, 4), (3, 2, 4, 8), (8,)])
    b = b if bias else None
    y, _ = fusion_of(ops.conv).forward(use.cupy, x, k, b, relu=relu)
    np.testing.assert_allclose(y, ops.conv.forward(np, x, k, b, relu=relu)[0], rtol=0, atol=1e-5)
    z, _ = fusion_of(ops.conv_transpose).forward(use.cupy, y, k, x[0, 0, 0], relu=relu)
    wanted = ops.conv_transpose.forward(np, y, k, x[0, 0, 0], relu=relu)[0]
    np.testing.assert_allclose(z, wanted, rtol=0, atol=1e-4)
    assert len(library.runs) == 2
    x[0, 0, 0, 0] = np.nan
    assert np.isnan(fusion_of(ops.conv).forward(use.cupy, x, k, b, relu=relu)[0][0, 0, 0]).all()


@needs_compiler
@pytest.mark.parametrize("fused", [True, False])
def test_joined_steps_come_behind(fused, use, rng):
    library = use(fused=fused)
    config.set_cudnn("always")
    x, k, b = (rng.standard_normal(s).astype("float32") for s in [(2, 6, 5, 4), (3, 2, 4, 8), (8,)])
    y = ops.conv.forward(np, x, k, b, relu=True)[0]
    steps = [(np.multiply, b), (np.add, y[::-1]), (np.maximum, 0.0)]
    g = geometry(x, k)
    got = g.forward(use.cupy, x, k, b, "relu", steps=steps)
    np.testing.assert_allclose(got, np.maximum(y * b + y[::-1], 0), atol=1e-4)
    back = ops.conv_transpose.forward(np, y, k)[0]
    got = g.transposed(use.cupy, y, k, steps=[(np.add, x)])
    np.testing.assert_allclose(got, back + x, atol=1e-4)
    got, moments = g.measured(use.cupy, x, k, b, "relu")
    np.testing.assert_allclose(got, y, atol=1e-5)
    assert moments is None and len(library.runs) == 3


@needs_compiler
def test_other_endings_stay_with_our_kernels(use, rng):
    library = use()
    config.set_cudnn("always")
    x, k = (rng.standard_normal(s).astype("float32") for s in [(1, 5, 8), (3, 8, 4)])
    g = geometry(x, k)
    y, before = g.forward(use.cupy, x, k, activation="tanh", before=True)
    np.testing.assert_allclose(y, np.tanh(before), atol=1e-5)
    assert not library.runs
    assert type(geometry(x.astype("float64"), k)) is conv_kernels.Geometry


def test_engines_that_keep_the_contract_are_taken(use):
    tensor, narrowed, narrow_sums, unordered = (
        VALUES[f"CUDNN_NUMERICAL_NOTE_{name}"] for name in
        ("TENSOR_CORE", "DOWN_CONVERT_INPUTS", "REDUCED_PRECISION_REDUCTION", "NONDETERMINISTIC")
    )  # fmt: skip
    engines = [
        {"notes": [unordered]}, {"notes": [tensor]}, {"notes": [tensor, narrow_sums]},
        {"notes": [narrowed]}, {"workspace": 1 << 40}, {"status": 4001}, {"status": 3007},
        {"notes": [5], "workspace": 64},
    ]  # fmt: skip
    use(engines)
    plans = cudnn_plans.plans

    def numbers(**options):
        found = plans(convolution(aligned=(4,) * 4, **options))
        return [p._plan._held["config"].value and p.workspace for p in found]

    assert numbers() == [0, 64]
    assert numbers(strict=True) == [64]
    assert numbers(strict=True, dtype="float16") == [0, 64]
    use([{"workspace": i} for i in range(9)])
    assert numbers() == [0, 1, 2, 3]  # no more are tried
    use([])
    assert numbers() == []
    use(fused=False)
    assert numbers(bias=True) == [] and numbers() == [0]


@needs_compiler
def test_without_a_plan_our_kernels_do_it(use, rng):
    library = use([])
    config.set_cudnn("always")
    config.set_precision("strict")
    x, k, b = (rng.standard_normal(s).astype("float32") for s in [(2, 6, 4), (3, 4, 8), (8,)])
    fusion = fusion_of(ops.conv)
    y, saved = fusion.forward(use.cupy, x, k, b, relu=True)
    known, plain = ops.conv.forward(np, x, k, b, relu=True)
    np.testing.assert_allclose(y, known, atol=1e-5)
    for a, c in zip(fusion.pull(use.cupy, saved, y, [True] * 3),
                    ops.conv.pull(np, plain, known, [True] * 3)):  # fmt: skip
        np.testing.assert_allclose(a, c, atol=1e-4)
    assert not library.runs


def test_plans_are_made_once_and_keep_no_more_than_they_need(use, rng):
    library = use([{"workspace": 32}, {}])
    config.set_cudnn("always")
    x, k = (rng.standard_normal(s).astype("float32") for s in [(1, 5, 8), (3, 8, 4)])
    g = geometry(x, k)
    g.kernel_gradient(use.cupy, x, np.ones((1, 3, 4), "float32"))
    alive = set(library.alive)
    for _ in range(3):
        g.kernel_gradient(use.cupy, x, np.ones((1, 3, 4), "float32"))
    assert set(library.alive) == alive and len(library.runs) == 4 and len(library.handles) == 1
    assert set(library.runs) == {(0, 0)}
    forget()
    assert not library.alive


def test_addresses_that_are_less_aligned_get_plans_of_their_own(use, rng):
    use()
    config.set_cudnn("always")
    memory = rng.standard_normal(200).astype("float32")
    first = -memory.ctypes.data % 16 // 4
    k = rng.standard_normal((3, 4, 4)).astype("float32")
    gy = np.ones((1, 4, 4), "float32")
    for start in range(4):
        x = memory[first + start : first + start + 24].reshape(1, 6, 4)
        got = geometry(x, k).kernel_gradient(use.cupy, x, gy)
        wanted = ops.conv_kernel_gradient.forward(np, x, gy, kernel_size=(3,))[0]
        np.testing.assert_allclose(got, wanted, atol=1e-5)
    aligned = {c[-1][0] for c in seen_plans()}
    assert aligned == {4, 8, 16}


def seen_plans():
    """Return the convolutions that were described: each has a plan in the cache."""
    import gc

    return {p.c for p in gc.get_objects() if isinstance(p, cudnn_plans.Plan)}


def test_refusals_name_call_and_shapes(use):
    library = use()
    (plan,) = cudnn_plans.plans(convolution())
    with pytest.raises(
        KernelError,
        match=r"cudnnBackendExecute for forward of float32 \(2, 9, 8, 8\) to \(2, 9, 8, 16\), "
        r"kernel \(3, 3\).*CUDNN_STATUS_BAD_PARAM \(status 2000\) \(no address for tensor 1\)",
    ):
        plan.run(0, 0, 0, 0, 0, 7)
    assert library.handles[cudnn.handle(0)[0].value] == 7  # the stream
    with pytest.raises(KernelError, match=r"cudnnBackendFinalize \(forward\).*8 windows along"):
        cudnn_plans.plans(convolution(out=(9, 9)))


# -- which of the two -----------------------------------------------------------------------


@pytest.fixture
def timed(monkeypatch, tmp_path):
    """Tuning in a folder of the test's own, where each way takes as long as it is told."""
    monkeypatch.setenv("GPUNET_AUTOTUNE", "1")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    times = []
    monkeypatch.setattr(tuning, "_capturing", lambda: False)
    monkeypatch.setattr(tuning, "_seconds", lambda run: (run(), times.pop(0))[1])
    return times


@pytest.mark.parametrize(("took", "winner"), [([1.0, 2.0, 3.0], "own"), ([3, 2, 1], "cuDNN 2")])
def test_the_faster_is_kept(took, winner, use, timed, monkeypatch, rng):
    library = use([{}, {}])
    x, gy = rng.standard_normal((1, 5, 8)).astype("float32"), np.ones((1, 3, 4), "float32")
    k = np.zeros((3, 8, 4), "float32")
    own = []
    monkeypatch.setattr(
        conv_kernels.Geometry, "kernel_gradient",
        lambda self, xp, x, y: own.append(1) or np.full((3, 8, 4), 7, "float32"),
    )  # fmt: skip
    timed[:] = list(took)
    g = geometry(x, k)
    got = [g.kernel_gradient(use.cupy, x, gy) for _ in range(2)]
    if winner == "own":
        assert [n for n, _ in library.runs] == [0, 1] and len(own) == 3
        assert all((a == 7).all() for a in got)
    else:
        assert [n for n, _ in library.runs] == [0, 1, 1, 1] and len(own) == 1
    assert list(tuning._read(tuning.place()).values()) == [winner]
    tuning._known.clear()
    config.set_cudnn("never")
    assert type(geometry(x, k)) is conv_kernels.Geometry


@needs_compiler
def test_tiles_are_tried_on_the_way(use, timed, rng):
    """Trying our kernels tries their tiles, while the other way waits for its turn."""
    use()
    x, k = (rng.standard_normal(s).astype("float32") for s in [(1, 40, 8), (3, 8, 24)])
    timed[:] = range(1000)
    y = geometry(x, k).forward(use.cupy, x, k)
    np.testing.assert_allclose(y, ops.conv.forward(np, x, k)[0], rtol=4e-3, atol=4e-2)
    found = sorted(tuning._read(tuning.place()).values())
    assert len(found) == 2 and found[0].startswith(("cuDNN", "own")) and "tiles of" in found[1]


def test_nothing_is_tried_while_a_graph_is_captured(use, timed, monkeypatch, rng):
    library = use()
    monkeypatch.setattr(tuning, "_capturing", lambda: True)
    monkeypatch.setattr(conv_kernels.Geometry, "kernel_gradient", lambda self, xp, x, y: x)
    x, gy = rng.standard_normal((1, 5, 8)).astype("float32"), np.ones((1, 3, 4), "float32")
    assert geometry(x, np.zeros((3, 8, 4), "float32")).kernel_gradient(use.cupy, x, gy) is x
    assert not library.runs


def test_without_trying_our_kernels_are_taken(use):
    use()
    x, k = np.ones((1, 5, 8), "float32"), np.ones((3, 8, 4), "float32")
    assert type(geometry(x, k)) is conv_kernels.Geometry


def test_explain_says_which(monkeypatch):
    def words():
        model = gpunet.Sequential([
            layers.Conv2D(8, 3, input_shape=(8, 8, 4)), layers.Conv2DTranspose(4, 3),
            layers.DepthwiseConv2D(3),
        ])  # fmt: skip
        return [e.words for e in gpunet.explain(model, chip="h200", print_fn=None)]

    assert not any("cuDNN" in w for w in words())
    config.set_cudnn("always")
    assert all(w.startswith("cuDNN; where it has no plan, ") for w in words())
    config.set_cudnn("auto")
    monkeypatch.setenv("GPUNET_AUTOTUNE", "1")
    monkeypatch.setattr(cudnn, "_found", lambda: (StandIn(), ""))
    assert all(w.startswith("cuDNN or our kernels, as was found by trying; ") for w in words())
    with launch.as_on(launch.CHIPS["t4"]):
        g = cudnn_conv.geometry(window((8,), (3,)), 8, 4, 1, np.dtype("float32"))
    assert dataclasses.asdict(g)["channels"] == 8
