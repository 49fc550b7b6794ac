"""get_file: the cache, checksums, broken connections, several processes, archives."""

import hashlib
import io
import os
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from pathlib import Path

import pytest

from gpunet.downloads import cache_folder, get_file
from gpunet.downloads.locks import FileLock
from gpunet.errors import DownloadError, FileFormatError

ROOT = Path(__file__).resolve().parents[2]
CONTENT = bytes(range(256)) * 1000
MD5, SHA256 = hashlib.md5(CONTENT).hexdigest(), hashlib.sha256(CONTENT).hexdigest()


def only(folder, *names):
    """Check that a folder holds these files: nothing half-written, no lock."""
    assert sorted(os.listdir(folder)) == sorted(names)


def content_of(path):
    return Path(path).read_bytes()


@pytest.fixture
def data(site, tmp_path):
    """The server with one file; the folder where it goes is ``data.folder``."""
    site.files["/some/data.bin"] = CONTENT
    site.folder = tmp_path / "keras" / "datasets"
    site.origin = site.url + "/some/data.bin"
    return site


@pytest.mark.parametrize("checksum", [None, MD5, SHA256, MD5.upper()])
def test_fetched_once(data, checksum, capsys):
    paths = {get_file("named.bin", data.origin, file_hash=checksum) for _ in range(3)}
    assert paths == {str(data.folder / "named.bin")}
    assert content_of(paths.pop()) == CONTENT
    assert len(data.requests) == 1
    only(data.folder, "named.bin")
    assert capsys.readouterr().out == f"Downloading data from {data.origin}\n"  # no bar in a log


def test_name_comes_from_the_url(data):
    assert get_file(origin=data.origin + "?x=1").endswith("data.bin")
    for bad in (data.url, data.url + "/", data.url + "/a/.."):
        with pytest.raises(ValueError, match="give fname"):
            get_file(origin=bad)


def test_where_the_cache_is(data, tmp_path, monkeypatch):
    absolute = tmp_path / "elsewhere" / "x.bin"
    assert get_file(absolute, data.origin) == str(absolute)
    found = get_file("x.bin", data.origin, cache_dir=tmp_path / "c", cache_subdir="models")
    assert found == str(tmp_path / "c" / "models" / "x.bin")
    found = get_file("x.bin", data.origin, cache_subdir=tmp_path / "direct")
    assert found == str(tmp_path / "direct" / "x.bin")
    monkeypatch.delenv("KERAS_HOME")
    assert cache_folder() == str(Path.home() / ".keras")


def test_url_of_a_local_file(tmp_path):
    (tmp_path / "here.bin").write_bytes(CONTENT)
    origin = (tmp_path / "here.bin").as_uri()
    found = get_file("x.bin", origin, cache_dir=tmp_path / "c", file_hash=MD5)
    assert content_of(found) == CONTENT


def test_empty_file(data):
    data.files["/empty"] = b""
    assert content_of(get_file("empty", data.url + "/empty")) == b""


def test_another_file_of_that_name_is_replaced(data, capsys):
    data.folder.mkdir(parents=True)
    (data.folder / "x.bin").write_bytes(b"old")
    assert content_of(get_file("x.bin", data.origin)) == b"old"  # no checksum, nothing known
    assert content_of(get_file("x.bin", data.origin, md5_hash=MD5)) == CONTENT
    assert "isn't the file wanted" in capsys.readouterr().out


def test_wrong_checksum(data):
    data.folder.mkdir(parents=True)
    (data.folder / "x.bin").write_bytes(b"old")
    with pytest.raises(DownloadError, match=f"expected md5 {'0' * 32}, got {MD5}.*put it there"):
        get_file("x.bin", data.origin, file_hash="0" * 32)
    assert (data.folder / "x.bin").read_bytes() == b"old"
    only(data.folder, "x.bin")


