"""Models, optimizers and the things done with them on either side of an exchange of files.

Every function takes the Keras to work with, ``keras``: gpunet in the tests, tf_keras or Keras 3 in
the peers. Only the classic API is used, and NumPy.
"""

from pathlib import Path

import numpy as np

SAMPLES, BATCH = 40, 8
STEPS_BEFORE, STEPS_AFTER = 3, 5  # training steps before a file is written, and after


def double(x):
    """Return twice ``x``."""
    return x * 2.0


# By its own name, as gpunet writes it, and by the layer's, for the bytecode that tf_keras writes.
CUSTOM_OBJECTS = {"double": double, "doubled": double}


def mlp_sequential(keras):
    """Return a classifier with dropout."""
    layers = keras.layers
    return keras.models.Sequential(
        [
            layers.Dense(16, activation="relu", input_shape=(12,)),
            layers.Dropout(0.3),
            layers.Dense(5),
            layers.Activation("softmax"),
        ]
    )


def mlp_functional(keras):
    """Return a classifier."""
    layers = keras.layers
    inputs = keras.Input(shape=(12,))
    x = layers.Dense(16, activation="relu")(inputs)
    x = layers.Dense(8)(x)
    x = layers.Activation("tanh")(x)
    return keras.models.Model(inputs, layers.Dense(5, activation="softmax")(x))


def merging(keras):
    """Return a regression model with a sum, a concatenation and one layer used twice."""
    layers = keras.layers
    left, right = keras.Input(shape=(6,), name="left"), keras.Input(shape=(6,), name="right")
    shared = layers.Dense(6, activation="tanh", name="shared")
    a, b = shared(left), shared(right)
    total = layers.Add(name="total")([a, b, left])
    both = layers.Concatenate(name="both")([total, b])
    return keras.models.Model([left, right], layers.Dense(3, name="result")(both))


def two_outputs(keras):
    """Return a model with two inputs and two outputs."""
    layers = keras.layers
    left, right = keras.Input(shape=(6,), name="left"), keras.Input(shape=(6,), name="right")
    hidden = layers.Dense(8, activation="relu", name="hidden")(left)
    both = layers.Concatenate(name="both")([hidden, right])
    kind = layers.Dense(5, activation="softmax", name="kind")(both)
    flag = layers.Dense(1, activation="sigmoid", name="flag")(both)
    return keras.models.Model([left, right], [kind, flag])


def shapes(keras):
    """Return a model that reshapes and flattens."""
    layers = keras.layers
    return keras.models.Sequential(
        [
            layers.Reshape((3, 4), input_shape=(12,)),
            layers.Dense(5, activation="relu"),
            layers.Flatten(),
            layers.Dense(3),
        ]
    )


def regularized(keras):
    """Return a regression model with regularizers, constraints and initializers."""
    layers = keras.layers
    inputs = keras.Input(shape=(12,))
    x = layers.Dense(
        10,
        activation="relu",
        kernel_initializer="he_normal",
        kernel_regularizer=keras.regularizers.l1_l2(l1=0.001, l2=0.01),
        kernel_constraint=keras.constraints.MaxNorm(1.0),
    )(inputs)
    x = layers.Dense(3, use_bias=False, kernel_regularizer=keras.regularizers.l2(0.02))(x)
    return keras.models.Model(inputs, x)


def nested(keras):
    """Return a model with a Sequential model inside."""
    layers = keras.layers
    inner = keras.models.Sequential(
        [layers.Dense(8, activation="tanh", input_shape=(12,)), layers.Dense(6)], name="inner"
    )
    inputs = keras.Input(shape=(12,))
    return keras.models.Model(inputs, layers.Dense(3)(inner(inputs)))


def function_layer(keras):
    """Return a model with a Lambda layer."""
    layers = keras.layers
    return keras.models.Sequential(
        [
            layers.Dense(6, activation="tanh", input_shape=(12,)),
            layers.Lambda(double, name="doubled"),
            layers.Dense(3),
        ]
    )


