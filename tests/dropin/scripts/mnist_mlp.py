from __future__ import print_function

import keras
import numpy as np
from keras.layers.core import Dense, Dropout
from keras.models import Sequential
from keras.optimizers import RMSprop
from keras.utils import np_utils

batch_size = 128
num_classes = 10
epochs = 2

rng = np.random.RandomState(0)
centers = rng.rand(num_classes, 784)
y_train = rng.randint(num_classes, size=600)
x_train = centers[y_train] + 0.1 * rng.randn(600, 784)
y_test = rng.randint(num_classes, size=100)
x_test = centers[y_test]

x_train = x_train.astype("float32")
print(x_train.shape[0], "train samples")

# convert class vectors to binary class matrices
y_train = np_utils.to_categorical(y_train, num_classes)
y_test = keras.utils.np_utils.to_categorical(y_test, num_classes)

model = Sequential()
model.add(Dense(128, activation="relu", input_shape=(784,)))
model.add(Dropout(0.2))
model.add(Dense(num_classes, activation="softmax"))
model.summary()

model.compile(loss="categorical_crossentropy", optimizer=RMSprop(), metrics=["accuracy"])
history = model.fit(
    x_train, y_train, batch_size=batch_size, epochs=6, verbose=0, validation_data=(x_test, y_test)
)
score = model.evaluate(x_test, y_test, verbose=0)
print("Test accuracy:", score[1] > 0.9)
