"""Check that the wheel and the sdist in a folder carry what they should, and nothing else.

python .ci/check_dist.py FOLDER
"""

import sys
import tarfile
import zipfile
from pathlib import Path

IN_WHEEL = [
    "gpunet/__init__.py",
    "gpunet/py.typed",
    "gpunet/_kernels/README.md",
    "gpunet/datasets/digits.npz",
    "gpunet/datasets/digits.txt",
]
IN_SDIST = [
    "LICENSE",
    "README.md",
    "CHANGELOG.md",
    "pyproject.toml",
    "gpunet/__init__.py",
    "kernels/README.md",
    "tests/test_package.py",
    "examples/digits.py",
    "benchmarks/__main__.py",
]


def check(path, names, wanted):
    """Print the size of a distribution, or stop if it lacks a file or has a stray one."""
    missing = [name for name in wanted if name not in names]
    stray = [name for name in names if "__pycache__" in name or name.startswith((".venv", "dist/"))]
    if path.suffix == ".whl":
        stray += [n for n in names if not n.startswith("gpunet/") and ".dist-info/" not in n]
    if missing or stray:
        sys.exit(f"{path.name}: missing {missing}, stray {stray[:10]}")
    print(f"{path.name}: {len(names)} files, {path.stat().st_size} bytes")


def only(folder, pattern):
    """Return the one file in a folder that matches."""
    found = list(folder.glob(pattern))
    if len(found) != 1:
        sys.exit(f"{folder}: expected one {pattern}, found {len(found)}")
    return found[0]


def main(folder):
    wheel, sdist = only(folder, "*.whl"), only(folder, "*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        check(wheel, archive.namelist(), IN_WHEEL)
    with tarfile.open(sdist) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
        check(sdist, names, IN_SDIST)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
