import numpy as np
from keras.layers import LSTM, Dense, Input
from keras.models import Model

num_encoder_tokens, num_decoder_tokens, latent_dim = 7, 9, 8
encoder_input_data = np.eye(num_encoder_tokens)[np.random.randint(num_encoder_tokens, size=(32, 5))]
decoder_input_data = np.eye(num_decoder_tokens)[np.random.randint(num_decoder_tokens, size=(32, 6))]
decoder_target_data = np.roll(decoder_input_data, -1, axis=1)

# Define an input sequence and process it.
encoder_inputs = Input(shape=(None, num_encoder_tokens))
encoder = LSTM(latent_dim, return_state=True)
encoder_outputs, state_h, state_c = encoder(encoder_inputs)
# We discard `encoder_outputs` and only keep the states.
encoder_states = [state_h, state_c]

# Set up the decoder, using `encoder_states` as initial state.
decoder_inputs = Input(shape=(None, num_decoder_tokens))
decoder_lstm = LSTM(latent_dim, return_sequences=True, return_state=True)
decoder_outputs, _, _ = decoder_lstm(decoder_inputs, initial_state=encoder_states)
decoder_dense = Dense(num_decoder_tokens, activation="softmax")
decoder_outputs = decoder_dense(decoder_outputs)

model = Model([encoder_inputs, decoder_inputs], decoder_outputs)
model.compile(optimizer="rmsprop", loss="categorical_crossentropy", metrics=["accuracy"])
history = model.fit(
    [encoder_input_data, decoder_input_data],
    decoder_target_data,
    batch_size=16,
    epochs=3,
    validation_split=0.2,
    verbose=0,
)
print(history.history["loss"][-1] < history.history["loss"][0])
model.save("s2s.h5")

# Define sampling models
encoder_model = Model(encoder_inputs, encoder_states)
decoder_state_input_h = Input(shape=(latent_dim,))
decoder_state_input_c = Input(shape=(latent_dim,))
decoder_states_inputs = [decoder_state_input_h, decoder_state_input_c]
decoder_outputs, state_h, state_c = decoder_lstm(
    decoder_inputs, initial_state=decoder_states_inputs
)
decoder_states = [state_h, state_c]
decoder_outputs = decoder_dense(decoder_outputs)
decoder_model = Model([decoder_inputs] + decoder_states_inputs, [decoder_outputs] + decoder_states)

states_value = encoder_model.predict(encoder_input_data[:1])
target_seq = np.zeros((1, 1, num_decoder_tokens))
target_seq[0, 0, 0] = 1.0
decoded = []
for _ in range(4):
    output_tokens, h, c = decoder_model.predict([target_seq] + states_value)
    token = np.argmax(output_tokens[0, -1, :])
    decoded.append(token)
    target_seq = np.zeros((1, 1, num_decoder_tokens))
    target_seq[0, 0, token] = 1.0
    states_value = [h, c]
print(len(decoded))
