"""Connectionist temporal classification: labels without a known place in a sequence.

A path gives each step a class or the blank, the last class; it stands for the labels that are
left when repeats are merged and blanks dropped.
"""

import numpy as np

from gpunet.autodiff import differentiable
from gpunet.errors import ShapeError
from gpunet.ops.norm import log_softmax_of
from gpunet.ops.products import product

__all__ = ["ctc_loss", "ctc_greedy", "ctc_beams"]

_NEVER = -1e30  # a log-probability; -inf would make NaNs


def _infer_loss(logits, labels, input_length, label_length, **_):
    if len(logits) != 3 or len(labels) != 2:
        raise ShapeError(
            f"ctc_loss: expected logits (N, T, C) and labels (N, L), got {logits} and {labels}"
        )
    return (logits[0],)


@differentiable(infer=_infer_loss)
def ctc_loss(xp, logits, labels, input_length, label_length, /):
    """Return minus the log-probability of each row of labels; inf where the steps are too few.

    Args:
        logits: float tensor (N, T, C); the last class is the blank.
        labels: integer tensor (N, L).
        input_length: integer tensor (N,), how many steps count.
        label_length: integer tensor (N,), how many labels count.

    Returns:
        Tensor (N,).

    Reference:
        Graves et al., 2006, ICML, 369-376.
    """
    _infer_loss(logits.shape, labels.shape, None, None)
    dtype = logits.dtype
    logp = log_softmax_of(xp, logits.astype("float32") if dtype == "float16" else logits, -1)
    states, skips = _states(xp, labels, logp.shape[-1])
    shape = (*logp.shape[:2], states.shape[1])
    emitted = xp.take_along_axis(logp, xp.broadcast_to(states[:, None, :], shape), axis=2)
    ends = _ends(xp, states, label_length)
    alphas = _forward(xp, emitted, skips, input_length)
    total = _log_sum(xp, xp.where(ends, alphas[-1], _NEVER))
    possible = total > _NEVER / 2
    loss = xp.where(possible, -total, np.inf).astype(dtype)
    return loss, (logp, states, skips, emitted, ends, alphas, total, possible, input_length, dtype)


@ctc_loss.backward
def ctc_loss_backward(xp, saved, gy, needs):
    logp, states, skips, emitted, ends, alphas, total, possible, input_length, dtype = saved
    if not needs[0]:
        return (None, None, None, None)
    betas = _backward(xp, emitted, skips, ends, input_length)
    # How likely each step is in each state, given the labels: (N, T, S)
    share = xp.stack(alphas, axis=1) + xp.stack(betas, axis=1) - total[:, None, None]
    share = xp.exp(xp.minimum(share, 0.0))
    classes = xp.arange(logp.shape[-1])
    hot = (states[:, :, None] == classes).astype(logp.dtype)  # (N, S, C)
    steps = xp.arange(logp.shape[1])
    used = (steps < input_length[:, None]) & possible[:, None]
    gx = xp.where(used[:, :, None], xp.exp(logp) - product(xp, share, hot), 0.0)
    return ((gx * gy[:, None, None]).astype(dtype), None, None, None)


def _states(xp, labels, classes):
    """Return the labels with blanks around each (N, 2 L + 1), and where two states may be passed.

    A blank between two different labels may be left out.
    """
    n, count = (int(size) for size in labels.shape)
    blank = classes - 1
    labels = xp.minimum(xp.maximum(labels.astype("int64"), 0), blank)
    pairs = xp.stack([xp.full((n, count), blank, "int64"), labels], axis=2)
    states = xp.concatenate(
        [pairs.reshape((n, 2 * count)), xp.full((n, 1), blank, "int64")], axis=1
    )
    before = xp.concatenate([states[:, :2] * 0 - 1, states], axis=1)[:, : 2 * count + 1]
    before[:, :2] = blank
    return states, (states != blank) & (states != before) & (xp.arange(2 * count + 1) > 1)


def _ends(xp, states, label_length):
    """Return the states in which a path may end: the last label and the blank behind it."""
    last = 2 * label_length.astype("int64")[:, None]
    place = xp.arange(states.shape[1])
    return (place == last) | (place == last - 1)


def _log_sum(xp, x):
    top = xp.max(x, axis=1)
    return top + xp.log(xp.sum(xp.exp(x - top[:, None]), axis=1))


def _shifted(xp, x, by):
    """Return rows moved by some places to the right (to the left for a negative number)."""
    edge = xp.full((int(x.shape[0]), min(abs(by), int(x.shape[1]))), _NEVER, x.dtype)
    if by > 0:
        return xp.concatenate([edge, x[:, :-by]], axis=1)[:, : x.shape[1]]
    return xp.concatenate([x[:, -by:], edge], axis=1)[:, : x.shape[1]]


def _forward(xp, emitted, skips, input_length):
    """Return, for each step, the log-probabilities of all beginnings of paths by their state."""
    place = xp.arange(emitted.shape[2])
    alpha = xp.where(place < 2, emitted[:, 0], _NEVER)
    alphas = [alpha]
    for t in range(1, emitted.shape[1]):
        passed = xp.where(skips, _shifted(xp, alpha, 2), _NEVER)
        near = xp.logaddexp(xp.logaddexp(alpha, _shifted(xp, alpha, 1)), passed)
        alpha = xp.where(t < input_length[:, None], near + emitted[:, t], alpha)
        alphas.append(alpha)
    return alphas


