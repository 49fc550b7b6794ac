"""A test for each public advisory on the loading of Keras's models; SECURITY.md lists them.

Payloads do nothing worse than create a file, whose absence is checked.
"""

import base64
import json
import marshal
import tarfile
import zipfile

import h5py
import numpy as np
import pytest

from gpunet import config as gpunet_config
from gpunet import layers
from gpunet.errors import FileFormatError
from gpunet.models import Sequential, load_model
from gpunet.saving.describe import describe


@pytest.fixture
def marker(tmp_path):
    """Return a path that nothing may create."""
    path = tmp_path / "executed"
    yield path
    assert not path.exists()


def file_of(path, *entries, calls=()):
    """Write a model file whose config holds layers as an attacker writes them.

    Args:
        path: the file.
        *entries: dicts (class_name, config and whatever else) that follow an InputLayer.
        calls: kwargs of their inbound nodes; a Sequential model without any.
    """
    Sequential([layers.Dense(2, input_shape=(3,), name="d")]).save(path)
    shape = {"name": "i", "batch_input_shape": [None, 3]}
    start = {"class_name": "InputLayer", "name": "i", "config": shape, "inbound_nodes": []}
    if calls:
        chain = [start]
        for entry, kwargs in zip(entries, calls, strict=True):
            place = [[[chain[-1]["name"], 0, 0, kwargs]]]
            chain.append({**entry, "name": entry["config"]["name"], "inbound_nodes": place})
        ends = {"input_layers": [["i", 0, 0]], "output_layers": [[chain[-1]["name"], 0, 0]]}
        config = {"class_name": "Functional", "config": {"name": "m", "layers": chain, **ends}}
    else:
        config = {"class_name": "Sequential", "config": {"name": "m", "layers": [start, *entries]}}
    with h5py.File(path, "a") as file:
        file.attrs["model_config"] = json.dumps(config)
    return path


def bytecode(marker):
    """Return a function that creates a file, in the form in which Keras stores it."""
    source = f"lambda x: (open({str(marker)!r}, 'w').close(), x)[1]"
    code = compile(source, "payload", "eval").co_consts[0]
    return base64.encodebytes(marshal.dumps(code)).decode()


def refused(path, words):
    """Check that a file, and an archive of the same, is refused before anything of it has run."""
    archive = path.with_suffix(".keras")
    with h5py.File(path) as file, zipfile.ZipFile(archive, "w") as members:
        members.writestr("metadata.json", json.dumps({"keras_version": "3.8.0"}))
        members.writestr("config.json", file.attrs["model_config"])
        members.write(path, "model.weights.h5")
    for source in (path, archive):
        with pytest.raises((ValueError, TypeError, OSError), match=words):
            load_model(source)
        describe(source)  # neither runs anything nor fails


@pytest.mark.parametrize(
    "form",
    [
        lambda code: {"function": [code, None, None], "function_type": "lambda"},
        lambda code: {"function": {"class_name": "__lambda__", "config": {"code": code}}},
        lambda code: {"function": code, "function_type": "lambda"},
        lambda code: {
            "function": "abs", "output_shape": [code, None, None], "output_shape_type": "lambda",
        },
        lambda code: {"function": "abs", "mask": [code, None, None], "mask_type": "lambda"},
    ],
    ids=["Keras 2", "Keras 3", "bare", "output_shape", "mask"],
)  # fmt: skip
def test_cve_2024_3660_lambda_bytecode(form, marker, tmp_path):
    """A Lambda layer's function is stored as Python bytecode."""
    config = {"name": "evil", "module": "builtins", **form(bytecode(marker))}
    refused(file_of(tmp_path / "m.h5", {"class_name": "Lambda", "config": config}), "evil")


@pytest.mark.parametrize("nested", ["TimeDistributed", "Sequential"])
def test_cve_2024_3660_inside_of_other_layers(nested, marker, tmp_path):
    function = {"function": [bytecode(marker), None, None], "function_type": "lambda"}
    inner = {"class_name": "Lambda", "config": {"name": "evil", **function}}
    config = {"name": "o", "layer": inner} if nested == "TimeDistributed" else {"layers": [inner]}
    refused(file_of(tmp_path / "m.h5", {"class_name": nested, "config": config}), "evil")


