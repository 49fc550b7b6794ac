"""Time and memory that an import takes in a fresh process."""

from benchmarks.common import Report, child, engines, interleaved, spread

__all__ = ["NAME", "ROUNDS", "run"]

NAME = "footprint"
ROUNDS = 9

# VmRSS, not ru_maxrss: a new process inherits the latter's peak from the one that started it.
CODE = """
import time
started = time.perf_counter()
import {module} as module
seconds = time.perf_counter() - started
import json
try:
    with open("/proc/self/status") as status:
        resident = next(int(x.split()[1]) * 1024 for x in status if x.startswith("VmRSS"))
except OSError:
    resident = None
version = getattr(module, "__version__", None)
print(json.dumps({{"seconds": seconds, "resident": resident, "version": version}}))
"""


def run(rounds, peer_python=None):
    """Import gpunet, and for comparison NumPy and tf_keras, in fresh processes taking turns.

    Args:
        rounds: processes of each, after one that warms the file cache and isn't counted.
        peer_python: Python that has tf_keras, or None.

    Returns:
        Report.
    """
    pythons = engines(peer_python)
    pythons["numpy"] = pythons["gpunet"]
    results = {module: [] for module in pythons}
    for module, python in pythons.items():
        child(python, "-c", CODE.format(module=module))
    for module in interleaved(pythons, rounds):
        results[module].append(child(pythons[module], "-c", CODE.format(module=module)))
    rows = []
    for module, samples in results.items():
        seconds = [sample["seconds"] for sample in samples]
        resident = [s["resident"] / 1e6 for s in samples if s["resident"] is not None]
        rows.append((f"import {module}", spread(seconds, 3), spread(resident) if resident else "-"))
    return Report(
        name=NAME,
        title="import in a fresh process, median (range)",
        columns=("", "seconds", "resident MB"),
        rows=rows,
        samples=results,
        settings={"rounds": rounds},
        versions={m: s[0]["version"] for m, s in results.items() if m != "gpunet"},
        notes=["resident: of the whole process, Python included; 1 MB = 10^6 bytes"],
    )
