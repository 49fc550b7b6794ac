"""What every test can count on: markers that skip with a reason, and fixed seeds."""

import functools
import importlib.util
import random
from pathlib import Path

import numpy as np
import pytest

TESTS = Path(__file__).resolve().parent


def pytest_collection_modifyitems(config, items):
    for item in items:
        reason = reason_to_skip(item, config.option.markexpr or "")
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))


def reason_to_skip(item, expression):
    """Return why this machine can't or shouldn't run a test, or None."""
    if item.get_closest_marker("slow") and "slow" not in expression:
        return "slow: run it with -m slow"
    if item.get_closest_marker("gpu"):
        return missing_gpu()
    marker = item.get_closest_marker("interop") or item.get_closest_marker("interop_smoke")
    return missing_interop(marker.args) if marker else None


@functools.cache
def missing_gpu():
    """Return why there is no GPU to test on, or None."""
    if importlib.util.find_spec("cupy") is None:
        return "gpu: CuPy isn't installed"
    try:
        import cupy

        count = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:  # a broken install or driver shows itself in many ways
        return f"gpu: {type(error).__name__}: {error}"
    return None if count else "gpu: no CUDA device"


@functools.cache
def missing_interop(wanted):
    """Return why the real Keras can't be run, or None.

    Args:
        wanted: tuple of the environments that the test needs; empty means that any will do.
    """
    spec = importlib.util.spec_from_file_location("make_env", TESTS / "interop" / "make_env.py")
    make_env = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make_env)
    absent = [name for name in wanted or make_env.ENVIRONMENTS if not make_env.python_of(name)]
    if absent and (wanted or len(absent) == len(make_env.ENVIRONMENTS)):
        names = " or ".join(absent)
        return f"interop: no environment {names}; make it with python tests/interop/make_env.py"
    return None


@pytest.fixture
def seeds():
    """Seed Python, NumPy and gpunet; put the states of the first two back afterwards."""
    import gpunet

    python_state, numpy_state = random.getstate(), np.random.get_state()
    gpunet.utils.set_random_seed(0)
    yield 0
    random.setstate(python_state)
    np.random.set_state(numpy_state)


@pytest.fixture
def rng():
    """A NumPy generator that gives the same numbers in every run."""
    return np.random.default_rng(0)


@pytest.fixture
def plain_sums(monkeypatch):
    """No sums by BLAS, which rounds otherwise than the functions that other devices have."""
    from gpunet.ops import products

    monkeypatch.setattr(products, "_FEW", -1)
    monkeypatch.setattr(products, "_SHORT", -1)


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A web server of this machine (see local_server.py); KERAS_HOME is an empty folder."""
    from local_server import serving

    from gpunet.downloads import fetching

    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(fetching, "_PAUSE", 0.001)
    with serving() as found:
        yield found
