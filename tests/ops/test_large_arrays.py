"""Elementwise ops on arrays that are done in blocks give the bits of the plain functions."""

import numpy as np
import pytest

from gpunet import ops
from gpunet.ops.blockwise import ALONE, BLOCK, are_large

SHAPES = [(ALONE,), (3, BLOCK + 7), (5, 41, 43, 64)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_add_and_relu(shape, dtype, rng):
    x, y, g = (rng.standard_normal(shape).astype(dtype) for _ in range(3))
    x.flat[:3] = np.nan, -0.0, np.inf
    before = x.copy(), y.copy(), g.copy()
    for a in (x, y, g):
        a.flags.writeable = False
    for op, arrays in ((ops.add, (x, y)), (ops.relu, (x,))):
        fused = next(f for f in op.fusions if f.forward.__module__.startswith("gpunet.ops"))
        assert fused.when(np, *arrays)
        want, kept = op.forward(np, *arrays)
        found, saved = fused.forward(np, *arrays)
        assert found.dtype == want.dtype
        np.testing.assert_array_equal(found, want)
        needs = (True,) * len(arrays)
        # Gradients needn't lie in order.
        for gy in (g, np.asfortranarray(g)):
            for a, b in zip(fused.pull(np, saved, gy, needs), op.pull(np, kept, gy, needs)):
                np.testing.assert_array_equal(a, b)
    for a, b in zip((x, y, g), before):
        np.testing.assert_array_equal(a, b)


def test_what_is_left_to_plain_functions():
    large = np.zeros(ALONE, "float32")
    assert are_large(np, large, large)
    assert not are_large(np, large[:-1])
    assert not are_large(np, large, large.astype("float64"))
    assert not are_large(np, large, np.float32(1))
    assert not are_large(np, large.astype("int32"))
    assert not are_large(np, np.zeros((2, ALONE), "float32")[:, ::2])
