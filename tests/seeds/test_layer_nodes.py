"""Layers that are called twice, and merging by a function; README.md says where from."""

import numpy as np
import pytest

from gpunet import backend as K
from gpunet.context import reset_uids
from gpunet.layers import LSTM, Conv2D, Dense, Input, Lambda, Merge
from gpunet.models import Model


def test_one_node():
    a = Input(shape=(280, 256))
    lstm = LSTM(32)
    encoded_a = lstm(a)
    assert lstm.output == encoded_a
    assert lstm.output is encoded_a and lstm.input == a and lstm.output_shape == (None, 32)


def test_two_nodes():
    reset_uids()
    LSTM(32)
    a = Input(shape=(140, 256))
    b = Input(shape=(140, 256))
    lstm = LSTM(32)
    encoded_a = lstm(a)
    encoded_b = lstm(b)
    with pytest.raises(AttributeError) as caught:
        lstm.output  # noqa: B018
    # The tutorials break the line after the commas.
    assert str(caught.value) == (
        'Layer lstm_1 has multiple inbound nodes, hence the notion of "layer output" is '
        "ill-defined. Use `get_output_at(node_index)` instead."
    )
    assert lstm.get_output_at(0) == encoded_a
    assert lstm.get_output_at(1) == encoded_b
    assert lstm.get_output_at(0) != encoded_b and len({encoded_a, encoded_b, a, b}) == 4
    assert lstm.get_input_at(1) == b
    # Both calls have the same shapes, so that there is one answer.
    assert lstm.input_shape == (None, 140, 256) and lstm.output_shape == (None, 32)


def test_two_shapes():
    a = Input(shape=(32, 32, 3))
    b = Input(shape=(64, 64, 3))
    conv = Conv2D(16, (3, 3), padding="same")
    conved_a = conv(a)
    # Only one input so far, the following will work:
    assert conv.input_shape == (None, 32, 32, 3)
    conved_b = conv(b)
    # now the `.input_shape` property wouldn't work, but this does:
    with pytest.raises(AttributeError, match="multiple inbound nodes with different input shapes"):
        conv.input_shape  # noqa: B018
    assert conv.get_input_shape_at(0) == (None, 32, 32, 3)
    assert conv.get_input_shape_at(1) == (None, 64, 64, 3)
    assert conv.get_output_shape_at(1) == conved_b.shape == (None, 64, 64, 16)
    assert conved_a.shape == (None, 32, 32, 16)


def test_merge_by_a_function(seeds):
    def exponent_neg_manhattan_distance(left, right):
        return K.exp(-K.sum(K.abs(left - right), axis=1, keepdims=True))

    left_input, right_input = Input((6,)), Input((6,))
    shared = Dense(4)
    left_output, right_output = shared(left_input), shared(right_input)
    with pytest.warns(UserWarning, match=r"The `Merge` layer is deprecated.*keras.layers.merge"):
        malstm_distance = Merge(
            mode=lambda x: exponent_neg_manhattan_distance(x[0], x[1]),
            output_shape=lambda x: (x[0][0], 1),
        )([left_output, right_output])

    def distance(v):
        return K.exp(-K.sum(K.abs(v[0] - v[1]), axis=1, keepdims=True))

    def out_shape(shapes):
        return (shapes[0][0], 1)

    by_lambda = Lambda(distance, output_shape=out_shape)([left_output, right_output])
    assert malstm_distance.shape == by_lambda.shape == (None, 1)
    model = Model([left_input, right_input], [malstm_distance, by_lambda])
    a, b = np.random.random((2, 5, 6)).astype("float32")
    kernel, bias = shared.get_weights()
    want = np.exp(-np.abs((a - b) @ kernel).sum(axis=1, keepdims=True))
    for got in model.predict([a, b]):
        np.testing.assert_allclose(got, want, rtol=1e-5)
