"""The convolution kernels on shapes that tiles don't fit, with and without tensor cores."""

import emulate
import numpy as np
import pytest

from gpunet import config, ops

pytestmark = pytest.mark.skipif(not emulate.compiler(), reason="g++ is missing")

# batch, size, kernel, channels, filters, options
SHAPES = {
    "1-D, one channel": (2, (9,), (3,), 1, 5, {"padding": "causal"}),
    "2-D, odd": (1, (7, 5), (3, 2), 3, 33, {"padding": "same"}),
    "2-D, a whole tile and more": (2, (9, 8), (3, 3), 16, 70, {}),
    "1x1": (3, (4, 4), (1, 1), 33, 5, {}),
    "strides": (2, (8, 9), (3, 3), 5, 6, {"strides": 2, "padding": "same"}),
    "dilation": (1, (9, 9), (3, 2), 2, 3, {"dilation": 2}),
    "groups": (2, (5, 5), (2, 2), 6, 9, {"groups": 3, "padding": "same"}),
    "depthwise": (2, (6, 6), (3, 3), 5, 10, {"groups": 5, "strides": (1, 2)}),
    "3-D": (1, (4, 3, 5), (2, 2, 3), 3, 4, {"padding": "same", "strides": (2, 1, 1)}),
    "image of one position": (1, (1, 1), (3, 3), 3, 2, {"padding": "same"}),
    "many windows": (6, (16, 12), (2, 2), 2, 3, {}),
}


@pytest.fixture(params=["strict", "tf32"])
def precision(request):
    before = config.precision()
    config.set_precision(request.param)
    yield request.param
    config.set_precision(before)


def fusion_of(op):
    return next(f for f in op.fusions if f.forward.__module__ == "gpunet.fused.convolution")


def check(op, arrays, options, tolerance, rng):
    fusion = fusion_of(op)
    y, saved = op.forward(np, *arrays, **options)
    gy = rng.standard_normal(y.shape).astype(y.dtype)
    needs = [True] * len(arrays)
    with emulate.fake_cupy() as cupy:
        assert fusion.when(cupy, *arrays, **options)
        fused_y, fused_saved = fusion.forward(cupy, *arrays, **options)
        grads = fusion.pull(cupy, fused_saved, gy, needs)
    if op is not ops.conv_kernel_gradient and options.get("relu") and tolerance > 1e-3:
        # Rounding moves values over the cut-off: compare the way back from one and the same y.
        fused_saved = (*fused_saved[:2], y, fused_saved[3])
        with emulate.fake_cupy() as cupy:
            grads = fusion.pull(cupy, fused_saved, gy, needs)
    for got, wanted in zip([fused_y, *grads], [y, *op.pull(np, saved, gy, needs)], strict=True):
        assert (got.shape, got.dtype) == (wanted.shape, wanted.dtype)
        scale = max(1.0, abs(wanted).max(initial=0))
        np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance * scale)


@pytest.mark.parametrize("name", SHAPES)
def test_conv(name, precision, rng):
    batch, size, kernel, channels, filters, options = SHAPES[name]
    groups = options.get("groups", 1)
    x = rng.standard_normal((batch, *size, channels)).astype("float32")
    k = rng.standard_normal((*kernel, channels // groups, filters)).astype("float32")
    bias = rng.standard_normal(filters).astype("float32")
    tolerance = {"strict": 2e-5, "tf32": 4e-3}[precision]
    check(ops.conv, [x, k, bias], {**options, "relu": True}, tolerance, rng)


@pytest.mark.parametrize("name", ["2-D, odd", "strides", "groups", "3-D"])
def test_conv_transpose(name, rng):
    config.set_precision("strict")
    try:
        batch, size, kernel, channels, filters, options = SHAPES[name]
        y = rng.standard_normal((batch, *size, filters))
        k = rng.standard_normal((*kernel, channels // options.get("groups", 1), filters))
        bias = rng.standard_normal(channels)
        check(ops.conv_transpose, [y, k, bias], {**options, "relu": True}, 1e-11, rng)
    finally:
        config.set_precision("tf32")


def test_tensor_cores_are_exact_on_small_integers(rng):
    """Whatever tf32 can hold comes out as it should, so each fragment is at its place."""
    x = rng.integers(-8, 8, (2, 9, 9, 20)).astype("float32")
    k = rng.integers(-8, 8, (3, 3, 20, 70)).astype("float32")
    with emulate.fake_cupy() as cupy:
        y, _ = fusion_of(ops.conv).forward(cupy, x, k)
    np.testing.assert_array_equal(y, ops.conv.forward(np, x, k)[0])


def test_splits_join_in_one_order(rng):
    x, y = rng.standard_normal((9, 12, 12, 2)), rng.standard_normal((9, 12, 12, 3))
    options = {"kernel_size": (3, 3), "padding": "same"}
    fusion = fusion_of(ops.conv_kernel_gradient)
    with emulate.fake_cupy() as cupy:
        first, again = (fusion.forward(cupy, x, y, **options)[0] for _ in range(2))
    np.testing.assert_array_equal(first, again)
    wanted = ops.conv_kernel_gradient.forward(np, x, y, **options)[0]
    np.testing.assert_allclose(first, wanted, rtol=1e-11)
