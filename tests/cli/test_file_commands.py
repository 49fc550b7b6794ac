"""The commands of ``gpunet`` that read model files."""

import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from gpunet import layers
from gpunet.cli import COMMANDS, main
from gpunet.models import Model, Sequential, load_model

STORED = Path(__file__).resolve().parents[1] / "fixtures" / "h5"


@pytest.fixture
def path(tmp_path):
    """Return the path of a compiled and trained model."""
    model = Sequential([layers.Dense(4, input_shape=(3,), name="a"), layers.Dense(2, name="b")])
    model.compile("adam", "mse", metrics=["mae"])
    model.train_on_batch(np.ones((2, 3)), np.ones((2, 2)))
    model.save(tmp_path / "modell ü.h5")
    return str(tmp_path / "modell ü.h5")


def said(capsys, *argv, code=0):
    assert main([str(a) for a in argv]) == code
    return capsys.readouterr().out


def as_json(capsys, *argv, code=0):
    return json.loads(said(capsys, *argv, "--json", code=code))


# -- info ---------------------------------------------------------------------------------------


def test_info(path, capsys):
    text = said(capsys, "info", path)
    assert "Sequential" in text and "(3, 4), (4,)" in text and "Adam, 9 arrays" in text
    found = as_json(capsys, "info", path)
    assert found["kind"] == "model" and found["refused"] == []
    assert found["parameters"] == load_model(path).count_params()
    assert found["size"] == os.path.getsize(path)
    assert [entry["name"] for entry in found["layers"]][-2:] == ["a", "b"]
    assert found["weights"]["b"] == {"b/kernel:0": [4, 2], "b/bias:0": [2]}


@pytest.mark.parametrize("name", sorted(p.stem for p in STORED.glob("*.h5")))
def test_info_of_stored_files_agrees_with_loading(name, capsys):
    known_bad = ("bad_no_model_config", "bad_weight_shape")  # not seen without building
    expected = 1 if name.startswith("bad_lambda") else 0
    found = as_json(capsys, "info", STORED / f"{name}.h5", code=expected)
    assert bool(found["refused"]) == bool(expected)
    if expected == 0 and name not in known_bad:
        assert found["parameters"] >= load_model(STORED / f"{name}.h5").count_params()


def test_info_says_what_would_be_refused(path, tmp_path, capsys):
    def breaks(change):
        copy = tmp_path / "copy.h5"
        copy.write_bytes(Path(path).read_bytes())
        with h5py.File(copy, "a") as file:
            change(file)
        return said(capsys, "info", copy, code=1)

    def rename(file):
        file.attrs["model_config"] = file.attrs["model_config"].replace('"Dense"', '"Mine"')

    def link(file):
        del file["model_weights/b"]
        file["model_weights/b"] = h5py.ExternalLink("/etc/passwd", "/")

    def text(file):
        file.attrs["model_config"] = "{"

    assert "refused: unknown layer 'Mine'" in breaks(rename)
    assert "refused: 'b' in group" in breaks(link)
    assert "isn't JSON" in breaks(text)


def test_info_of_weights(path, tmp_path, capsys):
    load_model(path).save_weights(tmp_path / "w.h5")
    assert as_json(capsys, "info", tmp_path / "w.h5")["kind"] == "weights"


# -- summary, plot, devices -----------------------------------------------------------------------


def test_summary(path, capsys):
    assert "Total params: 26" in said(capsys, "summary", path)
    found = as_json(capsys, "summary", path)
    assert [entry["parameters"] for entry in found["layers"]] == [16, 10]
    assert found["trainable_parameters"] == 26


def test_devices(capsys):
    assert "cpu" in as_json(capsys, "devices")["devices"]
    assert "cpu" in said(capsys, "devices")


# -- predict ------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".csv"])
def test_predict(path, suffix, tmp_path, capsys):
    x = np.random.default_rng(0).random((5, 3)).astype("f4")
    source, target = tmp_path / f"x{suffix}", tmp_path / f"y{suffix}"
    if suffix == ".csv":
        np.savetxt(source, x, delimiter=",", header="a,b,c", comments="")
    else:
        np.save(source, x) if suffix == ".npy" else np.savez(source, any_name=x)
    found = as_json(capsys, "predict", path, "--input", source, "--output", target)
    assert found["shapes"] == {"b": [5, 2]}
    y = np.loadtxt(target, delimiter=",") if suffix == ".csv" else np.load(target)
    y = y["b"] if suffix == ".npz" else y
    np.testing.assert_allclose(y, load_model(path).predict(x), rtol=1e-6)
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".gpunet")]


def test_predict_with_several_inputs(tmp_path, capsys):
    a, b = layers.Input((2,), name="a"), layers.Input((3,), name="b")
    model = Model([a, b], [layers.Concatenate(name="c")([a, b]), layers.Dense(1, name="d")(a)])
    model.save(tmp_path / "m.h5")
    x = [np.ones((2, 2), "f4"), np.zeros((2, 3), "f4")]
    np.savez(tmp_path / "x.npz", b=x[1], a=x[0])
    said(
        capsys, "predict", tmp_path / "m.h5", "--input", tmp_path / "x.npz", "--output",
        tmp_path / "y.npz",
    )  # fmt: skip
    with np.load(tmp_path / "y.npz") as y:
        np.testing.assert_array_equal(y["c"], model.predict(x)[0])
        assert set(y.files) == {"c", "d"}