CLASSES = {"loss": "categorical_crossentropy", "metrics": ["accuracy"]}
REAL = {"loss": "mse", "metrics": ["mae"]}
TWO = {
    "loss": {"kind": "categorical_crossentropy", "flag": "binary_crossentropy"},
    "loss_weights": {"kind": 1.0, "flag": 0.3},
    "metrics": {"kind": ["accuracy"], "flag": ["accuracy"]},
}

# name -> (function, options of compile, inputs, targets); arrays are named as in `data_of`
MODELS = {
    "mlp_sequential": (mlp_sequential, CLASSES, ["x"], ["kind"]),
    "mlp_functional": (mlp_functional, CLASSES, ["x"], ["kind"]),
    "merging": (merging, REAL, ["left", "right"], ["real"]),
    "two_outputs": (two_outputs, TWO, ["left", "right"], ["kind", "flag"]),
    "shapes": (shapes, REAL, ["x"], ["real"]),
    "regularized": (regularized, REAL, ["x"], ["real"]),
    "nested": (nested, REAL, ["x"], ["real"]),
    "function_layer": (function_layer, REAL, ["x"], ["real"]),
}
RANDOM = {"mlp_sequential"}  # training draws random numbers
NOT_FOR_KERAS3 = {"nested", "function_layer"}  # which it cannot open from any Keras 2 file

# name -> (class, all its arguments: the defaults of the Kerases differ)
OPTIMIZERS = {
    "sgd": ("SGD", {"learning_rate": 0.1, "momentum": 0.0, "nesterov": False}),
    "momentum": ("SGD", {"learning_rate": 0.05, "momentum": 0.9, "nesterov": False}),
    "nesterov": ("SGD", {"learning_rate": 0.05, "momentum": 0.9, "nesterov": True}),
    "decay": ("SGD", {"learning_rate": 0.2, "momentum": 0.5, "nesterov": False, "decay": 0.1}),
    "rmsprop": ("RMSprop", {"learning_rate": 0.01, "rho": 0.9, "epsilon": 1e-7}),
    "adagrad": (
        "Adagrad",
        {"learning_rate": 0.05, "initial_accumulator_value": 0.1, "epsilon": 1e-7},
    ),
    "adadelta": ("Adadelta", {"learning_rate": 1.0, "rho": 0.95, "epsilon": 1e-7}),
    "adam": (
        "Adam",
        {"learning_rate": 0.01, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7, "amsgrad": False},
    ),
    "amsgrad": (
        "Adam",
        {"learning_rate": 0.01, "beta_1": 0.9, "beta_2": 0.6, "epsilon": 1e-7, "amsgrad": True},
    ),
    "adamax": ("Adamax", {"learning_rate": 0.02, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}),
    "nadam": ("Nadam", {"learning_rate": 0.01, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}),
}


def data_of(model):
    """Return the inputs and targets of a model of ``MODELS``, two lists of arrays."""
    rng = np.random.RandomState(31)
    x = rng.standard_normal((SAMPLES, 12)).astype("float32")
    arrays = {
        "x": x,
        "left": x[:, :6],
        "right": x[:, 6:],
        "kind": np.eye(5, dtype="float32")[x[:, :5].argmax(axis=1)],
        "flag": (x[:, 6:].sum(axis=1, keepdims=True) > 0).astype("float32"),
        "real": (x[:, :3] * x[:, 3:6] + x[:, 6:9]).astype("float32"),
    }
    return tuple([arrays[name] for name in names] for names in MODELS[model][2:])


