"""Learn how alike two handwritten digits are, with one network that sees both.

python examples/siamese.py [--epochs N] [--quick]

Two images of one digit should come to lie close together, others at least a margin apart. MNIST is
fetched on first use; --quick takes the small digits that come with gpunet instead.

Reference:
    Hadsell, Chopra and LeCun, Dimensionality reduction by learning an invariant mapping, 2006.
"""

import argparse

import numpy as np

from gpunet import backend as K
from gpunet.datasets import digits, mnist
from gpunet.layers import Dense, Dropout, Flatten, Input, Lambda
from gpunet.models import Model
from gpunet.utils import set_random_seed

MARGIN = 1.0


def pairs_of(x, y, rng):
    """Return as many pairs of the same digit as of different ones, and 1 for the same."""
    by_digit = [np.flatnonzero(y == d) for d in range(10)]
    first = rng.permutation(len(x))
    same = np.array([rng.choice(by_digit[y[i]]) for i in first])
    other = np.array([rng.choice(by_digit[(y[i] + rng.integers(1, 10)) % 10]) for i in first])
    left = np.concatenate([x[first], x[first]])
    right = np.concatenate([x[same], x[other]])
    labels = np.repeat([1.0, 0.0], len(x)).astype("float32")
    return [left, right], labels


def network(input_shape, width):
    """Return the model that turns an image into a place."""
    inputs = Input(input_shape)
    x = Flatten()(inputs)
    x = Dense(width, activation="relu")(x)
    x = Dropout(0.1)(x)
    x = Dense(width, activation="relu")(x)
    return Model(inputs, Dense(16)(x), name="place")


def distance(places):
    left, right = places
    square = K.sum(K.square(left - right), axis=1, keepdims=True)
    return K.sqrt(K.maximum(square, K.epsilon()))


def contrastive_loss(same, distance):
    apart = K.maximum(MARGIN - distance, 0.0)
    return K.mean(same * K.square(distance) + (1 - same) * K.square(apart))


def right_side(same, distance):
    """Return the part of the pairs that lie on the right side of half the margin."""
    return K.mean(K.equal(same, K.cast(distance < MARGIN / 2, K.floatx())))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--quick", action="store_true", help="small digits, a few seconds")
    args = parser.parse_args()

    set_random_seed(0)
    (x_train, y_train), (x_test, y_test) = (digits if args.quick else mnist).load_data()
    x_train, x_test = (x.astype("float32") / x_train.max() for x in (x_train, x_test))
    rng = np.random.default_rng(0)
    train, same = pairs_of(x_train, y_train.astype(int), rng)
    test, same_test = pairs_of(x_test, y_test.astype(int), rng)
    print(f"{len(same)} pairs to train on, {len(same_test)} to test")

    place = network(x_train.shape[1:], 64 if args.quick else 128)
    left, right = Input(x_train.shape[1:]), Input(x_train.shape[1:])
    apart = Lambda(distance, output_shape=(1,))([place(left), place(right)])
    model = Model([left, right], apart)
    model.summary()
    model.compile("rmsprop", contrastive_loss, metrics=[right_side])
    size = 64 if args.quick else 128
    model.fit(train, same, size, args.epochs, verbose=2, validation_data=(test, same_test))

    found = model.predict(test)[:, 0]
    print(f"mean distance of the same digit: {found[same_test == 1].mean():.3f}")
    print(f"mean distance of different digits: {found[same_test == 0].mean():.3f}")
    accuracy = np.mean((found < MARGIN / 2) == (same_test == 1))
    print(f"test accuracy: {accuracy:.4f}")


if __name__ == "__main__":
    main()
