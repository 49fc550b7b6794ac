"""Inception, residual, shared vision, questions about pictures and videos; see README.md."""

import numpy as np
import pytest

import gpunet as keras
from gpunet.layers import (
    LSTM,
    Conv2D,
    Dense,
    Embedding,
    Flatten,
    Input,
    MaxPooling2D,
    TimeDistributed,
)
from gpunet.models import Model, Sequential


@pytest.mark.parametrize("size", [256, 12])
def test_inception(size):
    input_img = Input(shape=(size, size, 3))
    tower_1 = Conv2D(64, (1, 1), padding="same", activation="relu")(input_img)
    tower_1 = Conv2D(64, (3, 3), padding="same", activation="relu")(tower_1)
    tower_2 = Conv2D(64, (1, 1), padding="same", activation="relu")(input_img)
    tower_2 = Conv2D(64, (5, 5), padding="same", activation="relu")(tower_2)
    tower_3 = MaxPooling2D((3, 3), strides=(1, 1), padding="same")(input_img)
    tower_3 = Conv2D(64, (1, 1), padding="same", activation="relu")(tower_3)
    output = keras.layers.concatenate([tower_1, tower_2, tower_3], axis=1)
    # axis=1 as in the tutorial: one tower below the other.
    assert output.shape == (None, 3 * size, size, 64)
    if size == 12:
        x = np.random.default_rng(0).random((1, size, size, 3)).astype("float32")
        whole = Model(input_img, output).predict(x)
        towers = Model(input_img, [tower_1, tower_2, tower_3]).predict(x)
        np.testing.assert_array_equal(whole, np.concatenate(towers, axis=1))


def test_residual():
    # input tensor for a 3-channel 256x256 image
    x = Input(shape=(256, 256, 3))
    # 3x3 conv with 3 output channels (same as input channels)
    conv = Conv2D(3, (3, 3), padding="same")
    y = conv(x)
    # this returns x + y.
    z = keras.layers.add([x, y])
    image = np.random.default_rng(0).random((1, 256, 256, 3)).astype("float32")
    got = Model(x, [y, z]).predict(image)
    np.testing.assert_array_equal(got[1], image + got[0])


def test_shared_vision(seeds):
    # First, define the vision modules
    digit_input = Input(shape=(27, 27, 1))
    x = Conv2D(64, (3, 3))(digit_input)
    x = Conv2D(64, (3, 3))(x)
    x = MaxPooling2D((2, 2))(x)
    out = Flatten()(x)
    vision_model = Model(digit_input, out)
    # Then define the tell-digits-apart model
    digit_a = Input(shape=(27, 27, 1))
    digit_b = Input(shape=(27, 27, 1))
    # The vision model will be shared, weights and all
    out_a = vision_model(digit_a)
    out_b = vision_model(digit_b)
    concatenated = keras.layers.concatenate([out_a, out_b])
    out = Dense(1, activation="sigmoid")(concatenated)
    classification_model = Model([digit_a, digit_b], out)
    assert concatenated.shape == (None, 2 * 11 * 11 * 64)
    own = 2 * 11 * 11 * 64 + 1
    assert classification_model.count_params() == vision_model.count_params() + own
    classification_model.compile("adam", "binary_crossentropy")
    before = vision_model.get_weights()[0]
    pictures = [np.random.random((8, 27, 27, 1)) for _ in range(2)]
    labels = np.random.randint(2, size=(8, 1))
    losses = classification_model.fit(pictures, labels, epochs=4, verbose=0).history["loss"]
    assert losses[-1] < losses[0] and (vision_model.get_weights()[0] != before).any()


