"""K on symbolic tensors: sizes, phases, random numbers, functions, gradients, whole programs."""

import numpy as np
import pytest

from gpunet import GradientTape, Input
from gpunet import backend as K
from gpunet.errors import GraphError, ShapeError
from gpunet.graph import SymbolicTensor
from gpunet.layers import Dense, Flatten, Lambda
from gpunet.models import Model, Sequential
from gpunet.optimizers import Adam

X = np.random.default_rng(0).standard_normal((5, 4)).astype("float32")


def run(inputs, outputs, *values):
    return K.function(inputs, outputs)(list(values))


# -- sizes --------------------------------------------------------------------------------


def test_sizes_of_arrays():
    sizes = K.shape(np.zeros((2, 3, 4)))
    assert sizes == (2, 3, 4) and sizes.shape == (3,) and sizes.dtype == "int32"
    assert sizes[1] * 2 == 6 and tuple(sizes[:2] + sizes[1:]) == (5, 7)
    assert tuple(2 * sizes - 1) == (3, 5, 7) and tuple(sizes // 2) == (1, 1, 2)
    assert K.eval(sizes).tolist() == [2, 3, 4]
    assert float(K.prod(K.cast(sizes, "float32"))) == 24
    assert K.size(np.zeros((2, 3))) == 6
    assert K.ndim(X) == 2 and K.dtype(X) == "float32" and K.int_shape(X) == (5, 4)


def by_size(x):
    n, t = K.shape(x)[0], K.shape(x)[1]
    return [
        K.reshape(x, (n, -1)),
        K.reshape(x, (-1, K.shape(x)[2])),
        K.reshape(x, (n * t, 3)),
        K.zeros((n, t + 1)) + 0.0,
        K.ones(K.shape(x)),
        K.tile(x, (1, t, 1)),
        K.arange(t),
        K.random_normal(shape=(n, 2)),
        K.random_uniform(shape=K.shape(x)[:2]),
        K.slice(x, (0, 0, 1), (n, t // 2, 2)),
        K.repeat(x[:, 0], t),
        K.one_hot(K.arange(2), t),
        x / K.cast(t, "float32"),
        K.cast(K.shape(x), "float32"),
        K.concatenate([x, K.zeros(K.stack([n, t, 2]))], axis=-1),
        x * K.prod(K.cast(K.shape(x), "float32")),
        x[:, : t // 2],
        x[..., None, t - 3 :, :2],
        x[:, t - 1],
    ]


STATIC = [(None, None), (None, 3), (None, 3), (None, None), (None, None, 3), (None, None, 3),
          (None,), (None, 2), (None, None), (None, None, 2), (None, None, 3), (2, None),
          (None, None, 3), (3,), (None, None, None), (None, None, 3), (None, None, 3),
          (None, 1, None, 2), (None, 3)]  # fmt: skip
REAL = [(2, 15), (10, 3), (10, 3), (2, 6), (2, 5, 3), (2, 25, 3), (5,), (2, 2), (2, 5),
        (2, 2, 2), (2, 5, 3), (2, 5), (2, 5, 3), (3,), (2, 5, 5), (2, 5, 3), (2, 2, 3),
        (2, 1, 3, 2), (2, 3)]  # fmt: skip


@pytest.mark.parametrize("i", range(len(REAL)))
def test_shapes_made_of_sizes(i):
    values = np.random.default_rng(1).standard_normal((2, 5, 3)).astype("float32")
    assert tuple(K.int_shape(by_size(values)[i])) == REAL[i]
    x = Input((None, 3))
    for y in (by_size(x)[i], Lambda(lambda t: by_size(t)[i])(x)):
        assert len(y.shape) == len(REAL[i])
        assert all(a in (None, b) for a, b in zip(y.shape, REAL[i]))
        assert tuple(y.shape) == STATIC[i] or y.shape[-1] is not None
        got = run([x], y, values)
        assert got.shape == REAL[i]
        if i not in (7, 8):
            np.testing.assert_allclose(got, K.eval(by_size(values)[i]), rtol=1e-6)


def test_known_sizes_stay_known():
    x = Input((3, 4))
    assert K.reshape(x, (K.shape(x)[0], -1)).shape == (None, 12)
    assert K.reshape(x, (-1, K.shape(x)[1] * K.shape(x)[2])).shape == (None, 12)
    assert Lambda(lambda t: K.reshape(t, (K.shape(t)[0], -1)))(x).shape == (None, 12)
    y = Dense(2)(K.reshape(x, (K.shape(x)[0], -1)))
    assert Model(x, y).predict(np.ones((2, 3, 4))).shape == (2, 2)


# -- phases and random numbers ------------------------------------------------------------


def add_noise_in_train(x):
    x_ = x + K.random_normal(shape=K.shape(x))
    return K.in_train_phase(x_, x)


@pytest.mark.parametrize("apply", [Lambda(add_noise_in_train), add_noise_in_train])
def test_noise_in_training_alone(apply):
    x = Input((4,))
    model = Model(x, apply(x))
    model.compile("sgd", "mse")
    np.testing.assert_array_equal(model.predict(X), X)
    assert model.evaluate(X, X, verbose=0) == 0
    losses = [model.train_on_batch(X, X) for _ in range(2)] if model.weights else None
    assert losses is None or losses[0] != losses[1]
    noisy = [model(X, training=True).numpy() for _ in range(2)]
    assert not np.allclose(noisy[0], X) and not np.allclose(*noisy)


def test_noise_while_fitting():
    x = Input((4,))
    model = Model(x, Dense(1, kernel_initializer="ones", trainable=False)(
        Lambda(add_noise_in_train)(x)))  # fmt: skip
    model.compile("sgd", "mse")
    wanted = X.sum(axis=1)
    history = model.fit(X, wanted, epochs=3, verbose=0, validation_data=(X, wanted)).history
    assert min(history["loss"]) > 1e-3 and max(history["val_loss"]) < 1e-9
    assert len(set(history["loss"])) == 3


def test_phase_of_plain_values():
    assert float(K.in_train_phase(lambda: 1.0, lambda: 1 / 0, training=True)) == 1
    assert float(K.in_test_phase(2.0, 3.0)) == 2
    assert float(K.in_train_phase(2.0, 3.0, training=0)) == 3
    with K.learning_phase_scope(1):
        assert float(K.in_train_phase(2.0, 3.0)) == 2
    K.set_learning_phase(1)
    try:
        assert K.learning_phase() == 1 and float(K.in_train_phase(2.0, 3.0)) == 2
    finally:
        K.clear_session()
    assert K.learning_phase() == 0


def test_phase_given_as_a_tensor():
    x, flag = Input((4,)), Input((1,), dtype="bool")
    y = K.in_train_phase(lambda: x * 2, lambda: x, training=flag)
    on = np.array([[True], [False], [True], [False], [False]])
    np.testing.assert_allclose(run([x, flag], y, X, on), np.where(on, 2 * X, X))


def test_phase_among_the_inputs_of_a_function():
    x = Input((4,))
    f = K.function([x, K.learning_phase()], [K.in_train_phase(x * 2, x)])
    np.testing.assert_allclose(f([X, 0])[0], X)
    np.testing.assert_allclose(f([X, 1])[0], 2 * X)


DRAWS = [
    lambda x: K.random_normal(K.shape(x)),
    lambda x: K.random_uniform(K.shape(x), -1, 1),
    lambda x: K.truncated_normal(K.shape(x), seed=3),
    lambda x: K.dropout(x + 1, 0.5),
    lambda x: K.dropout(x + 1, 0.5, noise_shape=(K.shape(x)[0], 1), seed=2),
    lambda x: K.random_bernoulli(K.shape(x), 0.5),
    lambda x: K.random_binomial(K.shape(x), 0.5),
    lambda x: K.cast(K.random_uniform(K.shape(x), 0, 1000, dtype="int32"), "float32"),
]


@pytest.mark.parametrize("draw", DRAWS)
def test_random_numbers_are_drawn_anew(draw):
    x = Input((50,))
    data = np.zeros((4, 50), "float32")
    for y in (draw(x), Lambda(draw)(x)):
        assert y.shape == (None, 50)
        f = K.function([x], [y])
        a, b = f([data])[0], f([data])[0]
        assert a.shape == (4, 50) and not np.array_equal(a, b)
    assert not np.array_equal(K.eval(draw(data)), K.eval(draw(data)))


def test_seeds_start_sequences():
    K.clear_session()
    first = [K.eval(K.random_normal((3,), seed=5)) for _ in range(2)]
    assert not np.array_equal(*first)
    K.clear_session()
    np.testing.assert_array_equal(first, [K.eval(K.random_normal((3,), seed=5)) for _ in range(2)])


def test_distributions():
    n = (200, 100)
    assert abs(float(K.mean(K.random_normal(n, 2.0, 0.5))) - 2) < 0.02
    assert abs(float(K.std(K.random_normal(n, 2.0, 0.5))) - 0.5) < 0.02
    assert abs(float(K.mean(K.random_binomial(n, 0.3))) - 0.3) < 0.02
    drawn = K.eval(K.truncated_normal(n, 1.0, 2.0))
    assert drawn.min() >= -3 and drawn.max() <= 5
    assert K.eval(K.random_uniform_variable(n, -1, 1, seed=1)).min() >= -1
    assert K.is_variable(K.random_normal_variable((2,), 0, 1))


# -- functions and gradients --------------------------------------------------------------


def network():
    x = Input((4,))
    hidden = Dense(3, activation="tanh")(x)
    return x, hidden, Dense(2)(hidden)


def test_gradients_agree_with_a_tape():
    x, hidden, y = network()
    model = Model(x, [hidden, y])
    weight = model.layers[1].kernel
    loss = K.sum(K.square(y))
    gradients = K.gradients(loss, [x, hidden, weight])
    assert all(K.is_keras_tensor(g) for g in gradients)
    found = run([x], [loss, *gradients], X)
    data = K.constant(X)
    with GradientTape() as tape:
        tape.watch(data)
        h, out = model(data)
        total = K.sum(K.square(out))
    wanted = tape.gradient(total, [data, h, weight])
    np.testing.assert_allclose(found[0], float(total), rtol=1e-5)
    for a, b in zip(found[1:], wanted):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_gradients_of_gradients():
    x = Input((4,))
    (g,) = K.gradients(K.sum(x * x * x), x)
    (gg,) = K.gradients(K.sum(g * x), x)
    np.testing.assert_allclose(run([x], gg, X), 9 * X**2, rtol=1e-5)


def test_gradients_train_weights():
    """A layer's slope as an output: training it needs second derivatives."""
    x = Input((1,))
    y = Dense(1)(Dense(8, activation="tanh")(x))
    model = Model(x, [y, K.gradients(y, x)[0]])
    model.compile(Adam(0.02), "mse", loss_weights=[0.0, 1.0])
    data = np.linspace(-1, 1, 32).reshape(-1, 1)
    history = model.fit(data, [data, 2 * data], epochs=200, verbose=0).history["loss"]
    assert history[-1] < 0.5 * history[0]


def test_gradients_without_influence():
    x, _, y = network()
    other, numbers = Input((4,)), Input((4,), dtype="int32")
    assert K.gradients(K.sum(y), [other])[0] is None
    assert K.gradients(K.sum(K.cast(numbers, "float32")), numbers) == [None]
    np.testing.assert_array_equal(run([x], K.gradients(K.sum(K.round(x)), x), X)[0], 0 * X)


def test_gradients_want_a_graph():
    with pytest.raises(GraphError, match="GradientTape"):
        K.gradients(K.constant(1.0), [K.constant(2.0)])
    x = Input((4,))
    with pytest.raises(GraphError, match="GradientTape"):
        Lambda(lambda t: K.gradients(K.sum(t), t)[0])(x)


def test_functions():
    x, hidden, y = network()
    single = K.function(x, y)(X)
    listed = K.function([x], [y, hidden])([X])
    np.testing.assert_array_equal(single, listed[0])
    np.testing.assert_allclose(K.function([hidden], [y])([listed[1]])[0], single, rtol=1e-6)
    with pytest.raises(ValueError, match="expected 1 inputs, got 2"):
        K.function([x], [y])([X, X])
    with pytest.raises(ValueError, match="feed_dict"):
        K.function([x], [y], feed_dict={})
    with pytest.raises(GraphError, match="disconnected"):
        K.function([Input((4,))], [y])


def test_updates():
    x = Input((4,))
    total, count = K.variable(np.zeros(4)), K.variable(0.0)
    f = K.function([x], [K.sum(x)], updates=[(total, total + K.sum(x, axis=0)),
                                             K.update_add(count, K.sum(x * 0 + 0.25))])  # fmt: skip
    for _ in range(2):
        f([X])
    np.testing.assert_allclose(K.get_value(total), 2 * X.sum(axis=0), rtol=1e-5)
    assert K.get_value(count) == 2 * X.size / 4


def test_variables_in_graphs_are_read_when_it_runs():
    x, scale = Input((4,)), K.variable(2.0)
    model = Model(x, [x * scale, Lambda(lambda t: t * scale)(x)])
    for value in (2.0, 5.0):
        K.set_value(scale, value)
        for y in model.predict(X):
            np.testing.assert_allclose(y, value * X)


def test_variable_in_a_loss_and_a_regularizer():
    weight, strength = K.variable(1.0), K.variable(0.0)
    model = Sequential([Dense(1, input_shape=(4,), kernel_initializer="ones",
                              kernel_regularizer=lambda w: strength * K.sum(w))])  # fmt: skip
    model.compile("sgd", lambda t, p: weight * K.mean(K.square(t - p), axis=-1))
    y = X.sum(axis=1) + 1
    assert model.evaluate(X, y, verbose=0) == pytest.approx(1, rel=1e-4)
    K.set_value(weight, 3.0)
    K.set_value(strength, 0.5)
    assert model.evaluate(X, y, verbose=0) == pytest.approx(3 + 2, rel=1e-4)


def test_loops_in_a_graph():
    x = Input((None, 3))
    data = np.random.default_rng(2).standard_normal((4, 6, 3)).astype("float32")
    squares = K.map_fn(lambda row: K.sum(K.square(row), axis=-1), x)
    assert squares.shape == (None, None)
    np.testing.assert_allclose(run([x], squares, data), (data**2).sum(-1), rtol=1e-5)
    total = K.foldl(lambda a, b: a + b, x)
    assert total.shape == (None, 3)
    np.testing.assert_allclose(run([x], total, data), data.sum(axis=0), rtol=1e-5, atol=1e-6)
    last, outputs, states = K.rnn(lambda t, s: (t + s[0], [t + s[0]]), x, [K.zeros_like(x[:, 0])])
    assert outputs.shape == (None, None, 3) and last.shape == (None, 3)
    found = run([x], [last, outputs, *states], data)
    np.testing.assert_allclose(found[1], data.cumsum(axis=1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found[0], data.sum(axis=1), rtol=1e-5, atol=1e-6)


def test_function_that_uses_a_tensor_from_around_it():
    x, other = Input((4,)), Input((4,))
    y = K.map_fn(lambda row: row * other, x)
    with pytest.raises(TypeError, match="give it to the function as an argument"):
        run([x, other], y, X, X)


def test_printing(capsys):
    x = Input((4,))
    y = K.print_tensor(x * 0 + 1, message="ones:")
    assert capsys.readouterr().out == ""
    np.testing.assert_array_equal(run([x], y, X[:1]), np.ones((1, 4)))
    assert capsys.readouterr().out == "ones: [[1. 1. 1. 1.]]\n"


def test_nested_models_keep_expressions():
    x = Input((3, 4))
    inner = Model(x, K.reshape(x, (K.shape(x)[0], -1)) * K.cast(K.shape(x)[1], "float32"))
    z = Input((3, 4))
    model = Model(z, Flatten()(inner(z)))
    assert model.output_shape == (None, 12)
    data = np.ones((2, 3, 4), "float32")
    np.testing.assert_allclose(model.predict(data), 3 * data.reshape(2, 12))


def test_errors():
    x = Input((4,))
    with pytest.raises(TypeError, match="K.function"):
        K.get_value(x)
    with pytest.raises(ShapeError):
        K.set_value(K.variable(np.zeros(3)), np.zeros(4))
    with pytest.raises(ValueError, match="Unexpectedly found an instance"):
        K.is_keras_tensor(X)
    assert isinstance(x, SymbolicTensor) and K.is_keras_tensor(x) and K.is_placeholder(x)
    assert not K.is_placeholder(x + 1) and not K.is_keras_tensor(K.variable(1.0))
