"""Time of a training step of classic convolutional and recurrent models, beside tf_keras."""

from benchmarks import seed_worker
from benchmarks.common import Report, child, engines, interleaved, paired_ratio, spread

__all__ = ["NAME", "ROUNDS", "run"]

NAME = "seeds"
ROUNDS = 3
EPOCHS = 3


def run(rounds, peer_python=None):
    """Train each model in fresh processes, the engines taking turns.

    Args:
        rounds: processes of each engine for each model.
        peer_python: Python that has tf_keras, or None.

    Returns:
        Report.
    """
    pythons = engines(peer_python)
    results = {engine: {} for engine in pythons}
    rows = []
    for model in seed_worker.MODELS:
        for engine in interleaved(pythons, rounds):
            command = ["--engine", engine, "--model", model, "--epochs", str(EPOCHS)]
            sample = child(pythons[engine], "-m", "benchmarks.seed_worker", *command)
            results[engine].setdefault(model, []).append(sample)
        times = {e: [s["ms"] for s in results[e][model]] for e in pythons}
        cells = [spread(times[engine]) for engine in pythons]
        if peer_python:
            cells.append(spread(paired_ratio(times["tf_keras"], times["gpunet"]), 2))
        rows.append((model, *cells))
    return Report(
        name=NAME,
        title="fit, ms per step, float32, CPU; median (range) of processes",
        columns=("", *pythons, *(["times as fast"] if peer_python else [])),
        rows=rows,
        samples=results,
        settings={"rounds": rounds, "epochs": EPOCHS},
        versions={e: r["conv1d"][0]["version"] for e, r in results.items() if e != "gpunet"},
        notes=[] if peer_python else ["no tf_keras here: python tests/interop/make_env.py tf"],
    )
