"""Single convolutions on a GPU, forward and back, beside their peers and what was predicted.

    python -m benchmarks gpu-conv
        [--peers tuned,cudnn,torch,torch-last,torch-compile,keras-torch,keras-jax] [--layers a|b]
        [--time-per-case SECONDS] [--budget SECONDS] [--predict] --json FOLDER

``tuned`` are our kernels with the fastest tiles, ``cudnn`` is cuDNN by our own binding, without a
framework around it. ``--predict`` shows the predictions alone; no GPU is needed. Samples are kept
in FOLDER as they come, as `benchmarks gpu` keeps them.
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

PEERS = {
    "tuned": ("tuned", "cupy", None),
    "cudnn": ("cudnn", "cupy", None),
    "torch": ("torch", "torch", None),
    "torch-last": ("torch-last", "torch", None),
    "torch-compile": ("torch-compile", "torch", None),
    "keras-torch": ("keras-torch", "keras", "torch"),
    "keras-jax": ("keras-jax", "keras", "jax"),
}
TUNED = ("tuned", "cudnn")  # they choose among several ways by trying, as PyTorch is told to
LONGEST = 60  # seconds that a case may take


def main(arguments=None):
    args = _arguments(arguments)
    started, samples, notes, engines = time.perf_counter(), {}, [], {}
    if not args.predict:
        engines, notes = gpu._there({**gpu.OWN, **{p: PEERS[p] for p in args.peers}})
        notes += _without_cudnn(engines)
        args.json.mkdir(parents=True, exist_ok=True)
        store = args.json / "gpu-conv-samples.json"
        samples = json.loads(store.read_text(encoding="utf8")) if store.exists() else {}
    for key in [f"{layer}/{engine}" for layer in args.layers for engine in engines]:
        if key in samples:
            continue
        if time.perf_counter() - started > args.budget - LONGEST:
            notes.append(f"the budget ended before {key}")
            break
        layer, engine = key.rsplit("/", 1)
        samples[key] = _run(layer, engines[engine], args)
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


def _without_cudnn(engines):
    """Take cuDNN off the engines where it isn't installed, and return notes that say so."""
    if "cudnn" not in engines:
        return []
    from gpunet.errors import MissingPackageError
    from gpunet.fused import cudnn

    try:
        cudnn.needed("the benchmark")
    except MissingPackageError as error:
        del engines["cudnn"]
        return [f"cudnn was left out: {error}"]
    return []


def _run(layer, how, args):
    """Return the sample of one process, or what went wrong in it."""
    engine, _, backend = how
    options = ["--engine", engine, "--layer", layer, "--seconds", str(args.time_per_case)]
    variables = gpu.variables_of(backend) | dict.fromkeys(("GPUNET_CUDNN", "GPUNET_AUTOTUNE"))
    if engine in TUNED:
        folder = (args.json / "tuning").resolve()
        variables |= {"GPUNET_AUTOTUNE": "1", "KERAS_HOME": str(folder)}
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
