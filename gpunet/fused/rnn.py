"""Fused walks of the recurrent ops: one kernel for all steps, with the weights held on the chip."""

import dataclasses
import functools
import logging

from gpunet import config
from gpunet.fused import rnn_plan
from gpunet.fused.launch import REALS, chip, launch
from gpunet.fused.sources import source
from gpunet.ops import rnn
from gpunet.ops.rnn import project, project_backward, visible
from gpunet.ops.rnn_steps import ACTIVATIONS, rows

__all__ = []

_log = logging.getLogger("gpunet")

# Names of the kernels' activations: their numbers in kernels/rnn.cuh.
_NUMBERS = {"tanh": 0, "sigmoid": 1, "hard_sigmoid": 2, "relu": 3, "linear": 4}
assert _NUMBERS.keys() == ACTIVATIONS.keys()


@dataclasses.dataclass(frozen=True)
class _Family:
    """A cell's kernels: name of the source, number of gates and of states."""

    name: str
    gates: int
    states: int


_SIMPLE, _GRU, _LSTM = _Family("simple_rnn", 1, 1), _Family("gru", 3, 1), _Family("lstm", 4, 2)


class _Walk:
    """One call: its arrays and how it is laid out.

    Args:
        xp: CuPy.
        family: _Family.
        weights: tuple (x, kernel, recurrent kernel, bias).
        states: list of arrays (N, U) or Nones.
        masks: tuple (mask, x_keep, h_keep) of arrays or Nones.
        options: dict of the op's options.
    """

    def __init__(self, xp, family, weights, states, masks, options):
        self.xp, self.family, self.options = xp, family, options
        self.x, self.kernel, self.recurrent, bias = weights
        mask, self.x_keep, h_keep = masks
        # Layers turn (N, T) masks by transposing them; the kernels want bytes in one piece.
        self.mask, self.h_keep = (
            None if m is None else xp.ascontiguousarray(m.astype(bool)) for m in (mask, h_keep)
        )
        self.bias, self.inner = bias, None
        if bias is not None and bias.ndim == 2:
            self.bias, self.inner = bias[0], xp.ascontiguousarray(bias[1])
        self.recurrent = xp.ascontiguousarray(self.recurrent)
        self.states = [None if s is None else xp.ascontiguousarray(s) for s in states]
        self.steps, self.batch = self.x.shape[:2]
        self.units, self.dtype = self.recurrent.shape[0], self.recurrent.dtype
        self.reverse = bool(options.get("reverse", False))
        before = family is _GRU and not options.get("reset_after", False)
        self.turns = 2 if before else 1
        self.scale = self.dtype.type(1 / (1 - options.get("h_rate", 0.0)))

    def plan(self, backward):
        """Return the Plan and the definitions that the source is compiled with."""
        plan = rnn_plan.plan_of(
            chip(), self.units, self.family.gates, self.batch, self.dtype.itemsize,
            config.precision() == "tf32", self.h_keep is not None, backward,
        )  # fmt: skip
        defines = {
            "REAL": REALS[self.dtype.name],
            "MASKED": int(self.mask is not None),
            "DROPOUT": int(self.h_keep is not None),
            "ACTIVATION": _NUMBERS[self.options.get("activation", "tanh")],
            "GATE_ACTIVATION": _NUMBERS[self.options.get("recurrent_activation", "sigmoid")],
            "RESET_AFTER": int(bool(self.options.get("reset_after", False))),
            **plan.defines,
        }
        way = "backward" if backward else "forward"
        _say(f"{self.family.name} of {self.units} units, {self.batch} sequences, {way}: {plan}")
        return plan, defines

    def run(self, name, args, turns, backward):
        """Launch a walk: at once, or turn by turn where blocks meet between launches."""
        plan, defines = self.plan(backward)
        parts = [(0, turns)]
        if plan.meet == rnn_plan.LAUNCHES:
            parts = [(i, i + 1) for i in range(turns)]
        for first, last in parts:
            launch(
                source(self.family.name), name, plan.grid(self.batch), plan.block,
                [*args, self.steps, self.batch, int(self.reverse), first, last], defines,
                shared=plan.shared(backward), together=plan.meet == rnn_plan.GRID,
            )  # fmt: skip

    def forward(self):
        """Return (outputs, states...) and what the walk back needs."""
        xp, shape = self.xp, (self.steps, self.batch, self.units)
        z = xp.ascontiguousarray(
            project(xp, self.x, self.kernel, self.bias, self.x_keep, self.options.get("x_rate", 0))
        )
        hs = xp.empty(shape, self.dtype)
        extra = xp.empty(shape, self.dtype) if self.family is not _SIMPLE else None
        scratch = xp.empty(shape[1:], self.dtype) if self.turns == 2 else None
        if hs.size:
            h, c = (*self.states, None)[:2]
            meetings, stride = xp.zeros(1, "uint32"), self.batch * self.units
            args = [z, self.recurrent, self.inner, h, c, self.mask, self.h_keep, hs, extra,
                    scratch, meetings, self.scale, stride]  # fmt: skip
            self.run("walk_forward", args, self.steps * self.turns, backward=False)
        last = 0 if self.reverse else self.steps - 1
        ends = [hs[last], extra[last]] if self.family is _LSTM else [hs[last]]
        y = (hs[::-1] if self.reverse else hs) if self.options.get("sequences") else hs[last]
        seen = self._seen()
        if seen is not None:
            y = y * (seen if self.options.get("sequences") else seen[-1])
        return (y, *ends), (z, hs, extra)

    def _seen(self):
        mask = self.mask
        if mask is not None and self.reverse:
            mask = mask[::-1]
        given = self.states[0] is not None
        return visible(self.xp, mask, given, self.options.get("zero_output", False), self.dtype)

    def backward(self, saved, gy, needs):
        """Return the gradients of x, kernel, recurrent kernel, bias and a list for the states."""
        xp, shape = self.xp, (self.batch, self.units)
        z, hs, extra = saved
        # The walk writes over the gates; a second one from the same record needs them again.
        z, kept = z.copy(), extra
        if self.family is _GRU and self.turns == 1:
            kept = extra.copy()
        gy, *given = gy
        sequences = self.options.get("sequences", False)
        if gy is not None and (seen := self._seen()) is not None:
            gy = gy * (seen if sequences else seen[-1])
        grads = [
            xp.zeros(shape, self.dtype) if g is None else xp.array(g, order="C") for g in given
        ]
        if gy is not None and not sequences:
            grads[0] += gy
            gy = None
        if gy is not None:
            gy = xp.ascontiguousarray(gy[::-1] if self.reverse else gy)
        if hs.size:
            h, c = (*self.states, None)[:2]
            gc = grads[1] if self.family is _LSTM else None
            args = [z, self.recurrent, h, c, self.mask, self.h_keep, hs, kept, gy, grads[0], gc,
                    xp.zeros(1, "uint32"), self.scale]  # fmt: skip
            self.run("walk_backward", args, self.steps * self.turns + 1, backward=True)
        gx, gkernel = project_backward(
            xp, self.x, self.kernel, self.x_keep, self.options.get("x_rate", 0.0), z, needs
        )
        grecurrent = self._recurrent_gradient(z, hs, kept) if needs[2] else None
        gbias = None
        if needs[3] and self.bias is not None:
            gbias = z.sum(axis=(0, 1))
            if self.inner is not None:
                last = kept.sum(axis=(0, 1))
                gbias = xp.stack([gbias, xp.concatenate([gbias[: 2 * self.units], last])])
        return gx, gkernel, grecurrent, gbias, grads

    def _recurrent_gradient(self, z, hs, kept):
        """Return the gradient of the recurrent kernel, from all steps at once."""
        xp, u = self.xp, self.units
        start = self.states[0]
        if start is None:
            start = xp.zeros_like(hs[0])
        parts = [hs[1:], start[None]] if self.reverse else [start[None], hs[:-1]]
        before = xp.concatenate(parts)  # the state that each step began with
        if self.family is _GRU and self.turns == 1:
            groups = [(0, 2, before, z[:, :, : 2 * u]), (2, 3, before, kept)]
        elif self.family is _GRU:
            groups = [(0, 2, before, z[:, :, : 2 * u]), (2, 3, kept, z[:, :, 2 * u :])]
        else:
            groups = [(0, self.family.gates, before, z)]
        columns = []
        for first, last, left, right in groups:
            if self.h_keep is None:
                columns.append(xp.matmul(rows(left).T, rows(right)))
                continue
            for g in range(first, last):
                keep = self.h_keep[g].astype(self.dtype) * self.scale
                own = right[:, :, (g - first) * u : (g - first + 1) * u]
                columns.append(xp.matmul(rows(left * keep).T, rows(own)))
        return columns[0] if len(columns) == 1 else xp.concatenate(columns, axis=1)


