"""Speed of training a small MLP, beside tf_keras: one step, and ``fit``."""

from benchmarks import mlp_worker
from benchmarks.common import Report, child, engines, interleaved, paired_ratio, spread

__all__ = ["NAME", "ROUNDS", "run"]

NAME = "mlp"
ROUNDS = 7
EPOCHS = 10


def run(rounds, peer_python=None):
    """Train the MLP in fresh processes, the engines taking turns.

    Args:
        rounds: processes of each engine.
        peer_python: Python that has tf_keras, or None.

    Returns:
        Report.
    """
    pythons = engines(peer_python)
    results = {engine: [] for engine in pythons}
    for engine in interleaved(pythons, rounds):
        command = ["-m", "benchmarks.mlp_worker", "--engine", engine, "--epochs", str(EPOCHS)]
        results[engine].append(child(pythons[engine], *command))
    for engine, samples in results.items():
        if samples[0]["losses"][-1] >= samples[0]["losses"][0]:
            raise SystemExit(f"mlp: {engine} doesn't learn: losses {samples[0]['losses']}")

    def column(engine, key):
        return [sample[key] for sample in results[engine]]

    rows = []
    for key, label, slower_is in (
        ("train_on_batch_us", "train_on_batch, us", "more"),
        ("fit_steps_per_s", "fit, steps/s", "less"),
    ):
        cells = [spread(column(engine, key)) for engine in pythons]
        if peer_python:
            ours, theirs = column("gpunet", key), column("tf_keras", key)
            pair = (theirs, ours) if slower_is == "more" else (ours, theirs)
            cells.append(spread(paired_ratio(*pair), 2))
        rows.append((label, *cells))
    return Report(
        name=NAME,
        title="MLP 784-64-64-10, batch 64, rmsprop, float32, CPU; median (range) of processes",
        columns=("", *pythons, *(["times as fast"] if peer_python else [])),
        rows=rows,
        samples=results,
        settings={"rounds": rounds, "epochs": EPOCHS, "steps_per_epoch": mlp_worker.STEPS},
        versions={e: s[0]["version"] for e, s in results.items() if e != "gpunet"},
        notes=[] if peer_python else ["no tf_keras here: python tests/interop/make_env.py tf"],
    )
