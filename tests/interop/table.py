"""Write README.md: a table of all exchanges of files with the real Keras.

    python tests/interop/table.py [CASE ...]

With names of cases, their rows alone are made anew. The environments must be there:
``python tests/interop/make_env.py all``.
"""

import re
import sys
import tempfile
import warnings
from pathlib import Path

HERE = Path(__file__).resolve().parent

# Layers that no model of the zoo holds, and why.
NOT_EXCHANGED = {
    "CuDNNGRU": "TensorFlow runs it on GPUs alone; tests/saving/test_old_files.py has its weights",
    "CuDNNLSTM": "as CuDNNGRU",
    "ConvLSTM2DCell": "part of ConvLSTM2D",
    "HashedCrossing": "takes texts or pairs, outside of models",
    "Merge": "of Keras 1; later versions lack it",
    "StringLookup": "takes texts, outside of models",
    "TextVectorization": "takes texts, outside of models",
    "Wrapper": "the base of TimeDistributed and Bidirectional",
}
HEAD = """# Files exchanged with the real Keras

Each model is made, trained for three steps and saved by one side and opened by the other: gpunet
on one side, tf_keras 2.21 or Keras 3.15 (on JAX) on the other. With tf_keras, predictions,
`evaluate` and five further training steps must agree (losses to 1e-4); with Keras 3, predictions.
Models are described in `exchange.py` and `zoo_*.py`; those called `seed_...` are the programs of the
tutorials. `opt_...` are the optimizers, `opt_new_...` with the rules that Keras has since 2.11.

`python tests/interop/table.py` writes this file anew (some minutes), `pytest -m interop` checks the
same. "as expected" means agreement; anything else is what the other side has to say, in its words.

Layers without a row: {left}.

| model | tf_keras reads gpunet's file | gpunet reads tf_keras's | Keras 3 reads gpunet's | gpunet reads Keras 3's |
| --- | --- | --- | --- | --- |
"""  # noqa: E501


def cell(peer, does, case):
    """Return what a cell of the table says."""
    from live import PeerError

    if case not in peer.ours:
        return ""
    try:
        getattr(peer, does)(case)
    except PeerError as error:
        return last_words(str(error))
    except AssertionError as error:
        found = re.search(r"Max absolute difference[^:]*: (\S+)", str(error))
        return f"other numbers, by up to {found.group(1)}" if found else "other numbers"
    except Exception as error:
        return f"gpunet: {last_words(repr(error))}"
    return "as expected"


def last_words(text):
    """Return the line of a traceback that says what is wrong, short enough for a cell."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = [line for line in lines if re.match(r"(Exception encountered|[\w.]*Error)\b", line)]
    line = re.sub(r"`|\|", "", (said or lines)[-1])
    line = re.sub(r"[<{\[].*", "...", line)
    return line if len(line) <= 90 else line[:87] + "..."


def main(chosen):
    """Run the exchanges, of all cases or of those chosen, and write the table."""
    sys.path[:0] = [str(HERE), str(HERE.parents[1])]
    import live

    warnings.simplefilter("ignore")
    chosen = chosen or list(live.CASES)
    with tempfile.TemporaryDirectory() as folder:
        peers = {}
        for name, cases in (("tf", live.CASES), ("keras3", live.MODELS)):
            inner = Path(folder) / name
            inner.mkdir()
            peers[name] = live.Peer(name, inner, [case for case in cases if case in chosen])
        rows = {
            case: [cell(p, does, case) for p in peers.values() for does in ("reads", "writes")]
            for case in chosen
        }
    path = HERE / "README.md"
    old = path.read_text("utf8") if path.exists() else ""
    kept = {m[1]: m[0] for m in re.finditer(r"^\| `(\w+)` \|.*$", old, re.M)}
    kept.update({case: f"| `{case}` | {' | '.join(cells)} |" for case, cells in rows.items()})
    left = "; ".join(f"{name} ({why})" for name, why in NOT_EXCHANGED.items())
    lines = [kept[case] for case in live.CASES if case in kept]
    path.write_text(HEAD.format(left=left) + "\n".join(lines) + "\n", "utf8")


if __name__ == "__main__":
    main(sys.argv[1:])
