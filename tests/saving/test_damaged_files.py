"""Files that are damaged, hostile or something else: clean errors, and nothing changed."""

import builtins
import importlib
import io
import json
import random

import h5py
import numpy as np
import pytest
from saving_models import classifier, data, same_weights, stack, steps

from gpunet import layers
from gpunet.errors import FileFormatError
from gpunet.models import Sequential, load_model


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Return (model, bytes of its file)."""
    model = classifier()
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    steps(model, *data()[:2])
    path = tmp_path_factory.mktemp("damaged") / "m.h5"
    model.save(path)
    return model, path.read_bytes()


@pytest.fixture
def path(written, tmp_path):
    """Return the path of a file of one's own."""
    (tmp_path / "m.h5").write_bytes(written[1])
    return tmp_path / "m.h5"


def refused(path, model, match=None):
    """Assert that a file is refused cleanly and that a model it is loaded into stays as it was."""
    before = model.get_weights()
    with pytest.raises((ValueError, OSError, TypeError), match=match):
        load_model(path)
    try:
        model.load_weights(path)
    except (ValueError, OSError, TypeError):
        pass
    else:
        return
    for a, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_truncated(written, path):
    whole = written[1]
    for size in range(0, len(whole), 977):
        path.write_bytes(whole[:size])
        refused(path, stack(), r"m\.h5")


@pytest.mark.filterwarnings("ignore")
def test_flipped_bits(written, path):
    """Whatever one bit does, it's a clean error or a model of the same structure."""
    model, whole = written
    rng = random.Random(1)
    target = stack()
    for _ in range(300):
        broken = bytearray(whole)
        for _ in range(rng.choice((1, 1, 8))):
            broken[rng.randrange(len(broken))] ^= 1 << rng.randrange(8)
        path.write_bytes(broken)
        before = target.get_weights()
        for load in (lambda: load_model(path), lambda: target.load_weights(path)):
            try:
                load()
            except (ValueError, OSError, TypeError):
                for a, b in zip(target.get_weights(), before, strict=True):
                    np.testing.assert_array_equal(a, b)


def test_heaps_of_texts(written, path):
    """HDF5 itself never returns from such files, or crashes."""
    for free in (b"\0" * 16, b"\0\0\x07" + b"\0" * 13, b"\1" * 13 + b"\0\0\0", b"\xff" * 16):
        broken = bytearray(written[1])
        heap = broken.index(b"GCOL")
        broken[heap + 16 : heap + 32] = free
        path.write_bytes(broken)
        refused(path, stack(), r"m\.h5.*heap of texts.*damaged")
        with pytest.raises(FileFormatError, match="BytesIO.*heap of texts"):
            load_model(io.BytesIO(broken))
    path.write_bytes(written[1] + b"GCOL\x01" * 3)  # what isn't a heap does no harm
    load_model(path)


@pytest.mark.filterwarnings("ignore")
def test_overwritten_stretches(written, path):
    rng = random.Random(2)
    whole = written[1]
    for _ in range(200):
        broken = bytearray(whole)
        start = rng.randrange(len(broken))
        stop = min(len(broken), start + rng.randrange(1, 64))
        broken[start:stop] = rng.randbytes(stop - start)
        path.write_bytes(broken)
        try:
            load_model(path)
        except (ValueError, OSError, TypeError):
            pass


@pytest.mark.parametrize(
    "content, match",
    [
        (b"", "is empty"),
        (b"PK\x03\x04 and so on", "the archive is damaged"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b"no model at all", "no HDF5 file"),
    ],
)
def test_other_files(content, match, path):
    path.write_bytes(content)
    refused(path, stack(), match)


def test_no_file_and_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_model(tmp_path / "nowhere.h5")
    (tmp_path / "saved").mkdir()
    refused(tmp_path / "saved", stack(), "folder")
    (tmp_path / "saved" / "saved_model.pb").touch()
    refused(tmp_path / "saved", stack(), r"SavedModel.*model\.h5")
    (tmp_path / "ckpt.index").touch()
    refused(tmp_path / "ckpt", stack(), r"checkpoint.*save_weights")


# -- one thing that is wrong ------------------------------------------------------------------


def no_group(file):
    del file["model_weights"]


def no_layer(file):
    name = file["model_weights"].attrs["layer_names"][-1].decode()
    del file["model_weights"][name]


def no_dataset(file):
    group = file["model_weights"]
    name = group.attrs["layer_names"][-1].decode()
    del group[name][group[name].attrs["weight_names"][0].decode()]


def _replace(file, make):
    group = file["model_weights"]
    group = group[group.attrs["layer_names"][-1].decode()]
    name = group.attrs["weight_names"][0].decode()
    parent, _, last = name.rpartition("/")
    del group[name]
    make(group[parent], last)


