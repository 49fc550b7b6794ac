"""Columns to batches: in which order, and one copy for each batch."""

import itertools
import numbers

import numpy as np

from gpunet import arrays
from gpunet.ops import random

__all__ = ["Batch", "ArrayFeeder", "ahead", "copy_ahead_with", "is_whole", "positive_int"]

_copiers = {}  # kind of device -> what makes batches come to it ahead of time


def copy_ahead_with(kind, copier):
    """Say how batches come to devices of a kind while the batch before is worked on.

    Args:
        kind: ``'cpu'`` or ``'gpu'``.
        copier: function (iterator over Batches) -> iterator over the same, which takes from its
            source in the order given and one batch ahead at most; None for none.
    """
    _copiers[kind] = copier


def ahead(batches):
    """Return an iterator over Batches that come to the current device ahead, if it has a way."""
    copier = _copiers.get(arrays.current_device().kind)
    return batches if copier is None else copier(batches)


def is_whole(value):
    """Return whether a value is a whole number, of any type but bool."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and value % 1 == 0


def positive_int(value, label, default=None):
    """Return a count of batches or samples as an int.

    Args:
        value: int, or None for the default.
        label: str for the error text, such as ``'fit: batch_size'``.
        default: int.

    Raises:
        ValueError: anything but a positive whole number.
    """
    if value is None:
        return default
    if not is_whole(value) or value <= 0:
        raise ValueError(f"{label}: expected a positive int, got {value!r}")
    return int(value)


class Batch:
    """What one step gets.

    Attributes:
        x: list of Tensors, one for each input.
        y: list of Tensors or Nones, one for each output; None if there are no targets.
        weight: list of Tensors or Nones, one for each output; None if there are none.
        size: int, number of samples.
        nests: the nests that x, y and weight were given in, None for a single array each; None
            unless a step of the user's own gets the batch.
    """

    __slots__ = ("x", "y", "weight", "size", "nests")

    def __init__(self, x, y, weight, size, nests=None):
        self.x, self.y, self.weight, self.size, self.nests = x, y, weight, size, nests


class ArrayFeeder:
    """Batches out of columns.

    Args:
        x: list of Columns.
        y: list of Columns or Nones, or None.
        weight: list of Columns or Nones, or None.
        batch_size: int, 32 by default.
        what: str, who asks, for error texts.
        nests: as `Batch` has them.

    Attributes:
        samples: int.
        steps: int, number of batches.

    Raises:
        ValueError: no samples, or columns of different lengths.
    """

    def __init__(self, x, y=None, weight=None, batch_size=None, what="fit", nests=None):
        self.x, self.y, self.weight, self.what, self.nests = x, y, weight, what, nests
        lengths = {c.label: len(c) for c in self.columns()}
        if len(set(lengths.values())) > 1:
            raise ValueError(
                f"{what}: all arrays need the same number of samples, got "
                + ", ".join(f"{n} in {label.rpartition(': ')[2]}" for label, n in lengths.items())
            )
        self._endless = None  # cuts of all passes, where one goes on from the other
        self.batch_size = positive_int(batch_size, f"{what}: batch_size", 32)
        self._span(0, len(x[0]))
        if not self.samples:
            raise ValueError(f"{what}: expected at least one sample, got empty arrays {lengths}")

    def columns(self):
        """Return the list of all Columns."""
        return [c for part in (self.x, self.y, self.weight) for c in part or [] if c is not None]

    def _span(self, start, stop):
        self.start, self.stop, self.samples = start, stop, stop - start
        self.steps = -(-self.samples // self.batch_size)

    def split(self, part):
        """Return (feeder of the first samples, feeder of the last ``part`` of them)."""
        if isinstance(part, bool) or not isinstance(part, numbers.Real) or not 0 < part < 1:
            raise ValueError(
                f"{self.what}: expected validation_split as a float in [0, 1), got {part!r}"
            )
        at = int(self.samples * (1 - part))
        if at in (0, self.samples):
            raise ValueError(
                f"{self.what}: validation_split={part} of {self.samples} samples leaves none to "
                f"{'train on' if at == 0 else 'validate on'}"
            )
        return self._part(self.start, self.start + at), self._part(self.start + at, self.stop)

    def _part(self, start, stop):
        part = ArrayFeeder(self.x, self.y, self.weight, self.batch_size, self.what, self.nests)
        part._span(start, stop)
        return part

    def arrays(self):
        """Return its x, y and weights (ones where there are none) as one list of arrays.

        None if some of them lie in files.
        """
        if any(c.in_file for c in self.columns()):
            return None
        where = slice(self.start, self.stop)
        weights = self.weight or [None] * len(self.y or [])
        found = [c.take(where) for c in [*self.x, *(self.y or [])] if c is not None]
        return found + [np.ones(self.samples) if w is None else w.take(where) for w in weights]

    def cuts(self, shuffle, key=None):
        """Yield one epoch's slices or arrays of indices, one for each batch.

        Args:
            shuffle: False, True, or ``'batch'``, which keeps batches together.
            key: key of the random numbers; None draws one.
        """
        size = self.batch_size
        if isinstance(shuffle, str):
            whole = self.samples // size
            blocks = [*random.permutation(whole, key).tolist(), *range(whole, self.steps)]
        elif shuffle:
            order = random.permutation(self.samples, key)
            if self.start:
                order += self.start
            for i in range(0, self.samples, size):
                yield order[i : i + size]
            return
        else:
            blocks = range(self.steps)
        for i in blocks:
            start = self.start + i * size
            yield slice(start, min(start + size, self.stop))

    def go_on(self, steps, shuffle):
        """Let passes of fewer steps than there are go on where the one before ended.

        Args:
            steps: int, number of batches in a pass.
            shuffle: see `cuts`.
        """
        self._endless, self._share = self._rounds(shuffle, random.default().reserve()), steps

    def _rounds(self, shuffle, key):
        seed, stream, _ = key
        for number in itertools.count():
            yield from self.cuts(shuffle, (seed, stream, number << 40))

    def advance(self, epochs):
        """Be as after so many epochs; orders of whole epochs come from the generator alone."""
        if self._endless is not None:
            _drop(self._endless, epochs * self._share)

    def batches(self, shuffle=False, done=0):
        """Yield one epoch's Batches but the first ``done``; see `cuts`."""
        return map(self._cut, self.cuts_left(shuffle, done))

    def cuts_left(self, shuffle=False, done=0):
        """Return an iterator over one epoch's cuts but the first ``done``; see `cuts`."""
        if self._endless is None:
            cuts = self.cuts(shuffle)
        else:
            cuts = itertools.islice(self._endless, self._share)
        _drop(cuts, done)
        return cuts

    def order_left(self, xp, shuffle=False, done=0, left=None):
        """Return the rows of one epoch in their order, and the sizes of its batches.

        Args:
            xp: array module, in which whole orders are drawn; others are numpy arrays.
            shuffle: see `cuts`.
            done: int, how many batches to leave out.
            left: int, how many batches there will be at most; None for all.
        """
        if self._endless is None and shuffle and not isinstance(shuffle, str):
            order = random.permutation(self.samples, xp=xp)
            order = order + self.start if self.start else order
            first, size = done * self.batch_size, self.batch_size
            last = self.samples if left is None else min(first + left * size, self.samples)
            sizes = [min(size, last - at) for at in range(first, last, size)]
            return order[first:last], sizes
        cuts = list(itertools.islice(self.cuts_left(shuffle, done), left))
        numbers = [np.arange(c.start, c.stop) if type(c) is slice else c for c in cuts]
        return np.concatenate([*numbers, np.zeros(0, "int64")]), [len(n) for n in numbers]

    def ended(self):
        """A pass has come to its end; see `gpunet.training.streams`."""

    def close(self):
        """Stop fetching: nothing is fetched ahead."""

    def whole(self):
        """Return all samples as one Batch."""
        return self._cut(slice(self.start, self.stop))

    def first(self):
        """Return a Batch of the first sample's inputs alone."""
        where = slice(self.start, self.start + 1)
        return Batch([c.rows(where) for c in self.x], None, None, 1)

    def _cut(self, where):
        return Batch(
            [c.rows(where) for c in self.x],
            _rows(self.y, where),
            _rows(self.weight, where),
            where.stop - where.start if type(where) is slice else len(where),
            self.nests,
        )


def _drop(iterator, count):
    """Take that many items out of an iterator."""
    next(itertools.islice(iterator, count, count), None)


def _rows(columns, where):
    if columns is None:
        return None
    return [None if c is None else c.rows(where) for c in columns]
