"""The models that are measured, and their data: one definition for every library with Keras's API.

This file is imported in the libraries' own environments: nothing but NumPy is needed.
"""

from dataclasses import dataclass

import numpy as np

__all__ = ["WORKLOADS", "Workload"]


@dataclass(frozen=True)
class Workload:
    """What is trained, on what.

    Args:
        build: function (k) -> model, where ``k`` is a module with ``layers`` and ``models``.
        inputs: list of (shape, n): numbers in [0, 1), or ids below n where that isn't 0.
        outputs: list of shapes; one number each stands for 0 or 1, several for a class, and
            images for the first input itself, or for the last image of it.
        batch: int.
        steps: int, batches of an epoch.
        trains: bool, False where `predict` of one sample alone is measured.
        words: str, what the table says of it.
        longer: int, how many times as many batches an epoch has on a GPU.
    """

    build: object
    inputs: list
    outputs: list
    batch: int
    steps: int
    trains: bool = True
    words: str = ""
    longer: int = 10

    def losses(self):
        """Return the name of each output's loss."""
        return [
            "mse"
            if len(shape) > 1
            else f"{'binary' if shape[0] == 1 else 'categorical'}_crossentropy"
            for shape in self.outputs
        ]

    def data(self):
        """Return lists of inputs and of targets."""
        random = np.random.default_rng(0)
        n = self.batch * self.steps
        x = [
            random.integers(0, top, (n, *shape)).astype("int32")
            if top
            else random.random((n, *shape), dtype="float32")
            for shape, top in self.inputs
        ]
        y = []
        for shape in self.outputs:
            if len(shape) > 1:
                y.append(x[0] if x[0].ndim == len(shape) + 1 else x[0][:, -1])
            elif shape[0] == 1:
                y.append(random.integers(0, 2, (n, 1)).astype("float32"))
            else:
                y.append(np.eye(shape[0], dtype="float32")[random.integers(0, shape[0], n)])
        return x, y


def chain(k, shape, *layers):
    """Return the model of a chain of layers."""
    inputs = x = k.layers.Input(shape=shape)
    for layer in layers:
        x = layer(x)
    return k.models.Model(inputs, x)


def mlp(k):
    d = k.layers.Dense
    return chain(k, (784,), d(64, "relu"), d(64, "relu"), d(10, "softmax"))


def mlp_wide(k):
    d, drop = k.layers.Dense, k.layers.Dropout
    hidden = d(512, "relu"), drop(0.2), d(512, "relu"), drop(0.2)
    return chain(k, (784,), *hidden, d(10, "softmax"))


def mnist_cnn(k):
    a = k.layers
    return chain(
        k, (28, 28, 1),
        a.Conv2D(32, 3, activation="relu"), a.Conv2D(64, 3, activation="relu"),
        a.MaxPooling2D(2), a.Dropout(0.25), a.Flatten(),
        a.Dense(128, activation="relu"), a.Dropout(0.5), a.Dense(10, activation="softmax"),
    )  # fmt: skip


def toy_resnet(k):
    a = k.layers
    inputs = a.Input(shape=(32, 32, 3))
    x = a.Conv2D(32, 3, activation="relu")(inputs)
    x = a.Conv2D(64, 3, activation="relu")(x)
    block = a.MaxPooling2D(3)(x)
    for _ in range(2):
        x = a.Conv2D(64, 3, activation="relu", padding="same")(block)
        x = a.Conv2D(64, 3, activation="relu", padding="same")(x)
        block = a.add([x, block])
    x = a.GlobalAveragePooling2D()(a.Conv2D(64, 3, activation="relu")(block))
    x = a.Dropout(0.5)(a.Dense(256, activation="relu")(x))
    return k.models.Model(inputs, a.Dense(10, activation="softmax")(x))


def resnet20(k):
    a = k.layers

    def unit(x, filters, strides=1, kernel=3, relu=True):
        x = a.Conv2D(filters, kernel, strides=strides, padding="same")(x)
        x = a.BatchNormalization()(x)
        return a.Activation("relu")(x) if relu else x

    inputs = a.Input(shape=(32, 32, 3))
    x = unit(inputs, 16)
    for filters in (16, 32, 64):
        for number in range(3):
            strides = 2 if filters > 16 and number == 0 else 1
            y = unit(unit(x, filters, strides), filters, relu=False)
            if strides == 2:
                x = a.Conv2D(filters, 1, strides=2, padding="same")(x)
            x = a.Activation("relu")(a.add([x, y]))
    x = a.Flatten()(a.AveragePooling2D(8)(x))
    return k.models.Model(inputs, a.Dense(10, activation="softmax")(x))


def vgg_like(k):
    a = k.layers
    layers = []
    for filters in (32, 64):
        layers += [a.Conv2D(filters, 3, activation="relu") for _ in range(2)]
        layers += [a.MaxPooling2D(2), a.Dropout(0.25)]
    layers += [a.Flatten(), a.Dense(256, activation="relu"), a.Dropout(0.5)]
    return chain(k, (100, 100, 3), *layers, a.Dense(10, activation="softmax"))


def autoencoder(k):
    a = k.layers
    return chain(
        k, (28, 28, 1),
        a.Conv2D(16, 3, activation="relu"), a.Conv2D(32, 3, activation="relu"),
        a.MaxPooling2D(3), a.Conv2D(32, 3, activation="relu"),
        a.Conv2D(16, 3, activation="relu"), a.GlobalMaxPooling2D(), a.Reshape((4, 4, 1)),
        a.Conv2DTranspose(16, 3, activation="relu"), a.Conv2DTranspose(32, 3, activation="relu"),
        a.UpSampling2D(3), a.Conv2DTranspose(16, 3, activation="relu"),
        a.Conv2DTranspose(1, 3, activation="relu"),
    )  # fmt: skip


