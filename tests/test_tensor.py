"""Tensor, Shape and what makes tensors of other values."""

import copy
import json
import pickle

import numpy as np
import pytest

from gpunet import GradientTape, Variable, config, convert_to_tensor, ops
from gpunet.errors import ShapeError
from gpunet.layers import Input
from gpunet.tensor import Shape, Tensor, as_array, value_of


def tensor(*values, dtype="float32"):
    return Tensor(np.array(values, dtype))


SCALAR = Tensor(np.array(2.5, "float32"))


# -- Shape ----------------------------------------------------------------------------------


def test_shape_is_a_tuple():
    shape = Tensor(np.zeros((2, 3))).shape
    assert isinstance(shape, tuple) and shape == (2, 3) and hash(shape) == hash((2, 3))
    assert {(2, 3): 1}[shape] == 1
    assert json.dumps(shape) == "[2, 3]"
    assert np.zeros(shape).shape == (2, 3)
    assert pickle.loads(pickle.dumps(shape)) == shape
    assert type(copy.deepcopy(shape)) is Shape


def test_old_idioms_of_shapes():
    shape = Input((28, 3)).shape
    assert shape == (None, 28, 3) and shape.as_list() == [None, 28, 3]
    assert type(shape.as_list()[1]) is int
    assert shape.ndims == shape.rank == len(shape) == 3
    assert shape.dims == [None, 28, 3]
    assert shape[1].value == 28 and shape[0] is None and shape[-1] == 3
    assert type(shape[1].value) is int
    assert isinstance(shape[1:], Shape) and shape[1:].as_list() == [28, 3]
    assert shape[1:][0].value == 28
    assert not shape.is_fully_defined() and shape[1:].is_fully_defined()
    assert shape.num_elements() is None and shape[1:].num_elements() == 84
    assert Shape(()).num_elements() == 1


def test_old_idioms_of_tensors():
    for t in (tensor(1, 2), Input((2,))):
        assert t.get_shape() == t.shape and t._keras_shape == tuple(t.shape)
        assert type(t._keras_shape) is tuple
        assert t.rank == t.ndim == len(t.shape)


@pytest.mark.parametrize(
    ("sizes", "text"),
    [((), "()"), ((3,), "(3,)"), ((None, 2), "(None, 2)"), ((2, 3), "(2, 3)")],
)
def test_shape_as_text(sizes, text):
    assert repr(Shape(sizes)) == str(Shape(sizes)) == f"{Shape(sizes)}" == text


# -- what a tensor says of itself -----------------------------------------------------------


def test_attributes():
    t = tensor([1, 2, 3], [4, 5, 6])
    assert (t.shape, t.ndim, t.size, t.device) == ((2, 3), 2, 6, "cpu")
    assert t.dtype == "float32" and t.dtype == np.float32 and t.dtype.name == "float32"
    assert t.tolist() == [[1, 2, 3], [4, 5, 6]]


def test_repr():
    assert repr(tensor(1, 2)) == "<Tensor (2,) float32: [1. 2.]>"
    assert repr(SCALAR) == "<Tensor () float32: 2.5>"
    assert repr(Variable([1.0], name="w")) == "<Variable 'w' (1,) float32>"
    assert "..." in repr(Tensor(np.zeros(5000)))


def test_format():
    assert f"{SCALAR:.3f}" == "2.500"
    assert f"{SCALAR}" == str(SCALAR) == repr(SCALAR)
    assert f"{tensor(7, dtype='int32'):4d}" == "   7"


def test_numbers():
    one = tensor([3])
    assert float(SCALAR) == 2.5 and int(SCALAR) == 2 and bool(SCALAR) and SCALAR.item() == 2.5
    assert float(one) == 3.0 and one.item() == 3.0
    assert not bool(tensor(0))
    assert type(SCALAR.item()) is float
    assert type(tensor(3, dtype="int64").item()) is int


@pytest.mark.parametrize("wrong", [tensor(1, 2), Tensor(np.zeros((0,)))], ids=["two", "none"])
@pytest.mark.parametrize("read", [float, int, bool, Tensor.item])
def test_no_single_number(read, wrong):
    with pytest.raises(ValueError, match="expected a tensor with one element, got one of shape"):
        read(wrong)


def test_index():
    n = Tensor(np.array(2))
    assert [10, 20, 30][n] == 30 and list(range(n)) == [0, 1]
    for wrong in (SCALAR, tensor(2, dtype="int32"), Tensor(np.array(True))):
        with pytest.raises(TypeError, match="only an integer tensor without axes"):
            [10, 20, 30][wrong]


