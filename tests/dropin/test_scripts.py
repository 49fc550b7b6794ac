"""Classic scripts, unchanged, run as programs under the names keras and tensorflow.keras."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = Path(__file__).resolve().parent / "scripts"

# What each prints; lines that depend on random numbers are patterns.
EXPECTED = {
    "conv_and_generator": ["[0, 1] ['weights.01.hdf5', 'weights.02.hdf5']", "True", "epoch"],
    "custom_layer": ["True", "True", "True"],
    "custom_training_loop": [
        "True 6",
        "[(4, 3), (4, 3), (2, 3), (4, 3), (4, 3), (2, 3)] 10",
        "['accuracy', 'loss', 'val_accuracy', 'val_loss'] 20",
    ],
    "filters_and_functions": [
        "True (1, 12, 12, 3)",
        "True False",
        "(None, 3, 3, 6) tensorflow channels_last",
        "4.0 2.0",
    ],
    "gan": ["2 [D: 2 values] [G loss finite: True] [D frozen: True]"],
    "imdb_lstm": ["Test accuracy: True", "Test accuracy: True"],
    "mnist_mlp": [
        "600 train samples",
        'Model: "sequential"',
        "_" * 65,
        "Layer (type)                 Output Shape              Param #   ",
        "=" * 65,
        "dense (Dense)                (None, 128)               100480    ",
        "_" * 65,
        "dropout (Dropout)            (None, 128)               0         ",
        "_" * 65,
        "dense_1 (Dense)              (None, 10)                1290      ",
        "=" * 65,
        "Total params: 101,770",
        "Trainable params: 101,770",
        "Non-trainable params: 0",
        "_" * 65,
        "Test accuracy: True",
    ],
    "seq2seq": ["True", "4"],
    "session_of_old": ["(1, 1)", "[0.]", "[2. 4.]"],
    "siamese": ["True", "(100, 1) ['accuracy', 'loss', 'val_accuracy', 'val_loss']"],
    "subclassing_guide": [
        "(2, 4) 2 1 [2. 2.]",
        "['0.04']",
        "mean loss True",
        "['loss', 'mae']",
        "(1, 3, 4) [1. 0. 0.]",
        "(2, 1, 1, 3)",
        "sched ok",
        "['loss', 'tp']",
        "(1, 2, 2)",
    ],
    "tutorial_center_loss": ["0.0001", "0.0001", "0.01"],
    "tutorial_functional_api": [
        "(None, 784) True",
        'Model: "mnist_model"',
        "_" * 65,
        "Layer (type)                 Output Shape              Param #   ",
        "=" * 65,
        "input_1 (InputLayer)         [(None, 784)]             0         ",
        "_" * 65,
        "dense (Dense)                (None, 64)                50240     ",
        "_" * 65,
        "dense_1 (Dense)              (None, 64)                4160      ",
        "_" * 65,
        "dense_2 (Dense)              (None, 10)                650       ",
        "=" * 65,
        "Total params: 55,050",
        "Trainable params: 55,050",
        "Non-trainable params: 0",
        "_" * 65,
        re.compile(r"8/8 - 0s - loss: \d\.\d{4} - accuracy: 0\.\d{4}"),
        "Test loss: True",
        "Test accuracy: True",
        "True",
        "['department_loss', 'loss', 'priority_loss']",
        "(None, 10)",
        "4",
        "(1, 10, 32)",
        "(16, 8, 32)",
        "(16, 1)",
    ],
    "tutorial_sequential": [
        "Epoch 1/2",
        re.compile(r"8/8 - 0s - loss: \d\.\d{4} - accuracy: 0\.\d{4}"),
        "Epoch 2/2",
        re.compile(r"8/8 - 0s - loss: \d\.\d{4} - accuracy: 0\.\d{4}"),
        "2",
        "['accuracy', 'loss', 'mean_pred']",
        "(64, 1)",
        "(32, 1)",
    ],
    "vae": ["True ['loss', 'val_loss']", "[(64, 2), (64, 2), (64, 2)]"],
}
# Those that every run of the tests does; the others are many seconds together.
QUICK = ["tutorial_functional_api", "tutorial_center_loss", "mnist_mlp", "custom_training_loop"]


def under_tensorflow(text):
    """Return a script with its imports as tf.keras has them."""
    text = re.sub(r"^import keras$", "from tensorflow import keras", text, flags=re.MULTILINE)
    text = re.sub(r"^import keras\.", "import tensorflow.keras.", text, flags=re.MULTILINE)
    return re.sub(r"^from keras\b", "from tensorflow.keras", text, flags=re.MULTILINE)


def run(text, folder):
    (folder / "script.py").write_text(text, encoding="utf8")
    return subprocess.run(
        [sys.executable, "-m", "gpunet", "run", "script.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf8"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def cases():
    for name in EXPECTED:
        for style in ("keras", "tensorflow.keras"):
            quick = name in QUICK and style == "keras"
            yield pytest.param(name, style, marks=() if quick else pytest.mark.slow)


def test_every_script_is_run():
    assert {path.stem for path in SCRIPTS.glob("*.py")} == EXPECTED.keys()


@pytest.mark.parametrize("name, style", list(cases()))
def test_script(name, style, tmp_path):
    text = (SCRIPTS / f"{name}.py").read_text(encoding="utf8")
    other = under_tensorflow(text)
    if style == "tensorflow.keras":
        if other == text:
            pytest.skip("the script has these imports anyway")
        text = other
    done = run(text, tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    expected = EXPECTED[name]
    assert len(lines) == len(expected), done.stdout
    for line, wanted in zip(lines, expected, strict=True):
        assert wanted.fullmatch(line) if isinstance(wanted, re.Pattern) else line == wanted


@pytest.mark.parametrize(
    "text, last",
    [
        (
            "import keras\nkeras.layer.Dense(3)",
            "AttributeError: keras.layer isn't part of what gpunet gives scripts; did you mean "
            "keras.layers?",
        ),
        (
            "from keras.layer import Dense",
            "gpunet.dropin.NotGiven: keras.layer isn't part of what gpunet gives scripts; "
            "did you mean keras.layers?",
        ),
        pytest.param(
            "import tensorflow as tf\ntf.estimator.LinearClassifier()",
            "AttributeError: tensorflow.estimator isn't part of what gpunet gives scripts",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "import tensorflow as tf\ntf.reduce_men([1.0])",
            "AttributeError: tensorflow.reduce_men isn't part of what gpunet gives scripts; did "
            "you mean tensorflow.reduce_mean or tensorflow.reduce_min or tensorflow.reduce_sum?",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "import tensorflow.lite",
            "gpunet.dropin.NotGiven: tensorflow.lite isn't part of what gpunet gives scripts; did "
            "you mean tensorflow.split or tensorflow.slice?",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "from tensorflow.keras.layers import Dens",
            "ImportError: cannot import name 'Dens' from 'tensorflow.keras.layers'",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_what_is_not_given_is_named(text, last, tmp_path):
    done = run(f"# a comment\n{text}\n", tmp_path)
    lines = done.stderr.splitlines()
    at = text.count("\n") + 2  # the last line
    assert done.returncode == 1 and lines[0] == "Traceback (most recent call last):"
    assert lines[1] == f'  File "{os.path.realpath(tmp_path)}/script.py", line {at}, in <module>'
    assert lines[-1] == last or (last.startswith("ImportError") and lines[-1].startswith(last))
