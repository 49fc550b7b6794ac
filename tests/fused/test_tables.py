"""Gradients of rows by number: added up by a kernel, in an order that is always the same."""

import emulate
import numpy as np
import pytest

from gpunet.autodiff.rows import RowGradient
from gpunet.fused import launch
from gpunet.ops import index

pytestmark = pytest.mark.skipif(not emulate.compiler(), reason="g++ is missing")


def gradient(xp, rows, numbers, width, dtype="float32", kind="int64"):
    rng = np.random.default_rng(2)
    values = rng.standard_normal((numbers, width)).astype(dtype)
    return RowGradient(xp, values, rng.integers(-rows, rows, numbers).astype(kind), (rows, width))


@pytest.mark.parametrize("sizes", [(70, 300, 33), (1, 9, 1), (33, 1, 5), (40, 0, 3), (5, 500, 64)])
@pytest.mark.parametrize("kind", ["int32", "int64"])
def test_sums_and_touched_rows(sizes, kind):
    plain = gradient(np, *sizes, kind=kind)
    with emulate.fake_cupy() as cupy:
        made = gradient(cupy, *sizes, kind=kind)
        dense, touched = made.dense(), made.touched()
    np.testing.assert_allclose(dense, plain.dense(), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(touched, plain.touched())
    assert dense.dtype == np.float32


def test_sums_have_the_same_bits_every_time():
    """The emulator runs threads and blocks in another order each time."""
    with emulate.fake_cupy() as cupy:
        first = gradient(cupy, 3, 400, 5).dense()
        for _ in range(4):
            np.testing.assert_array_equal(gradient(cupy, 3, 400, 5).dense(), first)


def test_nan_stays_in_its_row():
    with emulate.fake_cupy() as cupy:
        made = gradient(cupy, 9, 50, 4)
        made.values[7] = np.nan
        bad = np.isnan(made.dense()).all(axis=1)
    assert np.flatnonzero(bad).tolist() == [made.numbers[7] % 9]


def test_other_types_are_left_to_cupy():
    with emulate.fake_cupy() as cupy:
        half = gradient(cupy, 4, 9, 3, "float16")
        assert half.dense().dtype == np.float16 and half._made is None


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "int64", "bool", "float16"])
def test_rows_in_order_of_any_type(dtype):
    x = np.random.default_rng(0).integers(0, 2, (9, 5, 3)).astype(dtype)
    order = np.random.default_rng(1).permutation(9)
    with emulate.fake_cupy() as cupy:
        place = np.array([4])
        found, _ = index.rows_in_order.fusions[0].forward(cupy, x, order, place, rows=3)
    np.testing.assert_array_equal(found, x[order[4:7]])
    assert found.dtype == dtype


def test_pooling_lets_nan_through():
    from gpunet import ops

    x = np.zeros((1, 4, 4, 1), "float32")
    x[0, 1, 2, 0] = np.nan
    forward = next(f for f in ops.max_pool.fusions if "fused.pool" in f.forward.__module__)
    with emulate.fake_cupy() as cupy:
        y, saved = forward.forward(cupy, x, pool_size=2)
        (gx,) = forward.pull(cupy, saved, np.ones_like(y), [True])
    assert np.isnan(y[0, 0, 1, 0]) and np.isnan(y).sum() == 1
    assert gx.sum() == 4 and gx[0, 1, 2, 0] == 1


def test_reductions_let_nan_through(monkeypatch):
    from gpunet import ops

    monkeypatch.setattr(launch, "_BLOCKS", 2)
    for op in (ops.max, ops.min, ops.sum):
        for axis in (0, 1):
            x = np.ones((70, 66), "float64")
            x[5, 6] = np.nan
            fusion = next(f for f in op.fusions if "fused.reduce" in f.forward.__module__)
            with emulate.fake_cupy() as cupy:
                y, _ = fusion.forward(cupy, x, axis=axis)
            assert np.flatnonzero(np.isnan(y)).tolist() == [6 if axis == 0 else 5]
