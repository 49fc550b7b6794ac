"""K's variables, constants, questions about tensors, and small functions, off the graph."""

import itertools

import numpy as np
import pytest

from gpunet import Input, Variable, config
from gpunet import backend as K
from gpunet.tensor import Tensor, convert_to_tensor


def test_variables():
    v = K.variable([[1, 2], [3, 4]])
    assert v.dtype == "float32" and v.shape == (2, 2) and isinstance(v, Variable) and v.trainable
    assert K.is_variable(v) and K.is_tensor(v) and not K.is_variable(K.constant(1.0))
    assert K.variable(3).dtype == "float32" and K.variable(np.arange(3)).dtype.kind == "i"
    assert K.variable(1.5, dtype="float64", name="rate").name == "rate"
    copy = K.get_value(v)
    K.set_value(v, copy + 1)
    assert copy.tolist() == [[1, 2], [3, 4]] and K.eval(v).tolist() == [[2, 3], [4, 5]]
    w = K.zeros((3,))
    K.batch_set_value([(v, np.ones((2, 2))), (w, [1, 2, 3])])
    assert [a.tolist() for a in K.batch_get_value([v, w])] == [[[1, 1], [1, 1]], [1, 2, 3]]
    assert K.count_params(v) == 4


def test_variables_own_their_values():
    given = np.zeros(3, "float32")
    v, w = K.variable(given), K.variable(K.constant([1.0]))
    given += 1
    assert K.get_value(v).tolist() == [0, 0, 0] and K.get_value(w) == 1
    with pytest.raises(TypeError, match="expected values"):
        K.variable(Input((2,)))
    with pytest.raises(TypeError, match="expected a variable"):
        K.set_value(3.0, 1.0)


def test_updates_now():
    v = K.variable(1.0)
    assert float(K.update(v, 3.0)) == 3
    assert float(K.update_add(v, 2.0)) == 5
    assert float(K.update_sub(v, 1.0)) == 4
    K.moving_average_update(v, K.constant(2.0), 0.75)
    assert K.get_value(v) == 3.5


def test_new_tensors():
    assert K.eval(K.zeros((2, 3))).tolist() == [[0, 0, 0], [0, 0, 0]]
    assert K.ones((2,), dtype="int32").dtype == "int32" and K.is_variable(K.ones((2,)))
    assert K.eval(K.eye((2, 3))).tolist() == [[1, 0, 0], [0, 1, 0]]
    assert K.eval(K.constant([1, 2, 3, 4], shape=(2, 2))).tolist() == [[1, 2], [3, 4]]
    assert K.constant(1).dtype == "float32" and K.constant([1], dtype="int32").dtype == "int32"
    assert K.eval(K.zeros_like(K.ones((2,)), dtype="int32")).tolist() == [0, 0]
    assert K.eval(K.arange(1, 7, 2)).tolist() == [1, 3, 5]
    assert K.eval(K.arange(4)).tolist() == [0, 1, 2, 3] and K.arange(4).dtype == "int32"
    assert K.eval(K.zeros(K.constant([2, 1], dtype="int32"))).shape == (2, 1)


def test_placeholders():
    p = K.placeholder(shape=(2, None), name="p")
    assert p.shape == (2, None) and p.dtype == "float32" and K.is_placeholder(p)
    assert K.placeholder(ndim=3, dtype="int32").shape == (None, None, None)
    assert not K.is_placeholder(K.ones((2,)))
    with pytest.raises(ValueError, match="Specify either"):
        K.placeholder()
    with pytest.raises(ValueError, match="sparse"):
        K.placeholder(shape=(2,), sparse=True)


def test_session():
    assert K.backend() == "tensorflow"
    K.reset_uids()
    assert [K.get_uid("a"), K.get_uid("a"), K.get_uid("b")] == [1, 2, 1]
    K.clear_session()
    assert K.get_uid("a") == 1
    with K.name_scope("block"):
        assert float(K.square(3.0)) == 9
    assert K.cast_to_floatx(np.zeros(2, "float64")).dtype == config.floatx()


def test_no_sparse_tensors():
    x = K.constant([1.0, 0.0])
    assert K.is_sparse(x) is False and K.to_dense(x) is x
    with pytest.raises(NotImplementedError, match="dense labels"):
        K.ctc_label_dense_to_sparse(x, x)


def test_identity_and_stop_gradient():
    x = K.constant([1.0, 2.0])
    assert K.identity(x) is not x and K.eval(K.identity(x)).tolist() == [1, 2]
    assert [K.eval(v).tolist() for v in K.stop_gradient([x, x])] == [[1, 2], [1, 2]]
    assert K.eval(K.stop_gradient(x)).tolist() == [1, 2]


def test_switch():
    assert float(K.switch(True, lambda: 1.0, lambda: 1 / 0)) == 1
    rows = K.switch(np.array([True, False]), np.ones((2, 3)), np.zeros((2, 3)))
    assert K.eval(rows).tolist() == [[1, 1, 1], [0, 0, 0]]
    assert float(K.switch(K.constant(0.0), 1.0, 2.0)) == 2
    with pytest.raises(ValueError, match="Rank of `condition`"):
        K.switch(np.ones((2, 3)), np.ones(2), np.ones(2))


