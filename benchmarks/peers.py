"""The libraries that gpunet is measured beside, and the environments that hold them."""

import importlib.util

from benchmarks.common import ROOT

__all__ = ["PEERS", "found", "variables", "pythons"]

# Name -> (environment, Keras's backend).
PEERS = {
    "tf_keras": ("tf", None),
    "keras-jax": ("keras3", "jax"),
    "keras-torch": ("torch", "torch"),
    "torch": ("torch", None),
}
TORCH = {
    "packages": ["torch==2.13.0", "keras==3.15.1", "h5py==3.16.0", "numpy==2.4.6"],
    "alone": [],
    "check": "import h5py, keras, torch; print('torch', torch.__version__)",
    "variables": {"KERAS_BACKEND": "torch"},  # JAX, which is usual here, isn't in it
}


def _make_env():
    """Return the script that makes the interop tests' environments, knowing PyTorch's too."""
    path = ROOT / "tests" / "interop" / "make_env.py"
    spec = importlib.util.spec_from_file_location("make_env", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.ENVIRONMENTS["torch"] = TORCH
    return module


def pythons(names):
    """Make what is missing of the environments of some peers; return name -> Python.

    They lie where `tests/interop/make_env.py` says: ``$GPUNET_INTEROP_DIR`` or ``.interop``.
    """
    made = _make_env()
    try:
        return {name: made.make(PEERS[name][0]) for name in names}
    except made.PeerEnvironmentError as error:
        raise SystemExit(f"the environment of a peer can't be made: {error}") from None


def found(names):
    """Return name -> Python for those of some peers whose environments are there already."""
    made = _make_env()
    pythons = {name: made.python_of(PEERS[name][0]) for name in names}
    return {name: python for name, python in pythons.items() if python}


def variables(name):
    """Return the environment variables that a peer's processes need."""
    backend = PEERS.get(name, (None, None))[1]
    return {"JAX_PLATFORMS": "cpu", **({"KERAS_BACKEND": backend} if backend else {})}
