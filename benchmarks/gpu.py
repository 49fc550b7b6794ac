"""Training and prediction on a GPU beside PyTorch and Keras 3, for the models of `benchmarks cpu`.

    python -m benchmarks gpu
        [--peers torch,torch-last,torch-compile,torch-graphs,keras-torch,keras-jax]
        [--parts graphs,first_step,optimizer] [--workloads a,b] [--rounds N]
        [--time-per-case SECONDS] [--budget SECONDS] --json FOLDER

Before the models come the parts of `benchmarks.gpu_parts`; what a first step takes is measured with
an empty cache of compiled kernels and once more with the full one.  Each measurement is a fresh
process of the Python that runs this: what it can't import is named and left out.  Samples are kept
in FOLDER as they come, so that a run that was cut short, or stopped before its budget was used up,
goes on where it ended.
"""

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.common import RESULTS, Report, child, interleaved
from benchmarks.cpu import MODES, table
from benchmarks.workloads import WORKLOADS

__all__ = ["main"]

# Engine -> (engine of the worker, package it needs, Keras's backend).
PEERS = {
    "torch": ("torch", "torch", None),
    "torch-last": ("torch-last", "torch", None),
    "torch-compile": ("torch-compile", "torch", None),
    "torch-graphs": ("torch-graphs", "torch", None),
    "keras-torch": ("keras-torch", "keras", "torch"),
    "keras-jax": ("keras-jax", "keras", "jax"),
}
OWN = {"gpunet": ("gpunet", "cupy", None)}
PARTS = ("graphs", "first_step", "optimizer")
# What is to be reached on an H200: (words, workload, engine beside it, limit), where the limit is a
# number of microseconds, or how many times as long the other engine takes at least.
TARGETS = (
    ("MLP 784-512-512-10, batch 128, us a step in fit", "mlp_wide", None, 60.0),
    ("  times as fast as PyTorch eager", "mlp_wide", "torch", 8.0),
    ("  times as fast as PyTorch with graphs", "mlp_wide", "torch-graphs", 1.5),
    ("  times as fast as PyTorch compile", "mlp_wide", "torch-compile", 1.5),
    ("  times as fast as Keras on JAX", "mlp_wide", "keras-jax", 10.0),
    ("toy ResNet, batch 64, times as fast as PyTorch eager", "toy_resnet", "torch", 3.0),
    ("  times as fast as PyTorch with graphs", "toy_resnet", "torch-graphs", 1.2),
    ("  times as fast as PyTorch compile", "toy_resnet", "torch-compile", 1.2),
)
LONGEST = 90  # seconds that a case may take; less left of the budget, and none is begun


def main(arguments=None):
    args = _arguments(arguments)
    started = time.perf_counter()
    engines, notes = _there({**OWN, **{p: PEERS[p] for p in args.peers}})
    args.json.mkdir(parents=True, exist_ok=True)
    store = args.json / "gpu-samples.json"
    samples = json.loads(store.read_text(encoding="utf8")) if store.exists() else {}
    clocks = [_clocks()]
    for part in args.parts:
        for temperature in ("cold", "warm") if part == "first_step" else ("warm",):
            key = f"part {part}/{temperature}/0"
            if key in samples or time.perf_counter() - started > args.budget - LONGEST:
                continue
            samples[key] = _run_part(part, temperature == "cold", args)
            store.write_text(json.dumps(samples), encoding="utf8")
    for workload in args.workloads:
        for turn, engine in enumerate(interleaved(engines, args.rounds)):
            key = f"{workload}/{engine}/{turn}"
            if key in samples:
                continue
            if time.perf_counter() - started > args.budget - LONGEST:
                notes.append(f"the budget ended before {key}")
                break
            samples[key] = _run(engine, engines[engine], workload, args.time_per_case)
            store.write_text(json.dumps(samples), encoding="utf8")
    clocks.append(_clocks())
    _show(engines, samples, clocks, notes, args)


def _arguments(arguments):
    parser = argparse.ArgumentParser(prog="benchmarks gpu", description=__doc__.split("\n")[0])
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--workloads", default=",".join(w for w in WORKLOADS))
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--size", type=int, default=10_000_000, help="weights of an optimizer")
    parser.add_argument("--time-per-case", type=float, default=1.0, metavar="SECONDS")
    parser.add_argument("--budget", type=float, default=1e9, metavar="SECONDS")
    parser.add_argument("--json", type=Path, default=RESULTS, metavar="FOLDER")
    args = parser.parse_args(arguments)
    for name, known in (("peers", PEERS), ("workloads", WORKLOADS), ("parts", PARTS)):
        chosen = [n for n in getattr(args, name).split(",") if n]
        unknown = [n for n in chosen if n not in known]
        if unknown:
            parser.error(f"--{name}: unknown {','.join(unknown)}; known are {','.join(known)}")
        setattr(args, name, chosen)
    return args


def _there(engines):
    """Return the engines whose packages can be imported, and a note for each other."""
    found, notes = {}, []
    for name, (worker, package, backend) in engines.items():
        missing = [p for p in (package, backend) if p and importlib.util.find_spec(p) is None]
        if missing:
            notes.append(f"{name} was left out: {', '.join(missing)} can't be imported here")
        else:
            found[name] = (worker, package, backend)
    return found, notes


