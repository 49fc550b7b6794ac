"""The stored calls of Keras's layers, as pytest parameters; fixtures/README.md has the layout."""

import json
from pathlib import Path

import numpy as np
import pytest

from gpunet import layers
from gpunet.autodiff import GradientTape
from gpunet.layers.base import loss_scope
from gpunet.tensor import Tensor

FOLDER = Path(__file__).resolve().parent.parent / "fixtures" / "keras"
_STORED = json.loads((FOLDER / "layers_misc.json").read_text(encoding="utf8"))
with np.load(FOLDER / "layers_misc.npz") as _values:
    _FLAT = _values["values"]


def array(place, dtype="float32"):
    """Return the array at a place [offset, shape]."""
    start, shape = place
    size = int(np.prod(shape, dtype=int))
    return _FLAT[start : start + size].reshape(shape).astype(dtype)


def input_of(name):
    """Return a stored input."""
    stored = _STORED["inputs"][name]
    return array(stored["place"], stored["dtype"])


def cases(kind, *names):
    """Return the cases of a kind, of some classes or of all, as parameters."""
    found = [c for c in _STORED["cases"] if c["kind"] == kind]
    return [pytest.param(c, id=_label(c)) for c in found if not names or c["class"] in names]


def _label(case):
    if "class" not in case:
        return case["config"]["name"]
    options = [f"{k}={v}" for k, v in case["config"].items()]
    phase = [] if case["training"] is None else [f"training={case['training']}"]
    given = case.get("masks")
    masks = ["".join("x" if m is None else "m" for m in given)] if given else []
    keys = case["inputs"] if isinstance(case["inputs"], list) else [case["inputs"]]
    keys = [k if isinstance(k, str) else "x".join(map(str, k[1])) for k in keys]
    options += [f"{k}={v}" for k, v in case.get("call", {}).items()]
    return "-".join([case["class"], *keys, *options, *phase, *masks]).replace(" ", "")


def make(case, **more):
    """Return the layer of a case, not built."""
    return getattr(layers, case["class"]).from_config({**case["config"], **more})


def inputs_of(case, dtype="float32"):
    """Return the arrays a layer of a case is called on, as a list."""
    keys = case["inputs"] if isinstance(case["inputs"], list) else [case["inputs"]]
    made = [input_of(k) for k in keys]
    ids = any("ids" in k for k in keys)
    return made if ids else [a.astype(dtype) for a in made]


class Called:
    """What one call of a layer gives: y, gradients, mask, losses.

    Args:
        case: as stored.
        dtype: name.
        layer: layer to call; a new one by default.
    """

    def __init__(self, case, dtype="float32", layer=None):
        dtype = case["config"].get("dtype", dtype)
        self.layer = layer or make(case, name="layer", dtype=dtype)
        inputs = [Tensor(a) for a in inputs_of(case, dtype)]
        self.inputs = inputs if isinstance(case["inputs"], list) else inputs[0]
        self.layer(self.inputs)  # builds
        self.layer.set_weights([array(p, dtype) for p in case["weights"]])
        for t, m in zip(inputs, case.get("masks") or [], strict=False):
            t._keras_mask = None if m is None else Tensor(np.array(m, bool))
        options = {} if case["training"] is None else {"training": case["training"]}
        floats = [t for t in inputs if t.dtype.kind == "f" and "ids" not in str(case["inputs"])]
        trained = self.layer.trainable_weights
        with GradientTape() as tape, loss_scope() as scope:
            tape.watch(floats)
            self.y = self.layer(self.inputs, **options)
        gy = Tensor(array(case["gy"], self.y.dtype))
        grads = tape.gradient(self.y, floats + trained, gy)
        self.gx, self.gw = grads[: len(floats)], grads[len(floats) :]
        self.losses = scope.losses
        self.mask = getattr(self.y, "_keras_mask", None)


def close(got, want, tolerance):
    got = np.asarray(got)
    assert got.shape == want.shape
    scale = max(1.0, float(np.max(np.abs(want), initial=0)))
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance * scale)


def check_values(case, called=None, tolerance=2e-5):
    """Compare a call with what Keras gave: value, gradients, mask, losses and weights."""
    called = called or Called(case)
    close(called.y, array(case["y"]), tolerance)
    for got, place in zip(called.gx + called.gw, case["gx"] + case["gw"], strict=True):
        if place is None:
            assert got is None
        else:
            close(got, array(place), tolerance)
    for got, place in zip(called.layer.get_weights(), case["after"], strict=True):
        close(got, array(place), tolerance)
    names = [w.name for w in called.layer.weights]
    assert names == case["weight_names"]
    np.testing.assert_allclose([float(v) for v in called.losses], case["losses"], rtol=1e-5)
    if case["mask"] is None:
        assert called.mask is None
    else:
        np.testing.assert_array_equal(called.mask, np.array(case["mask"], bool))


def check_config(case):
    """Compare a built layer's config with Keras's, and read it back."""
    layer = Called(case).layer
    found = layer.get_config()
    for key, want in case["full_config"].items():
        got = found[key]
        if isinstance(got, dict):
            got = got["class_name"]
        if key == "axis" and isinstance(want, list):  # Keras counts the axes from 0 when built
            rank = layer.input_spec.ndim if layer.input_spec else None
            got = [a % rank if rank else a for a in (got if isinstance(got, list) else [got])]
        if key == "groups" and case["config"][key] == -1:  # Keras writes what it came to
            got = layer.gamma.size if layer.gamma else layer.beta.size
        if isinstance(want, float):
            assert got == pytest.approx(want, rel=1e-6), key
        else:
            assert _plain(got) == want, key
    again = type(layer).from_config(_plain(found))
    assert _plain(again.get_config()) == _plain(found)
    check_values(case, Called(case, layer=again))


def _plain(value):
    return json.loads(json.dumps(value))
