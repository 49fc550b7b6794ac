"""Products of matrices in parts on several threads, beside NumPy's own."""

import numpy as np
import pytest

from gpunet import threads
from gpunet.ops import products
from gpunet.ops.products import product

SHAPES = [(130, 7, 3), (3, 7, 200), (64, 64, 64), (1, 1, 1), (0, 5, 4), (4, 0, 5), (17, 33, 65)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("layout", ["C", "F"])
@pytest.mark.parametrize("given", [False, True], ids=["new", "out"])
def test_parts_make_the_whole(monkeypatch, rng, shape, layout, given):
    monkeypatch.setattr(products, "_SPREAD", 0)
    m, k, n = shape
    a = np.asarray(rng.standard_normal((m, k)), order=layout)
    b = np.asarray(rng.standard_normal((k, n)), order=layout)
    out = np.full((m, n), np.nan) if given else None
    with threads.one_blas_thread():
        y = product(np, a, b, out)
    assert y is out or not given
    np.testing.assert_allclose(y, np.einsum("mk,kn->mn", a, b), rtol=1e-12, atol=1e-12)


def test_other_ranks_and_dtypes(rng):
    a, b = rng.standard_normal((2, 3, 4)), rng.standard_normal((4, 5)).astype("float32")
    np.testing.assert_array_equal(product(np, a, b), a @ b)
    v = rng.standard_normal(4).astype("float16")
    assert product(np, v, v).dtype == "float16"


def test_same_bits_every_time(monkeypatch, rng):
    monkeypatch.setattr(products, "_SPREAD", 0)
    a = rng.standard_normal((200, 100)).astype("float32")
    b = rng.standard_normal((100, 300)).astype("float32")
    with threads.one_blas_thread():
        first = product(np, a, b)
        assert all(np.array_equal(product(np, a, b), first) for _ in range(20))
