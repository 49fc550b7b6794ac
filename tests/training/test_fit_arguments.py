"""The arguments of compile, fit, evaluate and predict, one by one."""

import numpy as np
import pytest

import gpunet
from gpunet import metrics, ops, optimizers, regularizers
from gpunet.callbacks import Callback, LambdaCallback
from gpunet.layers import Dense, Dropout, Input
from gpunet.models import Model, Sequential


def linear(loss="mse", optimizer="sgd", **compiled):
    """Return y = sum of x's two columns, weights all ones."""
    model = Sequential([Dense(1, input_shape=(2,), kernel_initializer="ones", name="out")])
    model.compile(optimizer, loss, **compiled)
    return model


@pytest.fixture
def data(rng):
    x = rng.standard_normal((50, 2)).astype("float32")
    return x, (x @ [1.0, -1.0] + 0.5).astype("float32")


def squares(model, x, y):
    return (model.predict(x)[:, 0] - y) ** 2


# -- how an epoch is cut ------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 16, 50, 64, None, np.int64(7), 8.0])
def test_means_are_over_samples_not_batches(data, size):
    model = linear(metrics=["mae"])
    want = squares(model, *data)
    loss, mae = model.evaluate(*data, batch_size=size, verbose=0)
    assert loss == pytest.approx(want.mean(), rel=1e-5)
    assert mae == pytest.approx(np.sqrt(want).mean(), rel=1e-5)
    model.compile(optimizers.SGD(0.0), "mse")
    history = model.fit(*data, batch_size=size, verbose=0)
    assert history.history["loss"] == [pytest.approx(want.mean(), rel=1e-5)]


def batches_of(data, shuffle, size=8, **options):
    """Return the x of every batch, epoch after epoch."""
    seen = []

    class Spy(Dense):
        def call(self, x):
            if x.shape[0] is not None and x.shape[0] > 1:
                seen.append(x.numpy()[:, 0])
            return super().call(x)

    model = Sequential([Spy(1, input_shape=(2,))])
    model.compile("sgd", "mse")
    model.fit(*data, batch_size=size, shuffle=shuffle, verbose=0, **options)
    return seen


def test_shuffle(data, seeds):
    x = data[0][:, 0]
    plain = batches_of(data, False, epochs=2)
    assert [len(b) for b in plain] == [8, 8, 8, 8, 8, 8, 2] * 2
    np.testing.assert_array_equal(np.concatenate(plain), np.tile(x, 2))
    mixed = batches_of(data, True, epochs=2)
    first, second = np.concatenate(mixed[:7]), np.concatenate(mixed[7:])
    assert (first != x).any() and (first != second).any()
    np.testing.assert_array_equal(np.sort(first), np.sort(x))
    np.testing.assert_array_equal(np.sort(second), np.sort(x))
    blocks = batches_of(data, "batch", epochs=1)
    starts = [int(np.flatnonzero(x == b[0])[0]) for b in blocks]
    assert starts[-1] == 48 and sorted(starts) == list(range(0, 50, 8)) != starts
    for start, b in zip(starts, blocks, strict=True):
        np.testing.assert_array_equal(b, x[start : start + 8])


def test_steps(data):
    assert len(batches_of(data, False, steps_per_epoch=3, epochs=2)) == 6
    assert len(batches_of(data, False, steps_per_epoch=99)) == 7
    model = linear()
    want = squares(model, *data)
    assert model.evaluate(*data, steps=2, batch_size=4, verbose=0) == pytest.approx(
        want[:8].mean(), rel=1e-5
    )
    assert model.predict(data[0], steps=2, batch_size=4).shape == (8, 1)
    history = model.fit(*data, validation_data=data, validation_steps=1, batch_size=10, verbose=0)
    assert history.history["val_loss"][0] == pytest.approx(squares(model, *data)[:10].mean(), 1e-4)


def test_epochs(data):
    assert linear().fit(*data, epochs=0, verbose=0).history == {}
    history = linear().fit(*data, epochs=5, initial_epoch=3, verbose=0)
    assert history.epoch == [3, 4] and len(history.history["loss"]) == 2
    assert linear().fit(*data, epochs=2, initial_epoch=2, verbose=0).epoch == []
    assert linear().fit(*data, nb_epoch=2, verbose=0).epoch == [0, 1]


# -- validation ---------------------------------------------------------------------------


def test_validation_split_is_the_last_part_before_shuffling(data):
    x, y = data
    model = linear()
    history = model.fit(x, y, validation_split=0.2, shuffle=True, verbose=0)
    assert history.history["val_loss"][0] == pytest.approx(
        squares(model, x, y)[40:].mean(), rel=1e-4
    )
    seen = batches_of(data, True, size=40, validation_split=0.2)
    np.testing.assert_array_equal(np.sort(seen[0]), np.sort(x[:40, 0]))
    np.testing.assert_array_equal(seen[1], x[40:, 0])


