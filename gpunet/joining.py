"""Joining lines of a recording: what is done to an array goes on while blocks of it are in cache.

A convolution, the normalization behind it, a sum with a shortcut and a rectifier are four ops,
each of which reads and writes the whole array.  Where nobody else uses what lies between them,
the recording calls one function instead, which does all of it to one block after another.  The
arithmetic is the same, and so are the bits; weights are read at each call, as before.

Ops and their backward functions say what can be joined: `begins` for functions that make blocks,
`goes_on` for those that work on each element.  What an op saves for its gradient stays the same,
so an op whose gradient needs its result ends what is joined.
"""

import collections
import functools
import itertools
import math
import re

__all__ = [
    "NOTHING",
    "RESULT",
    "Argument",
    "Call",
    "Merged",
    "added",
    "begins",
    "elementwise",
    "goes_on",
    "joined",
    "split",
    "splits",
]

# What an op saves for its gradient.
NOTHING = "None"  # or what isn't its result, where it begins
RESULT = "(result,)"

_begin = {}  # array function -> what `begins` was given
_go_on = {}  # array function -> rule, see `goes_on`
_saves = {}  # array function -> function (options), see `goes_on`
_split = {}  # backward function -> (first, rest, when), see `splits`
_elementwise = {}  # name of an array module -> what `elementwise` was given


class Call:
    """What a line of a recording calls, where it is an op or a backward function.

    Attributes:
        forward: array function.
        xp: array module.
        names: list of the names of its arrays and numbers, or of what was saved and the gradient.
        kinds: for each of them (shape, dtype), None for what isn't an array.
        options: dict.
        result: (shape, dtype) of what it returns, the first where that is several arrays.
        saved: name of what it keeps for its gradient, None for backward functions.
    """

    __slots__ = ("forward", "xp", "names", "kinds", "options", "result", "saved")

    def __init__(self, forward, xp, names, values, options, y, saved):
        if isinstance(forward, functools.partial):  # NumPy 1, see `autodiff.op`
            (forward,) = forward.args
        self.forward, self.xp, self.names = forward, xp, names
        self.kinds = [_kind(v) for v in values]
        self.options, self.saved = options, saved
        self.result = _kind(y[0] if isinstance(y, (list, tuple)) and y else y)


def _kind(value):
    return (tuple(value.shape), value.dtype) if hasattr(value, "dtype") else None


Argument = collections.namedtuple("Argument", "number item", defaults=(None,))
Argument.__doc__ = """Stands for an argument of a call.

Attributes:
    number: int, which.
    item: int, which array of what was saved; it has the shape and dtype of the result.
"""

Merged = collections.namedtuple("Merged", "function xp steps names options targets sets reads")
Merged.__doc__ = """A call that stands for several lines.

Attributes:
    function: function (xp, steps, *values, **options) -> results.
    xp: array module.
    steps: list of pairs (function, operand): the name of a value, a number or None.
    names: list of the names of its values.
    options: dict.
    targets: list of what its results, and then others, are assigned to: pairs (left, right),
        where the first has None on its right.
    sets: list of the names in there.
    reads: list of all names that it reads.
"""


_Begin = collections.namedtuple("_Begin", "finished takes tells hears")


def begins(forward, finished, takes=None, saves=None, tells=None, hears=None):
    """Say that an array function makes its result block by block.

    Args:
        forward: array function of an op, on NumPy arrays, or a backward function.
        finished: function (xp, steps, *values, **options) that returns what ``forward`` does,
            but with steps done to each block of its first result: pairs of a function
            ``f(block, operand, out=block)`` and its operand: a number, an array that has the
            result's shape or that of its last axis, or None.
        takes: rule (before, call) of two `Call`: options with which the function does to the
            first argument of ``before`` what that one and ``call`` do to it, or None.
        saves: see `goes_on`.
        tells: function like ``finished``, called without steps, that returns one thing more: what
            it learned of its first result on the way, for a function that hears of it.
        hears: rule (call) -> number of values behind which ``finished`` takes what another
            function told of the first of them; None where it can't use that.
    """
    _begin[forward] = _Begin(finished, takes, tells, hears)
    _saves[forward] = saves


