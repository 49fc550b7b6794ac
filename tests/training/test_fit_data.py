"""What fit, evaluate and predict take as data, and that it is all the same to them."""

import importlib.util

import h5py
import numpy as np
import pytest

import gpunet
from gpunet import ops
from gpunet.layers import Concatenate, Dense, Dropout, Input, Layer
from gpunet.models import Model, Sequential
from gpunet.training import feeder
from gpunet.training.data import as_columns
from gpunet.training.feeder import ArrayFeeder

ROWS = 50


@pytest.fixture
def data(rng):
    x = rng.standard_normal((ROWS, 6)).astype("float32")
    y = rng.integers(0, 3, (ROWS, 1)).astype("int32")
    return x, y


def classifier():
    gpunet.utils.set_random_seed(3)
    model = Sequential(
        [
            Dense(8, activation="tanh", input_shape=(6,), name="first"),
            Dense(3, activation="softmax", name="last"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def trained(x, y, shuffle=False, **options):
    """Return what a fresh model makes of data, as one flat list of numbers."""
    model = classifier()
    history = model.fit(x, y, batch_size=16, epochs=2, shuffle=shuffle, verbose=0, **options)
    numbers = [v for values in history.history.values() for v in values]
    numbers += model.evaluate(x, y, batch_size=16, verbose=0)
    return np.concatenate([numbers, model.predict(x).ravel(), *map(np.ravel, model.get_weights())])


def to_file(folder, x, y):
    with h5py.File(folder / "data.h5", "w") as file:
        file["x"], file["y"] = x, y
    return h5py.File(folder / "data.h5", "r")


class Tagged(np.ndarray):
    """An ndarray of some other library."""


FORMS = {
    "list of one": lambda x, y: ([x], [y]),
    "tuple of one": lambda x, y: ((x,), (y,)),
    "dict": lambda x, y: ({"first_input": x}, {"last": y}),
    "nested lists": lambda x, y: (x.tolist(), y.tolist()),
    "float64": lambda x, y: (x.astype("float64"), y.astype("float64")),
    "big endian": lambda x, y: (x.astype(">f4"), y.astype(">i4")),
    "int64": lambda x, y: (x, y.astype("int64")),
    "uint8 targets": lambda x, y: (x, y.astype("uint8")),
    "1-d targets": lambda x, y: (x, y[:, 0]),
    "list of targets": lambda x, y: (x, y[:, 0].tolist()),
    "range-like rows": lambda x, y: (tuple(map(tuple, x.tolist())), y),
    "fortran order": lambda x, y: (np.asfortranarray(x), y),
    "strided": lambda x, y: (np.repeat(x, 2, 0)[::2], np.repeat(y, 2, 0)[::2]),
    "reversed view": lambda x, y: (x[::-1].copy()[::-1], y),
    "subclass": lambda x, y: (x.view(Tagged), y.view(Tagged)),
    "matrix": lambda x, y: (np.matrix(x), y),
    "masked without masks": lambda x, y: (np.ma.masked_array(x), y),
    "tensors": lambda x, y: (gpunet.convert_to_tensor(x), gpunet.convert_to_tensor(y)),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_form_of_arrays_makes_no_difference(data, form):
    np.testing.assert_array_equal(trained(*FORMS[form](*data)), trained(*data))


@pytest.mark.parametrize("shuffle", [False, True, "batch"])
def test_read_only_arrays_and_they_stay_untouched(data, shuffle):
    x, y = (a.copy() for a in data)
    x.flags.writeable = y.flags.writeable = False
    got = trained(x, y, shuffle)
    np.testing.assert_array_equal(got, trained(*data, shuffle))
    np.testing.assert_array_equal(x, data[0])


@pytest.mark.parametrize("shuffle", [False, True, "batch"])
def test_files_train_as_memory(data, tmp_path, shuffle):
    want = trained(*data, shuffle, validation_split=0.3)
    with to_file(tmp_path, *data) as file:
        got = trained(file["x"], file["y"], shuffle, validation_split=0.3)
    np.testing.assert_array_equal(got, want)
    maps = []
    for name, a in zip("xy", data, strict=True):
        np.save(tmp_path / f"{name}.npy", a)
        maps.append(np.load(tmp_path / f"{name}.npy", mmap_mode="r"))
    np.testing.assert_array_equal(trained(*maps, shuffle, validation_split=0.3), want)


def test_files_are_read_in_slices(data, tmp_path):
    class Recorder:
        """Stands for a dataset that is too large to be read at once."""

        def __init__(self, values):
            self.values, self.shape, self.dtype = values, values.shape, values.dtype
            self.largest = 0

        def __getitem__(self, where):
            rows = self.values[where]
            self.largest = max(self.largest, len(rows))
            return rows

    x = Recorder(data[0])
    classifier().fit(x, data[1], batch_size=8, validation_split=0.5, shuffle="batch", verbose=0)
    assert 0 < x.largest <= 8


@pytest.mark.parametrize("shuffle", [False, True, "batch"])
def test_each_part_of_a_split_feeds_its_own_rows(data, shuffle):
    whole = ArrayFeeder(as_columns(data[0], ["x"], "x"), batch_size=8)
    for part, rows in zip(whole.split(0.4), (range(30), range(30, 50)), strict=True):
        batches = list(part.batches(shuffle))
        assert len(batches) == part.steps and sum(b.size for b in batches) == part.samples
        got = np.concatenate([b.x[0].numpy() for b in batches])
        np.testing.assert_array_equal(np.sort(got, 0), np.sort(data[0][list(rows)], 0))


def test_nan_in_a_file_is_found_as_it_is_read(data, tmp_path):
    x = data[0].copy()
    x[33, 2] = np.nan
    model = classifier()
    with to_file(tmp_path, x, data[1]) as file:
        with pytest.raises(ValueError, match=r"fit: x.*NaN in 1 of 16 rows \(first in row 33\)"):
            model.fit(file["x"], file["y"], batch_size=16, shuffle=False, verbose=0)


@pytest.mark.parametrize("dtype", ["float16", "float64", "int32", "uint8", "bool"])
def test_dtypes_of_inputs(rng, dtype):
    x = rng.integers(0, 2, (20, 6)).astype(dtype)
    y = rng.integers(0, 3, 20)
    np.testing.assert_array_equal(trained(x, y), trained(x.astype("float32"), y))


def test_pandas(data):
    if importlib.util.find_spec("pandas") is None:
        pytest.skip("pandas isn't installed")
    import pandas

    x, y = pandas.DataFrame(data[0]), pandas.Series(data[1][:, 0])
    np.testing.assert_array_equal(trained(x, y), trained(*data))


def test_tables_of_several_types():
    pandas = pytest.importorskip("pandas", reason="pandas isn't installed")
    numbers = np.arange(30).reshape(10, 3)
    table = pandas.DataFrame(numbers, columns=list("abc"))
    table["a"], table["b"] = table["a"].astype("Int64"), table["b"] > 9
    numbers[:, 1] = numbers[:, 1] > 9
    model = Sequential([Dense(2, input_shape=(3,))])
    np.testing.assert_array_equal(model.predict(table), model.predict(numbers))
    model.compile("sgd", "mse")
    table["b"] = "yes"
    with pytest.raises(TypeError, match="fit: x: expected numbers, got an array of dtype object"):
        model.fit(table, numbers[:, :2], verbose=0)
    table["b"] = None
    with pytest.raises(ValueError, match="fit: x: expected numbers, got NaN in 10 of 10 rows"):
        model.fit(table, numbers[:, :2], verbose=0)


def test_batches_may_be_copied_ahead(data):
    taken, begun = [], []

    def copier(batches):
        following = None
        for batch in batches:
            taken.append(batch.size)
            if following is not None:
                begun.append(len(taken))
                yield following
            following = batch
        begun.append(len(taken))
        yield following

    want = trained(*data)
    feeder.copy_ahead_with("cpu", copier)
    try:
        got = trained(*data)
    finally:
        feeder.copy_ahead_with("cpu", None)
    np.testing.assert_array_equal(got, want)
    assert begun[:4] == [2, 3, 4, 4] and len(taken) == len(begun)


def test_one_feature_may_be_one_dimensional(rng):
    x = rng.standard_normal(40)

    def run(x, y):
        gpunet.utils.set_random_seed(0)
        model = Sequential([Dense(1, input_shape=(1,))])
        model.compile("sgd", "mse")
        history = model.fit(x, y, epochs=2, verbose=0)
        assert model.predict(x).shape == (40, 1)
        return history.history["loss"]

    assert run(x, 2 * x) == run(x[:, None], 2 * x[:, None]) == run(x.tolist(), (2 * x).tolist())


# -- several inputs and outputs -----------------------------------------------------------


def two_by_two():
    gpunet.utils.set_random_seed(1)
    a, b = Input((4,), name="a"), Input((3,), name="b")
    joined = Concatenate()([a, b])
    main = Dense(3, activation="softmax", name="main")(joined)
    aux = Dense(1, name="aux")(joined)
    model = Model([a, b], [main, aux])
    model.compile("adam", ["sparse_categorical_crossentropy", "mse"], metrics=["acc"])
    return model


@pytest.fixture
def pairs(rng):
    x = [rng.standard_normal((30, n)).astype("float32") for n in (4, 3)]
    y = [rng.integers(0, 3, (30, 1)), rng.standard_normal((30, 1)).astype("float32")]
    return x, y


@pytest.mark.parametrize(
    "form",
    [
        lambda x, y: (tuple(x), tuple(y)),
        lambda x, y: (dict(zip("ba", x[::-1], strict=True)), {"aux": y[1], "main": y[0]}),
        lambda x, y: ([a.tolist() for a in x], [a.tolist() for a in y]),
        lambda x, y: (x, [y[0][:, 0], y[1][:, 0]]),
    ],
    ids=["tuples", "dicts", "numbers", "1-d"],
)
def test_two_inputs_and_outputs(pairs, form):
    def run(x, y):
        model = two_by_two()
        history = model.fit(x, y, batch_size=7, epochs=2, validation_split=0.2, verbose=0)
        main, aux = model.predict(x)
        assert main.shape == (30, 3) and aux.shape == (30, 1)
        return [history.history, model.evaluate(x, y, verbose=0), main.tolist(), aux.tolist()]

    assert run(*form(*pairs)) == run(*pairs)


def test_dict_structures_keep_their_keys(pairs):
    (xa, xb), (ym, ya) = pairs
    a, b = Input((4,), name="in_a"), Input((3,), name="in_b")
    joined = Concatenate()([a, b])
    outputs = {"kind": Dense(3, name="d1")(joined), "value": Dense(1, name="d2")(joined)}
    model = Model({"left": a, "right": b}, outputs)
    model.compile("sgd", {"d1": "mse", "d2": "mse"})
    y = {"kind": np.repeat(ym, 3, 1).astype("float32"), "value": ya}
    history = model.fit({"right": xb, "left": xa}, y, verbose=0)
    assert list(history.history) == ["loss", "d1_loss", "d2_loss"]
    model.fit({"in_a": xa, "in_b": xb}, {"d1": y["kind"], "d2": ya}, verbose=0)
    got = model.predict({"left": xa, "right": xb})
    assert {k: v.shape for k, v in got.items()} == {"kind": (30, 3), "value": (30, 1)}
    got = model.predict_on_batch([xa, xb])
    assert list(got) == ["kind", "value"]


@pytest.mark.parametrize("form", [list, dict, "one"], ids=["list", "dict", "one for all"])
def test_sample_weights_of_outputs(pairs, form):
    x, y = pairs
    w = np.linspace(0, 2, 30)
    if form is list:
        given = [w, None]
    elif form is dict:
        given = {"main": w.tolist()}
    else:
        given = w
    model = two_by_two()
    p_main, p_aux = model.predict(x)
    total, main, aux, *_ = model.evaluate(x, y, sample_weight=given, verbose=0)
    rows = np.arange(30)
    want_main = np.mean(-np.log(p_main[rows, y[0][:, 0]]) * w)
    square = ((p_aux - y[1]) ** 2)[:, 0]
    want_aux = np.mean(square * w) if form == "one" else np.mean(square)
    np.testing.assert_allclose([main, aux], [want_main, want_aux], rtol=1e-5)
    assert total == pytest.approx(main + aux, rel=1e-6)


def test_outputs_without_a_loss_need_no_targets(pairs):
    x, y = pairs
    for given in (y[1], [y[1]], [None, y[1]], {"aux": y[1]}, {"main": None, "aux": y[1]}):
        model = two_by_two()
        model.compile("adam", [None, "mse"], metrics={"aux": "mae"})
        frozen = model.get_layer("main").get_weights()
        history = model.fit(x, given, verbose=0)
        assert list(history.history) == ["loss", "aux_loss", "aux_mae"]
        for before, after in zip(frozen, model.get_layer("main").get_weights(), strict=True):
            np.testing.assert_array_equal(before, after)


def test_output_without_a_loss_is_still_measured(pairs):
    x, y = pairs
    model = two_by_two()
    with pytest.warns(UserWarning, match=r"no loss for \['main'\]"):
        model.compile("adam", {"aux": "mse"}, metrics={"main": "sparse_categorical_accuracy"})
    names = ["loss", "aux_loss", "main_sparse_categorical_accuracy"]
    assert list(model.fit(x, y, verbose=0).history) == names


# -- models that only data give shapes to ---------------------------------------------------


def test_deferred_sequential_trains_as_the_built_one(data):
    def run(first):
        gpunet.utils.set_random_seed(5)
        layers = [first, Dropout(0.2), Dense(3, activation="softmax")]
        model = Sequential(layers)
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["acc"])
        history = model.fit(*data, epochs=3, validation_split=0.2, verbose=0)
        return history.history, model.predict(data[0]).tolist()

    assert run(Dense(8)) == run(Dense(8, input_shape=(6,)))


def test_deferred_sequential_takes_integers(rng):
    x, y = rng.integers(0, 255, (20, 4)).astype("uint8"), rng.integers(0, 2, 20)
    model = Sequential([Dense(4), Dense(1, activation="sigmoid")])
    model.compile("sgd", "binary_crossentropy")
    assert np.isfinite(model.fit(x, y, epochs=2, verbose=0).history["loss"]).all()


class TwoHeads(Model):
    """A model whose structure is code."""

    def __init__(self, form):
        super().__init__()
        self.form = form
        self.hidden, self.drop = Dense(8, activation="tanh"), Dropout(0.3)
        self.a, self.b = Dense(3, activation="softmax"), Dense(1)

    def call(self, inputs, training=None):
        if isinstance(inputs, dict):
            inputs = [inputs["p"], inputs["q"]]
        if isinstance(inputs, list):
            inputs = Concatenate()(inputs)
        h = self.drop(self.hidden(inputs), training=training)
        a, b = self.a(h), self.b(h)
        return {"one": a, "list": [a, b], "dict": {"kind": a, "value": b}}[self.form]


def test_subclassed_model_trains_as_the_functional_one(data):
    def compiled(model):
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        gpunet.utils.set_random_seed(9)
        history = model.fit(*data, epochs=3, batch_size=16, validation_split=0.2, verbose=0)
        return history.history, model.predict(data[0])

    subclassed = TwoHeads("one")
    subclassed(data[0][:1])
    inputs = Input((6,))
    hidden, drop, last = Dense(8, activation="tanh"), Dropout(0.3), Dense(3, activation="softmax")
    functional = Model(inputs, last(drop(hidden(inputs))))
    functional.set_weights(subclassed.hidden.get_weights() + subclassed.a.get_weights())
    got, want = compiled(subclassed), compiled(functional)
    assert got[0] == want[0]
    np.testing.assert_array_equal(got[1], want[1])


def test_subclassed_model_with_a_list_of_outputs(data, rng):
    x, y = data
    model = TwoHeads("list")
    model.compile("adam", ["sparse_categorical_crossentropy", "mse"], metrics=["acc"])
    value = rng.standard_normal(ROWS)
    history = model.fit(x, [y, value], epochs=2, verbose=0)
    assert list(history.history) == [
        "loss", "output_1_loss", "output_2_loss", "output_1_acc", "output_2_acc"
    ]  # fmt: skip
    assert [p.shape for p in model.predict(x)] == [(ROWS, 3), (ROWS, 1)]


def test_subclassed_model_with_dicts(data, rng):
    x, y = data
    model = TwoHeads("dict")
    model.compile("adam", {"kind": "sparse_categorical_crossentropy", "value": "mse"})
    x = {"p": x[:, :2], "q": x[:, 2:]}
    history = model.fit(x, {"value": rng.standard_normal(ROWS), "kind": y}, verbose=0)
    assert list(history.history) == ["loss", "kind_loss", "value_loss"]
    assert list(model.predict(x)) == ["kind", "value"]
    assert not any(isinstance(v, np.ndarray) for v in vars(model).values())


def test_custom_model_can_add_losses(data):
    class Sparse(Layer):
        def call(self, x):
            self.add_loss(0.5 * ops.mean(ops.square(x)))
            return x

    x, y = data
    model = Sequential([Sparse(input_shape=(6,)), Dense(3, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    plain = Sequential([model.layers[-1]])
    plain.compile("sgd", "sparse_categorical_crossentropy")
    extra = 0.5 * np.mean(x[:32] ** 2) * 32 / ROWS + 0.5 * np.mean(x[32:] ** 2) * 18 / ROWS
    got, want = (m.evaluate(x, y, verbose=0) for m in (model, plain))
    assert got == pytest.approx(want + extra, rel=1e-5)
