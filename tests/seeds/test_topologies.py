"""Graphs that fork and join, and models inside models; README.md says where they come from."""

import re
from pathlib import Path

import numpy as np
import pytest

import gpunet as keras
from gpunet import layers
from gpunet.context import reset_uids

SUMMARIES = Path(__file__).with_name("summaries.txt").read_text(encoding="utf-8")


def printed(title, number=0):
    """Return what a tutorial prints as the summary of a model."""
    found = re.findall(rf'Model: "{title}"\n(?:.*\n)*?Non-trainable.*\n_+\n', SUMMARIES)
    return found[number]


def summary_of(model):
    lines = []
    model.summary(print_fn=lines.append)
    return "\n".join(lines) + "\n"


def encoder_and_decoder():
    encoder_input = keras.Input(shape=(28, 28, 1), name="img")
    x = layers.Conv2D(16, 3, activation="relu")(encoder_input)
    x = layers.Conv2D(32, 3, activation="relu")(x)
    x = layers.MaxPooling2D(3)(x)
    x = layers.Conv2D(32, 3, activation="relu")(x)
    x = layers.Conv2D(16, 3, activation="relu")(x)
    encoder_output = layers.GlobalMaxPooling2D()(x)
    encoder = keras.Model(encoder_input, encoder_output, name="encoder")
    x = layers.Reshape((4, 4, 1))(encoder_output)
    x = layers.Conv2DTranspose(16, 3, activation="relu")(x)
    x = layers.Conv2DTranspose(32, 3, activation="relu")(x)
    x = layers.UpSampling2D(3)(x)
    x = layers.Conv2DTranspose(16, 3, activation="relu")(x)
    decoder_output = layers.Conv2DTranspose(1, 3, activation="relu")(x)
    return encoder, keras.Model(encoder_input, decoder_output, name="autoencoder")


def nested_autoencoder():
    encoder_input = keras.Input(shape=(28, 28, 1), name="original_img")
    x = layers.Conv2D(16, 3, activation="relu")(encoder_input)
    x = layers.Conv2D(32, 3, activation="relu")(x)
    x = layers.MaxPooling2D(3)(x)
    x = layers.Conv2D(32, 3, activation="relu")(x)
    x = layers.Conv2D(16, 3, activation="relu")(x)
    encoder_output = layers.GlobalMaxPooling2D()(x)
    encoder = keras.Model(encoder_input, encoder_output, name="encoder")
    decoder_input = keras.Input(shape=(16,), name="encoded_img")
    x = layers.Reshape((4, 4, 1))(decoder_input)
    x = layers.Conv2DTranspose(16, 3, activation="relu")(x)
    x = layers.Conv2DTranspose(32, 3, activation="relu")(x)
    x = layers.UpSampling2D(3)(x)
    x = layers.Conv2DTranspose(16, 3, activation="relu")(x)
    decoder_output = layers.Conv2DTranspose(1, 3, activation="relu")(x)
    decoder = keras.Model(decoder_input, decoder_output, name="decoder")
    autoencoder_input = keras.Input(shape=(28, 28, 1), name="img")
    encoded_img = encoder(autoencoder_input)
    decoded_img = decoder(encoded_img)
    return encoder, decoder, keras.Model(autoencoder_input, decoded_img, name="autoencoder")


def ticket_router(num_words=100, num_tags=12, num_departments=4):
    title_input = keras.Input(shape=(None,), name="title")
    body_input = keras.Input(shape=(None,), name="body")
    tags_input = keras.Input(shape=(num_tags,), name="tags")
    title_features = layers.Embedding(num_words, 64)(title_input)
    body_features = layers.Embedding(num_words, 64)(body_input)
    title_features = layers.LSTM(128)(title_features)
    body_features = layers.LSTM(32)(body_features)
    x = layers.concatenate([title_features, body_features, tags_input])
    priority_pred = layers.Dense(1, name="priority")(x)
    department_pred = layers.Dense(num_departments, name="department")(x)
    return keras.Model(
        inputs=[title_input, body_input, tags_input],
        outputs=[priority_pred, department_pred],
    )


