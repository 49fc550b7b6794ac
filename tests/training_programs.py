"""Programs that train, run alike by gpunet and by Keras 2; what Keras got is stored.

A program gets ``k``, the package (``gpunet`` or ``tf_keras``), and ``tape``, its GradientTape; it
returns a model and the arguments of `fit` and of `evaluate`.  Weights and data don't depend on
anyone's random numbers.  The numbers are in ``fixtures/keras/programs.json``.
"""

import numpy as np

ROWS = 50  # leaves a partial last batch of 16


def numbers():
    """Return a source of data that gives the same in both packages."""
    return np.random.RandomState(5)


def set_weights(model):
    """Give a model weights that everybody can compute."""
    made = []
    for i, w in enumerate(model.get_weights()):
        values = np.cos(np.arange(w.size) * 1.7 + i) * (0.5 if w.ndim > 1 else 0.1)
        made.append(values.reshape(w.shape).astype("float32"))
    model.set_weights(made)
    return model


def sgd(k, rate=0.1, **options):
    optimizers = getattr(k.optimizers, "legacy", k.optimizers)
    return optimizers.SGD(learning_rate=rate, **options)


def classes(rows=ROWS):
    """Return x, one-hot y, integer y, weights."""
    rng = numbers()
    x = rng.standard_normal((rows, 6)).astype("float32")
    labels = (x @ rng.standard_normal((6, 4))).argmax(axis=1)
    weights = (rng.rand(rows) * 2).astype("float32")
    return x, np.eye(4, dtype="float32")[labels], labels[:, None].astype("int32"), weights


def classifier(k, **options):
    model = k.Sequential(
        [
            k.layers.Dense(8, activation="tanh", input_shape=(6,), kernel_regularizer="l2"),
            k.layers.Dense(4, activation="softmax"),
        ]
    )
    model.compile(sgd(k, momentum=0.9), **{"loss": "categorical_crossentropy", **options})
    return set_weights(model)


def cut(*arrays, size=16):
    return [tuple(a[i : i + size] for a in arrays) for i in range(0, len(arrays[0]), size)]


def sequence(k, items):
    class Items(k.utils.Sequence):
        def __len__(self):
            return len(items)

        def __getitem__(self, index):
            return items[index]

    return Items()


def forever(items):
    while True:
        yield from items


FIT = {"batch_size": 16, "epochs": 3, "shuffle": False}


def class_weights(k, tape):
    x, y, _, w = classes()
    model = classifier(k, metrics=["accuracy"], weighted_metrics=["mae", "accuracy"])
    fit = dict(FIT, x=x, y=y, class_weight={0: 0.5, 1: 2.0, 2: 1.0, 3: 0.0},
               validation_data=(x[:21], y[:21], w[:21]), validation_freq=2, epochs=4)  # fmt: skip
    return model, fit, {"x": x, "y": y, "sample_weight": w, "batch_size": 16}


def validation_split(k, tape):
    x, y, _, w = classes()
    model = classifier(k, metrics=["acc", "mae"], weighted_metrics=["mse"])
    fit = dict(FIT, x=x, y=y, sample_weight=w, validation_split=0.3, initial_epoch=2, epochs=5)
    return model, fit, {"x": x, "y": y}


