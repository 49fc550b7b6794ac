"""A small model and data for it."""

import numpy as np
import pytest

from gpunet.layers import Dense
from gpunet.models import Sequential


@pytest.fixture
def data(rng):
    """Ten samples of two numbers, with classes 0 and 1."""
    return rng.standard_normal((10, 2)).astype("float32"), np.arange(10) % 2


@pytest.fixture
def make_model(seeds):
    """A function that returns a compiled model of one layer."""

    def make(metrics=None, optimizer="sgd"):
        model = Sequential([Dense(1, activation="sigmoid", input_shape=(2,))])
        model.compile(optimizer, "binary_crossentropy", metrics=metrics)
        return model

    return make
