"""Models that branch, nest and share: name -> (shapes of the inputs, function of a keras).

Among them are the programs of the tutorials (``seed_...``), with fewer units.
"""

from zoo_chains import IDS, ids


def _inputs(keras, *shapes):
    return [keras.Input(shape=shape) for shape in shapes]


def arithmetic(keras):
    """Sum, difference, product, mean, larger, smaller and joined."""
    L = keras.layers
    a, b = _inputs(keras, (6,), (6,))
    x, y = L.Dense(5)(a), L.Dense(5, activation="tanh")(b)
    kinds = (L.Add, L.Subtract, L.Multiply, L.Average, L.Maximum, L.Minimum)
    return keras.models.Model([a, b], L.Concatenate()([kind()([x, y]) for kind in kinds]))


def dots(keras):
    """Products of sequences, plain and as cosines."""
    L = keras.layers
    a, b = _inputs(keras, (4, 6), (5, 6))
    x, y = L.Dense(3)(a), L.Dense(3)(b)
    plain, cosine = L.Dot(axes=-1)([x, y]), L.Dot(axes=(2, 2), normalize=True)([x, y])
    return keras.models.Model([a, b], L.Concatenate(axis=1)([plain, cosine]))


def attention(keras):
    """Dot-product attention with a scale, of two and of three inputs."""
    L = keras.layers
    a, b = _inputs(keras, (4, 6), (5, 6))
    x = L.Attention(use_scale=True)([a, b])
    return keras.models.Model([a, b], L.Dense(3)(L.Attention()([x, b, b])))


def additive_attention(keras):
    """Additive attention."""
    L = keras.layers
    a, b = _inputs(keras, (4, 6), (5, 6))
    return keras.models.Model([a, b], L.Dense(3)(L.AdditiveAttention()([a, b])))


def multi_head(keras):
    """Attention with heads, with the residual sum and norm around it."""
    L = keras.layers
    (a,) = _inputs(keras, (4, 6))
    x = L.MultiHeadAttention(num_heads=2, key_dim=3)(a, a)
    return keras.models.Model(a, L.LayerNormalization()(L.Add()([a, x])))


def encoder_decoder(keras):
    """An LSTM that starts with another's states."""
    L = keras.layers
    a, b = _inputs(keras, (5, 3), (4, 2))
    _, h, c = L.LSTM(4, return_state=True)(a)
    y = L.LSTM(4, return_sequences=True)(b, initial_state=[h, c])
    return keras.models.Model([a, b], L.Dense(2)(y))


def shared_twice(keras):
    """One recurrent layer on two inputs."""
    L = keras.layers
    a, b = _inputs(keras, (5, 3), (5, 3))
    shared = L.LSTM(4)
    return keras.models.Model([a, b], L.Dense(1)(L.concatenate([shared(a), shared(b)])))


def residual(keras):
    """Convolution, normalization and sums."""
    L = keras.layers
    (a,) = _inputs(keras, (6, 6, 3))
    x = L.Conv2D(3, 3, padding="same", use_bias=False)(a)
    x = L.BatchNormalization()(x)
    x = L.add([L.Activation("relu")(x), a])
    return keras.models.Model(a, L.Dense(2)(L.GlobalAveragePooling2D()(x)))


def nested_twice(keras):
    """A functional model with frozen layers and statistics, called twice."""
    L = keras.layers
    (i,) = _inputs(keras, (6,))
    frozen = L.Dense(5, trainable=False)
    inner = keras.models.Model(i, L.BatchNormalization()(L.Dense(4)(frozen(i))), name="inner")
    a, b = _inputs(keras, (6,), (6,))
    return keras.models.Model([a, b], L.Dense(2)(L.Subtract()([inner(a), inner(b)])))


def nested_in_time(keras):
    """A Sequential model inside of TimeDistributed, and one inside of another."""
    L = keras.layers
    core = keras.models.Sequential([L.Dense(4, activation="relu", input_shape=(6,))])
    outer = keras.models.Sequential([core, L.Dense(3)])
    (a,) = _inputs(keras, (4, 6))
    return keras.models.Model(a, L.TimeDistributed(outer)(a))


def frozen(keras):
    """A trained layer after a frozen one."""
    L = keras.layers
    (a,) = _inputs(keras, (6,))
    return keras.models.Model(a, L.Dense(2)(L.Dense(4, trainable=False)(a)))


def three_outputs(keras):
    """Outputs of several ranks."""
    L = keras.layers
    (a,) = _inputs(keras, (4, 6))
    x = L.Dense(3)(a)
    return keras.models.Model(a, [x, L.Flatten()(x), L.GlobalMaxPooling1D()(x)])


def names(keras):
    """Names that are not ASCII (tf_keras allows those in layers), and one with a slash inside."""
    L = keras.layers
    a = keras.Input(shape=(6,), name="eingang")
    x = L.Dense(4, name="größe")(a)
    return keras.models.Model(a, L.Dense(2, name="結果")(x), name="модель")


def slashes(keras):
    """Layers in scopes of names."""
    L = keras.layers
    (a,) = _inputs(keras, (6,))
    return keras.models.Model(a, L.Dense(2, name="head/out")(L.Dense(4, name="head")(a)))


