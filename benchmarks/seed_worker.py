"""Train one classic model with one library and print its speed as JSON.

    python -m benchmarks.seed_worker --engine gpunet|tf_keras --model NAME

It runs in the library's own environment, so it imports nothing but NumPy and that library.
"""

import argparse
import importlib
import json
import time

import numpy as np

__all__ = ["MODELS"]


def toy_resnet(k, random):
    """CIFAR-sized images through two residual blocks; batch 64."""
    layers = k.layers
    inputs = layers.Input(shape=(32, 32, 3))
    x = layers.Conv2D(32, 3, activation="relu")(inputs)
    x = layers.Conv2D(64, 3, activation="relu")(x)
    block = layers.MaxPooling2D(3)(x)
    for _ in range(2):
        x = layers.Conv2D(64, 3, activation="relu", padding="same")(block)
        x = layers.Conv2D(64, 3, activation="relu", padding="same")(x)
        block = layers.add([x, block])
    x = layers.Conv2D(64, 3, activation="relu")(block)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(0.5)(layers.Dense(256, activation="relu")(x))
    model = k.models.Model(inputs, layers.Dense(10, activation="softmax")(x))
    return model, [random.random((320, 32, 32, 3))], classes(random, 320), 64


def mnist_cnn(k, random):
    """Two convolutions and a wide dense layer; batch 128."""
    model = k.models.Sequential([
        k.layers.Conv2D(32, (3, 3), activation="relu", input_shape=(28, 28, 1)),
        k.layers.Conv2D(64, (3, 3), activation="relu"),
        k.layers.MaxPooling2D(pool_size=(2, 2)),
        k.layers.Dropout(0.25),
        k.layers.Flatten(),
        k.layers.Dense(128, activation="relu"),
        k.layers.Dropout(0.5),
        k.layers.Dense(10, activation="softmax"),
    ])  # fmt: skip
    return model, [random.random((512, 28, 28, 1))], classes(random, 512), 128


def vgg_like(k, random):
    """Four convolutions on images of 100 x 100; batch 32."""
    layers = k.layers
    model = k.models.Sequential()
    model.add(layers.Conv2D(32, (3, 3), activation="relu", input_shape=(100, 100, 3)))
    model.add(layers.Conv2D(32, (3, 3), activation="relu"))
    model.add(layers.MaxPooling2D(pool_size=(2, 2)))
    model.add(layers.Dropout(0.25))
    model.add(layers.Conv2D(64, (3, 3), activation="relu"))
    model.add(layers.Conv2D(64, (3, 3), activation="relu"))
    model.add(layers.MaxPooling2D(pool_size=(2, 2)))
    model.add(layers.Dropout(0.25))
    model.add(layers.Flatten())
    model.add(layers.Dense(256, activation="relu"))
    model.add(layers.Dropout(0.5))
    model.add(layers.Dense(10, activation="softmax"))
    return model, [random.random((96, 100, 100, 3))], classes(random, 96), 32


def autoencoder(k, random):
    """Convolutions down to 16 numbers and transposed ones back; batch 64."""
    layers = k.layers
    image = layers.Input(shape=(28, 28, 1))
    x = layers.Conv2D(16, 3, activation="relu")(image)
    x = layers.Conv2D(32, 3, activation="relu")(x)
    x = layers.MaxPooling2D(3)(x)
    x = layers.Conv2D(32, 3, activation="relu")(x)
    x = layers.GlobalMaxPooling2D()(layers.Conv2D(16, 3, activation="relu")(x))
    x = layers.Conv2DTranspose(16, 3, activation="relu")(layers.Reshape((4, 4, 1))(x))
    x = layers.UpSampling2D(3)(layers.Conv2DTranspose(32, 3, activation="relu")(x))
    x = layers.Conv2DTranspose(16, 3, activation="relu")(x)
    model = k.models.Model(image, layers.Conv2DTranspose(1, 3, activation="relu")(x))
    x = random.random((512, 28, 28, 1))
    return model, [x], [x], 64


def conv1d(k, random):
    """Four convolutions over sequences of 100 features; batch 16."""
    layers = k.layers
    model = k.models.Sequential()
    model.add(layers.Conv1D(64, 3, activation="relu", input_shape=(100, 100)))
    model.add(layers.Conv1D(64, 3, activation="relu"))
    model.add(layers.MaxPooling1D(3))
    model.add(layers.Conv1D(128, 3, activation="relu"))
    model.add(layers.Conv1D(128, 3, activation="relu"))
    model.add(layers.GlobalAveragePooling1D())
    model.add(layers.Dropout(0.5))
    model.add(layers.Dense(10, activation="softmax"))
    return model, [random.random((320, 100, 100))], classes(random, 320), 16


def lstm_classifier(k, random):
    """Words through an LSTM of 128 units; sequences of 80, batch 32."""
    layers = k.layers
    model = k.models.Sequential()
    model.add(layers.Embedding(10000, 128, input_length=80))
    model.add(layers.LSTM(128))
    model.add(layers.Dropout(0.5))
    model.add(layers.Dense(1, activation="sigmoid"))
    return model, [random.integers(0, 10000, (320, 80))], bits(random, 320), 32


def siamese_lstm(k, random):
    """One LSTM of 64 units shared by two one-hot texts (140, 256); batch 32."""
    layers = k.layers
    left, right = layers.Input(shape=(140, 256)), layers.Input(shape=(140, 256))
    shared = layers.LSTM(64)
    joined = layers.concatenate([shared(left), shared(right)])
    model = k.models.Model([left, right], layers.Dense(1, activation="sigmoid")(joined))
    texts = [np.eye(256)[random.integers(0, 256, (128, 140))] for _ in range(2)]
    return model, texts, bits(random, 128), 32


MODELS = {
    f.__name__: f
    for f in (toy_resnet, mnist_cnn, vgg_like, autoencoder, conv1d, lstm_classifier, siamese_lstm)
}


def classes(random, n):
    return [np.eye(10, dtype="float32")[random.integers(0, 10, n)]]


def bits(random, n):
    return [random.integers(0, 2, (n, 1)).astype("float32")]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--engine", choices=["gpunet", "tf_keras"], required=True)
    parser.add_argument("--model", choices=MODELS, required=True)
    parser.add_argument("--epochs", type=int, default=3)
    args = parser.parse_args()
    k = importlib.import_module(args.engine)
    model, x, y, batch = MODELS[args.model](k, np.random.default_rng(0))
    x = [a.astype("float32") for a in x]
    y = [a.astype("float32") for a in y]
    x, y = (x[0] if len(x) == 1 else x), y[0]
    losses = {"autoencoder": "mse"}
    crossentropy = "binary_crossentropy" if y.shape[-1] == 1 else "categorical_crossentropy"
    model.compile(optimizer="rmsprop", loss=losses.get(args.model, crossentropy))
    model.fit(x, y, batch_size=batch, epochs=1, verbose=0)
    started = time.perf_counter()
    history = model.fit(x, y, batch_size=batch, epochs=args.epochs, verbose=0)
    steps = args.epochs * -(-len(y) // batch)
    result = {
        "ms": (time.perf_counter() - started) / steps * 1e3,
        "losses": [float(loss) for loss in history.history["loss"]],
        "version": k.__version__,
        "numpy": np.__version__,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