def goes_on(forward, rule, saves=None):
    """Say that an array function works on each element of one of its arguments.

    Args:
        forward: array function of an op, or a backward function: its arguments are what was
            saved and the gradient.
        rule: function (at, options) -> steps that do the same to argument ``at``: list of pairs
            (function, operand), see `begins`, where an operand that is another argument is given
            as `Argument`; None where there are none.
        saves: function (options) -> `NOTHING` or `RESULT`, what an op saves for its gradient;
            None where that is something else.
    """
    _go_on[forward] = rule
    _saves[forward] = saves


def splits(pull, first, rest, when):
    """Say that a backward function begins with work on each element of the gradient.

    The walk back along a tape calls the two parts of it, so that recordings can join the first
    with what comes before it, and the memory of what came in is free while the rest runs.

    Args:
        pull: backward function (xp, saved, gy, needs).
        first: function (xp, saved, gy) -> gradient of the same shape.
        rest: backward function that does what remains to be done then.
        when: function (options) of the op's options -> bool, whether it is so.
    """
    _split[pull] = first, rest, when


def split(pull, options):
    """Return (first, rest) of a backward function, or None; see `splits`."""
    first, rest, when = _split.get(pull, (None, None, None))
    return (first, rest) if when is not None and when(options) else None


def added(x, y):
    """Return the sum of two gradients."""
    return x + y


def elementwise(module, finished, takes=None, least=0):
    """Give the function (xp, steps, x) -> array that does steps to the blocks of an array ``x``.

    Args:
        module: str, name of the array module whose arrays it takes.
        finished: the function.
        takes: function (function, operand) -> bool, whether a step can be joined to others at all
            on such arrays; its operand is a number, None, or True for an array. None: all can.
        least: int, elements of an array that several operations in a row are joined for.
    """
    _elementwise[module] = _Module(finished, takes, least)


