"""What fit, evaluate and predict print: a bar at a terminal, plain lines elsewhere."""

import os
import re
import subprocess
import sys
import time

import numpy as np
import pytest

from gpunet.layers import Dense
from gpunet.models import Sequential
from gpunet.training.progress import result_line

NUMBER = r"\d+\.\d{4}(e[-+]\d\d)?"
TIME = r"\d+s"
STEP = r"\d+(s|ms|us)/step"


def compiled():
    model = Sequential([Dense(1, input_shape=(2,))])
    model.compile("sgd", "mse", metrics=["mae", "accuracy"])
    return model


DATA = np.ones((50, 2), "float32"), np.ones(50, "float32")


def lines_of(capsys):
    out = capsys.readouterr()
    assert "\r" not in out.out and "\x1b" not in out.out and "%|" not in out.out
    assert out.err == ""
    return out.out.splitlines()


@pytest.mark.parametrize("verbose", [1, 2, "auto", True])
def test_lines_of_fit(capsys, verbose):
    compiled().fit(*DATA, epochs=2, batch_size=8, validation_split=0.2, verbose=verbose)
    first, line, second, _ = lines_of(capsys)
    assert (first, second) == ("Epoch 1/2", "Epoch 2/2")
    names = ["loss", "mae", "accuracy", "val_loss", "val_mae", "val_accuracy"]
    values = "".join(f" - {n}: {NUMBER}" for n in names)
    step = "" if verbose == 2 else f" {STEP}"
    assert re.fullmatch(f"5/5 - {TIME}{step}{values}", line)


@pytest.mark.parametrize(("verbose", "step"), [(1, f" {STEP}"), (2, "")])
def test_lines_of_evaluate_and_predict(capsys, verbose, step):
    model = compiled()
    model.evaluate(*DATA, batch_size=16, verbose=verbose)
    model.predict(DATA[0], batch_size=16, verbose=verbose)
    tested, predicted = lines_of(capsys)
    values = "".join(f" - {n}: {NUMBER}" for n in ("loss", "mae", "accuracy"))
    assert re.fullmatch(f"4/4 - {TIME}{step}{values}", tested)
    assert re.fullmatch(f"4/4 - {TIME}{step}", predicted)


def test_silence(capsys):
    model = compiled()
    model.fit(*DATA, validation_split=0.2, verbose=0)
    model.evaluate(*DATA, verbose=0)
    model.predict(DATA[0])
    model.train_on_batch(*DATA)
    assert lines_of(capsys) == []


@pytest.mark.parametrize("verbose", [-1, "loud", 2.5, None])
def test_unknown_verbosity(verbose):
    with pytest.raises(ValueError, match="verbose"):
        compiled().fit(*DATA, verbose=verbose)


@pytest.mark.parametrize(
    ("seconds", "logs", "line"),
    [
        (1.6, {"loss": 0.56482, "a": 0.8473}, "750/750 - 2s 2ms/step - loss: 0.5648 - a: 0.8473"),
        (0.02, {"loss": 2e-05}, "750/750 - 0s 27us/step - loss: 2.0000e-05"),
        (75.0, {"loss": float("nan")}, "750/750 - 1:15 100ms/step - loss: nan"),
        (7500.0, {"loss": float("inf")}, "750/750 - 2:05:00 10s/step - loss: inf"),
        (0.0, {"loss": -3.5}, "750/750 - 0s 0s/step - loss: -3.5000"),
    ],
)  # fmt: skip
def test_result_line(seconds, logs, line):
    assert result_line(750, seconds, logs) == line


TERMINAL = """
import sys, time, numpy as np
from gpunet.callbacks import LambdaCallback
from gpunet.layers import Dense
from gpunet.models import Sequential
model = Sequential([Dense(1, input_shape=(2,))])
model.compile("sgd", "mse", metrics=["mae"])
x, y = np.ones((50, 2)), np.ones(50)
wait = lambda batch, logs: time.sleep(0.15)
slow = [LambdaCallback(on_batch_end=wait, on_test_batch_end=wait, on_predict_batch_end=wait)]
getattr(model, sys.argv[1])(*((x,) if sys.argv[1] == "predict" else (x, y)), batch_size=10,
                            callbacks=slow, verbose=1)
print("after")
"""


