"""Every op in the tables (``CASES`` of each ``*_cases.py`` here) passes the same checks."""

import contextlib
import importlib
import pkgutil
import warnings
from pathlib import Path

import fake_device
import numpy as np
import pytest

from gpunet import ops
from gpunet.autodiff import GradientTape, Op, unbroadcast
from gpunet.tensor import Tensor

NUMPY = int(np.__version__.partition(".")[0])
CASES = [
    case
    for path in sorted(Path(__file__).parent.glob("*_cases.py"))
    for case in importlib.import_module(path.stem).CASES
]
TOLERANCE = {"float16": 2e-2, "float32": 1e-5, "float64": 1e-10}

every = pytest.mark.parametrize("case", CASES, ids=[c.name for c in CASES])
with_reference = [c for c in CASES if c.reference]
checked = pytest.mark.parametrize("case", with_reference, ids=[c.name for c in with_reference])


def has_gradient(case):
    return case.op.pull is not None and case.floats(case.arrays())


with_gradient = [c for c in CASES if has_gradient(c)]
derived = pytest.mark.parametrize("case", with_gradient, ids=[c.name for c in with_gradient])
smooth = [c for c in with_gradient if c.smooth]
twice = pytest.mark.parametrize("case", smooth, ids=[c.name for c in smooth])


def outputs(y):
    return y if isinstance(y, tuple) else (y,)


def close(got, wanted, tolerance):
    scale = max(1.0, float(np.max(np.abs(wanted), initial=0)))
    np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance * scale)


def directions(case, arrays, seed):
    """Return a random array like each float input, and None for the others."""
    rng = np.random.default_rng(seed)
    floats = case.floats(arrays)
    return [rng.standard_normal(a.shape) if i in floats else None for i, a in enumerate(arrays)]


def moved(arrays, direction, step):
    return [a if d is None else a + step * d for a, d in zip(arrays, direction)]


def seeds(case, arrays, seed=7):
    """Return a random gradient for each output."""
    rng = np.random.default_rng(seed)
    y = outputs(case.op(*arrays, **case.options))
    return [rng.standard_normal(tuple(part.shape)).astype(part.dtype) for part in y]


def gradients(case, arrays, gy, tape=None):
    """Return gradients with respect to the float inputs, zeros where there is none."""
    inputs = [Tensor(a) if isinstance(a, np.ndarray) else a for a in arrays]
    sources = [inputs[i] for i in case.floats(arrays)]
    if tape is not None:
        tape.watch(sources)
    with GradientTape() as inner:
        inner.watch(sources)
        y = outputs(case.op(*inputs, **case.options))
    grads = inner.gradient(y, sources, list(map(Tensor, gy)), unconnected_gradients="zero")
    return sources, grads


def total(case, arrays, gy):
    y = outputs(case.op(*arrays, **case.options))
    return sum(np.sum(part.array * g) for part, g in zip(y, gy))


@checked
def test_value(case):
    arrays = case.arrays()
    got = outputs(case.op(*arrays, **case.options))
    wanted = case.expected(arrays)
    assert len(got) == len(wanted)
    for g, w in zip(got, wanted):
        assert tuple(g.shape) == w.shape
        close(g.numpy(), w, 1e-10)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@checked
def test_dtype_is_kept(case, dtype):
    arrays = case.arrays(dtype)
    floats = case.floats(arrays)
    got = outputs(case.op(*arrays, **case.options))
    exact = [a.astype("float64") if i in floats else a for i, a in enumerate(arrays)]
    for g, w in zip(got, case.expected(exact)):
        if w.dtype.kind == "f" and floats and case.op is not ops.cast:
            assert g.dtype == dtype
        else:
            assert g.dtype.kind == w.dtype.kind
        if case.op.name != "floor_mod":  # a remainder jumps where its argument is rounded
            close(g.numpy().astype(w.dtype), w, TOLERANCE[dtype] * case.loose)
    if case in with_gradient:
        gy = seeds(case, arrays)
        # NumPy 1 makes float64 of a float32 scalar and a Python float; the tape undoes that.
        if NUMPY >= 2 or all(g.ndim for g in gy):
            for g in run_plain(case, np, arrays, gy)[1]:
                assert g.dtype == dtype
        for g in gradients(case, arrays, gy)[1]:
            assert g.dtype == dtype


