"""The examples of applications, in quick mode."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gpunet.models import load_model

ROOT = Path(__file__).resolve().parents[1]


def run(name, *arguments, folder):
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / f"{name}.py", "--quick", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "KERAS_HOME": str(folder / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not (folder / "cache").exists()  # nothing was fetched
    return done.stdout


def test_fine_tuning(tmp_path):
    printed = run("fine_tuning", folder=tmp_path)
    assert [int(n.replace(",", "")) for n in re.findall(r"([\d,]+) of 1,776,458", printed)] == [
        40970,  # the new top alone
        1516298,  # and block3
    ]
    first, second = map(float, re.findall(r"test accuracy ([\d.]+)", printed))
    assert second >= first > 0.3
    assert load_model(tmp_path / "fine_tuned.h5").output_shape == (None, 10)


def test_feature_extraction(tmp_path):
    lines = run("feature_extraction", folder=tmp_path).splitlines()[1:]
    assert [line.split()[:2] for line in lines] == [
        ["block1_pool", "16x16x64"],
        ["block2_pool", "8x8x128"],
        ["block3_pool", "4x4x256"],
        ["block4_pool", "2x2x512"],
        ["block5_pool", "1x1x512"],
    ]
    assert min(float(line.split()[2].rstrip("%")) for line in lines) > 60


def test_grad_cam(tmp_path):
    image = pytest.importorskip("PIL.Image", reason="needs Pillow")
    printed = run("grad_cam", folder=tmp_path)
    assert "saved grad_cam.png" in printed
    with image.open(tmp_path / "grad_cam.png") as picture:
        assert picture.size == (640, 128)
        plain, heated = picture.crop((0, 0, 640, 64)), picture.crop((0, 64, 640, 128))
        assert all(r == g == b for _, (r, g, b) in plain.getcolors(10000))
        assert any(r > g + 50 for _, (r, g, b) in heated.getcolors(10000))
