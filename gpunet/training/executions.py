"""The passes of fit, evaluate and predict as executions: some batches worked on in one go."""

import itertools

from gpunet.training.feeder import ahead

__all__ = ["Passes"]


class Passes:
    """The passes over a feeder's data.

    Args:
        step: what runs the batches, see `gpunet.training.steps`.
        feeder: what gives them.
        count: int, how many passes there will be at most.
    """

    def __init__(self, step, feeder, count=1):
        self.step, self.feeder = step, feeder
        self.resident = step.take_in(feeder, count)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.resident is not None:
            self.resident = None
            self.step.leave(self.feeder)

    def executions(self, watched, shuffle=False, done=0, left=None):
        """Yield one pass's executions.

        Args:
            watched: bool, whether someone wants to know about every batch.
            shuffle: see `ArrayFeeder.cuts`.
            done: int, how many batches to leave out.
            left: int, how many batches there will be at most; None for all.
        """
        wanted = self.step.model.steps_per_execution
        if self.resident is not None and self.step.captures():
            xp = self.resident.xp
            order, sizes = self.feeder.order_left(xp, shuffle, done, left)
            self.resident.begin(order)
            yield from self._resident(sizes, wanted or (1 if watched else None))
            return
        batches = ahead(itertools.islice(self.feeder.batches(shuffle, done), left))
        for batch in batches:
            yield _Fed(self.step, batch, itertools.islice(batches, (wanted or 1) - 1))

    def _resident(self, sizes, most):
        first = 0
        while first < len(sizes):
            count = most or self.step.most(self.resident, sizes[first])
            sizes_now = sizes[first : first + count]
            yield _Taken(self.step, self.resident, sizes_now)
            first += len(sizes_now)


class _Fed:
    """Batches that come one by one.

    Attributes:
        size: int, samples of the first batch; of the last one when it has run.
        count: int, how many batches were run.
    """

    def __init__(self, step, first, more):
        self._step, self._batches = step, itertools.chain([first], more)
        self.size, self.count = first.size, 0

    def run(self, *interrupts, each=None):
        """Run them.

        Args:
            *interrupts: `Interrupts`, for training.
            each: function (list of outputs, size), called after each batch; or None.
        """
        for batch in self._batches:
            found = self._step.run(batch, *interrupts)
            self.size, self.count = batch.size, self.count + 1
            if each is not None:
                each(found, batch.size)


class _Taken:
    """Batches that are taken from memory of the device; see `_Fed`."""

    def __init__(self, step, resident, sizes):
        self._step, self._resident, self._sizes = step, resident, sizes
        self.size, self.count = sizes[0], 0

    def run(self, *interrupts, each=None):
        """Run them; see `_Fed.run`."""
        for size, same in itertools.groupby(self._sizes):
            times = len(list(same))
            found = self._step.run_resident(self._resident, size, times, *interrupts)
            self.size, self.count = size, self.count + times
            if each is not None:
                for outputs in found:
                    each(outputs, size)
