"""Learn to draw digits with a variational autoencoder.

python examples/vae.py [--epochs N] [--quick]

MNIST is fetched on first use; --quick takes the small digits that come with gpunet instead.

Reference:
    Kingma and Welling, Auto-encoding variational Bayes, 2013, arXiv:1312.6114.
"""

import argparse

import numpy as np

from gpunet import backend as K
from gpunet.datasets import digits, mnist
from gpunet.layers import Dense, Input, Layer
from gpunet.models import Model
from gpunet.utils import set_random_seed


class Sampling(Layer):
    """Draws a code by its mean and log variance; adds how far they are from those of noise."""

    def call(self, inputs):
        mean, log_variance = inputs
        far = 1 + log_variance - K.square(mean) - K.exp(log_variance)
        self.add_loss(-0.5 * K.mean(K.sum(far, axis=-1)))
        return mean + K.exp(0.5 * log_variance) * K.random_normal(K.shape(mean))

    def compute_output_shape(self, input_shape):
        return input_shape[0]


def build(pixels, width, codes):
    """Return (encoder, decoder, vae)."""
    image = Input(shape=(pixels,), name="image")
    x = Dense(width, activation="relu")(image)
    mean = Dense(codes, name="mean")(x)
    log_variance = Dense(codes, name="log_variance")(x)
    code = Sampling(name="code")([mean, log_variance])
    encoder = Model(image, mean, name="encoder")

    inputs = Input(shape=(codes,), name="drawn")
    x = Dense(width, activation="relu")(inputs)
    decoder = Model(inputs, Dense(pixels, activation="sigmoid")(x), name="decoder")

    vae = Model(image, decoder(code), name="vae")

    def reconstruction(y_true, y_pred):
        return K.sum(K.binary_crossentropy(y_true, y_pred), axis=-1)

    vae.compile("adam", reconstruction)
    return encoder, decoder, vae


def show(rows):
    """Print a list of images side by side."""
    shades = " .:-=+*#%@"
    for lines in zip(*rows):
        print("  ".join("".join(shades[int(v * 9.99)] * 2 for v in line) for line in lines))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--quick", action="store_true", help="small digits, a few seconds")
    args = parser.parse_args()
    epochs = args.epochs or (25 if args.quick else 30)

    set_random_seed(0)
    (x_train, _), (x_test, y_test) = (digits if args.quick else mnist).load_data()
    side, largest = x_train.shape[1], x_train.max()
    x_train, x_test = (x.reshape(len(x), -1).astype("float32") / largest for x in (x_train, x_test))
    encoder, decoder, vae = build(side * side, 64 if args.quick else 256, 2)
    vae.summary()
    size = 32 if args.quick else 128
    history = vae.fit(x_train, x_train, size, epochs, verbose=2, validation_data=(x_test, x_test))

    places = encoder.predict(x_test)
    for digit in range(10):
        x, y = places[y_test == digit].mean(axis=0)
        print(f"digit {digit} lies around ({x:5.2f}, {y:5.2f})")
    print("drawn from left to right through the codes:")
    line = np.stack([np.linspace(-1.5, 1.5, 5), np.zeros(5)], axis=1)
    show(decoder.predict(line).reshape(-1, side, side))
    losses = history.history["val_loss"]
    print(f"validation loss: {losses[0]:.3f} at first, {losses[-1]:.3f} at last")


if __name__ == "__main__":
    main()