@derived
def test_gradient(case):
    arrays = case.arrays()
    gy = seeds(case, arrays)
    direction = directions(case, arrays, 3)
    step = 1e-6
    up, down = (total(case, moved(arrays, direction, s), gy) for s in (step, -step))
    _, grads = gradients(case, arrays, gy)
    along = sum(np.sum(g.array * direction[i]) for i, g in zip(case.floats(arrays), grads))
    close(along, (up - down) / (2 * step), 1e-7)


@twice
def test_second_derivative(case):
    arrays = case.arrays()
    gy = seeds(case, arrays)
    weights = [d for d in directions(case, arrays, 4) if d is not None]
    direction = directions(case, arrays, 5)

    def slope(at):
        return sum(np.sum(g.array * w) for g, w in zip(gradients(case, at, gy)[1], weights))

    step = 1e-6
    wanted = (slope(moved(arrays, direction, step)) - slope(moved(arrays, direction, -step))) / (
        2 * step
    )
    with GradientTape() as outer:
        sources, grads = gradients(case, arrays, gy, outer)
        parts = [ops.sum(g * w) for g, w in zip(grads, weights)]
    seconds = outer.gradient(parts, sources, unconnected_gradients="zero")
    got = sum(np.sum(s.array * direction[i]) for i, s in zip(case.floats(arrays), seconds))
    close(got, wanted, 1e-6)


def run_plain(case, xp, arrays, gy):
    """Run the pair of array functions alone; return outputs and gradients."""
    floats = case.floats(case.arrays())
    y, saved = case.op.forward(xp, *arrays, **case.options)
    if case.op.pull is None or not floats:
        return outputs(y), []
    needs = [i in floats for i in range(len(arrays))]
    gxs = case.op.pull(xp, saved, tuple(gy) if isinstance(y, tuple) else gy[0], needs)
    return outputs(y), [unbroadcast(xp, gxs[i], arrays[i].shape) for i in floats]


@every
def test_nothing_is_written_to(case):
    """Inputs and the incoming gradient may be read-only, and stay as they were."""
    arrays = case.arrays()
    gy = seeds(case, arrays)
    given = [a for a in [*arrays, *gy] if isinstance(a, np.ndarray)]
    kept = [a.copy() for a in given]
    for a in given:
        a.flags.writeable = False
    run_plain(case, np, arrays, gy)
    for a, before in zip(given, kept):
        np.testing.assert_array_equal(a, before)


def strided(a):
    """Return an equal array whose elements don't lie side by side."""
    if not isinstance(a, np.ndarray) or not a.ndim:
        return a
    wide = np.zeros((*a.shape[::-1], 2), a.dtype)[..., 0].T
    wide[...] = a
    return wide


@every
def test_strided_inputs(case):
    arrays = case.arrays()
    gy = seeds(case, arrays)
    y, gx = run_plain(case, np, arrays, gy)
    y2, gx2 = run_plain(case, np, list(map(strided, arrays)), list(map(strided, gy)))
    for got, wanted in zip([*y2, *gx2], [*y, *gx]):
        close(got, wanted, 1e-12)


several = [c for c in with_gradient if len(c.floats(c.arrays())) > 1]


