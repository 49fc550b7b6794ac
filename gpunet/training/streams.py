"""Batches that come ready made: from a Sequence, a generator, or anything that can be iterated."""

import itertools
import sys
import types
from typing import NamedTuple

from gpunet.data.sequence import Sequence
from gpunet.ops import random
from gpunet.training.feeder import is_whole, positive_int

__all__ = ["Fetching", "is_stream", "is_sequence", "refuse_in_bootstrap", "stream_of"]


class Fetching(NamedTuple):
    """How batches are fetched ahead of training.

    Attributes:
        workers: int, number of threads or processes; 0 fetches when a batch is needed.
        processes: bool, whether the workers for a Sequence are processes.
        size: int, how many batches may wait.
    """

    workers: int = 1
    processes: bool = False
    size: int = 10

    @classmethod
    def checked(cls, what, workers, use_multiprocessing, max_queue_size):
        """Return what the arguments of `fit` say.

        Raises:
            ValueError: counts that are negative or no ints.
        """
        for name, value in (("workers", workers), ("max_queue_size", max_queue_size)):
            if not is_whole(value) or value < 0:
                raise ValueError(f"{what}: expected {name} as an int >= 0, got {value!r}")
        return cls(int(workers), bool(use_multiprocessing), int(max_queue_size))


def refuse_in_bootstrap(what):
    """Raise a RuntimeError in a worker process that is still importing the main script.

    Args:
        what: str, who asks.
    """
    process = sys.modules.get("multiprocessing.process")
    if process is not None and getattr(process.current_process(), "_inheriting", False):
        raise RuntimeError(
            f"{what}: a worker process imports the script that started it, and doesn't train "
            "there. Put the script's own actions below `if __name__ == '__main__':`"
        )


def is_sequence(x):
    """Return whether an object gives batches by number."""
    return isinstance(x, Sequence) or (  # such a one may be an endless iterator besides
        hasattr(x, "__getitem__")
        and hasattr(x, "__len__")
        and not _is_data(x)
        and not hasattr(x, "__next__")
    )


def is_stream(x):
    """Return whether an object gives batches, rather than being an array or a nest of them.

    Raises:
        TypeError: a class or a function that makes such an object.
    """
    if isinstance(x, (type, types.FunctionType)):
        kind = "class" if isinstance(x, type) else "function"
        raise TypeError(f"expected data, got the {kind} {x.__name__}; call it")
    return not _is_data(x) and (hasattr(x, "__iter__") or is_sequence(x))


_PLAIN = (list, tuple, dict, set, frozenset, str, bytes, bytearray, range, memoryview)


def _is_data(x):
    plain = isinstance(x, _PLAIN)
    return plain or hasattr(x, "shape") or hasattr(x, "__array__")


def stream_of(source, make, steps, passes, repeats, fetching, what):
    """Return the feeder for a Sequence, a generator or another iterable.

    Args:
        source: the object.
        make: function ``(item, label) -> Batch``.
        steps: int, number of batches in a pass; None for as many as there are.
        passes: int, how many passes there will be.
        repeats: bool, whether a pass of more steps than there are begins anew at the end; else it
            is shorter.
        fetching: `Fetching`.
        what: str, who asks, for error texts.

    Raises:
        ValueError: a generator that can't give so many passes.
    """
    kind = Numbered if is_sequence(source) else Iterated
    return kind(source, make, steps, passes, repeats, fetching, what)


class Stream:
    """Feeder of batches that are made elsewhere; what both kinds share.

    Attributes:
        steps: int, number of batches in a pass; None while that isn't known.
    """

    #: There is no telling how many samples there will be.
    samples = batch_size = None

    def __init__(self, source, make, steps, passes, repeats, fetching, what):
        self.source, self.make, self.what = source, make, what
        self.steps, self.passes, self.fetching = steps, passes, fetching
        self.repeats = repeats
        self._loader = None

    def arrays(self):
        """Return None: there are no arrays to see."""

    def _load(self, fetches, jobs):
        """Return an iterator over the items for jobs, fetched ahead if there are workers."""
        if not self.fetching.workers:
            return map(fetches[0], jobs)
        from gpunet.data.loader import Loader  # most programs never need it

        self._loader = Loader(fetches, jobs, self.fetching.size)
        return self._loader

    def _drop(self):
        if self._loader is not None:
            self._loader.close()
            self._loader = None

    def _made(self, number, item):
        return self.make(item, f"{self.what}: batch {number}")

    def ended(self):
        """A pass has come to its end."""

    def close(self):
        """Stop fetching."""
        self._drop()


