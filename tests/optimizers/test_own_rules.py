"""Optimizers that users wrote for Keras: get_updates (up to 2.3), update_step (since 2.11)."""

import numpy as np
import pytest

import gpunet
from gpunet import backend as K
from gpunet import layers, models, optimizers
from gpunet.callbacks import LearningRateScheduler


class OldAdam(optimizers.Optimizer):
    """Adam as its paper has it, written down for a graph that is built once."""

    def __init__(self, lr=0.01, beta_1=0.9, beta_2=0.999, decay=0.0, **kwargs):
        super().__init__(**kwargs)
        with K.name_scope(self.__class__.__name__):
            self.iterations = K.variable(0, dtype="int64", name="iterations")
            self.lr = K.variable(lr, name="lr")
            self.beta_1, self.beta_2 = K.variable(beta_1), K.variable(beta_2)
            self.decay = K.variable(decay, name="decay")
        self.initial_decay = decay

    def get_updates(self, loss, params):
        grads = self.get_gradients(loss, params)
        self.updates = [K.update_add(self.iterations, 1)]
        lr = self.lr
        if self.initial_decay > 0:
            lr = lr * (1.0 / (1.0 + self.decay * K.cast(self.iterations, K.dtype(self.decay))))
        t = K.cast(self.iterations, K.floatx()) + 1
        lr_t = lr * (K.sqrt(1.0 - K.pow(self.beta_2, t)) / (1.0 - K.pow(self.beta_1, t)))
        ms = [K.zeros(K.int_shape(p), dtype=K.dtype(p)) for p in params]
        vs = [K.zeros(K.int_shape(p), dtype=K.dtype(p)) for p in params]
        self.weights = [self.iterations, *ms, *vs]
        for p, g, m, v in zip(params, grads, ms, vs):
            m_t = (self.beta_1 * m) + (1.0 - self.beta_1) * g
            v_t = (self.beta_2 * v) + (1.0 - self.beta_2) * K.square(g)
            self.updates.append(K.update(m, m_t))
            self.updates.append((v, v_t))
            new_p = p - lr_t * m_t / (K.sqrt(v_t) + K.epsilon())
            if getattr(p, "constraint", None) is not None:
                new_p = p.constraint(new_p)
            self.updates.append(K.update(p, new_p))
        return self.updates

    def get_config(self):
        config = {name: float(K.get_value(getattr(self, name))) for name in ("lr", "decay")}
        return {**super().get_config(), **config}


class NewMomentum(optimizers.Optimizer):
    """Momentum, one weight at a time."""

    def __init__(self, learning_rate=0.01, momentum=0.9, name="NewMomentum", **kwargs):
        super().__init__(name=name, **kwargs)
        self._learning_rate = self._build_learning_rate(learning_rate)
        self.momentum = momentum

    def build(self, var_list):
        super().build(var_list)
        self.velocities = [self.add_variable_from_reference(v, "velocity") for v in var_list]

    def update_step(self, gradient, variable):
        lr = K.cast(self.learning_rate, variable.dtype)
        velocity = self.velocities[self._index_dict[self._var_key(variable)]]
        velocity.assign(velocity * self.momentum - gradient * lr)
        variable.assign_add(velocity)

    def get_config(self):
        rate = float(self.learning_rate)
        return {**super().get_config(), "learning_rate": rate, "momentum": self.momentum}


def newer_momentum(**options):  # the older rule leaves rows alone that weren't looked up
    return optimizers.SGD(0.05, momentum=0.9, is_legacy_optimizer=False, **options)


