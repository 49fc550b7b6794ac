"""Every fused op on the cases of the op tables that it takes, and on sizes of its own.

The kernels run on the CPU and are compared with the plain pair of the op.
"""

import importlib
from pathlib import Path

import emulate
import numpy as np
import pytest
from op_cases import KEY, Case, real, whole

from gpunet import config, ops
from gpunet.ops import random

pytestmark = pytest.mark.skipif(not emulate.compiler(), reason="g++ is missing")

OWN = [
    Case(ops.softmax, [real(3, 1500)], None, label="long"),
    Case(ops.softmax, [real(300, 2)], None, label="many"),
    Case(ops.softmax, [real(1)], None, label="one"),
    Case(ops.softmax, [real(0, 4)], None, label="none"),
    Case(ops.log_softmax, [real(2, 3, 33)], None, label="odd"),
    Case(ops.sparse_categorical_crossentropy, [np.array([0, 3, 4, -1, 2]), real(5, 4)], None,
         label="invalid", from_logits=True),
    Case(ops.sparse_categorical_crossentropy, [whole(4, 3, 5, dtype="int64"), real(3, 5, 4)], None,
         label="ignored", from_logits=True, ignore_class=2),
    Case(ops.sparse_categorical_crossentropy, [whole(1200, 3), real(3, 1200)], None,
         label="long", from_logits=True),
    Case(ops.categorical_crossentropy, [real(3, 1200), real(3, 1200)], None, label="long",
         from_logits=True),
    Case(ops.normalize, [real(300, 35), real(35), real(35)], None, label="split", axes=0),
    Case(ops.normalize, [real(1, 3), None, None], None, label="one_row", axes=0, epsilon=0.1),
    Case(ops.normalize, [real(2, 3, 1100), real(1100), None], None, label="long", axes=-1),
    Case(ops.normalize, [real(70, 5), None, real(5)], None, label="rows", axes=1),
    Case(ops.gather, [real(70, 33), whole(70, 300)], None, label="many"),
    Case(ops.gather, [real(5, 3, 2), np.array([[1, 1], [-1, 4], [1, 0]])], None, label="ends"),
    Case(ops.gather, [real(4, 1), np.zeros(130, "int32")], None, label="one_row"),
    Case(ops.gather, [real(4, 3), np.zeros(0, "int32")], None, label="none"),
    Case(ops.max_pool, [real(2, 7, 6, 3)], None, label="overlap", pool_size=3, strides=2,
         padding="same"),
    Case(ops.max_pool, [real(2, 3, 4, 5, 2)], None, label="3d", pool_size=(2, 1, 3), strides=1),
    Case(ops.max_pool, [np.zeros((1, 5, 4))], None, label="equal", pool_size=3, strides=1),
    Case(ops.average_pool, [real(2, 7, 6, 3)], None, label="overlap", pool_size=(3, 2),
         strides=(2, 3), padding="same"),
    Case(ops.average_pool, [real(3, 1, 1)], None, label="one", pool_size=4, padding="same"),
    Case(ops.sum, [real(300, 35)], None, label="split", axis=0),
    Case(ops.sum, [real(3, 1500)], None, label="long", axis=1),
    Case(ops.mean, [real(5, 7, 3)], None, label="odd", axis=(0, 1), keepdims=True),
    Case(ops.max, [real(130, 5)], None, label="split", axis=0),
    Case(ops.min, [real(2, 3, 1100)], None, label="long", axis=-1, keepdims=True),
    Case(ops.binary_crossentropy, [real(300), real(300)], None, label="logits", from_logits=True),
    Case(ops.binary_crossentropy, [real(3, 7), real(3, 7)], None, label="outside"),
    Case(random.random_dropout, [real(3, 7), KEY], None, label="odd", rate=0.9),
    Case(random.random_dropout, [real(2000), KEY], None, label="many", rate=0.1),
    Case(random.random_dropout, [real(0), KEY], None, label="none", rate=0.1),
]  # fmt: skip
TABLE = [
    case
    for path in sorted(Path(importlib.import_module("op_cases").__file__).parent.glob("*_cases.py"))
    for case in importlib.import_module(path.stem).CASES
]


