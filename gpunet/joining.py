"""Joining lines of a recording: what is done to an array goes on while blocks of it are in cache.

A convolution, the normalization behind it, a sum with a shortcut and a rectifier are four ops,
each of which reads and writes the whole array.  Where nobody else uses what lies between them,
the recording calls one function instead, which does all of it to one block after another.  The
arithmetic is the same, and so are the bits; weights are read at each call, as before.

Ops say what can be joined: `begins` for functions that make blocks, `goes_on` for those that
work on each element.
"""

import collections
import functools
import math

__all__ = ["Argument", "Call", "Merged", "begins", "elementwise", "goes_on", "joined"]

# Elements below which whole arrays stay in cache anyway.
_LEAST = 2**15

_begin = {}  # array function -> (function, rule), see `begins`
_go_on = {}  # array function -> rule, see `goes_on`
_elementwise = {}  # array module -> function, see `elementwise`


class Call:
    """What a line of a recording calls, where it is an op.

    Attributes:
        forward: array function.
        xp: array module.
        names: list of the names of its arrays and numbers.
        kinds: for each of them (shape, dtype), None for what isn't an array.
        options: dict.
        result: (shape, dtype) of what it returns, None for several arrays.
        saved: name of what it keeps for its gradient.
    """

    __slots__ = ("forward", "xp", "names", "kinds", "options", "result", "saved")

    def __init__(self, forward, xp, names, values, options, y, saved):
        if isinstance(forward, functools.partial):  # NumPy 1, see `autodiff.op`
            (forward,) = forward.args
        self.forward, self.xp, self.names = forward, xp, names
        self.kinds = [_kind(v) for v in values]
        self.options, self.saved = options, saved
        self.result = _kind(y)


def _kind(value):
    return (tuple(value.shape), value.dtype) if hasattr(value, "dtype") else None


Argument = collections.namedtuple("Argument", "number")
Argument.__doc__ = "Stands for an argument of a call."

Merged = collections.namedtuple("Merged", "function xp steps names options sets reads")
Merged.__doc__ = """A call that stands for several lines.

Attributes:
    function: function (xp, steps, *values, **options) -> array.
    xp: array module.
    steps: list of pairs (function, operand): the name of a value, a number or None.
    names: list of the names of its values.
    options: dict.
    sets: list of the name of its result.
    reads: list of all names that it reads.
"""


def begins(forward, finished, takes=None):
    """Say that an array function makes its result block by block.

    Args:
        forward: array function of an op, on NumPy arrays.
        finished: function (xp, steps, *values, **options) -> array that does the same and then
            the steps to each block: pairs of a function ``f(block, operand, out=block)`` and its
            operand: a number, an array that has the result's shape or that of its last axis, or
            None.
        takes: rule (before, call) of two `Call`: options with which the function does to the
            first argument of ``before`` what that one and ``call`` do to it, or None.
    """
    _begin[forward] = finished, takes


def goes_on(forward, rule):
    """Say that an array function works on each element of one of its arguments.

    Args:
        forward: array function of an op.
        rule: function (at, options) -> steps that do the same to argument ``at``: list of pairs
            (function, operand), see `begins`, where an operand that is another argument is given
            as `Argument`; None where there are none.
    """
    _go_on[forward] = rule


def elementwise(xp, finished):
    """Give the function (xp, steps, x) -> array that does steps to the blocks of an array ``x``.

    Args:
        xp: array module whose arrays it takes.
        finished: the function.
    """
    _elementwise[xp] = finished


def joined(lines, results):
    """Join what can be joined.

    Args:
        lines: list with ``call``, ``sets``, ``reads`` and ``pure`` each.
        results: list of the names that are asked for in the end.

    Returns:
        Dict index of a line -> `Merged` that takes its place, or None where it goes.
    """
    return _Joining(lines, results).found


