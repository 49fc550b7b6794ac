"""What NumPy runs for the recurrent ops against the pairs written for being read."""

import itertools

import numpy as np
import pytest
from rnn_cases import CASES

from gpunet import config, ops, threads
from gpunet.autodiff import GradientTape
from gpunet.ops import rnn, rnn_host, rnn_host_cells
from gpunet.tensor import Tensor

OPS = [(rnn.simple_rnn, 1, 1, False), (rnn.gru, 3, 1, False), (rnn.gru, 3, 1, True),
       (rnn.lstm, 4, 2, False)]  # fmt: skip
SCANS = rnn_host_cells.SCANS


def inputs(rng, gates, count, after, shape=(5, 3, 4, 6), **given):
    t, n, c, u = shape
    normal = rng.standard_normal
    bias = (0.3 * normal((2, gates * u) if after else gates * u)) if given.get("bias") else None
    states = [normal((n, u)) if given.get("states") else None for _ in range(count)]
    mask = rng.random((t, n)) < 0.6
    mask[:, :1] = False
    kept = [rng.random((gates, n, k)) < 0.7 for k in (c, u)]
    weights = 0.5 * normal((c, gates * u)), 0.3 * normal((u, gates * u))
    return (
        normal((t, n, c)), *weights, bias, *states, mask if given.get("mask") else None,
        *(kept if given.get("drop") else [None, None]),
    )  # fmt: skip


def same(got, wanted, tolerance=1e-10):
    assert len(got) == len(wanted)
    for a, b in zip(got, wanted, strict=True):
        assert (a is None) == (b is None)
        if b is not None:
            assert a.shape == b.shape and a.dtype == b.dtype
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


GRID = list(itertools.product([False, True], repeat=6))
ACTIVATIONS = [("tanh", "sigmoid"), ("relu", "hard_sigmoid"), ("sigmoid", "linear"),
               ("hard_sigmoid", "tanh"), ("linear", "relu")]  # fmt: skip


@pytest.mark.parametrize("activation, gate", ACTIVATIONS)
@pytest.mark.parametrize("op, gates, count, after", OPS)
def test_every_combination(op, gates, count, after, activation, gate, rng):
    alone, fusion = op.fusions[:2]
    for sequences, reverse, zero_output, mask, states, drop in GRID:
        args = inputs(rng, gates, count, after, mask=mask, states=states, drop=drop, bias=not drop)
        options = {"activation": activation, "sequences": sequences, "reverse": reverse,
                   "zero_output": zero_output, "x_rate": 0.3, "h_rate": 0.3}  # fmt: skip
        if op is not rnn.simple_rnn:
            options["recurrent_activation"] = gate
        if op is rnn.gru:
            options["reset_after"] = after
        assert fusion.when(np, *args, **options)
        y, saved = op.forward(np, *args, **options)
        y2, saved2 = fusion.forward(np, *args, **options)
        same(y2, y)
        same(alone.forward(np, *args, **options)[0], y)
        gy = [rng.standard_normal(part.shape) for part in y]
        for parts in (gy, [None, *gy[1:]], [gy[0], *[None] * count]):
            same(fusion.pull(np, saved2, tuple(parts), [True] * (7 + count)),
                 op.pull(np, saved, tuple(parts), [True] * (7 + count)), 1e-8)  # fmt: skip


@pytest.mark.parametrize("op, gates, count, after", OPS)
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (3, 0, 2, 4), (3, 1, 4, 2), (2, 40, 3, 5)])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_sizes_and_types(op, gates, count, after, shape, dtype, rng):
    args = inputs(rng, gates, count, after, shape, mask=True, states=True, bias=True)
    args = [a if a is None or a.dtype == bool else a.astype(dtype) for a in args]
    options = {"sequences": True, **({"reset_after": after} if op is rnn.gru else {})}
    alone, fusion = op.fusions[:2]
    y, saved = op.forward(np, *args, **options)
    y2, saved2 = fusion.forward(np, *args, **options)
    tolerance = {"float16": 2e-2, "float32": 1e-5, "float64": 1e-12}[dtype]
    same(y2, y, tolerance)
    for given in (args, [None if a is None or a.dtype == bool else a for a in args]):
        for sequences in (False, True):
            options["sequences"] = sequences
            same(alone.forward(np, *given, **options)[0], op.forward(np, *given, **options)[0],
                 tolerance)  # fmt: skip
    gy = tuple([np.ones_like(part) for part in y])
    needs = [True] * (7 + count)
    same(fusion.pull(np, saved2, gy, needs), op.pull(np, saved, gy, needs), 5 * tolerance)


