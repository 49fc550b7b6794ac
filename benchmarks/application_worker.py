"""Build one model of applications, predict one image at a time, and print times as JSON.

    python -m benchmarks.application_worker --engine gpunet|tf_keras|keras --model NAME

It runs in the library's own environment, so it imports nothing but NumPy and that library.
"""

import argparse
import importlib
import json
import resource
import statistics
import time

import numpy as np

__all__ = ["MODELS"]

MODELS = ("VGG19", "ResNet50", "MobileNetV2", "ResNet152")


def seconds(function, *args, **kwargs):
    """Return (how long a call takes, what it returns)."""
    start = time.perf_counter()
    result = function(*args, **kwargs)
    return time.perf_counter() - start, result


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", required=True)
    parser.add_argument("--model", required=True, choices=MODELS)
    parser.add_argument("--predictions", type=int, default=5)
    args = parser.parse_args()
    library = importlib.import_module(args.engine)

    image = np.random.default_rng(0).random((1, 224, 224, 3), "float32")
    build, model = seconds(getattr(library.applications, args.model), weights=None)
    first, result = seconds(model.predict, image, verbose=0)
    cpu = time.process_time()
    times = [seconds(model.predict, image, verbose=0)[0] for _ in range(args.predictions)]
    cpu = (time.process_time() - cpu) / args.predictions
    print(
        json.dumps(
            {
                "version": library.__version__,
                "parameters": int(model.count_params()),
                "sum": float(np.sum(result)),
                "build_s": build,
                "first_ms": first * 1e3,
                "predict_ms": statistics.median(times) * 1e3,
                "cpu_ms": cpu * 1e3,  # of all threads; other processes change it less
                "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            }
        )
    )


if __name__ == "__main__":
    main()
