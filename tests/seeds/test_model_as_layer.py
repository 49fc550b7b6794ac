"""A model called like a layer, and models of one graph; README.md says where they come from."""

import numpy as np

from gpunet import layers
from gpunet.context import reset_uids
from gpunet.layers import Dense, Input
from gpunet.models import Model

SUMMARY = """\
Model: "autoencoder"
_________________________________________________________________
Layer (type)                 Output Shape              Param #   
=================================================================
img (InputLayer)             [(None, 28, 28, 1)]       0         
_________________________________________________________________
encoder (Functional)         (None, 16)                12560     
_________________________________________________________________
decoder (Functional)         (None, 28, 28, 1)         13328     
=================================================================
Total params: 25,888
Trainable params: 25,888
Non-trainable params: 0
_________________________________________________________________
"""  # noqa: W291


def classifier():
    inputs = Input(shape=(784,))
    x = Dense(64, activation="relu")(inputs)
    x = Dense(64, activation="relu")(x)
    return Model(inputs=inputs, outputs=Dense(10, activation="softmax")(x))


def test_weights_are_used_again(seeds):
    model = classifier()
    x = Input(shape=(784,))
    # This works, and returns the 10-way softmax we defined above.
    y = model(x)
    assert y.shape == (None, 10) and y.dtype == "float32"
    outer = Model(x, y)
    data = np.random.random((8, 784)).astype("float32")
    np.testing.assert_array_equal(outer.predict(data), model.predict(data))
    assert [id(w) for w in outer.weights] == [id(w) for w in model.weights]
    outer.compile("rmsprop", "categorical_crossentropy")
    before = model.predict(data)
    outer.fit(data, np.eye(10)[:8], epochs=2, verbose=0)
    assert (model.predict(data) != before).any()
    np.testing.assert_array_equal(outer.predict(data), model.predict(data))


def test_encoder_and_autoencoder_of_one_graph(seeds):
    img = Input(shape=(28, 28, 1), name="img")
    x = layers.Flatten()(img)
    code = Dense(16, activation="relu")(x)
    encoder = Model(img, code, name="encoder")
    x = Dense(784)(code)
    decoded = layers.Reshape((28, 28, 1))(x)
    autoencoder = Model(img, decoded, name="autoencoder")
    assert encoder.count_params() == 12560
    assert autoencoder.count_params() == 12560 + 13328
    autoencoder.compile("adam", "mse")
    data = np.random.random((32, 28, 28, 1)).astype("float32")
    before = encoder.predict(data)
    losses = autoencoder.fit(data, data, epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0] and (encoder.predict(data) != before).any()


def test_chain_of_models(capsys):
    reset_uids()
    encoder_input = Input(shape=(28, 28, 1), name="original_img")
    x = layers.Flatten()(encoder_input)
    encoder = Model(encoder_input, Dense(16)(x), name="encoder")
    decoder_input = Input(shape=(16,), name="encoded_img")
    x = Dense(784)(decoder_input)
    decoder = Model(decoder_input, layers.Reshape((28, 28, 1))(x), name="decoder")
    autoencoder_input = Input(shape=(28, 28, 1), name="img")
    encoded_img = encoder(autoencoder_input)
    decoded_img = decoder(encoded_img)
    autoencoder = Model(autoencoder_input, decoded_img, name="autoencoder")
    autoencoder.summary()
    assert capsys.readouterr().out == SUMMARY


def test_an_ensemble():
    def get_model():
        inputs = Input(shape=(128,))
        outputs = Dense(1)(inputs)
        return Model(inputs, outputs)

    models = [get_model() for _ in range(3)]
    inputs = Input(shape=(128,))
    outputs = layers.Lambda(lambda x: x / 3.0)(layers.add([m(inputs) for m in models]))
    ensemble = Model(inputs=inputs, outputs=outputs)
    data = np.random.default_rng(0).random((4, 128)).astype("float32")
    want = sum(m.predict(data) for m in models) / 3
    np.testing.assert_allclose(ensemble.predict(data), want, rtol=1e-5)
    assert len(ensemble.weights) == 6


def test_features_of_all_layers():
    model = classifier()
    features_list = [layer.output for layer in model.layers]
    feat_extraction_model = Model(inputs=model.input, outputs=features_list)
    img = np.random.default_rng(0).random((1, 784)).astype("float32")
    extracted_features = feat_extraction_model(img)
    assert [tuple(f.shape) for f in extracted_features] == [(1, 784), (1, 64), (1, 64), (1, 10)]
