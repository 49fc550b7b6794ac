"""The recurrent kernels, run on the CPU in every layout, beside the plain ops."""

import itertools

import builds
import emulate
import numpy as np
import pytest

from gpunet import config
from gpunet.fused import rnn_plan
from gpunet.fused.rnn_plan import GRID, LAUNCHES, SHARED
from gpunet.ops import rnn

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
    "grid": {"slice": 2, "rows": 4, "meet": GRID},
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
        def plan_of(chip, units, gates, batch, size, tf32, dropout, backward):
            given = {"meet": SHARED, "resident": True, "tf32": False, **chosen}
            return rnn_plan.Plan(units, gates, gates if dropout else 1, size=size, **given)

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


def both(op, args, options, rng, chip=None):
    """Return results and gradients of the plain pair and of the kernels."""
    fusion = next(f for f in op.fusions if f.forward.__module__ == "gpunet.fused.rnn")
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
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 9, 1, 5), (5, 0, 2, 3)])
@pytest.mark.parametrize("kind", OPS)
def test_sizes(kind, shape, rng):
    op, gates, count, own = OPS[kind]
    args = inputs(rng, gates, count, bool(own), *shape, dtype="float32", given=False)
    args += [None, None, None]
    same(*both(op, args, {"sequences": True, **own}, rng), 2e-5)


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
    layout(slice=8, rows=16, tf32=True, meet=meet)
    for drop in (False, True):
        args = inputs(rng, gates, count, bool(own), 3, 19, 3, 13, dtype="float32")
        args += masks(rng, gates, 3, 19, 3, 13, drop=drop)
        options = {"sequences": True, **own, **({"x_rate": 0.3, "h_rate": 0.3} if drop else {})}
        got, wanted = both(op, args, options, rng)
        same(got, wanted, 2e-2)
        assert any(abs(a - b).max() > 1e-6 for a, b in zip(got, wanted)), "not rounded to tf32?"


@needs_gcc
def test_tensor_cores_are_exact_on_small_integers(layout, rng):
    """Whatever tf32 can hold comes out as it should, so each fragment is at its place."""
    layout(slice=8, rows=16, tf32=True)
    u = 24
    x = np.zeros((1, 16, 1), "float32")
    weights = [rng.integers(-8, 8, shape).astype("float32") for shape in [(u, u), (16, u)]]
    args = [x, np.zeros((1, u), "float32"), weights[0], None, weights[1], None, None, None]
    got, wanted = both(rnn.simple_rnn, args, {"activation": "linear"}, rng)
    np.testing.assert_array_equal(got[0], wanted[0])
    np.testing.assert_array_equal(got[0], weights[1] @ weights[0])


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
    shapes = itertools.product((1, 3, 4), (1, 9, 64, 100, 128, 257, 512, 1024, 2048), (1, 16, 256))
    for (gates, units, batch), tf32, dropout, backward in itertools.product(
        shapes, (False, True), (False, True), (False, True)
    ):
        plan = rnn_plan.plan_of(chip, units, gates, batch, 4, tf32, dropout, backward)
        what = (units, gates, batch, tf32, dropout, backward, plan)
        assert plan.fits(chip, backward) or plan.meet == LAUNCHES, what
        assert plan.slice * plan.across >= units > plan.slice * (plan.across - 1), what
        assert plan.meet != SHARED or plan.across <= (8 if chip.capability >= 90 else 1), what
        assert plan.meet != GRID or plan.across <= chip.blocks, what
        assert not plan.tf32 or (plan.rows == 16 and plan.slice % 8 == 0), what


def test_common_sizes_keep_their_weights_on_an_h200():
    for units in (32, 64, 128):
        for backward in (False, True):
            plan = rnn_plan.plan_of(H200, units, 4, 32, 4, True, False, backward)
            assert plan.meet == SHARED and plan.resident
    assert rnn_plan.plan_of(H200, 512, 4, 32, 4, True, False, False).meet == GRID


@needs_gcc
def test_the_log_says_what_runs(caplog, rng):
    args = inputs(rng, 4, 2, False, u=6, dtype="float32") + [None, None, None]
    with caplog.at_level("DEBUG", "gpunet"):
        both(rnn.lstm, args, {}, rng, {"capability": 90})
        (fusion,) = [f for f in rnn.gru.fusions if f.forward.__module__ == "gpunet.fused.rnn"]
        half = [a if a is None else a.astype("float16") for a in args]
        assert not fusion.when(emulate.as_cupy, *half)
    text = caplog.text
    assert "lstm of 6 units, 5 sequences, forward: kernel of 1 blocks that share" in text
    assert "recurrent layer of 6 units: step by step, no kernel for dtypes ['float16']" in text
