"""The stand-in for a GPU: it runs what CUDA runs, and finds what CUDA would get wrong."""

import os
import subprocess
import sys
from pathlib import Path

import emulate
import numpy as np
import pytest

from gpunet.fused import sources

pytestmark = pytest.mark.skipif(not emulate.compiler(), reason="g++ is missing")

CONVOLUTIONS = ["conv[strides]", "conv[groups]", "conv[images]", "conv[depthwise]",
                "16_bits[groups]"]  # fmt: skip
HERE = Path(__file__).resolve().parent


def run(code, grid, block, args, name="test", **module):
    shared = module.pop("shared", 0)
    machine = (sources.folder() / "machine.cuh").read_text(encoding="utf8")
    with emulate.fake_cupy() as cupy:
        kernel = cupy.RawModule(code=machine + code, **module).get_function(name)
        kernel((grid,), (block,), args, shared_mem=shared)


SUM = """
extern "C" __global__ void test(const float* x, float* y) {
    __shared__ float part[96];
    part[threadIdx.x] = x[blockIdx.x * 96 + threadIdx.x];
    BARRIER
    if (threadIdx.x == 0) {
        float total = 0;
        for (int i = 0; i < 96; i++) total += part[i];
        y[blockIdx.x] = total;
    }
}
"""


def test_barriers(rng):
    x, y = rng.standard_normal((5, 96)).astype("float32"), np.full(5, np.nan, "float32")
    run(SUM.replace("BARRIER", "__syncthreads();"), 5, 96, (x, y))
    np.testing.assert_allclose(y, x.sum(axis=1), rtol=1e-5, atol=1e-5)


def test_a_missing_barrier_shows(rng):
    x, y = rng.standard_normal((8, 96)).astype("float32"), np.full(8, np.nan, "float32")
    run(SUM.replace("BARRIER", ""), 8, 96, (x, y))
    assert not np.allclose(y, x.sum(axis=1), atol=1e-3)


def test_a_barrier_that_not_all_reach_is_an_error():
    code = """
    extern "C" __global__ void test(float* y) {
        if (threadIdx.x < 40) __syncthreads();
        if (threadIdx.x >= 40) { __syncwarp(); __syncthreads(); }
        if (threadIdx.x == 0) __syncthreads();
        y[threadIdx.x] = 1;
        __syncwarp();
    }"""
    with pytest.raises(RuntimeError, match="kernel 'test': its threads wait for each other"):
        run(code, 1, 64, (np.zeros(64, "float32"),))


