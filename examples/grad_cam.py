"""Show where a model looks: the places of an image that speak for its class (Grad-CAM).

python examples/grad_cam.py PHOTO [--model ResNet50]   a photograph, weights of ImageNet
python examples/grad_cam.py                            a small model trained on the digits here
python examples/grad_cam.py --quick                    the same, in seconds

Needs Pillow: pip install 'gpunet[image]'. Reference: Selvaraju et al., 2016, arXiv:1610.02391.
"""

import argparse
import importlib

import numpy as np

import gpunet as keras
from gpunet.layers import Conv2D, Dense, GlobalAveragePooling2D, Input
from gpunet.models import Model
from gpunet.preprocessing import image

# model -> (its module, the layer whose map is shown)
MODELS = {
    "VGG16": ("vgg16", "block5_conv3"),
    "ResNet50": ("resnet", "conv5_block3_out"),
    "MobileNetV2": ("mobilenet_v2", "out_relu"),
}


def grad_cam(model, layer, x, classes=None):
    """Return heat maps from 0 to 1: how much each place of a layer's map adds to a class.

    Args:
        model: Model of images (N, H, W, C) with class scores as output.
        layer: str, name of a layer with a map (N, h, w, channels) as output.
        x: array of images.
        classes: class for each image; the likeliest by default.

    Returns:
        ``(heat, classes)``: array (N, h, w), array (N,).
    """
    both = Model(model.inputs, [model.get_layer(layer).output, model.output])
    with keras.GradientTape() as tape:
        features, scores = both(keras.convert_to_tensor(x))
        if classes is None:
            classes = np.argmax(scores.numpy(), axis=1)
        chosen = keras.utils.to_categorical(classes, scores.shape[-1])
        total = keras.backend.sum(scores * chosen)
    # A channel counts as much as the class depends on it, on the mean over all places.
    weights = tape.gradient(total, features).numpy().mean(axis=(1, 2), keepdims=True)
    heat = np.maximum((features.numpy() * weights).sum(axis=-1), 0)
    return heat / np.maximum(heat.max(axis=(1, 2), keepdims=True), 1e-12), classes


def overlay(pixels, heat):
    """Return images (N, H, W, 3) of 0 to 255 that are red where they are hot."""
    heat = 0.7 * image.smart_resize(heat[..., None], pixels.shape[1:3])
    return pixels * (1 - heat) + heat * (255, 30, 0)


def explain_photo(path, name):
    """Return (the photograph beside its heat map, what the model takes it for)."""
    home, layer = MODELS[name]
    module = importlib.import_module(f"gpunet.applications.{home}")
    pixels = image.img_to_array(image.load_img(path, target_size=(224, 224)))[None]
    model = getattr(module, name)()
    x = module.preprocess_input(pixels)
    heat, _ = grad_cam(model, layer, x)
    best = module.decode_predictions(model.predict(x, verbose=0), top=3)[0]
    return side_by_side(pixels, overlay(pixels, heat)), ", ".join(
        f"{n} {s:.0%}" for _, n, s in best
    )


def explain_digits(quick):
    """Return (digits above their heat maps, how good the model is that was trained for them)."""
    (x_train, y_train), (x_test, y_test) = keras.datasets.digits.load_data()
    inputs = Input(shape=(16, 16, 1))
    x = Conv2D(16, 3, padding="same", activation="relu")(inputs)
    x = Conv2D(32, 3, strides=2, padding="same", activation="relu")(x)
    x = Conv2D(32, 3, padding="same", activation="relu", name="last_conv")(x)
    model = Model(inputs, Dense(10, activation="softmax")(GlobalAveragePooling2D()(x)))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    count = 200 if quick else None
    model.fit(enlarged(x_train[:count]), y_train[:count], epochs=1 if quick else 15, verbose=2)
    accuracy = model.evaluate(enlarged(x_test), y_test, verbose=0)[1]
    shown = [np.flatnonzero(y_test == digit)[0] for digit in range(10)]
    x = enlarged(x_test[shown])
    heat, _ = grad_cam(model, "last_conv", x, classes=y_test[shown])
    pixels = 255 - 255 * np.kron(x, np.ones((1, 4, 4, 3)))
    return side_by_side(pixels, overlay(pixels, heat)), f"test accuracy {accuracy:.4f}"


def enlarged(x):
    """Return digits of 16x16 pixels from 0 to 1, with an axis for the colour."""
    return np.kron(x, np.ones((1, 2, 2)))[..., None].astype("float32") / 16


def side_by_side(*rows):
    """Return one image of rows of images."""
    return np.concatenate([np.concatenate(list(row), axis=1) for row in rows])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photo", nargs="?", help="an image file")
    parser.add_argument("--model", choices=MODELS, default="ResNet50")
    parser.add_argument("--quick", action="store_true", help="train briefly")
    parser.add_argument("--output", default="grad_cam.png", help="the picture")
    args = parser.parse_args()

    keras.utils.set_random_seed(0)
    if args.photo:
        picture, found = explain_photo(args.photo, args.model)
    else:
        picture, found = explain_digits(args.quick)
    image.save_img(args.output, picture, scale=False)
    print(found)
    print(f"saved {args.output}")


if __name__ == "__main__":
    main()
