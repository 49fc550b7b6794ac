"""Models of applications, and what is compared of them with the real Keras."""

import hashlib
import json

__all__ = ["CASES", "LARGE", "described", "digest", "make"]

_SMALL = {"input_shape": (96, 96, 3), "classes": 10}
_FEATURES = {"include_top": False}
_STANDARD = [
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
_ONE_OF_EACH = [
    "VGG16",
    "ResNet50",
    "ResNet50V2",
    "InceptionV3",
    "Xception",
    "MobileNet",
    "MobileNetV2",
    "MobileNetV3Small",
    "MobileNetV3Large",
    "DenseNet121",
    "NASNetMobile",
    "EfficientNetB0",
]
# Too large to be run in a few seconds.
LARGE = ("NASNetLarge", "EfficientNetB6", "EfficientNetB7", "InceptionResNetV2", "ResNet152V2")

# name of a case -> (function, its arguments)
CASES = {name: (name, {}) for name in _STANDARD}
CASES.update(
    {
        f"{name}-{suffix}": (name, options)
        for name in _ONE_OF_EACH
        for suffix, options in (
            ("small", _SMALL),
            ("features", _FEATURES),
            ("vector", {**_FEATURES, "input_shape": (128, 107, 3), "pooling": "avg"}),
        )
    }
)
CASES.update(
    {
        "VGG16-max": ("VGG16", {**_FEATURES, "pooling": "max"}),
        "ResNet50-max": ("ResNet50", {**_FEATURES, "pooling": "max"}),
        "ResNet50-logits": ("ResNet50", {"classifier_activation": None, "classes": 7}),
        "MobileNet-half": ("MobileNet", {"alpha": 0.5, "input_shape": (160, 160, 3)}),
        "MobileNet-double": ("MobileNet", {"depth_multiplier": 2, "dropout": 0.3}),
        "MobileNetV2-narrow": ("MobileNetV2", {"alpha": 0.35, "input_shape": (97, 130, 3)}),
        "MobileNetV2-wide": ("MobileNetV2", {"alpha": 1.4}),
        "MobileNetV3Small-narrow": ("MobileNetV3Small", {"alpha": 0.75}),
        "MobileNetV3Small-plain": (
            "MobileNetV3Small",
            {"minimalistic": True, "include_preprocessing": False, "dropout_rate": 0},
        ),
        "MobileNetV3Large-wide": ("MobileNetV3Large", {"alpha": 1.25}),
        "MobileNetV3Large-plain": (
            "MobileNetV3Large",
            {"minimalistic": True, **_FEATURES, "pooling": "max"},
        ),
        "EfficientNetB0-dropped": ("EfficientNetB0", {"drop_connect_rate": 0.5}),
    }
)


def make(keras, case):
    """Return a model with random weights, names counted from a cleared session."""
    name, options = CASES[case]
    keras.backend.clear_session()
    return getattr(keras.applications, name)(weights=None, **options)


# What the two sides call functions of symbolic tensors; their names are TensorFlow's there.
_FUNCTIONS = ("TFOpLambda", "OpLayer")


def described(model):
    """Return for each layer its class, name, output shape and the shapes of its weights."""
    return [
        [
            *(
                ("function", "")
                if type(layer).__name__ in _FUNCTIONS
                else (type(layer).__name__, layer.name)
            ),
            _plain(layer.output_shape),
            [list(w.shape) for w in layer.weights],
        ]
        for layer in model.layers
    ]


def _plain(shape):
    return list(shape[0]) if isinstance(shape, list) and len(shape) == 1 else list(shape)


def digest(model):
    """Return what is stored of a model: its name, counts, and a hash of `described`."""
    trained = sum(_size(w.shape) for w in model.trainable_weights)
    text = json.dumps(described(model))
    return {
        "name": model.name,
        "layers": len(model.layers),
        "params": model.count_params(),
        "trained": trained,
        "output": _plain(model.output_shape),
        "weights": hashlib.sha256(
            json.dumps([list(w.shape) for w in model.weights]).encode()
        ).hexdigest()[:16],
        "hash": hashlib.sha256(text.encode()).hexdigest()[:16],
    }


def _size(shape):
    count = 1
    for n in shape:
        count *= int(n)
    return count
