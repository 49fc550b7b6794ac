"""Training and prediction on the CPU beside Keras and PyTorch, for models of tutorials.

    python -m benchmarks cpu [--peers tf_keras,keras-jax,keras-torch,torch] [--workloads a,b]
        [--rounds N] [--time-per-case SECONDS] [--quick] [--json [FOLDER]]

Each measurement is a fresh process; in every round all libraries take turns on one workload after
another.  Ratios are between processes of one round.
"""

import argparse
import math
import os
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import floor, peers
from benchmarks.common import RESULTS, Report, child, interleaved, paired_ratio
from benchmarks.install_size import installed
from benchmarks.workloads import WORKLOADS

__all__ = ["MODES", "main", "table"]

OTHER = 0.2  # cores that other processes may take until a measurement counts as disturbed
STORED = ("mlp", "mnist_cnn")  # saved, and loaded again by fresh processes
MODES = {
    "fit_ms": "fit, ms per step",
    "train_on_batch_ms": "train_on_batch, ms",
    "predict_ms": "predict, ms per batch",
    "predict_one_ms": "predict of one sample, ms",
    "on_batch_one_ms": "predict_on_batch of one sample, ms",
    "call_one_ms": "model(x) of one sample, ms",
    "memory": "peak memory of training, MB",
    "first_step_s": "first step, s",
    "import_s": "import, s",
}


def main(arguments=None):
    args = _arguments(arguments)
    names = [n for n in args.peers.split(",") if n]
    pythons = {"gpunet": Path(sys.executable), **peers.pythons(names)}
    if args.quick:
        args.rounds, args.time_per_case = 1, 0.3
    started = time.perf_counter()
    samples, cold = _measure(pythons, args)
    limits = floor.rates()
    floors = {w: floor.work(WORKLOADS[w]) for w in args.workloads}
    for work in floors.values():
        work["ms"] = 1e3 * max(work["flops"] / limits["flops"], work["bytes"] / limits["bytes"])
    reports = [table(mode, words, pythons, samples, floors) for mode, words in MODES.items()]
    reports.append(_others(pythons, cold, args))
    for report in reports:
        report.notes += _disturbed(samples) if report is reports[0] else []
        report.show()
    print(f"took {(time.perf_counter() - started) / 60:.1f} minutes")
    if args.json:
        first = reports[0]
        whole = Report(
            name="cpu",
            title="cpu",
            columns=("table", "rows"),
            rows=[(r.title, [dict(zip(r.columns, row)) for row in r.rows]) for r in reports],
            samples={"processes": samples, "cold": cold, "floors": floors, "rates": limits},
            settings={k: v for k, v in vars(args).items() if k != "json"},
            versions={e: _first(samples, e)["version"] for e in names},
            notes=first.notes,
        )
        print(f"written: {whole.write(args.json)}")


def _arguments(arguments):
    parser = argparse.ArgumentParser(prog="benchmarks cpu", description=__doc__.split("\n")[0])
    parser.add_argument("--peers", default="tf_keras", help=f"of {','.join(peers.PEERS)}, or ''")
    parser.add_argument("--workloads", help=f"of {','.join(WORKLOADS)}; all by default")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--time-per-case", type=float, default=1.0, metavar="SECONDS")
    parser.add_argument("--quick", action="store_true", help="one round of 0.3 seconds a case")
    parser.add_argument("--json", type=Path, nargs="?", const=RESULTS, metavar="FOLDER")
    args = parser.parse_args(arguments)
    args.workloads = args.workloads.split(",") if args.workloads else list(WORKLOADS)
    for given, known, what in (
        (args.workloads, WORKLOADS, "--workloads"),
        ([n for n in args.peers.split(",") if n], peers.PEERS, "--peers"),
    ):
        unknown = [n for n in given if n not in known]
        if unknown:
            parser.error(f"{what}: unknown {','.join(unknown)}; known are {','.join(known)}")
    if args.rounds < 1 or args.time_per_case <= 0:
        parser.error("--rounds and --time-per-case: expected more than 0")
    return args


