"""Do a batch of work with the real Keras; run by the Python of a peer environment.

    peer.py make|predict|read|mixed JOB.json RESULT.json

JOB.json holds a list of items, described in exchange.py; with ``mixed`` each has its own
``command``. RESULT.json gets a list with what each gave, or ``{"error": text}``: one model that
cannot be opened spoils none of the others.
"""

import json
import sys
import traceback
from pathlib import Path

from exchange import COMMANDS

try:
    import tensorflow as tf
    import tf_keras as keras

    tf.config.run_functions_eagerly(True)  # tracing takes longer than these models do
except ImportError:
    import keras


def work(command, item):
    """Do one item; return its result or its error."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(5)  # TF_DETERMINISTIC_OPS demands it
    try:
        return COMMANDS[item.get("command", command)](keras, item)
    except Exception:
        return {"error": traceback.format_exc(limit=-4)}


def main(command, job, result):
    """Do all items of a job."""
    items = json.loads(Path(job).read_text(encoding="utf8"))
    results = [work(command, item) for item in items]
    Path(result).write_text(json.dumps(results), encoding="utf8")


if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[1] not in {*COMMANDS, "mixed"}:
        sys.exit(__doc__)
    main(*sys.argv[1:])
