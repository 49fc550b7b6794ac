"""Layers as programs of the first years of Keras 2 write them."""

import numpy as np

from gpunet import backend as K
from gpunet import layers, models


class WeighsSteps(layers.Layer):
    """Attention over time as programs of 2017 have it: shapes come first, steps are written out."""

    def __init__(self, steps, **kwargs):
        super().__init__(**kwargs)
        self.steps, self.supports_masking = steps, True

    def build(self, input_shape):
        self.size = input_shape[-1]
        self.kernel = self.add_weight((self.size,), initializer="glorot_uniform", name="kernel")
        self.bias = self.add_weight((input_shape[1],), "bias", initializer="zeros")
        super().build(input_shape)

    def compute_mask(self, inputs, mask=None):
        return None

    def call(self, x, mask=None):
        kernel = K.reshape(self.kernel, (self.size, 1))
        scores = K.reshape(K.dot(K.reshape(x, (-1, self.size)), kernel), (-1, self.steps))
        weights = K.exp(K.tanh(scores + self.bias))
        if mask is not None:
            weights *= K.cast(mask, K.floatx())
        weights /= K.sum(weights, axis=1, keepdims=True) + K.epsilon()
        return K.sum(x * K.expand_dims(weights), axis=1)


def test_attention_of_old_programs():
    x = layers.Input((6,))
    h = layers.Embedding(9, 4, mask_zero=True)(x)
    pooled = WeighsSteps(6, name="pooled")
    model = models.Model(x, pooled(h))
    assert model.output_shape == (None, 4)
    assert [(w.name, w.shape) for w in pooled.weights] == [
        ("pooled/kernel:0", (4,)),
        ("pooled/bias:0", (6,)),
    ]
    ids = np.array([[3, 1, 0, 0, 0, 0], [1, 2, 3, 4, 5, 6]])
    table, kernel = model.get_weights()[:2]
    rows = table[ids]
    weights = np.exp(np.tanh(rows @ kernel)) * (ids != 0)
    expected = (rows * (weights / weights.sum(1, keepdims=True))[..., None]).sum(1)
    np.testing.assert_allclose(model.predict(ids), expected, rtol=1e-5, atol=1e-6)
