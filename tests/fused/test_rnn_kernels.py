"""The recurrent kernels, run on the CPU in every layout, beside the plain ops."""

import itertools

import builds
import emulate
import numpy as np
import pytest

from gpunet import config
from gpunet.fused import rnn_plan, rnn_walk
from gpunet.fused.rnn_plan import GRID, LAUNCHES, SHARED
from gpunet.ops import both_ways, rnn

needs_gcc = pytest.mark.skipif(not emulate.compiler(), reason="g++ is missing")

# op, gates, states, options
OPS = {
    "simple_rnn": (rnn.simple_rnn, 1, 1, {}),
    "gru": (rnn.gru, 3, 1, {}),
    "gru_after": (rnn.gru, 3, 1, {"reset_after": True}),
    "lstm": (rnn.lstm, 4, 2, {}),
}
UNITS = 7
LAYOUTS = {
    "one block": {"slice": 7, "rows": 4},
    "cluster of 3": {"slice": 3, "rows": 4},
    "cluster, weights in global memory": {"slice": 4, "rows": 8, "resident": False},
    "grid": {"slice": 2, "rows": 4, "meet": GRID, "chunks": 3},
    "launches": {"slice": 4, "rows": 4, "meet": LAUNCHES, "resident": False},
}


@pytest.fixture(autouse=True)
def strict():
    before = config.precision()
    config.set_precision("strict")
    yield
    config.set_precision(before)


@pytest.fixture
def layout(monkeypatch):
    """Return a function that makes all walks take one layout."""

    def use(**chosen):
        def plan_of(chip, units, gates, batch, kind, dropout, backward, directions=1):
            given = {"meet": SHARED, "resident": True, "kind": kind, **chosen}
            planes = gates if dropout else 1
            return rnn_plan.Plan(units, gates, planes, directions=directions, **given)

        monkeypatch.setattr(rnn_plan, "plan_of", plan_of)

    return use


def inputs(rng, gates, count, after, t=4, n=5, c=3, u=UNITS, dtype="float64", given=True):
    normal = rng.standard_normal
    arrays = [
        normal((t, n, c)), 0.5 * normal((c, gates * u)), 0.3 * normal((u, gates * u)),
        0.3 * normal((2, gates * u) if after else gates * u),
    ]  # fmt: skip
    arrays += [normal((n, u)) if given else None for _ in range(count)]
    return [a if a is None else a.astype(dtype) for a in arrays]


def masks(rng, gates, t=4, n=5, c=3, u=UNITS, mask=True, drop=True):
    on = rng.random((t, n)) < 0.6
    on[:, 0] = False  # a row that is masked throughout
    keep = [rng.random((gates, n, k)) < 0.7 for k in (c, u)] if drop else [None, None]
    return [on if mask else None, *keep]


def fusion_of(op):
    (fusion,) = [f for f in op.fusions if f.forward.__module__ == "gpunet.fused.rnn"]
    return fusion


def both(op, args, options, rng, chip=None):
    """Return results and gradients of the plain pair and of the kernels."""
    fusion = fusion_of(op)
    y, saved = op.forward(np, *args, **options)
    gy = tuple([rng.standard_normal(part.shape).astype(part.dtype) for part in y])
    needs = [True] * len(args)
    with emulate.fake_cupy(**(chip or {})) as xp:
        assert fusion.when(xp, *args, **options)
        fused_y, fused_saved = fusion.forward(xp, *args, **options)
        got = [*fused_y]
        for _ in range(2):  # what is saved isn't used up
            grads = fusion.pull(xp, fused_saved, gy, needs)
        only_state = fusion.pull(xp, fused_saved, (None, *gy[1:]), needs)
    wanted = [*y, *op.pull(np, saved, gy, needs)]
    got += [*grads, *only_state]
    wanted += op.pull(np, saved, (None, *gy[1:]), needs)
    return got, wanted


def same(got, wanted, tolerance):
    assert len(got) == len(wanted)
    for a, b in zip(got, wanted, strict=True):
        assert (a is None) == (b is None)
        if b is not None:
            assert (a.shape, a.dtype) == (b.shape, b.dtype)
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@needs_gcc
@pytest.mark.parametrize("where", LAYOUTS)
@pytest.mark.parametrize("kind", OPS)
def test_every_layout(kind, where, layout, rng):
    op, gates, count, own = OPS[kind]
    layout(**LAYOUTS[where])
    # Each other one with dropout: all pairs of a cell and a layout would take minutes to compile.
    drop = (list(OPS).index(kind) + list(LAYOUTS).index(where)) % 2
    for sequences, reverse in [(True, False), (True, True), (False, True)]:
        args = inputs(rng, gates, count, bool(own)) + masks(rng, gates, drop=drop)
        options = {"sequences": sequences, "reverse": reverse, **own}
        if drop:
            options.update(x_rate=0.3, h_rate=0.3)
        same(*both(op, args, options, rng), 1e-11)