class Numbered(Stream):
    """Feeder of a Sequence."""

    def __init__(self, source, make, steps, passes, repeats, fetching, what):
        super().__init__(source, make, steps, passes, repeats, fetching, what)
        if len(source) == 0:
            raise ValueError(f"{what}: {type(source).__name__} has no batches (its length is 0)")
        self.steps = steps if steps and repeats else min(steps or len(source), len(source))
        self._crew = None
        self._pass = 0

    def first(self):
        """Return the first Batch, to build a model on."""
        return self._made(0, self.source[0])

    def advance(self, epochs):
        """Be as after so many passes."""
        for _ in range(epochs):
            self.ended()

    def batches(self, shuffle=False, done=0):
        """Yield one pass's Batches; several rounds if more are wanted than there are.

        Args:
            shuffle: bool, draw their order.
            done: int, how many of them to leave out.
        """
        self._drop()
        jobs = itertools.islice(self._order(shuffle), done, self.steps)
        try:
            for number, item in enumerate(self._load(self._fetches(), jobs), done):
                yield self._made(number, item)
        finally:
            self._drop()

    def _order(self, shuffle):
        while True:
            count = len(self.source)
            if count == 0:
                raise ValueError(f"{self.what}: {type(self.source).__name__} has no batches left")
            yield from random.permutation(count).tolist() if shuffle else range(count)

    def _fetches(self):
        workers, processes, _ = self.fetching
        if not workers:
            return [self.source.__getitem__]
        if self._crew is None:
            from gpunet.data.workers import Crew

            self._crew = Crew(self.source, workers, processes, self.what)
        return self._crew.fetches(self._pass)

    def ended(self):
        self._pass += 1
        hook = getattr(self.source, "on_epoch_end", None)
        if hook is None:
            return
        hook()
        # Copies in other processes are brought up to date where there is something to know.
        if self._crew is not None and not getattr(hook, "does_nothing", False):
            self._crew.renew()

    def close(self):
        if self._crew is not None:
            self._crew.close()  # first: threads wait for processes
            self._crew = None
        super().close()


class Iterated(Stream):
    """Feeder of a generator or another iterable.

    Without ``steps``, each pass iterates anew until the end.  With ``steps``, passes go on where
    the one before ended; an iterable that isn't an iterator begins again after its end.
    """

    def __init__(self, source, make, steps, passes, repeats, fetching, what):
        super().__init__(source, make, steps, passes, repeats, fetching, what)
        self._once = hasattr(source, "__next__")
        goes_on = self._once or (repeats and steps != _length(source))
        self._goes_on = steps is not None and goes_on
        if self._once and steps is None and passes > 1:
            raise ValueError(
                f"{what}: {self._name()} can be read once, but {passes} passes are wanted. "
                "Say how many batches a pass has (steps_per_epoch or validation_steps), or give "
                "a Sequence or something else that can be iterated again"
            )
        self._most = steps  # as many as that, or as there are
        if steps is None:
            self.steps = _length(source)
        self._items = None  # goes on over all passes
        self._held = []  # a first item that was looked at
        self._taken = 0

    def _name(self):
        return f"the {type(self.source).__name__} object"

    def first(self):
        """Return the first Batch, to build a model on; it will come again."""
        iterator = iter(self.source)
        try:
            item = next(iterator)
        except StopIteration:
            raise self._too_few() from None
        if self._once:
            self._held = [item]
        return self._made(0, item)

    def advance(self, epochs):
        """Be as after so many passes: as many batches are taken and dropped."""
        if self._goes_on:
            for _ in itertools.islice(self._all(), epochs * self.steps):
                self._taken += 1

    def batches(self, shuffle=False, done=0):
        """Yield one pass's Batches.

        Args:
            shuffle: ignored, the order is the iterable's.
            done: int, how many of them to leave out.

        Raises:
            ValueError: a generator that ends early, or nothing at all.
        """
        return self._on(done) if self._goes_on else self._anew(done)

    def _on(self, done):
        items = self._all()
        for number in range(self.steps):
            try:
                item = next(items)
            except StopIteration:
                raise self._too_few() from None
            self._taken += 1
            if number >= done:
                yield self._made(number, item)

    def _anew(self, done):
        self._drop()
        number = -1
        try:
            for number, item in enumerate(self._fetched(self._round(), self._most)):
                if number >= done:
                    yield self._made(number, item)
        finally:
            self._drop()
        if number < 0:
            raise self._too_few()
        self.steps = number + 1

    def _all(self):
        """Return the iterator over the items of all passes."""
        if self._items is None:
            rounds = self._round() if self._once else self._rounds()
            self._items = self._fetched(rounds, self.steps * self.passes)
        return self._items

    def _fetched(self, iterator, count):
        jobs = itertools.repeat(None) if count is None else itertools.repeat(None, count)
        return self._load([lambda _: next(iterator)], jobs)  # one: the order is the iterator's

    def _round(self):
        held, self._held = self._held, []
        return itertools.chain(held, self.source)

    def _rounds(self):
        while True:
            empty = True
            for item in self.source:
                empty = False
                yield item
            if empty:
                return

    def _too_few(self):
        if not self.steps:
            return ValueError(f"{self.what}: {self._name()} gave no batches")
        return ValueError(
            f"{self.what}: {self._name()} ended after {self._taken} batches, "
            f"{self.passes} x {self.steps} batches were wanted"
        )


def _length(source):
    try:
        return positive_int(len(source), "its length")
    except (TypeError, NotImplementedError, ValueError):
        return None