MODULES = [
    {"module": "os", "class_name": "function", "config": "system", "registered_name": "system"},
    {"module": "subprocess", "class_name": "Popen", "config": {"args": ["touch"]}},
    {"module": "builtins", "class_name": "eval", "config": "1", "registered_name": "eval"},
    {"module": "gpunet.saving.files", "class_name": "function", "config": "load_model"},
]


@pytest.mark.parametrize("entry", MODULES, ids=lambda e: e["module"])
@pytest.mark.parametrize("key", ["layer", "kernel_initializer", "activation", "function"])
def test_cve_2025_1550_any_function_of_any_module(key, entry, tmp_path):
    """The config names a module and a function in it, to be imported and called."""
    if key == "layer":
        made = {**entry, "config": {"name": "evil"}}
    elif key == "function":
        config = {"name": "evil", "function": entry, "arguments": {"command": "id"}}
        made = {"class_name": "Lambda", "config": config}
    else:
        made = {"class_name": "Dense", "config": {"name": "evil", "units": 2, key: entry}}
    with pytest.raises((ValueError, TypeError)):
        load_model(file_of(tmp_path / "m.h5", made))


@pytest.mark.parametrize("name", ["get_file", "utils.get_file", "keras.utils>get_file"])
def test_cve_2025_8747_functions_of_keras_itself(name, tmp_path):
    """A Lambda layer names a function of Keras that downloads and unpacks a file."""
    function = {"class_name": "function", "config": name, "module": "keras.utils"}
    arguments = {"fname": str(tmp_path / "x"), "origin": "http://localhost:1/x", "extract": True}
    for value in (function, name):
        config = {"name": "evil", "function": value, "function_type": "function"}
        entry = {"class_name": "Lambda", "config": {**config, "arguments": arguments}}
        refused(file_of(tmp_path / "m.h5", entry), "unknown function|Unknown function")
    assert not (tmp_path / "x").exists()


def test_cve_2025_9905_safe_mode_holds_for_h5(marker, tmp_path):
    """safe_mode=True means nothing to Keras when a file is HDF5."""
    function = {"function": [bytecode(marker), None, None], "function_type": "lambda"}
    path = file_of(
        tmp_path / "m.h5", {"class_name": "Lambda", "config": {"name": "evil", **function}}
    )
    with pytest.raises(ValueError, match="evil.*bytecode.*safe_mode=False"):
        load_model(path, safe_mode=True)
    assert describe(path)["refused"] == [
        "Lambda 'evil' holds Python bytecode: pass its function in custom_objects, or use "
        "safe_mode=False"
    ]


@pytest.mark.parametrize("name", ["enable_unsafe_deserialization", "set_floatx", "load_model"])
def test_cve_2025_9906_switching_safety_off_from_the_file(name, marker, tmp_path):
    """An earlier layer of the config calls a function that allows bytecode in later ones."""
    first = {"name": "first", "function": {"class_name": "function", "config": name,
             "module": "keras.config"}, "arguments": {"safe_mode": False}}  # fmt: skip
    second = {"name": "evil", "function": [bytecode(marker), None, None], "function_type": "lambda"}
    entries = [{"class_name": "Lambda", "config": config} for config in (first, second)]
    before = gpunet_config.floatx()
    refused(file_of(tmp_path / "m.h5", *entries), "first|evil")
    refused(file_of(tmp_path / "n.h5", *entries, calls=[{"inputs": "/tmp/x"}, {}]), "first|evil")
    assert gpunet_config.floatx() == before


@pytest.mark.parametrize("kind", ["StringLookup", "IntegerLookup", "TextVectorization"])
@pytest.mark.parametrize("vocabulary", ["file", "http://localhost:1/words", "gs://bucket/words"])
def test_cve_2025_12058_vocabularies_from_files(kind, vocabulary, tmp_path):
    """The vocabulary of a layer is a path or a URL."""
    if vocabulary == "file":
        (tmp_path / "secret.txt").write_text("1\n2\n", encoding="utf8")
        vocabulary = str(tmp_path / "secret.txt")
    entry = {"class_name": kind, "config": {"name": "evil", "vocabulary": vocabulary}}
    refused(file_of(tmp_path / "m.h5", entry), "evil.*names the file.*isn't opened")


