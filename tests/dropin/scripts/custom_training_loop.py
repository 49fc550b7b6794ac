import numpy as np
import tensorflow as tf
from tensorflow.keras import Model
from tensorflow.keras.layers import Conv2D, Dense, Flatten

tf.random.set_seed(0)
gpus = tf.config.experimental.list_physical_devices("GPU")
for gpu in gpus:
    tf.config.experimental.set_memory_growth(gpu, True)

x_train = np.random.rand(64, 8, 8).astype("float32")
y_train = (x_train.mean(axis=(1, 2)) > 0.5).astype("int64")
x_train = x_train[..., tf.newaxis]
train_ds = tf.data.Dataset.from_tensor_slices((x_train, y_train)).shuffle(64).batch(32)
test_ds = tf.data.Dataset.from_tensor_slices((x_train, y_train)).batch(32)


class MyModel(Model):
    def __init__(self):
        super(MyModel, self).__init__()
        self.conv1 = Conv2D(4, 3, activation="relu")
        self.flatten = Flatten()
        self.d1 = Dense(2)

    def call(self, x):
        return self.d1(self.flatten(self.conv1(x)))


model = MyModel()
loss_object = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
optimizer = tf.keras.optimizers.Adam()
train_loss = tf.keras.metrics.Mean(name="train_loss")
train_accuracy = tf.keras.metrics.SparseCategoricalAccuracy(name="train_accuracy")


@tf.function
def train_step(images, labels):
    with tf.GradientTape() as tape:
        predictions = model(images, training=True)
        loss = loss_object(labels, predictions)
    gradients = tape.gradient(loss, model.trainable_variables)
    optimizer.apply_gradients(zip(gradients, model.trainable_variables))
    train_loss(loss)
    train_accuracy(labels, predictions)


losses = []
for epoch in range(3):
    train_loss.reset_states()
    train_accuracy.reset_states()
    for images, labels in train_ds:
        train_step(images, labels)
    losses.append(float(train_loss.result()))
print(losses[-1] < losses[0], int(optimizer.iterations))


def gen():
    for i in range(10):
        yield np.full((3,), i, "float32"), i % 2


ds = tf.data.Dataset.from_generator(gen, (tf.float32, tf.int32), ((3,), ()))
ds = ds.map(lambda x, y: (x * 2 + tf.cast(y, tf.float32), y), num_parallel_calls=tf.data.AUTOTUNE)
ds = ds.cache().batch(4).repeat(2).prefetch(1)
print([tuple(x.shape) for x, y in ds], sum(int(tf.reduce_sum(y)) for _, y in ds))

net = tf.keras.Sequential([tf.keras.layers.Dense(2, input_shape=(3,))])
net.compile(
    tf.keras.optimizers.SGD(0.01),
    tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
h = net.fit(ds, epochs=2, verbose=0, validation_data=ds)
print(sorted(h.history), len(net.predict(ds.map(lambda x, y: x))))
