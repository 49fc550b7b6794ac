"""Functions under the name tensorflow: values beside NumPy's, in and outside of a graph."""

import numpy as np
import pytest
import scipy.special

import gpunet

A = np.array([[0.5, -1.5, 2.0], [3.0, 0.25, -0.75]], "float32")
B = np.array([[1.5, 2.5, -0.5], [-2.0, 4.0, 1.0]], "float32")
POSITIVE = np.abs(A) + 0.5
IDS = np.array([2, 0, 1], "int32")


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def cross_entropy(p, logits):
    return -(p * np.log(softmax(logits))).sum(-1)


# path below tf, arguments, keyword arguments, what NumPy gives
CASES = [
    ("abs", [A], {}, np.abs(A)),
    ("add", [A, B], {}, A + B),
    ("add_n", [[A, B, A]], {}, 2 * A + B),
    ("argmax", [A], {"axis": 1}, A.argmax(1)),
    ("argmax", [A], {}, A.argmax(0)),
    ("argmin", [A, 1], {}, A.argmin(1)),
    ("broadcast_to", [A[0], (2, 3)], {}, np.broadcast_to(A[0], (2, 3))),
    ("cast", [A, "int32"], {}, A.astype("int32")),
    ("clip_by_norm", [A, 1.0], {}, A / np.sqrt((A**2).sum())),
    ("clip_by_value", [A, -1.0, 1.0], {}, A.clip(-1, 1)),
    ("concat", [[A, B], 1], {}, np.concatenate([A, B], 1)),
    ("concat", [], {"values": [A, B], "axis": -2}, np.concatenate([A, B])),
    ("constant", [3.5], {"shape": (2, 2)}, np.full((2, 2), 3.5, "float32")),
    ("cumsum", [A, 1], {}, A.cumsum(1)),
    ("divide", [A, B], {}, A / B),
    ("einsum", ["ij,kj->ik", A, B], {}, A @ B.T),
    ("equal", [A, A], {}, A == A),
    ("exp", [A], {"name": "e"}, np.exp(A)),
    ("expand_dims", [A, 1], {}, A[:, None]),
    ("eye", [2, 3], {}, np.eye(2, 3, dtype="float32")),
    ("fill", [(2, 2), 7.0], {}, np.full((2, 2), 7.0, "float32")),
    ("floor", [A], {}, np.floor(A)),
    ("gather", [A, [1, 0]], {}, A[[1, 0]]),
    ("gather", [A, IDS], {"axis": 1}, A[:, IDS]),
    ("gather", [A[:, None], IDS], {"axis": -1}, A[:, None, :][:, :, IDS]),
    ("greater", [A, B], {}, A > B),
    ("identity", [A], {}, A),
    ("linspace", [0.0, 1.0, 5], {}, np.linspace(0, 1, 5, dtype="float32")),
    ("logical_not", [A > 0], {}, A <= 0),
    ("matmul", [A, B], {"transpose_b": True}, A @ B.T),
    ("matmul", [A, B], {"transpose_a": True}, A.T @ B),
    ("maximum", [A, 0.0], {}, np.maximum(A, 0)),
    ("maximum", [0.0, A], {}, np.maximum(A, 0)),
    ("minimum", [A, B], {}, np.minimum(A, B)),
    ("multiply", [A, 2.0], {}, A * 2),
    ("norm", [A], {}, np.linalg.norm(A)),
    ("norm", [A], {"ord": 1, "axis": 1}, np.abs(A).sum(1)),
    ("one_hot", [IDS, 4], {}, np.eye(4, dtype="float32")[IDS]),
    ("one_hot", [IDS, 4], {"on_value": 5.0, "off_value": 1.0}, np.eye(4)[IDS] * 4 + 1),
    ("ones", [(2, 3)], {}, np.ones((2, 3), "float32")),
    ("ones_like", [A], {}, np.ones_like(A)),
    ("pad", [A, [[1, 0], [0, 2]]], {"constant_values": 9}, np.pad(A, [(1, 0), (0, 2)],
                                                                   constant_values=9)),
    ("pow", [POSITIVE, 2.5], {}, POSITIVE**2.5),
    ("range", [5], {}, np.arange(5)),
    ("range", [1.0, 2.0, 0.25], {}, np.arange(1, 2, 0.25)),
    ("reduce_max", [A], {"axis": -1}, A.max(-1)),
    ("reduce_mean", [A, [0, 1]], {}, A.mean()),
    ("reduce_mean", [[1.0, 2.0, 6.0]], {}, np.float32(3)),
    ("reduce_prod", [A, 0], {"keepdims": True}, A.prod(0, keepdims=True)),
    ("reduce_sum", [A], {"axis": 1, "keepdims": True, "name": "s"}, A.sum(1, keepdims=True)),
    ("repeat", [A, 2], {"axis": 1}, A.repeat(2, 1)),
    ("repeat", [A, 2], {}, A.repeat(2)),
    ("reshape", [A, (3, -1)], {}, A.reshape(3, 2)),
    ("reverse", [A, [1]], {}, A[:, ::-1]),
    ("round", [A * 3], {}, np.round(A * 3)),
    ("sequence_mask", [[1, 3]], {"maxlen": 3}, np.array([[1, 0, 0], [1, 1, 1]], bool)),
    ("sigmoid", [A], {}, scipy.special.expit(A)),
    ("sign", [A], {}, np.sign(A)),
    ("slice", [A, [0, 1], [2, -1]], {}, A[:, 1:]),
    ("sqrt", [4], {}, np.float32(2)),
    ("square", [A], {}, A**2),
    ("squeeze", [A[None, :, None]], {}, A),
    ("squeeze", [A[None, :, None]], {"axis": [0]}, A[:, None]),
    ("stack", [[A, B]], {"axis": 1}, np.stack([A, B], 1)),
    ("subtract", [A, B], {}, A - B),
    ("tanh", [A], {}, np.tanh(A)),
    ("tensordot", [A, B, [[1], [1]]], {}, np.tensordot(A, B, [[1], [1]])),
    ("tile", [A, [2, 1]], {}, np.tile(A, (2, 1))),
    ("transpose", [A], {}, A.T),
    ("transpose", [A[None]], {"perm": [2, 0, 1]}, A[None].transpose(2, 0, 1)),
    ("where", [A > 0, A, B], {}, np.where(A > 0, A, B)),
    ("where", [[True, False], 1.0, 2.0], {}, np.array([1, 2], "float32")),
    ("where", [A > 0], {}, np.argwhere(A > 0)),
    ("boolean_mask", [A, A > 0], {}, A[A > 0]),
    ("zeros", [[2, 3], "int32"], {}, np.zeros((2, 3), "int32")),
    ("zeros_like", [A], {}, np.zeros_like(A)),
    ("linalg.band_part", [A, -1, 0], {}, np.tril(A)),
    ("linalg.band_part", [A, 0, 1], {}, A * [[1, 1, 0], [0, 1, 1]]),
    ("linalg.matvec", [A, B[0]], {}, A @ B[0]),
    ("linalg.trace", [A[:, :2]], {}, np.trace(A[:, :2])),
    ("linalg.global_norm", [[A, B]], {}, np.sqrt((A**2).sum() + (B**2).sum())),
    ("math.count_nonzero", [A > 0], {}, np.int64(4)),
    ("math.cumprod", [A, 1], {}, A.cumprod(1)),
    ("math.divide_no_nan", [A[0], [0.0, 2.0, 4.0]], {}, [0, -0.75, 0.5]),
    ("math.floordiv", [[7, -7], [2, 2]], {}, [3, -4]),
    ("math.l2_normalize", [A], {"axis": 1}, A / np.linalg.norm(A, axis=1, keepdims=True)),
    ("math.log", [POSITIVE], {}, np.log(POSITIVE)),
    ("math.log_sigmoid", [A], {}, np.log(scipy.special.expit(A))),
    ("math.reduce_logsumexp", [A, 1], {}, scipy.special.logsumexp(A, 1)),
    ("math.reduce_std", [A, 0], {}, A.std(0)),
    ("math.reduce_variance", [A, 0], {}, A.var(0)),
    ("math.squared_difference", [A, B], {}, (A - B) ** 2),
    ("math.xlogy", [[0.0, 2.0], [0.0, 3.0]], {}, [0, 2 * np.log(3)]),
    ("math.in_top_k", [IDS[:2], A, 1], {}, [True, True]),
    ("nn.elu", [A], {}, np.where(A > 0, A, np.expm1(A))),
    ("nn.leaky_relu", [A], {}, np.where(A > 0, A, 0.2 * A)),
    ("nn.l2_loss", [A], {}, (A**2).sum() / 2),
    ("nn.relu", [A], {}, A.clip(0)),
    ("nn.relu6", [A * 4], {}, (A * 4).clip(0, 6)),
    ("nn.softmax", [A], {}, softmax(A)),
    ("nn.softmax", [A], {"axis": 0}, softmax(A.T).T),
    ("nn.log_softmax", [A], {}, np.log(softmax(A))),
    ("nn.silu", [A], {}, A * scipy.special.expit(A)),
    ("nn.bias_add", [A, B[0]], {}, A + B[0]),
    ("nn.embedding_lookup", [A, [[1, 0]]], {}, A[[[1, 0]]]),
    ("nn.sigmoid_cross_entropy_with_logits", [], {"labels": A > 0, "logits": B},
     -np.where(A > 0, np.log(scipy.special.expit(B)), np.log(scipy.special.expit(-B)))),
    ("nn.softmax_cross_entropy_with_logits", [], {"labels": softmax(A), "logits": B},
     cross_entropy(softmax(A), B)),
    ("nn.sparse_softmax_cross_entropy_with_logits", [], {"labels": IDS[:2], "logits": B},
     cross_entropy(np.eye(3)[IDS[:2]], B)),
    ("nn.batch_normalization", [A, A.mean(0), A.var(0), B[0], B[1], 1e-3], {},
     (A - A.mean(0)) / np.sqrt(A.var(0) + 1e-3) * B[1] + B[0]),
    ("image.flip_left_right", [A[:, :, None]], {}, A[:, ::-1, None]),
    ("image.flip_up_down", [A[None, :, :, None]], {}, A[None, ::-1, :, None]),
    ("image.rot90", [A[:, :, None]], {}, np.rot90(A)[:, :, None]),
    ("image.central_crop", [np.arange(16.0).reshape(4, 4, 1), 0.5], {},
     np.arange(16.0).reshape(4, 4, 1)[1:3, 1:3]),
    ("image.adjust_contrast", [A[:, :, None], 2.0], {}, ((A - A.mean()) * 2 + A.mean())[..., None]),
]  # fmt: skip


