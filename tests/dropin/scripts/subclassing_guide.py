"""Layers, models, losses, metrics and training loops of one's own, as the guides of tf.keras show them."""

import numpy as np
import tensorflow as tf
from tensorflow import keras
from tensorflow.keras import layers


class Linear(keras.layers.Layer):
    def __init__(self, units=32, input_dim=32):
        super().__init__()
        w_init = tf.random_normal_initializer()
        self.w = tf.Variable(
            initial_value=w_init(shape=(input_dim, units), dtype="float32"), trainable=True
        )
        b_init = tf.zeros_initializer()
        self.b = tf.Variable(initial_value=b_init(shape=(units,), dtype="float32"), trainable=True)
        self.total = tf.Variable(initial_value=tf.zeros((input_dim,)), trainable=False)

    def call(self, inputs):
        self.total.assign_add(tf.reduce_sum(inputs, axis=0))
        return tf.matmul(inputs, self.w) + self.b


l = Linear(4, 2)
y = l(tf.ones((2, 2)))
print(y.shape, len(l.trainable_weights), len(l.non_trainable_weights), l.total.numpy())


class ActivityRegularizationLayer(keras.layers.Layer):
    def __init__(self, rate=1e-2):
        super().__init__()
        self.rate = rate

    def call(self, inputs):
        self.add_loss(self.rate * tf.reduce_sum(inputs))
        return inputs


a = ActivityRegularizationLayer()
a(tf.ones((2, 2)))
print(["%.2f" % x for x in a.losses])


class Sampling(layers.Layer):
    def call(self, inputs):
        z_mean, z_log_var = inputs
        batch = tf.shape(z_mean)[0]
        dim = tf.shape(z_mean)[1]
        epsilon = tf.keras.backend.random_normal(shape=(batch, dim))
        return z_mean + tf.exp(0.5 * z_log_var) * epsilon


class Encoder(layers.Layer):
    def __init__(self, latent_dim=32, intermediate_dim=64, name="encoder", **kwargs):
        super().__init__(name=name, **kwargs)
        self.dense_proj = layers.Dense(intermediate_dim, activation="relu")
        self.dense_mean = layers.Dense(latent_dim)
        self.dense_log_var = layers.Dense(latent_dim)
        self.sampling = Sampling()

    def call(self, inputs):
        x = self.dense_proj(inputs)
        m = self.dense_mean(x)
        v = self.dense_log_var(x)
        return m, v, self.sampling((m, v))


class Decoder(layers.Layer):
    def __init__(self, original_dim, intermediate_dim=64, name="decoder", **kwargs):
        super().__init__(name=name, **kwargs)
        self.dense_proj = layers.Dense(intermediate_dim, activation="relu")
        self.dense_output = layers.Dense(original_dim, activation="sigmoid")

    def call(self, inputs):
        return self.dense_output(self.dense_proj(inputs))


class VAE(keras.Model):
    def __init__(
        self, original_dim, intermediate_dim=64, latent_dim=32, name="autoencoder", **kwargs
    ):
        super().__init__(name=name, **kwargs)
        self.original_dim = original_dim
        self.encoder = Encoder(latent_dim=latent_dim, intermediate_dim=intermediate_dim)
        self.decoder = Decoder(original_dim, intermediate_dim=intermediate_dim)

    def call(self, inputs):
        m, v, z = self.encoder(inputs)
        r = self.decoder(z)
        kl_loss = -0.5 * tf.reduce_mean(v - tf.square(m) - tf.exp(v) + 1)
        self.add_loss(kl_loss)
        return r


vae = VAE(20, 8, 4)
optimizer = tf.keras.optimizers.Adam(learning_rate=1e-2)
mse_loss_fn = tf.keras.losses.MeanSquaredError()
loss_metric = tf.keras.metrics.Mean()
x_train = np.random.rand(64, 20).astype("float32")
ds = tf.data.Dataset.from_tensor_slices(x_train).shuffle(buffer_size=1024).batch(16)
for epoch in range(2):
    for step, x in enumerate(ds):
        with tf.GradientTape() as tape:
            r = vae(x)
            loss = mse_loss_fn(x, r)
            loss += sum(vae.losses)
        grads = tape.gradient(loss, vae.trainable_weights)
        optimizer.apply_gradients(zip(grads, vae.trainable_weights))
        loss_metric(loss)
