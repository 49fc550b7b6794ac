"""Recurrent layers: cells of one's own, states, constants, dropout, masks, errors."""

import itertools

import fake_device
import numpy as np
import pytest

from gpunet import layers, ops
from gpunet.autodiff import GradientTape
from gpunet.errors import ShapeError
from gpunet.layers.recurrent.cells import GatedCell
from gpunet.models import Model, Sequential
from gpunet.tensor import Tensor, convert_to_tensor
from gpunet.utils import set_random_seed

N, T, C, U = 3, 5, 2, 4
READY = [
    (layers.SimpleRNN, {}),
    (layers.GRU, {}),
    (layers.GRU, {"reset_after": True}),
    (layers.LSTM, {}),
    (layers.CuDNNLSTM, {}),
    (layers.CuDNNGRU, {}),
]
EVERY = pytest.mark.parametrize("kind, own", READY, ids=lambda v: getattr(v, "__name__", str(v)))


class OwnStep(layers.SimpleRNNCell):
    """A cell with a step of its own."""

    def __init__(self, **kwargs):
        super().__init__(U, **kwargs)

    def call(self, inputs, states, training=None):
        y, states = super().call(inputs, states, training)
        return 2 * y, states


@pytest.fixture
def x(rng):
    return rng.standard_normal((N, T, C)).astype("float32")


@pytest.fixture
def mask(rng):
    made = rng.random((N, T)) < 0.6
    made[0] = False
    return made


# -- by one op and step by step -----------------------------------------------------------


@pytest.fixture
def by_steps(monkeypatch):
    def switch():
        monkeypatch.setattr(GatedCell, "can_scan", lambda self: False)

    return switch