def text_cnn(keras):
    """Words, filters of three widths and the largest of each."""
    L = keras.layers
    a = keras.Input(shape=(8,), dtype="int32")
    x = L.Embedding(IDS, 5)(a)
    parts = [L.GlobalMaxPooling1D()(L.Conv1D(3, w, activation="relu")(x)) for w in (2, 3, 4)]
    return keras.models.Model(a, L.Dense(2, activation="sigmoid")(L.Concatenate()(parts)))


def gated(keras):
    """Dilated convolutions with gates."""
    L = keras.layers
    (a,) = _inputs(keras, (8, 3))
    x = a
    for dilation in (1, 2):
        options = {"padding": "causal", "dilation_rate": dilation}
        tanh = L.Conv1D(3, 2, activation="tanh", **options)(x)
        gate = L.Conv1D(3, 2, activation="sigmoid", **options)(x)
        x = L.Add()([x, L.Multiply()([tanh, gate])])
    return keras.models.Model(a, L.Conv1D(1, 1)(x))


def seed_mlp_sequential(keras):
    """The tutorials' first classifier."""
    L = keras.layers
    model = keras.models.Sequential()
    model.add(L.Dense(32, input_shape=(20,)))
    for last in ("relu", "softmax"):
        model.add(L.Activation(last))
        if last == "relu":
            model.add(L.Dense(10))
    return model


def seed_mlp_functional(keras):
    """The tutorials' classifier of digits."""
    L = keras.layers
    inputs = keras.Input(shape=(20,))
    x = L.Dense(64, activation="relu")(inputs)
    x = L.Dense(64, activation="relu")(x)
    return keras.models.Model(inputs, L.Dense(10, activation="softmax")(x))


def seed_twitter(keras):
    """Two inputs and two outputs, an LSTM among them."""
    L = keras.layers
    main = keras.Input(shape=(7,), dtype="int32", name="main_input")
    x = L.LSTM(8)(L.Embedding(output_dim=6, input_dim=IDS)(main))
    side = L.Dense(1, activation="sigmoid", name="aux_output")(x)
    extra = keras.Input(shape=(5,), name="aux_input")
    x = L.concatenate([x, extra])
    for _ in range(2):
        x = L.Dense(16, activation="relu")(x)
    out = L.Dense(1, activation="sigmoid", name="main_output")(x)
    return keras.models.Model([main, extra], [out, side])


def seed_siamese(keras):
    """One LSTM that reads two texts."""
    L = keras.layers
    a, b = _inputs(keras, (6, 8), (6, 8))
    shared = L.LSTM(8)
    merged = L.concatenate([shared(a), shared(b)], axis=-1)
    return keras.models.Model([a, b], L.Dense(1, activation="sigmoid")(merged))


def seed_model_as_layer(keras):
    """A model used like a layer, on one frame and on many."""
    L = keras.layers
    inner = seed_mlp_functional(keras)
    frames = keras.Input(shape=(3, 20))
    return keras.models.Model(frames, L.TimeDistributed(inner)(frames))


def seed_autoencoder(keras):
    """Two models, of layers for images, called one after the other."""
    L = keras.layers
    image = keras.Input(shape=(12, 12, 1), name="img")
    x = L.Conv2D(4, 3, activation="relu")(image)
    x = L.MaxPooling2D(2)(x)
    encoder = keras.models.Model(image, L.GlobalMaxPooling2D()(x), name="encoder")
    code = keras.Input(shape=(4,), name="encoded_img")
    x = L.Reshape((2, 2, 1))(code)
    x = L.Conv2DTranspose(4, 3, activation="relu")(x)
    x = L.UpSampling2D(3)(x)
    decoder = keras.models.Model(code, L.Conv2DTranspose(1, 1)(x), name="decoder")
    start = keras.Input(shape=(12, 12, 1), name="start")
    return keras.models.Model(start, decoder(encoder(start)), name="autoencoder")


def seed_ensemble(keras):
    """The mean of three models."""
    L = keras.layers

    def one():
        inputs = keras.Input(shape=(8,))
        return keras.models.Model(inputs, L.Dense(1)(inputs))

    parts = [one() for _ in range(3)]
    inputs = keras.Input(shape=(8,))
    return keras.models.Model(inputs, L.average([part(inputs) for part in parts]))


def seed_toy_resnet(keras):
    """Two blocks with sums around them."""
    L = keras.layers
    inputs = keras.Input(shape=(12, 12, 3), name="img")
    x = L.Conv2D(4, 3, activation="relu")(inputs)
    x = L.Conv2D(6, 3, activation="relu")(x)
    top = L.MaxPooling2D(2)(x)
    for _ in range(2):
        x = L.Conv2D(6, 3, activation="relu", padding="same")(top)
        x = L.Conv2D(6, 3, activation="relu", padding="same")(x)
        top = L.add([x, top])
    x = L.GlobalAveragePooling2D()(L.Conv2D(6, 2, activation="relu")(top))
    return keras.models.Model(inputs, L.Dense(10)(L.Dense(8, activation="relu")(x)))