def find(tf, path):
    for part in path.split("."):
        tf = getattr(tf, part)
    return tf


@pytest.mark.parametrize("path, args, kwargs, expected", CASES, ids=[c[0] for c in CASES])
def test_values(tf, path, args, kwargs, expected):
    made = find(tf, path)(*args, **kwargs)
    assert tf.is_tensor(made)
    np.testing.assert_allclose(made.numpy(), expected, rtol=1e-5, atol=1e-6)
    assert made.dtype.kind == np.asarray(expected).dtype.kind or isinstance(expected, list)


def test_lists_of_tensors(tf):
    parts = tf.split(A, 3, axis=1)
    np.testing.assert_array_equal(np.concatenate(parts, 1), A)
    parts = tf.split(A, [1, 2], axis=-1)
    assert [tuple(p.shape) for p in parts] == [(2, 1), (2, 2)]
    np.testing.assert_array_equal(np.stack(tf.unstack(A)), A)
    mean, variance = tf.nn.moments(A, [0])
    np.testing.assert_allclose(mean, A.mean(0), rtol=1e-6)
    np.testing.assert_allclose(variance, A.var(0), rtol=1e-5)


def test_convolution_and_pooling_take_windows_of_all_axes(tf):
    x = np.random.default_rng(0).normal(size=(2, 6, 6, 3)).astype("float32")
    kernel = np.random.default_rng(1).normal(size=(3, 3, 3, 4)).astype("float32")
    y = tf.nn.conv2d(x, kernel, strides=[1, 2, 2, 1], padding="SAME")
    other = gpunet.backend.conv2d(gpunet.convert_to_tensor(x), kernel, (2, 2), "same")
    np.testing.assert_array_equal(y, other)
    y = tf.nn.conv2d(x, kernel, 1, "VALID").numpy()
    expected = np.einsum("hwc,hwcf->f", x[0, 1:4, 2:5], kernel)
    np.testing.assert_allclose(y[0, 1, 2], expected, rtol=1e-4)
    pooled = tf.nn.max_pool2d(x, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="VALID")
    np.testing.assert_array_equal(pooled, x.reshape(2, 3, 2, 3, 2, 3).max((2, 4)))
    pooled = tf.nn.avg_pool2d(x, 2, 2, "VALID")
    np.testing.assert_allclose(pooled, x.reshape(2, 3, 2, 3, 2, 3).mean((2, 4)), rtol=1e-5)