def test_warps_and_atomics(rng):
    code = """
    extern "C" __global__ void test(const float* x, float* y, int* count) {
        float v = x[threadIdx.x];
        for (int lanes = 16; lanes; lanes /= 2) v += __shfl_xor_sync(0xffffffffu, v, lanes);
        float first = __shfl_sync(0xffffffffu, x[threadIdx.x], 0);
        float next = __shfl_down_sync(0xffffffffu, x[threadIdx.x], 1);
        y[3 * threadIdx.x] = v;
        y[3 * threadIdx.x + 1] = first;
        y[3 * threadIdx.x + 2] = next;
        atomicAdd(count, 1);
    }"""
    x, y = rng.standard_normal(64).astype("float32"), np.full((64, 3), np.nan, "float32")
    count = np.zeros(1, "int32")
    run(code, 1, 64, (x, y, count))
    warps = x.reshape(2, 32)
    np.testing.assert_allclose(y[:, 0], warps.sum(axis=1).repeat(32), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(y[:, 1], warps[:, 0].repeat(32))
    moved = np.concatenate([warps[:, 1:], warps[:, -1:]], axis=1)
    np.testing.assert_array_equal(y[:, 2], moved.ravel())
    assert count[0] == 64


COPY = """
extern "C" __global__ void test(const float* x, float* y) {
    GN_DYNAMIC(float, here);
    gn_copy_async(here + 4 * threadIdx.x, x + 4 * threadIdx.x, threadIdx.x != 7);
    gn_copy_commit();
    WAIT
    __syncthreads();
    for (int i = 0; i < 4; i++) y[4 * threadIdx.x + i] = here[4 * (7 - threadIdx.x) + i];
}
"""


def test_asynchronous_copies(rng):
    x, y = rng.standard_normal((8, 4)).astype("float32"), np.zeros((8, 4), "float32")
    run(COPY.replace("WAIT", "gn_copy_wait<0>();"), 1, 8, (x, y), shared=128)
    x[7] = 0
    np.testing.assert_array_equal(y, x[::-1])


def test_a_missing_wait_shows():
    y = np.zeros((8, 4), "float32")
    run(COPY.replace("WAIT", ""), 1, 8, (np.ones((8, 4), "float32"), y), shared=128)
    assert np.isnan(y).all()


def test_a_misaligned_copy_shows():
    y = np.zeros(33, "float32")
    with pytest.raises(RuntimeError, match="kernel 'test': an address isn't aligned"):
        run(COPY.replace("WAIT", "gn_copy_wait<0>();"), 1, 8, (y[1:], np.zeros(32)), shared=128)


def half_bits(x, kind):
    if kind == "half":
        return x.astype("float16").view("uint16")
    return (x.astype("float32").view("uint32") >> 16).astype("uint16")  # exact where it fits


@pytest.mark.parametrize("kind", ["half", "bfloat"])
@pytest.mark.parametrize("turned", [False, True])
def test_tensor_cores_for_16_bits(kind, turned, rng):
    """A (16, 16) is read by rows, or from its transpose; B by columns, each eight twice."""
    code = f"""
    extern "C" __global__ void test(const gn_{kind}* a, const gn_{kind}* b, float* y) {{
        GN_DYNAMIC(gn_{kind}, here);
        const int lane = threadIdx.x, g = lane / 4, t = lane % 4;
        for (int i = lane; i < 256; i += 32) here[i] = a[i];
        for (int i = lane; i < 256; i += 32) here[256 + i] = b[i];
        __syncthreads();
        unsigned left[4], right[4];
        {
        "gn_load_transposes(left, here + (lane % 8 + lane / 16 * 8) * 16 + lane / 8 % 2 * 8);"
        if turned
        else "gn_load_matrices(left, here + lane % 16 * 16 + lane / 16 * 8);"
    }
        gn_load_transposes(right, here + 256 + lane % 16 * 16 + lane / 16 * 8);
        for (int n = 0; n < 2; n++) {{
            float d[4] = {{1, 1, 1, 1}};
            const unsigned pair[2] = {{right[2 * n], right[2 * n + 1]}};
            gn_mma_16(d, left, pair, gn_{kind}());
            for (int i = 0; i < 4; i++)
                y[(g + 8 * (i / 2)) * 16 + 8 * n + 2 * t + i % 2] = d[i];
        }}
    }}"""
    a, b = rng.integers(-9, 9, (2, 16, 16)).astype("float32")
    y = np.full((16, 16), np.nan, "float32")
    given = [half_bits(np.ascontiguousarray(v), kind) for v in (a.T if turned else a, b)]
    run(code, 1, 32, (*given, y), shared=1024)
    np.testing.assert_array_equal(y, a @ b + 1)


def test_matrices_of_floats_in_shared_memory(rng):
    code = """
    extern "C" __global__ void test(const float* x, float* y) {
        GN_DYNAMIC(float, here);
        const int lane = threadIdx.x;
        for (int i = lane; i < 128; i += 32) here[i] = x[i];
        __syncthreads();
        unsigned to[4];
        gn_load_matrices(to, here + lane % 16 * 8 + lane / 16 * 4);
        for (int i = 0; i < 4; i++)
            y[(lane / 4 + i % 2 * 8) * 8 + lane % 4 + i / 2 * 4] = __uint_as_float(to[i]);
    }"""
    x, y = rng.standard_normal((16, 8)).astype("float32"), np.zeros((16, 8), "float32")
    run(code, 1, 32, (x, y), shared=512)
    np.testing.assert_array_equal(y, x)


@pytest.mark.parametrize("kind", ["half", "bfloat"])
def test_rounding_to_16_bits(kind, rng):
    code = f"""
    extern "C" __global__ void test(const float* x, float* y) {{
        gn_{kind} narrow;
        gn_round(narrow, x[threadIdx.x]);
        y[threadIdx.x] = gn_float(narrow);
    }}"""
    x = (rng.standard_normal(64) * 10.0 ** rng.integers(-6, 5, 64)).astype("float32")
    x[:4] = [np.nan, np.inf, -np.inf, 1e9]
    y = np.zeros(64, "float32")
    run(code, 1, 64, (x, y))
    with np.errstate(over="ignore"):
        wanted = x.astype("float16").astype("float32")
    if kind == "bfloat":
        kept = x.astype("float64")
        step = 2.0 ** (np.floor(np.log2(np.abs(kept[3:]))) - 7)
        wanted = x.copy()
        wanted[3:] = np.round(kept[3:] / step) * step
    np.testing.assert_array_equal(y, wanted)


def test_clusters_reach_each_others_memory():
    code = """
    extern "C" __global__ void test(float* y) {
        GN_DYNAMIC(float, here);
        unsigned next = (gn_cluster_rank() + 1) % 3;
        if (threadIdx.x < 5) *gn_map_shared(here + threadIdx.x, next) = blockIdx.x;
        gn_cluster_sync();
        if (threadIdx.x < 5) y[blockIdx.x * 5 + threadIdx.x] = here[threadIdx.x];
        gn_cluster_sync();
    }"""
    y = np.full((6, 5), np.nan, "float32")
    run(code, 6, 32, (y,), options=("-DCLUSTER=3",), shared=20)
    np.testing.assert_array_equal(y[:, 0], [2, 0, 1, 5, 3, 4])
    np.testing.assert_array_equal(y, y[:, :1].repeat(5, axis=1))


def test_cooperative_launches_meet():
    code = """
    extern "C" __global__ void test(float* y, unsigned* meetings) {
        for (unsigned round = 0; round < 3; round++) {
            float sum = 0;
            for (unsigned b = 0; b < gridDim.x; b++) sum += ((volatile float*)y)[b];
            gn_grid_sync(meetings, 2 * round, gridDim.x);
            if (threadIdx.x == 0) y[blockIdx.x] = sum + blockIdx.x;
            gn_grid_sync(meetings, 2 * round + 1, gridDim.x);
        }
    }"""
    y, wanted = np.ones(4, "float32"), np.ones(4)
    run(code, 4, 32, (y, np.zeros(1, "uint32")), enable_cooperative_groups=True)
    for _ in range(3):
        wanted = wanted.sum() + np.arange(4)
    np.testing.assert_array_equal(y, wanted)


# -- under AddressSanitizer -----------------------------------------------------------------


def sanitized(*command):
    library = subprocess.run(
        [emulate.compiler(), "-print-file-name=libasan.so"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    if not os.path.isabs(library):
        pytest.skip("libasan.so is missing")
    environ = {
        **os.environ, emulate.SANITIZE: "address", "LD_PRELOAD": library,
        "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0",
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, *command], env=environ, cwd=HERE.parents[1],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_write_out_of_bounds_is_found():
    code = f"""
import sys
sys.path.insert(0, {str(HERE)!r})
import numpy as np, emulate
code = 'extern "C" __global__ void test(float* y, int64_t n) {{ y[threadIdx.x + n] = 1; }}'
with emulate.fake_cupy() as cupy:
    kernel = cupy.RawModule(code=code).get_function("test")
    y = np.zeros(1000, "float32")
    kernel((1,), (8,), (y, int(sys.argv[1])))
print("done")
"""
    good, bad = sanitized("-c", code, "992"), sanitized("-c", code, "993")
    assert good.returncode == 0 and good.stdout == "done\n", good.stderr
    assert bad.returncode and "heap-buffer-overflow" in bad.stderr and "done" not in bad.stdout


@pytest.mark.parametrize(
    "tests",
    [
        "test_rnn_kernels.py::test_sizes",
        "test_kernels.py",
        "test_tables.py",
        "test_endings.py::test_steps_come_last test_endings.py::test_parts_with_strides "
        "test_endings.py::test_moments_of_small_tiles",
        " ".join(f"test_conv_kernels.py::test_{name}" for name in CONVOLUTIONS),
    ],
)
def test_kernels_stay_in_bounds(tests):
    paths = [f"tests/fused/{test}" for test in tests.split()]
    done = sanitized("-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *paths, "-k", "not nvcc")
    assert done.returncode == 0 and " passed" in done.stdout, done.stdout[-3000:] + done.stderr
