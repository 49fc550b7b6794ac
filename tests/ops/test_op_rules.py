"""What the table can't show: ties, edges, integers, special shapes, errors."""

import numpy as np
import pytest
import scipy.special as sp

from gpunet import config, ops
from gpunet.autodiff import GradientTape
from gpunet.errors import ShapeError
from gpunet.ops import nonlinear
from gpunet.tensor import Symbolic, Tensor


def gradient(function, *arrays):
    """Return the gradients of the sum of what a function of tensors gives."""
    inputs = [Tensor(np.asarray(a)) for a in arrays]
    with GradientTape() as tape:
        tape.watch(inputs)
        y = function(*inputs)
    grads = tape.gradient(y, inputs)
    return [None if g is None else g.numpy() for g in grads]


# -- where TensorFlow's gradients are a matter of convention ------------------------------


def test_first_of_equals_gets_the_gradient():
    x = np.array([1.0, 2.0, 3.0])
    y = np.array([1.0, 5.0, 0.0])
    assert [g.tolist() for g in gradient(ops.maximum, x, y)] == [[1, 0, 1], [0, 1, 0]]
    assert [g.tolist() for g in gradient(ops.minimum, x, y)] == [[1, 1, 0], [0, 0, 1]]


@pytest.mark.parametrize("op", [ops.max, ops.min])
def test_equal_extremes_share_the_gradient(op):
    (g,) = gradient(lambda x: op(x, axis=1), np.array([[2.0, 2.0, 2.0], [1.0, 1.0, 1.0]]))
    np.testing.assert_allclose(g, np.full((2, 3), 1 / 3))


def test_clip_passes_gradients_at_its_ends():
    (g,) = gradient(lambda x: ops.clip(x, 0.0, 1.0), np.array([-0.1, 0.0, 0.5, 1.0, 1.1]))
    assert g.tolist() == [0, 1, 1, 1, 0]


@pytest.mark.parametrize(
    "options, wanted",
    [
        ({}, [0, 0, 1, 1, 1]),
        ({"alpha": 0.5}, [0.5, 0.5, 1, 1, 1]),
        ({"max_value": 6}, [0, 0, 1, 0, 0]),
        ({"max_value": 6, "threshold": 1.0}, [0, 0, 0, 1, 0]),
        ({"alpha": 0.5, "threshold": 1.0}, [0.5, 0.5, 0, 1, 1]),
    ],
)
def test_relu_slopes_at_corners(options, wanted):
    (g,) = gradient(lambda x: ops.relu(x, **options), np.array([-1.0, 0.0, 1.0, 6.0, 7.0]))
    assert g.tolist() == wanted


def test_relu_below_a_negative_threshold():
    y = ops.relu(Tensor(np.array([-1.0, -0.25, 0.5])), alpha=0.2, threshold=-0.5)
    np.testing.assert_allclose(y.numpy(), [-0.1, -0.25, 0.5])


@pytest.mark.parametrize("x, wanted", [([2.0, 3.0, 4.0], [12, 8, 6]), ([2.0, 0.0, 4.0], [0, 8, 0]),
                                       ([0.0, 0.0, 4.0], [0, 0, 0])])  # fmt: skip
def test_gradient_of_a_product_with_zeros(x, wanted):
    assert gradient(ops.prod, np.array(x))[0].tolist() == wanted


def test_std_of_equal_numbers_has_no_gradient():
    assert gradient(ops.std, np.ones(4))[0].tolist() == [0, 0, 0, 0]


def test_power_gradients_are_finite():
    x = np.array([-2.0, 0.0, 3.0])
    assert gradient(lambda a: a**0, x)[0].tolist() == [0, 0, 0]
    assert gradient(lambda a: a**2, x)[0].tolist() == [-4, 0, 6]
    assert gradient(lambda a: ops.power(a, 1), x)[0].tolist() == [1, 1, 1]
    gx, ga = gradient(ops.power, x, np.array([2.0, 2.0, 2.0]))
    np.testing.assert_allclose(gx, [-4, 0, 6])
    np.testing.assert_allclose(ga, [0, 0, 9 * np.log(3)])