@pytest.mark.parametrize("form", [tuple, list])
def test_validation_data_with_weights(data, form):
    x, y = data
    w = np.linspace(0, 1, 50)
    model = linear()
    history = model.fit(x, y, validation_data=form([x, y, w]), validation_split=0.9, verbose=0)
    want = (squares(model, x, y) * w).mean()
    assert history.history["val_loss"][0] == pytest.approx(want, rel=1e-4)


@pytest.mark.parametrize(
    ("frequency", "epochs"), [(1, [0, 1, 2, 3]), (2, [1, 3]), (3, [2]), ([1, 4], [0, 3])]
)
def test_validation_freq(data, frequency, epochs):
    done = []
    callback = LambdaCallback(on_epoch_end=lambda e, logs: "val_loss" in logs and done.append(e))
    history = linear().fit(
        *data, epochs=4, validation_split=0.5, validation_freq=frequency, verbose=0,
        callbacks=[callback],
    )  # fmt: skip
    assert done == epochs and len(history.history["val_loss"]) == len(epochs)


def test_class_weight_is_for_training_alone(rng):
    x = rng.standard_normal((40, 2)).astype("float32")
    y = np.arange(40) % 2
    model = linear("binary_crossentropy", optimizers.SGD(0.0))
    plain = model.evaluate(x, y, verbose=0)
    history = model.fit(x, y, class_weight={0: 3.0, 1: 3}, validation_data=(x, y), verbose=0)
    assert history.history["loss"][0] == pytest.approx(3 * plain, rel=1e-5)
    assert history.history["val_loss"][0] == pytest.approx(plain, rel=1e-5)


def test_class_weight_multiplies_sample_weight(rng):
    x = rng.standard_normal((40, 2)).astype("float32")
    w = rng.random(40).astype("float32")
    y = np.arange(40) % 3
    hot = np.eye(3, dtype="float32")[y]
    gpunet.utils.set_random_seed(0)
    model = Sequential([Dense(3, activation="softmax", input_shape=(2,))])
    by_class = np.array([0.5, 2.0, 0.0], "float32")
    for loss, targets in (("categorical", hot), ("sparse_categorical", y)):
        model.compile("sgd", loss + "_crossentropy")
        both = model.test_on_batch(x, targets, sample_weight=w * by_class[y])
        got = model.train_on_batch(
            x, targets, sample_weight=w, class_weight=dict(enumerate(by_class.tolist()))
        )
        assert got == pytest.approx(both, rel=1e-6)


def test_class_weight_of_several_outputs(rng):
    inputs = Input((2,))
    outputs = [Dense(1, activation="sigmoid", name=n)(inputs) for n in ("a", "b")]
    model = Model(inputs, outputs)
    model.compile(optimizers.SGD(0.0), "binary_crossentropy")
    x, y = rng.standard_normal((20, 2)), np.ones(20)
    plain = model.test_on_batch(x, [y, y])
    for weights in ({"a": {0: 1.0, 1: 4.0}}, [{0: 1.0, 1: 4.0}, None]):
        _, a, b = model.train_on_batch(x, [y, y], class_weight=weights)
        assert (a, b) == (pytest.approx(4 * plain[1]), pytest.approx(plain[2]))


# -- what comes back ----------------------------------------------------------------------


def test_results(data):
    model = linear(metrics=["mae"])
    loss, mae = model.evaluate(*data, verbose=0)
    assert model.evaluate(*data, verbose=0, return_dict=True) == {"loss": loss, "mae": mae}
    assert model.test_on_batch(*data, return_dict=True)["mae"] == pytest.approx(mae)
    assert model.metrics_names == ["loss", "mae"] and len(model.metrics) == 1
    first = model.train_on_batch(*data, return_dict=True)
    assert first["loss"] == pytest.approx(loss) and type(first["loss"]) is float
    assert model.test_on_batch(*data)[0] < loss
    alone = linear()
    assert type(alone.evaluate(*data, verbose=0)) is float
    assert type(alone.train_on_batch(*data)) is float


def test_reset_metrics(data):
    x, y = data
    model = linear(optimizer=optimizers.SGD(0.0))
    want = squares(model, x, y)
    first = model.train_on_batch(x[:10], y[:10])
    both = model.train_on_batch(x[10:40], y[10:40], reset_metrics=False)
    assert first == pytest.approx(want[:10].mean(), rel=1e-5)
    assert both == pytest.approx(want[:40].mean(), rel=1e-5)
    model.reset_metrics()
    assert model.test_on_batch(x[:1], y[:1], reset_metrics=False) == pytest.approx(want[0], 1e-5)


