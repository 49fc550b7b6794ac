"""`Bidirectional`, `TimeDistributed` and `Wrapper`: what the stored numbers of Keras don't show."""

import numpy as np
import pytest

import gpunet
from gpunet import layers, ops
from gpunet.errors import ShapeError
from gpunet.layers.recurrent import cells
from gpunet.models import Model, Sequential
from gpunet.ops import both_ways
from gpunet.tensor import Tensor

N, T, C, U = 3, 4, 2, 3


@pytest.fixture
def x(rng):
    return rng.standard_normal((N, T, C)).astype("float32")


# -- Bidirectional ------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["concat", "sum", "mul", "ave", None])
@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize("kind", [layers.SimpleRNN, layers.GRU, layers.LSTM])
def test_both_directions(kind, sequences, mode, x):
    layer = layers.Bidirectional(kind(U, return_sequences=sequences), merge_mode=mode)
    y = layer(x)
    half = len(layer.weights) // 2
    made = []
    for weights, options in ((layer.get_weights()[:half], {}),
                             (layer.get_weights()[half:], {"go_backwards": True})):  # fmt: skip
        one = kind(U, return_sequences=sequences, **options)
        one(x)
        one.set_weights(weights)
        made.append(one(x).numpy())
    a, b = made[0], made[1][:, ::-1] if sequences else made[1]
    want = {"concat": np.concatenate([a, b], -1), "sum": a + b, "mul": a * b, "ave": (a + b) / 2,
            None: [a, b]}[mode]  # fmt: skip
    np.testing.assert_allclose(y, want, rtol=1e-6)
    if mode is not None:
        assert layer.compute_output_shape((None, None, C))[-1] == y.shape[-1]
        assert layer(layers.Input((None, C))).shape[1:] == ((None, *y.shape[2:]) if sequences
                                                           else y.shape[1:])  # fmt: skip


def test_copies_of_the_layer_do_the_work(x):
    inner = layers.LSTM(U, name="inner")
    layer = layers.Bidirectional(inner, name="both")
    layer(x)
    assert not inner.built and layer.layer is inner
    assert layer.forward_layer.name == "forward_inner"
    assert layer.backward_layer.name == "backward_inner"
    names = [w.name for w in layer.weights]
    assert names[0] == "both/forward_inner/kernel:0"
    assert names[3] == "both/backward_inner/kernel:0"
    assert layer.count_params() == 2 * layer.forward_layer.count_params()
    layer.trainable = False
    assert not layer.trainable_weights and len(layer.non_trainable_weights) == 6


def test_start_weights_and_shape_of_the_layer_inside(x):
    first = layers.Bidirectional(layers.GRU(U))
    first(x)
    second = layers.Bidirectional(layers.GRU(U), weights=first.get_weights())
    np.testing.assert_array_equal(first(x), second(x))
    model = Sequential([layers.Bidirectional(layers.GRU(U), input_shape=(T, C))])
    assert model.built
    model = Sequential([layers.Bidirectional(layers.GRU(U, input_shape=(T, C)))])
    assert model.output_shape == (None, 2 * U)


