"""gpunet.preprocessing loads its modules when they are used."""

import subprocess
import sys

import pytest

import gpunet


def test_modules_load_when_used():
    code = (
        "import sys, gpunet\n"
        "names = ['gpunet.preprocessing.' + n for n in gpunet.preprocessing.__all__]\n"
        "assert len(names) >= 2 and not set(names) & set(sys.modules)\n"
        "assert gpunet.preprocessing.text.Tokenizer\n"
        "assert gpunet.preprocessing.sequence.pad_sequences\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_unknown_module():
    with pytest.raises(AttributeError, match="'gpunet.preprocessing' has no attribute 'video'"):
        gpunet.preprocessing.video  # noqa: B018
    assert {"sequence", "text"} <= set(dir(gpunet.preprocessing))
