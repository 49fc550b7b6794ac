"""One call of a recurrent op as CUDA kernels run it: products for all steps around a fused walk."""

import dataclasses
import functools
import logging

import numpy as np

from gpunet import config
from gpunet.fused import rnn_plan
from gpunet.fused.gemm import gemm, takes
from gpunet.fused.launch import chip, launch
from gpunet.fused.sources import source
from gpunet.ops.products import product
from gpunet.ops.rnn import project, project_backward, visible
from gpunet.ops.rnn_steps import ACTIVATIONS, rows

__all__ = ["GRU", "LSTM", "NUMBERS", "SIMPLE", "Family", "Walk", "Way", "plan_for"]

_log = logging.getLogger("gpunet")

# Names of the kernels' activations: their numbers in kernels/rnn.cuh.
NUMBERS = {"tanh": 0, "sigmoid": 1, "hard_sigmoid": 2, "relu": 3, "linear": 4}
assert NUMBERS.keys() == ACTIVATIONS.keys()


@dataclasses.dataclass(frozen=True)
class Family:
    """A cell's kernels: name of the source, number of gates and of states."""

    name: str
    gates: int
    states: int


SIMPLE, GRU, LSTM = Family("simple_rnn", 1, 1), Family("gru", 3, 1), Family("lstm", 4, 2)


@dataclasses.dataclass
class Way:
    """What one direction has of its own; None for what isn't there.

    Attributes:
        x: array (T, N, C).
        kernel, recurrent, bias: arrays.
        states: list of arrays (N, U).
        x_keep, h_keep: arrays (G, N, C) and (G, N, U), dropout masks.
        reverse: bool, from the last step to the first.
    """

    x: object
    kernel: object
    recurrent: object
    bias: object
    states: list
    x_keep: object
    h_keep: object
    reverse: bool

    def in_order(self, y):
        """Return what has the order of time in that of the walk, or the other way round."""
        return y[::-1] if self.reverse else y


def plan_for(family, recurrent, batch, dropout, backward, directions=1):
    """Return the Plan for arrays of this dtype on this chip, or None.

    Args:
        family: `Family`.
        recurrent: array (U, G * U).
        batch, directions: ints.
        dropout, backward: bools.
    """
    kind = rnn_plan.kind_of(chip(), recurrent.dtype.name, config.precision())
    if kind is None:
        return None
    units = recurrent.shape[0]
    return rnn_plan.plan_of(chip(), units, family.gates, batch, kind, dropout, backward, directions)