def _run_part(part, cold, args):
    """Return what a part of `benchmarks.gpu_parts` found, or what went wrong in it."""
    cache = args.json / "kernel-cache"
    if cold:
        shutil.rmtree(cache, ignore_errors=True)
    variables = {
        **variables_of(None), "GPUNET_DEVICE": "auto", "CUPY_CACHE_DIR": str(cache.resolve())
    }  # fmt: skip
    try:
        return child(sys.executable, "-m", "benchmarks.gpu_parts", part, "--size", str(args.size),
                     "--seconds", str(args.time_per_case), variables=variables)  # fmt: skip
    except SystemExit as error:
        print(f"{part}: {str(error)[-800:]}", flush=True)
        return {"error": str(error)[-4000:]}


def _targets(found, samples):
    """Return a Report of what was to be reached and what was measured."""
    rows = []
    for words, workload, other, limit in TARGETS:
        own = _least(found, workload, "gpunet")
        if own is not None and other is None:
            rows.append((words, f"<= {limit:g}", f"{own * 1e3:.1f}", _yes(own * 1e3 <= limit)))
        elif own is not None and (theirs := _least(found, workload, other)) is not None:
            rows.append(
                (words, f">= {limit:g}", f"{theirs / own:.2f}", _yes(theirs / own >= limit))
            )
    for rule, values in samples.get("part optimizer/warm/0", {}).get("rules", {}).items():
        part = values["part_of_copy"]
        rows.append((f"{rule} over 10 M weights, part of the speed of a copy", ">= 0.8",
                     f"{part:.2f}", _yes(part >= 0.8)))  # fmt: skip
    for temperature, limit in (("warm", 3.0), ("cold", 20.0)):
        took = samples.get(f"part first_step/{temperature}/0", {}).get("captured_s")
        if took is not None:
            words = f"from the import to captured steps, {temperature} cache, s"
            rows.append((words, f"<= {limit:g}", f"{took:.2f}", _yes(took <= limit)))
    columns = ("target on an H200", "wanted", "found", "reached")
    return Report("targets", "targets", columns, rows, samples={}, settings={})


def _yes(reached):
    return "yes" if reached else "no"


def _least(found, workload, engine):
    times = [s["fit_ms"] for s in found.get(workload, {}).get(engine, []) if "fit_ms" in s]
    return min(times, default=None)


def variables_of(backend):
    """Return the environment variables of a process that measures, for `common.child`."""
    return {
        "GPUNET_DEVICE": "gpu",
        "CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "JAX_PLATFORMS": "cuda",
        "PYTHONPATH": os.environ.get("PYTHONPATH"),
        "KERAS_BACKEND": backend,
    }


def _run(engine, how, workload, seconds):
    """Return the sample of one process, or what went wrong in it."""
    worker, _, backend = how
    options = ["--engine", worker, "--device", "cuda", "--workload", workload]
    try:
        return child(sys.executable, "-m", "benchmarks.worker", *options,
                     "--seconds", str(seconds), variables=variables_of(backend))  # fmt: skip
    except SystemExit as error:
        print(f"{workload} {engine}: {str(error)[-800:]}", flush=True)
        return {"error": str(error)[-4000:]}


def _show(engines, samples, clocks, notes, args):
    found = {
        w: {
            e: [s for k, s in samples.items() if k.startswith(f"{w}/{e}/") and "error" not in s]
            for e in engines
        }
        for w in args.workloads
    }
    notes += [f"failed: {key}" for key, s in samples.items() if "error" in s]
    reports = [table(mode, words, engines, found) for mode, words in MODES.items()]
    reports.append(_targets(found, samples))
    for report in reports:
        report.show()
    for note in notes:
        print(note)
    whole = Report(
        name=_name(clocks),
        title="gpu",
        columns=("table", "rows"),
        rows=[(r.title, [dict(zip(r.columns, row)) for row in r.rows]) for r in reports],
        samples={"processes": samples, "clocks": clocks},
        settings={k: v for k, v in vars(args).items() if k != "json"},
        versions={s["engine"]: s["version"] for s in samples.values() if "engine" in s},
        notes=notes,
    )
    print(f"written: {whole.write(args.json)}")


def _clocks():
    """Return what nvidia-smi says of the GPU, or why it doesn't."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return {"error": "nvidia-smi is missing"}
    fields = "name,driver_version,clocks.sm,clocks.mem,clocks.max.sm,temperature.gpu,power.draw"
    done = subprocess.run([tool, f"--query-gpu={fields}", "--format=csv,noheader"],
                          capture_output=True, text=True, check=False)  # fmt: skip
    if done.returncode or not done.stdout.strip():
        return {"error": done.stderr.strip()[-300:]}
    values = [v.strip() for v in done.stdout.splitlines()[0].split(",")]
    return dict(zip(fields.split(","), values))


def _name(clocks):
    """Return the GPU's name as part of a file name, such as ``h200``."""
    words = clocks[0].get("name", "gpu").lower().split()
    return next((w for w in words if any(c.isdigit() for c in w)), words[-1])