def test_predictions_are_new_arrays(data):
    model = Sequential([Dropout(0.5, input_shape=(2,))])
    x = data[0].copy()
    for got in (model.predict(x), model.predict_on_batch(x), model.predict(x, batch_size=7)):
        np.testing.assert_array_equal(got, data[0])
        got[:] = 0
    np.testing.assert_array_equal(x, data[0])


def test_arguments_by_position(data):
    model = linear()
    assert model.fit(*data, 10, 2, 0).epoch == [0, 1]
    assert model.predict(data[0], 10, 0).shape == (50, 1)
    assert type(model.evaluate(*data, 10, 0)) is float


# -- losses and metrics -------------------------------------------------------------------


def two(loss="mse", **compiled):
    inputs = Input((2,))
    outputs = [Dense(1, name="main")(inputs), Dense(1, name="aux")(inputs)]
    model = Model(inputs, outputs)
    model.compile("sgd", loss, **compiled)
    return model


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (None, []),
        (["mae"], ["main_mae", "aux_mae"]),
        ("mae", ["main_mae", "aux_mae"]),
        (["mae", "mse"], ["main_mae", "main_mse", "aux_mae", "aux_mse"]),
        ([["mae"], []], ["main_mae"]),
        ([["mae"], ["mse", "mae"]], ["main_mae", "aux_mse", "aux_mae"]),
        ([None, ["mae"]], ["aux_mae"]),
        ({"main": "acc"}, ["main_acc"]),
        ({"aux": ["mae", "mse"], "main": None}, ["aux_mae", "aux_mse"]),
        ([metrics.MeanAbsoluteError(name="m")], ["main_m", "aux_m"]),
        ([["mae", "mae"], []], ["main_mae", "main_mae_1"]),
    ],
)
def test_names_of_metrics(data, given, names):
    x, y = data
    model = two(metrics=given)
    want = ["loss", "main_loss", "aux_loss", *names]
    assert model.metrics_names == want
    history = model.fit(x, [y, y], validation_split=0.5, verbose=0)
    assert list(history.history) == want + [f"val_{n}" for n in want]


def test_a_metric_object_for_all_outputs_measures_each(data):
    x, y = data
    logs = two(metrics=[metrics.MeanAbsoluteError(name="m")]).evaluate(
        x, [y, y + 100], verbose=0, return_dict=True
    )
    assert logs["aux_m"] > 50 > logs["main_m"]


def test_outputs_named_like_a_metric(data):
    x, y = data
    inputs = Input((2,))
    model = Model(inputs, [Dense(1, name="mean")(inputs), Dense(1, name="b")(inputs)])
    model.compile("sgd", "mse", metrics=["mean_absolute_error"])
    assert model.metrics_names[3:] == ["mean_mean_absolute_error", "b_mean_absolute_error"]


def test_weighted_metrics(data):
    x, y = data
    w = np.linspace(0, 1, 50)
    model = linear(metrics=["mae"], weighted_metrics=["mae"])
    assert model.metrics_names == ["loss", "mae", "weighted_mae"]
    error = np.sqrt(squares(model, x, y))
    _, plain, weighted = model.evaluate(x, y, sample_weight=w, verbose=0)
    assert plain == pytest.approx(error.mean(), rel=1e-5)
    assert weighted == pytest.approx((error * w).sum() / w.sum(), rel=1e-5)


def test_metric_functions_and_dicts(data):
    def largest(y_true, y_pred):
        return ops.max(ops.abs(y_true - y_pred))

    def both(y_true, y_pred):
        return {"up": ops.mean(y_pred), "down": -ops.mean(y_pred)}

    x, y = data
    model = linear(metrics=[largest, both, "mae"])
    logs = model.evaluate(x, y, batch_size=50, verbose=0, return_dict=True)
    assert list(logs) == ["loss", "largest", "up", "down", "mae"]
    assert logs["up"] == -logs["down"] == pytest.approx(model.predict(x).mean(), rel=1e-5)
    model = two(metrics=[both])
    logs = model.evaluate(x, [y, y], verbose=0, return_dict=True)
    assert list(logs)[3:] == ["main_up", "main_down", "aux_up", "aux_down"]


def test_metrics_of_the_users_own_class(data):
    class Count(metrics.Metric):
        def __init__(self, name="count"):
            super().__init__(name=name)
            self.total = self.add_weight("total")

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.total.assign_add(float(y_true.shape[0]))

        def result(self):
            return self.total

    history = linear(metrics=[Count()]).fit(
        *data, epochs=3, batch_size=16, validation_split=0.2, verbose=0
    )
    assert history.history["count"] == [40.0] * 3
    assert history.history["val_count"] == [10.0] * 3


