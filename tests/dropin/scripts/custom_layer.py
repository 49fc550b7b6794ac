import numpy as np
from keras import backend as K
from keras import initializers
from keras.engine import base_layer
from keras.engine.topology import InputSpec, Layer
from keras.layers import LSTM, Dense, Input, TimeDistributed
from keras.layers.merge import concatenate
from keras.layers.wrappers import Bidirectional
from keras.models import Model, load_model, model_from_json


class AttentionDecay(Layer):
    def __init__(self, units=3, init="glorot_uniform", **kwargs):
        self.units = units
        self.init = initializers.get(init)
        self.supports_masking = True
        self.input_spec = [InputSpec(ndim=3)]
        super(AttentionDecay, self).__init__(**kwargs)

    def build(self, input_shape):
        assert len(input_shape) == 3
        self.W = self.add_weight(
            shape=(int(input_shape[-1]), self.units), initializer=self.init, name=f"{self.name}_W"
        )
        self.u = self.add_weight(shape=(self.units,), initializer="ones", name=f"{self.name}_u")
        super(AttentionDecay, self).build(input_shape)

    def call(self, x, mask=None):
        ait = K.dot(K.tanh(K.dot(x, self.W)), K.expand_dims(self.u))
        a = K.exp(K.squeeze(ait, -1))
        if mask is not None:
            a *= K.cast(mask, K.floatx())
        a /= K.cast(K.sum(a, axis=1, keepdims=True) + K.epsilon(), K.floatx())
        return K.sum(x * K.expand_dims(a), axis=1)

    def compute_mask(self, inputs, mask=None):
        return None

    def compute_output_shape(self, input_shape):
        return (input_shape[0], input_shape[-1])

    def get_config(self):
        config = {"units": self.units, "init": initializers.serialize(self.init)}
        base = super(AttentionDecay, self).get_config()
        return dict(list(base.items()) + list(config.items()))


print(issubclass(AttentionDecay, base_layer.Layer))
inp = Input((6, 4))
h = Bidirectional(LSTM(3, return_sequences=True))(inp)
h = concatenate([TimeDistributed(Dense(5))(h), h])
out = Dense(1)(AttentionDecay(name="decay")(h))
model = Model(input=inp, output=out)
model.compile("adam", "mse")
x = np.random.rand(8, 6, 4)
model.fit(
    x, np.ones(8), epochs=1, verbose=0
)
model.save("m.h5")
custom = {"AttentionDecay": AttentionDecay}
again = load_model("m.h5", custom_objects=custom)
print(np.allclose(model.predict(x), again.predict(x), atol=1e-6))
third = model_from_json(model.to_json(), custom_objects=custom)
third.set_weights(model.get_weights())
print(np.allclose(model.predict(x), third.predict(x), atol=1e-6))
