"""The convolution kernels on shapes that tiles don't fit, with and without tensor cores."""

import math

import emulate
import numpy as np
import pytest

import gpunet
from gpunet import config, layers, ops
from gpunet.fused import conv_kernels, elementwise, tiles
from gpunet.ops.window import window

pytestmark = pytest.mark.skipif(not emulate.compiler(), reason="g++ is missing")

# batch, size, kernel, channels, filters, options
SHAPES = {
    "1-D, one channel": (2, (9,), (3,), 1, 5, {"padding": "causal"}),
    "2-D, odd": (1, (7, 5), (3, 2), 3, 33, {"padding": "same"}),
    "2-D, a whole tile and more": (2, (9, 8), (3, 3), 16, 70, {}),
    "2-D, channels before cells": (1, (4, 5), (2, 3), 64, 32, {"padding": "same"}),
    "1x1": (3, (4, 4), (1, 1), 33, 5, {}),
    "strides": (2, (8, 9), (3, 3), 5, 6, {"strides": 2, "padding": "same"}),
    "strides past the kernel": (1, (9, 7), (2, 1), 4, 8, {"strides": (3, 2)}),
    "dilation": (1, (9, 9), (3, 2), 2, 3, {"dilation": 2}),
    "strides and dilation": (2, (9, 8), (3, 3), 4, 4, {"strides": (2, 3), "dilation": (2, 2)}),
    "groups": (2, (5, 5), (2, 2), 6, 9, {"groups": 3, "padding": "same"}),
    "many groups": (2, (5, 4), (2, 2), 10, 30, {"groups": 2, "strides": 2}),
    "images": (2, (9, 8), (5, 4), 3, 6, {"strides": (2, 1), "padding": "same"}),
    "depthwise, 25 cells": (2, (6, 7), (5, 5), 34, 34, {"groups": 34, "padding": "same"}),
    "depthwise": (2, (6, 6), (3, 3), 5, 10, {"groups": 5, "strides": (1, 2)}),
    "3-D": (1, (4, 3, 5), (2, 2, 3), 3, 4, {"padding": "same", "strides": (2, 1, 1)}),
    "image of one position": (1, (1, 1), (3, 3), 3, 2, {"padding": "same"}),
    "many windows": (3, (16, 12), (2, 2), 5, 3, {}),
}
TOLERANCES = {"strict": 2e-5, "tf32": 4e-3, "float16": 4e-3}


@pytest.fixture
def strict():
    before = config.precision()
    config.set_precision("strict")
    yield
    config.set_precision(before)


def fusion_of(op):
    own = [f for f in op.fusions if f.forward.__module__ == "gpunet.fused.convolution"]
    return own[-1]  # the one that takes all shapes


def check(op, arrays, options, tolerance, rng):
    """Compare both ways through an op with those through its kernels.

    Arrays of 16 bits are compared with the same numbers in 32.
    """
    fusion = fusion_of(op)
    wide = [a.astype("float32") if a.dtype == "float16" else a for a in arrays]
    y, saved = op.forward(np, *wide, **options)
    gy = rng.standard_normal(y.shape).astype(arrays[0].dtype)
    needs = [True] * len(arrays)
    with emulate.fake_cupy() as cupy:
        assert fusion.when(cupy, *arrays, **options)
        fused_y, fused_saved = fusion.forward(cupy, *arrays, **options)
        if options.get("relu") and tolerance > 1e-3:
            # Rounding moves values over the cut-off: the way back starts from one and the same y.
            fused_saved = (*fused_saved[:2], y.astype(gy.dtype, order="C"), *fused_saved[3:])
        grads = fusion.pull(cupy, fused_saved, gy, needs)
    wanted = [y, *op.pull(np, saved, gy.astype(y.dtype), needs)]
    for got, known in zip([fused_y, *grads], wanted, strict=True):
        assert (got is None) == (known is None)
        if known is None:
            continue
        assert (got.shape, got.dtype) == (known.shape, arrays[0].dtype)
        scale = max(1.0, abs(known).max(initial=0))
        np.testing.assert_allclose(got, known, rtol=tolerance, atol=tolerance * scale)


