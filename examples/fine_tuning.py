"""Fine-tune the lower half of VGG16 on handwritten digits: a new top first, then a block with it.

python examples/fine_tuning.py            weights of ImageNet, fetched on first use (60 MB)
python examples/fine_tuning.py --random   random weights, no network
python examples/fine_tuning.py --quick    the same on few images, in seconds
"""

import argparse

import numpy as np

import gpunet as keras
from gpunet.applications.vgg16 import VGG16, preprocess_input
from gpunet.layers import Dense, Dropout, Flatten, Input
from gpunet.models import Model
from gpunet.optimizers import Adam

SIZE = 32  # the least that VGG16 takes


def load_images(count=None):
    """Return the digits as colour images of SIZE pixels, ready for the model, and labels."""
    parts = []
    for x, y in keras.datasets.digits.load_data():
        x = np.kron(x[:count] * (255 / 16), np.ones((1, SIZE // 8, SIZE // 8)))
        x = np.repeat(x[..., None], 3, axis=-1).astype("float32")
        parts.append((preprocess_input(x), y[:count]))
    return parts


def build_model(weights):
    """Return (model, the part of it that was trained before)."""
    whole = VGG16(weights=weights, include_top=False, input_shape=(SIZE, SIZE, 3))
    # Higher up, VGG16 knows dogs from cars, which digits are not.
    base = Model(whole.input, whole.get_layer("block3_pool").output, name="seeing")
    inputs = Input(shape=(SIZE, SIZE, 3))
    x = Flatten()(base(inputs))
    x = Dropout(0.3)(x)
    return Model(inputs, Dense(10, activation="softmax")(x)), base


def compile_model(model, rate):
    """Compile a model; say how much of it is trained."""
    model.compile(Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    trained = sum(int(np.prod(w.shape)) for w in model.trainable_weights)
    print(f"{trained:,} of {model.count_params():,} parameters are trained")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=4, help="for each of the two steps")
    parser.add_argument("--random", action="store_true", help="start from random weights")
    parser.add_argument("--quick", action="store_true", help="random weights, few images")
    parser.add_argument("--output", default="fine_tuned.h5", help="where to save the model")
    args = parser.parse_args()
    if args.quick:
        args.random, args.epochs = True, 3

    keras.utils.set_random_seed(0)
    (x_train, y_train), (x_test, y_test) = load_images(150 if args.quick else None)
    model, base = build_model(None if args.random else "imagenet")

    base.trainable = False
    compile_model(model, 1e-3)
    model.fit(x_train, y_train, batch_size=32, epochs=args.epochs, validation_split=0.1)
    print(f"with a new top: test accuracy {model.evaluate(x_test, y_test, verbose=0)[1]:.4f}")

    base.trainable = True
    for layer in base.layers:
        layer.trainable = layer.name.startswith("block3")
    compile_model(model, 1e-5)
    model.fit(x_train, y_train, batch_size=32, epochs=args.epochs, validation_split=0.1)
    print(f"fine-tuned: test accuracy {model.evaluate(x_test, y_test, verbose=0)[1]:.4f}")

    model.save(args.output)
    print(f"saved {args.output}")


if __name__ == "__main__":
    main()
