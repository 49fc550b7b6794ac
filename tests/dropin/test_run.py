"""``python -m gpunet run`` beside python itself: arguments, tracebacks, exit codes, processes."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
slow = pytest.mark.slow


def python(*args, cwd, **options):
    return subprocess.run(
        [sys.executable, *map(str, args)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        **options,
    )


def gpunet_run(*args, cwd, **options):
    return python("-m", "gpunet", "run", *args, cwd=cwd, **options)


SCRIPT = """
import atexit, os, sys

print(sys.argv, sys.path[0], __name__, __file__, __spec__, __package__)
atexit.register(lambda: print("bye from", __name__))


def fail():
    raise ValueError("boom")


how = sys.argv[1]
if how == "status":
    sys.exit(7)
if how == "text":
    sys.exit("a text")
if how == "interrupt":
    raise KeyboardInterrupt
if how == "cause":
    try:
        fail()
    except ValueError as error:
        raise KeyError("é") from error
if how == "hook":
    sys.excepthook = lambda kind, error, trace: print("mine", kind, error)
if how == "file":
    open("/no/such/file")
if how != "well":
    fail()
"""


@pytest.mark.parametrize(
    "how",
    [
        "status",
        "interrupt",
        "cause",
        "--option=1",
        *(pytest.param(how, marks=slow) for how in ("well", "text", "hook", "file")),
    ],
)
def test_script_runs_as_with_python(tmp_path, how):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "script.py").write_text(SCRIPT, encoding="utf8")
    args = ("sub/script.py", how, "-m", "x")
    theirs, ours = python(*args, cwd=tmp_path), gpunet_run(*args, cwd=tmp_path)
    assert "bye from __main__" in theirs.stdout
    assert (ours.returncode, ours.stdout, ours.stderr) == (
        theirs.returncode,
        theirs.stdout,
        theirs.stderr,
    )


@pytest.mark.parametrize(
    "args",
    [
        ("-c", "import sys; print(sys.argv, sys.path[0], __name__, __spec__)", "-c", "x"),
        pytest.param(("-c", "1 / 0"), marks=slow),
        ("-c", "print(("),
        ("-m", "package.module", "-m", "y"),
        pytest.param(("-m", "package", "--z"), marks=slow),
        ("broken.py",),
        pytest.param(("latin.py",), marks=slow),
        pytest.param(("folder", "x"), marks=slow),
        ("archive.zip", "x"),
    ],
    ids=str,
)
def test_other_forms_run_as_with_python(tmp_path, args):
    show = "import sys; print(sys.argv, sys.path[0] and len(sys.path[0]), __name__, __package__)\n"
    (tmp_path / "package").mkdir()
    (tmp_path / "folder").mkdir()
    for place in ("package/__init__.py", "package/module.py", "package/__main__.py"):
        (tmp_path / place).write_text(show if "__init__" not in place else "", encoding="utf8")
    (tmp_path / "folder" / "__main__.py").write_text(show, encoding="utf8")
    (tmp_path / "broken.py").write_text("def f(:\n", encoding="utf8")
    (tmp_path / "latin.py").write_bytes(
        "# coding: latin-1\nprint('\xe9' == chr(233))\n".encode("latin-1")
    )
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        archive.writestr("__main__.py", show)
    theirs, ours = python(*args, cwd=tmp_path), gpunet_run(*args, cwd=tmp_path)
    assert (ours.returncode, ours.stdout, ours.stderr) == (
        theirs.returncode,
        theirs.stdout,
        theirs.stderr,
    )


def test_script_from_standard_input(tmp_path):
    done = gpunet_run("-", "x", cwd=tmp_path, input="import keras, sys; print(sys.argv)")
    assert (done.returncode, done.stdout) == (0, "['-', 'x']\n"), done.stderr


@pytest.mark.parametrize(
    "args, code, text",
    [
        ([], 2, "gpunet run: expected a script, -m MODULE or -c CODE\n"),
        (["-m", "no.such"], 1, "gpunet run: No module named no.such\n"),
        (["empty"], 1, "gpunet run: can't find '__main__' module in 'empty'\n"),
    ],
)
def test_nothing_to_run(tmp_path, args, code, text):
    (tmp_path / "empty").mkdir()
    done = gpunet_run(*args, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", text)


def test_missing_file_is_named(tmp_path):
    done = gpunet_run("no.py", cwd=tmp_path)
    place = os.path.realpath(tmp_path / "no.py")
    assert done.returncode == 2
    assert done.stderr == (
        f"gpunet run: can't open file {place!r}: [Errno 2] No such file or directory\n"
    )


def test_child_processes_find_gpunet_too(tmp_path):
    (tmp_path / "parent.py").write_text(
        "import multiprocessing as mp\n"
        "import keras\n"
        "from tensorflow.keras.layers import GRU\n"
        "def work(units):\n"
        "    return keras.__version__, GRU(units).reset_after, GRU.__module__\n"
        "if __name__ == '__main__':\n"
        "    with mp.get_context('spawn').Pool(1) as pool:\n"
        "        print(pool.map(work, [3]))\n",
        encoding="utf8",
    )
    done = gpunet_run("parent.py", cwd=tmp_path)
    assert done.stdout == "[('2.3.1', True, 'gpunet.dropin.defaults')]\n", done.stderr


def test_real_keras_is_never_imported(tmp_path):
    for name in ("keras", "tensorflow"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('the real one')")
    done = gpunet_run("-c", "import keras, tensorflow.keras; print(keras.layers)", cwd=tmp_path)
    assert done.returncode == 0 and "gpunet.layers" in done.stdout, done.stderr


def test_install_refuses_when_a_real_one_is_in_use(tmp_path):
    (tmp_path / "keras.py").write_text("")
    code = "import keras, gpunet.dropin as d\ntry: d.install()\nexcept ImportError as e: print(e)"
    done = python("-c", code, cwd=tmp_path)
    assert done.stdout == (
        f"keras has been imported already, from {tmp_path / 'keras.py'}; gpunet.dropin.install() "
        "has to come before the first import of it\n"
    ), done.stderr


def test_install_and_uninstall(tmp_path):
    code = (
        "from gpunet import dropin\n"
        "dropin.install(); dropin.install()\n"
        "import keras.layers.core, tensorflow as tf, sys\n"
        "print(keras.layers.core.Dense.__module__, tf.__version__)\n"
        "dropin.uninstall()\n"
        "print('keras' in sys.modules)\n"
        "sys.path[:] = [p for p in sys.path if 'site-packages' not in p]\n"
        "try: import keras\n"
        "except ModuleNotFoundError as error: print(error)\n"
    )
    done = python("-c", code, cwd=tmp_path)
    assert done.stdout == ("gpunet.layers.core 2.4.0\nFalse\nNo module named 'keras'\n"), (
        done.stderr
    )