@pytest.mark.parametrize("bad", ["12", "z" * 32, "0" * 33, ""])
def test_what_is_no_checksum(data, bad):
    if not bad:
        get_file("x.bin", data.origin, file_hash=bad)  # as if none were given
        return
    with pytest.raises(ValueError, match="hexadecimal digits"):
        get_file("x.bin", data.origin, file_hash=bad)


def test_what_is_no_algorithm_or_url(data):
    with pytest.raises(ValueError, match="hash_algorithm"):
        get_file("x.bin", data.origin, file_hash=MD5, hash_algorithm="crc")
    with pytest.raises(ValueError, match="hexadecimal digits"):
        get_file("x.bin", data.origin, file_hash=MD5, hash_algorithm="sha256")
    with pytest.raises(ValueError, match="origin"):
        get_file("x.bin")
    with pytest.raises(DownloadError, match="expected a URL of http"):
        get_file("x.bin", "gopher://there/x.bin")
    only(data.folder)


# -- connections that break -------------------------------------------------------------------


def test_cut_connections_are_resumed(data):
    data.cut = [1000, 50_000, 0]
    assert content_of(get_file("x.bin", data.origin)) == CONTENT
    assert [r for _, r in data.requests] == [None, "bytes=1000-", "bytes=51000-", "bytes=51000-"]
    only(data.folder, "x.bin")


def test_a_later_call_goes_on(data):
    data.cut = [1000, 0, 0, 0]
    with pytest.raises(DownloadError, match="1,000 of 256,000 bytes"):
        get_file("x.bin", data.origin)
    only(data.folder, "x.bin.part", "x.bin.part.json")
    assert content_of(get_file("x.bin", data.origin)) == CONTENT
    assert data.requests[-1][1] == "bytes=1000-"
    only(data.folder, "x.bin")


def test_another_version_is_fetched_whole(data):
    data.cut = [1000, 0, 0, 0]
    with pytest.raises(DownloadError):
        get_file("x.bin", data.origin)
    data.files["/some/data.bin"] = b"new" * 1000
    assert content_of(get_file("x.bin", data.origin)) == b"new" * 1000


@pytest.mark.parametrize("checksum", [None, MD5])
def test_servers_that_name_no_version(data, checksum):
    data.tags = False
    data.cut = [1000, 0, 0, 0]
    with pytest.raises(DownloadError):
        get_file("x.bin", data.origin, file_hash=checksum)
    (data.folder / "x.bin.part").write_bytes(b"other" * 200)
    assert content_of(get_file("x.bin", data.origin, file_hash=checksum)) == CONTENT
    only(data.folder, "x.bin")


def test_servers_that_give_no_parts(data):
    data.ranges = False
    data.cut = [1000]
    assert content_of(get_file("x.bin", data.origin, file_hash=MD5)) == CONTENT


@pytest.mark.parametrize("kept", [len(CONTENT), len(CONTENT) + 5])
def test_a_part_that_is_too_long(data, kept):
    data.folder.mkdir(parents=True)
    (data.folder / "x.bin.part").write_bytes(bytes(kept))
    assert content_of(get_file("x.bin", data.origin, file_hash=MD5)) == CONTENT


def test_server_errors(data):
    data.codes = [503, 500]
    assert content_of(get_file("x.bin", data.origin)) == CONTENT
    data.codes = [500] * 4
    with pytest.raises(DownloadError, match="500 Internal Server Error.*put it there: .*y.bin"):
        get_file("y.bin", data.origin)
    asked = len(data.requests)
    with pytest.raises(DownloadError, match="404 Not Found"):
        get_file("y.bin", data.url + "/none.bin")
    assert len(data.requests) == asked + 1  # asking again wouldn't help
    only(data.folder, "x.bin")


