"""Recurrent kernels on a GPU in all their layouts, beside NumPy; also whole layers in 16 bits."""

import numpy as np
import pytest

import gpunet
from gpunet import config, layers, ops
from gpunet.autodiff import GradientTape
from gpunet.fused import launch, rnn_plan
from gpunet.fused.rnn_plan import GRID, LAUNCHES, SHARED

pytestmark = pytest.mark.gpu

GATES = {"simple_rnn": 1, "gru": 3, "lstm": 4}


@pytest.fixture(autouse=True)
def as_it_was():
    before = config.precision()
    config.set_precision("strict")
    yield
    config.set_precision(before)


def arguments(rng, cell, units, batch, steps, masked, features=5):
    """Return the arrays of a recurrent op in float32, small enough that 16 bits hold sums."""
    width, count = GATES[cell] * units, 2 if cell == "lstm" else 1
    arrays = [
        rng.standard_normal((steps, batch, features)), 0.3 * rng.standard_normal((features, width)),
        rng.standard_normal((units, width)) / (2 * units**0.5), 0.1 * rng.standard_normal(width),
        *[rng.standard_normal((batch, units)) for _ in range(count)],
    ]  # fmt: skip
    mask = None
    if masked:
        mask = rng.random((steps, batch)) < 0.7
        mask[:, 0] = False
    return [*[a.astype("float32") for a in arrays], mask, None, None]


def run(op, args, options, device, dtype):
    """Return the outputs and gradients as float32, of ones for all outputs."""
    with gpunet.device(device):
        given = [
            a if a is None else gpunet.convert_to_tensor(a if a.dtype == bool else a.astype(dtype))
            for a in args
        ]
        watched = [t for t in given if t is not None and t.dtype.kind == "f"]
        with GradientTape() as tape:
            for t in watched:
                tape.watch(t)
            outputs = op(*given, **options)
            total = ops.add(*[ops.sum(ops.cast(y, "float32")) for y in outputs[:2]])
        grads = tape.gradient(total, watched)
        return [np.asarray(a.numpy(), "float32") for a in (*outputs, *grads)]


def compared(got, wanted, tolerance):
    for a, b in zip(got, wanted, strict=True):
        assert np.isfinite(a).all()
        assert abs(a - b).max() <= tolerance * max(1.0, abs(b).max())


@pytest.mark.parametrize("cell", GATES)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    ("units", "batch", "steps"),
    [(1, 1, 3), (3, 5, 17), (17, 33, 9), (100, 7, 30), (129, 40, 11), (200, 32, 20), (512, 20, 6)],
)
def test_sizes(units, batch, steps, masked, cell, rng):
    args = arguments(rng, cell, units, batch, steps, masked)
    op, options = getattr(ops, cell), {"sequences": True}
    wanted = run(op, args, options, "cpu", "float32")
    compared(run(op, args, options, "gpu", "float32"), wanted, 1e-3)


@pytest.mark.parametrize("dtype", ["tf32", "float16"])
@pytest.mark.parametrize("cell", GATES)
@pytest.mark.parametrize(("units", "batch"), [(21, 19), (128, 32), (256, 33), (512, 16), (1024, 8)])
def test_tensor_cores(units, batch, cell, dtype, rng):
    if launch.chip().capability < 80:
        pytest.skip("tensor cores of this kind need sm_80")
    args = arguments(rng, cell, units, batch, 8, True)
    op, options = getattr(ops, cell), {"sequences": True, "reverse": True}
    wanted = run(op, args, options, "cpu", "float32")
    if dtype == "tf32":
        config.set_precision("tf32")
        dtype = "float32"
    compared(run(op, args, options, "gpu", dtype), wanted, 2e-2)


@pytest.mark.parametrize("meet", [SHARED, GRID, LAUNCHES])
@pytest.mark.parametrize("cell", GATES)
def test_layouts_agree(cell, meet, rng, monkeypatch):
    """Blocks that meet in a cluster, in a grid in pieces, and at each launch."""
    if meet == SHARED and launch.chip().capability < 90:
        pytest.skip("clusters need sm_90")

    def plan_of(chip, units, gates, batch, kind, dropout, backward, directions=1):
        own = {SHARED: {"slice": 8, "rows": 8}, GRID: {"slice": 4, "rows": 8, "chunks": 2},
               LAUNCHES: {"slice": 8, "rows": 4, "resident": False}}[meet]  # fmt: skip
        given = {"resident": True, "meet": meet, "kind": kind, "directions": directions, **own}
        return rnn_plan.Plan(units, gates, gates if dropout else 1, **given)

    args = arguments(rng, cell, 50, 21, 12, True)
    op, options = getattr(ops, cell), {"sequences": True}
    wanted = run(op, args, options, "cpu", "float32")
    monkeypatch.setattr(rnn_plan, "plan_of", plan_of)
    compared(run(op, args, options, "gpu", "float32"), wanted, 1e-3)


@pytest.mark.parametrize("cell", GATES)
@pytest.mark.parametrize(("units", "batch"), [(30, 9), (128, 32), (512, 20)])
def test_both_directions(units, batch, cell, rng):
    first, second = (arguments(rng, cell, units, batch, 7, True) for _ in range(2))
    states = 2 if cell == "lstm" else 1
    mask = first[4 + states]
    own = [[*a[1 : 4 + states], None, None] for a in (first, second)]
    args = [first[0], None, mask, *own[0], *own[1]]
    options = {"cell": cell, "sequences": True}
    wanted = run(ops.both_ways, args, options, "cpu", "float32")
    compared(run(ops.both_ways, args, options, "gpu", "float32"), wanted, 1e-3)


def test_long_sequences(rng):
    args = arguments(rng, "lstm", 17, 3, 4096, True)
    wanted = run(ops.lstm, args, {}, "cpu", "float32")
    compared(run(ops.lstm, args, {}, "gpu", "float32"), wanted, 1e-3)


@pytest.mark.parametrize("options", [{}, {"stateful": True}, {"go_backwards": True}])
def test_layers(options, rng):
    found = []
    x = rng.standard_normal((6, 9, 4)).astype("float32")
    mask = rng.random((6, 9)) < 0.7
    weights = None
    for device in ("cpu", "gpu"):
        with gpunet.device(device):
            layer = layers.LSTM(12, return_sequences=True, batch_input_shape=(6, 9, 4), **options)
            layer.build((6, 9, 4))
            if weights is not None:
                layer.set_weights(weights)
            weights = layer.get_weights()
            found.append([layer(x, mask=mask).numpy() for _ in range(2)])
    for a, b in zip(*found):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def test_bfloat16_where_cupy_has_it(rng):
    import cupy

    kind = pytest.importorskip("ml_dtypes", reason="ml_dtypes is missing").bfloat16
    if launch.chip().capability < 80:
        pytest.skip("bfloat16 needs sm_80")
    try:
        cupy.zeros(2, kind)
    except TypeError as error:
        pytest.skip(f"this CuPy has no bfloat16: {error}")
    args = arguments(rng, "lstm", 40, 17, 5, True)
    (fusion,) = [f for f in ops.lstm.fusions if f.forward.__module__ == "gpunet.fused.rnn"]
    given = [
        a if a is None else cupy.asarray(a if a.dtype == bool else a.astype(kind)) for a in args
    ]
    assert fusion.when(cupy, *given, sequences=True)
    y, _ = fusion.forward(cupy, *given, sequences=True)
    wanted, _ = ops.lstm.forward(np, *args, sequences=True)
    got = cupy.asnumpy(y[0].astype("float32"))
    assert abs(got - wanted[0]).max() < 6e-2