@pytest.fixture(autouse=True)
def strict():
    before = config.precision()
    config.set_precision("strict")
    yield
    config.set_precision(before)


def fusions(case):
    return [f for f in case.op.fusions if f.forward.__module__.startswith("gpunet.fused.")]


def taken():
    """Return the pairs of a case and a fusion that takes it; the recurrent ones have own tests."""
    pairs = []
    with emulate.fake_cupy() as cupy:
        for case in TABLE + OWN:
            for f in fusions(case):
                if f.forward.__module__ != "gpunet.fused.rnn" and f.when(
                    cupy, *case.arrays(), **case.options
                ):
                    pairs.append((case, f))
    return pairs


PAIRS = taken()


def parts(y):
    return y if isinstance(y, tuple) else (y,)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("pair", PAIRS, ids=[c.name for c, _ in PAIRS])
def test_agrees_with_the_plain_op(pair, dtype, rng):
    case, fusion = pair
    arrays = case.arrays(dtype)
    for a in arrays:
        if isinstance(a, np.ndarray):
            a.flags.writeable = False
    tolerance = {"float64": 1e-11, "float32": 2e-5}[dtype]
    y, saved = case.op.forward(np, *arrays, **case.options)
    with emulate.fake_cupy() as cupy:
        fused_y, fused_saved = fusion.forward(cupy, *arrays, **case.options)
    for got, wanted in zip(parts(fused_y), parts(y), strict=True):
        assert (got.shape, got.dtype) == (wanted.shape, wanted.dtype)
        np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance)
    if case.op.pull is None:
        return
    full = [rng.standard_normal(p.shape).astype(p.dtype) for p in parts(y)]
    # All gradients, and the first alone, as a tape hands them in.
    for given in (full, [full[0], *[None] * (len(full) - 1)]):
        for needs in ([True] * len(arrays), [i == 0 for i in range(len(arrays))]):
            gy = tuple(given) if isinstance(y, tuple) else given[0]
            with emulate.fake_cupy() as cupy:
                got = fusion.pull(cupy, fused_saved, gy, needs)
            wanted = case.op.pull(np, saved, gy, needs)
            for i, (a, b) in enumerate(zip(got, wanted, strict=True)):
                if i >= len(needs) or not needs[i] or b is None:
                    continue
                assert (a.shape, a.dtype) == (b.shape, b.dtype)
                np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance, err_msg=f"{i}")


def test_every_fusion_is_tried():
    every = {f.forward.__qualname__ + f.forward.__module__ for c in TABLE for f in fusions(c)}
    tried = {f.forward.__qualname__ + f.forward.__module__ for _, f in PAIRS}
    assert {name for name in every - tried if not name.endswith("gpunet.fused.rnn")} == set()


def test_nan_and_infinity_go_through():
    x = np.array([[1, np.nan, 2], [np.inf, 0, 1], [-np.inf, 0, 1]], "float32")
    fusion = fusions(Case(ops.softmax, [], None))[0]
    with np.errstate(invalid="ignore"), emulate.fake_cupy() as cupy:
        np.testing.assert_allclose(
            fusion.forward(cupy, x)[0], ops.softmax.forward(np, x)[0], rtol=1e-6
        )


def test_dropout_drops_the_same_as_numpy():
    key = np.array([7, 2**63 + 1, 2**64 - 3], np.uint64)  # the counter runs over
    fusion = fusions(Case(random.random_dropout, [], None))[0]
    x = np.ones((5, 41))
    with emulate.fake_cupy() as cupy:
        got, _ = fusion.forward(cupy, x, key, rate=0.3)
        assert not fusion.when(cupy, x, key, rate=0.0013)  # would need more than 16 bits
    np.testing.assert_array_equal(got, random.random_dropout.forward(np, x, key, rate=0.3)[0])
