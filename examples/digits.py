"""Train a functional model on handwritten digits, save it, and load it in a new process.

python examples/digits.py [--epochs N] [--output PATH]
"""

import argparse
import hashlib
import subprocess
import sys

import gpunet as keras
from gpunet.layers import Dense, Dropout, Input
from gpunet.models import Model, load_model


def load_digits():
    """Return the digits as rows of 64 floats from 0 to 1, with their labels."""
    (x_train, y_train), (x_test, y_test) = keras.datasets.digits.load_data()
    x_train = x_train.reshape(-1, 64).astype("float32") / 16
    x_test = x_test.reshape(-1, 64).astype("float32") / 16
    return (x_train, y_train), (x_test, y_test)


def build_model():
    inputs = Input(shape=(64,))
    x = Dense(256, activation="relu")(inputs)
    x = Dropout(0.3)(x)
    x = Dense(128, activation="relu")(x)
    outputs = Dense(10, activation="softmax")(x)
    model = Model(inputs=inputs, outputs=outputs)
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def fingerprint(model, x):
    """Return a checksum of the bytes of the model's predictions."""
    return hashlib.sha256(model.predict(x, verbose=0).tobytes()).hexdigest()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--output", default="digits.h5", help="where to save the model")
    parser.add_argument("--fingerprint", metavar="PATH", help=argparse.SUPPRESS)
    args = parser.parse_args()

    (x_train, y_train), (x_test, y_test) = load_digits()
    if args.fingerprint:  # this is the new process
        print(fingerprint(load_model(args.fingerprint), x_test))
        return

    keras.utils.set_random_seed(0)
    model = build_model()
    model.summary()
    model.fit(x_train, y_train, batch_size=32, epochs=args.epochs, validation_split=0.1)
    loss, accuracy = model.evaluate(x_test, y_test)

    model.save(args.output)
    command = [sys.executable, __file__, "--fingerprint", args.output]
    reloaded = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    if reloaded.strip() != fingerprint(model, x_test):
        sys.exit(f"{args.output}: the model loaded in a new process predicts other numbers")
    print(f"saved {args.output}; loaded in a new process, its predictions are the same bits")
    print(f"test accuracy: {accuracy:.4f}")


if __name__ == "__main__":
    main()