def test_sequence():
    t = tensor([1, 2], [3, 4], [5, 6])
    assert len(t) == 3
    assert [row.tolist() for row in t] == t.tolist()
    a, b, c = t
    assert isinstance(c, Tensor) and c.tolist() == [5, 6]
    assert 2.0 in tensor(1, 2) and 7.0 not in tensor(1, 2)
    with pytest.raises(TypeError, match="no length"):
        len(SCALAR)
    with pytest.raises(TypeError, match="iterated"):
        iter(SCALAR)


def test_items_cannot_be_assigned():
    with pytest.raises(TypeError):
        tensor(1, 2)[0] = 3


# -- comparison -----------------------------------------------------------------------------


def test_comparison_is_elementwise():
    x = tensor(1, 2, 3)
    for y in (tensor(3, 2, 1), np.array([3.0, 2.0, 1.0]), [3, 2, 1]):
        assert (x == y).tolist() == [False, True, False]
        assert (x != y).tolist() == [True, False, True]
    assert (x < 2).tolist() == [True, False, False]
    assert (2 >= x).tolist() == [True, True, False]
    assert x is not None and not (x == "text") and x != "text"


def test_hash_is_identity():
    x, same = tensor(1, 2), tensor(1, 2)
    assert len({x, same, x}) == 2
    assert {x: "x", same: "same"}[same] == "same"
    assert x in {x} and same not in {x}


# -- NumPy, both ways -----------------------------------------------------------------------


def test_to_numpy():
    x = tensor(1, 2)
    assert type(x.numpy()) is np.ndarray and type(SCALAR.numpy()) is np.ndarray
    x.numpy()[:] = 0  # a copy
    np.array(x)[:] = 0
    assert x.tolist() == [1, 2]
    assert np.asarray(x).dtype == "float32" and np.asarray(x, "float64").dtype == "float64"
    assert np.asarray(x) is x.array
    assert np.stack([x, x]).shape == (2, 2) and np.std(x) == 0.5
    np.testing.assert_allclose(x, [1, 2])


def test_numpys_reductions():
    x = tensor([1, 2], [3, 5])
    assert np.sum(x).item() == 11 and np.max(x, axis=0).tolist() == [3, 5]
    assert np.mean(x, axis=1, keepdims=True).tolist() == [[1.5], [4]] and np.min(x).item() == 1
    assert np.sum(x, dtype="float64").dtype == "float64"
    with pytest.raises(TypeError, match="out"):
        np.sum(x, axis=0, out=np.zeros(2, "float32"))


def test_array_protocol():
    x = tensor(1, 2)
    assert x.__array__(copy=False) is x.array and x.__array__(copy=True) is not x.array
    with pytest.raises(ValueError, match="float32 can't become int32 without a copy"):
        x.__array__("int32", copy=False)


def test_a_variable_gives_snapshots():
    w = Variable([1.0, 2.0])
    before, text = np.asarray(w), w.numpy()
    w.assign_add([1.0, 1.0])
    assert before.tolist() == text.tolist() == [1.0, 2.0]
    assert np.asarray(w).tolist() == [2.0, 3.0]


OPERATIONS = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / b,
    "power": lambda a, b: a**b,
    "mod": lambda a, b: a % b,
    "less": lambda a, b: a < b,
    "matmul": lambda a, b: a @ b,
    "np.add": np.add,
    "np.multiply": np.multiply,
    "np.maximum": np.maximum,
    "np.power": np.power,
    "np.greater": np.greater,
}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_arrays_and_tensors_meet(operation):
    a, b = np.array([2.0, 3.0], "float32"), np.array([4.0, 2.0], "float32")
    wanted = operation(a, b)
    for got in (operation(Tensor(a), b), operation(a, Tensor(b)), operation(Tensor(a), Tensor(b))):
        assert isinstance(got, Tensor) and got.dtype == wanted.dtype
        np.testing.assert_allclose(got, wanted, rtol=1e-6)


@pytest.mark.parametrize("scalar", [np.float32(2), np.float64(2), np.int64(2), 2, 2.0], ids=repr)
def test_scalars_on_the_left(scalar):
    with GradientTape() as tape:
        x = tensor(1, 2)
        tape.watch(x)
        y = scalar * x + scalar
    assert isinstance(y, Tensor) and y.tolist() == [4, 6] and y.dtype == "float32"
    assert tape.gradient(y, x).tolist() == [2, 2]


def test_numpy_functions_are_recorded():
    x = tensor(0.5, 1)
    with GradientTape() as tape:
        tape.watch(x)
        y = np.exp(x) + np.sqrt(x) + np.absolute(x) + np.array([1, 2]) * x
    wanted = np.exp(x.array) + 0.5 / np.sqrt(x.array) + 1 + [1, 2]
    np.testing.assert_allclose(tape.gradient(y, x), wanted, rtol=1e-6)


