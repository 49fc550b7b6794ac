"""Where an optimizer's slots lie, and the parts in which a step sweeps over the weights.

Slots of weights that arrive together lie side by side in an `Arena`, a flat array for each
slot name.  A `Part` is a stretch of an arena with the weights that belong to it: neighbours
in memory as one flat array, small scattered weights copied in and out of one.  So the number
of array operations doesn't grow with the number of weights.  On NumPy a part is swept in
blocks that stay in the cache, and large weights are parts of their own, whose gradient needs
no copy.

Storage never moves once it is made: a weight's slots stay when the list of weights changes,
and a recorded step may keep their addresses.
"""

import functools
import weakref

import numpy as np

from gpunet import arrays, threads, variables
from gpunet.variables import _aligned, viewing

__all__ = ["Store", "Plan"]

# Elements of all arrays together that NumPy handles at a time; they stay in a 1 MB cache.
# On ten million weights Adam takes the same time with a half to four times as many, and 1.4
# times as long with an eighth.
CACHE = 1 << 18
# Elements that blocks are whole multiples of: a cache line of the smallest.
_LINE = arrays.LINE // 2
# Blocks of a part from which several threads pay.
_SPREAD = 4
# Scattered weights up to this size are gathered into one part: on NumPy, elsewhere.
SMALL = (8192, 65536)

# What does a rule in one launch on a GPU: `gpunet.fused.sweeps.sweep`, once that is there.
kernel = None


class Arena:
    """Room for the slots of weights, laid out as neighbouring weights are.

    Attributes:
        xp: array module.
        dtype: numpy.dtype in which updates are computed: float32 for float16 weights.
        number: int, the arenas of one optimizer counted from 0.
        size: int, elements of each slot.
        flat: dict slot name -> flat array.
    """

    __slots__ = ("xp", "dtype", "number", "size", "flat")

    def __init__(self, xp, dtype, number):
        self.xp, self.number, self.size, self.flat = xp, number, 0, {}
        self.dtype = np.dtype("float32") if dtype.itemsize < 4 else dtype

    def slot(self, name, initial):
        """Return the flat array of a slot; made at first use, every element ``initial``."""
        if name not in self.flat:
            made = self.flat[name] = arrays.flat_zeros(self.xp, self.size, self.dtype)
            if initial:
                made[...] = initial
        return self.flat[name]


class Entry:
    """One weight as its optimizer knows it.

    Attributes:
        ref: weak reference to the Variable.
        arena, start, stop: where its slots lie.
        decayed: bool, whether weight decay applies to it.
        slots: dict name -> Variable.
    """

    __slots__ = ("ref", "arena", "start", "stop", "decayed", "slots")

    def __init__(self, ref, arena, start, stop, decayed):
        self.ref, self.arena, self.start, self.stop = ref, arena, start, stop
        self.decayed = decayed
        self.slots = {}

    def slot(self, name, initial):
        """Return one of its slots as a Variable of the weight's shape."""
        if name not in self.slots:
            weight = self.ref()
            view = self.arena.slot(name, initial)[self.start : self.stop]
            self.slots[name] = viewing(view.reshape(tuple(weight.shape)), weight, name)
        return self.slots[name]


class Store:
    """All weights that an optimizer has updated, weakly held, and the plans for lists of them.

    Attributes:
        groups: list of lists of Entries, those that arrived together, in their order.
    """

    def __init__(self):
        self.groups = []
        self._entries = {}  # id of weight -> Entry
        self._plans = {}
        self._arenas = 0

    def __contains__(self, weight):
        return id(weight) in self._entries

    def add(self, weights, decayed):
        """Give slots to the weights that have none yet.

        Args:
            weights: list of Variables.
            decayed: function Variable -> bool, whether weight decay applies to it.
        """
        new = [w for w in weights if w not in self]
        if not new:
            return
        variables.allocate(new)
        forget = weakref.WeakMethod(self._forget)
        made = {}
        for w, kept in sorted(((w, decayed(w)) for w in new), key=_large_last):
            kind = (arrays.module_of(w.array), w.dtype, kept)
            if kind not in made:
                made[kind] = Arena(*kind[:2], self._arenas)
                self._arenas += 1
            arena = made[kind]
            # Padded as the weight is, so that neighbours have equal distances in both.
            start = _aligned(arena.size, w.dtype)
            arena.size = start + w.size
            ref = weakref.ref(w, functools.partial(_dropped, forget, id(w)))
            self._entries[id(w)] = Entry(ref, arena, start, arena.size, kept)
        self.groups.append([self._entries[id(w)] for w in new])

    def _forget(self, key):
        entry = self._entries.pop(key, None)
        self.groups = [left for g in self.groups if (left := [e for e in g if e is not entry])]
        self._plans = {k: plan for k, plan in self._plans.items() if key not in k[0]}

    def entry(self, weight):
        """Return the Entry of a weight; KeyError if it has none."""
        return self._entries[id(weight)]

    def plan(self, weights, slots, scratch, buffered, decayed):
        """Return the `Plan` for a list of weights; made at first use.

        Args:
            weights: list of Variables.
            slots: dict slot name -> initial value.
            scratch: int, how many scratch arrays an update needs.
            buffered: bool, whether every gradient is to be copied into a buffer.
            decayed: as for `add`.
        """
        key = (tuple(map(id, weights)), tuple(slots), buffered)
        plan = self._plans.get(key)
        if plan is None:
            if len(set(key[0])) < len(weights):
                raise ValueError("a weight is in the list of weights more than once")
            self.add(weights, decayed)
            entries = [self.entry(w) for w in weights]
            plan = self._plans[key] = Plan(weights, entries, slots, scratch, buffered)
        return plan