class _Joining:
    def __init__(self, lines, results):
        self.lines, self.found = lines, {}
        self.uses = collections.Counter([n for line in lines for n in line.reads])
        self.uses.update(results)
        self.reader = {n: i for i, line in enumerate(lines) for n in line.reads}
        self.maker = {n: i for i, line in enumerate(lines) for n in line.sets}
        # Nothing moves past a line that writes to what is there already.
        self.writes, count = [], 0
        for line in lines:
            count += not line.pure or not set(line.sets).isdisjoint(line.reads)
            self.writes.append(count)
        # From the end: where two results are added, the later one takes the sum.
        for i in reversed(range(len(lines))):
            call = lines[i].call
            if call is not None and call.forward in _begin and self._plain(call):
                self._begin_blocks(i, call, *_begin[call.forward])
        for i in range(len(lines)):
            self._begin_elementwise(i)

    def _plain(self, call):
        return (
            call.result is not None
            and len(call.result[0]) > 1
            and call.result[1].kind == "f"
            and call.result[1].itemsize > 2  # halves are rounded between the steps
            and not self.uses[call.saved]
        )

    def _begin_blocks(self, i, call, function, takes):
        first, *names = call.names
        h = self.maker.get(first)
        before = None if h is None or takes is None else self.lines[h].call
        options = None
        if before is not None and self._alone(h, i) and self._plain(before):
            options = takes(before, call)
        if options is None:
            self._join(i, function, call.names, call.options, [], [i])
        else:
            self._join(i, function, [before.names[0], *names], options, [], [h, i])

    def _begin_elementwise(self, i):
        call = self.lines[i].call
        if i in self.found or call is None or call.forward not in _go_on or not self._plain(call):
            return
        if call.xp not in _elementwise or math.prod(call.result[0]) < _LEAST:
            return
        for at, kind in enumerate(call.kinds):
            steps = self._steps(call, at) if kind == call.result else None
            if steps is not None:
                self._join(i, _elementwise[call.xp], [call.names[at]], {}, steps, [i])
                return

    def _join(self, i, function, names, options, steps, parts):
        """Join a line with those behind it, if that makes one of several or of several steps."""
        last = i
        while (more := self._next(last)) is not None:
            last, found = more
            parts.append(last)
            steps = steps + found
        if len(parts) == 1 and len(steps) < 2:
            return
        self.found.update(dict.fromkeys(parts))
        xp, result = self.lines[i].call.xp, self.lines[last].sets[:1]
        reads = [*names, *[name for _, name in steps if isinstance(name, str)]]
        self.found[last] = Merged(function, xp, steps, names, options, result, reads)

    def _alone(self, i, j):
        """Return whether line j alone needs the result of line i, which may be made that late."""
        unmoved = self.writes[i] == self.writes[j] and i not in self.found and j not in self.found
        return unmoved and self.uses[self.lines[i].sets[0]] == 1

    def _next(self, i):
        """Return (index, steps) of the line that goes on with the result of a line, or None."""
        call, name = self.lines[i].call, self.lines[i].sets[0]
        j = self.reader.get(name)
        other = None if j is None or not self._alone(i, j) else self.lines[j].call
        if other is None or other.forward not in _go_on or not self._plain(other):
            return None
        if other.result != call.result or other.xp is not call.xp or name not in other.names:
            return None
        steps = self._steps(other, other.names.index(name))
        return None if steps is None else (j, steps)

    def _steps(self, call, at):
        """Return the steps of a call with names as operands; None if they don't fit blocks."""
        steps = _go_on[call.forward](at, call.options)
        found = []
        for function, operand in steps or ():
            if isinstance(operand, Argument):
                kind, operand = call.kinds[operand.number], call.names[operand.number]
                if kind is not None and not _fits_blocks(kind, call.result):
                    return None
            found.append((function, operand))
        return found or None


def _fits_blocks(kind, result):
    """Return whether an operand has the result's shape, or one number for each channel."""
    (shape, dtype), (whole, wanted) = kind, result
    channels = (
        whole[-1:] == shape[-1:] and math.prod(shape) == whole[-1] and len(shape) <= len(whole)
    )
    return dtype == wanted and (shape == whole or channels)