def test_in_a_graph(tf):
    """Expressions of tf functions on symbolic tensors become part of a model."""
    x = tf.keras.Input((3,))
    batch = tf.shape(x)[0]
    y = tf.concat([x, tf.zeros((batch, 1))], axis=1) + tf.reduce_sum(x, axis=1, keepdims=True)
    y = tf.nn.relu(tf.matmul(y, tf.ones((4, 2)))) + tf.cast(tf.greater(x[:, :2], 0.0), tf.float32)
    model = tf.keras.Model(x, tf.expand_dims(y, -1))
    expected = np.concatenate([A, np.zeros((2, 1))], 1) + A.sum(1, keepdims=True)
    expected = (expected @ np.ones((4, 2))).clip(0) + (A[:, :2] > 0)
    np.testing.assert_allclose(model.predict(A), expected[..., None], rtol=1e-5)


def test_variables_and_gradients(tf):
    v = tf.Variable([1.0, 2.0], name="v", trainable=True)
    assert isinstance(v, tf.Variable) and v.name == "v" and v.dtype == tf.float32
    layer = tf.keras.layers.Dense(2)
    layer.build((None, 2))
    assert isinstance(layer.kernel, tf.Variable)
    assert not isinstance(tf.constant(1.0), tf.Variable)
    v.assign_add([1.0, 1.0])
    frozen = tf.Variable(lambda: tf.ones((2,)), trainable=False)
    with tf.GradientTape(persistent=True) as tape:
        loss = tf.reduce_sum(v * v * frozen)
    np.testing.assert_array_equal(tape.gradient(loss, v), [4, 6])
    assert tape.gradient(loss, frozen) is None

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
    def twice(x):
        return x * 2

    np.testing.assert_array_equal(twice(v), [4, 6])