def test_repeated_rows_add_up():
    indices = np.array([[0, 2], [2, 2]])
    for width in (1, 8):
        rows = Tensor(np.zeros((4, width)))
        with GradientTape() as tape:
            tape.watch(rows)
            y = ops.gather(rows, indices)
        gy = np.arange(4.0).reshape(2, 2, 1) * np.ones(width)
        (g,) = tape.gradient(y, [rows], Tensor(gy))
        np.testing.assert_allclose(g.numpy(), np.outer([0, 0, 6, 0], np.ones(width)))


# -- losses -------------------------------------------------------------------------------


def test_probabilities_outside_the_clip_get_no_gradient():
    p = np.array([0.0, 1e-9, 0.5, 1.0])
    _, g = gradient(ops.binary_crossentropy, np.ones(4), p)
    assert g[0] == g[1] == g[3] == 0
    assert g[2] == pytest.approx(-1 / (0.5 + 1e-7))
    _, g = gradient(ops.categorical_crossentropy, np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]]))
    assert g.tolist() == [[0, 0]]


def test_binary_values_follow_keras():
    """The clip and the added epsilon both show in float32; numbers from tf_keras 2.21."""
    p = Tensor(np.array([0.0, 1.0], "float32"))
    y = ops.binary_crossentropy(Tensor(np.array([1.0, 0.0], "float32")), p).numpy()
    np.testing.assert_allclose(y, [15.424949, 15.333239], rtol=1e-6)


def test_sparse_targets():
    logits = np.random.default_rng(0).standard_normal((2, 4))
    wanted = -sp.log_softmax(logits, axis=-1)[[0, 1], [3, 0]]
    for target in (np.array([3, 0]), np.array([[3], [0]]), np.array([3.0, 0.0], "float32")):
        y = ops.sparse_categorical_crossentropy(target, logits, from_logits=True)
        np.testing.assert_allclose(y.numpy(), wanted)
    y = ops.sparse_categorical_crossentropy(np.array([4, -1]), logits, from_logits=True)
    assert np.isnan(y.numpy()).all()
    with pytest.raises(ShapeError, match="expected targets of shape"):
        ops.sparse_categorical_crossentropy(np.array([1, 2, 3]), logits)


@pytest.mark.parametrize("from_logits", [False, True])
def test_ignored_class(from_logits):
    x = sp.softmax(np.random.default_rng(0).standard_normal((3, 4)), axis=-1)
    x = Tensor(x)
    with GradientTape() as tape:
        tape.watch(x)
        y = ops.sparse_categorical_crossentropy(
            np.array([1, -1, 2]), x, from_logits=from_logits, ignore_class=-1
        )
    g = tape.gradient(y, x).numpy()
    assert y.numpy()[1] == 0 and not g[1].any() and g[[0, 2]].all()


def test_cross_entropies_of_huge_logits_are_finite():
    x = np.array([[1e4, -1e4, 0.0]], "float32")
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        a = ops.categorical_crossentropy(
            np.array([[0.0, 1.0, 0.0]], "float32"), x, from_logits=True
        )
        b = ops.sparse_categorical_crossentropy(np.array([1]), x, from_logits=True)
        c = ops.binary_crossentropy(np.array([[0.0, 1.0, 0.0]], "float32"), x, from_logits=True)
    assert a.item() == b.item() == 2e4
    np.testing.assert_allclose(c.numpy(), [[1e4, 1e4, np.log(2)]], rtol=1e-6)


# -- precision ----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype, digits", [("float64", 2e-15), ("float32", 5e-7)])
def test_error_function_to_the_last_digits(dtype, digits):
    x = np.concatenate([np.linspace(-7, 7, 20001), np.logspace(-30, 0, 100)]).astype(dtype)
    np.testing.assert_allclose(ops.erf(x).numpy(), sp.erf(x.astype("float64")), rtol=digits)
    x = x[x > -5]
    share = nonlinear.normal_share(np, x)
    np.testing.assert_allclose(share, sp.ndtr(x.astype("float64")), rtol=20 * digits)


@pytest.mark.parametrize("x", [-100.0, -30.0, -1e-9, 1e-9, 20.0])
def test_small_values_keep_their_digits(x):
    assert ops.sigmoid(np.array([x])).numpy()[0] == pytest.approx(sp.expit(x), rel=1e-14)
    assert ops.softplus(np.array([x])).numpy()[0] == pytest.approx(np.logaddexp(x, 0), rel=1e-14)
    assert ops.gelu(np.array([x])).numpy()[0] == pytest.approx(x * sp.ndtr(x), rel=1e-13, abs=1e-40)