def questions(size, words, length, frames, units, answers):
    """Return the models for pictures and for videos, and the vision model in them."""
    # This model will encode an image into a vector.
    vision_model = Sequential()
    vision_model.add(
        Conv2D(64, (3, 3), activation="relu", padding="same", input_shape=(size, size, 3))
    )
    vision_model.add(Conv2D(64, (3, 3), activation="relu"))
    vision_model.add(MaxPooling2D((2, 2)))
    vision_model.add(Conv2D(128, (3, 3), activation="relu", padding="same"))
    vision_model.add(Conv2D(128, (3, 3), activation="relu"))
    vision_model.add(MaxPooling2D((2, 2)))
    vision_model.add(Conv2D(256, (3, 3), activation="relu", padding="same"))
    vision_model.add(Conv2D(256, (3, 3), activation="relu"))
    vision_model.add(Conv2D(256, (3, 3), activation="relu"))
    vision_model.add(MaxPooling2D((2, 2)))
    vision_model.add(Flatten())
    # Now let's get a tensor with the output of our vision model:
    image_input = Input(shape=(size, size, 3))
    encoded_image = vision_model(image_input)
    # Next, let's define a language model to encode the question into a vector.
    question_input = Input(shape=(length,), dtype="int32")
    embedded_question = Embedding(input_dim=words, output_dim=units, input_length=length)(
        question_input
    )
    encoded_question = LSTM(units)(embedded_question)
    # Let's concatenate the question vector and the image vector:
    merged = keras.layers.concatenate([encoded_question, encoded_image])
    # And let's train a logistic regression over 1000 words on top:
    output = Dense(answers, activation="softmax")(merged)
    vqa_model = Model(inputs=[image_input, question_input], outputs=output)

    video_input = Input(shape=(frames, size, size, 3))
    # This is our video encoded via the previously trained vision_model (weights are reused)
    encoded_frame_sequence = TimeDistributed(vision_model)(video_input)
    encoded_video = LSTM(units)(encoded_frame_sequence)  # the output will be a vector
    # This is a model-level representation of the question encoder, reusing the same weights:
    question_encoder = Model(inputs=question_input, outputs=encoded_question)
    video_question_input = Input(shape=(length,), dtype="int32")
    encoded_video_question = question_encoder(video_question_input)
    # And this is our video question answering model:
    merged = keras.layers.concatenate([encoded_video, encoded_video_question])
    output = Dense(answers, activation="softmax")(merged)
    video_qa_model = Model(inputs=[video_input, video_question_input], outputs=output)
    return vqa_model, video_qa_model, vision_model


def test_questions_as_large_as_in_the_tutorial():
    vqa_model, video_qa_model, vision_model = questions(224, 10000, 100, 100, 256, 1000)
    assert vision_model.output_shape == (None, 25 * 25 * 256)
    assert vqa_model.output_shape == video_qa_model.output_shape == (None, 1000)
    encoded = [x for x in video_qa_model.layers if isinstance(x, TimeDistributed)][0]
    assert encoded.output_shape == (None, 100, 25 * 25 * 256)
    lstm = 4 * 256 * (25 * 25 * 256 + 256 + 1)
    words = 10000 * 256 + 4 * 256 * (256 + 256 + 1)
    top = 512 * 1000 + 1000
    assert video_qa_model.count_params() == vision_model.count_params() + lstm + words + top
    # Nothing of it was allocated yet.
    assert not any(w.allocated for w in video_qa_model.weights)


def test_questions(seeds):
    vqa_model, video_qa_model, vision_model = questions(36, 50, 6, 3, 8, 10)
    pictures, words = np.random.random((4, 36, 36, 3)), np.random.randint(50, size=(4, 6))
    answers = keras.utils.to_categorical(np.random.randint(10, size=4), 10)
    vqa_model.compile("adam", "categorical_crossentropy")
    losses = vqa_model.fit([pictures, words], answers, epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    # Training the one model trained the vision part of the other.
    video = np.random.random((2, 3, 36, 36, 3))
    video_qa_model.compile("adam", "categorical_crossentropy")
    before = vision_model.get_weights()[0]
    history = video_qa_model.fit([video, words[:2]], answers[:2], epochs=3, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert (vision_model.get_weights()[0] != before).any()
    assert video_qa_model.predict([video, words[:2]]).shape == (2, 10)
