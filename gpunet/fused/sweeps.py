"""Chains of elementwise operations as one kernel, made from the Python that says what they do.

An optimizer's rule is a row of array operations, each of which would read and write memory once
on a GPU. Here the rule runs once on stand-ins that write CUDA down instead of computing; the
kernel then does the whole row on one element at a time, in registers. A rule needs no second text
for that, and neither does one that a user writes.
"""

import logging

import numpy as np

from gpunet import config
from gpunet.fused.launch import REALS, launch_elementwise
from gpunet.fused.sources import expanded
from gpunet.fused.tracing import Chain, UntraceableError
from gpunet.optimizers import parts

__all__ = ["sweep"]

_log = logging.getLogger("gpunet")


def _source(update, dtype, coefficients, slots, scratch):
    """Return the text of a kernel that does ``update``; see `sweep`.

    Coefficients that are None lie in device memory; the last one is the factor of the weights.
    """
    chain = Chain(dtype)
    *given, shrink = [chain.value(f"c{i}") if c is None else c for i, c in enumerate(coefficients)]
    w, g = chain.value("w"), chain.value("g")
    state = [chain.value(f"s{i}") for i in range(slots)]
    room = [chain.value(f"t{i}") for i in range(scratch)]
    update(chain, given, w, g, state, room)
    pointers = [i for i, c in enumerate(coefficients) if c is None]
    parameters = [
        "real* ws", "const real* gs", *[f"real* s{i}s" for i in range(slots)],
        *[f"const real* at{i}" for i in pointers], "int64 n",
    ]  # fmt: skip
    body = [
        *[f"const real c{i} = *at{i};" for i in pointers],
        "GRID_STRIDE(i, n) {",
        f"real w = ws[i] * {chain.expression(shrink)};",
        "const real g = gs[i];",
        *[f"real s{i} = s{i}s[i];" for i in range(slots)],
        *[f"real {t.text} = 0;" for t in room if any(t.text in line for line in chain.lines)],
        *chain.lines,
        "ws[i] = w;",
        *[f"s{i}s[i] = s{i};" for i in range(slots)],
        "}",
    ]
    body = "\n".join("    " + line for line in body)
    head = expanded('#include "common.cuh"\n')
    return f'{head}extern "C" __global__ void sweep({", ".join(parameters)}) {{\n{body}\n}}\n'


def sweep(xp, update, coefficients, w, g, slots, scratch, shrink):
    """Do an optimizer's rule on flat arrays of a GPU by one kernel, if it can be one.

    The rule is traced anew each time, so that it may change with the optimizer's settings.

    Args:
        xp: array module.
        update: function ``(xp, coefficients, w, g, slots, scratch)`` of elementwise operations.
        coefficients: tuple of 0-d arrays on the device and of numbers.
        w, g: [n] weights, written in place, and gradients.
        slots: list of [n] arrays, written in place.
        scratch: list, as many as the rule wants.
        shrink: 0-d array that the weights are multiplied by first, or None.

    Returns:
        bool: whether it was done; if not, nothing was written.
    """
    dtype = w.dtype
    arrays = [w, g, *slots]
    if (
        xp.__name__ != "cupy"
        or not config.fused_enabled()
        or dtype.name not in REALS
        or any(a.dtype != dtype or not a.flags.c_contiguous for a in arrays)
    ):
        return False
    given = [*coefficients, 1.0 if shrink is None else shrink]
    fixed = [c if isinstance(c, (int, float, np.generic)) else None for c in given]
    try:
        text = _source(update, dtype, fixed, len(slots), len(scratch))
    except UntraceableError as reason:
        _log.debug("%s takes a launch for each operation: it has %s", update.__qualname__, reason)
        return False
    scalars = [c for c, f in zip(given, fixed) if f is None]
    launch_elementwise(text, "sweep", w.size, [*arrays, *scalars], dtype)
    return True


parts.kernel = sweep
