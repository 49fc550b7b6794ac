"""Exchanges of files with the real Keras, and what is compared after them.

A writer makes each model, trains a few steps, saves it and goes on training; a reader opens the
file and must go on in the same way. gpunet is the writer of the one half, the reader of the other.
All work for one peer is done in one process, since TensorFlow takes seconds to start.
"""

import json
import os
import subprocess
import traceback
from pathlib import Path

import exchange
import numpy as np
from make_env import peer_environ, python_of

import gpunet

HERE = Path(__file__).resolve().parent

# name of the file -> (model, optimizer)
OPTIMIZED = {
    f"opt_{name}": ("mlp_functional", name) for name in {**exchange.OPTIMIZERS, **exchange.NEWER}
}
MODELS = {f"model_{name}": (name, "adam") for name in {**exchange.MODELS, **exchange.ZOO}}
CASES = {**MODELS, **OPTIMIZED}

# What a peer can't do: (peer, what it does) -> {case: words of its own error}.
_NODES = "loops or disconnected nodes"
_MISSING = "Unknown layer|has no attribute"
_NEEDS_TF = "requires TensorFlow"
_OTHER = "Not equal to tolerance"  # its hard_sigmoid is another function
UNABLE = {
    ("tf", "reads"): {
        "model_names": "not a valid root scope name",
        # It counts steps for a product of its own in a Python int, which starts anew.
        "opt_new_nadam": _OTHER,
    },
    ("tf", "writes"): {"model_names": "not a valid root scope name"},
    ("keras3", "reads"): {
        "model_nested": _NODES,
        "model_nested_twice": _NODES,
        "model_seed_model_as_layer": "Could not deserialize class 'Functional'",
        "model_seed_autoencoder": _NODES,
        "model_seed_ensemble": _NODES,
        "model_function_layer": "Could not parse config",
        "model_local1d": _MISSING,
        "model_local2d": _MISSING,
        "model_thresholded": _MISSING,
        "model_random_sizes": _MISSING,
        "model_hard_sigmoid": _OTHER,
        "model_lstm_hard": _OTHER,
        "model_convlstm1d": _OTHER,
        "model_convlstm2d": _OTHER,
        "model_convlstm3d": _OTHER,
        "model_integer_lookup": _NEEDS_TF,
        "model_hashing": _NEEDS_TF,
        "model_multi_head": "query_shape",
        "model_encoder_decoder": "expects 1 input",
        "model_slashes": "cannot contain character `/`",
        "model_seed_center_loss": "keras.backend|has no attribute",
    },
    ("keras3", "writes"): {
        "model_local1d": _MISSING,
        "model_local2d": _MISSING,
        "model_thresholded": _MISSING,
        "model_random_sizes": _MISSING,
        "model_integer_lookup": _NEEDS_TF,
        "model_hashing": _NEEDS_TF,
        "model_random_crops": "cannot pickle",
        "model_slashes": "cannot contain character `/`",
        "model_seed_center_loss": "Scaled|has no attribute",
    },
}
# How each peer looks at gpunet's files, and gpunet at the peer's.
CHECKS = {"tf": "read", "keras3": "predict"}


class PeerError(Exception):
    """What the other side of an exchange failed with."""


class Peer:
    """One exchange with a peer, both ways.

    Args:
        name: the environment, ``tf`` or ``keras3``.
        folder: where files may be written.
        cases: names of ``CASES``.
    """

    def __init__(self, name, folder, cases):
        self.name, self.folder, self.check = name, folder, CHECKS[name]
        self.ours = {case: attempt("make", self.item(case, "ours")) for case in cases}
        good = [case for case in cases if "error" not in self.ours[case]]
        items = [self.reading(self.ours[case], "theirs") for case in good]
        items += [self.item(case, "theirs") for case in cases]
        results = run_peer(python_of(name), folder, items)
        self.read = dict(zip(good, results))
        self.theirs = dict(zip(cases, results[len(good) :]))

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

    def reading(self, written, reader):
        stem = Path(written["model"]).stem
        return {
            "command": self.check,
            "model": written["model"],
            "data": written["data"],
            "outputs": str(self.folder / f"{stem}_by_{reader}.npz"),
        }

    def reads(self, case):
        """Check what the peer makes of a file that gpunet wrote."""
        compare(case, sound(self.ours[case]), sound(self.read[case]))

    def writes(self, case):
        """Check what gpunet makes of a file that the peer wrote."""
        written = sound(self.theirs[case])
        compare(case, written, exchange.COMMANDS[self.check](gpunet, self.reading(written, "ours")))


def attempt(command, item):
    """Do one item with gpunet; an error is kept for those who need the result."""
    try:
        return exchange.COMMANDS[command](gpunet, item)
    except Exception as error:
        return {"error": traceback.format_exc(limit=-4), "raised": error}


def sound(result):
    """Return a result, or raise the error that it holds."""
    if "error" in result:
        raise PeerError(result["error"]) from result.get("raised")
    return result


def run_peer(python, folder, items):
    """Run a list of items in one process of a peer; return their results."""
    job, result = folder / "job.json", folder / "result.json"
    job.write_text(json.dumps(items), encoding="utf8")
    command = [str(python), str(HERE / "peer.py"), "mixed", str(job), str(result)]
    done = subprocess.run(
        command,
        env={**peer_environ(), "PYTHONPATH": os.fspath(HERE)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=1800,
        check=False,
    )
    if done.returncode:
        raise PeerError(f"exit code {done.returncode} from {command}:\n{done.stdout[-4000:]}")
    return json.loads(result.read_text(encoding="utf8"))


def compare(case, written, read):
    """Compare what a writer and a reader have of one model: predictions, losses, training."""
    same_outputs(written, read)
    if "evaluate" not in read:
        return
    np.testing.assert_allclose(read["evaluate"], written["evaluate"], rtol=1e-4, atol=1e-6)
    if CASES[case][0] not in exchange.RANDOM:
        np.testing.assert_allclose(read["losses"], written["losses"], rtol=1e-4)
        same_outputs(written, read, "after", rtol=1e-3, atol=1e-4)


def same_outputs(written, read, label="out", rtol=1e-4, atol=1e-5):
    """Compare all outputs that a writer stored as ``label_K`` with those of a reader."""
    with np.load(written["data"]) as want, np.load(read["outputs"]) as got:
        wanted, given = exchange.taken(want, label), exchange.taken(got, label)
    assert len(wanted) == len(given)
    for w, g in zip(wanted, given, strict=True):
        np.testing.assert_allclose(g, w, rtol=rtol, atol=atol)
