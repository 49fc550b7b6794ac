"""GradientTape and what is below it: the record, the walk back, gradients of one's own."""

import asyncio
import copy
import pickle
import threading

import numpy as np
import pytest

from gpunet import GradientTape, Variable, convert_to_tensor, custom_gradient, ops
from gpunet.autodiff import Op, Tape, differentiable, no_tape, recording, taped, unbroadcast
from gpunet.errors import ShapeError
from gpunet.layers import Input
from gpunet.tensor import Tensor


def tensor(*values, dtype="float64"):
    return Tensor(np.array(values, dtype))


def slope(f, *xs):
    """Return the gradients of a function of tensors as numpy arrays."""
    with GradientTape() as tape:
        tape.watch(list(xs))
        y = f(*xs)
    grads = tape.gradient(y, list(xs))
    return [None if g is None else g.numpy() for g in grads]


@pytest.fixture(autouse=True)
def no_tape_is_left():
    yield
    assert not recording()


# -- what is watched --------------------------------------------------------------------


def test_trainable_variables_are_watched():
    w, frozen = Variable([2.0, 3.0]), Variable([4.0, 5.0], trainable=False)
    with GradientTape() as tape:
        y = ops.sum(w * frozen)
    gw, gf = tape.gradient(y, [w, frozen])
    assert gw.numpy().tolist() == [4.0, 5.0] and gf is None


def test_accessed_variables_can_be_left_out():
    w, v = Variable([2.0]), Variable([3.0])
    with GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(v)
        half = w * 0.5
        y = w * v + half
    gw, gv, gh = tape.gradient(y, [w, v, half])
    assert gw is None and gh is None and gv.numpy().tolist() == [2.0]


def test_another_tape_does_not_watch():
    """A tensor that one tape watched counts as a constant for the next."""
    x = tensor(2.0)
    with GradientTape() as first:
        first.watch(x)
        y = x * x
    with GradientTape() as second:
        z = x * x
    assert second.gradient(z, x) is None
    assert first.gradient(y, x).numpy().tolist() == [4.0]


def test_frozen_variable_can_be_watched():
    w = Variable([2.0], trainable=False)
    with GradientTape() as tape:
        tape.watch(w)
        y = w * w
    assert tape.gradient(y, w).numpy().tolist() == [4.0]


@pytest.mark.parametrize("wrong", [tensor(1, dtype="int32"), np.zeros(2), 1.0, "x"], ids=str)
def test_watch_wants_float_tensors(wrong):
    with GradientTape() as tape, pytest.raises(TypeError, match="floating-point tensor, got"):
        tape.watch(wrong)


def test_watch_takes_nests():
    x, y = tensor(2.0), tensor(3.0)
    with GradientTape() as tape:
        tape.watch({"a": [x], "b": (y,)})
        z = x * y
    assert [g.item() for g in tape.gradient(z, [x, y])] == [3.0, 2.0]


def test_watched_variables():
    w, v, frozen = Variable([1.0]), Variable([2.0]), Variable([3.0], trainable=False)
    x = tensor(1.0)
    with GradientTape() as tape:
        tape.watch(x)
        _ = v * w * frozen * x
        assert [id(a) for a in tape.watched_variables()] == [id(v), id(w)]
    with GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(w)
        _ = v * w
    assert [id(a) for a in tape.watched_variables()] == [id(w)]
    assert GradientTape().watched_variables() == ()


# -- sources and targets ----------------------------------------------------------------


def test_structures():
    x, y = tensor(2.0), tensor(3.0)
    with GradientTape() as tape:
        tape.watch([x, y])
        z = [x * y, {"s": x + y}]
    grads = tape.gradient(z, {"a": (x,), "b": [y, x]})
    assert grads["a"][0].item() == 4.0
    assert [g.item() for g in grads["b"]] == [3.0, 4.0]
    assert isinstance(grads["a"], tuple) and isinstance(grads["b"], list)


def test_target_is_the_source():
    x = tensor(2.0, 3.0)
    with GradientTape() as tape:
        tape.watch(x)
        _ = x * x
    assert tape.gradient(x, x).numpy().tolist() == [1.0, 1.0]


def test_intermediate_source_keeps_its_own_gradient():
    x = tensor(2.0)
    with GradientTape() as tape:
        tape.watch(x)
        y = x * x
        z = y * y * 3
    gx, gy = tape.gradient(z, [x, y])
    assert gy.item() == 6 * 4 and gx.item() == 6 * 4 * 4


