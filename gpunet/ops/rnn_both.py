"""A recurrent op along a sequence in both directions, as `Bidirectional` needs it: `both_ways`.

What a variant that takes over has to keep, besides what `gpunet.ops.rnn` says:

- The arrays are ``x, back_x, mask`` and then, for the first direction and again for the second,
  kernel, recurrent kernel, bias, states, x_keep, h_keep.  ``back_x`` is what the second one reads
  where it isn't ``x``; None otherwise.
- ``reverse`` is that of the first direction; the second one walks the other way.
- The results are the outputs of both, each in the order of its walk, then the states of the
  first and those of the second.
"""

from gpunet.autodiff import differentiable
from gpunet.ops.rnn import gru, lstm, simple_rnn

__all__ = ["both_ways"]

# Name of a cell -> the op of one direction.
CELLS = {op.name: op for op in (simple_rnn, gru, lstm)}


def halves(x, back_x, mask, *own):
    """Return the arguments of the op of one direction, for each of both."""
    half = len(own) // 2
    return [
        [seen, *part[:-2], mask, *part[-2:]]
        for seen, part in ((x, own[:half]), (x if back_x is None else back_x, own[half:]))
    ]


def _infer(*shapes, cell, sequences=False, **_):
    """Return the shapes of the results; the second direction's are those of the first."""
    first = halves(*shapes)[0]
    y, *states = CELLS[cell].infer(*first, sequences=sequences)
    return [y, y, *states, *states]


@differentiable(infer=_infer)
def both_ways(
    xp,
    *arrays,
    cell,
    activation="tanh",
    recurrent_activation="sigmoid",
    reset_after=False,
    sequences=False,
    reverse=False,
    zero_output=False,
    x_rate=0.0,
    h_rate=0.0,
):
    """Return outputs and last states of two walks of a recurrent op in opposite directions.

    Args:
        *arrays: tensors and Nones, see the top of the file.
        cell: ``'simple_rnn'``, ``'gru'`` or ``'lstm'``.
        activation, recurrent_activation, reset_after, sequences, reverse, zero_output, x_rate,
            h_rate: see these ops; those that the cell has.

    Returns:
        Tuple: two outputs (T, N, U) or (N, U), and all states (N, U).
    """
    given = {
        "activation": activation,
        "recurrent_activation": recurrent_activation,
        "reset_after": reset_after,
        "sequences": sequences,
        "zero_output": zero_output,
        "x_rate": x_rate,
        "h_rate": h_rate,
    }
    op = CELLS[cell]
    given = {name: value for name, value in given.items() if name in op.options}
    outputs, states, saved = [], [], []
    for values, backwards in zip(halves(*arrays), (reverse, not reverse)):
        options = {**given, "reverse": backwards}
        forward, pull = op.pair(xp, values, options)
        (y, *ends), kept = forward(xp, *values, **options)
        outputs.append(y)
        states += ends
        saved.append((pull, kept))
    return (*outputs, *states), (saved, arrays[1] is None)


@both_ways.backward
def both_ways_backward(xp, saved, gy, needs):
    runs, same_x = saved
    states = (len(gy) - 2) // 2
    needs = [*needs, *[False] * (3 + 2 * (5 + states) - len(needs))]
    gxs, rest = [], []
    for i, (pull, kept) in enumerate(runs):
        first = 3 + i * (5 + states)
        own = [needs[0] or (i and needs[1]), *needs[first : first + 3 + states], *[False] * 3]
        ends = gy[2 + i * states : 2 + (i + 1) * states]
        gx, *grads = pull(xp, kept, (gy[i], *ends), own)
        gxs.append(gx)
        rest += [g if need else None for g, need in zip(grads, own[1:])] + [None, None]
    if same_x:
        return (gxs[0] + gxs[1] if needs[0] else None, None, None, *rest)
    return (gxs[0] if needs[0] else None, gxs[1] if needs[1] else None, None, *rest)
