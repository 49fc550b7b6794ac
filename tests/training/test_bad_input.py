"""Wrong data and arguments: an error that says which, what was expected and what came."""

import numpy as np
import pytest

from gpunet import metrics
from gpunet.layers import Concatenate, Dense, Input
from gpunet.models import Model, Sequential

N = 12
RNG = np.random.default_rng(0)
X = RNG.standard_normal((N, 4)).astype("float32")
Y = RNG.integers(0, 3, (N, 1))
HOT = np.eye(3, dtype="float32")[Y[:, 0]]
A, B = X, RNG.standard_normal((N, 2)).astype("float32")
V = RNG.standard_normal((N, 1)).astype("float32")


def one(loss="sparse_categorical_crossentropy"):
    model = Sequential([Dense(3, activation="softmax", input_shape=(4,), name="out")])
    model.compile("adam", loss, metrics=["accuracy"])
    return model


def onehot():
    return one("categorical_crossentropy")


def two():
    a, b = Input((4,), name="a"), Input((2,), name="b")
    joined = Concatenate()([a, b])
    model = Model([a, b], [Dense(3, activation="softmax", name="kind")(joined),
                           Dense(1, name="value")(joined)])  # fmt: skip
    model.compile("adam", ["sparse_categorical_crossentropy", "mse"])
    return model


def with_nan(a):
    a = np.array(a, "float64")
    a[5, -1] = np.nan
    return a


# What can be wrong with the data of fit, evaluate, train_on_batch and test_on_batch alike:
# label -> (model, arguments, texts that the error has).
DATA = {
    "no x": (one, {"x": None, "y": Y}, ["x", "None"]),
    "no y": (one, {"x": X}, ["y", "'out'", "sparse_categorical_crossentropy"]),
    "x None in list": (one, {"x": [None], "y": Y}, ["x", "None"]),
    "x empty list": (one, {"x": [], "y": Y}, ["x"]),
    "x wrong width": (one, {"x": X[:, :3], "y": Y}, ["'out_input'", "(None, 4)", "(12, 3)"]),
    "x rank 3": (one, {"x": X[:, None], "y": Y}, ["'out_input'", "(None, 4)", "(12, 1, 4)"]),
    "x rank 1": (one, {"x": X[:, 0], "y": Y}, ["'out_input'", "(None, 4)", "(12,)"]),
    "x number": (one, {"x": 3.0, "y": Y}, ["x", "batch axis", "number"]),
    "x str": (one, {"x": "abc", "y": Y}, ["x", "numbers", "<U3"]),
    "x strings": (one, {"x": np.full((N, 4), "a"), "y": Y}, ["x", "numbers", "<U1"]),
    "x objects": (one, {"x": X.astype(object), "y": Y}, ["x", "numbers", "object"]),
    "x complex": (one, {"x": X.astype("complex64"), "y": Y}, ["x", "numbers", "complex64"]),
    "x dates": (one, {"x": np.zeros((N, 4), "M8[s]"), "y": Y}, ["x", "numbers", "datetime64"]),
    "x records": (one, {"x": np.zeros((N, 4), [("a", "f4")]), "y": Y}, ["x", "numbers"]),
    "x set": (one, {"x": {1, 2}, "y": Y}, ["x", "numbers", "object"]),
    "x ragged": (one, {"x": [[1, 2, 3, 4], [1, 2]], "y": Y[:2]}, ["x", "no array"]),
    "x masked": (one, {"x": np.ma.masked_less(X, 0), "y": Y}, ["x", "masked", "filled"]),
    "x NaN": (one, {"x": with_nan(X), "y": Y}, ["x", "NaN in 1 of 12 rows", "row 5"]),
    "x empty": (one, {"x": X[:0], "y": Y[:0]}, ["at least one sample"]),
    "x two for one": (one, {"x": [X, X], "y": Y}, ["x", "1 array", "got 2"]),
    "x one for two": (two, {"x": A, "y": [Y, V]}, ["x", "2 arrays", "'a'", "'b'"]),
    "x three for two": (two, {"x": [A, B, A], "y": [Y, V]}, ["x", "2 array", "got 3"]),
    "x name missing": (two, {"x": {"a": A}, "y": [Y, V]}, ["x", "'b'"]),
    "x name unknown": (two, {"x": {"a": A, "b": B, "c": A}, "y": [Y, V]}, ["x", "'c'"]),
    "x swapped": (two, {"x": [B, A], "y": [Y, V]}, ["'a'", "(None, 4)", "(12, 2)"]),
    "x lengths": (two, {"x": [A, B[:9]], "y": [Y, V]}, ["12 in x[0]", "9 in x[1]"]),
    "y short": (one, {"x": X, "y": Y[:7]}, ["same number of samples", "12 in x", "7 in y"]),
    "y strings": (one, {"x": X, "y": np.full(N, "a")}, ["y", "numbers"]),
    "y list of strings": (one, {"x": X, "y": ["a"] * N}, ["y", "numbers"]),
    "y NaN": (two, {"x": [A, B], "y": [Y, with_nan(V)]}, ["y[1]", "NaN", "row 5"]),
    "y out of range": (one, {"x": X, "y": Y + 1}, ["y", "classes from 0 to 2", "3"]),
    "y negative": (one, {"x": X, "y": Y - 1}, ["y", "classes from 0 to 2", "-1"]),
    "y one-hot for sparse": (one, {"x": X, "y": HOT}, ["y", "(None, 1)", "(12, 3)",
                                                       "categorical_crossentropy"]),
    "y ints for one-hot": (onehot, {"x": X, "y": Y}, ["y", "(None, 3)", "(12, 1)",
                                                      "sparse_categorical_crossentropy",
                                                      "to_categorical"]),
    "y 1-d for one-hot": (onehot, {"x": X, "y": Y[:, 0]}, ["y", "(None, 3)", "sparse_"]),
    "y too wide": (onehot, {"x": X, "y": HOT[:, :2]}, ["y", "(None, 3)", "(12, 2)"]),
    "y rank 3": (onehot, {"x": X, "y": HOT[:, None]}, ["y", "(None, 3)", "(12, 1, 3)"]),
    "y mse width": (two, {"x": [A, B], "y": [Y, HOT]}, ["y[1]", "'value'", "(12, 3)"]),
    "y one for two": (two, {"x": [A, B], "y": Y}, ["y", "2 arrays"]),
    "y None for one": (two, {"x": [A, B], "y": [Y, None]}, ["y", "'value'"]),
    "y name missing": (two, {"x": [A, B], "y": {"kind": Y}}, ["y", "'value'"]),
    "y name unknown": (two, {"x": [A, B], "y": {"kind": Y, "valu": V}}, ["y", "'value'", "'valu'"]),
    "w short": (one, {"x": X, "y": Y, "sample_weight": np.ones(5)}, ["sample_weight", "5", "12"]),
    "w strings": (one, {"x": X, "y": Y, "sample_weight": ["a"] * N}, ["sample_weight", "numbers"]),
    "w NaN": (one, {"x": X, "y": Y, "sample_weight": with_nan(V)}, ["sample_weight", "NaN"]),
    "w number": (one, {"x": X, "y": Y, "sample_weight": 2.0}, ["sample_weight", "number"]),
    "w width": (one, {"x": X, "y": Y, "sample_weight": np.ones((N, 7))}, ["sample_weight", "7"]),
    "w name": (two, {"x": [A, B], "y": [Y, V], "sample_weight": {"z": V}},
               ["sample_weight", "'z'"]),
    "w three": (two, {"x": [A, B], "y": [Y, V], "sample_weight": [V, V, V]},
                ["sample_weight", "2", "3"]),
}  # fmt: skip