@needs_gcc
@pytest.mark.parametrize("where", ["one block", "cluster of 3", "grid", "launches"])
@pytest.mark.parametrize("kind", OPS)
def test_both_directions_in_one_launch(kind, where, layout, rng, monkeypatch):
    op, gates, count, own = OPS[kind]
    number = list(OPS).index(kind) + list(LAYOUTS).index(where)
    layout(**LAYOUTS[where])
    first, second = (inputs(rng, gates, count, bool(own), given=number % 2) for _ in range(2))
    drop = number % 4 == 1  # then each direction reads inputs of its own
    keeps = [masks(rng, gates, drop=drop)[1:] for _ in range(2)]
    args = [first[0], second[0] if drop else None, masks(rng, gates, drop=False)[0]]
    args += [*first[1:], *keeps[0], *second[1:], *keeps[1]]
    options = {"cell": op.name, "sequences": number % 3 > 0, "reverse": number % 4 > 1, **own}
    if drop:
        options.update(x_rate=0.3, h_rate=0.3)
    grids, launch = [], rnn_walk.launch
    monkeypatch.setattr(rnn_walk, "launch", lambda *a, **k: grids.append(a[2]) or launch(*a, **k))
    same(*both(both_ways, args, options, rng), 1e-11)
    assert {grid[2] for grid in grids} == {2}


def test_directions_that_differ_go_one_after_the_other(rng):
    first, second = inputs(rng, 4, 2, False), inputs(rng, 4, 2, False, given=False)
    args = [first[0], None, None, *first[1:], None, None, *second[1:], None, None]
    fusion = fusion_of(both_ways)
    with emulate.fake_cupy() as xp:
        assert not fusion.when(xp, *args, cell="lstm")
        words = fusion.doubts(xp, *args, cell="lstm")
    assert "one direction after the other (one direction has arguments that the other" in words
    assert "Forward: single block" in words


@needs_gcc
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 9, 1, 5), (5, 0, 2, 3)])
@pytest.mark.parametrize("kind", OPS)
def test_sizes(kind, shape, rng):
    op, gates, count, own = OPS[kind]
    args = inputs(rng, gates, count, bool(own), *shape, dtype="float32", given=False)
    args += [None, None, None]
    same(*both(op, args, {"sequences": True, **own}, rng), 2e-5)