@EVERY
def test_one_op_and_steps_agree(kind, own, x, mask, by_steps):
    made = []
    grid = list(itertools.product([False, True], repeat=4))
    built = [
        kind(U, return_sequences=s, go_backwards=b, return_state=True, dtype="float64",
             zero_output_for_mask=z, **own)
        for s, b, z, _ in grid
    ]  # fmt: skip
    for stepwise in (False, True):
        if stepwise:
            by_steps()
        for layer, (*_, masked) in zip(built, grid, strict=True):
            inputs = convert_to_tensor(x.astype("float64"))
            with GradientTape() as tape:
                tape.watch(inputs)
                y = layer(inputs, mask=mask if masked else None)
                total = [ops.sum(ops.square(t)) for t in y]
            made.append([*y, *tape.gradient(total, [inputs, *layer.weights])])
    for a, b in zip(made[: len(grid)], made[len(grid) :], strict=True):
        for p, q in zip(a, b, strict=True):
            np.testing.assert_allclose(p.numpy(), q.numpy(), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("kind, own", READY[:4], ids=lambda v: getattr(v, "__name__", str(v)))
@pytest.mark.parametrize("implementation", [1, 2])
@pytest.mark.parametrize("rates", [(0.4, 0.0), (0.0, 0.4), (0.3, 0.5)])
def test_dropout_by_one_op_and_by_steps(kind, own, implementation, rates, x, by_steps):
    own = dict(own, implementation=implementation) if kind is not layers.SimpleRNN else own
    layer = kind(U, dropout=rates[0], recurrent_dropout=rates[1], return_sequences=True, **own)
    quiet = layer(x)
    results = []
    for stepwise in (False, True):
        if stepwise:
            by_steps()
        set_random_seed(3)
        results.append([layer(x, training=True).numpy() for _ in range(2)])
    np.testing.assert_allclose(results[0], results[1], rtol=1e-5, atol=1e-6)
    first, second = results[0]
    assert not np.allclose(first, second)
    assert not np.allclose(first, quiet.numpy())
    np.testing.assert_allclose(layer(x), quiet, rtol=1e-4, atol=1e-6)


def test_what_is_dropped_is_the_same_at_all_steps():
    layer = layers.SimpleRNN(
        U, "linear", dropout=0.5, return_sequences=True, kernel_initializer="ones",
        recurrent_initializer="zeros",
    )  # fmt: skip
    y = layer(np.ones((64, T, 1), "float32"), training=True).numpy()
    assert set(np.unique(y)) == {0.0, 2.0}
    assert (y == y[:, :1]).all()


def test_gates_drop_different_inputs_with_implementation_1():
    values = {}
    for implementation in (1, 2):
        cell = layers.LSTMCell(U, dropout=0.5, implementation=implementation)
        kept = cell.kept("dropout", (200, C), True).numpy()
        values[implementation] = kept.shape
        assert abs(kept.mean() - 0.5) < 0.1
    assert values == {1: (4, 200, C), 2: (1, 200, C)}
    assert layers.LSTMCell(U, recurrent_dropout=0.2).implementation == 1


# -- initial states -----------------------------------------------------------------------


@EVERY
def test_initial_states_as_arrays_tensors_and_graph_inputs(kind, own, x, rng):
    layer = kind(U, return_state=True, **own)
    count = len(layer.states)
    states = [rng.standard_normal((N, U)).astype("float32") for _ in range(count)]
    y = [t.numpy() for t in layer(x, initial_state=states)]
    again = layer([x, *states])
    for a, b in zip(y, again, strict=True):
        np.testing.assert_array_equal(a, b)
    inputs = [layers.Input((T, C)), *[layers.Input((U,)) for _ in states]]
    model = Model(inputs, layer(inputs[0], initial_state=inputs[1:]))
    for a, b in zip(y, model.predict([x, *states]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    config = model.get_config()
    assert [place[0] for place in config["layers"][-1]["inbound_nodes"][0]] == [
        t.node.layer.name for t in inputs
    ]
    loaded = Model.from_config(config)
    loaded.set_weights(model.get_weights())
    np.testing.assert_allclose(loaded.predict([x, *states])[0], y[0], rtol=1e-6)


def test_a_sequence_in_two_halves(x):
    layer = layers.LSTM(U, return_state=True, return_sequences=True)
    whole, h, c = layer(x)
    first, *states = layer(x[:, :2])
    second, h2, c2 = layer(x[:, 2:], initial_state=states)
    np.testing.assert_allclose(np.concatenate([first, second], axis=1), whole, rtol=1e-5)
    np.testing.assert_allclose([h2, c2], [h, c], rtol=1e-5)


# -- stateful -----------------------------------------------------------------------------


def test_stateful_model(x):
    model = Sequential([
        layers.LSTM(U, stateful=True, batch_input_shape=(N, None, C)),
        layers.Dense(1),
    ])  # fmt: skip
    assert model.stateful
    once = model.predict(x, batch_size=N)
    assert not np.allclose(model.predict(x, batch_size=N), once)
    model.reset_states()
    np.testing.assert_array_equal(model.predict(x, batch_size=N), once)
    assert len(model.weights) == 5  # states aren't weights
    model.compile("sgd", "mse")
    model.fit(np.tile(x, (4, 1, 1)), np.ones((4 * N, 1)), batch_size=N, shuffle=False, verbose=0)
    config = model.get_config()
    assert config["layers"][1]["config"]["stateful"] is True


def test_stateful_errors(x):
    with pytest.raises(AttributeError, match="stateful"):
        layers.LSTM(U).reset_states()
    with pytest.raises(ValueError, match="lstm.*batch size"):
        layers.LSTM(U, stateful=True, name="lstm")(layers.Input((T, C)))
    layer = layers.GRU(U, stateful=True, name="gru")
    layer(x)
    with pytest.raises(ShapeError, match="gru.*expected an input of shape"):
        layer(x[:2])
    with pytest.raises(ValueError, match="GRU 'gru' has 1 states, got 2"):
        layer.reset_states([np.zeros((N, U))] * 2)
    with pytest.raises(ShapeError, match=r"state 0 is of shape \(3, 4\), got \(2, 4\)"):
        layer.reset_states(np.zeros((2, U)))


def test_stateful_with_initial_states_uses_them_once(x):
    """As in Keras: given states count only while the kept ones are zero."""
    layer = layers.SimpleRNN(U, stateful=True)
    start = np.ones((N, U), "float32")
    layer(x)
    layer.reset_states()
    first = layer(x, initial_state=start).numpy()
    plain = layers.SimpleRNN(U)
    plain(x)
    plain.set_weights(layer.get_weights())
    np.testing.assert_array_equal(first, plain(x, initial_state=start))
    np.testing.assert_array_equal(layer(x, initial_state=start), plain(x, initial_state=first))


# -- masks --------------------------------------------------------------------------------


def test_masks_flow_through_a_model(x, mask):
    x = np.where(mask[:, :, None], x, 0)
    model = Sequential([
        layers.Masking(input_shape=(None, C)),
        layers.GRU(U, return_sequences=True),
        layers.LSTM(U, return_sequences=True),
        layers.SimpleRNN(U),
    ])  # fmt: skip
    y = model.predict(x)
    for n in range(1, N):  # the same without the masked steps
        np.testing.assert_allclose(model.predict(x[n : n + 1, mask[n]])[0], y[n], rtol=1e-5)
    np.testing.assert_array_equal(y[0], 0)
    assert model.layers[1].output_mask is not None and model.layers[3].output_mask is None


def test_masks_of_other_types(x, mask):
    layer = layers.LSTM(U)
    wanted = layer(x, mask=mask).numpy()
    for other in (mask.astype("float32"), mask[:, :, None], Tensor(mask), mask.astype("int32")):
        np.testing.assert_array_equal(layer(x, mask=other), wanted)


# -- the rest -----------------------------------------------------------------------------


def test_cudnn_layout_is_keras_own(x, rng):
    """Weights as Keras converts them between the layouts."""
    old = layers.CuDNNLSTM(U, return_sequences=True)
    new = layers.LSTM(U, return_sequences=True)
    old(x), new(x)
    assert [w.shape for w in old.weights] == [(C, 4 * U), (U, 4 * U), (8 * U,)]
    assert old.get_weights()[2].tolist() == [0] * 5 * U + [1] * U + [0] * 2 * U
    kernel, recurrent, bias = (rng.standard_normal(w.shape) for w in old.weights)
    old.set_weights([kernel, recurrent, bias])
    new.set_weights([
        np.hstack([k.T.reshape(k.shape, order="F") for k in np.hsplit(kernel, 4)]),
        np.hstack([k.T for k in np.hsplit(recurrent, 4)]),
        np.sum(np.split(bias, 2), axis=0),
    ])  # fmt: skip
    np.testing.assert_allclose(old(x), new(x), rtol=1e-5, atol=1e-6)
    config = old.get_config()
    assert "activation" not in config and config["unit_forget_bias"] is True
    again = layers.CuDNNLSTM.from_config(config)
    again(x)
    again.set_weights(old.get_weights())
    np.testing.assert_array_equal(again(x), old(x))


def test_defaults():
    assert layers.GRU(U).reset_after is False
    assert layers.GRU.from_config({"units": U}).reset_after is False
    assert layers.LSTM(U).recurrent_activation.__name__ == "sigmoid"
    bias = layers.LSTM(U)
    bias(np.zeros((1, 1, 1)))
    assert bias.get_weights()[2].tolist() == [0] * U + [1] * U + [0] * 2 * U
    assert layers.LSTM(U, implementation=0).get_config()["implementation"] == 1


def test_input_shapes():
    for given in ({"input_dim": C}, {"input_shape": (None, C)}, {"input_dim": C, "input_length": T},
                  {"batch_input_shape": (2, T, C)}):  # fmt: skip
        model = Sequential([layers.LSTM(U, **given)])
        assert model.built and model.layers[0].cell.kernel.shape == (C, 4 * U)
    assert model.input_shape == (2, T, C)


def test_integers_are_cast():
    ids = np.arange(6).reshape(1, 3, 2)
    layer = layers.LSTM(U)
    np.testing.assert_array_equal(layer(ids), layer(ids.astype("float32")))


def test_regularizers_and_activity(x):
    layer = layers.LSTM(
        U, kernel_regularizer="l2", recurrent_regularizer="l1", bias_regularizer="l2",
        activity_regularizer="l2", return_sequences=True, recurrent_constraint="unit_norm",
    )  # fmt: skip
    y = layer(x).numpy()
    kernel, recurrent, bias = layer.get_weights()
    wanted = 0.01 * np.array([(y**2).sum() / N, (kernel**2).sum(), abs(recurrent).sum(),
                              (bias**2).sum()])  # fmt: skip
    np.testing.assert_allclose(sorted(map(float, layer.losses)), sorted(wanted), rtol=1e-5)
    assert layer.weights[1].constraint is not None
    config = layer.get_config()
    assert config["activity_regularizer"]["class_name"] == "L2"


def test_frozen(x):
    layer = layers.LSTM(U, trainable=False)
    layer(x)
    assert not layer.trainable_weights and len(layer.non_trainable_weights) == 3
    layer.trainable = True
    assert len(layer.trainable_weights) == 3


def test_second_derivatives(x):
    layer = layers.GRU(U, dtype="float64")
    inputs = convert_to_tensor(x.astype("float64"))
    layer(inputs)

    def penalty(values):
        values = convert_to_tensor(values)
        with GradientTape() as outer:
            outer.watch(values)
            with GradientTape() as inner:
                inner.watch(values)
                y = ops.sum(layer(values))
            norm = ops.sum(ops.square(inner.gradient(y, values)))
        return float(norm), outer.gradient(norm, values).numpy()

    _, gradient = penalty(inputs.numpy())
    direction = np.random.default_rng(3).standard_normal(x.shape)
    step = 1e-6
    up, down = (penalty(inputs.numpy() + s * direction)[0] for s in (step, -step))
    assert np.sum(gradient * direction) == pytest.approx((up - down) / (2 * step), rel=1e-6)


def test_a_step_without_the_host(x, monkeypatch):
    """Masks, dropout and carried states, forward and back, while a graph is captured."""
    mask = np.ones((N, T), bool)
    monkeypatch.setattr(ops.random, "_default", ops.random.Generator(0))
    start = {"recurrent_initializer": "glorot_uniform"}  # needs nothing of NumPy's
    with fake_device.fake_device():
        inputs, on = convert_to_tensor(x), convert_to_tensor(mask)
        for layer in (
            layers.LSTM(U, dropout=0.2, recurrent_dropout=0.2, stateful=True, **start),
            layers.Bidirectional(layers.GRU(U, return_sequences=True, **start)),
            layers.RNN([layers.SimpleRNNCell(U, **start), OwnStep(**start)]),
            layers.TimeDistributed(layers.Dense(2)),
        ):
            layer(inputs)
            layer(inputs, mask=on, training=True)
            with fake_device.capture(), GradientTape() as tape:
                tape.watch(inputs)
                y = ops.sum(layer(inputs, mask=on, training=True))
                tape.gradient(y, [inputs, *layer.trainable_weights])
            assert np.isfinite(y.item())


def test_subclasses(x):
    class Doubled(layers.LSTM):
        def call(self, inputs, **kwargs):
            return 2 * super().call(inputs, **kwargs)

    layer = Doubled(U)
    plain = layers.LSTM(U)
    plain(x)
    y = layer(layers.Input((None, C)))
    assert y.shape == (None, U)
    layer.set_weights(plain.get_weights())
    np.testing.assert_allclose(layer(x), 2 * plain(x).numpy(), rtol=1e-6)
    ours = layers.RNN(OwnStep())
    ours(x)
    assert not ours.cell.can_scan()


BAD = [
    (lambda: layers.LSTM(0), ValueError, "units to be a positive int"),
    (lambda: layers.LSTM(U, dropout=1.5), ValueError, "dropout"),
    (lambda: layers.LSTM(U, "no_such"), ValueError, "no_such"),
    (lambda: layers.LSTM(U, bogus=1), TypeError, "bogus"),
    (lambda: layers.RNN(object()), ValueError, "expected a cell with 'call'"),
    (lambda: layers.StackedRNNCells([object()]), ValueError, "cells with 'call'"),
    (lambda: layers.LSTM(U, name="a")(layers.Input((C,))), ShapeError,
     "LSTM 'a': expected an input of rank 3, got rank 2"),
    (lambda: layers.LSTM(U, name="a")(layers.Input((T, None))), ShapeError,
     "LSTM 'a': the number of input features must be known"),
    (lambda: layers.GRU(U, name="a")(layers.Input((T, C)), initial_state=layers.Input((U + 1,))),
     ShapeError, r"GRU 'a': expected initial states of shapes \[\(None, 4\)\]"),
    (lambda: layers.LSTM(U, name="a")(layers.Input((T, C)), initial_state=layers.Input((U,))),
     ShapeError, "LSTM 'a': expected initial states"),
    (lambda: layers.RNN(layers.LSTMCell(U), name="a")(
        np.zeros((N, T, C)), constants=np.zeros((N, U))), ValueError, "takes no constants"),
]  # fmt: skip


@pytest.mark.parametrize("make, error, words", BAD)
def test_errors(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_wrong_features_after_building(x):
    layer = layers.LSTM(U, name="a")
    layer(x)
    with pytest.raises(ShapeError, match="LSTM 'a': expected an input of shape"):
        layer(layers.Input((T, C + 1)))
    with pytest.raises(ValueError, match="without steps"):
        layers.RNN(OwnStep())(np.zeros((N, 0, C), "float32"))


@pytest.mark.parametrize("kind", [layers.SimpleRNN, layers.GRU, layers.LSTM])
def test_built_by_hand(kind):
    layer = kind(3)
    layer.build((None, 5, 2))
    assert layer.get_weights()[0].shape[0] == 2
