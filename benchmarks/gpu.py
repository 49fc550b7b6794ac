"""Training and prediction on a GPU beside PyTorch and Keras 3, for the models of `benchmarks cpu`.

    python -m benchmarks gpu [--peers torch,torch-last,torch-compile,keras-torch,keras-jax]
        [--workloads a,b] [--rounds N] [--time-per-case SECONDS] [--budget SECONDS] --json FOLDER

Each measurement is a fresh process of the Python that runs this: what it can't import is named and
left out.  Samples are kept in FOLDER as they come, so that a run that was cut short, or stopped
before its budget was used up, goes on where it ended.
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
    "keras-torch": ("keras-torch", "keras", "torch"),
    "keras-jax": ("keras-jax", "keras", "jax"),
}
OWN = {"gpunet": ("gpunet", "cupy", None)}
LONGEST = 90  # seconds that a case may take; less left of the budget, and none is begun


def main(arguments=None):
    args = _arguments(arguments)
    started = time.perf_counter()
    engines, notes = _there({**OWN, **{p: PEERS[p] for p in args.peers}})
    args.json.mkdir(parents=True, exist_ok=True)
    store = args.json / "gpu-samples.json"
    samples = json.loads(store.read_text(encoding="utf8")) if store.exists() else {}
    clocks = [_clocks()]
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
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--time-per-case", type=float, default=1.0, metavar="SECONDS")
    parser.add_argument("--budget", type=float, default=1e9, metavar="SECONDS")
    parser.add_argument("--json", type=Path, default=RESULTS, metavar="FOLDER")
    args = parser.parse_args(arguments)
    for name, known in (("peers", PEERS), ("workloads", WORKLOADS)):
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
