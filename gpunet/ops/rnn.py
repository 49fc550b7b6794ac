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

The pairs here are written for being read, for second derivatives and as what others are
compared with; `gpunet.ops.rnn_host` has those that NumPy runs.
"""

from gpunet.autodiff import differentiable
from gpunet.errors import ShapeError
from gpunet.ops.nonlinear import sigmoid_of

__all__ = ["simple_rnn", "gru", "lstm"]


def _hard_sigmoid(xp, x):
    return xp.minimum(xp.maximum(0.2 * x + 0.5, 0.0), 1.0)


# name -> (function, its slope as a function of its value)
ACTIVATIONS = {
    "tanh": (lambda xp, x: xp.tanh(x), lambda xp, y: 1 - y * y),
    "sigmoid": (sigmoid_of, lambda xp, y: y * (1 - y)),
    "hard_sigmoid": (_hard_sigmoid, lambda xp, y: 0.2 * xp.where((y > 0) & (y < 1), y * 0 + 1, 0)),
    "relu": (lambda xp, x: xp.maximum(x, 0.0), lambda xp, y: xp.where(y > 0, y * 0 + 1, 0)),
    "linear": (lambda xp, x: x, lambda xp, y: y * 0 + 1),
}


class _Walk:
    """What the steps of one call share.

    Args:
        xp: array module, or `gpunet.autodiff.taped`.
        recurrent: array (U, G * U).
        keep: boolean array (G, N, U), or None.
        rate: float, dropout rate behind ``keep``.
        options: dict with the names of the activations.
    """

    def __init__(self, xp, recurrent, keep, rate, options):
        self.xp, self.recurrent = xp, recurrent
        self.units = int(recurrent.shape[0])
        self.keep = None if keep is None else _scaled(keep, rate, recurrent.dtype)
        self.act, self.slope = ACTIVATIONS[options.get("activation", "tanh")]
        self.gate, self.gate_slope = ACTIVATIONS[options.get("recurrent_activation", "sigmoid")]

    def parts(self, z):
        """Return the gates of an array (N, G * U)."""
        u = self.units
        return [z[:, i : i + u] for i in range(0, int(z.shape[1]), u)]

    def times(self, h, first, last):
        """Return h times the recurrent kernels of gates ``first`` to ``last - 1``."""
        u, xp = self.units, self.xp
        if self.keep is None:
            return xp.matmul(h, self.recurrent[:, first * u : last * u])
        done = [
            xp.matmul(h * self.keep[g], self.recurrent[:, g * u : (g + 1) * u])
            for g in range(first, last)
        ]
        return xp.concatenate(done, axis=1)

    def back(self, gz, first, last):
        """Return the gradient of `times` with respect to h."""
        u, xp = self.units, self.xp
        if self.keep is None:
            return xp.matmul(gz, self.recurrent[:, first * u : last * u].T)
        done = [
            self.keep[g] * xp.matmul(part, self.recurrent[:, g * u : (g + 1) * u].T)
            for g, part in zip(range(first, last), self.parts(gz))
        ]
        return _added(done)

    def gradient(self, left, gz, first):
        """Return the gradients of the recurrent kernels of some gates, over all steps.

        Args:
            left: list of arrays (N, U), what was multiplied at each step.
            gz: list of arrays (N, some gates * U), the gradients of the products.
            first: int, the first of those gates.
        """
        xp, u = self.xp, self.units
        left, gz = xp.stack(left), xp.stack(gz)
        gates = int(gz.shape[2]) // u
        if self.keep is None:
            return [xp.matmul(_rows(left).T, _rows(gz))]
        return [
            xp.matmul(_rows(left * self.keep[first + g]).T, _rows(gz[:, :, g * u : (g + 1) * u]))
            for g in range(gates)
        ]


def _added(parts):
    total = parts[0]
    for p in parts[1:]:
        total = total + p
    return total


def _rows(x):
    return x.reshape((int(x.shape[0]) * int(x.shape[1]), int(x.shape[2])))


def _scaled(keep, rate, dtype):
    return keep.astype(dtype) * (1 / (1 - rate))


# -- one step of each cell ----------------------------------------------------------------
# step(walk, z, states, bias) gives the new states and what `back` needs; back(walk, grads,
# states, kept) gives the gradients of z, of the recurrent products and of the states before.


class _Simple:
    gates = 1

    @staticmethod
    def step(walk, z, states, bias):
        y = walk.act(walk.xp, z + walk.times(states[0], 0, 1))
        return [y], y

    @staticmethod
    def back(walk, grads, states, y):
        gz = grads[0] * walk.slope(walk.xp, y)
        return gz, gz, [walk.back(gz, 0, 1)]

    @staticmethod
    def lefts(states, kept):
        return [(0, 1, states[0])]


class _LSTM:
    gates = 4

    @staticmethod
    def step(walk, z, states, bias):
        h, c = states
        xp = walk.xp
        i, f, g, o = walk.parts(z + walk.times(h, 0, 4))
        i, f, g, o = walk.gate(xp, i), walk.gate(xp, f), walk.act(xp, g), walk.gate(xp, o)
        c = f * c + i * g
        a = walk.act(xp, c)
        return [o * a, c], (i, f, g, o, a)

    @staticmethod
    def back(walk, grads, states, kept):
        xp = walk.xp
        (gh, gc), (i, f, g, o, a) = grads, kept
        gc = gc + gh * o * walk.slope(xp, a)
        gz = [
            gc * g * walk.gate_slope(xp, i),
            gc * states[1] * walk.gate_slope(xp, f),
            gc * i * walk.slope(xp, g),
            gh * a * walk.gate_slope(xp, o),
        ]
        gz = xp.concatenate(gz, axis=1)
        return gz, gz, [walk.back(gz, 0, 4), gc * f]

    @staticmethod
    def lefts(states, kept):
        return [(0, 4, states[0])]


class _GRUBefore:
    """The reset gate acts before the recurrent product, as in Cho et al., 2014 (v1)."""

    gates = 3

    @staticmethod
    def step(walk, z, states, bias):
        (h,), u, xp = states, walk.units, walk.xp
        s, r = walk.parts(walk.gate(xp, z[:, : 2 * u] + walk.times(h, 0, 2)))
        g = walk.act(xp, z[:, 2 * u :] + walk.times(r * h, 2, 3))
        return [s * h + (1 - s) * g], (s, r, g)

    @staticmethod
    def back(walk, grads, states, kept):
        xp = walk.xp
        (gh,), (h,), (s, r, g) = grads, states, kept
        gg = gh * (1 - s) * walk.slope(xp, g)
        grh = walk.back(gg, 2, 3)
        gs = gh * (h - g) * walk.gate_slope(xp, s)
        gr = grh * h * walk.gate_slope(xp, r)
        gz = xp.concatenate([gs, gr, gg], axis=1)
        return gz, gz, [gh * s + grh * r + walk.back(gz[:, : 2 * walk.units], 0, 2)]

    @staticmethod
    def lefts(states, kept):
        return [(0, 2, states[0]), (2, 3, kept[1] * states[0])]


class _GRUAfter:
    """The reset gate acts after the recurrent product, as in cuDNN."""

    gates = 3

    @staticmethod
    def step(walk, z, states, bias):
        (h,), u, xp = states, walk.units, walk.xp
        product = walk.times(h, 0, 3)
        if bias is not None:
            product = product + bias
        s, r = walk.parts(walk.gate(xp, z[:, : 2 * u] + product[:, : 2 * u]))
        q = product[:, 2 * u :]
        g = walk.act(xp, z[:, 2 * u :] + r * q)
        return [s * h + (1 - s) * g], (s, r, g, q)

    @staticmethod
    def back(walk, grads, states, kept):
        xp = walk.xp
        (gh,), (h,), (s, r, g, q) = grads, states, kept
        gg = gh * (1 - s) * walk.slope(xp, g)
        gs = gh * (h - g) * walk.gate_slope(xp, s)
        gr = gg * q * walk.gate_slope(xp, r)
        gp = xp.concatenate([gs, gr, gg * r], axis=1)
        gz = xp.concatenate([gs, gr, gg], axis=1)
        return gz, gp, [gh * s + walk.back(gp, 0, 3)]

    @staticmethod
    def lefts(states, kept):
        return [(0, 3, states[0])]


# -- the scan -----------------------------------------------------------------------------


def _scan(xp, cell, arrays, states, options):
    """Run a cell over all steps; see the top of the file."""
    x, kernel, recurrent, bias, mask, x_keep, h_keep = arrays
    reverse, sequences = options.get("reverse", False), options.get("sequences", False)
    walk = _Walk(xp, recurrent, h_keep, options.get("h_rate", 0.0), options)
    given = states[0] is not None
    if reverse:
        x = x[::-1]
        mask = None if mask is None else mask[::-1]
    own, inner = (bias[0], bias[1]) if bias is not None and bias.ndim == 2 else (bias, None)
    z = _project(xp, x, kernel, own, x_keep, options.get("x_rate", 0.0))
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
    seen = _visible(xp, mask, given, options.get("zero_output", False), kernel.dtype)
    y = xp.stack(h) if sequences else h[-1]
    if seen is not None:
        y = y * (seen if sequences else seen[-1])
    saved = (cell, walk, x, kernel, own, inner, mask, x_keep, seen, history, options)
    return (y, *states), saved


def _project(xp, x, kernel, bias, keep, rate):
    """Return what the inputs of all steps add to the gates, (T, N, G * U)."""
    shape = (int(x.shape[0]), int(x.shape[1]), int(kernel.shape[1]))
    if keep is None:
        z = xp.matmul(_rows(x), kernel).reshape(shape)
    else:
        z = [
            xp.matmul(_rows(x * k), w).reshape((*shape[:2], int(w.shape[1])))
            for k, w in _by_gate(keep, rate, kernel)
        ]
        z = xp.concatenate(z, axis=2)
    return z if bias is None else z + bias


def _by_gate(keep, rate, kernel):
    """Return pairs: the scaled dropout mask of a gate and its columns of the kernel."""
    gates = int(keep.shape[0])
    u = int(kernel.shape[1]) // gates
    keep = _scaled(keep, rate, kernel.dtype)
    return [(keep[g], kernel[:, g * u : (g + 1) * u]) for g in range(gates)]


def _visible(xp, mask, given, zero_output, dtype):
    """Return what outputs are multiplied by, (T, N, 1): 0 where they have to be zero, or None."""
    if mask is None or not (zero_output or given):
        return None  # states that start at zero stay so until the first step that counts
    on = mask.astype(dtype)
    if not zero_output:
        on = xp.minimum(xp.cumsum(on, axis=0), 1.0)
    return on[:, :, None]


def _scan_backward(xp, saved, gy, needs):
    """Return gradients of x, kernel, recurrent kernel, bias and a list for the states."""
    cell, walk, x, kernel, own, inner, mask, _, seen, history, options = saved
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
            gz, gp, grads = cell.back(
                walk, [xp.where(on, g, 0.0) for g in grads], states, kept
            )
            grads = [a + b for a, b in zip(grads, off)]
        gzs.append(gz)
        gps.append(gp)
    gzs, gps = gzs[::-1], gps[::-1]
    gz = xp.stack(gzs)
    gx, gkernel = _project_backward(xp, saved, gz, needs)
    grecurrent = _recurrent_gradient(xp, saved, gps) if needs[2] else None
    gbias = None
    if needs[3] and own is not None:
        gbias = gz.sum(axis=(0, 1))
        if inner is not None:
            gbias = xp.stack([gbias, xp.stack(gps).sum(axis=(0, 1))])
    return gx, gkernel, grecurrent, gbias, grads


def _project_backward(xp, saved, gz, needs):
    x, kernel, keep, options = saved[2], saved[3], saved[7], saved[-1]
    gx = gkernel = None
    if keep is None:
        if needs[0]:
            gx = xp.matmul(_rows(gz), kernel.T).reshape(tuple(x.shape))
        if needs[1]:
            gkernel = xp.matmul(_rows(x).T, _rows(gz))
    else:
        gates = _by_gate(keep, options.get("x_rate", 0.0), kernel)
        u = int(kernel.shape[1]) // len(gates)
        parts = [_rows(gz[:, :, g * u : (g + 1) * u]) for g in range(len(gates))]
        if needs[0]:
            gx = _added([
                k * xp.matmul(p, w.T).reshape(tuple(x.shape)) for p, (k, w) in zip(parts, gates)
            ])
        if needs[1]:
            done = [xp.matmul(_rows(x * k).T, p) for p, (k, _) in zip(parts, gates)]
            gkernel = xp.concatenate(done, axis=1)
    return gx[::-1] if needs[0] and options.get("reverse", False) else gx, gkernel


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
def simple_rnn(xp, x, kernel, recurrent_kernel, bias=None, h=None, mask=None, x_keep=None,
               h_keep=None, /, activation="tanh", sequences=False, reverse=False,
               zero_output=False, x_rate=0.0, h_rate=0.0):
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
    options = dict(activation=activation, sequences=sequences, reverse=reverse,
                   zero_output=zero_output, x_rate=x_rate, h_rate=h_rate)
    return _scan(xp, _Simple, (x, kernel, recurrent_kernel, bias, mask, x_keep, h_keep), [h],
                 options)


@differentiable(infer=_infer_gru)
def gru(xp, x, kernel, recurrent_kernel, bias=None, h=None, mask=None, x_keep=None, h_keep=None,
        /, activation="tanh", recurrent_activation="sigmoid", reset_after=False, sequences=False,
        reverse=False, zero_output=False, x_rate=0.0, h_rate=0.0):
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
    options = dict(activation=activation, recurrent_activation=recurrent_activation,
                   reset_after=reset_after, sequences=sequences, reverse=reverse,
                   zero_output=zero_output, x_rate=x_rate, h_rate=h_rate)
    return _scan(xp, _GRUAfter if reset_after else _GRUBefore,
                 (x, kernel, recurrent_kernel, bias, mask, x_keep, h_keep), [h], options)


@differentiable(infer=_infer_lstm)
def lstm(xp, x, kernel, recurrent_kernel, bias=None, h=None, c=None, mask=None, x_keep=None,
         h_keep=None, /, activation="tanh", recurrent_activation="sigmoid", sequences=False,
         reverse=False, zero_output=False, x_rate=0.0, h_rate=0.0):
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
    options = dict(activation=activation, recurrent_activation=recurrent_activation,
                   sequences=sequences, reverse=reverse, zero_output=zero_output, x_rate=x_rate,
                   h_rate=h_rate)
    return _scan(xp, _LSTM, (x, kernel, recurrent_kernel, bias, mask, x_keep, h_keep), [h, c],
                 options)


def _pull(xp, saved, gy, needs):
    *weights, states = _scan_backward(xp, saved, gy, [*needs, False])
    return (*weights, *[g if need else None for g, need in zip(states, needs[4:])])


for _op in (simple_rnn, gru, lstm):
    _op.backward(_pull)
