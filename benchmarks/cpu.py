"""Training and prediction on the CPU beside Keras and PyTorch, for models of tutorials.

    python -m benchmarks cpu [--peers tf_keras,keras-jax,keras-torch,torch] [--workloads a,b]
        [--rounds N] [--time-per-case SECONDS] [--quick] [--json [FOLDER]]

Each measurement is a fresh process; in every round all libraries take turns on one workload after
another.  Ratios are between processes of one round.
"""

import argparse
import functools
import math
import os
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import floor, peers
from benchmarks.common import RESULTS, ChildFailed, Report, child, interleaved, paired_ratio
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
    limits, floors = floor.rates(), {}
    samples, cold = {}, {}
    for workload in args.workloads:
        floors[workload] = floor.work(WORKLOADS[workload])
        floors[workload]["ms"] = 1e3 * max(floors[workload][k] / limits[k] for k in limits)
        _measure(workload, pythons, args, samples, cold)
        print(f"{workload}: done after {(time.perf_counter() - started) / 60:.1f} min", flush=True)
        reports = _reports(pythons, samples, cold, floors, args)
        if args.json:  # after each workload: what is interrupted keeps what it has
            raw = {"processes": samples, "cold": cold, "floors": floors, "rates": limits}
            written = _whole(reports, raw, names, args).write(args.json)
    for report in reports:
        report.show()
    if args.json:
        print(f"written: {written}")


def _reports(pythons, samples, cold, floors, args):
    reports = [table(mode, words, pythons, samples, floors) for mode, words in MODES.items()]
    reports.append(_others(pythons, cold, args))
    reports[0].notes += _disturbed(samples) + _failures(samples)
    return reports


def _whole(reports, raw, names, args):
    """Return all tables and samples as one Report."""
    return Report(
        name="cpu",
        title="cpu",
        columns=("table", "rows"),
        rows=[(r.title, [dict(zip(r.columns, row)) for row in r.rows]) for r in reports],
        samples=raw,
        settings={k: v for k, v in vars(args).items() if k != "json"},
        versions={e: _version(raw["processes"], e) for e in names},
        notes=[n for r in reports for n in r.notes],
    )


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


def _measure(workload, pythons, args, samples, cold):
    """Add {engine: [sample]} of one workload to samples, and the same for loading to cold."""
    found = samples[workload] = {e: [] for e in pythons}
    stored = workload in STORED
    if stored:
        cold[workload] = {e: [] for e in pythons}
    with tempfile.TemporaryDirectory() as folder:
        for engine in interleaved(pythons, args.rounds):
            where = (pythons[engine], peers.variables(engine), engine)
            command = ["--workload", workload, "--seconds", str(args.time_per_case)]
            path = None
            if stored and engine != "torch":
                path = str(Path(folder) / f"{engine}-{workload}.h5")
                command += ["--save", path]
            found[engine].append(_run(where, command))
            if path and "failed" not in found[engine][-1]:
                cold[workload][engine].append(_run(where, ["--load", path]))


def _run(where, command):
    """Run one process of an engine; add how many cores others kept busy meanwhile.

    A peer that fails is noted and leaves the others' comparison alone; gpunet mustn't.
    """
    python, variables, engine = where
    before, own, started = _busy(), _children(), time.perf_counter()
    options = ["--engine", engine, *command]
    try:
        found = child(python, "-m", "benchmarks.worker", *options, variables=variables)
    except ChildFailed as error:
        if engine == "gpunet":
            raise
        found = {"failed": str(error)}
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


def _version(samples, engine):
    found = [s.get("version") for w in samples.values() for s in w[engine]]
    return next((v for v in found if v), None)


def _values(found, mode):
    return [s[mode] for s in found if s.get(mode) is not None]


def table(mode, words, pythons, samples, floors=None):
    """Return a Report: medians of each engine, and how many times ours each peer takes."""
    others = [e for e in pythons if e != "gpunet"]
    scale, timed = (1e-6, False) if mode == "memory" else (1, mode == "fit_ms" and floors)
    rows, ratios, fastest = [], {e: [] for e in others}, []
    for workload, found in samples.items():
        values = {e: _values(found[e], mode) for e in pythons}
        if not values["gpunet"]:
            continue
        medians = {e: statistics.median(v) * scale for e, v in values.items() if v}
        own = {e: _ratio(found[e], found["gpunet"], mode) for e in others if values[e]}
        for e, ratio in own.items():
            ratios[e].append(ratio)
        if own:
            fastest.append(min(own.values()))
        row = [workload, *_cells(medians, pythons, ".3g"), *_cells(own, others, ".2f")]
        if timed:
            least = floors[workload]["ms"]
            multiples = {e: m / least for e, m in medians.items()}
            row += [f"{least:.3g}", *_cells(multiples, pythons, ".2f")]
        rows.append(tuple(row))
    columns = ["", *pythons, *[f"{e} / gpunet" for e in others]]
    if timed:
        columns += ["floor", *[f"{e} / floor" for e in pythons]]
    notes = []
    if fastest:
        means = ", ".join(f"{_mean(ratios[e]):.2f} {e}" for e in others if ratios[e])
        notes.append(f"geometric means of the ratios: {means}, {_mean(fastest):.2f} the best peer")
    return Report("cpu", words, tuple(columns), rows, {}, {}, notes=notes)


def _ratio(peer, own, mode):
    """Return the median of the ratios of rounds in which both were measured."""
    pairs = [(p[mode], o[mode]) for p, o in zip(peer, own, strict=True) if mode in p and mode in o]
    return statistics.median(paired_ratio(*zip(*pairs, strict=True)))


def _cells(values, engines, form):
    return [format(values[e], form) if e in values else "-" for e in engines]


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
        sizes = [_megabytes(e, p) for e, p in pythons.items()]
        rows.append(("installed, MB of 10^6 bytes", *[f"{s:.0f}" for s in sizes]))
    notes = ["environments may hold more than one library: that of PyTorch holds Keras too"]
    return Report("cpu", "stored models and size", ("", *pythons), rows, {}, {}, notes=notes)


@functools.cache
def _megabytes(engine, python):
    return sum(installed(engine, python).values()) / 1e6


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


def _failures(samples):
    """Return a line for each peer and workload that didn't run."""
    found = {
        f"{workload} didn't run with {engine}: {s['failed'].splitlines()[-1]}"
        for workload, engines in samples.items()
        for engine, all_of_it in engines.items()
        for s in all_of_it
        if "failed" in s
    }
    return sorted(found)
