"""Cells: those of one's own, nested states, stacks, constants."""

import numpy as np
import pytest

from gpunet import layers, ops
from gpunet.layers.recurrent.cells import GatedCell
from gpunet.models import Model, Sequential
from gpunet.nest import flatten
from gpunet.tensor import Shape, Tensor, convert_to_tensor

N, T, C, U = 3, 5, 2, 4


@pytest.fixture
def x(rng):
    return rng.standard_normal((N, T, C)).astype("float32")


@pytest.fixture
def mask(rng):
    made = rng.random((N, T)) < 0.6
    made[0] = False
    return made


class Counter(layers.Layer):
    """A cell with two states of different ranks and constants."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.state_size = [units, Shape((2, units))]
        self.output_size = units

    def build(self, input_shape):
        self.kernel = self.add_weight("kernel", (input_shape[-1], self.units))
        self.built = True

    def call(self, inputs, states, constants=None, training=None):
        total, last = states
        y = ops.matmul(inputs, self.kernel) + total
        if constants:
            y = y + constants[0]
        return y, [y, ops.stack([y, last[:, 0]], axis=1)]


@pytest.mark.parametrize("options", [{}, {"go_backwards": True}, {"time_major": True}])
def test_cell_of_ones_own(options, x, mask, rng):
    layer = layers.RNN(Counter(U), return_sequences=True, return_state=True, **options)
    constant = rng.standard_normal((N, U)).astype("float32")
    major = options.get("time_major")
    given = x.swapaxes(0, 1) if major else x
    y, total, last = layer(given, mask=mask.T if major else mask, constants=constant)
    steps = x @ layer.get_weights()[0] + constant[:, None]
    if options.get("go_backwards"):
        steps, mask = steps[:, ::-1], mask[:, ::-1]
    want = np.cumsum(np.where(mask[:, :, None], steps, 0), axis=1)
    np.testing.assert_allclose(y.numpy().swapaxes(0, 1) if major else y, want, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(total, want[:, -1], rtol=1e-5, atol=1e-6)
    assert last.shape == (N, 2, U)
    inputs = layers.Input(batch_shape=given.shape)
    extra = layers.Input(batch_shape=(N, U))
    symbolic = layer(inputs, constants=extra)
    assert [t.shape for t in symbolic] == [y.shape, total.shape, last.shape]
    model = Model([inputs, extra], symbolic)
    again = Model.from_config(model.get_config(), custom_objects={"Counter": Counter})
    assert again.layers[-1].get_config()["num_constants"] == 1
    if not major:
        again.set_weights(model.get_weights())
        data = [given, constant]
        np.testing.assert_array_equal(again.predict(data)[0], model.predict(data)[0])


class Inner(layers.Layer):
    """A cell that leaves its parts to be built as they are called."""

    state_size = U

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(U, activation="tanh")

    def call(self, inputs, states):
        h = self.dense(ops.concatenate([inputs, states[0]]))
        return h, h

    def get_initial_state(self, inputs=None, batch_size=None, dtype=None):
        return ops.ones_like(Tensor(np.zeros((batch_size, U), dtype)))


def test_cell_with_layers_inside(x):
    model = Sequential([layers.RNN(Inner(), input_shape=(None, C))])
    assert model.count_params() == (C + U) * U + U
    kernel, bias = model.get_weights()
    h = np.ones((N, U), "float32")
    for t in range(T):
        h = np.tanh(np.concatenate([x[:, t], h], axis=1) @ kernel + bias)
    np.testing.assert_allclose(model.predict(x), h, rtol=1e-5)
    model.compile("adam", "mse")
    losses = model.fit(x, np.zeros((N, U)), epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


class Plain:
    """A cell that is no layer."""

    state_size = [2]

    def call(self, inputs, states):
        total = states[0] + inputs
        return total, [total]


def test_cell_that_is_no_layer(x):
    y = layers.RNN(Plain(), return_sequences=True)(x)
    np.testing.assert_allclose(y, np.cumsum(x, axis=1), rtol=1e-5, atol=1e-6)


class Sums(layers.Layer):
    """A cell on two inputs, with two outputs."""

    state_size, output_size = 1, [1, 1]

    def call(self, inputs, states):
        a, b = inputs
        s = states[0] + a * b
        return [s, -s], [s]


def test_nested_inputs_and_outputs(rng):
    a, b = (rng.standard_normal((N, T, 1)).astype("float32") for _ in range(2))
    y, z = layers.RNN(Sums(), return_sequences=True)((a, b))
    np.testing.assert_allclose(y, np.cumsum(a * b, axis=1), rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(z, -y.numpy())


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("options", [{}, {"go_backwards": True}, {"return_sequences": True}])
def test_stacked_cells(options, masked, x, mask, monkeypatch):
    cells = [layers.LSTMCell(3), layers.GRUCell(4), layers.SimpleRNNCell(2)]
    layer = layers.RNN(cells, return_state=True, **options)
    given = mask if masked else None
    fused = layer(x, mask=given)
    assert [np.shape(s) for s in flatten(fused[1:])] == [(N, 3), (N, 3), (N, 4), (N, 2)]
    nested = [len(s) if isinstance(s, list) else 0 for s in fused[1:]]
    assert nested == [2, 0, 0]
    monkeypatch.setattr(GatedCell, "can_scan", lambda self: False)
    for a, b in zip(flatten(fused), flatten(layer(x, mask=given)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    states = [np.ones(np.shape(s), "float32") for s in flatten(fused[1:])]
    y = layer(x, initial_state=states)[0]
    np.testing.assert_array_equal(layer(x, initial_state=fused_like(fused[1:], states))[0], y)


def fused_like(nest, leaves):
    leaves = iter(leaves)
    return [[next(leaves) for _ in s] if isinstance(s, list) else next(leaves) for s in nest]


def test_a_cell_alone_is_one_step(x):
    for cell in (layers.SimpleRNNCell(U), layers.GRUCell(U, reset_after=True), layers.LSTMCell(U)):
        states = cell.get_initial_state(batch_size=N, dtype="float32")
        states = states if isinstance(states, list) else [states]
        layer = layers.RNN(cell, return_sequences=True)
        y = layer(x).numpy()
        for t in range(T):
            out, states = cell(convert_to_tensor(x[:, t]), states)
            np.testing.assert_allclose(out, y[:, t], rtol=1e-5, atol=1e-6)


def test_abstract_cell():
    class Cell(layers.AbstractRNNCell):
        state_size = output_size = U

        def call(self, inputs, states):
            return states[0] + 1, [states[0] + 1]

    assert layers.RNN(Cell())(np.zeros((N, T, C), "float32")).numpy()[0, 0] == T
    with pytest.raises(NotImplementedError, match="state_size"):
        layers.RNN(layers.AbstractRNNCell())