def test_several_targets_and_one_twice():
    x = tensor(2.0)
    with GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = x * x
    assert tape.gradient([y, y], x).item() == 8.0
    assert tape.gradient([y, x], x).item() == 5.0


def test_same_tensor_twice():
    x = tensor(3.0, -2.0)
    assert slope(lambda x: x * x + x, x)[0].tolist() == [7.0, -3.0]
    assert slope(lambda x: ops.concat(x, x, x, axis=0), x)[0].tolist() == [3.0, 3.0]


def test_unconnected():
    x, y = tensor(2.0), tensor(np.inf, np.nan)
    with GradientTape(persistent=True) as tape:
        tape.watch([x, y])
        z = x * x
    assert tape.gradient(z, y) is None
    assert tape.gradient(z, y, unconnected_gradients="zero").numpy().tolist() == [0.0, 0.0]
    assert tape.gradient(z, tensor(1.0)) is None
    with pytest.raises(ValueError, match="expected 'none' or 'zero', got 'maybe'"):
        tape.gradient(z, y, unconnected_gradients="maybe")


def test_output_gradients():
    x = tensor(2.0, 3.0)
    with GradientTape(persistent=True) as tape:
        tape.watch(x)
        y, z = x * x, x + 1
    for given in (tensor(1.0, 10.0), np.array([1.0, 10.0]), [1.0, 10.0], [tensor(1.0, 10.0)]):
        assert tape.gradient(y, x, given).numpy().tolist() == [4.0, 60.0]
    assert tape.gradient([y, z], x, [tensor(1.0, 1.0), None]).numpy().tolist() == [5.0, 7.0]
    with pytest.raises(ShapeError, match=r"expected shape \(2,\), got \(3,\)"):
        tape.gradient(y, x, tensor(1.0, 2.0, 3.0))
    with pytest.raises(ValueError, match="expected 2, one for each target, got 1"):
        tape.gradient([y, z], x, [tensor(1.0, 1.0)])


@pytest.mark.parametrize(
    ("target", "sources", "what"), [(1.0, None, "targets"), (None, 1.0, "sources")]
)
def test_only_tensors(target, sources, what):
    x = tensor(1.0)
    with GradientTape() as tape:
        tape.watch(x)
        y = x * x
    with pytest.raises(TypeError, match=f"expected tensors as {what}, got float"):
        tape.gradient(y if target is None else target, x if sources is None else sources)


# -- life of a tape ---------------------------------------------------------------------


def test_used_up():
    x = tensor(2.0)
    with GradientTape() as tape:
        tape.watch(x)
        y = x * x
    tape.gradient(y, x)
    with pytest.raises(ValueError, match="used up.*persistent=True"):
        tape.gradient(y, x)
    with pytest.raises(ValueError, match="nothing was recorded"):
        GradientTape().gradient(y, x)


def test_persistent():
    x = tensor(3.0)
    with GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = x * x
        z = y * y
    assert tape.gradient(z, x).item() == 108.0
    assert tape.gradient(y, x).item() == 6.0
    assert tape.gradient(z, y).item() == 18.0


@pytest.mark.parametrize("persistent", [False, True])
def test_gradient_inside_the_with(persistent):
    x = tensor(3.0)
    with GradientTape(persistent=persistent) as tape:
        tape.watch(x)
        y = x * x
        assert tape.gradient(y, x).item() == 6.0
        assert recording() is persistent


def test_persistent_tape_records_its_own_gradient():
    x = tensor(3.0)
    with GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = x * x * x
        first = tape.gradient(y, x)
    assert tape.gradient(first, x).item() == 18.0


def test_a_tape_goes_on_where_it_stopped():
    x = tensor(3.0)
    tape = GradientTape()
    tape.watch(x)
    with tape:
        y = x * x
    _ = y * 100
    with tape:
        z = y * 2
        with pytest.raises(ValueError, match="recording already"):
            tape.__enter__()
    assert tape.gradient(z, x).item() == 12.0


def test_reset():
    x = tensor(3.0)
    with GradientTape() as tape:
        tape.watch(x)
        y = x * x
        tape.reset()
        tape.watch(x)
        z = x * 2
    assert tape.gradient([y, z], x).item() == 2.0


def test_stop_recording():
    x = tensor(3.0)
    with GradientTape() as outer, GradientTape() as inner:
        outer.watch(x)
        inner.watch(x)
        y = x * x
        with inner.stop_recording():
            z = y * y
        a = y + 0
    assert inner.gradient([z, a], x).item() == 6.0
    assert outer.gradient(z, x).item() == 108.0


