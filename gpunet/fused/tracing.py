"""Stand-ins for arrays that write down, as lines of CUDA, what is done to each element."""

import functools

import numpy as np

__all__ = ["Chain", "UntraceableError", "Value"]

_BINARY = {"add": "{} + {}", "subtract": "{} - {}", "multiply": "gn_times({}, {})",
           "divide": "{} / {}", "true_divide": "{} / {}", "maximum": "gn_larger({}, {})",
           "minimum": "gn_smaller({}, {})", "power": "pow({}, {})"}  # fmt: skip
_UNARY = {"negative": "-{}", "sqrt": "sqrt({})", "absolute": "fabs({})", "abs": "fabs({})",
          "exp": "exp({})", "expm1": "expm1({})", "log": "log({})", "log1p": "log1p({})",
          "tanh": "tanh({})", "sign": "gn_sign({})", "square": "gn_times({0}, {0})",
          "positive": "{}", "reciprocal": "1 / {}"}  # fmt: skip
_TERNARY = {"clip": "gn_smaller(gn_larger({}, {}), {})"}


class UntraceableError(Exception):
    """A rule does something that has no place in a chain of elementwise operations."""


class Value:
    """Stands in for an array or a scalar of the device: a C expression.

    Attributes:
        text: str, the expression: the name of a variable.
    """

    __hash__ = object.__hash__

    def __init__(self, chain, text):
        self.chain, self.text = chain, text
        self.dtype = chain.dtype

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **options):
        if method != "__call__":
            raise UntraceableError(f"{ufunc.__name__}.{method}")
        more = {} if out is None else {"out": out[0]}
        return getattr(self.chain, ufunc.__name__)(*inputs, **more, **options)

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


class Chain:
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
        return Value(self, text)

    def expression(self, value):
        """Return the C text of a stand-in or a number."""
        if isinstance(value, Value):
            return value.text
        if isinstance(value, (int, float, np.floating, np.integer)):
            number = float(value)
            if number != number or number in (float("inf"), float("-inf")):
                raise UntraceableError(f"the number {number}")
            return f"(real){number!r}" if number >= 0 else f"((real){number!r})"
        raise UntraceableError(f"a {type(value).__name__} among the operands")

    def activation(self, value, number, leak):
        """Append an activation of ``kernels/activations.cuh``; ``leak`` is a slope or None."""
        x = value.text
        if leak is None:
            self.lines.append(f"{x} = activation<{number}>({x});")
        else:
            self.lines.append(f"if (!({x} > 0)) {x} = gn_times({self.expression(leak)}, {x});")

    def slope(self, value, number, known):
        """Append a product with the slope of an activation, see `activation`."""
        self.lines.append(f"{value.text} = gn_times({value.text}, slope<{number}>({known.text}));")

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