def test_loops():
    x = np.arange(6.0).reshape(3, 2)
    assert K.eval(K.map_fn(lambda r: K.sum(r), x)).tolist() == [1, 5, 9]
    assert K.map_fn(lambda r: K.sum(r), x, dtype="int32").dtype == "int32"
    pairs = K.map_fn(lambda p: (p[0] + p[1], p[0]), (x, x))
    assert [K.eval(p).tolist() for p in pairs] == [(2 * x).tolist(), x.tolist()]
    assert K.eval(K.foldl(lambda a, b: 2 * a + b, x)).tolist() == [8, 15]
    assert K.eval(K.foldr(lambda a, b: 2 * a + b, x)).tolist() == [20, 27]
    assert K.eval(K.foldl(lambda a, b: a + b, x, initializer=K.constant([1.0, 1.0]))).sum() == 17


def test_rnn_with_constants_and_time_first():
    x = np.ones((2, 4, 3), "float32")

    def step(now, states):
        return now * states[1] + states[0], [states[0] + 1]

    last, outputs, (count,) = K.rnn(step, x, [np.zeros((2, 3))], constants=[K.constant(5.0)])
    assert K.eval(outputs)[0, :, 0].tolist() == [5, 6, 7, 8] and K.eval(count)[0, 0] == 4
    again = K.rnn(step, x.transpose(1, 0, 2), [np.zeros((2, 3))], constants=[5.0], time_major=True)
    np.testing.assert_array_equal(again[1], K.eval(outputs).transpose(1, 0, 2))
    np.testing.assert_array_equal(again[0], last)


def test_separable_1d_is_depthwise_then_mixed():
    rng = np.random.default_rng(0)
    x, deep, mix = (rng.standard_normal(s).astype("float32") for s in
                    ((2, 7, 3), (2, 3, 2), (1, 6, 4)))  # fmt: skip
    y = K.separable_conv1d(x, deep, mix, strides=2, padding="same")
    wide = K.separable_conv2d(x[:, None], deep[None], mix[None], strides=(2, 2), padding="same")
    np.testing.assert_allclose(y, K.eval(wide)[:, 0], rtol=1e-5)
    first = K.separable_conv1d(x.transpose(0, 2, 1), deep, mix, data_format="channels_first")
    last = K.separable_conv1d(x, deep, mix)
    np.testing.assert_allclose(first, K.eval(last).transpose(0, 2, 1), rtol=1e-5)


def test_image_formats():
    x = np.random.default_rng(1).standard_normal((2, 4, 5, 3)).astype("float32")
    kernel = np.random.default_rng(2).standard_normal((2, 2, 6, 3)).astype("float32")
    turned = x.transpose(0, 3, 1, 2)
    last = K.conv2d_transpose(x, kernel, (2, 8, 10, 6), strides=(2, 2), padding="same")
    first = K.conv2d_transpose(turned, kernel, (2, 6, 8, 10), strides=(2, 2), padding="same",
                               data_format="channels_first")  # fmt: skip
    np.testing.assert_allclose(K.eval(first).transpose(0, 2, 3, 1), last, rtol=1e-5, atol=1e-6)
    symbolic = Input((None, None, 3))
    n, h, w = (K.shape(symbolic)[i] for i in range(3))
    y = K.conv2d_transpose(symbolic, kernel, (n, 2 * h, 2 * w, 6), strides=(2, 2), padding="same")
    assert y.shape == (None, None, None, 6)
    np.testing.assert_allclose(K.function([symbolic], y)([x]), last, rtol=1e-5, atol=1e-6)
    pooled = K.pool2d(turned, (2, 2), data_format="channels_first")
    np.testing.assert_array_equal(K.eval(pooled).transpose(0, 2, 3, 1), K.pool2d(x, (2, 2)))
    for wrong in (lambda: K.pool2d(x, (2, 2), pool_mode="sum"),
                  lambda: K.conv2d(x, kernel, data_format="nhwc"),
                  lambda: K.bias_add(x, np.ones((5, 3))),
                  lambda: K.pool2d(x, (2, 2, 2))):  # fmt: skip
        with pytest.raises(ValueError):
            wrong()


def test_ctc_of_impossible_labels():
    y = np.full((2, 2, 3), 1 / 3, "float32")
    loss = K.eval(K.ctc_batch_cost([[0, 0], [0, 1]], y, [[2], [2]], [[2], [2]]))
    assert np.isinf(loss[0, 0]) and loss[1, 0] == pytest.approx(2 * np.log(3), rel=1e-4)


def test_a_wide_search_finds_the_most_likely_labels():
    rng = np.random.default_rng(4)
    y = rng.dirichlet(np.ones(3), size=(2, 5)).astype("float32")
    likely = {}
    for path in itertools.product(range(3), repeat=5):
        labels = tuple(a for a, before in zip(path, (None, *path)) if a not in (2, before))
        likely[labels] = likely.get(labels, 0) + np.prod(y[1, range(5), path])
    best = sorted(likely, key=likely.get, reverse=True)[:4]
    found, scores = K.ctc_decode(y, [5, 5], greedy=False, beam_width=500, top_paths=4)
    for k, labels in enumerate(best):
        assert K.eval(found[k])[1].tolist() == [*labels, *[-1] * (5 - len(labels))]
        assert np.exp(K.eval(scores)[1, k]) == pytest.approx(likely[labels], rel=1e-4)
    with pytest.raises(ValueError, match="top_paths"):
        K.ctc_decode(y, [5, 5], greedy=False, beam_width=2, top_paths=3)


def test_every_name_has_a_docstring():
    lacking = [n for n in K.__all__ if callable(getattr(K, n)) and not getattr(K, n).__doc__]
    assert not lacking
    assert len(set(K.__all__)) == len(K.__all__)
    assert all(isinstance(f(K.ones((2, 2))), Tensor) for f in (K.exp, K.softmax, K.transpose))
    assert convert_to_tensor(K.shape(K.ones((2, 2)))).dtype == "int32"
