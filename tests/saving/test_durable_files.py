"""A file is written whole or not at all, whatever happens meanwhile."""

import os
import stat
import subprocess
import sys
import textwrap
import threading
import time

import h5py
import numpy as np
import pytest
from saving_models import classifier, data, same_weights, steps

from gpunet.models import load_model
from gpunet.saving import hdf5

ERRORS = [OSError(28, "No space left on device"), RuntimeError("write failed"), KeyboardInterrupt()]


@pytest.fixture
def model():
    made = classifier()
    made.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    steps(made, *data()[:2])
    return made


def writers(model):
    return {"save": model.save, "save_weights": model.save_weights}


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("method", ["save", "save_weights"])
@pytest.mark.parametrize("at", [0, 1, 3])
@pytest.mark.parametrize("old", [False, True])
def test_an_error_while_writing(model, error, method, at, old, tmp_path, monkeypatch):
    path = tmp_path / "m.h5"
    if old:
        writers(model)[method](path)
        before = path.read_bytes()
    original, calls = h5py.Group.create_dataset, []

    def failing(*args, **kwargs):
        calls.append(1)
        if len(calls) > at:
            raise error
        return original(*args, **kwargs)

    monkeypatch.setattr(h5py.Group, "create_dataset", failing)
    with pytest.raises(type(error)):
        writers(model)[method](path)
    assert [p.name for p in tmp_path.iterdir()] == (["m.h5"] if old else [])
    if old:
        assert path.read_bytes() == before
    monkeypatch.undo()
    writers(model)[method](path)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_an_error_after_writing(model, call, tmp_path, monkeypatch):
    model.save(tmp_path / "m.h5")
    before = (tmp_path / "m.h5").read_bytes()

    def failing(*args):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, call, failing)
    with pytest.raises(OSError, match="Input/output"):
        model.save(tmp_path / "m.h5")
    assert [p.name for p in tmp_path.iterdir()] == ["m.h5"]
    assert (tmp_path / "m.h5").read_bytes() == before


def test_what_cannot_be_written_as_json_touches_nothing(model, tmp_path):
    model.layers[1].get_config = lambda: {"units": object()}
    with pytest.raises(TypeError, match="can't hold"):
        model.save(tmp_path / "m.h5")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are POSIX")
def test_a_full_disk(tmp_path):
    """Through the system's own limit of file sizes, in a process of its own.

    HDF5's own way of writing raises a RuntimeError then, and crashes when the program ends.
    """
    script = textwrap.dedent(
        """
        import os, resource, signal, sys
        import numpy as np
        from gpunet import layers
        from gpunet.models import Sequential, load_model

        model = Sequential([layers.Dense(300, input_shape=(300,)), layers.Dense(300)])
        model.save("m.h5")
        before = open("m.h5", "rb").read()
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        for limit in (0, 1, 800, 5000, 50_000, 400_000, len(before) - 1):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, -1))
            try:
                model.save("m.h5")
            except OSError as error:
                assert error.errno in (27, 28), error
            else:
                raise SystemExit(f"no error at {limit}")
            assert os.listdir() == ["m.h5"], os.listdir()
            assert open("m.h5", "rb").read() == before
        resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
        model.save("m.h5")
        again = load_model("m.h5")
        for a, b in zip(model.get_weights(), again.get_weights()):
            assert np.array_equal(a, b)
        print("whole")
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "whole\n", "")


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX")
@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_permissions(model, mask, tmp_path):
    old = os.umask(mask)
    try:
        model.save(tmp_path / "m.h5")
        assert stat.S_IMODE((tmp_path / "m.h5").stat().st_mode) == 0o666 & ~mask
        (tmp_path / "m.h5").chmod(0o640)
        model.save(tmp_path / "m.h5")  # replacing a file keeps its rights
        assert stat.S_IMODE((tmp_path / "m.h5").stat().st_mode) == 0o640
    finally:
        os.umask(old)


@pytest.mark.skipif(os.name != "posix", reason="links need rights on Windows")
def test_links_stay_links(model, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link.h5").symlink_to(tmp_path / "real" / "m.h5")
    model.save(tmp_path / "link.h5")
    assert (tmp_path / "link.h5").is_symlink()
    same_weights(load_model(tmp_path / "real" / "m.h5"), model)


@pytest.mark.skipif(not os.path.exists("/dev/null"), reason="no devices")
def test_devices_are_not_replaced(model):
    with pytest.raises(OSError, match="device"):
        model.save("/dev/null")


def test_folders(model, tmp_path):
    with pytest.raises(FileNotFoundError, match="folder .*missing.* doesn't exist"):
        model.save(tmp_path / "missing" / "m.h5")
    (tmp_path / "there").mkdir()
    with pytest.raises(IsADirectoryError):
        model.save(tmp_path / "there")


def test_a_file_that_is_being_read_can_be_replaced(model, tmp_path):
    model.save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5") as file:
        model.save(tmp_path / "m.h5")
        assert "model_config" in file.attrs
    same_weights(load_model(tmp_path / "m.h5"), model)


def test_several_threads_may_write_one_name(model, tmp_path):
    failures = []

    def write():
        try:
            for _ in range(5):
                model.save_weights(tmp_path / "w.h5")
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [p.name for p in tmp_path.iterdir()] == ["w.h5"]
    want = model.get_weights()
    model.load_weights(tmp_path / "w.h5")
    for a, b in zip(model.get_weights(), want, strict=True):
        np.testing.assert_array_equal(a, b)


def test_after_an_error_the_sink_takes_everything(tmp_path):
    class Full:
        def write(self, data):
            raise OSError(28, "full")

    sink = hdf5._Sink(Full())
    with pytest.raises(OSError, match="full"):
        sink.write(b"abc")
    assert sink.write(b"abc") == 3


def test_importing_gpunet_does_not_import_h5py():
    code = "import gpunet, sys; sys.exit('h5py' in sys.modules)"
    path = os.pathsep.join(filter(None, sys.path))
    env = {**os.environ, "PYTHONPATH": path}
    assert subprocess.run([sys.executable, "-c", code], env=env, check=False).returncode == 0


SAVING = """
import sys
import numpy as np
from gpunet import layers
from gpunet.models import Sequential

model = Sequential([layers.Dense(200, input_shape=(200,)), layers.Dense(200)])
model.compile("sgd", "mse")
for n in range(10**6):
    model.set_weights([np.full(w.shape, n, "float32") for w in model.get_weights()])
    model.save("m.h5")
    print(n, flush=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX")
def test_killed_at_any_moment_of_200_saves(tmp_path):
    """The file is that of the last save that ended, or of the one that was going on."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    rng = np.random.default_rng(0)
    saves = 0
    while saves < 200:
        with subprocess.Popen(
            [sys.executable, "-c", SAVING], cwd=tmp_path, env=env, stdout=subprocess.PIPE
        ) as process:
            last = -1
            for _ in range(int(rng.integers(1, 8))):
                last = int(process.stdout.readline())
            time.sleep(rng.uniform(0, 0.02))
            process.kill()
            rest = process.stdout.read().split()
        last = int(rest[-1]) if rest else last
        saves += last + 2
        model = load_model(tmp_path / "m.h5")
        values = {float(v) for w in model.get_weights() for v in np.unique(w)}
        assert values in ({last}, {last + 1})
    leftover = [p.name for p in tmp_path.iterdir() if p.name != "m.h5"]
    assert all(name.startswith(".gpunet-") for name in leftover)
