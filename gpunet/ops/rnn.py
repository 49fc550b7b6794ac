"""Recurrent layers over all their steps as one op each: `simple_rnn`, `gru`, `lstm`.

What all three have in common, and what a kernel that takes over has to keep:

- Arrays are time-major: ``x`` (T, N, C).  Gates lie side by side in the last axis of
  ``kernel`` (C, G * U), ``recurrent_kernel`` (U, G * U) and ``bias``.
- ``mask`` (T, N) is boolean.  A step that is False keeps the states and repeats the output
  before it, zeros at the start; with ``zero_output`` it gives zeros.
- ``x_keep`` (G, N, C) and ``h_keep`` (G, N, U) are boolean dropout masks, one for each gate and
  the same at all steps; what is kept is divided by ``1 - x_rate`` and ``1 - h_rate``.
- ``reverse`` goes through the steps from the last one; outputs come in the order of the walk.
- States at the start may be None for zeros.  The results are the outputs, (T, N, U) or with
  ``sequences=False`` the last (N, U), and the states after the last step, each (N, U).

The pairs here, with the steps of `gpunet.ops.rnn_steps`, are written for being read, for second
derivatives and as what others are compared with; `gpunet.ops.rnn_host` has those that NumPy runs.
"""

from gpunet.autodiff import differentiable
from gpunet.errors import ShapeError
from gpunet.ops.products import product
from gpunet.ops.rnn_steps import (
    GRUAfterStep,
    GRUBeforeStep,
    LSTMStep,
    SimpleStep,
    Walk,
    added,
    rows,
    scaled,
)

__all__ = ["simple_rnn", "gru", "lstm"]


# -- the scan -----------------------------------------------------------------------------


def _scan(xp, cell, arrays, states, options):
    """Run a cell over all steps; see the top of the file."""
    x, kernel, recurrent, bias, mask, x_keep, h_keep = arrays
    reverse, sequences = options.get("reverse", False), options.get("sequences", False)
    walk = Walk(xp, recurrent, h_keep, options.get("h_rate", 0.0), options)
    given = states[0] is not None
    if reverse:
        x = x[::-1]
        mask = None if mask is None else mask[::-1]
    own, inner = (bias[0], bias[1]) if bias is not None and bias.ndim == 2 else (bias, None)
    z = project(xp, x, kernel, own, x_keep, options.get("x_rate", 0.0))
    zero = xp.zeros_like(z[0, :, : walk.units])
    states = [zero if s is None else s for s in states]
    history = []
    for t in range(int(x.shape[0])):
        new, kept = cell.step(walk, z[t], states, inner)
        if mask is not None:
            on = mask[t][:, None]
            new = [xp.where(on, a, b) for a, b in zip(new, states)]
        history.append((states, kept))
        states = new
    h = [before[0] for before, _ in history[1:]] + [states[0]]
    seen = visible(xp, mask, given, options.get("zero_output", False), kernel.dtype)
    y = xp.stack(h) if sequences else h[-1]
    if seen is not None:
        y = y * (seen if sequences else seen[-1])
    saved = (cell, walk, x, kernel, own, inner, mask, x_keep, seen, history, options)
    return (y, *states), saved


def project(xp, x, kernel, bias, keep, rate):
    """Return what the inputs of all steps add to the gates, (T, N, G * U)."""
    shape = (int(x.shape[0]), int(x.shape[1]), int(kernel.shape[1]))
    if keep is None:
        z = product(xp, rows(x), kernel).reshape(shape)
    else:
        z = [
            product(xp, rows(x * k), w).reshape((*shape[:2], int(w.shape[1])))
            for k, w in _by_gate(keep, rate, kernel)
        ]
        z = xp.concatenate(z, axis=2)
    return z if bias is None else z + bias


def _by_gate(keep, rate, kernel):
    """Return pairs: the scaled dropout mask of a gate and its columns of the kernel."""
    gates = int(keep.shape[0])
    u = int(kernel.shape[1]) // gates
    keep = scaled(keep, rate, kernel.dtype)
    return [(keep[g], kernel[:, g * u : (g + 1) * u]) for g in range(gates)]


def visible(xp, mask, given, zero_output, dtype):
    """Return what outputs are multiplied by, (T, N, 1): 0 where they have to be zero, or None."""
    if mask is None or not (zero_output or given):
        return None  # states that start at zero stay so until the first step that counts
    on = mask.astype(dtype)
    if not zero_output:
        on = xp.minimum(xp.cumsum(on, axis=0), 1.0)
    return on[:, :, None]