PAIRS = {
    "adam": (lambda: OldAdam(0.02), lambda: optimizers.Adam(0.02)),
    "adam, decay": (lambda: OldAdam(0.02, decay=0.3), lambda: optimizers.Adam(0.02, decay=0.3)),
    "adam, clipnorm": (
        lambda: OldAdam(0.02, clipnorm=0.1),
        lambda: optimizers.Adam(0.02, clipnorm=0.1),
    ),
    "adam, clipvalue": (
        lambda: OldAdam(0.02, clipvalue=0.01),
        lambda: optimizers.Adam(0.02, clipvalue=0.01),
    ),
    "momentum": (lambda: NewMomentum(0.05), lambda: newer_momentum()),
    "momentum, global norm": (
        lambda: NewMomentum(0.05, global_clipnorm=0.2),
        lambda: newer_momentum(global_clipnorm=0.2),
    ),
}
CUSTOM = {"OldAdam": OldAdam, "NewMomentum": NewMomentum}
X = np.random.default_rng(1).normal(size=(24, 5)).astype("float32")
IDS = np.random.default_rng(2).integers(0, 7, (24, 3))
Y = np.random.default_rng(3).normal(size=(24, 1)).astype("float32")


def model(optimizer, seed=3):
    gpunet.utils.set_random_seed(seed)
    x, ids = layers.Input((5,)), layers.Input((3,))
    bound = gpunet.constraints.max_norm(0.9)
    h = layers.Dense(4, activation="tanh", kernel_constraint=bound)(x)
    h = layers.concatenate([h, layers.Flatten()(layers.Embedding(7, 2)(ids))])
    made = models.Model([x, ids], layers.Dense(1)(h))
    made.compile(optimizer, "mse")
    return made


def fit(made, epochs=3, **options):
    return made.fit(
        [X, IDS], Y, batch_size=10, epochs=epochs, shuffle=False, verbose=0, **options
    ).history


@pytest.mark.parametrize("own, known", PAIRS.values(), ids=PAIRS)
def test_same_numbers_as_the_optimizer_of_that_rule(own, known):
    ours, theirs = model(own()), model(known())
    np.testing.assert_allclose(fit(ours)["loss"], fit(theirs)["loss"], rtol=2e-5)
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    assert int(ours.optimizer.iterations) == 9


@pytest.mark.parametrize("make", [lambda: OldAdam(0.02), NewMomentum], ids=["old", "new"])
def test_training_goes_on_after_a_file(make, tmp_path):
    made = model(make())
    fit(made, 2)
    path = tmp_path / "model.h5"
    made.save(path)
    again = models.load_model(path, custom_objects=CUSTOM)
    state = made.optimizer.get_weights()
    assert len(state) in (11, 6)  # iterations, and one or two slots of five weights
    for a, b in zip(again.optimizer.get_weights(), state, strict=True):
        np.testing.assert_array_equal(a, b)
    assert fit(again) == fit(made)


def test_rate_is_read_at_each_step():
    still = model(OldAdam(0.02))
    K.set_value(still.optimizer.lr, 0.0)
    before = still.get_weights()
    fit(still, 1)
    for w, b in zip(still.weights, before, strict=True):
        assert w.constraint is not None or (w.numpy() == b).all(), w.name
    history = fit(still, 2, callbacks=[LearningRateScheduler(lambda epoch: 0.1 * epoch)])
    np.testing.assert_allclose(history["lr"], [0, 0.1])
    assert (still.get_weights()[-1] != before[-1]).any()


def test_a_step_of_other_weights_is_refused():
    made = model(OldAdam())

    class Wrong(OldAdam):
        def get_updates(self, loss, params):
            return super().get_updates(loss, [*params, K.variable(1.0, name="stray")])

    made.compile(Wrong(), "mse")
    before = made.get_weights()
    with pytest.raises(ValueError, match="Wrong.get_gradients: .* no gradients of .*stray"):
        fit(made)
    for a, b in zip(made.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_class_without_any_step_says_so():
    class Nothing(optimizers.Optimizer):
        pass

    with pytest.raises(NotImplementedError, match=r"Nothing must define coefficients\(\)"):
        fit(model(Nothing()))


def test_an_update_of_a_wrong_shape_writes_nothing():
    class Wrong(OldAdam):
        def get_updates(self, loss, params):
            updates = super().get_updates(loss, params)
            return [*updates, (params[-1], K.zeros((2, 2)))]

    made = model(Wrong())
    before = made.get_weights()
    with pytest.raises(ValueError, match=r"update of variable .*: expected shape .*got \(2, 2\)"):
        fit(made)
    for a, b in zip(made.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)
    assert int(made.optimizer.iterations) == 0
