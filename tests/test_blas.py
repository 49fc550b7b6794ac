"""Sums of multiples by BLAS: the values of plain arithmetic, wherever arrays are cut."""

import numpy as np
import pytest

from gpunet import blas

needs_blas = pytest.mark.skipif(blas._axpby("s") is None, reason="NumPy's BLAS has no axpby")


@needs_blas
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [0, 1, 7, 1000])
def test_values(dtype, size):
    rng = np.random.default_rng(size)
    x, y = rng.standard_normal((2, size)).astype(dtype)
    before, wanted = x.copy(), 0.9 * y.astype("float64") - 0.3 * x
    assert blas.sum_of_multiples(y, 0.9, x, np.float32(-0.3))
    np.testing.assert_allclose(y, wanted, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(x, before)


@needs_blas
def test_bits_do_not_depend_on_where_arrays_are_cut():
    """Threads and parts of weights cut them; a resumed training may cut them elsewhere."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        size = int(rng.integers(2, 3000))
        cut = int(rng.integers(1, size))
        x, y = rng.standard_normal((2, size)).astype("float32")
        whole, parts = y.copy(), y.copy()
        blas.sum_of_multiples(whole, 0.9, x, 0.1)
        for part in (slice(None, cut), slice(cut, None)):
            blas.sum_of_multiples(parts[part], 0.9, x[part], 0.1)
        np.testing.assert_array_equal(whole, parts)


@pytest.mark.parametrize("dtype", ["float16", "int32"])
def test_other_types_are_left_to_numpy(dtype):
    y = np.ones(4, dtype)
    assert not blas.sum_of_multiples(y, 2.0, y.copy(), 1.0)
    np.testing.assert_array_equal(y, 1)


def test_strided_arrays_are_left_to_numpy():
    y = np.ones(8, "float32")
    assert not blas.sum_of_multiples(y[::2], 2.0, np.ones(4, "float32"), 1.0)
    assert not blas.sum_of_multiples(y[:4], 2.0, np.ones(8, "float32")[::2], 1.0)
    np.testing.assert_array_equal(y, 1)
