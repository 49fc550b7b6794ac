"""What an op with its backward costs beyond the NumPy work in it.

A chain of equal ops runs under a tape and is differentiated; then the same NumPy calls, forward and
backward, run plainly. The difference, divided by the length of the chain, is the overhead.
"""

import time

import numpy as np

from benchmarks.common import Report, spread

__all__ = ["NAME", "ROUNDS", "run"]

NAME = "op_overhead"
ROUNDS = 15
LENGTH = 50  # ops in a chain
REPEATS = 20  # chains in a sample
SIDE = 16  # arrays are SIDE x SIDE, float32


def cases(ops, constant):
    """Return name -> (op of one tensor, NumPy forward, NumPy backward).

    Args:
        ops: gpunet's ops.
        constant: array that serves as the second input of binary ops.

    Returns:
        Dict; a forward takes x and a backward takes the incoming gradient and x.
    """
    import gpunet

    other = gpunet.convert_to_tensor(constant)
    return {
        "add": (lambda x: ops.add(x, other), lambda x: x + constant, lambda gy, x: gy),
        "multiply": (
            lambda x: ops.multiply(x, other),
            lambda x: x * constant,
            lambda gy, x: gy * constant,
        ),
        "relu": (ops.relu, lambda x: np.maximum(x, 0), lambda gy, x: gy * (x > 0)),
        "matmul": (
            lambda x: ops.matmul(x, other),
            lambda x: x @ constant,
            lambda gy, x: gy @ constant.T,
        ),
        "sum": (
            lambda x: ops.sum(x, axis=0, keepdims=True),
            lambda x: x.sum(axis=0, keepdims=True),
            lambda gy, x: np.broadcast_to(gy, x.shape),
        ),
    }


def taped(op, array):
    """Run a chain of an op under a tape and return its gradient."""
    import gpunet

    x = gpunet.convert_to_tensor(array)
    with gpunet.GradientTape() as tape:
        tape.watch(x)
        y = x
        for _ in range(LENGTH):
            y = op(y)
    return tape.gradient(y, x)


def plain(forward, backward, array):
    """Do the same work with NumPy alone."""
    inputs, y = [], array
    for _ in range(LENGTH):
        inputs.append(y)
        y = forward(y)
    gradient = np.ones_like(y)
    for x in reversed(inputs):
        gradient = backward(gradient, x)
    return gradient


def microseconds(function, *arguments):
    """Return the time of one op in a chain."""
    started = time.perf_counter()
    for _ in range(REPEATS):
        function(*arguments)
    return (time.perf_counter() - started) / (REPEATS * LENGTH) * 1e6


def run(rounds, peer_python=None):
    """Measure the overhead of a few ops on small arrays, in this process.

    Args:
        rounds: samples of each op.
        peer_python: not used; there is no peer for this one.

    Returns:
        Report.
    """
    import gpunet

    generator = np.random.default_rng(0)
    array = generator.uniform(0.5, 1.5, (SIDE, SIDE)).astype("float32")
    constant = np.linalg.qr(generator.normal(size=(SIDE, SIDE)))[0].astype("float32")
    samples, rows = {}, []
    with gpunet.device("cpu"):
        table = cases(gpunet.ops, constant)
        for name, (op, forward, backward) in table.items():
            check(name, taped(op, array), plain(forward, backward, array))
            samples[name] = {"gpunet_us": [], "numpy_us": []}
        for _ in range(rounds):
            for name, (op, forward, backward) in table.items():
                samples[name]["gpunet_us"].append(microseconds(taped, op, array))
                samples[name]["numpy_us"].append(microseconds(plain, forward, backward, array))
    for name, times in samples.items():
        pairs = zip(times["gpunet_us"], times["numpy_us"], strict=True)
        times["overhead_us"] = [ours - numpys for ours, numpys in pairs]
        rows.append((name, *(spread(times[key], 2) for key in times)))
    return Report(
        name=NAME,
        title=f"op with its backward, float32 {SIDE}x{SIDE}, microseconds per op, median (range)",
        columns=("op", "gpunet", "NumPy alone", "overhead"),
        rows=rows,
        samples=samples,
        settings={"rounds": rounds, "length": LENGTH, "repeats": REPEATS, "side": SIDE},
    )


def check(name, gradient, expected):
    """Stop where the two chains don't compute the same."""
    if not np.allclose(np.asarray(gradient), expected, rtol=1e-3, atol=1e-5):
        raise SystemExit(f"op_overhead: {name}: gpunet's gradient isn't NumPy's")
