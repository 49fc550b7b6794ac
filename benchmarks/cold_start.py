"""Time of a program that only runs a stored model on one sample, from start to end."""

import time
from pathlib import Path

from benchmarks.common import ROOT, Report, child, engines, interleaved, spread

__all__ = ["NAME", "ROUNDS", "run"]

NAME = "cold_start"
ROUNDS = 7

# An MLP, and a model of BatchNormalization layers; Keras 3 opens both.
FILES = ("seed_mlp_functional", "bn_variants")
STORED = ROOT / "tests" / "fixtures" / "h5"
CODE = """
import json
import numpy as np
from {module}.models import load_model
model = load_model({path!r})
inputs = [np.ones([1, *[int(n or 1) for n in t.shape[1:]]], "float32") for t in model.inputs]
y = model.predict(inputs if len(inputs) > 1 else inputs[0], verbose=0)
y = y if isinstance(y, list) else [y]
import importlib
version = importlib.import_module({module!r}).__version__
print(json.dumps({{"sum": float(sum(a.sum() for a in y)), "version": version}}))
"""

_VARIABLES = {"keras": {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}}


def run(rounds, peer_python=None):
    """Start programs of gpunet, tf_keras and Keras 3 that load a model and predict, taking turns.

    Args:
        rounds: processes of each, after one that warms the file cache and isn't counted.
        peer_python: Python that has tf_keras, or None; Keras 3's is looked for beside it.

    Returns:
        Report.
    """
    pythons = engines(peer_python)
    keras3 = Path(peer_python).parents[2] / "keras3" / "bin" / "python" if peer_python else None
    if keras3 is not None and keras3.exists():
        pythons["keras"] = keras3
    rows, samples, versions = [], {}, {}
    for name in FILES:
        path = str(STORED / f"{name}.h5")
        commands = {m: (p, "-c", CODE.format(module=m, path=path)) for m, p in pythons.items()}
        taken = {module: [] for module in commands}
        for module, command in commands.items():
            versions[module] = child(*command, variables=_VARIABLES.get(module))["version"]
        for module in interleaved(commands, rounds):
            started = time.perf_counter()
            child(*commands[module], variables=_VARIABLES.get(module))
            taken[module].append(time.perf_counter() - started)
        rows += [(f"{name}, {m}", spread(seconds, 2)) for m, seconds in taken.items()]
        samples[name] = taken
    return Report(
        name=NAME,
        title="load_model and predict one sample in a fresh process, median (range)",
        columns=("", "seconds"),
        rows=rows,
        samples=samples,
        settings={"rounds": rounds},
        versions={m: v for m, v in versions.items() if m != "gpunet"},
        notes=["from the start of Python to its end; files as Keras 2 wrote them"],
    )