def test_answers_that_make_no_sense(data):
    data.garbage = True
    with pytest.raises(DownloadError, match="this is no HTTP"):
        get_file("x.bin", data.origin)
    data.garbage = False
    data.cut, data.shift = [1000], 10
    with pytest.raises(DownloadError, match="another part than the one asked for"):
        get_file("x.bin", data.origin)
    data.shift = 0
    assert content_of(get_file("x.bin", data.origin)) == CONTENT


def test_no_network(tmp_path):
    with pytest.raises(DownloadError, match="put it there: .*x.bin") as caught:
        get_file("x.bin", "http://127.0.0.1:9/x.bin", cache_dir=tmp_path, file_hash=MD5)
    assert MD5 in str(caught.value) and isinstance(caught.value, OSError)
    only(tmp_path / "datasets")


def test_interrupted_downloads_are_resumed(data, monkeypatch):
    from gpunet.downloads import fetching

    copy = fetching._copy

    def interrupted(response, file, *rest):
        file.write(response.read(700))
        raise KeyboardInterrupt

    monkeypatch.setattr(fetching, "_copy", interrupted)
    with pytest.raises(KeyboardInterrupt):
        get_file("x.bin", data.origin)
    only(data.folder, "x.bin.part", "x.bin.part.json")
    monkeypatch.setattr(fetching, "_copy", copy)
    assert content_of(get_file("x.bin", data.origin)) == CONTENT
    assert data.requests[-1][1] == "bytes=700-"


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs a folder without rights")
def test_folder_without_rights(data, tmp_path):
    (tmp_path / "keras").mkdir()
    (tmp_path / "keras").chmod(0o500)
    with pytest.warns(UserWarning, match="can't write"):
        assert content_of(get_file("gpunet-test.bin", data.origin, file_hash=MD5)) == CONTENT


def test_a_file_where_the_cache_should_be(data, tmp_path, monkeypatch):
    (tmp_path / "keras").write_text("not a folder")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "spare"))
    with pytest.warns(UserWarning, match="can't write"):
        found = get_file("x.bin", data.origin)
    assert found == str(tmp_path / "spare" / ".keras" / "datasets" / "x.bin")


# -- several at once --------------------------------------------------------------------------


def test_two_processes_at_once(data):
    code = "import sys, gpunet; print(gpunet.utils.get_file('x.bin', sys.argv[1]))"
    data.gate.clear()
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, data.origin]
    both = [
        subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    while not data.requests:
        time.sleep(0.01)
    time.sleep(0.3)
    data.gate.set()
    outputs = [process.communicate(timeout=30)[0].splitlines()[-1] for process in both]
    assert outputs == [str(data.folder / "x.bin")] * 2
    assert len(data.requests) == 1
    assert content_of(outputs[0]) == CONTENT
    only(data.folder, "x.bin")


def test_threads_at_once(data):
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(get_file("x.bin", data.origin, file_hash=MD5)))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1 and len(found) == 6
    assert len(data.requests) == 1
    only(data.folder, "x.bin")


