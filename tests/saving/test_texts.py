"""Texts of variable length, read from the bytes of a file as HDF5 reads them."""

import io
import struct

import h5py
import numpy as np
import pytest

from gpunet import layers
from gpunet.errors import FileFormatError
from gpunet.models import Sequential, load_model
from gpunet.saving.hdf5 import open_for_reading, read_names, read_text
from gpunet.saving.texts import Image, StreamBytes

TEXTS = ["", "a", "größe 結果", "x" * 5000, '{"json": 1}' * 9000]


def small():
    return Sequential([layers.Dense(2, input_shape=(3,), name="d")])


@pytest.mark.parametrize("libver", ["earliest", "v108", "latest"])
@pytest.mark.parametrize("userblock", [0, 512, 2048])
@pytest.mark.parametrize("order", [False, True])
def test_as_hdf5_reads_them(libver, userblock, order, tmp_path):
    path = tmp_path / "t.h5"
    with h5py.File(path, "w", libver=libver, userblock_size=userblock, track_order=order) as file:
        group = file.create_group("g/ü")
        for owner in (file, group):
            for i, text in enumerate(TEXTS):
                owner.attrs[f"t{i}"] = text
            owner.attrs["list"] = np.array(TEXTS[:3] + ["é"] * 50, dtype=object)
            owner.attrs["fixed"] = np.array([b"a", b"bcd"])
    with open_for_reading(path) as file:
        for owner in (file, file["g/ü"]):
            for i, text in enumerate(TEXTS):
                assert read_text(owner, f"t{i}") == text
            assert read_names(owner, "list") == TEXTS[:3] + ["é"] * 50
            assert read_names(owner, "fixed") == ["a", "bcd"]
            assert read_text(owner, "none") is None


@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_every_way_of_opening(libver, tmp_path):
    model, path = small(), tmp_path / "m.h5"
    with h5py.File(path, "w", libver=libver) as file:
        model.save(file)
        assert load_model(file).count_params() == 8  # still being written
    data = path.read_bytes()

    class Stream(io.RawIOBase):
        """What has neither a name nor all of its bytes at hand."""

        def __init__(self):
            self.inner = io.BytesIO(data)

        def readinto(self, target):
            return self.inner.readinto(target)

        def seek(self, *place):
            return self.inner.seek(*place)

        def tell(self):
            return self.inner.tell()

        def readable(self):
            return True

        seekable = readable

    sources = [path, str(path), bytes(path), io.BytesIO(data), open(path, "rb"), Stream()]
    with h5py.File(path) as file, h5py.File(io.BytesIO(data)) as inner:
        for source in [*sources, file, inner]:
            for a, b in zip(load_model(source).get_weights(), model.get_weights()):
                np.testing.assert_array_equal(a, b)
        assert file["model_weights"].attrs["backend"] == "tensorflow"  # it stays open
    sources[4].close()


def references(data):
    """Yield the places of (length, address, number) of texts: what points to a heap."""
    start = data.find(b"GCOL")
    while start >= 0:
        place = data.find(struct.pack("<Q", start))
        while place >= 0:
            yield place - 4
            place = data.find(struct.pack("<Q", start), place + 1)
        start = data.find(b"GCOL", start + 1)


@pytest.mark.parametrize("offset, form", [(0, "<I"), (4, "<Q"), (12, "<I")])
@pytest.mark.parametrize("value", [0, 1, 7, 65535, 2**31 - 1, 2**32 - 1])
def test_references_that_lead_elsewhere(offset, form, value, tmp_path):
    """HDF5 itself crashes where a text is longer in the heap than in the attribute."""
    small().save(tmp_path / "m.h5")
    data = (tmp_path / "m.h5").read_bytes()
    found = list(references(data))
    assert found
    for place in found:
        broken = bytearray(data)
        struct.pack_into(form, broken, place + offset, value)
        (tmp_path / "m.h5").write_bytes(broken)
        try:
            load_model(tmp_path / "m.h5")
        except (FileFormatError, ValueError):
            pass


def test_the_error_names_the_attribute(tmp_path):
    small().save(tmp_path / "m.h5")
    data = bytearray((tmp_path / "m.h5").read_bytes())
    text = struct.pack("<I", len(h5py.File(io.BytesIO(data)).attrs["model_config"]))
    place = next(p for p in references(bytes(data)) if data[p : p + 4] == text)
    struct.pack_into("<I", data, place, 10**6)
    (tmp_path / "m.h5").write_bytes(data)
    with pytest.raises(FileFormatError, match=r"'model_config' of '/'.*1000000 bytes has \d+ in"):
        load_model(tmp_path / "m.h5")


def test_headers_that_lead_in_circles():
    header = struct.pack("<BxHII4x", 1, 2, 1, 24) + struct.pack("<HHB3xQQ", 0x10, 16, 0, 112, 24)
    superblock = b"\x89HDF\r\n\x1a\n" + bytes([0, 0, 0, 0, 0, 8, 8, 0])
    image = Image(superblock.ljust(96, b"\0") + header)
    with pytest.raises(ValueError, match="too many parts"):
        image.texts(96, "x")


@pytest.mark.parametrize("data", [b"", b"x" * 3000, b"\x89HDF\r\n\x1a\n"])
def test_other_bytes(data):
    with pytest.raises(ValueError):
        Image(data)


def test_finding_bytes_in_a_stream():
    data = b"a" * ((1 << 20) - 2) + b"GCOL" + b"b" * 100 + b"GCOL"
    stream = StreamBytes(io.BytesIO(data))
    for start in (0, 1 << 20, len(data) - 4, len(data) - 3):
        assert stream.find(b"GCOL", start) == data.find(b"GCOL", start)
    assert len(stream) == len(data) and stream[5:9] == b"aaaa"


def test_drives_without_locks(tmp_path, monkeypatch):
    """Files are opened without locks; what HDF5 has to say about them is passed on."""
    small().save(tmp_path / "m.h5")
    original, given = h5py.File.__init__, []

    def opened(self, *args, **kwargs):
        if isinstance(args[0], str):  # and not what is open already
            given.append(kwargs.get("locking"))
        if len(given) > 1:
            raise OSError("unable to lock file, errno = 37, error message = 'No locks available'")
        original(self, *args, **kwargs)

    monkeypatch.setattr(h5py.File, "__init__", opened)
    load_model(tmp_path / "m.h5")
    assert given == [False]
    with pytest.raises(FileFormatError, match=r"can't lock '.*m\.h5'.*HDF5_USE_FILE_LOCKING"):
        load_model(tmp_path / "m.h5")