def make(keras, item):
    """Build and train a model, write it to a file, and say how it goes on from there.

    Args:
        keras: the package to use.
        item: dict with ``name`` of the file, ``model``, ``optimizer`` (see ``OPTIMIZERS``) and
            ``folder``. Into the folder go ``NAME.h5`` and ``NAME.npz`` with ``in_K``, ``tgt_K``,
            ``out_K`` and, what is predicted after further training, ``after_K``.

    Returns:
        dict with paths ``model`` and ``data``, the results of ``evaluate``, and of ``train``.
    """
    build, options, _, _ = MODELS[item["model"]]
    kind, config = OPTIMIZERS[item["optimizer"]]
    source = keras.optimizers.legacy if keras.__name__ == "tf_keras" else keras.optimizers
    inputs, targets = data_of(item["model"])
    model = build(keras)
    model.compile(optimizer=getattr(source, kind)(**config), **options)
    steps(model, inputs, targets, 0, STEPS_BEFORE)
    path = Path(item["folder"]) / f"{item['name']}.h5"
    model.save(str(path))
    arrays = {
        **numbered("in", inputs),
        **numbered("tgt", targets),
        **numbered("out", outputs_of(model, inputs)),
    }
    result = {
        "model": str(path),
        "data": str(path.with_suffix(".npz")),
        "evaluate": evaluation_of(model, inputs, targets),
        "losses": steps(model, inputs, targets, STEPS_BEFORE, STEPS_AFTER),
    }
    np.savez(result["data"], **arrays, **numbered("after", outputs_of(model, inputs)))
    return result


def predict(keras, item):
    """Load ``item["model"]``, predict for ``item["data"]``, write ``out_K`` to ``outputs``."""
    model = load(keras, item, compile=False)
    inputs, _ = arrays_of(item["data"])
    np.savez(item["outputs"], **numbered("out", outputs_of(model, inputs)))
    return {"outputs": item["outputs"]}


def evaluate(keras, item):
    """Load ``item["model"]`` compiled and evaluate it on ``item["data"]``."""
    return {"evaluate": evaluation_of(load(keras, item, compile=True), *arrays_of(item["data"]))}


def train(keras, item):
    """Load ``item["model"]`` compiled, go on training, write ``out_K`` to ``outputs``."""
    model = load(keras, item, compile=True)
    inputs, targets = arrays_of(item["data"])
    losses = steps(model, inputs, targets, STEPS_BEFORE, STEPS_AFTER)
    np.savez(item["outputs"], **numbered("out", outputs_of(model, inputs)))
    return {"losses": losses, "outputs": item["outputs"]}


COMMANDS = {"make": make, "predict": predict, "evaluate": evaluate, "train": train}


def load(keras, item, compile):
    return keras.models.load_model(item["model"], custom_objects=CUSTOM_OBJECTS, compile=compile)


def steps(model, inputs, targets, first, count):
    """Train on consecutive batches from number ``first`` on; return the losses."""
    losses = []
    for step in range(first, first + count):
        rows = np.arange(step * BATCH, (step + 1) * BATCH) % SAMPLES
        model.reset_metrics()  # Keras 3 would report running means
        logs = model.train_on_batch(
            alone([a[rows] for a in inputs]), alone([a[rows] for a in targets])
        )
        losses.append(float(np.ravel(logs)[0]))
    return losses


def evaluation_of(model, inputs, targets):
    values = model.evaluate(alone(inputs), alone(targets), batch_size=BATCH, verbose=0)
    return [float(v) for v in np.ravel(values)]


def outputs_of(model, inputs):
    outputs = model.predict(alone(inputs), batch_size=BATCH, verbose=0)
    return outputs if isinstance(outputs, (list, tuple)) else [outputs]


def alone(arrays):
    """Return the array of a list of one: tf_keras's metrics want no list around one target."""
    return arrays[0] if len(arrays) == 1 else arrays


def numbered(prefix, arrays):
    return {f"{prefix}_{k}": a for k, a in enumerate(arrays)}


def arrays_of(path):
    """Return inputs and targets stored in an .npz, two lists."""
    with np.load(path) as z:
        return tuple(taken(z, prefix) for prefix in ("in", "tgt"))


def taken(z, prefix):
    return [z[f"{prefix}_{k}"] for k in range(sum(n.startswith(f"{prefix}_") for n in z))]
