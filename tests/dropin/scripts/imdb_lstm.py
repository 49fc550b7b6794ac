from __future__ import print_function

import numpy as np
from keras.callbacks import EarlyStopping
from keras.layers import GRU, Bidirectional, Dense, SpatialDropout1D
from keras.layers.embeddings import Embedding
from keras.layers.recurrent import LSTM
from keras.models import Sequential
from keras.preprocessing import sequence
from keras.preprocessing.text import Tokenizer

texts = ["good fine great", "bad awful poor", "great good", "poor bad bad"] * 16
labels = np.array([1, 0, 1, 0] * 16)
tokenizer = Tokenizer(num_words=20)
tokenizer.fit_on_texts(texts)
x = sequence.pad_sequences(tokenizer.texts_to_sequences(texts), maxlen=5)

for layer in (LSTM(8, dropout=0.1, recurrent_dropout=0.1), Bidirectional(GRU(4))):
    model = Sequential()
    model.add(Embedding(20, 8, mask_zero=True, input_length=5))
    model.add(SpatialDropout1D(0.1))
    model.add(layer)
    model.add(Dense(1, activation="sigmoid"))
    model.compile(loss="binary_crossentropy", optimizer="adam", metrics=["acc"])
    model.optimizer.lr = 0.05
    model.fit(
        x,
        labels,
        batch_size=16,
        epochs=5,
        verbose=0,
        shuffle=True,
        validation_split=0.25,
        callbacks=[EarlyStopping(monitor="val_loss", patience=9)],
    )
    score, acc = model.evaluate(x, labels, batch_size=16, verbose=0)
    print("Test accuracy:", acc > 0.9)
