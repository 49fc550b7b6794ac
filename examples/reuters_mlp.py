"""Sort newswires by topic, from the words that occur in them.

python examples/reuters_mlp.py [--epochs N] [--quick]

The newswires are fetched on first use; --quick makes texts of five topics instead.
"""

import argparse

import numpy as np

from gpunet.callbacks import EarlyStopping
from gpunet.datasets import reuters
from gpunet.layers import Activation, Dense, Dropout
from gpunet.models import Sequential
from gpunet.preprocessing.text import Tokenizer
from gpunet.utils import set_random_seed, to_categorical


def newswires(count, words, topics=5):
    """Return lists of words' numbers; each topic has words of its own among those of all."""
    rng = np.random.default_rng(count)
    labels = rng.integers(0, topics, count)
    own = (words - 50) // topics
    x = []
    for label in labels:
        common = rng.integers(1, 50, 25)
        special = 50 + own * label + rng.integers(0, own, rng.integers(2, 6))
        x.append(rng.permutation(np.concatenate([common, special])).tolist())
    return x, labels


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--quick", action="store_true", help="made newswires, a few seconds")
    args = parser.parse_args()

    set_random_seed(0)
    words = 150 if args.quick else 1000
    if args.quick:
        (x_train, y_train), (x_test, y_test) = newswires(1500, words), newswires(300, words)
    else:
        (x_train, y_train), (x_test, y_test) = reuters.load_data(num_words=words, test_split=0.2)
    topics = int(max(y_train.max(), y_test.max())) + 1
    print(f"{len(x_train)} training and {len(x_test)} test newswires of {topics} topics")

    tokenizer = Tokenizer(num_words=words)
    x_train, x_test = (tokenizer.sequences_to_matrix(x, mode="binary") for x in (x_train, x_test))
    y_train, y_test = (to_categorical(y, topics) for y in (y_train, y_test))

    model = Sequential()
    model.add(Dense(64 if args.quick else 512, input_shape=(words,)))
    model.add(Activation("relu"))
    model.add(Dropout(0.5))
    model.add(Dense(topics))
    model.add(Activation("softmax"))
    model.summary()
    model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
    stop = EarlyStopping("val_loss", patience=2, restore_best_weights=True)
    model.fit(x_train, y_train, 32, args.epochs, verbose=2, validation_split=0.1, callbacks=[stop])
    loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
    print(f"test accuracy: {accuracy:.4f}")


if __name__ == "__main__":
    main()
