"""Writing down what a function does to arrays, as the lines of another function.

While a `Recorder` is at work, ops, the walk back along the tape and writes to variables report
to it.  It writes one line for each: ``v7, s8 = _dense_3(_numpy_1, v5, _2)``.  The function made of
these lines does the same to other arrays of the same shapes and dtypes: the same array functions in
the same order, hence the same bits, without the layers, tensors and tapes around them.

A recorder gives up where it can't account for something: an array whose origin it doesn't know
(neither an input nor a variable nor the result of a line), or a value read by the host.
"""

import functools
import threading
import weakref

import numpy as np

from gpunet.joining import Call, Merged, added, joined

__all__ = ["Recorder", "constant", "current", "edited", "effect", "host_reads"]

# Lines of the longest recording: compiling more would take seconds.
_LONGEST = 20_000

active = None  # the Recorder at work in some thread, or None: looked at by each op
edits = 0  # how often something changed that recordings take for granted
_constants = {}  # id -> weak reference to an array that keeps its values


def current():
    """Return the Recorder at work in this thread, or None."""
    recorder = active
    return recorder if recorder is not None and recorder.is_here() else None


def constant(array):
    """Return an array, declared to keep its values for good."""
    key = id(array)
    _constants[key] = weakref.ref(array, lambda _: _constants.pop(key, None))
    return array


def edited():
    """Note that something changed that recordings take for granted, such as a layer's option."""
    global edits
    edits += 1


def effect(function, *values):
    """Call a function that does something beyond computing, now and at every replay.

    Args:
        function: function of arrays (and Nones); it mustn't depend on anything that changes
            from step to step but these, the state that it moves on, and other devices' state.
        *values: arrays, RowGradients or Nones.

    Returns:
        What the function returns: an array or None.
    """
    recorder = current()
    if recorder is None:
        return function(*values)
    arguments = [recorder.name(v) for v in values]
    with recorder.paused():
        result = function(*values)
    recorder.line(function, arguments, result, pure=False)
    return result


def host_reads(what):
    """Report that a value is read by the host, which a replay wouldn't do again."""
    recorder = current()
    if recorder is not None:
        recorder.give_up(f"{what} is read by the host")


class _Line:
    """One line: names that it sets and reads, whether it does nothing else, what it calls.

    Where it calls an op or a backward function, ``targets`` is what stands left of the call.
    """

    __slots__ = ("text", "sets", "reads", "pure", "call", "targets")

    def __init__(self, text, sets, reads, pure, call=None, targets=None):
        self.text, self.sets, self.reads, self.pure = text, sets, reads, pure
        self.call, self.targets = call, targets