def test_accuracy_of_a_users_loss_follows_the_targets(rng):
    x, y = rng.standard_normal((30, 4)).astype("float32"), rng.integers(0, 3, 30)
    model = Sequential([Dense(3, activation="softmax", input_shape=(4,))])
    want = (model.predict(x).argmax(-1) == y).mean()

    def own(y_true, y_pred):
        return -ops.log(ops.sum(ops.one_hot(y_true[:, 0], 3) * y_pred, axis=-1))

    for targets in (y, y[:, None]):
        model.compile("sgd", own, metrics=["accuracy"])
        assert model.evaluate(x, targets, verbose=0)[1] == pytest.approx(want)
    model.compile("sgd", lambda t, p: ops.mean(ops.square(t - p), axis=-1), metrics=["accuracy"])
    assert model.evaluate(x, np.eye(3)[y], verbose=0)[1] == pytest.approx(want)


def test_loss_weights(data):
    x, y = data
    for weights in ([2.0, 0.5], {"main": 2, "aux": 0.5}, [np.float32(2), 0.5]):
        total, main, aux = two(loss_weights=weights).evaluate(x, [y, y], verbose=0)
        assert total == pytest.approx(2 * main + 0.5 * aux, rel=1e-6)
    total, main, aux = two(loss_weights={"aux": 3.0}).evaluate(x, [y, y], verbose=0)
    assert total == pytest.approx(main + 3 * aux, rel=1e-6)


def test_loss_weight_that_changes_while_training(data):
    x, y = data
    alpha = gpunet.Variable(1.0)
    model = two(loss_weights=[alpha, 1.0])
    model.compile(optimizers.SGD(0.0), "mse", loss_weights=[alpha, 1.0])

    class Anneal(Callback):
        def on_epoch_end(self, epoch, logs=None):
            alpha.assign(0.0)

    h = model.fit(x, [y, y], epochs=2, callbacks=[Anneal()], verbose=0).history
    assert h["loss"][0] == pytest.approx(h["main_loss"][0] + h["aux_loss"][0], rel=1e-5)
    assert h["loss"][1] == pytest.approx(h["aux_loss"][1], rel=1e-5)


def test_regularizers_count_once(data):
    shared = Dense(2, kernel_regularizer=regularizers.l2(0.1), kernel_initializer="ones")
    inputs = Input((2,))
    inner = Model(inputs, shared(shared(inputs)))
    outer_in = Input((2,))
    outer = Model(outer_in, Dense(1, kernel_regularizer="l1")(inner(inner(outer_in))))
    outer.compile("sgd", "mse")
    plain = np.mean((outer.predict(data[0])[:, 0] - data[1]) ** 2)
    l1 = 0.01 * np.abs(outer.layers[-1].get_weights()[0]).sum()
    assert outer.evaluate(*data, verbose=0) == pytest.approx(plain + 0.4 + l1, rel=1e-5)


def test_add_loss_of_functions_and_graphs(data):
    x, y = data
    model = linear()
    plain = model.evaluate(x, y, verbose=0)
    kernel = model.layers[0].kernel
    model.add_loss(lambda: 0.25 * ops.sum(ops.square(kernel)))
    model.compile("sgd", "mse")
    assert model.evaluate(x, y, verbose=0) == pytest.approx(plain + 0.5, rel=1e-5)

    inputs = Input((2,))
    code = Dense(2, kernel_initializer="ones")(inputs)
    outputs = Dense(2)(code)
    model = Model(inputs, outputs)
    model.add_loss(ops.mean(ops.square(code)))
    model.compile("sgd", "mse")
    want = np.mean(np.sum(x, 1) ** 2)
    assert model.evaluate(x, model.predict(x), batch_size=50, verbose=0) == pytest.approx(
        want, 1e-4
    )
    model.compile(optimizers.SGD(0.05))  # nothing else to minimise, no targets
    model(x)  # a call outside of training must not lose it
    losses = model.fit(x, epochs=15, verbose=0).history["loss"]
    assert losses[-1] < 0.2 * losses[0] and model.predict(x).shape == (50, 2)


def test_reduction_none_is_averaged(data):
    mean = linear().evaluate(*data, verbose=0)
    for reduction, want in (("none", mean), ("sum_over_batch_size", mean)):
        model = linear(gpunet.losses.MeanSquaredError(reduction=reduction))
        assert model.evaluate(*data, verbose=0) == pytest.approx(want, rel=1e-5)


def test_layers_added_after_compile_are_trained(data):
    model = Sequential([Dense(3, input_shape=(2,))])
    model.compile("sgd", "mse")
    model.fit(data[0], np.zeros((50, 3)), verbose=0)
    model.add(Dense(1))
    before = model.get_weights()
    model.fit(*data, verbose=0)
    for old, new in zip(before, model.get_weights(), strict=True):
        assert (old != new).any()
