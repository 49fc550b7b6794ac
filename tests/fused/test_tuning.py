"""Trying ways to do the same work: the fastest is taken, and kept."""

import emulate
import numpy as np
import pytest

from gpunet import ops
from gpunet.fused import conv_kernels, launch, tiles, tuning
from gpunet.ops.window import window

H200, T4 = launch.CHIPS["h200"], launch.CHIPS["t4"]


@pytest.fixture(autouse=True)
def clock(monkeypatch, tmp_path):
    """A home of its own, and a timer that gives each way the time it has for a name."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "a folder yet to be made"))
    monkeypatch.setenv("GPUNET_AUTOTUNE", "1")
    monkeypatch.setattr(tuning, "_known", {})
    monkeypatch.setattr(tuning, "_capturing", lambda: False)
    tried = []
    monkeypatch.setattr(tuning, "_seconds", lambda run: tried.append(run()) or tried[-1])
    return tried


def test_the_fastest_is_taken_and_kept(clock, monkeypatch):
    ways = {"slow": 3.0, "fast": 1.0, "middle": 2.0}
    assert tuning.fastest("work", ways, lambda way: way) == 1.0
    assert clock == [3.0, 1.0, 2.0]
    assert tuning.fastest("work", ways, lambda way: way) == 1.0
    monkeypatch.setattr(tuning, "_known", {})  # another process
    assert tuning.fastest("work", ways, lambda way: way) == 1.0
    assert clock == [3.0, 1.0, 2.0]
    assert tuning.fastest("other work", ways, lambda way: -way) == 3.0
    assert list(tuning.place().parent.iterdir()) == [tuning.place()]


def test_a_way_that_is_gone_is_not_taken():
    tuning.fastest("work", {"old": 1.0, "other": 2.0}, lambda way: way)
    assert tuning.fastest("work", {"new": 5.0, "newer": 4.0}, lambda way: way) == 4.0


def test_nothing_is_tried_in_a_capture(clock, monkeypatch):
    monkeypatch.setattr(tuning, "_capturing", lambda: True)
    assert tuning.fastest("work", {"first": 3.0, "fast": 1.0}, lambda way: way) == 3.0
    assert not clock and not tuning.place().exists()


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"work": 3}', "\x00\xff"])
def test_a_damaged_file_is_written_anew(text):
    tuning.place().parent.mkdir()
    tuning.place().write_text(text, encoding="utf8")
    assert tuning.fastest("work", {"a": 2.0, "b": 1.0}, lambda way: way) == 1.0
    assert tuning._read(tuning.place()) == {"work": "b"}


def test_a_place_that_cannot_be_written_is_a_warning(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "file"))
    assert tuning.fastest("work", {"a": 2.0, "b": 1.0}, lambda way: way) == 1.0
    assert "what was tuned isn't kept" in caplog.text


def test_what_others_found_stays():
    tuning.fastest("work", {"a": 2.0, "b": 1.0}, lambda way: way)
    with tuning.replacing(tuning.place()) as file:
        file.write(b'{"work": "b", "of others": "c"}')
    tuning.fastest("more work", {"a": 2.0, "b": 1.0}, lambda way: way)
    assert tuning._read(tuning.place()) == {"work": "b", "of others": "c", "more work": "b"}


def test_keys_differ_by_chip_source_and_sizes():
    keys = [
        tuning.key_of(H200, "source", (3, 4)), tuning.key_of(T4, "source", (3, 4)),
        tuning.key_of(H200, "other", (3, 4)), tuning.key_of(H200, "source", (3, 5)),
    ]  # fmt: skip
    assert len(set(keys)) == 4 and keys[0] == tuning.key_of(H200, "source", (3, 4))


@pytest.mark.skipif(not emulate.compiler(), reason="g++ is missing")
def test_convolutions_try_tiles(clock, monkeypatch, rng):
    """All give the same bits; the last, which is taken, is the first no more when it is found."""
    count = iter(range(100, 0, -1))
    monkeypatch.setattr(tuning, "_seconds", lambda run: run() or clock.append(1) or next(count))
    x, k = (rng.standard_normal(s).astype("float32") for s in [(1, 40, 8), (3, 8, 24)])
    with emulate.fake_cupy() as cupy:
        g = conv_kernels.geometry(window((40,), (3,)), 8, 24, 1, x.dtype)
        product = g.forward_product(1)
        y = g.forward(cupy, x, k)
        monkeypatch.delenv("GPUNET_AUTOTUNE")
        np.testing.assert_array_equal(y, g.forward(cupy, x, k))
    assert len(clock) == len(tiles.candidates(product, H200)) > 1
    assert list(tuning._read(tuning.place()).values()) == [str(tiles.candidates(product, H200)[-1])]
    np.testing.assert_allclose(y, ops.conv.forward(np, x, k)[0], rtol=4e-3, atol=4e-2)