def test_logsumexp_of_infinities():
    x = np.array([[-np.inf, 1.0], [np.inf, 0.0]])
    assert ops.logsumexp(x, axis=1).numpy().tolist() == [1.0, np.inf]


# -- dtypes -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["int32", "int64", "uint8", "bool"])
def test_integers_become_floats_where_they_must(kind):
    x = np.array([0, 1, 1]).astype(kind)
    for op in (ops.exp, ops.sigmoid, ops.sqrt, ops.mean, ops.var, ops.softmax, ops.gelu, ops.tanh):
        assert op(x).dtype == config.floatx()
    if kind != "bool":
        assert ops.divide(x, 2).dtype == config.floatx()
        for op in (ops.sum, ops.cumsum, ops.prod, ops.max, ops.abs, ops.relu, ops.round):
            assert op(x).dtype == kind
    assert ops.add(x, 0.5).dtype == config.floatx()
    assert ops.add(x, np.zeros(3, "float16")).dtype == "float16"


def test_python_numbers_are_weak():
    x = Tensor(np.ones(3, "float16"))
    for y in (x + 1, 2.5 * x, x / 3, x**2.0, x > 1, ops.maximum(x, 0.1), x * np.float64(2),
              np.float64(2) * x, np.sqrt(2.0) * x):  # fmt: skip
        assert y.dtype in ("float16", "bool")
    assert ops.log(2.0).dtype == config.floatx()
    assert ops.add(1, 2).dtype.kind == "i"


def test_reductions_over_booleans_count():
    assert ops.sum(np.array([True, False, True])).numpy() == 2
    assert ops.sum(np.array([True, False, True])).dtype == "int32"


# -- shapes -------------------------------------------------------------------------------


def test_lists_of_tensors():
    x, y = np.arange(6.0).reshape(2, 3), np.ones((2, 3))
    assert ops.concatenate([x, y]).shape == (2, 6)
    assert ops.stack([x, y]).shape == (2, 2, 3)
    assert [tuple(p.shape) for p in ops.split(x, parts=[1, 2], axis=1)] == [(2, 1), (2, 2)]
    assert ops.flatten(x).shape == (6,)
    assert ops.permute_dimensions(x, (1, 0)).shape == (3, 2)
    np.testing.assert_array_equal(ops.repeat(x, 4).numpy(), np.repeat(x[:, None], 4, axis=1))
    np.testing.assert_array_equal(ops.slice(x, (0, 1), (2, -1)).numpy(), x[:, 1:])
    np.testing.assert_array_equal(ops.pow(x, 3).numpy(), x**3)
    assert ops.cast_to_floatx(x).dtype == config.floatx()


def test_unused_parts_get_zeros():
    (g,) = gradient(lambda x: ops.unstack(x, axis=1)[2], np.ones((2, 4)))
    assert g.tolist() == [[0, 0, 1, 0]] * 2
    (g,) = gradient(lambda x: ops.split(x, parts=[1, 3], axis=1)[0], np.ones((2, 4)))
    assert g.tolist() == [[1, 0, 0, 0]] * 2


@pytest.mark.parametrize("n", [0, 1])
def test_small_batches(n):
    x = Tensor(np.ones((n, 3, 4), "float32"))
    kernel, bias = Tensor(np.ones((4, 5), "float32")), Tensor(np.ones(5, "float32"))
    with GradientTape() as tape:
        tape.watch([x, kernel, bias])
        y = ops.softmax(ops.relu(ops.dense(x, kernel, bias)))
        y = ops.batch_flatten(ops.concatenate([y, y]))
    assert y.shape == (n, 30)
    gx, gk, gb = tape.gradient(y, [x, kernel, bias])
    assert (gx.shape, gk.shape, gb.shape) == ((n, 3, 4), (4, 5), (5,))
    assert ops.sum(x, axis=0).shape == (3, 4)
    assert ops.gather(kernel, np.zeros((n, 2), int)).shape == (n, 2, 5)


