"""The stored numbers of the real Keras, as pytest parameters; fixtures/README.md has the layout."""

import json
from pathlib import Path

import numpy as np
import pytest

from gpunet.tensor import convert_to_tensor

FOLDER = Path(__file__).resolve().parent / "fixtures" / "keras"

with np.load(FOLDER / "values.npz") as _stored:
    ARRAYS = {key: _stored[key] for key in _stored.files}
_CASES = json.loads((FOLDER / "values.json").read_text(encoding="utf8"))["cases"]


def of_kind(kind):
    """Return the cases of a kind as parameters with readable ids."""
    found = [c for c in _CASES if c["kind"] == kind]
    return [pytest.param(c, id=_label(c)) for c in found]


def _label(case):
    options = case.get("options") or case.get("config") or {}
    first = case["inputs"][0]
    first = first if isinstance(first, str) else first[0]
    return "-".join([case["name"], *(f"{k}={v}" for k, v in options.items()), first])


def tensor(key):
    """Return a stored array as a new tensor."""
    return convert_to_tensor(ARRAYS[key])


def expected(value):
    """Return an output: the stored array of a key, or the number itself."""
    return ARRAYS[value] if isinstance(value, str) else np.asarray(value, "float32")


def assert_close(got, want, rtol=1e-5, atol=1e-6):
    """Compare a result with an output of a case, shapes too."""
    got, want = np.asarray(got), expected(want)
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=rtol, atol=atol)