@pytest.mark.parametrize("case", several, ids=[c.name for c in several])
def test_unneeded_gradients_are_not_made(case):
    arrays = case.arrays()
    gy = seeds(case, arrays)
    y, saved = case.op.forward(np, *arrays, **case.options)
    for wanted in case.floats(arrays):
        needs = [i == wanted for i in range(len(arrays))]
        gxs = case.op.pull(np, saved, tuple(gy) if isinstance(y, tuple) else gy[0], needs)
        assert gxs[wanted] is not None
        for i, gx in enumerate(gxs):
            assert i == wanted or gx is None or gx is gy[0]


@every
def test_shape_rule(case):
    arrays = case.arrays()
    y = case.op(*arrays, **case.options)
    shapes = [a.shape if isinstance(a, np.ndarray) else () for a in arrays]
    inferred = case.op.infer(*shapes, **case.options)
    assert isinstance(inferred, list) == isinstance(y, tuple)
    real = [tuple(part.shape) for part in outputs(y)]
    assert (inferred if isinstance(inferred, list) else [inferred]) == real
    free = [(None, *s[1:]) if s[:1] == (3,) else s for s in shapes]
    inferred = case.op.infer(*free, **case.options)
    for shape, wanted in zip(inferred if isinstance(inferred, list) else [inferred], real):
        assert len(shape) == len(wanted)
        assert all(a is None or a == b for a, b in zip(shape, wanted))


@every
def test_on_strict_device(case):
    """Forward and backward run while a graph is captured, and agree with NumPy."""
    arrays = case.arrays("float32")
    gy = seeds(case, arrays)
    y, gx = run_plain(case, np, arrays, gy)
    with fake_device.fake_device() as device:
        put = [device.xp.asarray(a) if isinstance(a, np.ndarray) else a for a in arrays]
        seed = list(map(device.xp.asarray, gy))
        inputs = [Tensor(a) if isinstance(a, fake_device.FakeArray) else a for a in put]
        sorts = case.op.name == "ctc_greedy"  # which no captured step uses
        with contextlib.nullcontext() if sorts else fake_device.capture():
            y2, gx2 = run_plain(case, device.xp, put, seed)
            taped = outputs(case.op(*inputs, **case.options))
        for got, wanted in zip([*y2, *gx2, *taped], [*y, *gx, *y]):
            got = got.array if isinstance(got, Tensor) else got
            assert isinstance(got, fake_device.FakeArray)
            assert got.dtype == wanted.dtype
            close(fake_device.to_host(got), wanted, 2e-6)


def test_every_op_has_a_case():
    found = set()
    for _, name, _ in pkgutil.iter_modules(ops.__path__):
        module = importlib.import_module(f"gpunet.ops.{name}")
        found |= {v for v in vars(module).values() if isinstance(v, Op)}
    assert found
    assert not sorted(o.name for o in found - {c.op for c in CASES})


def test_names_are_unique():
    """Case names name tests; two of one name would hide each other in reports."""
    names = [c.name for c in CASES]
    assert len(set(names)) == len(names)


EXTREME = np.array([-1e30, -1e4, -745.0, -100.0, -88.8, -17.0, -1e-30, 0.0, 1e-8, 16.6, 89.0, 1e4])
TAME = [ops.sigmoid, ops.hard_sigmoid, ops.relu, ops.elu, ops.selu, ops.softplus, ops.softsign,
        ops.swish, ops.mish, ops.gelu, ops.erf, ops.tanh, ops.softmax, ops.log_softmax,
        ops.logsumexp, ops.arctan]  # fmt: skip


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("op", TAME, ids=[o.name for o in TAME])
def test_no_overflow(op, dtype):
    largest = {"float16": 250.0, "float32": 1e12, "float64": 1e30}[dtype]
    x = np.clip(EXTREME, -largest, largest).astype(dtype)
    with warnings.catch_warnings(), np.errstate(over="raise", divide="raise", invalid="raise"):
        warnings.simplefilter("error")
        y, saved = op.forward(np, x)
        (gx,) = op.pull(np, saved, np.ones_like(y), [True])
    assert np.isfinite(y).all() and np.isfinite(gx).all()
