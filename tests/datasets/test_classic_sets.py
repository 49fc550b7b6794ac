"""The classic data sets, from small files of the real formats on a local server."""

import gzip
import hashlib
import io
import json
import pickle
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

import gpunet
from gpunet import config, datasets
from gpunet.datasets import cifar as cifar_files
from gpunet.datasets import packed, sources
from gpunet.errors import DownloadError, FileFormatError

ROOT = Path(__file__).resolve().parents[2]
MODULES = ["boston_housing", "cifar10", "cifar100", "fashion_mnist", "imdb", "mnist", "reuters"]


@pytest.fixture
def serve(site, monkeypatch):
    """Return a function that puts a file in the place of a data set's."""

    def put(name, content):
        site.files["/" + name] = content
        entry = (f"{site.url}/{name}", hashlib.sha256(content).hexdigest())
        monkeypatch.setitem(sources.SOURCES, name, entry)

    return put


def npz(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def ragged(lists):
    made = np.empty(len(lists), object)
    for i, item in enumerate(lists):
        made[i] = item
    return made


@pytest.mark.parametrize("name", MODULES)
def test_without_network(name, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    for file, (_, checksum) in sources.SOURCES.items():
        monkeypatch.setitem(sources.SOURCES, file, (f"http://127.0.0.1:9/{file}", checksum))
    with pytest.raises(DownloadError, match=f"put it there: {tmp_path}/datasets"):
        getattr(datasets, name).load_data()


def test_sources_are_whole():
    for url, checksum in sources.SOURCES.values():
        assert url.startswith("https://")
        assert checksum is None or len(checksum) in (32, 64)


def test_import_is_lazy():
    code = "import sys, gpunet; print([m for m in sys.modules if m.startswith('gpunet.datasets.')])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
    assert set(MODULES) <= set(dir(gpunet.datasets))


def test_mnist(serve, rng):
    parts = {
        "x_train": rng.integers(0, 256, (20, 28, 28), "uint8"),
        "y_train": rng.integers(0, 10, 20, "uint8"),
        "x_test": rng.integers(0, 256, (5, 28, 28), "uint8"),
        "y_test": rng.integers(0, 10, 5, "uint8"),
    }
    serve("mnist.npz", npz(**parts))
    (x_train, y_train), (x_test, y_test) = datasets.mnist.load_data()
    for got, want in zip((x_train, y_train, x_test, y_test), parts.values(), strict=True):
        assert got.dtype == "uint8"
        np.testing.assert_array_equal(got, want)


def test_mnist_file_of_another_name(serve, tmp_path):
    images = np.zeros((2, 28, 28), "uint8")
    serve("mnist.npz", npz(x_train=images, y_train=images[:, 0, 0], x_test=images, y_test=images))
    datasets.mnist.load_data("digits.npz", cache_dir=tmp_path / "mine")
    assert (tmp_path / "mine" / "datasets" / "digits.npz").is_file()


def idx(array):
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return gzip.compress(header + array.tobytes())


def test_fashion_mnist(serve, rng, tmp_path):
    wanted = []
    for part, count in (("train", 12), ("t10k", 5)):
        x = rng.integers(0, 256, (count, 28, 28), "uint8")
        y = rng.integers(0, 10, count, "uint8")
        serve(f"{part}-images-idx3-ubyte.gz", idx(x))
        serve(f"{part}-labels-idx1-ubyte.gz", idx(y))
        wanted += [x, y]
    (x_train, y_train), (x_test, y_test) = datasets.fashion_mnist.load_data()
    for got, want in zip((x_train, y_train, x_test, y_test), wanted, strict=True):
        np.testing.assert_array_equal(got, want)
        assert got.flags.writeable
    assert len(list((tmp_path / "keras" / "datasets" / "fashion-mnist").iterdir())) == 4


@pytest.mark.parametrize("content", [b"", b"not gzip", gzip.compress(b"\0\0\x08\x03"), None])
def test_damaged_fashion_mnist(serve, content):
    whole = idx(np.zeros((3, 28, 28), "uint8"))
    serve("train-images-idx3-ubyte.gz", whole[:-20] if content is None else content)
    serve("train-labels-idx1-ubyte.gz", idx(np.zeros(3, "uint8")))
    with pytest.raises(FileFormatError, match="damaged"):
        datasets.fashion_mnist.load_data()


# -- CIFAR ------------------------------------------------------------------------------------


def python2_pickle(entries):
    """Return a pickle as Python 2 and its NumPy wrote it: texts as bytes, protocol 2."""
    parts = [b"\x80\x02}("]
    for key, value in entries.items():
        parts.append(_text2(key))
        parts.append(_array2(value) if isinstance(value, np.ndarray) else _list2(value))
    return b"".join([*parts, b"u."])


def _text2(text):
    return b"U" + bytes([len(text)]) + text.encode()


def _list2(items):
    return b"](" + b"".join(b"K" + bytes([item]) for item in items) + b"e"


def _array2(array):
    shape = b"".join(b"J" + size.to_bytes(4, "little") for size in array.shape)
    raw = array.tobytes()
    return b"".join(
        [
            b"cnumpy.core.multiarray\n_reconstruct\n",
            b"cnumpy\nndarray\nK\x00\x85" + _text2("b") + b"\x87R",
            b"(K\x01(" + shape + b"tcnumpy\ndtype\n" + _text2("u1") + b"K\x00K\x01\x87R",
            b"(K\x03" + _text2("|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb",
            b"\x89T" + len(raw).to_bytes(4, "little") + raw + b"tb",
        ]
    )


def test_made_pickles_are_real_ones(rng):
    array = rng.integers(0, 256, (3, 4), "uint8")
    found = pickle.loads(python2_pickle({"data": array, "labels": [1, 2]}), encoding="bytes")
    np.testing.assert_array_equal(found[b"data"], array)
    assert found[b"labels"] == [1, 2]


def tar_of(files):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


@pytest.fixture
def cifar10_parts(serve, rng):
    """The images and labels of six small files that are served."""
    parts, files = {}, {}
    for name in [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]:
        x, y = rng.integers(0, 256, (4, 3072), "uint8"), rng.integers(0, 10, 4).tolist()
        parts[name] = x, y
        files[f"cifar-10-batches-py/{name}"] = python2_pickle({"data": x, "labels": y})
    serve("cifar-10-batches-py", tar_of(files))
    return parts


def test_cifar10(cifar10_parts, tmp_path):
    (x_train, y_train), (x_test, y_test) = datasets.cifar10.load_data()
    assert x_train.shape == (20, 32, 32, 3) and y_train.shape == (20, 1)
    assert x_train.dtype == y_train.dtype == x_test.dtype == y_test.dtype == "uint8"
    x, y = cifar10_parts["data_batch_2"]
    np.testing.assert_array_equal(x_train[4:8], x.reshape(4, 3, 32, 32).transpose(0, 2, 3, 1))
    assert y_train[4:8, 0].tolist() == y
    assert y_test[:, 0].tolist() == cifar10_parts["test_batch"][1]
    folder = tmp_path / "keras" / "datasets"
    assert (folder / "cifar-10-batches-py.tar.gz").is_file()
    assert (folder / "cifar-10-batches-py" / "test_batch").is_file()


def test_cifar10_channels_first(cifar10_parts, monkeypatch):
    monkeypatch.setattr(config, "image_data_format", lambda: "channels_first")
    x_test = datasets.cifar10.load_data()[1][0]
    np.testing.assert_array_equal(x_test.reshape(4, -1), cifar10_parts["test_batch"][0])


def test_cifar100(serve, rng):
    files, wanted = {}, {}
    for name in ("train", "test"):
        x = rng.integers(0, 256, (3, 3072), "uint8")
        y = {f"{kind}_labels": rng.integers(0, 100, 3).tolist() for kind in ("fine", "coarse")}
        files[f"cifar-100-python/{name}"] = python2_pickle({"data": x, **y})
        wanted[name] = y
    serve("cifar-100-python", tar_of(files))
    for mode in ("fine", "coarse"):
        (x_train, y_train), (_, y_test) = datasets.cifar100.load_data(mode)
        assert x_train.shape == (3, 32, 32, 3)
        assert y_train[:, 0].tolist() == wanted["train"][f"{mode}_labels"]
        assert y_test[:, 0].tolist() == wanted["test"][f"{mode}_labels"]
    with pytest.raises(ValueError, match="'fine' or 'coarse', got 'both'"):
        datasets.cifar100.load_data("both")


def test_cifar_batch_of_something_else(tmp_path):
    path = tmp_path / "batch"
    for content in ({b"data": 1}, {b"data": np.zeros((2, 7), "uint8"), b"labels": [1, 2]}, [1]):
        path.write_bytes(pickle.dumps(content, 2))
        with pytest.raises(FileFormatError, match="no file of CIFAR"):
            cifar_files.load_batch(str(path))


# -- texts ------------------------------------------------------------------------------------

TEXTS = ragged([[1, 5, 9], [2, 2], [7], [3, 1, 4, 1], [5, 6], [8, 3, 2, 1, 9], [4], [6, 6, 6]])
LABELS = np.arange(8)


def as_keras(x, y, num_words, skip_top, maxlen, start_char, oov_char, index_from):
    """Return what the classic arguments mean, written out word by word."""
    texts, labels = [], []
    for text, label in zip(x, y, strict=True):
        new = ([] if start_char is None else [start_char]) + [w + index_from for w in text]
        if not maxlen or len(new) < maxlen:
            texts.append(new)
            labels.append(label)

    def finish(limit):
        for text in texts:
            kept = [w if skip_top <= w < limit else oov_char for w in text]
            yield [w for w in kept if w is not None]

    return labels, lambda limit: list(finish(num_words or limit)), texts


DEFAULTS = {
    "num_words": None,
    "skip_top": 0,
    "maxlen": None,
    "start_char": 1,
    "oov_char": 2,
    "index_from": 3,
}
ARGUMENTS = [
    {},
    {"num_words": 7},
    {"skip_top": 5},
    {"num_words": 8, "skip_top": 4, "oov_char": None},
    {"maxlen": 4},
    {"start_char": None},
    {"start_char": None, "index_from": 0},
    {"index_from": 10, "oov_char": 99},
    {"seed": 3, "maxlen": 5, "num_words": 100},
]


@pytest.mark.parametrize("given", ARGUMENTS, ids=str)
def test_imdb(serve, given):
    serve("imdb.npz", npz(x_train=TEXTS, y_train=LABELS, x_test=TEXTS[:4], y_test=LABELS[:4]))
    options = {**DEFAULTS, **{k: v for k, v in given.items() if k != "seed"}}
    rng = np.random.RandomState(given.get("seed", 113))
    orders = [np.arange(8), np.arange(4)]
    for order in orders:
        rng.shuffle(order)
    wanted = [as_keras(TEXTS[o], LABELS[o], **options) for o in orders]
    limit = max(w for _, _, texts in wanted for text in texts for w in text)
    found = datasets.imdb.load_data(**given)
    for (x, y), (labels, finish, _) in zip(found, wanted, strict=True):
        assert x.dtype == object and x.ndim == 1
        assert x.tolist() == finish(limit)
        assert all(type(w) is int for text in x for w in text)
        assert y.tolist() == labels


@pytest.mark.parametrize("given", ARGUMENTS, ids=str)
def test_reuters(serve, given):
    serve("reuters.npz", npz(x=TEXTS, y=LABELS))
    options = {**DEFAULTS, **{k: v for k, v in given.items() if k != "seed"}}
    order = np.arange(8)
    np.random.RandomState(given.get("seed", 113)).shuffle(order)
    labels, finish, texts = as_keras(TEXTS[order], LABELS[order], **options)
    (x_train, y_train), (x_test, y_test) = datasets.reuters.load_data(test_split=0.25, **given)
    middle = int(len(labels) * 0.75)
    assert [*x_train, *x_test] == finish(max(w for text in texts for w in text))
    assert (len(x_train), y_train.tolist(), y_test.tolist()) == (
        middle,
        labels[:middle],
        labels[middle:],
    )


def test_texts_bad_arguments(serve):
    serve("imdb.npz", npz(x_train=TEXTS, y_train=LABELS, x_test=TEXTS, y_test=LABELS))
    serve("reuters.npz", npz(x=TEXTS, y=LABELS))
    with pytest.warns(UserWarning, match="num_words"):
        assert max(map(max, datasets.imdb.load_data(nb_words=5)[0][0])) == 4
    for name in ("imdb", "reuters"):
        module = getattr(datasets, name)
        with pytest.raises(TypeError, match=f"{name}: unknown.*'words'"):
            module.load_data(words=3)
        with pytest.raises(ValueError, match="maxlen=2"):
            module.load_data(maxlen=2)
    with pytest.raises(ValueError, match="test_split"):
        datasets.reuters.load_data(test_split=1)


def test_texts_of_one_length(serve):
    serve("reuters.npz", npz(x=ragged([[1, 2], [3, 4], [5, 6], [7, 8], [1, 1]]), y=np.arange(5)))
    (x, _), _ = datasets.reuters.load_data()
    assert x.shape == (4,) and x.dtype == object


@pytest.mark.parametrize("name", ["imdb", "reuters"])
def test_word_index(serve, name):
    index = {"the": 1, "and": 2, "ž": 3}
    serve(f"{name}_word_index.json", json.dumps(index).encode())
    assert getattr(datasets, name).get_word_index() == index


def test_topics():
    names = datasets.reuters.get_label_names()
    assert (len(names), names[0], names[3], names[45]) == (46, "cocoa", "earn", "lead")


def test_boston_housing(serve, rng):
    x, y = rng.normal(size=(10, 13)), rng.normal(size=10)
    serve("boston_housing.npz", npz(x=x, y=y))
    (x_train, y_train), (x_test, y_test) = datasets.boston_housing.load_data()
    order = np.arange(10)
    np.random.RandomState(113).shuffle(order)
    np.testing.assert_array_equal(np.concatenate([x_train, x_test]), x[order])
    np.testing.assert_array_equal(np.concatenate([y_train, y_test]), y[order])
    assert len(x_train) == 8
    with pytest.raises(ValueError, match="test_split"):
        datasets.boston_housing.load_data(test_split=-0.1)


# -- pickles that want more -------------------------------------------------------------------


class _Runs:
    def __reduce__(self):
        return (exec, ("raise SystemExit('a pickle ran code')",))


@pytest.mark.parametrize("protocol", range(5))
def test_pickles_of_arrays(tmp_path, protocol, rng):
    path = tmp_path / "x.pickle"
    arrays = {
        "bytes": rng.integers(0, 256, (3, 5), "uint8"),
        "floats": np.asfortranarray(rng.normal(size=(3, 4))),
        "big_endian": np.arange(5, dtype=">i4"),
        "lists": TEXTS,
    }
    path.write_bytes(pickle.dumps(arrays, protocol))
    found = packed.read_pickle(path)
    for (name, want), got in zip(arrays.items(), found.values(), strict=True):
        assert got.shape == want.shape, name
        np.testing.assert_array_equal(got, want)


def test_npz_runs_nothing(tmp_path):
    path = tmp_path / "x.npz"
    for value in (ragged([_Runs(), 1]), np.array(_Runs(), object)):
        np.savez(path, x=value)
        with pytest.raises(FileFormatError, match="asks for builtins.exec"):
            packed.read_npz(path, "x")


@pytest.mark.parametrize(
    "content",
    [
        b"cnumpy\ndtype\n(S'S4'\nI0\nI1\ntR.",
        b"cnumpy\ndtype\n(I4\ntR.",
        b"cnumpy\nndarray\n(I1000000000000\ntR.",
        b"cnumpy\nndarray\n)\x81(I1\ntb.",
        b"cos\nsystem\n(S'true'\ntR.",
        b"c_codecs\nencode\n(Va\nVrot13\ntR.",
        b"",
        b"\x80\x04garbage",
    ],
)
def test_pickles_that_are_refused(tmp_path, content):
    path = tmp_path / "x.pickle"
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match="x.pickle"):
        packed.read_pickle(path)


def test_damaged_npz(tmp_path):
    path = tmp_path / "x.npz"
    for content in (b"", b"PK\x03\x04 no", npz(y=LABELS), npz(x=TEXTS)[:200]):
        path.write_bytes(content)
        with pytest.raises(FileFormatError, match="x.npz"):
            packed.read_npz(path, "x")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x09\x00")
    with pytest.raises(FileFormatError, match="x.npz"):
        packed.read_npz(path, "x")
    with pytest.raises(FileNotFoundError):
        packed.read_npz(tmp_path / "none.npz", "x")