def other_shape(file):
    _replace(file, lambda g, n: g.create_dataset(n, data=np.zeros((3, 5), "f4")))


def bomb(file):
    _replace(file, lambda g, n: g.create_dataset(n, (1 << 20, 1 << 20), "f4", chunks=(64, 64)))


def text(file):
    _replace(file, lambda g, n: g.create_dataset(n, data=[b"a", b"b"]))


def group_for_dataset(file):
    _replace(file, lambda g, n: g.create_group(n))


def soft_link(file):
    _replace(file, lambda g, n: g.__setitem__(n, h5py.SoftLink("/optimizer_weights")))


def external_link(file):
    _replace(file, lambda g, n: g.__setitem__(n, h5py.ExternalLink("/etc/passwd", "/x")))


def external_data(file):
    _replace(
        file, lambda g, n: g.create_dataset(n, (5, 3), "f4", external=[("/etc/passwd", 0, 60)])
    )


def virtual_data(file):
    layout = h5py.VirtualLayout((5, 3), "f4")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (5, 3))
    _replace(file, lambda g, n: g.create_virtual_dataset(n, layout))


def linked_weights(file):
    del file["model_weights"]
    file["model_weights"] = h5py.ExternalLink("/etc/passwd", "/")


def names_are_numbers(file):
    file["model_weights"].attrs["layer_names"] = np.arange(3)


def names_are_text(file):
    file["model_weights"].attrs["layer_names"] = "dense"


def names_are_not_utf8(file):
    file["model_weights"].attrs["layer_names"] = np.array([b"\xff\xfe"])


def names_of_nothing(file):
    file["model_weights"].attrs["layer_names"] = np.array([b".", b"..", b"/"])


def config_is_a_number(file):
    file.attrs["model_config"] = 3


def config_is_not_json(file):
    file.attrs["model_config"] = "{'class_name"


def config_is_deep(file):
    file.attrs["model_config"] = "[" * 100_000 + "]" * 100_000


def config_is_not_utf8(file):
    file.attrs["model_config"] = np.bytes_(b'{"a": "\xff"}')


DAMAGE = {
    no_group: "model_weights.*missing",
    no_layer: "dense.*missing",
    no_dataset: "kernel:0.*missing",
    other_shape: r"Dense .*kernel:0.*\(5, 3\).*\(3, 5\)",
    bomb: "shape",
    text: "kernel:0.*numbers",
    group_for_dataset: "kernel:0.*numbers",
    soft_link: "kernel:0.*link",
    external_link: "kernel:0.*link",
    external_data: "kernel:0.*another file",
    virtual_data: "kernel:0.*another file",
    linked_weights: "model_weights.*link",
    names_are_numbers: "layer_names.*expected text",
    names_are_text: "layer_names.*list of names",
    names_are_not_utf8: "layer_names.*utf-8",
    names_of_nothing: "",
    config_is_a_number: "model_config.*expected text",
    config_is_not_json: "model_config.*JSON",
    config_is_deep: "model_config.*deep",
    config_is_not_utf8: "model_config.*utf-8",
}


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda f: f.__name__)
def test_the_error_says_what_is_wrong(damage, path):
    with h5py.File(path, "a") as file:
        damage(file)
    refused(path, stack(), rf"(?s)m\.h5.*{DAMAGE[damage]}")


ENDS = {"input_layers": [], "output_layers": []}
CONFIGS = [
    3, [], {}, "text", None,
    {"class_name": 3, "config": {}},
    {"class_name": "Functional"},
    {"class_name": "Functional", "config": {"layers": []}},
    {"class_name": "Functional", "config": {"layers": 3, **ENDS}},
    {"class_name": "Functional", "config": {"layers": [3], **ENDS}},
    {"class_name": "Dense", "config": {"units": 3}},
    {"class_name": "Adam", "config": {}},
    {"class_name": "Sequential", "config": {"layers": [{"class_name": "Dense", "config": 3}]}},
    {"class_name": "Sequential", "config": [{"class_name": "Dense", "config": {"units": "many"}}]},
    {"class_name": "os.system", "config": "echo"},
    {"class_name": "builtins>eval", "config": "1", "module": "builtins", "registered_name": "eval"},
    {"class_name": "function", "config": "system", "module": "os", "registered_name": "function"},
]  # fmt: skip


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_configs_that_make_no_model(config, path):
    with h5py.File(path, "a") as file:
        file.attrs["model_config"] = json.dumps(config)
    with pytest.raises((ValueError, TypeError, OSError)):
        load_model(path)


def edited(path, edit):
    with h5py.File(path, "a") as file:
        config = json.loads(file.attrs["model_config"])
        edit(config["config"])
        file.attrs["model_config"] = json.dumps(config)


