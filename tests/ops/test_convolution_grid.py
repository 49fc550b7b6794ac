"""The blocked convolution of the CPU against a direct loop, over grids of options."""

import itertools
import tracemalloc

import conv_cases
import numpy as np
import pytest

from gpunet import config, ops, threads
from gpunet.errors import ShapeError
from gpunet.ops import conv_cpu, conv_runs, conv_tiles, conv_windows
from gpunet.ops.window import transposed_window, window

GROUPS = [(3, 4, 1), (4, 6, 2), (3, 6, 3), (4, 4, 4), (9, 2, 1)]  # channels, filters, groups


def grid(rank):
    """Yield (size, kernel, stride, dilation, padding) per axis; odd combinations on purpose."""
    sizes = {1: range(1, 10), 2: (1, 4, 7), 3: (3, 5)}[rank]
    kernels = {1: (1, 2, 3, 5), 2: (1, 2, 3), 3: (1, 2)}[rank]
    for size, kernel in itertools.product(sizes, kernels):
        for stride, dilation in [(1, 1), (2, 1), (3, 1), (1, 2), (2, 3), (3, 2), (4, 2)]:
            for padding in ("valid", "same", "causal"):
                yield size, kernel, stride, dilation, padding


def axes(value, rank, step):
    """Return a value that differs between axes."""
    return tuple(value + step * (i % 2) for i in range(rank))


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize(("channels", "filters", "groups"), GROUPS)
def test_values_and_gradients(rank, channels, filters, groups, rng, monkeypatch):
    done = 0
    for size, kernel, stride, dilation, padding in grid(rank):
        options = {"strides": axes(stride, rank, 1), "padding": padding, "dilation": dilation}
        sizes, cells = axes(size, rank, 2), axes(kernel, rank, 1)
        try:
            w = window(sizes, cells, **options)
        except ShapeError:
            continue
        # By turns with copies of windows, without, in tiles, and as one product, as soon as
        # that's possible.
        monkeypatch.setattr(conv_cpu, "SMALL", 10**9 if done % 4 == 3 else 0)
        monkeypatch.setattr(conv_runs, "SHORT", 10**9 if done % 4 == 0 else 1)
        monkeypatch.setattr(conv_runs, "COPY", 10**9)
        for cost in ("MIXED", "PREPARED"):
            monkeypatch.setattr(conv_tiles, cost, 0 if done % 4 == 2 else 10**9)
        x = rng.standard_normal((2, *sizes, channels))
        k = rng.standard_normal((*cells, channels // groups, filters))
        bias = rng.standard_normal(filters)
        gy = rng.standard_normal((2, *w.out, filters))
        y = conv_cpu.forward(x, k, bias, w, groups)
        np.testing.assert_allclose(
            y, conv_cases.conv(x, k, bias, groups=groups, **options), rtol=1e-9, atol=1e-10
        )
        # The other two are transposes of it: <conv(x, k), gy> = <x, gx> = <k, gk>.
        want = np.sum((y - bias) * gy)
        gx = conv_cpu.input_gradient(gy, k, None, w, groups)
        gk, gb = conv_cpu.kernel_gradient(x, gy, w, groups, True)
        assert gx.shape == x.shape and gk.shape == k.shape
        assert np.sum(gx * x) == pytest.approx(want, rel=1e-9, abs=1e-9)
        assert np.sum(gk * k) == pytest.approx(want, rel=1e-9, abs=1e-9)
        other = rng.standard_normal(x.shape)
        want = np.sum(conv_cases.conv(other, k, groups=groups, **options) * gy)
        assert np.sum(gx * other) == pytest.approx(want, rel=1e-9, abs=1e-9)
        np.testing.assert_allclose(gb, gy.sum(axis=tuple(range(rank + 1))), rtol=1e-9, atol=1e-9)
        done += 1
    assert done > 50


LARGE = [
    # Few outputs: their filters are shared out.
    ((2, 7, 7, 24), (3, 3, 24, 300), 1, {"padding": "same"}),
    ((1, 9, 9, 300), (1, 1, 300, 257), 1, {}),
    ((3, 5, 5, 32), (1, 1, 16, 512), 2, {"strides": 2}),
    # x, kernel, groups, options: several blocks, borders and uneven last blocks
    ((5, 33, 31, 16), (3, 3, 16, 24), 1, {"padding": "same"}),
    ((5, 33, 31, 16), (3, 3, 16, 24), 1, {"padding": "same", "strides": 2}),
    ((2, 22, 300, 64), (3, 3, 64, 64), 1, {"padding": "same"}),
    ((2, 64, 61, 3), (5, 5, 3, 8), 1, {"padding": "valid"}),
    ((3, 40, 40, 12), (3, 3, 1, 12), 12, {"padding": "same"}),
    ((3, 40, 40, 12), (3, 3, 1, 24), 12, {"padding": "same", "strides": (1, 2)}),
    ((3, 40, 40, 16), (3, 3, 4, 16), 4, {"padding": "valid", "dilation": 2}),
    ((2, 5000, 8), (7, 8, 16), 1, {"padding": "causal", "dilation": 3}),
    ((70, 9, 9, 32), (1, 1, 32, 48), 1, {}),
    ((70, 9, 9, 32), (1, 1, 32, 48), 1, {"strides": 2}),
    ((4, 7, 7, 160), (3, 3, 160, 192), 1, {"padding": "same"}),
    ((2, 12, 14, 13, 8), (3, 2, 3, 8, 12), 1, {"padding": "same"}),
]


def plain(op, *arrays, **options):
    return op.forward(np, *arrays, **options)[0]


def as_float32(rng, shape):
    return (rng.integers(-4, 5, shape) / 4).astype("float32")


def assert_close(found, want, error=1e-5):
    """Compare arrays, errors as parts of the largest value."""
    np.testing.assert_allclose(found, want, rtol=0, atol=error * np.abs(want).max())


@pytest.fixture
def in_blocks(monkeypatch):
    """Nothing is done as one product, or by one thread, because it is small."""
    monkeypatch.setattr(conv_cpu, "SMALL", 0)
    monkeypatch.setattr(conv_cpu, "ALONE", 0)


@pytest.mark.parametrize("case", LARGE, ids=str)
def test_blocks_join(case, rng, in_blocks):
    """Against the plain functions; numbers are such that every sum is exact, but for tiles."""
    shape, kernel_shape, groups, options = case
    x, kernel = as_float32(rng, shape), as_float32(rng, kernel_shape)
    bias = as_float32(rng, kernel_shape[-1:])
    w = window(shape[1:-1], kernel_shape[:-2], **options)
    y = conv_cpu.forward(x, kernel, bias, w, groups, relu=True)
    options = {**options, "groups": groups}
    want = plain(ops.conv, x, kernel, bias, relu=True, **options)
    assert_close(y, want)
    gy = as_float32(rng, y.shape)
    gx = conv_cpu.input_gradient(gy, kernel, None, w, groups)
    assert_close(gx, plain(ops.conv_transpose, gy, kernel, size=shape[1:-1], **options))
    gk, gb = conv_cpu.kernel_gradient(x, gy, w, groups, True)
    want = plain(ops.conv_kernel_gradient, x, gy, kernel_size=kernel_shape[:-2], **options)
    assert_close(gk, want)
    np.testing.assert_allclose(gb, gy.sum(axis=tuple(range(gy.ndim - 1))), rtol=1e-6)


@pytest.mark.parametrize("case", LARGE, ids=str)
def test_thread_count_changes_no_bit(case, rng, monkeypatch, in_blocks):
    shape, kernel_shape, groups, options = case
    x = rng.standard_normal(shape).astype("float32")
    kernel = rng.standard_normal(kernel_shape).astype("float32")
    w = window(shape[1:-1], kernel_shape[:-2], **options)
    found = []
    for count in (1, 2, 3, 2):
        monkeypatch.setenv("GPUNET_THREADS", str(count))
        y = conv_cpu.forward(x, kernel, None, w, groups)
        gx = conv_cpu.input_gradient(y, kernel, None, w, groups)
        found.append((y, gx, *conv_cpu.kernel_gradient(x, y, w, groups, True)))
    for other in found[1:]:
        for a, b in zip(found[0], other):
            np.testing.assert_array_equal(a, b)


def test_what_is_kept_of_a_shape_serves_other_arrays(rng):
    """Small convolutions of one shape with other numbers, batches and channels between."""
    w = window((6, 5), (3, 3), padding="same")
    kernel = rng.standard_normal((3, 3, 4, 7))
    for n in (1, 2, 1, 0, 1):
        x = rng.standard_normal((n, 6, 5, 4))
        want = conv_cases.conv(x, kernel, padding="same") if n else np.zeros((0, 6, 5, 7))
        np.testing.assert_allclose(conv_cpu.forward(x, kernel, None, w, 1), want, atol=1e-12)
        halves = conv_cpu.forward(x, kernel[:, :, :2, :6], None, w, 2)
        for part in (0, 1):
            one = conv_cpu.forward(
                x[..., 2 * part : 2 * part + 2],
                kernel[:, :, :2, 3 * part : 3 * part + 3],
                None,
                w,
                1,
            )
            np.testing.assert_allclose(halves[..., 3 * part : 3 * part + 3], one, atol=1e-12)
    kept = conv_windows._kept(conv_windows.Windows, x.shape, x.dtype, w, 0, 4, 1)
    assert kept["x"] is None  # a shape, and nobody's numbers


@pytest.mark.parametrize("taps", [2, 3, 4, 5])
def test_error_of_tiles(taps, rng, monkeypatch):
    """Few enough points that float32 keeps nearly all its digits, at many channels too."""
    shape = (2, 24, 24, 256)
    w = window(shape[1:-1], (taps, 3), padding="same")
    monkeypatch.setattr(conv_cpu, "SMALL", 0)
    for cost in ("MIXED", "PREPARED"):
        monkeypatch.setattr(conv_tiles, cost, 0)
    # All positive numbers, and such as cancel.
    for low in (0.0, -1.0):
        x = rng.uniform(low, 1, shape).astype("float32")
        kernel = rng.uniform(low, 1, (taps, 3, 256, 8)).astype("float32")
        gy = rng.uniform(low, 1, (2, 24, 24, 8)).astype("float32")
        exact = [a.astype("float64") for a in (x, kernel, gy)]
        assert conv_tiles.height(conv_windows.Windows(x, w, slice(0, 256)), 8) > 1
        assert_close(
            conv_cpu.forward(x, kernel, None, w, 1),
            conv_cases.conv(*exact[:2], padding="same"),
        )
        assert_close(
            conv_cpu.input_gradient(gy, kernel, None, w, 1),
            plain(ops.conv_transpose, exact[2], exact[1], size=(24, 24), padding="same"),
        )
        assert_close(
            conv_cpu.kernel_gradient(x, gy, w, 1)[0],
            plain(ops.conv_kernel_gradient, exact[0], exact[2], kernel_size=(taps, 3),
                  padding="same"),
        )  # fmt: skip


@pytest.mark.parametrize("taps", [2, 3, 4, 5])
def test_mixers_are_exact(taps):
    """In float64, every filter of every tile gives what sliding it gives."""
    rng = np.random.default_rng(0)
    for outputs in range(2, len(conv_tiles.POINTS) + 3 - taps):
        collect, spread, mix = conv_tiles.mixers(outputs, taps)
        rows, cells = rng.standard_normal(outputs + taps - 1), rng.standard_normal(taps)
        found = collect @ ((spread @ cells) * (mix @ rows))
        np.testing.assert_allclose(found, np.correlate(rows, cells), rtol=1e-12, atol=1e-13)


def test_float16_sums_are_float32(rng):
    """Sums of many products are as good as their float16 factors allow."""
    x = rng.uniform(0, 1, (1, 8, 8, 512)).astype("float16")
    kernel = rng.uniform(0, 1, (3, 3, 512, 4)).astype("float16")
    y = ops.conv(x, kernel).numpy()
    assert y.dtype == np.float16
    want = conv_cases.conv(x.astype("float64"), kernel.astype("float64"))
    np.testing.assert_allclose(y, want, rtol=1e-3)


def test_both_paths_run(rng):
    """The switch of fused ops reaches convolution."""
    x, kernel = rng.standard_normal((2, 9, 9, 3)), rng.standard_normal((3, 3, 3, 4))
    fast = ops.conv(x, kernel, padding="same").numpy()
    config.set_fused(False)
    try:
        slow = ops.conv(x, kernel, padding="same").numpy()
    finally:
        config.set_fused(True)
    np.testing.assert_allclose(fast, slow, rtol=1e-12)


def test_memory_of_a_step(monkeypatch):
    """Forward and backward take at most half as much again as what goes in and comes out.

    The incoming gradient, cut off at 0, counts as that, too: a tape lets go of what came in.
    """
    monkeypatch.setenv("GPUNET_THREADS", "2")  # each has scratch memory
    monkeypatch.setattr(conv_windows._own, "buffers", None, raising=False)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((8, 96, 96, 32)).astype("float32")
    kernel = rng.standard_normal((3, 3, 32, 32)).astype("float32")
    bias = np.zeros(32, "float32")
    gy = rng.standard_normal(x.shape).astype("float32")
    fast = ops.conv.fusions[0]
    given = x.nbytes + gy.nbytes + kernel.nbytes + bias.nbytes
    tracemalloc.start()
    y, saved = fast.forward(np, x, kernel, bias, padding="same", relu=True)
    gradients = fast.pull(np, saved, gy, (True, True, True))
    made = y.nbytes + gy.nbytes + sum(g.nbytes for g in gradients)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak + given < 1.5 * (given + made)


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_transposed_sizes(padding):
    """Every size that a transposed convolution chooses goes back to the one it came from."""
    for n, k, s in itertools.product(range(1, 10), range(1, 6), range(1, 5)):
        w = transposed_window((n,), (k,), (s,), padding, (1,))
        assert window(w.size, (k,), (s,), padding).out == (n,)
        assert w.size == (n * s + (max(k - s, 0) if padding == "valid" else 0),)


def test_overlap_is_the_inside_of_the_padded_input(rng):
    for size, kernel, stride, dilation, padding in grid(1):
        try:
            w = window((size,), (kernel,), (stride,), padding, (dilation,))
        except ShapeError:
            continue
        x = rng.uniform(1, 2, (1, size, 1))
        padded = w.padded(np, x)
        for cell in w.cells():
            taken = padded[(slice(None), *w.taken(cell))]
            outer, inner = w.overlap(cell)
            part = np.zeros_like(taken)
            part[(slice(None), *outer)] = x[(slice(None), *inner)]
            np.testing.assert_array_equal(part, taken)


def test_threads_raise_what_a_task_raises_and_restore_blas(monkeypatch):
    monkeypatch.setenv("GPUNET_THREADS", "3")
    functions = threads._openblas()
    before = functions[0]() if functions else None

    def start():
        def work(i):
            if i == 5:
                raise ArithmeticError("task 5")

        return work

    with pytest.raises(ArithmeticError, match="task 5"):
        threads.spread(20, start)
    done = []
    threads.spread(20, lambda: done.append)
    assert sorted(done) == list(range(20))
    if functions:
        assert functions[0]() == before
