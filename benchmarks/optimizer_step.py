"""Time of one optimizer step against plain NumPy, one weight at a time.

    python benchmarks/optimizer_step.py [repeats]

Prints, for a small classifier and for ten million weights, milliseconds per step (the best of
several rounds) of the formula as one writes it down and of gpunet, and their ratio.
"""

import sys
import time

import numpy as np

from gpunet import optimizers
from gpunet.variables import Variable, allocate

MODELS = {
    "784-64-64-10": [(784, 64), (64,), (64, 64), (64,), (64, 10), (10,)],
    "10 M weights": [(3000, 1000), (1000,), (1000, 4000), (4000,), (4000, 748), (748,)],
    "100 small": [(32, 32), (32,)] * 50,
}


class PlainSGD:
    """``w -= rate * g`` for one weight after the other."""

    def __init__(self, weights):
        pass

    def step(self, weights, grads):
        for w, g in zip(weights, grads):
            w -= 0.01 * g


class PlainMomentum:
    """The same with momentum."""

    def __init__(self, weights):
        self.v = [np.zeros_like(w) for w in weights]

    def step(self, weights, grads):
        for w, g, v in zip(weights, grads, self.v):
            v[...] = 0.9 * v - 0.01 * g
            w += v


class PlainAdam:
    """Adam as the paper has it."""

    def __init__(self, weights):
        self.m = [np.zeros_like(w) for w in weights]
        self.v = [np.zeros_like(w) for w in weights]
        self.t = 0

    def step(self, weights, grads):
        self.t += 1
        rate = 0.001 * (1 - 0.999**self.t) ** 0.5 / (1 - 0.9**self.t)
        for w, g, m, v in zip(weights, grads, self.m, self.v):
            m[...] = 0.9 * m + 0.1 * g
            v[...] = 0.999 * v + 0.001 * g**2
            w -= rate * m / (np.sqrt(v) + 1e-7)


RULES = {
    "SGD": (PlainSGD, lambda: optimizers.SGD(0.01)),
    "SGD momentum": (PlainMomentum, lambda: optimizers.SGD(0.01, momentum=0.9)),
    "Adam": (PlainAdam, lambda: optimizers.Adam(0.001)),
}


def best(function, rounds, repeats):
    """Return the shortest mean time of a call, in milliseconds."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(repeats):
            function()
        times.append((time.perf_counter() - start) / repeats)
    return 1000 * min(times)


def main(repeats):
    """Print the table."""
    print(f"{'weights':14s}{'rule':14s}{'NumPy ms':>10s}{'gpunet ms':>11s}{'ratio':>7s}")
    rng = np.random.default_rng(0)
    for label, shapes in MODELS.items():
        grads = [rng.standard_normal(s).astype("float32") for s in shapes]
        count = sum(g.size for g in grads)
        for rule, (plain, make) in RULES.items():
            arrays = [g.copy() for g in grads]
            reference = plain(arrays)
            weights = [Variable(lambda s, d, g=g: g, g.shape, "float32") for g in grads]
            allocate(weights)
            optimizer = make()
            runs = repeats if count > 1e6 else 40 * repeats
            slow = best(lambda: reference.step(arrays, grads), 7, runs)  # noqa: B023
            fast = best(lambda: optimizer.apply(weights, grads), 7, runs)  # noqa: B023
            print(f"{label:14s}{rule:14s}{slow:10.3f}{fast:11.3f}{slow / fast:7.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
