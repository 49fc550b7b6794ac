"""tf.data.Dataset: elements, order, batches, and what training makes of it."""

import itertools

import numpy as np
import pytest

X = np.arange(10, dtype="float32")
Y = np.arange(10) * 10


@pytest.fixture
def pairs(tf):
    return tf.data.Dataset.from_tensor_slices((X, Y))


def rows(dataset):
    return [
        tuple(a.tolist() for a in e) if isinstance(e, tuple) else e.tolist()
        for e in dataset.as_numpy_iterator()
    ]


def numbers(tf, n=10):
    return tf.data.Dataset.range(n)


def test_slices_of_nests(tf):
    nest = ({"a": X, "b": X[:, None]}, Y)
    dataset = tf.data.Dataset.from_tensor_slices(nest)
    assert len(dataset) == 10 and dataset.cardinality() == 10
    features, label = next(iter(dataset))
    assert tf.is_tensor(features["a"]) and features["b"].shape == (1,) and int(label) == 0
    features, label = next(iter(dataset.skip(4).batch(4)))
    np.testing.assert_array_equal(features["b"], X[4:8, None])
    assert label.dtype == tf.int64
    assert rows(tf.data.Dataset.from_tensor_slices([[1, 2], [3, 4]])) == [[1, 2], [3, 4]]
    assert rows(tf.data.Dataset.from_tensors(([1, 2], 3))) == [([1, 2], 3)]


@pytest.mark.parametrize("nest", [(X, Y[:5]), 3.0, ()])
def test_slices_need_one_length(tf, nest):
    with pytest.raises(ValueError, match="expected arrays of one length, got shapes"):
        tf.data.Dataset.from_tensor_slices(nest)


def test_batch(tf, pairs):
    assert rows(pairs.batch(4))[-1] == ([8.0, 9.0], [80, 90])
    assert [len(b[0]) for b in pairs.batch(4)] == [4, 4, 2]
    assert [len(b[0]) for b in pairs.batch(4, drop_remainder=True)] == [4, 4]
    assert (len(pairs.batch(4)), len(pairs.batch(4, True)), len(pairs.batch(20))) == (3, 2, 1)
    assert [b.shape for b, _ in pairs.batch(2).batch(3)] == [(3, 2), (2, 2)]
    assert rows(pairs.take(0).batch(3)) == []
    with pytest.raises(ValueError, match="expected a batch_size > 0, got 0"):
        pairs.batch(0)
    ragged = tf.data.Dataset.from_generator(lambda: iter([[1], [1, 2]]), tf.int32)
    with pytest.raises(ValueError, match=r"elements of one shape, got \[\(1,\), \(2,\)\]"):
        list(ragged.batch(2))
    padded = ragged.padded_batch(2, padded_shapes=(None,), padding_values=-1)
    assert rows(padded) == [[[1, -1], [1, 2]]]


@pytest.mark.parametrize("size", [1, 3, 9, 10, 1000])
def test_shuffle_is_a_permutation_within_reach(tf, size):
    dataset = numbers(tf).shuffle(size, seed=4)
    first, second = rows(dataset), rows(dataset)
    assert sorted(first) == sorted(second) == list(range(10))
    # An element can't come before the buffer has reached it.
    assert all(value <= place + size - 1 for place, value in enumerate(first))
    if size > 1:
        assert first != second and first != list(range(10))
    again = numbers(tf).shuffle(size, seed=4)
    assert rows(again) == first and rows(again) == second
    fixed = numbers(tf).shuffle(size, seed=4, reshuffle_each_iteration=False)
    assert rows(fixed) == rows(fixed)


def test_shuffle_follows_the_seed_of_gpunet(tf):
    tf.random.set_seed(1)
    first = rows(numbers(tf, 50).shuffle(50))
    tf.random.set_seed(1)
    assert rows(numbers(tf, 50).shuffle(50)) == first
    tf.random.set_seed(2)
    assert rows(numbers(tf, 50).shuffle(50)) != first
    with pytest.raises(ValueError, match="expected a buffer_size > 0, got 0"):
        numbers(tf).shuffle(0)


def test_repeat_take_skip_shard_concatenate(tf):
    three = numbers(tf, 3)
    assert rows(three.repeat(2)) == [0, 1, 2] * 2 and len(three.repeat(2)) == 6
    endless = three.repeat()
    assert [int(i) for i in itertools.islice(endless, 7)] == [0, 1, 2, 0, 1, 2, 0]
    assert endless.cardinality() == -1 and rows(endless.take(4)) == [0, 1, 2, 0]
    assert endless.batch(2).cardinality() == -1 and len(endless.take(4)) == 4
    with pytest.raises(TypeError, match="The dataset length is infinite."):
        len(endless)
    assert rows(three.take(0).repeat()) == []
    assert rows(three.skip(2)) == [2] and len(three.skip(5)) == 0 and rows(three.skip(-1)) == []
    assert rows(three.take(-1)) == [0, 1, 2]
    assert rows(numbers(tf).shard(3, 1)) == [1, 4, 7] and len(numbers(tf).shard(3, 1)) == 3
    joined = three.concatenate(numbers(tf, 2))
    assert rows(joined) == [0, 1, 2, 0, 1] and len(joined) == 5


