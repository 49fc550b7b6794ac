"""``.keras`` archives that the real Keras wrote, and hostile ones."""

import io
import json
import shutil
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from gpunet import layers
from gpunet.cli import main
from gpunet.errors import FileFormatError
from gpunet.models import Model, Sequential, load_model
from gpunet.saving.describe import describe

TESTS = Path(__file__).resolve().parents[1]
STORED = sorted((TESTS / "fixtures" / "archives").glob("*.keras"))
sys.path.insert(0, str(TESTS / "interop"))

import exchange  # noqa: E402

every_file = pytest.mark.parametrize("path", STORED, ids=lambda p: p.stem)
MEMBERS = ("metadata.json", "config.json", "model.weights.h5")


def arrays(path):
    with np.load(path.with_suffix(".npz")) as z:
        return *(exchange.taken(z, p) for p in ("in", "tgt", "out")), z["losses"]


@every_file
@pytest.mark.parametrize("stream", [False, True])
def test_goes_on_as_there(path, stream):
    x, y, out, losses = arrays(path)
    model = load_model(io.BytesIO(path.read_bytes()) if stream else path)
    for got, want in zip(exchange.outputs_of(model, x), out, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
    steps = [
        np.ravel(model.train_on_batch(exchange.alone(x), exchange.alone(y)))[0] for _ in losses
    ]
    np.testing.assert_allclose(steps, losses, rtol=1e-4)


@every_file
def test_weights_alone(path):
    model = load_model(path, compile=False)
    want = model.get_weights()
    for source in (path, io.BytesIO(zipfile.ZipFile(path).read("model.weights.h5"))):
        model.set_weights([np.zeros_like(w) for w in want])
        model.load_weights(source)
        for a, b in zip(model.get_weights(), want, strict=True):
            np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match="by_name"):
        model.load_weights(path, by_name=True)


@every_file
def test_commands(path, tmp_path, capsys):
    found = describe(path)
    assert found["refused"] == [] and found["optimizer"]["class_name"] == "Adam"
    assert found["parameters"] >= load_model(path).count_params()
    assert main(["convert", str(path), str(tmp_path / "m.h5")]) == 0
    x, _, out, _ = arrays(path)
    model = load_model(tmp_path / "m.h5")
    np.testing.assert_allclose(exchange.outputs_of(model, x)[0], out[0], rtol=1e-4, atol=1e-5)


@pytest.fixture
def copy(tmp_path):
    shutil.copy(STORED[1], tmp_path / "m.keras")
    return tmp_path / "m.keras"


def rewritten(path, **members):
    """Write an archive anew with other members; None leaves one out."""
    with zipfile.ZipFile(path) as file:
        kept = {name: file.read(name) for name in MEMBERS}
    kept.update(members)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in kept.items():
            if data is not None:
                file.writestr(name, data)


@pytest.mark.parametrize("name", MEMBERS)
def test_missing_members(copy, name):
    rewritten(copy, **{name: None})
    with pytest.raises(FileFormatError, match=rf"m\.keras.*holds no '{name}'"):
        load_model(copy)


@pytest.mark.parametrize("name", MEMBERS)
@pytest.mark.parametrize("data", [b"", b"{", b"3", b"\xff", b"[" * 10**5])
def test_members_of_something_else(copy, name, data):
    rewritten(copy, **{name: data})
    with pytest.raises((ValueError, OSError)):
        load_model(copy)
    try:
        describe(copy)
    except (ValueError, OSError):
        pass


def test_damaged_archives(copy):
    data = copy.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(150):
        broken = bytearray(data)
        for place in rng.integers(0, len(data), 3):
            broken[place] ^= 1 << int(rng.integers(8))
        copy.write_bytes(broken[: rng.integers(len(data) // 2, len(data) + 1)])
        try:
            load_model(copy)
        except (ValueError, OSError, TypeError):
            pass


def test_bombs(copy):
    """A member that grows when it is unpacked, whether or not it says so."""
    rewritten(copy, **{"model.weights.h5": b"\0" * (1 << 26)})
    with pytest.raises(FileFormatError, match="'model.weights.h5' in the archive has more than"):
        load_model(copy, max_bytes=1000)


def test_other_members_are_left_alone(copy, tmp_path):
    rewritten(copy, **{"../outside": b"x", "/tmp/gpunet-outside": b"x", "assets/a": b"x"})
    load_model(copy)
    assert [p.name for p in tmp_path.iterdir()] == ["m.keras"]
    assert not Path("/tmp/gpunet-outside").exists()


def test_links_in_the_weights(copy, tmp_path):
    data = io.BytesIO(zipfile.ZipFile(copy).read("model.weights.h5"))
    with h5py.File(data, "a") as file:
        place = next(n for n in _names(file) if n.endswith("vars/0"))
        del file[place]
        file[place] = h5py.ExternalLink(str(tmp_path / "x.h5"), "/x")
    rewritten(copy, **{"model.weights.h5": data.getvalue()})
    with pytest.raises(FileFormatError, match="link"):
        load_model(copy)


def _names(file):
    found = []
    file.visit(found.append)
    return found


def test_bytecode(copy):
    config = json.loads(zipfile.ZipFile(copy).read("config.json"))
    config = {
        "class_name": "Sequential",
        "config": {
            "layers": [
                {"class_name": "InputLayer", "config": {"batch_shape": [None, 3], "name": "i"}},
                {"class_name": "Lambda", "config": {"name": "evil", "function": {
                    "class_name": "__lambda__", "config": {"code": "4wAA"}}}},
            ]
        },
    }  # fmt: skip
    rewritten(copy, **{"config.json": json.dumps(config)})
    with pytest.raises(ValueError, match="evil.*bytecode"):
        load_model(copy)
    assert "evil" in describe(copy)["refused"][0]


def test_order_and_names_of_groups():
    """Groups are numbered by class in the order of the config; names in the file go first."""
    a = layers.Input((3,), name="a")
    model = Model(a, [layers.Dense(2, name="y")(a), layers.Dense(2, name="x")(a)])
    data = io.BytesIO()
    with h5py.File(data, "w") as file:
        for stem, name, value in (("dense", "x", 1.0), ("dense_1", "y", 2.0)):
            group = file.create_group(f"layers/{stem}/vars")
            group.attrs["name"] = name
            group["0"], group["1"] = np.full((3, 2), value), np.full(2, value)
    model.load_weights(data)
    assert model.get_layer("x").get_weights()[1][0] == 1.0
    assert model.get_layer("y").get_weights()[1][0] == 2.0


def test_writing_one_says_what_to_do(tmp_path):
    with pytest.raises(ValueError, match=r"end the name in '\.h5'"):
        Sequential([layers.Dense(2, input_shape=(3,))]).save(tmp_path / "m.keras")
