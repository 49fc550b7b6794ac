"""Train the 784-64-64-10 MLP with one library and print its speed as JSON.

    python -m benchmarks.mlp_worker --engine gpunet|tf_keras

It runs in the library's own environment, so it imports nothing but NumPy and that library.
"""

import argparse
import importlib
import json
import time

import numpy as np

__all__ = []

BATCH = 64
STEPS = 100  # in an epoch, and in a sample of train_on_batch
WARM_UP = 20


def build(engine):
    """Return the compiled model; the same code for every engine."""
    layers = importlib.import_module(f"{engine}.layers")
    models = importlib.import_module(f"{engine}.models")
    inputs = layers.Input(shape=(784,))
    x = layers.Dense(64, activation="relu")(inputs)
    x = layers.Dense(64, activation="relu")(x)
    outputs = layers.Dense(10, activation="softmax")(x)
    model = models.Model(inputs=inputs, outputs=outputs)
    model.compile(optimizer="rmsprop", loss="categorical_crossentropy", metrics=["accuracy"])
    return model


def data():
    """Return inputs and one-hot targets for one epoch; a fixed linear rule decides the class."""
    generator = np.random.default_rng(0)
    x = generator.random((BATCH * STEPS, 784), dtype="float32")
    rule = generator.normal(size=(784, 10)).astype("float32")
    y = np.eye(10, dtype="float32")[((x - 0.5) @ rule).argmax(axis=1)]
    return x, y


def measure_steps(model, x, y):
    """Return seconds per call of train_on_batch."""
    batches = [slice(i * BATCH, (i + 1) * BATCH) for i in range(STEPS)]
    for batch in batches[:WARM_UP]:
        model.train_on_batch(x[batch], y[batch])
    started = time.perf_counter()
    for batch in batches:
        model.train_on_batch(x[batch], y[batch])
    return (time.perf_counter() - started) / STEPS


def measure_fit(model, x, y, epochs):
    """Return seconds per step of fit, and the losses of its epochs."""
    model.fit(x, y, batch_size=BATCH, epochs=1, verbose=0)
    started = time.perf_counter()
    history = model.fit(x, y, batch_size=BATCH, epochs=epochs, verbose=0)
    seconds = (time.perf_counter() - started) / (epochs * STEPS)
    return seconds, [float(loss) for loss in history.history["loss"]]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--engine", choices=["gpunet", "tf_keras"], required=True)
    parser.add_argument("--epochs", type=int, default=10)
    args = parser.parse_args()
    x, y = data()
    step = measure_steps(build(args.engine), x, y)
    fit, losses = measure_fit(build(args.engine), x, y, args.epochs)
    result = {
        "train_on_batch_us": step * 1e6,
        "fit_steps_per_s": 1 / fit,
        "losses": losses,
        "version": importlib.import_module(args.engine).__version__,
        "numpy": np.__version__,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
