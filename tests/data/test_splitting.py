"""`utils.split_dataset`; the numbers of elements are those that tf_keras 2.21 gave."""

import numpy as np
import pytest

import gpunet as keras
from gpunet.data.splitting import split_dataset
from gpunet.dropin.tf.data import Dataset


def values(part):
    return [np.asarray(v).tolist() for v in part.as_numpy_iterator()]


@pytest.mark.parametrize(
    "count, sizes, expected",
    [
        (10, {"left_size": 0.3}, (3, 7)),
        (10, {"right_size": 3}, (7, 3)),
        (10, {"left_size": 3, "right_size": 2}, (3, 2)),
        (7, {"left_size": 0.5}, (4, 3)),
        (7, {"right_size": 0.5}, (3, 4)),
        (9, {"left_size": 0.5}, (4, 5)),
        (11, {"right_size": 0.55}, (5, 6)),
        (7, {"left_size": 0.35, "right_size": 0.65}, (2, 5)),
        (11, {"left_size": 0.25, "right_size": 0.25}, (3, 3)),
        (10, {"left_size": np.float32(0.5), "right_size": np.int64(5)}, (5, 5)),
    ],
)
def test_sizes_are_those_of_keras(count, sizes, expected):
    left, right = split_dataset(np.arange(count), **sizes)
    assert (len(left), len(right)) == expected
    assert values(left) == list(range(expected[0]))
    assert values(right) == list(range(count - expected[1], count))


def test_halves_of_an_odd_number_are_no_error():
    left, right = split_dataset(np.arange(7), left_size=0.5, right_size=0.5)
    assert (values(left), values(right)) == ([0, 1, 2, 3], [4, 5, 6])


def test_several_arrays_stay_together_in_a_random_order():
    x = np.arange(20)
    left, right = split_dataset((x, x * 2), left_size=15, shuffle=True, seed=1)
    rows = [*left.as_numpy_iterator(), *right.as_numpy_iterator()]
    assert all(b == 2 * a for a, b in rows)
    order = [int(a) for a, _ in rows]
    assert sorted(order) == x.tolist() and order != x.tolist()
    again = split_dataset((x, x * 2), left_size=15, shuffle=True, seed=1)[0]
    assert [int(a) for a, _ in again.as_numpy_iterator()] == order[:15]


def test_a_dataset_is_divided_once_and_trains():
    x = np.linspace(-1, 1, 12, dtype="float32")[:, None]
    source = Dataset.from_tensor_slices((x, 2 * x)).shuffle(12, seed=3)
    left, right = keras.utils.split_dataset(source, right_size=0.25)
    rows = [*values(left.map(lambda a, b: a)), *values(right.map(lambda a, b: a))]
    assert sorted(rows) == x.tolist()
    model = keras.Sequential([keras.layers.Dense(1, input_shape=(1,))])
    model.compile("sgd", "mse")
    history = model.fit(left.batch(4), validation_data=right.batch(4), verbose=0)
    assert np.isfinite(history.history["val_loss"]).all()


@pytest.mark.parametrize(
    "dataset, sizes, error, words",
    [
        (np.arange(10), {}, ValueError, "got neither"),
        (np.arange(10), {"left_size": 0}, ValueError, "from 1 to 9, got 0"),
        (np.arange(10), {"left_size": 11}, ValueError, "got 11"),
        (np.arange(10), {"left_size": 1.0}, ValueError, "between 0 and 1"),
        (np.arange(10), {"left_size": float("nan")}, ValueError, "got nan"),
        (np.arange(10), {"left_size": "a"}, TypeError, "left_size, got 'a'"),
        (np.arange(10), {"right_size": True}, TypeError, "right_size, got True"),
        (np.arange(10), {"left_size": 0.01}, ValueError, "0 and 10 of 10"),
        (np.arange(10), {"left_size": 0.3, "right_size": 0.9}, ValueError, "3 and 9 of 10"),
        (np.zeros(0), {"left_size": 0.5}, ValueError, "no elements"),
        ((np.zeros(10), np.zeros(3)), {"left_size": 0.5}, ValueError, "one length"),
        ({"a": np.zeros(3)}, {"left_size": 1}, TypeError, "got dict"),
        (5, {"left_size": 1}, TypeError, "got int 5"),
        (Dataset.range(3).repeat(), {"left_size": 1}, ValueError, "no end"),
    ],
)
def test_errors_say_what_was_expected(dataset, sizes, error, words):
    with pytest.raises(error, match=words):
        split_dataset(dataset, **sizes)
