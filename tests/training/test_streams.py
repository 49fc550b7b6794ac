"""Generators, Sequences and other iterables of batches train as the arrays they were cut from."""

import threading

import numpy as np
import pytest

import gpunet
from gpunet.layers import Dense, Input
from gpunet.models import Model, Sequential
from gpunet.utils import Sequence

ROWS, SIZE = 40, 8


@pytest.fixture
def data(rng):
    x = rng.standard_normal((ROWS, 4)).astype("float32")
    y = rng.integers(0, 3, (ROWS, 1)).astype("int32")
    w = rng.random(ROWS).astype("float32")
    return x, y, w


def classifier(**options):
    gpunet.utils.set_random_seed(3)
    model = Sequential([Dense(6, activation="tanh", input_shape=(4,)),
                        Dense(3, activation="softmax")])  # fmt: skip
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], **options)
    return model


def cut(*arrays, size=SIZE):
    rows = [slice(i, i + size) for i in range(0, len(arrays[0]), size)]
    return [tuple(a[r] for a in arrays) for r in rows]


class Batches(Sequence):
    """Batches by number, which notes what is asked of it."""

    def __init__(self, *arrays, size=SIZE):
        self.items = cut(*arrays, size=size)
        self.asked, self.ends = [], 0

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        self.asked.append(index)
        return self.items[index]

    def on_epoch_end(self):
        self.ends += 1


class Iterable:
    """Iterable again and again, of unknown length, like a data set of tf.data."""

    def __init__(self, items):
        self.items = items

    def __iter__(self):
        return iter(self.items)


class Sized(Iterable):
    """Like a DataLoader of torch: its length is known, and its batches are lists."""

    def __len__(self):
        return len(self.items)

    def __iter__(self):
        return map(list, self.items)


def forever(items):
    while True:
        yield from items


def trained(x, y=None, check=None, **options):
    """Return what a fresh model makes of data, as one flat list of numbers."""
    model = classifier()
    options = {"epochs": 3, "verbose": 0, "shuffle": False, **options}
    history = model.fit(x, y, validation_data=check, **options)
    numbers = [v for values in history.history.values() for v in values]
    return np.concatenate([numbers, *map(np.ravel, model.get_weights())])


KINDS = {
    "Sequence": lambda items: (Batches(*map(np.concatenate, zip(*items))), {}),
    "generator": lambda items: (forever(items), {"steps_per_epoch": len(items)}),
    "iterator": lambda items: (iter(items * 3), {"steps_per_epoch": len(items)}),
    "iterable": lambda items: (Iterable(items), {}),
    "iterable, steps": lambda items: (Iterable(items), {"steps_per_epoch": len(items)}),
    "sized": lambda items: (Sized(items), {}),
}


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_batches_train_as_the_arrays_they_were_cut_from(data, kind, workers):
    x, y, w = data
    source, options = KINDS[kind](cut(x, y, w))
    got = trained(source, workers=workers, **options)
    np.testing.assert_array_equal(got, trained(x, y, batch_size=SIZE, sample_weight=w))


@pytest.mark.parametrize("kind", KINDS)
def test_class_weights_reach_batches(data, kind):
    x, y, _ = data
    weights = {0: 0.5, 1: 2.0, 2: 1.0}
    source, options = KINDS[kind](cut(x, y))
    want = trained(x, y, batch_size=SIZE, class_weight=weights)
    np.testing.assert_array_equal(trained(source, class_weight=weights, **options), want)


CHECKS = {
    "Sequence": lambda items: (Batches(*map(np.concatenate, zip(*items))), {}),
    "generator": lambda items: (forever(items), {"validation_steps": len(items)}),
    "iterable": lambda items: (Iterable(items), {}),
    "sized": lambda items: (Sized(items), {"validation_steps": len(items) + 7}),
}


@pytest.mark.parametrize("kind", CHECKS)
def test_validation_data_of_every_kind(data, kind):
    x, y, w = data
    source, options = CHECKS[kind](cut(x[:21], y[:21], w[:21]))
    want = trained(x, y, (x[:21], y[:21], w[:21]), batch_size=SIZE)
    np.testing.assert_allclose(trained(x, y, source, batch_size=SIZE, **options), want, rtol=1e-6)
    got = trained(Batches(x, y), check=source, **options)
    np.testing.assert_allclose(got, want, rtol=1e-6)


