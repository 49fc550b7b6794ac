"""Make the virtual environments that hold the real Keras, for the interop tests.

    python tests/interop/make_env.py tf|keras3|all [--python PATH] [--force]

They live in ``.interop/<name>`` at the root of the checkout, or in ``$GPUNET_INTEROP_DIR/<name>``.
An environment counts as made only once its stamp file, written last, names the versions pinned
below; anything else is made anew. Only the standard library is needed, a network, and a Python that
the peers have wheels for: 3.11 to 3.13.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STAMP = "gpunet-interop.json"

# The versions that were found to work together (tensorflow 2.21 refuses h5py 3.15), and the imports
# that prove it. `alone` is installed without its dependencies: tf_keras asks for `tensorflow`, the
# build with CUDA, where the CPU build will do. `variables` are set for the proof.
ENVIRONMENTS = {
    "tf": {
        "packages": ["tensorflow-cpu==2.21.0", "h5py==3.14.0", "numpy==2.4.6"],
        "alone": ["tf_keras==2.21.0"],
        "check": "import h5py, tf_keras; print('tf_keras', tf_keras.__version__)",
    },
    "keras3": {
        "packages": ["keras==3.15.1", "jax==0.10.2", "h5py==3.16.0", "numpy==2.4.6"],
        "alone": [],
        "check": "import h5py, keras; print('keras', keras.__version__, keras.backend.backend())",
    },
}

# What every process of a peer should see: the CPU alone, one thread, repeatable results.
PEER_ENVIRON = {
    "CUDA_VISIBLE_DEVICES": "-1",
    "JAX_PLATFORMS": "cpu",
    "KERAS_BACKEND": "jax",
    "OMP_NUM_THREADS": "1",
    "PYTHONNOUSERSITE": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_DETERMINISTIC_OPS": "1",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "TF_NUM_INTEROP_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_USE_LEGACY_KERAS": "1",
}


class PeerEnvironmentError(Exception):
    """A step of making an environment went wrong; the text says which."""


def home_of(name):
    """Return the folder of environment ``name``, whether or not it exists."""
    return Path(os.environ.get("GPUNET_INTEROP_DIR") or ROOT / ".interop") / name


def python_of(name):
    """Return the Python of environment ``name``, or None where it isn't (fully) made.

    Args:
        name: a key of ``ENVIRONMENTS``.

    Returns:
        Path or None.
    """
    home = home_of(name)
    python = interpreter(home)
    return python if python.exists() and read_stamp(home) == wanted_stamp(name) else None


def peer_environ():
    """Return the environment variables to start a peer's Python with."""
    inherited = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    return {**inherited, **PEER_ENVIRON}


def make(name, base_python=sys.executable, force=False):
    """Make environment ``name`` unless it is there already.

    Args:
        name: a key of ``ENVIRONMENTS``.
        base_python: the interpreter to make it with.
        force: make it anew even if it is there.

    Returns:
        Path of its Python.

    Raises:
        PeerEnvironmentError: a command failed; what is left has no stamp.
    """
    home, spec = home_of(name), ENVIRONMENTS[name]
    ready = python_of(name)
    if ready and not force:
        say(f"{name}: ready in {home}")
        return ready
    started = time.monotonic()
    if home.exists():
        reason = "as asked" if ready else "unfinished, or of other versions"
        say(f"{name}: removing {home} ({reason})")
        remove(home)
    say(f"{name}: making {home} with {base_python}")
    home.parent.mkdir(parents=True, exist_ok=True)
    run(name, [base_python, "-m", "venv", str(home)])
    python = interpreter(home)
    pip = [
        str(python),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-compile",
        "--no-input",
        "--disable-pip-version-check",
        "--only-binary=:all:",
    ]
    run(name, [*pip, *spec["packages"]])
    if spec["alone"]:
        run(name, [*pip, "--no-deps", *spec["alone"]])
    run(name, [str(python), "-c", spec["check"]], spec.get("variables"))
    write_stamp(home, wanted_stamp(name))
    say(f"{name}: ready in {home} ({time.monotonic() - started:.0f} s)")
    return python


def remove(home):
    """Remove an environment; an interruption leaves nothing that looks like one."""
    if not (home / "pyvenv.cfg").exists() and any(home.iterdir()):
        raise PeerEnvironmentError(f"{home} is no virtual environment: remove it by hand")
    trash = home.with_name(home.name + ".old")
    shutil.rmtree(trash, ignore_errors=True)
    os.replace(home, trash)
    shutil.rmtree(trash)


def interpreter(home):
    """Return where a virtual environment in ``home`` has its Python."""
    return home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def wanted_stamp(name):
    spec = ENVIRONMENTS[name]
    return {"name": name, "packages": spec["packages"] + spec["alone"]}


def read_stamp(home):
    try:
        return json.loads((home / STAMP).read_text(encoding="utf8"))
    except (OSError, ValueError):
        return None


def write_stamp(home, stamp):
    part = home / (STAMP + ".part")
    part.write_text(json.dumps(stamp, indent=1) + "\n", encoding="utf8")
    os.replace(part, home / STAMP)


def run(name, command, variables=None):
    """Run a command; raise PeerEnvironmentError with its text where it fails."""
    try:
        done = subprocess.run(command, env={**peer_environ(), **(variables or {})}, check=False)
    except OSError as error:
        raise PeerEnvironmentError(f"{name}: cannot start {command[0]}: {error}") from error
    if done.returncode:
        raise PeerEnvironmentError(f"{name}: exit code {done.returncode} from: {' '.join(command)}")


def say(text):
    print(text, flush=True)


def main(argv=None):
    """Read the command line; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("name", choices=[*ENVIRONMENTS, "all"])
    parser.add_argument("--python", default=sys.executable, help="interpreter to make them with")
    parser.add_argument("--force", action="store_true", help="make them anew")
    options = parser.parse_args(argv)
    names = list(ENVIRONMENTS) if options.name == "all" else [options.name]
    try:
        for name in names:
            make(name, options.python, options.force)
    except PeerEnvironmentError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the next call starts that environment anew", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
