"""Variables: lazy storage, its layout, and writing in place."""

import copy
import pickle
import threading
import time

import fake_device
import numpy as np
import pytest

from gpunet import GradientTape, constraints, device, initializers, ops, regularizers
from gpunet.errors import ShapeError
from gpunet.tensor import Tensor
from gpunet.variables import Variable, allocate, runs, viewing


class Counting:
    """An initializer that counts its calls."""

    def __init__(self, value=1.0):
        self.calls, self.value = 0, value

    def __call__(self, shape, dtype):
        self.calls += 1
        return Tensor(np.full(shape, self.value, dtype))


def lazy(*shape, value=1.0, dtype="float32", **options):
    return Variable(Counting(value), shape, dtype, **options)


def starts(run):
    return [start for start, _ in run.bounds]


# -- values made when they are needed -------------------------------------------------------


def test_nothing_is_made_before_it_is_read():
    made = Counting(3.0)
    w = Variable(made, (2, 3), "float64", name="w")
    assert not w.allocated and repr(w) == "<Variable 'w' (2, 3) float64>"
    assert (w.shape, w.ndim, w.size, w.dtype) == ((2, 3), 2, 6, "float64")
    assert w.trainable and w.tracked and made.calls == 0
    assert w.numpy().tolist() == [[3.0] * 3] * 2 and w.allocated
    assert w.array is w.array and made.calls == 1


@pytest.mark.parametrize(
    "read",
    [lambda w: w + 1, lambda w: float(w[0]), len, np.asarray, lambda w: w.assign_add(1.0), list,
     copy.deepcopy, Variable.tolist],
)  # fmt: skip
def test_reads_make_values_once(read):
    made = Counting()
    w = Variable(made, (2,), "float32")
    read(w)
    read(w)
    assert made.calls == 1


def test_assigning_first_makes_no_initial_values():
    made = Counting()
    w = Variable(made, (2,), "float32")
    w.assign([5.0, 6.0])
    assert w.tolist() == [5, 6] and made.calls == 0


def test_initializers_of_the_wrong_shape():
    w = Variable(lambda shape, dtype: Tensor(np.zeros(3)), (2,), "float32", name="w")
    for _ in range(2):
        with pytest.raises(ShapeError, match=r"variable 'w': expected shape \(2,\), got \(3,\)"):
            w.numpy()
    assert not w.allocated


def test_a_function_needs_a_shape():
    with pytest.raises(TypeError, match="'w': a function as initial value needs a shape"):
        Variable(Counting(), name="w")
    assert Variable(Counting(), (1,)).dtype == "float32"


def test_an_initializer_may_read_another_variable():
    first = lazy(2, value=2.0)
    second = Variable(lambda shape, dtype: first * 2, (2,), "float32")
    third = Variable(lambda shape, dtype: fourth + 1, (2,), "float32")
    fourth = lazy(2, value=5.0)
    allocate([second, first, third, fourth])
    assert [v.tolist() for v in (first, second, third, fourth)] == [
        [2, 2],
        [4, 4],
        [6, 6],
        [5, 5],
    ]


def test_two_threads_get_the_same_storage():
    class Slow(Counting):
        def __call__(self, shape, dtype):
            time.sleep(0.02)
            return super().__call__(shape, dtype)

    made = Slow()
    w = Variable(made, (3,), "float32")
    start, seen = threading.Barrier(4), []

    def read():
        start.wait()
        seen.append(w.array)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert made.calls == 1 and len({a.__array_interface__["data"][0] for a in seen}) == 1


def test_storage_is_on_the_device_of_the_construction():
    with fake_device.fake_device():
        w = Variable(lambda shape, dtype: ops.ones_like(np.zeros(shape, dtype)), (2,), "float32")
        with device("cpu"):
            assert isinstance(w.array, fake_device.FakeArray)
            host = lazy(2)
        assert type(host.array) is np.ndarray


# -- made from values -----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32", "bool"])
def test_made_from_an_array(dtype):
    given = np.array([[0, 1], [1, 0]]).astype(dtype)
    given.flags.writeable = False
    w = Variable(given)
    w.assign(1 - given.astype("int32"))
    assert w.dtype == dtype and w.allocated and given[0, 0] == 0
    assert w.trainable and w.tracked == (w.dtype.kind == "f")


def test_made_from_other_values():
    assert Variable([1.0, 2.0]).dtype == "float32" and Variable(3).dtype == "int32"
    assert Variable(3).shape == () and Variable(2.5, dtype="float64").item() == 2.5
    assert Variable(Variable([1.0])).tolist() == [1.0]
    assert Variable(Tensor(np.zeros(2))).dtype == "float64"


def test_trainable():
    w = Variable([1.0], trainable=False)
    assert not w.tracked
    w.trainable = 1
    assert w.trainable is True and w.tracked


def test_tensorflow_idioms():
    w = Variable([1.0])
    assert w.value() is w and w.read_value() is w and w.initializer is None
    w.anything = 3
    assert w.anything == 3
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = w.nothing


