"""The package as a whole: what it names, imports, carries and depends on."""

import ast
import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import gpunet

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10; pytest depends on tomli there
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "gpunet"
MODULES = sorted(PACKAGE.rglob("*.py"))
LINES = 500
# Files that may be longer than LINES: path below gpunet/ -> the reason.
LONG_FOR_A_REASON = {}
# What `import gpunet` mustn't load: optional, or slow to import.
LAZY = ["cupy", "cupyx", "scipy", "matplotlib", "PIL", "pandas", "pydot", "sklearn"]


def name_of(path):
    return path.relative_to(PACKAGE).as_posix()


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))["project"]


def test_version_is_the_installed_one():
    try:
        installed = importlib.metadata.version("gpunet")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("gpunet isn't installed, it runs from the checkout")
    assert gpunet.__version__ == installed


def test_version_is_in_the_changelog():
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+|\.dev\d+)?", gpunet.__version__)
    assert f"## [{gpunet.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf8")


def test_all_names_what_there_is():
    assert len(gpunet.__all__) == len(set(gpunet.__all__))
    missing = [name for name in gpunet.__all__ if not hasattr(gpunet, name)]
    assert not missing
    private = [n for n in gpunet.__all__ if n.startswith("_") and n != "__version__"]
    assert not private


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_module_says_what_is_public(path):
    if path.name.startswith("_") and path.name != "__init__.py":
        pytest.skip("a private module")
    assigned = set()
    for node in ast.parse(path.read_text(encoding="utf8")).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        assigned |= {target.id for target in targets if isinstance(target, ast.Name)}
    assert "__all__" in assigned


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_module_is_short_or_has_a_reason(path):
    lines = len(path.read_text(encoding="utf8").splitlines())
    assert lines <= LINES or LONG_FOR_A_REASON.get(name_of(path)), f"{lines} lines"


def test_test_files_have_names_of_their_own():
    """pytest can't collect two of one name."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))


def test_import_loads_nothing_optional():
    code = f"import sys, gpunet; print([m for m in {LAZY!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_import_says_nothing():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "import gpunet"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_code_of_the_readme_runs(tmp_path):
    text = (ROOT / "README.md").read_text(encoding="utf8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    (tmp_path / "tour.py").write_text("\n".join(blocks), encoding="utf8")
    done = subprocess.run(
        [sys.executable, tmp_path / "tour.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert blocks and done.returncode == 0, done.stderr


def test_package_is_marked_as_typed():
    assert (Path(gpunet.__file__).parent / "py.typed").is_file()


def test_hard_dependencies_are_three():
    names = {re.match(r"[\w-]+", line).group() for line in project()["dependencies"]}
    assert names == {"h5py", "numpy", "tqdm"}


def test_extras_are_there():
    extras = project()["optional-dependencies"]
    assert {"cuda12", "cuda13", "plot", "image", "test", "dev"} <= set(extras)