def test_gradient_inside_stop_recording():
    x = tensor(3.0)
    with GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = x * x
        with tape.stop_recording():
            assert not recording()
            assert tape.gradient(y, x).item() == 6.0
        assert recording()


def test_exception_leaves_no_tape():
    with pytest.raises(KeyError), GradientTape(), GradientTape():
        assert recording()
        raise KeyError
    assert not recording()


def test_tapes_may_end_in_any_order():
    x = tensor(3.0)
    outer, inner = GradientTape(), GradientTape()
    outer.__enter__()
    inner.__enter__()
    outer.watch(x)
    inner.watch(x)
    y = x * x
    outer.__exit__()
    z = y * x
    inner.__exit__()
    assert not recording()
    assert outer.gradient(z, x) is None and inner.gradient(z, x).item() == 27.0


def test_a_tape_used_up_in_a_pause_stays_so():
    x = tensor(3.0)
    with GradientTape() as tape:
        tape.watch(x)
        y = x * x
        with no_tape():
            assert tape.gradient(y, x).item() == 6.0
        assert not recording()


def test_entries_are_let_go():
    x = tensor(3.0)
    tape = Tape()
    x.tracked = True
    tape.start()
    y = ops.exp(x * x)
    tape.stop()
    assert len(tape.entries) == 2
    (g,) = tape.pull({id(y): np.ones(1)}, [x])
    assert not tape.entries
    np.testing.assert_allclose(g, 6 * np.exp(9.0))


# -- nesting ----------------------------------------------------------------------------


def test_higher_derivatives():
    x = tensor(1.5)
    with GradientTape() as t3:
        t3.watch(x)
        with GradientTape() as t2:
            t2.watch(x)
            with GradientTape() as t1:
                t1.watch(x)
                y = x**4 + ops.sin(x)
            first = t1.gradient(y, x)
        second = t2.gradient(first, x)
    third = t3.gradient(second, x)
    np.testing.assert_allclose(first, 4 * 1.5**3 + np.cos(1.5))
    np.testing.assert_allclose(second, 12 * 1.5**2 - np.sin(1.5))
    np.testing.assert_allclose(third, 24 * 1.5 - np.cos(1.5))


def test_mixed_second_derivative():
    x, y = tensor(2.0), tensor(3.0)
    with GradientTape(persistent=True) as outer:
        outer.watch([x, y])
        with GradientTape() as inner:
            inner.watch(x)
            z = x * x * y
        gx = inner.gradient(z, x)
    assert outer.gradient(gx, y).item() == 4.0
    assert outer.gradient(gx, x).item() == 6.0
    assert outer.gradient(z, y).item() == 4.0


def test_second_derivative_with_arrays_lists_and_broadcasting():
    x = tensor([1.0, 2.0], [3.0, 4.0])
    b = tensor(2.0, 3.0)

    def f(x, b):
        return ops.sum(x * x * [2.0, 1.0] * b + np.ones((2, 2)) * x * np.float64(3.0))

    with GradientTape() as outer:
        outer.watch([x, b])
        with GradientTape() as inner:
            inner.watch([x, b])
            z = f(x, b)
        gx, gb = inner.gradient(z, [x, b])
        total = ops.sum(gx) + ops.sum(gb)
    hx, hb = outer.gradient(total, [x, b])
    scale = np.array([2.0, 1.0])
    np.testing.assert_allclose(hx, 2 * scale * b.numpy() + 2 * scale * x.numpy())
    np.testing.assert_allclose(hb, (2 * scale * x.numpy()).sum(0))


def test_gradient_penalty():
    """The classic use: the norm of a gradient is part of the loss."""
    w = Variable(np.array([[1.0, -2.0], [0.5, 3.0]]))
    x = tensor([0.3, 0.7], [1.0, -1.0])

    def penalty():
        with GradientTape() as inner:
            inner.watch(x)
            y = ops.sum(ops.tanh(ops.matmul(x, w)))
        g = inner.gradient(y, x)
        return ops.sum(g * g)

    with GradientTape() as tape:
        loss = penalty()
    got = tape.gradient(loss, w).numpy()
    for i in np.ndindex(2, 2):
        values = []
        for step in (1e-6, -1e-6):
            w.array[i] += step
            values.append(penalty().item())
            w.array[i] -= step
        np.testing.assert_allclose(got[i], (values[0] - values[1]) / 2e-6, rtol=1e-6)


