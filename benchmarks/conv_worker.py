"""Measure one convolution with one library on a GPU and print the seconds as JSON.

    python -m benchmarks.conv_worker --engine NAME --layer NAME [--seconds S] [--device cpu]

A step is forward and back, with all gradients that a training step needs. It is timed as a user
calls it (eager), and where the library can, as a CUDA graph. On a CPU, to try the script out, the
first of the two alone.

gpunet   our kernels, as they are chosen without trying
tuned    our kernels, the fastest that were tried
cudnn    cuDNN through our binding: the fastest of the plans that it ranks first
"""

import argparse
import json
import time

from benchmarks.conv_layers import LAYERS

__all__ = []


def own(layer, way, device):
    """Return (version, step, function that makes a graph's launch of it, wait)."""
    import gpunet
    from gpunet import arrays, config, ops
    from gpunet.fused.graphs import Graphs

    gpunet.set_device("gpu" if device == "cuda" else device)
    xp = arrays.current_device().xp
    random = xp.random.default_rng(0)

    def array(*shape):
        return random.standard_normal(shape, dtype="float32")

    x = array(layer.batch, layer.size, layer.size, layer.channels)
    k = array(layer.kernel, layer.kernel, layer.channels // layer.groups, layer.filters)
    bias, gy = array(layer.filters), array(layer.batch, layer.out, layer.out, layer.filters)
    options = {"strides": layer.stride, "padding": "same", "groups": layer.groups, "relu": True}
    fusions = [f for f in ops.conv.fusions if f.when(xp, x, k, bias, **options)]
    fusion = fusions[-1 if way == "cudnn" else 0]  # the first may be a matrix product

    def step():
        _, saved = fusion.forward(xp, x, k, bias, **options)
        return fusion.pull(xp, saved, gy, [not layer.first, True, True])

    def graph():
        graphs = Graphs(xp)
        captured, _ = graphs.capture(step)
        return lambda held=graphs: held.launch(captured)

    config.set_cudnn("always" if way == "cudnn" else "never")
    if way == "cudnn":
        _check_who_works(step, 2 if layer.first else 3)
    wait = xp.cuda.runtime.deviceSynchronize if device == "cuda" else lambda: None
    return gpunet.__version__, step, graph, wait


def _check_who_works(step, directions):
    """Raise an error if not all directions of a step are cuDNN's: it would measure our kernels."""
    from gpunet.fused.cudnn_plans import Plan

    run, seen = Plan.run, set()

    def watched(self, *args):
        seen.add(self.c.way)
        return run(self, *args)

    Plan.run = watched
    try:
        step()
    finally:
        Plan.run = run
    if len(seen) < directions:
        raise RuntimeError(f"cuDNN has plans for {', '.join(sorted(seen)) or 'nothing'} alone")


def torch(layer, way, device):
    import torch

    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.benchmark = True
    conv = torch.nn.Conv2d(layer.channels, layer.filters, layer.kernel, layer.stride,
                           layer.kernel // 2, groups=layer.groups).to(device)  # fmt: skip
    module = torch.nn.Sequential(conv, torch.nn.ReLU())
    x = torch.randn(layer.batch, layer.channels, layer.size, layer.size, device=device)
    if way != "torch":
        module = module.to(memory_format=torch.channels_last)
        x = x.to(memory_format=torch.channels_last)
    x.requires_grad_(not layer.first)
    wanted = [*conv.parameters(), *([] if layer.first else [x])]
    gy = torch.randn_like(module(x))
    if way == "torch-compile":
        module = torch.compile(module)

    def step():
        return torch.autograd.grad(module(x), wanted, gy)

    def graph():
        aside = torch.cuda.Stream()
        with torch.cuda.stream(aside):
            step()
        torch.cuda.current_stream().wait_stream(aside)
        captured = torch.cuda.CUDAGraph()
        with torch.cuda.graph(captured):
            step()
        return captured.replay

    return torch.__version__, step, graph, _torch_wait(device)


def _torch_wait(device):
    import torch

    return torch.cuda.synchronize if device == "cuda" else lambda: None


def _keras_layer(layer):
    from keras import layers

    options = {"strides": layer.stride, "padding": "same", "activation": "relu"}
    if layer.groups == layer.channels > 1:
        made = layers.DepthwiseConv2D(layer.kernel, **options)
    else:
        made = layers.Conv2D(layer.filters, layer.kernel, groups=layer.groups, **options)
    made.build((layer.batch, layer.size, layer.size, layer.channels))
    return made


def _arrays(layer):
    import numpy as np

    random = np.random.default_rng(0)
    return [random.standard_normal((layer.batch, n, n, c), "float32")
            for n, c in ((layer.size, layer.channels), (layer.out, layer.filters))]  # fmt: skip


def keras_torch(layer, way, device):
    import keras
    import torch

    torch.backends.cudnn.benchmark = True
    made = _keras_layer(layer)
    x, gy = (torch.from_numpy(a).to(device) for a in _arrays(layer))
    x.requires_grad_(not layer.first)
    wanted = [w.value for w in made.trainable_variables] + ([] if layer.first else [x])

    def step():
        return torch.autograd.grad(made(x), wanted, gy)

    return keras.__version__, step, None, _torch_wait(device)


def keras_jax(layer, way, device):
    """As Keras runs it in `fit`: compiled by XLA, which is what comes nearest to a graph."""
    import jax
    import keras

    made = _keras_layer(layer)
    x, gy = map(jax.numpy.asarray, _arrays(layer))
    weights, last = [v.value for v in made.trainable_variables], []

    def product(weights, x):
        return (made.stateless_call(weights, [], x)[0] * gy).sum()

    compiled = jax.jit(jax.grad(product, 0 if layer.first else (0, 1)))

    def step():
        last[:] = jax.tree_util.tree_leaves(compiled(weights, x))

    return keras.__version__, step, None, lambda: [a.block_until_ready() for a in last]


ENGINES = {
    **dict.fromkeys(("gpunet", "tuned", "cudnn"), own),
    **dict.fromkeys(("torch", "torch-last", "torch-compile"), torch),
    "keras-torch": keras_torch,
    "keras-jax": keras_jax,
}


def seconds_of(run, wait, seconds):
    """Return the shortest mean time of a call in a series, of several series."""
    run()
    wait()
    started = time.perf_counter()
    run()
    wait()
    count = max(3, int(seconds / 10 / max(time.perf_counter() - started, 1e-6)))
    found = []
    for _ in range(10):
        started = time.perf_counter()
        for _ in range(count):
            run()
        wait()
        found.append((time.perf_counter() - started) / count)
    return min(found)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--engine", required=True, choices=ENGINES)
    parser.add_argument("--layer", required=True, choices=LAYERS)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    args = parser.parse_args()
    layer = LAYERS[args.layer]
    version, step, graph, wait = ENGINES[args.engine](layer, args.engine, args.device)
    for _ in range(3):
        step()  # what is compiled, chosen and allocated at first
    wait()
    result = {"engine": args.engine, "version": version}
    result["eager"] = seconds_of(step, wait, args.seconds)
    try:
        if graph is not None and args.device == "cuda":
            result["graph"] = seconds_of(graph(), wait, args.seconds)
    except Exception as error:  # what can't be captured is measured as it is called
        result["graph_error"] = f"{type(error).__name__}: {error}"[:500]
    print(json.dumps(result))


if __name__ == "__main__":
    main()
