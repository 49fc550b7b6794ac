"""The stored calls of Keras's later layers, as pytest parameters."""

import json
from pathlib import Path

import pytest

_PATH = Path(__file__).resolve().parent.parent / "fixtures" / "keras" / "later.json"
_CASES = json.loads(_PATH.read_text(encoding="utf-8"))["cases"]


def cases(kind):
    """Return the cases of a kind as parameters."""
    found = [c for c in _CASES if c["kind"] == kind]
    return [pytest.param(c, id=f"{c['class']}-{i}") for i, c in enumerate(found)]