def _backward(xp, emitted, skips, ends, input_length):
    """Return, for each step, the log-probabilities of all that may follow, by state."""
    steps = emitted.shape[1]
    beta = xp.where(ends, 0.0, _NEVER).astype(emitted.dtype)
    betas = [beta]
    for t in range(steps - 2, -1, -1):
        ahead = beta + emitted[:, t + 1]
        passed = _shifted(xp, xp.where(skips, ahead, _NEVER), -2)
        near = xp.logaddexp(xp.logaddexp(ahead, _shifted(xp, ahead, -1)), passed)
        beta = xp.where(t + 1 < input_length[:, None], near, beta)
        betas.append(beta)
    return betas[::-1]


def _infer_greedy(logits, input_length, **_):
    return [tuple(logits[:2]), (logits[0], 1)]


@differentiable(infer=_infer_greedy)
def ctc_greedy(xp, logits, input_length, /):
    """Return the labels of the most likely path, and minus the sum of its logits.

    Args:
        logits: float tensor (N, T, C); the last class is the blank.
        input_length: integer tensor (N,), how many steps count.

    Returns:
        (labels, score): (N, T), int64, with -1 behind the last label; (N, 1).
    """
    n, steps, classes = (int(size) for size in logits.shape)
    path = xp.argmax(logits, axis=-1)
    place = xp.arange(steps)
    used = place < input_length[:, None]
    before = xp.concatenate([xp.full((n, 1), -1, path.dtype), path[:, :-1]], axis=1)
    kept = used & (path != classes - 1) & (path != before)
    # Each kept one goes to its place in the row, the others behind the end of it.
    target = xp.where(kept, xp.cumsum(kept.astype("int64"), axis=1) - 1, steps)
    rows = xp.full((n * (steps + 1),), -1, "int64")
    rows[target + xp.arange(n)[:, None] * (steps + 1)] = path
    labels = rows.reshape(n, steps + 1)[:, :steps]
    score = -xp.where(used, xp.max(logits, axis=-1), 0.0).sum(axis=1, keepdims=True)
    return (xp.ascontiguousarray(labels), score.astype(logits.dtype)), None


def ctc_beams(logits, input_length, beam_width=100, top_paths=1, merge_repeated=False):
    """Return the most likely labels, found by keeping the best beginnings at each step.

    Args:
        logits: numpy array (N, T, C); the last class is the blank.
        input_length: sequence of N ints.
        beam_width: int, number of beginnings that are kept.
        top_paths: int, number of results.
        merge_repeated: bool, whether equal neighbours among the labels are made one.

    Returns:
        (labels, scores): list of ``top_paths`` arrays (N, T), int64, with -1 behind the last
        label; log-probabilities (N, top_paths).

    Reference:
        Graves and Jaitly, 2014, ICML, PMLR 32(2), 1764-1772.
    """
    if not 0 < top_paths <= beam_width:
        raise ValueError(f"expected 1 to beam_width={beam_width} top_paths, got {top_paths}")
    n, steps, _ = logits.shape
    labels = [np.full((n, steps), -1, np.int64) for _ in range(top_paths)]
    scores = np.full((n, top_paths), -np.inf, logits.dtype)
    logp = log_softmax_of(np, logits.astype("float64"), -1)
    for i in range(n):
        best = _search(logp[i, : int(input_length[i])], beam_width)
        for k, (prefix, score) in enumerate(best[:top_paths]):
            if merge_repeated:
                prefix = [a for a, b in zip(prefix, (None, *prefix)) if a != b]
            labels[k][i, : len(prefix)] = prefix
            scores[i, k] = score
    return labels, scores


def _search(logp, width):
    """Return (labels, log-probability) of the best beams of one sample, the best first."""
    blank = logp.shape[1] - 1
    beams = [()]
    # Log-probabilities of being there with a blank at the end, and with a label.
    by_blank, by_label = np.zeros(1), np.full(1, -np.inf)
    for row in logp:
        total = np.logaddexp(by_blank, by_label)
        grown = total[:, None] + row[:blank]
        last = np.array([prefix[-1] if prefix else -1 for prefix in beams])
        some = np.flatnonzero(last >= 0)
        # A label is the same as the one before it only with a blank between them.
        grown[some, last[some]] = by_blank[some] + row[last[some]]
        stays = np.full(len(beams), -np.inf)
        stays[some] = by_label[some] + row[last[some]]
        place = {prefix: n for n, prefix in enumerate(beams)}
        for n, prefix in enumerate(beams):
            parent = place.get(prefix[:-1]) if prefix else None
            if parent is not None:  # it grows into a beam that is there already
                stays[n] = np.logaddexp(stays[n], grown[parent, prefix[-1]])
                grown[parent, prefix[-1]] = -np.inf
        blanks, grown = total + row[blank], grown.reshape(-1)
        best = np.argsort(-grown, kind="stable")[:width]
        best = best[grown[best] > -np.inf]
        beams = beams + [(*beams[n // blank], int(n % blank)) for n in best]
        by_blank = np.concatenate([blanks, np.full(len(best), -np.inf)])
        by_label = np.concatenate([stays, grown[best]])
        order = np.argsort(-np.logaddexp(by_blank, by_label), kind="stable")[:width]
        beams = [beams[n] for n in order]
        by_blank, by_label = by_blank[order], by_label[order]
    return list(zip(beams, np.logaddexp(by_blank, by_label)))