def _scan_backward(xp, saved, gy, needs):
    """Return gradients of x, kernel, recurrent kernel, bias and a list for the states."""
    cell, walk, x, kernel, own, inner, mask, x_keep, seen, history, options = saved
    gy, *grads = gy
    zero = xp.zeros_like(history[0][0][0])
    grads = [zero if g is None else g for g in grads]
    if gy is not None and seen is not None:
        gy = gy * (seen if options.get("sequences", False) else seen[-1])
    if gy is not None and not options.get("sequences", False):
        grads[0] = grads[0] + gy
        gy = None
    gzs, gps = [], []
    for t in range(len(history) - 1, -1, -1):
        states, kept = history[t]
        if gy is not None:
            grads[0] = grads[0] + gy[t]
        if mask is None:
            gz, gp, grads = cell.back(walk, grads, states, kept)
        else:
            on = mask[t][:, None]
            off = [xp.where(on, 0.0, g) for g in grads]
            gz, gp, grads = cell.back(walk, [xp.where(on, g, 0.0) for g in grads], states, kept)
            grads = [a + b for a, b in zip(grads, off)]
        gzs.append(gz)
        gps.append(gp)
    gzs, gps = gzs[::-1], gps[::-1]
    gz = xp.stack(gzs)
    gx, gkernel = project_backward(xp, x, kernel, x_keep, options.get("x_rate", 0.0), gz, needs)
    if needs[0] and options.get("reverse", False):
        gx = gx[::-1]
    grecurrent = _recurrent_gradient(xp, saved, gps) if needs[2] else None
    gbias = None
    if needs[3] and own is not None:
        gbias = gz.sum(axis=(0, 1))
        if inner is not None:
            gbias = xp.stack([gbias, xp.stack(gps).sum(axis=(0, 1))])
    return gx, gkernel, grecurrent, gbias, grads


def project_backward(xp, x, kernel, keep, rate, gz, needs):
    """Return the gradients of ``x`` and ``kernel`` in `project`, None where they aren't needed."""
    gx = gkernel = None
    if keep is None:
        if needs[0]:
            gx = product(xp, rows(gz), kernel.T).reshape(tuple(x.shape))
        if needs[1]:
            gkernel = product(xp, rows(x).T, rows(gz))
        return gx, gkernel
    gates = _by_gate(keep, rate, kernel)
    u = int(kernel.shape[1]) // len(gates)
    parts = [rows(gz[:, :, g * u : (g + 1) * u]) for g in range(len(gates))]
    if needs[0]:
        gx = added(
            [k * product(xp, p, w.T).reshape(tuple(x.shape)) for p, (k, w) in zip(parts, gates)]
        )
    if needs[1]:
        done = [product(xp, rows(x * k).T, p) for p, (k, _) in zip(parts, gates)]
        gkernel = xp.concatenate(done, axis=1)
    return gx, gkernel


def _recurrent_gradient(xp, saved, gps):
    cell, walk, history = saved[0], saved[1], saved[9]
    u = walk.units
    columns = []
    for group, (first, last, _) in enumerate(cell.lefts(*history[0])):
        left = [cell.lefts(states, kept)[group][2] for states, kept in history]
        columns += walk.gradient(left, [g[:, first * u : last * u] for g in gps], first)
    return columns[0] if len(columns) == 1 else xp.concatenate(columns, axis=1)


# -- ops ----------------------------------------------------------------------------------


def _infer(x, kernel, recurrent, *_, sequences=False, gates, states):
    if len(x) != 3 or len(kernel) != 2 or len(recurrent) != 2:
        raise ShapeError(
            f"recurrent op: expected shapes (T, N, C), (C, G * U) and (U, G * U), "
            f"got {x}, {kernel} and {recurrent}"
        )
    if None not in (x[2], kernel[0]) and x[2] != kernel[0]:
        raise ShapeError(f"recurrent op: {x[2]} input features, but a kernel for {kernel[0]}")
    units = recurrent[0]
    if None not in (units, kernel[1]) and {kernel[1], recurrent[1]} != {gates * units}:
        raise ShapeError(
            f"recurrent op: expected kernels with {gates} * {units} columns, "
            f"got {kernel[1]} and {recurrent[1]}"
        )
    y = (x[0], x[1], units) if sequences else (x[1], units)
    return [y] + [(x[1], units)] * states


def _infer_simple(*shapes, sequences=False, **_):
    return _infer(*shapes[:3], sequences=sequences, gates=1, states=1)


def _infer_gru(*shapes, sequences=False, **_):
    return _infer(*shapes[:3], sequences=sequences, gates=3, states=1)


def _infer_lstm(*shapes, sequences=False, **_):
    return _infer(*shapes[:3], sequences=sequences, gates=4, states=2)


