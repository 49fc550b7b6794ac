"""Cases of the recurrent ops; the reference walks step by step over single samples."""

import itertools

import numpy as np
import scipy.special as sp
from op_cases import Case, real

from gpunet import ops

T, N, C, U = 4, 3, 2, 3
FUNCTIONS = {
    "tanh": np.tanh,
    "sigmoid": sp.expit,
    "hard_sigmoid": lambda x: np.clip(0.2 * x + 0.5, 0, 1),
    "relu": lambda x: np.maximum(x, 0),
    "linear": lambda x: x,
}


def flags(share, *shape):
    return lambda rng: rng.random(shape) < share


def small(*shape):
    return lambda rng: 0.5 * rng.standard_normal(shape)


def simple_step(x, h, weights, activation="tanh", **_):
    ((w, r, b, _),) = weights
    return [activation(x[0] @ w + h[0][0] @ r + b)]


def lstm_step(x, h, weights, activation, gate, **_):
    z = [xg @ w + hg @ r + b for xg, hg, (w, r, b, _) in zip(x, h[0], weights)]
    c = gate(z[1]) * h[1] + gate(z[0]) * activation(z[2])
    return [gate(z[3]) * activation(c), c]


def gru_step(x, h, weights, activation, gate, reset_after, state):
    z = [xg @ w + b for xg, (w, _, b, _) in zip(x, weights)]
    p = [hg @ r + b for hg, (_, r, _, b) in zip(h[0], weights)]
    update, reset = gate(z[0] + p[0]), gate(z[1] + p[1])
    if reset_after:
        new = activation(z[2] + reset * p[2])
    else:
        new = activation(z[2] + (reset * h[0][2]) @ weights[2][1])
    return [update * state + (1 - update) * new]


def walk(step, gates, count):
    """Return a reference for an op: sample by sample, step by step."""

    def reference(x, kernel, recurrent, bias=None, *rest, sequences=False, reverse=False,
                  zero_output=False, activation="tanh", recurrent_activation="sigmoid",
                  reset_after=False, x_rate=0.0, h_rate=0.0):  # fmt: skip
        rest = [*rest, *[None] * (count + 3 - len(rest))]
        states, (mask, x_keep, h_keep) = rest[:count], rest[count:]
        units = len(recurrent)
        bias = np.zeros(gates * units) if bias is None else bias
        bias, inner = bias if bias.ndim == 2 else (bias, 0 * bias)
        parts = [slice(g * units, (g + 1) * units) for g in range(gates)]
        weights = [(kernel[:, p], recurrent[:, p], bias[p], inner[p]) for p in parts]
        outputs, ends = [], [[] for _ in range(count)]
        for n in range(x.shape[1]):
            now = [np.zeros(units) if s is None else s[n] for s in states]
            y, ys = np.zeros(units), []
            for t in range(len(x))[:: -1 if reverse else 1]:
                on = mask is None or mask[t, n]
                if on:
                    xs = [x[t, n] * (1 if x_keep is None else x_keep[g, n] / (1 - x_rate))
                          for g in range(gates)]  # fmt: skip
                    hs = [now[0] * (1 if h_keep is None else h_keep[g, n] / (1 - h_rate))
                          for g in range(gates)]  # fmt: skip
                    now = step(
                        xs, [hs, *now[1:]], weights, activation=FUNCTIONS[activation],
                        gate=FUNCTIONS[recurrent_activation], reset_after=reset_after,
                        state=now[0],
                    )  # fmt: skip
                    y = now[0]
                elif zero_output:
                    y = 0 * y
                ys.append(y)
            outputs.append(ys if sequences else ys[-1])
            for end, s in zip(ends, now):
                end.append(s)
        y = np.array(outputs)
        return (y.swapaxes(0, 1) if sequences else y, *map(np.array, ends))

    return reference


KINDS = [
    (ops.simple_rnn, simple_step, 1, 1, {}),
    (ops.gru, gru_step, 3, 1, {}),
    (ops.gru, gru_step, 3, 1, {"reset_after": True}),
    (ops.lstm, lstm_step, 4, 2, {}),
]
MASK, KEEP = flags(0.6, T, N), 0.7
VARIANTS = [
    ("plain", {}, {}),
    ("mask", {"mask": MASK}, {"sequences": True}),
    ("back", {"mask": MASK, "states": True}, {"sequences": True, "reverse": True}),
    ("zeros", {"mask": MASK}, {"sequences": True, "zero_output": True}),
    ("last", {"mask": MASK, "states": True, "bias": None}, {"zero_output": True}),
    ("drop", {"mask": MASK, "keep": True}, {"x_rate": 0.3, "h_rate": 0.4, "reverse": True}),
    ("hard", {"states": True},
     {"activation": "linear", "recurrent_activation": "hard_sigmoid", "sequences": True}),
    ("sigmoid", {}, {"activation": "sigmoid", "recurrent_activation": "tanh"}),
    ("relu", {"states": True}, {"activation": "relu", "recurrent_activation": "linear"}),
]  # fmt: skip


def _cases():
    for (op, step, gates, count, own), (label, given, options) in itertools.product(
        KINDS, VARIANTS
    ):
        if op is ops.simple_rnn and "recurrent_activation" in options:
            options = {k: v for k, v in options.items() if k != "recurrent_activation"}
        two = own.get("reset_after")
        inputs = [
            real(T, N, C), small(C, gates * U), small(U, gates * U),
            given.get("bias", small(*([2] if two else []), gates * U)),
            *[small(N, U) if given.get("states") else None] * count,
            given.get("mask"),
            flags(KEEP, gates, N, C) if given.get("keep") else None,
            flags(KEEP, gates, N, U) if given.get("keep") else None,
        ]  # fmt: skip
        yield Case(
            op, inputs, walk(step, gates, count), loose=8,
            smooth=options.get("activation") != "relu",
            label=label + "_after" * bool(two), **own, **options,
        )  # fmt: skip


def both(reference):
    """Return a reference for `both_ways`: one direction after the other."""

    def twice(x, back_x, mask, *own, cell, reverse=False, **options):
        half = len(own) // 2
        made = []
        for seen, part, way in [(x, own[:half], reverse), (back_x, own[half:], not reverse)]:
            seen = x if seen is None else seen
            made.append(reference(seen, *part[:-2], mask, *part[-2:], reverse=way, **options))
        (y, *states), (back_y, *back_states) = made
        return y, back_y, *states, *back_states

    return twice


def _cases_both_ways():
    for op, step, gates, count, own in KINDS:
        two = own.get("reset_after")
        for label, given, options in [
            ("plain", {}, {}),
            ("mask", {"mask": MASK, "states": True}, {"sequences": True, "reverse": True}),
            ("drop", {"keep": True, "back_x": real(T, N, C)}, {"x_rate": 0.3, "h_rate": 0.4}),
        ]:
            direction = [
                small(C, gates * U), small(U, gates * U),
                small(*([2] if two else []), gates * U),
                *[small(N, U) if given.get("states") else None] * count,
                flags(KEEP, gates, N, C) if given.get("keep") else None,
                flags(KEEP, gates, N, U) if given.get("keep") else None,
            ]  # fmt: skip
            inputs = [real(T, N, C), given.get("back_x"), given.get("mask"), *direction * 2]
            yield Case(
                ops.both_ways, inputs, both(walk(step, gates, count)), loose=8,
                label=f"{op.name}-{label}" + "_after" * bool(two), cell=op.name, **own, **options,
            )  # fmt: skip


CASES = [*_cases(), *_cases_both_ways()]
