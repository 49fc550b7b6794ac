"""Fused walks of the recurrent ops: one kernel for all steps, with the weights held on the chip."""

import functools
import logging

from gpunet import config
from gpunet.fused import rnn_plan
from gpunet.fused.launch import chip
from gpunet.fused.rnn_walk import GRU, LSTM, NUMBERS, SIMPLE, Walk, Way, plan_for
from gpunet.ops import rnn
from gpunet.ops.rnn_both import both_ways, halves

__all__ = []

_log = logging.getLogger("gpunet")
_FAMILIES = {"simple_rnn": SIMPLE, "gru": GRU, "lstm": LSTM}


def _split(family, values):
    """Return x, weights, states and (mask, x_keep, h_keep) of an op's arguments."""
    x, *rest = [*values, *[None] * (7 + family.states - len(values))]
    return x, rest[:3], rest[3 : 3 + family.states], rest[3 + family.states :]


def _doubts(family, values, options, directions=1):
    """Return why the kernels don't take a call, or None if they do."""
    x, (kernel, recurrent, bias), _, (_, _, h_keep) = _split(family, values)
    names = [options.get("activation", "tanh"), options.get("recurrent_activation", "sigmoid")]
    dtypes = sorted({a.dtype.name for a in (x, kernel, recurrent)})
    dtype = dtypes[0]
    if len(dtypes) > 1:
        return f"no kernel for dtypes {dtypes}"
    if rnn_plan.kind_of(chip(), dtype, config.precision()) is None:
        where = "below sm_80" if dtype in rnn_plan.KINDS else "here"
        return f"no kernel for {dtype} {where}"
    if not NUMBERS.keys() >= set(names):
        return f"no kernel for activations {names}"
    if not x.shape[0]:
        return "no steps"
    if bias is not None and bias.ndim == 2 and not options.get("reset_after"):
        return "no kernel for two biases"
    for backward in (False, True):
        batch, dropout = x.shape[1], h_keep is not None
        if plan_for(family, recurrent, batch, dropout, backward, directions) is None:
            return f"the operands of {recurrent.shape[0]} units don't fit in shared memory"
    return None


def _words(family, values, directions=1):
    """Return in a sentence how a call is laid out, and why."""
    x, (_, recurrent, _), _, (mask, _, h_keep) = _split(family, values)
    said = []
    for backward in (False, True):
        plan = plan_for(family, recurrent, x.shape[1], h_keep is not None, backward, directions)
        way = "backward" if backward else "forward"
        said.append(f"{way}: {plan}; {plan.why(chip(), backward)}.")
    masked = "this mask of any shape" if mask is not None else "any mask would do"
    said.append(f"All steps' inputs and weight gradients are products of their own; {masked}.")
    return " ".join(said).replace("forward:", "Forward:").replace("backward:", "Backward:")


@functools.cache
def _say(text):
    _log.debug(text)


def _add(op, family):
    def fits(xp, *values, **options):
        if xp.__name__ != "cupy":
            return False
        reason = _doubts(family, values, options)
        if reason is not None:
            _say(f"recurrent layer of {values[2].shape[0]} units: step by step, {reason}")
        return reason is None

    @op.fused(when=fits)
    def forward(xp, *values, **options):
        x, weights, states, (mask, *keeps) = _split(family, values)
        way = Way(x, *weights, states, *keeps, bool(options.get("reverse", False)))
        walk = Walk(xp, family, [way], mask, options)
        (y,), saved = walk.forward()
        return tuple(y), (walk, saved)

    @forward.backward
    def backward(xp, saved, gy, needs):
        walk, saved = saved
        needs = [*needs, *[False] * (4 + family.states - len(needs))]
        gxs, (grads,) = walk.backward(saved, [gy], [needs])
        grads = [*gxs, *grads]
        return tuple([g if need else None for g, need in zip(grads, needs)])

    @forward.explained
    def words(xp, *values, **options):
        return _words(family, values)

    @forward.refused
    def doubts(xp, *values, **options):
        return _doubts(family, values, options)


for _op in (rnn.simple_rnn, rnn.gru, rnn.lstm):
    _add(_op, _FAMILIES[_op.name])


# -- both directions ----------------------------------------------------------------------


def _both_doubts(values, options):
    family = _FAMILIES[options["cell"]]
    first, second = halves(*values)
    found = [_doubts(family, own, options, directions=2) for own in (first, second)]
    if found != [None, None]:
        return found[0] or found[1]
    pairs = list(zip(first, second))
    if any((a is None) != (b is None) for a, b in pairs):
        return "one direction has arguments that the other hasn't"
    if any(a is not None and (a.shape, a.dtype) != (b.shape, b.dtype) for a, b in pairs):
        return "the directions differ in shapes or dtypes"
    return None


def _both_fit(xp, *values, **options):
    return xp.__name__ == "cupy" and _both_doubts(values, options) is None


@both_ways.fused(when=_both_fit)
def both_ways_fused(xp, *values, **options):
    family = _FAMILIES[options["cell"]]
    ways, reverse = [], bool(options.get("reverse", False))
    for own, backwards in zip(halves(*values), (reverse, not reverse)):
        x, weights, states, (mask, *keeps) = _split(family, own)
        ways.append(Way(x, *weights, states, *keeps, backwards))
    walk = Walk(xp, family, ways, mask, options)
    made, saved = walk.forward()
    ends = [end for _, *own in made for end in own]
    return (made[0][0], made[1][0], *ends), (walk, saved, values[1] is None)


@both_ways_fused.backward
def both_ways_fused_backward(xp, saved, gy, needs):
    walk, saved, same_x = saved
    states = walk.family.states
    size = 5 + states
    needs = [*needs, *[False] * (3 + 2 * size - len(needs))]
    own = [needs[3 + d * size : 3 + (d + 1) * size] for d in (0, 1)]
    gys = [(gy[d], *gy[2 + d * states : 2 + (d + 1) * states]) for d in (0, 1)]
    of_x = (needs[0], needs[0] if same_x else needs[1])
    gxs, grads = walk.backward(saved, gys, [[x, *n[:3]] for x, n in zip(of_x, own)])
    gx, back_gx = gxs[0], None
    if same_x and len(gxs) == 2:
        gx = gxs[0] + gxs[1] if needs[0] else None
    elif not same_x:
        back_gx = gxs[1]
    rest = []
    for g, n in zip(grads, own):
        rest += [part if need else None for part, need in zip(g, n)] + [None, None]
    return (gx, back_gx, None, *rest)


@both_ways_fused.explained
def both_ways_words(xp, *values, **options):
    return _words(_FAMILIES[options["cell"]], halves(*values)[0], directions=2)


@both_ways_fused.refused
def both_ways_doubts(xp, *values, **options):
    family, reason = _FAMILIES[options["cell"]], _both_doubts(values, options)
    alone = [_doubts(family, own, options) for own in halves(*values)]
    if alone != [None, None]:
        return reason
    return f"one direction after the other ({reason}), each {_words(family, halves(*values)[0])}"