def _dropped(forget, key, _):
    method = forget()
    if method is not None:
        method(key)


def _large_last(pair):
    weight, _ = pair
    return arrays.module_of(weight.array) is np and weight.size > SMALL[0]


class Plan:
    """How one list of weights is updated.

    Attributes:
        xp: array module of the weights.
        parts: list of Parts that together cover the weights.
        dtypes: set of the dtypes in which they are computed.
        constrained: list of (weight's array, constraint).
    """

    __slots__ = ("xp", "parts", "dtypes", "constrained")

    def __init__(self, weights, entries, slots, scratch, buffered):
        self.xp = arrays.module_of(weights[0].array) if weights else None
        block = float("inf")
        if self.xp is np:
            block = max(CACHE // (2 + len(slots) + scratch) // _LINE * _LINE, SMALL[0])
        self.parts = _scattered(_neighbours(weights, entries, block), block)
        self.dtypes = {p.dtype for p in self.parts}
        lengths = {
            d: min(block, max(p.size for p in self.parts if p.dtype == d)) for d in self.dtypes
        }
        rooms = {d: _Rooms(self.xp, n, d, scratch) for d, n in lengths.items()}
        for part in self.parts:
            part.lay_out(slots, rooms[part.dtype], buffered, block)
        # Arrays, not weights: a plan must not keep a weight alive.
        self.constrained = [(w.array, w.constraint) for w in weights if w.constraint is not None]


class _Rooms:
    """Scratch arrays of equal length, a set for each thread that works at the same time."""

    __slots__ = ("_make", "_free")

    def __init__(self, xp, length, dtype, count):
        self._make = lambda: [arrays.flat_zeros(xp, length, dtype) for _ in range(count)]
        self._free = [self._make()]

    @property
    def first(self):
        """List of arrays; not to be used while others `take`."""
        return self._free[0]

    def take(self):
        """Return a list of arrays that nobody else uses until `give`."""
        try:
            return self._free.pop()
        except IndexError:
            return self._make()

    def give(self, scratch):
        """Give back what `take` returned."""
        self._free.append(scratch)


def _neighbours(weights, entries, block):
    """Return Parts of weights that are neighbours both in memory and in their arena.

    A weight larger than a block is a part of its own: its gradient needs no copy then.
    """
    order = {id(w): i for i, w in enumerate(weights)}
    parts = []
    for run in variables.runs(weights):
        last = None
        for w, (first, end) in zip(run.variables, run.bounds):
            i = order[id(w)]
            entry = entries[i]
            if (
                last is not None
                and last.precedes(entry)
                and first - last.segments[0][1] == entry.start - last.start
                and last.size + w.size <= block
            ):
                last.segments[0][2] = end
                last.extend(entry.stop, [(i, entry)])
            else:
                last = Part(entry, i, [run.flat, first, end, entry.start])
                parts.append(last)
    return parts


def _scattered(parts, block):
    """Join small Parts that are neighbours in their arena but not in memory."""
    small = SMALL[block == float("inf")]
    joined = []
    for part in sorted(parts, key=lambda p: (p.arena.number, p.start)):
        last = joined[-1] if joined else None
        if (
            last is not None
            and last.precedes(part)
            and part.size <= small
            and (last.size <= small or len(last.segments) > 1)
            and last.size + part.size <= block
        ):
            last.segments += part.segments
            last.extend(part.stop, part.members)
        else:
            joined.append(part)
    return joined


class Part:
    """Weights that are updated by the same array operations.

    Attributes:
        arena, start, stop: where the slots lie.
        dtype: numpy.dtype in which updates are computed.
        members: list of (position in the list of weights, Entry).
        segments: list of [flat array, first, end, place in the arena] of neighbouring weights.
        decayed: bool, whether weight decay applies.
        views: list of (position, view of the gradient buffer in the weight's shape).
        blocks: list of (slice or None, weights, slots, scratch) to sweep over.
        rooms: `_Rooms` that the scratch arrays are of.
    """

    def __init__(self, entry, position, segment):
        self.arena, self.dtype = entry.arena, entry.arena.dtype
        self.start, self.stop = entry.start, entry.stop
        self.members = [(position, entry)]
        self.segments = [segment]
        self.decayed = entry.decayed
        self.views = None

    @property
    def size(self):
        """int, elements, padding included."""
        return self.stop - self.start

    def precedes(self, other):
        """Return whether an Entry's or another Part's slots follow without a gap."""
        end = _aligned(self.stop, self.segments[-1][0].dtype)
        return other.arena is self.arena and other.start == end

    def extend(self, stop, members):
        """Take in the weights that follow."""
        self.stop = stop
        self.members += members

    def lay_out(self, slots, rooms, buffered, block):
        """Make the views and buffers of a step; see `Store.plan` and `Plan`."""
        xp, dtype, start = self.arena.xp, self.dtype, self.start
        flat, first, end, _ = self.segments[0]
        self.staged = []
        if len(self.segments) > 1 or flat.dtype != dtype:
            w = arrays.flat_zeros(xp, self.size, dtype)
            for flat, first, end, place in self.segments:
                place -= start
                self.staged.append((flat[first:end], w[place : place + end - first]))
        else:
            w = flat[first:end]
        if buffered or self.staged or len(self.members) > 1:
            self.grad = arrays.flat_zeros(xp, self.size, dtype)
            self.views = [
                (i, self.grad[e.start - start : e.stop - start].reshape(tuple(e.ref().shape)))
                for i, e in self.members
            ]
        self.rooms, scratch = rooms, rooms.first
        state = [self.arena.slot(n, value)[start : self.stop] for n, value in slots.items()]
        if self.size <= block:
            scratch = [t[: self.size] for t in scratch]
            self.blocks = [(None, w, state, scratch)]
        else:
            cuts = [slice(a, a + block) for a in range(0, self.size, block)]
            self.blocks = [
                (cut, w[cut], [s[cut] for s in state], [t[: w[cut].size] for t in scratch])
                for cut in cuts
            ]

    def gather(self, grads):
        """Return the gradient of the whole part as one flat array.

        Args:
            grads: list of arrays, one for each weight of the plan.
        """
        if self.views is None:
            g = grads[self.members[0][0]].reshape(-1)
            return g if g.dtype == self.dtype else g.astype(self.dtype)
        for i, view in self.views:
            view[...] = grads[i]
        return self.grad

    def sweep(self, update, coefficients, g, shrink):
        """Update weights and slots in place.

        Args:
            update: function ``(xp, coefficients, w, g, slots, scratch)`` of flat arrays.
            coefficients: tuple for ``update``.
            g: flat gradient; it is only read.
            shrink: factor for the weights before the update, or None.
        """
        xp = self.arena.xp
        for source, room in self.staged:
            room[...] = source

        def work(i, own=None):
            cut, w, slots, scratch = self.blocks[i]
            part = g if cut is None else g[cut]
            if xp is not np and kernel is not None:
                if kernel(xp, update, coefficients, w, part, slots, scratch, shrink):
                    return
            if own is not None:
                scratch = [t[: w.size] for t in own]
            if shrink is not None:
                xp.multiply(w, shrink, out=w)
            update(xp, coefficients, w, part, slots, scratch)

        if xp is np and len(self.blocks) >= _SPREAD:
            self._spread(work)
        else:
            for i in range(len(self.blocks)):
                work(i)
        for target, room in self.staged:
            target[...] = room

    def _spread(self, work):
        """Do the blocks on several threads; the bits don't depend on which does which."""
        used = []

        def start():
            used.append(self.rooms.take())
            return functools.partial(work, own=used[-1])

        try:
            threads.spread(len(self.blocks), start)
        finally:
            for scratch in used:
                self.rooms.give(scratch)