def test_predict_an_image(tmp_path, capsys):
    image = pytest.importorskip("PIL.Image")
    model = Sequential([layers.Flatten(input_shape=(4, 5, 3)), layers.Dense(2)])
    model.save(tmp_path / "m.h5")
    pixels = np.random.default_rng(0).integers(0, 255, (4, 5, 3), "uint8")
    image.fromarray(pixels).save(tmp_path / "x.png")
    said(
        capsys, "predict", tmp_path / "m.h5", "--input", tmp_path / "x.png", "--output",
        tmp_path / "y.npy", "--scale", "0.5",
    )  # fmt: skip
    want = model.predict(pixels[None].astype("f4") * 0.5)
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), want, rtol=1e-5)


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("x.npy", None, "x.npy"),
        ("x.npy", b"no array", "x.npy"),
        ("x.csv", b"1,2\n3,4\n", "expected shape"),
        ("x.png", b"no image", "image"),
    ],
)
def test_predict_with_bad_data(name, content, words, path, tmp_path, capsys):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    args = ["predict", path, "--input", str(tmp_path / name), "--output", str(tmp_path / "y.npy")]
    assert main(args) == 1
    assert words in capsys.readouterr().err
    assert not (tmp_path / "y.npy").exists()


def test_predict_reads_no_pickles(path, tmp_path, capsys):
    np.save(tmp_path / "x.npy", np.array([{"a": 1}], dtype=object))
    args = ["--input", str(tmp_path / "x.npy"), "--output", str(tmp_path / "y.npy")]
    assert main(["predict", path, *args]) == 1
    assert "pickle" in capsys.readouterr().err.lower()


# -- diff, convert ------------------------------------------------------------------------------


def test_diff(path, tmp_path, capsys):
    other = tmp_path / "other.h5"
    model = load_model(path)
    model.save(other)
    assert said(capsys, "diff", path, other) == ""
    weights = model.get_weights()
    weights[2][0, 0] += 0.25
    model.set_weights(weights)
    model.save(other)
    assert "weights: b b/kernel:0: 1 numbers differ, by up to 0.25" in said(
        capsys, "diff", path, other, code=1
    )
    said(capsys, "diff", path, other, "--tolerance", "0.3")
    model.optimizer.lr = 0.5
    model.save(other)
    found = as_json(capsys, "diff", path, other, code=1)
    assert found["compile"] == ["optimizer_config.config.learning_rate: 0.001 and 0.5"]
    bigger = Sequential([layers.Dense(4, input_shape=(3,), name="a"), layers.Dense(3, name="b")])
    bigger.save(other)
    found = as_json(capsys, "diff", path, other, code=1)
    assert any("layers.b.config.units: 2 and 3" in line for line in found["architecture"])
    assert main(["diff", path, str(tmp_path / "none.h5")]) == 2


def test_convert(path, tmp_path, capsys):
    source = STORED / "fmt_k216_sequential_list.h5"
    said(capsys, "convert", source, tmp_path / "new.h5")
    with h5py.File(tmp_path / "new.h5") as file:
        config = json.loads(file.attrs["model_config"])
        assert isinstance(config["config"], dict) and file.attrs["gpunet_version"]
    said(capsys, "diff", source, tmp_path / "new.h5", code=1)  # today's config has more to say
    for a, b in zip(
        load_model(source).get_weights(), load_model(tmp_path / "new.h5").get_weights(), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    assert as_json(capsys, "convert", path, tmp_path / "a.weights.h5")["kind"] == "weights"
    load_model(path).load_weights(tmp_path / "a.weights.h5")
    args = ["convert", path, str(tmp_path / "new.h5"), "--no-overwrite"]
    assert main(args) == 1
    assert "exists" in capsys.readouterr().err


# -- all of them --------------------------------------------------------------------------------

NEED_FILES = [c for c in COMMANDS if c not in ("run", "devices")]


@pytest.mark.parametrize("command", NEED_FILES)
def test_no_such_file(command, tmp_path, capsys):
    missing = str(tmp_path / "none.h5")
    more = {
        "predict": ["--input", "x.npy", "--output", "y.npy"],
        "plot": ["-o", str(tmp_path / "m.svg")],
        "diff": [missing],
        "convert": [str(tmp_path / "out.h5")],
    }
    assert main([command, missing, *more.get(command, [])]) in (1, 2)
    captured = capsys.readouterr()
    assert "none.h5" in captured.err and captured.out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", COMMANDS)
def test_help(command, capsys):
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    assert command in capsys.readouterr().out


def test_as_a_program(path):
    done = subprocess.run(
        [sys.executable, "-m", "gpunet", "info", path, "--json"],
        capture_output=True, check=False, timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
             "PYTHONIOENCODING": "utf8"},
    )  # fmt: skip
    assert done.returncode == 0
    assert json.loads(done.stdout)["parameters"] == 26


@pytest.mark.parametrize("suffix", [".svg", ".dot"])
def test_plot(path, suffix, tmp_path, capsys):
    target = tmp_path / f"m{suffix}"
    assert as_json(capsys, "plot", path, "-o", target, "--shapes") == {"output": str(target)}
    start = {".svg": b"<svg", ".dot": b"graph"}[suffix]
    assert start in target.read_bytes()[:400]
    before = target.read_bytes()
    assert main(["plot", path + "x", "-o", str(target)]) == 1
    assert target.read_bytes() == before
    assert sorted(p.suffix for p in tmp_path.iterdir()) == sorted([".h5", suffix])
