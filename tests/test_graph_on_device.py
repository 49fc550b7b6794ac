"""Graphs of every shape, trained on arrays that the host can't read."""

import fake_device
import numpy as np
import pytest
from graph_models import MODELS

import gpunet
from gpunet import backend as K
from gpunet import layers
from gpunet.arrays import to_host
from gpunet.layers import Dense, Input, Layer
from gpunet.models import Model
from gpunet.ops import random
from gpunet.training import step
from gpunet.training.interrupts import Interrupts

pytestmark = pytest.mark.usefixtures("plain_sums")


@pytest.fixture(autouse=True)
def own_generator(monkeypatch):
    """A generator whose state doesn't stay behind on a device that is gone."""
    monkeypatch.setattr(random, "_default", random.Generator(0))


def trained(build):
    """Return weights and predictions after some steps, the later ones without any copy."""
    gpunet.utils.set_random_seed(0)
    model = build(gpunet)
    model.compile("adam", "mse")
    rng = np.random.default_rng(0)
    xs = [rng.random((8, *t.shape[1:])).astype("float32") for t in model.inputs]
    ys = [rng.random((8, *t.shape[1:])).astype("float32") for t in model.outputs]
    batches = list(model._feeder("fit", xs, ys, None, 4).batches())
    with Interrupts() as interrupts:
        for batch in batches:
            step.train_step(model, batch, interrupts)
        with fake_device.capture():
            for batch in batches:
                step.train_step(model, batch, interrupts)
                step.test_step(model, batch)
                outputs = step.predict_step(model, batch)
    return model.get_weights() + [np.array(to_host(t.array)) for t in outputs]


def custom(k):
    """A custom layer with a loss and a mask, a layer of another dtype, two outputs."""

    class Penalty(Layer):
        def build(self, input_shape):
            self.scale = self.add_weight("scale", (input_shape[-1],), initializer="ones")

        def call(self, x, mask=None):
            self.add_loss(0.1 * K.mean(K.square(x)))
            y = x * self.scale
            return y if mask is None else y * K.cast(K.expand_dims(mask, -1), "float32")

        def compute_mask(self, inputs, mask=None):
            return K.any(K.greater(inputs, 0.2), axis=-1)

    x = Input((5, 3))
    y = Penalty()(Penalty()(x))
    y = layers.Flatten()(Dense(2, dtype="float64", activity_regularizer="l2")(y))
    return Model(
        x, [Dense(2, kernel_constraint="max_norm")(y), layers.Lambda(lambda v: v * 2.0)(y)]
    )


@pytest.mark.parametrize("build", [*MODELS.values(), custom], ids=lambda f: f.__name__)
def test_steps_equal_those_of_numpy(build):
    if build.__name__ in ("long_names", "unused_input"):
        pytest.skip("nothing to train, or no target for it")
    want = trained(build)
    with fake_device.fake_device():
        got = trained(build)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a, b)