def test_gradient_of_a_gradient_with_respect_to_its_seed():
    """Two backward walks make one forward derivative."""
    x, direction = tensor(2.0, 3.0), tensor(1.0, 10.0)
    seed = Tensor(np.zeros(2))
    with GradientTape() as outer:
        outer.watch(seed)
        with GradientTape() as inner:
            inner.watch(x)
            y = x * x
        g = inner.gradient(y, x, seed)
    assert outer.gradient(g, seed, direction).numpy().tolist() == [4.0, 60.0]


# -- numbers ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [
        ((3,), (3,)),
        ((1, 3), (1, 3)),
        ((2, 1), (2, 1)),
        ((), ()),
        ((4, 1, 1), (4, 1, 1)),
        ((1,), (1,)),
    ],
)
def test_broadcasting_is_summed(shape, wanted, rng):
    x, big = Tensor(rng.normal(size=shape)), Tensor(rng.normal(size=(4, 2, 3)))
    (g,) = slope(lambda x: ops.sum(x * big), x)
    assert g.shape == wanted
    ones = np.broadcast_to(np.ones(shape), big.shape)
    check = unbroadcast(np, big.array * ones, shape)
    np.testing.assert_allclose(g, check)
    np.testing.assert_allclose(np.sum(g), np.sum(big.array))


def test_unbroadcast_of_empty_arrays():
    assert unbroadcast(np, np.zeros((0, 3)), (3,)).tolist() == [0, 0, 0]
    assert unbroadcast(np, np.zeros((0, 3)), (1, 3)).shape == (1, 3)


def test_integers_get_no_gradient_and_take_the_float_type():
    x, n = tensor(1.5, dtype="float32"), tensor(2, dtype="int32")
    with GradientTape() as tape:
        tape.watch(x)
        y = x * n + n
    assert y.dtype == "float32"
    gx, gn = tape.gradient(y, [x, n])
    assert gx.dtype == "float32" and gx.item() == 2.0 and gn is None


def test_no_gradient_through_integers():
    x = tensor(1.5)
    (g,) = slope(lambda x: ops.cast(ops.cast(x, "int32"), "float64") * 2, x)
    assert g is None


def test_precisions_meet():
    x, y = tensor(1.5, dtype="float32"), tensor(2.5, dtype="float64")
    with GradientTape() as tape:
        tape.watch([x, y])
        z = x * y
    gx, gy = tape.gradient(z, [x, y])
    assert (z.dtype, gx.dtype, gy.dtype) == ("float64", "float32", "float64")


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(), (1,), (2, 2)])
@pytest.mark.parametrize("number", [2, 0.1, True, np.float64(0.1)], ids=repr)
def test_python_numbers_are_weak(dtype, shape, number):
    x = Tensor(np.full(shape, 1.5, dtype))
    for f in (ops.add, ops.subtract, ops.multiply, ops.divide, ops.maximum, ops.power):
        for y in (f(x, number), f(number, x)):
            assert y.dtype == dtype
        (g,) = slope(lambda x, f=f: f(x, number), x)
        assert g.dtype == dtype
    for y in (ops.sigmoid(x), ops.hard_sigmoid(x), ops.gelu(x), ops.softplus(x) * 0.5 + 1):
        assert y.dtype == dtype


def test_numbers_alone():
    assert ops.add(1, 2).dtype == "int32" and ops.add(1, 2).item() == 3
    assert ops.add(1, 2.5).dtype == "float32" and ops.add(1, 2.5).item() == 3.5
    assert ops.logical_and(True, False).dtype == "bool"
    assert ops.add(True, 2).item() == 3


def test_integer_array_and_python_float():
    assert ops.multiply(np.array([1, 2], "int32"), 0.5).dtype == "float32"
    assert ops.add(np.array([True]), 0.5).dtype == "float32"
    assert ops.add(np.array([1], "int32"), np.array([1.0], "float16")).dtype == "float16"


# -- arrays that must stay as they are --------------------------------------------------


def test_read_only_arrays_are_enough():
    x, seed = np.arange(3.0), np.ones(3)
    x.flags.writeable = seed.flags.writeable = False
    t = Tensor(x)
    with GradientTape() as tape:
        tape.watch(t)
        y = t + t + t * 2
    assert tape.gradient(y, t, Tensor(seed)).numpy().tolist() == [4.0] * 3


