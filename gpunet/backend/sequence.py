"""Functions that walk: over time, over a first axis, and along the paths of CTC."""

import numpy as np

from gpunet import arrays, config, ops
from gpunet.backend.expression import expression
from gpunet.errors import ShapeError
from gpunet.graph import SymbolicTensor
from gpunet.layers.recurrent.scan import scan
from gpunet.nest import flatten, map_nest, pack
from gpunet.tensor import Tensor, convert_to_tensor

__all__ = [
    "ctc_batch_cost",
    "ctc_decode",
    "ctc_label_dense_to_sparse",
    "foldl",
    "foldr",
    "map_fn",
    "rnn",
]


def _is_symbolic(nest):
    return any(isinstance(t, SymbolicTensor) for t in flatten(nest))


# -- recurrence ---------------------------------------------------------------------------


@expression
def rnn(
    step_function,
    inputs,
    initial_states,
    go_backwards=False,
    mask=None,
    constants=None,
    unroll=False,
    input_length=None,
    time_major=False,
    zero_output_for_mask=False,
    return_all_outputs=True,
):
    """Run a step function over time.

    Args:
        step_function: function ``(input, states) -> (output, new states)`` of tensors (N, ...);
            the constants come behind the states.
        inputs: tensor (N, T, ...), or nested tensors.
        initial_states: list of tensors (N, ...).
        go_backwards: bool, go from the last step to the first; outputs come in that order.
        mask: tensor (N, T) or (N, T, 1); a step that is False keeps the states and repeats the
            output before it, zeros at the start.
        constants: list of tensors that every step gets.
        unroll, input_length: accepted; nothing depends on them.
        time_major: bool, whether inputs, mask and outputs have time as their first axis.
        zero_output_for_mask: bool, whether outputs of masked steps are zeros instead.
        return_all_outputs: bool; else the outputs hold the last one alone.

    Returns:
        (last output (N, ...), outputs (N, T, ...), list of the last states).
    """
    more = tuple(constants or ())
    inputs = map_nest(convert_to_tensor, inputs)

    def step(now, states):
        return step_function(now, [*states, *more])

    if _is_symbolic([inputs, initial_states, mask, constants]):
        return _traced_rnn(step, inputs, initial_states, time_major, return_all_outputs)
    mask = None if mask is None else convert_to_tensor(mask)
    if mask is not None:
        mask = ops.cast(mask, dtype="bool")
        mask = ops.squeeze(mask, axis=2) if mask.ndim == 3 else mask
    if not time_major:
        inputs = map_nest(_swapped, inputs)
        mask = None if mask is None else _swapped(mask)
    outputs, states = scan(
        step,
        inputs,
        [convert_to_tensor(s) for s in initial_states],
        mask,
        sequences=True,
        reverse=go_backwards,
        zero_output=zero_output_for_mask,
    )
    last = map_nest(lambda y: y[-1], outputs)
    if not return_all_outputs:
        outputs = map_nest(lambda y: ops.expand_dims(y, axis=0), last)
    return last, outputs if time_major else map_nest(_swapped, outputs), list(states)


def _swapped(x):
    """Return a tensor with its first two axes exchanged."""
    return ops.transpose(x, perm=(1, 0, *range(2, len(x.shape))))


def _traced_rnn(step, inputs, states, time_major, return_all):
    axis = 0 if time_major else 1
    now = map_nest(lambda x: x[0] if time_major else x[:, 0], inputs)
    last, new = step(now, list(states))
    steps = flatten(inputs)[0].shape[axis] if return_all else 1

    def over_time(y):
        batch = y.shape[0]
        shape = (steps, batch) if time_major else (batch, steps)
        return SymbolicTensor((*shape, *y.shape[1:]), y.dtype)

    return last, map_nest(over_time, last), list(new)


# -- along the first axis -----------------------------------------------------------------


def _slices(elems, what):
    columns = [ops.unstack(convert_to_tensor(x)) for x in flatten(elems)]
    if not columns[0]:
        raise ShapeError(f"{what}: the first axis is empty")
    return [pack(elems, list(now)) for now in zip(*columns)]


