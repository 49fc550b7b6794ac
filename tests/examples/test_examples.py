"""The examples run in quick mode and learn something."""

import re
import runpy
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"
# name -> the line that says how good it became, the least or the most it may say
RESULTS = {
    "autoencoder": (r"mean square error: .* before, (.*) after", "most", 0.07),
    "cifar10_cnn": (r"test accuracy: (.*)", "least", 0.5),  # of four classes
    "imdb_lstm": (r"test accuracy: (.*)", "least", 0.9),
    "lstm_text_generation": (r"loss: .* at first, (.*) at last", "most", 0.2),
    "mnist_cnn": (r"test accuracy: (.*)", "least", 0.95),
    "mnist_mlp": (r"test accuracy: (.*)", "least", 0.95),
    "reuters_mlp": (r"test accuracy: (.*)", "least", 0.95),
    "siamese": (r"test accuracy: (.*)", "least", 0.9),
    "ticket_router": (r"department accuracy: (.*)", "least", 0.9),
    "vae": (r"validation loss: .* at first, (.*) at last", "most", 28.0),
}
# .ci/run runs the first as people do, test_application_examples.py the others
ELSEWHERE = ("digits", "feature_extraction", "fine_tuning", "grad_cam")


def run(monkeypatch, name, *arguments):
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *arguments])
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")


@pytest.mark.parametrize("name", sorted(RESULTS))
def test_quick_mode(name, monkeypatch, capsys, tmp_path):
    if name == "cifar10_cnn":
        pytest.importorskip("scipy", reason="SciPy isn't installed")
    monkeypatch.chdir(tmp_path)
    run(monkeypatch, name, "--quick")
    pattern, kind, bound = RESULTS[name]
    said = re.findall(f"^{pattern}$", capsys.readouterr().out, re.MULTILINE)
    value = float(said[-1])
    assert value >= bound if kind == "least" else value <= bound
    assert list(tmp_path.iterdir()) == []


def test_every_example_is_tested():
    names = {path.stem for path in EXAMPLES.glob("*.py")}
    assert names == {*RESULTS, *ELSEWHERE}


@pytest.mark.parametrize("name", sorted(RESULTS))
def test_help(name, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        run(monkeypatch, name, "--help")
    assert "--quick" in capsys.readouterr().out