@pytest.mark.parametrize("kind", ["Sequence", "generator", "iterable", "sized"])
def test_evaluate_and_predict(data, kind):
    x, y, w = data
    model = classifier()
    source, _ = KINDS[kind](cut(x[:21], y[:21], w[:21]))
    steps = 3 if kind == "generator" else None
    want = model.evaluate(x[:21], y[:21], SIZE, sample_weight=w[:21], verbose=0)
    assert model.evaluate(source, steps=steps, verbose=0) == want
    source, _ = KINDS[kind](cut(x[:21], y[:21], w[:21]))
    got = model.predict(source, steps=steps)
    np.testing.assert_array_equal(got, model.predict(x[:21], batch_size=SIZE))
    assert len(model.predict(Batches(x), steps=2)) == 2 * SIZE


def test_older_methods(data):
    x, y, _ = data
    model, other = classifier(), classifier()
    want = other.fit(x, y, SIZE, epochs=2, shuffle=False, verbose=0).history
    got = model.fit_generator(
        forever(cut(x, y)), 5, 2, verbose=0, max_q_size=2, nb_worker=2, pickle_safe=False
    )
    assert got.history == want
    assert model.evaluate_generator(Batches(x, y)) == other.evaluate(x, y, SIZE, verbose=0)
    predicted = model.predict_generator(forever(cut(x)), steps=5)
    np.testing.assert_array_equal(predicted, other.predict(x, batch_size=SIZE))
    with pytest.raises(TypeError, match="samples_per_epoch counts samples"):
        model.fit_generator(forever(cut(x, y)), samples_per_epoch=40)
    with pytest.raises(TypeError, match="unknown argument 'steps'"):
        model.fit_generator(forever(cut(x, y)), steps=40)
    with pytest.raises(TypeError, match="fit_generator: expected a generator"):
        model.fit_generator(x, 1)


# -- what is read, and when -----------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_a_sequence_is_asked_for_each_batch_once_and_told_of_each_end(data, workers):
    x, y, _ = data
    train, check = Batches(x, y), Batches(x[:16], y[:16])
    classifier().fit(train, epochs=2, validation_data=check, workers=workers, verbose=0,
                     shuffle=False)  # fmt: skip
    assert (sorted(train.asked), train.ends) == (sorted([*range(5)] * 2), 2)
    assert (sorted(check.asked), check.ends) == ([0, 0, 1, 1], 2)


def test_order_of_a_sequence_is_drawn_anew_each_epoch(data):
    x, y, _ = data
    train = Batches(x, y)
    model = classifier()
    model.fit(train, epochs=4, workers=0, verbose=0)
    orders = [tuple(train.asked[i : i + 5]) for i in range(0, 20, 5)]
    assert all(sorted(order) == [0, 1, 2, 3, 4] for order in orders) and len(set(orders)) > 1
    gpunet.utils.set_random_seed(3)
    again = Batches(x, y)
    classifier().fit(again, epochs=4, workers=0, verbose=0)
    assert again.asked == train.asked


@pytest.mark.parametrize(("steps", "want"), [(2, [0, 1, 0, 1]), (7, [0, 1, 2, 3, 4, 0, 1] * 2)])
def test_steps_per_epoch_of_a_sequence(data, steps, want):
    train = Batches(*data[:2])
    classifier().fit(train, epochs=2, steps_per_epoch=steps, workers=0, shuffle=False, verbose=0)
    assert train.asked == want


def test_a_generator_goes_on_from_epoch_to_epoch_and_no_further(data):
    taken = []

    def generator():
        for i, item in enumerate(forever(cut(*data))):
            taken.append(i)
            yield item

    source = generator()
    classifier().fit(source, steps_per_epoch=3, epochs=2, verbose=0, max_queue_size=50)
    assert taken == [*range(6)]  # nothing is lost that another fit may want
    assert next(source) is not None and taken[-1] == 6