GOOD = {"x": X, "y": Y}
FIT = {
    "batch_size 0": (one, {"batch_size": 0}, ["batch_size", "positive int", "0"]),
    "batch_size -1": (one, {"batch_size": -1}, ["batch_size", "positive int", "-1"]),
    "batch_size 2.5": (one, {"batch_size": 2.5}, ["batch_size", "positive int", "2.5"]),
    "batch_size str": (one, {"batch_size": "8"}, ["batch_size", "positive int", "'8'"]),
    "batch_size bool": (one, {"batch_size": True}, ["batch_size", "positive int", "True"]),
    "batch_size nan": (one, {"batch_size": float("nan")}, ["batch_size", "positive int"]),
    "epochs -1": (one, {"epochs": -1}, ["epochs", "-1"]),
    "epochs 1.5": (one, {"epochs": 1.5}, ["epochs", "1.5"]),
    "epochs None": (one, {"epochs": None}, ["epochs", "None"]),
    "initial_epoch": (one, {"initial_epoch": -1}, ["initial_epoch", "-1"]),
    "steps_per_epoch": (one, {"steps_per_epoch": 0}, ["steps_per_epoch", "positive int", "0"]),
    "validation_steps": (one, {"validation_steps": -2}, ["validation_steps", "-2"]),
    "validation_freq": (one, {"validation_freq": 0}, ["validation_freq", "0"]),
    "validation_freq str": (one, {"validation_freq": "2"}, ["validation_freq", "'2'"]),
    "shuffle": (one, {"shuffle": "batches"}, ["shuffle", "'batch'", "'batches'"]),
    "verbose": (one, {"verbose": 7}, ["verbose", "7"]),
    "unknown argument": (one, {"epoch": 3}, ["'epoch'"]),
    "split negative": (one, {"validation_split": -0.2}, ["validation_split", "-0.2"]),
    "split 1": (one, {"validation_split": 1.0}, ["validation_split", "1.0"]),
    "split str": (one, {"validation_split": "0.5"}, ["validation_split", "'0.5'"]),
    "split leaves nothing": (one, {"validation_split": 0.999}, ["validation_split=0.999",
                                                                 "none to train on"]),
    "validation one": (one, {"validation_data": (X,)}, ["validation_data", "length 1"]),
    "validation array": (one, {"validation_data": X}, ["validation_data", "ndarray"]),
    "validation four": (one, {"validation_data": (X, Y, Y, Y)}, ["validation_data", "length 4"]),
    "validation x": (one, {"validation_data": (X[:, 1:], Y)}, ["validation_data", "(12, 3)"]),
    "validation y": (one, {"validation_data": (X, None)}, ["validation_data", "y"]),
    "validation lengths": (one, {"validation_data": (X, Y[1:])}, ["validation_data", "12", "11"]),
    "validation NaN": (one, {"validation_data": (with_nan(X), Y)}, ["validation_data", "NaN"]),
    "validation batch": (one, {"validation_data": (X, Y), "validation_batch_size": 0},
                         ["validation_data", "batch_size", "0"]),
    "class_weight list": (one, {"class_weight": [1.0, 2.0]}, ["class_weight"]),
    "class_weight number": (one, {"class_weight": 2.0}, ["class_weight", "dict", "2.0"]),
    "class_weight unknown": (one, {"class_weight": {0: 1, 1: 1, 2: 1, 3: 1}},
                             ["class_weight", "0 to 2", "3"]),
    "class_weight missing": (one, {"class_weight": {0: 1.0, 1: 1.0}}, ["class_weight", "[2]"]),
    "class_weight name": (one, {"class_weight": {"cat": 1.0}}, ["class_weight", "'cat'"]),
    "class_weight value": (one, {"class_weight": {0: 1, 1: 1, 2: "x"}}, ["class_weight", "'x'"]),
    "class_weight half": (one, {"class_weight": {0.5: 1.0}}, ["class_weight", "0.5"]),
    "class_weight of two": (two, {"x": [A, B], "y": [Y, V], "class_weight": {0: 1.0}},
                            ["class_weight", "output name"]),
    "class_weight output": (two, {"x": [A, B], "y": [Y, V], "class_weight": {"k": {0: 1.0}}},
                            ["class_weight", "'k'", "'kind'"]),
    "callbacks": (one, {"callbacks": [object()]}, ["callbacks", "object"]),
}  # fmt: skip

