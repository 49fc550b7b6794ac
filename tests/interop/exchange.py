"""Models, optimizers and the things done with them on either side of an exchange of files.

Every function takes the Keras to work with, ``keras``: gpunet in the tests, tf_keras or Keras 3 in
the peers. Only the classic API is used, and NumPy.
"""

from pathlib import Path

import numpy as np
import zoo_applications
import zoo_chains
import zoo_graphs

SAMPLES, BATCH = 40, 8
STEPS_BEFORE, STEPS_AFTER = 3, 5  # training steps before a file is written, and after


def double(x):
    """Return twice ``x``."""
    return x * 2.0


def custom_objects(keras):
    """Return the custom objects of all models."""
    # By its own name, as gpunet writes it, and by the layer's, for tf_keras's bytecode.
    found = {"double": double, "doubled": double, "Scaled": zoo_graphs.scaled(keras)}
    if keras.__name__ == "tf_keras":  # which forgets to register this layer of its own
        found["SpectralNormalization"] = keras.layers.SpectralNormalization
    return found


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
ZOO = {**zoo_chains.CHAINS, **zoo_graphs.GRAPHS}
# Training draws random numbers.
# Models that take no training steps; their name says so to the readers.
UNTRAINED = {"conv2d_groups": "untrained"}  # TensorFlow has no such gradients on CPUs
RANDOM = {"mlp_sequential", *zoo_chains.RANDOM, *zoo_graphs.RANDOM}

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


# The rules that Keras has since 2.11; tf_keras writes them under these classes.
NEWER = {
    "new_sgd": ("SGD", {"learning_rate": 0.05, "momentum": 0.9}),
    "new_rmsprop": ("RMSprop", {"learning_rate": 0.01, "momentum": 0.5, "centered": True}),
    "new_adagrad": ("Adagrad", {"learning_rate": 0.05}),
    "new_adadelta": ("Adadelta", {"learning_rate": 1.0}),
    "new_adam": ("Adam", {"learning_rate": 0.01, "amsgrad": True}),
    "new_adamw": ("AdamW", {"learning_rate": 0.01, "weight_decay": 0.01}),
    "new_adamax": ("Adamax", {"learning_rate": 0.02}),
    "new_nadam": ("Nadam", {"learning_rate": 0.01}),
    "new_ftrl": ("Ftrl", {"learning_rate": 0.1}),
}


def build(keras, name):
    """Return a model by its name, and its compile options without the optimizer."""
    if name in MODELS:
        return MODELS[name][0](keras), MODELS[name][1]
    if name in zoo_graphs.GRAPHS:
        return ZOO[name][1](keras), REAL
    (shape,), make_layers = shapes_of(name), ZOO[name][1]
    kind = {"dtype": "int32"} if ZOO[name][0][0] == "ids" else {}
    x = inputs = keras.Input(shape=shape, **kind)
    for layer in make_layers(keras.layers):
        x = layer(x)
    return keras.models.Model(inputs, x, name=UNTRAINED.get(name)), REAL


def shapes_of(name):
    """Return the shapes of the inputs of a model of the zoo, without the batch axis."""
    given = ZOO[name][0]
    return [
        s[1] if s and s[0] == "ids" else s
        for s in (given if name in zoo_graphs.GRAPHS else [given])
    ]


def optimizer(keras, name):
    """Return a fresh optimizer by its name in ``OPTIMIZERS`` or ``NEWER``."""
    kind, config = {**OPTIMIZERS, **NEWER}[name]
    if keras.__name__ == "tf_keras" and name in OPTIMIZERS:
        return getattr(keras.optimizers.legacy, kind)(**config)
    if keras.__name__ == "gpunet" and name in NEWER:
        config = {**config, "is_legacy_optimizer": False}
    return getattr(keras.optimizers, kind)(**config)


def data_of(name, model):
    """Return the inputs and targets of a model, two lists of arrays."""
    rng = np.random.RandomState(31)
    if name in ZOO:
        given = ZOO[name][0] if name in zoo_graphs.GRAPHS else [ZOO[name][0]]
        inputs = [
            rng.randint(0, zoo_chains.IDS, (SAMPLES, *s[1])).astype("int32")
            if s and s[0] == "ids"
            else rng.standard_normal((SAMPLES, *s)).astype("float32")
            for s in given
        ]
        outputs = [t.shape for t in model.outputs]
        return inputs, [rng.random_sample((SAMPLES, *s[1:])).astype("float32") for s in outputs]
    x = rng.standard_normal((SAMPLES, 12)).astype("float32")
    arrays = {
        "x": x,
        "left": x[:, :6],
        "right": x[:, 6:],
        "kind": np.eye(5, dtype="float32")[x[:, :5].argmax(axis=1)],
        "flag": (x[:, 6:].sum(axis=1, keepdims=True) > 0).astype("float32"),
        "real": (x[:, :3] * x[:, 3:6] + x[:, 6:9]).astype("float32"),
    }
    return tuple([arrays[key] for key in names] for names in MODELS[name][2:])


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
    model, options = build(keras, item["model"])
    inputs, targets = data_of(item["model"], model)
    if len(targets) > 1:  # tf_keras and Keras 3 want one list of metrics for each output
        options = {k: v for k, v in options.items() if k != "metrics" or isinstance(v, dict)}
    model.compile(optimizer=optimizer(keras, item["optimizer"]), **options)
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


def read(keras, item):
    """Load ``item["model"]`` compiled; predict, evaluate and go on training."""
    model = load(keras, item, compile=True)
    inputs, targets = arrays_of(item["data"])
    before = numbered("out", outputs_of(model, inputs))
    result = {
        "evaluate": evaluation_of(model, inputs, targets),
        "losses": steps(model, inputs, targets, STEPS_BEFORE, STEPS_AFTER),
        "outputs": item["outputs"],
    }
    np.savez(item["outputs"], **before, **numbered("after", outputs_of(model, inputs)))
    return result


COMMANDS = {"make": make, "predict": predict, "read": read, **zoo_applications.COMMANDS}


def load(keras, item, compile):
    return keras.models.load_model(
        item["model"], custom_objects=custom_objects(keras), compile=compile
    )


def steps(model, inputs, targets, first, count):
    """Train on consecutive batches from number ``first`` on; return the losses."""
    losses = []
    if model.name in UNTRAINED.values():
        return losses
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
