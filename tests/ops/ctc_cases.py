"""Cases of the CTC ops; the reference tries every path."""

import itertools

import numpy as np
import scipy.special as sp
from op_cases import Case, apart, real

from gpunet import ops


def merged(path, blank):
    """Return the labels that a path stands for."""
    return tuple(a for a, before in zip(path, (None, *path)) if a not in (blank, before))


def loss_of_all_paths(logits, labels, input_length, label_length):
    losses = []
    for x, row, steps, count in zip(logits, labels, input_length, label_length):
        logp = sp.log_softmax(x[:steps], axis=-1)
        blank = x.shape[-1] - 1
        wanted = tuple(row[:count].tolist())
        paths = itertools.product(range(blank + 1), repeat=int(steps))
        found = [
            sum(logp[t, c] for t, c in enumerate(p)) for p in paths if merged(p, blank) == wanted
        ]
        losses.append(-sp.logsumexp(found) if found else np.inf)
    return np.array(losses, logits.dtype)


def best_path(logits, input_length):
    n, steps, classes = logits.shape
    labels, score = np.full((n, steps), -1, "int64"), np.zeros((n, 1), logits.dtype)
    for i, (x, used) in enumerate(zip(logits, input_length)):
        found = merged(x[:used].argmax(axis=-1).tolist(), classes - 1)
        labels[i, : len(found)] = found
        score[i] = -x[:used].max(axis=-1).sum()
    return labels, score


LENGTHS = np.array([5, 4, 3], "int32")
LABELS = np.array([[0, 1, 1], [2, 2, 0], [1, -1, -1]], "int32")

CASES = [
    Case(ops.ctc_loss, [real(3, 5, 4), LABELS, LENGTHS, np.array([3, 2, 1], "int32")],
         loss_of_all_paths, smooth=False, loose=4),
    Case(ops.ctc_loss, [real(3, 5, 4), LABELS, LENGTHS, np.array([0, 1, 0], "int32")],
         loss_of_all_paths, smooth=False, loose=4, label="empty"),
    Case(ops.ctc_greedy, [apart(3, 5, 3), LENGTHS], best_path, smooth=False),
]  # fmt: skip
