"""Files exchanged with the real Keras, live: same predictions, evaluation and further training.

README.md has the results as a table; `table.py` writes it.
"""

import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

import exchange
import live
import table
from make_env import python_of

# The environment that a test needs; where it is missing, tests/conftest.py skips the test.
with_tf, with_keras3 = pytest.mark.interop("tf"), pytest.mark.interop("keras3")
every_case = pytest.mark.parametrize("case", live.CASES)
every_model = pytest.mark.parametrize("case", live.MODELS)
SMOKE = "opt_adam"


def exchanged(name, tmp_path_factory, cases):
    if python_of(name) is None:
        pytest.skip(f"no {name} environment: python tests/interop/make_env.py {name}")
    return live.Peer(name, tmp_path_factory.mktemp(name), cases)


@pytest.fixture(scope="module")
def tf(tmp_path_factory):
    """Return the full exchange with tf_keras."""
    return exchanged("tf", tmp_path_factory, list(live.CASES))


@pytest.fixture(scope="module")
def keras3(tmp_path_factory):
    """Return the exchange with Keras 3, of predictions alone."""
    return exchanged("keras3", tmp_path_factory, list(live.MODELS))


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """Return the exchange of one model with tf_keras."""
    return exchanged("tf", tmp_path_factory, [SMOKE])


def works(peer, does, case):
    """Check one way of an exchange, or that it fails in the peer's known way."""
    words = live.UNABLE[peer.name, does].get(case)
    if words is None:
        getattr(peer, does)(case)
        return
    with pytest.raises((live.PeerError, AssertionError)) as caught:
        getattr(peer, does)(case)
    assert re.search(words, str(caught.value))


@with_tf
@pytest.mark.interop_smoke
def test_smoke_outbound(smoke):
    smoke.reads(SMOKE)


@with_tf
@pytest.mark.interop_smoke
def test_smoke_inbound(smoke):
    smoke.writes(SMOKE)


@with_tf
@every_case
def test_tf_goes_on_with_our_file(tf, case):
    works(tf, "reads", case)


@with_tf
@every_case
def test_goes_on_with_a_file_of_tf(tf, case):
    works(tf, "writes", case)


@with_keras3
@every_model
def test_keras3_predicts_the_same(keras3, case):
    works(keras3, "reads", case)


@with_keras3
@every_model
def test_predicts_as_keras3(keras3, case):
    works(keras3, "writes", case)


# -- what needs no peer -------------------------------------------------------------------------


def test_the_zoo_has_every_layer():
    """Whatever can be part of a model that real Keras reads."""
    from gpunet import layers, registry

    found = set()
    for name in {**exchange.MODELS, **exchange.ZOO}:
        import gpunet

        model, _ = exchange.build(gpunet, name)
        waiting = [model]
        while waiting:
            layer = waiting.pop()
            found.add(type(layer).__name__)
            inner = [*(getattr(layer, "layers", None) or []), getattr(layer, "cell", None)]
            inner += [getattr(layer, key, None) for key in ("layer", "backward_layer")]
            inner += list(getattr(getattr(layer, "cell", None), "cells", ()))
            waiting += [part for part in inner if part is not None]
    wanted = {cls.__name__ for cls in registry.layers.table.values() if isinstance(cls, type)}
    left = wanted - found - set(table.NOT_EXCHANGED)
    assert not left
    assert set(table.NOT_EXCHANGED) <= wanted | set(vars(layers))


def test_the_table_is_of_these_models():
    text = (Path(__file__).parent / "README.md").read_text(encoding="utf8")
    rows = re.findall(r"^\| `(\w+)` \|", text, re.M)
    assert rows == list(live.CASES)
    assert len(live.MODELS) >= 60