class Walk:
    """One call: its arrays and how it is laid out.

    Args:
        xp: CuPy.
        family: `Family`.
        ways: list of one `Way`, or of two in opposite directions.
        mask: array (T, N), or None.
        options: dict of the op's options.
    """

    def __init__(self, xp, family, ways, mask, options):
        self.xp, self.family, self.ways, self.options = xp, family, ways, options
        # Layers turn (N, T) masks by transposing them; the kernels want bytes in one piece.
        self.mask = None if mask is None else xp.ascontiguousarray(mask.astype(bool))
        # Layers turn inputs by transposing them, too. Both ways may read the same ones.
        made = {id(way.x): xp.ascontiguousarray(way.x) for way in ways}
        for way in ways:
            way.x = made[id(way.x)]
        first = ways[0]
        self.steps, self.batch = first.x.shape[:2]
        self.units, self.dtype = first.recurrent.shape[0], first.recurrent.dtype
        before = family is GRU and not options.get("reset_after", False)
        self.turns = 2 if before else 1
        self.dropout = first.h_keep is not None
        kind = rnn_plan.kind_of(chip(), self.dtype.name, config.precision())
        self.real = np.dtype(rnn_plan.KINDS[kind].real)  # of states and sums
        self.scale = self.real.type(1 / (1 - options.get("h_rate", 0.0)))
        self.recurrent = self._joined([way.recurrent for way in ways])
        self.h_keep = self._joined([way.h_keep for way in ways], "bool")
        self.inner = self._joined([
            way.bias[1] if way.bias is not None and way.bias.ndim == 2 else None for way in ways
        ])  # fmt: skip
        states = zip(*[way.states for way in ways])
        self.h, self.c = (*[self._joined(s, self.real) for s in states], None)[:2]

    def _joined(self, arrays, dtype=None):
        """Return what both ways have, one behind the other in one piece; None for Nones."""
        xp = self.xp
        if all(a is None for a in arrays):
            return None
        if len(arrays) == 1:
            made = arrays[0]
        else:
            shape = next(a.shape for a in arrays if a is not None)
            made = xp.stack([
                xp.zeros(shape, dtype or self.dtype) if a is None else a for a in arrays
            ])  # fmt: skip
        return xp.ascontiguousarray(made if dtype is None else made.astype(dtype, copy=False))

    # -- launches -------------------------------------------------------------------------

    def plan(self, backward):
        """Return the Plan and the definitions that the source is compiled with."""
        plan = plan_for(
            self.family, self.ways[0].recurrent, self.batch, self.dropout, backward,
            len(self.ways),
        )  # fmt: skip
        defines = {
            "MASKED": int(self.mask is not None),
            "DROPOUT": int(self.dropout),
            "ACTIVATION": NUMBERS[self.options.get("activation", "tanh")],
            "GATE_ACTIVATION": NUMBERS[self.options.get("recurrent_activation", "sigmoid")],
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
                [*args, self.steps, self.batch, int(self.ways[0].reverse), first, last], defines,
                shared=plan.shared(backward), together=plan.meet == rnn_plan.GRID,
            )  # fmt: skip

    # -- forward --------------------------------------------------------------------------

    def forward(self):
        """Return a list of (outputs, states...) for each way, and what the walk back needs."""
        xp = self.xp
        z = self._project()
        shape = (len(self.ways), self.steps, self.batch, self.units)
        hs = xp.empty(shape, self.real)
        extra = xp.empty(shape, self.real) if self.family is not SIMPLE else None
        scratch = xp.empty((shape[0], *shape[2:]), self.real) if self.turns == 2 else None
        if hs.size:
            meetings = xp.zeros(len(self.ways), "uint32")
            args = [z, self.recurrent, self.inner, self.h, self.c, self.mask, self.h_keep, hs,
                    extra, scratch, meetings, self.scale]  # fmt: skip
            self.run("walk_forward", args, self.steps * self.turns, backward=False)
        made = []
        for d, way in enumerate(self.ways):
            last = 0 if way.reverse else self.steps - 1
            ends = [hs[d, last], extra[d, last]] if self.family is LSTM else [hs[d, last]]
            y = way.in_order(hs[d]) if self.options.get("sequences") else hs[d, last]
            seen = self._seen(way)
            if seen is not None:
                y = y * (seen if self.options.get("sequences") else seen[-1])
            made.append(self._as_weights([y, *ends]))
        return made, (z, hs, extra)

    def _project(self):
        """Return what the inputs of all steps add to the gates, (T, N, D * G * U)."""
        xp, rate = self.xp, self.options.get("x_rate", 0.0)
        first = self.ways[0]
        if self._alike() and first.x_keep is None and takes(xp, first.x, first.kernel):
            bias = self._biases()
            return gemm(first.x, self._kernels(), bias=bias)
        if self._alike():
            z = project(xp, first.x, self._kernels(), self._biases(), first.x_keep, rate)
        else:
            parts = [
                project(xp, way.x, way.kernel, _outer(way.bias), way.x_keep, rate)
                for way in self.ways
            ]
            z = xp.concatenate(parts, axis=2)
        return xp.ascontiguousarray(z.astype(self.dtype, copy=False))

    def _alike(self):
        """Return whether one product serves all ways: they read the same inputs."""
        first = self.ways[0]
        return len(self.ways) == 1 or all(w.x is first.x and w.x_keep is None for w in self.ways)

    def _kernels(self):
        kernels = [way.kernel for way in self.ways]
        return kernels[0] if len(kernels) == 1 else self.xp.concatenate(kernels, axis=1)

    def _biases(self):
        biases = [_outer(way.bias) for way in self.ways]
        if len(biases) == 1 or biases[0] is None:
            return biases[0]
        return self.xp.concatenate(biases)

    def _seen(self, way):
        mask = None if self.mask is None else way.in_order(self.mask)
        given = way.states[0] is not None
        return visible(self.xp, mask, given, self.options.get("zero_output", False), self.real)

    # -- backward -------------------------------------------------------------------------

    def backward(self, saved, gys, needs):
        """Return gradients of the inputs, a list, and those of each way.

        Args:
            saved: from `forward`.
            gys: list of (gradient of the outputs, of the states...), Nones for zeros.
            needs: list of bools: x, kernel, recurrent kernel and bias of each way.

        Returns:
            (list of gradients of x: one for all ways where they read the same, list of [kernel,
            recurrent kernel, bias, states...] for each way).
        """
        xp = self.xp
        z, hs, extra = saved
        # The walk writes over the gates; a second one from the same record needs them again.
        z, kept = z.copy(), extra
        if self.family is GRU and self.turns == 1:
            kept = extra.copy()
        gy, gstates = self._arriving(gys)
        if hs.size:
            gh, gc = (*gstates, None)[:2]
            args = [z, self.recurrent, self.h, self.c, self.mask, self.h_keep, hs, kept, gy, gh,
                    gc, xp.zeros(len(self.ways), "uint32"), self.scale]  # fmt: skip
            self.run("walk_backward", args, self.steps * self.turns + 1, backward=True)
        columns = self._by_way(z)
        gxs, gkernels, totals = self._projected(z, columns, needs)
        grads = []
        for d, way in enumerate(self.ways):
            own = kept[d] if kept is not None else None
            grecurrent = gbias = None
            if needs[d][2]:
                grecurrent = self._recurrent_gradient(way, d, columns[d], hs[d], own)
            if needs[d][3] and way.bias is not None:
                gbias = self._bias_gradient(way, columns[d], own, totals[d])
            ends = [g[d] for g in gstates]
            grads.append(self._as_weights([gkernels[d], grecurrent, gbias, *ends]))
        return self._as_weights(gxs), grads

    def _as_weights(self, arrays):
        """Return arrays (or Nones) in the dtype of the weights."""
        return [None if a is None else a.astype(self.dtype, copy=False) for a in arrays]

    def _arriving(self, gys):
        """Return the gradients of the states at all steps, or None, and of the last states."""
        xp, sequences = self.xp, self.options.get("sequences", False)
        shape = (len(self.ways), self.batch, self.units)
        last = [xp.zeros(shape, self.real) for _ in range(self.family.states)]
        steps = []
        for d, (way, (gy, *given)) in enumerate(zip(self.ways, gys)):
            for room, g in zip(last, given):
                if g is not None:
                    room[d] = g
            if gy is not None and (seen := self._seen(way)) is not None:
                gy = gy * (seen if sequences else seen[-1])
            if gy is not None and not sequences:
                last[0][d] += gy
                gy = None
            steps.append(None if gy is None else way.in_order(gy))
        return self._joined(steps, self.dtype), last

    def _projected(self, z, columns, needs):
        """Return the gradients of the inputs and of the kernels, and the sums of ``columns``.

        Lists; the sums are Nones where no product gave them along the way.
        """
        xp, rate = self.xp, self.options.get("x_rate", 0.0)
        first, count = self.ways[0], len(self.ways)
        if not self._alike():
            pairs = [
                project_backward(xp, way.x, way.kernel, way.x_keep, rate, gz, need)
                for way, gz, need in zip(self.ways, columns, needs)
            ]
            gxs, gkernels = zip(*pairs)
            return list(gxs), list(gkernels), [None] * count
        wants = [any(n[i] for n in needs) for i in (0, 1)]
        total = None
        if first.x_keep is None and takes(xp, first.x, first.kernel, z):
            gx = gemm(z, self._kernels().T) if wants[0] else None
            gkernel = None
            if wants[1]:
                total = xp.empty(z.shape[2:], z.dtype)
                gkernel = gemm(rows(first.x).T, rows(z), sums=total)
        else:
            gx, gkernel = project_backward(
                xp, first.x, self._kernels(), first.x_keep, rate, z, wants
            )
        return [gx], self._by_way(gkernel), self._by_way(total)

    def _by_way(self, joined):
        """Return the parts of an array (..., D * G * U), or Nones for None."""
        if joined is None or len(self.ways) == 1:
            return [joined] * len(self.ways)
        width = self.family.gates * self.units
        return [joined[..., d * width : (d + 1) * width] for d in range(len(self.ways))]

    def _recurrent_gradient(self, way, d, z, hs, kept):
        """Return the gradient of the recurrent kernel, from all steps at once."""
        xp, u = self.xp, self.units
        hs = hs.astype(self.dtype, copy=False)
        kept = None if kept is None else kept.astype(self.dtype, copy=False)
        start = xp.zeros_like(hs[0]) if way.states[0] is None else way.states[0]
        parts = [hs[1:], start[None]] if way.reverse else [start[None], hs[:-1]]
        before = xp.concatenate(parts)  # the state that each step began with
        if self.family is GRU and self.turns == 1:
            groups = [(0, 2, before, z[:, :, : 2 * u]), (2, 3, before, kept)]
        elif self.family is GRU:
            groups = [(0, 2, before, z[:, :, : 2 * u]), (2, 3, kept, z[:, :, 2 * u :])]
        else:
            groups = [(0, self.family.gates, before, z)]
        columns = []
        for first, last, left, right in groups:
            if not self.dropout:
                columns.append(product(xp, rows(left).T, rows(right)))
                continue
            for g in range(first, last):
                keep = way.h_keep[g].astype(self.dtype) * self.dtype.type(self.scale)
                own = right[:, :, (g - first) * u : (g - first + 1) * u]
                columns.append(product(xp, rows(left * keep).T, rows(own)))
        return columns[0] if len(columns) == 1 else xp.concatenate(columns, axis=1)

    def _bias_gradient(self, way, z, kept, gbias):
        if gbias is None:
            gbias = z.sum(axis=(0, 1), dtype=self.real)
        if way.bias.ndim == 2:
            inner = gbias
            if kept is not None:
                last = kept.sum(axis=(0, 1)).astype(gbias.dtype, copy=False)
                inner = self.xp.concatenate([gbias[: 2 * self.units], last])
            gbias = self.xp.stack([gbias, inner])
        return gbias


def _outer(bias):
    """Return the part of a bias that is added to the product of the inputs."""
    return bias[0] if bias is not None and bias.ndim == 2 else bias


@functools.cache
def _say(text):
    _log.debug(text)
