"""Building VGG19, ResNets and MobileNetV2, and predicting one image, beside all of Keras.

Keras 3 on JAX and on PyTorch are measured where their environments are there, which
``python -m benchmarks cpu --peers keras-jax,keras-torch`` makes.
"""

from benchmarks import application_worker, peers
from benchmarks.common import Report, child, engines, interleaved, paired_ratio, spread

__all__ = ["NAME", "ROUNDS", "run"]

NAME = "applications"
ROUNDS = 3
# Keras 3 takes half a minute to build it.
FEWER = {"ResNet152": ("gpunet", "tf_keras")}
MODULES = {"gpunet": "gpunet", "tf_keras": "tf_keras", "keras-jax": "keras", "keras-torch": "keras"}
_COLUMNS = ("build, s", "first, ms", "predict, ms", "times as fast", "CPU, ms", "peak, MB")


def run(rounds, peer_python=None):
    """Predict with each model in fresh processes, the engines taking turns.

    Args:
        rounds: processes of each engine for each model.
        peer_python: Python that has tf_keras, or None.

    Returns:
        Report.
    """
    pythons = {**engines(peer_python), **peers.found(("keras-jax", "keras-torch"))}
    results = {engine: {} for engine in pythons}
    rows = []
    for model in application_worker.MODELS:
        built_by = [e for e in pythons if e in FEWER.get(model, pythons)]
        for engine in interleaved(built_by, rounds):
            command = ["--engine", MODULES[engine], "--model", model]
            sample = child(
                pythons[engine], "-m", "benchmarks.application_worker", *command,
                variables=peers.variables(engine),
            )  # fmt: skip
            results[engine].setdefault(model, []).append(sample)
        for engine in built_by:
            rows.append(_row(model, engine, results))
    return Report(
        name=NAME,
        title="one image of 224 x 224, float32, CPU; median (range) of processes",
        columns=("", *_COLUMNS),
        rows=rows,
        samples=results,
        settings={"rounds": rounds, "models": application_worker.MODELS},
        versions={e: r["VGG19"][0]["version"] for e, r in results.items() if e != "gpunet"},
        notes=[] if peer_python else ["no tf_keras here: python tests/interop/make_env.py tf"],
    )


def _row(model, engine, results):
    samples = results[engine][model]
    values = {key: [s[key] for s in samples] for key in samples[0] if key != "version"}
    ratio = ""
    if engine != "gpunet":  # how many times as fast gpunet is
        own = [s["predict_ms"] for s in results["gpunet"][model]]
        ratio = spread(paired_ratio(values["predict_ms"], own), 2)
    return (
        f"{model} {engine}",
        spread(values["build_s"], 2),
        spread(values["first_ms"], 0),
        spread(values["predict_ms"]),
        ratio,
        spread(values["cpu_ms"]),
        spread(values["peak_mb"], 0),
    )
