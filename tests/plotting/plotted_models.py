"""Models that the tests draw."""

import gpunet as keras
from gpunet import layers

__all__ = ["ticket_router", "autoencoder", "toy_resnet", "siamese", "twice"]


def ticket_router():
    title, body = keras.Input((None,), name="title"), keras.Input((None,), name="body")
    tags = keras.Input((12,), name="tags")
    x = layers.concatenate(
        [
            layers.LSTM(128, name="read_title")(layers.Embedding(100, 64)(title)),
            layers.LSTM(32, name="read_body")(layers.Embedding(100, 64)(body)),
            tags,
        ],
        name="join",
    )
    outputs = [layers.Dense(1, name="priority")(x), layers.Dense(4, name="department")(x)]
    return keras.Model([title, body, tags], outputs)


def autoencoder():
    image = keras.Input((28, 28, 1), name="original_img")
    x = layers.Conv2D(16, 3, name="see")(image)
    encoder = keras.Model(image, layers.GlobalMaxPooling2D(name="peak")(x), name="encoder")
    code = keras.Input((16,), name="encoded_img")
    x = layers.Reshape((4, 4, 1), name="square")(code)
    decoder = keras.Model(code, layers.Conv2DTranspose(1, 3, name="paint")(x), name="decoder")
    start = keras.Input((28, 28, 1), name="img")
    return keras.Model(start, decoder(encoder(start)), name="autoencoder")


def toy_resnet():
    image = keras.Input((32, 32, 3), name="img")
    x = layers.MaxPooling2D(3)(layers.Conv2D(64, 3)(image))
    for _ in range(2):
        y = layers.Conv2D(64, 3, padding="same")(x)
        x = layers.add([layers.Conv2D(64, 3, padding="same")(y), x])
    x = layers.Dense(256)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(image, layers.Dense(10)(x), name="toy_resnet")


def siamese():
    a, b = keras.Input((8, 5), name="a"), keras.Input((8, 5), name="b")
    shared = layers.LSTM(6, name="shared")
    both = layers.concatenate([shared(a), shared(b)], name="both")
    return keras.Model([a, b], layers.Dense(1, name="same")(both))


def twice():
    start = keras.Input((8,), name="start")
    layer = layers.Dense(8, name="again")
    return keras.Model(start, layers.Dense(2, name="end")(layer(layer(start))))