CALLS = ["fit", "evaluate", "train_on_batch", "test_on_batch"]


def cases():
    for label, case in DATA.items():
        for call in CALLS:
            yield pytest.param(call, *case, id=f"{call}-{label}")
    for label, (model, arguments, texts) in FIT.items():
        yield pytest.param("fit", model, {**GOOD, **arguments}, texts, id=f"fit-{label}")
    for call in ("evaluate", "predict"):
        for label in ("batch_size 0", "batch_size 2.5", "batch_size str", "verbose", "callbacks"):
            model, arguments, texts = FIT[label]
            given = {"x": X, **({"y": Y} if call == "evaluate" else {}), **arguments}
            yield pytest.param(call, model, given, texts, id=f"{call}-{label}")
        given = {"x": X, **({"y": Y} if call == "evaluate" else {}), "steps": 0}
        yield pytest.param(call, one, given, ["steps", "0"], id=f"{call}-steps")
    for call in ("predict", "predict_on_batch"):
        for label, (model, arguments, texts) in DATA.items():
            if label.startswith("x") and label not in ("x NaN",):
                if any(word in texts for word in ("'kind'", "'value'")):
                    continue
                yield pytest.param(call, model, {"x": arguments["x"]}, texts, id=f"{call}-{label}")


def quiet(call, arguments):
    quiets = call in ("fit", "evaluate", "predict")
    return {"verbose": 0, **arguments} if quiets else arguments


@pytest.mark.parametrize(("call", "make", "arguments", "texts"), list(cases()))
def test_error_says_what_is_wrong_and_changes_nothing(call, make, arguments, texts):
    model = make()
    good = (X, Y) if make is one else (X, HOT) if make is onehot else ([A, B], [Y, V])
    model.train_on_batch(*good)  # the optimizer has state now
    weights, state = model.get_weights(), model.optimizer.get_weights()
    with pytest.raises((ValueError, TypeError)) as caught:
        getattr(model, call)(**quiet(call, arguments))
    text = str(caught.value)
    assert not [t for t in texts if t not in text], text
    for old, new in zip(weights + state, model.get_weights() + model.optimizer.get_weights(),
                        strict=True):  # fmt: skip
        np.testing.assert_array_equal(old, new)
    first = model.evaluate(*good, verbose=0)
    model.fit(*good, epochs=3, verbose=0)
    assert np.isfinite(first).all()
    assert np.ravel(model.evaluate(*good, verbose=0))[0] < np.ravel(first)[0]


