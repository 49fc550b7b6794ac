"""Files exchanged with the real Keras, live: same predictions, evaluation and further training.

A writer makes each model, trains a few steps, saves it and goes on training; a reader opens the
file and must go on in the same way. gpunet is the writer of the one half, the reader of the other.
All work for one peer is done in one process, since TensorFlow takes seconds to start.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import gpunet

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import exchange  # noqa: E402
from make_env import peer_environ, python_of  # noqa: E402

# The environment that a test needs; where it is missing, tests/conftest.py skips the test.
with_tf, with_keras3 = pytest.mark.interop("tf"), pytest.mark.interop("keras3")

# name of the file -> (model, optimizer)
CASES = {
    **{f"model_{name}": (name, "adam") for name in exchange.MODELS},
    **{f"opt_{name}": ("mlp_functional", name) for name in exchange.OPTIMIZERS},
}
TRAINED = [name for name, (model, _) in CASES.items() if model not in exchange.RANDOM]
KERAS3 = [f"model_{name}" for name in exchange.MODELS if name not in exchange.NOT_FOR_KERAS3]
SMOKE = "opt_adam"


class Peer:
    """One exchange with a peer, both ways.

    Args:
        name: the environment, ``tf`` or ``keras3``.
        folder: where files may be written.
        cases: names of ``CASES``.
        checks: commands that the peer does with gpunet's files.
    """

    def __init__(self, name, folder, cases, checks):
        python = python_of(name)
        if python is None:
            pytest.skip(f"no {name} environment: python tests/interop/make_env.py {name}")
        self.folder = folder
        self.ours = {case: attempt("make", self.item(case, "ours")) for case in cases}
        good = [case for case in cases if "error" not in self.ours[case]]
        items = {
            (case, check): self.reading(self.ours[case], check, "theirs")
            for case in good
            for check in checks
        }
        items.update({(case, "make"): self.item(case, "theirs") for case in cases})
        results = dict(zip(items, run_peer(python, folder, list(items.values())), strict=True))
        self.theirs = {case: results.pop((case, "make")) for case in cases}
        self.read = results

    def item(self, case, side):
        model, optimizer = CASES[case]
        target = self.folder / side
        target.mkdir(exist_ok=True)
        return {
            "command": "make",
            "name": case,
            "model": model,
            "optimizer": optimizer,
            "folder": str(target),
        }

    def reading(self, written, check, reader):
        stem = Path(written["model"]).stem
        return {
            "command": check,
            "model": written["model"],
            "data": written["data"],
            "outputs": str(self.folder / f"{stem}_{check}_by_{reader}.npz"),
        }

    def outbound(self, case, check):
        """Return what gpunet wrote, and what the peer made of it."""
        return sound(self.ours[case]), sound(self.read.get((case, check)))

    def inbound(self, case, check):
        """Return what the peer wrote, and what gpunet makes of it."""
        written = sound(self.theirs[case])
        item = self.reading(written, check, "ours")
        return written, exchange.COMMANDS[check](gpunet, item)


def attempt(command, item):
    """Do one item with gpunet; an error becomes the failure of the tests that need it."""
    try:
        return exchange.COMMANDS[command](gpunet, item)
    except Exception as error:
        return {"error": error}


def sound(result):
    """Return a result, or fail with the error that it holds."""
    error = result["error"] if "error" in result else None
    if isinstance(error, Exception):
        raise error
    if error is not None:
        pytest.fail(f"the peer failed:\n{error}", pytrace=False)
    return result


def run_peer(python, folder, items):
    """Run a list of items in one process of a peer; return their results."""
    job, result = folder / "job.json", folder / "result.json"
    job.write_text(json.dumps(items), encoding="utf8")
    command = [str(python), str(HERE / "peer.py"), "mixed", str(job), str(result)]
    done = subprocess.run(
        command,
        env=peer_environ(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=900,
        check=False,
    )
    if done.returncode:
        pytest.fail(
            f"exit code {done.returncode} from {command}:\n{done.stdout[-4000:]}", pytrace=False
        )
    return json.loads(result.read_text(encoding="utf8"))


def same_outputs(written, read, label="out", rtol=1e-5, atol=1e-6):
    """Compare all outputs that a writer stored as ``label_K`` with a reader's ``out_K``."""
    with np.load(written["data"]) as want, np.load(read["outputs"]) as got:
        wanted, given = exchange.taken(want, label), exchange.taken(got, "out")
    assert len(wanted) == len(given)
    for w, g in zip(wanted, given, strict=True):
        np.testing.assert_allclose(g, w, rtol=rtol, atol=atol)


def same_training(written, read):
    """Compare the losses of further training, and what is predicted then."""
    np.testing.assert_allclose(read["losses"], written["losses"], rtol=1e-4)
    same_outputs(written, read, "after", rtol=1e-3, atol=1e-4)


def same_evaluation(written, read):
    """Compare losses and metrics."""
    np.testing.assert_allclose(read["evaluate"], written["evaluate"], rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def tf(tmp_path_factory):
    """Return the full exchange with tf_keras."""
    return Peer("tf", tmp_path_factory.mktemp("tf"), list(CASES), ["predict", "evaluate", "train"])


@pytest.fixture(scope="module")
def keras3(tmp_path_factory):
    """Return the exchange with Keras 3, of predictions alone."""
    return Peer("keras3", tmp_path_factory.mktemp("keras3"), KERAS3, ["predict"])


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """Return the exchange of one model with tf_keras."""
    return Peer("tf", tmp_path_factory.mktemp("smoke"), [SMOKE], ["predict", "train"])


@with_tf
@pytest.mark.interop_smoke
def test_smoke_outbound(smoke):
    same_outputs(*smoke.outbound(SMOKE, "predict"))
    same_training(*smoke.outbound(SMOKE, "train"))


@with_tf
@pytest.mark.interop_smoke
def test_smoke_inbound(smoke):
    same_outputs(*smoke.inbound(SMOKE, "predict"))
    same_training(*smoke.inbound(SMOKE, "train"))


@with_tf
@pytest.mark.parametrize("case", CASES)
def test_tf_predicts_the_same(tf, case):
    same_outputs(*tf.outbound(case, "predict"))


@with_tf
@pytest.mark.parametrize("case", CASES)
def test_tf_evaluates_the_same(tf, case):
    same_evaluation(*tf.outbound(case, "evaluate"))


@with_tf
@pytest.mark.parametrize("case", TRAINED)
def test_tf_goes_on_training(tf, case):
    same_training(*tf.outbound(case, "train"))


@with_tf
@pytest.mark.parametrize("case", CASES)
def test_predicts_as_tf(tf, case):
    same_outputs(*tf.inbound(case, "predict"))


@with_tf
@pytest.mark.parametrize("case", CASES)
def test_evaluates_as_tf(tf, case):
    same_evaluation(*tf.inbound(case, "evaluate"))


@with_tf
@pytest.mark.parametrize("case", TRAINED)
def test_goes_on_training_as_tf(tf, case):
    same_training(*tf.inbound(case, "train"))


@with_keras3
@pytest.mark.parametrize("case", KERAS3)
def test_keras3_predicts_the_same(keras3, case):
    same_outputs(*keras3.outbound(case, "predict"))


@with_keras3
@pytest.mark.parametrize("case", KERAS3)
def test_predicts_as_keras3(keras3, case):
    same_outputs(*keras3.inbound(case, "predict"))
