"""Models as estimators of today's scikit-learn."""

import pickle

import numpy as np
import pytest

import gpunet
from gpunet.layers import Dense
from gpunet.models import Sequential
from gpunet.wrappers.scikit_learn import BaseWrapper, KerasClassifier, KerasRegressor


def classifier(hidden=8, loss="sparse_categorical_crossentropy", metrics=("accuracy",)):
    units = 1 if loss == "binary_crossentropy" else 3
    model = Sequential(
        [
            Dense(hidden, activation="relu", input_shape=(4,)),
            Dense(units, activation="sigmoid" if units == 1 else "softmax"),
        ]
    )
    model.compile("adam", loss, metrics=list(metrics))
    return model


def regressor(hidden=8):
    model = Sequential([Dense(hidden, activation="relu", input_shape=(4,)), Dense(1)])
    model.compile("adam", "mse")
    return model


@pytest.fixture
def data(seeds):
    x = np.random.normal(size=(90, 4)).astype("float32")
    names = np.array(["cat", "dog", "owl"])
    return x, names[x[:, :3].argmax(axis=1)]


# -- without scikit-learn -------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["sparse_categorical_crossentropy", "categorical_crossentropy"])
def test_classifier(data, loss):
    x, y = data
    found = KerasClassifier(classifier, hidden=16, loss=loss, epochs=40, batch_size=10, verbose=0)
    history = found.fit(x, y)
    assert len(history.history["loss"]) == 40
    assert found.classes_.tolist() == ["cat", "dog", "owl"] and found.n_classes_ == 3
    assert found.model.layers[0].units == 16
    predicted = found.predict(x)
    assert predicted.shape == (90,) and np.mean(predicted == y) > 0.8
    assert found.score(x, y) == pytest.approx(np.mean(predicted == y))
    p = found.predict_proba(x)
    assert p.shape == (90, 3)
    np.testing.assert_array_equal(found.classes_[p.argmax(axis=1)], predicted)
    with pytest.raises(ValueError, match="'fish'"):
        found.score(x[:1], ["fish"])


def test_binary_classifier(data):
    x, _ = data
    y = np.where(x[:, 0] > 0, 7, -1)
    found = KerasClassifier(classifier, loss="binary_crossentropy", epochs=30, verbose=0)
    found.fit(x, y[:, None], sample_weight=np.ones(90))
    assert set(found.predict(x)) == {-1, 7} and found.predict(x).shape == (90,)
    p = found.predict_proba(x)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-5)
    assert found.score(x, y) == pytest.approx(np.mean(found.predict(x) == y))


def test_one_hot_targets(data):
    x, _ = data
    y = np.eye(3)[x[:, :3].argmax(axis=1)]
    found = KerasClassifier(classifier, loss="categorical_crossentropy", epochs=2, verbose=0)
    found.fit(x, y)
    assert found.classes_.tolist() == [0, 1, 2] and 0 <= found.score(x, y) <= 1


def test_regressor(data):
    x, _ = data
    found = KerasRegressor(regressor, epochs=3, verbose=0)
    found.fit(x, x.sum(axis=1), epochs=5)
    assert len(found.model.history.epoch) == 5
    assert found.predict(x).shape == (90,) == found.predict(x, batch_size=7).shape
    error = np.mean((found.predict(x) - x.sum(axis=1)) ** 2)
    assert found.score(x, x.sum(axis=1)) == pytest.approx(-error, rel=1e-4)


def test_parameters():
    found = KerasClassifier(classifier, hidden=3, epochs=2)
    assert found.get_params() == {"build_fn": classifier, "hidden": 3, "epochs": 2}
    assert found.set_params(hidden=5, batch_size=4) is found
    assert found.filter_sk_params(classifier) == {"hidden": 5}
    assert found.filter_sk_params(Sequential.fit, {"epochs": 9}) == {"epochs": 9, "batch_size": 4}
    for wrong in ({"units": 3}, {"build_fn": 3}):
        with pytest.raises(ValueError):
            found.set_params(**wrong)
    assert found.get_params()["build_fn"] is classifier
    with pytest.raises(ValueError, match="units is not a legal parameter"):
        KerasClassifier(classifier, units=3)
    with pytest.raises(ValueError, match="build_fn"):
        KerasRegressor()
    with pytest.raises(RuntimeError, match="fit"):
        found.predict(np.zeros((2, 4)))
    assert repr(found).startswith("KerasClassifier(build_fn=<function classifier")