def arrays_of(name, rng, dtype="float32"):
    batch, size, kernel, channels, filters, options = SHAPES[name]
    groups = options.get("groups", 1)
    shapes = (batch, *size, channels), (*kernel, channels // groups, filters), (filters,)
    return [rng.standard_normal(s).astype(dtype) for s in shapes], options


@pytest.mark.parametrize("name", SHAPES)
def test_conv(name, strict, rng):
    arrays, options = arrays_of(name, rng)
    check(ops.conv, arrays, {**options, "relu": True}, TOLERANCES["strict"], rng)


@pytest.mark.parametrize(
    "name",
    ["2-D, odd", "2-D, a whole tile and more", "2-D, channels before cells", "1x1", "groups",
     "strides and dilation", "many windows"],
)  # fmt: skip
def test_tensor_cores(name, rng):
    arrays, options = arrays_of(name, rng)
    check(ops.conv, arrays, {**options, "relu": True}, TOLERANCES["tf32"], rng)


@pytest.mark.parametrize(
    "name",
    [
        "2-D, odd",
        "depthwise",
        "images",
        "2-D, a whole tile and more",
        "strides",
        "groups",
        "1-D, one channel",
    ],
)
def test_16_bits(name, rng):
    arrays, options = arrays_of(name, rng, "float16")
    check(ops.conv, arrays, {**options, "relu": True}, TOLERANCES["float16"], rng)


def test_one_cell_is_a_matrix_product(strict, rng):
    """Without borders and strides; else the kernels take it."""
    first = next(f for f in ops.conv.fusions if f.forward.__name__ == "conv_product")
    x, k, bias = (rng.standard_normal(s) for s in [(2, 3, 4, 5), (1, 1, 5, 7), (7,)])
    y, saved = ops.conv.forward(np, x, k, bias, relu=True)
    gy = rng.standard_normal(y.shape)
    with emulate.fake_cupy() as cupy:
        assert first.when(cupy, x, k, bias, relu=True)
        for options in ({"strides": 2}, {"groups": 5}, {"padding": ((0, 1), (0, 0))}):
            assert not first.when(cupy, x, k[:, :, : 5 // options.get("groups", 1)], **options)
        got, kept = first.forward(cupy, x, k, bias, relu=True)
        pulled = first.pull(cupy, kept, gy, [True, True, True])
    wanted = ops.conv.pull(np, saved, gy, [True, True, True])
    for a, b in zip([got, *pulled], [y, *wanted], strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", ["2-D, odd", "strides", "groups", "3-D", "depthwise"])
def test_conv_transpose(name, strict, rng):
    batch, size, kernel, channels, filters, options = SHAPES[name]
    y = rng.standard_normal((batch, *size, filters))
    k = rng.standard_normal((*kernel, channels // options.get("groups", 1), filters))
    bias = rng.standard_normal(channels)
    check(ops.conv_transpose, [y, k, bias], {**options, "relu": True}, 1e-11, rng)


@pytest.mark.parametrize("seed", range(8))
def test_any_geometry(seed, strict):
    rng = np.random.default_rng(seed)
    rank = int(rng.integers(1, 4))
    groups = int(rng.choice([1, 1, 2, 3]))
    channels, filters = groups * rng.choice([1, 3, 5, 16, 33], 2)
    kernel = tuple(int(n) for n in rng.integers(1, 5 - rank // 2, rank))
    options = {
        "strides": tuple(int(n) for n in rng.integers(1, 4, rank)),
        "dilation": tuple(int(n) for n in rng.integers(1, 3, rank)),
        "padding": str(rng.choice(["same", "valid", "causal"])),
        "groups": groups,
    }
    extents = [(k - 1) * d + 1 for k, d in zip(kernel, options["dilation"])]
    low = [1 if options["padding"] != "valid" else e for e in extents]
    size = tuple(int(rng.integers(n, n + 9 - 2 * rank)) for n in low)
    x = rng.standard_normal((int(rng.integers(1, 4)), *size, channels))
    k = rng.standard_normal((*kernel, channels // groups, filters))
    check(ops.conv, [x, k], options, 1e-10, rng)


# -- tiles and their operands ---------------------------------------------------------------

WINDOW = window((6, 5), (3, 3))


def run_all(geometry, cupy, x, k, gy):
    return [
        geometry.forward(cupy, x, k),
        geometry.transposed(cupy, gy, k),
        geometry.kernel_gradient(cupy, x, gy),
    ]


@pytest.fixture
def whole_numbers(rng):
    """Numbers that all float types hold, and the plain op's results for them."""
    x = rng.integers(-4, 5, (2, 6, 5, 16)).astype("float32")
    k = rng.integers(-4, 5, (3, 3, 16, 40)).astype("float32")
    y, saved = ops.conv.forward(np, x, k)
    gy = rng.integers(-1, 2, y.shape).astype("float32")
    return (x, k, gy), [y, *ops.conv.pull(np, saved, gy, [True, True])[:2]]


@pytest.mark.parametrize("tile", tiles.TILES[4:], ids=str)
def test_every_operand_is_at_its_place(tile, whole_numbers, monkeypatch):
    """Whole numbers come out as they should, whatever tensor cores round."""
    monkeypatch.setattr(tiles, "TILES", (tile,))
    monkeypatch.setattr(tiles, "chosen", tiles.chosen.__wrapped__)
    arrays, wanted = whole_numbers
    with emulate.fake_cupy() as cupy:
        geometry = conv_kernels.geometry(WINDOW, 16, 40, 1, np.dtype("float32"))
        for got, known in zip(run_all(geometry, cupy, *arrays), wanted, strict=True):
            np.testing.assert_array_equal(got, known)


@pytest.mark.parametrize("tile", tiles.TILES[:4], ids=str)
def test_large_tiles(tile, whole_numbers, monkeypatch):
    monkeypatch.setattr(tiles, "TILES", (tile,))
    monkeypatch.setattr(tiles, "chosen", tiles.chosen.__wrapped__)
    (x, k, _), (y, *_) = whole_numbers
    with emulate.fake_cupy() as cupy:
        geometry = conv_kernels.geometry(WINDOW, 16, 40, 1, np.dtype("float32"))
        np.testing.assert_array_equal(geometry.forward(cupy, x, k), y)


def test_bfloat16(whole_numbers, monkeypatch):
    """NumPy has no such type: arrays of its bits stand in for it."""
    monkeypatch.setitem(elementwise.FLOATS, "uint16", ("float", 2))
    arrays, wanted = whole_numbers
    bits = [(a.view("uint32") >> 16).astype("uint16") for a in arrays]
    with emulate.fake_cupy() as cupy:
        geometry = conv_kernels.geometry(WINDOW, 16, 40, 1, np.dtype("uint16"))
        results = run_all(geometry, cupy, *bits)
    for got, known in zip(results, wanted, strict=True):
        found = (got.astype("uint32") << 16).view("float32")
        np.testing.assert_allclose(found, known, rtol=2**-8)  # to nearest: half of the last bit


@pytest.mark.parametrize("behind", [1, 2])
def test_arrays_that_begin_anywhere(behind, strict, rng):
    """Parts of larger arrays are copied in as large pieces as their addresses let."""
    store = rng.standard_normal(3 * 3 * 16 * 8 + 4).astype("float32")
    k = store[behind : behind + 3 * 3 * 16 * 8].reshape(3, 3, 16, 8)
    with emulate.fake_cupy():
        assert tiles.vector(8, k, 4) == behind
        assert tiles.vector(8, k.copy(), 4) == 4 and tiles.vector(6, k.copy(), 4) == 2
    x = rng.standard_normal((1, 5, 5, 16)).astype("float32")
    check(ops.conv, [x, k], {}, 2e-5, rng)


@pytest.mark.parametrize("capability", [75, 80])
def test_older_chips(capability, rng):
    arrays, options = arrays_of("2-D, odd", rng)
    fusion, tolerance = fusion_of(ops.conv), 2e-5 if capability < 80 else 4e-3
    with emulate.fake_cupy(capability, 40, 64 << 10) as cupy:
        y, saved = fusion.forward(cupy, *arrays, **options)
        gradients = fusion.pull(cupy, saved, y, [True, True, True])
    wanted, saved = ops.conv.forward(np, *arrays, **options)
    pulled = ops.conv.pull(np, saved, y, [True, True, True])
    for a, b in zip([y, *gradients], [wanted, *pulled], strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * abs(b).max())


# -- activations ------------------------------------------------------------------------------

PLAIN = {
    "tanh": ops.tanh, "sigmoid": ops.sigmoid, "hard_sigmoid": ops.hard_sigmoid, "relu": ops.relu,
    "elu": ops.elu, "swish": ops.swish, "relu6": (ops.relu, {"max_value": 6.0}),
    "leaky_relu": (ops.relu, {"alpha": 0.2}),
}  # fmt: skip


@pytest.mark.parametrize("name", PLAIN)
def test_activations(name, strict, rng):
    op, options = PLAIN[name] if isinstance(PLAIN[name], tuple) else (PLAIN[name], {})
    x, k, bias = (3 * rng.standard_normal(s) for s in [(2, 5, 4), (2, 4, 6), (6,)])
    w = window((5,), (2,))
    z = ops.conv.forward(np, x, k, bias)[0]
    y, saved = op.forward(np, z, **options)
    gy = rng.standard_normal(y.shape)
    with emulate.fake_cupy() as cupy:
        geometry = conv_kernels.geometry(w, 4, 6, 1, x.dtype)
        got, before = geometry.forward(cupy, x, k, bias, name, before=True)
        start = before if name == "swish" else got
        gz, gb = conv_kernels.ending_backward(cupy, gy, start, name, biased=True)
    (known,) = op.pull(np, saved, gy, [True])
    for a, b in [(got, y), (before, z), (gz, known), (gb, known.sum(axis=(0, 1)))]:
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)


# -- what it says -------------------------------------------------------------------------------


def test_explained():
    model = gpunet.Sequential([
        layers.Conv2D(64, 3, padding="same", input_shape=(32, 32, 3)),
        layers.DepthwiseConv2D(3, padding="same", activation="relu"),
        layers.Conv2D(64, 3, padding="same", activation="relu"),
        layers.Conv2D(64, 1),
        layers.Conv2DTranspose(16, 3, strides=2),
    ])  # fmt: skip
    rows = gpunet.explain(model, chip="h200", batch_size=64, print_fn=None)
    few, depthwise, first, second, third = (row.words for row in rows)
    assert few.startswith("kernel for few channels") and "channels by themselves" in depthwise
    assert first.startswith("kernel of tiles of 256 x 64, tensor cores (tf32), 4 stages, bias and")
    assert second.startswith("cuBLASLt") and third.endswith("4 classes of positions")
    old = gpunet.explain(model, chip="t4", batch_size=64, print_fn=None)[2].words
    assert "no tensor cores, 2 stages" in old


# -- sums -------------------------------------------------------------------------------------


def test_splits_join_in_one_order(rng):
    x, y = rng.standard_normal((9, 12, 12, 2)), rng.standard_normal((9, 12, 12, 3))
    options = {"kernel_size": (3, 3), "padding": "same"}
    fusion = fusion_of(ops.conv_kernel_gradient)
    with emulate.fake_cupy() as cupy:
        first, again = (fusion.forward(cupy, x, y, **options)[0] for _ in range(2))
    np.testing.assert_array_equal(first, again)
    wanted = ops.conv_kernel_gradient.forward(np, x, y, **options)[0]
    np.testing.assert_allclose(first, wanted, rtol=1e-11)


def test_counts_beyond_32_bits_take_the_plain_op():
    class Array:
        def __init__(self, *shape):
            self.shape, self.ndim, self.dtype = shape, len(shape), np.dtype("float32")
            self.size = 1

    when = fusion_of(ops.conv).when
    kernel = Array(3, 3, 1, 1)
    assert when(emulate.as_cupy, Array(2**9, 2**10, 2**10, 1), kernel, padding="same")
    assert not when(emulate.as_cupy, Array(2**11, 2**10, 2**10, 1), kernel, padding="same")
    wide = Array(1, 2**10, 2**10, 2**11)
    assert not when(emulate.as_cupy, wide, Array(3, 3, 2**11, 1), padding="same")


def test_strided_biases(strict, rng):
    x, k, bias = (rng.standard_normal(s).astype("float32") for s in [(1, 6, 8), (3, 8, 4), (8,)])
    back = rng.standard_normal(16).astype("float32")[::2]
    for op, arrays in ((ops.conv, (x, k, bias[::2])), (ops.conv_transpose, (x[..., :4], k, back))):
        check(op, arrays, {}, TOLERANCES["strict"], rng)


@pytest.mark.parametrize(
    ("op", "shapes", "options"),
    [
        (ops.conv, [(1, 900, 900, 1), (3, 3, 1, 2)], {"strides": 300}),
        (ops.conv_transpose, [(1, 3, 3, 2), (3, 3, 1, 2)], {"strides": 300}),
        (ops.conv_kernel_gradient, [(1, 900, 900, 1), (1, 3, 3, 2)],
         {"strides": 300, "kernel_size": (3, 3)}),
        (ops.conv_transpose, [(1, 2**14, 2**14, 1), (1, 1, 1, 1)], {"strides": 4}),
        (ops.conv_transpose, [(1, 2**13, 2**13, 1), (1, 1, 64, 1)], {}),
    ],
)  # fmt: skip
def test_what_kernels_cannot_count_is_left_to_the_plain_op(op, shapes, options):
    """Grids of more than 65,535 layers, and results of more positions than 31 bits count."""
    arrays = [np.broadcast_to(np.float32(0), s) for s in shapes]
    with emulate.fake_cupy() as cupy:
        assert not fusion_of(op).when(cupy, *arrays, **options)
        assert fusion_of(op).when(
            cupy, *arrays, **{**options, "strides": 3, "padding": "same"}
        ) == (math.prod(arrays[0].shape) < 2**20)