@expression
def map_fn(fn, elems, name=None, dtype=None):
    """Return what a function gives for each part along the first axis, stacked.

    Args:
        fn: function of a tensor, or of tensors in the structure of ``elems``.
        elems: tensor, or nested tensors with first axes of one length.
        name: accepted.
        dtype: name of the result's element type; None leaves it as it is.
    """

    def cast(y):
        return y if dtype is None or isinstance(dtype, (list, tuple)) else ops.cast(y, dtype=dtype)

    if _is_symbolic(elems):
        count = flatten(elems)[0].shape[0]
        made = map_nest(convert_to_tensor, fn(map_nest(lambda x: x[0], elems)))
        return map_nest(lambda y: SymbolicTensor((count, *cast(y).shape), cast(y).dtype), made)
    made = [map_nest(convert_to_tensor, fn(now)) for now in _slices(elems, "map_fn")]
    stacked = [cast(ops.stack(list(parts))) for parts in zip(*map(flatten, made))]
    return pack(made[0], stacked)


def _fold(fn, elems, initializer, backwards, what):
    if _is_symbolic(elems):
        first = map_nest(lambda x: x[0], elems)
        return fn(first if initializer is None else initializer, first)
    parts = _slices(elems, what)
    if backwards:
        parts.reverse()
    total = initializer
    if initializer is None:
        total, *parts = parts
    for part in parts:
        total = fn(total, part)
    return map_nest(convert_to_tensor, total)


@expression
def foldl(fn, elems, initializer=None, name=None):
    """Combine the parts along the first axis, from the first to the last.

    Args:
        fn: function ``(result so far, part) -> result``.
        elems: tensor or nested tensors.
        initializer: the result at the start; None starts with the first part.
        name: accepted.
    """
    return _fold(fn, elems, initializer, False, "foldl")


@expression
def foldr(fn, elems, initializer=None, name=None):
    """Combine the parts along the first axis, from the last to the first; see `foldl`."""
    return _fold(fn, elems, initializer, True, "foldr")


# -- CTC ----------------------------------------------------------------------------------


def ctc_label_dense_to_sparse(labels, label_lengths):
    """Refuse: there are no sparse tensors here; `ctc_batch_cost` takes dense labels."""
    raise NotImplementedError(
        "ctc_label_dense_to_sparse: sparse tensors aren't supported; ctc_batch_cost takes the "
        "dense labels and their lengths"
    )


def _lengths(x):
    """Return lengths (N, 1) or (N,) as integers (N,)."""
    x = ops.cast(x, dtype="int32")
    return ops.squeeze(x, axis=-1) if len(x.shape) == 2 else x


def ctc_batch_cost(y_true, y_pred, input_length, label_length):
    """Return minus the log-probability of each sample's labels, whatever their places.

    Args:
        y_true: tensor (N, L), the labels.
        y_pred: tensor (N, T, C), probabilities; the last class is the blank.
        input_length: tensor (N, 1), how many steps of ``y_pred`` count.
        label_length: tensor (N, 1), how many labels count.

    Returns:
        Tensor (N, 1).

    Reference:
        Graves et al., 2006, ICML, 369-376.
    """
    logits = ops.log(convert_to_tensor(y_pred) + config.epsilon())
    labels = ops.cast(y_true, dtype="int32")
    loss = ops.ctc_loss(logits, labels, _lengths(input_length), _lengths(label_length))
    return ops.expand_dims(loss, axis=1)


@expression
def _beams(logits, lengths, beam_width, top_paths, merge_repeated):
    if isinstance(logits, SymbolicTensor):
        paths = [SymbolicTensor(logits.shape[:2], "int64") for _ in range(top_paths)]
        return paths, SymbolicTensor((logits.shape[0], top_paths), logits.dtype)
    values = [np.asarray(arrays.to_host(t.array)) for t in (logits, lengths)]
    labels, scores = ops.ctc_beams(*values, beam_width, top_paths, merge_repeated)
    place = arrays.current_device().xp.asarray
    return [Tensor(place(part)) for part in labels], Tensor(place(scores))


def ctc_decode(
    y_pred, input_length, greedy=True, beam_width=100, top_paths=1, merge_repeated=False
):
    """Return the most likely labels.

    Args:
        y_pred: tensor (N, T, C), probabilities; the last class is the blank.
        input_length: tensor (N,), how many steps count.
        greedy: bool, take the most likely path; else search, which reads the values on the host.
        beam_width: int, how many beginnings the search keeps.
        top_paths: int, how many results the search gives.
        merge_repeated: bool, whether the search makes equal neighbouring labels one.

    Returns:
        (labels, scores): list of tensors (N, T) with -1 behind the last label; for the greedy
        path minus the sum of its log-probabilities (N, 1), else log-probabilities
        (N, top_paths).
    """
    logits = ops.log(convert_to_tensor(y_pred) + config.epsilon())
    lengths = _lengths(input_length)
    if greedy:
        labels, score = ops.ctc_greedy(logits, lengths)
        return [labels], score
    return _beams(logits, lengths, beam_width, top_paths, merge_repeated)
