"""Look at images with the layers of VGG19: how well do the features of each tell digits apart?

python examples/feature_extraction.py            weights of ImageNet, fetched on first use (80 MB)
python examples/feature_extraction.py --random   random weights, no network
python examples/feature_extraction.py --quick    the same on few images, in seconds
"""

import argparse

import numpy as np

import gpunet as keras
from gpunet.applications.vgg19 import VGG19, preprocess_input
from gpunet.models import Model

SIZE = 32
LAYERS = [f"block{n}_pool" for n in range(1, 6)]


def load_images(count):
    """Return the digits as colour images of SIZE pixels, ready for the model, and labels."""
    parts = []
    for x, y in keras.datasets.digits.load_data():
        x = np.kron(x[:count] * (255 / 16), np.ones((1, SIZE // 8, SIZE // 8)))
        parts.append((preprocess_input(np.repeat(x[..., None], 3, axis=-1)), y[:count]))
    return parts


def build_model(weights):
    """Return a model that gives what several layers of VGG19 see."""
    base = VGG19(weights=weights, include_top=False, input_shape=(SIZE, SIZE, 3))
    return Model(base.input, [base.get_layer(name).output for name in LAYERS])


def nearest(known, asked):
    """Return for each row of ``asked`` which row of ``known`` is the most alike, by the cosine."""
    known, asked = (x.reshape(len(x), -1) for x in (known, asked))
    known = known / np.linalg.norm(known, axis=1, keepdims=True)
    return np.argmax(asked @ known.T, axis=1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--random", action="store_true", help="start from random weights")
    parser.add_argument("--quick", action="store_true", help="random weights, few images")
    args = parser.parse_args()

    keras.utils.set_random_seed(0)
    (x_train, y_train), (x_test, y_test) = load_images(100 if args.quick else 1000)
    model = build_model(None if args.random or args.quick else "imagenet")
    known = model.predict(x_train, batch_size=32, verbose=0)
    asked = model.predict(x_test, batch_size=32, verbose=0)
    print("layer        features   digits told apart by their nearest neighbour")
    for name, a, b in zip(LAYERS, known, asked):
        right = np.mean(y_train[nearest(a, b)] == y_test)
        print(f"{name:12} {'x'.join(map(str, a.shape[1:])):10} {right:.1%}")


if __name__ == "__main__":
    main()