def test_an_iterable_with_steps_goes_round(data):
    x, y, _ = data
    want = trained(np.tile(x, (6, 1))[: 21 * 8], np.tile(y, (6, 1))[: 21 * 8], batch_size=8,
                   epochs=1)[2:]  # fmt: skip
    got = trained(Iterable(cut(x, y)), steps_per_epoch=7, epochs=3)[6:]
    np.testing.assert_array_equal(got, want)


def test_steps_are_known_from_the_second_epoch_on(data):
    class Watch(gpunet.callbacks.Callback):
        seen = []

        def on_epoch_begin(self, epoch, logs=None):
            self.seen.append(self.params["steps"])

    classifier().fit(Iterable(cut(*data)), epochs=2, callbacks=[Watch()], verbose=0)
    assert Watch.seen == [None, 5]


def test_params_of_batches_say_nothing_of_samples(data):
    class Watch(gpunet.callbacks.Callback):
        def on_train_begin(self, logs=None):
            Watch.seen = dict(self.params)

    classifier().fit(Batches(*data), callbacks=[Watch()], verbose=0)
    assert Watch.seen["steps"] == 5 and not {"samples", "batch_size"} & set(Watch.seen)


def test_generator_without_steps_gives_one_epoch(data):
    history = classifier().fit(iter(cut(*data)), verbose=0)
    assert len(history.history["loss"]) == 1
    with pytest.raises(ValueError, match="can be read once, but 2 passes are wanted"):
        classifier().fit(iter(cut(*data)), epochs=2, verbose=0)


# -- forms of batches -----------------------------------------------------------------------


def two_inputs():
    gpunet.utils.set_random_seed(1)
    a, b = Input((4,), name="a"), Input((2,), name="b")
    out = gpunet.layers.concatenate([a, b])
    model = Model([a, b], [Dense(1, name="p")(out), Dense(2, name="q")(out)])
    model.compile("sgd", "mse")
    return model


