import os

import keras
import numpy as np
from keras import regularizers
from keras.callbacks import CSVLogger, LambdaCallback, ModelCheckpoint, ReduceLROnPlateau
from keras.layers import Activation, Conv2D, Dense, Dropout, Flatten, MaxPooling2D
from keras.layers.normalization import BatchNormalization
from keras.models import Sequential, load_model
from keras.preprocessing.image import ImageDataGenerator

x_train = np.random.rand(32, 16, 16, 3)
y_train = keras.utils.to_categorical(np.random.randint(10, size=32), 10)

model = Sequential()
model.add(
    Conv2D(
        8,
        (3, 3),
        padding="same",
        input_shape=x_train.shape[1:],
        kernel_regularizer=regularizers.l2(1e-4),
    )
)
model.add(BatchNormalization())
model.add(Activation("relu"))
model.add(MaxPooling2D(pool_size=(2, 2)))
model.add(Dropout(0.25))
model.add(Flatten())
model.add(Dense(10))
model.add(Activation("softmax"))

opt = keras.optimizers.rmsprop(lr=0.0001, decay=1e-6)
model.compile(loss="categorical_crossentropy", optimizer=opt, metrics=["accuracy"])

datagen = ImageDataGenerator(width_shift_range=0.1, height_shift_range=0.1, horizontal_flip=True)
datagen.fit(x_train)
ends = []
model.fit_generator(
    datagen.flow(x_train, y_train, batch_size=16),
    steps_per_epoch=2,
    epochs=2,
    validation_data=(x_train, y_train),
    verbose=0,
    callbacks=[
        ReduceLROnPlateau(patience=1),
        CSVLogger("log.csv"),
        ModelCheckpoint("weights.{epoch:02d}.hdf5"),
        LambdaCallback(on_epoch_end=lambda epoch, logs: ends.append(epoch)),
    ],
)
print(ends, sorted(n for n in os.listdir(".") if n.startswith("weights")))
model.save("cifar.h5")
again = load_model("cifar.h5")
print(np.allclose(model.predict(x_train), again.predict(x_train), atol=1e-6))
print(open("log.csv").readline().split(",")[0])