_Module = collections.namedtuple("_Module", "finished takes least")


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
        self.told = {}  # index of a line -> name of what it tells of its result
        self.uses = collections.Counter([n for line in lines for n in line.reads])
        self.uses.update(results)
        self.readers = collections.defaultdict(list)
        for i, line in enumerate(lines):
            for n in line.reads:
                self.readers[n].append(i)
        self.maker = {n: i for i, line in enumerate(lines) for n in line.sets}
        # No weight is read later than a line that may write to it.
        self.writes = list(itertools.accumulate([not line.pure for line in lines]))
        # From the end: where two results are added, the later one takes the sum.
        for i in reversed(range(len(lines))):
            call = lines[i].call
            if call is not None and call.forward in _begin and self._plain(call):
                self._begin_blocks(i, call, _begin[call.forward])
        for i in range(len(lines)):
            self._begin_elementwise(i)

    def _plain(self, call):
        return (
            call.result is not None
            and len(call.result[0]) > 1
            and call.result[1].kind == "f"
            and call.result[1].itemsize > 2  # halves are rounded between the steps
            and (not self.uses[call.saved] or self._saves(call) is not None)
        )

    def _saves(self, call):
        """Return what a gradient needs of a call, None for what isn't known."""
        if not self.uses[call.saved]:
            return NOTHING
        rule = _saves.get(call.forward)
        return None if rule is None else rule(call.options)

    def _begin_blocks(self, i, call, rule):
        function = rule.tells if i in self.told else rule.finished
        first, *names = call.names
        heard = self._heard(call, rule.hears)
        talks, names = bool(heard) or i in self.told, names + heard
        h = self.maker.get(first)
        before = None if h is None or rule.takes is None else self.lines[h].call
        options = None
        if before is not None and self._alone(h, i) and self.writes[h] == self.writes[i]:
            options = rule.takes(before, call) if self._plain(before) else None
        if options is None:
            self._join(i, function, [first, *names], call.options, [], [i], talks)
        else:
            self._join(i, function, [before.names[0], *names], options, [], [h, i])

    def _heard(self, call, hears):
        """Return the further values of a call that hears of its first one, often none."""
        place = None if hears is None else hears(call)
        h = self.maker.get(call.names[0])
        other = None if place is None or h is None or h in self.found else self.lines[h].call
        if other is None or other.xp is not call.xp or not self._plain(other):
            return []
        tells = other.forward in _begin and _begin[other.forward].tells
        if not tells or self.lines[h].sets[0] != call.names[0]:
            return []
        name = self.told.setdefault(h, f"vt{h}")
        return [*["None"] * (place - len(call.names)), name]

    def _begin_elementwise(self, i):
        call = self.lines[i].call
        if i in self.found or call is None or call.forward not in _go_on or not self._plain(call):
            return
        module = _elementwise.get(call.xp.__name__)
        if module is None or math.prod(call.result[0]) < module.least:
            return
        for at, kind in enumerate(call.kinds):
            steps = self._steps(call, at) if kind == call.result else None
            if steps is not None:
                self._join(i, module.finished, [call.names[at]], {}, steps, [i])
                return

    def _join(self, i, function, names, options, steps, parts, talks=False):
        """Join a line with those behind it, if that makes one of several or of several steps.

        That takes the place of the last of them, or of the first.

        Args:
            talks: bool, whether the line tells another one of its result, or hears of its input:
                then it is called otherwise in any case.
        """
        last, late, early, alone = i, True, True, bool(steps)
        while (more := self._next(last)) is not None:
            j, found = more
            late = late and self._may_wait(i, j)
            early = early and self._known(i, found)
            if not (late or early):
                break
            last, steps = j, steps + found
            parts.append(j)
        if len(parts) == 1 and len(steps) < 2 and not talks:
            return
        self.found.update(dict.fromkeys(parts))
        targets, sets = self._targets(i, last, parts, alone)
        reads = [*names, *[n for _, n in steps if isinstance(n, str)]]
        reads = [n.partition("[")[0] for n in reads]
        xp = self.lines[i].call.xp
        merged = Merged(function, xp, steps, names, options, targets, sets, reads)
        self.found[last if self._may_wait(i, last) else i] = merged

    def _targets(self, i, last, parts, alone):
        """Return what is assigned in place of some lines, and the names that are.

        Args:
            alone: bool, whether the function returns its array alone.
        """
        first, result = self.lines[i], self.lines[last].sets[0]
        targets, sets = [(result, None)], [result]
        if not alone:
            told = [self.told[i]] if i in self.told else []
            left = re.sub(rf"\b{first.sets[0]}\b", result, first.targets)
            targets = [(", ".join([left, *told]), None)]
            sets += [*first.sets[1:], *told]
        for part in parts if alone else parts[parts.index(i) + 1 :]:
            call = self.lines[part].call
            if self.uses[call.saved]:
                value = self._saves(call).replace("result", result)
                targets.append((call.saved, value))
                sets.append(call.saved)
        return targets, sets

    def _alone(self, i, j):
        """Return whether line j alone needs the result of line i, and both are free."""
        free = i not in self.found and j not in self.found
        return free and self.uses[self.lines[i].sets[0]] == 1

    def _may_wait(self, i, j):
        """Return whether a line may be done in the place of another behind it."""
        unread = all(k > j for n in self.lines[i].sets[1:] for k in self.readers[n])
        return i == j or (unread and self.writes[i] == self.writes[j])

    def _known(self, i, steps):
        """Return whether all operands are computed values that are there before a line."""
        names = [n.partition("[")[0] for _, n in steps if isinstance(n, str)]
        made = [self.maker.get(n, -1 if n[0] == "x" else i) for n in names]
        return all(m < i and m not in self.found for m in made)

    def _next(self, i):
        """Return (index, steps) of the line that goes on with the result of a line, or None."""
        call, name = self.lines[i].call, self.lines[i].sets[0]
        if self.uses[name] != 1 or not self.readers[name] or self._saves(call) == RESULT:
            return None
        (j,) = self.readers[name]
        other = self.lines[j].call if self._alone(i, j) else None
        if other is None or other.forward not in _go_on or not self._plain(other):
            return None
        if other.result != call.result or other.xp is not call.xp or name not in other.names:
            return None
        steps = self._steps(other, other.names.index(name))
        return None if steps is None else (j, steps)

    def _steps(self, call, at):
        """Return the steps of a call with names as operands; None if they don't fit blocks."""
        steps = _go_on[call.forward](at, call.options)
        found, takes = [], getattr(_elementwise.get(call.xp.__name__), "takes", None)
        for function, operand in steps or ():
            if takes and not takes(function, isinstance(operand, Argument) or operand):
                return None
            if isinstance(operand, Argument):
                number, item = operand
                kind, operand = call.kinds[number], call.names[number]
                if item is not None:
                    operand = f"{operand}[{item}]"
                elif kind is not None and not _fits_blocks(kind, call.result):
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