def test_module_collects_variables(tf):
    class Net(tf.Module):
        def __init__(self):
            super().__init__(name="net")
            self.w = tf.Variable(1.0)
            self.parts = [tf.Variable(2.0, trainable=False)]

    net = Net()
    assert len(net.variables) == 2 and net.trainable_variables == (net.w,)


def test_random(tf):
    tf.random.set_seed(3)
    first = tf.random.normal((1000,), 5.0, 2.0).numpy()
    tf.random.set_seed(3)
    np.testing.assert_array_equal(tf.random.normal((1000,), 5.0, 2.0), first)
    assert abs(first.mean() - 5) < 0.3 and abs(first.std() - 2) < 0.2
    whole = tf.random.uniform((1000,), 0, 10, dtype=tf.int32).numpy()
    assert set(whole) == set(range(10)) and whole.dtype == "int32"
    assert np.abs(tf.random.truncated_normal((1000,)).numpy()).max() <= 2
    np.testing.assert_array_equal(np.sort(tf.random.shuffle(np.arange(50))), np.arange(50))
    drawn = tf.random.categorical([[0.0, np.log(3.0), -50.0]], 2000).numpy()
    assert drawn.shape == (1, 2000) and abs((drawn == 1).mean() - 0.75) < 0.05
    with pytest.raises(ValueError, match="maxval must be given for integers"):
        tf.random.uniform((2,), dtype=tf.int32)


