"""What is done to each element on its way to memory: the endings of kernels.

A joined recording asks for steps behind a line: pairs of a function and its operand, see
`gpunet.joining`. The functions run once on stand-ins that write CUDA down, and a kernel does all of
it to a value in a register, with the bits that one launch for each step would give.
"""

import functools
import logging

import numpy as np

from gpunet import joining
from gpunet.fused.elementwise import ACTIVATIONS, FLOATS
from gpunet.fused.launch import launch_elementwise
from gpunet.fused.sources import source
from gpunet.fused.tracing import Chain

__all__ = ["Ending", "done", "in_one_piece", "traceable"]

_log = logging.getLogger("gpunet")
_MOST = 4  # operands of a kernel: o0 to o3 of kernels/ending.cuh


class Ending:
    """What follows a kernel's sums.

    Args:
        bias: array (channels,) or None.
        activation: key of `ACTIVATIONS`, behind the bias.
        before: array that gets what goes into the activation, or None.
        steps: list of pairs (function, operand) that come behind the activation; an operand has
            the result's shape or is one number for each of its channels.
        like: array, or whatever has the size and dtype of the result; None without steps.

    Attributes:
        text: str that stands in front of a source.
        defines: dict, what it is compiled for.
        arguments: list of a kernel's arguments.
        rest: list of the steps that found no place, for `done`.
    """

    def __init__(self, bias=None, activation="linear", before=None, steps=(), like=None):
        own, self.rest = _cut(list(steps))
        operands = [x for _, x in own if _is_array(x)]
        key = tuple([(f, _place(x, like) if _is_array(x) else x) for f, x in own])
        self.text = _text(key, like.dtype.name) if own else ""
        self.defines = {"ACTIVATION": ACTIVATIONS[activation]}
        self.arguments = [bias, before, *operands, *[None] * (_MOST - len(operands))]


def _is_array(operand):
    return getattr(operand, "ndim", 0) > 0  # a number of NumPy's has no axes


def _place(operand, like):
    """Return where an array's element for one of the result's is."""
    return "at" if operand.size == like.size else "channel"


def _cut(steps):
    """Return the steps that have enough operands of a kernel, and the others."""
    count = 0
    for i, (_, operand) in enumerate(steps):
        count += _is_array(operand)
        if count > _MOST:
            return steps[:i], steps[i:]
    return steps, []


@functools.lru_cache(maxsize=1024)
def _text(steps, dtype):
    """Return the definition of ENDING.

    Args:
        steps: tuple of pairs (function, operand): a number, None, or for an array its place.
        dtype: str.
    """
    chain, count = Chain(np.dtype("float64" if dtype == "float64" else "float32")), 0
    z = chain.value("z")
    for function, operand in steps:
        if isinstance(operand, str):
            chain.lines.append(f"const real b{count} = gn_float(o{count}[{operand}]);")
            operand = chain.value(f"b{count}")
            count += 1
        function(z, operand, out=z)
    lines = " ".join(chain.lines)
    return f"#define ENDING(z, at, channel) {{ {lines} }}\n"


@functools.lru_cache(maxsize=1024, typed=True)
def traceable(function, operand):
    """Return whether a step can be part of an ending.

    Args:
        function: function of (block, operand, out=block).
        operand: a number or None; True stands for an array.
    """
    try:
        _text(((function, "at" if operand is True else operand),), "float32")
    except Exception as reason:  # it is anybody's function, made for arrays
        _log.debug("%r stays by itself: %s", function, reason)
        return False
    return True


def in_one_piece(xp, steps):
    """Return steps with operands as kernels read them."""
    return [(f, xp.ascontiguousarray(o) if _is_array(o) else o) for f, o in steps]


def done(xp, steps, x):
    """Return a new array: ``x`` after steps, see `joining.elementwise`."""
    x = xp.ascontiguousarray(x)
    while steps:
        real, narrow = FLOATS[x.dtype.name]
        ending = Ending(steps=in_one_piece(xp, steps), like=x)
        y = xp.empty(x.shape, x.dtype)
        defines = {"REAL": real, "NARROW": narrow, **ending.defines}
        args = [x, *ending.arguments, y, x.shape[-1]]
        launch_elementwise(ending.text + source("splits"), "ended", x.size, args, None, defines)
        x, steps = y, ending.rest
    return x


joining.elementwise("cupy", done, takes=traceable, least=0)