@pytest.mark.parametrize("call", CALLS)
def test_not_compiled(call):
    model = Sequential([Dense(1, input_shape=(4,))])
    with pytest.raises(RuntimeError, match=f"{call}: You must compile your model"):
        getattr(model, call)(X, V)
    assert model.predict(X).shape == (N, 1)


COMPILE = {
    "optimizer unknown": (one, {"optimizer": "adamm"}, ["adamm", "adam"]),
    "optimizer None": (one, {"optimizer": None}, ["optimizer", "None"]),
    "optimizer number": (one, {"optimizer": 0.1}, ["optimizer", "0.1"]),
    "loss unknown": (one, {"loss": "msee"}, ["msee", "mse"]),
    "loss number": (one, {"loss": 3}, ["loss", "3"]),
    "loss list": (one, {"loss": ["mse", "mse"]}, ["loss", "1", "'out'", "2"]),
    "loss name": (two, {"loss": {"kind": "mse", "valu": "mse"}}, ["loss", "'valu'", "'value'"]),
    "metric unknown": (one, {"metrics": ["accurracy"]}, ["accurracy"]),
    "metric number": (one, {"metrics": [1]}, ["metric", "1"]),
    "metric name": (two, {"metrics": {"k": "mae"}}, ["metrics", "'k'", "'kind'"]),
    "metric lists": (two, {"metrics": [["mae"]]}, ["metrics", "2", "1"]),
    "weights of losses": (two, {"loss_weights": [1.0]}, ["loss_weights", "2", "1"]),
    "weight of losses": (two, {"loss_weights": 2.0}, ["loss_weights", "2.0"]),
    "weight str": (two, {"loss_weights": ["a", 1]}, ["loss_weights", "'kind'", "'a'"]),
    "weights name": (two, {"loss_weights": {"k": 1.0}}, ["loss_weights", "'k'"]),
    "unknown argument": (one, {"los": "mse"}, ["'los'"]),
    "target_tensors": (one, {"target_tensors": [1]}, ["target_tensors"]),
}


@pytest.mark.parametrize(("make", "arguments", "texts"), COMPILE.values(), ids=COMPILE)
def test_error_of_compile_keeps_the_old_one(make, arguments, texts):
    model = make()
    good = (X, Y) if make is one else ([A, B], [Y, V])
    before, names = model.optimizer, model.metrics_names
    with pytest.raises((ValueError, TypeError)) as caught:
        model.compile(**{"optimizer": "sgd", "loss": "mse", **arguments})
    assert not [t for t in texts if t not in str(caught.value)], str(caught.value)
    assert model.optimizer is before and model.metrics_names == names
    model.fit(*good, verbose=0)


def test_no_loss_at_all():
    model = Sequential([Dense(1, input_shape=(4,))])
    model.compile("sgd")
    before = model.get_weights()
    with pytest.raises(ValueError, match="nothing to minimise"):
        model.fit(X, V, verbose=0)
    np.testing.assert_array_equal(before[0], model.get_weights()[0])


@pytest.mark.parametrize("kind", ["loss", "metric"])
def test_error_in_the_users_own_function(kind):
    def broken(y_true, y_pred):
        raise OverflowError("mine")

    model = one()
    model.compile("sgd", broken if kind == "loss" else "sparse_categorical_crossentropy",
                  metrics=[broken] if kind == "metric" else None)  # fmt: skip
    with pytest.raises(OverflowError, match="mine"):
        model.fit(X, Y, verbose=0)
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=[metrics.Mean()])
    model.compile("sgd", "sparse_categorical_crossentropy")
    assert np.isfinite(model.fit(X, Y, verbose=0).history["loss"]).all()


def test_deferred_model_fails_and_can_be_built_afterwards():
    model = Sequential([Dense(3, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    for x, y in ((with_nan(X), Y), (X[:0], Y[:0]), ("abc", Y)):
        with pytest.raises((ValueError, TypeError)):
            model.fit(x, y, verbose=0)
        assert not model.built
    with pytest.raises(ValueError, match="classes from 0 to 2"):
        model.fit(X, Y + 9, verbose=0)
    assert np.isfinite(model.fit(X, Y, verbose=0).history["loss"]).all()


def test_infinite_data_is_the_users_business():
    x = X.copy()
    x[0, 0] = np.inf
    with np.errstate(all="ignore"):
        one().evaluate(x, Y, verbose=0)