def toy_resnet():
    inputs = keras.Input(shape=(32, 32, 3), name="img")
    x = layers.Conv2D(32, 3, activation="relu")(inputs)
    x = layers.Conv2D(64, 3, activation="relu")(x)
    block_1_output = layers.MaxPooling2D(3)(x)
    x = layers.Conv2D(64, 3, activation="relu", padding="same")(block_1_output)
    x = layers.Conv2D(64, 3, activation="relu", padding="same")(x)
    block_2_output = layers.add([x, block_1_output])
    x = layers.Conv2D(64, 3, activation="relu", padding="same")(block_2_output)
    x = layers.Conv2D(64, 3, activation="relu", padding="same")(x)
    block_3_output = layers.add([x, block_2_output])
    x = layers.Conv2D(64, 3, activation="relu")(block_3_output)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dense(256, activation="relu")(x)
    x = layers.Dropout(0.5)(x)
    outputs = layers.Dense(10)(x)
    return keras.Model(inputs, outputs, name="toy_resnet")


def test_summaries_of_one_session():
    """The tutorial's programs one after another, so that the layers' numbers are its own."""
    reset_uids()
    encoder, autoencoder = encoder_and_decoder()
    assert summary_of(encoder) == printed("encoder")
    assert summary_of(autoencoder) == printed("autoencoder")
    encoder, decoder, autoencoder = nested_autoencoder()
    assert summary_of(encoder) == printed("encoder", 1)
    assert summary_of(decoder) == printed("decoder")
    assert summary_of(autoencoder) == printed("autoencoder", 1)
    for _ in range(6):  # the ensemble's, the tickets', and those before
        layers.Dense(1)
    assert summary_of(toy_resnet()) == printed("toy_resnet")


def test_autoencoders_learn(seeds):
    data = np.random.random((16, 28, 28, 1)).astype("float32")
    for *_, encoder, autoencoder in (encoder_and_decoder(), nested_autoencoder()[::2]):
        autoencoder.compile("adam", "mse")
        before = encoder.predict(data)
        history = autoencoder.fit(data, data, epochs=3, verbose=0).history["loss"]
        assert history[-1] < history[0] and (encoder.predict(data) != before).any()


def test_ensemble():
    def get_model():
        inputs = keras.Input(shape=(128,))
        outputs = layers.Dense(1)(inputs)
        return keras.Model(inputs, outputs)

    model1, model2, model3 = get_model(), get_model(), get_model()
    inputs = keras.Input(shape=(128,))
    y1, y2, y3 = model1(inputs), model2(inputs), model3(inputs)
    outputs = layers.average([y1, y2, y3])
    ensemble_model = keras.Model(inputs=inputs, outputs=outputs)
    x = np.random.default_rng(0).random((4, 128)).astype("float32")
    want = np.mean([m.predict(x) for m in (model1, model2, model3)], axis=0)
    np.testing.assert_allclose(ensemble_model.predict(x), want, rtol=1e-5)


@pytest.mark.parametrize("by_name", [False, True])
def test_tickets(by_name, seeds):
    model = ticket_router()
    losses = [
        keras.losses.BinaryCrossentropy(from_logits=True),
        keras.losses.CategoricalCrossentropy(from_logits=True),
    ]
    model.compile(
        optimizer=keras.optimizers.RMSprop(1e-3),
        loss=dict(zip(["priority", "department"], losses)) if by_name else losses,
        loss_weights=[1.0, 0.2],
    )
    title_data = np.random.randint(100, size=(32, 10))
    body_data = np.random.randint(100, size=(32, 20))
    tags_data = np.random.randint(2, size=(32, 12)).astype("float32")
    priority_targets = np.random.random(size=(32, 1))
    dept_targets = np.random.randint(2, size=(32, 4))
    history = model.fit(
        {"title": title_data, "body": body_data, "tags": tags_data},
        {"priority": priority_targets, "department": dept_targets},
        epochs=3,
        batch_size=16,
        verbose=0,
    ).history
    assert list(history) == ["loss", "priority_loss", "department_loss"]
    total = np.add(history["priority_loss"], np.multiply(history["department_loss"], 0.2))
    np.testing.assert_allclose(history["loss"], total, rtol=1e-5)
    assert history["loss"][-1] < history["loss"][0]
    # Texts of other lengths go through the same model.
    priority, department = model.predict([title_data[:2, :3], body_data[:2, :5], tags_data[:2]])
    assert priority.shape == (2, 1) and department.shape == (2, 4)