def test_lock_of_a_killed_process_is_free(tmp_path):
    path = tmp_path / "x.lock"
    code = (
        "import os, sys; from gpunet.downloads.locks import FileLock;"
        "FileLock(sys.argv[1]).__enter__(); os._exit(1)"
    )
    subprocess.run([sys.executable, "-c", code, path], env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert path.exists()
    with FileLock(str(path)):
        pass
    assert not path.exists()


# -- archives ---------------------------------------------------------------------------------


def tar(*members, mode="w:gz"):
    """Return a tar archive of (name or TarInfo, bytes)."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode=mode) as archive:
        for member, content in members:
            info = tarfile.TarInfo(member) if isinstance(member, str) else member
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return made.getvalue()


def zipped(*members):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for member, content in members:
            archive.writestr(member, content)
    return made.getvalue()


def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info, b""


def test_untar(data):
    data.files["/set.tar.gz"] = tar(("things/a.txt", b"A"), ("things/sub/b.txt", b"B"))
    for name in ("things", "things.tar.gz"):
        found = get_file(name, data.url + "/set.tar.gz", untar=True)
        assert found == str(data.folder / "things")
        assert content_of(data.folder / "things" / "sub" / "b.txt") == b"B"
    only(data.folder, "things", "things.tar.gz")
    (data.folder / "things.tar.gz").unlink()
    assert get_file("things", "http://127.0.0.1:9/", untar=True) == found  # nothing to be fetched
    assert len(data.requests) == 1


def test_untar_of_something_else(data):
    data.files["/set.tar.gz"] = tar(("others/a.txt", b"A"))
    with pytest.raises(FileFormatError, match="holds no 'things'"):
        get_file("things", data.url + "/set.tar.gz", untar=True)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_extract_tar(data, mode):
    data.files["/set"] = tar(("a.txt", b"A"), ("sub/b.txt", b"B"), mode=mode)
    found = get_file("set", data.url + "/set", extract=True)
    assert found == str(data.folder / "set")
    assert content_of(data.folder / "sub" / "b.txt") == b"B"
    only(data.folder, "set", "a.txt", "sub")


def test_extract_zip_over_what_is_there(data):
    data.files["/set.zip"] = zipped(("a.txt", b"A"), ("sub/", b""), ("sub/b.txt", b"B"))
    (data.folder / "sub").mkdir(parents=True)
    (data.folder / "sub" / "b.txt").write_bytes(b"old")
    (data.folder / "sub" / "c.txt").write_bytes(b"mine")
    get_file("set.zip", data.url + "/set.zip", extract=True)
    assert content_of(data.folder / "sub" / "b.txt") == b"B"
    assert content_of(data.folder / "sub" / "c.txt") == b"mine"


def test_extract_of_no_archive(data):
    found = get_file("x.bin", data.origin, extract=True)
    assert content_of(found) == CONTENT
    get_file("x.bin", data.origin, extract=True, archive_format=None)
    with pytest.raises(ValueError, match="archive_format"):
        get_file("x.bin", data.origin, extract=True, archive_format="rar")


MALICIOUS = {
    "above": tar(("../out.txt", b"x")),
    "above_inside": tar(("things/../../out.txt", b"x")),
    "absolute": tar(("/tmp/gpunet-out.txt", b"x")),
    "windows": tar(("..\\out.txt", b"x")),
    "drive": tar(("C:/out.txt", b"x")),
    "link": tar(special("things", tarfile.SYMTYPE, ".."), ("things/out.txt", b"x")),
    "hard_link": tar(special("things/a", tarfile.LNKTYPE, "../../out.txt")),
    "device": tar(special("things/a", tarfile.CHRTYPE)),
    "fifo": tar(special("things/a", tarfile.FIFOTYPE)),
    "zip_above": zipped(("../out.txt", b"x")),
    "zip_absolute": zipped(("/tmp/gpunet-out.txt", b"x")),
}
_link = zipfile.ZipInfo("link")
_link.external_attr = 0o120777 << 16
MALICIOUS["zip_link"] = zipped((_link, b".."))


@pytest.mark.parametrize("name", MALICIOUS)
def test_malicious_archives(data, name, tmp_path):
    data.files["/set"] = MALICIOUS[name]
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(FileFormatError, match="refused"):
        get_file("set", data.url + "/set", extract=True)
    only(data.folder, "set")
    assert sorted(os.listdir(tmp_path)) == sorted({*before, "keras"})
    assert not os.path.exists("/tmp/gpunet-out.txt")


def test_damaged_archives(data):
    whole = tar(("things/a.txt", os.urandom(5000)), ("things/b.txt", os.urandom(5000)))
    for cut in (len(whole) // 2, len(whole) * 9 // 10):
        data.files["/set"] = whole[:cut]
        with pytest.raises(FileFormatError):
            get_file(f"set{cut}", data.url + "/set", extract=True)
    only(data.folder, f"set{len(whole) // 2}", f"set{len(whole) * 9 // 10}")
