"""Clean noisy pictures of digits with a convolutional autoencoder.

python examples/autoencoder.py [--epochs N] [--quick]

MNIST is fetched on first use; --quick takes the small digits that come with gpunet instead.
"""

import argparse

import numpy as np

from gpunet.datasets import digits, mnist
from gpunet.layers import Conv2D, Input, MaxPooling2D, UpSampling2D
from gpunet.models import Model
from gpunet.utils import set_random_seed


def load(quick):
    """Return images of one channel with values from 0 to 1."""
    (x_train, _), (x_test, _) = (digits if quick else mnist).load_data()
    return [x[..., None].astype("float32") / x_train.max() for x in (x_train, x_test)]


def noisy(x, rng):
    return (x + rng.normal(0, 0.4, x.shape)).clip(0, 1).astype("float32")


def build(input_shape, filters):
    """Return (encoder, autoencoder); the code has a quarter of the pixels."""
    image = Input(shape=input_shape, name="image")
    x = Conv2D(filters, 3, activation="relu", padding="same")(image)
    x = MaxPooling2D(2)(x)
    code = Conv2D(filters // 2, 3, activation="relu", padding="same")(x)
    encoder = Model(image, code, name="encoder")

    inputs = Input(shape=encoder.output_shape[1:], name="code")
    x = Conv2D(filters, 3, activation="relu", padding="same")(inputs)
    x = UpSampling2D(2)(x)
    cleaned = Conv2D(1, 3, activation="sigmoid", padding="same")(x)
    decoder = Model(inputs, cleaned, name="decoder")
    return encoder, Model(image, decoder(encoder(image)), name="autoencoder")


def show(*images):
    """Print images side by side."""
    shades = " .:-=+*#%@"
    for rows in zip(*(image[..., 0] for image in images)):
        print("   ".join("".join(shades[int(v * 9.99)] * 2 for v in row) for row in rows))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--quick", action="store_true", help="small digits, a few seconds")
    args = parser.parse_args()

    set_random_seed(0)
    x_train, x_test = load(args.quick)
    rng = np.random.default_rng(0)
    seen_train, seen_test = noisy(x_train, rng), noisy(x_test, rng)
    encoder, autoencoder = build(x_train.shape[1:], 8 if args.quick else 32)
    encoder.summary()
    autoencoder.summary()
    autoencoder.compile("adam", "binary_crossentropy")
    size = 32 if args.quick else 128
    autoencoder.fit(
        seen_train, x_train, size, args.epochs, verbose=2, validation_data=(seen_test, x_test)
    )
    cleaned = autoencoder.predict(seen_test)
    print("seen, cleaned and true digit:")
    show(seen_test[0], cleaned[0], x_test[0])
    before, after = (np.mean((x - x_test) ** 2) for x in (seen_test, cleaned))
    print(f"mean square error: {before:.4f} before, {after:.4f} after")


if __name__ == "__main__":
    main()