def _measure(pythons, args):
    """Return {workload: {engine: [sample]}}, and the same for loading stored models."""
    samples = {w: {e: [] for e in pythons} for w in args.workloads}
    cold = {w: {} for w in STORED if w in args.workloads}
    with tempfile.TemporaryDirectory() as folder:
        for workload in args.workloads:
            for engine in interleaved(pythons, args.rounds):
                where = (pythons[engine], peers.variables(engine), engine)
                command = ["--workload", workload, "--seconds", str(args.time_per_case)]
                path = None
                if workload in STORED and engine != "torch":
                    path = str(Path(folder) / f"{engine}-{workload}.h5")
                    command += ["--save", path]
                samples[workload][engine].append(_run(where, command))
                if path:
                    loaded = _run(where, ["--load", path])
                    cold[workload].setdefault(engine, []).append(loaded)
            print(f"{workload}: done", flush=True)
    return samples, cold


def _run(where, command):
    """Run one process of an engine; add how many cores others kept busy meanwhile."""
    python, variables, engine = where
    before, own, started = _busy(), _children(), time.perf_counter()
    options = ["--engine", engine, *command]
    found = child(python, "-m", "benchmarks.worker", *options, variables=variables)
    wall = time.perf_counter() - started
    busy = _busy()
    if busy is not None:
        found["others"] = max(0.0, (busy - before - (_children() - own)) / wall)
    return found


def _busy():
    """Return the seconds that all cores worked since the machine was started, or None."""
    try:
        user, nice, system, _, _, irq, soft, steal = map(
            int, Path("/proc/stat").read_text(encoding="utf8").split()[1:9]
        )
    except (OSError, ValueError):
        return None
    return (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK")


def _children():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _first(samples, engine):
    return next(iter(samples.values()))[engine][0]


def _values(found, mode):
    return [s[mode] for s in found if s.get(mode) is not None]


def table(mode, words, pythons, samples, floors=None):
    """Return a Report: medians of each engine, and how many times ours each peer takes."""
    others = [e for e in pythons if e != "gpunet"]
    scale, timed = (1e-6, False) if mode == "memory" else (1, mode == "fit_ms" and floors)
    rows, ratios, multiples = [], {e: [] for e in others}, {e: [] for e in pythons}
    fastest = []
    for workload, found in samples.items():
        values = {e: _values(found[e], mode) for e in pythons}
        if not all(values.values()):
            continue
        medians = {e: statistics.median(v) * scale for e, v in values.items()}
        own = {e: statistics.median(paired_ratio(values[e], values["gpunet"])) for e in others}
        for e in others:
            ratios[e].append(own[e])
        if others:
            fastest.append(min(own.values()))
        row = [
            workload,
            *[f"{medians[e]:.3g}" for e in pythons],
            *[f"{own[e]:.2f}" for e in others],
        ]
        if timed:
            row.append(f"{floors[workload]['ms']:.3g}")
            for e in pythons:
                multiples[e].append(medians[e] / floors[workload]["ms"])
                row.append(f"{multiples[e][-1]:.2f}")
        rows.append(tuple(row))
    columns = ["", *pythons, *[f"{e} / gpunet" for e in others]]
    if timed:
        columns += ["floor", *[f"{e} / floor" for e in pythons]]
    notes = []
    if rows and others:
        means = ", ".join(f"{_mean(ratios[e]):.2f} {e}" for e in others)
        notes.append(f"geometric means of the ratios: {means}, {_mean(fastest):.2f} the best peer")
    return Report("cpu", words, tuple(columns), rows, {}, {}, notes=notes)


def _mean(values):
    return math.exp(statistics.fmean(map(math.log, values)))


def _others(pythons, cold, args):
    """Return a Report of stored models loaded by fresh processes, and of installed sizes."""
    rows = []
    for workload, found in cold.items():
        cells = [_values(found.get(e, []), "seconds") for e in pythons]
        times = [f"{statistics.median(c):.2f}" if c else "-" for c in cells]
        rows.append((f"{workload}: process with a stored model to prediction, s", *times))
    if not args.quick:
        sizes = [sum(installed(e, p).values()) / 1e6 for e, p in pythons.items()]
        rows.append(("installed, MB of 10^6 bytes", *[f"{s:.0f}" for s in sizes]))
    notes = ["environments may hold more than one library: that of PyTorch holds Keras too"]
    return Report("cpu", "stored models and size", ("", *pythons), rows, {}, {}, notes=notes)


def _disturbed(samples):
    """Return lines about processes beside which others kept more than a little busy."""
    found = [
        f"{w} {e} ({s['others']:.1f} cores)"
        for w, engines in samples.items()
        for e, all_of_it in engines.items()
        for s in all_of_it
        if s.get("others", 0) > OTHER
    ]
    return [f"disturbed by other processes: {', '.join(found)}"] if found else []