@pytest.mark.parametrize("op, gates, count, after", OPS)
def test_walks_in_parts(op, gates, count, after, rng):
    args = inputs(rng, gates, count, after, (4, 37, 5, 6), mask=True, states=True, drop=True,
                  bias=True)  # fmt: skip
    x, kernel, recurrent, bias, *rest = args
    states, arrays = rest[:count], (x, kernel, recurrent, bias, *rest[count:])
    for sequences in (False, True):
        options = {"sequences": sequences, "x_rate": 0.2, "h_rate": 0.2}
        if after:
            options["reset_after"] = True
        runs = [(arrays, states, True), (arrays, states, False)]
        whole = SCANS[op](runs, options)
        parts = rnn_host.Parts(SCANS[op], runs, options, 3)
        y = whole.run()
        for got, wanted in zip(parts.run(), y, strict=True):
            same(got, wanted)
        gys = [[rng.standard_normal(p.shape) for p in part] for part in y]
        needs = [[True] * 4] * 2
        for got, wanted in zip(parts.pull(gys, needs), whole.pull(gys, needs), strict=True):
            same(got, wanted)


@pytest.mark.parametrize("op, gates, count, after", OPS)
def test_without_a_tape_steps_are_not_kept(op, gates, count, after, rng):
    args = inputs(rng, gates, count, after, (4, 3, 5, 6), bias=True)
    options = {"reset_after": True} if after else {}
    alone, fusion = op.fusions[:2]
    assert alone.pull is None and fusion.pull is not None
    run = rnn_host_cells._run_of(SCANS[op], *args)
    kept, not_kept = [SCANS[op]([run], options, keeps=keeps).h for keeps in (True, False)]
    assert len(kept) == 5 and len(not_kept) == 1
    weights = [Tensor(a) if isinstance(a, np.ndarray) else a for a in args]
    before = op(*weights, **options)[0].numpy()
    with GradientTape() as tape:
        tape.watch(weights[1])
        y = op(*weights, **options)[0]
    np.testing.assert_allclose(y.numpy(), before, rtol=1e-12)
    assert np.abs(tape.gradient(y, weights[1]).numpy()).max() > 0.01


@pytest.mark.parametrize("op, gates, count, after", OPS)
@pytest.mark.parametrize("helpers", ["1", "3"])
def test_tasks_beside_the_walk(op, gates, count, after, helpers, rng, monkeypatch):
    monkeypatch.setenv("GPUNET_THREADS", helpers)
    args = inputs(rng, gates, count, after, (7, 3, 4, 6), mask=True, bias=True)
    options = {"sequences": True, **({"reset_after": after} if op is rnn.gru else {})}
    fusion, needs, results = op.fusions[1], [True] * (7 + count), []
    for task in (rnn_host._TASK, 1):
        monkeypatch.setattr(rnn_host, "_TASK", task)
        y, saved = fusion.forward(np, *args, **options)
        gy = tuple([np.ones_like(part) for part in y])
        results.append([*y, *fusion.pull(np, saved, gy, needs)])
    same(results[1], results[0])


def test_what_a_helper_raises_arrives():
    def fail():
        raise KeyError("here")

    with threads.one_blas_thread():
        finish = [threads.begin(fail) for _ in range(3)]
        for f in finish:
            with pytest.raises(KeyError, match="here"):
                f()


def test_blas_gets_its_threads_back(rng):
    before = threads.count()
    with threads.one_blas_thread():
        assert threads.count() == before
    ops.lstm(*inputs(rng, 4, 2, False))
    assert threads.count() == before


@pytest.mark.parametrize("case", CASES, ids=[c.name for c in CASES])
def test_through_the_tape(case):
    """As layers run it, beside the plain pair."""
    arrays = case.arrays("float64")
    results = []
    for fused in (False, True):
        before = config.fused_enabled()
        config.set_fused(fused)
        try:
            tensors = [Tensor(a) if isinstance(a, np.ndarray) else a for a in arrays]
            sources = [tensors[i] for i in case.floats(arrays)]
            with GradientTape() as tape:
                tape.watch(sources)
                y = case.op(*tensors, **case.options)
                total = [ops.sum(ops.square(part)) for part in y]
            results.append([*y, *tape.gradient(total, sources)])
        finally:
            config.set_fused(before)
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-9, atol=1e-10)