def test_cve_2025_12060_archives_that_write_elsewhere(tmp_path):
    """get_file unpacks a tar file whose members lead out of the folder."""
    from gpunet.utils import get_file

    with tarfile.open(tmp_path / "evil.tar", "w") as archive:
        for name, link in (("../outside", None), ("/tmp/gpunet-outside", None), ("l", "../..")):
            member = tarfile.TarInfo(name)
            if link:
                member.type, member.linkname = tarfile.SYMTYPE, link
            archive.addfile(member)
    cache = tmp_path / "a" / "b"
    with pytest.raises((ValueError, OSError)):
        get_file("evil.tar", (tmp_path / "evil.tar").as_uri(), extract=True, cache_dir=cache)
    assert not list(tmp_path.rglob("outside"))


def test_cve_2026_0897_shapes_that_fill_the_memory(tmp_path):
    """A dataset of a few bytes declares a shape of terabytes, and the config agrees."""
    path = tmp_path / "m.h5"
    Sequential([layers.Dense(2, input_shape=(2,), name="d")]).save(path)
    with h5py.File(path, "a") as file:
        config = json.loads(file.attrs["model_config"])
        for entry in config["config"]["layers"]:
            entry["config"]["batch_input_shape"] = [None, 1 << 20]
        config["config"]["layers"][1]["config"]["units"] = 1 << 24
        file.attrs["model_config"] = json.dumps(config)
        for name, shape in (("kernel:0", (1 << 20, 1 << 24)), ("bias:0", (1 << 24,))):
            del file[f"model_weights/d/d/{name}"]
            file.create_dataset(f"model_weights/d/d/{name}", shape, "f4", chunks=True)
    with pytest.raises(ValueError, match="max_bytes"):
        load_model(path)
    assert "max_bytes" in describe(path)["refused"][0]
    with pytest.raises(ValueError, match="shape"):
        Sequential([layers.Dense(2, input_shape=(2,), name="d")]).load_weights(path)


def external(file, place, secret):
    file.create_dataset(place, (3, 2), "f4", external=[(str(secret), 0, 24)])


def virtual(file, place, secret):
    layout = h5py.VirtualLayout((3, 2), "f4")
    layout[:] = h5py.VirtualSource(str(secret), "x", (3, 2))
    file.create_virtual_dataset(place, layout)


def link(file, place, secret):
    file[place] = h5py.ExternalLink(str(secret), "/x")


def soft(file, place, secret):
    file[place] = h5py.SoftLink("/elsewhere")
    file["elsewhere"] = np.zeros((3, 2), "f4")


@pytest.mark.parametrize("store", [external, virtual, link, soft])
@pytest.mark.parametrize(
    "place", ["model_weights/d/d/kernel:0", "model_weights/d", "model_weights"]
)
def test_cve_2026_1669_data_of_other_files(store, place, tmp_path):
    """Weights that lie in another file of this machine, by each of HDF5's ways."""
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["x"] = np.ones((3, 2), "f4")
    path = tmp_path / "m.h5"
    Sequential([layers.Dense(2, input_shape=(3,), name="d")]).save(path)
    with h5py.File(path, "a") as file:
        del file[place]
        store(file, place, secret)
    target = Sequential([layers.Dense(2, input_shape=(3,), name="d")])
    before = target.get_weights()
    for by_name in (False, True):
        with pytest.raises(FileFormatError):
            target.load_weights(path, by_name=by_name)
    with pytest.raises(FileFormatError):
        load_model(path)
    for a, b in zip(target.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)
    assert describe(path)["refused"]


@pytest.mark.parametrize("name", ["../../outside", "/outside", "..", "a/../../b", "C:\\x"])
def test_cve_2026_12479_names_that_are_paths(name, tmp_path, monkeypatch):
    """Names of layers lead out of the folder that a file is unpacked into."""
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    path = folder / "m.h5"
    try:
        model = Sequential([layers.Dense(2, input_shape=(3,), name=name)])
        model.save(path)
        load_model(path)
    except (ValueError, OSError):
        pass
    entry = {"class_name": "Dense", "config": {"name": name, "units": 2}}
    try:
        load_model(file_of(path, entry)).save_weights(folder / "w.h5")
    except (ValueError, OSError):
        pass
    assert {p.name for p in tmp_path.rglob("*")} <= {"a", "b", "m.h5", "w.h5"}