def test_initial_states(x, rng):
    layer = layers.Bidirectional(layers.LSTM(U, return_state=True))
    states = [rng.standard_normal((N, U)).astype("float32") for _ in range(4)]
    y = layer(x, initial_state=states)
    assert len(y) == 5
    inputs = [layers.Input((T, C)), *[layers.Input((U,)) for _ in states]]
    model = Model(inputs, layer(inputs[0], initial_state=inputs[1:]))
    for a, b in zip(model.predict([x, *states]), y, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    again = Model.from_config(model.get_config())
    again.set_weights(model.get_weights())
    np.testing.assert_allclose(again.predict([x, *states])[0], y[0], rtol=1e-6)
    with pytest.raises(ValueError, match="initial states for both directions, got 3"):
        layer(x, initial_state=states[:3])


def test_cells_of_ones_own_in_both_directions(x):
    class Cell(layers.Layer):
        state_size = output_size = C

        def call(self, inputs, states, constants=None):
            y = states[0] + inputs * constants[0]
            return y, [y]

    layer = layers.Bidirectional(layers.RNN(Cell(), return_sequences=True), merge_mode="sum")
    constant = np.full((N, C), 2, "float32")
    y = layer(x, constants=constant)
    want = 2 * (np.cumsum(x, 1) + np.cumsum(x[:, ::-1], 1)[:, ::-1])
    np.testing.assert_allclose(y, want, rtol=1e-5, atol=1e-6)
    given = layers.Input((T, C)), layers.Input((C,))
    model = Model(given, layer(given[0], constants=given[1]))
    again = Model.from_config(model.get_config(), custom_objects={"Cell": Cell})
    np.testing.assert_allclose(again.predict([x, constant]), want, rtol=1e-5, atol=1e-6)


def test_masks_in_both_directions(x):
    """A padded sequence gives what the shorter one gives, and zeros behind it."""
    mask = np.array([[1, 1, 0, 0]] * N, bool)
    for mode in ("concat", "sum"):
        layer = layers.Bidirectional(layers.GRU(U, return_sequences=True), merge_mode=mode)
        y = layer(x, mask=mask)
        np.testing.assert_allclose(y[:, :2], layer(x[:, :2]), rtol=1e-5, atol=1e-7)
        np.testing.assert_array_equal(y[:, 2:], 0)
        np.testing.assert_array_equal(y._keras_mask, mask)


def test_stateful_in_both_directions(x):
    model = Sequential([
        layers.Bidirectional(layers.GRU(U, stateful=True), batch_input_shape=(N, T, C)),
    ])  # fmt: skip
    once = model.predict(x, batch_size=N)
    assert not np.allclose(model.predict(x, batch_size=N), once)
    model.reset_states()
    np.testing.assert_array_equal(model.predict(x, batch_size=N), once)
    with pytest.raises(AttributeError):
        layers.Bidirectional(layers.GRU(U)).reset_states()


BAD = [
    (lambda: layers.Bidirectional(layers.Dense(2)), "expected a recurrent layer"),
    (lambda: layers.Bidirectional("lstm"), "expected a Layer"),
    (lambda: layers.Bidirectional(layers.LSTM(U), merge_mode="max"), "merge_mode"),
    (lambda: layers.Bidirectional(layers.LSTM(U), backward_layer=layers.LSTM(U)), "go_backwards"),
    (lambda: layers.Bidirectional(
        layers.LSTM(U), backward_layer=layers.LSTM(U, go_backwards=True, return_state=True)),
     "same return_state"),
    (lambda: layers.Bidirectional(layers.LSTM(U), name="b")(layers.Input((C,))),
     "expected an input of rank 3"),
    (lambda: layers.TimeDistributed(3), "expected a Layer"),
    (lambda: layers.TimeDistributed(layers.Dense(2), name="t")(layers.Input((C,))),
     "TimeDistributed 't': expected an input of rank at least 3"),
    (lambda: layers.TimeDistributed(layers.Conv2D(2, 3))(layers.Input((T, 4, 4))),
     "expected an input of rank 4, got rank 3"),
    (lambda: layers.TimeDistributed(layers.Add(), name="t")(
        [layers.Input((3, C)), layers.Input((4, C))]), "differ in their numbers of steps"),
]  # fmt: skip


@pytest.mark.parametrize("make, words", BAD)
def test_errors(make, words):
    with pytest.raises(ValueError, match=words):
        make()


# -- TimeDistributed ----------------------------------------------------------------------


@pytest.mark.parametrize("time", [T, None])
def test_any_number_of_steps(time, x):
    inner = layers.Dense(U, activation="tanh")
    inputs = layers.Input((time, C))
    model = Model(inputs, layers.TimeDistributed(inner)(inputs))
    assert model.output_shape == (None, time, U)
    for steps in (T, 2) if time is None else (T,):
        y = model.predict(x[:, :steps])
        for t in range(steps):
            np.testing.assert_allclose(y[:, t], inner(x[:, t]), rtol=1e-6)


def test_whole_models(rng):
    gpunet.set_random_seed(0)  # not all starts lead down within 15 epochs
    frames = rng.standard_normal((N, T, 5, 5, 1)).astype("float32")
    inner = Sequential([
        layers.Conv2D(2, 3, activation="relu", input_shape=(5, 5, 1)),
        layers.Flatten(),
        layers.Dropout(0.5),
        layers.Dense(U),
    ])  # fmt: skip
    model = Sequential([
        layers.TimeDistributed(inner, input_shape=(T, 5, 5, 1)),
        layers.LSTM(U),
        layers.Dense(1),
    ])  # fmt: skip
    assert model.layers[0].count_params() == inner.count_params()
    for t in range(T):
        got = model.layers[0](frames)[:, t]
        np.testing.assert_allclose(got, inner.predict(frames[:, t]), rtol=1e-5, atol=1e-6)
    model.compile("adam", "mse")
    losses = model.fit(frames, np.ones((N, 1)), epochs=15, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    again = Sequential.from_config(model.get_config())
    again.set_weights(model.get_weights())
    np.testing.assert_array_equal(again.predict(frames), model.predict(frames))


def test_several_inputs_and_outputs(x):
    a, b = layers.Input((C,)), layers.Input((C,))
    inner = Model([a, b], [layers.add([a, b]), layers.Dense(U)(a)])
    layer = layers.TimeDistributed(inner)
    total, wide = layer([x, 2 * x])
    np.testing.assert_allclose(total, 3 * x, rtol=1e-6)
    assert wide.shape == (N, T, U)
    symbolic = layer([layers.Input((None, C)), layers.Input((None, C))])
    assert [tuple(t.shape) for t in symbolic] == [(None, None, C), (None, None, U)]


def test_nested_time(rng):
    ids = rng.integers(1, 9, (2, 3, 4))
    ids[:, :, 3] = 0
    ids[0, 2] = 0
    inputs = layers.Input((None, None), dtype="int32")
    words = layers.TimeDistributed(layers.Embedding(9, C, mask_zero=True))(inputs)
    sentences = layers.TimeDistributed(layers.LSTM(U))(words)
    model = Model(inputs, layers.LSTM(U)(sentences))
    assert words.shape == (None, None, None, C) and sentences.shape == (None, None, U)
    assert model.predict(ids).shape == (2, U)


def test_masks_pass_through(x):
    mask = np.array([[1, 1, 1, 0]] * N, bool)
    y = layers.TimeDistributed(layers.Dense(U))(x, mask=mask)
    np.testing.assert_array_equal(y._keras_mask, mask)
    given = layers.Masking()(np.zeros((N, T, C), "float32"))
    y = layers.TimeDistributed(layers.Activation("relu"))(given)
    np.testing.assert_array_equal(y._keras_mask, False)


def test_layers_with_states_go_step_by_step(x):
    sequences = np.stack([x, 2 * x], axis=1)  # (N, 2, T, C)
    inner = layers.GRU(U, stateful=True)
    y = layers.TimeDistributed(inner)(sequences).numpy()
    inner.reset_states()
    np.testing.assert_allclose(y[:, 0], inner(x), rtol=1e-6)
    np.testing.assert_allclose(y[:, 1], inner(2 * x), rtol=1e-6)


def test_training_flag_and_statistics(x):
    norm = layers.BatchNormalization(momentum=0.0, epsilon=1e-9)
    y = layers.TimeDistributed(norm)(x, training=True).numpy()
    np.testing.assert_allclose(y.mean(axis=(0, 1)), 0, atol=1e-5)
    np.testing.assert_allclose(y.std(axis=(0, 1)), 1, rtol=1e-4)
    np.testing.assert_allclose(norm.get_weights()[2], x.mean(axis=(0, 1)), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_types(dtype, x):
    for layer in (layers.TimeDistributed(layers.Dense(2, dtype=dtype), dtype=dtype),
                  layers.Bidirectional(layers.LSTM(2, dtype=dtype), dtype=dtype)):  # fmt: skip
        y = layer(x.astype(dtype))
        assert y.dtype == dtype
        assert {str(w.dtype) for w in layer.weights} == {dtype}
    assert (
        layers.TimeDistributed(layers.Embedding(9, 2))(np.ones((2, 3, 4), int)).dtype == "float32"
    )


def test_wrapper_of_ones_own(x):
    class Twice(layers.Wrapper):
        def call(self, inputs):
            return 2 * self.layer(inputs)

    layer = Twice(layers.Dense(U))
    y = layer(Tensor(x))
    np.testing.assert_allclose(y, 2 * layer.layer(x).numpy())
    config = layer.get_config()
    assert config["layer"]["class_name"] == "Dense"
    again = Twice.from_config(config)
    assert isinstance(again.layer, layers.Dense) and again.layer.units == U
    assert len(layer.weights) == 2


def test_empty_batches():
    for layer in (layers.LSTM(U), layers.Bidirectional(layers.GRU(U)),
                  layers.TimeDistributed(layers.Dense(U))):  # fmt: skip
        assert layer(np.zeros((0, T, C), "float32")).shape[0] == 0


def test_shape_errors_are_shape_errors():
    with pytest.raises(ShapeError):
        layers.TimeDistributed(layers.Dense(2))(np.zeros((2, 3), "float32"))
    assert ops.sum(layers.TimeDistributed(layers.Dense(2))(np.zeros((2, 3, 4)))).item() == 0


def both_separately(layer, x, **options):
    """Return what the layer gives when its directions walk one after the other."""
    layer.forward_layer.call = layer.forward_layer.call  # an attribute of one's own: not joined
    try:
        return layer(x, **options)
    finally:
        del layer.forward_layer.call


@pytest.mark.parametrize("kind", [layers.LSTM, layers.GRU, layers.SimpleRNN])
@pytest.mark.parametrize("rates", [{}, {"dropout": 0.3}, {"recurrent_dropout": 0.3}])
def test_both_directions_are_one_op(kind, rates, rng, monkeypatch):
    calls = []
    monkeypatch.setattr(cells, "both_ways", lambda *a, **k: calls.append(1) or both_ways(*a, **k))
    layer = layers.Bidirectional(kind(3, return_sequences=True, return_state=True, **rates))
    x = rng.standard_normal((4, 5, 2)).astype("float32")
    mask = np.arange(5) < np.array([[5], [3], [0], [1]])
    results = []
    for call in (lambda **o: layer(x, **o), lambda **o: both_separately(layer, x, **o)):
        gpunet.set_random_seed(3)
        with gpunet.GradientTape() as tape:
            parts = call(mask=mask, training=True)
            total = sum(gpunet.ops.sum(p * p) for p in parts)
        found = tape.gradient(total, layer.trainable_weights)
        results.append([*[p.numpy() for p in parts], *[g.numpy() for g in found]])
        assert len(calls) == 1
    for joined, apart in zip(*results, strict=True):
        np.testing.assert_allclose(joined, apart, rtol=2e-5, atol=1e-6)


def test_directions_that_differ_are_not_joined(rng, monkeypatch):
    monkeypatch.setattr(cells, "both_ways", None)
    x = rng.standard_normal((2, 5, 2)).astype("float32")

    class Own(layers.LSTM):
        pass

    for layer in (
        layers.Bidirectional(layers.LSTM(2), backward_layer=layers.GRU(2, go_backwards=True)),
        layers.Bidirectional(layers.LSTM(2), backward_layer=layers.LSTM(3, go_backwards=True)),
        layers.Bidirectional(layers.LSTM(2, activity_regularizer="l2")),
        layers.Bidirectional(Own(2)),
        layers.Bidirectional(layers.LSTM(2, activation="elu")),
        layers.Bidirectional(layers.RNN(layers.LSTMCell(2))),
    ):
        assert layer(x).shape[0] == 2
