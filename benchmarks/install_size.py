"""Size of a fresh installation with its dependencies."""

import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.common import ROOT, Report, child, engines

__all__ = ["NAME", "ROUNDS", "installed", "run"]

NAME = "install_size"
ROUNDS = 1  # a size doesn't vary

# Prints the size of each entry of site-packages. What every environment has isn't counted, nor is
# compiled Python: it comes and goes.
CODE = """
import json, os, sysconfig
home = sysconfig.get_path("platlib")
sizes = {}
for folder, _, files in os.walk(home):
    top = os.path.relpath(folder, home).split(os.sep)[0]
    if os.path.basename(folder) == "__pycache__":
        continue
    for file in files:
        name = file if top == "." else top
        size = os.lstat(os.path.join(folder, file)).st_size
        sizes[name] = sizes.get(name, 0) + size
ours = ("pip", "setuptools", "_distutils_hack", "distutils-precedence.pth")
print(json.dumps({n: s for n, s in sizes.items() if n.split("-")[0] not in ours and n not in ours}))
"""


def installed(engine, python):
    """Return the size of each entry of an environment's packages, in bytes.

    Args:
        engine: str; for ``"gpunet"`` a fresh environment is made from the checkout.
        python: Python of an environment that holds the engine and nothing else.
    """
    if engine != "gpunet":
        return child(python, "-c", CODE)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        python = Path(folder) / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
        install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(ROOT)]
        subprocess.run([python, *install], check=True, stdin=subprocess.DEVNULL)
        return child(python, "-c", CODE)


def run(rounds, peer_python=None):
    """Install gpunet from the checkout in a fresh environment and add up what is there.

    Args:
        rounds: not used.
        peer_python: Python of an environment that holds tf_keras and nothing else, or None.

    Returns:
        Report.
    """
    results = {e: installed(e, python) for e, python in engines(peer_python).items()}
    rows = []
    for engine, sizes in results.items():
        largest = sorted(sizes, key=sizes.get, reverse=True)[:4]
        parts = ", ".join(f"{name} {sizes[name] / 1e6:.1f}" for name in largest)
        rows.append((engine, f"{sum(sizes.values()) / 1e6:,.1f}", parts))
    return Report(
        name=NAME,
        title="installed size with dependencies, MB (10^6 bytes), without pip and compiled Python",
        columns=("", "MB", "largest parts"),
        rows=rows,
        samples=results,
        settings={},
        notes=[] if peer_python else ["no tf_keras here: python tests/interop/make_env.py tf"],
    )
