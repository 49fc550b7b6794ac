"""Matrix products through cuBLASLt, against a stand-in that goes by its documentation."""

import types

import emulate
import numpy as np
import pytest

from gpunet import config, gpu, ops
from gpunet.errors import KernelError
from gpunet.fused import cublaslt, launch, libraries
from gpunet.fused import gemm as gemm_module
from gpunet.fused.gemm import gemm
from gpunet.ops.products import product

pytestmark = pytest.mark.skipif(not emulate.compiler(), reason="g++ is missing")

LIBRARY = cublaslt.library  # of which the emulation makes another
TOLERANCE = {"float16": 2e-3, "float32": 1e-6, "float64": 1e-13}


@pytest.fixture(autouse=True)
def cupy():
    before = config.precision()
    config.set_precision("strict")
    with emulate.fake_cupy() as module:
        yield module
    config.set_precision(before)
    emulate.products().stand_in_without(0)


def laid(rng, shape, layout, dtype="float64"):
    """Return an array of a shape that lies in memory in one of several ways."""
    *lead, m, n = shape
    if layout == "one row for all":
        return np.broadcast_to(rng.standard_normal((*lead, 1, n)).astype(dtype), shape)
    a = {
        "rows": lambda: np.empty(shape, dtype),
        "columns": lambda: np.empty((*lead, n, m), dtype).swapaxes(-1, -2),
        "part of wider rows": lambda: np.empty((*lead, m, n + 3), dtype)[..., 2 : n + 2],
        "part of longer columns": lambda: np.empty((*lead, n, m + 5), dtype).swapaxes(-1, -2)[
            ..., 1 : m + 1, :
        ],
        "every other": lambda: np.empty((*lead, 2 * m, 2 * n), dtype)[..., ::2, ::2],
        "backwards": lambda: np.empty(shape, dtype)[..., ::-1, :],
        "batch between": lambda: np.moveaxis(np.empty((m, *lead, n), dtype), 0, -2),
        "batch backwards": lambda: np.empty(shape, dtype)[::-1],
    }[layout]()
    a[...] = rng.standard_normal(shape)
    return a


READABLE = ["rows", "columns", "part of wider rows", "part of longer columns"]
LAYOUTS = [*READABLE, "every other", "backwards", "one row for all"]


def agree(got, wanted, dtype="float64"):
    assert got.shape == wanted.shape
    tolerance = TOLERANCE[dtype] * 20
    np.testing.assert_allclose(got.astype("float64"), wanted, rtol=tolerance, atol=tolerance)


def count(what):
    """Return how many handles, heuristics or products there were, or how much is alive."""
    kinds = ["handles", "heuristics", "products", "alive"]
    return emulate.products().stand_in_count(kinds.index(what))


@pytest.mark.parametrize("sizes", [(5, 7, 3), (1, 4, 6), (4, 1, 6), (4, 6, 1), (1, 1, 1)])
@pytest.mark.parametrize("left", LAYOUTS)
@pytest.mark.parametrize("right", LAYOUTS)
def test_layouts(sizes, left, right, rng):
    m, k, n = sizes
    a, b = laid(rng, (m, k), left), laid(rng, (k, n), right)
    agree(gemm(a, b), a @ b)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_out(layout, rng):
    a, b = rng.standard_normal((4, 6)), rng.standard_normal((6, 5))
    out = laid(rng, (4, 5), "rows" if layout == "one row for all" else layout)
    around = out.base.copy() if out.base is not None else out.copy()
    before = out.copy()
    assert gemm(a, b, out) is out
    agree(out, a @ b)
    out[...] = before
    gemm(a, b, out, accumulate=True)
    agree(out, before + a @ b)
    out[...] = before
    np.testing.assert_array_equal(out.base if out.base is not None else out, around)


@pytest.mark.parametrize("layout", READABLE)
def test_nothing_is_copied(layout, rng, monkeypatch):
    a, b = laid(rng, (3, 4, 6), layout), laid(rng, (3, 6, 5), layout)
    monkeypatch.setattr(emulate._Module, "ascontiguousarray", None, raising=False)
    before = count("products")
    agree(gemm(a, b), a @ b)
    assert count("products") == before + 1


