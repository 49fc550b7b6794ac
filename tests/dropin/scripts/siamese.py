import random

import numpy as np
from keras import backend as K
from keras.layers import Dense, Dropout, Flatten, Input, Lambda
from keras.models import Model
from keras.optimizers import RMSprop


def euclidean_distance(vects):
    x, y = vects
    sum_square = K.sum(K.square(x - y), axis=1, keepdims=True)
    return K.sqrt(K.maximum(sum_square, K.epsilon()))


def eucl_dist_output_shape(shapes):
    shape1, shape2 = shapes
    return (shape1[0], 1)


def contrastive_loss(y_true, y_pred):
    margin = 1
    sqaure_pred = K.square(y_pred)
    margin_square = K.square(K.maximum(margin - y_pred, 0))
    return K.mean(y_true * sqaure_pred + (1 - y_true) * margin_square)


def accuracy(y_true, y_pred):
    return K.mean(K.equal(y_true, K.cast(y_pred < 0.5, y_true.dtype)))


def create_base_network(input_shape):
    input = Input(shape=input_shape)
    x = Flatten()(input)
    x = Dense(16, activation="relu")(x)
    x = Dropout(0.1)(x)
    x = Dense(16, activation="relu")(x)
    return Model(input, x)


digits = np.random.rand(4, 6, 6)
pairs, labels = [], []
for i in range(100):
    a, b = random.randrange(4), random.randrange(4)
    pairs.append([digits[a] + 0.01 * np.random.rand(6, 6), digits[b]])
    labels.append(int(a == b))
pairs, labels = np.array(pairs), np.array(labels, dtype="float32")

base_network = create_base_network((6, 6))
input_a, input_b = Input(shape=(6, 6)), Input(shape=(6, 6))
processed_a, processed_b = base_network(input_a), base_network(input_b)
distance = Lambda(euclidean_distance, output_shape=eucl_dist_output_shape)(
    [processed_a, processed_b]
)
model = Model([input_a, input_b], distance)
model.compile(loss=contrastive_loss, optimizer=RMSprop(), metrics=[accuracy])
history = model.fit(
    [pairs[:, 0], pairs[:, 1]],
    labels,
    batch_size=20,
    epochs=12,
    verbose=0,
    validation_data=([pairs[:, 0], pairs[:, 1]], labels),
)
print(history.history["loss"][-1] < history.history["loss"][0])
y_pred = model.predict([pairs[:, 0], pairs[:, 1]])
print(y_pred.shape, sorted(history.history))
