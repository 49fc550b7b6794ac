"""Headlines with an auxiliary loss, tweets of one author; README.md says where they come from."""

import numpy as np
import pytest

import gpunet as keras
from gpunet.layers import LSTM, Dense, Embedding, Input, TimeDistributed
from gpunet.models import Model, Sequential

WORDS, STEPS = 100, 12


def news():
    # Headline input: meant to receive sequences of 100 integers, between 1 and 10000.
    main_input = Input(shape=(STEPS,), dtype="int32", name="main_input")
    x = Embedding(output_dim=16, input_dim=WORDS, input_length=STEPS)(main_input)
    lstm_out = LSTM(8)(x)
    auxiliary_output = Dense(1, activation="sigmoid", name="aux_output")(lstm_out)
    auxiliary_input = Input(shape=(5,), name="aux_input")
    x = keras.layers.concatenate([lstm_out, auxiliary_input])
    # We stack a deep densely-connected network on top
    x = Dense(64, activation="relu")(x)
    x = Dense(64, activation="relu")(x)
    x = Dense(64, activation="relu")(x)
    # And finally we add the main logistic regression layer
    main_output = Dense(1, activation="sigmoid", name="main_output")(x)
    return Model(inputs=[main_input, auxiliary_input], outputs=[main_output, auxiliary_output])


def test_two_ways_to_compile_and_fit(seeds):
    headline_data = np.random.randint(WORDS, size=(64, STEPS))
    additional_data = np.random.random((64, 5))
    labels = (headline_data[:, -1:] > WORDS // 2).astype("float32")
    model = news()
    assert model.input_names == ["main_input", "aux_input"]
    assert model.output_names == ["main_output", "aux_output"]
    start = model.get_weights()
    model.compile(optimizer="rmsprop", loss="binary_crossentropy", loss_weights=[1.0, 0.2])
    keras.set_random_seed(1)
    first = model.fit(
        [headline_data, additional_data], [labels, labels], epochs=6, batch_size=32, verbose=0
    ).history
    assert list(first) == ["loss", "main_output_loss", "aux_output_loss"]
    np.testing.assert_allclose(
        first["loss"],
        np.add(first["main_output_loss"], np.multiply(first["aux_output_loss"], 0.2)),
        rtol=1e-5,
    )
    assert first["loss"][-1] < first["loss"][0]
    # Since inputs and outputs are named, the same by names:
    model.set_weights(start)
    model.compile(
        optimizer="rmsprop",
        loss={"main_output": "binary_crossentropy", "aux_output": "binary_crossentropy"},
        loss_weights={"main_output": 1.0, "aux_output": 0.2},
    )
    keras.set_random_seed(1)
    second = model.fit(
        {"main_input": headline_data, "aux_input": additional_data},
        {"main_output": labels, "aux_output": labels},
        epochs=6,
        batch_size=32,
        verbose=0,
    ).history
    assert second == first


def test_a_model_applied_to_every_step(seeds):
    inputs = Input(shape=(784,))
    x = Dense(64, activation="relu")(inputs)
    model = Model(inputs, Dense(10, activation="softmax")(x))
    # Input tensor for sequences of 20 timesteps, each containing a 784-dimensional vector
    input_sequences = Input(shape=(20, 784))
    processed_sequences = TimeDistributed(model)(input_sequences)
    assert processed_sequences.shape == (None, 20, 10)
    whole = Model(input_sequences, processed_sequences)
    video = np.random.random((2, 20, 784)).astype("float32")
    frames = model.predict(video.reshape(40, 784)).reshape(2, 20, 10)
    np.testing.assert_allclose(whole.predict(video), frames, rtol=1e-5, atol=1e-7)
    assert [id(w) for w in whole.trainable_weights] == [id(w) for w in model.trainable_weights]


def test_time_distributed_dense():
    model = Sequential()
    model.add(TimeDistributed(Dense(8), input_shape=(10, 16)))
    assert model.output_shape == (None, 10, 8) and model.count_params() == 16 * 8 + 8
    x = np.random.default_rng(0).random((32, 10, 16)).astype("float32")
    kernel, bias = model.get_weights()
    np.testing.assert_allclose(model.predict(x), x @ kernel + bias, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("steps", [140, 280])
def test_shared_lstm(steps, seeds):
    tweet_a = Input(shape=(steps, 256))
    tweet_b = Input(shape=(steps, 256))
    # This layer can take as input a matrix and will return a vector of size 64
    shared_lstm = LSTM(64)
    # When we reuse the same layer instance multiple times, the weights of the layer
    # are also being reused (it is effectively *the same* layer)
    encoded_a = shared_lstm(tweet_a)
    encoded_b = shared_lstm(tweet_b)
    # We can then concatenate the two vectors:
    merged_vector = keras.layers.concatenate([encoded_a, encoded_b], axis=-1)
    # And add a logistic regression on top
    predictions = Dense(1, activation="sigmoid")(merged_vector)
    model = Model(inputs=[tweet_a, tweet_b], outputs=predictions)
    model.compile(optimizer="rmsprop", loss="binary_crossentropy", metrics=["accuracy"])
    assert merged_vector.shape == (None, 128)
    # One LSTM, not two.
    assert model.count_params() == 4 * 64 * (256 + 64 + 1) + 129
    if steps == 280:
        return
    one_hot = np.eye(256, dtype="float32")
    authors = np.random.randint(2, size=(2, 24))
    data_a, data_b = (
        one_hot[np.random.randint(128, size=(24, steps)) + 128 * a[:, None]] for a in authors
    )
    labels = (authors[0] == authors[1]).astype("float32")
    history = model.fit([data_a, data_b], labels, epochs=3, verbose=0).history
    assert list(history) == ["loss", "accuracy"] and history["loss"][-1] < history["loss"][0]
    same = Model(tweet_a, encoded_a).predict(data_a[:2])
    np.testing.assert_array_equal(Model(tweet_b, encoded_b).predict(data_a[:2]), same)
