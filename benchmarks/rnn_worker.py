"""Measures the training step of one recurrent layer in one library; run by `benchmarks.gpu_rnn`.

Prints JSON: milliseconds of forward and backward together, with everything on the GPU.
"""

import argparse
import json
import statistics
import time

import numpy as np

__all__ = ["main", "mask_of"]


def mask_of(case):
    """Return a mask (N, T) with gaps anywhere; no sequence is empty."""
    on = np.random.default_rng(1).random((case.batch, case.steps)) < 0.7
    on[:, 0] = True
    return on


def inputs_of(case):
    shape = (case.batch, case.steps, case.features)
    return np.random.default_rng(0).standard_normal(shape, dtype="float32")


def gpunet_step(case, device):
    """Return (a function that does a step, one that waits for the GPU)."""
    import gpunet
    from gpunet import layers

    gpunet.set_device(device)
    kind = {"lstm": layers.LSTM, "gru": layers.GRU, "simple_rnn": layers.SimpleRNN}[case.cell]
    own = {"reset_after": True} if case.cell == "gru" else {}
    layer = kind(case.units, return_sequences=True, dtype=case.dtype, **own)
    if case.directions == 2:
        layer = layers.Bidirectional(layer, dtype=case.dtype)
    x = gpunet.convert_to_tensor(inputs_of(case).astype(case.dtype))
    mask = gpunet.convert_to_tensor(mask_of(case)) if case.masked else None

    def step():
        with gpunet.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, mask=mask, training=True)
        return tape.gradient(y, [x, *layer.trainable_weights])

    if device == "cpu":
        return step, lambda: None
    import cupy

    return step, lambda: cupy.cuda.Device().synchronize()


def torch_step(case, device):
    import torch
    from torch import nn

    kind = {"lstm": nn.LSTM, "gru": nn.GRU, "simple_rnn": nn.RNN}[case.cell]
    dtype = getattr(torch, case.dtype)
    layer = kind(case.features, case.units, batch_first=True, bidirectional=case.directions == 2)
    layer = layer.to(device, dtype)
    x = torch.from_numpy(inputs_of(case)).to(device, dtype).requires_grad_()
    # Packed sequences end where they end: the nearest that it has to a mask with gaps.
    lengths = torch.from_numpy(mask_of(case).sum(axis=1)) if case.masked else None
    if device == "cpu":
        wait = lambda: None  # noqa: E731
    else:
        wait = torch.cuda.synchronize

    def step():
        if lengths is None:
            y = layer(x)[0]
        else:
            packed = nn.utils.rnn.pack_padded_sequence(
                x, lengths, batch_first=True, enforce_sorted=False
            )
            y = nn.utils.rnn.pad_packed_sequence(layer(packed)[0], batch_first=True)[0]
        return torch.autograd.grad(y.sum(), [x, *layer.parameters()])

    return step, wait


def keras_layer(case):
    from keras import layers

    kind = {"lstm": layers.LSTM, "gru": layers.GRU, "simple_rnn": layers.SimpleRNN}[case.cell]
    layer = kind(case.units, return_sequences=True, dtype=case.dtype)
    if case.directions == 2:
        layer = layers.Bidirectional(layer, dtype=case.dtype)
    layer.build((case.batch, case.steps, case.features))
    return layer


def keras_torch_step(case, device):
    import torch

    layer = keras_layer(case)
    x = torch.from_numpy(inputs_of(case)).to(device, getattr(torch, case.dtype)).requires_grad_()
    mask = torch.from_numpy(mask_of(case)).to(device) if case.masked else None
    weights = [w.value for w in layer.trainable_variables]

    def step():
        y = layer(x, mask=mask) if mask is not None else layer(x)
        return torch.autograd.grad(y.sum(), [x, *weights])

    return step, (lambda: None) if device == "cpu" else torch.cuda.synchronize


def keras_jax_step(case, device):
    import jax

    layer = keras_layer(case)
    x = jax.numpy.asarray(inputs_of(case), case.dtype)
    mask = jax.numpy.asarray(mask_of(case)) if case.masked else None
    fixed = [v.value for v in layer.non_trainable_variables]

    def loss(x, weights):
        given = {} if mask is None else {"mask": mask}
        return layer.stateless_call(weights, fixed, x, **given)[0].sum()

    compiled = jax.jit(jax.grad(loss, (0, 1)))
    weights = [v.value for v in layer.trainable_variables]
    last = []

    def step():
        last[:] = jax.tree_util.tree_leaves(compiled(x, weights))

    return step, lambda: [a.block_until_ready() for a in last]


STEPS = {
    "gpunet": gpunet_step,
    "torch": torch_step,
    "keras-torch": keras_torch_step,
    "keras-jax": keras_jax_step,
}


def measured(step, wait, seconds):
    """Return milliseconds of each round of steps, and how many steps a round has."""
    for _ in range(3):
        step()
    wait()
    started = time.perf_counter()
    step()
    wait()
    each = max(1, int(0.05 / max(time.perf_counter() - started, 1e-6)))
    found, begun = [], time.perf_counter()
    while not found or time.perf_counter() - begun < seconds:
        started = time.perf_counter()
        for _ in range(each):
            step()
        wait()
        found.append((time.perf_counter() - started) / each * 1e3)
    return found, each


def main():
    from benchmarks.rnn_floor import CASES

    parser = argparse.ArgumentParser()
    parser.add_argument("--engine", choices=STEPS, required=True)
    parser.add_argument("--case", choices=CASES, required=True)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--device", default="cuda")
    args = parser.parse_args()
    device = args.device
    if args.engine == "gpunet" and device == "cuda":
        device = "gpu"
    rounds, each = measured(*STEPS[args.engine](CASES[args.case], device), args.seconds)
    print(json.dumps({
        "engine": args.engine, "step_ms": statistics.median(rounds), "best_ms": min(rounds),
        "rounds": len(rounds), "steps": each,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