BATCHES = [
    ((3,), (3,)), ((2, 3), (2, 3)), ((3,), ()), ((), (3,)), ((1,), (3,)), ((2, 1), (3,)),
    ((2, 1), (1, 3)), ((4, 1, 2), (1, 5, 1)), ((12, 1), (1, 11)), ((1, 1), (1,)), ((0,), (0,)),
]  # fmt: skip


@pytest.mark.parametrize(("left", "right"), BATCHES)
@pytest.mark.parametrize("layout", [*LAYOUTS, "batch between"])
def test_batches(left, right, layout, rng):
    a, b = laid(rng, (*left, 4, 3), layout), laid(rng, (*right, 3, 5), layout)
    agree(gemm(a, b), a @ b)


def test_batch_backwards(rng):
    a, b = laid(rng, (3, 4, 2), "batch backwards"), laid(rng, (3, 2, 4), "batch backwards")
    agree(gemm(a, b), a @ b)


def test_heads_of_attention_are_read_as_they_lie(rng, monkeypatch):
    q, k = (rng.standard_normal((2, 9, 4, 8)).transpose(0, 2, 1, 3) for _ in range(2))
    monkeypatch.setattr(emulate._Module, "ascontiguousarray", None, raising=False)
    before = count("products")
    agree(gemm(q, k.swapaxes(-1, -2)), q @ k.swapaxes(-1, -2))
    assert count("products") == before + 2  # of 4 heads each


def test_matrix_on_the_right_makes_one_product(rng):
    a, b = rng.standard_normal((5, 6, 7)), rng.standard_normal((7, 3))
    before = count("products")
    agree(gemm(a, b), a @ b)
    assert count("products") == before + 1


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("without", [0, 2, 4, 256])
def test_what_follows_the_product(dtype, without, rng):
    """Also where the library has no algorithm for it."""
    emulate.products().stand_in_without(without)
    a, b = laid(rng, (6, 5), "columns", dtype), laid(rng, (5, 3), "rows", dtype)
    bias, wide = rng.standard_normal(3).astype(dtype), (lambda x: x.astype("float64"))
    y = wide(a) @ wide(b)
    agree(gemm(a, b, bias=bias), y + wide(bias), dtype)
    agree(gemm(a, b, relu=True), np.maximum(y, 0), dtype)
    agree(gemm(a, b, bias=bias, relu=True), np.maximum(y + wide(bias), 0), dtype)
    agree(gemm(a, b, bias=np.repeat(bias, 2)[::2]), y + wide(bias), dtype)
    sums = np.full(3, np.nan, dtype)
    agree(gemm(a, b, sums=sums), y, dtype)
    agree(sums, wide(b).sum(axis=0), dtype)
    out = np.ones((6, 3), dtype)
    agree(
        gemm(a, b, out, bias, relu=True, accumulate=True), np.maximum(y + 1 + wide(bias), 0), dtype
    )
    batch = np.stack([a, 2 * a])
    agree(gemm(batch, np.stack([b, b]), bias=bias), np.stack([y, 2 * y]) + wide(bias), dtype)


def test_16_bits_are_added_up_in_32(rng):
    a, b = np.full((1, 4096), 1, "float16"), np.full((4096, 1), 1, "float16")
    b[0] = 2048  # in 16 bits, 2048 + 1 is 2048
    assert gemm(a, b)[0, 0] == 6144
    out = np.empty((1, 1), "float32")
    b[1] = 2
    assert gemm(a, b, out)[0, 0] == 6144


def test_precision(rng):
    a, b = (rng.standard_normal((8, 8)).astype("float32") for _ in range(2))
    exact = a.astype("float64") @ b.astype("float64")
    strict = np.abs(gemm(a, b) - exact).max()
    config.set_precision("tf32")
    rounded = np.abs(gemm(a, b) - exact).max()
    assert strict < 1e-6 < 1e-4 < rounded < 1e-2
    agree(gemm(a.astype("float64"), b.astype("float64")), exact)
    with emulate.fake_cupy(capability=75):  # has no tensor cores for it
        assert np.abs(gemm(a, b) - exact).max() < 1e-6


