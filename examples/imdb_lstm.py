"""Tell whether film reviews are for or against, with an LSTM.

python examples/imdb_lstm.py [--epochs N] [--quick]

The reviews are fetched on first use; --quick makes sequences of numbers instead, of which some
speak for and some against.
"""

import argparse

import numpy as np

from gpunet.datasets import imdb
from gpunet.layers import LSTM, Dense, Embedding
from gpunet.models import Sequential
from gpunet.preprocessing.sequence import pad_sequences
from gpunet.utils import set_random_seed


def opinions(count, words):
    """Return sequences of words, and whether they praise: then they have more of 3 to 9."""
    rng = np.random.default_rng(count)
    labels = rng.integers(0, 2, count)
    sequences = []
    for praise in labels:
        good, bad = (3, 1) if praise else (1, 3)
        said = [*rng.integers(3, 10, good), *rng.integers(10, 17, bad)]
        text = [*rng.integers(17, words, rng.integers(6, 16)), *said]
        sequences.append(rng.permutation(text).tolist())
    return sequences, labels


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--quick", action="store_true", help="made reviews, a few seconds")
    args = parser.parse_args()

    set_random_seed(0)
    words, length, units = (40, 24, 24) if args.quick else (20000, 80, 128)
    if args.quick:
        (x_train, y_train), (x_test, y_test) = opinions(1500, words), opinions(400, words)
    else:
        (x_train, y_train), (x_test, y_test) = imdb.load_data(num_words=words)
    print(f"{len(x_train)} training and {len(x_test)} test reviews")
    x_train, x_test = (pad_sequences(x, maxlen=length) for x in (x_train, x_test))

    model = Sequential(
        [
            Embedding(words, units, mask_zero=True, input_length=length),
            LSTM(units, dropout=0.2),
            Dense(1, activation="sigmoid"),
        ]
    )
    model.summary()
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    model.fit(x_train, y_train, 32, args.epochs, verbose=2, validation_data=(x_test, y_test))
    loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
    print(f"test accuracy: {accuracy:.4f}")


if __name__ == "__main__":
    main()