EDITS = {
    "no such tensor": lambda c: c["output_layers"].__setitem__(0, ["dense", 7, 0]),
    "no such layer": lambda c: c["layers"][-1]["inbound_nodes"][0].__setitem__(0, ["x", 0, 0, {}]),
    "a circle": lambda c: c["layers"][-1]["inbound_nodes"][0].__setitem__(
        0, [c["layers"][-1]["name"], 0, 0, {}]
    ),
    "calls are numbers": lambda c: c["layers"][-1].__setitem__("inbound_nodes", 3),
    "calls of numbers": lambda c: c["layers"][-1].__setitem__("inbound_nodes", [3]),
    "places are text": lambda c: c.__setitem__("input_layers", ["input"]),
    "huge": lambda c: c["layers"][-1]["config"].__setitem__("units", 10**15),
    "negative": lambda c: c["layers"][-1]["config"].__setitem__("units", -1),
    "deep kwargs": lambda c: c["layers"][-1]["inbound_nodes"][0][0].__setitem__(3, [[[[]]]]),
    "unknown key": lambda c: c["layers"][-1]["config"].__setitem__("surprise", 1),
    "initializer": lambda c: c["layers"][-1]["config"].__setitem__(
        "kernel_initializer", {"class_name": "os.system", "config": {}}
    ),
}


@pytest.mark.parametrize("edit", EDITS)
def test_configs_that_refer_to_nothing(edit, path):
    edited(path, EDITS[edit])
    with pytest.raises((ValueError, TypeError, OSError)):
        load_model(path)


def test_deeply_nested_models(path):
    depth = 3000
    parts = ['{"class_name": "Sequential", "config": {"layers": ['] * depth
    parts += ['{"class_name": "Dense", "config": {"units": 2}}'] + ["]}}"] * depth
    with h5py.File(path, "a") as file:
        file.attrs["model_config"] = "".join(parts)
    refused(path, stack())


def test_max_bytes(path, written):
    with pytest.raises(FileFormatError, match=r"m\.h5.*max_bytes=100"):
        load_model(path, max_bytes=100)
    with pytest.raises(FileFormatError, match="max_bytes=100"):
        stack().load_weights(path, max_bytes=100)
    same_weights(load_model(path, max_bytes=10_000), written[0])


def test_nothing_is_allocated_before_the_check(tmp_path):
    """A few bytes of file that declare 40 TB, which the model's config agrees with."""
    path = tmp_path / "m.h5"
    Sequential([layers.Dense(2, input_shape=(2,), name="d")]).save(path)
    edited(
        path,
        lambda c: [
            c["layers"][0]["config"].update(batch_input_shape=[None, 1 << 20]),
            c["layers"][1]["config"].update(units=10**7, batch_input_shape=[None, 1 << 20]),
        ],
    )
    with h5py.File(path, "a") as file:
        group = file["model_weights/d/d"]
        for name, shape in (("kernel:0", (1 << 20, 10**7)), ("bias:0", (10**7,))):
            del group[name]
            group.create_dataset(name, shape, "f4", chunks=(1,) * len(shape))
    with pytest.raises(FileFormatError, match="max_bytes"):
        load_model(path)


def test_weights_without_a_shape_of_the_input(path):
    with h5py.File(path, "a") as file:
        config = {
            "class_name": "Sequential",
            "config": [{"class_name": "Dense", "config": {"units": 3, "name": "d"}}],
        }
        file.attrs["model_config"] = json.dumps(config)
    refused(path, stack(), "input's shape")


def test_loading_imports_and_opens_nothing_else(path, monkeypatch):
    load_model(path)  # whatever is imported lazily is there now
    opened = []
    original = builtins.__import__

    def watched(name, *args, **kwargs):
        if name.partition(".")[0] not in ("gpunet", "h5py", "numpy"):
            opened.append(name)
        return original(name, *args, **kwargs)

    def forbidden(*args, **kwargs):
        raise AssertionError("imported by name")

    monkeypatch.setattr(builtins, "__import__", watched)
    monkeypatch.setattr(importlib, "import_module", forbidden)
    edited(path, lambda c: c["layers"][-1].update(module="antigravity", registered_name=None))
    load_model(path)
    assert "antigravity" not in opened


@pytest.mark.parametrize("error", [OSError("read failed"), KeyError("x"), RuntimeError("x")])
def test_a_failure_in_the_middle_of_loading_changes_nothing(error, path, monkeypatch):
    model = stack()
    before = model.get_weights()
    original, calls = h5py.Dataset.__getitem__, []

    def failing(*args, **kwargs):
        calls.append(1)
        if len(calls) == 3:
            raise error
        return original(*args, **kwargs)

    monkeypatch.setattr(h5py.Dataset, "__getitem__", failing)
    with pytest.raises(FileFormatError, match="dataset '/model_weights/.*damaged"):
        model.load_weights(path)
    for a, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)