# -- writing --------------------------------------------------------------------------------


def test_assignments_write_in_place():
    w = Variable([1.0, 2.0])
    array = w.array
    assert w.assign([3, 4]) is w and w.assign_add(Tensor(np.ones(2))) is w
    assert w.assign_sub(np.float64(2)) is w and w.assign_add(0.5, read_value=False) is w
    assert w.array is array and array.tolist() == [2.5, 3.5] and w.dtype == "float32"
    w.assign(7)
    assert w.tolist() == [7, 7]
    scalar = Variable(1.0)
    scalar.assign_add(1)
    assert scalar.item() == 2 and scalar.array.shape == ()
    count = Variable(1)
    count.assign_add(1.0)
    assert count.item() == 2 and count.dtype == "int32"


def test_assigning_itself_turned_round():
    w = Variable([1.0, 2.0, 3.0])
    w.assign(w[::-1])
    assert w.tolist() == [3, 2, 1]


@pytest.mark.parametrize("method", ["assign", "assign_add", "assign_sub"])
@pytest.mark.parametrize("allocated", [False, True])
@pytest.mark.parametrize(
    ("wrong", "error", "text"),
    [
        ([1.0], ShapeError, r"expected shape \(2,\), got \(1,\)"),
        (np.zeros((2, 1)), ShapeError, r"expected shape \(2,\), got \(2, 1\)"),
        (Tensor(np.zeros(3)), ShapeError, r"expected shape \(2,\), got \(3,\)"),
        (["a", "b"], TypeError, "expected numbers, got"),
        (np.array(["a", "b"]), TypeError, "expected numbers, got"),
        (None, TypeError, "expected numbers, got object"),
    ],
)
def test_wrong_values_change_nothing(method, allocated, wrong, error, text):
    made = Counting(4.0)
    w = Variable(made, (2,), "float32", name="w")
    if allocated:
        w.numpy()
    with pytest.raises(error, match=f"{method} to variable 'w': {text}"):
        getattr(w, method)(wrong)
    assert w.allocated is allocated and w.tolist() == [4, 4]


def test_numbers_are_assigned_without_a_copy_from_the_host():
    with fake_device.fake_device():
        w = Variable([1.0, 2.0])
        with fake_device.capture():
            w.assign_add(1)
            w.assign_sub(0.5)
        assert fake_device.to_host(w.array).tolist() == [1.5, 2.5]


# -- copies ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make", [copy.copy, copy.deepcopy, lambda v: pickle.loads(pickle.dumps(v))]
)
def test_copies(make):
    w = Variable(np.array([1.0, 2.0]), name="w", trainable=False,
                 constraint=constraints.NonNeg(), regularizer=regularizers.L1(0.5))  # fmt: skip
    v = make(w)
    assert type(v) is Variable and (v.name, v.trainable, v.dtype) == ("w", False, "float64")
    assert type(v.constraint) is constraints.NonNeg and v.regularizer(v).item() == 1.5
    v.assign([5.0, 6.0])
    assert w.tolist() == [1.0, 2.0]


def test_a_copy_of_what_was_not_made_yet_is_equal():
    w = Variable(
        lambda shape, dtype: Tensor(np.random.default_rng().random(shape)), (3,), "float64"
    )
    assert copy.deepcopy(w).tolist() == w.tolist()