def test_numpy_functions_without_an_op_give_arrays():
    x = tensor(0.5, 1)
    np.testing.assert_allclose(np.arcsin(x), np.arcsin(x.array))
    assert np.add.reduce(x) == 1.5
    into = np.zeros(2, "float32")
    into += x
    assert into.tolist() == [0.5, 1]
    with pytest.raises(TypeError):
        np.exp(Input((2,)) * np.array([1, 2]), where=[True, False])


# -- copies ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32", "bool"])
@pytest.mark.parametrize("make", [copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
def test_copies(make, dtype):
    x = Tensor(np.array([[0, 1], [2, 3]]).astype(dtype))
    x.tracked = dtype == "float32"
    y = make(x)
    assert type(y) is Tensor and y.dtype == x.dtype and not y.tracked
    assert not np.shares_memory(y.array, x.array)
    np.testing.assert_array_equal(y, x)


def test_shallow_copy_shares():
    x = tensor(1, 2)
    assert copy.copy(x) is not x and copy.copy(x).array is x.array


# -- convert_to_tensor ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (1, "int32"),
        (True, "bool"),
        (1.5, "float32"),
        ([1, 2], "int32"),
        ([[1, 2.5]], "float32"),
        ([True, False], "bool"),
        ([], "float32"),
        ((1.0, 2.0), "float32"),
        (range(3), "int32"),
        ([2**40], "int64"),
        ([2**31 - 1, -(2**31)], "int32"),
        (2**63, "uint64"),
        (np.float64(1), "float64"),
        (np.zeros(2), "float64"),
        (np.zeros(2, "float16"), "float16"),
        (np.zeros(2, "int64"), "int64"),
        (np.zeros(2, "uint8"), "uint8"),
        (np.ma.masked_array([1.0, 2.0]), "float64"),
    ],
    ids=repr,
)
def test_dtypes_of_values(value, dtype):
    made = convert_to_tensor(value)
    assert made.dtype == dtype and type(made.array) is np.ndarray
    np.testing.assert_array_equal(made, np.asarray(value, dtype))


def test_floatx_is_what_python_floats_become():
    config.set_floatx("float64")
    try:
        assert convert_to_tensor([1.0]).dtype == "float64"
        assert convert_to_tensor(np.float32(1)).dtype == "float32"
    finally:
        config.set_floatx("float32")


def test_a_wanted_dtype():
    assert convert_to_tensor([1, 2], "float16").dtype == "float16"
    assert convert_to_tensor(np.zeros(2), np.int32).dtype == "int32"
    x = tensor(1, 2)
    assert convert_to_tensor(x) is x and convert_to_tensor(x, "float32") is x
    assert convert_to_tensor(x, "float64").dtype == "float64"


def test_conversion_is_recorded():
    x = tensor(1, 2)
    with GradientTape() as tape:
        tape.watch(x)
        y = convert_to_tensor(x, "float64") * 3 + convert_to_tensor([x[0], x[1]])
    g = tape.gradient(y, x)
    assert g.tolist() == [4, 4] and g.dtype == "float32"


def test_symbolic_tensors_pass():
    x = Input((3,))
    assert convert_to_tensor(x) is x and convert_to_tensor(x, "float32") is x
    assert convert_to_tensor(x, "float64").dtype == "float64"


@pytest.mark.parametrize(
    "wrong",
    ["text", ["a", "b"], None, object(), {"a": 1}, 1j, np.array([1j]), np.array(["a"]),
     np.array([1, None]), np.array([1, 2], object), [2**70], b"bytes", lambda: 0],
    ids=lambda v: type(v).__name__,
)  # fmt: skip
def test_only_numbers(wrong):
    with pytest.raises(TypeError, match="expected (real )?numbers, got"):
        convert_to_tensor(wrong)


@pytest.mark.parametrize("wrong", [[[1, 2], [3]], [1, [2, 3]], [np.zeros(2), np.zeros(3)]])
def test_unequal_lengths(wrong):
    with pytest.raises(ShapeError, match="lists of unequal lengths"):
        convert_to_tensor(wrong)


class Exported:
    """An array of another library that speaks DLPack alone."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **kwargs):
        return self.array.__dlpack__(**kwargs)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_dlpack(dtype):
    made = convert_to_tensor(Exported(np.arange(6).reshape(2, 3).astype(dtype)))
    assert made.dtype == dtype and made.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert ops.add(made, Exported(np.ones(3, dtype))).tolist() == [[1, 2, 3], [4, 5, 6]]


def test_torch():
    torch = pytest.importorskip("torch", reason="torch isn't installed")
    made = convert_to_tensor(torch.arange(3, dtype=torch.float64))
    assert made.dtype == "float64" and made.tolist() == [0, 1, 2]


def test_as_array_and_value_of():
    x = tensor(1, 2)
    assert value_of(x) is x.array and value_of("anything") == "anything"
    assert as_array([1.0]).dtype == "float32"
    a = np.zeros(2)
    assert as_array(a) is a
