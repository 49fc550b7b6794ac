"""Walking any cell over the steps of a sequence, one call for each step."""

from gpunet import ops
from gpunet.nest import flatten, pack

__all__ = ["scan"]


def scan(step, inputs, states, mask=None, sequences=False, reverse=False, zero_output=False):
    """Run a step function over time.

    Args:
        step: function ``(inputs, states) -> (outputs, states)`` of one step, nested tensors
            (N, ...).
        inputs: nested tensors (T, N, ...).
        states: nested tensors (N, ...), those at the start.
        mask: boolean tensor (T, N) or None; a step that is False keeps the states and repeats
            the output before it, zeros at the start.
        sequences: bool, return all outputs and not only the last.
        reverse: bool, go from the last step to the first; outputs come in the order of the walk.
        zero_output: bool, outputs of masked steps are zeros.

    Returns:
        (outputs (T, N, ...) or (N, ...), states), nested tensors.

    Raises:
        ValueError: a sequence without steps.
    """
    columns = [ops.unstack(x) for x in flatten(inputs)]
    order = range(len(columns[0]))
    if not order:
        raise ValueError("a recurrent layer got a sequence without steps")
    masks = None if mask is None else ops.unstack(mask)
    history, y = [], None
    for t in reversed(order) if reverse else order:
        now = pack(inputs, [column[t] for column in columns])
        made, new = step(now, states)
        leaves, new = flatten(made), flatten(new)
        if masks is not None:
            new = _chosen(masks[t], new, flatten(states))
            held = [ops.zeros_like(v) for v in leaves] if zero_output or y is None else y
            leaves = _chosen(masks[t], leaves, held)
        states, y = pack(states, new), leaves
        history.append(y)
    if sequences:
        y = [ops.stack(list(steps)) for steps in zip(*history)]
    return pack(made, y), states


def _chosen(on, new, old):
    """Return the new tensors for the samples that count, the old ones for the others."""
    chosen = []
    for a, b in zip(new, old, strict=True):
        shape = (on.shape[0], *[1] * (len(a.shape) - 1))
        chosen.append(ops.where(ops.reshape(on, shape), a, b))
    return chosen
