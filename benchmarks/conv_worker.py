"""Measure one convolution with one library on a GPU and print the seconds as JSON.

    python -m benchmarks.conv_worker --engine NAME --layer NAME [--seconds S]

A step is forward and back, with all gradients that a training step needs. It is timed as a user
calls it (eager), and where the library can, as a CUDA graph.
"""

import argparse
import json
import time

from benchmarks.conv_layers import LAYERS

__all__ = []


def own(layer):
    """Return (version, step, function that makes a graph's launch of it, wait)."""
    import cupy

    import gpunet
    from gpunet import ops
    from gpunet.fused.graphs import Graphs

    random = cupy.random.default_rng(0)

    def array(*shape):
        return random.standard_normal(shape, dtype="float32")

    x = array(layer.batch, layer.size, layer.size, layer.channels)
    k = array(layer.kernel, layer.kernel, layer.channels // layer.groups, layer.filters)
    bias, gy = array(layer.filters), array(layer.batch, layer.out, layer.out, layer.filters)
    options = {"strides": layer.stride, "padding": "same", "groups": layer.groups, "relu": True}
    fusion = next(f for f in ops.conv.fusions if f.when(cupy, x, k, bias, **options))

    def step():
        _, saved = fusion.forward(cupy, x, k, bias, **options)
        return fusion.pull(cupy, saved, gy, [not layer.first, True, True])

    def graph():
        graphs = Graphs(cupy)
        captured, _ = graphs.capture(step)
        return lambda held=graphs: held.launch(captured)

    return gpunet.__version__, step, graph, cupy.cuda.runtime.deviceSynchronize


def torch(layer, way):
    import torch

    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.benchmark = True
    conv = torch.nn.Conv2d(layer.channels, layer.filters, layer.kernel, layer.stride,
                           layer.kernel // 2, groups=layer.groups).cuda()  # fmt: skip
    module = torch.nn.Sequential(conv, torch.nn.ReLU())
    x = torch.randn(layer.batch, layer.channels, layer.size, layer.size, device="cuda")
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

    return torch.__version__, step, graph, torch.cuda.synchronize


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
    parser.add_argument("--engine", required=True)
    parser.add_argument("--layer", required=True, choices=LAYERS)
    parser.add_argument("--seconds", type=float, default=0.5)
    args = parser.parse_args()
    layer = LAYERS[args.layer]
    made = own(layer) if args.engine == "gpunet" else torch(layer, args.engine)
    version, step, graph, wait = made
    for _ in range(3):
        step()  # what is compiled, chosen and allocated at first
    wait()
    result = {"engine": args.engine, "version": version}
    result["eager"] = seconds_of(step, wait, args.seconds)
    try:
        result["graph"] = seconds_of(graph(), wait, args.seconds)
    except Exception as error:  # what can't be captured is measured as it is called
        result["graph_error"] = f"{type(error).__name__}: {error}"[:500]
    print(json.dumps(result))


if __name__ == "__main__":
    main()
