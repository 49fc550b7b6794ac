"""The digits: the bytes, the split, and the example that trains on them."""

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gpunet.datasets import digits

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "gpunet" / "datasets"

# SHA-256 of the arrays' bytes, and of all images and labels in an order that no shuffle changes.
# The latter was computed from scikit-learn 1.9.1's copy, not from ours.
CHECKSUMS = {
    "x_train": "79faabe683a326c5282874c84b1f45626ae5a82a0dbf51c7d94a5fdc613a6375",
    "y_train": "2aa7c2c41b652423f95e55c882273003f8f09d5ef5ae979dc7e67acf6beb1f06",
    "x_test": "2dae05079fb708647ecdf962f25c19c13f9f5da8634b41751a3fd83c593c8ffd",
    "y_test": "eb7b30bcddf84754e6ff52330961c0acd986036d4384423ab67f9cdef66ee22c",
}
SCIKIT_LEARN = "f67d6a29d0e1f70e7f0cd9dcf25816b694881f4b8f27f5cc1db59551f0499fb8"


@pytest.fixture
def arrays():
    (x_train, y_train), (x_test, y_test) = digits.load_data()
    return {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}


def test_shapes_dtypes_and_values(arrays):
    assert {name: array.shape for name, array in arrays.items()} == {
        "x_train": (1438, 8, 8),
        "y_train": (1438,),
        "x_test": (359, 8, 8),
        "y_test": (359,),
    }
    for name, array in arrays.items():
        assert array.dtype == np.uint8
        assert (array.min(), array.max()) == ((0, 16) if name.startswith("x") else (0, 9))


@pytest.mark.parametrize("name", CHECKSUMS)
def test_bytes_are_the_known_ones(arrays, name):
    assert hashlib.sha256(arrays[name].tobytes()).hexdigest() == CHECKSUMS[name]


def test_samples_are_those_of_scikit_learn(arrays):
    x = np.concatenate([arrays["x_train"], arrays["x_test"]])
    y = np.concatenate([arrays["y_train"], arrays["y_test"]])
    rows = sorted(image.tobytes() + label.tobytes() for image, label in zip(x, y, strict=True))
    assert hashlib.sha256(b"".join(rows)).hexdigest() == SCIKIT_LEARN


def test_a_fifth_of_each_class_is_held_out(arrays):
    train, test = np.bincount(arrays["y_train"]), np.bincount(arrays["y_test"])
    assert len(train) == len(test) == 10
    assert (np.abs(test - (train + test) / 5) < 1).all()


def test_training_samples_are_mixed(arrays):
    """The last tenth, which ``validation_split=0.1`` takes, has every class."""
    assert set(arrays["y_train"][-143:]) == set(range(10))


def test_callers_do_not_share_arrays(arrays):
    arrays["x_train"][:] = 0
    assert digits.load_data()[0][0].any()


def test_file_is_small_and_has_its_note():
    assert (DATA / "digits.npz").stat().st_size < 60_000
    note = (DATA / "digits.txt").read_text(encoding="utf8")
    assert "10.24432/C50P49" in note and "CC BY 4.0" in note


def test_example_trains_saves_and_reloads(tmp_path):
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "digits.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    closing = done.stdout.splitlines()[-1]
    accuracy = re.fullmatch(r"test accuracy: (0\.\d{4}|1\.0000)", closing)
    assert accuracy and float(accuracy.group(1)) >= 0.975, closing
    assert "same bits" in done.stdout
    assert (tmp_path / "digits.h5").stat().st_size > 0