def test_toy_resnet_trains(seeds):
    model = toy_resnet()
    x_train = np.random.random((40, 32, 32, 3)).astype("float32")
    y_train = keras.utils.to_categorical(np.random.randint(10, size=40), 10)
    model.compile(
        optimizer=keras.optimizers.RMSprop(1e-3),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True),
        metrics=["acc"],
    )
    history = model.fit(
        x_train, y_train, batch_size=16, epochs=2, validation_split=0.2, verbose=0
    ).history
    assert list(history) == ["loss", "acc", "val_loss", "val_acc"]
    assert history["loss"][-1] < history["loss"][0]


def test_save_and_load(tmp_path, seeds):
    for model in (toy_resnet(), ticket_router(), nested_autoencoder()[-1]):
        model.compile("rmsprop", "mse")
        xs = [np.random.random((2, *[n or 3 for n in t.shape[1:]])) for t in model.inputs]
        ys = model.predict(xs)
        path = str(tmp_path / "path_to_my_model")
        model.save(path)
        text = summary_of(model)
        del model
        # Recreate the exact same model purely from the file:
        model = keras.models.load_model(path)
        again = model.predict(xs)
        assert type(again) is type(ys)
        for got, want in zip(again, ys):  # outputs, or the samples of one
            np.testing.assert_array_equal(got, want)
        assert summary_of(model) == text


def test_shared_embedding():
    # Embedding for 1000 unique words mapped to 128-dimensional vectors
    shared_embedding = layers.Embedding(1000, 128)
    # Variable-length sequences of integers
    text_input_a = keras.Input(shape=(None,), dtype="int32")
    text_input_b = keras.Input(shape=(None,), dtype="int32")
    # Reuse the same layer to encode both inputs
    encoded_input_a = shared_embedding(text_input_a)
    encoded_input_b = shared_embedding(text_input_b)
    assert encoded_input_a.shape == encoded_input_b.shape == (None, None, 128)
    model = keras.Model([text_input_a, text_input_b], [encoded_input_a, encoded_input_b])
    assert model.count_params() == 128000
    words = np.arange(6).reshape(2, 3)
    a, b = model.predict([words, words])
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(a, shared_embedding.get_weights()[0][words])


def test_features_of_all_layers():
    """As with VGG19: the graph is asked for the activations in its middle."""
    blocks = keras.Sequential(name="vgg")
    blocks.add(keras.Input((32, 32, 3)))
    for filters, count in ((4, 2), (6, 2), (8, 4)):
        for _ in range(count):
            blocks.add(layers.Conv2D(filters, 3, activation="relu", padding="same"))
        blocks.add(layers.MaxPooling2D(2, strides=2))
    blocks.add(layers.Flatten())
    blocks.add(layers.Dense(10, activation="softmax"))
    features_list = [layer.output for layer in blocks.layers]
    feat_extraction_model = keras.Model(inputs=blocks.input, outputs=features_list)
    img = np.random.default_rng(0).random((1, 32, 32, 3)).astype("float32")
    extracted_features = feat_extraction_model(img)
    assert len(extracted_features) == 13
    assert [tuple(f.shape) for f in extracted_features] == [
        (1, *x.output_shape[1:]) for x in blocks.layers
    ]
    np.testing.assert_array_equal(extracted_features[-1].numpy(), blocks.predict(img))