@pytest.mark.parametrize("sizes", [(0, 3, 2), (2, 3, 0), (2, 0, 3), (0, 0, 0)])
def test_nothing_to_add_up(sizes):
    m, k, n = sizes
    a, b, bias = np.ones((m, k)), np.ones((k, n)), np.arange(-1.0, n - 1)
    assert gemm(a, b).tolist() == np.zeros((m, n)).tolist()
    wanted = np.broadcast_to(np.maximum(bias, 0), (m, n)) if not k else np.maximum(a @ b + bias, 0)
    assert gemm(a, b, bias=bias, relu=True).tolist() == wanted.tolist()
    sums = np.full(n, np.nan)
    gemm(a, b, sums=sums)
    assert sums.tolist() == b.sum(axis=0).tolist()


def test_plans_are_made_once(rng):
    a, b = rng.standard_normal((6, 5)), rng.standard_normal((5, 4))
    memory = rng.standard_normal(128)
    memory = memory[-memory.ctypes.data % 256 // 8 :]
    bias, another = memory[:4], memory[32:36]  # as aligned as the other
    gemm(a, b, bias=bias)
    handles, heuristics, alive = count("handles"), count("heuristics"), count("alive")
    for vector in (another, bias, another):
        agree(gemm(a, b, bias=vector), a @ b + vector)
    assert (handles, heuristics, alive) == (count("handles"), count("heuristics"), count("alive"))
    gemm(a.T.copy().T, b, bias=bias)
    assert count("heuristics") == heuristics + 1


def test_forgotten_plans_let_their_descriptors_go(rng):
    gemm_module._plan.cache_clear()
    before = count("alive")
    gemm(rng.standard_normal((6, 5)), rng.standard_normal((5, 4)))
    assert count("alive") > before
    gemm_module._plan.cache_clear()
    assert count("alive") == before


def test_addresses_that_are_less_aligned_get_an_algorithm_of_their_own(rng):
    memory = np.empty(200, "float64")
    for start in (0, 1, 2, 3):
        a = memory[start : start + 30].reshape(5, 6)
        a[...] = rng.standard_normal((5, 6))
        agree(gemm(a, np.eye(6)), a)


@pytest.mark.parametrize(
    ("shapes", "options", "text"),
    [
        (((2, 3), (4, 5)), {}, r"shapes \(2, 3\) and \(4, 5\)"),
        (((3,), (3, 5)), {}, "don't fit"),
        (((2, 2, 3), (3, 3, 5)), {}, "can't be broadcast"),
        (((2, 3), (3, 5)), {"out": np.empty((2, 4))}, r"out has \(2, 4\)"),
        (((2, 3), (3, 5)), {"out": np.empty((2, 5), "float32")}, "can't be written to float32"),
        (((2, 3), (3, 5)), {"bias": np.empty(4)}, r"bias of shape \(5,\)"),
        (((2, 3), (3, 5)), {"bias": np.empty(5, "float32")}, "type float64"),
        (((2, 3), (3, 5)), {"sums": np.empty(5), "bias": np.empty(5)}, "without bias"),
    ],
)
def test_errors(shapes, options, text):
    a, b = (np.ones(s) for s in shapes)
    with pytest.raises(ValueError, match=text):
        gemm(a, b, **options)
    with pytest.raises(ValueError, match="one float type"):
        gemm(np.ones((2, 3)), np.ones((3, 2), "float32"))


def test_refusals_name_call_and_shapes():
    a = np.ones((4, 6))
    product = cublaslt.Product(
        0, 5, 4, 6, ("float64",) * 3, "float64", (False, False), (5, 6, 5), 1, (0, 0, 0), "none",
        False, (8, 8, 8, 0), 64,
    )  # fmt: skip
    plan = cublaslt.Plan(product)
    address = a.ctypes.data
    with pytest.raises(
        KernelError, match=r"cublasLtMatmul for \(4, 6\) @ \(6, 5\) of float64.*7\)"
    ):
        plan.run(address, address, address, 0, 0, 0)  # without a workspace
    assert not cublaslt.Plan(product._replace(compute="tf32")).supported
    with pytest.raises(KernelError, match="cublasLtMatmulAlgoGetHeuristic .* unsupported value"):
        cublaslt.Plan(product._replace(leading=(4, 6, 5)))


def test_no_algorithm_at_all(monkeypatch):
    monkeypatch.setattr(cublaslt.Plan, "_choose", lambda self: False)
    with pytest.raises(KernelError, match=r"no algorithm for \(2, 3\) @ \(3, 2\) of float64"):
        gemm(np.ones((2, 3)), np.ones((3, 2)), bias=np.ones(2))


@pytest.mark.parametrize(
    "shapes",
    [((3, 4), (4, 5)), ((4,), (4, 5)), ((3, 4), (4,)), ((4,), (4,)), ((2, 3, 4), (4,)),
     ((4,), (2, 4, 5)), ((2, 3, 4), (2, 4, 5))],
)  # fmt: skip
def test_products_of_ops(shapes, rng, cupy):
    a, b = (rng.standard_normal(s) for s in shapes)
    before = count("products")
    agree(product(cupy, a, b), a @ b)
    assert count("products") > before


def test_left_to_the_array_module(rng, cupy):
    before = count("products")
    whole = np.arange(6).reshape(2, 3)
    assert product(cupy, whole, whole.T).tolist() == (whole @ whole.T).tolist()
    assert product(cupy, np.ones((2, 3)), np.ones((3, 2), "float32")).tolist() == [[3, 3], [3, 3]]
    config.set_fused(False)
    try:
        assert product(cupy, np.ones((2, 3)), np.ones((3, 2))).tolist() == [[3, 3], [3, 3]]
    finally:
        config.set_fused(True)
    assert count("products") == before


def test_dense_takes_two_products_back(rng, cupy):
    """The gradient of the bias comes with that of the kernel."""
    x, kernel, bias = (rng.standard_normal(s) for s in ((2, 3, 4), (4, 5), (5,)))
    fusion = ops.dense.fusions[-1]
    y, saved = fusion.forward(cupy, x, kernel, bias)
    agree(y, x @ kernel + bias)
    gy, before = rng.standard_normal(y.shape), count("products")
    gx, gkernel, gbias = fusion.pull(cupy, saved, gy, (True, True, True))
    assert count("products") == before + 2
    agree(gx, gy @ kernel.T)
    agree(gkernel, x.reshape(6, 4).T @ gy.reshape(6, 5))
    agree(gbias, gy.sum(axis=(0, 1)))


def test_dense_is_explained():
    kernel = np.empty((4, 5), "float32")
    with launch.as_on(launch.CHIPS["a100"]):
        config.set_precision("tf32")
        words = ops.dense.fusions[-1].words(emulate.as_cupy, kernel.T, kernel, None, relu=True)
    assert words == "cuBLASLt in tf32, ReLU in the same call; two products back"


def test_missing_library_leaves_products_to_cupy(monkeypatch, cupy):
    monkeypatch.setattr(cublaslt, "library", lambda: None)
    assert product(cupy, np.ones((2, 3)), np.ones((3, 2))).tolist() == [[3, 3], [3, 3]]


def test_the_library_is_of_the_cuda_version_of_cupy(monkeypatch, caplog):
    monkeypatch.setattr(cublaslt, "_load_by_pathfinder", emulate.products)
    monkeypatch.setattr(cublaslt, "_load_by_name", emulate.products)
    find = LIBRARY.__wrapped__
    monkeypatch.setattr(libraries, "major", lambda: 13)
    assert find() is emulate.products()
    monkeypatch.setattr(libraries, "major", lambda: 12)
    with caplog.at_level("INFO", "gpunet"):
        assert find() is None
    assert "found cuBLASLt of CUDA 13, CuPy is for CUDA 12" in caplog.text


def test_chips_have_their_workspace():
    assert [gemm_module._workspace_size(c) for c in (75, 80, 90, 100)] == [
        4 << 20, 4 << 20, 32 << 20, 32 << 20,
    ]  # fmt: skip
    assert gemm_module._workspace(0, 1, 64) is gemm_module._workspace(0, 1, 64)
    assert gemm_module._workspace(0, 1, 64) is not gemm_module._workspace(0, 2, 64)
    assert launch.chip().capability == 90


def test_under_capture_the_workspace_is_that_of_the_stream_that_work_runs_on(monkeypatch):
    """A graph's own stream never runs; a workspace for it would be made during the capture."""
    monkeypatch.setattr(gpu, "_streams", {0: types.SimpleNamespace(ptr=55)})
    for capturing, owner in ((False, 9), (True, 55)):
        stream = types.SimpleNamespace(ptr=9, is_capturing=lambda c=capturing: c)
        cuda = types.SimpleNamespace(get_current_stream=lambda s=stream: s)
        xp = types.SimpleNamespace(cuda=cuda)
        assert gemm_module._stream_and_owner(xp, 0) == (9, owner)