BAD = [
    (ops.reshape, [(2, 3)], {"shape": (4, 2)}),
    (ops.reshape, [(2, 3)], {"shape": (-1, -1)}),
    (ops.reshape, [(2, 3)], {"shape": (-1, 4)}),
    (ops.matmul, [(2, 3), (2, 3)], {}),
    (ops.matmul, [(), (3,)], {}),
    (ops.dense, [(2, 3), (4, 5)], {}),
    (ops.dense, [(2, 3), (3, 5), (4,)], {}),
    (ops.tensordot, [(2, 3), (2, 3)], {"axes": 1}),
    (ops.tensordot, [(2, 3), (2, 3)], {"axes": ((0,), (0, 1))}),
    (ops.concat, [(2, 3), (3, 2)], {"axis": 1}),
    (ops.concat, [(2, 3), (2,)], {}),
    (ops.pack, [(2, 3), (3, 2)], {}),
    (ops.add, [(2, 3), (2, 4)], {}),
    (ops.sum, [(2, 3)], {"axis": 2}),
    (ops.squeeze, [(2, 3)], {"axis": 0}),
    (ops.expand_dims, [(2, 3)], {"axis": 5}),
    (ops.transpose, [(2, 3)], {"perm": (0, 0)}),
    (ops.split, [(2, 3)], {"parts": 2}),
    (ops.split, [(2, 3)], {"parts": [1, 1]}),
    (ops.split, [(2, None)], {"parts": 2}),
    (ops.unstack, [(None, 3)], {}),
    (ops.tile, [(2, 3)], {"n": (2,)}),
    (ops.batch_dot, [(2, 3), (2,)], {}),
    (ops.batch_dot, [(2, 3), (3, 3)], {}),
    (ops.batch_dot, [(2, 3), (2, 4)], {}),
    (ops.batch_dot, [(2, 3), (2, 3)], {"axes": 0}),
    (ops.batch_dot, [(2, 3), (2, 3)], {"axes": ((1,), 1)}),
    (ops.dot, [(2, 3), (2, 3)], {}),
    (ops.take_slice, [(2, 3)], {"key": (0, 0, 0)}),
    (ops.take_slice, [(2, 3)], {"key": (2,)}),
]


@pytest.mark.parametrize("op, shapes, options", BAD, ids=[f"{b[0].name}-{b[1:]}" for b in BAD])
def test_impossible_shapes(op, shapes, options):
    with pytest.raises(ShapeError):
        op.infer(*shapes, **options)
    if all(None not in s for s in shapes):
        with pytest.raises((ValueError, IndexError)):
            op(*[np.ones(s) for s in shapes], **options)


@pytest.mark.parametrize(
    "op, shapes, options, wanted",
    [
        (ops.reshape, [(None, 3, 4)], {"shape": (-1, 12)}, (None, 12)),
        (ops.batch_flatten, [(None, 3, 4)], {}, (None, 12)),
        (ops.batch_flatten, [(None, None, 4)], {}, (None, None)),
        (ops.add, [(None, 3), (None, 1)], {}, (None, 3)),
        (ops.add, [(None, 1), (5,)], {}, (None, 5)),
        (ops.multiply, [(None, 4), ()], {}, (None, 4)),
        (ops.dense, [(None, None, 4), (4, 8), (8,)], {}, (None, None, 8)),
        (ops.matmul, [(None, 2, 3), (None, 3, 4)], {}, (None, 2, 4)),
        (ops.concat, [(None, 3), (None, 4)], {}, (None, 7)),
        (ops.concat, [(None, 3), (2, None)], {}, (2, None)),
        (ops.pack, [(None, 3), (None, 3)], {"axis": 1}, (None, 2, 3)),
        (ops.sum, [(None, 3, 4)], {"axis": [1]}, (None, 4)),
        (ops.mean, [(None, 3)], {"axis": 0, "keepdims": True}, (1, 3)),
        (ops.batch_dot, [(None, 4), (None, 4)], {}, (None, 1)),
        (ops.take_slice, [(None, 5)], {"key": (slice(None, 2), 0)}, (None,)),
        (ops.pad, [(None, 5)], {"paddings": ((0, 0), (1, 2))}, (None, 8)),
        (ops.sparse_categorical_crossentropy, [(None, 1), (None, 9)], {}, (None,)),
        (ops.clip, [(None, 2), (), ()], {}, (None, 2)),
    ],
)
def test_unknown_sizes(op, shapes, options, wanted):
    assert tuple(op.infer(*shapes, **options)) == wanted


