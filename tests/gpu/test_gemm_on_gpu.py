"""cuBLASLt itself: products on a GPU against NumPy's, under capture, and mixed precision."""

import numpy as np
import pytest

import gpunet
from gpunet import config, gpu, layers, mixed_precision
from gpunet.errors import DeviceMemoryError
from gpunet.fused import cublaslt
from gpunet.fused.gemm import gemm
from gpunet.fused.graphs import Graphs

pytestmark = pytest.mark.gpu

TOLERANCE = {"float16": 3e-3, "float32": 2e-6, "float64": 1e-14}


@pytest.fixture(autouse=True)
def strict():
    before = config.precision()
    config.set_precision("strict")
    yield
    config.set_precision(before)
    mixed_precision.set_global_policy(None)


@pytest.fixture
def cupy():
    import cupy

    with gpunet.device("gpu:0"):
        yield cupy


def close(got, wanted, dtype):
    scale = np.abs(wanted).max()
    np.testing.assert_allclose(got.get().astype("float64"), wanted, atol=TOLERANCE[dtype] * scale)


def test_the_library_is_there():
    assert cublaslt.library() is not None


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("sizes", [(1, 1, 1), (128, 784, 512), (129, 33, 65), (7, 1000, 3)])
@pytest.mark.parametrize("turned", [(False, False), (True, False), (False, True), (True, True)])
def test_products(dtype, sizes, turned, rng, cupy):
    m, k, n = sizes
    a, b = rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
    bias = rng.standard_normal(n).astype(dtype)
    on_gpu = [cupy.asarray(x.T.copy()).T if t else cupy.asarray(x) for x, t in zip((a, b), turned)]
    wanted = a.astype("float64") @ b.astype("float64")
    close(gemm(*on_gpu), wanted, dtype)
    whole = np.maximum(wanted + bias, 0) if m * n > 1 else wanted + bias
    close(gemm(*on_gpu, bias=cupy.asarray(bias), relu=m * n > 1), whole, dtype)
    sums = cupy.empty(n, dtype)
    close(gemm(*on_gpu, sums=sums), wanted, dtype)
    close(sums, b.astype("float64").sum(axis=0), dtype)
    out = cupy.ones((m, n), dtype)
    close(gemm(*on_gpu, out, accumulate=True), wanted + 1, dtype)


def test_batches(rng, cupy):
    q, k = (rng.standard_normal((3, 17, 4, 8)).astype("float32") for _ in range(2))
    a, b = (cupy.asarray(x).transpose(0, 2, 1, 3) for x in (q, k))
    wanted = q.transpose(0, 2, 1, 3).astype("float64") @ k.transpose(0, 2, 3, 1)
    close(gemm(a, b.swapaxes(-1, -2)), wanted, "float32")


def test_parts_of_arrays(rng, cupy):
    """Addresses that aren't aligned get an algorithm that takes them."""
    x = rng.standard_normal((40, 41)).astype("float32")
    on_gpu = cupy.asarray(x)
    for i in range(4):
        a, b = x[i : i + 30, i : i + 20], x[i : i + 20, 3 - i : 30]
        got = gemm(on_gpu[i : i + 30, i : i + 20], on_gpu[i : i + 20, 3 - i : 30])
        close(got, a.astype("float64") @ b, "float32")


def test_capture(rng, cupy):
    a, b = (cupy.asarray(rng.standard_normal((64, 64)).astype("float32")) for _ in range(2))
    bias = cupy.asarray(rng.standard_normal(64).astype("float32"))
    gemm(a, b, bias=bias)  # the plan and the workspace are made
    graphs = Graphs(cupy)
    graph, y = graphs.capture(lambda: gemm(a, b, bias=bias))
    a[...] = 2
    graphs.launch(graph)
    close(y, a.get().astype("float64") @ b.get() + bias.get(), "float32")


def test_same_bits_each_time(rng, cupy):
    a, b = (cupy.asarray(rng.standard_normal((512, 512)).astype("float32")) for _ in range(2))
    first = gemm(a, b).get()
    for _ in range(5):
        np.testing.assert_array_equal(gemm(a, b).get(), first)


def test_mixed_precision_trains(rng, cupy):
    mixed_precision.set_global_policy("mixed_float16")
    x = layers.Input((16, 16, 3))
    y = layers.BatchNormalization()(layers.Conv2D(8, 3, activation="relu")(x))
    y = layers.Dense(3, activation="softmax", dtype="float32")(layers.Flatten()(y))
    model = gpunet.Model(x, y)
    model.compile("adam", "sparse_categorical_crossentropy")
    images = rng.standard_normal((96, 16, 16, 3)).astype("float32")
    labels = (images.mean(axis=(1, 2)).argmax(axis=1)).astype("int64")
    losses = model.fit(images, labels, epochs=12, verbose=0).history["loss"]
    assert losses[-1] < losses[0] and np.isfinite(losses).all()


def test_out_of_memory_has_an_error_of_its_own(cupy):
    gpu.enter(cupy)
    with pytest.raises(DeviceMemoryError, match=r"GPU 0 is out of memory: .* GB more"):
        cupy.empty(1 << 45, "uint8")
    assert cupy.zeros(3).sum() == 0


def test_clear_session_gives_memory_back(cupy):
    held = cupy.zeros(64 << 20, "uint8")
    free = cupy.cuda.runtime.memGetInfo()[0]
    del held
    gpunet.backend.clear_session()
    assert cupy.cuda.runtime.memGetInfo()[0] >= free + (64 << 20)