@needs_gcc
@pytest.mark.parametrize(
    ("kind", "units", "batch", "steps"),
    [
        ("lstm", 3, 1, 200), ("gru", 17, 2, 3), ("gru_after", 100, 3, 2), ("lstm", 129, 1, 2),
        ("simple_rnn", 200, 2, 2),
        pytest.param("lstm", 200, 17, 2, marks=pytest.mark.slow),
        pytest.param("lstm", 512, 2, 2, marks=pytest.mark.slow),
        pytest.param("gru", 3, 1, 4096, marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_odd_sizes_as_they_are_laid_out(kind, units, batch, steps, rng):
    """Whatever layout an H200 gives them; some rows are masked throughout."""
    op, gates, count, own = OPS[kind]
    args = inputs(rng, gates, count, bool(own), steps, batch, 2, units, dtype="float32")
    args[2] /= units**0.5  # else long walks and wide sums differ by more than rounding
    args += masks(rng, gates, steps, batch, 2, units, drop=False)
    args[-3][:, 0] = batch == 1
    same(*both(op, args, {"sequences": True, **own}, rng), 1e-4)


@needs_gcc
@pytest.mark.parametrize("kind", OPS)
def test_options(kind, rng):
    op, gates, count, own = OPS[kind]
    for mask, given, zero_output, bias in [(1, 0, 1, 1), (1, 1, 1, 0), (0, 1, 0, 1)]:
        args = inputs(rng, gates, count, bool(own), given=given)
        args[3] = args[3] if bias else None
        args += masks(rng, gates, mask=mask, drop=False)
        options = {"sequences": True, "zero_output": bool(zero_output), **own}
        same(*both(op, args, options, rng), 1e-11)


@needs_gcc
@pytest.mark.parametrize(
    ("activation", "gate"),
    [("relu", "hard_sigmoid"), ("sigmoid", "linear"), ("linear", "tanh")],
)
@pytest.mark.parametrize("kind", OPS)
def test_activations(kind, activation, gate, rng):
    op, gates, count, own = OPS[kind]
    options = {"activation": activation, "sequences": True, **own}
    if op is not rnn.simple_rnn:
        options["recurrent_activation"] = gate
    args = inputs(rng, gates, count, bool(own)) + [None, None, None]
    same(*both(op, args, options, rng), 1e-10)


@needs_gcc
@pytest.mark.parametrize("meet", [SHARED, GRID])
@pytest.mark.parametrize("kind", OPS)
def test_tensor_cores(kind, meet, layout, rng):
    op, gates, count, own = OPS[kind]
    layout(slice=8, rows=16, kind="tf32", meet=meet)
    for drop in (False, True):
        args = inputs(rng, gates, count, bool(own), 3, 19, 3, 13, dtype="float32")
        args += masks(rng, gates, 3, 19, 3, 13, drop=drop)
        options = {"sequences": True, **own, **({"x_rate": 0.3, "h_rate": 0.3} if drop else {})}
        got, wanted = both(op, args, options, rng)
        same(got, wanted, 2e-2)
        assert any(abs(a - b).max() > 1e-6 for a, b in zip(got, wanted)), "not rounded to tf32?"


def dtype_of(name):
    if name == "bfloat16":
        return pytest.importorskip("ml_dtypes", reason="ml_dtypes is missing").bfloat16
    return np.dtype(name)


@needs_gcc
@pytest.mark.parametrize("kind", ["tf32", "float16", "bfloat16"])
def test_tensor_cores_are_exact_on_small_integers(kind, layout, rng):
    """Whatever such a type can hold comes out as it should, so each fragment is at its place."""
    layout(slice=8, rows=16, kind=kind)
    u = 24
    dtype = dtype_of("float32" if kind == "tf32" else kind)
    weights = [rng.integers(-8, 8, shape).astype("float32") for shape in [(u, u), (16, u)]]
    weights[1][:, 3:] = 0  # sums that bfloat16 holds
    args = [np.zeros((1, 16, 1)), np.zeros((1, u)), weights[0], None, weights[1]]
    args = [a if a is None else a.astype(dtype) for a in args] + [None, None, None]
    with emulate.fake_cupy() as xp:
        y, _ = fusion_of(rnn.simple_rnn).forward(xp, *args, activation="linear")
    np.testing.assert_array_equal(y[0].astype("float32"), weights[1] @ weights[0])


@needs_gcc
@pytest.mark.parametrize(
    ("dtype", "meet", "chunks"),
    [("float16", SHARED, 1), ("bfloat16", SHARED, 1), ("float16", GRID, 2)],
)
@pytest.mark.parametrize("kind", OPS)
def test_sixteen_bits(kind, dtype, meet, chunks, layout, rng):
    """Beside float32, from the same rounded inputs."""
    op, gates, count, own = OPS[kind]
    dtype, error = dtype_of(dtype), {"float16": 2e-3, "bfloat16": 1.6e-2}[dtype]
    layout(slice=8, rows=16, meet=meet, chunks=chunks)
    drop = chunks > 1
    args = inputs(rng, gates, count, bool(own), 3, 19, 3, 21, dtype="float32")
    args = [a.astype(dtype) for a in args] + masks(rng, gates, 3, 19, 3, 21, drop=drop)
    options = {"sequences": True, **own, **({"x_rate": 0.3, "h_rate": 0.3} if drop else {})}
    wide = [a.astype("float32") if a is not None and a.dtype == dtype else a for a in args]
    y, saved = op.forward(np, *wide, **options)
    gy = tuple([rng.standard_normal(part.shape).astype(dtype) for part in y])
    needs = [True] * len(args)
    wanted = [*y, *op.pull(np, saved, tuple([g.astype("float32") for g in gy]), needs)]
    with emulate.fake_cupy() as xp:
        fusion = fusion_of(op)
        assert fusion.when(xp, *args, **options)
        fused_y, fused_saved = fusion.forward(xp, *args, **options)
        got = [*fused_y, *fusion.pull(xp, fused_saved, gy, needs)]
    for a, b in zip(got, wanted, strict=True):
        assert (a is None) == (b is None)
        if b is not None:
            assert (a.shape, a.dtype) == (b.shape, dtype)
            scale = max(1.0, abs(b).max())
            assert abs(a.astype("float32") - b).max() < 4 * error * scale


@needs_gcc
def test_the_same_bits_every_time(layout, rng):
    """Blocks and threads run in another order at each launch."""
    layout(slice=3, rows=4)
    args = inputs(rng, 4, 2, False, dtype="float32") + masks(rng, 4)
    first = both(rnn.lstm, args, {"x_rate": 0.3, "h_rate": 0.3}, np.random.default_rng(0))[0]
    again = both(rnn.lstm, args, {"x_rate": 0.3, "h_rate": 0.3}, np.random.default_rng(0))[0]
    for a, b in zip(first, again):
        np.testing.assert_array_equal(a, b)


@needs_gcc
@pytest.mark.parametrize("drop", [False, True])
def test_products_can_be_captured(drop, rng, monkeypatch):
    """CuPy's own matrix products can't."""
    for name in ("matmul", "dot", "tensordot"):
        monkeypatch.setattr(emulate.as_cupy, name, None, raising=False)
    args = inputs(rng, 4, 2, False) + masks(rng, 4, drop=drop)
    options = {"sequences": True, **({"x_rate": 0.3, "h_rate": 0.3} if drop else {})}
    same(*both(rnn.lstm, args, options, rng), 1e-11)


@needs_gcc
def test_masks_may_be_strided(rng):
    """As layers give them: a mask (N, T), transposed."""
    args = inputs(rng, 4, 2, False) + masks(rng, 4, drop=False)
    args[6] = np.ascontiguousarray(args[6].T).T
    assert not args[6].flags.c_contiguous
    same(*both(rnn.lstm, args, {"sequences": True}, rng), 1e-11)


# -- layouts ------------------------------------------------------------------------------

H200 = builds.CHIPS["sm_90"]


@pytest.mark.parametrize("arch", builds.CHIPS)
def test_every_shape_has_a_layout(arch):
    chip = builds.CHIPS[arch]
    shapes = itertools.product((1, 3, 4), (1, 9, 100, 128, 257, 512, 1024, 2048), (1, 256))
    for (gates, units, batch), kind, dropout, backward, directions in itertools.product(
        shapes, rnn_plan.KINDS, (False, True), (False, True), (1, 2)
    ):
        if rnn_plan.KINDS[kind].cores and chip.capability < 80:
            continue
        plan = rnn_plan.plan_of(chip, units, gates, batch, kind, dropout, backward, directions)
        what = (units, gates, batch, kind, dropout, backward, directions, plan)
        if plan is None:
            assert units > 1000, what
            continue
        assert plan.fits(chip, backward), what
        assert plan.slice * plan.across >= units > plan.slice * (plan.across - 1), what
        assert plan.meet != SHARED or plan.across <= (16 if chip.capability >= 90 else 1), what
        assert plan.meet != GRID or plan.across * directions <= chip.blocks, what
        assert plan.meet != SHARED or plan.chunks == 1, what
        assert not rnn_plan.KINDS[plan.kind].cores or (plan.rows == 16 and plan.slice % 8 == 0)
        assert str(plan) and plan.why(chip, backward), what


def test_common_sizes_keep_their_weights_on_an_h200():
    for backward in (False, True):
        for units in (32, 64, 128):
            plan = rnn_plan.plan_of(H200, units, 4, 32, "tf32", False, backward)
            assert plan.meet == SHARED and plan.resident
        plan = rnn_plan.plan_of(H200, 256, 4, 32, "bfloat16", False, backward)
        assert plan.meet == SHARED and plan.across <= 8
        plan = rnn_plan.plan_of(H200, 512, 4, 32, "tf32", False, backward)
        assert plan.meet == GRID and plan.resident
        plan = rnn_plan.plan_of(H200, 1024, 4, 32, "bfloat16", False, backward)
        assert plan.meet == GRID and plan.resident
    plan = rnn_plan.plan_of(H200, 512, 4, 32, "bfloat16", False, False)
    assert plan.meet == SHARED and plan.across == 16


def test_precision_and_chip_choose_what_is_multiplied():
    t4, h200 = builds.CHIPS["sm_75"], H200
    kinds = [rnn_plan.kind_of(h200, d, "tf32") for d in ("float32", "float16", "bfloat16")]
    assert kinds == ["tf32", "float16", "bfloat16"]
    assert rnn_plan.kind_of(h200, "float32", "strict") == "float32"
    assert rnn_plan.kind_of(t4, "float32", "tf32") == "float32"
    assert rnn_plan.kind_of(t4, "float16", "tf32") is None
    assert rnn_plan.kind_of(h200, "int32", "tf32") is None


@needs_gcc
def test_the_log_says_what_runs(caplog, rng):
    args = inputs(rng, 4, 2, False, u=6, dtype="float32") + [None, None, None]
    with caplog.at_level("DEBUG", "gpunet"):
        both(rnn.lstm, args, {}, rng, {"capability": 90})
        fusion = fusion_of(rnn.lstm)
        whole = [a if a is None else a.astype("int32") for a in args]
        with emulate.fake_cupy() as xp:
            assert not fusion.when(xp, *whole)
    text = caplog.text
    assert "lstm of 6 units, 5 sequences, forward: single block, 8 sequences each" in text
    assert "recurrent layer of 6 units: step by step, no kernel for int32 here" in text
