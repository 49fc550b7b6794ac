"""Models of applications exchanged with tf_keras, both ways: full files and weights alone."""

import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

import live
import zoo_applications as zoo
from make_env import python_of

import gpunet

# Too much for every check: gigabytes, or many minutes in tf_keras.
SLOW = {
    "VGG16",
    "NASNetLarge",
    "InceptionResNetV2",
    "ResNet101",
    "ResNet152",
    "ResNet101V2",
    "ResNet152V2",
    "DenseNet169",
    "DenseNet201",
    *(f"EfficientNetB{n}" for n in range(2, 8)),
}
EVERY = [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in zoo.NAMES]
_done = {}


def exchanged(name, folder):
    """Return (what gpunet wrote, the peer read, the peer wrote, gpunet read) of one model."""
    if name not in _done:
        _done.clear()  # files of gigabytes
        python = python_of("tf")
        sides = {side: {"name": name, "folder": str(folder / side)} for side in ("ours", "theirs")}
        ours = zoo.write_application(gpunet, sides["ours"])
        items = [
            {**sides["ours"], "command": "read_application"},
            {**sides["theirs"], "command": "write_application"},
        ]
        read, theirs = live.run_peer(python, folder, items)
        back = {} if "error" in theirs else zoo.read_application(gpunet, sides["theirs"])
        arrays = {
            side: (load(folder / side / "written.npz"), load(folder / side / f"read_by_{by}.npz"))
            for side, by in (("ours", "tf_keras"), ("theirs", "gpunet"))
        }
        shutil.rmtree(folder / "ours")
        shutil.rmtree(folder / "theirs", ignore_errors=True)
        _done[name] = {"ours": (ours, read), "theirs": (theirs, back)}, arrays
    return _done[name]


def load(path):
    if not path.exists():
        return None
    with np.load(path) as file:
        return dict(file)


@pytest.mark.interop("tf")
@pytest.mark.parametrize("side", ["ours", "theirs"])
@pytest.mark.parametrize("name", EVERY)
def test_same_model(name, side, tmp_path):
    """The writer's model is that of the reader: layers, shapes, counts, predictions to 1e-4."""
    results, arrays = exchanged(name, tmp_path)
    written, read = results[side]
    for result in (written, read):
        assert "error" not in result, result["error"]
    assert read["params"] == written["params"]
    assert [shapes for _, shapes in read["layers"]] == [shapes for _, shapes in written["layers"]]
    assert named(read) == named(written)
    wrote, found = arrays[side]
    for key, want in wrote.items():
        assert np.isfinite(want).all() and want.std() > 1e-3 * np.abs(want).max()
        np.testing.assert_allclose(found[key], want, rtol=0, atol=1e-4 * np.abs(want).max())


def named(result):
    """Return the names of layers, those of functions of tensors without their numbers."""
    names = [name for name, _ in result["layers"]]
    return [re.sub(r"_\d+$", "", name) if name.startswith("tf.") else name for name in names]
