"""How fast this machine could be at best: its matrix products, its copies, a model's work."""

import math
import time

import numpy as np

__all__ = ["rates", "work"]


def best(task, repeats=15):
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        task()
        times.append(time.perf_counter() - started)
    return min(times)


def rates():
    """Return the measured FLOP/s of a large product and bytes/s, read and written, of copies.

    Both on all cores: the product by BLAS's threads, the copies by those of `gpunet.threads`.
    """
    from gpunet import threads

    a = np.random.default_rng(0).random((2048, 2048), dtype="float32")
    out = np.empty_like(a)
    flops = 2 * 2048**3 / best(lambda: np.matmul(a, a, out=out))
    source, target = np.ones(2**26, "float32"), np.zeros(2**26, "float32")
    part = 2**20

    def copy(i):
        target[i * part : (i + 1) * part] = source[i * part : (i + 1) * part]

    seconds = best(lambda: threads.spread(len(source) // part, lambda: copy))
    return {"flops": flops, "bytes": 2 * source.nbytes / seconds}


def _positions(layer, kind):
    """Return how often a layer's kernels are used for one sample."""
    shape = layer.input_shape if "Transpose" in kind else layer.output_shape
    if kind.startswith("Dense"):
        return math.prod(layer.output_shape[1:-1])
    if kind.startswith("ConvLSTM"):
        return layer.input_shape[1] * math.prod(layer.output_shape[-3:-1])
    if kind.startswith("Conv"):
        return math.prod(shape[1:-1])
    return layer.input_shape[1]  # recurrent: the steps


def work(workload):
    """Return FLOPs and bytes of one step of the direct method: a training step, or a prediction.

    FLOPs are those of kernels: outputs, their gradients for kernels and, but for the first layer,
    for inputs.  Bytes: each layer reads its input and writes its output once, and both of their
    gradients as well as the input again on the way back; weights are read twice, and written with
    their gradient and one slot of the optimizer.
    """
    import gpunet

    model = workload.build(gpunet)
    flops = moved = 0
    with_kernels = 0
    for layer in model.layers:
        kind = type(layer).__name__
        if kind == "InputLayer":
            continue
        calls = len(layer._inbound_nodes)
        kernels = [w for w in layer.weights if "kernel" in w.name]
        sizes = sum(math.prod(w.shape) for w in kernels)
        if kernels:
            with_kernels += 1
            passes = 1 if not workload.trains else 2 if with_kernels == 1 else 3
            flops += 2 * sizes * _positions(layer, kind) * workload.batch * calls * passes
        shapes = [*_shapes(layer.input_shape), *_shapes(layer.output_shape)]
        numbers = sum(math.prod(s[1:]) for s in shapes) * workload.batch * calls
        weights = sum(math.prod(w.shape) for w in layer.weights) if kind != "Embedding" else 0
        moved += 4 * (numbers * (3 if workload.trains else 1))
        moved += 4 * weights * (7 if workload.trains else 1)
    return {"flops": flops, "bytes": moved}


def _shapes(shape):
    return list(shape) if isinstance(shape, list) else [shape]
