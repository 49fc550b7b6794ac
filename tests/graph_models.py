"""Models of many shapes, built alike by gpunet and by Keras 2.

A builder gets the package (``gpunet`` or ``tf_keras``); what Keras says of the models is stored in
``fixtures/keras/graphs.json``.
"""


def mlp(k):
    x = k.Input(shape=(20,))
    y = k.layers.Dense(8, activation="relu")(x)
    y = k.layers.Dense(8, activation="relu")(y)
    return k.Model(inputs=x, outputs=k.layers.Dense(10, activation="softmax")(y))


def two_in_two_out(k):
    x_in, y_in = k.Input(shape=(12,), name="x_in"), k.Input(shape=(12,), name="y_in")
    x = k.layers.Dense(6, activation="relu")(x_in)
    y = k.layers.Dense(6, activation="relu")(y_in)
    z = k.layers.concatenate([x, y])
    x = k.layers.Dense(1, activation="sigmoid", name="x_out")(z)
    y = k.layers.Dense(10, activation="softmax", name="y_out")(z)
    return k.Model(inputs=[x_in, y_in], outputs=[x, y])


def late_second_input(k):
    main, aux = k.Input(shape=(12,), name="main_input"), k.Input(shape=(5,), name="aux_input")
    h = k.layers.Dense(6)(main)
    aux_output = k.layers.Dense(1, activation="sigmoid", name="aux_output")(h)
    x = k.layers.concatenate([h, aux])
    for _ in range(3):
        x = k.layers.Dense(8, activation="relu")(x)
    main_output = k.layers.Dense(1, activation="sigmoid", name="main_output")(x)
    return k.Model([main, aux], [main_output, aux_output])


def diamond(k):
    x = k.Input(shape=(4,))
    a = k.layers.Dense(4, name="left")(x)
    b = k.layers.Dense(4, name="right_1")(x)
    b = k.layers.Activation("relu", name="right_2")(b)
    return k.Model(x, k.layers.Dense(2, name="end")(k.layers.add([b, a, x])))


def residual(k):
    x = k.Input(shape=(6,), name="img")
    block = k.layers.Dense(6)(x)
    for _ in range(2):
        y = k.layers.Dense(6, activation="relu")(block)
        y = k.layers.Dense(6)(y)
        block = k.layers.add([y, block])
    y = k.layers.Dropout(0.5)(block)
    return k.Model(x, k.layers.Dense(10)(y), name="toy_resnet")


def shared_at_two_depths(k):
    a, b = k.Input(shape=(5,), name="a"), k.Input(shape=(5,), name="b")
    shared = k.layers.Dense(5, name="shared")
    first = shared(k.layers.Dense(5, name="deep")(k.layers.Dropout(0.1, name="drop")(a)))
    return k.Model([b, a], k.layers.Concatenate(name="join")([first, shared(b)]))


def shared_in_a_row(k):
    x = k.Input(shape=(5,))
    shared = k.layers.Dense(5)
    return k.Model(x, shared(shared(shared(x))))


def nested(k):
    x = k.Input(shape=(6,), name="low_in")
    low = k.Model(x, k.layers.Dense(4, name="low_dense")(x), name="low")
    x = k.Input(shape=(6,), name="middle_in")
    y = k.layers.Dense(3, name="middle_dense")(low(x))
    middle = k.Model(x, y, name="middle")
    x = k.Input(shape=(6,), name="outer_in")
    return k.Model(x, k.layers.Dense(2, name="outer_dense")(middle(x)), name="outer")


def nested_and_shared(k):
    x = k.Input(shape=(3,))
    y = k.layers.Dense(3)(x)
    inner = k.Model(x, k.layers.Dense(2)(y), name="inner")
    a, b = k.Input(shape=(3,)), k.Input(shape=(3,))
    stack = k.Sequential([k.layers.Dense(3, input_shape=(3,))], name="stack")
    z = k.layers.concatenate([inner(a), inner(stack(b)), inner(b)])
    return k.Model([a, b], k.layers.Dense(1)(z))


def nested_with_two_ends(k):
    x, y = k.Input(shape=(3,), name="p"), k.Input(shape=(3,), name="q")
    z = k.layers.Add(name="sum")([x, y])
    inner = k.Model([x, y], [k.layers.Dense(2, name="u")(z), k.layers.Dense(4, name="v")(z)],
                    name="inner")  # fmt: skip
    a = k.Input(shape=(3,), name="a")
    u, v = inner([a, k.layers.Dense(3, name="before")(a)])
    return k.Model(a, [v, k.layers.Dense(1, name="after")(u)])


def long_names(k):
    x = k.Input(shape=(7,), name="an_input_with_a_long_name_for_a_narrow_column")
    y = k.layers.Reshape((7, 1), name="a_reshape_with_a_long_name")(x)
    return k.Model(x, k.layers.Flatten(name="a_flatten_with_a_very_very_long_name_indeed")(y))


def long_names_connected(k):
    x = k.Input(shape=(7,), name="an_input_with_a_long_name_for_a_narrow_column")
    y = k.layers.Dense(7, name="a_dense_layer_with_a_long_name")(x)
    return k.Model(x, k.layers.Add(name="an_add_layer_whose_name_is_too_long_as_well")([x, y, x]))


def unused_input(k):
    a, b = k.Input(shape=(3,), name="used"), k.Input(shape=(4,), name="unused")
    return k.Model([a, b], k.layers.Dense(2, name="end")(a))


def repeated_outputs(k):
    x = k.Input(shape=(3,), name="x")
    y = k.layers.Dense(2, name="y")(x)
    z = k.layers.Dense(2, name="z")(y)
    return k.Model(x, [z, y, z])


def from_the_middle(k):
    x = k.Input(shape=(3,), name="x")
    y = k.layers.Dense(4, name="y")(x)
    z = k.layers.Dense(5, name="z")(y)
    return k.Model(y, k.layers.Add(name="sum")([z, k.layers.Dense(5, name="w")(y)]))


def features_of_all_layers(k):
    whole = nested(k)
    return k.Model(whole.input, [layer.output for layer in whole.layers[::2]])


def stack(k):
    model = k.Sequential()
    model.add(k.layers.Dense(4, activation="relu", input_dim=6))
    model.add(k.layers.Dropout(0.5))
    model.add(k.layers.Dense(1, activation="sigmoid"))
    return model


def stack_of_models(k):
    x = k.Input(shape=(4,), name="x")
    inner = k.Model(x, k.layers.Dense(3, name="inner_dense")(x), name="inner")
    return k.Sequential([inner, k.Sequential([k.layers.Dense(2, name="deep")], name="deferred")])


def partly_frozen(k):
    x = k.Input(shape=(3,), name="low_in")
    y = k.layers.Dense(3, name="one")(x)
    low = k.Model(x, k.layers.Dense(3, name="two")(y), name="low")
    low.get_layer("one").trainable = False
    x = k.Input(shape=(3,), name="x")
    return k.Model(x, k.layers.Dense(1, name="end")(low(x)))


def thawed_inside_frozen(k):
    model = partly_frozen(k)
    model.get_layer("low").trainable = False
    model.get_layer("low").get_layer("two").trainable = True
    return model


MODELS = {
    f.__name__: f
    for f in (
        mlp, two_in_two_out, late_second_input, diamond, residual, shared_at_two_depths,
        shared_in_a_row, nested, nested_and_shared, nested_with_two_ends, long_names,
        long_names_connected, unused_input, repeated_outputs, from_the_middle,
        features_of_all_layers, stack, stack_of_models, partly_frozen, thawed_inside_frozen,
    )
}  # fmt: skip