def test_sums_are_never_made_in_shared_arrays():
    """`add` hands the same gradient to both inputs, and the seed is the caller's."""
    x, y, seed = tensor(1.0, 2.0), tensor(3.0, 4.0), np.array([1.0, 1.0])
    with GradientTape(persistent=True) as tape:
        tape.watch([x, y])
        a = x + y
        z = a + x
        z = z + x
        z = z + x
    for _ in range(2):
        ga, gx, gy = tape.gradient(z, [a, x, y], Tensor(seed))
        assert (ga.numpy().tolist(), gx.numpy().tolist(), gy.numpy().tolist()) == (
            [1.0, 1.0],
            [4.0, 4.0],
            [1.0, 1.0],
        )
    assert seed.tolist() == [1.0, 1.0]


def test_scalars_add_up():
    x = Tensor(np.float32(3))
    assert slope(lambda x: x * x + x + x + x, x)[0] == 9


# -- jacobian ---------------------------------------------------------------------------


@pytest.mark.parametrize("persistent", [False, True])
def test_jacobian(persistent, rng):
    x = Tensor(rng.normal(size=(2, 3)))
    w = Tensor(rng.normal(size=(3, 2)))

    def f(x):
        return ops.tanh(ops.matmul(x, w))

    with GradientTape(persistent=persistent) as tape:
        tape.watch(x)
        y = f(x)
    other = tensor(1.0)
    got = tape.jacobian(y, {"x": x, "none": other})
    assert got["none"] is None and got["x"].shape == (2, 2, 2, 3)
    for i in np.ndindex(2, 3):
        step = np.zeros((2, 3))
        step[i] = 1e-6
        up, down = f(Tensor(x.array + step)).numpy(), f(Tensor(x.array - step)).numpy()
        np.testing.assert_allclose(
            got["x"].numpy()[:, :, i[0], i[1]], (up - down) / 2e-6, atol=1e-8
        )


def test_jacobian_of_a_gradient_is_the_hessian():
    x = tensor(1.0, 2.0)
    with GradientTape() as outer:
        outer.watch(x)
        with GradientTape() as inner:
            inner.watch(x)
            y = x[0] * x[0] * x[1]
        g = inner.gradient(y, x)
    np.testing.assert_allclose(outer.jacobian(g, x), [[4.0, 2.0], [2.0, 0.0]])


def test_jacobian_inside_another_tape():
    x = tensor(1.0, 2.0)
    with GradientTape() as outer:
        outer.watch(x)
        with GradientTape() as inner:
            inner.watch(x)
            y = x**3
        j = inner.jacobian(y, x)
        total = ops.sum(j)
    np.testing.assert_allclose(outer.gradient(total, x), 6 * x.numpy())


def test_jacobian_of_nothing():
    x, empty = tensor(1.0, 2.0), Tensor(np.zeros((0,)))
    with GradientTape() as tape:
        tape.watch(x)
    assert tape.jacobian(empty, x).shape == (0, 2)


# -- constants and gradients of one's own -----------------------------------------------


def test_stop_gradient():
    x = tensor(3.0)
    assert slope(lambda x: x * ops.stop_gradient(x), x)[0].tolist() == [3.0]
    assert slope(lambda x: ops.stop_gradient(x) * 2, x) == [None]


def log1pexp():
    @custom_gradient
    def log1pexp(x):
        e = ops.exp(x)

        def grad(gy):
            return gy * (1 - 1 / (1 + e))

        return ops.log(1 + e), grad

    return log1pexp


def test_custom_gradient():
    f = log1pexp()
    x = tensor(100.0, 0.0)
    with np.errstate(over="ignore"):
        assert slope(f, x)[0].tolist() == [1.0, 0.5]
    assert f(1.0).item() == pytest.approx(np.log1p(np.e))
    assert f.__name__ == "log1pexp"


def test_custom_gradient_twice():
    f = log1pexp()
    x = tensor(0.7)
    with GradientTape() as outer:
        outer.watch(x)
        with GradientTape() as inner:
            inner.watch(x)
            y = f(x * 2)
        g = inner.gradient(y, x)
    s = 1 / (1 + np.exp(-1.4))
    np.testing.assert_allclose(g, 2 * s)
    np.testing.assert_allclose(outer.gradient(g, x), 4 * s * (1 - s))


def test_custom_gradient_takes_the_place_of_the_real_one():
    @custom_gradient
    def reversed_identity(x):
        return x, lambda gy: -gy

    assert slope(lambda x: reversed_identity(x) * 3, tensor(1.0))[0].tolist() == [-3.0]