print("mean loss", loss_metric.result().numpy() > 0)
vae = VAE(20, 8, 4)
vae.compile(optimizer, loss=tf.keras.losses.MeanSquaredError())
vae.fit(x_train, x_train, epochs=2, batch_size=32, verbose=0)


class CustomModel(keras.Model):
    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compiled_loss(y, y_pred, regularization_losses=self.losses)
        g = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(g, self.trainable_variables))
        self.compiled_metrics.update_state(y, y_pred)
        return {m.name: m.result() for m in self.metrics}


i = keras.Input((20,))
m = CustomModel(i, layers.Dense(1)(i))
m.compile(optimizer="adam", loss="mse", metrics=["mae"])
print(sorted(m.fit(x_train, x_train[:, :1], epochs=1, verbose=0).history))


# transformer bits
def scaled(q, k, v, mask):
    qk = tf.matmul(q, k, transpose_b=True)
    dk = tf.cast(tf.shape(k)[-1], tf.float32)
    logits = qk / tf.math.sqrt(dk)
    if mask is not None:
        logits += mask * -1e9
    w = tf.nn.softmax(logits, axis=-1)
    return tf.matmul(w, v), w


mask = 1 - tf.linalg.band_part(tf.ones((3, 3)), -1, 0)
o, w = scaled(
    tf.random.uniform((1, 3, 4)), tf.random.uniform((1, 3, 4)), tf.random.uniform((1, 3, 4)), mask
)
print(o.shape, w.numpy()[0, 0])
seq = tf.constant([[7, 6, 0], [1, 0, 0]])
pm = tf.cast(tf.math.equal(seq, 0), tf.float32)[:, tf.newaxis, tf.newaxis, :]
print(pm.shape)


class Sched(tf.keras.optimizers.schedules.LearningRateSchedule):
    def __init__(self, d, warm=4000):
        super().__init__()
        self.d = tf.cast(d, tf.float32)
        self.warm = warm

    def __call__(self, step):
        step = tf.cast(step, tf.float32)
        a1 = tf.math.rsqrt(step + 1)
        a2 = (step + 1) * (self.warm**-1.5)
        return tf.math.rsqrt(self.d) * tf.math.minimum(a1, a2)


m = keras.Sequential([layers.Dense(1, input_shape=(20,))])
m.compile(tf.keras.optimizers.Adam(Sched(16), beta_1=0.9), "mse")
m.fit(x_train, x_train[:, :1], verbose=0)
print("sched ok")


# metric and loss subclass
class TP(keras.metrics.Metric):
    def __init__(self, name="tp", **kw):
        super().__init__(name=name, **kw)
        self.tp = self.add_weight(name="tp", initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        y_pred = tf.reshape(tf.argmax(y_pred, axis=1), shape=(-1, 1))
        values = tf.cast(y_true, "int32") == tf.cast(y_pred, "int32")
        self.tp.assign_add(tf.reduce_sum(tf.cast(values, "float32")))

    def result(self):
        return self.tp

    def reset_states(self):
        self.tp.assign(0.0)


m = keras.Sequential([layers.Dense(3, activation="softmax", input_shape=(20,))])
m.compile("adam", "sparse_categorical_crossentropy", metrics=[TP()])
print(sorted(m.fit(x_train, np.random.randint(3, size=(64, 1)), verbose=0).history))


# style: gram
def gram(x):
    r = tf.linalg.einsum("bijc,bijd->bcd", x, x)
    s = tf.shape(x)
    n = tf.cast(s[1] * s[2], tf.float32)
    return r / n


print(gram(tf.random.uniform((1, 4, 4, 2))).shape)
import tensorflow.keras.backend as K
from tensorflow.keras.applications.vgg16 import preprocess_input
from tensorflow.keras.preprocessing.image import img_to_array
from tensorflow.keras.utils import to_categorical, Sequence
from tensorflow.keras.datasets import mnist
from keras.backend import tensorflow_backend as KTF

KTF.set_session(None)
import keras.backend.tensorflow_backend as KTF2
from keras.layers.core import *
from tensorflow.keras.layers import *
