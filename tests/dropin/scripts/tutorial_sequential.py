"""【Keras入门日志(3)】1.4 and 1.5: the Sequential programs; fewer epochs."""

import keras
import keras.backend as K
import numpy as np
from keras.layers import (
    LSTM,
    Conv1D,
    Dense,
    Dropout,
    Embedding,
    GlobalAveragePooling1D,
    MaxPooling1D,
)
from keras.models import Sequential
from keras.optimizers import SGD

# Generate dummy data
x_train = np.random.random((1000, 20))
y_train = keras.utils.to_categorical(np.random.randint(10, size=(1000, 1)), num_classes=10)
x_test = np.random.random((100, 20))
y_test = keras.utils.to_categorical(np.random.randint(10, size=(100, 1)), num_classes=10)
model = Sequential()
# Dense(64) is a fully-connected layer with 64 hidden units.# in the first layer, you must specify the expected input data shape:# here, 20-dimensional vectors.
model.add(Dense(64, activation="relu", input_dim=20))
model.add(Dropout(0.5))
model.add(Dense(64, activation="relu"))
model.add(Dropout(0.5))
model.add(Dense(10, activation="softmax"))
sgd = SGD(lr=0.01, decay=1e-6, momentum=0.9, nesterov=True)
model.compile(loss="categorical_crossentropy", optimizer=sgd, metrics=["accuracy"])
model.fit(x_train, y_train, epochs=2, batch_size=128, verbose=2)
score = model.evaluate(x_test, y_test, batch_size=128, verbose=0)
print(len(score))


# For custom metrics
def mean_pred(y_true, y_pred):
    return K.mean(y_pred)


model = Sequential()
model.add(Dense(1, activation="sigmoid", input_dim=20))
model.compile(optimizer="rmsprop", loss="binary_crossentropy", metrics=["accuracy", mean_pred])
labels = np.random.randint(2, size=(1000, 1))
history = model.fit(x_train, labels, epochs=1, batch_size=32, verbose=0)
print(sorted(history.history))

max_features = 50
x_train = np.random.randint(max_features, size=(64, 12))
y_train = np.random.randint(2, size=(64, 1))
model = Sequential()
model.add(Embedding(max_features, output_dim=256))
model.add(LSTM(128))
model.add(Dropout(0.5))
model.add(Dense(1, activation="sigmoid"))
model.compile(loss="binary_crossentropy", optimizer="rmsprop", metrics=["accuracy"])
model.fit(x_train, y_train, batch_size=16, epochs=1, verbose=0)
print(model.predict(x_train).shape)

seq_length = 64
x_train = np.random.random((32, seq_length, 100))
y_train = np.random.randint(2, size=(32, 1))
model = Sequential()
model.add(Conv1D(64, 3, activation="relu", input_shape=(seq_length, 100)))
model.add(Conv1D(64, 3, activation="relu"))
model.add(MaxPooling1D(3))
model.add(Conv1D(128, 3, activation="relu"))
model.add(Conv1D(128, 3, activation="relu"))
model.add(GlobalAveragePooling1D())
model.add(Dropout(0.5))
model.add(Dense(1, activation="sigmoid"))
model.compile(loss="binary_crossentropy", optimizer="rmsprop", metrics=["accuracy"])
model.fit(x_train, y_train, batch_size=16, epochs=1, verbose=0)
print(model.predict(x_train).shape)