def validation_freq_list(k, tape):
    x, _, y, _ = classes()
    model = classifier(k, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    fit = dict(FIT, x=x, y=y, validation_data=(x[:21], y[:21]), validation_freq=[1, 4], epochs=4)
    return model, fit, {"x": x, "y": y}


def steps(k, tape):
    x, y, _, _ = classes()
    fit = dict(FIT, x=x, y=y, steps_per_epoch=2, validation_data=(x, y), validation_steps=1)
    return classifier(k), fit, {"x": x, "y": y, "steps": 2, "batch_size": 16}


def integer_classes_weighted(k, tape):
    x, _, y, _ = classes()
    model = classifier(k, loss="sparse_categorical_crossentropy", metrics=["acc"])
    fit = dict(FIT, x=x, y=y[:, 0], class_weight={0: 0.5, 1: 2.0, 2: 1.0, 3: 0.0})
    return model, fit, {"x": x, "y": y}


def stateful_metrics(k, tape):
    x, y, _, w = classes()
    m = k.metrics
    model = classifier(
        k,
        metrics=[m.AUC(name="auc"), m.Precision(name="precision"), m.TopKCategoricalAccuracy(2)],
        weighted_metrics=[m.Recall(name="recall"), m.CategoricalCrossentropy()],
    )
    fit = dict(FIT, x=x, y=y, sample_weight=w, validation_data=(x[:21], y[:21]))
    return model, fit, {"x": x, "y": y, "sample_weight": w}


def words():
    rng = numbers()
    x = rng.randint(1, 20, (ROWS, 7))
    lengths = rng.randint(1, 8, ROWS)
    x[np.arange(7) >= lengths[:, None]] = 0
    return x.astype("int32"), (x % 3)[..., None].astype("int32"), rng.rand(ROWS, 7) * 2


def tagger(k, kind="LSTM", **options):
    model = k.Sequential(
        [
            k.layers.Embedding(20, 5, mask_zero=True, input_length=7),
            getattr(k.layers, kind)(6, return_sequences=True),
            k.layers.TimeDistributed(k.layers.Dense(3, activation="softmax")),
        ]
    )
    model.compile(sgd(k, 0.5), "sparse_categorical_crossentropy", **options)
    return set_weights(model)


def masks(k, tape):
    x, y, _ = words()
    model = tagger(k, metrics=["accuracy"])
    fit = dict(FIT, x=x, y=y, validation_data=(x[:21], y[:21]))
    return model, fit, {"x": x, "y": y}


def masks_and_temporal_weights(k, tape):
    x, y, w = words()
    options = {"sample_weight_mode": "temporal"} if hasattr(k, "GradientTape") else {}
    model = tagger(k, "SimpleRNN", metrics=["accuracy"], weighted_metrics=["accuracy"], **options)
    w = w.astype("float32")
    fit = dict(FIT, x=x, y=y, sample_weight=w, validation_data=(x[:21], y[:21], w[:21]))
    return model, fit, {"x": x, "y": y, "sample_weight": w}


def temporal_weights(k, tape):
    rng = numbers()
    x = rng.standard_normal((ROWS, 5, 3)).astype("float32")
    y, w = x.sum(axis=-1, keepdims=True), rng.rand(ROWS, 5).astype("float32")
    model = k.Sequential([k.layers.Conv1D(1, 3, padding="same", input_shape=(5, 3))])
    model.compile(sgd(k), "mse", metrics=["mae"], weighted_metrics=["mae"])
    fit = dict(FIT, x=x, y=y, sample_weight=w)
    return set_weights(model), fit, {"x": x, "y": y, "sample_weight": w}


BATCHES = {"epochs": 3, "shuffle": False}


def from_sequences(k, tape):
    x, _, y, w = classes()
    # By this name: tf_keras takes "accuracy" for another one where shapes aren't known.
    measured = ["sparse_categorical_accuracy"]
    model = classifier(k, loss="sparse_categorical_crossentropy", metrics=measured)
    fit = dict(BATCHES, x=sequence(k, cut(x, y)), class_weight={0: 0.5, 1: 2.0, 2: 1.0, 3: 0.0},
               validation_data=sequence(k, cut(x[:21], y[:21], w[:21])))  # fmt: skip
    return model, fit, {"x": sequence(k, cut(x, y, w))}


def from_generators(k, tape):
    x, y, _, w = classes()
    model = classifier(k, metrics=["accuracy"], weighted_metrics=["mae"])
    fit = dict(BATCHES, x=forever(cut(x, y, w)), steps_per_epoch=3,
               validation_data=forever(cut(x[:21], y[:21], w[:21])),
               validation_steps=2)  # fmt: skip
    return model, fit, {"x": forever(cut(x, y, w)), "steps": 4}


def two_outputs_from_a_generator(k, tape):
    x, y, _, w = classes()
    left, right = k.Input((4,), name="left"), k.Input((2,), name="right")
    both = k.layers.Concatenate()([left, right])
    outputs = [
        k.layers.Dense(4, activation="softmax", name="kind")(both),
        k.layers.Dense(1, name="sum")(both),
    ]
    model = k.Model([left, right], outputs)
    model.compile(
        sgd(k),
        {"kind": "categorical_crossentropy", "sum": "mse"},
        loss_weights={"kind": 1.0, "sum": 0.2},
        metrics={"kind": ["accuracy", "mae"], "sum": "mae"},
        weighted_metrics={"sum": "mse"},
    )
    total = x.sum(axis=1, keepdims=True)
    items = [
        ({"left": a[:, :4], "right": a[:, 4:]}, {"kind": b, "sum": c}, {"kind": d, "sum": e})
        for a, b, c, d, e in cut(x, y, total, w, w[::-1].copy())
    ]
    fit = dict(BATCHES, x=forever(items), steps_per_epoch=4,
               validation_data=sequence(k, items[:2]))  # fmt: skip
    return set_weights(model), fit, {"x": sequence(k, items)}


# -- steps of one's own, as the guides of Keras write them ----------------------------------


def own_train_step(k, tape):
    class Own(k.Model):
        def train_step(self, data):
            if len(data) == 3:
                x, y, sample_weight = data
            else:
                sample_weight = None
                x, y = data
            with tape() as t:
                y_pred = self(x, training=True)
                loss = self.compiled_loss(
                    y, y_pred, sample_weight=sample_weight, regularization_losses=self.losses
                )
            variables = self.trainable_variables
            self.optimizer.apply_gradients(zip(t.gradient(loss, variables), variables))
            self.compiled_metrics.update_state(y, y_pred, sample_weight=sample_weight)
            return {m.name: m.result() for m in self.metrics}

    x, y, _, w = classes()
    inputs = k.Input((6,))
    hidden = k.layers.Dense(8, activation="tanh", kernel_regularizer="l2")(inputs)
    model = Own(inputs, k.layers.Dense(4, activation="softmax")(hidden))
    model.compile(sgd(k), "categorical_crossentropy", metrics=["accuracy"],
                  weighted_metrics=["mae"])  # fmt: skip
    fit = dict(FIT, x=x, y=y, sample_weight=w,
               validation_data=(x[:21], y[:21]))  # fmt: skip
    return set_weights(model), fit, {"x": x, "y": y, "sample_weight": w}


def own_losses_and_trackers(k, tape):
    class Own(k.Model):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.loss_tracker = k.metrics.Mean(name="loss")
            self.mae_metric = k.metrics.MeanAbsoluteError(name="mae")

        def train_step(self, data):
            x, y = data
            with tape() as t:
                y_pred = self(x, training=True)
                loss = k.losses.mean_squared_error(y, y_pred)
            variables = self.trainable_variables
            gradients = t.gradient(loss, variables)
            self.optimizer.apply_gradients(zip(gradients, variables))
            self.loss_tracker.update_state(loss)
            self.mae_metric.update_state(y, y_pred)
            return {"loss": self.loss_tracker.result(), "mae": self.mae_metric.result()}

        def test_step(self, data):
            x, y = data
            y_pred = self(x, training=False)
            self.mae_metric.update_state(y, y_pred)
            return {"mae": self.mae_metric.result()}

        def predict_step(self, data):
            return 2 * self(data, training=False)

        @property
        def metrics(self):
            return [self.loss_tracker, self.mae_metric]

    x, y, _, _ = classes()
    inputs = k.Input((6,))
    model = Own(inputs, k.layers.Dense(4)(inputs))
    model.compile(optimizer=sgd(k, 0.01))
    fit = dict(FIT, x=x, y=y, validation_data=(x[:21], y[:21]))
    return set_weights(model), fit, {"x": x, "y": y}


def own_compute_loss(k, tape):
    class Own(k.Model):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
            return 3 * super().compute_loss(x, y, y_pred, sample_weight)

    x, y, _, _ = classes()
    inputs = k.Input((6,))
    model = Own(inputs, k.layers.Dense(4, activation="softmax")(inputs))
    model.compile(sgd(k), "categorical_crossentropy", metrics=["accuracy"])
    fit = dict(FIT, x=x, y=y, validation_split=0.2)
    return set_weights(model), fit, {"x": x, "y": y}


def two_optimizers(k, tape):
    class Two(k.Model):
        def __init__(self, generator, discriminator):
            super().__init__()
            self.generator, self.discriminator = generator, discriminator

        def compile(self, g_optimizer, d_optimizer, loss_fn):
            super().compile()
            self.g_optimizer, self.d_optimizer = g_optimizer, d_optimizer
            self.loss_fn = loss_fn

        def train_step(self, real):
            if isinstance(real, tuple):
                real = real[0]
            noise = real[:, ::-1]
            fake = self.generator(noise)
            with tape() as t:
                d_loss = self.loss_fn(real[:, :1] * 0, self.discriminator(real)) + self.loss_fn(
                    real[:, :1] * 0 + 1, self.discriminator(fake)
                )
            weights = self.discriminator.trainable_weights
            self.d_optimizer.apply_gradients(zip(t.gradient(d_loss, weights), weights))
            with tape() as t:
                g_loss = self.loss_fn(real[:, :1] * 0, self.discriminator(self.generator(noise)))
            weights = self.generator.trainable_weights
            self.g_optimizer.apply_gradients(zip(t.gradient(g_loss, weights), weights))
            return {"d_loss": d_loss, "g_loss": g_loss}

    x = classes()[0]
    generator = k.Sequential([k.layers.Dense(6, input_shape=(6,))])
    discriminator = k.Sequential([k.layers.Dense(1, input_shape=(6,))])
    model = Two(set_weights(generator), set_weights(discriminator))
    model.compile(sgd(k), sgd(k, 0.2), k.losses.BinaryCrossentropy(from_logits=True))
    return model, dict(FIT, x=x), None


PROGRAMS = {
    f.__name__: f
    for f in (
        class_weights, validation_split, validation_freq_list, steps,
        integer_classes_weighted, stateful_metrics, masks, masks_and_temporal_weights,
        temporal_weights, from_sequences, from_generators, two_outputs_from_a_generator,
        own_train_step, own_losses_and_trackers, own_compute_loss, two_optimizers,
    )
}  # fmt: skip


def results(k, tape, program):
    """Run a program; return what it got, as JSON can hold it."""
    model, fit, evaluate = program(k, tape)
    batches = []

    class Watch(k.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            batches.append({n: float(v) for n, v in logs.items() if n not in ("batch", "size")})

    history = model.fit(**fit, verbose=0, callbacks=[Watch()])
    found = {
        "history_keys": list(history.history),
        "history": history.history,
        "epochs": history.epoch,
        "batches": batches,
    }
    if evaluate is not None:
        found["evaluate"] = model.evaluate(**evaluate, verbose=0)
    if isinstance(fit.get("x"), np.ndarray) and evaluate is not None:
        found["predict"] = model.predict(fit["x"][:3], verbose=0).ravel().tolist()
    found["final"] = [w.numpy().ravel()[:50].tolist() for w in model.trainable_weights]
    return found