def test_old_ways_to_build(data):
    x, _ = data

    class Built(KerasRegressor):
        def __call__(self, hidden=4):
            return regressor(hidden)

    class Maker:
        def __call__(self, hidden):
            return regressor(hidden)

    for found in (Built(hidden=3, nb_epoch=2, verbose=0), KerasRegressor(Maker(), hidden=3)):
        found.fit(x, x[:, 0], verbose=0)
        assert found.model.layers[0].units == 3
    assert isinstance(found, BaseWrapper) and found.check_params({"epochs": 1}) is None
    assert len(Built(nb_epoch=2, verbose=0).fit(x, x[:, 0]).history["loss"]) == 2


def test_missing_accuracy(data):
    found = KerasClassifier(classifier, metrics=(), verbose=0)
    found.fit(*data)
    with pytest.raises(ValueError, match="not configured to compute accuracy"):
        found.score(*data)


def test_pickled(data):
    found = KerasClassifier(classifier, epochs=2, verbose=0)
    found.fit(*data)
    again = pickle.loads(pickle.dumps(found))
    np.testing.assert_array_equal(again.predict_proba(data[0]), found.predict_proba(data[0]))
    assert gpunet.wrappers.scikit_learn.KerasClassifier is KerasClassifier


# -- with it --------------------------------------------------------------------------------------


@pytest.fixture
def sklearn():
    return pytest.importorskip("sklearn", reason="scikit-learn isn't installed")


def test_clone_and_tags(sklearn):
    from sklearn.base import clone, is_classifier, is_regressor

    params = {"hidden": 5, "class_weight": {0: 1.0, 1: 2.0, 2: 1.0}}
    found = clone(KerasClassifier(classifier, **params))
    assert found.get_params() == {"build_fn": classifier, **params}
    assert is_classifier(found) and not is_regressor(found)
    assert is_regressor(KerasRegressor(regressor))


def test_grid_search(sklearn, data):
    from sklearn.model_selection import GridSearchCV

    search = GridSearchCV(
        KerasClassifier(classifier, epochs=25, verbose=0, batch_size=8),
        {"hidden": [1, 16], "batch_size": [8]},
        cv=3,
    )
    search.fit(*data)
    assert search.best_params_ == {"hidden": 16, "batch_size": 8}
    assert search.best_score_ > 0.7 and search.score(*data) > 0.8
    assert set(search.predict(data[0])) <= {"cat", "dog", "owl"}


def test_cross_validation_by_a_scorer(sklearn, data):
    from sklearn.model_selection import cross_val_predict, cross_val_score

    found = KerasClassifier(classifier, epochs=20, batch_size=8, verbose=0)
    for scoring in (None, "accuracy", "neg_log_loss", "roc_auc_ovr"):
        scores = cross_val_score(found, *data, cv=3, scoring=scoring)
        assert scores.shape == (3,) and np.all(np.isfinite(scores))
    p = cross_val_predict(found, *data, cv=3, method="predict_proba")
    assert p.shape == (90, 3)
    scores = cross_val_score(
        KerasRegressor(regressor, epochs=20, verbose=0), data[0], data[0][:, 0], cv=3, scoring="r2"
    )
    assert np.all(np.isfinite(scores))


def test_pipeline(sklearn, data):
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    x, y = data
    pipe = Pipeline(
        [("scale", StandardScaler()), ("net", KerasClassifier(classifier, epochs=30, verbose=0))]
    )
    pipe.fit(1000 * x, y, net__batch_size=4)
    assert pipe.score(1000 * x, y) > 0.6 and pipe.predict(x).shape == (90,)
    assert pipe.classes_.tolist() == ["cat", "dog", "owl"]
    search = GridSearchCV(pipe, {"net__hidden": [2, 4]}, cv=2).fit(x, y)
    assert search.best_params_["net__hidden"] in (2, 4)


def test_ensembles(sklearn, data):
    from sklearn.ensemble import BaggingClassifier, StackingClassifier, VotingClassifier

    x, y = data
    net = KerasClassifier(classifier, epochs=10, batch_size=8, verbose=0)
    for ensemble in (
        BaggingClassifier(net, n_estimators=2, random_state=0),
        VotingClassifier([("a", net), ("b", net)], voting="soft"),
        StackingClassifier([("a", net)], cv=2),
    ):
        ensemble.fit(x, y)
        assert ensemble.predict(x).shape == (90,)
