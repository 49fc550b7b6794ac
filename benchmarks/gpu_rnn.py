"""A recurrent layer's training step on a GPU beside PyTorch and Keras 3, and beside a prediction.

    python -m benchmarks gpu-rnn [--peers torch,keras-torch,keras-jax] [--cases a,b] [--rounds N]
        [--time-per-case SECONDS] [--budget SECONDS] --json FOLDER

One layer that returns sequences: forward, and back to its inputs and weights.  PyTorch's masked
cases are packed sequences of the same number of steps, without gaps.  `benchmarks.rnn_floor` has
the cases and predicts.
"""

import argparse
import dataclasses
import os
import statistics
import sys
import time
from pathlib import Path

from benchmarks import gpu
from benchmarks.common import RESULTS, Report, child, interleaved
from benchmarks.rnn_floor import CASES, Costs, predicted

__all__ = ["main"]

LONGEST = 60  # seconds that a case may take; less left of the budget, and none is begun
ENGINES = {**gpu.OWN, **{p: gpu.PEERS[p] for p in ("torch", "keras-torch", "keras-jax")}}


def main(arguments=None):
    args = _arguments(arguments)
    started = time.perf_counter()
    engines, notes = gpu._there({name: ENGINES[name] for name in ("gpunet", *args.peers)})
    samples = {}
    for case in args.cases:
        for turn, engine in enumerate(interleaved(engines, args.rounds)):
            if time.perf_counter() - started > args.budget - LONGEST:
                notes.append(f"the budget ended before {case}/{engine}/{turn}")
                break
            samples[f"{case}/{engine}/{turn}"] = _run(engine, engines[engine][2], case, args)
    notes += [f"failed: {key}" for key, s in samples.items() if "error" in s]
    _show(engines, samples, notes, args)


def _arguments(arguments):
    parser = argparse.ArgumentParser(prog="benchmarks gpu-rnn", description=__doc__.split("\n")[0])
    parser.add_argument("--peers", default=",".join(list(ENGINES)[1:]))
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--time-per-case", type=float, default=0.5, metavar="SECONDS")
    parser.add_argument("--budget", type=float, default=1e9, metavar="SECONDS")
    parser.add_argument("--json", type=Path, default=RESULTS, metavar="FOLDER")
    args = parser.parse_args(arguments)
    for name, known in (("peers", list(ENGINES)[1:]), ("cases", CASES)):
        chosen = [n for n in getattr(args, name).split(",") if n]
        unknown = [n for n in chosen if n not in known]
        if unknown:
            parser.error(f"--{name}: unknown {','.join(unknown)}; known are {','.join(known)}")
        setattr(args, name, chosen)
    return args


def _run(engine, backend, case, args):
    """Return the sample of one process, or what went wrong in it."""
    variables = {
        "GPUNET_DEVICE": "gpu",
        "CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "JAX_PLATFORMS": "cuda",
        "PYTHONPATH": os.environ.get("PYTHONPATH"),
        "KERAS_BACKEND": backend,
    }
    options = ["--engine", engine, "--case", case, "--seconds", str(args.time_per_case)]
    try:
        return child(sys.executable, "-m", "benchmarks.rnn_worker", *options, variables=variables)
    except SystemExit as error:
        print(f"{case} {engine}: {str(error)[-800:]}", flush=True)
        return {"error": str(error)[-4000:]}


def _show(engines, samples, notes, args):
    peers = [e for e in engines if e != "gpunet"]
    rows, predictions = [], {}
    for name in args.cases:
        p = predictions[name] = predicted(CASES[name])
        found = {}
        for engine in engines:
            own = [s["step_ms"] for k, s in samples.items()
                   if k.startswith(f"{name}/{engine}/") and "error" not in s]  # fmt: skip
            found[engine] = statistics.median(own) if own else None
        own = found.get("gpunet")
        target = CASES[name].target_ms
        row = [name, f"{p['step_ms']:.2f}", "" if target is None else f"{target}"]
        row += ["" if found[e] is None else f"{found[e]:.3f}" for e in engines]
        row += [f"{found[e] / own:.2f}" if own and found[e] else "" for e in peers]
        rows.append(tuple(row))
    seen = gpu._clocks()
    report = Report(
        name=f"gpu-rnn-{gpu._name([seen])}",
        title="recurrent layers, training step in ms, forward and back (predicted: a model)",
        columns=("", "predicted", "target", *engines, *[f"{e} / gpunet" for e in peers]),
        rows=rows,
        samples={"processes": samples, "clocks": seen, "predictions": predictions},
        settings={
            "cases": {n: dataclasses.asdict(CASES[n]) for n in args.cases},
            "costs": dataclasses.asdict(Costs()),
            "rounds": args.rounds,
            "time_per_case": args.time_per_case,
        },
        notes=notes,
    )
    report.show()
    print(f"written: {report.write(args.json)}")