FORMS = {
    "lists": lambda a, b, p, q: ([a, b], [p, q]),
    "lists of lists": lambda a, b, p, q: [[a, b], [p, q]],
    "dicts": lambda a, b, p, q: ({"b": b, "a": a}, {"q": q, "p": p}),
    "tuples": lambda a, b, p, q: ((a, b), (p, q)),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_batches_with_several_inputs(rng, form):
    a, b, p, q = (rng.standard_normal((16, n)).astype("float32") for n in (4, 2, 1, 2))
    want, got = two_inputs(), two_inputs()
    want.fit([a, b], [p, q], batch_size=4, shuffle=False, verbose=0)
    got.fit((FORMS[form](*part) for part in cut(a, b, p, q, size=4)), verbose=0)
    for one, other in zip(got.get_weights(), want.get_weights()):
        np.testing.assert_array_equal(one, other)
    outputs = got.predict(iter([[a, b]]))  # a list of all inputs, not (x, y)
    np.testing.assert_array_equal(outputs[1], want.predict([a, b])[1])
    outputs = got.predict(iter([({"a": a, "b": b},)]))
    np.testing.assert_array_equal(outputs[0], want.predict([a, b])[0])


def test_targets_inside_and_x_alone(data):
    model = Sequential([Dense(4, input_shape=(4,), activity_regularizer="l2")])
    model.compile("sgd")
    before = model.get_weights()[0]
    for batch in (data[0], (data[0],), [data[0]]):
        model.fit(iter([batch]), verbose=0)
    assert not np.array_equal(model.get_weights()[0], before)


def test_a_model_is_built_on_the_first_batch_which_is_trained_on_too(data):
    def kernel(*data, **options):
        gpunet.utils.set_random_seed(3)
        model = Sequential([Dense(3, activation="softmax")])
        model.compile("sgd", "sparse_categorical_crossentropy")
        model.fit(*data, shuffle=False, verbose=0, **options)
        return model.get_weights()[0]

    x, y, _ = data
    want = kernel(x, y, batch_size=SIZE)
    np.testing.assert_array_equal(kernel(iter(cut(x, y))), want)
    np.testing.assert_array_equal(kernel(Batches(x, y)), want)


# -- what goes wrong ------------------------------------------------------------------------


class Broken(Exception):
    pass


def failing(items):
    yield from items[:3]
    raise Broken("no disk")


class FailingSequence(Batches):
    def __getitem__(self, index):
        if index == 3:
            raise Broken("no disk")
        return super().__getitem__(index)


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_what_a_generator_raises_is_raised_and_the_model_goes_on(data, workers):
    x, y, _ = data
    for source, steps in ((failing(cut(x, y)), 5), (FailingSequence(x, y), None)):
        model = classifier()
        with pytest.raises(Broken, match="no disk"):
            model.fit(source, steps_per_epoch=steps, workers=workers, shuffle=False, verbose=0)
        want = classifier()
        want.fit(x[:24], y[:24], batch_size=SIZE, shuffle=False, verbose=0)
        np.testing.assert_array_equal(model.get_weights()[0], want.get_weights()[0])
        assert model.evaluate(x, y, verbose=0) == want.evaluate(x, y, verbose=0)
        assert not loaders()


def loaders():
    return [t for t in threading.enumerate() if t.name.startswith("gpunet-loader")]


WRONG = {
    "width": (lambda x, y: (x[:, :2], y), "batch 3: input .* expected shape .None, 4., got .8, 2."),
    "lengths": (lambda x, y: (x, y[:3]), "batch 3: all arrays need the same number of samples"),
    "nan": (lambda x, y: (x * np.nan, y), "batch 3: x: expected numbers, got NaN in 8 of 8 rows"),
    "classes": (lambda x, y: (x, y + 9), "batch 3: y: .* expected classes from 0 to 2"),
    "no targets": (lambda x, y: (x,), "batch 3: output .* y has no targets"),
    "four parts": (lambda x, y: (x, y, y, y), "batch 3: expected data as .* tuple of length 4"),
    "none": (lambda x, y: None, "batch 3: expected data as x, got None"),
    "text": (lambda x, y: ("a", y), "batch 3: x: expected numbers"),
    "empty": (lambda x, y: (x[:0], y[:0]), "batch 3: expected at least one sample"),
}


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_batch_is_an_error_that_says_which(data, wrong, workers):
    make, text = WRONG[wrong]
    items = cut(*data[:2])
    items[3] = make(*items[3])
    model = classifier()
    with pytest.raises((ValueError, TypeError), match=f"^fit: {text}"):
        model.fit(iter(items), steps_per_epoch=5, workers=workers, verbose=0)
    assert int(model.optimizer.iterations) == 3


def test_a_generator_that_ends_early(data):
    model = classifier()
    with pytest.raises(ValueError, match="ended after 5 batches, 2 x 4 batches were wanted"):
        model.fit(iter(cut(*data)), steps_per_epoch=4, epochs=2, verbose=0)
    assert int(model.optimizer.iterations) == 5
    with pytest.raises(ValueError, match="^fit: validation_data: .* ended after 5 batches"):
        model.fit(*data[:2], validation_data=iter(cut(*data)), validation_steps=4, epochs=2,
                  verbose=0)  # fmt: skip
    with pytest.raises(ValueError, match="^evaluate: .* ended after 5 batches"):
        model.evaluate(iter(cut(*data)), steps=6, verbose=0)
    with pytest.raises(ValueError, match="^predict: the list_iterator object gave no batches"):
        model.predict(iter([]))
    with pytest.raises(ValueError, match="ended after 0 batches"):
        model.fit(Iterable([]), steps_per_epoch=3, verbose=0)
    for uncalled in (Batches, failing):
        with pytest.raises(TypeError, match=f"got the .* {uncalled.__name__}; call it"):
            model.fit(uncalled, verbose=0)
    with pytest.raises(ValueError, match="Batches has no batches"):
        model.fit(Batches(data[0][:0], data[1][:0]), verbose=0)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"y": np.ones(3)}, "y can't be given when x is a generator"),
        ({"sample_weight": np.ones(3)}, "sample_weight can't be given"),
        ({"batch_size": 3}, "batch_size can't be given"),
        ({"validation_split": 0.2}, "validation_split needs arrays"),
        ({"workers": -1}, "expected workers as an int >= 0"),
        ({"max_queue_size": 1.5}, "expected max_queue_size as an int >= 0"),
    ],
)
def test_arguments_that_batches_exclude(data, options, text):
    with pytest.raises(ValueError, match=text):
        classifier().fit(forever(cut(*data)), steps_per_epoch=2, verbose=0, **options)