def imdb_lstm(k):
    a = k.layers
    return chain(k, (80,), a.Embedding(10000, 128), a.LSTM(128), a.Dense(1, "sigmoid"))


def news(k):
    a = k.layers
    words, extra = a.Input(shape=(100,), dtype="int32"), a.Input(shape=(5,))
    text = a.LSTM(32)(a.Embedding(10000, 512)(words))
    x = a.concatenate([text, extra])
    for _ in range(3):
        x = a.Dense(64, activation="relu")(x)
    outputs = [a.Dense(1, activation="sigmoid")(x), a.Dense(1, activation="sigmoid")(text)]
    return k.models.Model([words, extra], outputs)


def tickets(k):
    a = k.layers
    title, body = a.Input(shape=(10,), dtype="int32"), a.Input(shape=(100,), dtype="int32")
    tags = a.Input(shape=(12,))
    parts = [a.LSTM(128)(a.Embedding(10000, 64)(title)), a.LSTM(32)(a.Embedding(10000, 64)(body))]
    x = a.concatenate([*parts, tags])
    outputs = [a.Dense(1, activation="sigmoid")(x), a.Dense(4, activation="softmax")(x)]
    return k.models.Model([title, body, tags], outputs)


def siamese(k):
    a = k.layers
    left, right, shared = a.Input(shape=(140, 256)), a.Input(shape=(140, 256)), a.LSTM(64)
    joined = a.concatenate([shared(left), shared(right)])
    return k.models.Model([left, right], a.Dense(1, activation="sigmoid")(joined))


def conv1d(k):
    a = k.layers
    return chain(
        k, (100, 100),
        a.Conv1D(64, 3, activation="relu"), a.Conv1D(64, 3, activation="relu"),
        a.MaxPooling1D(3), a.Conv1D(128, 3, activation="relu"),
        a.Conv1D(128, 3, activation="relu"), a.GlobalAveragePooling1D(), a.Dropout(0.5),
        a.Dense(10, activation="softmax"),
    )  # fmt: skip


def gru(k):
    a = k.layers
    return chain(k, (80,), a.Embedding(10000, 128), a.GRU(128), a.Dense(1, "sigmoid"))


def bidirectional(k):
    a = k.layers
    both = a.Bidirectional(a.LSTM(64))
    return chain(k, (100,), a.Embedding(20000, 128), both, a.Dropout(0.5), a.Dense(1, "sigmoid"))


def char_lstm(k):
    return chain(k, (40, 60), k.layers.LSTM(128), k.layers.Dense(60, "softmax"))


def conv_lstm(k):
    a = k.layers
    frames = a.ConvLSTM2D(16, 3, padding="same")
    return chain(k, (8, 16, 16, 1), frames, a.Conv2D(1, 3, padding="same", activation="sigmoid"))


def vgg19(k):
    a = k.layers
    layers = []
    for filters, count in ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4)):
        layers += [a.Conv2D(filters, 3, padding="same", activation="relu") for _ in range(count)]
        layers.append(a.MaxPooling2D(2))
    layers += [a.Flatten(), a.Dense(4096, "relu"), a.Dense(4096, "relu")]
    return chain(k, (224, 224, 3), *layers, a.Dense(1000, "softmax"))


WORKLOADS = {
    "mlp": Workload(mlp, [((784,), 0)], [(10,)], 64, 50, words="784-64-64-10"),
    "mlp_wide": Workload(
        mlp_wide, [((784,), 0)], [(10,)], 128, 20, words="784-512-512-10", longer=20
    ),
    "mnist_cnn": Workload(mnist_cnn, [((28, 28, 1), 0)], [(10,)], 128, 4),
    "toy_resnet": Workload(toy_resnet, [((32, 32, 3), 0)], [(10,)], 64, 4, longer=50),
    "resnet20": Workload(resnet20, [((32, 32, 3), 0)], [(10,)], 32, 4, words="CIFAR sizes"),
    "vgg_like": Workload(vgg_like, [((100, 100, 3), 0)], [(10,)], 32, 2, words="100 x 100 x 3"),
    "autoencoder": Workload(autoencoder, [((28, 28, 1), 0)], [(28, 28, 1)], 64, 8),
    "imdb_lstm": Workload(imdb_lstm, [((80,), 10000)], [(1,)], 32, 10, words="LSTM(128)"),
    "news": Workload(news, [((100,), 10000), ((5,), 0)], [(1,), (1,)], 32, 10, words="LSTM(32)"),
    "tickets": Workload(
        tickets, [((10,), 10000), ((100,), 10000), ((12,), 0)], [(1,), (4,)], 32, 10
    ),
    "siamese": Workload(siamese, [((140, 256), 0)] * 2, [(1,)], 32, 4, words="LSTM(64)"),
    "conv1d": Workload(conv1d, [((100, 100), 0)], [(10,)], 16, 20),
    "gru": Workload(gru, [((80,), 10000)], [(1,)], 32, 10, words="GRU(128)"),
    "bidirectional": Workload(bidirectional, [((100,), 20000)], [(1,)], 32, 10, words="LSTM(64)"),
    "char_lstm": Workload(char_lstm, [((40, 60), 0)], [(60,)], 128, 5, words="LSTM(128)"),
    "conv_lstm": Workload(conv_lstm, [((8, 16, 16, 1), 0)], [(16, 16, 1)], 8, 4),
    "vgg19": Workload(
        vgg19, [((224, 224, 3), 0)], [(1000,)], 1, 1, False, "one image, predict", longer=1
    ),
}