# -- layout ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_neighbours_make_one_run(dtype):
    weights = [lazy(3, 5, dtype=dtype), lazy(dtype=dtype), lazy(7, dtype=dtype)]
    (run,) = runs(weights)
    assert run.variables == weights or [id(v) for v in run.variables] == [id(v) for v in weights]
    step = 64 // np.dtype(dtype).itemsize
    assert starts(run) == [0, step * -(-15 // step), step * -(-15 // step) + step]
    for v, (start, stop) in zip(weights, run.bounds):
        assert np.shares_memory(run.flat[start:stop], v.array)
        assert v.array.ctypes.data % 16 == 0
    run.flat += 1
    assert all((v.numpy() == 2).all() for v in weights)


def test_padding_is_zero():
    (run,) = runs([lazy(3), lazy(2)])
    assert run.flat.tolist() == [1, 1, 1, *[0] * 13, 1, 1]


def test_types_and_roles_lie_apart():
    a, b, c, d = lazy(4), lazy(4, dtype="float64"), lazy(4), lazy(4, trainable=False)
    allocate([a, b, d, c])
    first, second = runs([a, c])[0], runs([b])[0]
    assert len(runs([a, c])) == 1 and first.flat.dtype == "float32"
    assert second.flat.dtype == "float64" and second.flat.size == 4
    assert not np.shares_memory(first.flat, d.array)


def test_a_frozen_one_between_neighbours_stays_out():
    a, frozen, b, c = lazy(20), lazy(3), lazy(5), lazy(6)
    allocate([a, frozen, b, c])
    found = runs([a, b, c])
    assert [len(r.variables) for r in found] == [1, 2]
    for r in found:
        r.flat += 1
    assert frozen.tolist() == [1, 1, 1] and c.tolist() == [2] * 6


def test_neighbours_in_another_order_are_still_found():
    a, b, c = lazy(20), lazy(3), lazy(5)
    allocate([a, b, c])
    assert [len(r.variables) for r in runs([c, a, b])] == [1, 2]
    assert [len(r.variables) for r in runs([b, c])] == [2]
    assert starts(runs([b, c])[0]) == [0, 16]


def test_variables_of_several_groups():
    """Weights that two models share are in the runs of both."""
    a, b, c = lazy(4), lazy(4), lazy(4)
    allocate([a, b])
    allocate([b, c])
    assert [len(r.variables) for r in runs([a, b])] == [2]
    assert [len(r.variables) for r in runs([b, c])] == [1, 1]
    runs([b, c])[0].flat += 5
    assert b.tolist() == [6] * 4 and a.tolist() == [1] * 4


def test_empty_and_scalar_variables():
    empty, scalar, last = lazy(0, 3), lazy(), lazy(2, 0)
    found = runs([empty, scalar, last])
    assert sum(len(r.variables) for r in found) == 3
    for r in found:
        r.flat += 1
        for v, (start, stop) in zip(r.variables, r.bounds):
            assert stop - start == v.size
    assert scalar.item() == 2 and empty.shape == (0, 3) and last.numpy().shape == (2, 0)
    assert [len(r.variables) for r in runs([lazy(0)])] == [1]
    assert runs([]) == []


def test_made_from_arrays_they_are_alone():
    a, b = Variable(np.ones((2, 3))), Variable(np.ones(3))
    found = runs([a, b])
    assert [r.bounds for r in found] == [[(0, 6)], [(0, 3)]]
    found[0].flat *= 4
    assert a.tolist() == [[4.0] * 3] * 2 and b.tolist() == [1.0] * 3


def test_views_are_found_by_their_address():
    like, flat = Variable([1.0]), np.arange(64, dtype="float32")
    a, b = viewing(flat[16:26].reshape(2, 5), like, "a"), viewing(flat[32:40], like, "b")
    (run,) = runs([a, b])
    assert run.bounds == [(0, 10), (16, 24)] and np.shares_memory(run.flat, flat)
    assert not a.trainable and a.tolist()[0] == [16, 17, 18, 19, 20]
    assert len(runs([viewing(flat[0:3], like, "c"), viewing(flat[4:8], like, "d")])) == 2
    with pytest.raises(ValueError, match="'e': expected storage in one piece"):
        viewing(flat[::2], like, "e")


def test_slices_do_not_confuse_addresses():
    a, b = lazy(4, 4), lazy(16)
    allocate([a, b])
    parts = [a[1:], b[::2], a[:, 0]]
    (run,) = runs([a, b])
    assert starts(run) == [0, 16] and len(parts) == 3


def test_allocating_again_changes_nothing():
    a, b = lazy(4), lazy(4)
    allocate([a, a, b])
    arrays = [a.array, b.array]
    allocate([b, a])
    assert a.array is arrays[0] and b.array is arrays[1]
    assert len(runs([a, b])) == 1


def test_writing_before_the_layout_is_made():
    a, b = lazy(4), lazy(4)
    allocate([a, b], fill=False)
    b.assign([1.0, 2.0, 3.0, 4.0])
    (run,) = runs([a, b])
    assert run.flat[16:].tolist() == [1, 2, 3, 4]


def test_gradients_flow_into_variables():
    w = lazy(3, value=2.0)
    with GradientTape() as tape:
        y = ops.sum(w * w)
    assert tape.gradient(y, w).tolist() == [4, 4, 4]


SHAPE = (600, 512)  # large: drawn in pieces, straight into its place


@pytest.mark.parametrize("kind", ["GlorotUniform", "TruncatedNormal", "RandomNormal", "Orthogonal"])
def test_large_values_are_those_that_the_initializer_gives(kind):
    initializer = getattr(initializers, kind)(seed=4)
    wanted = np.array(getattr(initializers, kind)(seed=4)(SHAPE))
    first = Variable(initializer.bind(SHAPE), SHAPE)
    other = Variable(initializers.Zeros().bind(SHAPE), SHAPE)
    allocate([first, other])
    np.testing.assert_array_equal(first.array, wanted)
    assert first.array.base is other.array.base and not other.array.any()


def test_what_a_users_initializer_keeps_is_no_weight():
    kept = []

    def initial(shape, dtype):
        kept.append(initializers.GlorotUniform(seed=1)(shape, dtype))
        return kept[-1]

    variable = Variable(initial, SHAPE)
    before = np.array(variable)
    variable.assign_add(1.0)
    np.testing.assert_array_equal(np.array(kept[0]), before)