@pytest.mark.parametrize("kind", [tuple, list])
def test_custom_gradient_of_several(kind):
    @custom_gradient
    def both(x, y):
        def grad(gs, gp):
            return gs + gp * y, None

        return kind((x + y, x * y)), grad

    x, y = tensor(2.0), tensor(3.0)
    assert type(both(x, y)) is kind
    gx, gy = slope(lambda x, y: both(x, y)[1], x, y)  # the sum gets no gradient: zeros
    assert gx.tolist() == [3.0] and gy is None


def test_custom_gradient_errors():
    @custom_gradient
    def many(x):
        return x * 2, lambda gy: (gy, gy)

    @custom_gradient
    def misshapen(x):
        return x * 2, lambda gy: ops.sum(gy)

    with pytest.raises(ValueError, match="'many': expected 1 gradients, one for each.*got 2"):
        slope(many, tensor(1.0))
    with pytest.raises(ShapeError, match=r"'misshapen'.*shape \(2,\).*got \(\)"):
        slope(misshapen, tensor(1.0, 2.0))
    with pytest.raises(TypeError, match="'many'.*inside a Lambda layer"):
        many(Input((3,)))


# -- threads and tasks ------------------------------------------------------------------


def test_threads_have_their_own_tapes():
    x = Variable([3.0])
    meet = threading.Barrier(2)
    results = {}

    def work(n):
        assert not recording()
        with GradientTape() as tape:
            meet.wait()
            y = x * n
            meet.wait()
        results[n] = (tape.gradient(y, x).item(), recording())

    with GradientTape() as tape:
        threads = [threading.Thread(target=work, args=(n,)) for n in (2, 5)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        y = x * x
        assert len(tape._tape.entries) == 1
    assert results == {2: (2.0, False), 5: (5.0, False)}
    assert tape.gradient(y, x).item() == 6.0


def test_tasks_have_their_own_tapes():
    x = Variable([3.0])

    async def work(n):
        with GradientTape() as tape:
            for _ in range(3):
                y = x * n
                await asyncio.sleep(0)
            count = len(tape._tape.entries)
        return tape.gradient(y, x).item(), count, recording()

    async def both():
        return await asyncio.gather(work(2), work(5))

    assert asyncio.run(both()) == [(2.0, 3, False), (5.0, 3, False)]


# -- ops --------------------------------------------------------------------------------


def test_arguments_by_name_and_place():
    x = tensor(1.5)
    assert ops.cast(x, "float32").dtype == "float32"
    assert ops.subtract(y=x, x=3.0).item() == 1.5
    assert ops.clip(x, max_value=1.0).item() == 1.0
    for wrong in ({"x": x, "z": 1}, {"y": x}):
        with pytest.raises(TypeError, match="op 'subtract'"):
            ops.subtract(**wrong)


@pytest.mark.parametrize(
    "wrong", ["text", object(), np.array(["a"]), 1j, np.array([None])], ids=str
)
def test_ops_take_numbers(wrong):
    with pytest.raises(TypeError, match="op 'add': expected"):
        ops.add(tensor(1.0), wrong)


def test_lists_of_tensors_keep_their_gradient():
    x, y = tensor(2.0), tensor(3.0)
    gx, gy = slope(lambda x, y: ops.sum([[x * x, y], [y, y]]), x, y)
    assert (gx.tolist(), gy.tolist()) == ([4.0], [3.0])
    stacked = convert_to_tensor([Input((3,)), Input((3,))])
    assert tuple(stacked.shape) == (2, None, 3)


def test_ops_are_pickled_and_copied_by_name():
    assert pickle.loads(pickle.dumps(ops.add)) is ops.add
    assert copy.deepcopy(ops.add) is ops.add and copy.copy(ops.add) is ops.add
    assert repr(ops.add) == "<op add>" and isinstance(ops.add, Op)


def test_op_of_ones_own():
    @differentiable
    def both(xp, x, /, *, scale=2.0):
        return (x * scale, x * x), (x, scale)

    @both.backward
    def both_backward(xp, saved, gy, needs):
        x, scale = saved
        first, second = gy
        return (
            (0 if first is None else first * scale) + (0 if second is None else second * (2 * x)),
        )

    x = tensor(3.0)
    assert slope(lambda x: both(x)[1], x)[0].tolist() == [6.0]
    assert slope(lambda x: both(x, scale=5.0)[0], x)[0].tolist() == [5.0]
    assert slope(lambda x: list(both(x)), x)[0].tolist() == [8.0]


def test_untaped_functions_are_named():
    with pytest.raises(AttributeError, match="xp.fft, which has no taped form"):
        _ = taped.fft
