"""Models of applications as either side writes and reads them: two sizes of images."""

from pathlib import Path

import numpy as np

__all__ = ["COMMANDS", "NAMES", "read_application", "write_application"]

NAMES = [
    "VGG16",
    "VGG19",
    "ResNet50",
    "ResNet101",
    "ResNet152",
    "ResNet50V2",
    "ResNet101V2",
    "ResNet152V2",
    "InceptionV3",
    "InceptionResNetV2",
    "Xception",
    "MobileNet",
    "MobileNetV2",
    "MobileNetV3Small",
    "MobileNetV3Large",
    "DenseNet121",
    "DenseNet169",
    "DenseNet201",
    "NASNetMobile",
    "NASNetLarge",
    *(f"EfficientNetB{n}" for n in range(8)),
]
SIZE, OTHER = (96, 96, 3), (80, 107, 3)


def _classifier(keras, name):
    keras.backend.clear_session()
    return getattr(keras.applications, name)(weights=None, input_shape=SIZE, classes=10)


def _features(keras, name):
    """Return the part without top, for images of any size where the architecture allows it."""
    keras.backend.clear_session()
    shape = OTHER if name.startswith("NASNet") else None  # looks at sizes to halve them
    return getattr(keras.applications, name)(
        weights=None, include_top=False, pooling="avg", input_shape=shape
    )


def _images(shape):
    return np.random.default_rng(0).uniform(0, 255, (2, *shape)).astype("float32")


def _shake(model):
    """Give every weight values that no other has the place of; depth leaves them of one size."""
    rng = np.random.default_rng(1)
    new = []
    for weight, value in zip(model.weights, model.get_weights(), strict=True):
        if value.ndim > 1:
            value = rng.normal(0, 1 / np.sqrt(np.prod(value.shape[:-1])), value.shape)
        elif value.ndim == 1:
            positive = any(word in weight.name for word in ("gamma", "variance"))
            value = (
                rng.uniform(0.7, 1.3, value.shape) if positive else rng.normal(0, 0.1, value.shape)
            )
        new.append(value.astype("float32") if value.ndim else value)
    model.set_weights(new)


def _layers(model):
    return [[layer.name, [list(w.shape) for w in layer.weights]] for layer in model.layers]


def write_application(keras, item):
    """Write a whole classifier, and weights alone of the features; return its layers."""
    name, folder = item["name"], Path(item["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    model = _classifier(keras, name)
    _shake(model)
    result = {"layers": _layers(model), "params": int(model.count_params())}
    outputs = {"full": model.predict(_images(SIZE), verbose=0)}
    model.save(str(folder / "full.h5"))
    del model
    model = _features(keras, name)
    _shake(model)
    outputs["features"] = model.predict(_images(OTHER), verbose=0)
    model.save_weights(str(folder / "features.h5"))
    np.savez(folder / "written.npz", **outputs)
    return result


def read_application(keras, item):
    """Open what `write_application` wrote; return the layers of the classifier."""
    name, folder = item["name"], Path(item["folder"])
    keras.backend.clear_session()
    model = keras.models.load_model(str(folder / "full.h5"))
    result = {"layers": _layers(model), "params": int(model.count_params())}
    outputs = {"full": model.predict(_images(SIZE), verbose=0)}
    del model
    model = _features(keras, name)
    model.load_weights(str(folder / "features.h5"))
    outputs["features"] = model.predict(_images(OTHER), verbose=0)
    np.savez(folder / f"read_by_{keras.__name__}.npz", **outputs)
    return result


COMMANDS = {"write_application": write_application, "read_application": read_application}
