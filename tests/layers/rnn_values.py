"""The stored numbers of the real Keras for recurrent layers and wrappers."""

import json
from pathlib import Path

import numpy as np
import pytest

from gpunet.registry import layers as registered

FOLDER = Path(__file__).resolve().parents[1] / "fixtures" / "keras"
_STORED = json.loads((FOLDER / "rnn.json").read_text(encoding="utf8"))
with np.load(FOLDER / "rnn.npz") as _values:
    _NUMBERS = _values["values"]
MASK = np.array(_STORED["mask"], bool)


def array(place):
    """Return the stored array of a place."""
    start, shape = place
    return _NUMBERS[start : start + int(np.prod(shape))].reshape(shape)


INPUTS = {key: array(place) for key, place in _STORED["inputs"].items()}


def of_kind(*kinds, classes=None):
    """Return the cases of some kinds as parameters with readable ids."""
    found = [
        c for c in _STORED["cases"]
        if c["kind"] in kinds and (classes is None or c["class"] in classes)
    ]  # fmt: skip
    return [pytest.param(c, id=f"{i}-{c['class']}-{_label(c)}") for i, c in enumerate(found)]


def _label(case):
    skip = ("name", "units", "layers", "input_layers", "output_layers", "trainable")
    parts = [f"{k}={v}" for k, v in case["config"].items() if k not in skip]
    parts += [f"{k}={v}" for k, v in case.get("options", {}).items()]
    return ",".join(p if len(p) < 40 else p[:39] for p in parts)


def make(case, **more):
    """Return the layer of a case."""
    config = {**case["config"], **more}
    return registered.deserialize({"class_name": case["class"], "config": config})


def mask_of(case, x):
    """Return the mask that a case is called with, or None."""
    if not case["options"].get("mask"):
        return None
    mask = MASK[: x.shape[0], : x.shape[1]]
    return mask.T if case["config"].get("time_major") else mask