# -- the ops ------------------------------------------------------------------------------


def _fits(xp, x, kernel, recurrent, *_, **options):
    """Return whether the kernels take a call; the log says once why not."""
    if xp.__name__ != "cupy":
        return False
    names = [options.get("activation", "tanh"), options.get("recurrent_activation", "sigmoid")]
    dtypes = {a.dtype.name for a in (x, kernel, recurrent)}
    reason = None
    if len(dtypes) > 1 or not dtypes <= REALS.keys():
        reason = f"no kernel for dtypes {sorted(dtypes)}"
    elif not _NUMBERS.keys() >= set(names):
        reason = f"no kernel for activations {names}"
    elif not x.shape[0]:
        reason = "no steps"
    if reason is not None:
        _say(f"recurrent layer of {recurrent.shape[0]} units: step by step, {reason}")
    return reason is None


@functools.cache
def _say(text):
    _log.debug(text)


def _add(op, family):
    def forward(xp, x, kernel, recurrent, bias=None, *rest, **options):
        rest = [*rest, *[None] * (family.states + 3 - len(rest))]
        states, masks = rest[: family.states], rest[family.states :]
        walk = _Walk(xp, family, (x, kernel, recurrent, bias), states, masks, options)
        y, saved = walk.forward()
        return y, (walk, saved)

    fused = op.fused(when=_fits)(forward)

    @fused.backward
    def backward(xp, saved, gy, needs):
        walk, saved = saved
        needs = [*needs, *[False] * (4 + family.states - len(needs))]
        *weights, states = walk.backward(saved, gy, needs)
        return (*weights, *[g if need else None for g, need in zip(states, needs[4:])])


for _op, _family in ((rnn.simple_rnn, _SIMPLE), (rnn.gru, _GRU), (rnn.lstm, _LSTM)):
    _add(_op, _family)
