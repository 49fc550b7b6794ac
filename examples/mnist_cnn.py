"""Train a small convolutional network on MNIST.

python examples/mnist_cnn.py [--epochs N] [--quick]

MNIST is fetched on first use; --quick takes the small digits that come with gpunet instead.
"""

import argparse

from gpunet.datasets import digits, mnist
from gpunet.layers import Conv2D, Dense, Dropout, Flatten, MaxPooling2D
from gpunet.models import Sequential
from gpunet.utils import set_random_seed


def load(quick):
    """Return the digits as images of one channel with values from 0 to 1, and their classes."""
    (x_train, y_train), (x_test, y_test) = (digits if quick else mnist).load_data()
    x_train, x_test = (x[..., None].astype("float32") / x_train.max() for x in (x_train, x_test))
    return (x_train, y_train), (x_test, y_test)


def build(input_shape):
    model = Sequential(
        [
            Conv2D(32, 3, activation="relu", input_shape=input_shape),
            Conv2D(64, 3, activation="relu"),
            MaxPooling2D(),
            Dropout(0.25),
            Flatten(),
            Dense(128, activation="relu"),
            Dropout(0.5),
            Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--quick", action="store_true", help="small digits, a few seconds")
    args = parser.parse_args()

    set_random_seed(0)
    (x_train, y_train), (x_test, y_test) = load(args.quick)
    model = build(x_train.shape[1:])
    model.summary()
    size = 32 if args.quick else 128
    model.fit(x_train, y_train, size, args.epochs, verbose=2, validation_split=0.1)
    loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
    print(f"test accuracy: {accuracy:.4f}")
    wrong = model.predict(x_test).argmax(axis=1) != y_test
    print(f"wrong: {wrong.sum()} of {len(y_test)}")


if __name__ == "__main__":
    main()