def test_a_stop_leaves_no_thread_behind(data):
    class Stop(gpunet.callbacks.Callback):
        def on_batch_end(self, batch, logs=None):
            self.model.stop_training = True

    model = classifier()
    history = model.fit(
        forever(cut(*data)), steps_per_epoch=50, epochs=9, callbacks=[Stop()], verbose=0
    )
    assert int(model.optimizer.iterations) == 1 and len(history.epoch) == 1
    assert not loaders()


def test_torch_like_tensors_and_jax_like_arrays(data):
    class Foreign:
        """What another library's arrays look like: DLPack, and dtypes of their own."""

        dtype = "foreign.float32"

        def __init__(self, array):
            self._array, self.shape = array, array.shape

        def __dlpack__(self, **options):
            return self._array.__dlpack__(**options)

        def __dlpack_device__(self):
            return self._array.__dlpack_device__()

        def __getitem__(self, key):
            return Foreign(self._array[key])

        def __len__(self):
            return len(self._array)

    x, y, _ = data
    want = trained(x, y, batch_size=SIZE)
    np.testing.assert_array_equal(trained(Foreign(x), Foreign(y), batch_size=SIZE), want)
    got = trained(Iterable([(Foreign(a), Foreign(b)) for a, b in cut(x, y)]))
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("shuffle", [True, "batch"])
def test_arrays_with_fewer_steps_are_seen_whole_over_the_epochs(shuffle):
    seen = []

    class Own(Model):
        def train_step(self, data):
            seen.extend(data[0].numpy()[:, 0].astype(int).tolist())
            return {"loss": 0.0}

    inputs = Input((1,))
    model = Own(inputs, Dense(1)(inputs))
    model.compile("sgd", "mse")
    x = np.arange(30, dtype="float32")[:, None]
    model.fit(x, x, batch_size=5, steps_per_epoch=2, epochs=6, shuffle=shuffle, verbose=0)
    first, second = seen[:30], seen[30:]
    assert sorted(first) == sorted(second) == [*range(30)] and first != second


class Die(gpunet.callbacks.Callback):
    def __init__(self, after):
        self.left = after

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if not self.left:
            raise Broken("power cut")


RESUMED = {
    "arrays": lambda x, y: (x, y, {"batch_size": SIZE, "steps_per_epoch": 3}),
    "Sequence": lambda x, y: (Batches(x, y), None, {}),
    "generator": lambda x, y: (forever(cut(x, y)), None, {"steps_per_epoch": 3}),
}


@pytest.mark.parametrize("kind", RESUMED)
@pytest.mark.parametrize("after", [2, 9])
def test_a_run_that_was_broken_off_goes_on_with_the_same_batches(data, tmp_path, kind, after):
    def run(*callbacks):
        x, y, options = RESUMED[kind](*data[:2])
        model = classifier()
        model.fit(x, y, epochs=5, callbacks=list(callbacks), verbose=0, **options)
        return np.concatenate([w.ravel() for w in model.get_weights()])

    backup = {"backup_dir": tmp_path / "backup", "save_freq": 2}
    with pytest.raises(Broken):
        run(Die(after), gpunet.callbacks.BackupAndRestore(**backup))
    got = run(gpunet.callbacks.BackupAndRestore(**backup))
    np.testing.assert_array_equal(got, run())


def test_a_sequence_that_runs_empty(data):
    class Shrinking(Batches):
        def on_epoch_end(self):
            self.items = []

    with pytest.raises(ValueError, match="Shrinking has no batches left"):
        classifier().fit(Shrinking(*data[:2]), epochs=2, verbose=0)