def test_map_filter_and_others(tf, pairs):
    mapped = pairs.map(lambda x, y: (x * 2, tf.cast(y, tf.float32) + x), num_parallel_calls=4)
    assert rows(mapped)[2] == (4.0, 22.0) and len(mapped) == 10
    assert rows(numbers(tf).filter(lambda i: i % 3 == 0)) == [0, 3, 6, 9]
    with pytest.raises(TypeError, match="The dataset length is unknown."):
        len(numbers(tf).filter(lambda i: i > 3))
    assert rows(numbers(tf, 3).enumerate(5)) == [(5, 0), (6, 1), (7, 2)]
    assert rows(pairs.batch(3).unbatch()) == rows(pairs)
    flat = numbers(tf, 3).flat_map(lambda i: tf.data.Dataset.from_tensor_slices([i, i * 10]))
    assert rows(flat) == [0, 0, 1, 10, 2, 20]
    windows = numbers(tf, 5).window(3, shift=1, drop_remainder=True)
    assert rows(windows.flat_map(lambda w: w.batch(3))) == [[0, 1, 2], [1, 2, 3], [2, 3, 4]]
    assert int(numbers(tf, 5).reduce(0, lambda total, i: total + i)) == 10
    assert rows(numbers(tf, 2).apply(lambda d: d.repeat(2))) == [0, 1, 0, 1]
    features = tf.data.Dataset.from_tensor_slices({"a": X}).map(lambda f: f["a"] + 1)
    assert rows(features)[0] == 1.0


def test_zip(tf, pairs):
    zipped = tf.data.Dataset.zip((pairs, numbers(tf, 3)))
    assert len(zipped) == 3
    assert [int(n) for (_, _), n in zipped] == [0, 1, 2]
    assert rows(tf.data.Dataset.zip(numbers(tf, 2), numbers(tf, 2))) == [(0, 0), (1, 1)]


def test_cache_runs_the_functions_once(tf):
    calls = []

    def count(i):
        calls.append(int(i))
        return i

    dataset = numbers(tf, 4).map(count).cache().repeat(3)
    assert rows(dataset) == [0, 1, 2, 3] * 3 and calls == [0, 1, 2, 3]
    broken = numbers(tf, 4).map(count).cache()
    next(iter(broken))  # an iteration that isn't finished keeps nothing
    assert rows(broken) == [0, 1, 2, 3]


def test_generators(tf):
    def count(n=3):
        for i in range(n):
            yield [i, i + 1], {"y": i}

    types = (tf.float32, {"y": tf.int32})
    dataset = tf.data.Dataset.from_generator(count, types, ((2,), {"y": ()}))
    x, y = next(iter(dataset.batch(2)))
    assert x.dtype == tf.float32 and y["y"].dtype == tf.int32 and x.shape == (2, 2)
    signature = (tf.TensorSpec((2,), tf.float64), {"y": tf.TensorSpec((), tf.int64)})
    dataset = tf.data.Dataset.from_generator(count, output_signature=signature, args=(1,))
    assert [x.dtype.name for x, _ in dataset] == ["float64"]
    assert dataset.element_spec[0] == tf.TensorSpec((2,), tf.float64)
    with pytest.raises(TypeError, match="expected a function that returns an iterable"):
        tf.data.Dataset.from_generator(count())
    wrong = tf.data.Dataset.from_generator(lambda: iter([(1, 2, 3)]), (tf.int32, tf.int32))
    with pytest.raises(TypeError, match="in the structure .* got one of tuple of 3"):
        list(wrong)


def test_training(tf):
    x = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
    y = x @ np.array([[1.0], [2.0], [3.0]], "float32")
    model = tf.keras.Sequential([tf.keras.layers.Dense(1, input_shape=(3,))])
    model.compile(tf.keras.optimizers.SGD(0.1), "mse", metrics=["mae"])
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(40).batch(8)
    history = model.fit(dataset, epochs=20, validation_data=dataset.take(2), verbose=0)
    assert history.history["loss"][-1] < 0.01 * history.history["loss"][0]
    endless = dataset.repeat().prefetch(tf.data.experimental.AUTOTUNE)
    model.fit(endless, steps_per_epoch=3, epochs=2, verbose=0)
    loss, mae = model.evaluate(dataset, verbose=0)
    assert loss < 0.1 and mae < 0.3
    plain = tf.data.Dataset.from_tensor_slices(x).batch(16)
    np.testing.assert_allclose(model.predict(plain), model.predict(x), rtol=1e-5)


def test_batches_of_arrays_are_fast_to_make(tf):
    """Rows stay numbers until a batch indexes the arrays once."""
    calls = []

    class Counting(np.ndarray):
        def __getitem__(self, key):
            calls.append(key)
            return np.asarray(super().__getitem__(key))

    x = np.arange(100.0).view(Counting)
    dataset = tf.data.Dataset.from_tensor_slices(x).shuffle(100, seed=0).repeat(2).batch(50)
    calls.clear()
    assert sum(len(b) for b in dataset) == 200 and len(calls) == 4
