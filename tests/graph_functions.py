"""Models whose graphs hold functions, made with any Keras: name -> (input shapes, function).

A function gets the keras module and the symbolic inputs, and returns the output or a list. What it
does works in Keras 2 and here alike.
"""

import operator

S4, S43, IMAGE = (4,), (4, 3), (4, 4, 3)


def _k(name, *args, **options):
    return lambda keras, *xs: getattr(keras.backend, name)(*xs, *args, **options)


def _sampling(keras, mean, log_var):
    K = keras.backend
    noise = K.random_normal(shape=(K.shape(mean)[0], K.int_shape(mean)[1]), stddev=0.0)
    return mean + K.exp(0.5 * log_var) * noise


def _fold(keras, x):
    K = keras.backend
    y = K.reshape(x, (K.shape(x)[0] * 2, 2, 3))
    return K.reshape(K.sum(y, axis=-1), (K.shape(x)[0], 4))


FUNCTIONS = {
    "add_number": ([S4], lambda k, x: x + 1.5),
    "number_add": ([S4], lambda k, x: 1.5 + x),
    "add": ([S4, S4], lambda k, x, y: x + y),
    "subtract": ([S4, S4], lambda k, x, y: x - y),
    "number_subtract": ([S4], lambda k, x: 1 - x),
    "multiply": ([S4], lambda k, x: x * 2),
    "divide": ([S4], lambda k, x: x / 2),
    "number_divide": ([S4], lambda k, x: 2 / (x + 4)),
    "power": ([S4], lambda k, x: x**2),
    "power3": ([S4], lambda k, x: x**3),
    "floor_divide": ([S4], lambda k, x: x // 2),
    "modulo": ([S4], lambda k, x: x % 2),
    "negative": ([S4], lambda k, x: -x),
    "abs": ([S4], lambda k, x: abs(x)),
    "matmul": ([(4, 4)], lambda k, x: x @ x),
    "compare": ([S4, S4], lambda k, x, y: [x < y, x >= 0.5, x <= y, x > y]),
    "logic": ([S4], lambda k, x: [(x > 0) & (x < 1), (x > 0) | (x < -1), ~(x > 0)]),
    "columns": ([S4], lambda k, x: x[:, 1:3]),
    "column": ([S43], lambda k, x: x[:, -1]),
    "new_axis": ([S43], lambda k, x: x[..., 0, None]),
    "steps": ([S43], lambda k, x: x[:, ::2, 1:]),
    "one_row": ([S43], lambda k, x: x[0]),
    **{
        name: ([S4], _k(name))
        for name in ("exp", "square", "sigmoid", "tanh", "softplus", "softsign", "hard_sigmoid",
                     "relu", "sign", "round", "sin", "cos", "elu", "softmax", "stop_gradient",
                     "ones_like", "zeros_like", "sqrt")
    },
    "log": ([S4], lambda k, x: k.backend.log(k.backend.abs(x) + 1)),
    "relu_options": ([S4], _k("relu", alpha=0.1, max_value=6.0)),
    "elu_alpha": ([S4], _k("elu", 0.5)),
    "pow": ([S4], _k("pow", 2)),
    "sum": ([S43], _k("sum", axis=-1, keepdims=True)),
    "sum_all": ([S43], lambda k, x: x * k.backend.sum(x)),
    "mean": ([S43], _k("mean", axis=1)),
    "max": ([S43], _k("max", axis=[1, 2])),
    "min": ([S43], _k("min", axis=-1)),
    "prod": ([S4], _k("prod", axis=1)),
    "var": ([S4], _k("var", axis=1)),
    "std": ([S4], _k("std", axis=1)),
    "any": ([S4], lambda k, x: k.backend.any(x > 1, axis=1)),
    "all": ([S4], lambda k, x: k.backend.all(x > -1, axis=1)),
    "argmax": ([S43], _k("argmax")),
    "argmin": ([S43], _k("argmin", axis=1)),
    "cumsum": ([S43], _k("cumsum", axis=1)),
    "cumprod": ([S43], _k("cumprod", axis=1)),
    "l2_normalize": ([S4], _k("l2_normalize", axis=-1)),
    "dot": ([(3, 4), (4, 5)], lambda k, x, y: k.backend.dot(x, y)[:, :, 0]),
    "batch_dot": ([(3, 4), (4, 5)], _k("batch_dot")),
    "batch_dot_axes": ([S4, S4], _k("batch_dot", axes=1)),
    "concatenate": ([S4, S4], lambda k, x, y: k.backend.concatenate([x, y])),
    "stack": ([S4, S4], lambda k, x, y: k.backend.stack([x, y], axis=1)),
    "expand_dims": ([S4], _k("expand_dims")),
    "squeeze": ([(4, 1)], _k("squeeze", -1)),
    "reshape": ([S4], _k("reshape", (-1, 2, 2))),
    "permute": ([S43], _k("permute_dimensions", (0, 2, 1))),
    "transpose": ([S4], _k("transpose")),
    "flatten": ([S4], _k("flatten")),
    "batch_flatten": ([S43], _k("batch_flatten")),
    "repeat": ([S4], _k("repeat", 3)),
    "repeat_elements": ([S43], _k("repeat_elements", 2, 1)),
    "tile": ([S4], _k("tile", (1, 3))),
    "cast": ([S4], lambda k, x: k.backend.cast(k.backend.cast(x * 3, "int32"), "float32")),
    "clip": ([S4], _k("clip", 0.0, 1.0)),
    "maximum": ([S4], _k("maximum", 0.0)),
    "minimum": ([S4, S4], _k("minimum")),
    "equal": ([S4, S4], _k("equal")),
    "not_equal": ([S4, S4], _k("not_equal")),
    "one_hot": ([S43], lambda k, x: k.backend.one_hot(k.backend.argmax(x), 5)),
    "gather": ([S4], _k("gather", [1, 0, 1])),
    "reverse": ([S43], _k("reverse", 1)),
    "sqrt_of_square": ([S4], lambda k, x: k.backend.sqrt(k.backend.square(x) + 1)),
    "in_train_phase": ([S4], lambda k, x: k.backend.in_train_phase(x * 100, x + 1)),
    "bias_add": ([S4], lambda k, x: k.backend.bias_add(x, k.backend.constant([1, 2, 3, 4]))),
    "pool2d": ([IMAGE], _k("pool2d", (2, 2), strides=(2, 2))),
    "pool2d_mean": ([IMAGE], _k("pool2d", (3, 3), padding="same", pool_mode="avg")),
    "resize_images": ([IMAGE], _k("resize_images", 2, 2, "channels_last")),
    "resize_bilinear": (
        [IMAGE],
        _k("resize_images", 2, 3, "channels_last", interpolation="bilinear"),
    ),
    "conv2d": (
        [IMAGE],
        lambda k, x: k.backend.conv2d(x, k.backend.constant(0.5, shape=(2, 2, 3, 2))),
    ),
    "conv1d_causal": (
        [S43],
        lambda k, x: k.backend.conv1d(
            x, k.backend.constant(0.5, shape=(2, 3, 2)), padding="causal"
        ),
    ),
    "crossentropy": (
        [S4, S4],
        lambda k, x, y: k.backend.categorical_crossentropy(
            k.backend.softmax(x), y, from_logits=True
        ),
    ),
    "binary_crossentropy": (
        [S4, S4],
        lambda k, x, y: k.backend.binary_crossentropy(
            k.backend.sigmoid(x), k.backend.sigmoid(y)
        ),
    ),
    "sizes": ([S43], _fold),
    "sampling": ([S4, S4], _sampling),
    "chain": (
        [S4],
        lambda k, x: operator.mul(k.layers.Dense(3, use_bias=False, kernel_initializer="ones")(
            k.backend.exp(-k.backend.square(x))), 2.0),
    ),
    "in_a_model": (
        [S4],
        lambda k, x: _nested(k)(x + 1),
    ),
}  # fmt: skip


def _nested(keras):
    x = keras.Input((4,))
    return keras.Model(x, keras.backend.sum(x * 2, axis=1, keepdims=True), name="inner")


def build(keras, name):
    """Return the model of a name."""
    shapes, function = FUNCTIONS[name]
    inputs = [keras.Input(s, name=f"in_{i}") for i, s in enumerate(shapes)]
    return keras.Model(inputs, function(keras, *inputs), name=name)
