"""Whole trainings through captured graphs give the numbers of the plain CPU run."""

import logging

import fake_cuda
import fake_device
import numpy as np
import pytest

import gpunet
from gpunet import backend as K
from gpunet import callbacks, layers, models, optimizers, regularizers
from gpunet.mixed_precision import LossScaleOptimizer
from gpunet.ops import random
from gpunet.utils import Sequence

DRAWN = np.random.default_rng(1)
X = DRAWN.standard_normal((50, 6)).astype("float32")
Y = np.arange(50) % 3
IMAGES = DRAWN.integers(0, 255, (21, 8, 8, 2)).astype("uint8")
WORDS = DRAWN.integers(0, 9, (22, 7))


@pytest.fixture(autouse=True)
def own_generator(monkeypatch):
    """A generator whose state doesn't stay behind on a device that is gone."""
    monkeypatch.setattr(random, "_default", random.Generator(0))


def mlp(optimizer="adam", **compiled):
    model = models.Sequential(
        [
            layers.Dense(12, activation="relu", input_shape=(6,)),
            layers.Dropout(0.4),
            layers.Dense(3, activation="softmax", kernel_regularizer=regularizers.l2(0.01)),
        ]
    )
    compiled = {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"], **compiled}
    model.compile(optimizer, **compiled)
    return model


def cnn():
    model = models.Sequential(
        [
            layers.Conv2D(4, 3, activation="relu", input_shape=(8, 8, 2)),
            layers.BatchNormalization(),
            layers.MaxPooling2D(),
            layers.SeparableConv2D(3, 2, padding="same"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(optimizers.SGD(0.01, momentum=0.9), "binary_crossentropy", metrics=["acc"])
    return model


def lstm():
    model = models.Sequential(
        [
            layers.Embedding(9, 4, mask_zero=True, input_length=7),
            layers.LSTM(5, return_sequences=True, dropout=0.2),
            layers.Bidirectional(layers.GRU(3)),
            layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile("rmsprop", "categorical_crossentropy", metrics=["accuracy"])
    return model


def two_by_two():
    a, b = layers.Input((6,), name="a"), layers.Input((6,), name="b")
    hidden = layers.Dense(8, activation="tanh")(layers.Concatenate()([a, b]))
    hidden = layers.LayerNormalization()(hidden)
    outputs = [layers.Dense(3, activation="softmax", name="kind")(hidden),
               layers.Dense(1, name="value")(hidden)]  # fmt: skip
    model = models.Model([a, b], outputs)
    model.compile(
        optimizers.Adam(0.01, clipnorm=1.0), ["sparse_categorical_crossentropy", "mae"],
        metrics={"kind": ["acc"], "value": ["mse"]}, loss_weights=[1.0, 0.3],
    )  # fmt: skip
    return model


def program(make, x, y, **fit):
    """Return a program: what it gives is a nest of numbers."""

    def run():
        random._default.set_seed(0)
        gpunet.utils.set_random_seed(3)
        model = make()
        options = {"batch_size": 5, "epochs": 3, "validation_split": 0.2, "verbose": 0, **fit}
        history = model.fit(x, y, **options)
        predicted = model.predict(x, batch_size=4)
        return [
            {k: list(map(float, v)) for k, v in history.history.items()},
            model.evaluate(x, y, verbose=0, batch_size=4),
            [p.tolist() for p in (predicted if isinstance(predicted, list) else [predicted])],
            [w.tolist() for w in model.get_weights()],
        ]

    return run


def on_graphs(run, **options):
    """Return what a program gives on a device with graphs, and the Cuda.

    Without graphs that device has to give the same bits, and the CPU nearly the same numbers:
    it adds up in another order here and there.
    """
    random._default = random.Generator(0)
    with fake_cuda.fake_cuda(**options) as cuda:
        found = run()
    random._default = random.Generator(0)
    with fake_device.fake_device():
        assert run() == found
    random._default = random.Generator(0)
    return found, cuda


def same(got, want):
    """Compare nests of numbers."""
    if isinstance(want, dict):
        got, want = list(got.items()), list(want.items())
    if isinstance(want, (list, tuple)):
        assert len(got) == len(want)
        for g, w in zip(got, want, strict=True):
            same(g, w)
    else:
        assert got == (want if isinstance(want, str) else pytest.approx(want, rel=2e-4, abs=1e-5))


PROGRAMS = {
    "mlp": program(mlp, X, Y, sample_weight=np.linspace(0, 1, 50)),
    "cnn": program(cnn, IMAGES, np.arange(21) % 2),
    "lstm": program(lstm, WORDS, np.eye(3)[np.arange(22) % 3]),
    "two by two": program(two_by_two, [X, X * 2], [Y, X[:, 0]]),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_models(name, caplog):
    want = PROGRAMS[name]()
    with caplog.at_level(logging.INFO, "gpunet"):
        got, cuda = on_graphs(PROGRAMS[name])
    assert not [r for r in caplog.records if "graph" in r.getMessage()]
    same(got, want)
    # training, its validation, evaluation, prediction: most of it was launched
    assert cuda.captures >= 4 and cuda.launches >= 15


OPTIMIZERS = {
    **{name: name for name in ("sgd", "rmsprop", "adagrad", "adadelta", "adamax", "nadam")},
    "amsgrad": lambda: optimizers.Adam(0.01, amsgrad=True, decay=0.1),
    "adamw": lambda: optimizers.AdamW(0.01, weight_decay=0.01),
    "ftrl": lambda: optimizers.Ftrl(0.01),
    "nesterov": lambda: optimizers.SGD(0.01, momentum=0.9, nesterov=True, clipvalue=0.1),
    "clipped": lambda: optimizers.RMSprop(0.01, centered=True, momentum=0.5, clipnorm=0.1),
    "schedule": lambda: optimizers.Adam(
        optimizers.schedules.PiecewiseConstantDecay([5, 11], [0.1, 0.05, 0.01])
    ),
    "exponential": lambda: optimizers.SGD(optimizers.schedules.ExponentialDecay(0.1, 7, 0.5)),
    "cosine": lambda: optimizers.SGD(optimizers.schedules.CosineDecayRestarts(0.1, 9)),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name):
    def make():
        chosen = OPTIMIZERS[name]
        return mlp(chosen() if callable(chosen) else chosen)

    run = program(make, X, Y)
    want = run()
    got, cuda = on_graphs(run)
    same(got, want)
    assert cuda.launches >= 20


class SetByHand(callbacks.Callback):
    """Changes the rate between steps, by each way there is."""

    def on_train_batch_end(self, batch, logs=None):
        rate = self.model.optimizer.lr
        if batch % 3 == 0:
            K.set_value(rate, K.get_value(rate) * 0.9)
        elif batch % 3 == 1:
            self.model.optimizer.lr = 0.02


CALLBACKS = {
    "scheduler": lambda: callbacks.LearningRateScheduler(lambda e, lr: 0.1 / (1 + e)),
    "plateau": lambda: callbacks.ReduceLROnPlateau("val_loss", 0.1, patience=0, min_delta=1.0),
    "stopping": lambda: callbacks.EarlyStopping(
        patience=0, min_delta=1.0, restore_best_weights=True
    ),
    "by hand": SetByHand,
}


@pytest.mark.parametrize("name", CALLBACKS)
def test_callbacks_act(name):
    def run():
        return program(mlp, X, Y, epochs=6, callbacks=[CALLBACKS[name]()])()

    want = run()
    got, cuda = on_graphs(run)
    same(got, want)
    assert len(got[0]["loss"]) < 6 if name == "stopping" else cuda.launches > 20


@pytest.mark.parametrize("shuffle", [True, False, "batch"])
def test_orders_of_batches(shuffle):
    run = program(mlp, X, Y, batch_size=8, shuffle=shuffle, steps_per_epoch=3, epochs=6)
    same(on_graphs(run)[0], run())


class Batches(Sequence):
    """Batches of two sizes."""

    def __len__(self):
        return 6

    def __getitem__(self, i):
        where = slice(i * 8, i * 8 + (8 if i < 5 else 3))
        return X[where], Y[where]


def test_batches_from_outside(caplog):
    def run():
        random._default.set_seed(0)
        gpunet.utils.set_random_seed(3)
        model = mlp()
        history = model.fit(Batches(), epochs=4, verbose=0, validation_data=Batches()).history
        for _ in range(4):
            history["batch"] = model.train_on_batch(X[:8], Y[:8])
            history["tested"] = model.test_on_batch(X[:9], Y[:9])
            history["predicted"] = model.predict_on_batch(X[:7]).tolist()
        return history

    want = run()
    got, cuda = on_graphs(run)
    same(got, want)
    assert cuda.launches > 24


def test_large_data_stay_outside(monkeypatch):
    run = PROGRAMS["mlp"]
    monkeypatch.setattr("gpunet.training.resident._SHARE", 0.0)
    want = run()
    got, cuda = on_graphs(run)
    same(got, want)
    assert cuda.launches > 20


def test_storage_and_graphs_are_used_again():
    """Fits of one epoch, as old programs write them, capture once."""
    with fake_cuda.fake_cuda() as cuda:
        random._default = random.Generator(0)
        model = mlp()
        for n in range(8):
            model.fit(X + n, Y, batch_size=5, verbose=0)
            if n == 2:
                captured, launched = cuda.captures, cuda.launches
        assert cuda.captures == captured and cuda.launches > launched


def test_data_are_read_anew_by_each_fit():
    def run():
        random._default.set_seed(0)
        gpunet.utils.set_random_seed(3)
        model, x, losses = mlp(), X.copy(), []
        for _ in range(5):
            losses += model.fit(x, Y, batch_size=5, verbose=0).history["loss"]
            x *= 0.5
        return losses

    want = run()
    same(on_graphs(run)[0], want)


def counts(model, wanted, **options):
    """Return the batches at which hooks are called."""
    seen = []
    hooks = callbacks.LambdaCallback(
        on_train_batch_begin=lambda n, logs: seen.append(("begin", n, logs["size"])),
        on_train_batch_end=lambda n, logs: seen.append(("end", n, logs["size"])),
    )
    model.steps_per_execution = wanted
    model.fit(X, Y, batch_size=8, callbacks=[hooks], verbose=0, **options)
    return seen


def test_steps_per_execution_as_keras_calls_hooks():
    want = [("begin", 0, 8), ("end", 2, 8), ("begin", 3, 8), ("end", 5, 8), ("begin", 6, 2),
            ("end", 6, 2)]  # fmt: skip
    every = [(what, n, 8 if n < 6 else 2) for n in range(7) for what in ("begin", "end")]
    assert counts(mlp(steps_per_execution=3), 3) == want
    assert counts(mlp(), None) == every
    with fake_cuda.fake_cuda() as cuda:
        random._default = random.Generator(0)
        model = mlp()
        assert counts(model, 3, epochs=3) == want * 3 and cuda.launches
        assert counts(model, None, epochs=2) == every * 2
    for wrong in (0, -1, 1.5, "many", True):
        with pytest.raises(ValueError, match="steps_per_execution"):
            mlp(steps_per_execution=wrong)
    assert mlp(steps_per_execution="auto").steps_per_execution is None


def test_several_steps_in_a_launch():
    """48 batches take fewer than 20 launches once the graphs are there."""
    with fake_cuda.fake_cuda() as cuda:
        random._default = random.Generator(0)
        model = mlp()
        model.fit(X, Y, batch_size=1, epochs=3, verbose=0)
        before = cuda.launches
        model.fit(X[:48], Y[:48], batch_size=1, verbose=0, epochs=3)
        before = cuda.launches
        model.fit(X[:48], Y[:48], batch_size=1, verbose=0)
        assert 1 < cuda.launches - before < 20


# -- what can't be captured ----------------------------------------------------------------


def reasons(caplog):
    return [r.getMessage() for r in caplog.records if "captur" in r.getMessage()
            or "graph" in r.getMessage() or "recorded" in r.getMessage()]  # fmt: skip


def read_by_the_host(x):
    return x * 1.0 if K.is_keras_tensor(x) else x * float(K.get_value(K.sum(x)) < 1e9)


class Reading(layers.Layer):
    """A user's layer: its code runs at every step."""

    def call(self, x):
        return read_by_the_host(x)


def own_metric(y, p):
    return K.mean(p) * 1.0


SPOILED = {
    "layer": lambda: models.Sequential(
        [layers.Dense(3, activation="softmax", input_shape=(6,)), Reading()]
    ),
    "metric": lambda: models.Sequential([layers.Dense(3, activation="softmax", input_shape=(6,))]),
}


@pytest.mark.parametrize("name", SPOILED)
def test_users_code_runs_without_graphs(name, caplog):
    def make():
        model = SPOILED[name]()
        metrics = [own_metric] if name == "metric" else ["accuracy"]
        model.compile("adam", "sparse_categorical_crossentropy", metrics=metrics)
        return model

    def run():
        random._default.set_seed(0)
        gpunet.utils.set_random_seed(3)
        model = make()
        return model.fit(X, Y, batch_size=8, epochs=4, verbose=0).history

    want = run()
    caplog.clear()
    with caplog.at_level(logging.INFO, "gpunet"):
        got, cuda = on_graphs(run)
    same(got, want)
    assert cuda.launches == 0
    said = {message.split(":")[0] for message in reasons(caplog)}
    assert len(said) == len(reasons(caplog)) and all("training" in m for m in said)


def test_run_eagerly():
    def run():
        return program(lambda: mlp(run_eagerly=True), X, Y)()

    want = run()
    got, cuda = on_graphs(run)
    same(got, want)
    assert cuda.captures == 0


def test_an_error_in_a_capture_leaves_all_usable(caplog, monkeypatch):
    """The step goes on without graphs, with the numbers that it would have had."""
    run = PROGRAMS["mlp"]
    want = run()
    track = gpunet.training.objective.Objective.track

    def waits(self, total, parts, size):
        if fake_device._capturing:
            fake_device.to_host(total)
        track(self, total, parts, size)

    monkeypatch.setattr("gpunet.training.objective.Objective.track", waits)
    with caplog.at_level(logging.INFO, "gpunet"):
        got, cuda = on_graphs(run)
    same(got, want)
    found = [m for m in reasons(caplog) if "training" in m]
    assert len(found) == 1 and "copied to the host" in found[0]
    assert cuda.launches  # predictions


def test_ctrl_c_in_a_capture(monkeypatch):
    track = gpunet.training.objective.Objective.track

    def broken(self, total, parts, size):
        if fake_device._capturing:
            raise KeyboardInterrupt
        track(self, total, parts, size)

    with fake_cuda.fake_cuda() as cuda:
        random._default = random.Generator(0)
        model = mlp()
        with monkeypatch.context() as patched:
            patched.setattr("gpunet.training.objective.Objective.track", broken)
            with pytest.raises(KeyboardInterrupt):
                model.fit(X, Y, epochs=3, verbose=0)
        assert cuda.capture is None and cuda.allocator is None and cuda.current is cuda.null
        model.fit(X, Y, epochs=3, verbose=0)
        assert cuda.launches


def test_too_little_memory_for_graphs(caplog):
    run = PROGRAMS["mlp"]
    want = run()
    with caplog.at_level(logging.INFO, "gpunet"):
        got, cuda = on_graphs(run, memory=2000)
    same(got, want)
    assert not cuda.launches and any("bytes" in m for m in reasons(caplog))


# -- what ends a graph ---------------------------------------------------------------------


def change_option(model):
    model.layers[1].rate = 0.1


def change_clipping(model):
    model.optimizer.clipvalue = 0.001


def change_momentum(model):
    model.optimizer.momentum = 0.5


def change_schedule(model):
    model.optimizer.learning_rate = optimizers.schedules.ExponentialDecay(0.1, 3, 0.5)


def freeze(model):
    model.layers[0].trainable = False
    model.compile(model.optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])


def another_optimizer(model):
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])


def set_weights(model):
    model.set_weights([w * 0.5 for w in model.get_weights()])


def seed_anew(model):
    gpunet.utils.set_random_seed(77)


def set_precision(model):
    gpunet.config.set_precision("strict")


@pytest.mark.parametrize(
    "change",
    [change_option, change_clipping, change_momentum, change_schedule, freeze, another_optimizer,
     set_weights, seed_anew, set_precision],
)  # fmt: skip
def test_changes_act(change):
    def run():
        random._default.set_seed(0)
        gpunet.utils.set_random_seed(3)
        model = mlp(optimizers.SGD(0.1, momentum=0.0))
        losses = model.fit(X, Y, batch_size=8, epochs=3, verbose=0).history["loss"]
        change(model)
        losses += model.fit(X, Y, batch_size=8, epochs=4, verbose=0).history["loss"]
        return losses, [w.tolist() for w in model.get_weights()]

    before = gpunet.config.precision()
    want = run()
    gpunet.config.set_precision(before)
    try:
        got, cuda = on_graphs(run)
    finally:
        gpunet.config.set_precision(before)
    same(got, want)
    assert cuda.launches > 30


def test_graphs_and_idle_data_can_be_let_go():
    """`clear_session` gives memory back, between fits and in one."""

    def run(forget):
        random._default.set_seed(0)
        gpunet.utils.set_random_seed(3)
        model = mlp()
        hook = callbacks.LambdaCallback(on_epoch_end=lambda e, logs: forget())
        history = model.fit(X, Y, epochs=5, batch_size=8, verbose=0, callbacks=[hook]).history
        forget()
        held = len(model._plan.steps.residence._held) if model._plan.steps.residence else 0
        return history, model.evaluate(X, Y, verbose=0), held

    random._default = random.Generator(0)
    with fake_cuda.fake_cuda() as cuda:
        want = run(lambda: None)
        once = cuda.captures
        got = run(K.clear_session)
        assert cuda.captures - once > once
    assert got[:2] == want[:2] and (got[2], want[2]) == (0, 2)


@pytest.mark.filterwarnings("ignore:.*(overflow|invalid):RuntimeWarning")
def test_mixed_precision(caplog):
    """The loss scale lies in device memory: steps that are left out leave it halved."""

    def run():
        random._default.set_seed(0)
        gpunet.utils.set_random_seed(3)
        model = models.Sequential(
            [
                layers.Dense(8, activation="relu", input_shape=(6,), dtype="mixed_float16"),
                layers.Dense(3, activation="softmax", dtype="float32"),
            ]
        )
        rule = gpunet.mixed_precision.LossScaleOptimizer(
            optimizers.SGD(0.1), initial_scale=2.0**30, dynamic_growth_steps=3
        )
        model.compile(rule, "sparse_categorical_crossentropy")
        losses = model.fit(X, Y, batch_size=8, epochs=8, verbose=0, shuffle=False).history["loss"]
        return losses, float(rule.loss_scale), int(rule.iterations)

    with caplog.at_level(logging.INFO, "gpunet"):
        got, cuda = on_graphs(run)
    assert not [r for r in caplog.records if "graph" in r.getMessage()]
    assert cuda.launches > 10 and got[2] < 56 and got[1] != 2.0**30


def test_a_visit_to_another_device():
    """Random state that moves to the CPU and back isn't read where it was."""

    def run(visit):
        random._default.set_seed(0)
        gpunet.utils.set_random_seed(3)
        model = mlp()
        losses = model.fit(X, Y, batch_size=8, epochs=3, verbose=0).history["loss"]
        if visit:
            with gpunet.device("cpu"):
                random.dropout(gpunet.convert_to_tensor(X[:1, :4]), 0.5)
        else:
            random.dropout(gpunet.convert_to_tensor(X[:1, :4]), 0.5)
        return losses + model.fit(X, Y, batch_size=8, epochs=3, verbose=0).history["loss"]

    want = run(False)
    same(on_graphs(lambda: run(True))[0], want)


def test_predictions_outlive_the_next_launch():
    from gpunet.training import step

    with fake_cuda.fake_cuda() as cuda:
        random._default = random.Generator(0)
        model = mlp()
        model.predict(X[:1])
        batches = [model._inputs("predict", X[n : n + 5], None).whole() for n in range(6)]
        found = [step.predict_step(model, batch)[0] for batch in batches]
        assert cuda.launches
        for n, p in enumerate(found):
            want = model.predict(X[n : n + 5])
            np.testing.assert_allclose(fake_device.to_host(p.array), want, rtol=1e-6)


def test_scaled_losses_with_steps_that_are_left_out():
    def run():
        random._default.set_seed(0)
        gpunet.utils.set_random_seed(3)
        dtype = "mixed_float16"
        model = gpunet.Sequential([
            layers.Dense(8, activation="relu", dtype=dtype, input_shape=X.shape[1:]),
            layers.BatchNormalization(dtype=dtype),
            layers.Dense(1),
        ])  # fmt: skip
        optimizer = LossScaleOptimizer(
            optimizers.Adam(), initial_scale=2.0**22, dynamic_growth_steps=6
        )
        model.compile(optimizer, "mse")
        targets = X[:, :1] * 3
        losses = model.fit(X, targets, batch_size=8, epochs=6, verbose=0).history["loss"]
        scalars = [optimizer.iterations, optimizer.dynamic_counter, optimizer._loss_scale]
        host = fake_device.to_host if hasattr(scalars[0].array, "_values") else np.asarray
        return losses + [float(host(v.array)) for v in scalars]

    want = run()
    got, cuda = on_graphs(run)
    same(got, want)
    assert cuda.launches
