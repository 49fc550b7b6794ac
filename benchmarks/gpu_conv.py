"""Single convolutions on a GPU, forward and back, beside PyTorch's, and beside what was predicted.

    python -m benchmarks gpu-conv [--peers torch,torch-last,torch-compile] [--layers a|b]
        [--time-per-case SECONDS] [--budget SECONDS] [--predict] --json FOLDER

``--predict`` shows the predictions alone; no GPU is needed. Samples are kept in FOLDER as they
come, as `benchmarks gpu` keeps them.
"""

import argparse
import json
import sys
import time
from pathlib import Path

from benchmarks import gpu
from benchmarks.common import RESULTS, ChildFailed, Report, child
from benchmarks.conv_layers import LAYERS, TARGETS, floor, predicted

__all__ = ["main"]

PEERS = {name: (name, "torch", None) for name in ("torch", "torch-last", "torch-compile")}
LONGEST = 60  # seconds that a case may take


def main(arguments=None):
    args = _arguments(arguments)
    started, samples, notes, engines = time.perf_counter(), {}, [], {}
    if not args.predict:
        engines, notes = gpu._there({**gpu.OWN, **{p: PEERS[p] for p in args.peers}})
        args.json.mkdir(parents=True, exist_ok=True)
        store = args.json / "gpu-conv-samples.json"
        samples = json.loads(store.read_text(encoding="utf8")) if store.exists() else {}
    for key in [f"{layer}/{engine}" for layer in args.layers for engine in engines]:
        if key in samples:
            continue
        if time.perf_counter() - started > args.budget - LONGEST:
            notes.append(f"the budget ended before {key}")
            break
        samples[key] = _run(*key.rsplit("/", 1), args.time_per_case)
        store.write_text(json.dumps(samples), encoding="utf8")
    notes += [f"failed: {k}: {s['error'][-200:]}" for k, s in samples.items() if "error" in s]
    report = _report(args, engines, samples, notes)
    report.show()
    if not args.predict:
        print(f"written: {report.write(args.json)}")


def _arguments(arguments):
    parser = argparse.ArgumentParser(prog="benchmarks gpu-conv", description=__doc__.split("\n")[0])
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--layers", default="|".join(LAYERS))
    parser.add_argument("--time-per-case", type=float, default=0.5, metavar="SECONDS")
    parser.add_argument("--budget", type=float, default=1e9, metavar="SECONDS")
    parser.add_argument("--json", type=Path, default=RESULTS, metavar="FOLDER")
    parser.add_argument("--predict", action="store_true")
    args = parser.parse_args(arguments)
    for name, mark, known in (("peers", ",", PEERS), ("layers", "|", LAYERS)):
        chosen = [n for n in getattr(args, name).split(mark) if n]
        unknown = [n for n in chosen if n not in known]
        if unknown:
            parser.error(f"--{name}: unknown {unknown[0]}; known are {mark.join(known)}")
        setattr(args, name, chosen)
    return args


def _run(layer, engine, seconds):
    """Return the sample of one process, or what went wrong in it."""
    options = ["--engine", engine, "--layer", layer, "--seconds", str(seconds)]
    variables = gpu.variables_of(None)
    try:
        return child(sys.executable, "-m", "benchmarks.conv_worker", *options, variables=variables)
    except ChildFailed as error:
        return {"error": str(error)[-4000:]}


def _report(args, engines, samples, notes):
    rows, figures = [], {}
    for name in args.layers:
        own = samples.get(f"{name}/gpunet", {})
        best = {e: _best(samples.get(f"{name}/{e}", {})) for e in engines}
        least, kernels = floor(LAYERS[name]), predicted(LAYERS[name])
        figures[name] = {"floor": least, "predicted": kernels, "measured": best}
        aims = []
        for peer, times in TARGETS.get(name, []):
            if best.get(peer) and best.get("gpunet"):
                aims.append(f"{best[peer] / best['gpunet']:.2f}x {peer} (aim {times}x)")
            else:
                aims.append(f"aim {times}x {peer}")
        times = [least["seconds"], sum(kernels.values()), own.get("eager"), own.get("graph")]
        times += [best[p] for p in engines if p != "gpunet"]
        rows.append((name, *map(_micro, times), "; ".join(aims)))
    peers = [p for p in engines if p != "gpunet"]
    return Report(
        name="gpu-conv",
        title="Convolution with bias and ReLU, forward and back, in microseconds",
        columns=("layer", "floor", "predicted", "eager", "graph", *peers, "aims"),
        rows=rows,
        samples={"processes": samples, "figures": figures, "clocks": gpu._clocks()},
        settings={k: v for k, v in vars(args).items() if k != "json"},
        versions={s["engine"]: s["version"] for s in samples.values() if "engine" in s},
        notes=[*notes, "floor and predicted are computed for an H200, from published rates"],
    )


def _best(sample):
    """Return the faster of the two ways to run a step, in seconds, or None."""
    return min((sample[k] for k in ("eager", "graph") if k in sample), default=None)


def _micro(seconds):
    return "" if seconds is None else f"{seconds * 1e6:.0f}"