def test_dense_is_one_product():
    """The kernel's gradient of a sequence sums over all steps in one matrix product."""
    calls = []

    class Counting:
        def __getattr__(self, name):
            if name == "matmul":
                calls.append(name)
            return getattr(np, name)

    x, kernel = np.ones((2, 3, 4)), np.ones((4, 5))
    y, saved = ops.dense.forward(Counting(), x, kernel)
    ops.dense.pull(Counting(), saved, np.ones_like(y), [False, True])
    assert len(calls) == 2


# -- operators ----------------------------------------------------------------------------


def test_operators_agree_with_numpy():
    x, y = np.array([[1.5, -2.0], [3.0, 0.5]]), np.array([2.0, 3.0])
    a, b = Tensor(x), Tensor(y)
    pairs = [
        (a + b, x + y), (a - b, x - y), (a * b, x * y), (a / b, x / y), (a // b, x // y),
        (a % b, x % y), (a @ b, x @ y), (b**a, y**x), (a**2, x**2), (b**0.5, y**0.5), (a**1, x),
        (2 + a, 2 + x), (2 - a, 2 - x), (2 * a, 2 * x), (2 / a, 2 / x), (2**a, 2**x),
        (2 // b, 2 // y), (7 % b, 7 % y), (x @ b, x @ y), (x - b, x - y), (-a, -x), (+a, x),
        (abs(a), abs(x)), (a < b, x < y), (a <= b, x <= y), (a > b, x > y), (a >= 0, x >= 0),
        (a == b, x == y), (a != b, x != y), (~(a > 0), ~(x > 0)),
        ((a > 0) & (b > 2), (x > 0) & (y > 2)), ((a > 0) | (b > 2), (x > 0) | (y > 2)),
        ((a > 0) ^ (b > 2), (x > 0) ^ (y > 2)),
        (a[0], x[0]), (a[:, 1:], x[:, 1:]), (a[..., None], x[..., None]), (a[::-1, 0], x[::-1, 0]),
        (a[[1, 0]], x[[1, 0]]), (a[np.array(1)], x[1]), (a[a > 0], x[x > 0]),
        (a[Tensor(np.array([0, 1])), 1], x[[0, 1], 1]), (a.T, x.T), (a.transpose(1, 0), x.T),
        (a.transpose(), x.T), (a.reshape(4), x.reshape(4)), (a.reshape((1, -1)), x.reshape(1, -1)),
        (a.flatten(), x.ravel()), (a.sum(), x.sum()), (a.mean(axis=0), x.mean(axis=0)),
        (a.max(axis=1, keepdims=True), x.max(axis=1, keepdims=True)), (a.min(), x.min()),
        (np.exp(a), np.exp(x)), (np.add(x, b), x + y),
    ]  # fmt: skip
    for i, (got, wanted) in enumerate(pairs):
        assert isinstance(got, Tensor), i
        assert got.dtype == wanted.dtype, i
        np.testing.assert_allclose(got.numpy(), wanted, err_msg=str(i))
    assert a.astype("float32").dtype == "float32"


def test_equality_and_hashing():
    a = Tensor(np.ones(2))
    assert not a == None and a != None and a != "name"  # noqa: E711
    assert len({a, Tensor(np.ones(2))}) == 2
    assert {a: 1}[a] == 1

    class Placeholder(Symbolic):
        shape = (None, 2)

    p, q = Placeholder(), Placeholder()
    assert p == p and p != q and len({p, q}) == 2


def test_index_errors():
    a = Tensor(np.ones((2, 3)))
    with pytest.raises(TypeError, match="integers"):
        a[np.array([0.5])]
    with pytest.raises(IndexError):
        a[5]
    with pytest.raises(IndexError):
        ops.gather(a, np.array([2]))


def test_iteration_and_unpacking():
    first, second = Tensor(np.arange(4.0).reshape(2, 2))
    assert first.numpy().tolist() == [0, 1] and second.numpy().tolist() == [2, 3]