def test_random_leaves_the_generators_of_others_alone(tf):
    np.random.seed(1)
    first = np.random.rand()
    np.random.seed(1)
    tf.random.set_seed(5)
    assert np.random.rand() == first


def test_control(tf, capsys):
    assert tf.cond(tf.constant(1.0) > 0, lambda: 1, lambda: 2) == 1
    i, total = tf.while_loop(lambda i, t: i < 4, lambda i, t: (i + 1, t + i), [tf.constant(0), 0])
    assert (int(i), int(total)) == (4, 6)
    np.testing.assert_array_equal(tf.map_fn(lambda r: tf.reduce_sum(r), tf.constant(A)), A.sum(1))
    made = tf.numpy_function(lambda x: x + 1, [tf.constant(A)], tf.float32)
    np.testing.assert_array_equal(made, A + 1)
    tf.print("a", tf.constant([1, 2]))
    assert capsys.readouterr().err == "a [1 2]\n"
    with pytest.raises(ValueError, match="assert_equal: 1 != 2"):
        tf.debugging.assert_equal(1, 2)
    with pytest.raises(ValueError, match="loss: the tensor has Inf or NaN values"):
        tf.debugging.check_numerics([1.0, np.nan], "loss")


def test_devices_and_settings(tf):
    cpus = tf.config.list_physical_devices("CPU")
    assert [d.name for d in cpus] == ["/physical_device:CPU:0"]
    assert tf.test.is_gpu_available() == bool(tf.config.experimental.list_physical_devices("GPU"))
    tf.config.run_functions_eagerly(True)
    tf.keras.backend.clear_session()
    with tf.device("/gpu:0"), tf.name_scope("x"):
        assert float(tf.constant(2.0)) == 2.0


def test_tensorflow_1(tf):
    import tensorflow.compat.v1 as tf1

    tf1.disable_v2_behavior()
    config = tf1.ConfigProto(allow_soft_placement=True)
    config.gpu_options.allow_growth = True
    assert config.gpu_options.allow_growth is True
    with tf1.Session(config=config) as session:
        assert session.run(tf1.global_variables_initializer()) is None
        np.testing.assert_array_equal(session.run([tf1.constant(A)])[0], A)
        with pytest.raises(NotImplementedError, match="keras.backend.function"):
            session.run(tf1.keras.Input((2,)))
    assert tf1.reduce_sum is not None and tf1.keras.layers.Dense is tf.keras.layers.Dense


@pytest.mark.parametrize(
    "call, text",
    [
        (lambda tf: tf.pad(A, [[0, 0], [1, 1]], mode="REFLECT"), "tf.pad: mode 'REFLECT' isn't"),
        (lambda tf: tf.norm(A, ord=3), "tf.norm: ord 3 isn't part of what gpunet gives scripts"),
        (lambda tf: tf.gather(A, [0], batch_dims=1), "tf.gather: batch_dims isn't part"),
        (lambda tf: tf.one_hot([0], 2, axis=0), "tf.one_hot: axis 0 isn't part of"),
    ],
)
def test_options_that_are_missing_are_named(tf, call, text):
    with pytest.raises(NotImplementedError, match=text):
        call(tf)


def test_everything_public_has_a_docstring(tf):
    for module in (tf, tf.math, tf.nn, tf.linalg, tf.random, tf.data, tf.image, tf.config):
        for name in dir(module):
            value = getattr(module, name)
            assert not callable(value) or value.__doc__, name
