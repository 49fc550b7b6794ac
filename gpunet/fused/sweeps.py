"""Chains of elementwise operations as one kernel, made from the Python that says what they do.

An optimizer's rule is a row of array operations, each of which would read and write memory once
on a GPU. Here the rule runs once on stand-ins that write CUDA down instead of computing; the
kernel then does the whole row on one element at a time, in registers. A rule needs no second text
for that, and neither does one that a user writes.
"""

import functools
import logging

import numpy as np

from gpunet import config
from gpunet.fused.launch import REALS, launch_elementwise
from gpunet.fused.sources import expanded
from gpunet.optimizers import parts

__all__ = ["sweep"]

_log = logging.getLogger("gpunet")

_BINARY = {"add": "{} + {}", "subtract": "{} - {}", "multiply": "{} * {}", "divide": "{} / {}",
           "true_divide": "{} / {}", "maximum": "fmax({}, {})", "minimum": "fmin({}, {})",
           "power": "pow({}, {})"}  # fmt: skip
_UNARY = {"negative": "-{}", "sqrt": "sqrt({})", "absolute": "fabs({})", "abs": "fabs({})",
          "exp": "exp({})", "log": "log({})", "tanh": "tanh({})", "sign": "gn_sign({})",
          "square": "{0} * {0}", "positive": "{}", "reciprocal": "1 / {}"}  # fmt: skip
_TERNARY = {"clip": "fmin(fmax({}, {}), {})"}


class UntraceableError(Exception):
    """A rule does something that has no place in a chain of elementwise operations."""


class _Value:
    """Stands in for an array or a scalar of the device: a C expression.

    Attributes:
        text: str, the expression: the name of a variable.
    """

    __array_ufunc__ = None  # NumPy's scalars leave operators to it
    __hash__ = object.__hash__

    def __init__(self, chain, text):
        self.chain, self.text = chain, text
        self.dtype = chain.dtype

    def __add__(self, other):
        return self.chain.add(self, other)

    def __radd__(self, other):
        return self.chain.add(other, self)

    def __sub__(self, other):
        return self.chain.subtract(self, other)

    def __rsub__(self, other):
        return self.chain.subtract(other, self)

    def __mul__(self, other):
        return self.chain.multiply(self, other)

    def __rmul__(self, other):
        return self.chain.multiply(other, self)

    def __truediv__(self, other):
        return self.chain.divide(self, other)

    def __rtruediv__(self, other):
        return self.chain.divide(other, self)

    def __pow__(self, other):
        return self.chain.power(self, other)

    def __neg__(self):
        return self.chain.negative(self)

    def __abs__(self):
        return self.chain.absolute(self)

    def __setitem__(self, key, value):
        if key is not Ellipsis and key != slice(None):
            raise UntraceableError(f"an element is picked by {key!r}")
        self.chain.lines.append(f"{self.text} = {self.chain.expression(value)};")

    def _refuse(self, *_):
        raise UntraceableError("a value is looked at, or compared")

    __bool__ = __float__ = __int__ = __len__ = __iter__ = __getitem__ = _refuse
    __lt__ = __le__ = __gt__ = __ge__ = __eq__ = __ne__ = _refuse


class _Chain:
    """Stands in for an array module; its functions append lines of C.

    Args:
        dtype: numpy.dtype of all values.
    """

    def __init__(self, dtype):
        self.dtype = dtype
        self.lines = []
        self._made = 0

    def value(self, text):
        """Return a stand-in for a variable of that name."""
        return _Value(self, text)

    def expression(self, value):
        """Return the C text of a stand-in or a number."""
        if isinstance(value, _Value):
            return value.text
        if isinstance(value, (int, float, np.floating, np.integer)):
            number = float(value)
            if number != number or number in (float("inf"), float("-inf")):
                raise UntraceableError(f"the number {number}")
            return f"(real){number!r}" if number >= 0 else f"((real){number!r})"
        raise UntraceableError(f"a {type(value).__name__} among the operands")

    def __getattr__(self, name):
        for count, table in enumerate((_UNARY, _BINARY, _TERNARY), 1):
            if name in table:
                return functools.partial(self._apply, name, table[name], count)
        raise UntraceableError(f"the function {name!r}")

    def _apply(self, name, pattern, count, *operands, out=None, **options):
        if len(operands) != count or options:
            raise UntraceableError(f"{name!r} with other arguments than {count} operands and out")
        text = pattern.format(*map(self.expression, operands))
        if out is not None:
            self.lines.append(f"{out.text} = {text};")
            return out
        self._made += 1
        made = self.value(f"made{self._made}")
        self.lines.append(f"const real {made.text} = {text};")
        return made


def _source(update, dtype, coefficients, slots, scratch):
    """Return the text of a kernel that does ``update``; see `sweep`.

    Coefficients that are None lie in device memory; the last one is the factor of the weights.
    """
    chain = _Chain(dtype)
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
