"""What gpunet.preprocessing.sequence does besides Keras's numbers: errors, types, randomness."""

import json
import random

import numpy as np
import pytest

from gpunet.preprocessing.sequence import (
    TimeseriesGenerator,
    make_sampling_table,
    pad_sequences,
    skipgrams,
)


@pytest.mark.parametrize(
    ("args", "options", "message"),
    [
        ([5], {}, "`sequences` must be iterable: expected a list of sequences, got int"),
        ([[[1], 2]], {}, "must be a list of iterables, got 2 at position 1"),
        ([[[1]]], {"padding": "left"}, "Padding type \"left\".* expected padding as 'pre'"),
        ([[[1]]], {"truncating": "left"}, 'Truncating type "left" not understood'),
        ([[[1]]], {"maxlen": -1}, "expected maxlen as an int >= 0, got -1"),
        ([[[1]]], {"value": "x"}, "`dtype` int32 is not compatible with `value`'s type"),
        ([[[[1, 2]], [[1]]]], {}, r"sample \(1,\) of sequence at position 1 .* shape \(2,\)"),
    ],
)
def test_errors_of_pad_sequences(args, options, message):
    with pytest.raises(ValueError, match=message):
        pad_sequences(*args, **options)


def test_pad_sequences_of_texts_and_arrays():
    got = pad_sequences([["long", "word"], ["a"]], dtype=str, value="")
    assert got.tolist() == [["long", "word"], ["", "a"]]
    got = pad_sequences((np.arange(3), np.arange(1)), maxlen=0)
    assert got.shape == (2, 0)
    got = pad_sequences([[[1, 2]], [[3, 4], [5, 6]]], value=[7, 8])
    assert got.tolist() == [[[7, 8], [1, 2]], [[3, 4], [5, 6]]]


def test_errors_of_timeseries_generator():
    with pytest.raises(ValueError, match="Data length is 3 while target length is 2"):
        TimeseriesGenerator([1, 2, 3], [1, 2], 1)
    with pytest.raises(ValueError, match=r"`start_index\+length=4 > end_index=2` is disallowed"):
        TimeseriesGenerator([1, 2, 3], [1, 2, 3], 2, start_index=2)
    for name in ("length", "stride", "sampling_rate", "batch_size"):
        with pytest.raises(ValueError, match=f"{name}: expected a positive int, got 0"):
            TimeseriesGenerator([1, 2, 3], [1, 2, 3], **{"length": 1, name: 0})
    generator = TimeseriesGenerator([1, 2, 3], [1, 2, 3], 1)
    with pytest.raises(IndexError, match="below 1, got 1"):
        generator[1]
    with pytest.raises(TypeError, match="data not JSON Serializable"):
        TimeseriesGenerator([object()] * 3, [1, 2, 3], 1).to_json()


def test_timeseries_generator_from_lists():
    x, y = TimeseriesGenerator([1, 2, 3, 4], ["a", "b", "c", "d"], 2)[0]
    assert x.tolist() == [[1, 2], [2, 3]] and y.tolist() == ["c", "d"]
    config = json.loads(TimeseriesGenerator([1, 2, 3], [1, 2, 3], 1, start_index=1).to_json())
    assert config["class_name"] == "TimeseriesGenerator"
    assert config["config"]["start_index"] == 1 and config["config"]["data"] == "[1, 2, 3]"


def test_shuffled_windows_repeat_with_the_seed(seeds):
    def draw(again):
        generator = TimeseriesGenerator(np.arange(50), np.arange(50), 3, shuffle=True, batch_size=6)
        batches = [generator[i] for i in ([0, 1] if again else [1, 0])]
        generator.on_epoch_end()
        return [*sorted(batches, key=lambda b: b[1].tolist()), generator[0]]

    np.random.seed(5)
    first = draw(True)
    np.random.seed(5)
    second = draw(False)  # batches in another order, as workers make them
    for (x, y), (u, v) in zip(first, second):
        np.testing.assert_array_equal(x, u)
        np.testing.assert_array_equal(y, v)
        np.testing.assert_array_equal(x[:, -1] + 1, y)
    assert len({y.tobytes() for _, y in first}) == 3


def test_skipgrams():
    state = random.getstate()
    try:
        random.seed(1)
        couples, labels = skipgrams(range(30), 30, seed=4)
        after = random.random()
        random.seed(1)
        assert (couples, labels) == skipgrams(range(30), 30, seed=4)
        random.seed(4)
        assert random.random() != after  # the seed is for the order of the pairs alone
    finally:
        random.setstate(state)
    assert sum(labels) * 2 == len(labels) and all(0 < b < 30 for _, b in couples)
    assert all(0 < abs(a - b) <= 4 for (a, b), label in zip(couples, labels) if label)
    assert skipgrams([], 10) == ([], [])


def test_sampling_table_is_a_probability():
    table = make_sampling_table(1000, 0.01)
    assert table.shape == (1000,) and (0 < table).all() and (table <= 1).all()
    assert (np.diff(table[1:]) >= 0).all()
    with pytest.raises(ValueError, match="size: expected a positive int, got 0"):
        make_sampling_table(0)