def seed_tickets(keras):
    """Texts and tags in, a priority and a department out."""
    L = keras.layers
    title = keras.Input(shape=(None,), name="title")
    body = keras.Input(shape=(None,), name="body")
    tags = keras.Input(shape=(5,), name="tags")
    x = L.LSTM(6)(L.Embedding(IDS, 4)(title))
    y = L.LSTM(3)(L.Embedding(IDS, 4)(body))
    x = L.concatenate([x, y, tags])
    priority = L.Dense(1, name="priority")(x)
    return keras.models.Model([title, body, tags], [priority, L.Dense(4, name="department")(x)])


def seed_vgg(keras):
    """Pairs of convolutions, pooled and dropped."""
    L = keras.layers
    model = keras.models.Sequential()
    model.add(L.Conv2D(4, (3, 3), activation="relu", input_shape=(16, 16, 3)))
    model.add(L.Conv2D(4, (3, 3), activation="relu"))
    model.add(L.MaxPooling2D(pool_size=(2, 2)))
    model.add(L.Dropout(0.25))
    model.add(L.Flatten())
    model.add(L.Dense(8, activation="relu"))
    model.add(L.Dense(10, activation="softmax"))
    return model


def seed_lstm_classifier(keras):
    """Words, an LSTM, dropout and a sigmoid."""
    L = keras.layers
    model = keras.models.Sequential()
    model.add(L.Embedding(IDS, output_dim=8))
    model.add(L.LSTM(8))
    model.add(L.Dropout(0.5))
    model.add(L.Dense(1, activation="sigmoid"))
    model.build((None, 6))
    return model


def seed_stateful_stack(keras):
    """Three LSTMs on sequences of vectors."""
    L = keras.layers
    model = keras.models.Sequential()
    model.add(L.LSTM(8, return_sequences=True, input_shape=(5, 4)))
    model.add(L.LSTM(8, return_sequences=True))
    model.add(L.LSTM(8))
    model.add(L.Dense(10, activation="softmax"))
    return model


def seed_center_loss(keras):
    """A layer of the user's own."""
    inputs = keras.Input(shape=(12,))
    x = keras.layers.Dense(4)(inputs)
    return keras.models.Model(inputs, scaled(keras)(5)(x))


def scaled(keras):
    """Return the class of a layer of the user's own, for a keras."""

    class Scaled(keras.layers.Layer):
        def __init__(self, output_dim, **kwargs):
            super().__init__(**kwargs)
            self.output_dim = output_dim

        def build(self, input_shape):
            self.kernel = self.add_weight(
                name="kernel",
                shape=(int(input_shape[-1]), self.output_dim),
                initializer="glorot_normal",
                trainable=True,
            )
            self.built = True

        def call(self, inputs):
            return keras.backend.dot(inputs, self.kernel) * 0.5

        def compute_output_shape(self, input_shape):
            return (input_shape[0], self.output_dim)

        def get_config(self):
            return {**super().get_config(), "output_dim": self.output_dim}

    return Scaled


GRAPHS = {
    "arithmetic": ([(6,), (6,)], arithmetic),
    "dots": ([(4, 6), (5, 6)], dots),
    "attention": ([(4, 6), (5, 6)], attention),
    "additive_attention": ([(4, 6), (5, 6)], additive_attention),
    "multi_head": ([(4, 6)], multi_head),
    "encoder_decoder": ([(5, 3), (4, 2)], encoder_decoder),
    "shared_twice": ([(5, 3), (5, 3)], shared_twice),
    "residual": ([(6, 6, 3)], residual),
    "nested_twice": ([(6,), (6,)], nested_twice),
    "nested_in_time": ([(4, 6)], nested_in_time),
    "frozen": ([(6,)], frozen),
    "three_outputs": ([(4, 6)], three_outputs),
    "names": ([(6,)], names),
    "slashes": ([(6,)], slashes),
    "text_cnn": ([ids(8)], text_cnn),
    "gated": ([(8, 3)], gated),
    "seed_mlp_sequential": ([(20,)], seed_mlp_sequential),
    "seed_mlp_functional": ([(20,)], seed_mlp_functional),
    "seed_twitter": ([ids(7), (5,)], seed_twitter),
    "seed_siamese": ([(6, 8), (6, 8)], seed_siamese),
    "seed_model_as_layer": ([(3, 20)], seed_model_as_layer),
    "seed_autoencoder": ([(12, 12, 1)], seed_autoencoder),
    "seed_ensemble": ([(8,)], seed_ensemble),
    "seed_toy_resnet": ([(12, 12, 3)], seed_toy_resnet),
    "seed_tickets": ([ids(6), ids(7), (5,)], seed_tickets),
    "seed_vgg": ([(16, 16, 3)], seed_vgg),
    "seed_lstm_classifier": ([ids(6)], seed_lstm_classifier),
    "seed_stateful_stack": ([(5, 4)], seed_stateful_stack),
    "seed_center_loss": ([(12,)], seed_center_loss),
}
RANDOM = {"seed_vgg", "seed_lstm_classifier"}
