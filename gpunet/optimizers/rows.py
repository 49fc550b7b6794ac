"""Updates of the rows of a table that a batch looked up, by each rule's own habit."""

import itertools
import math

import numpy as np

from gpunet import threads

__all__ = ["update_rows"]

_BLOCK = 2**16  # numbers of each array that are updated at once: all of them fit into a cache


def update_rows(rule, coefficients, weight, slots, grad):
    """Update a weight and its slots in place.

    Args:
        rule: Optimizer; its ``rows`` says what stays as it is in rows without gradient:
            ``'skip'`` weight and slots, ``'still'`` the weight alone, ``'move'`` nothing.
        coefficients: what `Optimizer.coefficients` returned, in the dtype of the slots.
        weight: array (V, ...).
        slots: list of arrays of the weight's shape.
        grad: RowGradient in the dtype in which updates are computed.
    """
    xp, arrays = grad.xp, [weight, *slots]
    if xp is np and rule.rows != "still":
        _update_blocks(rule, coefficients, arrays, *grad.summed())
        return
    # No shape may depend on values on a GPU, so there the whole table is swept.
    kept = [a.copy() for a in {"skip": arrays, "still": arrays[:1], "move": []}[rule.rows]]
    parts = [a if a.dtype == grad.dtype else a.astype(grad.dtype) for a in arrays]
    _run(rule, xp, coefficients, parts, grad.dense())
    touched = grad.touched()
    for a, part, before in itertools.zip_longest(arrays, parts, kept):
        if before is not None:
            a[...] = xp.where(touched, part, before)
        elif part is not a:
            a[...] = part


def _update_blocks(rule, coefficients, arrays, numbers, grad):
    """Update arrays on the host, some rows of the table at a time.

    Args:
        numbers: array of integers, the rows with a gradient, in order and each once.
        grad: array, their gradients.
    """
    count, width = len(arrays[0]), math.prod(arrays[0].shape[1:])
    rows = max(1, _BLOCK // max(1, width))
    bounds = np.searchsorted(numbers, np.arange(0, count + rows, rows))

    def start():
        zeros = np.zeros(min(rows, count) * width, grad.dtype)

        def work(i):
            blocks = [a[i * rows : (i + 1) * rows] for a in arrays]
            own = slice(bounds[i], bounds[i + 1])
            at, g = numbers[own] - i * rows, grad[own]
            looked_up = [b.take(at, axis=0).astype(g.dtype, copy=False) for b in blocks]
            if rule.rows == "move":
                parts = [np.ascontiguousarray(b, g.dtype) for b in blocks]
                _run(rule, np, coefficients, parts, zeros[: parts[0].size], rule.idle)
                for b, part in zip(blocks, parts, strict=True):
                    if part is not b:
                        b[...] = part
            _run(rule, np, coefficients, looked_up, g)
            for b, part in zip(blocks, looked_up, strict=True):
                b[at] = part

        return work

    threads.spread(-(-count // rows), start)


def _run(rule, xp, coefficients, parts, g, update=None):
    w, *slots = [p.reshape(-1) for p in parts]
    scratch = [xp.empty(g.size, g.dtype) for _ in range(rule.scratch)]
    (update or rule.update)(xp, coefficients, w, g.reshape(-1), slots, scratch)