class Recorder:
    """Context in which what this thread does to arrays is written down.

    Args:
        inputs: list of arrays or Nones.

    Attributes:
        reason: str, why it gave up, or None.
    """

    def __init__(self, inputs):
        self.reason = None
        self._lines = []
        self._objects = {}  # name -> what lines refer to: functions, constants
        self._interned = {}  # id -> name of such an object
        self._names = {}  # id -> (function that returns the object while it lives, name)
        self._saved = {}  # id of a tape's entry -> name of what its op saved
        self._count = 0
        self._thread = None
        self._inputs = [f"x{i}" for i in range(len(inputs))]
        for name, value in zip(self._inputs, inputs, strict=True):
            if value is not None:
                self._know(value, name)

    def __enter__(self):
        global active
        self._thread = threading.get_ident()
        active = self
        return self

    def __exit__(self, *_):
        global active
        active = None

    def is_here(self):
        """Return whether it is at work in this thread."""
        return self._thread == threading.get_ident()

    def paused(self):
        """Return a context in which nothing is written down."""
        return _Paused(self)

    def give_up(self, reason):
        """Note the first reason why this can't be replayed."""
        if self.reason is None:
            self.reason = reason

    # -- names ----------------------------------------------------------------------------

    def _new(self, letter):
        self._count += 1
        return f"{letter}{self._count}"

    def _know(self, value, name):
        try:
            reference = weakref.ref(value)
        except TypeError:  # NumPy's scalars

            def reference():
                return value

        self._names[id(value)] = reference, name

    def fixed(self, value):
        """Return the name of an object that is the same in every replay."""
        key = id(value)
        if key not in self._interned:
            # On NumPy 1 an op's function may be wrapped, see `autodiff.op`.
            wrapped = value.args[:1] if isinstance(value, functools.partial) else ()
            called = getattr(wrapped[0] if wrapped else value, "__name__", "")
            name = self._new(f"_{called}_" if called.isidentifier() else "_")
            self._interned[key], self._objects[name] = name, value
        return self._interned[key]

    def name(self, value):
        """Return the name of a computed value, an input, a variable's array or a constant."""
        if value is None:
            return "None"
        array = getattr(value, "array", value)
        known = self._names.get(id(array))
        if known is not None and known[0]() is array:
            return known[1]
        if getattr(value, "is_variable", False):
            return self.fixed(array)
        reference = _constants.get(id(array))
        if reference is not None and reference() is array:
            return self.fixed(array)
        self.give_up(f"{type(array).__name__} {getattr(array, 'shape', '')} comes from nowhere")
        return "None"

    # -- lines ----------------------------------------------------------------------------

    def line(self, function, arguments, results, pure=True):
        """Write down a call.

        Args:
            function: what was called.
            arguments: list of names.
            results: what it returned: an array, None, or a list or tuple of such.
            pure: bool, whether it may be left out if nobody uses its results.
        """
        sets = []
        targets = self._targets(results, sets)
        text = f"{targets} = {self.fixed(function)}({', '.join(arguments)})"
        self._add(text, sets, arguments, pure)

    def _targets(self, results, sets):
        """Name results; return the left side of the assignment."""
        if isinstance(results, (tuple, list)):
            return "[" + ", ".join([self._targets(r, sets) for r in results]) + "]"
        name = self._new("v")
        sets.append(name)
        if results is not None:
            self._know(results, name)
        return name

    def _add(self, text, sets, reads, pure=True, call=None, targets=None):
        self._lines.append(_Line(text, sets, reads, pure, call, targets))
        if len(self._lines) > _LONGEST:
            self.give_up(f"it takes more than {_LONGEST} lines")

    def op(self, forward, xp, args, values, options, y):
        """Write down an op.

        Args:
            forward: array function that ran.
            xp: array module.
            args: tuple of Tensors, numbers and Nones that the op was called on.
            values: list of the arrays and numbers that ``forward`` got.
            options: dict.
            y: array or tuple of arrays that came out.

        Returns:
            The name of what was saved, for `entry`.
        """
        names = [self._argument(a, v) for a, v in zip(args, values, strict=True)]
        for value in options.values():
            if _holds_array(value):
                self.give_up("an option holds an array")
        sets = []
        targets = self._targets(y, sets)
        saved = self._new("s")
        targets += f", {saved}"
        given = ", ".join([self.fixed(xp), *names])
        given += f", **{self.fixed(dict(options))}" if options else ""
        text = f"{targets} = {self.fixed(forward)}({given})"
        call = Call(forward, xp, names, values, options, y, saved)
        self._add(text, [*sets, saved], names, call=call, targets=targets)
        return saved

    def _argument(self, given, value):
        if not hasattr(given, "array"):
            if isinstance(given, np.generic):
                self.give_up("a number was computed outside of ops")
            return self.fixed(value)
        name = self.name(given)
        if value is given.array:
            return name
        if value.dtype == given.array.dtype:
            self.give_up("an array was moved to another device")
            return name
        cast = self._new("v")
        self._add(f"{cast} = {name}.astype({self.fixed(value.dtype)})", [cast], [name])
        return cast

    # -- the walk back ----------------------------------------------------------------------

    def entry(self, entry, saved):
        """Note the name of what a tape's new entry saved."""
        self._saved[id(entry)] = saved

    def pull(self, pull, xp, entry, gy, flags, gxs):
        """Write down the backward function of an entry; see `Tape.pull`.

        Args:
            flags: tuple of further arguments that are lists of bools.
            gxs: what it returned.
        """
        saved = self._saved.get(id(entry))
        if saved is None:
            self.give_up(f"the gradient of {entry[4]!r} isn't an op's")
            return
        inputs = [self.name(g) for g in (gy if type(gy) is tuple else (gy,))]
        whole = f"({', '.join(inputs)},)" if type(gy) is tuple else inputs[0]
        given = [self.fixed(xp), saved, whole, *map(repr, flags)]
        sets = []
        targets = self._targets(gxs, sets)
        text = f"{targets} = {self.fixed(pull)}({', '.join(given)})"
        call = None
        if len(inputs) == 1 and flags:
            (needs,) = flags
            call = Call(pull, xp, [saved, *inputs], [None, gy], {"needs": needs}, gxs, None)
        self._add(text, sets, [saved, *inputs], call=call, targets=targets)

    def first(self, first, xp, entry, gy, result):
        """Write down the first part of the backward function of an entry; see `joining.splits`."""
        saved, name, sets = self._saved.get(id(entry), "None"), self.name(gy), []
        targets = self._targets(result, sets)
        text = f"{targets} = {self.fixed(first)}({self.fixed(xp)}, {saved}, {name})"
        call = Call(first, xp, [saved, name], [None, gy], {}, result, None)
        self._add(text, sets, [saved, name], call=call, targets=targets)

    def fitted(self, function, xp, gx, shape, dtype, result):
        """Write down that a gradient was given its input's shape and dtype."""
        arguments = [self.fixed(xp), self.name(gx), repr(tuple(shape)), self.fixed(dtype)]
        self.line(function, arguments, result)

    def added(self, xp, left, right, total):
        """Write down ``total = left + right``, in place where the total is ``left`` itself."""
        a, b = self.name(left), self.name(right)
        sets = []
        targets = self._targets(total, sets)  # a new name: what ``left`` was is gone
        text = f"{targets} = {a} + {b}"
        if total is left:
            text = f"{a} += {b}; {targets} = {a}"
        call = None
        if all(hasattr(v, "ndim") for v in (left, right)):  # no rows
            call = Call(added, xp, [a, b], [left, right], {}, total, None)
        self._add(text, sets, [a, b], call=call, targets=targets)

    # -- the function -----------------------------------------------------------------------

    def function(self, outputs):
        """Return the function (*inputs) -> list of outputs, None if it gave up.

        Args:
            outputs: list of arrays, tensors, RowGradients or Nones.
        """
        results = [self.name(v) for v in outputs]
        if self.reason is not None:
            return None
        source = "\n ".join(
            [f"def replay({', '.join(self._inputs)}):", *self._text(results)]
            + [f"return [{', '.join(results)}]"]
        )
        exec(compile(source, "<recorded step>", "exec"), self._objects)
        function = self._objects.pop("replay")
        function.source = source
        return function

    def _text(self, results):
        """Return the lines that matter, each letting go of what nobody needs after it."""
        needed, text = {*results, *self._inputs}, []
        for line in reversed(self._joined(self._needed(results), results)):
            used = [n for n in (*line.sets, *line.reads) if n[0] in "vs"]
            free = dict.fromkeys([n for n in used if n not in needed])
            text.append(line.text + (f"; del {', '.join(free)}" if free else ""))
            needed.update(used)
        return text[::-1]

    def _needed(self, results):
        """Return the lines without those whose results nobody uses."""
        needed, lines = set(results), []
        for line in reversed(self._lines):
            if not line.pure or not needed.isdisjoint(line.sets):
                lines.append(line)
                needed.update(line.reads)
        return lines[::-1]

    def _joined(self, lines, results):
        """Return lines, those that can be joined as one."""
        found = joined(lines, results)
        kept = [found.get(i, line) for i, line in enumerate(lines)]
        return [self._merged(x) if isinstance(x, Merged) else x for x in kept if x is not None]

    def _merged(self, m):
        steps = [
            f"({self.fixed(f)}, {x if isinstance(x, str) else self.fixed(x)})" for f, x in m.steps
        ]
        given = ", ".join([self.fixed(m.xp), f"[{', '.join(steps)}]", *m.names])
        given += f", **{self.fixed(m.options)}" if m.options else ""
        call = f"{self.fixed(m.function)}({given})"
        text = "; ".join([f"{left} = {right or call}" for left, right in m.targets])
        return _Line(text, m.sets, m.reads, True)


def _holds_array(value):
    if isinstance(value, (list, tuple)):
        return any(map(_holds_array, value))
    if isinstance(value, dict):
        return any(map(_holds_array, value.values()))
    return hasattr(value, "array") or (hasattr(value, "shape") and hasattr(value, "dtype"))


class _Paused:
    __slots__ = ("_recorder",)

    def __init__(self, recorder):
        self._recorder = recorder

    def __enter__(self):
        global active
        active = None

    def __exit__(self, *_):
        global active
        active = self._recorder
