"""What the benchmarks share: child processes, the machine's description, tables and files."""

import datetime
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

__all__ = [
    "RESULTS",
    "ROOT",
    "ChildFailed",
    "Report",
    "child",
    "engines",
    "find_peer_python",
    "interleaved",
    "paired_ratio",
    "spread",
]

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"


class ChildFailed(SystemExit):
    """A process ended with an error; its text names the command and ends as the process's did."""


@dataclass
class Report:
    """One benchmark's result: a table for people, and the samples behind it.

    Args:
        name: of the benchmark.
        title: line above the table.
        columns: headings; the first column is text, the others are right-aligned.
        rows: tuples of cells, already formatted.
        samples: JSON-ready raw measurements.
        settings: JSON-ready description of what was run.
        versions: package -> version, of all that took part.
        notes: lines below the table.
    """

    name: str
    title: str
    columns: tuple
    rows: list
    samples: dict
    settings: dict
    versions: dict = field(default_factory=dict)
    notes: list = field(default_factory=list)

    def show(self):
        """Print the table."""
        table = [self.columns, *self.rows]
        widths = [max(len(row[i]) for row in table) for i in range(len(self.columns))]
        print(f"\n{self.title}")
        for number, row in enumerate(table):
            cells = [row[0].ljust(widths[0])]
            cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
            print("  " + "  ".join(cells).rstrip())
            if number == 0:
                print("  " + "  ".join("-" * width for width in widths))
        for note in self.notes:
            print(f"  {note}")
        print(flush=True)

    def write(self, folder):
        """Write everything to ``<name>-<date>.json`` in a folder and return its path."""
        now = datetime.datetime.now(datetime.timezone.utc)
        content = {
            "benchmark": self.name,
            "date": now.isoformat(timespec="seconds"),
            "machine": machine(),
            "versions": {**own_versions(), **self.versions},
            "settings": self.settings,
            "summary": [dict(zip(self.columns, row, strict=True)) for row in self.rows],
            "notes": self.notes,
            "samples": self.samples,
        }
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.name}-{now:%Y-%m-%d}.json"
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf8")
        return path


def machine():
    """Return what the measurements were made on."""
    return {
        "cpu": cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "architecture": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def cpu_model():
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf8").splitlines()
    except OSError:
        return platform.processor()
    return next((x.partition(":")[2].strip() for x in lines if x.startswith("model name")), "")


def own_versions():
    """Return the versions of gpunet, as it is in this checkout, and of its dependencies."""
    import gpunet

    versions = {name: importlib.metadata.version(name) for name in ("numpy", "h5py", "tqdm")}
    return {"gpunet": gpunet.__version__, "commit": commit(), **versions}


def commit():
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or None


def find_peer_python():
    """Return the Python that has tf_keras, or None."""
    home = Path(os.environ.get("GPUNET_INTEROP_DIR") or ROOT / ".interop") / "tf"
    found = [home / "bin" / "python", home / "Scripts" / "python.exe"]
    return next((python for python in found if python.exists()), None)


def engines(peer_python):
    """Return engine name -> Python that runs it."""
    own = {"gpunet": Path(sys.executable)}
    return {**own, "tf_keras": peer_python} if peer_python else own


def child(python, *arguments, variables=None):
    """Run a fresh process at the root of the checkout and return the JSON that it prints.

    All engines run on the CPU, with the number of threads that they choose themselves.

    Args:
        python: path.
        arguments: of the command.
        variables: dict of more environment variables, None for those to leave out.

    Raises:
        ChildFailed: it ended with an error.
    """
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    environment = {
        **inherited,
        "CUDA_VISIBLE_DEVICES": "-1",
        "GPUNET_DEVICE": "cpu",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_USE_LEGACY_KERAS": "1",
        **(variables or {}),
    }
    environment = {k: v for k, v in environment.items() if v is not None}
    done = subprocess.run(
        [str(python), *arguments],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ChildFailed(f"{python} {' '.join(arguments)} failed:\n{done.stderr[-4000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def interleaved(names, rounds):
    """Yield names, all of them in every round, in an order that turns from round to round."""
    names = list(names)
    for number in range(rounds):
        yield from names if number % 2 == 0 else reversed(names)


def spread(values, digits=1):
    """Return ``median (lowest - highest)`` as text."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:,.{digits}f} ({low:,.{digits}f} - {high:,.{digits}f})"


def paired_ratio(tops, bottoms):
    """Return the ratios of measurements made in the same round."""
    return [top / bottom for top, bottom in zip(tops, bottoms, strict=True)]
