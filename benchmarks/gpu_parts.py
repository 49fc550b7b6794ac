"""Parts of training on a GPU for themselves; each prints one line of JSON.

    python -m benchmarks.gpu_parts optimizer|first_step|graphs [--size N] [--seconds S]

optimizer   a step of each rule over ten million weights, beside a copy of as many bytes as it moves
first_step  from the import to the end of a fit of three batches, by when the graph is there
graphs      how many graphs a fit captured and launched, and what a step takes with and without

Where there is no GPU everything runs on the CPU, to try the script out.
"""

import argparse
import json
import statistics
import time

__all__ = ["main"]

WEIGHTS = 10_000_000


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="benchmarks.gpu_parts")
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--size", type=int, default=WEIGHTS, help="number of weights")
    parser.add_argument("--seconds", type=float, default=1.0)
    args = parser.parse_args(arguments)
    started = time.perf_counter()
    import gpunet

    found = {"engine": "gpunet", "version": gpunet.__version__, "device": str(_device())}
    found.update(PARTS[args.part](args, started))
    print(json.dumps(found))


def _device():
    from gpunet import arrays

    return arrays.current_device()


def _wait():
    """Wait for what was asked of the device."""
    cuda = getattr(_device().xp, "cuda", None)
    if cuda is not None:
        cuda.Device().synchronize()


def _per_call(function, seconds, calls=20):
    """Return the median time of a call in seconds; the device works on several at a time."""
    function()
    _wait()
    times, until = [], time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < until:
        started = time.perf_counter()
        for _ in range(calls):
            function()
        _wait()
        times.append((time.perf_counter() - started) / calls)
    return statistics.median(times)


def optimizer(args, _):
    """Measure steps of optimizers."""
    from gpunet import optimizers
    from gpunet.variables import Variable, allocate

    xp = _device().xp
    n = args.size
    shapes = [(n // 2,), (n // 4, 1), (n - n // 2 - n // 4,)]  # neighbours, as in a model
    found = {}
    rules = {"SGD": 3, "SGD momentum": 5, "Adam": 7}  # how often memory is read or written
    for name, moves in rules.items():
        weights = [Variable(lambda s, d: xp.ones(s, d), s, "float32") for s in shapes]
        allocate(weights)
        grads = [xp.full(s, 1e-3, "float32") for s in shapes]
        rule = {
            "SGD": lambda: optimizers.SGD(0.01),
            "SGD momentum": lambda: optimizers.SGD(0.01, momentum=0.9),
            "Adam": lambda: optimizers.Adam(0.001),
        }[name]()
        took = _per_call(lambda: rule.apply(weights, grads), args.seconds)  # noqa: B023
        left, right = (xp.zeros(n * moves // 2, "float32") for _ in range(2))
        copied = _per_call(lambda: left.__setitem__(..., right), args.seconds)  # noqa: B023
        found[name] = {
            "ms": took * 1e3,
            "gb_s": 4 * n * moves / took / 1e9,
            "copy_gb_s": 8 * left.size / copied / 1e9,
            "part_of_copy": copied / took * n * moves / (2 * left.size),
        }
    return {"rules": found}


def _model_and_data(batches):
    import numpy as np

    from benchmarks.workloads import mlp_wide
    from gpunet import layers, models

    class Library:
        """What `benchmarks.workloads` builds models from."""

    Library.layers, Library.models = layers, models
    model = mlp_wide(Library)
    model.compile("rmsprop", "categorical_crossentropy", metrics=["accuracy"])
    rng = np.random.default_rng(0)
    x = rng.random((128 * batches, 784), dtype="float32")
    return model, x, np.eye(10, dtype="float32")[rng.integers(0, 10, len(x))]


def first_step(args, started):
    """Measure what comes before a step costs only the device's time."""
    imported = time.perf_counter() - started
    model, x, y = _model_and_data(3)
    model.fit(x[:128], y[:128], batch_size=128, verbose=0)
    _wait()
    first = time.perf_counter() - started
    model.fit(x, y, batch_size=128, verbose=0)
    _wait()
    return {"import_s": imported, "first_step_s": first,
            "captured_s": time.perf_counter() - started}  # fmt: skip


def graphs(args, _):
    """Count graphs and measure steps with and without them."""
    from gpunet.fused.graphs import Graphs

    counts = {"captured": 0, "launched": 0}
    capture, launch = Graphs.capture, Graphs.launch

    def counted(name, method):
        def call(self, *given):
            counts[name] += 1
            return method(self, *given)

        return call

    Graphs.capture, Graphs.launch = counted("captured", capture), counted("launched", launch)
    batches = max(2, args.size * 400 // WEIGHTS)
    model, x, y = _model_and_data(batches)
    options = {"batch_size": 128, "verbose": 0}
    found = {}
    for way, eagerly in (("graphs", False), ("eager", True)):
        model.run_eagerly = eagerly
        model.fit(x, y, epochs=3, **options)  # all graphs are there
        epoch = _per_call(lambda: model.fit(x, y, epochs=4, **options), args.seconds, 1)
        found[f"{way}_us"] = epoch / 4 / batches * 1e6
    return {"batches": batches, **counts, **found}


PARTS = {"optimizer": optimizer, "first_step": first_step, "graphs": graphs}


if __name__ == "__main__":
    main()