@pytest.mark.skipif(os.name != "posix", reason="needs pseudo-terminals")
@pytest.mark.parametrize("what", ["fit", "evaluate", "predict"])
def test_bar_at_a_terminal(what):
    import pty

    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", TERMINAL, what], stdout=theirs, stderr=theirs,
        env={**os.environ, "COLUMNS": "120", "LINES": "24", "TERM": "xterm"},
    )  # fmt: skip
    os.close(theirs)
    seen = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        seen += part
    os.close(ours)
    assert process.wait() == 0, seen.decode()
    text = seen.decode()
    assert re.search(r"\d+%\|.*\| [1-4]/5 \[\d\d:\d\d<\d\d:\d\d", text)  # with the time to go
    if what != "predict":
        assert re.search(rf"loss={NUMBER}, mae={NUMBER}", text)
    shown = [line.rpartition("\r")[2] for line in text.replace("\r\n", "\n").strip().split("\n")]
    closing = [line for line in shown if re.match(rf"5/5 - {TIME} {STEP}", line)]
    assert len(closing) == 1 and shown[-1] == "after"
    assert ("Epoch 1/1" in shown) == (what == "fit")
    assert not [line for line in shown if "%|" in line]  # the bar is gone


class Clock:
    """perf_counter of a world in which a batch takes a while."""

    def __init__(self, seconds):
        self.now, self.seconds = 0.0, seconds

    def __call__(self):
        return self.now

    def on_batch_end(self, batch, logs=None):
        self.now += self.seconds


def test_a_log_gets_a_line_now_and_then(capsys, monkeypatch):
    clock = Clock(20)
    monkeypatch.setattr("gpunet.training.progress.time.perf_counter", clock)
    compiled().fit(*DATA, batch_size=8, callbacks=[clock], verbose=1)
    lines = lines_of(capsys)
    values = "".join(f" - {n}: {NUMBER}" for n in ("loss", "mae", "accuracy"))
    assert len(lines) == 5
    assert re.fullmatch(rf"3/7 - 40s - ETA 53s - 13.3 s/step{values}", lines[1])
    assert re.fullmatch(rf"7/7 - 2:20 20s/step{values}", lines[4])
    compiled().fit(*DATA, batch_size=8, callbacks=[clock], verbose=2)
    assert len(lines_of(capsys)) == 2


def test_a_log_of_a_generator_says_what_is_known(capsys, monkeypatch):
    clock = Clock(0.01)
    monkeypatch.setattr("gpunet.training.progress.time.perf_counter", clock)
    monkeypatch.setattr("gpunet.training.progress.Progress.every", 0.03)
    x, y = DATA
    compiled().fit(((x[:2], y[:2]) for _ in range(6)), callbacks=[clock], verbose=1)
    _, line, closing = lines_of(capsys)
    assert re.match(r"4/\? - 0s - 133.3 step/s - loss: ", line)
    assert re.match(r"6/6 - 0s 10ms/step - loss: ", closing)


def test_a_notebook_has_bars(monkeypatch):
    import io

    from gpunet.training.progress import Progress

    notebook = type("OutStream", (io.StringIO,), {"__module__": "ipykernel.iostream"})
    stream = notebook()
    monkeypatch.setattr("sys.stdout", stream)
    with Progress(1, "train", 3, logs=lambda: {"loss": 0.5}) as progress:
        progress.begin()
        for _ in range(3):
            time.sleep(0.12)  # tqdm draws ten times a second
            progress.shown -= 1
            progress.step()
        progress.end({"loss": 0.5})
    assert re.search(r"67%\|.*2/3 .*loss=0.5000", stream.getvalue())
    assert re.search(r"\r3/3 - \d+s \d+(us|ms)/step - loss: 0.5000\n$", stream.getvalue())


def test_progbar(capsys):
    from gpunet.utils import Progbar

    bar = Progbar(4, stateful_metrics=["last"])
    bar.update(1, [("loss", 1.0), ("last", 5.0)])
    bar.add(3, [("loss", 3.0), ("last", 7.0)])
    (line,) = lines_of(capsys)
    assert re.fullmatch(r"4/4 - \d+s \d+(us|ms)/step - loss: 2.5000 - last: 7.0000", line)
    bar = Progbar(None, unit_name="page")
    bar.add(5)
    bar.update(9, [("loss", 1.0)], finalize=True)
    assert re.fullmatch(r"9/9 - \d+s \d+(us|ms)/page - loss: 1.0000", lines_of(capsys)[0])
    Progbar(1, verbose=0).update(1)
    assert lines_of(capsys) == []


def test_progress_may_go_to_the_log_instead(capsys, caplog):
    from gpunet import utils

    utils.disable_interactive_logging()
    try:
        assert not utils.is_interactive_logging_enabled()
        with caplog.at_level("INFO", logger="gpunet"):
            compiled().fit(*DATA, batch_size=10, verbose=1)
    finally:
        utils.enable_interactive_logging()
    assert utils.is_interactive_logging_enabled() and lines_of(capsys) == []
    assert caplog.messages[-2] == "Epoch 1/1" and caplog.messages[-1].startswith("5/5 - ")
