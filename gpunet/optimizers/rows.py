"""Updates of the rows of a table that a batch looked up, by each rule's own habit."""

import numpy as np

__all__ = ["update_rows"]


def update_rows(rule, coefficients, weight, slots, grad):
    """Update a weight and its slots in place.

    Args:
        rule: Optimizer; its ``rows`` says what stays as it is in rows without gradient:
            ``'skip'`` weight and slots, ``'still'`` the weight alone.
        coefficients: what `Optimizer.coefficients` returned, in the dtype of the slots.
        weight: array (V, ...).
        slots: list of arrays of the weight's shape.
        grad: RowGradient in the dtype in which updates are computed.
    """
    xp, arrays = grad.xp, [weight, *slots]
    if xp is np and rule.rows == "skip":
        numbers, g = grad.summed()
        parts = [a[numbers].astype(g.dtype, copy=False) for a in arrays]
        _run(rule, xp, coefficients, parts, g)
        for a, part in zip(arrays, parts, strict=True):
            a[numbers] = part
        return
    # No shape may depend on values on a GPU, so there the whole table is swept.
    kept = [a.copy() for a in (arrays if rule.rows == "skip" else arrays[:1])]
    parts = [a if a.dtype == grad.dtype else a.astype(grad.dtype) for a in arrays]
    _run(rule, xp, coefficients, parts, grad.dense())
    touched = grad.touched()
    for a, part, before in zip(arrays, parts, kept, strict=False):
        a[...] = xp.where(touched, part, before)


def _run(rule, xp, coefficients, parts, g):
    flat = [p.reshape(-1) for p in parts]
    scratch = [xp.empty(g.size, g.dtype) for _ in range(rule.scratch)]
    rule.update(xp, coefficients, flat[0], g.reshape(-1), flat[1:], scratch)