@differentiable(infer=_infer_simple)
def simple_rnn(
    xp,
    x,
    kernel,
    recurrent_kernel,
    bias=None,
    h=None,
    mask=None,
    x_keep=None,
    h_keep=None,
    /,
    activation="tanh",
    sequences=False,
    reverse=False,
    zero_output=False,
    x_rate=0.0,
    h_rate=0.0,
):
    """Return the outputs and the last state of ``h = activation(x W + h R + b)``.

    Args:
        x: tensor (T, N, C).
        kernel: tensor (C, U).
        recurrent_kernel: tensor (U, U).
        bias: tensor (U,) or None.
        h: tensor (N, U), the state at the start; None for zeros.
        mask: boolean tensor (T, N) or None.
        x_keep, h_keep: boolean tensors (1, N, C) and (1, N, U), or None; dropout masks.
        activation: name in `ACTIVATIONS`.
        sequences: bool, give all outputs and not only the last.
        reverse: bool, go from the last step to the first.
        zero_output: bool, outputs of masked steps are zeros.
        x_rate, h_rate: floats, dropout rates that go with the masks.

    Returns:
        Tuple: outputs (T, N, U) or (N, U), state (N, U).
    """
    options = {
        "activation": activation,
        "sequences": sequences,
        "reverse": reverse,
        "zero_output": zero_output,
        "x_rate": x_rate,
        "h_rate": h_rate,
    }
    return _scan(
        xp, SimpleStep, (x, kernel, recurrent_kernel, bias, mask, x_keep, h_keep), [h], options
    )


@differentiable(infer=_infer_gru)
def gru(
    xp,
    x,
    kernel,
    recurrent_kernel,
    bias=None,
    h=None,
    mask=None,
    x_keep=None,
    h_keep=None,
    /,
    activation="tanh",
    recurrent_activation="sigmoid",
    reset_after=False,
    sequences=False,
    reverse=False,
    zero_output=False,
    x_rate=0.0,
    h_rate=0.0,
):
    """Return the outputs and the last state of a gated recurrent unit; gates z, r, h.

    Args:
        bias: tensor (3 * U,), or (2, 3 * U) with ``reset_after``: its second row is added to
            the recurrent product; or None.
        recurrent_activation: name in `ACTIVATIONS`, of the gates z and r.
        reset_after: bool, the reset gate acts after the recurrent product.
        x, kernel, recurrent_kernel, h, mask, x_keep, h_keep, activation, sequences, reverse,
            zero_output, x_rate, h_rate: see `simple_rnn`; three gates.

    Returns:
        Tuple: outputs (T, N, U) or (N, U), state (N, U).

    Reference:
        Cho et al., 2014, arXiv:1406.1078.
    """
    options = {
        "activation": activation,
        "recurrent_activation": recurrent_activation,
        "reset_after": reset_after,
        "sequences": sequences,
        "reverse": reverse,
        "zero_output": zero_output,
        "x_rate": x_rate,
        "h_rate": h_rate,
    }
    return _scan(
        xp,
        GRUAfterStep if reset_after else GRUBeforeStep,
        (x, kernel, recurrent_kernel, bias, mask, x_keep, h_keep),
        [h],
        options,
    )


@differentiable(infer=_infer_lstm)
def lstm(
    xp,
    x,
    kernel,
    recurrent_kernel,
    bias=None,
    h=None,
    c=None,
    mask=None,
    x_keep=None,
    h_keep=None,
    /,
    activation="tanh",
    recurrent_activation="sigmoid",
    sequences=False,
    reverse=False,
    zero_output=False,
    x_rate=0.0,
    h_rate=0.0,
):
    """Return the outputs and the last states of a long short-term memory; gates i, f, c, o.

    Args:
        h, c: tensors (N, U), the states at the start; both None for zeros.
        recurrent_activation: name in `ACTIVATIONS`, of the gates i, f and o.
        x, kernel, recurrent_kernel, bias, mask, x_keep, h_keep, activation, sequences, reverse,
            zero_output, x_rate, h_rate: see `simple_rnn`; four gates.

    Returns:
        Tuple: outputs (T, N, U) or (N, U), states h and c, each (N, U).

    Reference:
        Hochreiter and Schmidhuber, 1997, Neural Computation 9(8), 1735-1780.
    """
    options = {
        "activation": activation,
        "recurrent_activation": recurrent_activation,
        "sequences": sequences,
        "reverse": reverse,
        "zero_output": zero_output,
        "x_rate": x_rate,
        "h_rate": h_rate,
    }
    return _scan(
        xp, LSTMStep, (x, kernel, recurrent_kernel, bias, mask, x_keep, h_keep), [h, c], options
    )


def _pull(xp, saved, gy, needs):
    *weights, states = _scan_backward(xp, saved, gy, [*needs, False])
    return (*weights, *[g if need else None for g, need in zip(states, needs[4:])])


for _op in (simple_rnn, gru, lstm):
    _op.backward(_pull)
