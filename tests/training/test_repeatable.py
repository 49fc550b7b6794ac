"""Runs that repeat bit for bit, weights that stay, storage that models share."""

import contextlib
import subprocess
import sys

import numpy as np
import pytest

import gpunet
from gpunet import optimizers, regularizers
from gpunet.layers import Dense, Dropout, Input
from gpunet.models import Model, Sequential


@pytest.fixture
def data(rng):
    return rng.standard_normal((60, 5)).astype("float32"), rng.integers(0, 3, 60)


def dropped_out():
    return Sequential(
        [
            Dense(16, activation="relu", input_shape=(5,)),
            Dropout(0.5),
            Dense(3, activation="softmax"),
        ]
    )


def run(data, seed, shuffle=True):
    gpunet.utils.set_random_seed(seed)
    model = dropped_out()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(
        *data, epochs=3, batch_size=16, shuffle=shuffle, validation_split=0.2, verbose=0
    )
    return repr(history.history), b"".join(w.tobytes() for w in model.get_weights())


@pytest.mark.parametrize("shuffle", [True, False, "batch"])
def test_seed_repeats_a_run(data, shuffle):
    assert run(data, 1, shuffle) == run(data, 1, shuffle)
    first, second = run(data, 1, shuffle), run(data, 2, shuffle)
    assert first[0] != second[0] and first[1] != second[1]


@pytest.mark.parametrize(("seeds", "equal"), [((7, 7), True), ((7, 8), False)])
def test_the_seed_of_numpy_alone_repeats_a_run(seeds, equal):
    code = """
import sys, numpy as np
np.random.seed(int(sys.argv[1]))
import gpunet
from gpunet.layers import Dense, Dropout
from gpunet.models import Sequential
x, y = np.random.rand(40, 4), np.random.rand(40)
model = Sequential([Dense(8, input_shape=(4,)), Dropout(0.5), Dense(1)])
model.compile("adam", "mse")
print(model.fit(x, y, epochs=2, verbose=0).history, [w.tobytes() for w in model.get_weights()])
"""
    outputs = [
        subprocess.run(
            [sys.executable, "-c", code, str(seed)], capture_output=True, text=True, check=True
        ).stdout
        for seed in seeds
    ]
    assert (outputs[0] == outputs[1]) is equal


# -- weights that aren't trained ------------------------------------------------------------


def two_layers(trainable=True, regularizer=None):
    first = Dense(8, activation="tanh", input_shape=(5,), kernel_regularizer=regularizer)
    first.trainable = trainable
    model = Sequential([first, Dense(3, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def bits(layer):
    return [w.tobytes() for w in layer.get_weights()]


def test_frozen_weights_keep_their_bits(data):
    model = two_layers(trainable=False)
    frozen, other = bits(model.layers[0]), bits(model.layers[1])
    model.fit(*data, epochs=2, verbose=0)
    assert bits(model.layers[0]) == frozen and bits(model.layers[1]) != other


def test_regularizer_of_frozen_weights_counts_and_moves_nothing(data):
    model = two_layers(trainable=False, regularizer=regularizers.l2(0.1))
    frozen = bits(model.layers[0])
    kernel = model.layers[0].get_weights()[0]
    plain = two_layers()
    plain.set_weights(model.get_weights())
    difference = model.evaluate(*data, verbose=0) - plain.evaluate(*data, verbose=0)
    assert difference == pytest.approx(0.1 * np.square(kernel).sum(), rel=1e-4)
    model.fit(*data, verbose=0)
    assert bits(model.layers[0]) == frozen


def test_trainable_changed_after_compile_waits_and_warns_once(data, recwarn):
    model = two_layers()
    model.fit(*data, verbose=0)
    model.layers[0].trainable = False
    before = bits(model.layers[0])
    with pytest.warns(UserWarning, match="takes effect at the next compile") as caught:
        model.fit(*data, verbose=0)
    assert caught[0].filename == __file__
    assert bits(model.layers[0]) != before
    recwarn.clear()
    model.fit(*data, verbose=0)
    model.train_on_batch(*data)
    assert not recwarn.list
    model.compile("adam", "sparse_categorical_crossentropy")
    before = bits(model.layers[0])
    model.fit(*data, verbose=0)
    model.train_on_batch(*data)
    assert bits(model.layers[0]) == before and not recwarn.list
    model.layers[0].trainable = True
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(*data, verbose=0)
    assert bits(model.layers[0]) != before


def test_flag_of_a_layer_without_weights_is_no_reason_to_warn(data, recwarn):
    model = dropped_out()
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(*data, verbose=0)
    model.layers[1].trainable = False
    model.fit(*data, verbose=0)
    assert not recwarn.list


def test_nothing_to_train(data):
    model = two_layers()
    model.trainable = False
    model.compile("adam", "sparse_categorical_crossentropy")
    before = bits(model)
    history = model.fit(*data, epochs=2, shuffle=False, verbose=0).history["loss"]
    assert bits(model) == before and history[0] == history[1]


# -- weights in several models ----------------------------------------------------------------


def test_two_models_train_the_same_weights_in_turn(data):
    """As in a GAN: each with its own optimizer and its own choice of what is frozen."""
    x, y = data

    def build():
        gpunet.utils.set_random_seed(4)
        shared = Dense(6, activation="tanh", name="shared")
        inputs = Input((5,))
        first = Model(inputs, Dense(3, activation="softmax", name="a")(shared(inputs)))
        first.compile(optimizers.SGD(0.1, momentum=0.9), "sparse_categorical_crossentropy")
        second = Model(inputs, Dense(1, name="b")(shared(inputs)))
        second.compile("adam", "mse")
        return first, second

    first, second = build()
    for _ in range(5):
        before = second.get_weights()
        first.train_on_batch(x, y)
        moved = second.get_weights()
        assert (before[0] != moved[0]).any()  # they see each other's steps
        np.testing.assert_array_equal(before[2], moved[2])  # and keep to their own weights
        np.testing.assert_array_equal(moved[0], first.get_weights()[0])
        own = first.get_weights()
        second.train_on_batch(x, x[:, 0])
        assert (first.get_weights()[0] != own[0]).any()
        np.testing.assert_array_equal(first.get_weights()[2], own[2])

    again = build()
    for _ in range(5):
        again[0].train_on_batch(x, y)
        again[1].train_on_batch(x, x[:, 0])
    for got, want in zip(again[0].get_weights(), first.get_weights(), strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("shape", [{"input_shape": (5,)}, {}], ids=["built", "deferred"])
def test_frozen_inside_another_model(data, shape):
    """As in a GAN: what was compiled trainable stays so, whatever was set for the other model."""
    x, _ = data
    critic = Sequential([Dense(4, activation="tanh", **shape), Dense(1)])
    critic.compile("adam", "mse")
    critic.trainable = False
    inputs = Input((5,))
    maker = Dense(5)
    whole = Model(inputs, critic(maker(inputs)))
    whole.compile("adam", "mse")
    for turn in range(3):
        kept, made = bits(critic), bits(maker)
        whole.train_on_batch(x, np.ones(60))
        assert bits(critic) == kept and bits(maker) != made
        made = bits(maker)
        with contextlib.nullcontext() if turn else pytest.warns(UserWarning, match="next compile"):
            critic.train_on_batch(x, np.zeros(60))
        assert bits(critic) != kept and bits(maker) == made
