"""Train a multilayer perceptron on MNIST.

python examples/mnist_mlp.py [--epochs N] [--quick]

MNIST is fetched on first use; --quick takes the small digits that come with gpunet instead.
"""

import argparse

from gpunet.datasets import digits, mnist
from gpunet.layers import Dense, Dropout
from gpunet.models import Sequential
from gpunet.optimizers import RMSprop
from gpunet.utils import set_random_seed, to_categorical


def load(quick):
    """Return the digits as rows of floats from 0 to 1, their classes as one-hot rows."""
    (x_train, y_train), (x_test, y_test) = (digits if quick else mnist).load_data()
    x_train, x_test = (
        x.reshape(len(x), -1).astype("float32") / x_train.max() for x in (x_train, x_test)
    )
    return (x_train, to_categorical(y_train, 10)), (x_test, to_categorical(y_test, 10))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--quick", action="store_true", help="small digits, a few seconds")
    args = parser.parse_args()

    set_random_seed(0)
    (x_train, y_train), (x_test, y_test) = load(args.quick)
    print(f"{len(x_train)} training and {len(x_test)} test digits")

    width = 128 if args.quick else 512
    model = Sequential(
        [
            Dense(width, activation="relu", input_shape=x_train.shape[1:]),
            Dropout(0.2),
            Dense(width, activation="relu"),
            Dropout(0.2),
            Dense(10, activation="softmax"),
        ]
    )
    model.summary()
    model.compile(RMSprop(), "categorical_crossentropy", metrics=["accuracy"])
    size = 32 if args.quick else 128
    model.fit(x_train, y_train, size, args.epochs, verbose=2, validation_data=(x_test, y_test))
    loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
    print(f"test loss: {loss:.4f}")
    print(f"test accuracy: {accuracy:.4f}")


if __name__ == "__main__":
    main()
