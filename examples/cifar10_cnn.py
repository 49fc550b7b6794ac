"""Train a convolutional network on CIFAR-10, with images changed at random.

python examples/cifar10_cnn.py [--epochs N] [--quick]

Needs the extra `image`: pip install "gpunet[image]". CIFAR-10 is fetched on first use; --quick
makes coloured shapes instead.
"""

import argparse

import numpy as np

from gpunet.callbacks import ReduceLROnPlateau
from gpunet.datasets import cifar10
from gpunet.layers import Conv2D, Dense, Dropout, Flatten, MaxPooling2D
from gpunet.models import Sequential
from gpunet.preprocessing.image import ImageDataGenerator
from gpunet.utils import set_random_seed, to_categorical


def shapes(count, size=16):
    """Return coloured shapes on noise: bars, crosses, squares and discs, and their classes."""
    rng = np.random.default_rng(count)
    x = rng.normal(80, 25, (count, size, size, 3))
    y = rng.integers(0, 4, count)
    row, col = np.indices((size, size)) - size / 2 + 0.5
    masks = [
        np.abs(row) < 2.5,
        (np.abs(row) < 2) | (np.abs(col) < 2),
        np.maximum(abs(row), abs(col)) < 5,
        row**2 + col**2 < 30,
    ]
    for image, kind in zip(x, y):
        image[np.roll(masks[kind], rng.integers(-2, 3, 2), (0, 1))] += rng.uniform(60, 170, 3)
    return x.clip(0, 255).astype("uint8"), y[:, None]


def load(quick):
    """Return images with values from 0 to 1, and their classes as one-hot rows."""
    (x_train, y_train), (x_test, y_test) = (
        (shapes(600), shapes(150)) if quick else cifar10.load_data()
    )
    classes = int(y_train.max()) + 1
    x_train, x_test = (x.astype("float32") / 255 for x in (x_train, x_test))
    y_train, y_test = (to_categorical(y, classes) for y in (y_train, y_test))
    return (x_train, y_train), (x_test, y_test)


def build(input_shape, classes, filters):
    model = Sequential(
        [
            Conv2D(filters, 3, padding="same", activation="relu", input_shape=input_shape),
            Conv2D(filters, 3, activation="relu"),
            MaxPooling2D(),
            Dropout(0.25),
            Conv2D(2 * filters, 3, padding="same", activation="relu"),
            Conv2D(2 * filters, 3, activation="relu"),
            MaxPooling2D(),
            Dropout(0.25),
            Flatten(),
            Dense(16 * filters, activation="relu"),
            Dropout(0.5),
            Dense(classes, activation="softmax"),
        ]
    )
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--quick", action="store_true", help="made images, a few seconds")
    args = parser.parse_args()
    epochs = args.epochs or (6 if args.quick else 25)

    set_random_seed(0)
    (x_train, y_train), (x_test, y_test) = load(args.quick)
    model = build(x_train.shape[1:], y_train.shape[1], 8 if args.quick else 32)
    model.summary()
    generator = ImageDataGenerator(
        width_shift_range=0.1, height_shift_range=0.1, rotation_range=10, horizontal_flip=True
    )
    model.fit(
        generator.flow(x_train, y_train, batch_size=32),
        epochs=epochs,
        verbose=2,
        validation_data=(x_test, y_test),
        callbacks=[ReduceLROnPlateau("val_loss", factor=0.5, patience=3, verbose=1)],
        workers=2,
    )
    loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
    print(f"test accuracy: {accuracy:.4f}")


if __name__ == "__main__":
    main()
